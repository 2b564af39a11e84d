"""How long `import jido_tortoise` takes, in a new process each time."""

from __future__ import annotations

import asyncio
import sys

from tests.benchmarks.measure import Line, compared
from tests.benchmarks.setting import Size

_TIMED = "import time; t = time.perf_counter(); import {name}; print(time.perf_counter() - t)"


async def imports(size: Size) -> list[Line]:
    """Against Tortoise itself, which every host imports anyway."""
    samples: dict[str, list[float]] = {"jido_tortoise": [], "tortoise": []}
    for number in range(size.times(16) + 1):
        for name in samples if number % 2 else reversed(samples):
            seconds = await _import(name)
            if number:  # the first one compiles
                samples[name].append(seconds * 1e6)
    return [compared("import jido_tortoise, against tortoise", "", samples, "jido_tortoise", "tortoise", 1.3)]


async def _import(name: str) -> float:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _TIMED.format(name=name), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return float(out)
