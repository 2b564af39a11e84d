"""Conversations recorded as a host records its agent's: a session each, a run a user's turn, an event a message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from jido_tortoise.demo import transcripts
from jido_tortoise.recording import Event, SessionManager
from jido_tortoise.recording.providers import Answer, Said
from jido_tortoise.recording.providers.base import Request

Message = dict[str, Any]
#: Conversations that are recorded at once.
_AT_ONCE = 4
_MODELS = {"anthropic": "claude-haiku-4-5", "openai": "gpt-4o"}
_TOLD = ("message_sent", "message_received", "tool_call_started", "tool_call_completed")


@dataclass(frozen=True)
class Talk:
    """One conversation, and how it is recorded."""

    number: int
    messages: list[Message]
    metadata: Mapping[str, Any]

    @property
    def id(self) -> str:
        return f"talk-{self.number:03}"

    @property
    def agent_id(self) -> str:
        return ("clerk", "guide", "porter")[self.number % 3]

    @property
    def provider(self) -> str:
        return ("anthropic", "openai")[self.number % 2]

    @property
    def tags(self) -> list[str]:
        return ["pinned", "paid"] if self.number % 4 == 1 else ["paid"] if self.number % 2 else []

    @property
    def ended(self) -> str:
        """The status that its session ends with."""
        return "completed" if self.metadata.get("solved", self.metadata.get("reward")) else "failed"

    @property
    def turns(self) -> list[tuple[int, int]]:
        """From where to where in the messages each turn goes: a user's message, and all up to the next one."""
        starts = [at for at, message in enumerate(self.messages) if message["role"] == "user"]
        return list(zip(starts, [*starts[1:], len(self.messages)], strict=True))

    @property
    def tokens(self) -> list[tuple[int, int]]:
        """What each message of the assistant costs: all before it goes in, itself comes out."""
        sizes = [tokens_of(message) for message in self.messages]
        before = [0, *accumulate(sizes)]
        return [(before[at], sizes[at]) for at, message in enumerate(self.messages) if message["role"] == "assistant"]


def tokens_of(message: Message) -> int:
    """Estimate the tokens of a message: four characters of its JSON are one."""
    return -(-len(json.dumps(message, ensure_ascii=False)) // 4)


def talks_of(path: Path) -> list[Talk]:
    """Read the conversations of a file of transcripts."""
    read = [one for one in transcripts.read(path) if isinstance(one, transcripts.Conversation)]
    return [Talk(number, one.messages, one.metadata) for number, one in enumerate(read)]


# -- recording ----------------------------------------------------------------------------------------------------


async def record_all(manager: SessionManager, talks: Iterable[Talk]) -> None:
    """Record conversations, several at once."""
    left = iter(talks)

    async def work() -> None:
        for talk in left:
            await record(manager, talk)

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))


async def record(manager: SessionManager, talk: Talk) -> None:
    """Record one conversation from its beginning to its end."""
    started = {"provider": talk.provider, "session_id": talk.id, "metadata": talk.metadata, "tags": talk.tags}
    session = await manager.start_session(talk.agent_id, **started)
    await manager.activate_session(session.id)
    opening = talk.messages[: talk.turns[0][0]]
    await manager.record_all(session.id, [said for message in opening for said in _said(message)])
    used = iter(talk.tokens)
    for start, end in talk.turns:
        run = await manager.start_run(session.id, {"messages": [talk.messages[start]]})
        answers = [*_with_usage(talk.messages[start + 1 : end], used)]
        await manager.execute_run(run.id, _Teller(talk.provider, answers))
    if talk.ended == "completed":
        await manager.complete_session(session.id)
    else:
        await manager.fail_session(session.id, "the user was not helped")


class _Teller:
    """Answers a run with what was answered when the conversation took place."""

    def __init__(self, provider: str, answers: list[Said]) -> None:
        self.provider, self._answers = provider, answers

    async def __call__(self, request: Request) -> AsyncIterator[Said | Answer]:
        for said in self._answers:
            yield said
        texts = [said.data["content"] for said in self._answers if said.type == "message_received"]
        yield Answer(output={"content": texts[-1] if texts else None}, model=_MODELS[self.provider])


def _with_usage(messages: Iterable[Message], used: Iterator[tuple[int, int]]) -> Iterator[Said]:
    for message in messages:
        yield from _said(message)
        if message["role"] == "assistant":
            given, answered = next(used)
            yield Said("token_usage_updated", {"input_tokens": given, "output_tokens": answered})


def _said(message: Message) -> Iterator[Said]:
    if message["role"] == "tool":
        names = {"tool_name": message["name"], "tool_call_id": message["tool_call_id"]}
        yield Said("tool_call_completed", {**names, "tool_output": message["content"]})
    elif message["role"] != "assistant":
        yield Said("message_sent", message)
    elif message["content"] is not None:
        yield Said("message_received", {name: value for name, value in message.items() if name != "tool_calls"})
    for call in message.get("tool_calls") or ():
        function = call["function"]
        given = {"tool_input": json.loads(function["arguments"]), "arguments": function["arguments"]}
        yield Said("tool_call_started", {"tool_name": function["name"], "tool_call_id": call["id"], **given})


# -- reading ------------------------------------------------------------------------------------------------------


def messages_of(events: Iterable[Event]) -> list[Message]:
    """Answer the conversation that events tell."""
    messages: list[Message] = []
    for event in events:
        data = event.data
        if event.type == "tool_call_completed":
            call = {"tool_call_id": data["tool_call_id"], "name": data["tool_name"]}
            messages.append({"role": "tool", **call, "content": data["tool_output"]})
        elif event.type == "tool_call_started":
            _caller(messages).setdefault("tool_calls", []).append(_call(data))
        elif event.type in _TOLD:
            messages.append(dict(data))
    return messages


def _caller(messages: list[Message]) -> Message:
    if messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    return messages[-1]


def _call(data: Mapping[str, Any]) -> Message:
    assert json.loads(data["arguments"]) == data["tool_input"]
    function = {"name": data["tool_name"], "arguments": data["arguments"]}
    return {"id": data["tool_call_id"], "type": "function", "function": function}
