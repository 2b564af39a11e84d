"""Pickles are read as data: plain values come out, and nothing of what a pickle names is ever imported or called."""

from __future__ import annotations

import pickle
import sys
import uuid
from collections import OrderedDict, defaultdict
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jido_tortoise.adk.pickled import read_pickle

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.dates()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
)
_KEYS = st.text() | st.integers() | st.tuples(st.text())
PLAIN = st.recursive(
    _SCALARS,
    lambda some: st.lists(some) | st.dictionaries(_KEYS, some) | st.tuples(some, some) | st.sets(_KEYS),
    max_leaves=20,
)


@given(PLAIN, st.integers(2, pickle.HIGHEST_PROTOCOL))
def test_plain_values_come_out(value: Any, protocol: int) -> None:
    """As they went in, in all protocols that were ever used for them."""
    assert read_pickle(pickle.dumps(value, protocol)) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Whatever they are: a value, or a ValueError."""
    with suppress(ValueError):
        read_pickle(data)


@given(PLAIN, st.data())
def test_a_pickle_that_was_cut_or_changed(value: Any, data: st.DataObject) -> None:
    """Refused, or read as something else; never anything worse."""
    raw = bytearray(pickle.dumps(value, 4))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] = data.draw(st.integers(0, 255))
    for some in (bytes(raw), bytes(raw[:place])):
        with suppress(ValueError):
            read_pickle(some)


def test_other_values_of_a_state() -> None:
    """What google-adk lets into a pickle beside JSON."""
    values = {
        "ordered": OrderedDict(a=1),
        "default": defaultdict(list, b=[2]),
        "zone": datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        "date": date(2026, 1, 1),
        "decimal": Decimal("1.10"),
        "uuid": uuid.UUID(int=7),
        "bytes": bytearray(b"\xff"),
        "complex": 1j,
        "frozen": frozenset([1]),
    }
    assert read_pickle(pickle.dumps(values, 4)) == {**values, "ordered": {"a": 1}, "default": {"b": [2]}}
    assert read_pickle(pickle.dumps(PurePosixPath("/a/b"), 4)) == "/a/b"


class Attack:
    """Would run code where a pickle is loaded."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


class Colour(Enum):
    RED = 1


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize(
    "value",
    [
        Attack(exec, "import sys; sys.pwned = True"),
        {"deep": [Attack(eval, "sys.exit()")]},
        sys.exit,
        Attack(getattr, sys, "exit"),
        Attack(bytearray, 2**50),
        Attack(list, 7),
        Colour.RED,
        Attack(__import__, "antigravity"),
    ],
    ids=["exec", "eval", "a function", "getattr", "a huge bytearray", "a list of 7", "an enum", "an import"],
)
def test_what_is_no_data_is_refused(value: Any, protocol: int) -> None:
    """Named, and not executed."""
    try:
        raw = pickle.dumps(value, protocol)
    except TypeError:
        pytest.skip("Python does not pickle this either")
    with pytest.raises(ValueError, match=r"pickle"):
        read_pickle(raw)
    assert not hasattr(sys, "pwned")
    assert "antigravity" not in sys.modules


def test_a_small_pickle_of_a_large_value() -> None:
    """A list of two of a list of two of ..., and one that holds itself."""
    value: list[Any] = []
    for _ in range(30):
        value = [value, value]
    with pytest.raises(ValueError, match="more than an event can hold"):
        read_pickle(pickle.dumps(value))
    itself: list[Any] = []
    itself.append(itself)
    with pytest.raises(ValueError, match="more than an event can hold"):
        read_pickle(pickle.dumps(itself))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b".",
        b"(.",
        b"\x80\x04}\x94",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"P1\n.",
        b"ios\nsystem\n.",
        b"]b.",
    ],
)
def test_broken_pickles(raw: bytes) -> None:
    """Nothing on the stack, no end, a mark that stays, a name, instructions that data does not need."""
    with pytest.raises(ValueError, match=r"."):
        read_pickle(raw)
