"""What keeps an agent from being thawed or stored, and who is told: bad rows, faults, and other processes.

The cases of Jido's instance_manager_test are here, with its names for them: `instance_manager: ...` in the docstrings.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from jido_tortoise.agents.agent import Agent
from jido_tortoise.agents.manager import AgentManager
from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise.agents.persist import hibernate
from jido_tortoise.agents.storage import Storage
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.errors import (
    CallbackError,
    ConflictError,
    CorruptRowError,
    InvalidAgentError,
    InvalidInputError,
    InvalidStorageError,
    MissingThreadError,
    NotFoundError,
    StorageUnavailableError,
    ThreadMismatchError,
)
from jido_tortoise.jido import Jido
from tests.conftest import opened
from tests.integration.managing import (
    KEY,
    KINDS,
    Clock,
    Count,
    Counter,
    FaultyStorage,
    storage_of,
    stored,
    turned_by_hand,
    until,
)


@pytest.fixture(params=KINDS)
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[Storage]:
    """Give an empty storage of each kind."""
    async with storage_of(request.param, request) as storage:
        yield storage


@pytest.fixture
def memory() -> InMemoryStorage:
    return InMemoryStorage()


@pytest.fixture
def faulty() -> FaultyStorage:
    return FaultyStorage()


@pytest.fixture
def clock() -> Iterator[Clock]:
    with turned_by_hand() as clock:
        yield clock


# -- failing closed -----------------------------------------------------------------------------------------------


async def test_an_unreadable_checkpoint_fails_closed(sqlite_url: str) -> None:
    """instance_manager: unreadable checkpoint: the error comes out, nothing is registered, what is stored stays."""
    async with opened(sqlite_url) as database:
        storage = TortoiseStorage()
        agent = Counter(KEY)
        agent.step()
        await hibernate(storage, agent)
        await database.client.execute_script("UPDATE jido_checkpoints SET data = '{\"$jido:nonsense\": 1}'")
        before = await _rows(database)
        async with AgentManager(storage, Counter) as manager:
            results = await asyncio.gather(*(manager.attach(KEY, n) for n in range(3)), return_exceptions=True)
            assert [getattr(result, "reason", result) for result in results] == ["invalid_term"] * 3
            assert all(isinstance(result, CorruptRowError) for result in results)
            assert (manager.stats().count, manager.lookup(KEY)) == (0, None)
        assert await _rows(database) == before


async def _rows(database: Any) -> list[Any]:
    tables = ("jido_checkpoints", "jido_threads", "jido_thread_entries")
    found = [await database.client.execute_query_dict(f"SELECT * FROM {table}") for table in tables]
    return [[dict(row) for row in rows] for rows in found]


async def test_a_thread_mismatch_propagates(storage: Storage) -> None:
    """instance_manager: thread_mismatch propagates, count 0; by policy also when the journal is ahead."""
    agent = Counter(KEY)
    agent.step()
    await hibernate(storage, agent)
    await storage.append_thread(agent.thread.id, {"kind": "note"})
    async with AgentManager(storage, Counter, journal="exact") as manager:
        with pytest.raises(ThreadMismatchError):
            await manager.attach(KEY)
        await storage.delete_thread(agent.thread.id)
        with pytest.raises(MissingThreadError):
            await manager.attach(KEY)
        assert manager.stats().count == 0


async def test_a_callback_error_propagates(memory: InMemoryStorage) -> None:
    """instance_manager: a restore that raises propagates, count 0; also when it raises what means "not stored"."""

    class Fragile(Agent, agent_type="managed_fragile"):
        @classmethod
        def restore(cls, data: dict[str, Any]) -> Any:
            raise NotFoundError("a child of mine is not stored") if data["state"]["child"] else ValueError("boom")

    await hibernate(memory, Fragile("a", {"child": False}))
    await hibernate(memory, Fragile("b", {"child": True}))
    async with AgentManager(memory, Fragile) as manager:
        for key in ("a", "b"):
            with pytest.raises(CallbackError) as caught:
                await manager.attach(key)
            assert caught.value.reason == "restore_callback_failed"
        assert manager.stats().count == 0


async def test_a_storage_error_propagates(own_pg_server: Any, own_pg_url: str) -> None:
    """instance_manager: storage errors propagate, count 0; the agent is there when the database is."""
    async with opened(own_pg_url):
        storage = TortoiseStorage(timeout=5)
        await hibernate(storage, Counter(KEY, Count(3)))
        async with AgentManager(storage, Counter) as manager:
            own_pg_server.kill()
            with pytest.raises(StorageUnavailableError):
                await manager.attach(KEY, initial_state=Count(0))
            assert manager.stats().count == 0
            own_pg_server.restart()
            assert (await manager.attach(KEY)).state.n == 3


async def test_no_storage_is_refused() -> None:
    """instance_manager: a manager without a storage would lose everything; here it is refused."""
    with pytest.raises(InvalidStorageError):
        AgentManager(None, Counter)


class Plain:
    """A storage of six methods and nothing beyond."""

    capabilities: frozenset[Any] = frozenset()

    def __init__(self) -> None:
        inner = InMemoryStorage()
        self.put_checkpoint, self.get_checkpoint = inner.put_checkpoint, inner.get_checkpoint
        self.append_thread, self.load_thread = inner.append_thread, inner.load_thread
        self.delete_checkpoint, self.delete_thread = inner.delete_checkpoint, inner.delete_thread


async def test_six_methods_are_enough(clock: Clock) -> None:
    """A manager needs no capability of its storage."""
    storage = Plain()
    async with AgentManager(storage, Counter, idle_timeout=60, scope="plain") as manager:
        for n in (1, 2):
            async with manager.checkout(KEY) as agent:
                agent.step()
                assert agent.state.n == n
            await clock.advance(60)
            assert manager.lookup(KEY) is None
        await manager.delete(KEY)
        assert await storage.load_thread(agent.thread.id) is None


async def test_what_is_stored_step_by_step_is_of_one_moment() -> None:
    """A storage that cannot save at once gets the agent as it was when the save began."""
    storage, gate = Plain(), asyncio.Event()
    gate.set()
    read = storage.get_checkpoint

    async def read_slowly(key: Any) -> Any:
        await gate.wait()
        return await read(key)

    storage.get_checkpoint = read_slowly  # type: ignore[method-assign]
    async with AgentManager(storage, Counter) as manager, manager.checkout(KEY) as agent:
        for count in (1, 2):
            agent.step()
            agent.state.notes.append("step")
            gate.clear()
            saving = asyncio.create_task(manager.save(KEY))
            await asyncio.sleep(0.01)
            agent.state.notes.append("torn")
            gate.set()
            await saving
            assert (await stored(storage)).state.notes == ["step"] * count
            agent.state.notes.pop()
            await manager.save(KEY)


class Foreign:
    """An agent that knows nothing of ours."""

    agent_type = "managed_foreign"

    def __init__(self, id: Any) -> None:
        self.id, self.state = id, {"n": 0}

    @classmethod
    def restore(cls, data: dict[str, Any]) -> Foreign:
        agent = cls(data["id"])
        agent.state = data["state"]
        return agent


class MakeableForeign(Foreign):
    """One that can be made, too."""

    @classmethod
    def new(cls, id: Any, *, partition: str | None = None) -> MakeableForeign:
        return cls(id)


async def test_classes_that_are_not_ours(memory: InMemoryStorage) -> None:
    """Whatever has an id, a state, an agent_type and `restore` can be kept; to be made it needs `new`."""
    async with AgentManager(memory, MakeableForeign) as manager, manager.checkout(KEY, initial_state={"n": 5}) as agent:
        agent.state["n"] += 1
    async with AgentManager(memory, Foreign) as manager, manager.checkout(KEY) as thawed:
        assert thawed.state == {"n": 6}
        with pytest.raises(InvalidAgentError, match="new"):
            await manager.attach("other")
    for bad in (None, "Counter", object, Counter(KEY)):
        with pytest.raises(InvalidAgentError):
            AgentManager(memory, bad)  # type: ignore[type-var, arg-type]


async def test_a_state_that_needs_arguments(memory: InMemoryStorage) -> None:
    """A class whose state cannot be made from nothing is made from the initial state; without one that is an error."""
    async with AgentManager(memory, Named) as manager:
        with pytest.raises(InvalidInputError, match="state"):
            await manager.attach(KEY)
        async with manager.checkout(KEY, initial_state=Name("Ada")) as agent:
            assert agent.state.name == "Ada"
    assert (await Jido(memory).thaw_or_new(Named, "other", state=Name("Eve"))).state.name == "Eve"


@dataclass
class Name:
    name: str


class Named(Agent[Name], agent_type="managed_named"):
    """Has a name from the beginning."""


async def test_an_explicit_storage_is_the_one(memory: InMemoryStorage) -> None:
    """instance_manager: explicit overrides default."""
    other = InMemoryStorage()
    jido = Jido(memory)
    async with AgentManager(other, Counter) as manager, manager.checkout(KEY) as agent:
        agent.step()
    assert manager.storage is other
    with pytest.raises(NotFoundError):
        await jido.thaw(Counter, KEY)


# -- failing in the background ------------------------------------------------------------------------------------


async def test_a_failed_idle_hibernate_loses_nothing(
    faulty: FaultyStorage, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The agent stays, it is tried again ever more slowly, and hook, log and stats tell."""
    told: list[tuple[Any, str]] = []

    async def hook(key: Any, error: Exception) -> None:
        told.append((key, type(error).__name__))

    caplog.set_level(logging.ERROR, "jido_tortoise")
    async with AgentManager(faulty, Counter, idle_timeout=60, on_background_error=hook) as manager:
        async with manager.checkout(KEY) as agent:
            agent.step()
            agent.state.notes.append("secret")
        with faulty.failing("save", StorageUnavailableError("secret")):
            await clock.advance(60)
            waits = []
            for _ in range(9):
                waits += await clock.waits()
                await clock.advance((await clock.waits())[0])
            assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
            assert manager.lookup(KEY) is agent
            assert manager.stats().failing[0][0] == KEY
        assert told == [(KEY, "StorageUnavailableError")] * 10
        assert len(caplog.records) == 10
        assert "secret" not in caplog.text
        await clock.advance(60)
        assert manager.stats().count == 0
    assert (await stored(faulty)).state.n == 1


