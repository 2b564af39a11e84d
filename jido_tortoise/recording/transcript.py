"""A conversation rebuilt from its events, to go on with it.

What is streamed becomes one message when the whole message arrives, or when something else follows in the same run.
A transcript is a frozen value that remembers how far it has read, an unfinished message included: reading on from there
gives the same as reading everything again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from jido_tortoise import checks
from jido_tortoise.errors import InvalidInputError
from jido_tortoise.recording.entities import Event

#: The types of events that messages are made of.
MESSAGE_TYPES = (
    "message_sent",
    "message_received",
    "message_streamed",
    "tool_call_started",
    "tool_call_completed",
    "tool_call_failed",
)
_ROLES = ("system", "user", "assistant", "tool")
#: How many characters are taken for a token.
CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation, in the words of no particular provider."""

    #: "system", "user", "assistant" or "tool".
    role: str
    #: Text, or the blocks that a provider has sent; None for a tool call and its result.
    content: Any = None
    tool_call_id: str | None = None
    tool_name: str | None = None
    #: Of a call, which is the assistant's.
    tool_input: Any = None
    #: Of a result, which is the tool's.
    tool_output: Any = None
    #: Whether a tool's result says that it failed.
    failed: bool = False
    #: Of the event that completed it: event_id, run_id, sequence_number, timestamp, and its own metadata.
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_tool_call(self) -> bool:
        """Whether the assistant asks for a tool here."""
        return self.role == "assistant" and self.content is None

    @property
    def length(self) -> int:
        """How many characters it has."""
        parts = (self.content, self.tool_name, self.tool_input, self.tool_output)
        return sum(len(_text(part)) for part in parts if part is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """The messages of a session up to an event."""

    session_id: str
    #: The number of the last event that was read, whatever its type; 0 when none was.
    last_sequence: int = 0
    last_timestamp: datetime | None = None
    #: The messages that are complete.
    complete: tuple[Message, ...] = ()
    #: By run, the message that is still being streamed.
    streaming: Mapping[str | None, Message] = field(default_factory=dict)

    @property
    def messages(self) -> tuple[Message, ...]:
        """All messages, what has been streamed so far at the end."""
        return (*self.complete, *self.streaming.values())

    def updated(self, events: Iterable[Event]) -> Transcript:
        """Answer the transcript with more events; those that it has read already are passed by.

        Raises:
            InvalidInputError: An event has no number yet, or is of another session.
        """
        builder = _Builder(self)
        for event in sorted(_checked(events, self.session_id), key=_number):
            if _number(event) > builder.last:
                builder.add(event)
        return builder.transcript()

    def limited(
        self, *, max_messages: int | None = None, max_chars: int | None = None, max_tokens_approx: int | None = None
    ) -> tuple[Message, ...]:
        """Answer the last messages within all limits; a tool's result is never there without its call.

        Args:
            max_messages: At most so many.
            max_chars: At most so many characters together.
            max_tokens_approx: At most so many tokens, four characters each; `max_chars` goes before it.
        """
        for name, limit in (
            ("max_messages", max_messages),
            ("max_chars", max_chars),
            ("max_tokens_approx", max_tokens_approx),
        ):
            if limit is not None:
                checks.whole(limit, name, least=1)
        if max_chars is None and max_tokens_approx is not None:
            max_chars = max_tokens_approx * CHARS_PER_TOKEN
        return _with_their_calls(_last(self.messages, max_messages, max_chars))


def from_events(events: Sequence[Event], *, session_id: str | None = None) -> Transcript:
    """Rebuild a conversation from the events of one session, in the order of their numbers.

    Raises:
        InvalidInputError: There are no events and no session is named, or the events are of several sessions.
    """
    if session_id is None:
        if not events:
            raise InvalidInputError.at("events", "at least one event, or a session_id", events)
        session_id = events[0].session_id
    return Transcript(session_id=session_id).updated(events)


def _checked(events: Iterable[Event], session_id: str) -> Iterable[Event]:
    for at, event in enumerate(events):
        if event.session_id != session_id:
            raise InvalidInputError.at(f"events[{at}].session_id", repr(session_id), event.session_id)
        if event.sequence_number is None:
            raise InvalidInputError.at(f"events[{at}].sequence_number", "a stored event, which has a number", None)
        yield event


def _number(event: Event) -> int:
    return event.sequence_number or 0


class _Builder:
    """A transcript in the making."""

    def __init__(self, start: Transcript) -> None:
        self.last = start.last_sequence
        self._start = start
        self._timestamp = start.last_timestamp
        self._complete = list(start.complete)
        self._streaming = dict(start.streaming)

    def transcript(self) -> Transcript:
        return replace(
            self._start,
            last_sequence=self.last,
            last_timestamp=self._timestamp,
            complete=tuple(self._complete),
            streaming=self._streaming,
        )

    def add(self, event: Event) -> None:
        self.last, self._timestamp = _number(event), event.timestamp
        if event.type == "message_streamed":
            self._stream(event)
        elif event.type == "message_received":
            self._receive(event)
        elif event.type in MESSAGE_TYPES:
            self._finish(event.run_id)
            message = _sent(event) if event.type == "message_sent" else _tool(event)
            if message is not None:
                self._complete.append(message)
        elif event.type in _ENDS:
            self._finish(event.run_id)

    def _stream(self, event: Event) -> None:
        piece = event.data.get("delta") or event.data.get("content") or ""
        before = self._streaming.get(event.run_id)
        content = ("" if before is None else before.content) + _text(piece)
        if content:
            self._streaming[event.run_id] = Message(role="assistant", content=content, metadata=_metadata(event))

    def _receive(self, event: Event) -> None:
        role = _role(event.data.get("role"), "assistant")
        streamed = self._streaming.get(event.run_id)
        if role == "assistant" and streamed is not None:
            # The whole message: what was streamed is the same text, in pieces.
            del self._streaming[event.run_id]
            content = event.data.get("content") or streamed.content
        else:
            self._finish(event.run_id)
            content = event.data.get("content")
        if content:
            self._complete.append(Message(role=role, content=content, metadata=_metadata(event)))

    def _finish(self, run_id: str | None) -> None:
        streamed = self._streaming.pop(run_id, None)
        if streamed is not None:
            self._complete.append(streamed)


#: Nothing is streamed in a run after these.
_ENDS = ("run_completed", "run_failed", "run_cancelled", "run_timeout")


def _sent(event: Event) -> Message | None:
    content = event.data.get("content")
    if not content:
        return None
    return Message(role=_role(event.data.get("role"), "user"), content=content, metadata=_metadata(event))


def _tool(event: Event) -> Message:
    data = event.data
    call_id = _first(data, "tool_call_id", "tool_use_id", "call_id")
    name = data.get("tool_name")
    called = event.type == "tool_call_started"
    return Message(
        role="assistant" if called else "tool",
        tool_call_id=None if call_id is None else str(call_id),
        tool_name=None if name is None else str(name),
        tool_input=_first(data, "tool_input", "input", "arguments") if called else None,
        tool_output=None if called else _first(data, "tool_output", "output", "content", "result", "error_message"),
        failed=event.type == "tool_call_failed",
        metadata=_metadata(event),
    )


def _first(data: Mapping[str, Any], *names: str) -> Any:
    return next((data[name] for name in names if data.get(name) is not None), None)


def _role(given: object, default: str) -> str:
    role = given.lower() if isinstance(given, str) else default
    return role if role in _ROLES else default


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _metadata(event: Event) -> dict[str, Any]:
    known = {"event_id": event.id, "run_id": event.run_id, "timestamp": event.timestamp}
    return {**known, "sequence_number": event.sequence_number, **event.metadata}


def _last(messages: Sequence[Message], most: int | None, max_chars: int | None) -> Sequence[Message]:
    kept = list(messages if most is None else messages[-most:])
    if max_chars is None:
        return kept
    left = max_chars
    for at in reversed(range(len(kept))):
        left -= kept[at].length
        if left < 0:
            return kept[at + 1 :]
    return kept


def _with_their_calls(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Leave out the results whose calls are not there (any more): every provider refuses them."""
    called: set[str | None] = set()
    kept = []
    for message in messages:
        if message.is_tool_call:
            called.add(message.tool_call_id)
        elif message.role == "tool" and message.tool_call_id not in called:
            continue
        kept.append(message)
    return tuple(kept)
