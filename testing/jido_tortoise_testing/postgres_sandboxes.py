"""Sandboxes on PostgreSQL: the worker's own databases, cleaned after each test by one script, or a clone for one."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from graphlib import CycleError, TopologicalSorter
from typing import Any

import asyncpg
from tortoise.backends.base.config_generator import expand_db_url

from jido_tortoise_testing.adoption import OUR_DATABASES
from jido_tortoise_testing.failures import JidoSandboxError
from jido_tortoise_testing.leases import Lease, Statements
from jido_tortoise_testing.postgres import run_sql, with_database
from jido_tortoise_testing.sandboxes import Place
from jido_tortoise_testing.servers import Janitor

#: The schema of the cleaning, and of the template's rows, which it brings back.
_KEPT = "jido_test_rows"
_TABLES = """
    SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables
    WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"""
_REFERENCES = """
    SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
    WHERE contype = 'f' AND conrelid <> confrelid"""
_QUALIFIED = """
    SELECT c.oid::regclass::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')"""
_MARK = """
    SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"""
_GUARDED = """
    SELECT current_setting('is_superuser') = 'on' AND EXISTS
        (SELECT FROM pg_trigger WHERE NOT tgisinternal AND tgtype & 8 <> 0)"""
#: Milliseconds that the cleaning waits for a lock before it ends who holds it.
_PATIENCE = 1000
_KICK = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


class Cleaner:
    """A connection that empties one database, which the toolkit must have made."""

    def __init__(self, connection: Any, script: str) -> None:
        self._connection = connection
        self._script = script

    @classmethod
    async def open(cls, url: str, mark: str) -> Cleaner:
        """Connect, and prepare the script.

        Raises:
            JidoSandboxError: The database does not carry the toolkit's mark: nothing is ever deleted there.
        """
        connection = await asyncpg.connect("postgresql" + url[url.index(":") :], statement_cache_size=0)
        try:
            name, found = await connection.fetchrow(_MARK)
            if found != mark or not OUR_DATABASES.fullmatch(name):
                raise JidoSandboxError(f"{name} was not made by the toolkit in this run: it is never cleaned")
            await connection.execute(f"SET lock_timeout = {_PATIENCE}")
            return cls(connection, await _script(connection))
        except BaseException:
            await connection.close()
            raise

    async def clean(self, *, busy: bool) -> None:
        """Delete all rows but those of the template.

        Args:
            busy: Whether somebody was in the middle of a statement: all sessions are ended first, which takes ten
                times as long as the deleting; so it is done when somebody holds a lock, too.
        """
        if busy:
            await self._connection.fetchval(_KICK)
        try:
            await self._connection.execute(self._script)
        except asyncpg.LockNotAvailableError:
            await self._connection.fetchval(_KICK)
            await self._connection.execute(self._script)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


async def _script(connection: Any) -> str:
    """Put the cleaning into a function, whose plans the cleaner's session keeps, and give its call."""
    tables = [row[0] for row in await connection.fetch(_TABLES)]
    names = dict(await connection.fetch(_QUALIFIED))
    references: dict[str, set[str]] = {table: set() for table in tables}
    for child, parent in await connection.fetch(_REFERENCES):
        references[names[child]].add(names[parent])
    silence = (
        # A service's own append-only tables may refuse to be emptied; only a superuser can silence them.
        ["PERFORM set_config('session_replication_role', 'replica', true)"]
        if await connection.fetchval(_GUARDED)
        else []
    )
    await connection.execute(f"DROP SCHEMA IF EXISTS {_KEPT} CASCADE; CREATE SCHEMA {_KEPT}")
    kept = [table for table in tables if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table})")]
    body = "; ".join([*silence, *await _cleaning(connection, _deletes(references), kept)])
    await connection.execute(
        f"CREATE FUNCTION {_KEPT}.clean() RETURNS void LANGUAGE plpgsql AS $jido$ BEGIN {body}; END $jido$"
    )
    return f"SELECT {_KEPT}.clean()"


def _deletes(references: dict[str, set[str]]) -> list[str]:
    try:
        parents_first = list(TopologicalSorter(references).static_order())
    except CycleError:
        return [f"TRUNCATE {', '.join(references)}"]
    return [f"DELETE FROM {table}" for table in reversed(parents_first)]


