"""The providers against a real HTTP server: what they send, what they make of the answer, and of every way to fail."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from jido_tortoise.errors import ConfigError, InvalidInputError, ProviderError, ProviderUnavailableError
from jido_tortoise.recording.providers import (
    Answer,
    AnthropicProvider,
    OpenAIProvider,
    Request,
    Said,
    ScriptedProvider,
    recorded_function,
)
from jido_tortoise.recording.transcript import Message
from tests.integration.llm_server import CUT, LlmServer, Part, anthropic_answer, llm_server, openai_answer

_KEY = "sk-test-not-a-key"
_MESSAGES = (
    Message(role="system", content="be brief"),
    Message(role="user", content="weather?"),
    Message(role="assistant", content="let me see"),
    Message(role="assistant", tool_call_id="c1", tool_name="weather", tool_input={"city": "Ulm"}),
    Message(role="tool", tool_call_id="c1", tool_name="weather", tool_output={"sky": "grey"}, failed=True),
    Message(role="user", content="and tomorrow?"),
)


@pytest.fixture
async def server() -> AsyncIterator[LlmServer]:
    async with llm_server() as running:
        yield running


def _provider(kind: str, server: LlmServer, **options: Any) -> Any:
    made = AnthropicProvider if kind == "anthropic" else OpenAIProvider
    return made("some-model", api_key=_KEY, base_url=server.url, timeout=5.0, **options)


def _whole(kind: str, *texts: str) -> list[Part]:
    return anthropic_answer(*texts) if kind == "anthropic" else openai_answer(*texts)


async def _said(provider: Any, messages: tuple[Message, ...] = _MESSAGES, **options: Any) -> list[Said | Answer]:
    request = Request(session_id="s", run_id="r", messages=messages, options=options)
    return [item async for item in provider(request)]


def _types(said: list[Said | Answer]) -> list[str]:
    return [item.type if isinstance(item, Said) else "answer" for item in said]


def _usage(said: list[Said | Answer]) -> dict[str, int]:
    total: dict[str, int] = {}
    for item in said:
        if isinstance(item, Said) and item.type == "token_usage_updated":
            for name, value in item.data.items():
                if isinstance(value, int):
                    total[name] = total.get(name, 0) + value
    return total


both = pytest.mark.parametrize("kind", ["anthropic", "openai"])


@both
async def test_text_is_streamed_then_whole_then_answered(kind: str, server: LlmServer) -> None:
    """Each piece as it comes, the message when it is complete, tokens apart from cached ones, the answer last."""
    server.answer(*_whole(kind, "Hel", "lo \u2028 ü", "!"))
    said = await _said(_provider(kind, server))
    streamed = [item.data["content"] for item in said if isinstance(item, Said) and item.type == "message_streamed"]
    assert streamed == ["Hel", "lo \u2028 ü", "!"]
    received = next(item for item in said if isinstance(item, Said) and item.type == "message_received")
    assert received.data == {"content": "Hello \u2028 ü!", "role": "assistant"}
    answer = said[-1]
    assert isinstance(answer, Answer)
    assert answer.output["content"] == "Hello \u2028 ü!"
    if kind == "anthropic":
        assert (answer.model, answer.stop_reason) == ("claude-haiku-4-5-20251001", "end_turn")
        expected = {"input_tokens": 10, "cache_read_tokens": 3, "cache_creation_tokens": 2, "output_tokens": 4}
        assert _usage(said) == {**expected, "total_tokens": 19}
    else:
        assert (answer.model, answer.stop_reason) == ("gpt-4o-mini-2024-07-18", "stop")
        assert _usage(said) == {"input_tokens": 4, "cache_read_tokens": 6, "output_tokens": 4, "total_tokens": 14}


async def test_what_is_sent_to_anthropic(server: LlmServer) -> None:
    """The system apart, roles that alternate, calls and results as blocks, options of the run before the provider's."""
    server.answer(*anthropic_answer("ok"))
    await _said(_provider("anthropic", server, options={"temperature": 0, "max_tokens": 9}), temperature=1)
    path, headers, body = server.requests[0]
    assert (path, headers["x-api-key"], headers["anthropic-version"]) == ("/v1/messages", _KEY, "2023-06-01")
    assert (body["model"], body["temperature"], body["max_tokens"], body["stream"]) == ("some-model", 1, 9, True)
    assert body["system"] == "be brief"
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][1]["content"] == [
        {"type": "text", "text": "let me see"},
        {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Ulm"}},
    ]
    result, question = body["messages"][2]["content"]
    assert (result["tool_use_id"], result["is_error"], question["text"]) == ("c1", True, "and tomorrow?")


async def test_what_is_sent_to_openai(server: LlmServer) -> None:
    """Calls belong to the assistant's message before them, results to the role tool."""
    server.answer(*openai_answer("ok"))
    await _said(_provider("openai", server), model="other")
    path, headers, body = server.requests[0]
    assert (path, headers["authorization"]) == ("/chat/completions", f"Bearer {_KEY}")
    assert (body["model"], body["stream_options"]) == ("other", {"include_usage": True})
    assert [turn["role"] for turn in body["messages"]] == ["system", "user", "assistant", "tool", "user"]
    assert body["messages"][2]["content"] == "let me see"
    assert body["messages"][2]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Ulm"}'}
    assert body["messages"][3] == {"role": "tool", "tool_call_id": "c1", "content": '{"sky": "grey"}'}


def _json_delta(piece: str) -> dict[str, str]:
    return {"type": "input_json_delta", "partial_json": piece}


async def test_calls_of_tools_arrive_in_pieces(server: LlmServer) -> None:
    """Arguments are put together; those that are no JSON are kept as text."""

    def block(index: int, *pieces: str) -> list[Part]:
        start = {"type": "tool_use", "id": f"t{index}", "name": "look"}
        return [
            {"type": "content_block_start", "index": index, "content_block": start},
            *(
                {
                    "type": "content_block_delta",
                    "index": index,
                    "delta": _json_delta(p),
                }
                for p in pieces
            ),
        ]

    whole = anthropic_answer()
    server.answer(*whole[:1], *block(1, '{"a": ', "1}"), *block(2, "{broken"), *block(3), *whole[-2:])
    said = await _said(_provider("anthropic", server))
    calls = [dict(item.data) for item in said if isinstance(item, Said) and item.type == "tool_call_started"]
    assert [call["tool_input"] for call in calls] == [{"a": 1}, "{broken", {}]
    assert calls[0]["tool_call_id"] == "t1"

    def call(**more: Any) -> Part:
        return {"choices": [{"delta": {"tool_calls": [{"index": 0, **more}]}, "finish_reason": None}]}

    server.answer(
        call(id="x", function={"name": "look", "arguments": ""}),
        call(function={"arguments": '{"a":'}),
        call(function={"arguments": "2}"}),
        {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
        b"data: [DONE]\n\n",
    )
    said = await _said(_provider("openai", server))
    assert _types(said) == ["tool_call_started", "turn_completed", "answer"]
    assert isinstance(said[0], Said)
    assert said[0].data == {"tool_name": "look", "tool_call_id": "x", "tool_input": {"a": 2}}


@both
@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (429, ProviderUnavailableError, "provider_rate_limited"),
        (529, ProviderUnavailableError, "provider_unavailable"),
        (500, ProviderUnavailableError, "provider_unavailable"),
        (401, ProviderError, "provider_error"),
    ],
)
async def test_a_refusal_is_told_by_its_kind(
    kind: str, status: int, error: type[ProviderError], reason: str, server: LlmServer
) -> None:
    """With the status, what was said, and when to come back; never with the key."""
    server.answer(b'{"error": {"message": "no, not now"}}', status=status, retry_after="7", request_id="q1")
    with pytest.raises(error, match="no, not now") as caught:
        await _said(_provider(kind, server))
    found = caught.value
    assert (found.reason, found.retryable) == (reason, error is ProviderUnavailableError)
    assert (found.status, found.retry_after, found.request_id) == (status, "7", "q1")
    assert _KEY not in repr(found) + str(found.facts) + repr(_provider(kind, server))


