"""The factories make what can be stored, well formed, and the same from the same seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest

from jido_tortoise import Agent, InMemoryStorage, Jido, codec
from jido_tortoise_testing.factories import EPOCH_MS, Factories
from jido_tortoise_testing.roundtrip import assert_roundtrip
from tests.conftest import Database


@dataclass
class Ticket:
    seat: str = ""


class Passenger(Agent[Ticket], agent_type="factories-passenger"):
    """A class of the host."""


def _bytes(seed: int | str) -> str:
    make = Factories(seed)
    agents = [make.agent.params(messages=4, tools=2, torture=True) for _ in range(3)]
    threads = [make.thread.params(turns=2, tools=1) for _ in range(2)]
    return codec.dumps([agents, threads, make.entry.params(), make.checkpoint.params()])


def test_the_same_seed_gives_the_same_bytes() -> None:
    """Whatever else drew random numbers in between; another seed gives others."""
    first = _bytes("tests/test_a.py::test_x")
    random.seed(1)
    assert _bytes("tests/test_a.py::test_x") == first
    assert _bytes(7) != first


def test_a_conversation_is_well_formed() -> None:
    """Questions and answers take turns, each tool call is followed by its result, and time goes on."""
    entries = Factories(3).conversation(turns=3, tools=4)
    calls = [entry for entry in entries if entry.kind == "tool_call"]
    results = [entry for entry in entries if entry.kind == "tool_result"]
    assert [call.payload["id"] for call in calls] == [result.payload["id"] for result in results]
    assert [result.refs["entry_id"] for result in results] == [call.id for call in calls]
    assert len(calls) == 4
    assert [e.payload["role"] for e in entries if e.kind == "message"] == ["user", "assistant"] * 3
    times = [entry.at_ms for entry in entries]
    assert times == sorted(times)
    assert times[0] > EPOCH_MS
    assert Factories().conversation(turns=0, tools=2) == []


async def test_what_is_created_thaws(db: Database) -> None:
    """Agents of all traits survive, whatever a store might lose."""
    jido = Jido()
    make = Factories(1, jido)
    agent = await make.agent.create(messages=3, tools=1, torture=True, partition=None)
    assert len(agent.thread) == 6
    await assert_roundtrip(jido, agent, via=["same", "second-connection"])
    assert len(await make.agent.create_batch(3)) == 3
    thread = await make.thread.create("t", turns=1, metadata={"a": 1})
    stored = await jido.storage.load_thread("t")
    assert stored is not None
    assert list(stored) == list(thread)
    checkpoint = await make.checkpoint.create()
    assert await jido.storage.get_checkpoint(checkpoint.key) is not None


async def test_classes_of_the_host() -> None:
    """A registered class gets a state of the host's making; one that is not gets its fresh state."""
    make = Factories(2, Jido(InMemoryStorage()))
    assert make.agent.build(Passenger).state == Ticket()
    make.register(Passenger, lambda factories: Ticket(factories.fake.bothify("##?")))
    made: list[Any] = make.agent.batch(2, Passenger)
    assert all(len(agent.state.seat) == 3 for agent in made)
    assert make.agent.build(Passenger, state=Ticket("1a")).state.seat == "1a"
    assert make.agent.params(Passenger, id="p")["id"] == "p"


async def test_what_cannot_be_created_says_why() -> None:
    """Without a jido nothing is stored, and an entry has no place of its own."""
    with pytest.raises(ValueError, match="build"):
        await Factories().agent.create()
    with pytest.raises(ValueError, match=r"thread\.create"):
        await Factories().entry.create()
