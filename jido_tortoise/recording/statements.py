"""The SQL of recording, for both dialects; that of appends stands in journal/statements.py.

A save is guarded by the revision that its value was read at, and by the statuses that may come before its own. Nothing
is written when nothing would change: a jsonb's text is compared, since jsonb itself calls 1 and 1.0 equal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from jido_tortoise.database import Dialect
from jido_tortoise.journal import Column, Follower, JournalTable
from jido_tortoise.journal.statements import Statement, compiled, qualified, shown

#: The channel of notifications.
CHANNEL = "jido_recording"


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """A table whose rows are values of one class. Compared by identity, so that statements are built once for each."""

    #: What a value is called, in paths and in the reasons of errors.
    name: Literal["session", "run", "artifact"]
    table: str
    columns: tuple[Column, ...]
    #: Those that never change: a value that no store has answered may follow the first revision that has the same.
    fixed: tuple[str, ...]
    #: How lists are ordered.
    order: str
    #: Columns by which a list may be narrowed.
    filters: tuple[str, ...]


SESSION = Kind(
    name="session",
    table="asm_sessions",
    columns=(
        Column("id", "varchar"),
        Column("agent_id", "varchar"),
        Column("status", "varchar"),
        Column("parent_session_id", "varchar"),
        Column("metadata", "jsonb"),
        Column("context", "jsonb"),
        Column("tags", "jsonb"),
        Column("created_at", "timestamptz"),
        Column("updated_at", "timestamptz"),
        Column("deleted_at", "timestamptz"),
    ),
    fixed=("agent_id", "created_at"),
    order="created_at",
    filters=("status", "agent_id"),
)
RUN = Kind(
    name="run",
    table="asm_runs",
    columns=(
        Column("id", "varchar"),
        Column("session_id", "varchar"),
        Column("status", "varchar"),
        Column("input", "jsonb"),
        Column("output", "jsonb"),
        Column("error", "jsonb"),
        Column("metadata", "jsonb"),
        Column("turn_count", "bigint"),
        Column("token_usage", "jsonb"),
        Column("started_at", "timestamptz"),
        Column("ended_at", "timestamptz"),
        Column("provider", "varchar"),
        Column("provider_metadata", "jsonb"),
        Column("cost_usd", "float8"),
    ),
    fixed=("session_id", "started_at"),
    order="started_at",
    filters=("session_id", "status"),
)
ARTIFACT = Kind(
    name="artifact",
    table="asm_artifacts",
    columns=(
        Column("id", "varchar"),
        Column("session_id", "varchar"),
        Column("run_id", "varchar"),
        Column("key", "varchar"),
        Column("content_type", "varchar"),
        Column("byte_size", "bigint"),
        Column("checksum_sha256", "varchar"),
        Column("storage_backend", "varchar"),
        Column("storage_ref", "text"),
        Column("metadata", "jsonb"),
        Column("created_at", "timestamptz"),
        Column("deleted_at", "timestamptz"),
    ),
    fixed=("id",),
    order="created_at",
    filters=("session_id",),
)

#: The events of sessions as a journal.
EVENTS = JournalTable(
    head="asm_session_sequences",
    rows="asm_events",
    key=(Column("session_id", "varchar"),),
    row=(
        Column("id", "varchar"),
        Column("type", "varchar"),
        Column("timestamp", "timestamptz"),
        Column("run_id", "varchar"),
        Column("data", "jsonb"),
        Column("metadata", "jsonb"),
        Column("schema_version", "bigint"),
        Column("provider", "varchar"),
        Column("correlation_id", "varchar"),
    ),
    kept=(Column("pruned", "bigint"),),
    counter="last_sequence",
    number="sequence_number",
    oldest="first_sequence",
    created_at=Column("created_at", "timestamptz"),
    updated_at=Column("updated_at", "timestamptz"),
    first=1,
    told=("followed_until",),
)
#: An event with what the journal calls key and number, in the order in which it is read.
EVENT_COLUMNS = (*EVENTS.key, Column(EVENTS.number, "bigint"), *EVENTS.row)

#: Tells those who follow the session, when there may be any, at the commit.
TELL = Follower(
    name="tell",
    params=(Column("note", "text"),),
    write={
        "postgres": f"SELECT pg_notify('{CHANNEL}', :note) FROM h WHERE {{after}} AND h.followed_until > now()",
        "sqlite": "SELECT 1 WHERE false",
    },
    only_reads=True,
)

_MORE = (
    Column("expected", "bigint"),
    Column("befores", "text[]"),
    Column("ids", "text[]"),
    Column("types", "text[]"),
    Column("statuses", "text[]"),
    Column("type", "varchar"),
    Column("since", "timestamptz"),
    Column("after", "bigint"),
    Column("before", "bigint"),
    Column("limit", "bigint"),
    Column("offset", "bigint"),
    Column("seconds", "float8"),
    Column("now", "timestamptz"),
    Column("place", "timestamptz"),
    Column("place_id", "varchar"),
)


def _finished(sql: str, columns: Iterable[Column], schema: str | None, dialect: Dialect) -> Statement:
    sql = sql.replace("{schema}", qualified(schema))
    return compiled(sql, (*_MORE, *columns)) if dialect == "postgres" else Statement(sql, ())


def one_of(column: str, name: str, dialect: Dialect) -> str:
    """Say that a column has one of the given texts; lists are JSON on SQLite."""
    if dialect == "postgres":
        return f"{column} = ANY(:{name})"
    return f"{column} IN (SELECT value FROM json_each(:{name}))"


def frequent(condition: str, dialect: Dialect) -> str:
    """Say of a condition that most rows pass it, where another one shall be looked for by its index.

    SQLite, which has not counted the rows, takes all indexes for equally good: a session's events of a type would be
    looked for among those that all sessions have of it.
    """
    return f"likelihood({condition}, 0.9)" if dialect == "sqlite" else condition


# -- sessions and runs --------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def save(kind: Kind, fresh: bool, schema: str | None, dialect: Dialect) -> Statement:
    """Write a value over the revision that it was read at; a `fresh` one is inserted, or follows its first revision."""
    sql = _insert(kind, dialect) if fresh else _update(kind, dialect)
    if kind is SESSION and fresh and dialect == "postgres":
        sql = f"WITH s AS ({sql}), h AS ({_COUNTER} FROM s ON CONFLICT DO NOTHING) SELECT revision FROM s"
    return _finished(sql, kind.columns, schema, dialect)


_COUNTER = (
    f"INSERT INTO {{schema}}{EVENTS.head}"
    " (session_id, last_sequence, first_sequence, pruned, created_at, updated_at) SELECT :id, 0, 1, 0, :now, :now"
)
#: Make a session's counter (SQLite).
SQLITE_COUNTER = _COUNTER.replace("{schema}", "") + " WHERE true ON CONFLICT DO NOTHING"


def _insert(kind: Kind, dialect: Dialect) -> str:
    names = [c.name for c in kind.columns]
    changes = [f"{name} = excluded.{name}" for name in names if name not in ("id", *kind.fixed)]
    same = [f"t.{name} = excluded.{name}" for name in kind.fixed]
    return (
        f"INSERT INTO {{schema}}{kind.table} AS t ({', '.join(names)}, revision)"
        f" VALUES ({', '.join(f':{name}' for name in names)}, 1)"
        f" ON CONFLICT (id) DO UPDATE SET {', '.join(changes)}, revision = t.revision + 1"
        f" WHERE t.revision = 1 AND {' AND '.join(same)} AND {_allowed(kind, 'excluded.', dialect)} RETURNING revision"
    )


def _update(kind: Kind, dialect: Dialect) -> str:
    names = [c.name for c in kind.columns if c.name not in ("id", *kind.fixed)]
    same = [f" AND t.{name} = :{name}" for name in kind.fixed]
    return (
        f"UPDATE {{schema}}{kind.table} AS t SET {', '.join(f'{name} = :{name}' for name in names)},"
        f" revision = t.revision + 1 WHERE t.id = :id AND t.revision = :expected{''.join(same)}"
        f" AND {_allowed(kind, ':', dialect)} RETURNING revision"
    )


def _allowed(kind: Kind, given: str, dialect: Dialect) -> str:
    """Say that the status may follow the one that is there, and that something is different."""
    cast = {"jsonb": "::text"} if dialect == "postgres" else {}
    there = ", ".join(f"t.{c.name}{cast.get(c.type, '')}" for c in kind.columns)
    wished = ", ".join(f"{given}{c.name}{cast.get(c.type, '')}" for c in kind.columns)
    differs = "IS DISTINCT FROM" if dialect == "postgres" else "IS NOT"
    return f"{one_of('t.status', 'befores', dialect)} AND ({there}) {differs} ({wished})"


@lru_cache(maxsize=16)
def get(kind: Kind, schema: str | None, dialect: Dialect) -> Statement:
    """Read one row by its id, its revision after it."""
    sql = f"SELECT {shown(kind.columns, dialect)}, revision FROM {{schema}}{kind.table} WHERE id = :id"
    return _finished(sql, kind.columns, schema, dialect)


@lru_cache(maxsize=64)
def rows_of(kind: Kind, filters: frozenset[str], schema: str | None, dialect: Dialect) -> Statement:
    """Read the rows that pass all these filters, the oldest first, their revisions after them."""
    revision = "" if kind is ARTIFACT else ", revision"
    wheres = [one_of("status", "statuses", dialect) if f == "status" else f"{f} = :{f}" for f in sorted(filters)]
    plain = ' COLLATE "C"' if dialect == "postgres" else ""  # the same order in every database
    sql = (
        f"SELECT {shown(kind.columns, dialect)}{revision} FROM {{schema}}{kind.table}"
        f" WHERE {' AND '.join(wheres) or 'true'} ORDER BY {kind.order}, id{plain} LIMIT :limit OFFSET :offset"
    )
    return _finished(sql, kind.columns, schema, dialect)


@lru_cache(maxsize=16)
def lock_session(schema: str | None, dialect: Dialect) -> Statement:
    """Read a session, and keep others from writing it and what is decided under it until the transaction ends."""
    lock = " FOR UPDATE" if dialect == "postgres" else ""
    sql = f"SELECT {shown(SESSION.columns, dialect)}, revision FROM {{schema}}asm_sessions WHERE id = :id{lock}"
    return _finished(sql, SESSION.columns, schema, dialect)


@lru_cache(maxsize=16)
def running(schema: str | None, dialect: Dialect) -> Statement:
    """Read the running runs of a session, the one that was started last first."""
    # SQLite would read the running ones of all sessions by an index that gives the order, to sort the few of this one.
    plain = "+" if dialect == "sqlite" else ""
    sql = (
        f"SELECT {shown(RUN.columns, dialect)}, revision FROM {{schema}}asm_runs"
        " WHERE session_id = :session_id AND status = 'running'"
        f" ORDER BY {plain}started_at DESC, {plain}id DESC"
    )
    return _finished(sql, RUN.columns, schema, dialect)


#: The columns of a run's lease.
_LEASE = (Column("leased_by", "varchar"), Column("leased_until", "timestamptz"))


@lru_cache(maxsize=16)
def lease_run(schema: str | None, dialect: Dialect) -> Statement:
    """Take or renew the lease of a run that has not ended, when it is free, the holder's, or has run out."""
    sql = (
        "UPDATE {schema}asm_runs SET leased_by = :leased_by, leased_until = :leased_until"
        " WHERE id = :id AND status IN ('pending', 'running')"
        " AND (leased_by IS NULL OR leased_by = :leased_by OR leased_until < :now) RETURNING 1"
    )
    return _finished(sql, (*RUN.columns, *_LEASE), schema, dialect)


