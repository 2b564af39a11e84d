"""Time and ids behind the library's seams, as a test wants them."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from jido_tortoise import checks, seams

START = datetime(2026, 1, 1, tzinfo=UTC)
#: Seconds. What the library waits before it tries again is shorter; its idle timers are longer.
PATIENCE = 60.0
#: How often other tasks get their turn after a sleeper woke, so that what it does is done at its own time.
_TURNS = 20


class VirtualClock:
    """A clock that stands still until somebody waits or moves it.

    A short sleep, as before another attempt, returns at once and moves the clock. A long one, a timer, ends when the
    test moves the clock there, so that it never fires in the middle of something else.
    """

    def __init__(self, start: datetime = START) -> None:
        self._ms = float(seams.to_ms(start))
        self._began = self._ms
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def now(self) -> datetime:
        """The time that it shows."""
        return seams.to_datetime(self.now_ms())

    def now_ms(self) -> int:
        """The same in milliseconds since 1970."""
        return int(self._ms)

    def monotonic(self) -> float:
        """Seconds since the test began."""
        return (self._ms - self._began) / 1000

    @property
    def sleeping(self) -> list[datetime]:
        """When those who sleep will wake, the next first."""
        return [seams.to_datetime(int(due)) for due, _, future in sorted(self._sleepers) if not future.done()]

    def shift(self, by: timedelta | float) -> None:
        """Move it forward, by seconds or a timedelta; whose time has come wakes."""
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        self._reach(self._ms + seconds * 1000)

    def move_to(self, moment: datetime) -> None:
        """Move it to a moment; whose time has come wakes.

        Raises:
            ValueError: That lies behind.
            InvalidInputError: It is none, or has no time zone.
        """
        self._reach(float(checks.moment(moment, "moment")))

    def _reach(self, ms: float) -> None:
        if ms < self._ms:
            raise ValueError(f"a clock does not go back: it is {self.now()}, not yet {seams.to_datetime(int(ms))}")
        self._ms = ms
        while self._sleepers and self._sleepers[0][0] <= ms:
            _wake(heapq.heappop(self._sleepers)[2])

    async def sleep(self, by: timedelta | float) -> None:
        """Let that much time pass, at once: all others wake on the way, each at its own time."""
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        end = self._ms + seconds * 1000
        await _others()
        while self._sleepers and self._sleepers[0][0] <= end:
            self._reach(max(self._ms, self._sleepers[0][0]))
            await _others()
        self._reach(max(self._ms, end))
        await _others()

    async def library_sleep(self, seconds: float) -> None:
        """Sleep as the library does."""
        if seconds <= PATIENCE:
            self.shift(max(seconds, 0.0))
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._ms + seconds * 1000, next(self._numbers), future))
        await future

    @contextmanager
    def installed(self) -> Iterator[VirtualClock]:
        """Make it the library's clock for the block."""
        with seams.replaced(now_ms=self.now_ms, monotonic=self.monotonic, sleep=self.library_sleep):
            yield self


async def _others() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _wake(future: asyncio.Future[None]) -> None:
    def finish() -> None:
        if not future.done():
            future.set_result(None)

    if not future.get_loop().is_closed():
        future.get_loop().call_soon_threadsafe(finish)


class Ids:
    """New ids that sort by their making and depend on the seed alone."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._ms = seams.to_ms(START)
        #: All that were made, in order.
        self.made: list[str] = []

    def __call__(self, prefix: str) -> str:
        """Make the next one, a UUID of version 7."""
        number = (self._ms + len(self.made)) << 80 | 0x7 << 76 | self._random.getrandbits(12) << 64
        number |= 0x2 << 62 | self._random.getrandbits(62)
        text = f"{number:032x}"
        made = f"{prefix}{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
        self.made.append(made)
        return made

    @contextmanager
    def installed(self) -> Iterator[Ids]:
        """Make them the library's ids for the block."""
        with seams.replaced(new_id=self):
            yield self
