"""The SQL of what is asked across sessions, for both dialects: pages by the key of their order, counts, and sums.

A page begins behind a row, never after so many rows, so that the last page costs what the first one does. One text is
compared by `=`, several by a list: only the first lets an index give the order too. Where each order has such an index,
several are looked for one by one, and merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from jido_tortoise.database import Dialect
from jido_tortoise.journal import Column
from jido_tortoise.journal.statements import Statement, compiled, qualified, shown
from jido_tortoise.recording.statements import ARTIFACT, EVENT_COLUMNS, EVENTS, RUN, SESSION, frequent

#: What counts as a number of tokens of one run: more is an accident, and would let SQLite's sums overflow.
MOST_TOKENS = 10**12
#: The tokens that are summed, by their names in a run's `token_usage`.
TOKENS: tuple[str, ...] = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_tokens",
    "cache_creation_tokens",
)

_REVISION = Column("revision", "bigint")


@dataclass(frozen=True, slots=True)
class Order:
    """What rows are ordered by, before their ids."""

    #: A column; in braces one of `_expressions`.
    by: str
    type: str
    descending: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Searched:
    """A table that is searched. Compared by identity, so that statements are built once for each."""

    table: str
    columns: tuple[Column, ...]
    orders: Mapping[str, Order]
    #: Conditions by filter: `{is}` compares with the given text or texts.
    texts: Mapping[str, str]
    #: Conditions by filter, with the type of the value.
    others: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    #: The filter of texts that has an index for every order, but lets many rows pass.
    merged: str | None = None
    #: The filters that few rows pass.
    narrow: frozenset[str] = frozenset()
    #: The filters that few rows pass when all of them are given.
    window: frozenset[str] = frozenset()

    def parameters(self) -> Iterable[Column]:
        """Answer what a statement may take."""
        for name in self.texts:
            yield from (Column(name, "varchar"), Column(f"{name}_many", "text[]"))
        yield from (Column(name, kind) for name, (kind, _) in self.others.items())


_MOMENT = "timestamptz"
SESSIONS = Searched(
    table=SESSION.table,
    columns=(*SESSION.columns, _REVISION),
    orders={
        "updated_at_desc": Order("updated_at", _MOMENT, descending=True),
        "created_at_asc": Order("created_at", _MOMENT),
        "created_at_desc": Order("created_at", _MOMENT, descending=True),
    },
    texts={
        "agent_id": "t.agent_id {is}",
        "status": "t.status {is}",
        "provider": "EXISTS (SELECT 1 FROM {schema}asm_runs AS r WHERE r.session_id = t.id AND r.provider {is})",
    },
    others={
        "tags": ("jsonb", "{has_tags}"),
        "created_after": (_MOMENT, "t.created_at >= :created_after"),
        "created_before": (_MOMENT, "t.created_at <= :created_before"),
        "live": ("", "{deleted_at} IS NULL"),
    },
)
RUNS = Searched(
    table=RUN.table,
    columns=(*RUN.columns, _REVISION),
    orders={
        "started_at_desc": Order("started_at", _MOMENT, descending=True),
        "started_at_asc": Order("started_at", _MOMENT),
        "token_usage_desc": Order("{total_tokens}", "bigint", descending=True),
    },
    texts={
        "session_id": "t.session_id {is}",
        "agent_id": "EXISTS (SELECT 1 FROM {schema}asm_sessions AS s WHERE s.id = t.session_id AND s.agent_id {is})",
        "status": "t.status {is}",
        "provider": "t.provider {is}",
    },
    others={
        "started_after": (_MOMENT, "t.started_at >= :started_after"),
        "started_before": (_MOMENT, "t.started_at <= :started_before"),
        "min_tokens": ("bigint", "{total_tokens} >= :min_tokens"),
    },
)
EVENT_ROWS = Searched(
    table=EVENTS.rows,
    columns=EVENT_COLUMNS,
    orders={
        "sequence_asc": Order("sequence_number", "bigint"),
        "sequence_desc": Order("sequence_number", "bigint", descending=True),
        "timestamp_asc": Order("timestamp", _MOMENT),
        "timestamp_desc": Order("timestamp", _MOMENT, descending=True),
    },
    texts={
        "session_ids": "t.session_id {is}",
        "run_ids": "t.run_id {is}",
        "types": "t.type {is}",
        "providers": "t.provider {is}",
        "correlation_id": "t.correlation_id {is}",
    },
    others={
        "since": (_MOMENT, "t.timestamp >= :since"),
        "until": (_MOMENT, "t.timestamp <= :until"),
        "after": ("bigint", "t.sequence_number > :after"),
        "upto": ("bigint", "t.sequence_number <= :upto"),
    },
    merged="types",
    narrow=frozenset({"session_ids", "run_ids", "correlation_id"}),
    window=frozenset({"since", "until"}),
)
ARTIFACT_ROWS = Searched(
    table=ARTIFACT.table,
    columns=ARTIFACT.columns,
    orders={"created_at_asc": Order("created_at", _MOMENT)},
    texts={"session_id": "t.session_id {is}"},
    others={"live": ("", "{deleted_at} IS NULL")},
)


# -- pages --------------------------------------------------------------------------------------------------------

#: How many sessions are looked through before the index on tags is asked.
_FIRST = 500


@lru_cache(maxsize=256)
def search(
    of: Searched, wished: frozenset[str], order: str, schema: str | None, dialect: Dialect, several: int = 0
) -> Statement:
    """Read the first rows, in this order, that pass all filters; with "place" those behind a place alone.

    Args:
        of: The table.
        wished: The filters, by their names.
        order: One of the table's.
        schema: The PostgreSQL schema; None leaves it to the search path.
        dialect: "sqlite" or "postgres".
        several: How many texts are given of the table's `merged` filter, when they are a list.
    """
    by = of.orders[order]
    column = by.by if "{" in by.by else f"t.{by.by}"
    way, behind = ("DESC", "<") if by.descending else ("ASC", ">")
    place = f"({column}, t.id) {behind} (:place, :place_id)" if "place" in wished else "true"
    ordered = f"ORDER BY {column} {way}, t.id {way}"
    passing = _passing(of, wished, dialect)
    columns = shown(of.columns, dialect, "t.")
    if "tags" in wished and dialect == "postgres":
        sql = _tagged(columns, passing, place, ordered)
    elif several and not _is_narrow(of, wished):
        sql = _merged(columns, of, f"{passing} AND {place}", ordered, dialect, several)
    else:
        sql = f"SELECT {columns} FROM {{schema}}{of.table} AS t WHERE {passing} AND {place} {ordered} LIMIT :limit"
    return _finished(sql, of, schema, dialect, by.type)


def _tagged(columns: str, passing: str, place: str, ordered: str) -> str:
    """Look for tags among the first sessions of the order; where these do not fill the page, by the index on tags.

    PostgreSQL cannot know how frequent a tag is, and guesses that one in a hundred sessions has it: it would look
    through all of them, in order, for the few that have a rare one. A frequent one fills the page at once.
    """
    first = f"SELECT t.* FROM {{schema}}asm_sessions AS t WHERE {place} {ordered} LIMIT {_FIRST}"
    indexed = "SELECT t.* FROM {schema}asm_sessions AS t WHERE {has_tags} OFFSET 0"  # planned for itself
    page = f"{ordered} LIMIT :limit"
    return (
        f"WITH near AS MATERIALIZED (SELECT t.* FROM ({first}) AS t WHERE {passing} {page}),"
        " enough AS MATERIALIZED (SELECT count(*) >= :limit AS so FROM near)"
        f" (SELECT {columns} FROM near AS t WHERE (SELECT so FROM enough) {ordered}) UNION ALL"
        f" (SELECT {columns} FROM ({indexed}) AS t WHERE NOT (SELECT so FROM enough) AND {passing} AND {place} {page})"
    )


def _merged(columns: str, of: Searched, where: str, ordered: str, dialect: Dialect, several: int) -> str:
    """Look for each text of the merged filter by its index, in order, and merge what they find.

    Neither database does that for a list: both would read all rows of these texts and sort them, or walk through the
    rows of all others. SQLite gives each part of a UNION the order of the whole, PostgreSQL must be told.
    """
    name, page = f"{of.merged}_many", f"{ordered} LIMIT :limit"
    part = f"SELECT t.* FROM {{schema}}{of.table} AS t WHERE {where}"
    if dialect == "postgres":
        part, nth = f"({part} {page})", f"(:{name})[%d + 1]"
    else:
        nth = f"json_extract(:{name}, '$[%d]')"
    parts = (part.replace(_one_of(name, dialect), f"= {nth % at}") for at in range(several))
    return f"SELECT {columns} FROM ({' UNION ALL '.join(parts)}) AS t {page}"


@lru_cache(maxsize=256)
def count(of: Searched, wished: frozenset[str], schema: str | None, dialect: Dialect) -> Statement:
    """Count the rows that pass all filters."""
    sql = f"SELECT count(*) FROM {{schema}}{of.table} AS t WHERE {_passing(of, wished, dialect)}"
    return _finished(sql, of, schema, dialect)


def _passing(of: Searched, wished: frozenset[str], dialect: Dialect) -> str:
    conditions = {}
    for name, condition in of.texts.items():
        if name in wished:
            conditions[name] = condition.replace("{is}", f"= :{name}")
        elif f"{name}_many" in wished:
            conditions[name] = condition.replace("{is}", _one_of(f"{name}_many", dialect))
    conditions |= {name: condition for name, (_, condition) in of.others.items() if name in wished}
    for name in _not_sought(of, wished) & conditions.keys():
        conditions[name] = frequent(conditions[name], dialect)
    return " AND ".join(conditions.values()) or "true"


def _not_sought(of: Searched, wished: frozenset[str]) -> frozenset[str]:
    """Answer the filters that are only looked at, lest their index is taken in place of a better one."""
    if of.merged is None:
        return frozenset()
    if _is_narrow(of, wished):
        return frozenset({of.merged})
    # A bound alone leaves most rows, which its index would have sorted where another one gives the order.
    return frozenset(of.others) - (of.window if of.window <= wished else frozenset())


def _is_narrow(of: Searched, wished: frozenset[str]) -> bool:
    return any(name in wished or f"{name}_many" in wished for name in of.narrow)


def _one_of(name: str, dialect: Dialect) -> str:
    return f"= ANY(:{name})" if dialect == "postgres" else f"IN (SELECT value FROM json_each(:{name}))"


def _finished(
    sql: str, of: Searched, schema: str | None, dialect: Dialect, place: str = "", *more: Column
) -> Statement:
    for name, expression in _expressions(dialect).items():
        sql = sql.replace(name, expression)
    sql = sql.replace("{schema}", qualified(schema))
    if dialect == "sqlite":
        return Statement(sql, ())
    beside = (Column("place", place), Column("place_id", "varchar"), Column("limit", "bigint"), *more)
    return compiled(sql, (*of.parameters(), *beside))


def _expressions(dialect: Dialect) -> dict[str, str]:
    # SQLite would think that few rows have NULL there, and find all of them by that index, only to sort them.
    deleted_at = "t.deleted_at" if dialect == "postgres" else "+t.deleted_at"
    tokens = tokens_of("total_tokens", dialect)
    return {"{total_tokens}": tokens, "{has_tags}": _HAS_TAGS[dialect], "{deleted_at}": deleted_at}


#: That a session has all the tags. SQLite is not asked to read what is no JSON, which would fail the whole statement.
_HAS_TAGS: Mapping[Dialect, str] = {
    "postgres": "t.tags @> :tags",
    "sqlite": "CASE WHEN json_valid(t.tags) THEN NOT EXISTS (SELECT 1 FROM json_each(:tags) AS w"
    " WHERE w.value NOT IN (SELECT g.value FROM json_each(t.tags) AS g)) ELSE 0 END",
}


# -- sums ---------------------------------------------------------------------------------------------------------


def tokens_of(name: str, dialect: Dialect) -> str:
    """Answer a run's tokens of a kind as a whole number; what is no number of tokens is 0, as in `pricing.tokens`."""
    if dialect == "postgres":
        value = f"t.token_usage -> '{name}'"
        is_number, number = f"jsonb_typeof({value}) = 'number'", f"({value})::numeric"
        whole = f"trunc({number})::bigint"
    else:
        is_number = f"json_type(t.token_usage, '$.{name}') IN ('integer', 'real')"
        is_number = f"json_valid(t.token_usage) AND {is_number}"
        number = f"json_extract(t.token_usage, '$.{name}')"
        whole = f"CAST({number} AS INTEGER)"
    # One CASE within the other: nothing else promises that what is no number is not looked at as one.
    count = f"CASE WHEN {number} BETWEEN 0 AND {MOST_TOKENS} THEN {whole} ELSE 0 END"
    return f"(CASE WHEN {is_number} THEN {count} ELSE 0 END)"


