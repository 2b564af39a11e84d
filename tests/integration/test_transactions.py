"""The transaction context: all or nothing, whatever is cancelled, on both databases, nested in the host's or not."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from typing import Any

import pytest
from tortoise.connection import get_connection
from tortoise.transactions import in_transaction

from jido_tortoise import commits
from jido_tortoise.agents.models import JidoThread
from jido_tortoise.database import resolve, transaction
from jido_tortoise.driver_errors import ConstraintError
from jido_tortoise.errors import StorageBusyError, TransactionError
from tests.conftest import Database, opened


async def say(sql: str) -> list[dict[str, Any]]:
    """Run a statement as the host would: on the connection as the current task sees it."""
    return list(await get_connection("default").execute_query_dict(sql))


@pytest.fixture
async def table(db: Database) -> Database:
    await db.client.execute_script("CREATE TABLE kv (k varchar(20) PRIMARY KEY, v int NOT NULL)")
    await say("INSERT INTO kv (k, v) VALUES ('a', 0)")
    return db


async def contents() -> dict[str, int]:
    return {row["k"]: row["v"] for row in await say("SELECT k, v FROM kv ORDER BY k")}


async def write() -> None:
    """Change three rows in a transaction and one nested in it."""
    async with transaction(resolve(None, JidoThread)):
        await say("UPDATE kv SET v = 1 WHERE k = 'a'")
        await say("INSERT INTO kv (k, v) VALUES ('b', 1)")
        async with transaction(resolve(None, JidoThread)):
            await say("INSERT INTO kv (k, v) VALUES ('c', 1)")


BEFORE, AFTER = {"a": 0}, {"a": 1, "b": 1, "c": 1}


async def reset() -> None:
    await say("DELETE FROM kv WHERE k <> 'a'")
    await say("UPDATE kv SET v = 0")


async def cancelled_after(steps: int, work: Callable[[], Awaitable[None]]) -> bool:
    """Start the work, cancel it after so many steps of the loop, and tell whether it ended before that."""
    task = asyncio.ensure_future(work())
    for _ in range(steps):
        await asyncio.sleep(0)
    early = task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) if not early else _nothing():
        await task
    return early


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


async def test_commits(table: Database) -> None:
    """What happened inside is there afterwards."""
    await write()
    assert await contents() == AFTER


async def test_rolls_back(table: Database) -> None:
    """An error undoes all of it, nested blocks too."""
    with pytest.raises(ZeroDivisionError):
        async with transaction(resolve(None, JidoThread)):
            await write()
            raise ZeroDivisionError
    assert await contents() == BEFORE


async def test_nested_rolls_back_alone(table: Database) -> None:
    """An error in a nested block undoes that block; the one around it goes on and commits."""
    async with transaction(resolve(None, JidoThread)):
        await say("UPDATE kv SET v = 7 WHERE k = 'a'")
        with pytest.raises(ConstraintError):
            async with transaction(resolve(None, JidoThread)):
                await say("INSERT INTO kv (k, v) VALUES ('b', 1)")
                await say("INSERT INTO kv (k, v) VALUES ('a', 1)")
        await say("INSERT INTO kv (k, v) VALUES ('d', 4)")
    assert await contents() == {"a": 7, "d": 4}


async def test_joins_the_hosts(table: Database) -> None:
    """Inside the host's transaction ours is a savepoint: what it wrote goes when the host rolls back."""
    with pytest.raises(ZeroDivisionError):
        async with in_transaction("default"):
            await write()
            assert await contents() == AFTER
            raise ZeroDivisionError
    assert await contents() == BEFORE


async def test_cancelled_at_every_step(table: Database) -> None:
    """Cancelled at any await: all or nothing, and the connection is free and outside any transaction."""
    seen, ended = set(), 0
    for steps in range(400):
        await reset()
        ended += await cancelled_after(steps, write)
        async with asyncio.timeout(10):
            found = await contents()
        assert found in (BEFORE, AFTER), f"torn when cancelled after {steps} steps: {found}"
        seen.add(found == AFTER)
        _assert_idle(table)
        if ended > 3:
            break
    assert seen == {True, False}, "the sweep must meet both outcomes"


async def test_cancelled_at_every_step_while_it_is_undone(table: Database) -> None:
    """Cancelled at any await of a rollback, too: nothing is there, and the connection is free for the next one."""

    async def fail() -> None:
        with suppress(ZeroDivisionError):
            async with transaction(resolve(None, JidoThread)):
                await say("UPDATE kv SET v = 1 WHERE k = 'a'")
                raise ZeroDivisionError

    ended = 0
    for steps in range(200):
        ended += await cancelled_after(steps, fail)
        _assert_idle(table)
        async with asyncio.timeout(10):
            assert await contents() == BEFORE, f"torn when cancelled after {steps} steps"
        if ended > 3:
            break
    assert ended > 3, "the sweep must come to the end"


async def test_cancelled_at_every_step_inside_the_hosts(table: Database) -> None:
    """Cancelled at any await inside the host's transaction: that one goes on, with all of ours or nothing of it."""
    seen, ended = set(), 0
    for steps in range(200):
        await reset()
        async with in_transaction("default"):
            ended += await cancelled_after(steps, write)
            await say("INSERT INTO kv (k, v) VALUES ('host', 1)")
        found = await contents()
        assert found.pop("host") == 1
        assert found in (BEFORE, AFTER), f"torn when cancelled after {steps} steps: {found}"
        seen.add(found == AFTER)
        if ended > 3:
            break
    assert seen == {True, False}, "the sweep must meet both outcomes"


