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


#: Random digits for one id each, drawn from the system in bulk, since that takes half the time of an id.
_random: list[str] = []
_AT_ONCE = 64
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.clear)  # or parent and child would make the same ids

#: RFC 9562 wants the first two bits of this digit to be 10.
_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


def _uuid7(prefix: str) -> str:
    """Make a sortable id: 48 bits of milliseconds, then 74 random bits (RFC 9562, version 7)."""
    digits = _random_digits()
    time_ms = f"{time.time_ns() // 1_000_000:012x}"
    return f"{prefix}{time_ms[:8]}-{time_ms[8:]}-7{digits[:3]}-{_VARIANT[digits[3]]}{digits[4:7]}-{digits[7:]}"


def _random_digits() -> str:
    try:
        return _random.pop()
    except IndexError:
        drawn = os.urandom(_AT_ONCE * 10).hex()
        made = [drawn[at : at + 19] for at in range(0, len(drawn), 20)]
        _random.extend(made[1:])
        return made[0]


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
