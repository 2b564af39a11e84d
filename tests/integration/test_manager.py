"""The life of agents in a manager: fetched once, shared, kept while somebody has them, hibernated when nobody has.

The cases of Jido's instance_manager_test are here, with its names for them: `instance_manager: ...` in the docstrings.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from jido_tortoise.agents.manager import AgentManager
from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise.agents.persist import hibernate
from jido_tortoise.agents.storage import Storage
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.errors import (
    ConflictError,
    InvalidAgentError,
    InvalidInputError,
    JidoError,
    NotFoundError,
    StorageTimeoutError,
    StorageUnavailableError,
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
    version,
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


# -- having them --------------------------------------------------------------------------------------------------


async def test_checkout_makes_keeps_and_stores(storage: Storage) -> None:
    """A new agent is made with the initial state, is the same object for all, and is stored when the manager ends."""
    async with AgentManager(storage, Counter) as manager:
        async with manager.checkout(KEY, initial_state=Count(40)) as first:
            first.step()
        async with manager.checkout(KEY, initial_state=Count(99)) as second:
            assert second is first
            second.step()
        assert manager.stats().keys == (KEY,)
        with pytest.raises(NotFoundError):
            await stored(storage)
    kept = await stored(storage)
    assert (kept.state.n, [entry.payload["n"] for entry in kept.thread]) == (42, [41, 42])


async def test_initial_state_is_ignored_when_thawed(storage: Storage) -> None:
    """What is stored wins over the initial state."""
    await hibernate(storage, Counter(KEY, Count(7)))
    async with AgentManager(storage, Counter) as manager, manager.checkout(KEY, initial_state=Count(1)) as agent:
        assert agent.state.n == 7


async def test_shares_its_checkpoint_with_jido(storage: Storage) -> None:
    """Without a scope a manager and `jido.thaw` know the same agent."""
    jido = Jido(storage)
    await jido.hibernate(Counter(KEY, Count(1)))
    async with AgentManager(jido, Counter) as manager:
        async with manager.checkout(KEY) as agent:
            agent.step()
        await manager.save(KEY)
        assert (await jido.thaw(Counter, KEY)).state.n == 2


async def test_single_flight(faulty: FaultyStorage) -> None:
    """However many come for an agent at once, it is thawed once, and they share it."""
    await hibernate(faulty, Counter(KEY, Count(1)))
    faulty.calls.clear()
    async with AgentManager(faulty, Counter) as manager:
        agents = await asyncio.gather(*(manager.attach(KEY, owner) for owner in range(50)))
        assert len({id(agent) for agent in agents}) == 1
        assert faulty.calls["fetch"] == 1
        assert manager.stats().attached == 1


async def test_single_flight_makes_one_new_agent(faulty: FaultyStorage) -> None:
    """A race for an agent that is not stored makes one; the initial state of the first counts."""
    async with AgentManager(faulty, Counter) as manager:
        agents = await asyncio.gather(*(manager.attach(KEY, n, initial_state=Count(n)) for n in range(20)))
        assert len({id(agent) for agent in agents}) == 1
        assert agents[0].state.n == 0


async def test_a_failed_flight_fails_for_all_that_wait(faulty: FaultyStorage) -> None:
    """Every waiter gets the error of the one thaw, and the next one tries anew."""
    async with AgentManager(faulty, Counter) as manager:
        with faulty.failing("fetch", StorageUnavailableError("gone", outcome="not_applied")):
            results = await asyncio.gather(*(manager.attach(KEY, n) for n in range(10)), return_exceptions=True)
        assert [type(result) for result in results] == [StorageUnavailableError] * 10
        assert faulty.calls["fetch"] == 1
        assert manager.stats().count == 0
        assert await manager.attach(KEY)


async def test_a_cancelled_flight_is_taken_over(faulty: FaultyStorage) -> None:
    """When the one that thaws is cancelled, those who wait are not: one of them thaws."""
    async with AgentManager(faulty, Counter) as manager:
        async with faulty.waiting("fetch"):
            first, *others = [asyncio.create_task(manager.attach(KEY, n)) for n in range(5)]
            await until(lambda: faulty.calls["fetch"] == 1)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
        agents = await asyncio.gather(*others)
        assert len({id(agent) for agent in agents}) == 1
        assert faulty.calls["fetch"] == 2


async def test_a_cancelled_waiter_leaves_the_flight_alone(faulty: FaultyStorage) -> None:
    """Who waits for another's thaw and gives up does not end it."""
    async with AgentManager(faulty, Counter) as manager:
        async with faulty.waiting("fetch"):
            first, second, third = [asyncio.create_task(manager.attach(KEY, n)) for n in range(3)]
            await until(lambda: faulty.calls["fetch"] == 1)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
        assert await first is await third


