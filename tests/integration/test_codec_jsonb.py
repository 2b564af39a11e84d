"""The codec's law through PostgreSQL's jsonb, which spells everything anew, and SQLite's JSON functions."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from jido_tortoise import codec
from jido_tortoise.agents.tortoise import TortoiseStorage
from tests.codec_values import exact, values
from tests.conftest import Database

#: Which of our values, and which of jsonb's quirks, must survive.
QUIRKS: list[Any] = [
    1e15,
    9999999999999998.0,
    1e16,
    -1e16,
    1e22,
    1e300,
    1.7976931348623157e308,
    5e-324,
    1e-300,
    1e-7,
    0.1 + 0.2,
    1.0,
    100.0,
    -0.0,
    float("nan"),
    float("-inf"),
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    2**63,
    -(2**200),
    True,
    None,
    "",
    "a\0b",
    "\ud800\udc00",
    "\\u0000",
    {"b": 1, "a": 2, "longer": 3, "$jido:type": 4, "": 5, "\0": 6, "$jido:key:$jido:type": 7},
    {2: "two", "1": 1, (1, 2): {3}},
]


async def _through_jsonb(url: str, written: list[str]) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        statement = "SELECT x.j::jsonb::text FROM unnest($1::text[]) WITH ORDINALITY x(j, o) ORDER BY x.o"
        return [row[0] for row in await connection.fetch(statement, written)]
    finally:
        await connection.close()


def _generated(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Collect values first, to send them in one statement: a round trip for each would take minutes."""
    found: list[Any] = []

    @settings(max_examples=count, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(strategy)
    @example({})
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


@pytest.mark.usefixtures("unmeasured")
async def test_every_value_survives_jsonb(pg_url: str) -> None:
    """load(dump(x)) == x on PostgreSQL, where keys are sorted and numbers are decimals."""
    given_values = QUIRKS + _generated(values, 800)
    stored = await _through_jsonb(pg_url, [codec.dumps(value) for value in given_values])
    for value, text in zip(given_values, stored, strict=True):
        assert exact(codec.loads(text), ordered=False) == exact(value, ordered=False), text


async def test_canonical_text_survives_jsonb(pg_url: str) -> None:
    """A key that is read from its row has the hash of the key that was given."""
    given_values = QUIRKS + _generated(values, 200)
    stored = await _through_jsonb(pg_url, [codec.dumps(value) for value in given_values])
    for value, text in zip(given_values, stored, strict=True):
        assert codec.canonical(codec.loads(text)) == codec.canonical(value)


async def test_the_order_of_keys(db: Database) -> None:
    """The same dict comes back from both; in its order from SQLite alone, as is said in the documentation."""
    menu = {"tea": 3, "b": {"z": 1, "y": 2}, "a": 1}
    numbered = {3: "tea", 1: "a"}
    data = {"menu": menu, "pairs": [[key, menu[key]] for key in menu], "numbered": numbered}
    storage = TortoiseStorage()
    await storage.put_checkpoint("menu", data)
    await storage.append_thread("menu", {"payload": menu})
    stored, thread = await storage.get_checkpoint("menu"), await storage.load_thread("menu")
    assert stored is not None
    assert thread is not None
    assert stored.data == data
    is_sorted = db.dialect == "postgres"
    for found in (stored.data["menu"], thread.entries[0].payload):
        assert [*found] == (["a", "b", "tea"] if is_sorted else ["tea", "b", "a"])
        assert [*found["b"]] == (["y", "z"] if is_sorted else ["z", "y"])
    assert [*stored.data["numbered"]] == [3, 1]
    assert [pair[0] for pair in stored.data["pairs"]] == ["tea", "b", "a"]


async def test_jsonb_would_lose_them_without_tags(pg_url: str) -> None:
    """T9: the tags for numbers are needed: were jsonb to change, this says so."""
    assert await _through_jsonb(pg_url, ["1e16", "-0.0", '{"b": 1, "a": 2, "a": 3}', "1.0"]) == [
        "10000000000000000",
        "0.0",
        '{"a": 3, "b": 1}',
        "1.0",
    ]
    for refused in (r'"\u0000"', r'"\ud800"'):
        with pytest.raises((asyncpg.UntranslatableCharacterError, asyncpg.InvalidTextRepresentationError)):
            await _through_jsonb(pg_url, [refused])


async def test_the_deepest_value_survives_jsonb(pg_url: str) -> None:
    """A hundred levels of the tag with the most JSON levels are within PostgreSQL's reach."""
    value: Any = 1
    for _ in range(codec.MAX_DEPTH):
        value = {1: value}
    assert codec.loads((await _through_jsonb(pg_url, [codec.dumps(value)]))[0]) == value


async def test_ordinary_values_are_readable_in_postgres(pg_url: str) -> None:
    """SQL finds what JSON has, beside what it lacks."""
    connection = await asyncpg.connect(pg_url)
    message = {"role": "user", "content": "hi", "n": 3, "cost": 0.5, "raw": b"x", "tags": {"b", "a"}}
    row = await connection.fetchrow(
        """SELECT p->>'role', (p->'n')::int, p @> '{"cost": 0.5}', p->'tags'->'$jido:set'->>0
           FROM (SELECT $1::jsonb p) x""",
        codec.dump_map(message),
    )
    await connection.close()
    assert row is not None
    assert tuple(row) == ("user", 3, True, "a")


def test_every_value_survives_the_json_functions_of_sqlite() -> None:
    """`json_set` and the like spell the whole text anew, and leave our values as they are."""
    connection = sqlite3.connect(":memory:")
    for value in QUIRKS + _generated(values, 400):
        text = connection.execute("SELECT json(?)", [codec.dumps(value)]).fetchone()[0]
        assert exact(codec.loads(text)) == exact(value)
    connection.close()


def test_ordinary_values_are_readable_in_sqlite() -> None:
    """SQL finds what JSON has, beside what it lacks."""
    connection = sqlite3.connect(":memory:")
    message = {"role": "user", "n": 3, "cost": 0.5, "calls": [{"name": "book"}], "at": {1: 2}, "$jido:x": "escaped"}
    statement = "SELECT p->>'role', p->>'n', p->>'cost', p->>'$.calls[0].name', json_type(p, '$.at') FROM (SELECT ? p)"
    row = connection.execute(statement, [codec.dump_map(message)]).fetchone()
    connection.close()
    assert row == ("user", 3, 0.5, "book", "object")


@pytest.mark.parametrize("value", [1.0, 100.0, 2**70, "1", True, None])
def test_a_text_column_of_sqlite_keeps_lone_scalars(value: object) -> None:
    """A column declared TEXT keeps the text; one declared JSON has numeric affinity, and turns 1.0 into 1."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE kept (text TEXT, json JSON)")
    connection.execute("INSERT INTO kept VALUES (?, ?)", [codec.dumps(value), codec.dumps(1.0)])
    text, as_json = connection.execute("SELECT text, json FROM kept").fetchone()
    connection.close()
    assert exact(codec.loads(text)) == exact(value)
    assert as_json == 1
    assert type(as_json) is int
    assert json.loads(text) is not None or value is None
