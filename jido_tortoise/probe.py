"""A cheap look at whether our tables are there, taken once for each connection and schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jido_tortoise.database import Db, fetch, in_thread
from jido_tortoise.errors import SchemaError

_POSTGRES = """
SELECT c.relname, a.attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.oid = ANY(ARRAY(SELECT to_regclass(name)::oid FROM unnest($1::text[]) AS name))
"""
_SQLITE = "SELECT t.value, c.name FROM json_each(?) AS t, pragma_table_info(t.value) AS c"


async def check(db: Db, expected: Mapping[str, frozenset[str]]) -> None:
    """Refuse tables that are missing or lack columns, with the cure in the message.

    Columns that are ours not yet (from a newer version) do not matter.

    Raises:
        SchemaError: `schema_missing`, or `schema_old` when only columns are missing.
    """
    found = await _columns(db, list(expected))
    for table, columns in expected.items():
        missing = sorted(columns - found.get(table, set()))
        if missing:
            raise _refusal(table, missing, nothing=table not in found)


async def _columns(db: Db, tables: list[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for table, column in await _catalog(db, tables):
        found.setdefault(table, set()).add(column)
    return found


async def _catalog(db: Db, tables: list[str]) -> list[Any]:
    if db.dialect == "postgres":
        prefix = "" if db.schema is None else '"' + db.schema.replace('"', '""') + '".'
        return await fetch(db, _POSTGRES, [[f"{prefix}{table}" for table in tables]])
    names = "[" + ", ".join(f'"{table}"' for table in tables) + "]"
    return await in_thread(db, lambda connection: [tuple(row) for row in connection.execute(_SQLITE, (names,))])


def _refusal(table: str, missing: list[str], *, nothing: bool) -> SchemaError:
    cure = "run `jido-tortoise upgrade -c your.settings.TORTOISE_ORM`"
    if nothing:
        return SchemaError(f"the table {table} is missing: {cure}", reason="schema_missing", table=table)
    return SchemaError(
        f"the table {table} lacks the columns {missing}: it is older than this library, or not ours"
        f" (`jido-tortoise verify` tells): {cure}",
        reason="schema_old",
        table=table,
        missing=missing,
    )
