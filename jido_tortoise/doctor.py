"""What a database, its connection and the installed packages are like for us, and what to change."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from tortoise.context import require_context

from jido_tortoise import seams
from jido_tortoise.database import Db, resolve
from jido_tortoise.errors import SchemaError, StorageError
from jido_tortoise.recording.listening import connections
from jido_tortoise.schema import verify
from jido_tortoise.schema.apps import find_homes, registered_families
from jido_tortoise.schema.execute import run
from jido_tortoise.schema.locks import lock_file

#: "advice" may be taken or not; a "problem" keeps us from working, or from keeping what was acknowledged.
Level = Literal["ok", "advice", "problem"]

#: What suits a service on SQLite, as parameters of the connection's URL.
SQLITE_PARAMETERS = "synchronous=NORMAL&busy_timeout=10000&journal_size_limit=67108864"
#: The first SQLite with RETURNING, the first PostgreSQL with CREATE TRIGGER ... EXECUTE FUNCTION.
OLDEST_SQLITE, OLDEST_POSTGRES = (3, 35), 110000

_PACKAGES = ("jido-tortoise", "tortoise-orm", "aerich", "asyncpg", "orjson")
_SYNCHRONOUS = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    #: What it is.
    found: str
    level: Level = "ok"
    #: What to change, and why.
    cure: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All that was looked at."""

    findings: list[Finding]
    #: Whether the database answered.
    reachable: bool

    @property
    def ok(self) -> bool:
        """Whether nothing is a problem."""
        return all(one.level != "problem" for one in self.findings)


async def examine(connection: str | None = None, schema: str | None = None) -> Report:
    """Look at everything, on the connections of the current Tortoise context.

    Args:
        connection: An alias of the host's config; None takes the one of the app that holds our models.
        schema: The PostgreSQL schema of our tables; None leaves it to the search path.

    Raises:
        ConfigError: There is no connection to look at.
    """
    db = resolve(connection, registered_families()[0].model_classes()[0], schema=schema)
    findings = [*_packages(db), *_other_aliases(db), *_other_labels()]
    try:
        findings.append(await _connection(db))
        findings += [one async for one in (_sqlite if db.dialect == "sqlite" else _postgres)(db)]
        findings.append(await _schema(connection, schema))
    except StorageError as error:
        findings.append(Finding("connection", str(error), "problem", f"make {_place(db)} reachable"))
        return Report(findings, reachable=False)
    return Report(findings, reachable=True)


# -- what is the same for both ------------------------------------------------------------------------------------


def _packages(db: Db) -> Iterator[Finding]:
    yield Finding("python", platform.python_version())
    for name in _PACKAGES:
        try:
            yield Finding(name, version(name))
        except PackageNotFoundError:
            yield _missing(name, db)


def _missing(name: str, db: Db) -> Finding:
    if name == "orjson":
        cure = 'pip install "jido-tortoise[accel]": JSON is then read and written several times as fast'
        return Finding(name, "not installed", "advice", cure)
    needed = name != "asyncpg" or db.dialect == "postgres"
    return Finding(name, "not installed", "problem" if needed else "ok", f"pip install {name}" if needed else None)


def _other_aliases(db: Db) -> Iterator[Finding]:
    ours = db.client.connection_name
    for alias in sorted(require_context().connections.db_config):
        if alias != ours:
            cure = f"a transaction on {alias!r} does not hold what we write on {ours!r}: neither waits for the other"
            yield Finding("other connection", alias, "advice", cure)


def _other_labels() -> Iterator[Finding]:
    # Tortoise gives a model the first app of the process that lists it, and warns of the others that they have none.
    for home in find_homes({"apps": require_context().apps._config}):  # type: ignore[union-attr]
        app = home.family.model_classes()[0]._meta.app
        if home.label != app:
            cure = (
                f"leave our models out of {home.label!r}, whose connection is {home.alias!r}: {app!r} lists them too"
                " and has them, since Tortoise gives a model one app; a store on another connection names that itself,"
                f" as TortoiseStorage(connection={home.alias!r})"
            )
            yield Finding("other app", home.label, "advice", cure)


async def _connection(db: Db) -> Finding:
    started = seams.monotonic()
    await run(db, "SELECT 1")
    first = seams.monotonic()
    await run(db, "SELECT 1")
    times = f"opened in {(first - started) * 1e3:.1f} ms, answers in {(seams.monotonic() - first) * 1e3:.2f} ms"
    return Finding("connection", f"{db.client.connection_name}: {_place(db)}, {times}")


def _place(db: Db) -> str:
    client = db.root
    if db.dialect == "sqlite":
        return f"SQLite {client.filename}"
    return f"PostgreSQL {client.user}@{client.host}:{client.port}/{client.database}"


