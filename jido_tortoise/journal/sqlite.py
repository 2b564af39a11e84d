"""The journal on SQLite: each operation is one job in the connection's thread, a writing one under the write lock."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from jido_tortoise.database import Db, all_rows, in_thread
from jido_tortoise.journal import statements
from jido_tortoise.journal.table import Append, Follower, JournalTable, Sibling, Written

Key = tuple[Any, ...]
Row = tuple[Any, ...]
Functions = Mapping[str, tuple[int, Callable[..., Any]]]


class _NotThereError(Exception):
    """Ends a job so that its frame undoes it: head or sibling were not where they should be."""


async def append(
    db: Db, table: JournalTable, request: Append, sibling: Sibling | None, followers: tuple[Follower, ...]
) -> Written | None:
    """Append in one job; None when head or sibling were not where they should be."""

    def job(connection: sqlite3.Connection) -> Written:
        return _append(connection, table, request, sibling, followers)

    try:
        return await in_thread(db, job, write=True)
    except _NotThereError:
        return None


def _one_calling(connection: sqlite3.Connection, functions: Functions, sql: str, values: dict[str, Any]) -> Row | None:
    """Run a statement whose SQL calls functions of ours, which a new connection does not have yet.

    They are made when they are missed: each time one is made, SQLite compiles all statements of the connection anew.
    """
    try:
        return _one(connection, sql, values)
    except sqlite3.OperationalError as error:
        if not functions or "no such function" not in str(error):
            raise
    for name, (count, function) in functions.items():
        connection.create_function(name, count, function, deterministic=True)
    return _one(connection, sql, values)


def _append(
    connection: sqlite3.Connection,
    table: JournalTable,
    request: Append,
    sibling: Sibling | None,
    followers: tuple[Follower, ...],
) -> Written:
    values = _append_values(table, request)
    functions = table.functions
    sql = statements.sqlite_head(table, statements.variant_of(request), sibling)
    head = _one_calling(connection, functions, sql, values)
    if head is None:
        raise _NotThereError
    counter, oldest, created_at, updated_at, *_ = head
    if request.count:
        first = counter - request.count + table.first
        numbered = zip(range(first, first + request.count), *request.columns, strict=True)
        connection.executemany(statements.insert_row(table), [(*request.key, *row) for row in numbered])
    others = _write_sibling(connection, sibling, values, counter) if sibling is not None else ()
    answers = []
    for follower in followers:
        sql = statements.sqlite_follower(follower)
        row = _one_calling(connection, functions, sql, values | {"counter": counter})
        if follower.answers:
            answers.append(row[0] if row else None)
    return Written(
        counter=counter,
        oldest=oldest,
        created_at=created_at,
        updated_at=updated_at,
        sibling=others,
        answers=tuple(answers),
    )


def _write_sibling(connection: sqlite3.Connection, sibling: Sibling, values: dict[str, Any], counter: int) -> Row:
    values = values | {"counter": counter}
    for sql in statements.sqlite_sibling(sibling):
        row = _one(connection, sql, values)
        if row is not None:
            return row
    raise _NotThereError


def _append_values(table: JournalTable, request: Append) -> dict[str, Any]:
    values = _key_values(table, request.key) | dict(request.values)
    return values | {"n": request.count, "expected": request.expected, "identity": request.identity, "now": request.now}


async def look(db: Db, table: JournalTable, request: Append) -> list[Row]:
    """Read the head, and beside it those of the request's rows that are stored, by their ids."""
    ids = json.dumps(list(request.columns[0]))
    return await _read(db, statements.look(table, None, "sqlite").sql, _key_values(table, request.key) | {"ids": ids})


async def read_lock(db: Db, table: JournalTable, request: Append, sibling: Sibling) -> Row | None:
    """Read the sibling's row as it is now."""
    values = _key_values(table, request.key) | dict(request.values)
    rows = await _read(db, sibling.lock.replace("{schema}", ""), values)
    return rows[0] if rows else None


async def read_head(db: Db, table: JournalTable, key: Key, *, lock: bool = False) -> Row | None:
    """Read the head's columns; a transaction has the write lock anyway."""
    rows = await _read(db, statements.read_head(table, None, "sqlite").sql, _key_values(table, key))
    return rows[0] if rows else None


async def read_rows(db: Db, table: JournalTable, key: Key, start: int, stop: int) -> list[Row]:
    """Read the rows with a number in [start, stop)."""
    values = _key_values(table, key) | {"start": start, "stop": stop}
    return await _read(db, statements.read_rows(table, None, "sqlite").sql, values)


async def has_rows(db: Db, table: JournalTable, key: Key) -> bool:
    """Ask whether there are rows, with a head or without."""
    return bool(await _read(db, statements.has_rows(table, None, "sqlite").sql, _key_values(table, key)))


async def trim(db: Db, table: JournalTable, key: Key, stop: int) -> int:
    """Trim, and answer how many rows went."""
    move, drop = statements.sqlite_trim(table)
    values = _key_values(table, key)

    def job(connection: sqlite3.Connection) -> int:
        moved = _one(connection, move, values | {"stop": stop})
        return 0 if moved is None else connection.execute(drop, values | {"oldest": moved[0]}).rowcount

    return await in_thread(db, job, write=True)


async def copy(db: Db, table: JournalTable, source: Key, target: Key, stop: int, now: Any) -> bool:
    """Copy, and answer whether there was a source."""
    head, rows = statements.sqlite_copy(table)
    values = _key_values(table, source) | _key_values(table, target, "to_")

    def job(connection: sqlite3.Connection) -> bool:
        copied = _one(connection, head, values | {"stop": stop, "now": now})
        if copied is not None:
            connection.execute(rows, values | {"counter": copied[0]})
        return copied is not None

    return await in_thread(db, job, write=True)


async def delete(db: Db, table: JournalTable, key: Key) -> None:
    """Delete head and rows."""
    values = _key_values(table, key)

    def job(connection: sqlite3.Connection) -> None:
        connection.execute(statements.delete_head(table, None, "sqlite").sql, values)
        connection.execute(statements.delete_rows(table, None, "sqlite").sql, values)

    await in_thread(db, job, write=True)


async def span_of_rows(db: Db, table: JournalTable, key: Key) -> Row:
    """Read the lowest and the highest number, and how many rows there are."""
    return (await _read(db, statements.span_of_rows(table, None, "sqlite").sql, _key_values(table, key)))[0]


async def set_head(db: Db, table: JournalTable, key: Key, values: Mapping[str, Any]) -> None:
    """Make the head say what it should."""
    given = _key_values(table, key) | dict(values)
    await in_thread(db, _fetch_all(statements.set_head(table, None, "sqlite").sql, given), write=True)


async def _read(db: Db, sql: str, values: dict[str, Any]) -> list[Row]:
    return await in_thread(db, _fetch_all(sql, values))


def _fetch_all(sql: str, values: dict[str, Any]) -> Callable[[sqlite3.Connection], list[Row]]:
    return lambda connection: all_rows(connection, sql, values)


def _one(connection: sqlite3.Connection, sql: str, values: dict[str, Any]) -> Row | None:
    rows = all_rows(connection, sql, values)
    return rows[0] if rows else None


def _key_values(table: JournalTable, key: Key, prefix: str = "") -> dict[str, Any]:
    return {f"{prefix}{c.name}": value for c, value in zip(table.key, key, strict=True)}
