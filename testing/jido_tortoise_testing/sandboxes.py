"""Sandboxes: databases of a test's own, in which everything really commits.

A `Workshop` makes the tables once for each database and run, and lends what it made; `Sandbox` is what a test sees.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tortoise.backends.base.executor import EXECUTOR_CACHE
from tortoise.context import TortoiseContext

from jido_tortoise import Jido, TortoiseStorage, apps, schema
from jido_tortoise.database import resolve, transaction
from jido_tortoise.errors import AppNotRegisteredError
from jido_tortoise.host_config import read_config
from jido_tortoise.schema.apps import find_homes
from jido_tortoise.schema.families import family_named
from jido_tortoise_testing.adoption import adopted, suspended
from jido_tortoise_testing.failures import JidoSandboxError
from jido_tortoise_testing.leases import Lease, Statements
from jido_tortoise_testing.servers import Janitor
from jido_tortoise_testing.settings import BACKENDS, STORAGES, either

T = TypeVar("T")
#: Fills the databases that every sandbox begins with.
Fill = Callable[[TortoiseContext], Awaitable[Any]]

_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name <> 'aerich'",
    "postgres": "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'aerich'",
}


@dataclass(frozen=True)
class Place:
    """Where a sandbox has one connection of the config."""

    url: str
    lease: Lease
    #: The connection's entry in a Tortoise config.
    entry: dict[str, Any]


def sqlite_place(lease: Lease, path: str) -> Place:
    """Give a database in memory, or in a file that may lose what a power cut would take."""
    credentials = {"file_path": path, "lease": lease, "synchronous": "OFF"}
    return Place(
        f"sqlite://{path}", lease, {"engine": "jido_tortoise_testing.engine_sqlite", "credentials": credentials}
    )


@dataclass
class Sandbox:
    """A test's own databases, one for each connection of the config, behind an initialised Tortoise context."""

    #: "sqlite" or "postgres".
    backend: str
    #: "memory", "file", "clean" or "clone".
    kind: str
    places: dict[str, Place]
    config: dict[str, Any]
    #: The connection that our tables are on.
    alias: str
    statements: Statements
    context: TortoiseContext = field(default_factory=TortoiseContext)

    @property
    def url(self) -> str:
        """Where our tables are; another process can open it, unless it is in memory."""
        return self.places[self.alias].url

    @property
    def storage(self) -> TortoiseStorage:
        """The storage on it."""
        return TortoiseStorage()

    @property
    def jido(self) -> Jido:
        """Agents on it."""
        return Jido(self.storage)

    @property
    def client(self) -> Any:
        """Tortoise's client of the connection that our tables are on."""
        return self.context.connections.get(self.alias)

    def point_models(self) -> None:
        """Initialise the context; Tortoise's models then build their queries for this database."""
        # Statements are cached by connection name, whatever the dialect: SQLite's would be sent to PostgreSQL.
        EXECUTOR_CACHE.clear()
        drive(self.context.init(config=self.config))

    def stop(self) -> None:
        """Close all connections, whatever became of the loops that opened them."""
        for place in self.places.values():
            place.lease.stop()

    @asynccontextmanager
    async def second(self) -> AsyncIterator[Sandbox]:
        """Open it a second time for the block, as another process would: nothing is shared but the data.

        A database in memory cannot be shared: the second begins with a copy of its bytes, and goes on by itself.
        """
        statements = Statements()
        places = {alias: await self._again(alias, place, statements) for alias, place in self.places.items()}
        other = Sandbox(self.backend, self.kind, places, config_on(self.config, places), self.alias, statements)
        with other.context:
            other.point_models()
            try:
                yield other
            finally:
                other.stop()

    async def _again(self, alias: str, place: Place, statements: Statements) -> Place:
        template = await self.serialize(alias) if self.kind == "memory" else b""
        lease = Lease(statements, template)
        entry = {**place.entry, "credentials": {**place.entry["credentials"], "lease": lease}}
        return Place(place.url, lease, entry)

    async def serialize(self, alias: str | None = None) -> bytes:
        """Give a SQLite database as the bytes of its file.

        Raises:
            JidoSandboxError: It is on PostgreSQL.
        """
        if self.backend != "sqlite":
            raise JidoSandboxError("only SQLite gives its database as bytes; on PostgreSQL use dump() or second()")
        client: Any = self.context.connections.get(alias or self.alias)
        await client.execute_query("SELECT 1")  # opened, if nobody has done that yet
        async with client.acquire_connection() as connection:
            content: bytes = await connection._execute(connection._conn.serialize)
        return content

    async def dump(self) -> dict[str, list[dict[str, Any]]]:
        """Give all rows of all tables but Aerich's, in an order that depends on nothing but them."""
        found: dict[str, list[dict[str, Any]]] = {}
        for alias in self.places:
            client: Any = self.context.connections.get(alias)
            for table in sorted(row["name"] for row in await client.execute_query_dict(_TABLES[self.backend])):
                rows = await client.execute_query_dict(f'SELECT * FROM "{table}"')
                found[table] = sorted(map(dict, rows), key=repr)
        return found

    async def clean(self, family: str) -> None:
        """Delete all rows of a family of our tables, those that depend on others first.

        Args:
            family: "agents", "adk" or another one that the config has.
        """
        ours = family_named(family)
        tables = reversed(list(ours.columns()))
        async with transaction(resolve(None, ours.model_classes()[0])) as db:
            for table in tables:
                await db.client.execute_query(f'DELETE FROM "{table}"')


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never has to wait, without a loop: a synchronous fixture serves every kind of test."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise JidoSandboxError("Tortoise's init has begun to wait for something: this version of Tortoise is too new")