async def test_exclusive_checkouts_take_turns(faulty: FaultyStorage) -> None:
    """Exclusive checkouts of one key never overlap; plain ones do not wait for them."""
    inside = most = 0

    async def visit(manager: AgentManager[Counter]) -> None:
        nonlocal inside, most
        async with manager.checkout(KEY, exclusive=True) as agent:
            inside += 1
            most = max(most, inside)
            before = agent.state.n
            await asyncio.sleep(0)
            agent.state.n = before + 1
            inside -= 1

    async with AgentManager(faulty, Counter) as manager:
        await asyncio.gather(*(visit(manager) for _ in range(20)))
        async with manager.checkout(KEY, exclusive=True) as agent, manager.checkout(KEY) as same:
            assert agent is same
        assert (most, agent.state.n) == (1, 20)


async def test_an_exclusive_waiter_does_not_get_a_dropped_copy(memory: InMemoryStorage) -> None:
    """Who waited for its turn while the copy was discarded gets a new one."""
    async with AgentManager(memory, Counter) as manager:
        got: list[Counter] = []

        async def wait_and_take() -> None:
            async with manager.checkout(KEY, exclusive=True) as agent:
                got.append(agent)

        async with manager.checkout(KEY, exclusive=True) as agent:
            waiter = asyncio.create_task(wait_and_take())
            await asyncio.sleep(0)
            await manager.discard(KEY)
        await waiter
        assert got[0] is not agent
        assert got[0] is manager.lookup(KEY)


async def test_a_task_does_not_wait_for_itself(memory: InMemoryStorage) -> None:
    """An exclusive checkout inside one of the same task is refused, where it would hang for ever."""
    async with AgentManager(memory, Counter) as manager, manager.checkout(KEY, exclusive=True):
        with pytest.raises(JidoError) as caught:
            async with manager.checkout(KEY, exclusive=True):
                pass
        assert caught.value.reason == "deadlock"
        assert manager.stats().attached == 1
    assert manager.stats().count == 0


async def test_an_error_in_the_block_detaches(memory: InMemoryStorage) -> None:
    """A checkout that ends with an error, or is cancelled, no longer has the agent; the error comes out as it is."""
    async with AgentManager(memory, Counter, checkpoint_on_exit=True) as manager:
        for error in (ZeroDivisionError, asyncio.CancelledError):
            with pytest.raises(error):
                async with manager.checkout(KEY):
                    assert manager.stats().attached == 1
                    raise error
            assert manager.stats().attached == 0
        assert await version(memory) is None


# -- ids ----------------------------------------------------------------------------------------------------------


async def test_tuple_keys_round_trip(storage: Storage) -> None:
    """instance_manager: tuple key round-trips; an id need not be a string."""
    async with AgentManager(storage, Counter) as manager, manager.checkout(("tenant", 7)) as agent:
        agent.step()
        assert agent.id == ("tenant", 7)
    async with AgentManager(storage, Counter) as manager, manager.checkout(("tenant", 7)) as agent:
        assert (agent.id, agent.state.n) == (("tenant", 7), 1)


async def test_alike_ids_are_different_agents(memory: InMemoryStorage) -> None:
    """1, 1.0, True and "1" are one key of a Python dict, or look like one, and four agents."""
    async with AgentManager(memory, Counter) as manager:
        agents = [await manager.attach(key) for key in (1, 1.0, True, "1")]
        assert len({id(agent) for agent in agents}) == 4
        assert len(manager.stats().keys) == 4


@pytest.mark.parametrize("key", [None, "", "a\0b", "x" * 256, object()], ids=["none", "empty", "nul", "long", "object"])
async def test_bad_ids_are_refused(memory: InMemoryStorage, key: Any) -> None:
    """No agent can have such an id, and nothing is read for it."""
    async with AgentManager(memory, Counter) as manager:
        with pytest.raises((InvalidAgentError, InvalidInputError)):
            async with manager.checkout(key):
                pass
        assert manager.stats().count == 0


