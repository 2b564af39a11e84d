"""One process of the demo, as the process itself sees it: told by a line of JSON, telling by lines of JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

from jido_tortoise import seams
from jido_tortoise.demo.stages import Task, run_stage
from jido_tortoise.errors import JidoError

#: Seconds between two lines about progress.
_PACE = 0.1


def serve(orders: TextIO = sys.stdin, answers: TextIO = sys.stdout) -> int:
    """Do the task that the parent has written, and answer the exit code; what happened is told by then."""
    task = Task(**json.loads(orders.readline()))  # not arguments: the URL may hold a password, and `ps` shows those
    tell = _teller(answers)
    try:
        tally = asyncio.run(run_stage(task, tell))
    except JidoError as error:
        tell("error", error=type(error).__name__, reason=error.reason, message=str(error))
        return 1
    tell("result", pid=os.getpid(), stage=task.stage, **tally.result())
    return 0


def _teller(answers: TextIO) -> Callable[..., None]:
    told = 0.0

    def tell(what: str, **facts: Any) -> None:
        nonlocal told
        if what == "progress":
            if seams.monotonic() - told < _PACE:
                return
            told = seams.monotonic()
        print(json.dumps({"what": what, **facts}), file=answers, flush=True)

    return tell
