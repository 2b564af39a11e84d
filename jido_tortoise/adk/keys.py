"""What names a session."""

from __future__ import annotations

from typing import Any

from jido_tortoise import checks
from jido_tortoise.adk.rows import Key
from jido_tortoise.errors import NotFoundError


def session_key(app_name: object, user_id: object, session_id: object) -> Key:
    """Answer the key of a session when its parts are texts that the columns hold."""
    return (
        checks.text(app_name, "app_name"),
        checks.text(user_id, "user_id"),
        checks.text(session_id, "session_id"),
    )


def key_values(key: Key) -> dict[str, Any]:
    """Answer a session's key as statements take it."""
    return dict(zip(("app_name", "user_id", "id"), key, strict=True))


def no_session(key: tuple[Any, ...]) -> NotFoundError:
    """Say that a session is not there."""
    app_name, user_id, session_id = key
    return NotFoundError(f"app {app_name!r} and user {user_id!r} have no session {session_id!r}", key=key)
