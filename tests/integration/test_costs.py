"""What an operation may cost: statements counted on the wire, rows counted in the database (H6, H10)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from jido_tortoise.agents.agent import Agent
from jido_tortoise.agents.persist import hibernate, thaw
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.recording import Event, Session, SessionStore
from tests.conftest import Database, opened


class Costly(Agent, agent_type="costly"):  # type: ignore[type-arg]
    """An agent to count with."""


async def sent(db: Database, work: Callable[[], Awaitable[Any]]) -> list[str]:
    """Answer the statements that reach the database while the work runs, asyncpg's reset of a connection apart."""
    seen: list[str] = []
    if db.dialect == "sqlite":
        connection = db.client._connection
        await connection._execute(connection._conn.set_trace_callback, seen.append)
        await work()
        await connection._execute(connection._conn.set_trace_callback, None)
        return seen
    assert db.client._pool.get_size() == 1, "one connection, so that its logger sees everything"
    async with db.client._pool.acquire() as raw:
        raw._con.add_query_logger(lambda record: seen.append(record.query))
    await work()
    return [sql for sql in seen if "pg_advisory_unlock_all" not in sql]


async def stored_agent(entries: int) -> Costly:
    agent = Costly("a", {"n": 0})
    agent.thread.extend([{"kind": "note", "payload": {"n": n}} for n in range(entries)])
    await hibernate(TortoiseStorage(), agent)
    return agent


@pytest.mark.parametrize("entries", [100, 10_000])
async def test_H6_one_more_entry(pg_db: Database, entries: int) -> None:
    """Hibernate with one more entry is one statement, whatever the thread's length, and reads no entry."""
    agent = await stored_agent(entries)
    agent.thread.append("note")
    statements = await sent(pg_db, lambda: hibernate(TortoiseStorage(), agent))
    assert len(statements) == 1
    assert "FROM jido_thread_entries" not in statements[0]


async def test_H6_unchanged(pg_db: Database) -> None:
    """Hibernate with nothing new touches neither head nor entries."""
    agent = await stored_agent(10)
    statements = await sent(pg_db, lambda: hibernate(TortoiseStorage(), agent))
    assert len(statements) == 1
    assert "jido_thread_entries" not in statements[0]
    assert "UPDATE jido_threads" not in statements[0]


async def test_append_is_one_statement(pg_db: Database) -> None:
    """An append is one statement without BEGIN, with an expected revision or without."""
    storage = TortoiseStorage()
    await storage.append_thread("t", {"kind": "note"})
    for expected in (None, 2):
        statements = await sent(pg_db, lambda: storage.append_thread("t", {"kind": "note"}, expected_rev=expected))  # noqa: B023
        assert len(statements) == 1
        assert statements[0].startswith("WITH h AS")


async def test_append_on_sqlite(sqlite_db: Database) -> None:
    """On SQLite an append writes first, under BEGIN IMMEDIATE, and reads nothing."""
    storage = TortoiseStorage()
    await storage.append_thread("t", {"kind": "note"})
    statements = await sent(sqlite_db, lambda: storage.append_thread("t", {"kind": "note"}))
    assert [sql.split()[0] for sql in statements] == ["BEGIN", "INSERT", "INSERT", "COMMIT"]
    assert statements[0] == "BEGIN IMMEDIATE"


async def test_thaw_is_two_statements(pg_db: Database) -> None:
    """Thaw reads checkpoint and head together, then the entries."""
    await stored_agent(1000)
    statements = await sent(pg_db, lambda: thaw(TortoiseStorage(), Costly, "a"))
    assert len(statements) == 2
    assert statements[0].startswith("SELECT c.key")


async def test_thaw_without_entries_is_one_statement(pg_db: Database) -> None:
    """An empty journal needs no look."""
    await hibernate(TortoiseStorage(), Costly("a"))
    assert len(await sent(pg_db, lambda: thaw(TortoiseStorage(), Costly, "a"))) == 1


async def test_the_schema_is_probed_once(pg_db: Database) -> None:
    """The first use of a connection looks at the catalog, no later one does."""
    await pg_db.client.execute_query("SELECT 1")
    first = await sent(pg_db, lambda: TortoiseStorage().get_thread_head("t"))
    assert len(first) == 2
    assert "pg_attribute" in first[0]
    assert len(await sent(pg_db, lambda: TortoiseStorage().get_thread_head("t"))) == 1


async def test_H10_twenty_thousand(db: Database) -> None:
    """One append of 20,000 entries works, and so does reading its end."""
    storage = TortoiseStorage()
    answer = await storage.append_thread("t", [{"kind": "note", "payload": {"n": n}} for n in range(20_000)])
    assert answer.rev == 20_000
    thread = await storage.load_thread("t", tail=2)
    assert thread is not None
    assert [entry.payload["n"] for entry in thread] == [19_998, 19_999]


async def test_many_rows_on_a_new_connection(pg_url: str) -> None:
    """asyncpg need not ask the server what the types of their arrays are made of."""
    async with opened(pg_url, backend="postgres", families=("agents", "recording")) as database:
        session = Session(agent_id="a", id="s")
        await SessionStore().save_session(session)
        events = [Event(session_id="s", type="message_sent", data={"n": n}) for n in range(3)]
        both: list[Callable[[], Awaitable[Any]]] = [
            lambda: TortoiseStorage().append_thread("t", [{"kind": "note"}, {"kind": "note"}]),
            lambda: SessionStore().append_events(events),
        ]
        for append in both:
            await database.client._pool.expire_connections()
            await database.client.execute_query("SELECT 1")
            assert [sql for sql in await sent(database, append) if "typeinfo" in sql] == []
