"""Rounds and ratios: ours and what it is compared with run side by side, so that a noisy machine hits both alike."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import median
from time import perf_counter_ns

#: One call of what is timed.
Call = Callable[[], Awaitable[object]]
#: Microseconds of each round, by the name of the contender.
Samples = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call that needs something made ready each time, which is not timed, and is awaited when it can be."""

    call: Call
    before: Callable[[], object]

    async def ready(self) -> None:
        """Make it ready."""
        made = self.before()
        if isinstance(made, Awaitable):
            await made


_WARM_UP = 5


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: a number, what it stands against, and how much it may be."""

    work: str
    database: str
    ours: float
    #: What `ours` is compared with; None when it stands for itself.
    floor: float | None = None
    #: The median of the rounds' ratios, which is not the ratio of the medians.
    ratio: float | None = None
    #: The most that the ratio may be, or `ours` where there is no floor; None where nothing is demanded.
    bound: float | None = None
    unit: str = "us"
    samples: Samples = field(default_factory=dict, repr=False)

    @property
    def verdict(self) -> str:
        """Whether the bound is met: "ok", "short", or nothing where nothing is demanded."""
        if self.bound is None:
            return ""
        return "ok" if (self.ours if self.ratio is None else self.ratio) <= self.bound else "short"


async def interleaved(contenders: Mapping[str, Call | Prepared], rounds: int) -> dict[str, list[float]]:
    """Time every contender once a round, in another order each time: a heavy one leaves work behind for the next.

    Args:
        contenders: Async functions by name.
        rounds: How many.

    Returns:
        Microseconds of each round, by name.
    """
    names, order = list(contenders), Random(0)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(min(_WARM_UP, rounds)):
        for contender in contenders.values():
            await _timed(contender)
    gc.collect()
    # What was imported and prepared is not to be walked while something is timed, nor before the next is: it stays so.
    gc.freeze()
    for _ in range(rounds):
        for name in order.sample(names, len(names)):
            samples[name].append(await _timed(contenders[name]))
    return samples


async def _timed(contender: Call | Prepared) -> float:
    if isinstance(contender, Prepared):
        await contender.ready()
    call = contender.call if isinstance(contender, Prepared) else contender
    before = perf_counter_ns()
    answer = await call()  # kept until the clock has stopped: to free a thousand objects takes milliseconds
    after = perf_counter_ns()
    del answer
    return (after - before) / 1000


def compared(
    work: str, database: str, samples: Samples, ours: str, floor: str, bound: float | None = None, unit: str = "us"
) -> Line:
    """Make the line of two contenders of one run."""
    ratio = median(one / other for one, other in zip(samples[ours], samples[floor], strict=True))
    kept = {ours: samples[ours], floor: samples[floor]}
    return Line(work, database, median(samples[ours]), median(samples[floor]), ratio, bound, unit, kept)


def counted(work: str, database: str, value: float, bound: float, unit: str = "") -> Line:
    """Make the line of a number that stands for itself."""
    return Line(work, database, value, bound=bound, unit=unit)
