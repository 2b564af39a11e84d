"""What should not be in the tables of recording, and the righting of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

from jido_tortoise import checks, times
from jido_tortoise.database import Db
from jido_tortoise.errors import CorruptContentError, NotFoundError
from jido_tortoise.recording import care_statements, statements
from jido_tortoise.recording.artifact_stores import ArtifactStore
from jido_tortoise.recording.artifacts import ArtifactRegistry, raw_artifacts
from jido_tortoise.recording.entities import Artifact
from jido_tortoise.recording.reading import all_of
from jido_tortoise.recording.recovery import recover_runs
from jido_tortoise.recording.statements import ARTIFACT, EVENTS, RUN
from jido_tortoise.recording.store import SessionStore

#: Rows that one statement looks at, or deletes.
_PAGE = 500
#: Of one kind, those that are told; a database with more of them has one problem, not many.
_TOLD = 1000
#: What belongs to a session, by table: the key, the reason, and the words for it.
_BELONGINGS = {
    EVENTS.rows: ("id", "orphaned_events", "events"),
    RUN.table: ("id", "orphaned_runs", "runs"),
    ARTIFACT.table: ("id", "orphaned_artifacts", "artifacts"),
    EVENTS.head: ("session_id", "orphaned_sequences", "counters"),
}


@dataclass(frozen=True, slots=True)
class HealthIssue:
    """Something that should not be; printed, it is its message."""

    #: A stable name, such as `missing_events`.
    reason: str
    message: str
    session_id: str | None = None
    #: Of rows.
    count: int = 1

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair has found."""

    #: And righted.
    repaired: list[HealthIssue]
    #: And left, since nobody but the host knows what would be right.
    left: list[HealthIssue]


async def check(db: Db, artifacts: ArtifactRegistry, contents: bool, stuck_after: float) -> list[HealthIssue]:
    """Look at everything; nothing is written."""
    issues = [issue async for issue in _orphans(db)]
    issues += [issue async for issue in _counters(db)]
    issues += [issue async for issue in _without_run(db)]
    issues += await _stuck_runs(db, stuck_after)
    return issues + [issue async for issue in _contents(db, artifacts, contents)]


async def repair(db: Db, store: SessionStore, artifacts: ArtifactRegistry) -> RepairReport:
    """Right what can be righted, table by table."""
    repaired = [issue async for issue in _orphans(db)]
    for issue in repaired:
        table = next(table for table, (_, reason, _) in _BELONGINGS.items() if reason == issue.reason)
        await _right_orphans(db, table, artifacts)
    async for issue in _counters(db):
        await _right_counter(db, str(issue.session_id))
        repaired.append(issue)
    # One that cannot be read, as where the classes of the host are missing, stays stuck, and is told below.
    ended = await recover_runs(store, limit=checks.MOST, on_corrupt=lambda _: None)
    repaired += [_stuck(run.id, run.session_id, unleased=False) for run in ended]
    left = await check(db, artifacts, contents=False, stuck_after=86_400)
    return RepairReport([issue for issue in repaired if issue not in left], left)


# -- sessions that are gone ---------------------------------------------------------------------------------------


async def _orphans(db: Db) -> AsyncIterator[HealthIssue]:
    for table, (_, reason, words) in _BELONGINGS.items():
        ((count,),) = await all_of(db, care_statements.orphans(table, db.schema, db.dialect), {})
        if count:
            yield HealthIssue(reason, f"{count} {words} reference non-existent sessions", count=count)


async def delete_orphans(db: Db, table: str, key: str) -> int:
    """Delete the rows of a table whose session is gone, some at a time; answer how many."""
    statement = care_statements.delete_orphans(table, key, db.schema, db.dialect)
    count = 0
    while gone := await all_of(db, statement, {"batch": _PAGE}, write=True):
        count += len(gone)
    return count


async def _right_orphans(db: Db, table: str, artifacts: ArtifactRegistry) -> None:
    if table != ARTIFACT.table:
        await delete_orphans(db, table, _BELONGINGS[table][0])
        return
    statement = care_statements.left_artifacts(db.schema, db.dialect)
    never = times.stored_time(times.moment_from(float("-inf")), db.dialect)
    place = ""
    while found := raw_artifacts(await all_of(db, statement, {"before": never, "place_id": place, "batch": _PAGE})):
        place = found[-1].id
        gone = await artifacts.discard(found)
        deleting = care_statements.delete_artifacts(db.schema, db.dialect)
        await all_of(db, deleting, {"ids": [one.id for one in gone]}, write=True)


