"""The SQL of ADK sessions, for both dialects; the journal's stands in journal/statements.py.

A state is a JSON object, and a delta is merged into it where it lies, under the row's lock: two writers of different
keys never lose one another's. SQLite's own json_patch would delete a key whose new value is null. Into what is no
object nothing is merged: it becomes NULL, which the column refuses, and the store says which row it was.
"""

from __future__ import annotations

from functools import lru_cache

from jido_tortoise.codec import text
from jido_tortoise.database import Dialect
from jido_tortoise.journal import Column, Follower, JournalTable, Touch
from jido_tortoise.journal.statements import Statement, compiled, qualified, shown


def _merged(old: str, new: str) -> str | None:
    """Merge two JSON objects, key by key; the top level alone has keys of ours, and no tags."""
    try:
        first, second = text.read(old), text.read(new)
    except (ValueError, RecursionError):
        return None
    return text.write({**first, **second}) if type(first) is type(second) is dict else None


def merging(first: str, second: str, stored: str, dialect: Dialect) -> str:
    """Give the SQL that merges two states, one of which is `stored`; the second one's keys win."""
    if dialect == "sqlite":
        return f"adk_merged({first}, {second})"
    return f"CASE jsonb_typeof({stored}) WHEN 'object' THEN {first} || {second} END"


def _with_holes(old: str, new: str) -> str | None:
    """Answer a row's new `extra` with the holes of the old one; None of what is no map."""
    try:
        before = text.read(old)
    except (ValueError, RecursionError):
        return None
    if type(before) is not dict:
        return None
    return text.write({**{name: before[name] for name in before if name == "holes"}, **text.read(new)})


_APP, _USER, _ID = Column("app_name", "varchar"), Column("user_id", "varchar"), Column("id", "varchar")
_KEY = (_APP, _USER, _ID)
_DIALECTS: tuple[Dialect, ...] = ("postgres", "sqlite")
_STATE: dict[str, str] = {
    dialect: f"CASE WHEN :state IS NULL THEN t.state ELSE {merging('t.state', ':state', 't.state', dialect)} END"
    for dialect in _DIALECTS
}

#: What an append brings replaces what the one before brought; only the holes stay. What is no map becomes NULL, which
#: the column refuses: who knows what its holes were.
_EXTRA = {
    "postgres": "CASE WHEN jsonb_typeof(t.extra) <> 'object' THEN NULL WHEN t.extra ? 'holes'"
    " THEN jsonb_build_object('holes', t.extra->'holes') || :extra ELSE :extra END",
    "sqlite": "CASE WHEN instr(t.extra, '\"holes\"') OR t.extra NOT GLOB '{*}' THEN adk_with_holes(t.extra, :extra)"
    " ELSE :extra END",
}

#: The tables of sessions as a journal.
SESSIONS = JournalTable(
    head="adk_sessions",
    rows="adk_events",
    key=_KEY,
    row_key=("app_name", "user_id", "session_id"),
    row=(
        Column("id", "varchar"),
        Column("invocation_id", "varchar"),
        Column("author", "varchar"),
        Column("branch", "text"),
        Column("error_code", "text"),
        Column("error_message", "text"),
        Column("content", "jsonb"),
        Column("actions", "jsonb"),
        Column("custom_metadata", "jsonb"),
        Column("usage_metadata", "jsonb"),
        Column("citation_metadata", "jsonb"),
        Column("grounding_metadata", "jsonb"),
        Column("partial", "boolean"),
        Column("turn_complete", "boolean"),
        Column("interrupted", "boolean"),
        Column("long_running_tool_ids", "jsonb"),
        Column("timestamp", "timestamptz"),
        Column("extra", "jsonb"),
    ),
    touched=(
        Touch(Column("state", "jsonb"), _STATE),
        Touch(Column("extra", "jsonb"), _EXTRA),
    ),
    identity="pk_id",
    created_at=Column("inserted_at", "timestamptz"),
    updated_at=Column("updated_at", "timestamptz"),
    told=("pk_id",),
    monotonic=False,  # it is the time that the last event says
    functions={"adk_merged": (2, _merged), "adk_with_holes": (2, _with_holes)},
)


