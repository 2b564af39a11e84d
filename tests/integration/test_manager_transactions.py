"""A manager beside and inside the host's transactions, on real databases: it joins them, outlives them, never hangs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tortoise.transactions import in_transaction

from jido_tortoise.agents import fleet
from jido_tortoise.agents.background import Background, open_transactions
from jido_tortoise.agents.manager import AgentManager
from jido_tortoise.agents.persist import hibernate, thaw
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.errors import ConflictError, NotFoundError, StorageBusyError, TransactionError
from tests.conftest import Database
from tests.integration.managing import Count, Counter, turned_by_hand, until

KEY = "user-123"
STORAGE = TortoiseStorage()


class Rollback(Exception):
    """Ends a transaction of the host."""


@pytest.fixture(autouse=True)
async def _nothing_hangs(db: Database) -> AsyncIterator[None]:
    async with asyncio.timeout(30):
        yield


async def stored(key: Any = KEY) -> Counter:
    return await thaw(STORAGE, Counter, key)


async def test_an_idle_timer_that_began_in_a_transaction_outlives_it(db: Database) -> None:
    """The background hibernate of an agent that was checked out in a transaction runs outside of it, after its end."""
    with turned_by_hand() as clock:
        async with AgentManager(STORAGE, Counter, idle_timeout=60) as manager:
            async with in_transaction(), manager.checkout(KEY) as agent:
                agent.step()
            await clock.advance(60)
            await until(lambda: manager.lookup(KEY) is None)
        assert (await stored()).state.n == 1


async def test_an_idle_hibernate_during_a_transaction_is_not_part_of_it(db: Database) -> None:
    """What the background stores while the host's transaction is open stays when that is rolled back."""
    async with AgentManager(STORAGE, Counter, idle_timeout=0.01) as manager:
        with pytest.raises(Rollback):
            async with in_transaction():
                async with manager.checkout(KEY) as agent:
                    agent.step()
                await asyncio.sleep(0.05)  # the timer goes off; on SQLite it waits for the connection
                raise Rollback
        await until(lambda: manager.lookup(KEY) is None)
        assert (await stored()).state.n == 1


async def test_a_naive_task_would_have_failed(db: Database) -> None:
    """The trap is real: a task that is started the plain way inside a transaction holds what is left of it."""
    background = Background()
    async with in_transaction():
        plain = asyncio.create_task(_later())
        ours = background.start(_later())
        assert background.in_transaction()
        assert len(open_transactions()) == 1
    with pytest.raises(TransactionError):
        await plain
    await ours


async def _later() -> None:
    await asyncio.sleep(0.05)
    assert open_transactions() == frozenset()
    await hibernate(STORAGE, Counter("later"))


async def test_save_joins_the_transaction(db: Database) -> None:
    """A save is undone with the host's transaction, and the manager stores it again later."""
    async with AgentManager(STORAGE, Counter) as manager, manager.checkout(KEY) as agent:
        with pytest.raises(Rollback):
            async with in_transaction():
                agent.step()
                await manager.save(KEY)
                raise Rollback
        with pytest.raises(NotFoundError):
            await stored()
    assert (await stored()).state.n == 1
    assert len((await stored()).thread) == 1


@pytest.mark.parametrize("ends_well", [True, False], ids=["commit", "rollback"])
async def test_an_agent_saved_in_a_transaction_is_never_taken_for_stored(db: Database, ends_well: bool) -> None:
    """After a save that may be undone the next one always writes, though nothing has changed."""
    await hibernate(STORAGE, Counter(KEY))
    async with AgentManager(STORAGE, Counter) as manager, manager.checkout(KEY) as agent:
        try:
            async with in_transaction():
                agent.step()
                agent.state.notes.append("in")
                await manager.save(KEY)
                if not ends_well:
                    raise Rollback
        except Rollback:
            pass
        agent.state.notes.append("after")
        await manager.save(KEY)
        assert await stored() == agent


async def test_checkout_sees_what_its_transaction_wrote(db: Database) -> None:
    """A thaw inside the transaction is part of it."""
    async with AgentManager(STORAGE, Counter) as manager, in_transaction():
        await hibernate(STORAGE, Counter(KEY, Count(5)))
        async with manager.checkout(KEY) as agent:
            assert agent.state.n == 5


async def test_an_agent_of_a_transaction_that_was_undone_conflicts(db: Database) -> None:
    """A copy that was thawed from what never came to be cannot overwrite what is."""
    await hibernate(STORAGE, Counter(KEY, Count(1)))
    async with AgentManager(STORAGE, Counter) as manager:
        with pytest.raises(Rollback):
            async with in_transaction():
                other = await stored()
                other.state.n = 100
                await hibernate(STORAGE, other)
                async with manager.checkout(KEY) as agent:
                    assert agent.state.n == 100
                raise Rollback
        async with manager.checkout(KEY) as agent:
            agent.step()
            with pytest.raises(ConflictError):
                await manager.save(KEY)
            await manager.discard(KEY)
        async with manager.checkout(KEY) as agent:
            assert agent.state.n == 1


async def test_stop_in_a_transaction_goes_when_it_is_certain(db: Database) -> None:
    """The copy leaves memory only when it is stored outside of a transaction that may be undone."""
    async with AgentManager(STORAGE, Counter) as manager:
        async with manager.checkout(KEY) as agent:
            agent.step()
        with pytest.raises(Rollback):
            async with in_transaction():
                assert await manager.stop(KEY)
                assert manager.lookup(KEY) is agent
                raise Rollback
        await until(lambda: manager.lookup(KEY) is None)
        assert (await stored()).state.n == 1


