"""`jido_faults`, `jido_history`, `jido_factories` on a sandbox, and what they say when something is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import jido_tortoise as jt
from jido_tortoise import codec
from jido_tortoise_testing.factories import Factories
from jido_tortoise_testing.failures import JidoSandboxError
from jido_tortoise_testing.faults import CrashSafetyError, Faults, Trial
from jido_tortoise_testing.history import HistoryError
from jido_tortoise_testing.racing import Race
from jido_tortoise_testing.sandboxes import Sandbox
from tests.toolkit.conftest import Host

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("pg_server")
on_both = pytest.mark.jido_db(backend="both")
on_files = pytest.mark.jido_db(backend="both", storage="file")


class Order(jt.Agent[Any], agent_type="toolkit-fixtures-order"):
    """An order, in a plain dict."""


def _order(name: str = "o") -> Order:
    order = Order(name, {"paid": True})
    order.thread.append("note", {"text": "paid"})
    return order


# -- faults -------------------------------------------------------------------------------------------------------


@on_files
async def test_faults_everywhere(jido: jt.Jido, jido_faults: Faults) -> None:
    """The sweeps run on the test's own database; a sound operation passes, a torn one does not."""

    async def pay(trial: Trial) -> None:
        await jido.hibernate(_order(trial.name))

    async def torn(trial: Trial) -> None:
        await jido.storage.append_thread(trial.name, {"kind": "note"})
        await jido.storage.put_checkpoint(trial.name, {})

    async def seen(trial: Trial) -> Any:
        return await jido.storage.get_checkpoint(trial.name) is None, await jido.storage.load_thread(trial.name) is None

    async def paid(trial: Trial) -> bool:
        try:
            return len((await jido.thaw(Order, trial.name)).thread) == 1
        except jt.NotFoundError:
            return False

    report = await jido_faults.crash_everywhere(pay, paid, kinds=["fail", "disconnect"])
    assert report.sound == len(report.points) > 0
    assert (await jido_faults.cancel_everywhere(pay, paid)).points
    with pytest.raises(CrashSafetyError):
        await jido_faults.crash_everywhere(torn, seen, kinds=["fail"])


@on_both
@pytest.mark.parametrize("when", ["before", "after"])
async def test_one_statement_fails(jido: jt.Jido, jido_faults: Faults, when: Any) -> None:
    """The one that was meant, and nothing is torn; afterwards all is as ever."""
    with jido_faults.fail(when=when, sql="jido_checkpoints", times=50) as injector, pytest.raises(jt.StorageError):
        await jido.hibernate(_order())
    assert "jido_checkpoints" in injector.log[injector.strikes[0].at]
    found = [await jido.storage.load_thread(thread) for thread in ("o",)]
    assert found == [None]
    await jido.hibernate(_order("other"))
    assert (await jido.thaw(Order, "other")).state == {"paid": True}


@on_both
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_cancellation_leaves_the_block_and_no_more(jido: jt.Jido, jido_faults: Faults, when: Any) -> None:
    """The test's own task goes on, also into timeouts, which look whether it is being cancelled."""
    with pytest.raises(asyncio.CancelledError), jido_faults.cancel(when=when):
        await jido.hibernate(_order())
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    async with asyncio.timeout(5):
        await jido.hibernate(_order("other"))


@on_files
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_connection_is_lost(jido: jt.Jido, jido_faults: Faults, when: Any) -> None:
    """What was not committed is gone; the next call has a connection again."""
    await jido.hibernate(_order("first"))
    with jido_faults.disconnect(when=when), pytest.raises(jt.JidoError):
        await jido.hibernate(_order("second"))
    assert (await jido.thaw(Order, "first")).state == {"paid": True}


def test_faults_without_a_task(jido: jt.Jido, jido_faults: Faults) -> None:
    """A synchronous test can let statements fail; there is nothing to cancel."""
    with jido_faults.fail(times=50), pytest.raises(jt.StorageError):
        asyncio.run(jido.hibernate(_order()))
    asyncio.run(jido.hibernate(_order()))
    with pytest.raises(JidoSandboxError, match="async test"), jido_faults.cancel():
        pass


async def test_a_fault_that_cannot_happen_is_told(jido: jt.Jido, jido_faults: Faults) -> None:
    """A test whose fault never happened has proved nothing."""
    words = r"statement 99, which was to fail, was never reached: \d+ statements ran"
    with pytest.raises(AssertionError, match=words), jido_faults.fail(at=99):
        await jido.hibernate(_order())
    with pytest.raises(JidoSandboxError, match=r'storage="file"'), jido_faults.disconnect():
        pass
    with pytest.raises(ValueError, match="befor"), jido_faults.fail(when="befor"):  # type: ignore[arg-type]
        pass


async def _struck(db: Sandbox, seed: int) -> list[int]:
    with Faults(db, seed).sometimes(0.3) as injector:
        for number in range(20):
            try:
                await db.storage.put_checkpoint(f"k{number}", {})
            except jt.StorageError:
                continue
    return [fault.at for fault in injector.strikes]


async def test_the_seed_gives_the_plan_of_faults(jido_sandbox: Any) -> None:
    """A failure among random faults comes back with its seed."""
    found = []
    for seed in (1, 1, 2):
        async with jido_sandbox(backend="sqlite") as db:
            found.append(await _struck(db, seed))
    assert found[0] == found[1] != found[2]
    assert 0 < len(found[0]) < 20


