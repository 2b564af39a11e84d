"""Tortoise's asyncpg client for a sandbox: it follows the test from loop to loop, and outlives them all."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import asyncpg
from tortoise.backends.asyncpg.client import AsyncpgDBClient

from jido_tortoise_testing.leases import Lease


class SandboxClient(AsyncpgDBClient):
    """A pool on a sandbox's database."""

    def __init__(self, lease: Lease, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lease = lease
        lease.clients.append(self)

    async def create_pool(self, **kwargs: Any) -> asyncpg.Pool:
        """Make the pool, each of whose connections tells what it runs."""
        return await asyncpg.create_pool(None, init=self._listen, **kwargs)

    async def _listen(self, connection: Any) -> None:
        connection.add_query_logger(self._see)

    async def _see(self, record: Any) -> None:
        self.lease.statements.see(record.query)

    def _check_loop(self) -> bool:
        # The data is in the server: another loop only needs another pool.
        try:
            current = asyncio.get_running_loop()
        except RuntimeError:
            return True
        if self._bound_loop not in (None, current):
            self.stop()
        return True

    def stop(self) -> None:
        """Drop the pool at once; works when its loop is closed."""
        pool, self._pool = self._pool, None
        loop, self._bound_loop = self._bound_loop, None
        self._pool_init_lock = asyncio.Lock()
        if pool is not None and loop is not None:
            pool._closed = True  # its own terminate() needs its loop
            for holder in pool._holders:
                self.lease.busy |= holder._in_use is not None
                _drop(holder._con, loop)
            if not loop.is_closed() and not _is_running():
                loop.run_until_complete(asyncio.sleep(0))  # so that it sees the connections end


def _is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _drop(connection: Any, loop: asyncio.AbstractEventLoop) -> None:
    if connection is None:
        return
    transport = connection._transport
    with suppress(RuntimeError):  # a closed loop takes no callbacks
        connection.terminate()
    if loop.is_closed() and transport._sock is not None:
        # Left to the garbage collector the socket would be complained about.
        transport._sock.close()
        transport._sock = None


client_class = SandboxClient