@lru_cache(maxsize=16)
def lost_runs(schema: str | None, dialect: Dialect) -> Statement:
    """Read the running runs whose lease has run out, behind a place, the longest ago first, and when it has."""
    sql = (
        f"SELECT {shown(RUN.columns, dialect)}, revision, leased_until FROM {{schema}}asm_runs WHERE status = 'running'"
        " AND leased_until < :now AND (leased_until, id) > (:place, :place_id) ORDER BY leased_until, id LIMIT :limit"
    )
    return _finished(sql, RUN.columns, schema, dialect)


@lru_cache(maxsize=16)
def delete_session(schema: str | None, dialect: Dialect) -> Statement:
    """Delete a session; the database takes along what belongs to it."""
    return _finished("DELETE FROM {schema}asm_sessions WHERE id = :id", SESSION.columns, schema, dialect)


# -- events -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def events(filters: frozenset[str], schema: str | None, dialect: Dialect) -> Statement:
    """Read a session's events that pass all these filters, in order."""
    wheres = {
        "run_id": "run_id = :run_id",
        "type": frequent("type = :type", dialect),
        "types": frequent(one_of("type", "types", dialect), dialect),
        "since": "timestamp > :since",
        "after": "sequence_number > :after",
        "before": "sequence_number < :before",
    }
    given = "".join(f" AND {wheres[name]}" for name in sorted(filters - {"limit"}))
    limit = " LIMIT :limit" if "limit" in filters else ""
    sql = (
        f"SELECT {shown(EVENT_COLUMNS, dialect)} FROM {{schema}}asm_events WHERE session_id = :session_id{given}"
        f" ORDER BY sequence_number{limit}"
    )
    return _finished(sql, EVENT_COLUMNS, schema, dialect)


