"""A storage with nothing but the six methods: hibernate and thaw work on it, the journal first, as far as it can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from jido_tortoise.agents import care
from jido_tortoise.agents.agent import Agent
from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise.agents.persist import hibernate, thaw
from jido_tortoise.agents.storage import Appended, Checkpoint, ThreadHead
from jido_tortoise.agents.thread import Thread
from jido_tortoise.errors import (
    ConflictError,
    InvalidStorageError,
    MissingThreadError,
    NotFoundError,
    ThreadMismatchError,
    UnstorableError,
)
from jido_tortoise.jido import Jido


class SixMethods:
    """Somebody's own storage; `capabilities` says which of the optional arguments and methods it knows."""

    def __init__(self, *capabilities: str) -> None:
        self.capabilities: frozenset[Any] = frozenset(capabilities)
        self.inner = InMemoryStorage()
        self.fail_put = False

    async def put_checkpoint(self, key: Any, data: Any, *, expected_version: int | None = None) -> Checkpoint:
        if self.fail_put:
            raise OSError("disk full")
        guarded = "compare_and_set" in self.capabilities
        assert guarded or expected_version is None, "a capability that was not declared is not asked for"
        return await self.inner.put_checkpoint(key, data, expected_version=expected_version)

    async def get_checkpoint(self, key: Any) -> Checkpoint | None:
        return await self.inner.get_checkpoint(key)

    async def delete_checkpoint(self, key: Any) -> None:
        await self.inner.delete_checkpoint(key)

    async def append_thread(
        self,
        thread_id: str,
        entries: Any,
        *,
        expected_rev: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Appended:
        return await self.inner.append_thread(thread_id, entries, expected_rev=expected_rev, metadata=metadata)

    async def load_thread(self, thread_id: str, **wish: Any) -> Thread | None:
        return await self.inner.load_thread(thread_id, **wish)

    async def delete_thread(self, thread_id: str) -> None:
        await self.inner.delete_thread(thread_id)


class WithHeads(SixMethods):
    """The same with a method to read heads."""

    async def get_thread_head(self, thread_id: str) -> ThreadHead | None:
        return await self.inner.get_thread_head(thread_id)


@pytest.fixture(params=["bare", "guarded", "heads"])
def storage(request: pytest.FixtureRequest) -> SixMethods:
    made = {
        "bare": SixMethods,
        "guarded": lambda: SixMethods("compare_and_set"),
        "heads": lambda: WithHeads("compare_and_set", "head"),
    }
    return made[request.param]()  # type: ignore[no-any-return]


class Simple(Agent, agent_type="simple"):  # type: ignore[type-arg]
    """The agent of these tests."""


async def stored(storage: SixMethods, entries: int = 1) -> Simple:
    agent = Simple("a", {"n": 0})
    agent.thread.extend([{"kind": "note", "payload": {"n": n}} for n in range(entries)])
    await hibernate(storage, agent)
    return agent


@pytest.mark.parametrize("entries", [0, 1, 5])
async def test_round_trip(storage: SixMethods, entries: int) -> None:
    """State and journal come back, cycle after cycle, and nothing is written twice."""
    await stored(storage, entries)
    for round in range(3):
        agent = await thaw(storage, Simple, "a", journal="exact")
        assert len(agent.thread) == entries + round
        agent.thread.append("note")
        agent.state["n"] = round
        await hibernate(storage, agent)
        await hibernate(storage, agent)
    assert (await thaw(storage, Simple, "a")).state == {"n": 2}


async def test_stale_copies_are_refused(storage: SixMethods) -> None:
    """By the journal's revision, and by the checkpoint's version where only the state differs; force overwrites."""
    await stored(storage)
    one, two, three = [await thaw(storage, Simple, "a") for _ in range(3)]
    one.thread.append("note")
    await hibernate(storage, one)
    two.thread.append("note")
    three.state["n"] = 3
    for stale in (two, three):
        with pytest.raises(ConflictError):
            await hibernate(storage, stale)
    await hibernate(storage, three, force=True)
    assert (await thaw(storage, Simple, "a", journal="exact")).state == {"n": 3}


async def test_a_journal_that_others_appended_to(storage: SixMethods) -> None:
    """The policies hold, and a copy without entries of its own is refused too."""
    agent = await stored(storage)
    await storage.append_thread("simple::a", {"kind": "note"})
    with pytest.raises(ConflictError):
        await hibernate(storage, agent)
    assert (await thaw(storage, Simple, "a", journal="pinned")).thread.rev == 1
    assert (await thaw(storage, Simple, "a")).thread.rev == 2
    with pytest.raises(ThreadMismatchError):
        await thaw(storage, Simple, "a", journal="exact")
    await storage.delete_thread("simple::a")
    with pytest.raises(MissingThreadError):
        await thaw(storage, Simple, "a")


async def test_what_cannot_be_stored_is_found_before_the_journal(storage: SixMethods) -> None:
    """A state with an unstorable value leaves the journal untouched, though that is written first."""
    agent = await stored(storage)
    agent.thread.append("note")
    agent.state["bad"] = object()
    with pytest.raises(UnstorableError):
        await hibernate(storage, agent)
    assert (await thaw(storage, Simple, "a", journal="exact")).thread.rev == 1


async def test_a_failed_checkpoint_is_repeated(storage: SixMethods) -> None:
    """When the checkpoint fails after the journal, the old state thaws, and the next try writes no entry twice."""
    agent = await stored(storage)
    agent.thread.append("note")
    agent.state["n"] = 1
    storage.fail_put = True
    with pytest.raises(OSError, match="disk full"):
        await hibernate(storage, agent)
    storage.fail_put = False
    assert (await thaw(storage, Simple, "a")).state == {"n": 0}
    await hibernate(storage, agent)
    thawed = await thaw(storage, Simple, "a", journal="exact")
    assert (thawed.state, thawed.thread.rev) == ({"n": 1}, 2)


async def test_delete(storage: SixMethods) -> None:
    """Checkpoint and journal go, one after the other."""
    await stored(storage)
    await care.delete_agent(storage, Simple, "a")
    assert await storage.load_thread("simple::a") is None
    with pytest.raises(NotFoundError):
        await thaw(storage, Simple, "a")


async def test_what_it_cannot_is_refused_by_name(storage: SixMethods) -> None:
    """Lists, compaction and forks name the capability that they need."""
    jido = Jido(storage)
    await stored(storage)
    for work in (
        jido.list(Simple),
        jido.count(),
        jido.compact(Simple, "a", keep=1),
        jido.fork_thread("simple::a", "f"),
    ):
        with pytest.raises(InvalidStorageError) as caught:
            await work
        assert caught.value.reason == "missing_capability"


async def test_the_front_door() -> None:
    """Jido's own methods, over the storage in memory: new or thawed, bound, listed, scheduled, compacted, deleted."""
    jido = Jido(InMemoryStorage())
    blue = jido.bind(partition="blue")
    agent = await blue.thaw_or_new(Simple, "a", state={"n": 7})
    rival = await blue.thaw_or_new(Simple, "a")
    agent.thread.extend([{"kind": "note"}] * 3)
    await blue.hibernate(agent)
    with pytest.raises(ConflictError):
        await blue.hibernate(rival)
    assert (await blue.thaw_or_new(Simple, "a", state={"n": 9})).state == {"n": 7}
    assert [item.partition for item in (await jido.list(Simple)).items] == ["blue"]
    assert (await jido.count(Simple), await jido.bind(partition="red").count()) == (1, 0)
    await blue.persist_schedule(agent, {"j": {"cron_expression": "@daily", "message": 1}})
    assert list((await blue.thaw(Simple, "a")).schedule) == ["j"]
    assert await blue.compact(Simple, "a", keep=1) == 2
    assert (await blue.fork_thread("simple:blue:a", "fork")).rev == 3
    assert not await blue.repair(Simple, "a")
    await blue.delete(Simple, "a")
    with pytest.raises(NotFoundError):
        await blue.thaw(Simple, "a")
