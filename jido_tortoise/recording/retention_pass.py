"""One pass of retention over the tables: what is old or too much is looked for and deleted, or only counted.

Every batch is a transaction of its own: whoever else works with the tables waits for one batch at most, and a pass that
was cancelled or killed is simply taken again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jido_tortoise import journal, times
from jido_tortoise.database import Db, transaction
from jido_tortoise.errors import ConflictError, JidoError, NotFoundError, StorageUnavailableError
from jido_tortoise.recording import bells, care_statements, health, pruning, statements
from jido_tortoise.recording.archiving import Archived, archive_session, with_line
from jido_tortoise.recording.artifacts import ArtifactRegistry, raw_artifacts
from jido_tortoise.recording.entities import Artifact, Session
from jido_tortoise.recording.exporting import belongings
from jido_tortoise.recording.reading import all_of
from jido_tortoise.recording.retention import KEPT_EVENT_TYPES, RetentionPolicy, before
from jido_tortoise.recording.statements import ARTIFACT, EVENTS, RUN
from jido_tortoise.recording.store import SessionStore

#: Of a session that has more events, they are deleted batch by batch before it is.
LARGE = 10_000
#: How often a session is archived again when it was changed meanwhile.
_LOOKS = 4


@dataclass(frozen=True, slots=True)
class Step:
    """Something that was done, or in a dry run would be."""

    #: "soft_delete", "hard_delete", "prune", "clean_artifacts" or "clean_sequences".
    what: str
    session_id: str | None
    #: Sessions, events, artifacts or counters.
    count: int


@dataclass(slots=True)
class MaintenanceReport:
    """What one pass has done, or in a dry run would do; what was done before an error is counted."""

    dry_run: bool = False
    sessions_soft_deleted: int = 0
    sessions_hard_deleted: int = 0
    events_pruned: int = 0
    artifacts_cleaned: int = 0
    orphaned_sequences_cleaned: int = 0
    #: Deleted artifacts whose rows stay, since their content is in a store that was not given.
    artifacts_left: int = 0
    duration_ms: int = 0
    #: What went wrong, each with where; the rest was done all the same.
    errors: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Pass:
    """One pass over the tables, as of one time."""

    store: SessionStore
    artifacts: ArtifactRegistry
    policy: RetentionPolicy
    report: MaintenanceReport
    on_step: Callable[[Step], object] | None
    #: Whether what goes wrong with one session is raised when the others are done, rather than reported.
    raising: bool
    now: datetime = field(default_factory=times.now)
    #: Events of the sessions that a dry run has found to be deleted.
    _going: int = 0

    async def guarded(self, where: str, step: Callable[[], Awaitable[None]]) -> None:
        """Do a step; what goes wrong becomes a line of the report."""
        try:
            await step()
        except JidoError as error:
            self.report.errors.append(f"{where}: {error}")

    def _did(self, counter: str, what: str, session_id: str | None, count: int) -> None:
        setattr(self.report, counter, getattr(self.report, counter) + count)
        if self.on_step is not None and count:
            self.on_step(Step(what, session_id, count))

    # -- sessions -------------------------------------------------------------------------------------------------

    async def soft_delete(self) -> None:
        ages = {
            "updated_at": before(self.now, self.policy.max_completed_session_age_days),
            "created_at": before(self.now, self.policy.max_session_age_days),
        }
        db = await self.store.connected()
        changed_since = times.stored_time(ages["updated_at"] or pruning.EARLIEST, db.dialect)
        for column, moment in ages.items():
            if moment is not None:
                given = {"before": times.stored_time(moment, db.dialect), "changed_since": changed_since}
                await self._soft_delete_by(db, column, {**pruning.exempt(self.policy), **given})

    async def _soft_delete_by(self, db: Db, column: str, given: dict[str, Any]) -> None:
        place = _start(db)
        while True:
            if self.report.dry_run:
                statement = care_statements.expired(column, db.schema, db.dialect)
                found = await all_of(db, statement, {**given, **place, "batch": pruning.PAGE})
                place = {"place_id": found[-1][0], "place": found[-1][1]} if found else place
            else:
                statement = care_statements.soft_delete(column, db.schema, db.dialect)
                given |= {"now": times.stored_time(self.now, db.dialect), "batch": self.policy.batch_size}
                found = await all_of(db, statement, given, write=True)
            for session_id, *_ in found:
                self._did("sessions_soft_deleted", "soft_delete", session_id, 1)
            if len(found) < (pruning.PAGE if self.report.dry_run else self.policy.batch_size):
                return

    async def hard_delete(self) -> None:
        moment = before(self.now, self.policy.hard_delete_after_days)
        if moment is None:
            return
        db, first = await self.store.connected(), None
        given = {**pruning.exempt(self.policy), "before": times.stored_time(moment, db.dialect)}
        place = _start(db)
        statement = care_statements.deleted(db.schema, db.dialect)
        while found := await all_of(db, statement, {**given, **place, "batch": self.policy.batch_size}):
            for session_id, deleted_at, events in found:
                place = {"place_id": session_id, "place": deleted_at}
                first = await self._one_gone(db, session_id, events, moment) or first
        if first is not None and self.raising:
            raise first

    async def _one_gone(self, db: Db, session_id: str, events: int, moment: datetime) -> JidoError | None:
        """Delete one session; answer what went wrong with it."""
        try:
            if self.report.dry_run:
                self._going += events
                self._did("sessions_hard_deleted", "hard_delete", session_id, 1)
            else:
                await self._hard_delete_one(db, session_id, events, moment)
        except StorageUnavailableError:
            raise  # and all that follow would only wait as long
        except JidoError as error:
            self.report.errors.append(f"hard_delete: session {session_id!r}: {error}")
            return error
        return None

    async def _hard_delete_one(self, db: Db, session_id: str, events: int, moment: datetime) -> None:
        for _ in range(_LOOKS):
            archive, archived = self.policy.archive, None
            if archive is not None:
                try:
                    archived = await archive_session(self.store, archive, session_id)
                except ConflictError:
                    continue
                except NotFoundError as error:
                    if error.reason != "session_not_found":
                        raise
                    return  # another process has deleted it just now
            if events > LARGE:
                await self._empty(db, session_id, events, moment, archived)
            if await self._delete(db, session_id, moment, archived):
                return
        raise ConflictError(f"session {session_id!r} is changed by others all the time", reason="stale_session")

    async def _empty(self, db: Db, session_id: str, events: int, moment: datetime, archived: Archived | None) -> None:
        most = events if archived is None else archived.last

        def going(session: Session) -> bool:
            return self._goes(session, moment) and (archived is None or archived.is_of(session))

        async for batch in pruning.oldest_of_session(db, session_id, self.policy, most, by_type=False):
            kept = batch if archived is None else [row for row in batch if row["sequence_number"] <= archived.last]
            if not kept or not await pruning.prune(db, self.policy, kept, going=going):
                return

    def _goes(self, session: Session, moment: datetime) -> bool:
        return session.deleted_at is not None and session.deleted_at < moment and not self.policy.exempts(session)

    async def _delete(self, db: Db, session_id: str, moment: datetime, archived: Archived | None) -> bool:
        """Delete a session, or leave it alone when it is exempt by now; False when it is not what was archived."""
        async with transaction(db) as inner:
            session = await pruning.locked_session(inner, session_id)
            if session is None or not self._goes(session, moment):
                return True
            if archived is not None and not await _is_archived(inner, session, archived):
                return False
            given = {"session_id": session_id, "id": session_id, "now": times.stored_time(self.now, db.dialect)}
            abandon = care_statements.abandon_artifacts(db.schema, db.dialect)
            artifacts = raw_artifacts(await all_of(inner, abandon, given, write=True))
            await all_of(inner, statements.delete_session(db.schema, db.dialect), given, write=True)
            if db.in_transaction:
                await self.artifacts.discard_at_commit(inner, artifacts)
        bells.ring(db.root, (db.schema, session_id))
        # Counted before its content goes, since it is gone also when that fails.
        self._did("sessions_hard_deleted", "hard_delete", session_id, 1)
        if not db.in_transaction:
            await self._clean(db, artifacts)
        return True

    # -- events ---------------------------------------------------------------------------------------------------

    async def prune_sessions(self) -> None:
        """Prune every session that has too many events."""
        most = self.policy.max_events_per_session
        if most is None:
            return
        db, place = await self.store.connected(), ""
        given = {**pruning.exempt(self.policy), "most": most, "before": self._gone_before(db), "batch": pruning.PAGE}
        statement = care_statements.full_sessions(db.schema, db.dialect)
        while found := await all_of(db, statement, {**given, "place_id": place}):
            for (place,) in found:
                await self._one_pruned(place)

    async def _one_pruned(self, session_id: str) -> None:
        try:
            await self.prune_session(session_id)
        except StorageUnavailableError:
            raise
        except JidoError as error:
            self.report.errors.append(f"prune: session {session_id!r}: {error}")

    async def prune_session(self, session_id: str) -> None:
        """Prune one session."""
        most = self.policy.max_events_per_session
        if most is None:
            return
        db = await self.store.connected()
        counts = await pruning.events_by_type(db, session_id)
        excess = max(0, sum(counts.values()) - most)
        if self.report.dry_run:
            self._did("events_pruned", "prune", session_id, pruning.prunable(counts, self.policy, excess))
            return
        async for batch in pruning.oldest_of_session(db, session_id, self.policy, excess):
            gone = await pruning.prune(db, self.policy, batch, keep=most)
            if not gone:
                break
            self._did("events_pruned", "prune", session_id, gone)

    async def prune_total(self) -> None:
        """Prune the oldest events when all sessions together have too many."""
        most = self.policy.max_total_events
        if most is None:
            return
        db = await self.store.connected()
        ((total,),) = await all_of(db, care_statements.total_events(db.schema, db.dialect), {})
        if self.report.dry_run:
            planned = self.report.events_pruned
            excess = max(0, int(total) - self._going - planned - most)
            self._did("events_pruned", "prune", None, min(excess, await self._prunable(db) - planned))
            return
        async for batch in pruning.oldest_of_all(db, self.policy, max(0, int(total) - most)):
            gone = await pruning.prune(db, self.policy, batch)
            self._did("events_pruned", "prune", batch[0]["session_id"], gone)

    async def _prunable(self, db: Db) -> int:
        """Count the events that may be pruned at all, session by session."""
        kept = sorted(KEPT_EVENT_TYPES.difference(self.policy.prune_event_types_first))
        given = {**pruning.exempt(self.policy), "types": kept, "before": self._gone_before(db), "batch": pruning.PAGE}
        statement = care_statements.prunable_events("others", db.schema, db.dialect)
        count, place = 0, ""
        while found := await all_of(db, statement, {**given, "place_id": place}):
            place, count = found[-1][0], count + sum(events for _, events in found)
        return count

    def _gone_before(self, db: Db) -> Any:
        moment = before(self.now, self.policy.hard_delete_after_days)
        return times.stored_time(moment or pruning.EARLIEST, db.dialect)

    # -- what is left over ----------------------------------------------------------------------------------------

    async def clean(self) -> None:
        """Clean what earlier deletions, or others, have left over."""
        await self.guarded("clean_artifacts", self.clean_artifacts)
        await self.guarded("clean_sequences", self.clean_sequences)

    async def clean_artifacts(self) -> None:
        db, place = await self.store.connected(), ""
        given = {"before": self._gone_before(db), "batch": pruning.PAGE}
        statement = care_statements.left_artifacts(db.schema, db.dialect)
        while found := raw_artifacts(await all_of(db, statement, {**given, "place_id": place})):
            place = found[-1].id
            await self._clean(db, found)

    async def _clean(self, db: Db, artifacts: Sequence[Artifact]) -> None:
        """Delete content, and then the rows that were all that named it."""
        stores = self.artifacts.stores
        mine = [one for one in artifacts if one.storage_backend in stores]
        self.report.artifacts_left += len(artifacts) - len(mine)
        if mine and not self.report.dry_run:
            await self.artifacts.discard(mine)
            statement = care_statements.delete_artifacts(db.schema, db.dialect)
            await all_of(db, statement, {"ids": [one.id for one in mine]}, write=True)
        self._did("artifacts_cleaned", "clean_artifacts", None, len(mine))

    async def clean_sequences(self) -> None:
        db = await self.store.connected()
        if self.report.dry_run:
            ((count,),) = await all_of(db, care_statements.orphans(EVENTS.head, db.schema, db.dialect), {})
        else:
            count = await health.delete_orphans(db, EVENTS.head, "session_id")
        self._did("orphaned_sequences_cleaned", "clean_sequences", None, count)


def _start(db: Db) -> dict[str, Any]:
    return {"place_id": "", "place": times.stored_time(pruning.EARLIEST, db.dialect)}


#: What belongs to a session and may be written without its lock, by table: the key. In the order in which all lock.
_BELONGINGS = {RUN.table: "id", ARTIFACT.table: "id", EVENTS.head: "session_id"}


async def _is_archived(db: Db, session: Session, archived: Archived) -> bool:
    """Tell whether a locked session is what was archived, with all that belongs to it, and lock that too."""
    if not archived.is_of(session):
        return False
    for table, key in _BELONGINGS.items():
        locked = care_statements.lock_belongings(table, key, db.schema, db.dialect)
        await all_of(db, locked, {"session_id": session.id})
    head = await journal.read_head(db, EVENTS, (session.id,))
    seen = 0
    async for line in belongings(db, session.id):
        seen = with_line(seen, line)
    return (0 if head is None else head.counter, seen) == (archived.last, archived.belongings)
