"""The database that is struck, and the second connection that tells what is really stored in it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from tortoise.context import TortoiseContext, require_context
from tortoise.transactions import in_transaction

from jido_tortoise.agents.models import JidoCheckpoint
from jido_tortoise.database import Db, resolve


class Place:
    """A connection of the current Tortoise context, with a table that probes whether writes last."""

    def __init__(self, db: Db) -> None:
        self.client = db.client
        self.dialect = db.dialect
        self.alias: str = db.client.connection_name
        self._table = f"jido_probe_{secrets.token_hex(4)}"

    @classmethod
    def current(cls, connection: str | None) -> Place:
        """Find the connection of our models, or the named one."""
        return cls(resolve(connection, JidoCheckpoint))

    @property
    def name(self) -> str:
        """What a report calls it."""
        if self.dialect == "postgres":
            return "PostgreSQL"
        return "SQLite in memory" if self.in_memory else "a SQLite file"

    @property
    def in_memory(self) -> bool:
        """Whether the data end with the connection."""
        return self.dialect == "sqlite" and self.file is None

    @property
    def file(self) -> Path | None:
        """The SQLite file; None when there is none."""
        name = getattr(self.client, "filename", "")
        return None if self.dialect != "sqlite" or not name or ":memory:" in name else Path(name)

    # -- the probe ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def probed(self) -> AsyncIterator[None]:
        """Have the probe's table while the block runs."""
        await self.client.execute_script(f"CREATE TABLE {self._table} (mark VARCHAR(40))")
        try:
            yield
        finally:
            await self.client.execute_script(f"DROP TABLE {self._table}")

    async def probe(self) -> Sequence[str]:
        """Write in autocommit and then in a transaction, as the host would next; answer both marks."""
        marks = [secrets.token_hex(8), secrets.token_hex(8)]
        await self._write(self.client, marks[0])
        async with in_transaction(self.alias) as inner:
            await self._write(inner, marks[1])
        return marks

    async def _write(self, client: Any, mark: str) -> None:
        await client.execute_query(f"INSERT INTO {self._table} (mark) VALUES ('{mark}')")

    async def marks(self, client: Any) -> set[str]:
        """Read, on whichever connection, what probes have written."""
        return {row["mark"] for row in await client.execute_query_dict(f"SELECT mark FROM {self._table}")}

    # -- what is left of it ----------------------------------------------------------------------------------------

    async def leak(self, patience: float) -> str | None:
        """Say what the operation has kept that it should have given back; None when nothing."""
        pool = getattr(self.client, "_pool", None)
        if pool is None:
            connection = getattr(self.client, "_connection", None)
            is_open = connection is not None and connection._running and connection.in_transaction
            return "a transaction is still open on the connection" if is_open else None
        for _ in range(max(1, int(patience / 0.01))):
            if pool.get_idle_size() == pool.get_size():
                return None
            await asyncio.sleep(0.01)
        return f"{pool.get_size() - pool.get_idle_size()} connections were never given back to the pool"

    async def reopen(self) -> None:
        """Begin with a new connection, as a new process would."""
        if self.dialect == "postgres":
            if self.client._pool is not None:
                self.client._pool.terminate()
            self.client._pool = None
            return
        self.client._lock = asyncio.Lock()  # whoever held it is gone
        if not self.in_memory:
            await self.client.close()
            return
        connection = self.client._connection
        await connection._execute(connection._conn.rollback)

    # -- a second connection ---------------------------------------------------------------------------------------

    @asynccontextmanager
    async def elsewhere(self) -> AsyncIterator[Callable[[], Any]]:
        """Give a function that makes the current task see the database through another connection."""
        if self.in_memory:
            yield self._copied
            return
        context = beside(require_context())
        try:
            yield lambda: _entered(context)
        finally:
            await context.close_connections()

    @asynccontextmanager
    async def _copied(self) -> AsyncIterator[Any]:
        raw = self.client._connection._conn
        image = await self.client._connection._execute(raw.serialize)
        context = beside(require_context())
        client: Any = context.connections.get(self.alias)
        try:
            await client.create_connection(with_db=True)
            connection = client._connection
            await connection._execute(connection._conn.deserialize, image)
            async with _entered(context):
                yield client
        finally:
            await context.close_connections()


def beside(context: TortoiseContext) -> TortoiseContext:
    """Make a context with the same config and connections of its own; nothing is connected yet."""
    other = TortoiseContext()
    vars(other).update({name: value for name, value in vars(context).items() if name not in ("_connections", "_token")})
    other.connections._init_config(dict(context.connections.db_config))
    return other


@asynccontextmanager
async def _entered(context: TortoiseContext) -> AsyncIterator[None]:
    with context:
        yield


@asynccontextmanager
async def of_file(alias: str, path: Path) -> AsyncIterator[Any]:
    """Let the current task see another SQLite file under this alias; gives its client."""
    context = beside(require_context())
    client = cast(Any, context.connections.get(alias))
    client.filename = str(path)
    try:
        with context:
            yield client
    finally:
        await context.close_connections()
