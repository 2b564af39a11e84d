"""The journal on PostgreSQL: each operation is one statement, but for a delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jido_tortoise.database import Db, fetch, transaction
from jido_tortoise.errors import StorageError
from jido_tortoise.journal import statements
from jido_tortoise.journal.statements import Statement
from jido_tortoise.journal.table import Append, Column, Follower, JournalTable, Sibling, Written

Key = tuple[Any, ...]

#: What a sibling's SQL casts to a number when it must undo the whole statement: a common table expression cannot
#: take back what another one of the same statement has written, an error can.
RAISE = "('jido:refused:' || {column})::bigint"


async def append(
    db: Db, table: JournalTable, request: Append, sibling: Sibling | None, followers: tuple[Follower, ...]
) -> Written | None:
    """Append in one statement; None when head or sibling were not where they should be."""
    lone = request.count == 1
    statement = statements.append(table, db.schema, statements.variant_of(request), sibling, followers, lone=lone)
    values = _append_values(table, request, lone=lone)
    try:
        rows = await fetch(db, statement.sql, statement.args(values), savepoint=True)
    except StorageError as error:
        if "jido:refused:" in str(error):
            return None
        raise
    if not rows:
        return None
    counter, oldest, created_at, updated_at, *others = rows[0]
    end = len(others) - sum(follower.answers for follower in followers)
    beside, answers = tuple(others[:end]), tuple(others[end:])
    return Written(
        counter=counter, oldest=oldest, created_at=created_at, updated_at=updated_at, sibling=beside, answers=answers
    )


def _append_values(table: JournalTable, request: Append, *, lone: bool = False) -> dict[str, Any]:
    values = {c.name: value for c, value in zip(table.key, request.key, strict=True)}
    columns = zip(table.row, request.columns, strict=True)
    if lone:
        values |= {f"row_{c.name}": rows[0] for c, rows in columns}
    else:
        values |= {f"rows_{c.name}": _as_array(c, rows) for c, rows in columns}
    values |= request.values
    values |= {"n": request.count, "expected": request.expected, "identity": request.identity, "now": request.now}
    return values


def _as_array(column: Column, values: Sequence[Any]) -> Sequence[Any]:
    if column.type not in statements.WRITTEN:
        return values
    return [None if value is None else str(value) for value in values]


async def look(db: Db, table: JournalTable, request: Append) -> list[tuple[Any, ...]]:
    """Read the head, and beside it those of the request's rows that are stored, by their ids."""
    return await _rows(db, statements.look(table, db.schema, "postgres"), _append_values(table, request))


async def read_lock(db: Db, table: JournalTable, request: Append, sibling: Sibling) -> tuple[Any, ...] | None:
    """Read the sibling's row as it is now."""
    sql = sibling.lock.replace("{schema}", statements.qualified(db.schema))
    values = _key_values(table, request.key) | dict(request.values)
    rows = await _rows(db, statements.compiled(sql, (*table.key, *sibling.params)), values)
    return rows[0] if rows else None


async def read_head(db: Db, table: JournalTable, key: Key, *, lock: bool = False) -> tuple[Any, ...] | None:
    """Read the head's columns."""
    rows = await _rows(db, statements.read_head(table, db.schema, "postgres", lock=lock), _key_values(table, key))
    return rows[0] if rows else None


async def read_rows(db: Db, table: JournalTable, key: Key, start: int, stop: int) -> list[tuple[Any, ...]]:
    """Read the rows with a number in [start, stop)."""
    values = _key_values(table, key) | {"start": start, "stop": stop}
    statement = statements.read_rows(table, db.schema, "postgres")
    return await fetch(db, statement.sql, statement.args(values))


async def has_rows(db: Db, table: JournalTable, key: Key) -> bool:
    """Ask whether there are rows, with a head or without."""
    return bool(await _rows(db, statements.has_rows(table, db.schema, "postgres"), _key_values(table, key)))


async def trim(db: Db, table: JournalTable, key: Key, stop: int) -> int:
    """Trim, and answer how many rows went."""
    rows = await _rows(db, statements.trim(table, db.schema), _key_values(table, key) | {"stop": stop})
    return int(rows[0][0])


async def copy(db: Db, table: JournalTable, source: Key, target: Key, stop: int, now: Any) -> bool:
    """Copy, and answer whether there was a source."""
    values = _key_values(table, source) | _key_values(table, target, "to_") | {"stop": stop, "now": now}
    statement = statements.copy(table, db.schema)
    return bool(await fetch(db, statement.sql, statement.args(values), savepoint=True))


async def delete(db: Db, table: JournalTable, key: Key) -> None:
    """Delete head, then rows: in one statement an append that waited for the head would lose its rows."""
    values = _key_values(table, key)
    async with transaction(db) as inner:
        await _rows(inner, statements.delete_head(table, db.schema, "postgres"), values)
        await _rows(inner, statements.delete_rows(table, db.schema, "postgres"), values)


async def span_of_rows(db: Db, table: JournalTable, key: Key) -> tuple[Any, ...]:
    """Read the lowest and the highest number, and how many rows there are."""
    return (await _rows(db, statements.span_of_rows(table, db.schema, "postgres"), _key_values(table, key)))[0]


async def set_head(db: Db, table: JournalTable, key: Key, values: Mapping[str, Any]) -> None:
    """Make the head say what it should."""
    await _rows(db, statements.set_head(table, db.schema, "postgres"), _key_values(table, key) | dict(values))


async def _rows(db: Db, statement: Statement, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await fetch(db, statement.sql, statement.args(values))]


def _key_values(table: JournalTable, key: Key, prefix: str = "") -> dict[str, Any]:
    return {f"{prefix}{c.name}": value for c, value in zip(table.key, key, strict=True)}
