"""Reading an existing database of google-adk by a connection of our own: sessions and events, a few at a time.

It knows the layouts of google-adk's DatabaseSessionService, schema v1 and v0, and that of its SqliteSessionService.
Nothing is ever written there.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Literal, Protocol
from urllib.parse import quote

from jido_tortoise.adk import google_rows, routing
from jido_tortoise.adk.pickled import read_pickle
from jido_tortoise.driver_errors import translated
from jido_tortoise.errors import ConfigError

Schema = Literal["v0", "v1"]
Row = Mapping[str, Any]

#: How many rows are in memory at once.
PAGE = 500
_TABLES = ("sessions", "events", "app_states", "user_states")
#: Fields of an event that have a column of their own in v0, and hold JSON.
_JSON = (
    "content",
    "grounding_metadata",
    "custom_metadata",
    "usage_metadata",
    "citation_metadata",
    "input_transcription",
    "output_transcription",
)
_PLAIN = ("author", "branch", "partial", "turn_complete", "error_code", "error_message", "interrupted")


class Connection(Protocol):
    """A database, to be read."""

    #: How texts are to be ordered: by their characters' numbers, as Python orders them.
    collate: str

    async def columns(self, table: str) -> set[str]:
        """Answer a table's columns; none when it is not there."""
        ...

    def stream(self, sql: str) -> AsyncGenerator[Row, None]:
        """Walk the rows of a query in bounded memory."""
        ...


class Source:
    """A database of google-adk."""

    def __init__(self, connection: Connection, schema: Schema) -> None:
        self.schema: Schema = schema
        self._connection = connection

    async def count(self, table: str) -> int:
        """Count the rows of a table."""
        (row,) = [row async for row in self._connection.stream(f"SELECT count(*) AS n FROM {table}")]
        return int(row["n"])

    def states(self, table: str) -> AsyncGenerator[Row, None]:
        """Walk the states of apps, or of users."""
        return self._connection.stream(f"SELECT * FROM {table}")

    def sessions(self) -> AsyncGenerator[Row, None]:
        """Walk the sessions by their keys."""
        return self._ordered("sessions", "app_name", "user_id", "id")

    def events(self) -> AsyncGenerator[Row, None]:
        """Walk the events by their sessions' keys, in a session by their times."""
        return self._ordered("events", "app_name", "user_id", "session_id", then=", timestamp, id")

    def _ordered(self, table: str, *key: str, then: str = "") -> AsyncGenerator[Row, None]:
        order = ", ".join(f"{name}{self._connection.collate}" for name in key)
        return self._connection.stream(f"SELECT * FROM {table} ORDER BY {order}{then}")


# -- connections --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Source]:
    """Connect to a database of google-adk for the block.

    Args:
        url: As google-adk takes it (`sqlite+aiosqlite:///sessions.db`, `postgresql+asyncpg://...`), with any driver.

    Raises:
        ConfigError: It is neither SQLite nor PostgreSQL, there is no such file, or google-adk's tables are not there.
        StorageUnavailableError: The database is not there.
    """
    kind, separator, rest = url.partition("://")
    connect = {"sqlite": _sqlite, "postgresql": _postgres, "postgres": _postgres, "asyncpg": _postgres}
    if not separator or kind.partition("+")[0] not in connect:
        raise ConfigError(f"--from: {kind}: a database of google-adk is read from sqlite:// or postgresql://")
    with translated():
        async with connect[kind.partition("+")[0]](rest) as connection:
            yield Source(connection, await _schema_of(connection))


async def _schema_of(connection: Connection) -> Schema:
    missing = [table for table in _TABLES if not await connection.columns(table)]
    columns = await connection.columns("events")
    if missing or not columns & {"event_data", "actions"}:
        what = f"no table {', '.join(missing)}" if missing else "events with neither event_data nor actions"
        raise ConfigError(f"--from: this is no database of google-adk's sessions: {what}", reason="no_google_adk")
    return "v1" if "event_data" in columns else "v0"


class _Sqlite:
    collate = ""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    async def columns(self, table: str) -> set[str]:
        found = await self._raw.execute_fetchall(f"SELECT name FROM pragma_table_info('{table}')")
        return {row[0] for row in found}

    async def stream(self, sql: str) -> AsyncGenerator[Row, None]:
        async with self._raw.execute(sql) as cursor:
            names = [column[0] for column in cursor.description]
            while found := await cursor.fetchmany(PAGE):
                for row in found:
                    yield dict(zip(names, row, strict=True))


@asynccontextmanager
async def _sqlite(rest: str) -> AsyncIterator[Connection]:
    import aiosqlite

    path = _sqlite_file(rest.partition("?")[0])
    async with aiosqlite.connect(f"file:{quote(path)}?mode=ro", uri=True) as raw:
        yield _Sqlite(raw)


