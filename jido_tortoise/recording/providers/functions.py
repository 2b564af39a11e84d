"""A recorder around a plain asynchronous function, which need not know that it is recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from inspect import iscoroutinefunction
from typing import Any

from jido_tortoise.errors import InvalidInputError
from jido_tortoise.recording.providers.base import Answer, Provider, Request, Said


def recorded_function(function: Callable[..., Awaitable[Any]], *, provider: str | None = None) -> Provider:
    """Answer a provider that calls a function with the run's input, and records what it returns.

    Args:
        function: Called with the input as keyword arguments when that is a dict, else with the input itself. It returns
            a text, a dict that becomes the run's output, or an `Answer` that says more.
        provider: The name that it is recorded by; the function's own when None.
    """
    if not iscoroutinefunction(function):
        raise InvalidInputError.at("function", "an async function", function)
    return _Recorded(function, provider or function.__name__)


class _Recorded:
    """The provider of one function."""

    def __init__(self, function: Callable[..., Awaitable[Any]], provider: str) -> None:
        self.provider = provider
        self._function = function

    async def __call__(self, request: Request) -> AsyncIterator[Said | Answer]:
        given = request.input
        returned = await (self._function(**given) if isinstance(given, Mapping) else self._function(given))
        answer = _answer(returned)
        content = answer.output.get("content")
        if isinstance(content, str):
            yield Said("message_received", {"content": content, "role": "assistant"})
        yield answer


def _answer(returned: Any) -> Answer:
    if isinstance(returned, Answer):
        return returned
    if isinstance(returned, Mapping):
        return Answer(output=returned)
    return Answer(output={"content": returned})