def config_on(config: Mapping[str, Any], places: Mapping[str, Place]) -> dict[str, Any]:
    """Give a config on other databases."""
    return {**config, "connections": {alias: place.entry for alias, place in places.items()}}


def complete(config: Any) -> tuple[dict[str, Any], str]:
    """Give a host's config with our app, and the connection that this is on."""
    settings = read_config(config)
    try:
        return settings, find_homes(settings)[0].alias
    except AppNotRegisteredError:
        alias = "default" if "default" in settings["connections"] else next(iter(settings["connections"]))
        return {**settings, "apps": {**settings["apps"], **apps(connection=alias)}}, alias


class Workshop:
    """Makes a run's databases, when they are first needed, and lends them.

    Args:
        config: A Tortoise config; its databases are never opened.
        server: Gives the URL of a PostgreSQL server, when one is needed.
        folder: For databases in files.
        worker: Part of the names of databases, for whoever looks at the server.
        migrations: Make the tables by the migrations, and only by them.
    """

    def __init__(
        self,
        config: Any,
        *,
        server: Callable[[], str],
        folder: Path,
        worker: str = "main",
        migrations: bool = False,
    ) -> None:
        self.config, self.alias = complete(config)
        self.folder = folder
        self._migrations = migrations
        self._server = server
        self._worker = worker
        self._fills: list[Fill] = []
        self._janitor: Janitor | None = None
        self._templates: dict[str, bytes] | None = None
        self._postgres: Any = None
        self._open: list[Sandbox] = []
        self._count = 0

    @property
    def janitor(self) -> Janitor:
        """The loop for work between the tests."""
        if self._janitor is None:
            self._janitor = Janitor()
        return self._janitor

    def add(self, fill: Fill) -> None:
        """Have every sandbox begin with what this async function writes; it gets Tortoise's context.

        Raises:
            JidoSandboxError: A sandbox was made already, without it.
        """
        if self._templates is not None or self._postgres is not None:
            raise JidoSandboxError("jido_db_setup.add() comes too late: a test has used the database already")
        self._fills.append(fill)

    def close(self) -> None:
        """Drop all that was made."""
        if self._postgres is not None:
            self._postgres.close()
        if self._janitor is not None:
            self._janitor.close()

    # -- sandboxes ------------------------------------------------------------------------------------------------

    @contextmanager
    def open(self, backend: str = "sqlite", storage: str | None = None) -> Iterator[Sandbox]:
        """Lend a sandbox for the block, and make it the database of everything that runs meanwhile.

        Args:
            backend: "sqlite" or "postgres".
            storage: "memory", "file" or "clone"; on PostgreSQL all but the last mean the worker's own database, which
                is cleaned afterwards. None means the first.

        Raises:
            JidoSandboxError: There is no such backend or storage.
        """
        _refuse_unknown("backend", backend, BACKENDS[:2])
        _refuse_unknown("storage", storage or STORAGES[0], STORAGES)
        lend = self._lend_sqlite if backend == "sqlite" else self._lend_postgres
        statements = Statements()
        with lend(storage, statements) as (kind, places):
            config = config_on(self.config, places)
            sandbox = Sandbox(backend, kind, places, config, self.alias, statements)
            with sandbox.context, adopted(sandbox.context, sandbox.url, self.config["connections"]):
                yield from self._opened(sandbox)

    def _opened(self, sandbox: Sandbox) -> Iterator[Sandbox]:
        sandbox.point_models()
        self._open.append(sandbox)
        try:
            yield sandbox
        finally:
            self._open.remove(sandbox)
            sandbox.stop()
            EXECUTOR_CACHE.clear()
            if self._open:
                self._open[-1].point_models()

    @contextmanager
    def _lend_sqlite(self, storage: str | None, statements: Statements) -> Iterator[tuple[str, dict[str, Place]]]:
        leases = {alias: Lease(statements, template) for alias, template in self._sqlite_templates().items()}
        if storage in (None, "memory"):
            yield "memory", {alias: sqlite_place(lease, ":memory:") for alias, lease in leases.items()}
            return
        self._count += 1
        folder = self.folder / str(self._count)
        folder.mkdir(parents=True)
        for alias, lease in leases.items():
            (folder / f"{alias}.db").write_bytes(lease.template)
        yield "file", {alias: sqlite_place(lease, str(folder / f"{alias}.db")) for alias, lease in leases.items()}
        shutil.rmtree(folder)

    @contextmanager
    def _lend_postgres(self, storage: str | None, statements: Statements) -> Iterator[tuple[str, dict[str, Place]]]:
        if self._postgres is None:
            self._postgres = _postgres_shop()(self._server(), self.janitor, self.config, self.build, self._worker)
        with self._postgres.lend(storage == "clone", statements) as places:
            yield "clone" if storage == "clone" else "clean", places

    # -- templates ------------------------------------------------------------------------------------------------

    def _sqlite_templates(self) -> dict[str, bytes]:
        if self._templates is None:
            # A tool for migrations opens a database several times, so that it must be in a file.
            self.folder.mkdir(parents=True, exist_ok=True)
            paths = {
                alias: str(self.folder / f"{alias}.template.db") if self._migrations else ":memory:"
                for alias in self.config["connections"]
            }
            places = {alias: sqlite_place(Lease(Statements()), path) for alias, path in paths.items()}
            self.build(places)
            self._templates = {alias: _image(place, paths[alias]) for alias, place in places.items()}
        return self._templates

    def build(self, places: dict[str, Place]) -> None:
        """Make the tables of all models at these places, ours with their triggers, and what was added."""
        with suspended():
            self.janitor.run(self._build(places))
        EXECUTOR_CACHE.clear()

    async def _build(self, places: dict[str, Place]) -> None:
        # Closing a database in memory keeps its bytes in its lease, which is what a template is.
        if self._migrations:
            await migrate({**self.config, "connections": {alias: place.url for alias, place in places.items()}})
        async with TortoiseContext() as context:
            await context.init(config=config_on(self.config, places))
            if not self._migrations:
                await schema.create()
                await context.generate_schemas(safe=True)
            for fill in self._fills:
                await fill(context)


