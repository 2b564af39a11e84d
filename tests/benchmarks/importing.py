"""How long `import jido_tortoise` takes, in a new process each time."""

from __future__ import annotations

import asyncio
import sys

from tests.benchmarks.measure import Line, compared
from tests.benchmarks.setting import Size

_TIMED = "import time; t = time.perf_counter(); {code}; print(time.perf_counter() - t)"
_CODE = {
    "ours": "import jido_tortoise",
    "every name": "from jido_tortoise import *",
    "tortoise": "import tortoise",
}


async def imports(size: Size) -> list[Line]:
    """Against Tortoise itself, which every host imports anyway."""
    samples: dict[str, list[float]] = {name: [] for name in _CODE}
    for number in range(size.times(15) + 1):
        for name in samples if number % 2 else reversed(samples):
            seconds = await _run(_CODE[name])
            if number:  # the first one compiles
                samples[name].append(seconds * 1e6)
    return [
        compared("import jido_tortoise, against tortoise", "", samples, "ours", "tortoise", 1.3),
        compared("  (every public name of it)", "", samples, "every name", "tortoise"),
    ]


async def _run(code: str) -> float:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _TIMED.format(code=code), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return float(out)
