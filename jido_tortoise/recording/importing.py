"""Exported sessions into a database, with their ids, times, numbers and revisions: each one whole or not at all."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from jido_tortoise import checks, telemetry, times
from jido_tortoise.codec import text
from jido_tortoise.database import Db, fetch, in_thread, transaction
from jido_tortoise.driver_errors import ConstraintError
from jido_tortoise.errors import AlreadyExistsError, InvalidInputError, said
from jido_tortoise.journal import Column
from jido_tortoise.journal.run import run
from jido_tortoise.recording import query_statements, statements
from jido_tortoise.recording.entities import Artifact, Event, Run, Session
from jido_tortoise.recording.exporting import FORMAT, written_time
from jido_tortoise.recording.query_statements import ARTIFACT_ROWS, COUNTER, EVENT_ROWS, RUNS, SESSIONS, Searched
from jido_tortoise.recording.statements import EVENTS, SESSION
from jido_tortoise.recording.store import SessionStore

Lines = AsyncIterable[str] | Iterable[str]
Record = dict[str, Any]

#: Rows that are written at once.
_BATCH = 500
#: A NUL as JSON spells it; jsonb has no form for it, and the codec a tag.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


@dataclass(slots=True)
class Imported:
    """What an import has written."""

    sessions: int = 0
    runs: int = 0
    events: int = 0
    artifacts: int = 0
    #: Sessions that were there already.
    skipped: int = 0


class _Kind(NamedTuple):
    cls: type[Session | Run | Event | Artifact]
    of: Searched
    #: Where `Imported` counts it.
    counted: str


_KINDS = {
    "session": _Kind(Session, SESSIONS, "sessions"),
    "run": _Kind(Run, RUNS, "runs"),
    "event": _Kind(Event, EVENT_ROWS, "events"),
    "artifact": _Kind(Artifact, ARTIFACT_ROWS, "artifacts"),
}
_COUNTER = (
    *EVENTS.key,
    *(Column(name, "bigint") for name in COUNTER),
    Column("created_at", "timestamptz"),
    Column("updated_at", "timestamptz"),
)


async def import_sessions(
    lines: Lines,
    store: SessionStore | None = None,
    *,
    existing: Literal["refuse", "skip"] = "refuse",
) -> Imported:
    """Write sessions that `QueryAPI.export_session` has exported, one after another, in bounded memory.

    Each is a transaction of its own, or all of them part of the host's: an import that was ended half way is repeated
    with `existing="skip"`.

    Args:
        lines: Of one export or several, one behind the other; an open text file, for example.
        store: Where to; `SessionStore()` when None.
        existing: What to do with a session that is there already.

    Raises:
        InvalidInputError: A line is none of an export, or lines are missing; `path` says where. Nothing of its session
            was written.
        AlreadyExistsError: The session is there already, or something of it in another one.
    """
    if existing not in ("refuse", "skip"):
        raise InvalidInputError.at("existing", "'refuse' or 'skip'", existing)
    done = Imported()
    with telemetry.operation("recording_import") as span:
        db = await (store or SessionStore()).connected()
        records = _records(lines)
        async for path, record in records:
            await _import_one(db, path, record, records, done, existing == "skip")
        span.set(sessions=done.sessions, events=done.events)
    return done


async def _import_one(
    db: Db, path: str, head: Record, records: AsyncIterator[tuple[str, Record]], done: Imported, skips: bool
) -> None:
    if head.get("record") != "session" or head.pop("format", None) != FORMAT:
        raise InvalidInputError.at(path, f"a session in the format {FORMAT}", said(f"{str(head)[:80]}"))
    counter = _counter_of(head, path)
    row = _row_of(head, path, db)
    one = _OneSession(db, row["id"], counter["last_sequence"])
    try:
        async with transaction(db) as inner:
            is_new = not await run(inner, statements.get(SESSION, db.schema, db.dialect), {"id": row["id"]})
            if not is_new and not skips:
                raise AlreadyExistsError(f"there is a session {row['id']!r} already", session_id=row["id"])
            if is_new:
                await _insert(inner, SESSIONS.table, SESSIONS.columns, [row])
                moments = {name: row[name] for name in ("created_at", "updated_at")}
                await _insert(inner, EVENTS.head, _COUNTER, [{"session_id": row["id"], **counter, **moments}])
            await one.read(inner, records, is_new)
    except ConstraintError as error:
        message = f"a run, an event or an artifact of session {row['id']!r} is there already, or comes twice"
        raise AlreadyExistsError(message, session_id=row["id"]) from error
    one.add_to(done, is_new)


class _OneSession:
    """What stands between a session's line and its end."""

    def __init__(self, db: Db, session_id: str, last_sequence: int) -> None:
        self._db, self._id, self._last_sequence = db, session_id, last_sequence
        self._counts = dict.fromkeys(("run", "event", "artifact"), 0)
        self._batch: list[dict[str, Any]] = []
        self._kind = "run"

    def add_to(self, done: Imported, is_new: bool) -> None:
        if not is_new:
            done.skipped += 1
            return
        done.sessions += 1
        for name, count in self._counts.items():
            counted = _KINDS[name].counted
            setattr(done, counted, getattr(done, counted) + count)

    async def read(self, db: Db, records: AsyncIterator[tuple[str, Record]], is_new: bool) -> None:
        """Write everything up to the end, or only look at it."""
        async for path, record in records:
            kind = record.get("record")
            if kind == "end":
                await self._flush(db, is_new)
                return self._refuse_missing(path, record)
            if kind not in self._counts:
                raise InvalidInputError.at(path, f"a run, event or artifact of session {self._id!r}, or its end", kind)
            if kind != self._kind or len(self._batch) == _BATCH:
                await self._flush(db, is_new)
                self._kind = kind
            self._batch.append(self._checked(_row_of(record, path, self._db), path))
            self._counts[kind] += 1
        raise InvalidInputError.at("lines", f"the end of session {self._id!r}", said("no more: they were cut off"))

    def _checked(self, row: dict[str, Any], path: str) -> dict[str, Any]:
        if row["session_id"] != self._id:
            raise InvalidInputError.at(f"{path}.session_id", repr(self._id), row["session_id"])
        if self._kind == "event" and not 1 <= (row["sequence_number"] or 0) <= self._last_sequence:
            expected = f"an int from 1 to {self._last_sequence}, the counter's last_sequence"
            raise InvalidInputError.at(f"{path}.sequence_number", expected, row["sequence_number"])
        return row

    async def _flush(self, db: Db, is_new: bool) -> None:
        if self._batch and is_new:
            of = _KINDS[self._kind].of
            await _insert(db, of.table, of.columns, self._batch)
        self._batch = []

    def _refuse_missing(self, path: str, end: Record) -> None:
        expected = {"record": "end", "session_id": self._id, **{f"{name}s": n for name, n in self._counts.items()}}
        if {"artifacts": 0, **end} != expected:  # which are not counted where nobody asked for them
            raise InvalidInputError.at(path, f"the end of session {self._id!r} behind {self._counts}", said(f"{end}"))