_MODEL: Mapping[Dialect, str] = {
    "postgres": "CASE WHEN jsonb_typeof(t.provider_metadata -> 'model') = 'string'"
    " THEN t.provider_metadata ->> 'model' END",
    "sqlite": "CASE WHEN json_valid(t.provider_metadata) THEN CASE json_type(t.provider_metadata, '$.model')"
    " WHEN 'text' THEN json_extract(t.provider_metadata, '$.model') END END",
}
_DAY: Mapping[Dialect, str] = {
    "postgres": "to_char(t.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
    "sqlite": "substr(t.started_at, 1, 10)",
}
#: What usage is told apart by.
_APART = "provider, model, day"


def _with_tokens(columns: str, names: Iterable[str], source: str, dialect: Dialect) -> str:
    """Add the tokens of these kinds to the columns, each expression computed once a run.

    OFFSET and LIMIT keep a sub-select from being merged into the statement, where what it answers would be computed as
    often as it is used; on PostgreSQL to read a number out of a jsonb costs most, and takes place in steps of its own.
    """
    if dialect == "sqlite":
        tokens = ", ".join(f"{tokens_of(name, dialect)} AS {name}" for name in names)
        return f"SELECT {columns}, {tokens} {source} LIMIT -1"
    parts = (
        "t.token_usage -> '{0}'",
        "CASE WHEN jsonb_typeof({0}) = 'number' THEN {0}::numeric END",
        f"CASE WHEN {{0}} BETWEEN 0 AND {MOST_TOKENS} THEN trunc({{0}})::bigint ELSE 0 END",
    )
    for part in parts:
        tokens = ", ".join(f"{part.format(name)} AS {name}" for name in names)
        source = f"FROM (SELECT {columns}, {tokens} {source} OFFSET 0) AS t"
        columns = f"{_APART}, cost_usd"
    return f"SELECT * {source}"


