"""A conversation rebuilt from its events."""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from typing import Any

import pytest

from jido_tortoise.errors import InvalidInputError
from jido_tortoise.recording.continuation import said_now
from jido_tortoise.recording.entities import Event
from jido_tortoise.recording.transcript import Message, Transcript, from_events


def _event(number: int, event_type: str, run: str | None = "r1", **data: Any) -> Event:
    return Event(type=event_type, session_id="s", run_id=run, sequence_number=number, data=data)


_EVENTS = [
    _event(1, "session_created"),
    _event(2, "message_sent", content="be brief", role="system"),
    _event(3, "message_sent", content="weather?"),
    _event(4, "message_streamed", content="let "),
    _event(5, "message_streamed", run="r2", content="other "),
    _event(6, "message_streamed", delta="me see"),
    _event(7, "message_received", content="let me see", role="assistant"),
    _event(8, "tool_call_started", tool_name="weather", tool_call_id="c1", tool_input={"city": "Ulm"}),
    _event(9, "message_streamed", run="r2", content="run"),
    _event(10, "tool_call_failed", tool_name="weather", tool_use_id="c1", tool_output="no"),
    _event(11, "token_usage_updated", input_tokens=1),
    _event(12, "message_streamed", content="I can"),
    _event(13, "run_cancelled"),
    _event(14, "message_sent", run="r3", content="", role="user"),
    _event(15, "message_sent", run="r3", content="and now?", role="USER"),
    _event(16, "message_streamed", run="r3", content="still "),
]
_MESSAGES = [
    ("system", "be brief", None),
    ("user", "weather?", None),
    ("assistant", "let me see", None),
    ("assistant", None, {"city": "Ulm"}),
    ("tool", None, "no"),
    ("assistant", "I can", None),
    ("user", "and now?", None),
    ("assistant", "other run", None),
    ("assistant", "still ", None),
]


def _shown(messages: tuple[Message, ...]) -> list[tuple[Any, ...]]:
    return [(each.role, each.content, each.tool_input or each.tool_output) for each in messages]


def test_messages_are_rebuilt_in_order() -> None:
    """Streams become messages, also those that were broken off, run by run; empty ones and other events are none."""
    transcript = from_events(_EVENTS)
    assert _shown(transcript.messages) == _MESSAGES
    assert transcript.last_sequence == 16
    failed = transcript.messages[4]
    assert (failed.failed, failed.tool_call_id, failed.metadata["sequence_number"]) == (True, "c1", 10)


@pytest.mark.parametrize("seed", range(20))
def test_reading_on_gives_what_reading_everything_gives(seed: int) -> None:
    """Wherever the reading was interrupted, also within a stream, and when events come twice or out of order."""
    cuts = random.Random(seed)
    transcript = Transcript(session_id="s")
    at = 0
    while at < len(_EVENTS):
        upto = min(len(_EVENTS), at + cuts.randint(1, 4))
        part = _EVENTS[max(0, at - cuts.randint(0, 2)) : upto]
        cuts.shuffle(part)
        transcript = transcript.updated(part)
        at = upto
    assert transcript == from_events(_EVENTS)


def test_the_last_messages_within_limits() -> None:
    """By number, characters or tokens, from the end; a result never without its call."""
    transcript = from_events(_EVENTS)
    assert _shown(transcript.limited(max_messages=3)) == _MESSAGES[-3:]
    assert _shown(transcript.limited(max_messages=5)) == _MESSAGES[-4:], "the tool's result lost its call"
    assert _shown(transcript.limited(max_messages=6)) == _MESSAGES[-6:]
    assert _shown(transcript.limited(max_chars=16)) == _MESSAGES[-2:]
    assert _shown(transcript.limited(max_tokens_approx=4)) == _MESSAGES[-2:]
    assert transcript.limited(max_chars=1) == ()
    assert _shown(transcript.limited()) == _MESSAGES
    with pytest.raises(InvalidInputError, match="max_messages"):
        transcript.limited(max_messages=0)


def test_what_no_transcript_can_be_made_of() -> None:
    """Events of two sessions, events that were not stored, and nothing without a session's name."""
    with pytest.raises(InvalidInputError, match="session_id"):
        from_events([])
    assert from_events([], session_id="s").messages == ()
    with pytest.raises(InvalidInputError, match=r"events\[1\]\.session_id"):
        from_events([_EVENTS[0], replace(_EVENTS[1], session_id="t")])
    with pytest.raises(InvalidInputError, match="sequence_number"):
        from_events([Event(type="message_sent", session_id="s")])


@pytest.mark.parametrize(
    "calls", [7, "call", [7], [{"id": "1"}], [{"function": {"name": "f"}}], [{"id": "1", "function": 7}]]
)
def test_calls_that_are_none_are_refused(calls: Any) -> None:
    """By their place, before anybody is asked."""
    with pytest.raises(InvalidInputError) as caught:
        said_now({"messages": [{"role": "assistant", "content": None, "tool_calls": calls}]})
    assert str(caught.value.path).startswith("input.messages[0].tool_calls")


def test_messages_come_back_as_they_were_stored() -> None:
    """A run's input holds messages as dicts: calls and results with their tools."""
    call = Message(role="assistant", tool_call_id="1", tool_name="f", tool_input={"n": 1})
    given = [Message(role="user", content="hi"), call, Message(role="tool", tool_call_id="1", tool_output="x")]
    assert said_now({"messages": [asdict(one) for one in given]}) == said_now({"messages": given}) == tuple(given)