async def test_delete_joins_the_transaction(db: Database) -> None:
    """A deletion that is undone leaves the agent as it was stored."""
    async with AgentManager(STORAGE, Counter) as manager:
        async with manager.checkout(KEY) as agent:
            agent.step()
            await manager.save(KEY)
        with pytest.raises(Rollback):
            async with in_transaction():
                await manager.delete(KEY)
                raise Rollback
        async with manager.checkout(KEY) as again:
            assert again is not agent
            assert again.state.n == 1


async def test_the_end_inside_a_transaction_is_refused(db: Database) -> None:
    """To store all agents in a transaction and forget them would lose them when it is undone."""
    manager = AgentManager(STORAGE, Counter)
    await manager.__aenter__()
    (await manager.attach(KEY)).step()
    async with in_transaction():
        with pytest.raises(TransactionError):
            await manager.close()
    await manager.close()
    assert (await stored()).state.n == 1


async def test_a_manager_inside_a_transaction_belongs_to_it(db: Database) -> None:
    """A test's sandbox is a transaction around all: there everything, the background too, is part of it."""
    with pytest.raises(Rollback):
        async with in_transaction():
            async with AgentManager(STORAGE, Counter, idle_timeout=0.01) as manager:
                async with manager.checkout(KEY) as agent:
                    agent.step()
                await until(lambda: manager.lookup(KEY) is None)
                async with manager.checkout(KEY) as agent:
                    assert agent.state.n == 1
                    agent.step()
            assert (await stored()).state.n == 2
            raise Rollback
    with pytest.raises(NotFoundError):
        await stored()


# -- waiting for each other ---------------------------------------------------------------------------------------


async def test_checkouts_in_and_out_of_a_transaction_do_not_wait_for_each_other(db: Database) -> None:
    """On SQLite a transaction has the only connection, so inside it nobody may wait for a thaw that waits for it."""
    await hibernate(STORAGE, Counter(KEY, Count(3)))
    async with AgentManager(STORAGE, Counter) as manager:
        async with in_transaction():
            outside = manager._fleet._background.start(manager.attach(KEY, "outside"))  # type: ignore[union-attr]
            await until(lambda: manager._fleet._flights)
            async with asyncio.timeout(5), manager.checkout(KEY) as inside:
                assert inside.state.n == 3
        assert await outside is inside


async def test_a_save_in_a_transaction_waits_with_patience(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save that waits for a save that waits for its transaction ends with an error that says so; nothing is lost."""
    monkeypatch.setattr(fleet, "PATIENCE", 0.2)
    async with AgentManager(STORAGE, Counter) as manager, manager.checkout(KEY) as agent:
        agent.step()
        await manager.save(KEY)
        live = next(iter(manager._fleet.lives.values()))
        with pytest.raises(StorageBusyError):
            async with in_transaction() as connection:
                await connection.execute_query("UPDATE jido_checkpoints SET version = version")  # locks the row
                agent.step()
                outside = manager._fleet._background.start(manager.save(KEY))  # type: ignore[union-attr]
                await until(live.storing.locked)
                await manager.save(KEY)
        await outside
        assert (await stored()).state.n == 2
        with pytest.raises(StorageBusyError):
            async with manager.checkout(KEY, exclusive=True):
                await asyncio.create_task(_visit_in_a_transaction(manager))
    assert manager.stats().count == 0


@pytest.mark.parametrize("attached", [True, False])
async def test_an_idle_hibernate_makes_way_for_a_transaction(db: Database, attached: bool) -> None:
    """A background hibernate that waits for a transaction is no obstacle to a save in it, and nothing is lost."""
    async with AgentManager(STORAGE, Counter, idle_timeout=0.01) as manager:
        agent = await manager.attach(KEY, "owner")
        await manager.save(KEY)
        agent.step()
        async with in_transaction() as connection:
            await connection.execute_query("UPDATE jido_checkpoints SET version = version")  # locks the row
            manager.detach(KEY, "owner")
            await until(lambda: next(iter(manager._fleet.lives.values())).expiring)
            await asyncio.sleep(0.02)
            async with asyncio.timeout(2):
                if attached:
                    await manager.attach(KEY, "owner")
                agent.step()
                await manager.save(KEY)
        manager.detach(KEY, "owner")
        await until(lambda: manager.lookup(KEY) is None)
    assert (await stored()).state.n == 2
    assert len((await stored()).thread) == 2


async def _visit_in_a_transaction(manager: AgentManager[Counter]) -> None:
    async with in_transaction(), manager.checkout(KEY, exclusive=True):
        pass


async def test_many_in_and_out_of_transactions(db: Database) -> None:
    """Fifty tasks on five agents, half of them in transactions, some of which are undone: nothing hangs or is lost."""
    done: list[str] = []

    async def visit(manager: AgentManager[Counter], number: int) -> None:
        key = f"agent-{number % 5}"
        async with manager.checkout(key, exclusive=True) as agent:
            try:
                if number % 2:
                    async with in_transaction():
                        agent.step()
                        await manager.save(key)
                        if number % 3 == 0:
                            raise Rollback
                else:
                    agent.step()
                    await manager.save(key)
            except Rollback:
                pass
            done.append(key)

    async with AgentManager(STORAGE, Counter, idle_timeout=0.001) as manager:
        await asyncio.gather(*(visit(manager, number) for number in range(50)))
    for number in range(5):
        agent = await stored(f"agent-{number}")
        steps = done.count(f"agent-{number}")
        assert (agent.state.n, [entry.payload["n"] for entry in agent.thread]) == (steps, list(range(1, steps + 1)))