# -- histories ----------------------------------------------------------------------------------------------------


async def _careless(storage: Any) -> None:
    """Write over whatever was read before."""
    for _ in range(3):
        checkpoint = await storage.get_checkpoint("sum")
        await storage.put_checkpoint("sum", 1 if checkpoint is None else checkpoint.data + 1)
        await storage.append_thread("t", {"kind": "note"})


async def _careful(storage: Any) -> int:
    won = 0
    for _ in range(5):
        thread = await storage.load_thread("t")
        try:
            await storage.append_thread("t", [{"kind": "note"}] * 2, expected_rev=0 if thread is None else thread.rev)
        except jt.ConflictError:
            continue
        won += 1
    return won


async def _agent(storage: Any) -> None:
    """Hibernate an agent that others hibernate too."""
    jido = jt.Jido(storage)
    for _ in range(3):
        agent = await jido.thaw_or_new(Order, "shared", state={})
        agent.thread.append("note")
        try:
            await jido.hibernate(agent)
        except jt.ConflictError:
            continue


@on_both
async def test_a_race_is_recorded_and_sound(jido_history: Race) -> None:
    """Appends, reads, and the journals of agents."""
    won = await jido_history.race(*[_careful] * 4)
    assert sum(won) >= 1
    await jido_history.race(*[_agent] * 3)
    outcomes = {(one.action, one.outcome) for one in jido_history.operations}
    assert {("append", "ok"), ("append", "failed"), ("read", "ok")} <= outcomes
    assert any(one.key != "t" for one in jido_history.operations)
    await jido_history.check()


@on_both
def test_a_race_without_a_check_is_checked_at_the_end(jido_history: Race) -> None:
    """Also when the loop of the test is closed by then."""
    asyncio.run(jido_history.race(_careful, _careful))


async def _turns(sandbox: Sandbox, seed: int) -> tuple[Any, list[tuple[str, str]]]:
    race = Race(sandbox, seed)
    await race.take_turns(*[_careless] * 4)
    checkpoint = await sandbox.storage.get_checkpoint("sum")
    assert checkpoint is not None
    return checkpoint.data, [(one.process, one.action) for one in race.operations]


async def test_the_seed_gives_the_schedule(jido_sandbox: Any) -> None:
    """The same updates are lost again; another seed loses others."""
    found = []
    for seed in (1, 1, 2):
        async with jido_sandbox(backend="sqlite") as db:
            found.append(await _turns(db, seed))
    assert found[0] == found[1] != found[2]
    assert found[0][0] < 12


async def test_workers_that_fail_or_wait_for_each_other_are_told(jido_history: Race) -> None:
    """Not a hang; and the first error is what is raised."""
    gate = asyncio.Event()

    async def waits(storage: Any) -> None:
        await gate.wait()

    async def fails(storage: Any) -> None:
        await storage.load_thread("t")
        raise LookupError("mine")

    with pytest.raises(TimeoutError):
        await jido_history.take_turns(waits, waits, patience=0.05)
    for run in (jido_history.take_turns, jido_history.race):
        with pytest.raises(LookupError, match="mine"):
            await run(_careful, fails)


async def test_a_lost_append_is_found(jido_history: Race, jido_db: Sandbox) -> None:
    """The witness names it."""
    storage = jido_history.storage("writer")
    await storage.append_thread("t", {"kind": "note"})
    await jido_db.storage.delete_thread("t")
    with pytest.raises(HistoryError, match="lost append in thread 't'"):
        await jido_history.check()


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_an_unchecked_history_fails_the_test_at_its_end(host: Host, server: str, backend: str) -> None:
    """Whoever forgets the check is told all the same."""
    source = """
import asyncio
async def lose(jido_history, jido_db):
    await jido_history.storage("writer").append_thread("t", {"kind": "note"})
    await jido_db.storage.delete_thread("t")
async def test_x(jido_history, jido_db):
    await lose(jido_history, jido_db)
def test_y(jido_history, jido_db):
    asyncio.run(lose(jido_history, jido_db))
async def test_z(jido_history, jido_factories, jido_faults):
    pass
"""
    result = host(source, f"--jido-db={backend}", "-W", "error::ResourceWarning")
    result.assert_outcomes(passed=3, errors=2)
    assert result.stdout.str().count("lost append in thread 't'") >= 2


# -- factories ----------------------------------------------------------------------------------------------------


@on_both
async def test_factories_store_in_the_tests_own_database(
    jido: jt.Jido, jido_factories: Factories, jido_seed: int, jido_queries: Callable[..., Any]
) -> None:
    """What `create` made thaws; `build` and `params` send nothing; the seed alone gives the bytes."""
    with jido_queries(max=0):
        params = jido_factories.agent.params(messages=4, tools=1, torture=True)
    assert codec.dumps(params) == codec.dumps(Factories(jido_seed).agent.params(messages=4, tools=1, torture=True))
    jido_factories.register(Order, lambda make: {"who": make.fake.name()})
    agents = await jido_factories.agent.create_batch(2, Order, messages=3)
    for agent in agents:
        assert (await jido.thaw(Order, agent.id)).state == agent.state