@pytest.mark.parametrize("state", [{"n": 1}, "one", 1])
async def test_a_bad_initial_state_is_refused_at_once(memory: InMemoryStorage, state: Any) -> None:
    """A state of the wrong type is refused where it is given, not when the agent is hibernated."""
    async with AgentManager(memory, Counter) as manager:
        with pytest.raises(InvalidInputError, match="state"):
            await manager.attach(KEY, initial_state=state)
        assert manager.stats().count == 0


async def test_partitions_are_isolated(storage: Storage) -> None:
    """instance_manager: partitions isolated; the same id in two partitions is two agents."""
    for partition, steps in (("blue", 1), ("green", 2)):
        async with AgentManager(storage, Counter, partition=partition) as manager, manager.checkout(KEY) as agent:
            for _ in range(steps):
                agent.step()
    assert (await stored(storage, partition="blue")).state.n == 1
    assert (await stored(storage, partition="green")).state.n == 2
    green = Jido(storage).bind(partition="green")
    async with AgentManager(green, Counter) as manager, manager.checkout(KEY) as agent:
        assert (agent.state.n, agent.partition) == (2, "green")
    with pytest.raises(NotFoundError):
        await stored(storage)


async def test_scopes_do_not_collide(storage: Storage) -> None:
    """instance_manager: two managers on one storage do not collide, neither in checkpoints nor in journals."""
    async with (
        AgentManager(storage, Counter) as plain,
        AgentManager(storage, Counter, scope="blue") as blue,
        AgentManager(storage, Counter, scope="gr/een") as green,
    ):
        for steps, manager in enumerate((plain, blue, green), 1):
            async with manager.checkout(KEY) as agent:
                for _ in range(steps):
                    agent.step()
    for steps, scope in enumerate((None, "blue", "gr/een"), 1):
        async with AgentManager(storage, Counter, scope=scope) as manager, manager.checkout(KEY) as agent:
            assert (agent.state.n, len(agent.thread)) == (steps, steps)
    assert len((await stored(storage)).thread) == 1


async def test_deleting_in_a_scope_leaves_the_other_agent(storage: Storage) -> None:
    """An agent of a scope goes with its own journal; the one that `jido.thaw` knows by this id stays whole."""
    for scope in (None, "blue"):
        async with AgentManager(storage, Counter, scope=scope) as manager, manager.checkout(KEY) as agent:
            agent.step()
    async with AgentManager(storage, Counter, scope="blue") as manager:
        await manager.delete(KEY)
        async with manager.checkout(KEY) as agent:
            assert (agent.state.n, len(agent.thread)) == (0, 0)
        await manager.discard(KEY)
    assert len((await stored(storage)).thread) == 1


# -- idling -------------------------------------------------------------------------------------------------------


async def test_idle_hibernate_and_thaw_keep_the_counter(storage: Storage, clock: Clock) -> None:
    """instance_manager: idle hibernate→thaw keeps counter; the agent leaves memory and comes back as it was."""
    async with AgentManager(storage, Counter, idle_timeout=900) as manager:
        async with manager.checkout(KEY) as agent:
            agent.step()
        await clock.advance(899)
        assert manager.lookup(KEY) is agent
        await clock.advance(1)
        await until(lambda: manager.lookup(KEY) is None)
        async with manager.checkout(KEY) as thawed:
            assert thawed is not agent
            assert thawed == agent


@pytest.mark.parametrize("never", [None, 0, float("inf")])
async def test_no_timeout_means_never(memory: InMemoryStorage, clock: Clock, never: float | None) -> None:
    """Without a timeout an agent stays until the manager ends."""
    async with AgentManager(memory, Counter, idle_timeout=never) as manager:
        async with manager.checkout(KEY) as agent:
            pass
        assert await clock.waits() == []
        await clock.advance(10**9)
        assert manager.lookup(KEY) is agent
        assert manager.touch(KEY)
        assert await clock.waits() == []


