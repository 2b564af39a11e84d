"""Messages of errors end up in logs: what they never show."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from jido_tortoise.errors import ConfigError, InvalidInputError, JidoError, shown
from jido_tortoise.recording import SessionManager, SessionStore
from jido_tortoise.schema import upgrade

_URL = "postgres://ann:se:cret@s@db.example/shop"


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (_URL, "'postgres://ann:***@db.example/shop'"),
        (_URL.replace("db.example", "db" * 40), "'postgres://ann:***@dbdb"),
        (f"{_URL[:20]}{'s' * 100}@db", "'postgres://ann:***@db'"),
        ("asyncpg://db/shop?password=secret&ssl=on", "'asyncpg://db/shop?password=***&ssl=on'"),
        ({"host": "db", "password": "it's secret", "user": "ann"}, "{'host': 'db', 'password': ***, 'user': 'ann'}"),
        ({"host": "db", "password": "secret"}, "{'host': 'db', 'password': ***}"),
        ("https://example.org:80/a?b=c", "'https://example.org:80/a?b=c'"),
    ],
    ids=str,
)
def test_a_value_is_shown_without_its_password(value: Any, seen: str) -> None:
    """Of a URL, its query, or the dict of a connection; also where the text is cut."""
    assert shown(value).startswith(seen)
    assert "secret" not in shown(value)


def test_no_error_tells_a_password() -> None:
    """Whoever words it; a program finds the value as it was among the facts."""
    error = InvalidInputError.at("store", "a store", _URL)
    assert "postgres://ann:***@" in str(error)
    assert error.got == _URL
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(JidoError(f"no config at {_URL!r}")) == "no config at 'postgres://ann:***@db.example/shop'"


async def test_a_url_where_none_is_wanted() -> None:
    """The ways in which a URL is given by mistake."""
    for wrong in (_URL, (SessionStore, {"url": _URL})):
        with pytest.raises(InvalidInputError, match="store: expected") as caught:
            SessionManager(wrong)
        assert "cret" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"no Tortoise config at 'postgres://ann:\*\*\*@") as refused:
        await upgrade(_URL)
    assert "cret" not in str(refused.value)
