"""A message that is made without google-adk's validators is the one that they would have made."""

from __future__ import annotations

from typing import Any

import pytest
from google.adk.events import Event
from google.genai.types import Content
from pydantic import ValidationError

from jido_tortoise.adk.google_events import read_content

_TEXTS: list[dict[str, Any]] = [
    {"role": "user", "parts": [{"text": "hello"}]},
    {"role": "model", "parts": [{"text": ""}, {"text": "\u00e9\u4e16 \U0001f600"}]},
    {"role": "model", "parts": []},
]
_OTHERS: list[Any] = [
    None,
    {"parts": [{"text": "no role"}]},
    {"role": None, "parts": [{"text": "no role"}]},
    {"role": "model", "parts": None},
    {"role": "model", "parts": [{"text": "so", "thought": True}]},
    {"role": "model", "parts": [{"text": "hi"}, {"function_call": {"name": "f", "args": {"n": 1}}}]},
    {"role": "model", "parts": [{"inline_data": {"data": "aGk=", "mime_type": "text/plain"}}]},
]


@pytest.mark.parametrize("tree", _TEXTS)
def test_texts_are_made_as_by_validation(tree: dict[str, Any]) -> None:
    """Equal in every attribute, also in which fields were set, and nothing is shared between two of them."""
    made, validated = read_content(tree), Content.model_validate(tree)
    assert type(made) is Content
    assert made == validated
    assert made.__dict__ == validated.__dict__
    assert made.model_fields_set == validated.model_fields_set
    assert [part.model_fields_set for part in made.parts] == [part.model_fields_set for part in validated.parts]
    assert made.model_dump_json(exclude_unset=True) == validated.model_dump_json(exclude_unset=True)
    event = Event.model_validate({"author": "a", "content": made})
    assert event.content == validated
    read_content(tree).parts.append("another")
    assert read_content(tree) == validated


@pytest.mark.parametrize("tree", _OTHERS)
def test_all_else_is_left_to_validation(tree: Any) -> None:
    """A call of a tool, bytes, a thought."""
    assert read_content(tree) is tree


@pytest.mark.parametrize("tree", [{"role": "model", "parts": [{"text": 7}]}, {"role": 7, "parts": []}, 7, "text"])
def test_what_is_malformed_is_still_refused(tree: Any) -> None:
    """By whoever validates it."""
    with pytest.raises(ValidationError):
        Content.model_validate(read_content(tree))