async def test_attach_blocks_idle(memory: InMemoryStorage, clock: Clock) -> None:
    """instance_manager: attach blocks idle; only when the last owner has left does the timer start."""
    async with AgentManager(memory, Counter, idle_timeout=60) as manager:
        await manager.attach(KEY, "a")
        await manager.attach(KEY, "b")
        await clock.advance(1000)
        manager.detach(KEY, "a")
        await clock.advance(1000)
        assert manager.stats().attached == 1
        manager.detach(KEY, "b")
        assert await clock.waits() == [60]
        await clock.advance(60)
        assert manager.stats().count == 0


async def test_attach_is_idempotent_per_owner(memory: InMemoryStorage, clock: Clock) -> None:
    """instance_manager: owners are a set, not a count; a stranger's detach changes nothing."""
    async with AgentManager(memory, Counter, idle_timeout=60) as manager:
        for _ in range(3):
            await manager.attach(KEY, "a")
        manager.detach(KEY, "stranger")
        manager.detach("nobody", "a")
        assert await clock.waits() == []
        manager.detach(KEY, "a")
        assert await clock.waits() == [60]


async def test_the_death_of_its_owner_detaches(memory: InMemoryStorage, clock: Clock) -> None:
    """instance_manager: owner death detaches; a task that ends, however it ends, has nothing any more."""
    async with AgentManager(memory, Counter, idle_timeout=60) as manager:

        async def own_and_die() -> None:
            await manager.attach(KEY)
            raise ZeroDivisionError

        await asyncio.gather(asyncio.create_task(own_and_die()), return_exceptions=True)
        await asyncio.sleep(0)
        assert manager.stats().attached == 0
        assert await clock.waits() == [60]


async def test_a_task_that_comes_and_goes_is_not_remembered(memory: InMemoryStorage) -> None:
    """Attaching and detaching for ever leaves nothing behind in the task."""
    async with AgentManager(memory, Counter) as manager:
        task = asyncio.current_task()
        assert task is not None
        before = len(gc.get_referents(task))
        for _ in range(50):
            await manager.attach(KEY)
            manager.detach(KEY)
        await manager.attach(KEY)
        callbacks = task._callbacks or []  # type: ignore[attr-defined]
        assert len(callbacks) <= 2, (before, callbacks)
        manager.detach(KEY)


async def test_touch_resets(memory: InMemoryStorage, clock: Clock) -> None:
    """instance_manager: touch resets; the timer starts anew."""
    async with AgentManager(memory, Counter, idle_timeout=60) as manager:
        async with manager.checkout(KEY):
            pass
        await clock.advance(59)
        assert manager.touch(KEY)
        assert await clock.waits() == [60]
        await clock.advance(59)
        assert manager.lookup(KEY)
        await clock.advance(1)
        assert not manager.touch(KEY)


async def test_a_checkout_while_it_hibernates_keeps_it(faulty: FaultyStorage, clock: Clock) -> None:
    """Who comes while an idle agent is being stored gets that agent, and it does not leave memory under them."""
    async with AgentManager(faulty, Counter, idle_timeout=60) as manager:
        async with manager.checkout(KEY) as agent:
            agent.step()
        async with faulty.waiting("save"):
            await clock.advance(60)
            await until(lambda: faulty.calls["save"] == 1)
            async with manager.checkout(KEY) as same:
                assert same is agent
                same.step()
        await until(lambda: not manager._fleet.lives[next(iter(manager._fleet.lives))].storing.locked())
        assert manager.lookup(KEY) is agent
        assert (await stored(faulty)).state.n == 1
    assert (await stored(faulty)).state.n == 2


async def test_what_has_not_changed_is_not_written(storage: Storage, clock: Clock) -> None:
    """Reading an agent writes nothing, so a reader never conflicts with a writer elsewhere."""
    await hibernate(storage, Counter(KEY, Count(1)))
    async with AgentManager(storage, Counter, idle_timeout=60) as manager:
        async with manager.checkout(KEY) as agent:
            assert agent.state.n == 1
        await manager.save(KEY)
        other = await stored(storage)
        other.step()
        await hibernate(storage, other)
        await clock.advance(60)
        await until(lambda: manager.lookup(KEY) is None)
    assert await version(storage) == 2


