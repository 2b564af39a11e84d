"""Tracking of what an agent runs: two entries in its thread for each instruction, with names and never with values."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from jido_tortoise import checks, seams
from jido_tortoise.agents.thread import Thread
from jido_tortoise.errors import InvalidInputError

#: An async function or method; that it takes the agent first is not said, or a method would need `self, /`.
F = TypeVar("F", bound=Callable[..., Awaitable[Any]])
#: Parameters by name, or their names alone.
Names: TypeAlias = Mapping[str, Any] | Iterable[str]


class HasThread(Protocol):
    """What can be tracked."""

    @property
    def thread(self) -> Thread:
        """The journal that the entries go into."""
        ...


@asynccontextmanager
async def track(agent: HasThread, action: str, parameters: Names = ()) -> AsyncIterator[str]:
    """Append instruction_start when the block begins and instruction_end when it ends, with "ok" or "error".

    Args:
        agent: Whose thread.
        action: What is run.
        parameters: What it is given; only the names are written, sorted.

    Yields:
        The instruction's id, which both entries have in their payload and in `refs.instruction_id`.
    """
    instruction = seams.new_id("instruction_")
    refs = {"instruction_id": instruction}
    facts = {"action": checks.text(action, "action"), "id": instruction}
    agent.thread.append("instruction_start", {**facts, "params": _names(parameters)}, refs)
    began = seams.monotonic()
    end: dict[str, Any] = {"status": "ok"}
    try:
        yield instruction
    except BaseException as error:  # a cancelled instruction has ended too
        end = {"status": "error", "error": type(error).__name__}
        raise
    finally:
        took = round((seams.monotonic() - began) * 1000, 3)
        agent.thread.append("instruction_end", {**facts, **end, "duration_ms": took}, refs)


def _names(parameters: Names) -> list[str]:
    if isinstance(parameters, str) or not isinstance(parameters, Iterable):
        raise InvalidInputError.at("parameters", "a mapping, or names", parameters)
    return sorted(checks.text(name, "parameters") for name in parameters)


def tracked(action: str) -> Callable[[F], F]:
    """Track each call of an async function or method that takes the agent first.

    Args:
        action: What the entries call it.
    """

    def decorate(function: F) -> F:
        if not inspect.iscoroutinefunction(function):
            raise InvalidInputError.at(f"tracked({action!r})", "an async function", function)
        signature = inspect.signature(function)

        @functools.wraps(function)
        async def run(agent: HasThread, /, *args: Any, **kwargs: Any) -> Any:
            async with track(agent, action, _given(signature.bind(agent, *args, **kwargs))):
                return await function(agent, *args, **kwargs)

        return cast(F, run)

    return decorate


def _given(bound: inspect.BoundArguments) -> list[str]:
    """Name the arguments of a call, without the agent; those of **kwargs by their own names."""
    _, *others = bound.arguments
    kinds = {name: parameter.kind for name, parameter in bound.signature.parameters.items()}
    names: list[str] = []
    for name in others:
        names += bound.arguments[name] if kinds[name] is inspect.Parameter.VAR_KEYWORD else [name]
    return names
