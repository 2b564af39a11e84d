"""The private seams of Tortoise, aiosqlite and asyncpg that database.py leans on, and the traps that it is there for.

When a new version of theirs changes one, this file says which, before anything stranger does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tortoise.backends.base.client import TransactionalDBClient
from tortoise.transactions import in_transaction

from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.errors import ConflictError
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


async def _resets(db: Database, work: Callable[[], Awaitable[object]]) -> int:
    """Count how often a connection's session is reset while the work runs."""
    seen: list[str] = []
    async with db.client._pool.acquire() as raw:
        connection = raw._con
    connection.add_query_logger(lambda record: seen.append(record.query))
    await work()
    return sum("pg_advisory_unlock_all" in sql for sql in seen)


async def test_a_statement_of_ours_spares_the_reset(pg_db: Database) -> None:
    """A quarter of an append's time; asyncpg sends the query of this attribute, and none when it is empty."""
    await TortoiseStorage().append_thread("t", {"kind": "note"})
    assert await _resets(pg_db, lambda: TortoiseStorage().append_thread("t", {"kind": "note"})) == 0


async def test_what_the_host_leaves_in_a_session_is_reset_as_ever(pg_db: Database) -> None:
    """Also right after a statement of ours, and after one that failed."""
    storage = TortoiseStorage()
    await storage.append_thread("t", {"kind": "note"})

    async def of_the_host() -> None:
        async with pg_db.client.acquire_connection() as raw:
            await raw.execute("SET work_mem = '7MB'")
            await raw.execute("SELECT pg_advisory_lock(7)")

    assert await _resets(pg_db, of_the_host) == 1
    with pytest.raises(ConflictError):
        await storage.append_thread("t", {"kind": "note"}, expected_rev=99)
    assert await _resets(pg_db, of_the_host) == 1
    async with pg_db.client.acquire_connection() as raw:
        assert await raw.fetchval("SHOW work_mem") != "7MB"
        assert await raw.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


async def test_a_pool_that_sets_its_connections_up_keeps_its_resets(pg_url: str) -> None:
    """What a host's `setup` leaves in a session only sometimes must not meet the next one who takes the connection."""

    async def setup(raw: Any) -> None:
        await raw.execute("SELECT set_config('app.tenant', 'seven', false)")

    async with opened(pg_url) as database:
        pool = database.client._pool
        pool._setup = setup
        assert await _resets(database, lambda: TortoiseStorage().get_thread_head("t")) >= 1


async def test_many_at_once_leave_every_reset_in_place(pg_db: Database) -> None:
    """The sparing of one statement never reaches another one's use of the connection."""
    storage = TortoiseStorage()

    async def of_the_host(number: int) -> None:
        async with pg_db.client.acquire_connection() as raw:
            await raw.execute(f"SELECT set_config('app.mine', '{number}', false)")

    async def seen_by_the_host() -> str | None:
        async with pg_db.client.acquire_connection() as raw:
            found: str | None = await raw.fetchval("SELECT current_setting('app.mine', true)")
            return found

    for number in range(20):
        work = [storage.append_thread(f"t{at}", {"kind": "note"}) for at in range(8)]
        *_, first, second = await asyncio.gather(*work, of_the_host(number), seen_by_the_host(), seen_by_the_host())
        assert {first, second} <= {None, ""}


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
