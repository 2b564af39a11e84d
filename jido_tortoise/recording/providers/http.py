"""What both providers over HTTP have in common: a client, a key, and the account of one streamed answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from jido_tortoise import checks
from jido_tortoise.recording.providers.base import Answer, Said
from jido_tortoise.recording.providers.sse import httpx_for, posted

#: Seconds without a single byte after which a provider is given up.
TIMEOUT = 120.0


class HttpProvider:
    """A provider behind an HTTP endpoint.

    Args:
        model: The model, when a run's options name none.
        api_key: Sent with each request, and kept out of every message and repr.
        base_url: Where the endpoint is; the provider's own when None.
        options: Sent with each request; a run's own go before them.
        client: Your `httpx.AsyncClient`, which stays yours to close. None: one is opened for each run.
        timeout: Seconds without a byte after which the provider is given up, and for connecting a twelfth of it; a
            client of yours has its own.
        provider: The name that it is recorded by; `anthropic` or `openai` when None.
    """

    native = False
    #: Where the endpoint is, and what it is recorded by, when nothing else is said.
    url: ClassVar[str]
    name: ClassVar[str]

    def __init__(
        self,
        model: str,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        options: Mapping[str, Any] | None = None,
        client: Any = None,
        timeout: float = TIMEOUT,
        provider: str | None = None,
    ) -> None:
        self._httpx = httpx_for(type(self).__name__)
        self.model = checks.text(model, "model")
        self.provider = checks.text(self.name if provider is None else provider, "provider")
        self.base_url = (self.url if base_url is None else base_url).rstrip("/")
        self._key = api_key
        self._options = dict(options or {})
        self._client = client
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r}, base_url={self.base_url!r})"

    @asynccontextmanager
    async def _posted(
        self, path: str, headers: Mapping[str, str], body: Mapping[str, Any]
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        async with self._opened() as client, posted(client, self.base_url + path, headers, body, self.provider) as sent:
            yield sent

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Any]:
        if self._client is not None:
            yield self._client
            return
        timeout = self._httpx.Timeout(self._timeout, connect=self._timeout / 12)
        async with self._httpx.AsyncClient(timeout=timeout) as client:
            yield client


@dataclass(slots=True)
class Call:
    """A call of a tool whose arguments are still arriving."""

    name: str
    id: str | None
    arguments: str = ""

    def said(self) -> Said:
        """Answer it as an event; arguments that are no JSON are kept as the text that they are."""
        try:
            given = json.loads(self.arguments or "{}")
        except ValueError:
            given = self.arguments
        return Said("tool_call_started", {"tool_name": self.name, "tool_call_id": self.id, "tool_input": given})


@dataclass(slots=True)
class Account:
    """What has arrived of an answer."""

    model: str
    text: list[str] = field(default_factory=list)
    calls: dict[int, Call] = field(default_factory=dict)
    stop_reason: str | None = None
    #: Whether the provider has said that this is all.
    complete: bool = False

    def ending(self) -> list[Said | Answer]:
        """Answer what is to be said when all of it is there: the whole message, the calls, the end."""
        content = "".join(self.text)
        said: list[Said | Answer] = []
        if content:
            said.append(Said("message_received", {"content": content, "role": "assistant"}))
        calls = [self.calls[at].said() for at in sorted(self.calls)]
        reason = self.stop_reason or "end_turn"
        output: dict[str, Any] = {"content": content, "stop_reason": reason}
        if calls:
            output["tool_calls"] = [dict(call.data) for call in calls]
        return [
            *said,
            *calls,
            Said("turn_completed", {"stop_reason": reason}),
            Answer(output=output, model=self.model, stop_reason=reason),
        ]