@pytest.mark.parametrize("change", ["nested", "thread", "schedule"])
async def test_every_change_is_written(storage: Storage, change: str) -> None:
    """Whatever part of an agent was changed after a save is stored by the next one."""
    async with AgentManager(storage, Counter) as manager, manager.checkout(KEY) as agent:
        await manager.save(KEY)
        if change == "nested":
            agent.state.notes.append("x")
        elif change == "thread":
            agent.thread.append("note", {})
        else:
            agent.schedule = {"daily": {"cron_expression": "@daily", "message": "go", "timezone": "Etc/UTC"}}
        await manager.save(KEY)
        assert await stored(storage) == agent
        assert (await stored(storage)).schedule == agent.schedule


async def test_a_change_back_and_forth_around_a_save_of_jido(memory: InMemoryStorage) -> None:
    """The manager does not take an agent for stored because it once was like this."""
    await hibernate(memory, Counter(KEY, Count(1)))
    async with AgentManager(memory, Counter) as manager, manager.checkout(KEY) as agent:
        agent.state.n = 2
        await hibernate(memory, agent)  # past the manager
        agent.state.n = 1
    assert (await stored(memory)).state.n == 1


# -- stopping and ending ------------------------------------------------------------------------------------------


async def test_stop_hibernates_first(storage: Storage) -> None:
    """instance_manager: stop hibernates first; an unknown key is told."""
    async with AgentManager(storage, Counter) as manager:
        async with manager.checkout(KEY) as agent:
            agent.step()
        assert await manager.stop(KEY)
        assert manager.lookup(KEY) is None
        assert (await stored(storage)).state.n == 1
        assert not await manager.stop(KEY)


async def test_stop_waits_for_the_last_owner(memory: InMemoryStorage, clock: Clock) -> None:
    """An agent that somebody has is stored at once, goes when they leave, and their changes are stored too."""
    async with AgentManager(memory, Counter) as manager:
        async with manager.checkout(KEY) as agent:
            agent.step()
            assert await manager.stop(KEY)
            assert (await stored(memory)).state.n == 1
            assert manager.lookup(KEY) is agent
            agent.step()
        await clock.advance(0)
        assert manager.lookup(KEY) is None
        assert (await stored(memory)).state.n == 2


async def test_who_comes_after_a_stop_keeps_the_agent(memory: InMemoryStorage, clock: Clock) -> None:
    """It was to go with its last owner; now it is wanted again, and there is no hurry any more."""
    async with AgentManager(memory, Counter) as manager:
        agent = await manager.attach(KEY, "first")
        await manager.stop(KEY)
        assert await manager.attach(KEY, "second") is agent
        manager.detach(KEY, "first")
        manager.detach(KEY, "second")
        await clock.advance(100)
        assert manager.lookup(KEY) is agent


async def test_a_failed_stop_keeps_the_agent(faulty: FaultyStorage) -> None:
    """What could not be stored stays in memory, and the caller learns why."""
    async with AgentManager(faulty, Counter) as manager:
        async with manager.checkout(KEY) as agent:
            agent.step()
        with faulty.failing("save", StorageUnavailableError("gone")), pytest.raises(StorageUnavailableError):
            await manager.stop(KEY)
        assert manager.lookup(KEY) is agent
    assert (await stored(faulty)).state.n == 1


async def test_lookup_starts_nothing(storage: Storage) -> None:
    """instance_manager: lookup (no start)."""
    await hibernate(storage, Counter(KEY))
    async with AgentManager(storage, Counter) as manager:
        assert manager.lookup(KEY) is None
        assert manager.stats().count == 0
        async with manager.checkout(KEY) as agent:
            assert manager.lookup(KEY) is agent


async def test_stats_tell_what_is_there(faulty: FaultyStorage, clock: Clock) -> None:
    """instance_manager: stats (count, keys), who is attached, and what cannot be stored."""
    async with AgentManager(faulty, Counter, idle_timeout=60) as manager:
        await manager.attach("a", "owner")
        async with manager.checkout("b"):
            pass
        with faulty.failing("save", StorageUnavailableError("gone")):
            await clock.advance(60)
            found = manager.stats()
        assert (found.count, set(found.keys), found.attached) == (2, {"a", "b"}, 1)
        assert [(key, type(error)) for key, error in found.failing] == [("b", StorageUnavailableError)]
        await clock.advance(60)
        assert (manager.stats().keys, manager.stats().failing) == (("a",), ())


