"""What a provider has said and nobody has taken yet: a bounded queue that is taken all at once.

The provider runs in a task of its own, which puts and, when there is no room, waits: that is how a slow database slows
a provider down instead of filling the memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, nullcontext
from typing import Any, Generic, TypeVar

_log = logging.getLogger("jido_tortoise")

T = TypeVar("T")

#: How often a generator is cancelled, and how many seconds it has each time to close what it has open.
_CANCELLATIONS, _PATIENCE = 3, 5.0


class Intake(Generic[T]):
    """The items of one asynchronous generator, on their way from its task to another.

    Args:
        stream: An asynchronous generator; it is begun, read and closed in one task.
        room: How many items may wait.
    """

    def __init__(self, stream: AsyncIterator[T], room: int) -> None:
        self._stream: Any = stream
        self._room = room
        self._items: list[T] = []
        self._ready = asyncio.Event()
        self._space = asyncio.Event()
        #: Whether the generator has ended; what it has said before may still be taken.
        self.ended = False
        #: What ended it; None when it came to its end.
        self.error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to read."""
        self._task = asyncio.create_task(self._read())

    def wake(self) -> None:
        """End a wait of `take` without an item."""
        self._ready.set()

    async def take(self, seconds: float | None) -> list[T]:
        """Answer all items that are there, waiting for the first one; none when that takes too long, or at the end.

        Args:
            seconds: To wait; None: as long as it takes.
        """
        if not self._items and not self.ended:
            try:
                async with asyncio.timeout(seconds):
                    await self._ready.wait()
            except TimeoutError:
                return []
        self._ready.clear()
        items, self._items = self._items, []
        self._space.set()
        return items

    async def stop(self) -> None:
        """Cancel the reading and wait until the generator is closed; nothing happens when it has ended.

        One that goes on when it is cancelled is cancelled again, and left alone after the last time.
        """
        task = self._task
        for _ in range(_CANCELLATIONS):
            if task is None or task.done():
                return
            task.cancel()
            await asyncio.wait([task], timeout=_PATIENCE)
        if task is not None and not task.done():
            _log.warning("a provider goes on although it was cancelled %d times: %r", _CANCELLATIONS, self._stream)

    async def _read(self) -> None:
        try:
            # Only generators can be closed; another iterator has nothing open.
            async with aclosing(self._stream) if hasattr(self._stream, "aclose") else nullcontext():
                async for item in self._stream:
                    await self._put(item)
        except BaseException as error:
            self.error = error
            if not isinstance(error, Exception | asyncio.CancelledError):
                raise  # the interpreter is to end
        finally:
            self.ended = True
            self._ready.set()

    async def _put(self, item: T) -> None:
        while len(self._items) >= self._room:
            self._space.clear()
            await self._space.wait()
        self._items.append(item)
        self._ready.set()
