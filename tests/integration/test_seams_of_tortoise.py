"""The private seams of Tortoise, aiosqlite and asyncpg that database.py leans on, and the traps that it is there for.

When a new version of theirs changes one, this file says which, before anything stranger does.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from tortoise.backends.base.client import TransactionalDBClient
from tortoise.transactions import in_transaction

from tests.conftest import Database, opened


async def test_sqlite_client(sqlite_db: Database) -> None:
    """The client has the lock and the connection, and a job runs in the connection's thread."""
    client = sqlite_db.client
    await client.execute_query("SELECT 1")
    assert isinstance(client._lock, asyncio.Lock)
    raw = client._connection._conn
    assert await client._connection._execute(lambda connection: connection is raw, raw)
    assert raw.isolation_level is None, "autocommit: our frames begin and end transactions themselves"


async def test_sqlite_wrapper(sqlite_db: Database) -> None:
    """A transaction's wrapper shares the connection, has a lock of its own, and says when it has ended."""
    async with in_transaction("default") as wrapper:
        assert isinstance(wrapper, TransactionalDBClient)
        seen: Any = wrapper
        assert seen._connection is sqlite_db.context.connections._storage["default"]._connection  # type: ignore[attr-defined]
        assert isinstance(seen._lock, asyncio.Lock)
        assert not seen._finalized
    assert seen._finalized


async def test_postgres_client(pg_db: Database) -> None:
    """The client has a pool, and its transaction's wrapper can be given a connection and a transaction."""
    client = pg_db.client
    pool = client._pool
    assert pool.get_idle_size() <= pool.get_size() <= pool.get_max_size()
    context = client._in_transaction()
    assert isinstance(context.client, TransactionalDBClient)
    assert context.client._parent is client
    for name in ("_connection", "transaction", "_finalized", "connection_name"):
        assert hasattr(context.client, name) or name in type(context.client).__annotations__


async def test_trap_sqlite_lock_is_lost_when_begin_is_cancelled(sqlite_url: str) -> None:
    """T2, why we do not use in_transaction(): cancelled at BEGIN, Tortoise keeps the lock for ever."""
    async with opened(sqlite_url) as database:

        async def theirs() -> None:
            async with in_transaction("default"):
                pass

        task = asyncio.create_task(theirs())
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        locked = database.client._lock.locked()
        if locked:
            database.client._lock.release()  # or the context could not close
        assert locked, "Tortoise has mended it: look whether database.py can become simpler"


async def test_trap_execute_query_drops_returning(pg_db: Database) -> None:
    """Why we fetch from the driver's connection: execute_query answers no rows for INSERT ... RETURNING."""
    await pg_db.client.execute_script("CREATE TABLE t (n int)")
    assert await pg_db.client.execute_query("INSERT INTO t VALUES (7) RETURNING n") == (0, [])


async def test_trap_execute_script_commits(sqlite_db: Database) -> None:
    """Why no step of ours runs as a script inside a transaction on SQLite: it commits what was open."""
    await sqlite_db.client.execute_script("CREATE TABLE t (n int)")
    with contextlib.suppress(Exception):
        async with in_transaction("default") as inner:
            await inner.execute_query("INSERT INTO t VALUES (1)")
            await inner.execute_script("SELECT 1;")
            raise ZeroDivisionError
    assert len(await sqlite_db.client.execute_query_dict("SELECT n FROM t")) == 1


async def test_trap_deadlocks_stay_raw(pg_db: Database) -> None:
    """T11, why driver_errors.py looks at the driver's own errors: Tortoise passes some of asyncpg's on untouched."""
    with pytest.raises(Exception, match="deadlock") as caught:
        await pg_db.client.execute_query("DO $$ BEGIN RAISE EXCEPTION 'a deadlock' USING ERRCODE = '40P01'; END $$")
    assert type(caught.value).__module__.startswith("asyncpg")
