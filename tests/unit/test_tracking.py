"""Tracking: two entries around what an agent runs, with names and never with values.

The cases of Jido's strategy_integration_test that are about the thread: start and end, ok or error, parameter names and
no values, an existing thread goes on, and without tracking nothing is written.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from jido_tortoise import seams
from jido_tortoise.agents.agent import Agent
from jido_tortoise.agents.tracking import track, tracked
from jido_tortoise.errors import InvalidInputError


def kinds(agent: Agent[Any]) -> list[str]:
    return [entry.kind for entry in agent.thread]


async def test_start_and_end() -> None:
    """A block leaves a start and an end, which name each other."""
    agent = Agent[Any]("u")
    clock = iter([10.0, 10.25])
    with seams.replaced(monotonic=lambda: next(clock)):
        async with agent.track("refund", {"order": 7, "amount": 12}) as instruction:
            assert kinds(agent) == ["instruction_start"]
    start, end = agent.thread
    assert start.payload == {"action": "refund", "params": ["amount", "order"], "id": instruction}
    assert end.payload == {"action": "refund", "id": instruction, "status": "ok", "duration_ms": 250.0}
    assert start.refs == end.refs == {"instruction_id": instruction}
    assert instruction.startswith("instruction_")


async def test_error_is_named_and_goes_on() -> None:
    """An error ends the instruction with its type, and is raised as it was; its text may hold values, and stays out."""
    agent = Agent[Any]("u")
    with pytest.raises(ValueError, match="secret"):
        async with agent.track("refund"):
            raise ValueError("secret")
    end = agent.thread.last()
    assert end is not None
    assert (end.payload["status"], end.payload["error"]) == ("error", "ValueError")
    assert "secret" not in json.dumps([entry.as_dict() for entry in agent.thread])


async def test_cancelled_instruction_ends() -> None:
    """A cancellation is an end as well."""
    agent = Agent[Any]("u")

    async def work() -> None:
        async with agent.track("refund"):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert kinds(agent) == ["instruction_start", "instruction_end"]
    assert agent.thread.entries[1].payload["error"] == "CancelledError"


async def test_values_never_show() -> None:
    """Only the names of parameters are written, from a call as well."""

    class Clerk(Agent[Any], agent_type="tracking.clerk"):
        @tracked("refund")
        async def refund(self, order: str, amount: int = 0, *lines: str, **options: object) -> str:
            return f"{order} {amount} {lines} {options}"

    clerk = Clerk("u")
    assert await clerk.refund("secret", 12, "secret", note="secret") == "secret 12 ('secret',) {'note': 'secret'}"
    assert clerk.thread.entries[0].payload["params"] == ["amount", "lines", "note", "order"]
    assert "secret" not in json.dumps([entry.as_dict() for entry in clerk.thread])
    await clerk.refund("secret")
    assert clerk.thread.entries[2].payload["params"] == ["order"]


async def test_decorated_function_that_takes_the_agent() -> None:
    """A function works like a method, keeps its name, and its errors are those of the call."""
    agent = Agent[Any]("u")

    @tracked("ship")
    async def ship(agent: Agent[Any], order: str) -> str:
        """Ship it."""
        return order

    assert await ship(agent, order="o") == "o"
    assert (ship.__name__, ship.__doc__) == ("ship", "Ship it.")
    wrong: Any = ship
    with pytest.raises(TypeError):
        await wrong(agent)
    assert kinds(agent) == ["instruction_start", "instruction_end"]


async def test_existing_thread_goes_on() -> None:
    """The entries follow what the thread has."""
    agent = Agent[Any]("u")
    agent.thread.append("message")
    async with track(agent, "refund", ["order"]):
        agent.thread.append("note")
    assert kinds(agent) == ["message", "instruction_start", "note", "instruction_end"]


async def test_off_by_default() -> None:
    """What is not tracked leaves no entry."""

    class Clerk(Agent[Any], agent_type="tracking.silent"):
        async def refund(self) -> None: ...

    clerk = Clerk("u")
    await clerk.refund()
    assert kinds(clerk) == []


@pytest.mark.parametrize(
    ("action", "parameters"), [("", {}), (7, {}), ("refund", "order"), ("refund", 7), ("r", {1: 2})]
)
async def test_wrong_arguments(action: Any, parameters: Any) -> None:
    """What is no name is refused before anything is appended."""
    agent = Agent[Any]("u")
    with pytest.raises(InvalidInputError):
        async with track(agent, action, parameters):
            pytest.fail("the block was run")
    assert kinds(agent) == []


def test_only_async_functions() -> None:
    """A plain function would end before it has run."""

    def refund(agent: Agent[Any]) -> None: ...

    wrong: Any = refund
    with pytest.raises(InvalidInputError, match="async function"):
        tracked("refund")(wrong)
