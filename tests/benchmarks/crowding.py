"""Many tasks that append to one thread at once."""

from __future__ import annotations

import asyncio
from time import perf_counter_ns

from jido_tortoise.agents.storage import Appended
from tests.benchmarks.measure import Line, counted
from tests.benchmarks.places import Place
from tests.benchmarks.samples import entry
from tests.benchmarks.setting import Size

_TASKS = 64
_EACH = 5


async def crowd(place: Place, size: Size) -> list[Line]:
    """64 tasks without an expected revision: all must succeed, without gaps."""
    before = perf_counter_ns()
    outcomes = await asyncio.gather(*(_append(place, number) for number in range(_TASKS)), return_exceptions=True)
    took = (perf_counter_ns() - before) / 1000
    wanted = _TASKS * _EACH
    thread = await place.storage.load_thread("crowd")
    numbers = [stored.seq for stored in thread] if thread is not None else []
    failed = sum(isinstance(outcome, BaseException) for outcome in outcomes)
    return [
        counted(f"{_TASKS} appenders to one thread, failed", place.name, failed, 0),
        counted(f"{_TASKS} appenders to one thread, gaps", place.name, _gaps(numbers, wanted), 0),
        Line("  (each of their appends, side by side)", place.name, took / wanted, samples={"total": [took]}),
    ]


async def _append(place: Place, number: int) -> list[Appended]:
    return [await place.storage.append_thread("crowd", entry(number)) for _ in range(_EACH)]


def _gaps(numbers: list[int], wanted: int) -> int:
    return len(set(range(wanted)) ^ set(numbers)) + len(numbers) - len(set(numbers))