@both
@pytest.mark.parametrize("form", ["JSON", "text", "noise"])
async def test_what_is_cut_has_no_half_secret(kind: str, form: str, server: LlmServer) -> None:
    """Whole secrets are found by who records the error; nobody knows the first half of one for what it is."""
    secret = "ghp_" + "aBcDeFgHi" * 4
    said = "no " * ((80 if form == "noise" else 500) // 3 - 8) + secret
    if form == "noise":
        server.answer(*_whole(kind, "a")[:2], f"data: {said}\n\n".encode())
    else:
        body = json.dumps({"error": {"message": said}}) if form == "JSON" else said
        server.answer(body.encode(), status=401)
    with pytest.raises(ProviderError, match="no no no") as caught:
        await _said(_provider(kind, server))
    told = str(caught.value) + ("" if form == "JSON" else str(caught.value.facts))
    assert secret[:8] not in told


@both
@pytest.mark.parametrize("ending", ["cut within a chunk", "closed early", "cut within an event"])
async def test_a_cut_stream_is_no_answer(kind: str, ending: str, server: LlmServer) -> None:
    """What came before was said, then an error that may be tried again: half an answer never looks like one."""
    whole = _whole(kind, "Hel", "lo")
    ends: dict[str, list[Part]] = {
        "cut within a chunk": [CUT],
        "closed early": [],
        "cut within an event": [b'data: {"type": "message_stop"'],
    }
    server.answer(*whole[: 4 if kind == "anthropic" else 3], *ends[ending])
    heard = []
    with pytest.raises(ProviderUnavailableError):
        async for item in _provider(kind, server)(Request(session_id="s", run_id="r")):
            heard.append(item)
    assert "message_streamed" in _types(heard)
    assert "answer" not in _types(heard)


@both
@pytest.mark.parametrize(
    "noise",
    [
        b"data: {not json}\n\n",
        b"data: [1, 2]\n\n",
        b'data: {"type": "content_block_delta", "index": 0, "choices": [7]}\n\n',
        b"data: " + b"x" * (5 * 2**20),
    ],
    ids=["no JSON", "no object", "wrong shape", "endless line"],
)
async def test_noise_is_refused_by_name(kind: str, noise: bytes, server: LlmServer) -> None:
    """It says what was expected and a little of what came; memory stays bounded."""
    server.answer(*_whole(kind, "a")[:2], noise, *_whole(kind, "a")[2:])
    with pytest.raises(ProviderError) as caught:
        await _said(_provider(kind, server))
    assert caught.value.reason == "provider_malformed_response"
    assert len(str(caught.value)) < 300


@both
async def test_comments_pings_and_lines_of_any_kind_are_passed_by(kind: str, server: LlmServer) -> None:
    """Events in one chunk or in many, CRLF, comments, empty events: the answer is the same."""
    raw = b""
    for part in _whole(kind, "one", "two"):
        raw += (
            part if isinstance(part, bytes) else b": hm\r\nevent: x\r\ndata:" + json.dumps(part).encode() + b"\r\n\r\n"
        )
    server.answer(*(raw[at : at + 7] for at in range(0, len(raw), 7)))
    said = await _said(_provider(kind, server))
    assert said[-1].output["content"] == "onetwo"  # type: ignore[union-attr]


@both
async def test_an_error_within_the_stream(kind: str, server: LlmServer) -> None:
    """A provider may begin well and then be overloaded."""
    server.answer(
        *_whole(kind, "a")[:4], {"type": "error", "error": {"type": "overloaded_error", "message": "too much"}}
    )
    with pytest.raises(ProviderUnavailableError, match="too much"):
        await _said(_provider(kind, server))


@both
async def test_no_server_and_a_silent_one(kind: str, server: LlmServer) -> None:
    """Both may be tried again, and a silent one is named so."""
    gone = _provider(kind, server)
    gone.base_url = "http://127.0.0.1:9"
    with pytest.raises(ProviderUnavailableError) as caught:
        await _said(gone)
    assert caught.value.reason == "provider_unavailable"
    server.answer(*_whole(kind, "a")[:2], 5.0)
    slow = _provider(kind, server)
    slow._timeout = 0.2
    with pytest.raises(ProviderUnavailableError) as caught:
        await _said(slow)
    assert caught.value.reason == "provider_timeout"


@both
async def test_closing_the_generator_hangs_up(kind: str, server: LlmServer) -> None:
    """A run that is cancelled stops the provider: the server sees its client go, also in the middle of a wait."""
    server.answer(*_whole(kind, "a")[:4], 5.0)
    stream = _provider(kind, server)(Request(session_id="s", run_id="r"))
    await anext(stream)
    await stream.aclose()
    await asyncio.wait_for(server.left.wait(), 2)

    server.left.clear()
    server.waiting.clear()
    server.answer(*_whole(kind, "a")[:2], 5.0)
    task = asyncio.create_task(_said(_provider(kind, server)))
    await asyncio.wait_for(server.waiting.wait(), 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(server.left.wait(), 2)


async def test_without_httpx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is optional: the error says what to install."""
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ConfigError, match=r"jido-tortoise\[providers\]") as caught:
        OpenAIProvider("m")
    assert caught.value.reason == "dependency_not_available"


async def test_a_script_is_followed_once_a_call() -> None:
    """Events, the answer, an error where the script has one; a call too many is refused."""
    provider = ScriptedProvider([Said("message_streamed", {"content": "a"}), ValueError("no")], [Answer(output={})])
    stream = provider(Request(session_id="s", run_id="r"))
    assert isinstance(await anext(stream), Said)
    with pytest.raises(ValueError, match="no"):
        await anext(stream)
    assert await _said(provider) == [Answer(output={})]
    with pytest.raises(InvalidInputError, match="call 3"):
        await _said(provider)
    assert [item.session_id for item in provider.requests] == ["s", "s"]


async def test_a_plain_function_becomes_a_provider() -> None:
    """It gets the run's input as it would from anybody, and what it returns is the output."""

    async def shout(text: str) -> str:
        return text.upper()

    async def whole(given: str) -> Answer:
        return Answer(output={"n": len(given)}, token_usage={"input_tokens": 1})

    provider = recorded_function(shout)
    assert provider.provider == "shout"  # type: ignore[attr-defined]
    said = [item async for item in provider(Request(session_id="s", run_id="r", input={"text": "hi"}))]
    assert _types(said) == ["message_received", "answer"]
    assert said[-1] == Answer(output={"content": "HI"})
    said = [item async for item in recorded_function(whole)(Request(session_id="s", run_id="r", input="abc"))]
    assert said == [Answer(output={"n": 3}, token_usage={"input_tokens": 1})]
    with pytest.raises(InvalidInputError):
        recorded_function(len)  # type: ignore[arg-type]
