"""Reading what is recorded: rows by id and by filters, as values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, TypeVar

from jido_tortoise import checks, times
from jido_tortoise.database import Db
from jido_tortoise.journal.run import run
from jido_tortoise.journal.statements import Statement
from jido_tortoise.recording import port, rows, statements
from jido_tortoise.recording.entities import Artifact, Event, Run, Session
from jido_tortoise.recording.port import OnCorrupt, Wished
from jido_tortoise.recording.rows import Row
from jido_tortoise.recording.statements import RUN, Kind

V = TypeVar("V", Session, Run)

#: Rows that are read at once at the least where some may be malformed.
_LEAST = 100


async def get(db: Db, kind: Kind, cls: type[V], key: str) -> V:
    """Answer a session or run by its id; NotFoundError when it is not there."""
    wanted = {"id": checks.text(key, f"{kind.name}_id")}
    found = await all_of(db, statements.get(kind, db.schema, db.dialect), wanted)
    if not found:
        raise rows.missing(kind.name, key)
    return value_of_row(kind, cls, rows.named(kind, found[0]))


A = TypeVar("A", Session, Run, Artifact)


async def list_of(
    db: Db,
    kind: Kind,
    cls: type[A],
    wanted: Mapping[str, Any],
    limit: int | None,
    offset: int,
    decode: Callable[..., A] = rows.decode,
) -> list[A]:
    """Answer the rows that pass all filters that are not None, the oldest first; `statuses` are several."""
    filters = frozenset("status" if name == "statuses" else name for name, value in wanted.items() if value is not None)
    most, first = port.page(limit, offset)
    if "agent_id" in filters:
        checks.text(wanted["agent_id"], "agent_id")
    statement = statements.rows_of(kind, filters, db.schema, db.dialect)
    found = await all_of(db, statement, {**wanted, "limit": most, "offset": first})
    return [decode(cls, kind.columns, rows.named(kind, row), kind.table) for row in found]


def value_of_row(kind: Kind, cls: type[A], row: Row) -> A:
    """Make the value of a row."""
    return rows.decode(cls, kind.columns, row, kind.table)


async def running(db: Db, session_id: str) -> list[Row]:
    """Answer the rows of a session's running runs, the one that was started last first."""
    found = await all_of(db, statements.running(db.schema, db.dialect), {"session_id": session_id})
    return [rows.named(RUN, row) for row in found]


async def lost_runs(db: Db, limit: int, on_corrupt: OnCorrupt | None) -> list[Run]:
    """Answer running runs whose lease has run out, the longest ago first; malformed ones do not count."""
    now, place = times.now(), (times.stored_time(times.moment_from(float("-inf")), db.dialect), "")
    statement = statements.lost_runs(db.schema, db.dialect)
    lost: list[Run] = []
    full = True
    while full and len(lost) < limit:
        batch = max(limit - len(lost), _LEAST)
        given = {"now": times.stored_time(now, db.dialect), "place": place[0], "place_id": place[1]}
        found = await all_of(db, statement, {**given, "limit": batch})
        full = len(found) == batch
        place = (found[-1][-1], found[-1][0]) if found else place
        named = (rows.named(RUN, row) for row in found)
        lost += islice(rows.readable(Run, RUN, named, on_corrupt), limit - len(lost))
    return lost


async def events(db: Db, asked: Wished) -> list[Event]:
    """Answer the events that are wished."""
    if asked.nothing:
        return []
    values: Row = {
        "run_id": asked.run_id,
        "type" if asked.types and len(asked.types) == 1 else "types": asked.types,
        "since": None if asked.since is None else times.stored_time(asked.since, db.dialect),
        "after": asked.after,
        "before": asked.before,
        "limit": asked.limit,
    }
    filters = frozenset(name for name, value in values.items() if value is not None)
    if "type" in filters:
        values["type"] = values["type"][0]
    statement = statements.events(filters, db.schema, db.dialect)
    return rows.events_of(await all_of(db, statement, {**values, "session_id": asked.session_id}))


async def all_of(db: Db, statement: Statement, values: Mapping[str, Any], *, write: bool = False) -> list[Any]:
    """Run a statement and answer its rows."""
    return await run(db, statement, given(db, values), write=write)


def given(db: Db, values: Mapping[str, Any]) -> Row:
    """Answer values as the driver takes them: SQLite has no lists."""
    lists = {name: list(value) for name, value in values.items() if isinstance(value, list | tuple)}
    if db.dialect == "sqlite":
        return {**values, **{name: json.dumps(value) for name, value in lists.items()}}
    return {**values, **lists}