async def test_the_end_hibernates_all(storage: Storage) -> None:
    """Leaving the manager stores every live agent, those that somebody still has too."""
    async with AgentManager(storage, Counter) as manager:
        for n in range(20):
            agent = await manager.attach(n, "a websocket")
            agent.step()
    assert [(await stored(storage, n)).state.n for n in range(20)] == [1] * 20
    assert manager.stats().count == 0


async def test_the_end_collects_every_failure(faulty: FaultyStorage) -> None:
    """One agent that cannot be stored keeps no other from it; its error names it, and it stays for a second try."""
    manager = AgentManager(faulty, Counter, idle_timeout=900)
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(10), manager:
            for key in ("good", "bad", "worse"):
                async with manager.checkout(key) as agent:
                    agent.step()
                    if key != "good":
                        agent.state.notes.append(object())  # type: ignore[arg-type]
    assert (await stored(faulty, "good")).state.n == 1
    assert [error.reason for error in caught.value.exceptions] == ["unstorable"] * 2  # type: ignore[attr-defined]
    assert "'bad'" in caught.value.exceptions[0].__notes__[0]
    assert set(manager.stats().keys) == {"bad", "worse"}
    with pytest.raises(JidoError, match="async with"):
        await manager.attach("bad")
    for key in ("bad", "worse"):
        agent = manager.lookup(key)
        assert agent is not None
        agent.state.notes.clear()
    await manager.close()
    assert (await stored(faulty, "worse")).state.n == 1
    assert manager.stats().count == 0


async def test_the_error_of_the_block_comes_with_the_failures(memory: InMemoryStorage) -> None:
    """Neither hides the other; alone, the block's error comes out as it is."""
    with pytest.raises(ExceptionGroup) as caught:
        async with AgentManager(memory, Counter) as manager:
            (await manager.attach(KEY)).state.notes.append(object())  # type: ignore[arg-type]
            raise ZeroDivisionError
    assert [type(error).__name__ for error in caught.value.exceptions] == ["ZeroDivisionError", "UnstorableError"]
    with pytest.raises(ZeroDivisionError):
        async with AgentManager(memory, Counter) as manager:
            (await manager.attach(KEY)).step()
            raise ZeroDivisionError
    assert (await stored(memory)).state.n == 1


async def test_a_cancelled_end_hibernates_all(faulty: FaultyStorage) -> None:
    """A cancellation while the manager ends waits until all is stored."""

    async def serve() -> None:
        async with AgentManager(faulty, Counter) as manager:
            for n in range(10):
                (await manager.attach(n)).step()

    async with faulty.waiting("save"):
        task = asyncio.create_task(serve())
        await until(lambda: faulty.calls["save"])
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(await stored(faulty, n)).state.n for n in range(10)] == [1] * 10


async def test_a_cancelled_end_still_tells_what_failed(faulty: FaultyStorage) -> None:
    """A cancellation does not hide that something could not be stored."""

    async def serve() -> None:
        async with AgentManager(faulty, Counter) as manager:
            (await manager.attach(KEY)).step()

    with faulty.failing("save", StorageUnavailableError("gone")):
        async with faulty.waiting("save"):
            task = asyncio.create_task(serve())
            await until(lambda: faulty.calls["save"])
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(ExceptionGroup):
            await task


async def test_the_end_waits_for_a_hibernate_that_runs(faulty: FaultyStorage, clock: Clock) -> None:
    """An idle agent that is being stored when the manager ends is stored once, and nobody complains."""
    async with AgentManager(faulty, Counter, idle_timeout=60) as manager:
        async with manager.checkout(KEY) as agent:
            agent.step()
        gate = faulty.gates["save"] = asyncio.Event()
        await clock.advance(60)
        await until(lambda: faulty.calls["save"])
        asyncio.get_running_loop().call_later(0.01, gate.set)
    assert await version(faulty) == 1
    assert len(asyncio.all_tasks()) == 1


async def test_the_end_waits_for_the_hook(memory: InMemoryStorage, clock: Clock) -> None:
    """What the host wants to do about a failure is done when the manager has ended."""
    told: list[Any] = []

    async def hook(key: Any, error: Exception) -> None:
        await asyncio.sleep(0.01)
        told.append(key)

    with pytest.raises(ExceptionGroup):
        async with AgentManager(memory, Counter, idle_timeout=60, on_background_error=hook) as manager:
            async with manager.checkout(KEY) as agent:
                agent.state.notes.append(object())  # type: ignore[arg-type]
            await clock.advance(60)
    assert told == [KEY]


