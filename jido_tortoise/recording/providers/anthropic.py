"""Anthropic's Messages API, streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from jido_tortoise.recording.pricing import tokens
from jido_tortoise.recording.providers.base import Answer, Request, Said
from jido_tortoise.recording.providers.http import Account, Call, HttpProvider
from jido_tortoise.recording.providers.sse import cut, failed_within, malformed
from jido_tortoise.recording.transcript import Message

_VERSION = "2023-06-01"
#: The most tokens of an answer, which this API wants to be told.
_MAX_TOKENS = 4096


class AnthropicProvider(HttpProvider):
    """Answers by a model of Anthropic; see `HttpProvider` for the arguments.

    Text and calls of tools are recorded, thinking is not. Tokens read from and written to the cache are counted apart
    from `input_tokens`.
    """

    url = "https://api.anthropic.com"
    name = "anthropic"

    async def __call__(self, request: Request) -> AsyncIterator[Said | Answer]:
        """Stream the answer to a request.

        Raises:
            ProviderUnavailableError: It may succeed when it is tried again.
            ProviderError: It will not.
        """
        headers = {"anthropic-version": _VERSION, **({} if self._key is None else {"x-api-key": self._key})}
        body = self._body(request)
        account = Account(str(body["model"]))
        async with self._posted("/v1/messages", headers, body) as sent:
            async for item in sent:
                try:
                    said = self._said(item, account)
                except (KeyError, TypeError, AttributeError) as error:
                    raise malformed(self.provider, "the events of the Messages API", item) from error
                for one in said:
                    yield one
        if not account.complete:
            raise cut(self.provider)
        for last in account.ending():
            yield last

    def _body(self, request: Request) -> dict[str, Any]:
        system, messages = rendered(request.messages)
        body = {"model": self.model, "max_tokens": _MAX_TOKENS, **self._options, **request.options}
        if system:
            body["system"] = system
        return {**body, "messages": messages, "stream": True}

    def _said(self, item: Mapping[str, Any], account: Account) -> Sequence[Said]:
        kind = item.get("type")
        if kind == "content_block_delta":
            return _delta(item["index"], item["delta"], account)
        if kind == "content_block_start" and item["content_block"]["type"] == "tool_use":
            account.calls[item["index"]] = Call(item["content_block"]["name"], item["content_block"]["id"])
        elif kind == "message_start":
            account.model = item["message"].get("model") or account.model
            return [_usage(item["message"].get("usage") or {}, account, output=False)]
        elif kind == "message_delta":
            account.stop_reason = item["delta"].get("stop_reason") or account.stop_reason
            return [_usage(item.get("usage") or {}, account, output=True)]
        elif kind == "message_stop":
            account.complete = True
        elif kind == "error":
            raise failed_within(self.provider, item["error"])
        return []


def _delta(index: int, delta: Mapping[str, Any], account: Account) -> Sequence[Said]:
    if delta["type"] == "text_delta":
        account.text.append(delta["text"])
        return [Said("message_streamed", {"content": delta["text"]})]
    if delta["type"] == "input_json_delta":
        account.calls[index].arguments += delta["partial_json"]
    return []


def _usage(usage: Mapping[str, Any], account: Account, *, output: bool) -> Said:
    """Say what was used: input at the start, so that a run that fails later keeps it, output at the end."""
    data: dict[str, Any] = {"input_tokens": 0, "output_tokens": 0, "model": account.model}
    if output:
        data["output_tokens"] = tokens(usage.get("output_tokens"))
    else:
        data["input_tokens"] = tokens(usage.get("input_tokens"))
        data["cache_read_tokens"] = tokens(usage.get("cache_read_input_tokens"))
        data["cache_creation_tokens"] = tokens(usage.get("cache_creation_input_tokens"))
    data["total_tokens"] = sum(value for key, value in data.items() if key != "model")
    return Said("token_usage_updated", data)


def rendered(messages: Sequence[Message]) -> tuple[str, list[dict[str, Any]]]:
    """Answer messages as this API takes them: the system's text, and the turns of user and assistant."""
    system = "\n\n".join(str(message.content) for message in messages if message.role == "system")
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if turns and turns[-1]["role"] == role:  # roles must alternate
            turns[-1]["content"] += _blocks(message)
        else:
            turns.append({"role": role, "content": _blocks(message)})
    return system, turns


def _blocks(message: Message) -> list[Any]:
    if message.is_tool_call:
        call = {"id": message.tool_call_id, "name": message.tool_name, "input": message.tool_input or {}}
        return [{"type": "tool_use", **call}]
    if message.role == "tool":
        output = message.tool_output
        content = output if isinstance(output, str | list) else str(output)
        block = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": content}
        return [{**block, "is_error": True} if message.failed else block]
    if isinstance(message.content, list):
        return list(message.content)
    return [{"type": "text", "text": str(message.content)}]