@lru_cache(maxsize=16)
def events_by_id(schema: str | None, dialect: Dialect) -> Statement:
    """Read events by their ids, whatever their session."""
    sql = (
        f"SELECT {shown(EVENT_COLUMNS, dialect)} FROM {{schema}}asm_events WHERE {one_of('id', 'ids', dialect)}"
        " ORDER BY session_id, sequence_number"
    )
    return _finished(sql, EVENT_COLUMNS, schema, dialect)


@lru_cache(maxsize=16)
def make_counter(schema: str | None, dialect: Dialect) -> Statement:
    """Make the counter of a session that is there without one, after its events."""
    sql = (
        f"INSERT INTO {{schema}}{EVENTS.head} (session_id, last_sequence, first_sequence, pruned, created_at,"
        " updated_at) SELECT s.id, coalesce(max(e.sequence_number), 0), coalesce(min(e.sequence_number), 1), 0, :now,"
        " :now FROM {schema}asm_sessions AS s LEFT JOIN {schema}asm_events AS e ON e.session_id = s.id"
        " WHERE s.id = :id GROUP BY s.id ON CONFLICT DO NOTHING"
    )
    return _finished(sql, SESSION.columns, schema, dialect)


@lru_cache(maxsize=16)
def say_followed(schema: str | None) -> Statement:
    """Ask the appends of a session for notifications, for some seconds from now; the database's clock alone counts."""
    sql = (
        f"UPDATE {{schema}}{EVENTS.head} SET followed_until = now() + make_interval(secs => :seconds)"
        " WHERE session_id = :session_id"
    )
    return _finished(sql, EVENTS.key, schema, "postgres")