def _assert_idle(db: Database) -> None:
    if db.dialect == "sqlite":
        assert not db.client._lock.locked()
        assert not db.client._connection._conn.in_transaction
    else:
        pool = db.client._pool
        assert pool.get_idle_size() == pool.get_size()


async def test_no_zombie_after_a_failed_commit(table: Database) -> None:
    """T3: when COMMIT fails the transaction is gone; the next write is durable and belongs to itself."""
    defer = "DEFERRABLE INITIALLY DEFERRED"
    await table.client.execute_script(f"CREATE TABLE child (parent varchar(20) REFERENCES kv (k) {defer})")
    done: list[str] = []
    with pytest.raises(ConstraintError) as caught:
        async with transaction(resolve(None, JidoThread)) as db:
            commits.wait_for(db.client, looking(done), ending(done, "undone"))
            await say("INSERT INTO child (parent) VALUES ('nobody')")
    assert caught.value.__cause__ is not None
    assert done == []  # of a COMMIT that fails nobody knows, in general, whether it was one
    _assert_idle(table)
    await say("INSERT INTO kv (k, v) VALUES ('later', 1)")
    if table.backend != "sqlite-memory":
        async with opened(table.url, tables=False):
            assert await contents() == {"a": 0, "later": 1}
    assert await say("SELECT * FROM child") == []


async def test_what_fails_after_the_end_is_logged(table: Database, caplog: pytest.LogCaptureFixture) -> None:
    """What was committed is, and what was rolled back has its own error; the others that wait have their turn."""
    done: list[str] = []

    async def fail() -> None:
        raise ValueError("disk")

    async def look() -> Callable[[], Awaitable[None]]:
        return fail

    async with transaction(resolve(None, JidoThread)) as db:
        commits.wait_for(db.client, look)
        commits.wait_for(db.client, looking(done))
        await say("UPDATE kv SET v = 5")
    with pytest.raises(ZeroDivisionError):
        async with transaction(resolve(None, JidoThread)) as db:
            commits.wait_for(db.client, look, fail)
            commits.wait_for(db.client, look, ending(done, "undone"))
            raise ZeroDivisionError
    assert done == ["committed", "undone"]
    assert await contents() == {"a": 5}
    assert caplog.text.count("ValueError: disk") == 2


def ending(done: list[str], what: str) -> Callable[[], Awaitable[None]]:
    async def then() -> None:
        done.append(what)

    return then


def looking(done: list[str]) -> Callable[[], Awaitable[Callable[[], Awaitable[None]]]]:
    async def look() -> Callable[[], Awaitable[None]]:
        return ending(done, "committed")

    return look


async def test_takes_the_write_lock_first(sqlite_db: Database) -> None:
    """On SQLite two transactions that read before they write do not tear each other: the second one waits."""
    await sqlite_db.client.execute_script("CREATE TABLE kv (k varchar(20) PRIMARY KEY, v int NOT NULL)")
    await say("INSERT INTO kv (k, v) VALUES ('n', 0)")

    async def add(times: int) -> None:
        async with opened(sqlite_db.url, tables=False):
            for _ in range(times):
                async with transaction(resolve(None, JidoThread)):
                    (row,) = await say("SELECT v FROM kv WHERE k = 'n'")
                    await asyncio.sleep(0)
                    await say(f"UPDATE kv SET v = {row['v'] + 1} WHERE k = 'n'")

    await asyncio.gather(*(asyncio.create_task(add(10)) for _ in range(4)))
    assert await contents() == {"n": 40}


async def test_a_lock_held_elsewhere_is_busy(sqlite_url: str) -> None:
    """A database that stays locked past its busy_timeout is our retryable error, with the driver's as its cause."""
    async with opened(f"{sqlite_url}?busy_timeout=50") as holder, transaction(resolve(None, JidoThread)):
        task = asyncio.create_task(_try_elsewhere(holder.url), context=_empty_context())
        error = await task
    assert isinstance(error, StorageBusyError)
    assert error.retryable
    assert "locked" in str(error.__cause__)


async def test_a_connection_that_is_half_made_is_not_used(sqlite_url: str) -> None:
    """When its settings fail on a lock it is made anew: without them no foreign key would hold, for good."""
    file = sqlite_url.removeprefix("sqlite://")
    impatient = {"file_path": file, "busy_timeout": 50, "journal_mode": "WAL"}  # set in this order; a URL's come later
    connection = {"engine": "tortoise.backends.sqlite", "credentials": impatient}
    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN EXCLUSIVE")
        async with opened(sqlite_url, tables=False, connections={"default": connection}):
            with pytest.raises(StorageBusyError):
                async with transaction(resolve(None, JidoThread)):
                    pass
            other.rollback()
            async with transaction(resolve(None, JidoThread)):
                assert await say("PRAGMA foreign_keys") == [{"foreign_keys": 1}]


async def _try_elsewhere(url: str) -> BaseException | None:
    async with opened(url, tables=False):
        try:
            async with transaction(resolve(None, JidoThread)):
                return None
        except StorageBusyError as error:
            return error


def _empty_context() -> Any:
    import contextvars

    return contextvars.Context()


async def test_a_task_that_outlives_the_transaction_is_refused(db: Database) -> None:
    """A task started inside a transaction must not write into somebody else's once that has ended."""
    over = asyncio.Event()

    async def late() -> None:
        await over.wait()
        resolve(None, JidoThread)

    async with transaction(resolve(None, JidoThread)):
        task = asyncio.create_task(late())
    over.set()
    with pytest.raises(TransactionError) as caught:
        await task
    assert caught.value.reason == "transaction_finished"
