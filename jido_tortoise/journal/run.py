"""One statement of ours, run the same way on both databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from jido_tortoise.database import Db, all_rows, fetch, in_thread
from jido_tortoise.journal.statements import Statement


async def run(
    db: Db,
    statement: Statement,
    values: Mapping[str, Any],
    *,
    write: bool = False,
    functions: Mapping[str, tuple[int, Callable[..., Any]]] | None = None,
) -> list[tuple[Any, ...]]:
    """Run one statement and answer its rows.

    Args:
        db: The connection.
        statement: For the connection's dialect.
        values: By the names that the statement uses.
        write: Whether it writes, and may fail by design: inside a transaction it then leaves that usable.
        functions: What its SQL calls on SQLite, by name, each with the number of its arguments.
    """
    if db.dialect == "postgres":
        return await fetch(db, statement.sql, statement.args(values), savepoint=write)
    given = dict(values)

    def job(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
        for name, (count, function) in (functions or {}).items():
            connection.create_function(name, count, function, deterministic=True)
        return all_rows(connection, statement.sql, given)

    return await in_thread(db, job, write=write)