async def test_retries_go_on_for_ever(faulty: FaultyStorage, clock: Clock) -> None:
    """A database that is away for days does not end the retries."""
    async with AgentManager(faulty, Counter, idle_timeout=60) as manager:
        async with manager.checkout(KEY):
            pass
        with faulty.failing("save", StorageUnavailableError("gone")):
            await clock.advance(60)
            manager._fleet.lives[next(iter(manager._fleet.lives))].failures = 5000
            await clock.advance(1)
            assert await clock.waits() == [60]


async def test_retries_begin_anew_after_a_success(faulty: FaultyStorage, clock: Clock) -> None:
    """What failed last week makes nobody wait longer today."""
    async with AgentManager(faulty, Counter, idle_timeout=60) as manager:
        agent = await manager.attach(KEY, "one")
        for _ in range(2):
            agent.step()
            manager.detach(KEY, "one")
            with faulty.failing("save", StorageUnavailableError("gone")):
                await clock.advance(60)
                assert await clock.waits() == [1]
            assert await manager.attach(KEY, "one") is agent
            await manager.save(KEY)


async def test_a_checkout_between_the_retries(faulty: FaultyStorage, clock: Clock) -> None:
    """An agent that could not be stored for now can be used; then its idle time begins anew."""
    async with AgentManager(faulty, Counter, idle_timeout=60) as manager:
        async with manager.checkout(KEY) as agent:
            agent.step()
        with faulty.failing("save", StorageUnavailableError("gone")):
            await clock.advance(60)
            async with manager.checkout(KEY) as same:
                assert same is agent
                assert await clock.waits() == []
            assert await clock.waits() == [60]


