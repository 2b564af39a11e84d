"""Who waits in this process for more events of a session, and how they are woken.

An append rings the bells of its session; those of other processes are heard by `listening`, or not at all, and then a
wait ends by itself after a pause that grows.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakKeyDictionary

#: Seconds of the first pause, and of the longest, between two looks.
SHORTEST, LONGEST = 0.01, 0.5

#: What names a session: the PostgreSQL schema, and its id.
Key = tuple[str | None, str]

_lock = threading.Lock()
#: By the client of a database, or by a store in memory.
_waiting: WeakKeyDictionary[Any, dict[Key, set[Bell]]] = WeakKeyDictionary()


class Bell:
    """Wakes one task; also when it is rung before the task waits, and from another thread."""

    __slots__ = ("_loop", "_pause", "_rung")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()
        self._pause = SHORTEST

    def ring(self) -> None:
        """Wake the task."""
        with suppress(RuntimeError):  # its loop has been closed
            self._loop.call_soon_threadsafe(self._rung.set)

    async def wait(self, most: float, longest: float = LONGEST) -> None:
        """Wait until it is rung, or for a pause, twice as long each time until it is rung again.

        Args:
            most: Seconds that the caller has.
            longest: Seconds that a pause may grow to.
        """
        try:
            async with asyncio.timeout(min(most, self._pause)):
                await self._rung.wait()
            self._pause = SHORTEST
        except TimeoutError:
            self._pause = min(self._pause * 2, longest)
        self._rung.clear()


@contextmanager
def bell(place: Any, key: Key) -> Iterator[Bell]:
    """Give a bell that is rung for a session while the block runs."""
    mine = Bell()
    with _lock:
        _waiting.setdefault(place, {}).setdefault(key, set()).add(mine)
    try:
        yield mine
    finally:
        with _lock:
            bells = _waiting[place]
            bells[key].discard(mine)
            if not bells[key]:
                del bells[key]


def ring(place: Any, key: Key | None = None) -> None:
    """Wake those who wait for a session, or all who wait for this database."""
    with _lock:
        bells = _waiting.get(place, {})
        woken = [one for name, ones in bells.items() if key in (None, name) for one in ones]
    for one in woken:
        one.ring()
