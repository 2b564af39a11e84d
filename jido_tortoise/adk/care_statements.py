"""The SQL of what is done with many sessions, or with a part of one: pages, pruning, holes, copies."""

from __future__ import annotations

from functools import lru_cache

from jido_tortoise.adk.statements import SESSIONS, merging
from jido_tortoise.database import Dialect
from jido_tortoise.journal import Column
from jido_tortoise.journal.statements import Statement, compiled, qualified, shown

_PARAMETERS = (
    Column("app_name", "varchar"),
    Column("user_id", "varchar"),
    Column("id", "varchar"),
    Column("invocation_id", "varchar"),
    Column("state", "jsonb"),
    Column("extra", "jsonb"),
    Column("where", "jsonb"),
    *(Column(name, "timestamptz") for name in ("after", "before", "place_at")),
    *(Column(name, "bigint") for name in ("place_id", "limit", "keep", "pk_id", "rev")),
    *(Column(name, "bigint[]") for name in ("pk_ids", "revs", "seqs")),
    *(Column(name, "text[]") for name in ("users", "ids")),
)

# -- pages --------------------------------------------------------------------------------------------------------

_FILTERS = {
    "user": "t.user_id = :user_id",
    "after": "t.updated_at > :after",
    "before": "t.updated_at < :before",
}
_WHERE = {"postgres": "t.state @> :where", "sqlite": "adk_holds(t.state, :where)"}


@lru_cache(maxsize=256)
def page(wished: frozenset[str], schema: str | None, dialect: Dialect) -> Statement:
    """Read a page of sessions by their last updates; the states beside them only for what is on the page."""
    # Else SQLite, which knows nothing of how many there are, would read and sort all sessions of the user.
    app = "+t.app_name" if dialect == "sqlite" and "user" in wished else "t.app_name"
    conditions = [f"{app} = :app_name", *(_FILTERS[name] for name in _FILTERS if name in wished)]
    way, further = ("", ">") if "oldest" in wished else (" DESC", "<")
    if "where" in wished:
        conditions.append(_WHERE[dialect])
    if "place" in wished:
        conditions.append(f"(t.updated_at, t.pk_id) {further} (:place_at, :place_id)")
    inner = (
        f"SELECT * FROM {{schema}}adk_sessions AS t WHERE {' AND '.join(conditions)}"
        f" ORDER BY t.updated_at{way}, t.pk_id{way} LIMIT :limit"
    )
    states, beside = _states(dialect) if "state" in wished else ("NULL, NULL, '{}'", "")
    sql = (
        f"SELECT p.user_id, p.id, p.rev, p.first_seq, {_text('p.extra', dialect)}, p.inserted_at, p.updated_at,"
        f" {states}, p.pk_id FROM ({inner}) AS p{beside} ORDER BY p.updated_at{way}, p.pk_id{way}"
    )
    return _finished(sql, schema, dialect)


def _states(dialect: Dialect) -> tuple[str, str]:
    beside = (
        " LEFT JOIN {schema}adk_app_states AS a ON a.app_name = p.app_name"
        " LEFT JOIN {schema}adk_user_states AS u ON u.app_name = p.app_name AND u.user_id = p.user_id"
    )
    return ", ".join(_text(f"{table}.state", dialect) for table in "aup"), beside