async def test_what_would_fail_again_is_not_retried(memory: InMemoryStorage, clock: Clock) -> None:
    """A state that cannot be stored is told once, not every minute; it can be mended, and then goes."""
    told: list[Any] = []
    async with AgentManager(
        memory, Counter, idle_timeout=60, on_background_error=lambda key, error: told.append(error.reason)
    ) as manager:
        async with manager.checkout(KEY) as agent:
            agent.state.notes.append(object())  # type: ignore[arg-type]
        await clock.advance(10**6)
        assert (told, await clock.waits()) == (["unstorable"], [])
        async with manager.checkout(KEY) as agent:
            agent.state.notes.clear()
        await clock.advance(60)
        assert manager.stats().count == 0


async def test_a_discarded_copy_fails_in_silence(faulty: FaultyStorage, clock: Clock) -> None:
    """Nobody is told that a copy could not be stored which was given up meanwhile."""
    told: list[Any] = []
    async with AgentManager(
        faulty, Counter, idle_timeout=60, on_background_error=lambda key, error: told.append(error)
    ) as manager:
        async with manager.checkout(KEY):
            pass
        async with faulty.waiting("save"):
            with faulty.failing("save", StorageUnavailableError("gone")):
                await clock.advance(60)
                await manager.discard(KEY)
                faulty.gates["save"].set()
                await clock.advance(1)
        assert (told, faulty.calls["save"], manager.stats().count) == ([], 1, 0)


