"""The row of an event of google-adk, from the tree that it is as JSON; nothing of google-adk is needed here.

A field that has a column stands there. Everything else, and what a column cannot tell apart (False from None, an empty
set from None), stands in the row's `extra` under the field's name, the exact timestamp among it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jido_tortoise import checks, codec, times
from jido_tortoise.adk import rows
from jido_tortoise.adk.rows import EventRow
from jido_tortoise.database import Dialect

#: Fields of an event's actions that are an empty map when nothing set them. Not so the others: an agent's state that
#: is empty tells that the agent was reached.
_MAPS = frozenset({"artifact_delta", "requested_auth_configs", "requested_tool_confirmations"})
#: Their alphabet of Base64, and that of the rows.
_URL_SAFE = str.maketrans("-_", "+/")


def row_of(tree: dict[str, Any], timestamp: float, dialect: Dialect) -> EventRow:
    """Answer the row of an event.

    Args:
        tree: The event as google-adk writes it as JSON, without fields that are None; it is taken apart.
        timestamp: Seconds since 1970.
        dialect: Of the database.

    Raises:
        InvalidInputError: Its id or its timestamp cannot be stored.
        UnstorableError: A value cannot be stored.
    """
    moment = times.stored_time(times.moment_of(timestamp, "event.timestamp"), dialect)
    content = tree.pop("content", None)
    values = [
        checks.text(tree.pop("id"), "event.id"),
        *_texts(tree),
        None if content is None else codec.dump_map(_content(content), path="event.content"),
        codec.dump_map(tree.pop("actions"), path="event.actions"),
        *(_map(tree.pop(name, None), name) for name in rows.MAPS),
        *(_flag(tree, name) for name in rows.FLAGS),
        codec.dumps(_ids(tree), path="event.long_running_tool_ids"),
        moment,
        codec.dump_map(tree, path="event"),
    ]
    return EventRow._make(values)


def given_actions(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Answer what was set of an event's actions, given as a JSON tree."""
    return {name: value for name, value in tree.items() if value is not None and (value != {} or name not in _MAPS)}


def _texts(tree: dict[str, Any]) -> list[str | None]:
    columns = []
    for name, most in rows.TEXTS.items():
        column = rows.fitting(tree.get(name), most, f"event.{name}")
        if name in tree and column == tree[name]:
            del tree[name]
        columns.append(column)
    return columns


def _content(tree: dict[str, Any]) -> dict[str, Any]:
    for part in tree.get("parts") or ():
        if "data" in part.get("inline_data", ()):
            part["inline_data"]["data"] = part["inline_data"]["data"].translate(_URL_SAFE)
    return tree


def _map(tree: dict[str, Any] | None, name: str) -> str | None:
    return None if tree is None else codec.dump_map(tree, path=f"event.{name}")


def _flag(tree: dict[str, Any], name: str) -> bool:
    return bool(tree.get(name)) and bool(tree.pop(name))


def _ids(tree: dict[str, Any]) -> list[str]:
    return tree.pop("long_running_tool_ids") if tree.get("long_running_tool_ids") else []
