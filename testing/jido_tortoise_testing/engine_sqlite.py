"""Tortoise's SQLite client, filled from a template; a test's sandbox can close it whatever became of its event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from aiosqlite import core
from tortoise.backends.sqlite.client import SqliteClient

from jido_tortoise_testing.failures import JidoSandboxError
from jido_tortoise_testing.leases import Lease

T = TypeVar("T")

_PATIENCE = 30.0


class SandboxClient(SqliteClient):
    """A connection to a sandbox; it outlives the loop that opened it, and so does the data."""

    def __init__(self, file_path: str, lease: Lease, **kwargs: Any) -> None:
        super().__init__(file_path, **kwargs)
        self.lease = lease
        lease.clients.append(self)

    async def create_connection(self, with_db: bool) -> None:
        """Open it, and give a database in memory the tables."""
        if self._connection:
            return
        try:
            await self._open(with_db)
        except BaseException:
            self.stop()  # half opened it would be taken for one without tables
            raise

    async def _open(self, with_db: bool) -> None:
        await super().create_connection(with_db)
        raw: Any = self._connection
        if self.filename == ":memory:" and self.lease.template:
            await raw._execute(raw._conn.deserialize, self.lease.template)
        await raw._execute(raw._conn.set_trace_callback, self.lease.statements.see)

    async def close(self) -> None:
        """Close it; data in memory is kept for when somebody opens it again, as a file's would be."""
        raw: Any = self._connection
        if raw and self.filename == ":memory:":
            self.lease.template = await raw._execute(raw._conn.serialize)
        await super().close()

    def _check_loop(self) -> bool:
        # aiosqlite's connection lives in a thread and serves any loop; only our lock belongs to one.
        try:
            current = asyncio.get_running_loop()
        except RuntimeError:
            return True
        if self._bound_loop not in (None, current):
            self._move(current)
        return True

    def _move(self, loop: asyncio.AbstractEventLoop) -> None:
        before = self._bound_loop
        if self._lock.locked() and before is not None and before.is_running():
            raise JidoSandboxError(
                f"two event loops use the sandbox's connection {self.connection_name!r} at once, and the one is in the"
                " middle of its work: let one end before the other begins, or give the other"
                ' `async with jido_db.second()` (with storage="file" it sees the same data)'
            )
        self._lock = asyncio.Lock()
        self._bound_loop = loop

    def call(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job in the connection's thread from outside of any loop."""
        assert self._connection is not None
        raw, done = self._connection._conn, concurrent.futures.Future[T]()

        def work() -> None:
            try:
                done.set_result(job(raw))
            except BaseException as error:
                done.set_exception(error)

        self._connection._tx.put_nowait((None, work))
        return done.result(_PATIENCE)

    def stop(self) -> None:
        """Close the connection and end its thread; works when the loop is closed, which aiosqlite's own may not."""
        connection, self._connection = self._connection, None
        if connection is None or not connection._running:
            return
        connection._running = False
        raw, connection._connection = connection._connection, None

        def work() -> object:
            if raw is not None:
                raw.close()
            return core._STOP_RUNNING_SENTINEL

        connection._tx.put_nowait((None, work))
        connection._thread.join(_PATIENCE)


client_class = SandboxClient