async def _schema(connection: str | None, schema: str | None) -> Finding:
    try:
        await verify(connection, schema)
    except SchemaError as error:
        return Finding("our tables", error.reason, "problem", str(error))
    return Finding("our tables", "as this version needs them")


# -- SQLite -------------------------------------------------------------------------------------------------------


async def _sqlite(db: Db) -> AsyncIterator[Finding]:
    is_old = sqlite3.sqlite_version_info < OLDEST_SQLITE
    oldest = ".".join(map(str, OLDEST_SQLITE))
    yield _judged("SQLite", sqlite3.sqlite_version, is_old, "problem", f"{oldest} is the first that has RETURNING")
    if lock_file(db.client.filename) is None:
        yield Finding("file", "in memory", "advice", "what is stored is gone with this process: name a file")
        return
    for one in (_journal_mode, _synchronous, _busy_timeout, _journal_size_limit):
        yield one(await _pragma(db, one.__name__[1:]))


async def _pragma(db: Db, name: str) -> Any:
    rows = await run(db, f"PRAGMA {name}")
    return rows[0][0]


def _journal_mode(value: str) -> Finding:
    cure = "journal_mode=WAL in the URL: else readers and writers of several processes wait for each other"
    return _judged("journal_mode", value, value != "wal", "advice", cure)


def _synchronous(value: int) -> Finding:
    if value == 0:
        return Finding("synchronous", "OFF", "problem", _url("a power cut may damage the file"))
    why = "under WAL that saves a wait for the disk at each write; a power cut may cost the last ones, never the file"
    return _judged("synchronous", _SYNCHRONOUS.get(value, str(value)), value > 1, "advice", _url(why))


def _busy_timeout(value: int) -> Finding:
    cure = _url("several processes wait so long for each other, in milliseconds, before a write is refused")
    return _judged("busy_timeout", str(value), value < 10_000, "advice", cure)


def _journal_size_limit(value: int) -> Finding:
    cure = _url("the log file is else cut and grown again at every checkpoint")
    return _judged("journal_size_limit", str(value), 0 <= value < 1 << 20, "advice", cure)


def _url(why: str) -> str:
    return f"add ?{SQLITE_PARAMETERS} to the URL: {why}"


# -- PostgreSQL ---------------------------------------------------------------------------------------------------

_SETTINGS = """
SELECT current_setting('server_version'), current_setting('server_version_num')::int,
       current_setting('server_encoding'),
       pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool,
       current_setting('default_transaction_isolation'), current_setting('fsync')::bool,
       current_setting('synchronous_commit'), current_setting('max_connections')::int
"""


async def _postgres(db: Db) -> AsyncIterator[Finding]:
    rows = await run(db, _SETTINGS)
    name, number, encoding, read_only, isolation, fsync, commit, most = rows[0]
    yield _judged("PostgreSQL", name, number < OLDEST_POSTGRES, "problem", "11 is the oldest that runs our statements")
    cure = "make a database with ENCODING 'UTF8': others cannot hold every text"
    yield _judged("encoding", encoding, encoding != "UTF8", "problem", cure)
    cure = "connect to the primary, as a role that may write"
    yield _judged("access", "read-only" if read_only else "read and write", read_only, "problem", cure)
    yield _isolation(isolation)
    cure = "fsync = on: a crash of the machine may damage the whole database"
    yield _judged("fsync", "on" if fsync else "off", not fsync, "problem", cure)
    cure = "synchronous_commit = on: a crash of the server else costs writes that were acknowledged"
    yield _judged("synchronous_commit", commit, commit == "off", "advice", cure)
    yield _pool(db.root, most)
    if listening := connections(db.root):
        yield Finding("listening", f"{listening} connection beside the pool, while somebody follows a recorded session")


def _isolation(value: str) -> Finding:
    cure = (
        "read committed suits us: under this one a write that meets another is refused; ours are then tried again,"
        " those inside your transactions raise StorageBusyError, and you must repeat the transaction"
    )
    return _judged("isolation", value, value != "read committed", "advice", cure)


def _pool(client: Any, most: int) -> Finding:
    least, largest = client.pool_minsize, client.pool_maxsize
    found = f"{least} to {largest} connections; the server has {most} for everybody"
    if largest > most:
        return Finding("pool", found, "problem", "maxsize= in the URL beneath what the server has")
    return _judged("pool", found, largest < 2, "advice", "maxsize=5 in the URL: tasks else wait for each other")


def _judged(topic: str, found: str, is_wrong: bool, level: Level, cure: str) -> Finding:
    return Finding(topic, found, level, cure) if is_wrong else Finding(topic, found)
