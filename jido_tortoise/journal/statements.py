"""The SQL of the journal, for both dialects; every statement is built once for each table, schema and variant.

Values stand in it as `:name`. SQLite takes that as it is; for PostgreSQL `compiled` numbers and casts each of them,
since the same parameter used as text and as varchar is an error there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from jido_tortoise.database import Dialect
from jido_tortoise.journal.table import Append, Column, Follower, JournalTable, Sibling

#: What an append asks of the head: to be anything, absent or without rows, absent, at a revision, at a revision and not
#: made anew, there; or only checks that it is at a revision, that it has no rows, or looks where it is.
Variant = Literal["any", "first", "new", "next", "same", "existing", "check", "check_first", "look"]

#: Types whose values are texts here.
TEXTUAL = frozenset({"varchar", "text", "jsonb"})
#: Types that PostgreSQL reads from what `str` makes of their values.
WRITTEN = frozenset({"bigint", "boolean", "double precision", "integer", "timestamptz"})
_PLACE = re.compile(r"(?<![:\w]):(\w+)")
_GREATEST = {"postgres": "greatest", "sqlite": "max"}


@dataclass(frozen=True, slots=True)
class Statement:
    """A PostgreSQL statement and the names of its parameters, in order."""

    sql: str
    names: tuple[str, ...]

    def args(self, values: Mapping[str, Any]) -> list[Any]:
        """Answer the values in the order of the placeholders."""
        return [*map(values.__getitem__, self.names)]


def compiled(sql: str, columns: Iterable[Column]) -> Statement:
    """Turn `:name` into `$n::type`."""
    types = {column.name: column.type for column in columns}
    names: dict[str, int] = {}

    def place(match: re.Match[str]) -> str:
        name = match[1]
        number = names.setdefault(name, len(names) + 1)
        # Always sent as text: a codec that the host set for jsonb would encode it once more.
        return f"${number}::text::jsonb" if types[name] == "jsonb" else f"${number}::{types[name]}"

    return Statement(_PLACE.sub(place, sql), tuple(names))


def qualified(schema: str | None) -> str:
    """Answer what stands before a table's name: nothing, or the quoted schema and a dot."""
    return "" if schema is None else '"' + schema.replace('"', '""') + '".'


def variant_of(request: Append) -> Variant:
    """Answer what a request asks of the head."""
    if request.check_only:
        return "look" if request.expected is None else "check" if request.expected else "check_first"
    if request.must_be_new:
        return "new"
    if request.expected is None:
        return "existing" if request.must_exist else "any"
    if request.identity is not None:
        return "same"
    return "next" if request.expected or request.must_exist else "first"


# -- writing ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def append(
    table: JournalTable,
    schema: str | None,
    variant: Variant,
    sibling: Sibling | None,
    followers: tuple[Follower, ...] = (),
    *,
    lone: bool = False,
) -> Statement:
    """Append: lock the sibling, move the head on if it is where it should be, insert the rows, write the others.

    A `lone` row comes as values rather than arrays of one, which the driver encodes in half the time.
    """
    parts = [f"h AS ({head(table, schema, variant, sibling, 'postgres')})"]
    if sibling is not None:
        parts.insert(0, f"lc AS MATERIALIZED ({sibling.lock} FOR UPDATE)")
        parts.append(f"s AS ({sibling.write['postgres']})")
    if variant not in ("check", "check_first", "look"):
        parts.append(f"w AS ({_insert_row(table) if lone else _insert_rows(table)})")
    parts += _follow(followers)
    answer = f"h.counter, h.{table.oldest}, h.{table.created_at.name}, h.{table.updated_at.name}"
    told = "".join(f", (SELECT answer FROM f_{f.name})" for f in followers if f.answers)
    beside = (", s.*", " LEFT JOIN s ON true") if sibling is not None else ("", "")
    last = f"SELECT {answer}{beside[0]}{told} FROM h{beside[1]}"
    # A part that only reads is not run unless somebody asks for it.
    last += "".join(f" CROSS JOIN (SELECT count(*) FROM f_{f.name}) AS n_{f.name}" for f in followers if f.only_reads)
    sql = f"WITH {', '.join(parts)} {last}".replace("{schema}", qualified(schema))
    others = (*((sibling,) if sibling else ()), *followers)
    return compiled(sql, (*_parameters(table), *(param for other in others for param in other.params)))


