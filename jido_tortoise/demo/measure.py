"""What a process of the demo counts and measures, in memory that does not grow with its input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import exp, log
from typing import Any

from jido_tortoise import seams

#: Durations are kept to one per cent.
_PER_CENT = 100
OPERATIONS = ("append", "hibernate", "thaw")


class Durations:
    """The median of any number of durations."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Take one in."""
        self._counts[round(log(max(seconds, 1e-9)) * _PER_CENT)] += 1

    def median(self) -> float | None:
        """Answer the median in seconds, to one per cent; None when there was nothing."""
        passed, half = 0, self._counts.total() / 2
        for bucket in sorted(self._counts):
            passed += self._counts[bucket]
            if passed >= half:
                return exp(bucket / _PER_CENT)
        return None


@dataclass
class Tally:
    """One process's counts."""

    agents: int = 0
    entries: int = 0
    #: Of the messages as JSON.
    bytes: int = 0
    skipped: int = 0
    #: How many agents are not as the file says.
    differing: int = 0
    _durations: dict[str, Durations] = field(default_factory=lambda: {name: Durations() for name in OPERATIONS})
    _started: float = field(default_factory=seams.monotonic)

    @contextmanager
    def timed(self, operation: str) -> Iterator[None]:
        """Measure one of `OPERATIONS`."""
        started = seams.monotonic()
        yield
        self._durations[operation].add(seams.monotonic() - started)

    def result(self) -> dict[str, Any]:
        """Answer all of it as JSON; medians and the whole duration in seconds."""
        medians = {f"median_{name}": found.median() for name, found in self._durations.items()}
        counts = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return {**counts, **medians, "seconds": seams.monotonic() - self._started}
