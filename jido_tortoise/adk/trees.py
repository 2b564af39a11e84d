"""Messages and actions as JSON and back; what JSON has beside the fields that we know goes through `extra`."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from jido_tortoise.adk.making import maker
from jido_tortoise.adk.values import Actions, Blob, Content, FunctionCall, FunctionResponse, Part

Tree = dict[str, Any]

#: The keys that are fields.
_CONTENT = frozenset({"role", "parts"})
_PART = frozenset({"text", "thought", "function_call", "function_response", "inline_data"})
_CALL = frozenset({"name", "args", "id"})
_ANSWER = frozenset({"name", "response", "id"})
_BLOB = frozenset({"data", "mime_type"})
_ACTIONS = frozenset(
    {
        "state_delta",
        "artifact_delta",
        "transfer_to_agent",
        "escalate",
        "skip_summarization",
        "requested_tool_confirmations",
    }
)

_make_content, _make_part, _make_actions = maker(Content), maker(Part), maker(Actions)


def content_tree(content: Content) -> Tree:
    """Answer a message as JSON has it."""
    return {"role": content.role, "parts": [_part_tree(part) for part in content.parts], **content.extra}


def _part_tree(part: Part) -> Tree:
    tree: Tree = {}
    if part.text is not None:
        tree["text"] = part.text
    if part.thought:
        tree["thought"] = True
    if (call := part.function_call) is not None:
        tree["function_call"] = {"name": call.name, "id": call.id, "args": dict(call.args), **call.extra}
    if (answer := part.function_response) is not None:
        tree["function_response"] = {
            "name": answer.name,
            "id": answer.id,
            "response": dict(answer.response),
            **answer.extra,
        }
    if (blob := part.inline_data) is not None:
        data = base64.b64encode(blob.data).decode()
        tree["inline_data"] = {"data": data, "mime_type": blob.mime_type, **blob.extra}
    return {**tree, **part.extra}


def content_of(tree: Mapping[str, Any]) -> Content:
    """Make the message of a tree."""
    given: Sequence[Any] = tree.get("parts") or ()
    parts = (_part(given[0]),) if len(given) == 1 else tuple([_part(part) for part in given])
    return _make_content(tree.get("role"), parts, {} if tree.keys() <= _CONTENT else _beside(tree, _CONTENT))


def _part(tree: Mapping[str, Any]) -> Part:
    if len(tree) == 1 and "text" in tree:  # nearly always
        return _make_part(tree["text"], False, None, None, None, {})
    call, answer, blob = tree.get("function_call"), tree.get("function_response"), tree.get("inline_data")
    return _make_part(
        text=tree.get("text"),
        thought=bool(tree.get("thought")),
        function_call=None if call is None else _call(call),
        function_response=None if answer is None else _answer(answer),
        inline_data=None if blob is None else _blob(blob),
        extra=_beside(tree, _PART),
    )


def _call(tree: Mapping[str, Any]) -> FunctionCall:
    return FunctionCall(tree.get("name"), tree.get("args") or {}, tree.get("id"), _beside(tree, _CALL))


def _answer(tree: Mapping[str, Any]) -> FunctionResponse:
    extra = _beside(tree, _ANSWER)
    return FunctionResponse(tree.get("name"), tree.get("response") or {}, tree.get("id"), extra)


def _blob(tree: Mapping[str, Any]) -> Blob:
    data = base64.b64decode(tree.get("data") or "", validate=True)
    return Blob(data, tree.get("mime_type"), _beside(tree, _BLOB))


def actions_tree(actions: Actions, state_delta: Tree) -> Tree:
    """Answer what an event does as JSON has it: five keys always, the confirmations when there are some."""
    tree: Tree = {
        "state_delta": state_delta,
        "artifact_delta": dict(actions.artifact_delta),
        "transfer_to_agent": actions.transfer_to_agent,
        "escalate": actions.escalate,
        "skip_summarization": actions.skip_summarization,
    }
    if actions.requested_tool_confirmations:
        tree["requested_tool_confirmations"] = dict(actions.requested_tool_confirmations)
    return {**tree, **actions.extra}


def actions_of(tree: Mapping[str, Any]) -> Actions:
    """Make the actions of a tree.

    Raises:
        ValueError: Its `state_delta` is no map.
    """
    get = tree.get
    delta = get("state_delta") or {}
    if type(delta) is not dict:
        raise ValueError("the state_delta is no map")
    return _make_actions(  # in the order of its fields
        delta,
        get("artifact_delta") or {},
        get("transfer_to_agent"),
        bool(get("escalate")),
        bool(get("skip_summarization")),
        get("requested_tool_confirmations") or {},
        {} if tree.keys() <= _ACTIONS else _beside(tree, _ACTIONS),
    )


def no_actions() -> Actions:
    """Make the actions of an event that does nothing."""
    return _make_actions({}, {}, None, False, False, {}, {})


def _beside(tree: Mapping[str, Any], known: frozenset[str]) -> Tree:
    if tree.keys() <= known:  # nearly always, and much cheaper
        return {}
    return {key: value for key, value in tree.items() if key not in known}
