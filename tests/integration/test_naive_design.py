"""Every check that Jido fails has a test that fails on the naive design: here is that design, and here it fails.

`Naive` hibernates and thaws as Jido does (facts of its contract, written anew): the journal first and the checkpoint
after it, a conflict taken for success once the stored journal is as long, the pointer held against the journal exactly,
the whole journal read to learn its revision. `Ours` is the library. Each scenario states one law; ours keeps it, the
naive design does not. What a storage alone must do (H8, H11-H14) is shown by the zoo beside the contract suite.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tortoise.transactions import in_transaction

from jido_tortoise import telemetry
from jido_tortoise.agents.agent import Agent
from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise.agents.persist import hibernate, thaw
from jido_tortoise.agents.storage import Appended, Checkpoint
from jido_tortoise.agents.thread import Entry, Thread
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.errors import ConflictError, CorruptRowError, JidoError, UnstorableError
from tests.conftest import Database


class Worker(Agent, agent_type="worker"):  # type: ignore[type-arg]
    """The agent of all scenarios."""


class Watched:
    """A storage of six methods over one in memory; it counts the entries it reads, and its next put may fail."""

    capabilities: frozenset[Any] = frozenset()

    def __init__(self) -> None:
        self.inner = InMemoryStorage()
        self.read = 0
        self.broken = False

    async def put_checkpoint(self, key: Any, data: Any, *, expected_version: int | None = None) -> Checkpoint:
        if self.broken:
            raise OSError("disk full")
        return await self.inner.put_checkpoint(key, data)

    async def get_checkpoint(self, key: Any) -> Checkpoint | None:
        return await self.inner.get_checkpoint(key)

    async def delete_checkpoint(self, key: Any) -> None:
        await self.inner.delete_checkpoint(key)

    async def append_thread(self, thread_id: str, entries: Any, **options: Any) -> Appended:
        return await self.inner.append_thread(thread_id, entries, **options)

    async def load_thread(self, thread_id: str, **options: Any) -> Thread | None:
        thread = await self.inner.load_thread(thread_id, **options)
        self.read += len(thread) if thread is not None else 0
        return thread

    async def delete_thread(self, thread_id: str) -> None:
        await self.inner.delete_thread(thread_id)


class Naive:
    """Jido's algorithm."""

    def __init__(self) -> None:
        self.storage = Watched()

    async def hibernate(self, agent: Worker) -> None:
        await self._flush(agent.thread)
        data = agent.default_checkpoint() | {"thread": {"id": agent.thread.id, "rev": agent.thread.rev}}
        await self.storage.put_checkpoint(("worker", agent.id), data)

    async def _flush(self, thread: Thread) -> None:
        if not len(thread):
            return
        stored = await self.storage.load_thread(thread.id)
        rev = stored.rev if stored else 0
        if rev == thread.rev:
            return
        try:
            await self.storage.append_thread(thread.id, thread.slice(rev, thread.rev), expected_rev=rev)
        except ConflictError:
            again = await self.storage.load_thread(thread.id)
            if again is None or again.rev < thread.rev:
                raise

    async def thaw(self) -> Worker:
        stored = await self.storage.get_checkpoint(("worker", "a"))
        assert stored is not None
        agent = Worker.default_restore(stored.data)
        pointer = stored.data["thread"]
        thread = await self.storage.load_thread(pointer["id"])
        if thread is None:
            raise LookupError("missing_thread")
        if thread.rev != pointer["rev"]:
            raise LookupError("thread_mismatch")
        agent.thread = thread
        return agent


class Ours:
    """The library, over the storage in memory with its entries counted and its writes breakable."""

    def __init__(self) -> None:
        self.storage = _Breakable()

    async def hibernate(self, agent: Worker) -> None:
        await hibernate(self.storage, agent)

    async def thaw(self) -> Worker:
        return await thaw(self.storage, Worker, "a")


class _Breakable(InMemoryStorage):
    __slots__ = ("broken", "read")

    def __init__(self) -> None:
        super().__init__()
        self.broken, self.read = False, 0

    async def save(self, *args: Any, **options: Any) -> Any:
        if self.broken:
            raise OSError("disk full")
        return await super().save(*args, **options)

    async def load_thread(self, *args: Any, **options: Any) -> Thread | None:
        thread = await super().load_thread(*args, **options)
        self.read += len(thread) if thread is not None else 0
        return thread


Design = Naive | Ours


def worker(entries: int = 0) -> Worker:
    agent = Worker("a", {"n": 0})
    agent.thread.extend([{"kind": "note", "payload": {"n": n}} for n in range(entries)])
    return agent


async def H1_empty_thread(design: Design) -> None:
    await design.hibernate(worker())
    assert (await design.thaw()).state == {"n": 0}


async def H2_failed_checkpoint(design: Design) -> None:
    agent = worker(1)
    await design.hibernate(agent)
    agent.thread.append("note")
    design.storage.broken = True
    with pytest.raises(OSError, match="disk full"):
        await design.hibernate(agent)
    design.storage.broken = False
    assert (await design.thaw()).thread.rev == 1


