"""Whether a connection has our tables, as far as column names tell: one look into the catalog, and the cure.

Only the catalog is read, never a table that may not be there: within a transaction on PostgreSQL that would abort it.
"""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

from jido_tortoise.database import Db, fetch, in_thread
from jido_tortoise.errors import SchemaError

Reason = Literal["schema_foreign", "schema_old", "schema_missing"]
#: By table, its columns and the version of the schema that each came with.
Columns = Mapping[str, Mapping[str, int]]

#: The reasons, the one that must be cured first before the others.
_URGENCY: tuple[Reason, ...] = ("schema_foreign", "schema_missing", "schema_old")

_POSTGRES = """
SELECT c.relname, a.attname, format_type(a.atttypid, NULL), a.attnotnull, a.atthasdef OR a.attidentity <> ''
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relname = ANY ($1::text[]) AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
  AND CASE WHEN $2::text IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname = $2::text END
ORDER BY c.relname, a.attnum
"""
_SQLITE = """
SELECT m.name, x.name, x.type, x."notnull" OR x.pk, x.dflt_value IS NOT NULL OR (x.pk AND upper(x.type) = 'INTEGER')
FROM sqlite_master m JOIN pragma_table_info(m.name) x
WHERE m.type IN ('table', 'view') AND m.name IN ({names})
ORDER BY m.name, x.cid
"""


@dataclass(frozen=True, slots=True)
class FoundColumn:
    """A column as the catalog describes it."""

    name: str
    type: str
    #: Whether it refuses NULL.
    required: bool
    #: Whether the database fills it when an INSERT does not name it.
    has_default: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it should be."""

    reason: Reason
    table: str
    text: str


async def check(db: Db, expected: Columns) -> None:
    """Refuse a connection whose tables lack columns of ours; more columns than ours do no harm.

    Args:
        db: The connection.
        expected: What must be there.

    Raises:
        SchemaError: Tables are missing, older than this library, or somebody else's; the message names the cure.
    """
    refuse(db, compare_columns(expected, await read_columns(db, expected)))


#: Which tables of which schemas of a connection are known to be there; a tuple of names for each family.
_known: WeakKeyDictionary[Any, set[tuple[str | None, tuple[str, ...]]]] = WeakKeyDictionary()


async def check_once(db: Db, expected: Columns) -> None:
    """Check a connection the first time that it is asked for these tables.

    Raises:
        SchemaError: As `check` does; then the next call looks again.
    """
    known = _known.get(db.root)
    place = (db.schema, tuple(expected))
    if known is None or place not in known:
        await check(db, expected)
        _known.setdefault(db.root, set()).add(place)


def refuse(db: Db, problems: Iterable[Problem]) -> None:
    """Raise the error for what was found; nothing when that is nothing."""
    found = sorted(problems, key=lambda problem: _URGENCY.index(problem.reason))
    if not found:
        return
    worst = found[0].reason
    told = "; ".join(problem.text for problem in found)
    raise SchemaError(
        f"{told} ({_place(db)}): {_CURES[worst](db)}",
        reason=worst,
        tables=sorted({problem.table for problem in found}),
        problems=[problem.text for problem in found],
    )


async def read_columns(db: Db, tables: Iterable[str]) -> dict[str, list[FoundColumn]]:
    """Read the columns of those of the tables that are there, in one statement."""
    names = list(tables)
    if db.dialect == "postgres":
        rows = await fetch(db, _POSTGRES, (names, db.schema))
    else:
        rows = await in_thread(db, lambda connection: _rows(connection, names))
    found: dict[str, list[FoundColumn]] = {}
    for table, name, kind, required, has_default in rows:
        found.setdefault(table, []).append(FoundColumn(name, kind, bool(required), bool(has_default)))
    return found


def _rows(connection: sqlite3.Connection, names: list[str]) -> list[tuple[Any, ...]]:
    sql = _SQLITE.format(names=", ".join("?" * len(names)))
    return [tuple(row) for row in connection.execute(sql, names)]


def compare_columns(expected: Columns, found: Mapping[str, Iterable[FoundColumn]]) -> list[Problem]:
    """Say what the tables lack, and what stands in the way of our inserts."""
    problems: list[Problem] = []
    for table, columns in expected.items():
        if table in found:
            problems += _compare_table(table, columns, list(found[table]))
        else:
            problems.append(Problem("schema_missing", table, f"there is no table {table}"))
    return problems


def _compare_table(table: str, expected: Mapping[str, int], found: list[FoundColumn]) -> list[Problem]:
    names = {column.name for column in found}
    lacking = [name for name in expected if name not in names]
    if any(expected[name] == 1 for name in lacking):
        has = ", ".join(column.name for column in found)
        text = f"table {table} is not ours: it has no {', '.join(lacking)}, only {has}"
        return [Problem("schema_foreign", table, text)]
    if lacking:
        return [Problem("schema_old", table, f"table {table} is old: it has no {', '.join(lacking)}")]
    strange = [c.name for c in found if c.name not in expected and c.required and not c.has_default]
    if strange:
        text = f"table {table} demands values that we do not know of: {', '.join(strange)}"
        return [Problem("schema_foreign", table, text)]
    return []


# -- words --------------------------------------------------------------------------------------------------------


def _place(db: Db) -> str:
    where = f"connection {db.client.connection_name!r}"
    return where if db.schema is None else f"{where}, schema {db.schema!r}"


def _upgrade(db: Db) -> str:
    option = "" if db.schema is None else f" --schema {shlex.quote(db.schema)}"
    argument = "" if db.schema is None else f", schema={db.schema!r}"
    return (
        f"run `jido-tortoise upgrade -c your.settings.TORTOISE_ORM{option}`,"
        f" or `await jido_tortoise.upgrade(TORTOISE_ORM{argument})`"
    )


def _elsewhere(db: Db) -> str:
    if db.dialect == "sqlite":
        return "rename that table, or give our app a connection to a database file of its own"
    return (
        "rename that table, or keep ours in a schema of their own: `jido-tortoise upgrade -c your.settings.TORTOISE_ORM"
        ' --schema jido` and `TortoiseStorage(schema="jido")`'
    )


_CURES = {"schema_missing": _upgrade, "schema_old": _upgrade, "schema_foreign": _elsewhere}
