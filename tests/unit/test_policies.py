"""What a run may do, and what the validator says of its events."""

from __future__ import annotations

from typing import Any

import pytest

from jido_tortoise.errors import InvalidInputError
from jido_tortoise.recording.policies import Policy, Watch
from jido_tortoise.recording.pricing import Pricing
from jido_tortoise.recording.statuses import EVENT_TYPES
from jido_tortoise.recording.validation import SHAPES, resolved, shape_warnings, with_warnings
from jido_tortoise_testing.clocks import VirtualClock

_PRICES = Pricing({"p": {"default": {"input": "0.1", "output": "0.1"}}})


def _usage(tokens: int, **more: Any) -> dict[str, Any]:
    return {"input_tokens": tokens, "output_tokens": 0, **more}


def test_a_limit_is_broken_by_more_than_it_and_told_once() -> None:
    """Tokens of all events count together; each limit of each policy is told once a run."""
    policies = [Policy(name="tight", max_total_tokens=10, max_tool_calls=0), Policy(name="loose", max_total_tokens=11)]
    watch = Watch(policies, None, "p")
    assert watch.observe("token_usage_updated", _usage(10)) == ()
    (found,) = watch.observe("token_usage_updated", _usage(0, total_tokens=1))
    assert (found.policy, found.kind, found.action) == ("tight", "budget_exceeded", "cancel")
    assert found.details == {"metric": "total_tokens", "actual": 11, "limit": 10}
    assert [each.policy for each in watch.observe("token_usage_updated", _usage(5))] == ["loose"]
    assert [each.details["metric"] for each in watch.observe("tool_call_started", {"tool_name": "x"})] == ["tool_calls"]
    assert len(watch.violations) == 3


def test_money_is_counted_exactly_and_only_with_prices() -> None:
    """Three tenths are not more than 0.3, as they would be in floats; without a price there is no such limit."""
    policy = Policy(max_cost_usd=0.3)
    watch = Watch([policy], _PRICES, "p")
    assert [watch.observe("token_usage_updated", _usage(1)) for _ in range(3)] == [(), (), ()]
    (found,) = watch.observe("token_usage_updated", _usage(1))
    assert found.details == {"metric": "cost_usd", "actual": 0.4, "limit": 0.3}
    assert Watch([policy], _PRICES, "unknown").observe("token_usage_updated", _usage(10**9)) == ()
    assert Watch([policy], None, "p").observe("token_usage_updated", _usage(10**9)) == ()


def test_tools_are_allowed_or_denied_by_name() -> None:
    """Only calls count, each of them; an empty list of allowed tools allows none."""
    policy = Policy(allow_tools=["read"], deny_tools=["rm"], on_violation="warn")
    watch = Watch([policy], None, "p")
    assert watch.observe("tool_call_started", {"tool_name": "read"}) == ()
    assert watch.observe("tool_call_completed", {"tool_name": "rm"}) == ()
    rules = [[each.details["rule"] for each in watch.observe("tool_call_started", {"tool_name": "rm"})] for _ in "ab"]
    assert rules == [["deny", "allow"], ["deny", "allow"]]
    nothing = Watch([Policy(allow_tools=[])], None, "p")
    assert [each.kind for each in nothing.observe("tool_call_started", {"tool_name": "read"})] == ["tool_denied"]
    data = nothing.violations[0].data()
    assert shape_warnings("policy_violation", data) == ()


async def test_time_runs_out_also_in_silence() -> None:
    """The watch says how long a wait may last, and what is broken after it."""
    with VirtualClock().installed() as clock:
        watch = Watch([Policy(max_duration_ms=500)], None, "p")
        left = watch.time_left()
        assert left == pytest.approx(0.501)
        clock.shift(left)
        assert [each.details["metric"] for each in watch.tick()] == ["duration_ms"]
        assert watch.time_left() is None
    assert Watch([Policy()], None, "p").time_left() is None


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"max_total_tokens": -1},
        {"max_tool_calls": 1.5},
        {"max_cost_usd": "1"},
        {"max_cost_usd": float("nan")},
        {"on_violation": "explode"},
        {"allow_tools": "read"},
        {"deny_tools": [""]},
    ],
)
def test_a_policy_that_is_none_is_refused(fields: dict[str, Any]) -> None:
    """With the field's name."""
    with pytest.raises(InvalidInputError, match=f"policy.{next(iter(fields))}"):
        Policy(**fields)


@pytest.mark.parametrize("event_type", SHAPES)
def test_each_shape_is_looked_for(event_type: str) -> None:
    """What is missing or of another type is named, and nothing of its value; what is there is no warning."""
    shape = SHAPES[event_type]
    right = {name: 1 if kind is int else "x" for name, (kind, _) in shape.items()}
    assert event_type in EVENT_TYPES
    assert shape_warnings(event_type, right) == ()
    assert shape_warnings(event_type, {}) == tuple(f"{name} is missing" for name in shape)
    wrong = shape_warnings(event_type, {name: ["hunter2"] for name in shape})
    assert len(wrong) == len(shape_warnings(event_type, dict.fromkeys(shape, True))) == len(shape)
    assert "hunter2" not in str(wrong)


def test_a_warning_stands_in_the_metadata_and_refuses_nothing() -> None:
    """Types without a shape pass; the caller's metadata is not changed."""
    metadata = {"a": 1}
    assert with_warnings("run_started", {}, metadata) is metadata
    assert with_warnings("message_streamed", {}, metadata) == {"a": 1, "_validation_warnings": ["content is missing"]}
    assert metadata == {"a": 1}


def test_an_unknown_type_becomes_an_error_that_names_it() -> None:
    """The data stays; a provider's own message goes before ours."""
    assert resolved("message_sent", {"a": 1}) == ("message_sent", {"a": 1})
    event_type, data = resolved("of_the_future", {"a": 1})
    assert (event_type, data["a"]) == ("error_occurred", 1)
    assert "of_the_future" in data["error_message"]
    assert resolved(None, {"error_message": "own"}) == ("error_occurred", {"error_message": "own"})
