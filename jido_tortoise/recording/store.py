"""Recorded sessions on the host's own Tortoise connection: SQLite and PostgreSQL, the same to the corner cases."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from jido_tortoise import checks, journal, probe, telemetry, times
from jido_tortoise.database import Db, resolve, transaction
from jido_tortoise.recording import (
    appending,
    bells,
    following,
    leases,
    listening,
    port,
    reading,
    rows,
    saving,
    statements,
)
from jido_tortoise.recording.entities import Artifact, Event, Run, Session
from jido_tortoise.recording.models import COLUMNS, AsmSession
from jido_tortoise.recording.port import Flushed, OnCorrupt, OneOrMany
from jido_tortoise.recording.rows import Row
from jido_tortoise.recording.statements import ARTIFACT, EVENTS, RUN, SESSION


class SessionStore:
    """Sessions, their runs and their events, in the tables of `jido_tortoise.recording.models`.

    A cheap value: it holds no pool and no task, and may be made anew for every call. Inside a transaction of the host
    on the same connection everything joins it.

    Args:
        connection: An alias of the host's Tortoise config; None takes the one that our app is registered with.
        schema: The PostgreSQL schema of our tables; None leaves it to the search path.
        timeout: Seconds for each statement, waiting for a connection included; 30 when None, `float("inf")` for none.
        notify: Whether appends notify those who follow on PostgreSQL, and followers listen: they hear at once what
            other processes append, else within half a second. It costs every append of a session that is followed.
    """

    __slots__ = ("connection", "notify", "schema", "timeout")

    def __init__(
        self,
        connection: str | None = None,
        schema: str | None = None,
        timeout: float | None = None,
        *,
        notify: bool = False,
    ) -> None:
        self.connection = None if connection is None else checks.text(connection, "connection")
        self.schema = None if schema is None else checks.text(schema, "schema")
        self.timeout = timeout
        self.notify = checks.flag(notify, "notify")

    def __repr__(self) -> str:
        named = ", ".join(f"{name}={getattr(self, name)!r}" for name in ("connection", "schema", "timeout", "notify"))
        return f"SessionStore({named})"

    async def connected(self) -> Db:
        """Answer the connection, once it is known to have our tables; for what is built on the store."""
        db = resolve(self.connection, AsmSession, schema=self.schema, timeout=self.timeout)
        await probe.check_once(db, COLUMNS)
        return db

    # -- sessions -------------------------------------------------------------------------------------------------

    async def save_session(self, session: Session, *, once: bool = False) -> Session:
        """Store a session, and answer it with the revision that it has now: go on with that one.

        A value that a store has answered is written over the revision that it has, and over no other. One made by hand
        is inserted; it may also follow the first revision of the same session, agent and time of creation. What is
        stored already is not written again, so that a save whose outcome is unknown may be repeated. Who makes the very
        change that somebody else has made of the same revision is taken for one who repeats it: both succeed, and the
        change is there once. To count what both have done, save with `once`, or use `SessionManager.update_session`.

        Args:
            session: What to store.
            once: Whether this is no repeat: what others have made the same of it since is a conflict too.

        Raises:
            ConflictError: `stale_session`: others have changed it since. Nothing was written.
            AlreadyExistsError: There is another session with this id; what makes it another never changes: its agent,
                and when it was made. `field` says which.
            NotFoundError: `session_not_found`: it was read from a store, and has been deleted since.
            InvalidTransitionError: Its status cannot follow the one that is stored.
            UnstorableError: It holds what cannot be stored; `path` says where.
        """
        port.value_of(session, Session, "session")
        port.check_flags(once=once)
        with telemetry.operation("recording_save_session", session_id=session.id) as span:
            db = await self.connected()
            saved = await saving.save(db, SESSION, session, once)
            span.set(revision=saved.revision)
        return saved

    async def get_session(self, session_id: str) -> Session:
        """Answer a session, also one that was deleted softly.

        Raises:
            NotFoundError: `session_not_found`.
            CorruptRowError: Its row is malformed.
        """
        with telemetry.operation("recording_get_session", session_id=session_id):
            return await reading.get(await self.connected(), SESSION, Session, session_id)

    async def list_sessions(
        self,
        *,
        status: OneOrMany | None = None,
        agent_id: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Session]:
        """Answer the sessions that pass all filters, the oldest first, those included that were deleted softly.

        Args:
            status: One, or several of which any will do.
            agent_id: The agent.
            limit: At most so many.
            offset: After so many.

        Raises:
            CorruptRowError: A row is malformed.
        """
        given = {"agent_id": agent_id, "statuses": port.texts(status, "status")}
        with telemetry.operation("recording_list_sessions"):
            return await reading.list_of(await self.connected(), SESSION, Session, given, limit, offset)

    async def delete_session(self, session_id: str) -> list[Artifact]:
        """Remove a session with its runs, events, counter and artifacts, together; nothing happens when there is none.

        Returns:
            The artifacts that went with it: nobody knows of their content now, which stays where it is.
        """
        given = {"id": checks.text(session_id, "session_id")}
        with telemetry.operation("recording_delete_session", session_id=session_id) as span:
            db = await self.connected()
            async with transaction(db) as inner:
                await saving.lock_session(inner, session_id)
                wanted = {"session_id": session_id}
                artifacts = await reading.list_of(inner, ARTIFACT, Artifact, wanted, None, 0, rows.decode_deleted)
                await reading.all_of(inner, statements.delete_session(db.schema, db.dialect), given)
            bells.ring(db.root, (db.schema, session_id))
            span.set(artifacts=len(artifacts))
            return artifacts

    # -- runs -----------------------------------------------------------------------------------------------------

    async def save_run(self, run: Run, *, concurrent: bool = False, once: bool = False) -> Run:
        """Store a run, and answer it with the revision that it has now: go on with that one.

        The rules of `save_session` hold for it too: two that add a turn to the same revision by `run.with_turn()` both
        succeed, and there is one turn more. `once` refuses the second; `SessionManager.update_run` adds both.

        Args:
            run: What to store.
            concurrent: Whether it may begin to run while another run of its session does.
            once: As in `save_session`.

        Raises:
            ConflictError: `stale_run`: others have changed it since. `already_running`: another one is running.
            AlreadyExistsError: There is another run with this id: of another session, or started at another time.
            NotFoundError: `session_not_found`: there is no such session. `run_not_found`: it was read from a store, and
                has been deleted since.
            InvalidTransitionError: Its status cannot follow the one that is stored.
            UnstorableError: It holds what cannot be stored; `path` says where.
        """
        port.value_of(run, Run, "run")
        port.check_flags(once=once, concurrent=concurrent)
        with telemetry.operation("recording_save_run", session_id=run.session_id, run_id=run.id) as span:
            db = await self.connected()
            saved = await saving.save_run(db, run, concurrent, once)
            span.set(revision=saved.revision)
        return saved

    async def get_run(self, run_id: str) -> Run:
        """Answer a run.

        Raises:
            NotFoundError: `run_not_found`.
            CorruptRowError: Its row is malformed.
        """
        with telemetry.operation("recording_get_run", run_id=run_id):
            return await reading.get(await self.connected(), RUN, Run, run_id)

    async def list_runs(
        self, session_id: str, *, status: OneOrMany | None = None, limit: int | None = None, offset: int = 0
    ) -> list[Run]:
        """Answer the runs of a session that pass all filters, the oldest first; none when there is no such session.

        Args:
            session_id: The session.
            status: One, or several of which any will do.
            limit: At most so many.
            offset: After so many.

        Raises:
            CorruptRowError: A row is malformed.
        """
        checks.text(session_id, "session_id")
        given = {"session_id": session_id, "statuses": port.texts(status, "status")}
        with telemetry.operation("recording_list_runs", session_id=session_id):
            return await reading.list_of(await self.connected(), RUN, Run, given, limit, offset)

    async def get_active_run(self, session_id: str) -> Run | None:
        """Answer the running run of a session, of several the one that was started last; None when there is none."""
        checks.text(session_id, "session_id")
        with telemetry.operation("recording_get_active_run", session_id=session_id):
            found = await reading.running(await self.connected(), session_id)
            return reading.value_of_row(RUN, Run, found[0]) if found else None

    async def lease_run(self, run_id: str, holder: str, seconds: float) -> bool:
        """Take or renew the lease of a run that has not ended; True when it is the holder's for so many seconds.

        It can be taken when nobody has it, when the holder has it, and when it has run out. The run's revision stays.
        """
        given = {"id": checks.text(run_id, "run_id"), "leased_by": checks.text(holder, "holder")}
        now, until = leases.now_and_until(seconds)
        with telemetry.operation("recording_lease_run", run_id=run_id) as span:
            db = await self.connected()
            given["leased_until"] = times.stored_time(until, db.dialect)
            given["now"] = times.stored_time(now, db.dialect)
            taken = bool(await reading.all_of(db, statements.lease_run(db.schema, db.dialect), given, write=True))
            span.set(taken=taken)
            return taken

    async def lost_runs(self, *, limit: int = 100, on_corrupt: OnCorrupt | None = None) -> list[Run]:
        """Answer running runs whose lease has run out, the longest ago first; those that nobody leased are none.

        Args:
            limit: At most so many; those that cannot be read do not count.
            on_corrupt: Called with the error of each run that cannot be read, which is then left out.

        Raises:
            CorruptRowError: A row is malformed, and no `on_corrupt` was given.
        """
        checks.whole(limit, "limit")
        with telemetry.operation("recording_lost_runs"):
            return await reading.lost_runs(await self.connected(), limit, on_corrupt)

    # -- events ---------------------------------------------------------------------------------------------------

    async def append_event(self, event: Event) -> Event:
        """Append an event, and answer it with its number.

        Appending the same event once more, also at the same time, writes nothing and answers with what is stored. One
        that differs in nothing but its timestamp is the same.

        Raises:
            NotFoundError: `session_not_found`: there is no such session.
            DuplicateEntryError: There is another event with this id, of this session or another one.
            UnstorableError: It holds what cannot be stored; `path` says where.
        """
        return (await self.append_events([event]))[0]

    async def append_event_with_sequence(self, event: Event) -> Event:
        """Do what `append_event` does."""
        return await self.append_event(event)

    async def append_events(self, events: Iterable[Event]) -> list[Event]:
        """Append events of one session or several, all or none, numbered on in the order in which they are given.

        Of several with one id the first is stored, as is one that was stored before.

        Returns:
            The events as they are stored, as many as were given and in their order.

        Raises:
            NotFoundError: `session_not_found`: there is no such session.
            DuplicateEntryError: There is another event with one of the ids, among them or stored.
            InvalidRecordError: One is no event; `path` says which.
            UnstorableError: One holds what cannot be stored.
        """
        given = port.events_in(events)
        with telemetry.operation("recording_append_events") as span:
            db = await self.connected()
            wanted = rows.encode_events(given, db.dialect)
            span.set(count=len(wanted))
            return await self._append(db, given, wanted)

    async def _append(self, db: Db, events: Sequence[Event], wanted: dict[str, Row]) -> list[Event]:
        by_session: dict[str, list[Row]] = {}
        for row in wanted.values():
            by_session.setdefault(row["session_id"], []).append(row)
        if len(by_session) == 1:
            ((session_id, mine),) = by_session.items()
            stored = await appending.append(db, session_id, mine, self.notify)
        else:
            stored = await self._append_to_all(db, by_session)
        for session_id in by_session:
            bells.ring(db.root, (db.schema, session_id))
        return appending.answer(events, stored)

    async def _append_to_all(self, db: Db, by_session: dict[str, list[Row]]) -> dict[str, Event | int]:
        stored: dict[str, Event | int] = {}
        async with transaction(db) as inner:
            for session_id in sorted(by_session):  # the same order for everybody, or two would wait for one another
                stored |= await appending.append(inner, session_id, by_session[session_id], self.notify)
        return stored

    async def flush(
        self,
        *,
        session: Session,
        run: Run | None = None,
        events: Iterable[Event] = (),
        provider_metadata: object = None,
        concurrent: bool = False,
        once: bool = False,
    ) -> Flushed:
        """Store a session, a run of it and events of it: all of it, or nothing.

        Args:
            session: As in `save_session`.
            run: As in `save_run`.
            events: As in `append_events`.
            provider_metadata: Not stored; it is in the run.
            concurrent: As in `save_run`.
            once: As in `save_session`, for the session and the run.

        Raises:
            InvalidRecordError: Something in it is not what it must be, or of another session.
            JidoError: What `save_session`, `save_run` and `append_events` raise.
        """
        given = port.check_flush(session, run, events)
        port.check_flags(once=once, concurrent=concurrent)
        with telemetry.operation("recording_flush", session_id=session.id, count=len(given)):
            db = await self.connected()
            wanted = rows.encode_events(given, db.dialect)

            async def write(inner: Db) -> tuple[Session, Run | None, dict[str, Event | int]]:
                stored = await saving.lock_session(inner, session.id)
                saved = await saving.save_locked_session(inner, session, stored, once)
                saved_run = None if run is None else await saving.save_locked_run(inner, run, concurrent, once)
                events = await appending.append(inner, session.id, list(wanted.values()), self.notify)
                return saved, saved_run, events

            saved, saved_run, stored = await saving.together(db, write)
            bells.ring(db.root, (db.schema, session.id))
        return Flushed(saved, saved_run, appending.answer(given, stored))

    async def get_events(
        self,
        session_id: str,
        *,
        run_id: str | None = None,
        type: OneOrMany | None = None,
        since: datetime | None = None,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
        wait_timeout_ms: float | None = None,
    ) -> list[Event]:
        """Answer the events of a session that pass all filters, in the order of their numbers.

        Args:
            session_id: The session; without it there are none.
            run_id: Of this run.
            type: One, or several of which any will do.
            since: With a later timestamp than this one.
            after: With a higher number.
            before: With a lower number.
            limit: At most so many, the first ones.
            wait_timeout_ms: When there are none, wait so many milliseconds for the first that passes.

        Raises:
            InvalidInputError: An option is not what it must be; `path` says which.
            CorruptRowError: A row is malformed.
        """
        asked = port.wished(session_id, run_id=run_id, type=type, since=since, after=after, before=before, limit=limit)
        seconds = port.milliseconds(wait_timeout_ms, "wait_timeout_ms")
        with telemetry.operation("recording_get_events", session_id=session_id) as span:
            db = await self.connected()
            if seconds is None or asked.nothing:
                found = await reading.events(db, asked)
            else:
                async with self._awake(db, session_id) as (bell, ears):
                    found = await following.until_some(lambda: reading.events(db, asked), seconds, bell, ears)
            span.set(count=len(found))
            return found

    async def follow(
        self, session_id: str, *, after: int = 0, run_id: str | None = None, type: OneOrMany | None = None
    ) -> AsyncGenerator[Event, None]:
        """Answer the events of a session, those that are there and all that will come, until the session is deleted.

        Then it ends, without an error, and so it does when the session was made anew under the same id: that one is
        another. Events that were not answered before the deletion are gone.

        Leave it with `aclose()`, or `contextlib.aclosing`, when a loop over it is left: else it goes on listening until
        it is collected.

        Args:
            session_id: The session.
            after: Only events with a higher number.
            run_id: Only those of this run.
            type: Only those of this type, or of several.

        Raises:
            NotFoundError: `session_not_found`: there is no such session.
            CorruptRowError: A row is malformed.
            StorageUnavailableError: The database went away; follow again after the last event that was answered.
        """
        asked = port.wished(session_id, run_id=run_id, type=type, after=after, limit=following.PAGE)
        db = await self.connected()
        await reading.get(db, SESSION, Session, session_id)

        made: Any = None  # when its counter was, by which it is told from one that was made anew

        async def read(after: int) -> tuple[int | None, list[Event]]:
            nonlocal made
            head = await journal.read_head(db, EVENTS, (session_id,))
            if head is None or head.created_at != (made or head.created_at):
                return await self._uncounted(db, session_id) if made is None else None, []
            made = head.created_at
            if head.counter <= after or asked.nothing:
                return head.counter, []
            return head.counter, await reading.events(db, replace(asked, after=after, before=head.counter + 1))

        async with self._awake(db, session_id) as (bell, ears):
            async for event in following.all_after(read, after, bell, ears):
                yield event

    async def _uncounted(self, db: Db, session_id: str) -> int | None:
        """Answer the counter of a session without one: 0 for one of the host's making, None when there is none."""
        get = statements.get(SESSION, db.schema, db.dialect)
        return 0 if await reading.all_of(db, get, {"id": session_id}) else None

    @asynccontextmanager
    async def _awake(self, db: Db, session_id: str) -> AsyncIterator[tuple[bells.Bell, listening.Hearing | None]]:
        with bells.bell(db.root, (db.schema, session_id)) as bell:
            # What is notified within a transaction is heard after it.
            if not self.notify or db.dialect == "sqlite" or db.in_transaction:
                yield bell, None
            else:
                async with listening.hearing(db, session_id) as ears:
                    yield bell, ears

    async def get_latest_sequence(self, session_id: str) -> int:
        """Answer the number of the event that was appended last, pruned or not; 0 when there was none."""
        checks.text(session_id, "session_id")
        with telemetry.operation("recording_get_latest_sequence", session_id=session_id):
            head = await journal.read_head(await self.connected(), EVENTS, (session_id,))
            return 0 if head is None else head.counter