async def test_nothing_is_checked_out_before_or_after(memory: InMemoryStorage) -> None:
    """A manager that is not entered, or has ended, refuses; and can be entered again."""
    manager = AgentManager(memory, Counter)
    for _ in range(2):
        with pytest.raises(JidoError) as caught:
            await manager.attach(KEY)
        assert caught.value.reason == "manager_closed"
        async with manager, manager.checkout(KEY) as agent:
            agent.step()
            with pytest.raises(JidoError) as caught:
                await manager.__aenter__()
            assert caught.value.reason == "manager_running"
    assert (await stored(memory)).state.n == 2
    await manager.close()


async def test_a_thaw_that_ends_after_the_manager(faulty: FaultyStorage) -> None:
    """Who waited for an agent while the manager ended gets an error, and nothing stays in memory."""
    async with faulty.waiting("fetch"), AgentManager(faulty, Counter) as manager:
        waiters = [asyncio.create_task(manager.attach(KEY, n)) for n in range(3)]
        await until(lambda: faulty.calls["fetch"])
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert [getattr(result, "reason", result) for result in results] == ["manager_closed"] * 3
    assert manager.stats().count == 0


async def test_a_change_after_the_end_is_told(memory: InMemoryStorage) -> None:
    """Who still has an agent when the manager ends, and changes it then, learns that this is not stored."""
    manager = AgentManager(memory, Counter)
    await manager.__aenter__()
    quiet, loud = manager.checkout(KEY), manager.checkout("other")
    await quiet.__aenter__()
    agent = await loud.__aenter__()
    await manager.close()
    await quiet.__aexit__(None, None, None)
    agent.step()
    with pytest.raises(ConflictError) as caught:
        await loud.__aexit__(None, None, None)
    assert caught.value.reason == "copy_dropped"


# -- saving -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["save", "stop", "exit"])
async def test_a_save_that_has_begun_is_completed(faulty: FaultyStorage, how: str) -> None:
    """A cancellation waits until the agent is stored."""
    async with AgentManager(faulty, Counter, checkpoint_on_exit=how == "exit") as manager:

        async def use() -> None:
            async with manager.checkout(KEY) as agent:
                agent.step()
                if how == "save":
                    await manager.save(KEY)
            await manager.stop(KEY)

        async with faulty.waiting("save"):
            task = asyncio.create_task(use())
            await until(lambda: faulty.calls["save"])
            for _ in range(3):
                task.cancel()
                await asyncio.sleep(0)
            assert not task.done()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await stored(faulty)).state.n == 1
        assert faulty.calls["save"] == 1


async def test_saves_of_one_agent_take_turns(faulty: FaultyStorage) -> None:
    """Two tasks that save a shared agent at once do not take each other for another process."""
    async with AgentManager(faulty, Counter) as manager, manager.checkout(KEY) as agent:

        async def step_and_save() -> None:
            agent.step()
            await asyncio.sleep(0)
            await manager.save(KEY)

        await asyncio.gather(*(step_and_save() for _ in range(20)))
        assert await stored(faulty) == agent


async def test_a_save_behind_a_discard_writes_nothing(faulty: FaultyStorage) -> None:
    """A save that waited while the copy was discarded is refused."""
    async with AgentManager(faulty, Counter) as manager, manager.checkout(KEY) as agent:
        async with faulty.waiting("save"):
            agent.step()
            first = asyncio.create_task(manager.save(KEY))
            await until(lambda: faulty.calls["save"])
            agent.step()
            second = asyncio.create_task(manager.save(KEY))
            await asyncio.sleep(0)
            await manager.discard(KEY)
        await first
        with pytest.raises(ConflictError) as caught:
            await second
        assert caught.value.reason == "copy_dropped"
    assert (await stored(faulty)).state.n == 1