async def test_a_hook_that_fails_is_logged(
    memory: InMemoryStorage, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of the hook ends nothing."""

    def hook(key: Any, error: Exception) -> None:
        raise ZeroDivisionError

    async with AgentManager(memory, Counter, idle_timeout=60, on_background_error=hook) as manager:
        async with manager.checkout(KEY) as agent:
            agent.state.notes.append(object())  # type: ignore[arg-type]
        await clock.advance(60)
        agent.state.notes.clear()
    assert "on_background_error failed" in caplog.text


# -- two processes ------------------------------------------------------------------------------------------------


async def _changed_elsewhere(storage: Any) -> None:
    other = await stored(storage)
    other.step()
    await hibernate(storage, other)


async def test_the_loser_learns_it_at_save(storage: Storage) -> None:
    """Another process was first: `save` says so, the copy is refused until discarded, then it is as it is stored."""
    await hibernate(storage, Counter(KEY, Count(10)))
    async with AgentManager(storage, Counter) as manager:
        async with manager.checkout(KEY) as agent:
            await _changed_elsewhere(storage)
            agent.step()
            with pytest.raises(ConflictError):
                await manager.save(KEY)
        with pytest.raises(ConflictError, match="discard"):
            async with manager.checkout(KEY):
                pass
        assert await manager.discard(KEY)
        assert not await manager.discard(KEY)
        async with manager.checkout(KEY) as agent:
            assert agent.state.n == 11
            agent.step()
    kept = await stored(storage)
    assert (kept.state.n, [entry.payload["n"] for entry in kept.thread]) == (12, [11, 12])


async def test_the_loser_learns_it_at_its_exit(storage: Storage) -> None:
    """With `checkpoint_on_exit` the conflict comes out of the checkout."""
    await hibernate(storage, Counter(KEY))
    async with AgentManager(storage, Counter, checkpoint_on_exit=True) as manager:
        with pytest.raises(ConflictError):
            async with manager.checkout(KEY) as agent:
                await _changed_elsewhere(storage)
                agent.step()
        assert manager.stats().attached == 0
        await manager.discard(KEY)
        async with manager.checkout(KEY) as agent:
            agent.step()
        assert (await stored(storage)).state.n == 2


async def test_the_loser_learns_it_in_the_background(memory: InMemoryStorage, clock: Clock) -> None:
    """An idle agent that lost is kept, told, not retried, refused at checkout, and told again at the end."""
    await hibernate(memory, Counter(KEY))
    told: list[Any] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with AgentManager(
            memory, Counter, idle_timeout=60, on_background_error=lambda key, error: told.append(error)
        ) as manager:
            async with manager.checkout(KEY) as agent:
                agent.step()
            await _changed_elsewhere(memory)
            await clock.advance(60)
            assert [type(error) for error in told] == [ConflictError]
            assert (manager.lookup(KEY), await clock.waits()) == (agent, [])
            with pytest.raises(ConflictError):
                await manager.attach(KEY)
    assert caught.group_contains(ConflictError)
    assert (await stored(memory)).state.n == 1


async def test_force_overwrites(storage: Storage) -> None:
    """Who knows better may overwrite; what the other appended stays in the journal."""
    await hibernate(storage, Counter(KEY))
    async with AgentManager(storage, Counter) as manager:
        async with manager.checkout(KEY) as agent:
            await _changed_elsewhere(storage)
            agent.state.n = 100
            agent.step()
            with pytest.raises(ConflictError):
                await manager.save(KEY)
            await manager.save(KEY, force=True)
        async with manager.checkout(KEY) as agent:
            assert agent.state.n == 101
    kept = await stored(storage)
    assert (kept.state.n, [entry.payload["n"] for entry in kept.thread]) == (101, [1, 101])


async def test_force_overwrites_with_an_unchanged_copy_too(storage: Storage) -> None:
    """It says what is to be stored, whether or not this copy was changed."""
    await hibernate(storage, Counter(KEY, Count(7)))
    async with AgentManager(storage, Counter) as manager, manager.checkout(KEY):
        await _changed_elsewhere(storage)
        await manager.save(KEY, force=True)
        assert (await stored(storage)).state.n == 7


async def test_discarding_a_shared_copy_tells_the_others(memory: InMemoryStorage) -> None:
    """Who shares a copy that is discarded learns it when it saves it or leaves with changes; a reader does not care."""
    await hibernate(memory, Counter(KEY))
    async with AgentManager(memory, Counter) as manager:
        discarded, outcomes = asyncio.Event(), {}

        async def share(name: str, change: bool, save: bool) -> None:
            try:
                async with manager.checkout(KEY) as agent:
                    await discarded.wait()
                    if change:
                        agent.step()
                    if save:
                        with pytest.raises(ConflictError, match="discarded"):
                            await manager.save(KEY)
                outcomes[name] = "well"
            except ConflictError as error:
                outcomes[name] = error.reason

        cases = {"reader": (False, False), "writer": (True, False), "saver": (True, True)}
        tasks = [asyncio.create_task(share(name, *case)) for name, case in cases.items()]
        await until(lambda: manager.stats().attached)
        await asyncio.sleep(0.01)
        await manager.discard(KEY)
        fresh = await manager.attach(KEY)
        discarded.set()
        await asyncio.gather(*tasks)
        assert outcomes == {"reader": "well", "writer": "copy_dropped", "saver": "copy_dropped"}
        assert manager.lookup(KEY) is fresh
        assert not manager._fleet._dropped
        manager.detach(KEY)


async def test_discarding_inside_ones_own_checkout(memory: InMemoryStorage) -> None:
    """Who discards a copy itself may change it and leave without an error: it meant it."""
    async with AgentManager(memory, Counter) as manager:
        async with manager.checkout(KEY) as agent:
            agent.step()
            await manager.discard(KEY)
            async with manager.checkout(KEY) as fresh:
                assert fresh.state.n == 0
        await manager.discard(KEY)
    with pytest.raises(NotFoundError):
        await stored(memory)


async def test_save_of_what_is_not_in_memory(memory: InMemoryStorage) -> None:
    """There is nothing to save, which is a mistake of the caller."""
    async with AgentManager(memory, Counter) as manager:
        with pytest.raises(InvalidInputError) as caught:
            await manager.save(KEY)
        assert caught.value.reason == "not_live"