def _follow(followers: tuple[Follower, ...]) -> list[str]:
    # Writing parts that nothing reads run in reverse of their text: each one must ask for the one before it.
    conditions = ["true", *(f"(SELECT count(*) FROM f_{follower.name}) >= 0" for follower in followers)]
    return [
        f"f_{follower.name} AS ({follower.write['postgres'].replace('{after}', condition)})"
        for follower, condition in zip(followers, conditions, strict=False)
    ]


def head(table: JournalTable, schema: str | None, variant: Variant, sibling: Sibling | None, dialect: Dialect) -> str:
    """Move the head on, or check it; no row comes back when it is not where it should be."""
    guard = sibling.guard if sibling is not None else "true"
    match variant:
        case "any":
            sql = _upsert_head(table, guard, "", dialect)
        case "first":
            sql = _upsert_head(table, guard, f" WHERE t.{table.counter} = 0", dialect)
        case "new":
            sql = _insert_head(table, guard, "DO NOTHING")
        case "next":
            sql = _update_head(table, f"{guard} AND t.{table.counter} = :expected", dialect)
        case "same":
            sql = _update_head(
                table, f"{guard} AND t.{table.counter} = :expected AND t.{table.identity} = :identity", dialect
            )
        case "existing":
            sql = _update_head(table, guard, dialect)
        case "check":
            sql = _check_head(table, guard, dialect)
        case "check_first":
            sql = _check_no_rows(table, guard)
        case "look":
            sql = _look_at_head(table, guard)
    return sql.replace("{schema}", qualified(schema))


def _upsert_head(table: JournalTable, guard: str, where: str, dialect: Dialect) -> str:
    return _insert_head(table, guard, f"DO UPDATE SET {_moved(table, dialect)}{where}")


def _insert_head(table: JournalTable, guard: str, conflict: str) -> str:
    given = [*table.key, *table.kept, *(touch.column for touch in table.touched)]
    columns = [table.counter, table.oldest, *(c.name for c in given), table.created_at.name, table.updated_at.name]
    values = [":n", str(table.first), *(f":{c.name}" for c in given), ":now", ":now"]
    return (
        f"INSERT INTO {{schema}}{table.head} AS t ({', '.join(columns)}) SELECT {', '.join(values)} WHERE {guard}"
        f" ON CONFLICT ({_names(table.key)}) {conflict} RETURNING {_returned(table)}"
    )


def _update_head(table: JournalTable, where: str, dialect: Dialect) -> str:
    return (
        f"UPDATE {{schema}}{table.head} AS t SET {_moved(table, dialect)}"
        f" WHERE {_key_is(table, 't.')} AND {where} RETURNING {_returned(table)}"
    )


def _check_head(table: JournalTable, guard: str, dialect: Dialect) -> str:
    lock = " FOR UPDATE" if dialect == "postgres" else ""
    return (
        f"SELECT {_returned(table, 't.')} FROM {{schema}}{table.head} AS t"
        f" WHERE {_key_is(table, 't.')} AND t.{table.counter} = :expected AND {guard}{lock}"
    )


def _check_no_rows(table: JournalTable, guard: str) -> str:
    return (
        f"SELECT CAST(0 AS bigint) AS counter, CAST({table.first} AS bigint) AS {table.oldest},"
        f" :now AS {table.created_at.name}, :now AS {table.updated_at.name} WHERE {guard} AND NOT EXISTS"
        f" (SELECT 1 FROM {{schema}}{table.head} AS t WHERE {_key_is(table, 't.')} AND t.{table.counter} > 0)"
    )


def _look_at_head(table: JournalTable, guard: str) -> str:
    there = f"FROM {{schema}}{table.head} AS t WHERE {_key_is(table, 't.')}"
    return (
        f"SELECT coalesce((SELECT t.{table.counter} {there}), 0) AS counter,"
        f" coalesce((SELECT t.{table.oldest} {there}), {table.first}) AS {table.oldest},"
        f" :now AS {table.created_at.name}, :now AS {table.updated_at.name} WHERE {guard}"
    )


def _moved(table: JournalTable, dialect: Dialect) -> str:
    latest = f"{_GREATEST[dialect]}(t.{table.updated_at.name}, :now)" if table.monotonic else ":now"
    moved = [f"{table.counter} = t.{table.counter} + :n", f"{table.updated_at.name} = {latest}"]
    moved += [f"{touch.column.name} = {touch.update[dialect]}" for touch in table.touched]
    return ", ".join(moved)


def _returned(table: JournalTable, prefix: str = "") -> str:
    times = f"{prefix}{table.created_at.name}, {prefix}{table.updated_at.name}"
    told = "".join(f", {prefix}{name}" for name in table.told)
    return f"{prefix}{table.counter} AS counter, {prefix}{table.oldest}, {times}{told}"


