"""What a manager asks a provider, and what a provider may say."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import NoneType
from typing import Any, Protocol

from jido_tortoise import checks, codec
from jido_tortoise.errors import InvalidInputError, ProviderError
from jido_tortoise.recording.transcript import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a provider is asked."""

    session_id: str
    run_id: str
    #: What was said before, when the run continues by replay, and then what is said now.
    messages: Sequence[Message] = ()
    #: As it was given to the run.
    input: Any = None
    #: The provider's own id of the conversation, when the run continues natively; else None.
    provider_session_id: str | None = None
    #: For this provider, as they were given to the run: `model`, `temperature`, ...
    options: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Said:
    """Something that happened: it becomes an event of that type; of an unknown one, an `error_occurred`."""

    type: str
    data: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: When; now when None.
    timestamp: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How it ended; what a provider yields last."""

    output: Mapping[str, Any] = field(default_factory=dict)
    #: Of the whole run. None: the sum of its `token_usage_updated`.
    token_usage: Mapping[str, Any] | None = None
    model: str | None = None
    #: To go on natively in a later run; None when the provider keeps no conversations.
    provider_session_id: str | None = None
    stop_reason: str = "end_turn"
    #: US dollars, as the provider says; None or 0: it is counted from the tokens.
    cost_usd: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def check_answer(answer: Answer, provider: str) -> None:
    """Refuse an answer that no run could keep, while its run can still end with what was said until then.

    Raises:
        ProviderError: `provider_malformed_response`; `path` says what is none.
    """
    try:
        for name in ("output", "token_usage", "metadata"):
            value = getattr(answer, name)
            if value is not None or name == "metadata":
                codec.dump_map(checks.string_map(value, f"answer.{name}"), path=f"answer.{name}")
        for name in ("model", "provider_session_id", "stop_reason"):
            if not isinstance(getattr(answer, name), str | NoneType):
                raise InvalidInputError.at(f"answer.{name}", "a text, or None", getattr(answer, name))
        if not _is_cost(answer.cost_usd):
            raise InvalidInputError.at("answer.cost_usd", "US dollars as a number, or None", answer.cost_usd)
    except InvalidInputError as error:
        raise ProviderError(
            f"{provider} has answered what cannot be kept: {error}",
            reason="provider_malformed_response",
            provider=provider,
            path=error.path,
        ) from error


def _is_cost(value: object) -> bool:
    if isinstance(value, Decimal):
        return value.is_finite()
    return value is None or checks.number(value) is not None


class Provider(Protocol):
    """Whatever can be called with a request and answers an asynchronous generator.

    Its name is its attribute `provider`, else its `__name__`. With an attribute `native` that is true it can go on with
    a conversation of its own, given a `provider_session_id`.
    """

    def __call__(self, request: Request, /) -> AsyncIterator[Said | Answer]:
        """Answer in pieces."""
        ...


def check_provider(provider: object) -> None:
    """See that a provider is one, as far as can be told without a call.

    Raises:
        InvalidInputError: It is a plain function or a class, or cannot be called.
    """
    is_class = isinstance(provider, type) and not hasattr(provider, "__aiter__")
    if is_class or inspect.iscoroutinefunction(provider) or not callable(provider):
        raise no_provider(provider)


def no_provider(provider: object) -> InvalidInputError:
    """Build the error of what is no provider."""
    expected = "an asynchronous generator function, not yet called, or recorded_function(function) of an async function"
    return InvalidInputError.at("provider", expected, provider)


def name_of(provider: object) -> str:
    """Answer the name that a provider is recorded by."""
    name = getattr(provider, "provider", None) or getattr(provider, "__name__", None)
    return name if isinstance(name, str) and name else type(provider).__name__
