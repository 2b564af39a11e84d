"""What it takes to prune many recorded events: memory and time, in a process of its own.

python -m tests.benchmarks.pruning URL      prints JSON: events, seconds, bytes of growth, longest batch in seconds
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from tortoise.context import TortoiseContext

from jido_tortoise.recording import Maintenance, RetentionPolicy
from jido_tortoise.recording.retention_pass import Step
from tests.benchmarks.measure import Line, counted
from tests.benchmarks.places import Place
from tests.benchmarks.setting import Size
from tests.benchmarks.walking import resident
from tests.many_records import store_many

_EVENTS = 1000
#: How many of a session's events go: one in twenty tells of an error, and is kept.
_PRUNED = 949
_POLICY = RetentionPolicy(
    max_completed_session_age_days=None,
    hard_delete_after_days=None,
    max_events_per_session=1,
    exempt_statuses=(),
    batch_size=1000,
)


async def prune(place: Place, size: Size) -> list[Line]:
    """A million events, in sessions of a thousand of which the twentieth stays that tells of errors."""
    sessions = -(-size.of(1_000_000) // _PRUNED)
    async with place.client.acquire_connection() as raw:
        if place.dialect == "postgres":
            await raw.execute("SET session_replication_role = replica")  # or a million keys are looked up, one by one
        await store_many(raw.execute, place.dialect, sessions, _EVENTS)
        if place.dialect == "postgres":
            await raw.execute("RESET session_replication_role")
    await place.settle()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.pruning", place.url, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the pruning ended with {process.returncode}")
    found = json.loads(out)
    work = f"prune of {found['events']:,} events"
    return [
        counted(f"{work}, resident memory grows by", place.name, found["growth"] / 2**20, 20, "MB"),
        Line("  (each event of the prune)", place.name, found["seconds"] * 1e6 / max(1, found["events"])),
        Line("  (longest batch of the prune)", place.name, found["longest"] * 1e6),
    ]


async def _prune(url: str) -> dict[str, float]:
    apps = {"jido_recording": {"models": ["jido_tortoise.recording.models"], "default_connection": "default"}}
    async with TortoiseContext() as context:
        await context.init(config={"connections": {"default": url}, "apps": apps})
        await Maintenance().prune_session_events("ses_1", _POLICY)  # connects, and fills the caches
        before = most = resident()
        longest, begun = 0.0, time.perf_counter()
        last = begun

        def on_step(step: Step) -> None:
            nonlocal most, longest, last
            now = time.perf_counter()
            most, longest, last = max(most, resident()), max(longest, now - last), now

        report = await Maintenance().execute(_POLICY, on_step=on_step)
        seconds = time.perf_counter() - begun
    return {"events": report.events_pruned, "seconds": seconds, "growth": most - before, "longest": longest}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_prune(sys.argv[1]))))
