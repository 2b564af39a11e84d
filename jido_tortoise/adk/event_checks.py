"""What an event must be made of, before it comes near a row: whoever reads that finds what the fields promise.

A text that is a number would be stored, and then google-adk's classes, which read the same row, would refuse it and
with it the whole session.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from jido_tortoise import checks
from jido_tortoise.adk.values import Actions, Blob, Content, Event, FunctionCall, FunctionResponse, Part
from jido_tortoise.errors import InvalidInputError


def check_event(event: Any) -> None:
    """See that an event is one, all the way down.

    Raises:
        InvalidInputError: It is none, or a part of it is not what its field says; `path` says which.
    """
    if not isinstance(event, Event):
        raise InvalidInputError.at("event", "an Event of jido_tortoise.adk", event)
    _check(event, "event", _EVENT)


# -- fields -------------------------------------------------------------------------------------------------------

_Check = Callable[[Any, str], object]


def _one_of(expected: str, *kinds: type) -> _Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, kinds):
            raise InvalidInputError.at(path, expected, value)

    return check


def _made_of(cls: type, expected: str, fields: Mapping[str, _Check], *, optional: bool = True) -> _Check:
    def check(value: Any, path: str) -> None:
        if value is None and optional:
            return
        if not isinstance(value, cls):
            raise InvalidInputError.at(path, expected, value)
        _check(value, path, fields)

    return check


def _each(check: _Check) -> _Check:
    def check_each(values: Iterable[Any], path: str) -> None:
        for number, value in enumerate(values):
            check(value, f"{path}[{number}]")

    return check_each


def _check(value: Any, path: str, fields: Mapping[str, _Check]) -> None:
    for name, check in fields.items():
        check(getattr(value, name), f"{path}.{name}")


def _beside(known: Collection[str]) -> _Check:
    """Answer the check of an `extra`: what has a field of its own would be read as that field."""

    def check(value: Any, path: str) -> None:
        for key in checks.string_map(value, path):
            if key in known:
                raise InvalidInputError.at(f"{path}.{key}", f"nothing: {key} is a field", value[key])

    return check


def _with_extra(fields: dict[str, _Check]) -> dict[str, _Check]:
    return {**fields, "extra": _beside(fields)}


_TEXT = _one_of("a text or None", str, type(None))
#: None stands for False, as in the documents.
_FLAG = _one_of("a bool or None", bool, type(None))
_MAP = checks.string_map

_BLOB = _with_extra({"data": _one_of("bytes", bytes), "mime_type": _TEXT})
_CALL = _with_extra({"name": _TEXT, "id": _TEXT, "args": _MAP})
_ANSWER = _with_extra({"name": _TEXT, "id": _TEXT, "response": _MAP})
_PART = _with_extra(
    {
        "text": _TEXT,
        "thought": _FLAG,
        "function_call": _made_of(FunctionCall, "a FunctionCall or None", _CALL),
        "function_response": _made_of(FunctionResponse, "a FunctionResponse or None", _ANSWER),
        "inline_data": _made_of(Blob, "a Blob or None", _BLOB),
    }
)
_CONTENT = _with_extra({"role": _TEXT, "parts": _each(_made_of(Part, "a Part", _PART, optional=False))})
_ACTIONS = _with_extra(
    {
        "state_delta": _MAP,
        "artifact_delta": _MAP,
        "transfer_to_agent": _TEXT,
        "escalate": _FLAG,
        "skip_summarization": _FLAG,
        "requested_tool_confirmations": _MAP,
    }
)
#: Of the others `rows` says what they must be; its `extra` may have google-adk's fields, which ours cannot tell apart.
_EVENT: dict[str, _Check] = {
    "content": _made_of(Content, "a Content or None", _CONTENT),
    "actions": _made_of(Actions, "an Actions", _ACTIONS, optional=False),
    **dict.fromkeys(("partial", "turn_complete", "interrupted"), _FLAG),
    "finish_reason": _TEXT,
    "long_running_tool_ids": _each(_one_of("a text", str)),
    "extra": _MAP,
}