async def _cleaning(connection: Any, deletes: list[str], kept: list[str]) -> list[str]:
    """Tell how to delete all rows but those that the template's tables hold already, a migration tool's list perhaps.

    Those are copied now. They are deleted, and brought back, when one of them is no longer the row that it was.
    """
    if not kept:
        return deletes
    back, marks = [], []
    # What is deleted last is referred to, and comes back first.
    order = {line.removeprefix("DELETE FROM "): -number for number, line in enumerate(deletes)}
    for number, table in enumerate(sorted(kept, key=lambda table: order.get(table, 0))):
        copy, setting = f"{_KEPT}.rows_{number}", f"'{_KEPT}.mark_{number}'"
        await connection.execute(f"CREATE TABLE {copy} AS TABLE {table}")
        mark = f"(SELECT string_agg(ctid::text || xmin::text, ' ') FROM {table})"
        back.append(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM {copy}")
        back.append(f"PERFORM set_config({setting}, {mark}, false)")
        marks.append(f"{mark} IS DISTINCT FROM current_setting({setting}, true)")
    others = [line for line in deletes if line.removeprefix("DELETE FROM ") not in kept]
    whole = "; ".join([*deletes, *back])
    return [f"IF {' OR '.join(marks)} THEN {whole}; ELSE {'; '.join([*others, 'NULL'])}; END IF"]


class PostgresShop:
    """Makes a worker's databases on a server.

    Args:
        server: The URL of any database there.
        janitor: Where the cleaning runs.
        config: The Tortoise config, for its connections.
        build: Makes the tables at given places.
        worker: Part of the databases' names.
    """

    def __init__(
        self,
        server: str,
        janitor: Janitor,
        config: dict[str, Any],
        build: Callable[[dict[str, Place]], None],
        worker: str,
    ) -> None:
        self._server = server
        self._janitor = janitor
        self._mark = f"sandbox of jido-tortoise {secrets.token_hex(8)}"
        self._prefix = f"jido_test_{worker}_{secrets.token_hex(4)}"
        self._made: list[str] = []
        self._clones = 0
        self._dirty = False
        try:
            self._templates = {alias: self._create(f"t{number}") for number, alias in enumerate(config["connections"])}
            build(self._places(self._templates, Statements()))
            self._own = self._copies("own")
            self._cleaners = [janitor.run(Cleaner.open(self._url(name), self._mark)) for name in self._own.values()]
        except BaseException:
            self._drop_all()
            raise

    @contextmanager
    def lend(self, clone: bool, statements: Statements) -> Iterator[dict[str, Place]]:
        """Lend the worker's own databases, or copies of the templates that are dropped afterwards."""
        places = self._places(self._cloned() if clone else self._own, statements)
        if self._dirty and not clone:
            self._clean(busy=True)
        self._dirty = self._dirty or not clone
        try:
            yield places
        finally:
            for place in places.values():
                place.lease.stop()
            if clone:
                self._drop_clones()
            else:
                self._clean(busy=any(place.lease.busy for place in places.values()))

    def close(self) -> None:
        """Drop all that was made."""
        for cleaner in self._cleaners:
            self._janitor.run(cleaner.close())
        self._drop_all()

    def _clean(self, *, busy: bool) -> None:
        for cleaner in self._cleaners:
            self._janitor.run(cleaner.clean(busy=busy))
        self._dirty = False

    def _cloned(self) -> dict[str, str]:
        self._clones += 1
        return self._copies(f"c{self._clones}")

    def _copies(self, kind: str) -> dict[str, str]:
        return {
            alias: self._create(f"{kind}_{number}", template)
            for number, (alias, template) in enumerate(self._templates.items())
        }

    def _create(self, suffix: str, template: str | None = None) -> str:
        name = f"{self._prefix}_{suffix}"
        # Copying files is twice as fast as copying through the log, where nobody waits for a disk.
        copied = f' TEMPLATE "{template}" STRATEGY FILE_COPY' if template else ""
        run_sql(self._server, f'CREATE DATABASE "{name}"{copied}')
        self._made.append(name)
        run_sql(self._server, f"COMMENT ON DATABASE \"{name}\" IS '{self._mark}'")
        return name

    def _drop_clones(self) -> None:
        for name in [name for name in self._made if name.startswith(f"{self._prefix}_c{self._clones}_")]:
            self._drop(name)

    def _drop_all(self) -> None:
        for name in list(self._made):
            self._drop(name)

    def _drop(self, name: str) -> None:
        run_sql(self._server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self._made.remove(name)

    def _url(self, name: str) -> str:
        return with_database(self._server, name)

    def _places(self, names: dict[str, str], statements: Statements) -> dict[str, Place]:
        return {alias: self._place(self._url(name), Lease(statements)) for alias, name in names.items()}

    def _place(self, url: str, lease: Lease) -> Place:
        # A pool with a minimum would open connections again as we close them.
        credentials = {**expand_db_url(url)["credentials"], "lease": lease, "minsize": 0}
        return Place(url, lease, {"engine": "jido_tortoise_testing.engine_postgres", "credentials": credentials})
