"""Leases: who executes a run, and until when that is believed without another sign of life.

A store that knows leases makes runs recoverable after a crash. The times are those of the processes, so a lease must be
longer than their clocks are apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeGuard

from jido_tortoise import checks, times
from jido_tortoise.recording.entities import Run
from jido_tortoise.recording.port import OnCorrupt, SessionStoreLike


class LeasingStore(SessionStoreLike, Protocol):
    """A store that keeps the leases of runs."""

    async def lease_run(self, run_id: str, holder: str, seconds: float) -> bool:
        """Take or renew the lease of a run that has not ended; True when it is the holder's for so many seconds.

        It can be taken when nobody has it, when the holder has it, and when it has run out. The run's revision stays.
        """
        ...

    async def lost_runs(self, *, limit: int = 100, on_corrupt: OnCorrupt | None = None) -> Sequence[Run]:
        """Answer running runs whose lease has run out, the longest ago first; those that nobody leased are none.

        Args:
            limit: At most so many; those that cannot be read do not count.
            on_corrupt: Called with the error of each run that cannot be read, which is then left out.
        """
        ...


def leases(store: SessionStoreLike) -> TypeGuard[LeasingStore]:
    """Tell whether a store keeps leases."""
    return callable(getattr(store, "lease_run", None)) and callable(getattr(store, "lost_runs", None))


def now_and_until(seconds: float) -> tuple[datetime, datetime]:
    """Answer the time, and when a lease that is taken now runs out: at the end of all times at the latest."""
    now, length = times.now(), checks.seconds(seconds, "seconds")
    try:
        return now, now + timedelta(seconds=length)
    except OverflowError:
        return now, times.moment_from(float("inf"))


async def holds(store: SessionStoreLike, run_id: str, holder: str, seconds: float) -> bool:
    """Give a sign of life, and tell whether the run is still the holder's to execute."""
    if leases(store):
        return await store.lease_run(run_id, holder, seconds)
    return (await store.get_run(run_id)).status == "running"
