"""google-adk's events as rows of `adk_events`, and back; they are the rows that `AdkSessionStore` writes and reads.

A field that has a column stands there. Everything else, and what a column cannot tell apart (False from None, an empty
set from None), stands in the row's `extra` under the field's name, the exact timestamp among it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.adk.events import Event
from pydantic_core import to_jsonable_python

from jido_tortoise import codec, times
from jido_tortoise.adk import google_rows, rows
from jido_tortoise.adk.google_making import event_of
from jido_tortoise.adk.rows import EventRow, Key
from jido_tortoise.adk.safe_state import described
from jido_tortoise.database import Dialect
from jido_tortoise.errors import CorruptRowError, UnstorableError, said

#: What is not written as the rest: of the delta the codec keeps the types, and the models of an authentication scheme
#: (FastAPI's, `in` and `type` for one) are only read again by their aliases.
_APART = {"actions": {"state_delta", "requested_auth_configs"}}


def encode_event(event: Event, delta: Mapping[str, Any], dialect: Dialect) -> EventRow:
    """Answer the row of an event.

    Args:
        event: What to store.
        delta: Its `state_delta`, as it is to be stored.
        dialect: Of the database.

    Raises:
        InvalidInputError: Its id or its timestamp cannot be stored.
        UnstorableError: A value cannot be stored, of the delta or of elsewhere.
    """
    try:
        tree: dict[str, Any] = event.model_dump(mode="json", exclude_none=True, exclude=_APART, fallback=described)
        tree["actions"] = _actions(event, tree["actions"], delta)
    except (ValueError, RecursionError) as error:  # a list that holds itself, a key with a lone surrogate
        raise UnstorableError.at("event", "what pydantic can write as JSON", said(str(error))) from error
    if tree["node_info"] == {"path": ""}:
        del tree["node_info"]
    # NaN in `output` is None as JSON; an event that was read has none there, and is to be the same one.
    tree = {name: value for name, value in tree.items() if value is not None}
    return google_rows.row_of(tree, event.timestamp, dialect)


def _actions(event: Event, tree: dict[str, Any], delta: Mapping[str, Any]) -> dict[str, Any]:
    made = {"state_delta": dict(delta), **google_rows.given_actions(tree)}
    if event.actions.requested_auth_configs:
        made["requested_auth_configs"] = to_jsonable_python(
            event.actions.requested_auth_configs, by_alias=True, exclude_none=True, fallback=described
        )
    return made


# -- and back -----------------------------------------------------------------------------------------------------


def decode_events(found: Sequence[Sequence[Any]], key: Key) -> list[Event]:
    """Make the events of rows, their numbers before them; a malformed one is a CorruptRowError that names it."""
    try:
        return _events([EventRow(*row[1:]) for row in found])
    except rows.MALFORMED:  # once more, one by one, to say which
        return [_event(row, key) for row in found]


def _event(row: Sequence[Any], key: Key) -> Event:
    try:
        return _events([EventRow(*row[1:])])[0]
    except rows.MALFORMED as error:
        raise rows.corrupt("adk_events", key, f"event {row[0]} is malformed: {error}", seq=row[0]) from error


def _events(found: list[EventRow]) -> list[Event]:
    contents = codec.loads_each([row.content or "null" for row in found])
    actions = codec.loads_each([row.actions for row in found])
    extras = codec.loads_each([row.extra for row in found])
    return [
        event_of(_tree(row, content, does, extra))
        for row, content, does, extra in zip(found, contents, actions, extras, strict=True)
    ]


def _tree(row: EventRow, content: Any, actions: Any, extra: Any) -> dict[str, Any]:
    if type(extra) is not dict:
        raise CorruptRowError("its extra is no map")
    tree = {"id": row.id, "content": content, "actions": actions}
    tree |= {name: text for name, text in zip(rows.TEXTS, row[1:6], strict=True) if text is not None}
    for name, stored in zip(rows.MAPS, row[8:12], strict=True):
        if stored is not None:
            tree[name] = codec.loads(stored)
    for name, flag in zip(rows.FLAGS, row[12:15], strict=True):
        if flag:
            tree[name] = True
    if row.long_running_tool_ids != "[]":
        tree["long_running_tool_ids"] = codec.loads(row.long_running_tool_ids)
    if "timestamp" not in extra:
        tree["timestamp"] = times.read_time(row.timestamp).timestamp()
    return tree | extra
