"""Events that are made without pydantic's validation are those that it would make, and what does not fit is its."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from google.adk.events import Event
from pydantic import ValidationError

from jido_tortoise.adk import google_making
from jido_tortoise.adk.google_making import event_of

PLAIN: dict[str, Any] = {"id": "i", "timestamp": 1.5, "content": None, "actions": {}}


def test_what_is_made_here_is_made_as_by_pydantic() -> None:
    """With the google-adk that is installed, down to the names of the fields that were set."""
    assert google_making._proven()


@pytest.mark.parametrize("is_proven", [True, False])
@pytest.mark.parametrize(
    "more",
    [
        {"content": {"role": "r", "parts": [{"text": "t"}, {"function_call": {"name": "n", "args": {"a": None}}}]}},
        {"content": {"parts": [{"text": "t"}, {"inline_data": {"data": "aGk=", "mime_type": "m"}}]}},
        {"content": {"parts": None}},
        {"content": {"parts": [{"text": None}]}},
        {"actions": {"state_delta": {"k": (1,)}, "artifact_delta": {"f": 1}, "escalate": False}},
        {"actions": {"agent_state": {"a": 1}, "route": ["a"]}},
        {"partial": None, "turn_complete": 1, "timestamp": 1},
        {"long_running_tool_ids": ["b"], "finish_reason": "STOP", "usage_metadata": {"total_token_count": "3"}},
        {"no such field": 1, "state": {"k": 1}, "author": "a"},
    ],
)
def test_an_event_is_what_pydantic_says(more: dict[str, Any], is_proven: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it fits or is validated, and where another version of google-adk lets nothing be made here."""
    monkeypatch.setattr(google_making, "_proven", lambda: is_proven)
    made = event_of(deepcopy({**PLAIN, **more}))
    expected = Event.model_validate({**PLAIN, **more})
    assert made == expected
    assert google_making._shape(made) == google_making._shape(expected)


@pytest.mark.parametrize(
    "wrong",
    [
        {"content": {"parts": [{"text": 1}]}},
        {"content": {"parts": ["text"]}},
        {"content": {"parts": [{"function_call": {"args": []}}]}},
        {"content": 1},
        {"actions": {"state_delta": []}},
        {"actions": {"unknown": 1}},
        {"actions": None},
        {"artifact": 1, "author": 2},
        {"avg_logprobs": "much"},
    ],
)
def test_what_is_no_event_is_refused(wrong: dict[str, Any]) -> None:
    """By pydantic, as ever."""
    with pytest.raises(ValidationError):
        event_of({**PLAIN, **wrong})


def test_two_events_share_nothing() -> None:
    """A default that can be changed is each one's own."""
    one, two = (event_of(deepcopy(PLAIN)) for _ in range(2))
    one.actions.artifact_delta["f"] = 1
    one.actions.state_delta["k"] = 1
    one.node_info.path = "p"
    one.actions.requested_auth_configs["x"] = 1
    assert two == event_of(deepcopy(PLAIN))
