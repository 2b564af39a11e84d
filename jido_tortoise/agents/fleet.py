"""The agents of one manager that are in memory: fetched once, and gone only when stored, or when said to be dropped."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from jido_tortoise import seams
from jido_tortoise.agents.agent import AgentLike
from jido_tortoise.agents.background import Background
from jido_tortoise.agents.home import Home
from jido_tortoise.agents.live import Live, OnDone
from jido_tortoise.errors import ConflictError, InvalidInputError, JidoError, StorageBusyError

A = TypeVar("A", bound=AgentLike)

#: Told of a background hibernate that failed: the agent's id and the error. It may be a coroutine function.
OnBackgroundError = Callable[[Any, Exception], Awaitable[None] | None]

#: Seconds until a failed background hibernate is tried again: doubled each time, up to the second one.
FIRST_RETRY, LAST_RETRY = 1.0, 60.0
#: Seconds that a call inside a transaction waits for a lock whose holder may in turn be waiting for that transaction.
PATIENCE = 5.0
#: How many agents are hibernated at once at the end.
_AT_ONCE = 4

_log = logging.getLogger("jido_tortoise")


class Fleet(Generic[A]):
    """The agents in memory.

    Args:
        home: Where they are stored.
        idle_timeout: Seconds until one that nobody has is hibernated and leaves; None for never.
        on_error: Told of each background hibernate that failed.
    """

    def __init__(self, home: Home[A], idle_timeout: float | None, on_error: OnBackgroundError | None) -> None:
        self.lives: dict[str, Live[A]] = {}
        self._home = home
        self._idle_timeout = idle_timeout
        self._on_error = on_error
        self._flights: dict[str, asyncio.Future[None]] = {}
        # Copies that were dropped while somebody still has them.
        self._dropped: set[Live[A]] = set()
        self._background: Background | None = None
        self._closing = False

    # -- begin and end --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; background work will run in the context that is current here."""
        if self._background is not None:
            raise JidoError("this manager is entered already", reason="manager_running")
        self._background = Background()
        self._closing = False

    def end(self) -> asyncio.Task[list[Exception]] | None:
        """Refuse new owners, and answer the task that hibernates all and tells what failed; None when it has ended."""
        if self._background is None:
            return None
        self._closing = True
        return self._background.start(self._hibernate_all(self._background))

    async def _hibernate_all(self, background: Background) -> list[Exception]:
        for live in self.lives.values():
            live.disarm()
        some = asyncio.Semaphore(_AT_ONCE)
        ended = await asyncio.gather(*(self._hibernate_last(live, some) for live in list(self.lives.values())))
        await background.settled()
        errors = [error for error in ended if error is not None]
        if not errors:
            self._background = None
        return errors

    async def _hibernate_last(self, live: Live[A], some: asyncio.Semaphore) -> Exception | None:
        async with some:
            try:
                await self.store(live)
            except Exception as error:
                error.add_note(f"while {self._home.cls.agent_type} {live.agent.id!r} was hibernated")
                return error
        self.drop(live, "the manager was closed")
        return None

    def in_transaction(self) -> bool:
        """Tell whether the current task is inside a transaction that the background is outside of."""
        return self._background is not None and self._background.in_transaction()

    def _check_open(self) -> None:
        if self._background is None or self._closing:
            raise JidoError("use the manager inside `async with AgentManager(...) as manager`", reason="manager_closed")

    # -- fetched once ---------------------------------------------------------------------------------------------

    async def take(self, id: Any, owner: Hashable, on_done: OnDone | None, state: Any) -> Live[A]:
        """Answer the agent in memory, fetched when it is not there, with one owner more."""
        live = await self._fetched(id, state)
        if live.stale is not None:
            raise live.stale_again(live.stale)
        live.taken_by(owner, on_done)  # no await since it was found: it cannot have gone
        return live

    async def _fetched(self, id: Any, state: Any) -> Live[A]:
        name = self._home.name(id)
        while True:
            self._check_open()
            if (live := self.lives.get(name)) is not None:
                return live
            if self.in_transaction():  # it must neither wait for others, nor share an error that is its own
                return self._enlisted(await self._home.fetch(id, state))
            if (flight := self._flights.get(name)) is None:
                return await self._fly(name, id, state)
            await asyncio.shield(flight)

    async def _fly(self, name: str, id: Any, state: Any) -> Live[A]:
        flight = self._flights[name] = asyncio.get_running_loop().create_future()
        try:
            return self._enlisted(await self._home.fetch(id, state))
        except Exception as error:
            flight.set_exception(error)
            flight.exception()  # seen, also when nobody waits
            raise
        finally:
            del self._flights[name]
            if not flight.done():  # it is there; or we were cancelled, and one of those who wait goes on
                flight.set_result(None)

    def _enlisted(self, live: Live[A]) -> Live[A]:
        self._check_open()
        return self.lives.setdefault(live.name, live)

    # -- stored ---------------------------------------------------------------------------------------------------

    async def store(self, live: Live[A], *, force: bool = False) -> None:
        """Hibernate an agent; it stays in memory."""
        await self._make_way(live)
        async with self.held(live.storing):
            if live.gone is not None:
                raise live.gone_again()
            await live.store(self._home.storage, force=force)

    async def _make_way(self, live: Live[A]) -> None:
        # A hibernate of the background may be waiting for the transaction of this task. To cancel it is safe, since it
        # happens completely or not at all, and what it wanted to store is stored by this task.
        if live.expiring and self.in_transaction():
            for task in live.expiring:
                task.cancel()
            await asyncio.wait(live.expiring)
            self.arm(live, self._idle_timeout)

    @asynccontextmanager
    async def held(self, lock: asyncio.Lock) -> AsyncIterator[None]:
        """Hold a lock for the block."""
        await self.acquire(lock)
        try:
            yield
        finally:
            lock.release()

    async def acquire(self, lock: asyncio.Lock) -> None:
        """Take a lock; inside a transaction that the holder may be waiting for, only with patience."""
        if not self.in_transaction():
            await lock.acquire()
            return
        try:
            async with asyncio.timeout(PATIENCE):
                await lock.acquire()
        except TimeoutError as error:
            raise StorageBusyError(
                f"another task had the agent for {PATIENCE:g} s, and may be waiting for the transaction of this one",
                outcome="not_applied",
            ) from error

    # -- gone -----------------------------------------------------------------------------------------------------

    def leave(self, live: Live[A], owner: Hashable) -> None:
        """Take an owner away; the last one starts the timer."""
        if not live.left_by(owner) or live.owners:
            return
        self._dropped.discard(live)
        self.arm(live, 0 if live.leaving else self._idle_timeout)

    def release(self, name: str, owner: Hashable) -> None:
        """Take an owner away from whatever copies of this agent it has."""
        for live in [self.lives.get(name), *self._dropped]:
            if live is not None and live.name == name:
                self.leave(live, owner)

    def evict(self, live: Live[A]) -> None:
        """Let an agent that is stored leave memory, unless somebody has it."""
        if not live.owners and self._has(live):
            live.disarm()
            del self.lives[live.name]

    def drop(self, live: Live[A], why: str) -> None:
        """Let an agent leave memory as it is; who still has it learns why."""
        live.disarm()
        live.gone = why
        if self._has(live):
            del self.lives[live.name]
        if live.owners:
            self._dropped.add(live)

    def disown(self, live: Live[A]) -> None:
        """Let the current task leave a copy that it has dropped itself: its checkouts end without an error."""
        for visit in live.visits_of(asyncio.current_task()):
            self.leave(live, visit)

    def dropped_from(self, name: str) -> Live[A] | None:
        """Answer the copy of this agent that was dropped while the current task has it."""
        task = asyncio.current_task()
        return next((live for live in self._dropped if live.name == name and live.visits_of(task)), None)

    def _has(self, live: Live[A]) -> bool:
        return self.lives.get(live.name) is live

    # -- in the background ----------------------------------------------------------------------------------------

    def touch(self, live: Live[A]) -> None:
        """Start the idle timer of an agent that nobody has anew."""
        self.arm(live, self._idle_timeout)

    def arm(self, live: Live[A], seconds: float | None) -> None:
        """Hibernate an agent after so many seconds, unless somebody takes it before."""
        live.disarm()
        if seconds is None or live.owners or not self._has(live) or self._background is None or self._closing:
            return
        live.timer = self._background.start(self._expire(live, seconds))

    async def _expire(self, live: Live[A], seconds: float) -> None:
        await seams.sleep(seconds)
        live.timer = None  # from here on who comes does not cancel it
        try:
            with live.expires():
                await self.store(live)
        except Exception as error:
            await self._failed(live, error)
        else:
            if live.timer is None:  # else somebody came meanwhile
                self.evict(live)

    async def _failed(self, live: Live[A], error: Exception) -> None:
        if live.gone is not None:
            return
        what = f"{type(error).__name__} ({getattr(error, 'reason', 'error')})"  # not its text, which may show a payload
        _log.error("%s %r was not hibernated, and stays in memory: %s", self._home.cls.agent_type, live.agent.id, what)
        if live.timer is None and not isinstance(error, ConflictError | InvalidInputError):  # these would fail again
            self.arm(live, min(FIRST_RETRY * 2 ** min(live.failures - 1, 10), LAST_RETRY))
        await self._tell(live.agent.id, error)

    async def _tell(self, id: Any, error: Exception) -> None:
        if self._on_error is None:
            return
        try:
            told = self._on_error(id, error)
            if inspect.isawaitable(told):
                await told
        except Exception:
            _log.exception("on_background_error failed")
