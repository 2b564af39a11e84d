"""What is made of stored rows is the same as what constructors make."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from jido_tortoise.adk import Actions, Content, Event, Part
from jido_tortoise.adk.making import maker


@pytest.mark.parametrize("cls", [Actions, Content, Event, Part])
def test_a_made_value_is_as_a_constructed_one(cls: type[Any]) -> None:
    """Equal, of the very class, frozen, and fit to be copied and pickled."""
    constructed = cls()
    made = maker(cls)(*(getattr(constructed, field.name) for field in fields(cls)))
    assert type(made) is cls
    assert made == constructed
    assert repr(made) == repr(constructed)
    assert copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == constructed
    with pytest.raises(FrozenInstanceError):
        made.extra = {}
    assert not hasattr(made, "__dict__")


def test_fields_go_by_name_too() -> None:
    """And none may be missing: a maker knows no defaults."""
    make = maker(Part)
    given: dict[str, Any] = {field.name: getattr(Part(), field.name) for field in fields(Part)}
    assert make(**{**given, "text": "hi"}) == Part("hi")
    with pytest.raises(TypeError):
        make(text="hi")
