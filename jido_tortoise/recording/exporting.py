"""A session with all that belongs to it as lines of JSON, in bounded memory; `importing` reads them.

The first line is the session, the last says how many lines of each kind stood between, so that a file that was cut off
is known for one. Values are as they are stored, tags included: no class of the host is needed. Events that are appended
meanwhile are left out.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from jido_tortoise import codec, times
from jido_tortoise.database import Db
from jido_tortoise.errors import CorruptRowError
from jido_tortoise.journal import Column
from jido_tortoise.journal.run import run
from jido_tortoise.recording import query_statements, rows
from jido_tortoise.recording.entities import Artifact, Event, Run, Session
from jido_tortoise.recording.query_statements import ARTIFACT_ROWS, EVENT_ROWS, RUNS, SESSIONS, Searched
from jido_tortoise.recording.store import SessionStore

V = TypeVar("V")

#: Of the lines; a reader refuses those of a newer one.
FORMAT = 1
#: Rows that are read at once.
_PAGE = 500


@dataclass(frozen=True, slots=True)
class ExportedSession:
    """A session with all that belongs to it."""

    session: Session
    #: By their start.
    runs: tuple[Run, ...]
    #: By their numbers.
    events: tuple[Event, ...]
    #: By their making; None when they were not asked for.
    artifacts: tuple[Artifact, ...] | None


class _Kind(NamedTuple):
    name: str
    of: Searched
    order: str
    filter: str


_RUNS = _Kind("run", RUNS, "started_at_asc", "session_id")
_EVENTS = _Kind("event", EVENT_ROWS, "sequence_asc", "session_ids")
_ARTIFACTS = _Kind("artifact", ARTIFACT_ROWS, "created_at_asc", "session_id")


class SessionExport:
    """An export that has not begun: `await` answers it as one value, `async for` its lines without their ends.

    Args:
        store: Where the session is.
        session_id: Its id.
        include_artifacts: Whether what is known of its artifacts comes too.
    """

    __slots__ = ("_include_artifacts", "_session_id", "_store")

    def __init__(self, store: SessionStore, session_id: str, include_artifacts: bool) -> None:
        self._store, self._session_id, self._include_artifacts = store, session_id, include_artifacts

    def __await__(self) -> Generator[Any, None, ExportedSession]:
        return self._whole().__await__()

    def __aiter__(self) -> AsyncGenerator[str, None]:
        return self._lines()

    async def _whole(self) -> ExportedSession:
        db = await self._store.connected()
        head, stop = await self._head(db)
        session = rows.decode(Session, SESSIONS.columns, head, SESSIONS.table)
        runs = await _all(db, Run, _RUNS, self._values(stop))
        events = await _all(db, Event, _EVENTS, self._values(stop))
        artifacts = await _all(db, Artifact, _ARTIFACTS, self._values(stop)) if self._include_artifacts else None
        return ExportedSession(session, runs, events, artifacts)

    async def _lines(self) -> AsyncGenerator[str, None]:
        db = await self._store.connected()
        head, stop = await self._head(db)
        counter = {name: head.pop(name) for name in query_statements.COUNTER}
        yield line_of("session", {"format": FORMAT, **plain(head, SESSIONS), "counter": counter})
        counts = {}
        for kind in (_RUNS, _EVENTS, *((_ARTIFACTS,) if self._include_artifacts else ())):
            counts[f"{kind.name}s"] = 0
            async for row in _rows(db, kind, self._values(stop)):
                yield line_of(kind.name, plain(row, kind.of))
                counts[f"{kind.name}s"] += 1
        yield line_of("end", {"session_id": self._session_id, **counts})

    async def _head(self, db: Db) -> tuple[dict[str, Any], int]:
        statement = query_statements.exported(db.schema, db.dialect)
        found = await run(db, statement, {"session_id": self._session_id})
        if not found:
            raise rows.missing("session", self._session_id)
        names = [*(column.name for column in SESSIONS.columns), *query_statements.COUNTER]
        row = dict(zip(names, found[0], strict=True))
        return row, row["last_sequence"]

    def _values(self, stop: int) -> dict[str, Any]:
        return {"session_id": self._session_id, "session_ids": self._session_id, "upto": stop, "live": True}


async def belongings(db: Db, session_id: str) -> AsyncIterator[str]:
    """Answer the lines of a session's runs and artifacts as they are now; an export has the same ones."""
    values = {"session_id": session_id, "live": True}
    for kind in (_RUNS, _ARTIFACTS):
        async for row in _rows(db, kind, values):
            yield line_of(kind.name, plain(row, kind.of))


async def _all(db: Db, cls: type[V], kind: _Kind, values: Mapping[str, Any]) -> tuple[V, ...]:
    return tuple([rows.decode(cls, kind.of.columns, row, kind.of.table) async for row in _rows(db, kind, values)])


async def _rows(db: Db, kind: _Kind, values: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Walk the rows of a kind, page by page."""
    names = [column.name for column in kind.of.columns]
    wished = frozenset({kind.filter, *(name for name in ("upto", "live") if name in kind.of.others)})
    place: dict[str, Any] = {}
    while True:
        statement = query_statements.search(kind.of, wished | frozenset(place), kind.order, db.schema, db.dialect)
        found = await run(db, statement, {**values, **place, "limit": _PAGE})
        for row in found:
            yield dict(zip(names, row, strict=True))
        if len(found) < _PAGE:
            return
        last = dict(zip(names, found[-1], strict=True))
        place = {"place": last[kind.of.orders[kind.order].by], "place_id": last["id"]}


# -- lines --------------------------------------------------------------------------------------------------------


def line_of(record: str, values: Mapping[str, Any]) -> str:
    """Answer a line without its end."""
    return json.dumps({"record": record, **values}, ensure_ascii=False, separators=(",", ":"))


def plain(row: Mapping[str, Any], of: Searched) -> dict[str, Any]:
    """Answer a row as JSON has it.

    Raises:
        CorruptRowError: It is malformed.
    """
    try:
        return {column.name: _plain_value(row[column.name], column) for column in of.columns}
    except (CorruptRowError, TypeError, ValueError) as error:
        message = f"{of.table} {row['id']!r} is malformed: {error}"
        raise CorruptRowError(message, table=of.table, key=row["id"]) from error


def _plain_value(stored: Any, column: Column) -> Any:
    if stored is None:
        return None
    if column.type == "jsonb":
        return codec.loads_raw(stored, path=column.name)
    return written_time(times.read_time(stored)) if column.type == "timestamptz" else stored


def written_time(moment: datetime) -> str:
    """Answer a time as lines have it."""
    return moment.isoformat(timespec="microseconds")
