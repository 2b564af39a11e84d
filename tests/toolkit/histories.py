"""Histories of concurrent calls on sound journals, made up."""

from __future__ import annotations

import random
from itertools import count
from typing import Any

from jido_tortoise_testing.history import Operation

Log = list[str]
Final = dict[str, Log]


def simulated(seed: int, size: int) -> tuple[list[Operation], Final]:
    """Make a sound history of overlapping calls: each takes effect at one moment between its call and its answer."""
    rng = random.Random(seed)
    final: Final = {f"t{n}": [] for n in range(2)}
    ids, operations = count(), []
    for number in range(size):
        effect = number * 10
        facts: dict[str, Any] = {"process": f"p{number % 6}", "key": f"t{rng.randrange(2)}"}
        facts |= {"invoked": effect - rng.randrange(1, 40), "returned": effect + rng.randrange(1, 40)}
        log = final[facts["key"]]
        if rng.random() < 0.4:
            operations.append(Operation(action="read", outcome="ok", ids=tuple(log), **facts))
            continue
        facts |= {"ids": tuple(f"e{next(ids)}" for _ in range(rng.randint(1, 3))), "action": "append"}
        facts["expected"] = rng.choice([None, len(log), len(log), max(0, len(log) - 1)])
        if facts["expected"] not in (None, len(log)):
            operations.append(Operation(outcome="failed", **facts))
            continue
        log += facts["ids"]
        unknown = rng.random() < 0.05
        told = {"outcome": "unknown", "returned": None} if unknown else {"outcome": "ok", "rev": len(log)}
        operations.append(Operation(**facts | told))
    return operations, final
