"""Events of google-adk from stored trees, without pydantic's validation where a tree plainly is what it must be.

Validating takes most of the time of reading a session: each message, part and call of it passes functions in Python. A
text or a tool's call has few fields of plain types, and is made of them as pydantic would make it; everything else is
validated, and so is all of it when an object made here turns out to differ from one that pydantic has made.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from google.adk.events import Event, EventActions
from google.adk.events.event import NodeInfo
from google.genai import types
from pydantic import BaseModel, TypeAdapter

M = TypeVar("M", bound=BaseModel)
Tree = dict[str, Any]

_TEXT, _FLAG = (str, type(None)), (bool, type(None))
_set = object.__setattr__


class Blank:
    """What an object of a model has in its fields when none is given; a new list or dict for each object.

    Args:
        cls: The model.
        plain: Fields that are taken as they come when they are of one of these types.
        required: Fields that are always given.
    """

    __slots__ = ("_plain", "cls", "defaults", "fresh", "names")

    def __init__(
        self, cls: type[BaseModel], plain: Mapping[str, tuple[type, ...]], required: Tree | None = None
    ) -> None:
        self.cls = cls
        self.names = plain.keys()
        self._plain = {(name, kind) for name, kinds in plain.items() for kind in kinds}
        self.defaults = dict(cls(**(required or {})).__dict__)
        self.fresh = [name for name, value in self.defaults.items() if type(value) in (dict, list, set)]

    def fits(self, tree: Tree) -> bool:
        """Tell whether each of these fields is plainly what it must be."""
        return self._plain.issuperset(zip(tree, map(type, tree.values()), strict=True))

    def make(self, given: Tree, **defaults: Any) -> Any:
        """Make an object of fields that fit, and of defaults that are objects of their own."""
        fields = {**self.defaults, **defaults, **given}
        for name in self.fresh:
            if name not in given:
                fields[name] = type(fields[name])()
        return raw(self.cls, fields, set(given))


def raw(cls: type[M], fields: Tree, given: set[str]) -> M:
    """Make an object of a model without validation, from all of its fields.

    Args:
        cls: The model.
        fields: They become the object's own.
        given: The names of those that were set.
    """
    made = cls.__new__(cls)
    _set(made, "__dict__", fields)
    _set(made, "__pydantic_fields_set__", given)
    _set(made, "__pydantic_extra__", None)
    _set(made, "__pydantic_private__", None)
    return made


_PART = Blank(types.Part, {"text": (str,), "thought": _FLAG})
_CALL = Blank(types.FunctionCall, {"id": _TEXT, "name": _TEXT, "args": (dict,)})
_ANSWER = Blank(types.FunctionResponse, {"id": _TEXT, "name": _TEXT, "response": (dict,)})
_CONTENT = Blank(types.Content, {"role": _TEXT, "parts": (list,)})
_ACTIONS = Blank(
    EventActions,
    {
        "state_delta": (dict,),
        "artifact_delta": (dict,),
        "transfer_to_agent": _TEXT,
        "escalate": _FLAG,
        "skip_summarization": _FLAG,
        "end_of_agent": _FLAG,
    },
)
_NODE = Blank(NodeInfo, {})
_EVENT = Blank(
    Event,
    {
        **dict.fromkeys(("author", "invocation_id", "id"), (str,)),
        **dict.fromkeys(("branch", "error_code", "error_message", "model_version", "isolation_scope"), _TEXT),
        **dict.fromkeys(("partial", "turn_complete", "interrupted"), _FLAG),
        "timestamp": (float,),
        "content": (types.Content, type(None)),
        "actions": (EventActions,),
    },
    {"id": "x", "timestamp": 0.0},
)
_INNER = {"function_call": _CALL, "function_response": _ANSWER}


def event_of(tree: Tree) -> Event:
    """Make an event of what is stored of it; what the tree holds becomes the event's own.

    Raises:
        ValueError: It is none; pydantic's, which says where.
    """
    return _made(tree) if _proven() else Event.model_validate(tree)


def _made(tree: Tree) -> Event:
    given = {**tree, "content": _content(tree["content"]), "actions": _actions(tree["actions"])}
    if not _EVENT.fits(given) and not _validate_others(given):
        return Event.model_validate(tree)
    made: Event = _EVENT.make(given, node_info=_NODE.make({}))
    return made


def _validate_others(tree: Tree) -> bool:
    """Validate the fields that are never taken as they come, and tell whether the rest fits."""
    others = tree.keys() - _EVENT.names
    if not others <= Event.model_fields.keys():  # pydantic knows what to do with such
        return False
    for name in others:
        tree[name] = _validator(name).validate_python(tree[name])
    return _EVENT.fits({name: value for name, value in tree.items() if name not in others})


@cache
def _validator(name: str) -> TypeAdapter[Any]:
    annotation: Any = Event.model_fields[name].annotation
    return TypeAdapter(annotation)


def _content(tree: Any) -> Any:
    if type(tree) is not dict or type(parts := tree.get("parts")) is not list or not _CONTENT.fits(tree):
        return tree
    made = list(map(_part, parts))
    # By identity: to compare a part with None, pydantic takes longer than it took to make it.
    return tree if any(part is None for part in made) else _CONTENT.make({**tree, "parts": made})


def _part(tree: Any) -> Any:
    """Make a part; None for one that is to be validated."""
    if type(tree) is not dict:
        return None
    if _PART.fits(tree):
        return _PART.make(tree)
    if len(tree) == 1:
        ((name, inner),) = tree.items()
        blank = _INNER.get(name)
        if blank is not None and type(inner) is dict and blank.fits(inner):
            return _PART.make({name: blank.make(inner)})
    return None


def _actions(tree: Any) -> Any:
    if type(tree) is not dict or tree.get("artifact_delta") or not _ACTIONS.fits(tree):
        return tree
    return _ACTIONS.make(tree)


# -- whether pydantic makes the same ------------------------------------------------------------------------------


def _samples() -> list[Tree]:
    parts = [
        {"text": "t", "thought": True},
        {"function_call": {"id": "i", "name": "n", "args": {"a": [1]}}},
        {"function_response": {"id": None, "name": "n", "response": {"a": {}}}},
    ]
    actions = {"state_delta": {"k": 1}, "escalate": True, "transfer_to_agent": "a", "skip_summarization": False}
    named = {"id": "i", "timestamp": 1.5, "invocation_id": "v", "author": "a", "branch": "b", "turn_complete": True}
    return [
        {"id": "i", "timestamp": 0.5, "content": None, "actions": {"state_delta": {}}},
        {**named, "content": {"role": "r", "parts": parts}, "actions": {**actions, "end_of_agent": True}},
        {**named, "content": {"parts": []}, "actions": actions, "output": {"o": [1]}, "node_info": {"path": "p"}},
        {**named, "content": None, "actions": {}, "finish_reason": "STOP", "usage_metadata": {"total_token_count": 1}},
    ]


@cache
def _proven() -> bool:
    """Tell whether objects made here are as pydantic's: asked once, since another version may make them otherwise."""
    return all(
        _shape(_made(sample)) == _shape(Event.model_validate(twin))
        for sample, twin in zip(_samples(), _samples(), strict=True)
    )


def _shape(value: Any) -> Any:
    """Answer all that there is in a model, and in the models in it."""
    if isinstance(value, list):
        return [_shape(item) for item in value]
    if not isinstance(value, BaseModel):
        return value
    fields = {name: _shape(item) for name, item in value.__dict__.items()}
    return type(value), fields, value.__pydantic_fields_set__, value.__pydantic_extra__, value.__pydantic_private__