def _upsert(table: str, key: tuple[Column, ...], delta: str, returned: str, dialect: Dialect) -> str:
    names = ", ".join(c.name for c in key)
    places = ", ".join(f":{c.name}" for c in key)
    merged = merging("c.state", "excluded.state", "c.state", dialect)
    return (
        f"INSERT INTO {{schema}}{table} AS c ({names}, state, updated_at) SELECT {places}, :{delta}, :now FROM h"
        f" WHERE {{after}} ON CONFLICT ({names}) DO UPDATE SET state = {merged}, updated_at = excluded.updated_at"
        f" RETURNING {returned}"
    )


def _follower(name: str, table: str, key: tuple[Column, ...], *, answers: bool = False) -> Follower:
    delta = f"{name}_state"
    returned = _ANSWER if answers else dict.fromkeys(_DIALECTS, "1")
    return Follower(
        name=name,
        params=(*key, Column(delta, "jsonb")),
        write={dialect: _upsert(table, key, delta, returned[dialect], dialect) for dialect in _DIALECTS},
        answers=answers,
    )


def _reader(name: str, table: str, key: tuple[Column, ...]) -> Follower:
    where = " AND ".join(f"{c.name} = :{c.name}" for c in key)
    write: dict[str, str] = {
        dialect: f"SELECT {_ANSWER[dialect]} FROM {{schema}}{table} WHERE {where} AND {{after}}"
        for dialect in _DIALECTS
    }
    return Follower(name=name, params=key, write=write, answers=True)


_ANSWER = {"postgres": "state::text AS answer", "sqlite": "state AS answer"}
_APPS, _USERS = ("app", "adk_app_states", (_APP,)), ("user", "adk_user_states", (_APP, _USER))

#: Written after the session, the app's before the user's: always in this order.
APP_STATE, USER_STATE = _follower(*_APPS), _follower(*_USERS)

_IDENTITY = Follower(
    name="identity",
    params=_KEY,
    write={
        "postgres": "SELECT h.pk_id AS answer FROM h WHERE {after}",
        "sqlite": "SELECT pk_id AS answer FROM {schema}adk_sessions"
        " WHERE app_name = :app_name AND user_id = :user_id AND id = :id AND {after}",
    },
    answers=True,
)
#: What a new session shares with others and what tells it from them, by how many of the two states it changes: both are
#: read as they stood at one moment, or both as they are under their locks. With one of each kind another session's
#: append could be seen in the one and not in the other: that one is read apart.
SHARED: dict[int, tuple[Follower, ...]] = {
    0: (_reader(*_APPS), _reader(*_USERS), _IDENTITY),
    2: (_follower(*_APPS, answers=True), _follower(*_USERS, answers=True), _IDENTITY),
}

_PARAMETERS = (
    *_KEY,
    Column("stop", "bigint"),
    Column("after", "timestamptz"),
    Column("since", "double precision"),
    Column("limit", "bigint"),
)
_BESIDE = (
    "LEFT JOIN {schema}adk_app_states AS a ON a.app_name = t.app_name"
    " LEFT JOIN {schema}adk_user_states AS u ON u.app_name = t.app_name AND u.user_id = t.user_id"
)


def _shown(prefix: str, dialect: Dialect) -> str:
    return shown(SESSIONS.row, dialect, prefix)


def _head(dialect: Dialect) -> str:
    cast = "::text" if dialect == "postgres" else ""
    states = ", ".join(f"{table}.state{cast}" for table in "aut")
    return (
        f"SELECT t.user_id, t.id, t.rev, t.first_seq, t.extra{cast}, t.inserted_at, t.updated_at, {states}, t.pk_id"
        f" FROM {{schema}}adk_sessions AS t {_BESIDE} WHERE t.app_name = :app_name"
    )


