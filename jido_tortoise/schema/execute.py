"""Statements of the schema, run the same way on both databases."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jido_tortoise.database import Db, fetch, in_thread, resolve
from jido_tortoise.probe import read_columns
from jido_tortoise.schema.ddl import placed
from jido_tortoise.schema.families import FAMILIES
from jido_tortoise.schema.steps import AddColumn, Step

#: Changing a schema may have to wait for the host's own work, and a later step may move data.
PATIENCE = float("inf")


def db_of(alias: str, schema: str | None = None) -> Db:
    """Answer a connection of the current Tortoise context, or the transaction on it."""
    model = FAMILIES["agents"].model_classes()[0]
    return resolve(alias, model, schema=schema, timeout=PATIENCE)


async def run(db: Db, sql: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run one statement, with `$1` placeholders, and answer its rows."""
    if db.dialect == "postgres":
        return [tuple(row) for row in await fetch(db, sql, args)]
    named = {f"v{number}": value for number, value in enumerate(args, 1)}
    return await in_thread(db, lambda connection: _run(connection, re.sub(r"\$(\d)", r":v\1", sql), named))


def _run(connection: sqlite3.Connection, sql: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(sql, values)]


async def run_step(db: Db, step: Step) -> None:
    """Run a step; what it adds and finds is passed over."""
    await run_all(db, placed(await needed(db, step), db.dialect, db.schema))


async def needed(db: Db, step: Step) -> list[str | AddColumn]:
    """Answer a step without the columns that are there."""
    added = {template.table for template in step.up[db.dialect] if isinstance(template, AddColumn)}
    found = await read_columns(db, added) if added else {}
    there = {(table, column.name) for table, columns in found.items() for column in columns}
    return [
        template
        for template in step.up[db.dialect]
        if isinstance(template, str) or (template.table, template.column) not in there
    ]


async def run_all(db: Db, sqls: Iterable[str]) -> None:
    """Run statements one after the other."""
    for sql in sqls:
        await run(db, sql)
