"""What is recorded: sessions, their runs, the events of both, and artifacts, as frozen values without a database.

The maps in them are the caller's; nothing here or in a store changes them. A value that a store answers carries the
`revision` that the store knows it by; one made by hand has 0. A status or type of a newer version is kept as it is in
what a store answers, and refused in what is made by hand.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from jido_tortoise import checks, seams, times
from jido_tortoise.codec.text import is_clean
from jido_tortoise.errors import InvalidRecordError
from jido_tortoise.recording.statuses import (
    EVENT_TYPES,
    RUN_STATUSES,
    SESSION_STATUSES,
    check_transition,
    known_status,
)

Map = Mapping[str, Any]
V = TypeVar("V")

_AS_CREATED = datetime.min.replace(tzinfo=UTC)


def new_id(prefix: str) -> str:
    """Make an id of a session, run or event: the prefix and 32 hexadecimal digits that sort by time."""
    return seams.new_id(prefix).replace("-", "")


def new_artifact_id() -> str:
    """Make an id of an artifact: `art_` and 12 bytes as URL-safe base64."""
    return "art_" + base64.urlsafe_b64encode(hashlib.sha256(seams.new_id("").encode()).digest()[:12]).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What an agent and its user have to do with one another, run after run.

    `pending` becomes `active`; `active` and `paused` change into each other; `active` ends as `completed`, and any of
    the three as `failed` or `cancelled`.
    """

    agent_id: str
    id: str = field(default_factory=lambda: new_id("ses_"))
    status: str = "pending"
    parent_session_id: str | None = None
    metadata: Map = field(default_factory=dict)
    context: Map = field(default_factory=dict)
    tags: Sequence[str] = ()
    created_at: datetime = field(default_factory=times.now)
    #: As `created_at` when it is not given.
    updated_at: datetime = _AS_CREATED
    #: When it was deleted softly; None when it was not.
    deleted_at: datetime | None = None
    #: How often the store has written it: 0 for a value that no store has answered.
    revision: int = 0

    def __post_init__(self) -> None:
        if self.updated_at is _AS_CREATED:
            _set(self, "updated_at", self.created_at)
        _texts(self, "session", ("agent_id", "id"), ("parent_session_id",))
        _maps(self, "session", ("metadata", "context"))
        _set(self, "tags", _tags(self.tags, "session.tags"))
        _moments(self, "session", ("created_at", "updated_at"), ("deleted_at",))
        _status(self, "session", SESSION_STATUSES)

    @property
    def is_deleted(self) -> bool:
        """Whether it was deleted softly."""
        return self.deleted_at is not None

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended, and no status can follow."""
        return SESSION_STATUSES.get(self.status) == frozenset()

    def with_status(self, status: str) -> Session:
        """Answer the session with a status that may follow its own, changed now.

        Raises:
            InvalidRecordError: `invalid_status`: there is none of that name.
            InvalidTransitionError: It cannot follow; `from_status`, `to_status` and `allowed` say why.
        """
        new = check_transition(self.status, status, SESSION_STATUSES, "session.status")
        return self if new == self.status else replace(self, status=new, updated_at=_later(self.updated_at))

    def changed(self, **fields: Any) -> Session:
        """Answer the session with other fields than its status, changed now: `session.changed(tags=["pinned"])`."""
        return replace(self, **{"updated_at": _later(self.updated_at), **fields})


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution within a session: `pending`, `running`, then one of four ends."""

    session_id: str
    id: str = field(default_factory=lambda: new_id("run_"))
    status: str = "pending"
    input: Map | None = None
    output: Map | None = None
    error: Map | None = None
    metadata: Map = field(default_factory=dict)
    turn_count: int = 0
    #: Numbers by name: input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_creation_tokens.
    token_usage: Map = field(default_factory=dict)
    provider: str | None = None
    provider_metadata: Map = field(default_factory=dict)
    #: US dollars; None when nobody knows.
    cost_usd: float | None = None
    started_at: datetime = field(default_factory=times.now)
    ended_at: datetime | None = None
    #: How often the store has written it: 0 for a value that no store has answered.
    revision: int = 0

    def __post_init__(self) -> None:
        _texts(self, "run", ("session_id", "id"), ("provider",))
        _maps(self, "run", ("metadata", "token_usage", "provider_metadata"), ("input", "output", "error"))
        checks.whole(self.turn_count, "run.turn_count", error=InvalidRecordError)
        _set(self, "cost_usd", _cost(self.cost_usd))
        _moments(self, "run", ("started_at",), ("ended_at",))
        _status(self, "run", RUN_STATUSES)

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended, and no status can follow."""
        return RUN_STATUSES.get(self.status) == frozenset()

    def with_status(self, status: str) -> Run:
        """Answer the run with a status that may follow its own; an end sets `ended_at`.

        Raises:
            InvalidRecordError: `invalid_status`: there is none of that name.
            InvalidTransitionError: It cannot follow; `from_status`, `to_status` and `allowed` say why.
        """
        new = check_transition(self.status, status, RUN_STATUSES, "run.status")
        if new == self.status:
            return self
        ended_at = _later(self.started_at) if not RUN_STATUSES[new] else None
        return replace(self, status=new, ended_at=ended_at)

    def with_output(self, output: Map) -> Run:
        """Answer the run completed, with what it answered."""
        return replace(self.with_status("completed"), output=output)

    def with_error(self, error: Map) -> Run:
        """Answer the run failed, with what went wrong."""
        return replace(self.with_status("failed"), error=error)

    def with_turn(self) -> Run:
        """Answer the run with one turn more."""
        return replace(self, turn_count=self.turn_count + 1)

    def with_usage(self, usage: Map) -> Run:
        """Answer the run with more usage: numbers are added to those of the same name, other values replace them."""
        summed = dict(self.token_usage)
        for name, value in usage.items():
            old = summed.get(name)
            summed[name] = old + value if _is_number(old) and _is_number(value) else value
        return replace(self, token_usage=summed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened in a session; never changed once it is stored.

    The id is made once, with the event: whoever repeats an append whose outcome is unknown brings the same one.
    """

    #: One of `jido_tortoise.recording.statuses.EVENT_TYPES`.
    type: str
    session_id: str
    id: str = field(default_factory=lambda: new_id("evt_"))
    run_id: str | None = None
    #: When it happened, to the microsecond.
    timestamp: datetime = field(default_factory=times.now)
    data: Map = field(default_factory=dict)
    metadata: Map = field(default_factory=dict)
    #: Its place in the session, from 1; the store gives it, whatever a caller says.
    sequence_number: int | None = None
    schema_version: int = 1
    provider: str | None = None
    correlation_id: str | None = None

    def __post_init__(self) -> None:
        _texts(self, "event", ("type", "session_id", "id"), ("run_id", "provider", "correlation_id"))
        _moments(self, "event", ("timestamp",))
        _maps(self, "event", ("data", "metadata"))
        checks.whole(self.schema_version, "event.schema_version", least=1, error=InvalidRecordError)
        if self.sequence_number is not None:
            checks.whole(self.sequence_number, "event.sequence_number", error=InvalidRecordError)
        elif self.type not in EVENT_TYPES:
            raise InvalidRecordError.at("event.type", "one of EVENT_TYPES", self.type, reason="invalid_event_type")


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What is known of some bytes that are kept elsewhere."""

    key: str
    #: Of the content, in bytes.
    byte_size: int
    #: Of the content, as 64 hexadecimal digits, small ones.
    checksum_sha256: str
    #: The kind of store that has the content, such as "file" or "s3".
    storage_backend: str
    #: Where in that store it is.
    storage_ref: str
    id: str = field(default_factory=new_artifact_id)
    session_id: str | None = None
    run_id: str | None = None
    content_type: str | None = None
    metadata: Map = field(default_factory=dict)
    created_at: datetime = field(default_factory=times.now)
    deleted_at: datetime | None = None

    def __post_init__(self) -> None:
        required = ("key", "storage_backend", "id", "checksum_sha256")
        _texts(self, "artifact", required, ("session_id", "run_id", "content_type"))
        _digest(self.checksum_sha256)
        _reference(self.storage_ref)
        checks.whole(self.byte_size, "artifact.byte_size", error=InvalidRecordError)
        _maps(self, "artifact", ("metadata",))
        _moments(self, "artifact", ("created_at",), ("deleted_at",))

    @property
    def is_deleted(self) -> bool:
        """Whether it was deleted softly."""
        return self.deleted_at is not None


def restored(cls: type[V], fields: Map) -> V:
    """Make a value of what is stored, which nobody checks again: a newer version may have other rules."""
    value = cls.__new__(cls)
    for name, field_ in fields.items():
        object.__setattr__(value, name, field_)
    return value


# -- parts --------------------------------------------------------------------------------------------------------


def _set(value: object, name: str, new: Any) -> None:
    object.__setattr__(value, name, new)


def _later(moment: datetime) -> datetime:
    # A clock that was set back must not make a change older than what it changes.
    return max(times.now(), moment)


def _texts(value: object, of: str, required: Iterable[str], optional: Iterable[str] = ()) -> None:
    for name in required:
        _text(value, of, name)
    for name in optional:
        if getattr(value, name) is not None:
            _text(value, of, name)


def _text(value: object, of: str, name: str) -> None:
    given = getattr(value, name)
    # A subclass of str is stored as what it says.
    if type(given) is not str or not checks.is_text(given):
        _set(value, name, checks.text(given, f"{of}.{name}", InvalidRecordError))


def _maps(value: object, of: str, required: Iterable[str], optional: Iterable[str] = ()) -> None:
    for name in (*required, *(name for name in optional if getattr(value, name) is not None)):
        if not isinstance(getattr(value, name), Mapping):
            raise InvalidRecordError.at(f"{of}.{name}", "a dict with string keys", getattr(value, name))


def _moments(value: object, of: str, required: Iterable[str], optional: Iterable[str] = ()) -> None:
    for name in (*required, *(name for name in optional if getattr(value, name) is not None)):
        times.check_moment(getattr(value, name), f"{of}.{name}", InvalidRecordError)


def _status(value: Session | Run, of: str, statuses: Mapping[str, frozenset[str]]) -> None:
    checks.whole(value.revision, f"{of}.revision", error=InvalidRecordError)
    if value.revision:
        checks.text(value.status, f"{of}.status", InvalidRecordError)
    else:
        _set(value, "status", known_status(value.status, statuses, f"{of}.status"))


def _tags(tags: Any, path: str) -> tuple[str, ...]:
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise InvalidRecordError.at(path, "a list of texts", tags)
    return tuple(checks.text(tag, f"{path}[{at}]", InvalidRecordError) for at, tag in enumerate(tags))


def _reference(value: Any) -> None:
    # Of any length: a path may be longer than our names are.
    if not isinstance(value, str) or not value or not is_clean(value):
        raise InvalidRecordError.at("artifact.storage_ref", "a text without NUL and lone surrogates, not empty", value)


def _digest(value: str) -> None:
    # As hashlib writes it, with which it is compared.
    if not re.fullmatch("[0-9a-f]{64}", value):
        raise InvalidRecordError.at("artifact.checksum_sha256", "64 hexadecimal digits, 0-9 and a-f", value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cost(value: Any) -> float | None:
    if value is None:
        return None
    found = checks.number(value)
    if found is None or found < 0:
        raise InvalidRecordError.at("run.cost_usd", "US dollars as a number from 0 on, or None", value)
    return found
