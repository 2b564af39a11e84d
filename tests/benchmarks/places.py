"""Where the benchmarks run: databases that wait for their disk, as in production, and for contrast some that do not."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tortoise.backends.base.config_generator import expand_db_url
from tortoise.backends.base.executor import EXECUTOR_CACHE
from tortoise.context import TortoiseContext

from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.doctor import SQLITE_PARAMETERS
from jido_tortoise.schema import ddl
from jido_tortoise_testing.postgres import DURABLE, PostgresServer, fresh_database
from tests.benchmarks.measure import Call

Dialect = Literal["sqlite", "postgres"]

_APPS = {
    "jido_agents": {"models": ["jido_tortoise.agents.models"], "default_connection": "default"},
    "jido_adk": {"models": ["jido_tortoise.adk.models"], "default_connection": "default"},
    "jido_recording": {"models": ["jido_tortoise.recording.models"], "default_connection": "default"},
    "bench": {"models": ["tests.benchmarks.models"], "default_connection": "default"},
}
#: File systems that lose everything with the power: an fsync costs nothing there.
_MEMORY = {"tmpfs", "ramfs", "overlay-tmpfs"}
#: What asyncpg sends when a connection goes back to its pool; whoever uses the pool pays it, the floor too.
_RESET = "pg_advisory_unlock_all"


@dataclass(frozen=True, slots=True)
class Place:
    """An open database with our tables and those of the peers."""

    #: As the table shows it.
    name: str
    dialect: Dialect
    url: str
    client: Any
    storage: TortoiseStorage

    @property
    def durable(self) -> bool:
        """Whether a write waits for the disk; what is promised is promised there."""
        return self.name in ("PostgreSQL", "SQLite FULL", "SQLite advised")

    def bound(self, most: float) -> float | None:
        """Answer the bound where it holds; None in a place that is there for contrast."""
        return most if self.durable else None

    def place(self, number: int) -> str:
        """Spell the placeholder of a parameter."""
        return f"${number}" if self.dialect == "postgres" else "?"

    async def run(self, sql: str, *values: Any) -> list[Any]:
        """Run one statement and answer its rows as tuples."""
        async with self.client.acquire_connection() as raw:
            if self.dialect == "postgres":
                return [tuple(row) for row in await raw.fetch(sql, *values)]
            return [tuple(row) for row in await raw.execute_fetchall(sql, values)]

    async def statements(self, call: Call) -> list[str]:
        """Run a call and answer the statements that reached the database."""
        seen: list[str] = []
        async with self.client.acquire_connection() as raw:  # the pool gives the same one again, when nobody else asks
            await _listen(self.dialect, raw, seen)
        await call()
        async with self.client.acquire_connection() as raw:
            await _listen(self.dialect, raw, None)
        return [sql for sql in seen if _RESET not in sql]

    async def settle(self) -> None:
        """Let the database finish what the preparation has left to do, and learn how large its tables are."""
        await self.run("VACUUM ANALYZE" if self.dialect == "postgres" else "ANALYZE")
        # The log begins anew, and is as long as it was where the host's settings let it: as in a service that runs.
        await self.run("CHECKPOINT" if self.dialect == "postgres" else "PRAGMA wal_checkpoint(RESTART)")


async def _listen(dialect: Dialect, raw: Any, seen: list[str] | None) -> None:
    if dialect == "sqlite":
        await raw.set_trace_callback(None if seen is None else seen.append)
    elif seen is not None:
        raw.add_query_logger(lambda record: seen.append(record.query))


@contextmanager
def hops() -> Iterator[list[str]]:
    """Collect the calls that cross to SQLite's thread while the block runs."""
    seen: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if str(record.msg).startswith("executing"):
                seen.append(record.getMessage())

    logger, handler = logging.getLogger("aiosqlite"), Collector()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield seen
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before
        logger.setLevel(before[0])


@contextmanager
def postgres_server(given: str | None) -> Iterator[str]:
    """Start a PostgreSQL that loses nothing, or take the given one, and give its URL."""
    if given is not None:
        yield given
        return
    with PostgresServer({**DURABLE, "shared_buffers": "256MB", "max_wal_size": "4GB"}, base=on_disk()) as server:
        yield server.url()


def on_disk() -> Path:
    """Find a folder on a disk; the path must be short, since a socket is made there."""
    candidates = [Path("/var/tmp"), Path(tempfile.gettempdir()), Path.cwd()]
    return next((path for path in candidates if path.is_dir() and file_system(path) not in _MEMORY), candidates[1])


def file_system(path: Path) -> str:
    """Name the type of the file system that a folder is on; "unknown" where there is no /proc."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "unknown"
    found = [line.split()[1:3] for line in mounts.read_text().splitlines()]
    holding = [(point, kind) for point, kind in found if path.resolve().is_relative_to(point)]
    return max(holding, key=lambda pair: len(pair[0]))[1] if holding else "unknown"


@asynccontextmanager
async def postgres(server_url: str, *, waiting: bool = True) -> AsyncIterator[Place]:
    """Open an empty database of the server; not `waiting` answers before the disk has what was written."""
    with fresh_database(server_url) as url:
        config = expand_db_url(url)
        config["credentials"]["server_settings"] = {} if waiting else {"synchronous_commit": "off"}
        async with _opened("PostgreSQL" if waiting else "PostgreSQL, no wait", "postgres", url, config) as place:
            yield place


@asynccontextmanager
async def sqlite(synchronous: Literal["FULL", "NORMAL", "advised", "memory"] = "FULL") -> AsyncIterator[Place]:
    """Open an empty SQLite database: in a file, or in memory.

    The advised one has the parameters that `jido-tortoise doctor` asks for, and yet waits for the disk.
    """
    if synchronous == "memory":
        async with _opened("SQLite memory", "sqlite", "sqlite://:memory:", "sqlite://:memory:") as place:
            yield place
        return
    with tempfile.TemporaryDirectory(prefix="jido-bench-", dir=on_disk()) as folder:
        asked = (
            SQLITE_PARAMETERS.replace("NORMAL", "FULL") if synchronous == "advised" else f"synchronous={synchronous}"
        )
        url = f"sqlite://{folder}/agents.db?{asked}"
        async with _opened(f"SQLite {synchronous}", "sqlite", url, url) as place:
            yield place


@asynccontextmanager
async def _opened(name: str, dialect: Dialect, url: str, connection: Any) -> AsyncIterator[Place]:
    # Tortoise caches statements by connection name, whatever the dialect: SQLite's would be sent to PostgreSQL.
    EXECUTOR_CACHE.clear()
    async with TortoiseContext() as context:
        await context.init(config={"connections": {"default": connection}, "apps": _APPS})
        client = context.connections.get("default")
        for family in ("agents", "adk", "recording"):
            await client.execute_script(ddl(family, dialect, version=1))
        await context.generate_schemas(safe=True)
        yield Place(name, dialect, url, client, TortoiseStorage())
