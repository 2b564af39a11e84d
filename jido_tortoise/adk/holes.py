"""The numbers of events that were deleted from the midst of a session: its row names them.

So an event that is deleted and one that is lost are told apart: what is neither there nor a hole is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import Any

from jido_tortoise import checks, codec
from jido_tortoise.errors import CorruptRowError

#: Where they stand in the `extra` of a session's row.
_NAME = "holes"


@dataclass(frozen=True, slots=True)
class Holes:
    """Ranges of numbers, from one inclusive to one exclusive, in order, apart from one another."""

    ranges: tuple[tuple[int, int], ...] = ()

    def between(self, start: int, stop: int) -> int:
        """Count those in [start, stop)."""
        return sum(max(0, min(last, stop) - max(first, start)) for first, last in self.ranges)

    def start_of_last(self, count: int, first: int, stop: int) -> int:
        """Answer from which number on, at least `first`, the last `count` events below `stop` stand."""
        place = stop
        for begin, end in reversed(self.within(first, stop).ranges):
            if place - end >= count:
                break
            count -= place - end
            place = begin
        return max(first, place - count)

    def within(self, start: int, stop: int) -> Holes:
        """Answer those in [start, stop)."""
        cut = ((max(first, start), min(last, stop)) for first, last in self.ranges)
        return Holes(tuple((first, last) for first, last in cut if first < last))

    def joined(self, numbers: Iterable[int]) -> Holes:
        """Answer these and more."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted((*self.ranges, *((number, number + 1) for number in numbers))):
            if merged and first <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return Holes(tuple(merged))

    def into(self, extra: Mapping[str, Any] = MappingProxyType({})) -> str:
        """Answer a row's `extra` with these holes, as JSON."""
        others = {name: value for name, value in extra.items() if name != _NAME}
        return codec.dump_map({**others, **({_NAME: [list(pair) for pair in self.ranges]} if self.ranges else {})})


NO_HOLES = Holes()


def holes_of(extra: str, rev: int) -> Holes:
    """Read the holes of a session of that revision from its row's `extra`.

    Raises:
        ValueError: They are malformed: no ranges, out of order, or of numbers that no event has had.
    """
    return NO_HOLES if extra == "{}" else _read(extra_of(extra).get(_NAME, []), rev)


def extra_of(text: str) -> dict[str, Any]:
    """Read a row's `extra`.

    Raises:
        ValueError: It is malformed.
    """
    try:
        extra = codec.loads(text, path="extra")
    except CorruptRowError as error:
        raise ValueError(str(error)) from error
    if type(extra) is not dict:
        raise ValueError("the extra is no map")
    return extra


def _read(pairs: Any, rev: int) -> Holes:
    if not isinstance(pairs, list) or not all(map(_is_pair, pairs)):
        raise ValueError(f"the holes are malformed: {pairs!r}")
    numbers = [0, *chain.from_iterable(pairs), rev]
    if numbers != sorted(numbers):
        raise ValueError(f"the holes are not apart from one another and within the events: {pairs!r}")
    return Holes(tuple((first, last) for first, last in pairs))


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(map(checks.is_whole, pair)) and pair[0] < pair[1]
