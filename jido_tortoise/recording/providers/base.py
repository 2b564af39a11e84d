"""What a manager asks a provider, and what a provider may say."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from jido_tortoise.errors import InvalidInputError
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
