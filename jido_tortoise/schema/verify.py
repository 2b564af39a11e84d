"""Whether our tables are what the models and the guards say, and what to do when they are not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from tortoise.models import Model

from jido_tortoise.database import Db, Dialect, resolve
from jido_tortoise.probe import FoundColumn, Problem, compare_columns, read_columns, refuse
from jido_tortoise.schema.apps import registered_families
from jido_tortoise.schema.execute import run
from jido_tortoise.schema.steps import Family

#: An index as a rule: its table, whether it is unique, its columns in order.
Key = tuple[str, bool, tuple[str, ...]]

_KEYS: dict[Dialect, str] = {
    "postgres": """
SELECT i.indexrelid::text, i.indisunique, a.attname, k.place
FROM pg_index i
JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place)
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
WHERE c.relname = $1 AND CASE WHEN $2::text IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname = $2::text END
  AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND k.place <= i.indnkeyatts
ORDER BY i.indexrelid, k.place
""",
    "sqlite": """
SELECT l.name, l."unique", i.name, i.seqno
FROM pragma_index_list($1) l JOIN pragma_index_info(l.name) i
WHERE l.partial = 0
UNION ALL SELECT 'primary key', 1, x.name, x.pk FROM pragma_table_info($1) x WHERE x.pk > 0 AND $2 IS NULL
ORDER BY 1, 4
""",
}
_GUARDS: dict[Dialect, str] = {
    "postgres": """
WITH c AS (
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = $1 AND CASE WHEN $2::text IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname = $2::text END
)
SELECT t.tgname FROM pg_trigger t JOIN c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'
UNION ALL
SELECT k.conname FROM pg_constraint k JOIN c ON c.oid = k.conrelid WHERE k.contype = 'f'
UNION ALL
SELECT o.relname FROM pg_index i JOIN c ON c.oid = i.indrelid JOIN pg_class o ON o.oid = i.indexrelid WHERE i.indisvalid
""",
    "sqlite": "SELECT name FROM sqlite_master WHERE type IN ('trigger', 'index') AND tbl_name = $1 AND $2 IS NULL",
}

#: PostgreSQL's names of types that we take for one another.
_POSTGRES_KINDS = {
    "character varying": "text",
    "varchar": "text",
    "int8": "bigint",
    "bigserial": "bigint",
    "timestamptz": "timestamp with time zone",
    "bool": "boolean",
}


async def verify(connection: str | None = None, schema: str | None = None) -> None:
    """Compare our tables with what this version needs: columns with their types, indexes, guards.

    Args:
        connection: An alias of the host's config; None takes the one of the app that holds our models.
        schema: The PostgreSQL schema of our tables; None leaves it to the search path.

    Raises:
        SchemaError: `schema_missing`, `schema_old`, or `schema_foreign` when a table is not ours or was changed; the
            message names the cure.
        ConfigError: There is no connection to look at.
    """
    for family in registered_families():
        db = resolve(connection, family.model_classes()[0], schema=schema)
        refuse(db, await diagnose(db, family))


async def diagnose(db: Db, family: Family) -> list[Problem]:
    """Say all that is wrong with a family's tables; nothing when they are as they should be."""
    found = await read_columns(db, family.columns())
    problems = compare_columns(family.columns(), found)
    unusable = {problem.table for problem in problems}
    for model in family.model_classes():
        table = model._meta.db_table
        if table not in unusable:
            problems += _compare_kinds(db.dialect, model, found[table])
            problems += _lacking_keys(model, await _read_keys(db, table))
            problems += _lacking_guards(db.dialect, family, table, await _read_guards(db, table))
    return problems


# -- columns ------------------------------------------------------------------------------------------------------


def _compare_kinds(dialect: Dialect, model: type[Model], found: Iterable[FoundColumn]) -> list[Problem]:
    columns = {column.name: column for column in found}
    table = model._meta.db_table
    wrong: list[str] = []
    for name, column in model._meta.fields_db_projection.items():
        field, actual = model._meta.fields_map[name], columns[column]
        expected = str(field.get_for_dialect(dialect, "SQL_TYPE"))
        if _kind(dialect, expected) != _kind(dialect, actual.type):
            wrong.append(f"{table}.{column} is {actual.type}, not {expected}")
        elif actual.required is field.null:
            wrong.append(f"{table}.{column} {'refuses' if actual.required else 'takes'} NULL")
    return [Problem("schema_foreign", table, text) for text in wrong]


def _kind(dialect: Dialect, type_name: str) -> str:
    bare = type_name.partition("(")[0].strip()
    if dialect == "postgres":
        return _POSTGRES_KINDS.get(bare.lower(), bare.lower())
    return _affinity(bare.upper())


def _affinity(type_name: str) -> str:
    """Give what SQLite makes of a declared type (https://www.sqlite.org/datatype3.html, 3.1)."""
    if "INT" in type_name:
        return "integer"
    if any(part in type_name for part in ("CHAR", "CLOB", "TEXT")):
        return "text"
    return "blob" if not type_name or "BLOB" in type_name else "numeric"


# -- indexes and guards -------------------------------------------------------------------------------------------


def _lacking_keys(model: type[Model], found: set[Key]) -> list[Problem]:
    table = model._meta.db_table
    problems: list[Problem] = []
    for key in sorted(_expected_keys(model)):
        _, unique, columns = key
        if key not in found and (table, True, columns) not in found:
            kind = "unique index" if unique else "index"
            problems.append(Problem("schema_old", table, f"table {table} has no {kind} on ({', '.join(columns)})"))
    return problems


def _expected_keys(model: type[Model]) -> set[Key]:
    meta = model._meta
    table = meta.db_table
    plain = {(table, False, _columns(model, index)) for index in meta.indexes if not hasattr(index, "expressions")}
    unique = {(table, True, _columns(model, fields)) for fields in meta.unique_together}
    return plain | unique | {(table, True, (meta.db_pk_column,))}


def _columns(model: type[Model], fields: Any) -> tuple[str, ...]:
    return tuple(model._meta.fields_db_projection[field] for field in fields)


async def _read_keys(db: Db, table: str) -> set[Key]:
    columns: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for index, unique, column, _ in await run(db, _KEYS[db.dialect], [table, db.schema]):
        columns[index, bool(unique)].append(column)
    return {(table, unique, tuple(names)) for (_, unique), names in columns.items()}


def _lacking_guards(dialect: Dialect, family: Family, table: str, found: set[str]) -> list[Problem]:
    guards = [guard for guard in family.guards if guard.table == table and guard.name and guard.up[dialect]]
    return [
        Problem("schema_old", table, f"table {table} has no {guard.kind[dialect]} {guard.name}")
        for guard in guards
        if guard.name not in found
    ]


async def _read_guards(db: Db, table: str) -> set[str]:
    return {name for (name,) in await run(db, _GUARDS[db.dialect], [table, db.schema])}
