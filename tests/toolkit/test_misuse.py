"""Whoever holds a tool wrongly is told what it takes; no tool passes a test that has proved nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import jido_tortoise as jt
from jido_tortoise_testing.factories import Factories
from jido_tortoise_testing.failures import JidoSandboxError
from jido_tortoise_testing.faults import CrashSafetyError, Faults, Trial
from jido_tortoise_testing.faults import sweeping as sweeps
from jido_tortoise_testing.racing import Race
from jido_tortoise_testing.roundtrip import AgentRoundTripError, assert_journal, assert_roundtrip
from jido_tortoise_testing.sandboxes import Sandbox, Workshop
from tests.toolkit.conftest import Host

pytest_plugins = ["pytester"]


@dataclass
class Cart:
    """A state that is no dict."""

    total: int = 0


class Carted(jt.Agent[Cart], agent_type="toolkit-misused-carted"):
    """An agent with a cart."""


class Misused(jt.Agent[Any], agent_type="toolkit-misused"):
    """An agent with a plain dict."""


async def _nothing(trial: Trial) -> None:
    pass


# -- PostgreSQL without its driver --------------------------------------------------------------------------------


def test_postgres_without_its_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who runs `pytest --jido-db=postgres` with the extra `testing` alone is told the other one."""
    monkeypatch.delitem(sys.modules, "jido_tortoise_testing.postgres_sandboxes", raising=False)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    config = {"connections": {"default": "sqlite://:memory:"}, "apps": jt.apps()}
    workshop = Workshop(config, server=lambda: "", folder=tmp_path)
    with pytest.raises(JidoSandboxError, match=r"jido-tortoise\[testing-postgres\]"), workshop.open("postgres"):
        pass


# -- sweeps -------------------------------------------------------------------------------------------------------


async def test_a_sweep_names_what_it_takes(jido_faults: Faults) -> None:
    """Kinds of faults, and functions that can be awaited."""
    unknown: Any = ["explode"]
    with pytest.raises(jt.InvalidInputError, match="kinds: expected fail, cancel or disconnect, got 'explode'"):
        await jido_faults.crash_everywhere(_nothing, _nothing, kinds=unknown)
    with pytest.raises(jt.InvalidInputError, match="operation: expected an async function"):
        await jido_faults.crash_everywhere(lambda trial: None, _nothing)  # type: ignore[arg-type,return-value]
    with pytest.raises(jt.InvalidInputError, match="invariant: expected an async function"):
        await jido_faults.cancel_everywhere(_nothing, lambda trial: 1)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("sweep", ["crash_everywhere", "cancel_everywhere"])
async def test_a_sweep_over_nothing_proves_nothing(jido_faults: Faults, sweep: str) -> None:
    """An operation that never reaches the connection, as one on another database, is no sound one."""
    with pytest.raises(AssertionError, match=r"_nothing\(\) .* nothing was proved"):
        await getattr(jido_faults, sweep)(_nothing, _nothing)


@pytest.mark.jido_db(storage="memory", backend="sqlite")
@pytest.mark.parametrize(
    ("kinds", "told"), [(["disconnect"], "; not tried: disconnect: a database in memory"), ([], "")]
)
async def test_a_sweep_that_strikes_nothing_proves_nothing(
    jido: jt.Jido, jido_faults: Faults, kinds: list[Any], told: str
) -> None:
    """Where none of the wished faults can happen, the sweep is no proof that they do no harm."""

    async def put(trial: Trial) -> None:
        await jido.storage.put_checkpoint(trial.name, 1)

    with pytest.raises(AssertionError, match=r"put\(\) was struck nowhere on .*: nothing was proved" + told):
        await jido_faults.crash_everywhere(put, _nothing, kinds=kinds)


async def test_trials_that_meet_each_other_are_told_to_keep_apart(jido: jt.Jido, jido_faults: Faults) -> None:
    """What one name shows must not depend on the others'."""

    async def append(trial: Trial) -> None:
        await jido.storage.append_thread("always", {"kind": "note"})

    async def count(trial: Trial) -> int:
        return len(await jido.storage.load_thread("always") or ())

    with pytest.raises(CrashSafetyError, match=r"name everything by trial\.name"):
        await jido_faults.crash_everywhere(append, count, kinds=["fail"])


