"""Stored ADK sessions as they are in the database: JSON with our tags, so that no class of the host is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jido_tortoise import codec, journal
from jido_tortoise.adk import AdkSessionStore, routing, rows
from jido_tortoise.adk.keys import no_session, session_key
from jido_tortoise.adk.rows import EventRow, Key, SessionRow
from jido_tortoise.adk.statements import SESSIONS
from jido_tortoise.errors import CorruptRowError
from jido_tortoise.times import read_time

#: The columns of an event that hold JSON.
_JSON = ("content", "actions", *rows.MAPS, "long_running_tool_ids", "extra")


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session, undecoded."""

    key: Key
    rev: int
    #: As ISO 8601.
    created: str
    updated: str
    state: dict[str, Any]
    #: The last ones.
    events: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Answer it for `json.dumps`."""
        app, user, id = self.key
        names = {"app": app, "user": user, "id": id, "rev": self.rev}
        return {**names, "created": self.created, "updated": self.updated, "state": self.state, "events": self.events}


async def find(store: AdkSessionStore, app_name: str, user_id: str, session_id: str, most: int) -> StoredSession:
    """Answer a session with its last events.

    Raises:
        NotFoundError: There is none.
        CorruptRowError: A row is malformed, or events are missing.
    """
    key = session_key(app_name, user_id, session_id)
    head, found = await store.read(await store.connected(), key, most)
    state = routing.merge(
        _map(head.app, "adk_app_states", key[:1]),
        _map(head.user, "adk_user_states", key[:2]),
        _map(head.state, "adk_sessions", key),
    )
    created, updated = _times(head, key)
    return StoredSession(key, head.rev, created, updated, state, [_event(row, key) for row in found])


async def refuse_missing(store: AdkSessionStore, app_name: str, user_id: str, session_id: str) -> None:
    """See that a session is there, whatever stands in its row.

    Raises:
        NotFoundError: There is none.
    """
    key = session_key(app_name, user_id, session_id)
    if await journal.read_head(await store.connected(), SESSIONS, key) is None:
        raise no_session(key)


def _map(text: str | None, table: str, key: tuple[str, ...]) -> dict[str, Any]:
    try:
        state = {} if text is None else codec.loads_raw(text, path="state")
    except CorruptRowError as error:
        raise rows.corrupt(table, key, f"the state is malformed: {error}") from error
    if type(state) is not dict:
        raise rows.corrupt(table, key, "the state is malformed: it is no map")
    return state


def _times(head: SessionRow, key: Key) -> tuple[str, str]:
    try:
        return _moment(head.inserted_at), _moment(head.updated_at)
    except (TypeError, ValueError) as error:
        raise rows.corrupt("adk_sessions", key, f"a time is malformed: {error}") from error


def _event(row: Sequence[Any], key: Key) -> dict[str, Any]:
    columns = EventRow(*row[1:])._asdict()
    try:
        read = {name: None if columns[name] is None else codec.loads_raw(columns[name]) for name in _JSON}
        flags = {name: bool(columns[name]) for name in rows.FLAGS}
        return {"seq": row[0], **columns, **read, **flags, "timestamp": _moment(columns["timestamp"])}
    except rows.MALFORMED as error:
        raise rows.corrupt("adk_events", key, f"event {row[0]} is malformed: {error}", seq=row[0]) from error


def _moment(stored: Any) -> str:
    return read_time(stored).isoformat()
