"""One process of a service: counts in a shared agent, and comes again when another process was first.

Run by test_manager_processes.py: `python -m tests.integration.manager_worker URL NAME ROUNDS` prints how often it lost.
"""

from __future__ import annotations

import asyncio
import random
import sys
from dataclasses import dataclass, field

import jido_tortoise as jt

KEYS = ("shared", ("tuple", 1))


@dataclass
class Total:
    count: int = 0
    by_worker: dict[str, int] = field(default_factory=dict)


class Shared(jt.Agent[Total], agent_type="managed_shared"):
    """What all processes count in."""


async def count(manager: jt.AgentManager[Shared], key: object, worker: str, number: int) -> int:
    """Count one more, however often another process is first; answer how often it was."""
    for lost in range(10_000):
        try:
            async with manager.checkout(key, exclusive=True) as agent:
                agent.state.count += 1
                agent.state.by_worker[worker] = agent.state.by_worker.get(worker, 0) + 1
                agent.thread.append("count", {"worker": worker, "number": number})
                await manager.save(key)
            return lost
        except jt.ConflictError:
            await manager.discard(key)
            await asyncio.sleep(random.uniform(0, 0.01))
    raise AssertionError("never the first")


async def main(url: str, worker: str, rounds: int) -> None:
    config = {"connections": {"default": url}, "apps": jt.apps()}
    lost = 0
    async with jt.Jido.lifespan(config) as jido, jt.AgentManager(jido, Shared, idle_timeout=0.005) as manager:
        for number in range(rounds):
            lost += sum(await asyncio.gather(*(count(manager, key, worker, number) for key in KEYS)))
            if number % 5 == 0:
                await asyncio.sleep(0.02)  # long enough to be idle
    print(lost)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
