"""Where a key of a session's state lives: its prefix says so.

| prefix | kept in | seen by |
|---|---|---|
| `app:` | `adk_app_states` | all sessions of the app |
| `user:` | `adk_user_states` | all sessions of the user in the app |
| `temp:` | nowhere | the invocation that set it |
| none, or any other | `adk_sessions` | the session |

Stored keys of an app and a user have no prefix. A delta is merged key by key: a value replaces the one that was there,
whatever both are, and None is a value like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Scope = Literal["app", "user", "temp", "session"]

APP, USER, TEMP = "app:", "user:", "temp:"
_SCOPES: dict[str, Scope] = {APP: "app", USER: "user", TEMP: "temp"}


class Deltas(NamedTuple):
    """A delta by where its keys live; those of app and user without their prefix."""

    session: dict[str, Any]
    app: dict[str, Any]
    user: dict[str, Any]


def scope_of(key: str) -> tuple[Scope, str]:
    """Answer where a key lives, and its name there."""
    for prefix, scope in _SCOPES.items():
        if key.startswith(prefix):
            return scope, key[len(prefix) :]
    return "session", key


def split(delta: Mapping[str, Any]) -> Deltas:
    """Part a delta; what is temporary is in none of them."""
    found: dict[Scope, dict[str, Any]] = {"session": {}, "app": {}, "user": {}, "temp": {}}
    for key, value in delta.items():
        scope, name = scope_of(key)
        found[scope][name] = value
    return Deltas(found["session"], found["app"], found["user"])


def merge(app: Mapping[str, Any], user: Mapping[str, Any], session: Mapping[str, Any]) -> dict[str, Any]:
    """Answer the state that a session shows: the prefixes are back, and the session's own keys win."""
    return {
        **{APP + key: value for key, value in app.items()},
        **{USER + key: value for key, value in user.items()},
        **session,
    }


def without_temp(delta: Mapping[str, Any]) -> dict[str, Any]:
    """Answer what of a delta is stored."""
    return {key: value for key, value in delta.items() if not key.startswith(TEMP)}
