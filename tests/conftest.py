"""The databases that the tests run on: SQLite in memory, SQLite in a file, and a real PostgreSQL.

One PostgreSQL server serves a whole run, all workers of pytest-xdist included. `JIDO_TEST_DB_URL` names one that runs
already; either way every test gets an empty database, which is its worker's and emptied after it.
"""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tortoise.backends.base.executor import EXECUTOR_CACHE
from tortoise.context import TortoiseContext

from jido_tortoise_testing.postgres import URL_VARIABLE, PostgresServer, fresh_database
from tests.emptying import AS_NEW, EMPTIED, FOUND, Connection, remember

pytest_plugins = ["tests.installing", "tests.scheduling", "tests.tracing"]
# The tests of a service with settings of its own, which tests/toolkit/test_host.py runs.
collect_ignore = ["toolkit/host"]

_BACKENDS = ("sqlite-memory", "sqlite-file", "postgres")
_server = pytest.StashKey[PostgresServer]()


@dataclass(frozen=True)
class Database:
    """An initialised Tortoise context on a database that has our agents' tables."""

    #: One of `_BACKENDS`.
    backend: str
    #: "sqlite" or "postgres".
    dialect: str
    url: str
    context: TortoiseContext

    @property
    def client(self) -> Any:
        """Tortoise's client of the connection `default`."""
        return self.context.connections.get("default")


def pytest_configure(config: pytest.Config) -> None:
    # The controller of pytest-xdist starts the server, and its workers find it in the environment they inherit.
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        _server_url(config)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """Keep the collector of garbage from walking through all that is imported: that took a fifth of a run."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        gc.enable()


def pytest_unconfigure(config: pytest.Config) -> None:
    if server := config.stash.get(_server, None):
        server.stop()
        del os.environ[URL_VARIABLE]


def _server_url(config: pytest.Config) -> str:
    if URL_VARIABLE not in os.environ:
        config.stash[_server] = PostgresServer().start()
        os.environ[URL_VARIABLE] = config.stash[_server].url()
    return os.environ[URL_VARIABLE]


@pytest.fixture(scope="session")
def pg_server(pytestconfig: pytest.Config) -> str:
    """Give the URL of the server that the whole run shares: never stop, pause or restart it."""
    return _server_url(pytestconfig)


#: Fixtures that want our tables, and the family whose.
_TABLES = {"db": "agents", "pg_db": "agents", "adk_db": "adk", "recording_db": "recording"}


@dataclass
class _Shared:
    """The database of a worker."""

    url: str
    connection: Connection
    #: The families whose tables may be there, without rows.
    families: frozenset[str] = frozenset()


@pytest.fixture(scope="session")
def _shared(pg_server: str) -> Iterator[_Shared]:
    with fresh_database(pg_server) as url:
        connection = Connection(url)
        yield _Shared(url, connection)
        connection.close()


@pytest.fixture
def pg_url(_shared: _Shared, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the URL of a PostgreSQL database that is this test's alone while it runs: empty, but for tables it wants."""
    wanted = frozenset(family for name, family in _TABLES.items() if name in request.fixturenames)
    if _shared.families - wanted:
        _shared.connection.execute(AS_NEW)
    _shared.families = wanted
    yield _shared.url
    _shared.connection.execute(EMPTIED if wanted else AS_NEW)


@pytest.fixture(scope="session")
def _own_server() -> Iterator[PostgresServer]:
    # Killed in earnest: what it acknowledged must be in the kernel's hands by then.
    with PostgresServer({"synchronous_commit": "on"}) as server:
        yield server


@pytest.fixture
def own_pg_server(_own_server: PostgresServer) -> Iterator[PostgresServer]:
    """Give a server that nobody else uses, to kill, pause and restart; the next test finds it running again."""
    yield _own_server
    _own_server.resume()
    if not _own_server.running:
        _own_server.restart()


