"""What the tests of the manager share: agents, a clock that is turned by hand, and storages that fail on demand."""

from __future__ import annotations

import asyncio
import copy
import heapq
from collections import Counter as Tally
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from jido_tortoise import seams
from jido_tortoise.agents.agent import Agent
from jido_tortoise.agents.keys import checkpoint_key
from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise.agents.persist import thaw
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.errors import StorageTimeoutError
from tests.conftest import opened


@dataclass
class Count:
    n: int = 0
    notes: list[str] = field(default_factory=list)


class Counter(Agent[Count], agent_type="managed_counter"):
    """Counts."""

    def step(self) -> None:
        """Count one more, in the state and in the journal."""
        self.state.n += 1
        self.thread.append("step", {"n": self.state.n})


KEY = "user-123"
#: The storages that most tests run on.
KINDS = ("memory", "sqlite-file", "postgres")


@asynccontextmanager
async def storage_of(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Give an empty storage of this kind for the block."""
    if kind == "memory":
        yield InMemoryStorage()
        return
    url = request.getfixturevalue("sqlite_url" if kind == "sqlite-file" else "pg_url")
    async with opened(url, backend=kind):
        yield TortoiseStorage()


async def stored(storage: Any, key: Any = KEY, **options: Any) -> Counter:
    """Answer the counter as it is stored."""
    return await thaw(storage, Counter, key, **options)


async def version(storage: Any, key: Any = KEY) -> int | None:
    """Answer the version of its checkpoint; None when there is none."""
    found = await storage.get_checkpoint(checkpoint_key("managed_counter", key))
    return None if found is None else found.version


class Clock:
    """A clock whose sleepers wake when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, id(woken), woken))
        await woken

    async def waits(self) -> list[float]:
        """How long each sleeper still sleeps, the next one first."""
        await _turns()
        return sorted(due - self.now for due, _, woken in self._sleepers if not woken.done())

    async def advance(self, seconds: float) -> None:
        """Let time pass, and what it woke run until it waits for something else."""
        end = self.now + seconds
        await _turns()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.now, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
                await _turns()
        self.now = end


@contextmanager
def turned_by_hand() -> Iterator[Clock]:
    """Put a Clock in the place of the real one."""
    clock = Clock()
    with seams.replaced(sleep=clock.sleep, monotonic=lambda: clock.now):
        yield clock


async def _turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], Any], seconds: float = 10) -> None:
    """Wait until something is so; fail when it does not become so."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - it asks about what has no event
            await asyncio.sleep(0.001)


class FaultyStorage(InMemoryStorage):
    """A storage in memory whose `save`, `fetch` and `load_thread` fail, or wait, when the test says so."""

    def __init__(self, tables: Any = None) -> None:
        super().__init__(tables)
        self.calls: Tally[str] = Tally()
        self.failures: dict[str, BaseException] = {}
        self.gates: dict[str, asyncio.Event] = {}
        #: Methods whose answer gets lost: they do what they should, and raise.
        self.unanswered: set[str] = set()

    @contextmanager
    def failing(self, method: str, error: BaseException) -> Iterator[None]:
        """Let a method raise while the block runs."""
        self.failures[method] = error
        try:
            yield
        finally:
            del self.failures[method]

    @asynccontextmanager
    async def waiting(self, method: str) -> AsyncIterator[asyncio.Event]:
        """Let a method wait while the block runs, or until the event is set."""
        gate = self.gates[method] = asyncio.Event()
        try:
            yield gate
        finally:
            gate.set()
            self.gates.pop(method, None)

    async def _pass(self, method: str) -> None:
        self.calls[method] += 1
        await asyncio.sleep(0)  # as a database would
        if method in self.gates:
            await self.gates[method].wait()
        if method in self.failures:
            raise self.failures[method]

    async def save(self, key: Any, data: Any, **options: Any) -> Any:
        given = copy.deepcopy(data)  # a storage takes what it is given before it waits
        await self._pass("save")
        saved = await super().save(key, given, **options)
        if "save" in self.unanswered:
            raise StorageTimeoutError("no answer", outcome="unknown")
        return saved

    async def load_thread(self, *args: Any, **options: Any) -> Any:
        await self._pass("load_thread")
        return await super().load_thread(*args, **options)

    async def fetch(self, key: Any) -> Any:
        await self._pass("fetch")
        return await super().fetch(key)