async def test_a_discarded_copy_is_the_affair_of_who_has_it(memory: InMemoryStorage) -> None:
    """Others go on with a new copy; and so may who had it, once they have let it go."""
    async with AgentManager(memory, Counter) as manager:
        had, dropped, saved = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def holder() -> None:
            await manager.attach(KEY)
            had.set()
            await dropped.wait()
            with pytest.raises(ConflictError):
                await manager.save(KEY)
            await saved.wait()
            manager.detach(KEY)
            (await manager.attach(KEY)).step()
            await manager.save(KEY)

        holding = asyncio.create_task(holder())
        await had.wait()
        await manager.discard(KEY)
        dropped.set()
        async with manager.checkout(KEY) as agent:
            agent.step()
            await manager.save(KEY)
            saved.set()
            await holding
        assert (await stored(memory)).state.n == 2


async def test_a_save_whose_answer_was_lost(faulty: FaultyStorage) -> None:
    """It has landed though it failed; the agent goes on changing, and its next save is no conflict."""
    async with AgentManager(faulty, Counter) as manager, manager.checkout(KEY) as agent:
        for _ in range(2):
            agent.step()
            faulty.unanswered.add("save")
            with pytest.raises(StorageTimeoutError):
                await manager.save(KEY)
            faulty.unanswered.clear()
            agent.state.notes.append("changed")
            await manager.save(KEY)
            assert await stored(faulty) == agent


@pytest.mark.parametrize("force", [False, True])
async def test_what_is_stored_is_of_one_moment(faulty: FaultyStorage, force: bool) -> None:
    """A task that changes a shared agent while another stores it never leaves half of its change in the storage."""
    async with AgentManager(faulty, Counter) as manager, manager.checkout(KEY) as agent:

        def step() -> None:
            agent.step()
            agent.state.notes.append("step")

        step()
        faulty.unanswered.add("save")
        with pytest.raises(StorageTimeoutError):
            await manager.save(KEY)
        faulty.unanswered.clear()
        for waits_in in ("fetch", "load_thread", "save"):  # it looks first whether the last save has landed
            async with faulty.waiting(waits_in):
                saving = asyncio.create_task(manager.save(KEY, force=force))
                await asyncio.sleep(0.01)
                step()
            await saving
            kept = await stored(faulty)
            assert kept.state.n == len(kept.state.notes) == len(kept.thread)
        await manager.save(KEY)
        assert await stored(faulty) == agent
        assert agent.state.n == len(agent.thread) == 4


# -- deleting -----------------------------------------------------------------------------------------------------


async def test_delete_takes_all(storage: Storage) -> None:
    """Checkpoint, journal and the copy in memory go; a live copy does not bring them back."""
    async with AgentManager(storage, Counter, idle_timeout=0.01) as manager:
        async with manager.checkout(KEY) as agent:
            agent.step()
            await manager.save(KEY)
            agent.step()
            await manager.delete(KEY)
        await asyncio.sleep(0.05)
        assert manager.stats().count == 0
        await manager.delete(KEY)
    with pytest.raises(NotFoundError):
        await stored(storage)
    assert await storage.load_thread(agent.thread.id) is None


async def test_delete_waits_for_a_hibernate_that_has_begun() -> None:
    """What is being stored goes too: a delete that went before it would bring the agent back."""
    storage = FaultyStorage()
    async with AgentManager(storage, Counter) as manager, manager.checkout(KEY) as agent:
        agent.step()
        async with storage.waiting("save"):
            saving = asyncio.ensure_future(manager.save(KEY))
            await until(lambda: storage.calls["save"])
            deleting = asyncio.ensure_future(manager.delete(KEY))
            await asyncio.sleep(0.01)
        await asyncio.gather(saving, deleting)
        await manager.discard(KEY)
    assert (await version(storage), await storage.load_thread(agent.thread.id)) == (None, None)


async def test_a_failed_delete_keeps_the_copy(sqlite_url: str) -> None:
    """When the deletion fails nothing is dropped."""
    async with opened(sqlite_url) as database:
        manager = AgentManager(TortoiseStorage(), Counter)
        async with manager, manager.checkout(KEY) as agent:
            agent.step()
            await manager.save(KEY)
            await database.client.execute_script(
                "CREATE TRIGGER keep BEFORE DELETE ON jido_checkpoints BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
            with pytest.raises(JidoError):
                await manager.delete(KEY)
            assert manager.lookup(KEY) is agent
            agent.step()
        assert (await stored(TortoiseStorage())).state.n == 2
