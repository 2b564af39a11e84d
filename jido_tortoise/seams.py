"""The only clock and the only source of ids: what a test must replace stands here and nowhere else."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _uuid7(prefix: str) -> str:
    """Make a sortable id: 48 bits of milliseconds, then 74 random bits (RFC 9562, version 7)."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    number = number & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62
    text = f"{number:032x}"
    return f"{prefix}{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@dataclass(frozen=True)
class Seams:
    """What the outside world gives to the library."""

    #: Milliseconds since 1970 (UTC).
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    #: Seconds of a clock that never goes back; for durations only.
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    #: A new id that begins with the given prefix.
    new_id: Callable[[str], str] = _uuid7


_current = Seams()


def now_ms() -> int:
    """Milliseconds since 1970 (UTC)."""
    return _current.now_ms()


def monotonic() -> float:
    """Seconds of a clock that never goes back."""
    return _current.monotonic()


async def sleep(seconds: float) -> None:
    """Wait, in the clock that the tests may have replaced."""
    await _current.sleep(seconds)


def new_id(prefix: str) -> str:
    """Make an id that sorts by the time of its making."""
    return _current.new_id(prefix)


def to_datetime(ms: int) -> datetime:
    """Turn stored milliseconds into an aware datetime, exactly."""
    return _EPOCH + timedelta(milliseconds=ms)


def to_ms(moment: datetime) -> int:
    """Turn an aware datetime into milliseconds; what is finer than that is cut off."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


@contextmanager
def replaced(**functions: Callable[..., object]) -> Iterator[Seams]:
    """Replace some of the seams for the whole process while the block runs."""
    global _current
    before = _current
    _current = replace(before, **functions)  # type: ignore[arg-type]
    try:
        yield _current
    finally:
        _current = before
