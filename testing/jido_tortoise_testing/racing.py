"""The fixture `jido_history`: concurrent calls on a test's storage, recorded, and checked when the test ends."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any

from jido_tortoise_testing.history import History, Operation, RecordedStorage

if TYPE_CHECKING:
    from jido_tortoise_testing.sandboxes import Sandbox

#: What one of several processes does with its storage.
Worker = Callable[[Any], Awaitable[Any]]


class Race:
    """Several processes at one storage, and the history of what they were told.

    Args:
        sandbox: The test's databases.
        seed: What the order of turns is drawn from.
    """

    def __init__(self, sandbox: Sandbox, seed: int) -> None:
        self._sandbox = sandbox
        self._random = random.Random(f"turns {seed}")
        self._processes = 0
        self._checked = 0
        #: What was recorded.
        self.history = History()

    @property
    def operations(self) -> list[Operation]:
        """What the processes called and were told."""
        return self.history.operations

    def storage(self, process: str | None = None) -> RecordedStorage:
        """Give the test's storage as one process's, recorded: `Jido(jido_history.storage())` is one process's too."""
        self._processes += 1
        return self.history.wrap(self._sandbox.storage, process or f"p{self._processes}")

    async def race(self, *workers: Worker) -> list[Any]:
        """Run the workers at once, each with a storage of its own, and answer what they return."""
        return await _together([worker(self.storage()) for worker in workers])

    async def take_turns(self, *workers: Worker, patience: float = 10.0) -> list[Any]:
        """Run the workers call by call, one call at a time, in an order that the seed gives.

        What goes wrong when calls interleave, as an update between another's read and write, is found again by the same
        seed. What goes wrong within calls that overlap needs `race`.

        Args:
            workers: Each gets a storage of its own; none may wait for another.
            patience: Seconds for one call, and what follows it up to the next.

        Raises:
            TimeoutError: One took longer, perhaps since it waits for another.
        """
        turns = Turns(self._random, patience)
        return await turns.run([_with(worker, Turned(self.storage(), turns)) for worker in workers])

    async def check(self) -> None:
        """Compare all that was recorded with what the journals hold now.

        Raises:
            HistoryError: With a witness for each anomaly.
            AssertionError: Nothing was recorded, so that nothing would be proved.
        """
        __tracebackhide__ = True
        if not self.operations:
            raise AssertionError(
                "nothing was recorded: a worker must call the storage that it is given, as in jt.Jido(storage)"
            )
        self._checked = len(self.operations)
        await self.history.check(self._sandbox.storage)

    def finish(self, run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        """Check what nobody has checked yet, when the test's loop has ended; `run` runs a coroutine elsewhere."""
        __tracebackhide__ = True
        if self._checked == len(self.operations):
            return
        if self._sandbox.kind != "memory":
            self._sandbox.stop()  # here, where the connections' own loop can still see them end
        run(self._check_and_close())

    async def _check_and_close(self) -> None:
        try:
            await self.check()
        finally:
            await self._sandbox.client.close()


async def _together(works: Iterable[Awaitable[Any]], *also: Awaitable[Any]) -> list[Any]:
    """Run all at once; when one fails the others are cancelled, and have ended when its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_awaited(work)) for work in works]
            for work in also:
                group.create_task(_awaited(work))
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


def _with(worker: Worker, storage: Any) -> Callable[[], Awaitable[Any]]:
    return lambda: worker(storage)


class Turns:
    """Lets one of several tasks run at a time, up to its next call.

    Args:
        chance: Draws whose turn it is.
        patience: Seconds for one turn.
    """

    def __init__(self, chance: random.Random, patience: float) -> None:
        self._chance = chance
        self._patience = patience
        #: Those who wait for their turn, by the number of the task.
        self._waiting: dict[int, asyncio.Event] = {}
        self._numbers: dict[asyncio.Task[Any], int] = {}
        self._moved = asyncio.Event()

    async def run(self, works: list[Callable[[], Awaitable[Any]]]) -> list[Any]:
        """Run all of them to their ends, and answer what they return."""
        return await _together((self._one(number, work) for number, work in enumerate(works)), self._lead(len(works)))

    async def _lead(self, count: int) -> None:
        await self._until(lambda: len(self._waiting) == count)
        while self._waiting:
            await self._next()

    async def _one(self, number: int, work: Callable[[], Awaitable[Any]]) -> Any:
        task = asyncio.current_task()
        assert task is not None
        self._numbers[task] = number
        await self.mine()
        try:
            return await work()
        finally:
            del self._numbers[task]
            self._moved.set()

    async def _next(self) -> None:
        number = self._chance.choice(sorted(self._waiting))
        self._waiting.pop(number).set()
        await self._until(lambda: number in self._waiting or number not in self._numbers.values())

    async def _until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(self._patience):
            while not done():
                self._moved.clear()
                await self._moved.wait()

    async def mine(self) -> None:
        """Wait for the turn of the current task; a task of somebody else needs none."""
        task = asyncio.current_task()
        number = self._numbers.get(task) if task else None
        if number is None:
            return
        turn = self._waiting[number] = asyncio.Event()
        self._moved.set()
        await turn.wait()


class Turned:
    """A storage each of whose calls waits for its turn."""

    def __init__(self, inner: RecordedStorage, turns: Turns) -> None:
        self._inner = inner
        self._turns = turns

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(found):
            return found

        @wraps(found)
        async def in_turn(*args: Any, **options: Any) -> Any:
            await self._turns.mine()
            return await found(*args, **options)

        return in_turn
