"""Events that were read before, kept so that a session that is loaded again reads only what is new.

An event never changes, and its number is never given to another one; so what was read once stays right for as long as
the session is the same, and as its row does not say that events were deleted. What is kept is no event but its mould:
each caller gets objects of his own. To make a thousand of them takes several milliseconds, which is why those for the
next load are made between loads, a few at a time: a Runner then waits for its model.
"""

from __future__ import annotations

import asyncio
import copy
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from typing import Any, Protocol
from uuid import UUID

from google.adk.events import Event
from pydantic import BaseModel

from jido_tortoise.adk.google_making import raw
from jido_tortoise.adk.holes import Holes
from jido_tortoise.adk.rows import Key, SessionRow

#: How many events are made at a time, which takes less than half a millisecond, and the seconds between two times.
_SLICE, _PAUSE = 40, 0.001


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of a session's events: all that had been appended before a revision."""

    identity: int = 0
    rev: int = 0
    #: When the last of them was appended, as the row says it.
    updated_at: Any = None
    #: By the event's number: its id and its mould.
    events: Mapping[int, tuple[str, Mould]] = field(default_factory=dict)

    def start(self, head: SessionRow) -> int:
        """Answer from which number on events must be read; 0, that is all of them, when what is known is of no use.

        The last known one is read again, to see whether it is still that.
        """
        if self.identity != head.identity or self.rev > head.rev:
            return 0
        if self.rev == head.rev:
            return self.rev if self.updated_at == head.updated_at else 0
        return max(0, self.rev - 1)

    def fits(self, found: Sequence[Sequence[Any]]) -> bool:
        """Tell whether what was read from `start` on goes on from here: not so when a backup was restored between."""
        return all(self.events[row[0]][0] == row[1] for row in found[:1] if row[0] in self.events)

    def joined(self, head: SessionRow, holes: Holes, new: Mapping[int, Event]) -> Known:
        """Answer what is known after a read, without what has been deleted since."""
        there = {number: event for number, event in self.events.items() if number >= head.first_seq}
        if holes.ranges:
            there = {number: event for number, event in there.items() if not holes.between(number, number + 1)}
        there |= {number: (event.id, mould_of(event)) for number, event in new.items()}
        return Known(head.identity, head.rev, head.updated_at, there)


class Spare:
    """The events for the next load of a session, in the making.

    Args:
        known: What to make.
    """

    __slots__ = ("_left", "_made", "_timer")

    def __init__(self, known: Known) -> None:
        self._left = iter([(number, mould) for number, (_, mould) in known.events.items()])
        self._made: dict[int, Event] = {}
        self._timer = asyncio.get_running_loop().call_later(_PAUSE, self._work)

    def _work(self) -> None:
        before = len(self._made)
        self._make(_SLICE)
        if len(self._made) > before:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE, self._work)

    def _make(self, most: int | None) -> None:
        self._made.update((number, mould.cast()) for number, mould in islice(self._left, most))

    def take(self, known: Known) -> list[Event]:
        """Answer the events of what is known by now; to be called once."""
        self._timer.cancel()
        self._make(None)
        made = self._made
        return [made[number] if number in made else mould.cast() for number, (_, mould) in known.events.items()]

    def drop(self) -> None:
        """Make no more of them."""
        self._timer.cancel()


class Cache:
    """What is known of the sessions that were used last.

    Args:
        most: Of how many events, in all.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._kept: OrderedDict[Key, tuple[Known, Spare]] = OrderedDict()

    def get(self, key: Key) -> Known:
        """Answer what is known of a session."""
        return self._kept[key][0] if key in self._kept else Known()

    def load(self, key: Key, before: Known, known: Known) -> list[Event]:
        """Answer the events of a session, and keep what is known of it in place of the sessions used longest ago.

        Args:
            key: The session.
            before: What was known and is of use still.
            known: What is known now.
        """
        kept, spare = self._forget(key)
        if spare is not None and kept is before:
            events = spare.take(known)
        else:  # another load was faster, or it is another session by now
            events = [mould.cast() for _, mould in known.events.values()]
        if len(known.events) <= self._most:
            self._kept[key] = known, Spare(known)
            self._count += len(known.events)
        while self._count > self._most:
            self._forget(next(iter(self._kept)))
        return events

    def _forget(self, key: Key) -> tuple[Known, Spare | None]:
        known, spare = self._kept.pop(key, (Known(), None))
        self._count -= len(known.events)
        if spare is not None:
            spare.drop()
        return known, spare


# -- moulds -------------------------------------------------------------------------------------------------------


class Mould(Protocol):
    """What makes equal objects that share nothing that can be changed."""

    def cast(self) -> Any:
        """Make one."""
        ...


_ATOMS = (type(None), bool, int, float, complex, str, bytes, date, time, timedelta, Decimal, UUID, Enum, type)
_FLAT = (dict, list, set)


def mould_of(value: Any) -> Mould:
    """Answer the mould of a value, which may be changed afterwards."""
    if isinstance(value, BaseModel) and value.__pydantic_private__ is None and value.__pydantic_extra__ is None:
        return _Model(value)
    if type(value) is list:
        return _Items(value, enumerate(value))
    if type(value) is dict:
        return _Items(value, value.items())
    return _Other(value)


def _is_atom(value: Any) -> bool:
    return isinstance(value, _ATOMS)


def _is_flat(value: Any) -> bool:
    kind = type(value)
    return kind in _FLAT and all(map(_is_atom, value.values() if kind is dict else value))


class _Parts:
    """What of a container's values has to be made anew each time."""

    __slots__ = ("copied", "made")

    def __init__(self, items: Any) -> None:
        mutable = [(name, value) for name, value in items if not _is_atom(value)]
        #: Containers of nothing but atoms, which copy themselves.
        self.copied = tuple((name, value.copy()) for name, value in mutable if _is_flat(value))
        self.made = tuple((name, mould_of(value)) for name, value in mutable if not _is_flat(value))

    def into(self, container: Any) -> None:
        for name, flat in self.copied:
            container[name] = flat.copy()
        for name, mould in self.made:
            container[name] = mould.cast()


class _Model:
    __slots__ = ("cls", "fields", "given", "parts")

    def __init__(self, model: BaseModel) -> None:
        self.cls = type(model)
        self.fields = dict(model.__dict__)
        self.given = model.__pydantic_fields_set__.copy()
        self.parts = _Parts(self.fields.items())

    def cast(self) -> Any:
        fields = self.fields.copy()
        self.parts.into(fields)
        return raw(self.cls, fields, self.given.copy())


class _Items:
    """Of a list or a dict."""

    __slots__ = ("items", "parts")

    def __init__(self, value: Any, items: Any) -> None:
        self.items = value.copy()
        self.parts = _Parts(items)

    def cast(self) -> Any:
        items = self.items.copy()
        self.parts.into(items)
        return items


class _Other:
    """Of anything else that a state may hold."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = copy.deepcopy(value)

    def cast(self) -> Any:
        return copy.deepcopy(self.value)
