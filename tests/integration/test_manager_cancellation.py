"""A task that uses a manager is cancelled at each of its awaits: nothing is cut half way, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest

from jido_tortoise.agents.manager import AgentManager
from jido_tortoise.agents.persist import hibernate, thaw
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.errors import NotFoundError
from tests.conftest import Database
from tests.integration.managing import Counter, until

STORAGE = TortoiseStorage()
#: How often a task is cancelled: once, or again at every await that follows.
TIMES = pytest.mark.parametrize("again", [False, True], ids=["once", "again"])


class Interrupted:
    """Work that is cancelled at its await number `at`, counted from 1, and at those after it when `again`."""

    def __init__(self, work: Callable[[], Awaitable[None]], at: int, again: bool) -> None:
        self.work, self.at, self.again = work, at, again
        self.awaits = 0

    def __await__(self) -> Generator[Any, Any, None]:
        steps = self.work().__await__()
        error: BaseException | None = None
        while True:
            try:
                waited = steps.send(None) if error is None else steps.throw(error)
            except StopIteration:
                return
            self.awaits += 1
            if self.awaits == self.at or (self.again and self.awaits > self.at):
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            error = None
            try:
                yield waited
            except BaseException as thrown:
                error = thrown

    async def run(self) -> bool:
        """Run it in a task of its own, and tell whether it was cancelled before its end."""
        task = asyncio.ensure_future(self._all())
        async with asyncio.timeout(20):
            await asyncio.wait([task])
        if not task.cancelled():
            task.result()
        return self.awaits >= self.at

    async def _all(self) -> None:
        await self


async def sweep(
    work: Callable[[str], Awaitable[None]], check: Callable[[str], Awaitable[Any]], again: bool
) -> list[Any]:
    """Cancel the work at each of its awaits, every time on an agent of its own, and answer what the checks found."""
    found = []
    for at in range(1, 1000):
        key = f"agent-{at}"
        was_cancelled = await Interrupted(lambda key=key: work(key), at, again).run()  # type: ignore[misc]
        found.append(await check(key))
        if not was_cancelled:
            return found
    raise AssertionError("the work never ends")


async def stored(key: str) -> int | None:
    """Answer the count that is stored; its journal says the same."""
    try:
        agent = await thaw(STORAGE, Counter, key)
    except NotFoundError:
        return None
    assert [entry.payload["n"] for entry in agent.thread] == list(range(1, agent.state.n + 1))
    return agent.state.n


async def assert_free(db: Database, manager: AgentManager[Counter]) -> None:
    """Nothing is held: no owner, no flight, no lock, no connection, no transaction."""
    fleet = manager._fleet
    assert (manager.stats().attached, fleet._flights, fleet._dropped) == (0, {}, set())
    assert not any(live.storing.locked() or live.turn.locked() for live in fleet.lives.values())
    if db.dialect == "sqlite":
        assert not db.client._lock.locked()
        assert not db.client._connection._conn.in_transaction
    else:
        pool = db.client._pool  # a connection whose user was cancelled is given back a little later
        await until(lambda: pool.get_idle_size() == pool.get_size())


@TIMES
@pytest.mark.parametrize("known", [False, True], ids=["new", "stored"])
async def test_a_checkout_cancelled_at_every_await(db: Database, known: bool, again: bool) -> None:
    """A checkout that is saved at its exit: unchanged or complete, and the next one goes on from there."""
    async with AgentManager(STORAGE, Counter, checkpoint_on_exit=True) as manager:

        async def visit(key: str) -> None:
            async with manager.checkout(key, exclusive=True) as agent:
                agent.step()

        async def check(key: str) -> int | None:
            await assert_free(db, manager)
            live = manager.lookup(key)
            inside, outside = (live.state.n if live else None), await stored(key)
            assert (inside, outside) in ((None, None), (None, 0), (0, 0), (1, None), (1, 0), (1, 1))
            async with asyncio.timeout(10):
                await visit(key)
            assert await stored(key) == (inside or 0) + 1
            return outside

        if known:
            for at in range(1, 100):
                await hibernate(STORAGE, Counter(f"agent-{at}"))
        found = await sweep(visit, check, again)
    assert set(found) == {0 if known else None, 1}, "the sweep must meet both outcomes"


async def test_a_checkout_cancelled_at_every_step_of_the_loop(db: Database) -> None:
    """The cancellation comes while the thaw or the save is on its way, however far: unchanged or complete."""
    async with AgentManager(STORAGE, Counter, checkpoint_on_exit=True) as manager:

        async def visit(key: str) -> None:
            async with manager.checkout(key) as agent:
                agent.step()

        found, ended = set(), 0
        for steps in range(1000):
            key = f"agent-{steps}"
            task = asyncio.ensure_future(visit(key))
            for _ in range(steps):
                await asyncio.sleep(0)
            ended += task.done()
            task.cancel()
            async with asyncio.timeout(10):
                await asyncio.wait([task])
            await assert_free(db, manager)
            live, outside = manager.lookup(key), await stored(key)
            assert (live.state.n if live else None, outside) in ((None, None), (0, None), (1, None), (1, 1))
            found.add(outside)
            if ended > 3:
                break
        assert found == {None, 1}


@TIMES
async def test_save_cancelled_at_every_await(db: Database, again: bool) -> None:
    """A save that has begun is completed; the agent stays as it is, and can be saved again."""
    async with AgentManager(STORAGE, Counter) as manager:

        async def save(key: str) -> None:
            (await manager.attach(key, "owner")).step()
            await manager.save(key)

        async def check(key: str) -> int | None:
            manager.detach(key, "owner")
            await assert_free(db, manager)
            live, outside = manager.lookup(key), await stored(key)
            assert outside in (None, 1)
            if live is not None and live.state.n:
                await manager.save(key)
                assert await stored(key) == 1
            return outside

        found = await sweep(save, check, again)
    assert set(found) == {None, 1}


@TIMES
async def test_stop_cancelled_at_every_await(db: Database, again: bool) -> None:
    """An agent leaves memory only when it is stored."""
    async with AgentManager(STORAGE, Counter) as manager:

        async def stop(key: str) -> None:
            async with manager.checkout(key) as agent:
                agent.step()
            await manager.stop(key)

        async def check(key: str) -> tuple[bool, int | None]:
            await assert_free(db, manager)
            live, outside = manager.lookup(key), await stored(key)
            assert outside == 1 or live is None or live.state.n == 1
            return live is None, outside

        found = await sweep(stop, check, again)
    assert {(True, None), (False, 1), (True, 1)} <= set(found)


@TIMES
async def test_delete_cancelled_at_every_await(db: Database, again: bool) -> None:
    """The agent is deleted from memory and storage, or from neither."""
    async with AgentManager(STORAGE, Counter) as manager:

        async def delete(key: str) -> None:
            async with manager.checkout(key) as agent:
                agent.step()
                await manager.save(key)
            await manager.delete(key)

        async def check(key: str) -> tuple[bool, int | None]:
            await assert_free(db, manager)
            live, outside = manager.lookup(key), await stored(key)
            assert outside is None or live is not None
            return live is None, outside

        found = await sweep(delete, check, again)
    assert {(True, None), (False, 1)} <= set(found)


@TIMES
async def test_the_end_cancelled_at_every_await(db: Database, again: bool) -> None:
    """However often it is cancelled, the end of a manager stores all that was in memory."""
    managers: dict[str, AgentManager[Counter]] = {}

    async def serve(key: str) -> None:
        async with AgentManager(STORAGE, Counter, idle_timeout=60) as managers[key]:
            for name in ("a", "b", "c"):
                async with managers[key].checkout(f"{key}-{name}") as agent:
                    agent.step()

    async def check(key: str) -> tuple[Any, ...]:
        await assert_free(db, managers[key])
        assert managers[key].stats().count == 0
        return tuple([await stored(f"{key}-{name}") for name in ("a", "b", "c")])

    found = await sweep(serve, check, again)
    assert {(None, None, None), (1, None, None), (1, 1, None), (1, 1, 1)} >= set(found)
    assert found[-2:] == [(1, 1, 1)] * 2, "cancelled in the end itself, and not cancelled"
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("waiters", [1, 5])
async def test_those_who_wait_do_not_notice(db: Database, waiters: int) -> None:
    """When the task that thaws for all is cancelled at whatever await, the others get the agent."""
    for at in range(1, 40):
        await hibernate(STORAGE, Counter(f"agent-{at}"))
    async with AgentManager(STORAGE, Counter) as manager:

        async def attach(key: str) -> None:
            await manager.attach(key, "first")

        for at in range(1, 40):
            key = f"agent-{at}"
            first = Interrupted(lambda key=key: attach(key), at, False)  # type: ignore[misc]
            others = asyncio.gather(first.run(), *(manager.attach(key, n) for n in range(waiters)))
            async with asyncio.timeout(10):
                was_cancelled, *agents = await others
            assert {id(agent) for agent in agents} == {id(manager.lookup(key))}
            for owner in ("first", *range(waiters)):
                manager.detach(key, owner)
            await assert_free(db, manager)
            if not was_cancelled:
                break
        assert not was_cancelled