def _insert_row(table: JournalTable) -> str:
    return (
        f"INSERT INTO {{schema}}{table.rows} ({_row_names(table)}, {table.number}, {_names(table.row)})"
        f" SELECT {_places(table.key)}, h.counter - 1 + {table.first}, {_places(table.row, 'row_')} FROM h"
    )


def _insert_rows(table: JournalTable) -> str:
    given = ", ".join(f"x.{c.name}::{c.type}" for c in table.row)
    arrays = ", ".join(f":rows_{c.name}" for c in table.row)
    return (
        f"INSERT INTO {{schema}}{table.rows} ({_row_names(table)}, {table.number}, {_names(table.row)})"
        f" SELECT {_places(table.key)}, h.counter - :n + x.o - 1 + {table.first}, {given}"
        f" FROM h, unnest({arrays}) WITH ORDINALITY AS x({_names(table.row)}, o)"
    )


@lru_cache(maxsize=64)
def insert_row(table: JournalTable) -> str:
    """Insert one row (SQLite, many at a time): the key's values, the number, the row's values."""
    columns = [*table.key_in_rows, table.number, *(c.name for c in table.row)]
    return f"INSERT INTO {table.rows} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


@lru_cache(maxsize=64)
def sqlite_head(table: JournalTable, variant: Variant, sibling: Sibling | None) -> str:
    """Move the head on (SQLite)."""
    lock = f"WITH lc AS ({sibling.lock}) " if sibling is not None else ""
    return (lock + head(table, None, variant, sibling, "sqlite")).replace("{schema}", "")


@lru_cache(maxsize=64)
def sqlite_sibling(sibling: Sibling) -> tuple[str, ...]:
    """Write a sibling (SQLite), after the head: the first of these that finds its row."""
    tries = (sibling.sqlite_first, sibling.write["sqlite"])
    return tuple(_beside_head(sql) for sql in tries if sql is not None)


@lru_cache(maxsize=64)
def sqlite_follower(follower: Follower) -> str:
    """Write a follower (SQLite), after the head."""
    return _beside_head(follower.write["sqlite"])


def _beside_head(sql: str) -> str:
    # A table of one row, `h`, would cost a third of the statement.
    sql = sql.replace(" FROM h ", " ").replace("h.counter", ":counter")
    return sql.replace("{schema}", "").replace("{after}", "true")


# -- reading, trimming, copying, deleting -------------------------------------------------------------------------


@lru_cache(maxsize=64)
def read_head(table: JournalTable, schema: str | None, dialect: Dialect, *, lock: bool = False) -> Statement:
    """Read the head alone; with `lock`, appends wait for the end of the transaction (SQLite's write lock does it)."""
    sql = f"SELECT {_shown_head(table, dialect)} FROM {{schema}}{table.head} WHERE {_key_is(table)}"
    sql += " FOR UPDATE" if lock and dialect == "postgres" else ""
    return _finished(sql, table, schema, dialect)


@lru_cache(maxsize=64)
def read_rows(table: JournalTable, schema: str | None, dialect: Dialect) -> Statement:
    """Read the rows with a number in [start, stop), in order."""
    sql = (
        f"SELECT {_shown_row(table, dialect)} FROM {{schema}}{table.rows}"
        f" WHERE {_row_is(table)} AND {table.number} >= :start AND {table.number} < :stop ORDER BY {table.number}"
    )
    return _finished(sql, table, schema, dialect)


@lru_cache(maxsize=64)
def look(table: JournalTable, schema: str | None, dialect: Dialect) -> Statement:
    """Read the head, and beside it the rows with these ids, in order; of what is missing, NULLs."""
    row_id = table.row[0].name
    given = f"= ANY(:rows_{row_id})" if dialect == "postgres" else "IN (SELECT value FROM json_each(:ids))"
    sql = (
        f"SELECT {_shown_head(table, dialect, 't.')}, {_shown_row(table, dialect, 'r.')} FROM (SELECT 1) AS one"
        f" LEFT JOIN {{schema}}{table.head} AS t ON {_key_is(table, 't.')}"
        f" LEFT JOIN {{schema}}{table.rows} AS r ON {_row_is(table, 'r.')} AND r.{row_id} {given}"
        f" ORDER BY r.{table.number}"
    )
    return _finished(sql, table, schema, dialect)


