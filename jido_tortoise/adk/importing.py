"""Importing the sessions of an existing google-adk database: each session whole and once, with bad rows named.

A session is written in one transaction, so that an import that was interrupted goes on where it stopped when it is
called again. Of one that is here already it fetches what is new; one that has been changed here since stays as it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from jido_tortoise import checks, codec, journal, times
from jido_tortoise.adk import care_statements, google_rows, routing, rows
from jido_tortoise.adk.continuing import ApartError, Wanted, add_rows, exactly, fetch_new, set_updated
from jido_tortoise.adk.google_source import PAGE, Row, Source, key_of, read_event, read_map, read_moment
from jido_tortoise.adk.keys import session_key
from jido_tortoise.adk.rows import EventRow, Key
from jido_tortoise.adk.statements import SESSIONS
from jido_tortoise.adk.store import AdkSessionStore
from jido_tortoise.database import Db, transaction
from jido_tortoise.driver_errors import ConstraintError
from jido_tortoise.errors import CorruptRowError
from jido_tortoise.journal import Append, Refused
from jido_tortoise.journal.run import run


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was not imported."""

    table: str
    key: tuple[Any, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Diverged:
    """A session that has gone its own way here, and was left as it is."""

    key: Key
    #: What shows it.
    reason: str
    #: How many events of the source are not here.
    missing: int


@dataclass(slots=True)
class Imported:
    """What an import has done."""

    #: The layout of the source: "v0" or "v1".
    schema: str
    #: How many were written.
    sessions: int = 0
    events: int = 0
    states: int = 0
    #: Sessions that were here already, and got what was new.
    continued: int = 0
    #: Those of which nothing was new.
    already: int = 0
    #: How many had gone their own way here; the first of them stand in `apart`.
    diverged: int = 0
    apart: list[Diverged] = field(default_factory=list)
    #: How many rows were not imported; the first of them stand in `bad`.
    bad_rows: int = 0
    bad: list[BadRow] = field(default_factory=list)


#: Told of each row that is not imported.
OnBad = Callable[[BadRow], object]
#: Told of each session that has gone its own way.
OnDiverged = Callable[[Diverged], object]
#: Told how many sessions have been looked at.
OnProgress = Callable[[int], object]

_MOST_NAMED = 100
#: What a malformed row leads to; a database that is not there is another matter.
_MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError)