async def H3_entries_of_others(design: Design) -> None:
    await design.hibernate(worker(1))
    await design.storage.append_thread("worker::a", {"kind": "note"})
    assert (await design.thaw()).thread.rev == 2


async def H4_diverged_copies(design: Design) -> None:
    await design.hibernate(worker(1))
    one, two = await design.thaw(), await design.thaw()
    one.thread.append("note", {"by": "one"})
    two.thread.append("note", {"by": "two"})
    await design.hibernate(one)
    with pytest.raises(ConflictError):
        await design.hibernate(two)


async def H5_longer_journal(design: Design) -> None:
    await design.hibernate(worker(1))
    copy = await design.thaw()
    copy.thread.append("note")
    for _ in range(3):
        await design.storage.append_thread("worker::a", {"kind": "note"})
    with pytest.raises(ConflictError):
        await design.hibernate(copy)
    assert (await design.thaw()).thread.rev == 4


async def H6_unchanged(design: Design) -> None:
    agent = worker(50)
    await design.hibernate(agent)
    before = design.storage.read
    await design.hibernate(agent)
    assert design.storage.read == before


async def H7_unstorable_state(design: Design) -> None:
    agent = worker(1)
    agent.state["bad"] = object()
    with pytest.raises(UnstorableError):
        await design.hibernate(agent)
    assert await design.storage.load_thread("worker::a") is None


async def H12_stale_state(design: Design) -> None:
    await design.hibernate(worker(1))
    one, two = await design.thaw(), await design.thaw()
    one.state["n"], two.state["n"] = 1, 2
    await design.hibernate(one)
    with pytest.raises(ConflictError):
        await design.hibernate(two)


async def H15_told(design: Design) -> None:
    seen: list[str] = []
    with telemetry.add_hook(lambda event: seen.append(event.name)):
        await design.hibernate(worker())
    assert "hibernate" in seen


async def H16_malformed(design: Design) -> None:
    await design.storage.put_checkpoint(("worker", "a"), {"id": "a", "state": {}, "thread": {"id": "t"}})
    with pytest.raises(CorruptRowError):
        await design.thaw()


SCENARIOS = [
    H1_empty_thread,
    H2_failed_checkpoint,
    H3_entries_of_others,
    H4_diverged_copies,
    H5_longer_journal,
    H6_unchanged,
    H7_unstorable_state,
    H12_stale_state,
    H15_told,
    H16_malformed,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_ours_keeps_the_law(scenario: Callable[[Design], Awaitable[None]]) -> None:
    """The library passes each scenario."""
    await scenario(Ours())


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_the_naive_design_breaks_it(scenario: Callable[[Design], Awaitable[None]]) -> None:
    """The naive design fails each scenario, so that none of them is an idle one."""
    with pytest.raises((AssertionError, LookupError, JidoError, pytest.fail.Exception)):
        await scenario(Naive())


# -- what only shows on a database --------------------------------------------------------------------------------


async def naive_append(database: Database, entries: list[Entry], expected: int) -> None:
    """Append as one INSERT with a bind for every value, and let a unique violation be the conflict."""
    values = [value for seq, entry in enumerate(entries, expected) for value in (seq, entry.id)]
    rows = ", ".join(
        f"('t', ${2 * n + 1}::bigint, ${2 * n + 2}::text, 0, 'note', '{{}}', '{{}}')" for n in range(len(entries))
    )
    columns = "thread_id, seq, entry_id, at_ms, kind, payload, refs"
    client = database.context.connections.get("default")
    await client.execute_query(f"INSERT INTO jido_thread_entries ({columns}) VALUES {rows}", values)


async def test_H9_naive_conflict_poisons_the_hosts_transaction(pg_db: Database) -> None:
    """A conflict found by a unique violation leaves PostgreSQL's transaction unusable; ours leaves it usable."""
    await naive_append(pg_db, [Entry()], 0)
    with pytest.raises(Exception, match="aborted"):
        async with in_transaction("default") as inner:
            with pytest.raises(Exception, match="unique"):
                await naive_append(pg_db, [Entry()], 0)
            await inner.execute_query("SELECT 1")
    storage = TortoiseStorage()
    await storage.append_thread("ours", {"kind": "note"})
    async with in_transaction("default") as inner:
        with pytest.raises(ConflictError):
            await storage.append_thread("ours", {"kind": "note"}, expected_rev=0)
        await inner.execute_query("SELECT 1")


async def test_H10_naive_binds_run_out(pg_db: Database) -> None:
    """A bind for every value ends at 32,767 of them; ours appends 20,000 entries at once."""
    with pytest.raises(Exception, match="32767"):
        await naive_append(pg_db, [Entry() for _ in range(20_000)], 0)
    answer = await TortoiseStorage().append_thread("ours", [{"kind": "note"}] * 20_000)
    assert answer.rev == 20_000
