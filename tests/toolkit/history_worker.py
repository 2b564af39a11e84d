"""One process of several that append to one journal, and print what they saw of it.

Run by test_history.py: `python -m tests.toolkit.history_worker URL NAME`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from tortoise.context import TortoiseContext

from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.errors import ConflictError
from jido_tortoise.schema import apps
from jido_tortoise_testing.history import History


async def work(storage: Any, rounds: int, size: int) -> None:
    """Read, append at what was read, and try again when another one was first."""
    for _ in range(rounds):
        thread = await storage.load_thread("t")
        try:
            rev = 0 if thread is None else thread.rev
            await storage.append_thread("t", [{"kind": "note"}] * size, expected_rev=rev)
        except ConflictError:
            await storage.append_thread("t", {"kind": "late"})


async def main(url: str, name: str) -> None:
    history = History()
    async with TortoiseContext() as context:
        await context.init(config={"connections": {"default": url}, "apps": apps()})
        await work(history.wrap(TortoiseStorage(), name), 15, 2)
    print(history.dumps())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
