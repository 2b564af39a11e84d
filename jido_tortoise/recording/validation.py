"""The event validator: what a provider says becomes an event, and what is odd about it is noted, not refused.

Structure is strict: no type, no session, no timestamp or data that is no map is refused by the event itself. Shape is
advice: fields that an event of its type should have are looked for, and what is missing stands in its metadata as
`_validation_warnings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jido_tortoise.recording.statuses import EVENT_TYPES

#: Where the warnings stand in an event's metadata.
WARNINGS = "_validation_warnings"

#: Characters of an unknown type that are still told.
_LONGEST = 80

_Shape = Mapping[str, tuple[type, str]]
_TEXT = (str, "a text")
_COUNT = (int, "an int")
_TOOL: _Shape = {"tool_name": _TEXT}

#: By type of event, the fields that its data should have.
SHAPES: Mapping[str, _Shape] = {
    "message_received": {"content": _TEXT, "role": _TEXT},
    "message_streamed": {"content": _TEXT},
    "tool_call_started": _TOOL,
    "tool_call_completed": _TOOL,
    "tool_call_failed": _TOOL,
    "token_usage_updated": {"input_tokens": _COUNT, "output_tokens": _COUNT},
    "run_completed": {"stop_reason": _TEXT},
    "error_occurred": {"error_message": _TEXT},
    "policy_violation": {"policy": _TEXT, "kind": _TEXT},
    "tool_approval_requested": {"tool_name": _TEXT, "policy_name": _TEXT},
    "tool_approval_granted": _TOOL,
    "tool_approval_denied": _TOOL,
}


def shape_warnings(event_type: str, data: Mapping[str, Any]) -> tuple[str, ...]:
    """Answer what an event of this type lacks in its data; nothing for a type without a shape."""
    shape = SHAPES.get(event_type, {})
    found = (_warning(name, *expected, data.get(name)) for name, expected in shape.items())
    return tuple(warning for warning in found if warning is not None)


def _warning(name: str, kind: type, words: str, value: object) -> str | None:
    if value is None:
        return f"{name} is missing"
    if not isinstance(value, kind) or isinstance(value, bool):
        # The type only: a value may be what must not be stored.
        return f"{name} should be {words}, and is a {type(value).__name__}"
    return None


def resolved(event_type: object, data: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Answer the type and data to record: what a provider calls by a name that there is not is an `error_occurred`."""
    if isinstance(event_type, str) and event_type in EVENT_TYPES:
        return str.__str__(event_type), data
    said = event_type if isinstance(event_type, str) else type(event_type).__name__
    if len(said) > _LONGEST:  # not cut: a secret that is cut in half is not known for one
        said = f"a text of {len(said)} characters"
    return "error_occurred", {"error_message": f"the provider sent an unknown type of event: {said}", **data}


def with_warnings(event_type: str, data: Mapping[str, Any], metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Answer the metadata with what is odd about the data, when something is."""
    warnings = shape_warnings(event_type, data)
    return {**metadata, WARNINGS: list(warnings)} if warnings else metadata