# -- counters -----------------------------------------------------------------------------------------------------


async def _counters(db: Db) -> AsyncIterator[HealthIssue]:
    statement = care_statements.counters(db.schema, db.dialect)
    place, told = "", 0
    while found := await all_of(db, statement, {"place_id": place, "batch": _PAGE}):
        for place, last, pruned, count, greatest in found:
            issue = _counter_issue(place, last, pruned, count, greatest)
            if issue is not None and told < _TOLD:
                told += 1
                yield issue


def _counter_issue(
    session_id: str, last: int | None, pruned: int | None, count: int, greatest: int | None
) -> HealthIssue | None:
    if last is None or pruned is None:
        if not count:
            return None  # a session of the host's making, which has its counter from its first event on
        return HealthIssue(
            "missing_counter", f"session {session_id!r} has {count} events and no counter", session_id, count
        )
    if greatest is not None and greatest > last:
        message = f"Sequence mismatch for {session_id}: counter={last}, max_sequence={greatest}"
        return HealthIssue("counter_behind", message, session_id)
    missing = last - pruned - count
    if not missing:
        return None
    words = f"{missing} events are missing" if missing > 0 else f"{-missing} events more are there than are counted"
    return HealthIssue("missing_events", f"session {session_id!r}: {words}", session_id, abs(missing))


async def _right_counter(db: Db, session_id: str) -> None:
    now = times.stored_time(times.now(), db.dialect)
    made = statements.make_counter(db.schema, db.dialect)
    await all_of(db, made, {"id": session_id, "now": now}, write=True)
    righted = care_statements.right_counter(db.schema, db.dialect)
    await all_of(db, righted, {"session_id": session_id, "now": now}, write=True)


# -- runs ---------------------------------------------------------------------------------------------------------


async def _without_run(db: Db) -> AsyncIterator[HealthIssue]:
    for table, reason, words in (
        (EVENTS.rows, "events_without_run", "events"),
        (ARTIFACT.table, "artifacts_without_run", "artifacts"),
    ):
        statement = care_statements.without_run(table, db.schema, db.dialect)
        for session_id, count in await all_of(db, statement, {"batch": _TOLD}):
            message = f"session {session_id!r}: {count} {words} reference non-existent runs"
            yield HealthIssue(reason, message, session_id, count)


async def _stuck_runs(db: Db, stuck_after: float) -> list[HealthIssue]:
    moments = {"now": times.now(), "before": times.now() - timedelta(seconds=min(stuck_after, 3e9))}
    given = {name: times.stored_time(moment, db.dialect) for name, moment in moments.items()}
    found = await all_of(db, care_statements.stuck_runs(db.schema, db.dialect), {**given, "batch": _TOLD})
    return [_stuck(run_id, session_id, bool(unleased)) for run_id, session_id, unleased in found]


def _stuck(run_id: str, session_id: str, unleased: bool) -> HealthIssue:
    why = "nobody holds a lease of it" if unleased else "its process gives no sign of life"
    return HealthIssue("stuck_run", f"run {run_id!r} of session {session_id!r} is running, but {why}", session_id)


# -- content ------------------------------------------------------------------------------------------------------


async def _contents(db: Db, artifacts: ArtifactRegistry, read: bool) -> AsyncIterator[HealthIssue]:
    statement = care_statements.live_artifacts("all", db.schema, db.dialect)
    place = ""
    while artifacts.stores and (
        found := raw_artifacts(await all_of(db, statement, {"place_id": place, "batch": _PAGE}))
    ):
        place = found[-1].id
        for artifact in found:
            store = artifacts.stores.get(artifact.storage_backend)
            issue = None if store is None else await _content_issue(artifact, store, artifacts, read)
            if issue is not None:
                yield issue


async def _content_issue(
    artifact: Artifact, store: ArtifactStore, artifacts: ArtifactRegistry, read: bool
) -> HealthIssue | None:
    size = await store.size(artifact.storage_ref)
    if size is None:
        return HealthIssue("missing_content", f"the content of artifact {artifact.key!r} is gone", artifact.session_id)
    if size == artifact.byte_size and not read:
        return None
    try:
        async for _ in artifacts.content(artifact):
            pass
    except (CorruptContentError, NotFoundError) as error:
        return HealthIssue("wrong_content", str(error), artifact.session_id)
    return None