async def test_statements_beyond_the_last_that_is_tried_are_told(
    jido: jt.Jido, jido_faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep that gives up never looks like a whole one."""
    monkeypatch.setattr(sweeps, "_MOST", 1)

    async def save(trial: Trial) -> None:
        await jido.hibernate(Misused(trial.name))

    async def seen(trial: Trial) -> bool:
        return await jido.storage.get_checkpoint(("toolkit-misused", trial.name)) is not None

    report = await jido_faults.crash_everywhere(save, seen, kinds=["fail"])
    assert "not tried: more than the first 1 statements" in str(report)
    assert "not tried: more than the first 1 awaits" in str(await jido_faults.cancel_everywhere(save, seen))


# -- histories, sandboxes, factories ------------------------------------------------------------------------------


async def test_a_history_of_nothing_proves_nothing(jido_history: Race, jido: jt.Jido) -> None:
    """Workers that write past the storage that they are given are told to use it."""

    async def past(storage: Any) -> None:
        await jido.hibernate(Misused("a"))

    await jido_history.race(past, past)
    with pytest.raises(AssertionError, match=r"nothing was recorded: .* the storage that it is given"):
        await jido_history.check()


async def test_a_sandbox_names_what_it_may_be(jido_sandbox: Callable[..., Any]) -> None:
    """A misspelt database is not quietly another one."""
    with pytest.raises(JidoSandboxError, match="backend: expected sqlite or postgres, got 'mysql'"):
        async with jido_sandbox("mysql"):
            pass
    with pytest.raises(JidoSandboxError, match="storage: expected memory, file or clone, got 'disk'"):
        async with jido_sandbox(storage="disk"):
            pass


def test_factories_make_agents_only(jido_factories: Factories) -> None:
    """Another class, and torture where it has no place, are refused by name."""
    with pytest.raises(jt.InvalidInputError, match="cls: expected a subclass of Agent, got <class 'dict'>"):
        jido_factories.agent.build(dict)
    with pytest.raises(jt.InvalidInputError, match="torture: expected an agent whose state is a dict"):
        jido_factories.agent.build(Carted, torture=True)


def test_a_wrong_seed_of_a_mark_is_refused_by_name(host: Host, pytester: pytest.Pytester) -> None:
    """A mark without its number would quietly be no mark."""
    marks = {"": "nothing", '("last")': "'last'", "(1, 2)": "1, 2", "(n=1)": "n="}
    source = "import pytest\n@pytest.mark.jido_seed{}\ndef test_x(): pass\n"
    pytester.makepyfile(**{f"test_{number}": source.format(arguments) for number, arguments in enumerate(marks)})
    printed = host("").stdout.str()
    for number, got in enumerate(marks.values()):
        words = f"test_{number}.py::test_x: @pytest.mark.jido_seed takes a number below 2**32, got {got}\n"
        assert words in printed


# -- assertions ---------------------------------------------------------------------------------------------------


async def test_a_way_that_there_is_not_is_refused(jido: jt.Jido) -> None:
    """The ways are named, before anything is stored."""
    unknown: Any = ["new process"]
    with pytest.raises(jt.InvalidInputError, match=r"via: expected same, second-connection or new-process, got 'new "):
        await assert_roundtrip(jido, Misused("a"), via=unknown)
    assert not await jido.count(Misused)


def test_what_a_journal_is_compared_with_is_named() -> None:
    """Neither a tuple nor a field that entries lack is an AttributeError."""
    thread = jt.Thread("t")
    thread.append("note")
    wrong: Any = [("note", {})]
    with pytest.raises(
        jt.InvalidInputError, match=r"expected\[0\]: expected a kind, a mapping or an Entry, got \('note"
    ):
        assert_journal(thread, wrong)
    with pytest.raises(jt.InvalidInputError, match=r"expected\[0\]: expected fields out of .*payload.*, got 'pyload'"):
        assert_journal(thread, [{"pyload": {}}])


async def test_metadata_of_the_thread_must_survive_too(jido: jt.Jido) -> None:
    """It is stored when the journal is made; what is changed afterwards is lost, and that is told."""
    agent = Misused("a")
    agent.thread.metadata["topic"] = "tea"
    agent.thread.append("note")
    await assert_roundtrip(jido, agent, via=["same", "new-process"])
    agent.thread.metadata["topic"] = "milk"
    with pytest.raises(AgentRoundTripError, match=r"metadata\.topic: 'milk' -> 'tea'"):
        await assert_roundtrip(jido, agent, via=["same"])


def test_two_agents_are_compared_value_by_value(host: Host) -> None:
    """A plain `==` tells the paths; under a failed assertion stands how to have the same run again, seed and all."""
    source = """
import jido_tortoise as jt
from jido_tortoise_testing.roundtrip import assert_unchanged
class Shopper(jt.Agent, agent_type="misuse-compared"):
    pass
def test_agents():
    one, other = Shopper(1, {"cart": [{"tea": (1,)}]}), Shopper(1, {"cart": [{"tea": [1]}]})
    other.thread.append("note")
    assert one == other
def test_threads():
    one, other = jt.Thread("t"), jt.Thread("t")
    one.append("note", {"n": 1})
    assert one == other
async def test_changed(jido):
    async with assert_unchanged():
        await jido.hibernate(Shopper(1))
"""
    text = host(source, "--jido-seed=7").stdout.str()
    for line in (
        "state.cart[0].tea: (1,) -> [1]     tuple became list",
        "thread[0]: (nothing) -> {",
        "[0]: {",
        'reproduce: pytest "test_shop.py::test_changed" --jido-db=sqlite --jido-seed=7',
    ):
        assert line in text


async def test_the_clock_takes_moments(jido_clock: Any, jido_db: Sandbox) -> None:
    """A text is no moment."""
    with pytest.raises(jt.InvalidInputError, match=r"moment: expected .*an aware datetime, got '2027-01-01'"):
        jido_clock.move_to("2027-01-01")
