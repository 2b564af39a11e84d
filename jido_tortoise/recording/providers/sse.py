"""Server-sent events over HTTP, and what each way of failing means.

httpx is needed here and nowhere else (extra `providers`); it is imported when a provider is made.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from importlib import import_module
from typing import Any

from jido_tortoise.errors import ConfigError, ProviderError, ProviderUnavailableError

#: Bytes that one line may have: a provider that sends no end of it must not fill the memory.
MOST_LINE = 4 * 2**20
#: Bytes of an answer that refuses, of which the message is made.
_MOST_REFUSAL = 65_536


def httpx_for(who: str) -> Any:
    """Import httpx.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return import_module("httpx")
    except ImportError as error:
        raise ConfigError(
            f"{who} needs httpx: pip install 'jido-tortoise[providers]'", reason="dependency_not_available"
        ) from error


@asynccontextmanager
async def posted(
    client: Any, url: str, headers: Mapping[str, str], body: Mapping[str, Any], provider: str
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """Post a request, and give the JSON objects that the answer streams.

    Raises:
        ProviderUnavailableError: No connection, a timeout, too many requests, a failure over there, or a cut stream.
        ProviderError: It refuses the request, or what it sends is not what was agreed.
    """
    httpx = httpx_for(provider)
    try:
        async with client.stream("POST", url, headers=dict(headers), json=body) as response:
            if response.status_code != 200:
                raise await _refusal(response, provider)
            # All generators are closed here and now: left to the garbage collector, they would keep the connection.
            async with aclosing(_objects(response, provider)) as objects:
                yield objects
    except httpx.TimeoutException as error:
        raise ProviderUnavailableError(
            f"{provider} did not answer in time", reason="provider_timeout", provider=provider
        ) from error
    except httpx.TransportError as error:
        # Its message names hosts and ports, no header and no body.
        raise ProviderUnavailableError(
            f"{provider} cannot be reached, or went away: {error}", provider=provider
        ) from error


async def _objects(response: Any, provider: str) -> AsyncGenerator[dict[str, Any], None]:
    async with aclosing(_events(response, provider)) as events:
        async for data in events:
            if data == "[DONE]":
                return
            try:
                value = json.loads(data)
            except ValueError as error:
                raise malformed(provider, "JSON", data) from error
            if not isinstance(value, dict):
                raise malformed(provider, "an object", data)
            yield value


async def _events(response: Any, provider: str) -> AsyncGenerator[str, None]:
    """Give the data of each event; what has no empty line after it was cut off, and does not count."""
    data: list[str] = []
    async with aclosing(_lines(response, provider)) as lines:
        async for line in lines:
            if not line:
                if data:
                    yield "\n".join(data)
                data = []
            elif line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))


async def _lines(response: Any, provider: str) -> AsyncGenerator[str, None]:
    # Not httpx's own lines: those end at U+2028 too, which JSON may have within a string.
    rest = bytearray()
    async with aclosing(response.aiter_bytes()) as chunks:
        async for chunk in chunks:
            *ends, start = chunk.split(b"\n")
            for end in ends:
                rest += end
                yield rest.removesuffix(b"\r").decode("utf-8", "replace")
                rest.clear()
            rest += start
            if len(rest) > MOST_LINE:
                raise malformed(provider, f"lines of at most {MOST_LINE} bytes", "a longer one")


def malformed(provider: str, expected: str, got: object) -> ProviderError:
    """Make the error of an answer that is not what was agreed."""
    return ProviderError(
        f"{provider} sent something else than {expected}: {_beginning(str(got), 80)!r}",
        reason="provider_malformed_response",
        provider=provider,
    )


async def _refusal(response: Any, provider: str) -> ProviderError:
    text = await _start_of(response)
    try:
        body = json.loads(text)
    except ValueError:
        body = _beginning(text, 500)
    facts = {
        "provider": provider,
        "status": response.status_code,
        "request_id": response.headers.get("request-id") or response.headers.get("x-request-id"),
        "retry_after": response.headers.get("retry-after"),
        "provider_error": body,
    }
    message = f"{provider} answered {response.status_code}: {message_of(body)}"
    if response.status_code == 429:
        return ProviderUnavailableError(message, reason="provider_rate_limited", **facts)
    if response.status_code >= 500 or response.status_code == 408:
        return ProviderUnavailableError(message, **facts)
    return ProviderError(message, **facts)


async def _start_of(response: Any) -> str:
    start = b""
    async with aclosing(response.aiter_bytes()) as chunks:
        async for chunk in chunks:
            start += chunk
            if len(start) >= _MOST_REFUSAL:
                break
    return start[:_MOST_REFUSAL].decode("utf-8", "replace")


def message_of(body: object) -> str:
    """Answer what a provider says of its error, at most 500 characters of it."""
    error = body.get("error", body) if isinstance(body, Mapping) else body
    said = error.get("message", error) if isinstance(error, Mapping) else error
    return _beginning(str(said), 500)


def _beginning(text: str, most: int) -> str:
    """Answer a text, or of a longer one its first whole words: a redactor does not know half a secret for one."""
    if len(text) <= most:
        return text
    words = re.match(r"(?s).*(?=\s)", text[:most])
    return f"{words[0]} ..." if words else f"a text of {len(text)} characters"


def failed_within(provider: str, error: Mapping[str, Any]) -> ProviderError:
    """Make the error of a stream that began well and then says that it failed."""
    kind = str(error.get("type") or error.get("code") or "error")
    message = f"{provider} failed: {message_of(error)}"
    if "rate_limit" in kind:
        return ProviderUnavailableError(
            message, reason="provider_rate_limited", provider=provider, provider_error=dict(error)
        )
    if "overloaded" in kind or "api_error" in kind or "server" in kind or "timeout" in kind:
        return ProviderUnavailableError(message, provider=provider, provider_error=dict(error))
    return ProviderError(message, provider=provider, provider_error=dict(error))


def cut(provider: str) -> ProviderUnavailableError:
    """Make the error of a stream that ended before it was complete."""
    return ProviderUnavailableError(f"{provider} ended the stream before the answer was complete", provider=provider)
