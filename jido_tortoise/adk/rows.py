"""Events and sessions as rows, and back; what is malformed is named by its key.

The law of a repeat: an event whose id is stored in the session already, with the same content, is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from jido_tortoise import checks, codec
from jido_tortoise.adk import routing
from jido_tortoise.adk.making import maker
from jido_tortoise.adk.trees import actions_of, actions_tree, content_of, content_tree, no_actions
from jido_tortoise.adk.values import Actions, Content, Event, Session
from jido_tortoise.codec.text import is_clean
from jido_tortoise.database import Dialect
from jido_tortoise.errors import CorruptRowError, InvalidInputError
from jido_tortoise.times import check_moment, read_time, stored_time

Key = tuple[str, str, str]

#: No session ever has so many events: appended once a microsecond, they would take twelve days.
MOST_EVENTS = 2**40

#: The texts of an event that stand in a column, and how much of each fits there.
TEXTS: dict[str, int | None] = {
    "invocation_id": 255,
    "author": 255,
    "branch": None,
    "error_code": None,
    "error_message": None,
}
MAPS = ("custom_metadata", "usage_metadata", "citation_metadata", "grounding_metadata")
FLAGS = ("partial", "turn_complete", "interrupted")
#: What is ours in a row's `extra`; the rest is the event's own.
_OURS = (*TEXTS, "finish_reason")


_make_event = maker(Event)


class EventRow(NamedTuple):
    """An event as a row holds it, but for its number; in the order of `statements.SESSIONS.row`."""

    id: str
    invocation_id: str | None
    author: str | None
    branch: str | None
    error_code: str | None
    error_message: str | None
    #: JSON texts.
    content: str | None
    actions: str
    custom_metadata: str | None
    usage_metadata: str | None
    citation_metadata: str | None
    grounding_metadata: str | None
    partial: bool
    turn_complete: bool
    interrupted: bool
    long_running_tool_ids: str
    timestamp: Any
    extra: str


#: What stands in the rows of events that do nothing but say something, on SQLite and as jsonb spells it.
NOTHING_DONE = frozenset(
    {
        codec.dump_map(actions_tree(Actions(), {})),
        '{"escalate": false, "state_delta": {}, "artifact_delta": {}, "transfer_to_agent": null,'
        ' "skip_summarization": false}',
    }
)

#: Where these two stand in a row with its number before it.
_CONTENT, _ACTIONS = 1 + EventRow._fields.index("content"), 1 + EventRow._fields.index("actions")


class SessionRow(NamedTuple):
    """A session's row with the states beside it; in the order of `statements.head`."""

    user_id: str
    id: str
    rev: int
    first_seq: int
    extra: str
    inserted_at: Any
    updated_at: Any
    app: str | None
    user: str | None
    state: str
    #: No other session ever has it, also one that is made under the same key later.
    identity: int


# -- events -------------------------------------------------------------------------------------------------------


def encode_event(event: Event, dialect: Dialect) -> EventRow:
    """Answer the row of an event that `check_event` has passed, or refuse it.

    Raises:
        InvalidInputError: A field is not what it must be; `path` says which.
        UnstorableError: It holds a value that cannot be stored.
    """
    texts, extra = _texts(event)
    delta = routing.without_temp(checks.string_map(event.actions.state_delta, "event.actions.state_delta"))
    values = [
        checks.text(event.id, "event.id"),
        *texts,
        _content_text(event.content),
        codec.dump_map(actions_tree(event.actions, delta), path="event.actions"),
        *[None if getattr(event, name) is None else _map_text(event, name) for name in MAPS],
        bool(event.partial),
        bool(event.turn_complete),
        bool(event.interrupted),
        _ids_text(event.long_running_tool_ids) if event.long_running_tool_ids else "[]",
        stored_time(check_moment(event.timestamp, "event.timestamp"), dialect),
        codec.dump_map(extra, path="event.extra") if extra else "{}",
    ]
    return EventRow._make(values)


def _content_text(content: Content | None) -> str | None:
    if content is None:
        return None
    return codec.dump_map(content_tree(content), path="event.content")


def _map_text(event: Event, name: str) -> str:
    path = f"event.{name}"
    return codec.dump_map(checks.string_map(getattr(event, name), path), path=path)


def _ids_text(ids: Sequence[str]) -> str:
    return codec.dumps(list(ids), path="event.long_running_tool_ids")


def _texts(event: Event) -> tuple[list[str | None], dict[str, Any]]:
    """Answer the columns of the texts, and the row's `extra` with those that no column can hold."""
    extra = dict(event.extra)
    for name in _OURS if extra else ():
        if name in extra:
            raise InvalidInputError.at(f"event.extra.{name}", f"nothing: it is a field, event.{name}", extra[name])
    columns = []
    for name, most in TEXTS.items():
        value = getattr(event, name)
        column = fitting(value, most, f"event.{name}")
        columns.append(column)
        if column != value:
            extra[name] = value
    if event.finish_reason is not None:
        extra["finish_reason"] = event.finish_reason
    return columns, extra