@lru_cache(maxsize=16)
def head(schema: str | None, dialect: Dialect) -> Statement:
    """Read a session and the states beside it, as they stand at one moment."""
    return _finished(_head(dialect) + " AND t.user_id = :user_id AND t.id = :id", schema, dialect)


@lru_cache(maxsize=16)
def heads(of_user: bool, schema: str | None, dialect: Dialect) -> Statement:
    """Read all sessions of an app, or of a user in it, the one that was changed last at the end."""
    plain = ' COLLATE "C"' if dialect == "postgres" else ""  # the same order in every database
    sql = _head(dialect) + (" AND t.user_id = :user_id" if of_user else "")
    return _finished(f"{sql} ORDER BY t.updated_at, t.user_id{plain}, t.id{plain}", schema, dialect)


@lru_cache(maxsize=16)
def events_of_all(of_user: bool, schema: str | None, dialect: Dialect) -> Statement:
    """Read the events of all those sessions, each session's in their order."""
    user = " AND user_id = :user_id" if of_user else ""
    sql = (
        f"SELECT user_id, session_id, seq, {_shown('', dialect)} FROM {{schema}}adk_events"
        f" WHERE app_name = :app_name{user} ORDER BY user_id, session_id, seq"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def events_after(limited: bool, schema: str | None, dialect: Dialect) -> Statement:
    """Read a session's events below :stop that are later than :after, the last one first."""
    return _events_where("timestamp > :after", limited, schema, dialect)


@lru_cache(maxsize=16)
def events_since(limited: bool, schema: str | None, dialect: Dialect) -> Statement:
    """Read a session's events below :stop from :since on, the last one first.

    Events of google-adk have their exact time in `extra`, finer than the column; for the others :after is the first
    microsecond that is not before :since.
    """
    exact, kind = {
        "postgres": ("(extra->>'timestamp')::float8", "jsonb_typeof(extra->'timestamp') = 'number'"),
        "sqlite": ("json_extract(extra, '$.timestamp')", "json_type(extra, '$.timestamp') IN ('integer', 'real')"),
    }[dialect]
    where = f"CASE WHEN {kind} THEN {exact} >= :since ELSE timestamp >= :after END"
    return _events_where(where, limited, schema, dialect)


def _events_where(condition: str, limited: bool, schema: str | None, dialect: Dialect) -> Statement:
    limit = " LIMIT :limit" if limited else ""
    sql = (
        f"SELECT seq, {_shown('', dialect)} FROM {{schema}}adk_events"
        " WHERE app_name = :app_name AND user_id = :user_id AND session_id = :id AND seq < :stop"
        f" AND {condition} ORDER BY seq DESC{limit}"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def beside(schema: str | None, dialect: Dialect) -> Statement:
    """Read the states of an app and of a user in it, and what tells a session from others under its key."""
    sql = _states(dialect) + (
        ", (SELECT pk_id FROM {schema}adk_sessions WHERE app_name = :app_name AND user_id = :user_id AND id = :id)"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def states(schema: str | None, dialect: Dialect) -> Statement:
    """Read the states of an app and of a user in it."""
    return _finished(_states(dialect), schema, dialect)


def _states(dialect: Dialect) -> str:
    cast = "::text" if dialect == "postgres" else ""
    return (
        f"SELECT (SELECT state{cast} FROM {{schema}}adk_app_states WHERE app_name = :app_name),"
        f" (SELECT state{cast} FROM {{schema}}adk_user_states WHERE app_name = :app_name AND user_id = :user_id)"
    )


def _finished(sql: str, schema: str | None, dialect: Dialect) -> Statement:
    sql = sql.replace("{schema}", qualified(schema))
    return compiled(sql, _PARAMETERS) if dialect == "postgres" else Statement(sql, ())