# -- lines --------------------------------------------------------------------------------------------------------


async def _records(lines: Lines) -> AsyncIterator[tuple[str, Record]]:
    """Read lines as objects, each with where it is; empty lines are passed over."""
    number = 0
    async for line in _each(lines):
        number += 1
        if line.strip():
            yield f"lines[{number}]", _object(line, f"lines[{number}]")


async def _each(lines: object) -> AsyncIterator[str]:
    if isinstance(lines, AsyncIterable):
        async for line in lines:
            yield line
    elif isinstance(lines, Iterable) and not isinstance(lines, str | bytes):
        for line in lines:
            yield line
    else:
        raise InvalidInputError.at("lines", "an iterable of lines, such as an open text file", lines)


def _object(line: object, path: str) -> Record:
    try:
        record = text.read(line) if isinstance(line, str) else None
    except (ValueError, RecursionError):
        record = None
    if type(record) is not dict:
        raise InvalidInputError.at(path, "a JSON object", line)
    return record


def _counter_of(head: Record, path: str) -> dict[str, int]:
    counter = head.pop("counter", None)
    if type(counter) is not dict or counter.keys() != {*COUNTER}:
        raise InvalidInputError.at(f"{path}.counter", f"an object of {', '.join(COUNTER)}", counter)
    return {name: checks.whole(counter[name], f"{path}.counter.{name}") for name in COUNTER}


def _row_of(record: Record, path: str, db: Db) -> dict[str, Any]:
    """Answer the row of a line, once it is known to be one of ours."""
    cls, of, _ = _KINDS[record.pop("record")]
    names = {column.name for column in of.columns}
    if record.keys() != names:
        raise InvalidInputError.at(path, f"an object of {', '.join(sorted(names))}", sorted(record))
    fields = {c.name: _field(record[c.name], c, f"{path}.{c.name}") for c in of.columns}
    try:
        cls(**fields)  # which refuses what is none
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}", path=f"{path}.{error.path}") from error
    if "revision" in names:
        checks.whole(fields["revision"], f"{path}.revision", least=1)
    return {c.name: _stored(fields[c.name], c, f"{path}.{c.name}", db) for c in of.columns}


def _field(value: Any, column: Column, path: str) -> Any:
    if column.type != "timestamptz" or value is None:
        return value
    try:
        moment = datetime.fromisoformat(value)
        if written_time(moment) == value:  # Python would take a damaged one too, such as 2026-01-02U03:04
            return moment
        raise ValueError(f"{value!r} is written in another way")
    except (TypeError, ValueError) as error:
        raise InvalidInputError.at(path, "a time such as 2026-01-02T03:04:05.000006+00:00", value) from error


def _stored(value: Any, column: Column, path: str, db: Db) -> Any:
    if value is None:
        return None
    if column.type == "timestamptz":
        return times.stored_time(value, db.dialect)
    if column.type != "jsonb":
        return value
    written = text.write(value)
    if _NUL.search(written):
        raise InvalidInputError.at(path, "JSON without NUL", said("a text with NUL"))
    return written


# -- rows ---------------------------------------------------------------------------------------------------------


async def _insert(db: Db, table: str, columns: tuple[Column, ...], values: Sequence[Mapping[str, Any]]) -> None:
    statement = query_statements.insert(table, columns, db.schema, db.dialect)
    if db.dialect == "postgres":
        lists = {column.name: [row[column.name] for row in values] for column in columns}
        await fetch(db, statement.sql, statement.args(lists))
        return

    def job(connection: sqlite3.Connection) -> None:
        connection.executemany(statement.sql, values)

    await in_thread(db, job, write=True)
