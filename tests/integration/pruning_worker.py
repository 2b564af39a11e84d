"""One process that prunes the session "s" until it is killed: `pruning_worker.py URL`; prints each batch."""

from __future__ import annotations

import asyncio
import sys

from tortoise import Tortoise

import jido_tortoise as jt
from jido_tortoise.recording import Maintenance, RetentionPolicy
from jido_tortoise.recording.retention_pass import Step

#: What both the killed process and the one after it go by.
POLICY = RetentionPolicy(
    max_completed_session_age_days=None, hard_delete_after_days=None, max_events_per_session=100, batch_size=10
)


async def main(url: str) -> None:
    """Prune, and tell."""
    await Tortoise.init(config={"connections": {"default": url}, "apps": jt.apps("recording")})
    done = 0

    def on_step(step: Step) -> None:
        nonlocal done
        done += step.count
        print(step.count, flush=True)
        if done == 1000:
            sys.stdin.read()  # who kills us may be slow

    await Maintenance().execute(POLICY, on_step=on_step)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
