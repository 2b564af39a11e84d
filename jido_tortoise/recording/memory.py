"""Recorded sessions in memory: the same laws as in a database, for tests and for what need not last.

It keeps the texts that a database would, so that what cannot be stored there cannot be stored here either, and nobody
holds on to what is inside. No operation awaits between its first look and its last write.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from jido_tortoise import checks, times
from jido_tortoise.recording import bells, following, leases, port, rows
from jido_tortoise.recording.entities import Artifact, Event, Run, Session
from jido_tortoise.recording.port import Flushed, OnCorrupt, OneOrMany, Wished
from jido_tortoise.recording.rows import Row
from jido_tortoise.recording.statements import EVENT_COLUMNS, EVENTS, RUN, SESSION, Kind

V = TypeVar("V", Session, Run)
Undo = list[Callable[[], object]]


@dataclass(eq=False)
class _Tables:
    """What several stores in memory may share, as several processes share a database."""

    sessions: dict[str, Row] = field(default_factory=dict)
    runs: dict[str, Row] = field(default_factory=dict)
    #: By session, in the order of their numbers.
    events: dict[str, list[Row]] = field(default_factory=dict)
    #: By run, who executes it, and until when that is believed.
    leases: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    #: All events by id.
    by_id: dict[str, Row] = field(default_factory=dict)

    def of(self, kind: Kind) -> dict[str, Row]:
        """Answer the rows of a kind."""
        return self.sessions if kind is SESSION else self.runs


class InMemorySessionStore:
    """The store without a database; its functions are those of `SessionStore`, whose docstrings are the laws.

    Args:
        tables: What another store in memory has too; its own when None.
    """

    Tables = _Tables

    def __init__(self, tables: _Tables | None = None) -> None:
        self._tables = _Tables() if tables is None else port.value_of(tables, _Tables, "tables")

    def __repr__(self) -> str:
        return f"InMemorySessionStore({len(self._tables.sessions)} sessions)"

    # -- sessions -------------------------------------------------------------------------------------------------

    async def save_session(self, session: Session, *, once: bool = False) -> Session:
        """Store a session, and answer it with the revision that it has now."""
        port.value_of(session, Session, "session")
        port.check_flags(once=once)
        with _all_or_nothing() as undo:
            return self._save(SESSION, session, once, undo)

    async def get_session(self, session_id: str) -> Session:
        """Answer a session, also one that was deleted softly."""
        return self._get(SESSION, Session, session_id)

    async def list_sessions(
        self,
        *,
        status: OneOrMany | None = None,
        agent_id: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Session]:
        """Answer the sessions that pass all filters, the oldest first."""
        if agent_id is not None:
            checks.text(agent_id, "agent_id")
        return self._list(SESSION, Session, {"agent_id": agent_id}, status, limit, offset)

    async def delete_session(self, session_id: str) -> list[Artifact]:
        """Remove a session with all that belongs to it; it has no artifacts here."""
        checks.text(session_id, "session_id")
        tables = self._tables
        if tables.sessions.pop(session_id, None) is not None:
            for run_id in [run_id for run_id, run in tables.runs.items() if run["session_id"] == session_id]:
                del tables.runs[run_id]
                tables.leases.pop(run_id, None)
            for event in tables.events.pop(session_id):
                del tables.by_id[event["id"]]
            self._ring(session_id)
        return []

    # -- runs -----------------------------------------------------------------------------------------------------

    async def save_run(self, run: Run, *, concurrent: bool = False, once: bool = False) -> Run:
        """Store a run, and answer it with the revision that it has now."""
        port.value_of(run, Run, "run")
        port.check_flags(once=once, concurrent=concurrent)
        with _all_or_nothing() as undo:
            return self._save_run(run, concurrent, once, undo)

    async def get_run(self, run_id: str) -> Run:
        """Answer a run."""
        return self._get(RUN, Run, run_id)

    async def list_runs(
        self, session_id: str, *, status: OneOrMany | None = None, limit: int | None = None, offset: int = 0
    ) -> list[Run]:
        """Answer the runs of a session that pass all filters, the oldest first."""
        checks.text(session_id, "session_id")
        return self._list(RUN, Run, {"session_id": session_id}, status, limit, offset)

    async def get_active_run(self, session_id: str) -> Run | None:
        """Answer the running run of a session, of several the one that was started last."""
        running = await self.list_runs(session_id, status="running")
        return running[-1] if running else None

    async def lease_run(self, run_id: str, holder: str, seconds: float) -> bool:
        """Take or renew the lease of a run that has not ended."""
        checks.text(run_id, "run_id")
        checks.text(holder, "holder")
        now, until = leases.now_and_until(seconds)
        run, lease = self._tables.runs.get(run_id), self._tables.leases.get(run_id)
        free = lease is None or lease[0] == holder or lease[1] < now
        if run is None or run["status"] not in ("pending", "running") or not free:
            return False
        self._tables.leases[run_id] = (holder, until)
        return True

    async def lost_runs(self, *, limit: int = 100, on_corrupt: OnCorrupt | None = None) -> list[Run]:
        """Answer running runs whose lease has run out, the longest ago first."""
        checks.whole(limit, "limit")
        now, runs = times.now(), self._tables.runs
        lost = sorted((until, run_id) for run_id, (_, until) in self._tables.leases.items() if until < now)
        running = [run_id for _, run_id in lost if run_id in runs and runs[run_id]["status"] == "running"]
        return [*islice(rows.readable(Run, RUN, (runs[run_id] for run_id in running), on_corrupt), limit)]

    # -- events ---------------------------------------------------------------------------------------------------

    async def append_event(self, event: Event) -> Event:
        """Append an event, and answer it with its number."""
        return (await self.append_events([event]))[0]

    async def append_event_with_sequence(self, event: Event) -> Event:
        """Do what `append_event` does."""
        return await self.append_event(event)

    async def append_events(self, events: Iterable[Event]) -> list[Event]:
        """Append events of one session or several, all or none."""
        given = port.events_in(events)
        with _all_or_nothing() as undo:
            stored = self._append(given, undo)
        self._ring(*{event.session_id for event in given})
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
        """Store a session, a run of it and events of it: all of it, or nothing."""
        given = port.check_flush(session, run, events)
        port.check_flags(once=once, concurrent=concurrent)
        with _all_or_nothing() as undo:
            saved = self._save(SESSION, session, once, undo)
            saved_run = None if run is None else self._save_run(run, concurrent, once, undo)
            stored = self._append(given, undo)
        self._ring(session.id)
        return Flushed(saved, saved_run, stored)

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
        """Answer the events of a session that pass all filters, in the order of their numbers."""
        asked = port.wished(session_id, run_id=run_id, type=type, since=since, after=after, before=before, limit=limit)
        seconds = port.milliseconds(wait_timeout_ms, "wait_timeout_ms")
        if seconds is None or asked.nothing:
            return self._events(asked)

        async def read() -> list[Event]:
            return self._events(asked)

        with bells.bell(self._tables, (None, session_id)) as bell:
            return await following.until_some(read, seconds, bell, None)

    async def follow(
        self, session_id: str, *, after: int = 0, run_id: str | None = None, type: OneOrMany | None = None
    ) -> AsyncGenerator[Event, None]:
        """Answer the events of a session, those that are there and all that will come, until the session is deleted."""
        asked = port.wished(session_id, run_id=run_id, type=type, after=after, limit=following.PAGE)
        self._get(SESSION, Session, session_id)

        mine = self._tables.events.get(session_id)

        async def read(after: int) -> tuple[int | None, list[Event]]:
            there = self._tables.events.get(session_id)
            if there is None or there is not mine:
                return None, []
            return len(there), self._events(replace(asked, after=after))

        with bells.bell(self._tables, (None, session_id)) as bell:
            async for event in following.all_after(read, after, bell, None):
                yield event

    async def get_latest_sequence(self, session_id: str) -> int:
        """Answer the number of the event that was appended last; 0 when there was none."""
        return len(self._tables.events.get(checks.text(session_id, "session_id"), ()))

    # -- inside ---------------------------------------------------------------------------------------------------

    def _ring(self, *session_ids: str) -> None:
        for session_id in session_ids:
            bells.ring(self._tables, (None, session_id))

    def _save(self, kind: Kind, value: V, once: bool, undo: Undo) -> V:
        table = self._tables.of(kind)
        row = rows.encode_value(kind, value, "sqlite")
        stored = table.get(value.id)
        if rows.may_write(kind, row, stored, once=once):
            revision = 1 if stored is None else stored["revision"] + 1
            _put(table, value.id, {**row, "revision": revision}, undo)
        if kind is SESSION and value.id not in self._tables.events:
            _put(self._tables.events, value.id, [], undo)
        revision = table[value.id]["revision"]
        return value if revision == value.revision else replace(value, revision=revision)

    def _save_run(self, run: Run, concurrent: bool, once: bool, undo: Undo) -> Run:
        if run.session_id not in self._tables.sessions:
            raise rows.missing("session", run.session_id)
        if run.status == "running" and not concurrent:
            there = self._tables.runs.values()
            rows.may_run(run, [r["id"] for r in there if (r["session_id"], r["status"]) == (run.session_id, "running")])
        return self._save(RUN, run, once, undo)

    def _append(self, events: list[Event], undo: Undo) -> list[Event]:
        wanted = rows.encode_events(events, "sqlite")
        stored: dict[str, Event] = {}
        for event in events:
            row, there = wanted[event.id], self._tables.by_id.get(event.id)
            if there is not None:
                rows.refuse_other(row, there)
                stored.setdefault(event.id, _event(there))
            else:
                stored[event.id] = rows.numbered(event, self._add(row, undo))
        return [stored[event.id] for event in events]

    def _add(self, row: Row, undo: Undo) -> int:
        rows.refuse_unknown(row)
        there = self._tables.events.get(row["session_id"])
        if there is None:
            raise rows.missing("session", row["session_id"])
        numbered = {**row, EVENTS.number: len(there) + 1}
        there.append(numbered)
        undo.append(there.pop)
        _put(self._tables.by_id, row["id"], numbered, undo)
        return len(there)

    def _events(self, asked: Wished) -> list[Event]:
        if asked.nothing:
            return []
        there = self._tables.events.get(asked.session_id, [])
        first, last = asked.after or 0, len(there) if asked.before is None else asked.before
        passing = (event for event in map(_event, there[first:last]) if asked.passes(event))
        return [event for _, event in zip(range(asked.limit or len(there)), passing, strict=False)]

    def _get(self, kind: Kind, cls: type[V], key: str) -> V:
        row = self._tables.of(kind).get(checks.text(key, f"{kind.name}_id"))
        if row is None:
            raise rows.missing(kind.name, key)
        return _value(kind, cls, row)

    def _list(
        self,
        kind: Kind,
        cls: type[V],
        given: Mapping[str, Any],
        status: OneOrMany | None,
        limit: int | None,
        offset: int,
    ) -> list[V]:
        statuses = port.texts(status, "status")
        most, first = port.page(limit, offset)
        found = [
            row
            for row in self._tables.of(kind).values()
            if all(value in (None, row[name]) for name, value in given.items())
            and (statuses is None or row["status"] in statuses)
        ]
        found.sort(key=lambda row: (row[kind.order], row["id"].encode()))
        return [_value(kind, cls, row) for row in found[first : first + most]]


@contextmanager
def _all_or_nothing() -> Iterator[Undo]:
    undo: Undo = []
    try:
        yield undo
    except BaseException:
        for step in reversed(undo):
            step()
        raise


def _put(table: dict[str, Any], key: str, value: Any, undo: Undo) -> None:
    before = table.get(key)
    undo.append(lambda: table.pop(key) if before is None else table.update({key: before}))
    table[key] = value


def _value(kind: Kind, cls: type[V], row: Row) -> V:
    return rows.decode(cls, kind.columns, row, kind.table)


def _event(row: Row) -> Event:
    return rows.decode(Event, EVENT_COLUMNS, {c.name: row[c.name] for c in EVENT_COLUMNS}, EVENTS.rows)
