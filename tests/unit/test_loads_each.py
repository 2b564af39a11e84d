"""Many texts read at once: the same values and the same errors as one after another."""

from __future__ import annotations

from typing import Any

import pytest

from jido_tortoise import codec
from jido_tortoise.errors import CorruptRowError

_VALUES: list[Any] = [{"n": 1}, {}, [1, [2]], "a,b", None, 2**63, {"in": {"set": {1, 2}}}, (1, 2), 1.5, "$jido:"]


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 200])
def test_each_is_what_it_was(count: int) -> None:
    """Also where some texts have tags, which are read one by one, and others have none."""
    values = (_VALUES * 20)[:count]
    assert codec.loads_each([codec.dumps(value) for value in values]) == values


def test_plain_texts_of_more_than_one_portion() -> None:
    """Portions are put together in their order."""
    values = [{"n": number} for number in range(1_000)]
    assert codec.loads_each([codec.dumps(value) for value in values]) == values


@pytest.mark.parametrize("bad", ["", "{", "1,2", '{"a":1', "[1", "nothing", '{"$jido:none":1}'])
@pytest.mark.parametrize("place", [0, 5, 63, 64, 99])
def test_a_malformed_one_among_them(bad: str, place: int) -> None:
    """It is not taken for two values, and does not swallow the ones beside it."""
    written = ["{}"] * 100
    written[place] = bad
    with pytest.raises(CorruptRowError):
        codec.loads_each(written)


def test_something_that_is_no_text() -> None:
    """A column that holds NULL is an error of that row."""
    with pytest.raises(CorruptRowError):
        codec.loads_each(["{}", None])  # type: ignore[list-item]