# -- pruning ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def due(of_user: bool, by_age: bool, by_count: bool, schema: str | None, dialect: Dialect) -> Statement:
    """Read sessions that are too old, or beyond the newest :keep of their user; in the order of their rows."""
    user = " AND t.user_id = :user_id" if of_user else ""
    table = f"SELECT t.* FROM {{schema}}adk_sessions AS t WHERE t.app_name = :app_name{user}"
    if by_count:
        place = "row_number() OVER (PARTITION BY t.user_id ORDER BY t.updated_at DESC, t.pk_id DESC) AS place"
        table = table.replace("SELECT t.*", f"SELECT t.*, {place}", 1)
    rules = [*(["s.updated_at < :before"] if by_age else []), *(["s.place > :keep"] if by_count else [])]
    sql = (
        f"SELECT s.pk_id, s.user_id, s.id, s.rev, s.first_seq, {_text('s.extra', dialect)} FROM ({table}) AS s"
        f" WHERE ({' OR '.join(rules)}) AND s.pk_id > :place_id ORDER BY s.pk_id LIMIT :limit"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def hold(schema: str | None, dialect: Dialect) -> Statement:
    """Lock those sessions that are still as they were seen, and answer them; those that others have locked are not."""
    seen = {
        "postgres": "unnest(:pk_ids, :revs) AS d(pk_id, rev)",
        "sqlite": "(SELECT p.value AS pk_id, r.value AS rev FROM json_each(:pk_ids) AS p"
        " JOIN json_each(:revs) AS r ON r.key = p.key) AS d",
    }[dialect]
    lock = " FOR UPDATE OF t SKIP LOCKED" if dialect == "postgres" else ""
    sql = (
        f"SELECT t.pk_id FROM {{schema}}adk_sessions AS t JOIN {seen} ON t.pk_id = d.pk_id AND t.rev = d.rev"
        f" ORDER BY t.pk_id{lock}"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def drop_sessions(schema: str | None, dialect: Dialect) -> Statement:
    """Delete sessions by their rows; their events come after them."""
    some = "= ANY(:pk_ids)" if dialect == "postgres" else "IN (SELECT value FROM json_each(:pk_ids))"
    return _finished(f"DELETE FROM {{schema}}adk_sessions WHERE pk_id {some}", schema, dialect)


@lru_cache(maxsize=16)
def drop_events(schema: str | None, dialect: Dialect) -> Statement:
    """Delete all events of some sessions of an app."""
    some = {
        "postgres": "SELECT k.user_id, k.id FROM unnest(:users, :ids) AS k(user_id, id)",
        "sqlite": "SELECT u.value, i.value FROM json_each(:users) AS u JOIN json_each(:ids) AS i ON i.key = u.key",
    }[dialect]
    sql = f"DELETE FROM {{schema}}adk_events WHERE app_name = :app_name AND (user_id, session_id) IN ({some})"
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=32)
def with_events(of_user: bool, by_age: bool, schema: str | None, dialect: Dialect) -> Statement:
    """Read sessions that have events, each with the number of its first event that is not older than :before."""
    user = " AND t.user_id = :user_id" if of_user else ""
    # By their numbers, from the oldest on: what is read are the events that go, and one more.
    young = (
        "(SELECT e.seq FROM {schema}adk_events AS e WHERE e.app_name = t.app_name AND e.user_id = t.user_id"
        " AND e.session_id = t.id AND e.timestamp >= :before ORDER BY e.seq LIMIT 1)"
    )
    first = f"coalesce({young}, t.rev)" if by_age else "t.first_seq"
    sql = (
        f"SELECT t.pk_id, t.user_id, t.id, t.rev, t.first_seq, {_text('t.extra', dialect)}, {first}"
        f" FROM {{schema}}adk_sessions AS t WHERE t.app_name = :app_name{user} AND t.first_seq < t.rev"
        " AND t.pk_id > :place_id ORDER BY t.pk_id LIMIT :limit"
    )
    return _finished(sql, schema, dialect)


# -- one session --------------------------------------------------------------------------------------------------

_KEY_IS = "app_name = :app_name AND user_id = :user_id AND id = :id"
_EVENT_IS = "app_name = :app_name AND user_id = :user_id AND session_id = :id"


@lru_cache(maxsize=16)
def lock_session(schema: str | None, dialect: Dialect) -> Statement:
    """Lock a session, and read its numbers and what a copy or a deletion changes."""
    lock = " FOR UPDATE" if dialect == "postgres" else ""
    sql = (
        f"SELECT rev, first_seq, {_text('extra', dialect)}, {_text('state', dialect)}, inserted_at, updated_at,"
        f" pk_id FROM {{schema}}adk_sessions WHERE {_KEY_IS}{lock}"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def set_session(schema: str | None, dialect: Dialect) -> Statement:
    """Set a session's own state and what has no column; neither its revision nor its time changes."""
    sql = f"UPDATE {{schema}}adk_sessions SET state = :state, extra = :extra WHERE {_KEY_IS}"
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def of_invocation(schema: str | None, dialect: Dialect) -> Statement:
    """Read the numbers of events whose column has this invocation, with what tells when the column holds but a part."""
    sql = (
        f"SELECT seq, {_text('extra', dialect)} FROM {{schema}}adk_events"
        f" WHERE {_EVENT_IS} AND invocation_id = :invocation_id ORDER BY seq"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def drop_numbers(schema: str | None, dialect: Dialect) -> Statement:
    """Delete events by their numbers."""
    some = "= ANY(:seqs)" if dialect == "postgres" else "IN (SELECT value FROM json_each(:seqs))"
    return _finished(f"DELETE FROM {{schema}}adk_events WHERE {_EVENT_IS} AND seq {some}", schema, dialect)


@lru_cache(maxsize=16)
def some_events(schema: str | None, dialect: Dialect) -> Statement:
    """Read events of a session by their ids."""
    some = "= ANY(:ids)" if dialect == "postgres" else "IN (SELECT value FROM json_each(:ids))"
    row = shown(SESSIONS.row, dialect)
    return _finished(f"SELECT seq, {row} FROM {{schema}}adk_events WHERE {_EVENT_IS} AND id {some}", schema, dialect)


# -- importing ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def add_state(parts: int, schema: str | None, dialect: Dialect) -> Statement:
    """Add the state of an app, or of a user: keys that are there already keep their values."""
    table, key = {1: ("adk_app_states", "app_name"), 2: ("adk_user_states", "app_name, user_id")}[parts]
    places = ", ".join(f":{name}" for name in key.split(", "))
    merged = merging("excluded.state", "c.state", "c.state", dialect)
    sql = (
        f"INSERT INTO {{schema}}{table} AS c ({key}, state, updated_at) VALUES ({places}, :state, :after)"
        f" ON CONFLICT ({key}) DO UPDATE SET state = {merged}"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def set_updated(schema: str | None, dialect: Dialect) -> Statement:
    """Set when a session was updated, and what has no column."""
    sql = f"UPDATE {{schema}}adk_sessions SET updated_at = :after, extra = :extra WHERE {_KEY_IS}"
    return _finished(sql, schema, dialect)


# -- parts --------------------------------------------------------------------------------------------------------


def _text(column: str, dialect: Dialect) -> str:
    # A codec that the host set for jsonb would decode it in its own way.
    return f"{column}::text" if dialect == "postgres" else column


def _finished(sql: str, schema: str | None, dialect: Dialect) -> Statement:
    sql = sql.replace("{schema}", qualified(schema))
    return compiled(sql, _PARAMETERS) if dialect == "postgres" else Statement(sql, ())