@lru_cache(maxsize=64)
def has_rows(table: JournalTable, schema: str | None, dialect: Dialect) -> Statement:
    """Ask whether there are rows, with a head or without."""
    sql = f"SELECT 1 FROM {{schema}}{table.rows} WHERE {_row_is(table)} LIMIT 1"
    return _finished(sql, table, schema, dialect)


@lru_cache(maxsize=64)
def trim(table: JournalTable, schema: str | None) -> Statement:
    """Move the head's oldest number up, never past the next one nor back, and delete the rows below it (PostgreSQL)."""
    sql = (
        f"WITH h AS ({_move_oldest(table, 'least', 'greatest')}), d AS (DELETE FROM {{schema}}{table.rows} AS r USING h"
        f" WHERE {_row_is(table, 'r.')} AND r.{table.number} < h.{table.oldest} RETURNING 1) SELECT count(*) FROM d"
    )
    return _finished(sql, table, schema, "postgres")


@lru_cache(maxsize=64)
def sqlite_trim(table: JournalTable) -> tuple[str, str]:
    """Move the head's oldest number up; delete the rows below :oldest (SQLite)."""
    drop = f"DELETE FROM {table.rows} WHERE {_row_is(table)} AND {table.number} < :oldest"
    return _move_oldest(table, "min", "max").replace("{schema}", ""), drop


def _move_oldest(table: JournalTable, least: str, greatest: str) -> str:
    top = f"{least}(:stop, {table.counter} + {table.first})"
    return (
        f"UPDATE {{schema}}{table.head} SET {table.oldest} = {greatest}({table.oldest}, {top})"
        f" WHERE {_key_is(table)} RETURNING {table.oldest}"
    )


@lru_cache(maxsize=64)
def delete_head(table: JournalTable, schema: str | None, dialect: Dialect) -> Statement:
    """Delete the head; always before its rows, so that an append meanwhile waits for it."""
    return _finished(f"DELETE FROM {{schema}}{table.head} WHERE {_key_is(table)}", table, schema, dialect)


@lru_cache(maxsize=64)
def delete_rows(table: JournalTable, schema: str | None, dialect: Dialect) -> Statement:
    """Delete the rows of a journal that has no head (any more).

    A delete that found no head, since another one took it while an append waited for it, would take that append's rows.
    """
    sql = (
        f"DELETE FROM {{schema}}{table.rows} AS r WHERE {_row_is(table, 'r.')}"
        f" AND NOT EXISTS (SELECT 1 FROM {{schema}}{table.head} AS t WHERE {_key_is(table, 't.')})"
    )
    return _finished(sql, table, schema, dialect)


@lru_cache(maxsize=64)
def copy(table: JournalTable, schema: str | None) -> Statement:
    """Copy head and rows below :stop as they stand at one moment; nothing when the source is missing (PostgreSQL)."""
    sql = f"WITH h AS ({_copy_head(table, 'postgres')}), w AS ({_copy_rows(table)} FROM h, {{schema}}{table.rows} AS r"
    sql += f" WHERE {_row_is(table, 'r.')} AND r.{table.number} < h.counter + {table.first}) SELECT * FROM h"
    return _finished(sql, table, schema, "postgres")


@lru_cache(maxsize=64)
def sqlite_copy(table: JournalTable) -> tuple[str, str]:
    """Copy the head; copy the rows with a number below :counter + first (SQLite)."""
    below = f"r.{table.number} < :counter + {table.first}"
    rows = f"{_copy_rows(table)} FROM {table.rows} AS r WHERE {_row_is(table)} AND {below}"
    return _copy_head(table, "sqlite").replace("{schema}", ""), rows.replace("{schema}", "")


def _copy_head(table: JournalTable, dialect: Dialect) -> str:
    least, greatest = ("least", "greatest") if dialect == "postgres" else ("min", "max")
    # A copy that ends below what was trimmed holds no rows, and goes on where the source's rows begin.
    counter = f"{greatest}({least}({table.counter}, :stop - {table.first}), {table.oldest} - {table.first})"
    kept = "".join(f", {c.name}" for c in (*table.kept, *(touch.column for touch in table.touched)))
    times = f"{table.created_at.name}, {table.updated_at.name}"
    return (
        f"INSERT INTO {{schema}}{table.head} ({_names(table.key)}, {table.counter}, {table.oldest}{kept}, {times})"
        f" SELECT {_places(table.key, 'to_')}, {counter}, {table.oldest}{kept}, :now, :now"
        f" FROM {{schema}}{table.head} WHERE {_key_is(table)} RETURNING {_returned(table)}"
    )