class Import:
    """One import.

    Args:
        source: Where from.
        store: Where to.
        local: Whether times in a source of the layout v0 are the local time here, not UTC.
        on_bad: Told of each row that is not imported.
        on_diverged: Told of each session that has gone its own way here.
        on_progress: Told how many sessions have been looked at.
    """

    def __init__(
        self,
        source: Source,
        store: AdkSessionStore,
        *,
        local: bool = False,
        on_bad: OnBad = lambda _: None,
        on_diverged: OnDiverged = lambda _: None,
        on_progress: OnProgress = lambda _: None,
    ) -> None:
        self.done = Imported(source.schema)
        self._seen = 0
        self._source = source
        self._store = store
        self._local = local and source.schema == "v0"
        self._on_bad = on_bad
        self._on_diverged = on_diverged
        self._on_progress = on_progress

    async def run(self) -> Imported:
        """Import states, then sessions with their events.

        Raises:
            StorageUnavailableError: A database was not there; what was imported by then stays.
        """
        db = await self._store.connected()
        for table, key in (("app_states", ("app_name",)), ("user_states", ("app_name", "user_id"))):
            async with aclosing(self._source.states(table)) as found:
                async for row in found:
                    await self._add_state(db, table, tuple(row[name] for name in key), row)
        async with aclosing(self._source.events()) as walked, aclosing(self._source.sessions()) as sessions:
            events = _Groups(walked, self._orphan)
            async for row in sessions:
                await self._add_session(db, row, events)
                self._seen += 1
                self._on_progress(self._seen)
            await events.finish()
        return self.done

    def _refuse(self, table: str, key: tuple[Any, ...], error: Exception | str) -> None:
        bad = BadRow(table, key, str(error) or repr(error))
        self.done.bad_rows += 1
        if len(self.done.bad) < _MOST_NAMED:
            self.done.bad.append(bad)
        self._on_bad(bad)

    def _orphan(self, row: Row) -> None:
        self._refuse("events", (*key_of(row, "session_id"), row["id"]), "its session is not there")

    # -- states ---------------------------------------------------------------------------------------------------

    async def _add_state(self, db: Db, table: str, key: tuple[Any, ...], row: Row) -> None:
        try:
            names = [checks.text(name, column) for name, column in zip(key, ("app_name", "user_id"), strict=False)]
            state = codec.dump_map(read_map(row["state"], "the state"), path="state")
            moment = times.stored_time(read_moment(row["update_time"], local=self._local), db.dialect)
        except _MALFORMED as error:
            self._refuse(table, key, error)
            return
        values = dict(zip(("app_name", "user_id"), names, strict=False)) | {"state": state, "after": moment}
        statement = care_statements.add_state(len(key), db.schema, db.dialect)
        try:
            await run(db, statement, values, write=True, functions=SESSIONS.functions)
            self.done.states += 1
        except ConstraintError:
            self._refuse(table, key, "the state that is here already is malformed")

    # -- sessions -------------------------------------------------------------------------------------------------

    async def _add_session(self, db: Db, row: Row, events: _Groups) -> None:
        source_key = tuple(key_of(row, "id"))
        try:
            wanted = self._wanted(source_key, row, db)
        except _MALFORMED as error:
            self._refuse("sessions", source_key, error)
            await events.skip(source_key)
            return
        pages = self._rows(events, source_key, wanted.key, db)
        if not await self._add_new(db, wanted, pages):
            await self._add_to(db, wanted, pages)
        await events.skip(source_key)

    def _wanted(self, source_key: tuple[Any, ...], row: Row, db: Db) -> Wanted:
        key = session_key(*source_key)
        state = routing.without_temp(read_map(row["state"], "the state"))
        moments = [read_moment(row[name], local=self._local) for name in ("create_time", "update_time")]
        created, updated = (times.stored_time(moment, db.dialect) for moment in moments)
        return Wanted(key, created, updated, codec.dump_map(state, path="state"), exactly(row["update_time"]))

    async def _add_new(self, db: Db, wanted: Wanted, pages: AsyncIterator[list[EventRow]]) -> bool:
        """Write a session and its events; False when it is here already."""
        values = {"state": wanted.state, "extra": "{}"}
        count = 0
        async with transaction(db) as inner:
            request = Append(key=wanted.key, columns=_NO_ROWS, now=wanted.created, values=values, must_be_new=True)
            try:
                await journal.append(inner, SESSIONS, request)
            except Refused:
                return False
            async for some in pages:
                await add_rows(inner, wanted, some)
                count += len(some)
            await set_updated(inner, wanted)
        self.done.sessions += 1
        self.done.events += count
        return True

    async def _add_to(self, db: Db, wanted: Wanted, pages: AsyncIterator[list[EventRow]]) -> None:
        """Fetch what is new of a session that is here already."""
        try:
            count, is_behind = await fetch_new(db, wanted, pages)
        except ApartError as error:
            self._leave(Diverged(wanted.key, error.reason, error.missing))
        except CorruptRowError as error:
            self._refuse("adk_sessions", wanted.key, error)
        else:
            self.done.events += count
            self.done.continued += is_behind
            self.done.already += not is_behind

    def _leave(self, one: Diverged) -> None:
        self.done.diverged += 1
        if len(self.done.apart) < _MOST_NAMED:
            self.done.apart.append(one)
        self._on_diverged(one)

    async def _rows(
        self, events: _Groups, source_key: tuple[Any, ...], key: Key, db: Db
    ) -> AsyncIterator[list[EventRow]]:
        some: list[EventRow] = []
        async for row in events.of(source_key):
            try:
                some.append(self._row(row, key, db))
            except (*_MALFORMED, CorruptRowError) as error:
                self._refuse("events", (*source_key, row["id"]), error)
            if len(some) == PAGE:
                yield some
                some = []
        if some:
            yield some

    def _row(self, row: Row, key: Key, db: Db) -> EventRow:
        tree, moment = read_event(row, self._source.schema, local=self._local)
        made = google_rows.row_of(tree, moment, db.dialect)
        rows.decode_events([(0, *made)], key)  # what cannot be read again is not written
        return made


_NO_ROWS: tuple[tuple[Any, ...], ...] = ((),) * len(SESSIONS.row)


class _Groups:
    """The events of one session after another, out of a walk over all, which has the sessions' order."""

    def __init__(self, events: AsyncIterator[Row], on_orphan: Callable[[Row], None]) -> None:
        self._events = events
        self._on_orphan = on_orphan
        self._next: Row | None = None
        self._ended = False

    async def of(self, key: tuple[Any, ...]) -> AsyncIterator[Row]:
        """Walk the events of a session; those of sessions before it, which were not there, are orphans."""
        while (row := await self._peek()) is not None:
            found = tuple(key_of(row, "session_id"))
            if found > key:
                return
            self._next = None
            if found == key:
                yield row
            else:
                self._on_orphan(row)

    async def skip(self, key: tuple[Any, ...]) -> None:
        """Pass over the events of a session."""
        async for _ in self.of(key):
            pass

    async def finish(self) -> None:
        """Name what is left."""
        while (row := await self._peek()) is not None:
            self._next = None
            self._on_orphan(row)

    async def _peek(self) -> Row | None:
        if self._next is None and not self._ended:
            self._next = await anext(self._events, None)
            self._ended = self._next is None
        return self._next


def shown(bad: BadRow) -> str:
    """Say which row it was, and what was wrong."""
    return f"{bad.table} {bad.key}: {bad.reason}"


def told(one: Diverged) -> str:
    """Say which session has gone its own way, and what it lacks."""
    lacks = f"; {one.missing} events of the source are not here" if one.missing else ""
    return f"{one.key}: {one.reason}{lacks}"


def named(bad: list[BadRow]) -> Iterator[dict[str, Any]]:
    """Answer bad rows for `json.dumps`."""
    for one in bad:
        yield {"table": one.table, "key": list(one.key), "reason": one.reason}