@pytest.fixture
def own_pg_url(own_pg_server: PostgresServer) -> Iterator[str]:
    """Give the URL of an empty database on `own_pg_server`."""
    with own_pg_server.database() as url:
        yield url
        own_pg_server.resume()
        if not own_pg_server.running:
            own_pg_server.restart()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Give the URL of a SQLite file that does not exist yet."""
    return f"sqlite://{tmp_path / 'agents.db'}"


@pytest.fixture(params=_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Name the database that the test runs on; use it to run a test on all three."""
    return str(request.param)


@pytest.fixture
def db_url(backend: str, request: pytest.FixtureRequest) -> str:
    """Give the URL of an empty database of this backend."""
    if backend == "sqlite-memory":
        return "sqlite://:memory:"
    return str(request.getfixturevalue("pg_url" if backend == "postgres" else "sqlite_url"))


@pytest.fixture
async def db(backend: str, db_url: str) -> AsyncIterator[Database]:
    """Initialise Tortoise on an empty database and make our agents' tables there."""
    async with opened(db_url, backend=backend) as database:
        yield database


@pytest.fixture
async def sqlite_db(sqlite_url: str) -> AsyncIterator[Database]:
    """Like `db`, on a SQLite file only."""
    async with opened(sqlite_url, backend="sqlite-file") as database:
        yield database


@pytest.fixture
async def pg_db(pg_url: str) -> AsyncIterator[Database]:
    """Like `db`, on PostgreSQL only."""
    async with opened(pg_url, backend="postgres") as database:
        yield database


@pytest.fixture
async def adk_db(backend: str, db_url: str) -> AsyncIterator[Database]:
    """Like `db`, with the tables of ADK sessions and no others."""
    async with opened(db_url, backend=backend, families=("adk",)) as database:
        yield database


@pytest.fixture
async def recording_db(backend: str, db_url: str) -> AsyncIterator[Database]:
    """Like `db`, with the tables of recording and no others."""
    async with opened(db_url, backend=backend, families=("recording",)) as database:
        yield database


@asynccontextmanager
async def opened(
    url: str, *, backend: str = "", tables: bool = True, families: tuple[str, ...] = ("agents",), **config: Any
) -> AsyncIterator[Database]:
    """Initialise Tortoise for the block and close its connections after it.

    Args:
        url: Of the connection `default`.
        backend: One of `_BACKENDS`, for the test to read.
        tables: Whether to make our tables.
        families: Which of our families; all on this connection.
        config: More keys of Tortoise's config.
    """
    # Tortoise caches statements by connection name, whatever the dialect: SQLite's would be sent to PostgreSQL.
    EXECUTOR_CACHE.clear()
    async with TortoiseContext() as context:
        await context.init(config={"connections": {"default": url}, "apps": our_apps(families), **config})
        database = Database(backend, url.partition(":")[0].replace("postgresql", "postgres"), url, context)
        if tables:
            await make_tables(database, families)
        yield database


def agents_app(connection: str = "default") -> dict[str, Any]:
    """Give the `apps` of a Tortoise config that holds our agents' models and nothing else."""
    return {"jido_agents": {"models": ["jido_tortoise.agents.models"], "default_connection": connection}}


def our_apps(families: tuple[str, ...]) -> dict[str, Any]:
    """Give the `apps` of a Tortoise config that holds the models of these families and nothing else."""
    return {
        f"jido_{name}": {"models": [f"jido_tortoise.{name}.models"], "default_connection": "default"}
        for name in families
    }


async def make_tables(database: Database, families: tuple[str, ...] = ("agents",)) -> None:
    """Make our tables by the frozen DDL, as an upgrade would."""
    from jido_tortoise.schema import ddl

    script = "".join(ddl(family, database.dialect, version=1) for family in families)
    if database.dialect == "sqlite":
        # Each statement would else be a transaction, and wait for the disk.
        await database.client.execute_script(f"BEGIN;{script}COMMIT;")
        return
    (found,) = await database.client.execute_query_dict(FOUND)
    if found["families"] != ",".join(families):
        await database.client.execute_script(script if found["any"] else script + remember(",".join(families)))
