"""Where each key of a state lives, and what a session shows of it."""

from __future__ import annotations

from typing import Any

import pytest

from jido_tortoise.adk import routing


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("app:theme", ("app", "theme")),
        ("user:lang", ("user", "lang")),
        ("temp:x", ("temp", "x")),
        ("step", ("session", "step")),
        ("odd:z", ("session", "odd:z")),
        ("App:theme", ("session", "App:theme")),
        ("app", ("session", "app")),
        ("app:", ("app", "")),
        ("app:user:x", ("app", "user:x")),
        (" app:x", ("session", " app:x")),
    ],
)
def test_scope_of(key: str, expected: tuple[str, str]) -> None:
    """Exactly three prefixes mean something, each only at the very beginning and once."""
    assert routing.scope_of(key) == expected


def test_split_parts_a_mixed_delta() -> None:
    """Each key to its place, with what it has there as a name; what is temporary is nowhere."""
    delta = {"app:a": 1, "user:u": None, "temp:t": 3, "s": {"app:not": 4}}
    assert routing.split(delta) == ({"s": {"app:not": 4}}, {"a": 1}, {"u": None})


@pytest.mark.parametrize("delta", [{}, {"temp:a": 1, "temp:b": 2}], ids=["empty", "temporary only"])
def test_split_of_nothing(delta: dict[str, Any]) -> None:
    """There is nothing to write anywhere."""
    assert routing.split(delta) == ({}, {}, {})


def test_merge_gives_the_prefixes_back() -> None:
    """What was split is whole again."""
    delta = {"app:a": 1, "user:u": 2, "s": 3, "app:": 4}
    session, app, user = routing.split(delta)
    assert routing.merge(app, user, session) == delta
    assert routing.merge({}, {}, {}) == {}


def test_merge_lets_the_session_win() -> None:
    """A session's own key that looks like another's is what the session shows."""
    assert routing.merge({"a": 1}, {"a": 2}, {"app:a": 3}) == {"app:a": 3, "user:a": 2}


def test_without_temp() -> None:
    """All but what is temporary; what was given is not changed."""
    delta = {"temp:a": 1, "temporary": 2, "app:b": 3}
    assert routing.without_temp(delta) == {"temporary": 2, "app:b": 3}
    assert len(delta) == 3