@lru_cache(maxsize=256)
def usage(wished: frozenset[str], priced: bool, by_day: bool, schema: str | None, dialect: Dialect) -> Statement:
    """Sum up the runs that pass all filters by provider and, when asked for, by model (to be `priced`) and day.

    After these three (NULL when not asked for): how many runs there are, how many have a cost, the sum of these costs,
    and the tokens of all runs, of the first three kinds; when they are to be priced of all kinds, and after them those
    of the runs that have no cost.
    """
    names = TOKENS if priced else TOKENS[:3]
    nothing = "CAST(NULL AS varchar)"
    model, day = _MODEL[dialect] if priced else nothing, _DAY[dialect] if by_day else nothing
    sums = [f"sum({name})" for name in names]
    if priced:
        sums += [f"sum(CASE WHEN cost_usd IS NULL THEN {name} ELSE 0 END)" for name in names]
    source = f"FROM {{schema}}asm_runs AS t WHERE {_passing(RUNS, wished, dialect)}"
    runs = _with_tokens(f"t.provider, {model} AS model, {day} AS day, t.cost_usd", names, source, dialect)
    sql = (
        f"SELECT {_APART}, count(*), count(cost_usd), coalesce(sum(cost_usd), 0), {', '.join(sums)}"
        f" FROM ({runs}) AS r GROUP BY {_APART}"
    )
    return _finished(sql, RUNS, schema, dialect)