def _refuse_unknown(name: str, got: str, known: tuple[str, ...]) -> None:
    if got not in known:
        raise JidoSandboxError(f"{name}: expected {either(known)}, got {got!r}")


def _postgres_shop() -> Any:
    try:
        from jido_tortoise_testing.postgres_sandboxes import PostgresShop
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        cure = 'pip install "jido-tortoise[testing-postgres]"'
        raise JidoSandboxError(f"asyncpg is not installed, which tests on PostgreSQL need: `{cure}`") from error
    return PostgresShop


def _image(place: Place, path: str) -> bytes:
    if path == ":memory:":
        return place.lease.template
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")  # a database in memory cannot have a log beside it
        return connection.serialize()


async def migrate(config: dict[str, Any]) -> None:
    """Make all tables of a config as its migrations make them.

    Raises:
        JidoSandboxError: An app has none.
    """
    report = await schema.upgrade(config, all=True)
    done = {app.app for app in report.apps}
    for label, app in config["apps"].items():
        if label not in done and set(app["models"]) != {"aerich.models"}:
            raise JidoSandboxError(
                f"jido_migrations: the app {label!r} has no migrations: neither files of Aerich under its `location`,"
                " nor a `migrations` module in the config"
            )


@asynccontextmanager
async def open_sandbox(
    workshop: Workshop, backend: str = "sqlite", storage: str | None = None
) -> AsyncIterator[Sandbox]:
    """Lend a sandbox inside of a test's own body, as each example of Hypothesis needs one.

    Args:
        workshop: What `jido_db_setup` gives.
        backend: As in `Workshop.open`.
        storage: As in `Workshop.open`.
    """
    with workshop.open(backend, storage) as sandbox:
        yield sandbox