def _copy_rows(table: JournalTable) -> str:
    return (
        f"INSERT INTO {{schema}}{table.rows} ({_row_names(table)}, {table.number}, {_names(table.row)})"
        f" SELECT {_places(table.key, 'to_')}, r.{table.number}, {', '.join(f'r.{c.name}' for c in table.row)}"
    )


@lru_cache(maxsize=64)
def span_of_rows(table: JournalTable, schema: str | None, dialect: Dialect) -> Statement:
    """Read the lowest and the highest number, and how many rows there are."""
    sql = (
        f"SELECT min({table.number}), max({table.number}), count(*) FROM {{schema}}{table.rows} WHERE {_row_is(table)}"
    )
    return _finished(sql, table, schema, dialect)


@lru_cache(maxsize=64)
def set_head(table: JournalTable, schema: str | None, dialect: Dialect) -> Statement:
    """Make the head say :n rows ever and :start as the oldest number, whatever it said."""
    given = [*table.key, *table.kept, *(touch.column for touch in table.touched)]
    columns = [table.counter, table.oldest, *(c.name for c in given), table.created_at.name, table.updated_at.name]
    values = [":n", ":start", *(f":{c.name}" for c in given), ":now", ":now"]
    sql = (
        f"INSERT INTO {{schema}}{table.head} ({', '.join(columns)}) VALUES ({', '.join(values)})"
        f" ON CONFLICT ({_names(table.key)}) DO UPDATE SET {table.counter} = excluded.{table.counter},"
        f" {table.oldest} = excluded.{table.oldest}"
    )
    return _finished(sql, table, schema, dialect)


# -- parts --------------------------------------------------------------------------------------------------------


def _finished(sql: str, table: JournalTable, schema: str | None, dialect: Dialect) -> Statement:
    sql = sql.replace("{schema}", qualified(schema))
    return compiled(sql, _parameters(table)) if dialect == "postgres" else Statement(sql, ())


def _parameters(table: JournalTable) -> tuple[Column, ...]:
    bigints = ("n", "expected", "identity", "start", "stop")
    return (
        *table.key,
        *(Column(f"to_{c.name}", c.type) for c in table.key),
        *table.kept,
        *(touch.column for touch in table.touched),
        *(Column(f"row_{c.name}", c.type) for c in table.row),
        *(Column(f"rows_{c.name}", array_of(c)) for c in table.row),
        *(Column(name, "bigint") for name in bigints),
        Column("now", table.created_at.type),
    )


def array_of(column: Column) -> str:
    """Answer the type that many values of a column are sent as.

    Of all arrays asyncpg (0.32) knows that of texts only. What any other is made of it asks the server, once for each
    connection, in a round trip that takes the server some 6 ms.
    """
    return "text[]" if column.type in TEXTUAL or column.type in WRITTEN else f"{column.type}[]"


def _type_of(table: JournalTable, name: str) -> str:
    known = (*table.kept, *(touch.column for touch in table.touched))
    return next((c.type for c in known if c.name == name), "bigint")


def shown(columns: Iterable[Column], dialect: Dialect, prefix: str = "") -> str:
    """Answer columns as a SELECT reads them."""
    # As text: a codec that the host set for jsonb would decode it in its own way.
    casts = {"jsonb": "::text"} if dialect == "postgres" else {}
    return ", ".join(f"{prefix}{c.name}{casts.get(c.type, '')}" for c in columns)


def _shown_head(table: JournalTable, dialect: Dialect, prefix: str = "") -> str:
    return shown([Column(name, _type_of(table, name)) for name in table.head_columns], dialect, prefix)


def _shown_row(table: JournalTable, dialect: Dialect, prefix: str = "") -> str:
    return shown([Column(table.number, "bigint"), *table.row], dialect, prefix)


def _names(columns: Iterable[Column]) -> str:
    return ", ".join(c.name for c in columns)


def _places(columns: Iterable[Column], prefix: str = "") -> str:
    return ", ".join(f":{prefix}{c.name}" for c in columns)


def _key_is(table: JournalTable, prefix: str = "") -> str:
    return " AND ".join(f"{prefix}{c.name} = :{c.name}" for c in table.key)


def _row_names(table: JournalTable) -> str:
    return ", ".join(table.key_in_rows)


def _row_is(table: JournalTable, prefix: str = "") -> str:
    pairs = zip(table.key_in_rows, table.key, strict=True)
    return " AND ".join(f"{prefix}{name} = :{column.name}" for name, column in pairs)
