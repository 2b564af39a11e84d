"""What a walk over a long journal takes of memory, and how fast it is; run in a process of its own.

python -m tests.benchmarks.walking URL THREAD      prints JSON: entries, seconds, bytes of growth
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from pathlib import Path

from tortoise.context import TortoiseContext

from jido_tortoise.agents.tortoise import TortoiseStorage
from tests.benchmarks.measure import Line, counted
from tests.benchmarks.places import Place
from tests.benchmarks.setting import Size, fill

_EVERY = 5_000
_STATM = Path("/proc/self/statm")


async def walk(place: Place, size: Size) -> list[Line]:
    """A million entries, one by one."""
    length = size.of(1_000_000)
    await fill(place, "walked", length)
    await place.settle()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.walking", place.url, "walked", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the walk ended with {process.returncode}")
    found = json.loads(out)
    if found["entries"] != length:
        raise RuntimeError(f"the walk saw {found['entries']} entries of {length}")
    return [
        counted(f"iterate {length:,}, resident memory grows by", place.name, found["growth"] / 2**20, 20, "MB"),
        Line("  (each entry of the walk)", place.name, found["seconds"] * 1e6 / length),
    ]


async def _walk(url: str, thread_id: str) -> dict[str, float]:
    apps = {"jido_agents": {"models": ["jido_tortoise.agents.models"], "default_connection": "default"}}
    async with TortoiseContext() as context:
        await context.init(config={"connections": {"default": url}, "apps": apps})
        storage = TortoiseStorage()
        async for _ in storage.iter_entries(thread_id, upto=2_000):  # connects, and fills the caches
            pass
        before = most = resident()
        count, begun = 0, time.perf_counter()
        async for _ in storage.iter_entries(thread_id):
            count += 1
            if count % _EVERY == 0:
                most = max(most, resident())
        seconds = time.perf_counter() - begun
    return {"entries": count, "seconds": seconds, "growth": max(most, resident()) - before}


def resident() -> int:
    """Bytes of this process in memory; where there is no /proc, the most that there ever were."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_walk(*sys.argv[1:]))))
