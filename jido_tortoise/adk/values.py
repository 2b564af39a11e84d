"""What an ADK session is made of: frozen values without any database behind them.

The dicts and tuples in them are the caller's; nothing here or in the store changes them. What a value cannot name is
kept in its `extra`, so that nothing is lost that another program has stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jido_tortoise import seams, times
from jido_tortoise.errors import InvalidInputError

Map = Mapping[str, Any]


def _several(value: object, path: str, what: str) -> tuple[Any, ...]:
    """Answer what was given as a tuple; a text or a map is one thing, though Python would take it apart."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InvalidInputError.at(path, f"a list of {what}", value)
    return tuple(value)


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes within a message."""

    data: bytes
    mime_type: str | None = None
    extra: Map = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A model's wish to call a tool."""

    name: str | None = None
    args: Map = field(default_factory=dict)
    id: str | None = None
    extra: Map = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FunctionResponse:
    """What a tool answered."""

    name: str | None = None
    response: Map = field(default_factory=dict)
    id: str | None = None
    extra: Map = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a message."""

    text: str | None = None
    thought: bool = False
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    inline_data: Blob | None = None
    extra: Map = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Content:
    """A message."""

    role: str | None = None
    parts: Sequence[Part] = ()
    extra: Map = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _several(self.parts, "content.parts", "Parts"))


@dataclass(frozen=True, slots=True)
class Actions:
    """What an event does, beside saying something."""

    #: Keys of the state by their full names; see `jido_tortoise.adk.routing`.
    state_delta: Map = field(default_factory=dict)
    artifact_delta: Map = field(default_factory=dict)
    transfer_to_agent: str | None = None
    escalate: bool = False
    skip_summarization: bool = False
    requested_tool_confirmations: Map = field(default_factory=dict)
    extra: Map = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One step of a session.

    The id is made once, with the event: whoever repeats an append whose outcome is unknown brings the same one.
    """

    id: str = field(default_factory=lambda: seams.new_id(""))
    #: An aware datetime, to the microsecond.
    timestamp: datetime = field(default_factory=times.now)
    invocation_id: str | None = None
    author: str | None = None
    branch: str | None = None
    content: Content | None = None
    actions: Actions = field(default_factory=Actions)
    #: Whether more of it is to come; such an event is not stored.
    partial: bool = False
    turn_complete: bool = False
    interrupted: bool = False
    error_code: str | None = None
    error_message: str | None = None
    finish_reason: str | None = None
    long_running_tool_ids: Sequence[str] = ()
    custom_metadata: Map | None = None
    usage_metadata: Map | None = None
    citation_metadata: Map | None = None
    grounding_metadata: Map | None = None
    extra: Map = field(default_factory=dict)

    def __post_init__(self) -> None:
        ids = _several(self.long_running_tool_ids, "event.long_running_tool_ids", "texts")
        object.__setattr__(self, "long_running_tool_ids", ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session as it was read."""

    app_name: str
    user_id: str
    id: str
    #: Of session, user and app together, the latter two with their prefixes.
    state: Map = field(default_factory=dict)
    #: In the order in which they were appended, whatever their timestamps.
    events: Sequence[Event] = ()
    #: The number of events ever appended.
    rev: int = 0
    created_at: datetime = field(default_factory=times.now)
    #: The timestamp of the event that was appended last.
    last_update_time: datetime = field(default_factory=times.now)
    #: What tells a stored session from others that its names have had before, or get later.
    identity: int | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "events", tuple(self.events))

    @property
    def key(self) -> tuple[str, str, str]:
        """What names it in the database."""
        return self.app_name, self.user_id, self.id