def _sqlite_file(rest: str) -> str:
    # SQLAlchemy counts the slash that ends the empty host, Tortoise does not: the file that is there is meant.
    wished = [rest.removeprefix("/"), rest]
    for path in wished:
        if os.path.isfile(path):
            return path
    raise ConfigError(f"--from: no database file {wished[0]}", reason="no_file")


class _Postgres:
    collate = ' COLLATE "C"'

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    async def columns(self, table: str) -> set[str]:
        sql = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped"
        return {row[0] for row in await self._raw.fetch(sql, table)}

    async def stream(self, sql: str) -> AsyncGenerator[Row, None]:
        async for row in self._raw.cursor(sql, prefetch=PAGE):
            yield dict(row)


@asynccontextmanager
async def _postgres(rest: str) -> AsyncIterator[Connection]:
    import asyncpg

    try:
        raw = await asyncpg.connect(f"postgresql://{rest}", timeout=30)
    except ValueError as error:  # of the port, of ssl, and the like
        raise ConfigError(f"--from: this is no URL of a PostgreSQL database ({error})", reason="bad_url") from error
    try:
        # One moment for all that is read, whoever writes meanwhile.
        async with raw.transaction(isolation="repeatable_read", readonly=True):
            yield _Postgres(raw)
    finally:
        await raw.close()


# -- values -------------------------------------------------------------------------------------------------------


def read_map(value: Any, what: str) -> dict[str, Any]:
    """Answer a JSON object, given as text.

    Raises:
        ValueError: It is none.
    """
    tree = json.loads(value) if isinstance(value, str | bytes) else value
    if type(tree) is not dict:
        raise ValueError(f"{what} is no JSON object")
    return tree


def read_moment(value: Any, *, local: bool = False) -> datetime:
    """Answer a column's time: one without a zone is UTC, or the local time here.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | datetime):
        raise ValueError(f"{value!r} is no time")
    if isinstance(value, int | float):  # SqliteSessionService's seconds
        return datetime.fromtimestamp(value, UTC)
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None and not local else moment.astimezone(UTC)


def read_event(row: Row, schema: Schema, *, local: bool) -> tuple[dict[str, Any], float]:
    """Answer an event as the tree that google-adk writes as JSON, and its time in seconds since 1970.

    Args:
        row: Of the table `events`.
        schema: Its layout.
        local: Whether a time without a zone is the local time here.

    Raises:
        ValueError: It is malformed, or its pickle holds what is no plain data.
    """
    moment = read_moment(row["timestamp"], local=local).timestamp()
    tree = _v1(row) if schema == "v1" else _v0(row)
    exact = tree.get("timestamp")
    if not isinstance(exact, int | float) or isinstance(exact, bool):
        exact = tree["timestamp"] = moment
    if row["invocation_id"]:
        tree["invocation_id"] = row["invocation_id"]
    actions = tree.get("actions") or {}
    delta = routing.without_temp(read_map(actions.get("state_delta") or {}, "the state_delta"))
    actions = {**google_rows.given_actions(actions), "state_delta": delta}
    return {**tree, "id": row["id"], "actions": actions}, float(exact)


def _v1(row: Row) -> dict[str, Any]:
    tree = {} if row["event_data"] in (None, "null") else read_map(row["event_data"], "event_data")
    if tree.get("node_info") == {"path": ""}:
        del tree["node_info"]
    return tree


def _v0(row: Row) -> dict[str, Any]:
    tree = {name: row[name] for name in _PLAIN if row.get(name) is not None}
    for name in ("partial", "turn_complete", "interrupted"):
        if name in tree:
            tree[name] = bool(tree[name])
    for name in _JSON:
        if row.get(name) not in (None, "null"):  # on PostgreSQL it writes None as JSON's null
            tree[name] = read_map(row[name], name)
    if row.get("long_running_tool_ids_json"):
        tree["long_running_tool_ids"] = _ids(json.loads(row["long_running_tool_ids_json"]))
    if row["actions"] is not None:
        tree["actions"] = _actions(row["actions"])
    return tree


def _ids(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError("long_running_tool_ids_json is no list of texts")
    return sorted(value)


def _actions(pickle: Any) -> dict[str, Any]:
    found = read_pickle(bytes(pickle)) if isinstance(pickle, bytes | bytearray | memoryview) else None
    if type(found) is not dict or not all(isinstance(name, str) for name in found):
        raise ValueError("the actions are no pickled EventActions")
    return found


def key_of(row: Row, session: str) -> Sequence[Any]:
    """Answer the key of a row's session."""
    return row["app_name"], row["user_id"], row[session]
