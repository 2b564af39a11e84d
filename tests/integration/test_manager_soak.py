"""Everything at once: two managers as two processes would be, idle timers, transactions, rollbacks, cancellations."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from contextlib import suppress

from jido_tortoise.agents.manager import AgentManager
from jido_tortoise.agents.models import JidoCheckpoint
from jido_tortoise.agents.persist import thaw
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.database import resolve, transaction
from jido_tortoise.errors import ConflictError
from tests.conftest import Database
from tests.integration.managing import Counter

STORAGE = TortoiseStorage()
SECONDS = 1.5


class Rollback(Exception):
    """Ends a transaction of the host."""


class Soak:
    """Workers that count in three agents, each step under a tag of its own, until the time is up."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.managers = [AgentManager(STORAGE, Counter, idle_timeout=0.003) for _ in range(2)]
        self.end = time.monotonic() + SECONDS
        self.stored: defaultdict[str, list[str]] = defaultdict(list)
        self.conflicts = self.cancelled = 0

    async def run(self) -> None:
        async with self.managers[0], self.managers[1]:
            await asyncio.gather(*(self.work(worker) for worker in range(8)))
            for manager in self.managers:
                for key in manager.stats().keys:
                    try:
                        await manager.stop(key)
                    except ConflictError:
                        await manager.discard(key)

    async def work(self, worker: int) -> None:
        count = 0
        while time.monotonic() < self.end:
            count += 1
            manager, key = self.random.choice(self.managers), f"agent-{self.random.randrange(3)}"
            step = asyncio.ensure_future(self.step(manager, key, f"{worker}-{count}"))
            if self.random.random() < 0.2:
                await asyncio.sleep(self.random.random() * 0.01)
                step.cancel()
            with suppress(asyncio.CancelledError):
                await step
            self.cancelled += step.cancelled()

    async def step(self, manager: AgentManager[Counter], key: str, tag: str) -> None:
        """Count one more, however often the other manager is first."""
        while True:
            try:
                async with manager.checkout(key, exclusive=True) as agent:
                    if tag not in agent.state.notes:
                        agent.state.n += 1
                        agent.state.notes.append(tag)
                        agent.thread.append("step", {"tag": tag})
                    await self.save(manager, key)
                self.stored[key].append(tag)
                return
            except ConflictError:
                self.conflicts += 1
                await manager.discard(key)
                await asyncio.sleep(self.random.random() * 0.01)

    async def save(self, manager: AgentManager[Counter], key: str) -> None:
        """Save it in one of the ways there are."""
        chance = self.random.random()
        if chance < 0.3:
            with suppress(Rollback):
                async with transaction(resolve(None, JidoCheckpoint)):
                    await manager.save(key)
                    if chance < 0.15:
                        raise Rollback
        if chance < 0.15 or 0.3 <= chance < 0.9:
            await manager.save(key)
        elif chance >= 0.9:
            await manager.stop(key)


async def test_nothing_is_lost_or_torn(db: Database) -> None:
    """Each step that was stored is there, once; state and journal tell the same; nothing hangs."""
    soak = Soak(seed := random.randrange(1000))
    print(f"seed {seed}")
    async with asyncio.timeout(SECONDS + 30):
        await soak.run()
    for key, tags in soak.stored.items():
        agent = await thaw(STORAGE, Counter, key)
        journal = [entry.payload["tag"] for entry in agent.thread]
        assert journal == agent.state.notes
        assert len(set(journal)) == len(journal) == agent.state.n
        assert set(tags) <= set(journal)
    assert soak.conflicts, "the managers never met"
    assert soak.cancelled, "nothing was cancelled"
