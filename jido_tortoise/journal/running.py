"""Statements that are not the journal's own, run on its floor the same way on both databases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jido_tortoise.database import Db, all_rows, fetch, in_thread
from jido_tortoise.journal.statements import Statement


async def all_of(db: Db, statement: Statement, values: Mapping[str, Any], *, write: bool = False) -> list[Any]:
    """Run a statement and answer its rows; one that writes may fail and leave the transaction around it usable."""
    if db.dialect == "postgres":
        return await fetch(db, statement.sql, statement.args(values), savepoint=write)
    given = dict(values)
    return await in_thread(db, lambda connection: all_rows(connection, statement.sql, given), write=write)
