"""Rows that were damaged behind our back: a named error for that row, everything beside it readable (J11-J18, H16)."""

from __future__ import annotations

from typing import Any

import pytest

from jido_tortoise.agents.agent import Agent
from jido_tortoise.agents.care import repair
from jido_tortoise.agents.persist import hibernate, thaw
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.errors import CorruptRowError, StorageError
from tests.conftest import Database


class Victim(Agent, agent_type="victim"):  # type: ignore[type-arg]
    """An agent whose rows are damaged."""


@pytest.fixture
async def storage(db: Database) -> TortoiseStorage:
    for name in ("a", "b"):
        agent = Victim(name, {"n": 1})
        agent.thread.extend([{"kind": "note", "payload": {"n": n}} for n in range(3)])
        await hibernate(TortoiseStorage(), agent)
    return TortoiseStorage()


async def damage(db: Database, sql: str) -> None:
    # Entries cannot be updated: to damage one the guard has to be taken away first.
    if "UPDATE jido_thread_entries" in sql:
        on = " ON jido_thread_entries" if db.dialect == "postgres" else ""
        await db.client.execute_script(f"DROP TRIGGER IF EXISTS {await _guard(db)}{on}")
    await db.client.execute_script(sql)


async def _guard(db: Database) -> str:
    query = {
        "postgres": "SELECT tgname AS name FROM pg_trigger WHERE tgrelid = 'jido_thread_entries'::regclass",
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
    }[db.dialect]
    (row,) = await db.client.execute_query_dict(query)
    return str(row["name"])


UNKNOWN_TAG = '{"x": {"$jido:nope": 1}}'
OF_A = "WHERE thread_id = 'victim::a'"


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        (f"UPDATE jido_thread_entries SET payload = '[1]' {OF_A} AND seq = 1", "invalid_term"),
        (
            f"""UPDATE jido_thread_entries SET refs = '{{"x": {{"$jido:nope": 1}}}}' {OF_A} AND seq = 1""",
            "invalid_term",
        ),
        (f"DELETE FROM jido_threads {OF_A}", "orphaned_thread_entries"),
        (f"UPDATE jido_threads SET rev = 2 {OF_A}", None),
        (f"UPDATE jido_threads SET rev = 9 {OF_A}", "invalid_thread_revision"),
        (f"DELETE FROM jido_thread_entries {OF_A} AND seq = 1", "invalid_thread_revision"),
        (f"UPDATE jido_threads SET first_seq = 1 {OF_A}", None),
        (f"UPDATE jido_threads SET metadata = '[]' {OF_A}", "invalid_thread_metadata"),
    ],
    ids=["J11-payload", "J16-tag", "J12-orphans", "behind", "J13-rev", "J17-gap", "trimmed", "J14-metadata"],
)
async def test_damaged_journal(db: Database, storage: TortoiseStorage, sql: str, reason: str | None) -> None:
    """The damage is named with table and thread; the other agent and its journal are untouched."""
    await damage(db, sql)
    if reason is None:
        assert await storage.load_thread("victim::a") is not None
    else:
        with pytest.raises(CorruptRowError) as caught:
            await storage.load_thread("victim::a")
        assert caught.value.reason == reason
        assert "victim::a" in str(caught.value)
    assert (await thaw(storage, Victim, "b")).thread.rev == 3


async def test_damaged_entry_leaves_the_rest_readable(db: Database, storage: TortoiseStorage) -> None:
    """A range without the malformed entry is readable, and the error says which entry it is."""
    await damage(db, f"UPDATE jido_thread_entries SET payload = '[1]' {OF_A} AND seq = 1")
    with pytest.raises(CorruptRowError) as caught:
        await thaw(storage, Victim, "a")
    assert (caught.value.thread_id, caught.value.seq) == ("victim::a", 1)
    thread = await storage.load_thread("victim::a", from_seq=2)
    assert thread is not None
    assert [entry.seq for entry in thread] == [2]


