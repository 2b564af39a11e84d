"""Chat endpoints that speak as OpenAI's does, streamed: OpenAI itself, vLLM, llama.cpp, Ollama, and many others."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from jido_tortoise.recording.pricing import tokens
from jido_tortoise.recording.providers.base import Answer, Request, Said
from jido_tortoise.recording.providers.http import Account, Call, HttpProvider
from jido_tortoise.recording.providers.sse import cut, failed_within, malformed
from jido_tortoise.recording.transcript import Message


class OpenAIProvider(HttpProvider):
    """Answers by a model behind `/chat/completions`; see `HttpProvider` for the arguments.

    Tokens read from the cache, which this API counts among those of the prompt, are counted apart from `input_tokens`.
    An endpoint that tells no usage leaves the run without one.
    """

    url = "https://api.openai.com/v1"
    name = "openai"

    async def __call__(self, request: Request) -> AsyncIterator[Said | Answer]:
        """Stream the answer to a request.

        Raises:
            ProviderUnavailableError: It may succeed when it is tried again.
            ProviderError: It will not.
        """
        headers = {} if self._key is None else {"authorization": f"Bearer {self._key}"}
        body = self._body(request)
        account = Account(str(body["model"]))
        async with self._posted("/chat/completions", headers, body) as sent:
            async for item in sent:
                if isinstance(item.get("error"), Mapping):
                    raise failed_within(self.provider, item["error"])
                try:
                    said = _said(item, account)
                except (KeyError, TypeError, AttributeError, IndexError) as error:
                    raise malformed(self.provider, "the chunks of a chat completion", item) from error
                for one in said:
                    yield one
        if not account.complete:
            raise cut(self.provider)
        for last in account.ending():
            yield last

    def _body(self, request: Request) -> dict[str, Any]:
        own = {"model": self.model, "stream_options": {"include_usage": True}}
        return {**own, **self._options, **request.options, "messages": rendered(request.messages), "stream": True}


def _said(item: Mapping[str, Any], account: Account) -> Sequence[Said]:
    account.model = item.get("model") or account.model
    said = []
    for choice in (item.get("choices") or ())[:1]:
        account.stop_reason = choice.get("finish_reason") or account.stop_reason
        account.complete = account.stop_reason is not None
        delta = choice.get("delta") or {}
        if delta.get("content"):
            account.text.append(delta["content"])
            said.append(Said("message_streamed", {"content": delta["content"]}))
        for call in delta.get("tool_calls") or ():
            _add(call, account)
    if item.get("usage"):
        said.append(_usage(item["usage"], account))
    return said


def _add(call: Mapping[str, Any], account: Account) -> None:
    function = call.get("function") or {}
    known = account.calls.setdefault(call.get("index", 0), Call("", None))
    known.name += function.get("name") or ""
    known.id = call.get("id") or known.id
    known.arguments += function.get("arguments") or ""


def _usage(usage: Mapping[str, Any], account: Account) -> Said:
    prompt, output = tokens(usage.get("prompt_tokens")), tokens(usage.get("completion_tokens"))
    cached = min(prompt, tokens((usage.get("prompt_tokens_details") or {}).get("cached_tokens")))
    data = {
        "input_tokens": prompt - cached,
        "output_tokens": output,
        "cache_read_tokens": cached,
        "total_tokens": tokens(usage.get("total_tokens")) or prompt + output,
        "model": account.model,
    }
    return Said("token_usage_updated", data)


def rendered(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Answer messages as this API takes them."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        if not message.is_tool_call:
            turns.append(_turn(message))
            continue
        arguments = json.dumps(message.tool_input if message.tool_input is not None else {}, default=str)
        call = {
            "id": message.tool_call_id,
            "type": "function",
            "function": {"name": message.tool_name, "arguments": arguments},
        }
        if turns and turns[-1]["role"] == "assistant":  # text and calls of one turn are one message
            turns[-1].setdefault("tool_calls", []).append(call)
        else:
            turns.append({"role": "assistant", "content": None, "tool_calls": [call]})
    return turns


def _turn(message: Message) -> dict[str, Any]:
    if message.role != "tool":
        return {"role": message.role, "content": message.content}
    output = message.tool_output
    content = output if isinstance(output, str) else json.dumps(output, default=str)
    return {"role": "tool", "tool_call_id": message.tool_call_id, "content": content}