@lru_cache(maxsize=16)
def stats(schema: str | None, dialect: Dialect) -> Statement:
    """Sum up a session: a row for each status and provider of its runs, beside what is known of its events."""
    tokens = ", ".join(f"sum({tokens_of(name, dialect)}) AS {name}" for name in TOKENS[:3])
    sql = (
        "SELECT e.count, e.first_at, e.last_at, r.status, r.provider, r.count,"
        f" {', '.join(f'r.{name}' for name in TOKENS[:3])} FROM {{schema}}asm_sessions AS s"
        " CROSS JOIN (SELECT count(*) AS count, min(timestamp) AS first_at, max(timestamp) AS last_at"
        " FROM {schema}asm_events WHERE session_id = :session_id) AS e"
        f" LEFT JOIN (SELECT t.status, t.provider, count(*) AS count, {tokens} FROM {{schema}}asm_runs AS t"
        " WHERE t.session_id = :session_id GROUP BY t.status, t.provider) AS r ON true WHERE s.id = :session_id"
        " ORDER BY r.status, r.provider"
    )
    return _finished(sql, RUNS, schema, dialect)


# -- whole sessions -----------------------------------------------------------------------------------------------

#: What of a session's counter is exported.
COUNTER = ("last_sequence", "first_sequence", "pruned")


@lru_cache(maxsize=16)
def exported(schema: str | None, dialect: Dialect) -> Statement:
    """Read a session and its counter, as they stand at one moment."""
    counter = ", ".join(f"coalesce(q.{name}, {start})" for name, start in zip(COUNTER, (0, 1, 0), strict=True))
    sql = (
        f"SELECT {shown(SESSIONS.columns, dialect, 't.')}, {counter} FROM {{schema}}asm_sessions AS t"
        f" LEFT JOIN {{schema}}{EVENTS.head} AS q ON q.session_id = t.id WHERE t.id = :session_id"
    )
    return _finished(sql, RUNS, schema, dialect)


@lru_cache(maxsize=32)
def insert(table: str, columns: tuple[Column, ...], schema: str | None, dialect: Dialect) -> Statement:
    """Insert rows as they are: on PostgreSQL each parameter is a list of a column's values, on SQLite one row's."""
    names = ", ".join(column.name for column in columns)
    if dialect == "sqlite":
        return Statement(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{c.name}' for c in columns)})", ())
    # As texts: a codec that the host set for jsonb would encode them once more.
    lists = [Column(c.name, "text[]" if c.type == "jsonb" else f"{c.type}[]") for c in columns]
    values = ", ".join(f"x.{c.name}::jsonb" if c.type == "jsonb" else f"x.{c.name}" for c in columns)
    given = ", ".join(f":{c.name}" for c in columns)
    sql = f"INSERT INTO {{schema}}{table} ({names}) SELECT {values} FROM unnest({given}) AS x({names})"
    return compiled(sql.replace("{schema}", qualified(schema)), lists)