def fitting(value: Any, most: int | None, path: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidInputError.at(path, "a text or None", value)
    clean = value if is_clean(value) else value.encode(errors="replace").decode().replace("\0", "\ufffd")
    return clean[:most]


def same_event(row: EventRow, stored: Sequence[Any]) -> bool:
    """Tell whether a stored row, its number before it, is this event's."""
    other = EventRow(*stored[1:])
    json = {"content", "actions", "extra", "long_running_tool_ids", *MAPS}
    return all(
        codec.same(mine, theirs) if name in json else mine == theirs
        for name, mine, theirs in zip(EventRow._fields, row, other, strict=True)
    )


#: What a malformed row leads to, whatever is wrong with it.
MALFORMED = (CorruptRowError, AttributeError, LookupError, TypeError, ValueError)


def decode_events(rows: Sequence[Sequence[Any]], key: Key) -> list[Event]:
    """Make the events of rows, their numbers before them; a malformed one is a CorruptRowError that names it."""
    if not rows:
        return []
    try:
        return _events(rows)
    except MALFORMED:  # once more, one by one, to say which
        return [_event(row, key) for row in rows]


def _events(rows: Sequence[Sequence[Any]]) -> list[Event]:
    contents = codec.loads_each([row[_CONTENT] or "null" for row in rows])
    done = iter(codec.loads_each([text for row in rows if (text := row[_ACTIONS]) not in NOTHING_DONE]))
    return [
        _made(
            row,
            None if content is None else content_of(content),
            no_actions() if row[_ACTIONS] in NOTHING_DONE else actions_of(next(done)),
        )
        for row, content in zip(rows, contents, strict=True)
    ]


def _event(row: Sequence[Any], key: Key) -> Event:
    try:
        return _events([row])[0]
    except MALFORMED as error:
        raise corrupt("adk_events", key, f"event {row[0]} is malformed: {error}", seq=row[0]) from error


def _made(row: Sequence[Any], content: Content | None, actions: Actions) -> Event:
    # fmt: off
    (_, id, invocation_id, author, branch, error_code, error_message, _, _, custom, usage, citation, grounding,
     partial, turn_complete, interrupted, tools, timestamp, extra) = row
    # fmt: on
    event = _make_event(  # without names, since twenty of them cost as much as all the rest of it
        id,
        read_time(timestamp),
        invocation_id,
        author,
        branch,
        content,
        actions,
        bool(partial),
        bool(turn_complete),
        bool(interrupted),
        error_code,
        error_message,
        None,
        () if tools == "[]" else tuple(codec.loads(tools) or ()),
        None if custom is None else dict(codec.loads(custom)),
        None if usage is None else dict(codec.loads(usage)),
        None if citation is None else dict(codec.loads(citation)),
        None if grounding is None else dict(codec.loads(grounding)),
        {},
    )
    return event if extra == "{}" else _with_extra(event, dict(codec.loads(extra)))


def _with_extra(event: Event, extra: dict[str, Any]) -> Event:
    fields = {name: extra.pop(name) for name in _OURS if name in extra}
    return replace(event, **fields, extra=extra)


# -- sessions -----------------------------------------------------------------------------------------------------


def encode_state(delta: dict[str, Any], path: str = "state") -> str | None:
    """Answer a delta as JSON; None when it is empty."""
    return codec.dump_map(delta, path=path) if delta else None


def decode_state(text: str | None, table: str, key: tuple[str, ...]) -> dict[str, Any]:
    """Answer a stored state; what is no map is a CorruptRowError that names it."""
    cause: CorruptRowError | None = None
    try:
        state = {} if text is None else codec.loads(text, path="state")
    except CorruptRowError as error:
        state, cause = None, error
    if type(state) is not dict:
        raise corrupt(table, key, f"the state is malformed: {cause or 'it is no map'}") from cause
    return state


def check_numbers(rev: Any, first_seq: Any, key: Key) -> None:
    """See that a session's row has numbers where it counts events: a column of SQLite takes a text there, too."""
    if not (checks.is_whole(rev) and checks.is_whole(first_seq) and first_seq <= rev < MOST_EVENTS):
        what = f"the numbers of its events are malformed: {first_seq!r} to {rev!r}"
        raise corrupt("adk_sessions", key, what, reason="invalid_session_revision")


def decode_session(row: SessionRow, app_name: str, events: Sequence[Event]) -> Session:
    """Make a session of its row and its events."""
    key = (app_name, row.user_id, row.id)
    check_numbers(row.rev, row.first_seq, key)
    state = routing.merge(
        decode_state(row.app, "adk_app_states", key[:1]),
        decode_state(row.user, "adk_user_states", key[:2]),
        decode_state(row.state, "adk_sessions", key),
    )
    try:
        created, updated = read_time(row.inserted_at), read_time(row.updated_at)
    except (TypeError, ValueError) as error:
        raise corrupt("adk_sessions", key, f"a time is malformed: {error}") from error
    return Session(
        app_name=app_name,
        user_id=row.user_id,
        id=row.id,
        state=state,
        events=events,
        rev=row.rev,
        created_at=created,
        last_update_time=updated,
        identity=row.identity,
    )


_NAMES = ("app_name", "user_id", "session_id")


def corrupt(table: str, key: tuple[str, ...], what: str, **facts: Any) -> CorruptRowError:
    """Say which stored row is malformed."""
    return CorruptRowError(
        f"{table} {key}: {what}", table=table, key=key, **dict(zip(_NAMES, key, strict=False)), **facts
    )
