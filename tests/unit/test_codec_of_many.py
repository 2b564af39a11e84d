"""Many values written, and many texts read, at once: to the same effect as one after another."""

from __future__ import annotations

from typing import Any

import pytest

from jido_tortoise import codec
from jido_tortoise.errors import CorruptRowError, InvalidInputError, UnstorableError

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


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"in": value}
    return value


_MAPS: list[dict[str, Any]] = [
    {},
    {"n": 1, "text": "a", "list": [1, None, True, 1.5]},
    {"price": "$3", "back\\slash": "\\u0000"},
    {"nul": "\0"},
    {"surrogate": "\ud800"},
    {"$jido:bytes": "no tag"},
    {"tuple": (1, 2), "set": {1}},
    {"large": 2**63, "larger": 2**70, "float": 1e16, "zero": -0.0},
    {"keys": {1: "one"}},
    nested(codec.MAX_DEPTH),
]


@pytest.mark.parametrize("values", [[], _MAPS, *([one] for one in _MAPS), [_MAPS[1]] * 100])
def test_maps_written_together(values: list[dict[str, Any]]) -> None:
    """Each text is what it would be by itself, and reads back as what it was."""
    written = codec.dump_maps(values)
    assert written == [codec.dump_map(value) for value in values]
    assert codec.loads_each(written) == values


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ([1], InvalidInputError),
        (None, InvalidInputError),
        ({1: "one"}, InvalidInputError),
        ({"object": object()}, UnstorableError),
        (nested(codec.MAX_DEPTH + 1), UnstorableError),
    ],
)
def test_one_map_among_them_that_cannot_be_written(bad: Any, error: type[Exception]) -> None:
    """It is refused as it would be by itself."""
    with pytest.raises(error):
        codec.dump_maps([{}, bad, {"n": 1}])