async def test_thaw_names_a_gap(db: Database, storage: TortoiseStorage) -> None:
    """An agent whose journal lacks a row is not said to be changing: the gap is named."""
    await damage(db, f"DELETE FROM jido_thread_entries {OF_A} AND seq = 1")
    with pytest.raises(CorruptRowError) as caught:
        await thaw(storage, Victim, "a")
    assert caught.value.reason == "invalid_thread_revision"


async def test_J12_append_onto_orphans(db: Database, storage: TortoiseStorage) -> None:
    """Entries without a head: an append is refused by name, and works after the repair."""
    await damage(db, f"DELETE FROM jido_threads {OF_A}")
    with pytest.raises(CorruptRowError) as caught:
        await storage.append_thread("victim::a", {"kind": "note"})
    assert caught.value.reason == "orphaned_thread_entries"
    assert (await repair(storage, Victim, "a")).done
    assert (await storage.append_thread("victim::a", {"kind": "note"})).rev == 4
    assert (await thaw(storage, Victim, "a")).thread.rev == 4


async def test_append_onto_a_head_that_is_behind(db: Database, storage: TortoiseStorage) -> None:
    """A head that counts fewer entries than there are: the append is refused, nothing is overwritten."""
    await damage(db, f"UPDATE jido_threads SET rev = 1 {OF_A}")
    with pytest.raises(CorruptRowError) as caught:
        await storage.append_thread("victim::a", {"kind": "note"})
    assert caught.value.reason == "invalid_thread_revision"


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        ("data", "[1]", "invalid_checkpoint"),
        ("data", '{"$jido:nope": 1}', "invalid_term"),
        ("key", '"other"', "checkpoint_hash_collision"),
    ],
    ids=["H16-shape", "J18-term", "J18-collision"],
)
async def test_damaged_checkpoint(db: Database, storage: TortoiseStorage, column: str, text: str, reason: str) -> None:
    """A checkpoint that cannot be read is named with its key, is still listed, and can be repaired."""
    await damage(db, f"UPDATE jido_checkpoints SET {column} = '{text}' {OF_A}")
    with pytest.raises(CorruptRowError) as caught:
        await thaw(storage, Victim, "a")
    assert caught.value.reason == reason
    assert caught.value.key == ("victim", "a")
    assert (await thaw(storage, Victim, "b")).state == {"n": 1}
    page = await storage.list_checkpoints(agent_type="victim")
    assert len(page.items) == 2
    done = (await repair(storage, Victim, "a")).done
    assert "kept under" in done[0]
    assert (await thaw(storage, Victim, "a", journal="exact")).thread.rev == 3


@pytest.mark.parametrize(
    "sql", ["UPDATE jido_thread_entries SET kind = 'x'", "UPDATE jido_thread_entries SET seq = seq + 100"]
)
async def test_entries_are_never_updated(db: Database, storage: TortoiseStorage, sql: str) -> None:
    """The database itself refuses to change an entry."""
    with pytest.raises(Exception, match="never"):
        await db.client.execute_query(sql)
    assert (await thaw(storage, Victim, "a")).thread.rev == 3


async def test_J4_J5_errors_of_the_database_surface(db: Database, storage: TortoiseStorage) -> None:
    """What the database refuses is our error, with the driver's as its cause, for reads and writes alike."""
    await db.client.execute_script("DROP TABLE jido_thread_entries")
    works: list[Any] = [
        storage.append_thread("t", {"kind": "note"}),
        storage.load_thread("victim::a"),
        storage.delete_thread("victim::a"),
    ]
    for work in works:
        with pytest.raises(Exception, match="jido_thread_entries") as caught:
            await work
        assert type(caught.value).__module__ == "jido_tortoise.errors"
        assert caught.value.__cause__ is not None
        assert not isinstance(caught.value, StorageError) or caught.value.reason
