"""Agents that are in memory while they are used: fetched once, shared, hibernated when nobody has had them for a while.

The law: there is one copy of an agent in a manager; it leaves memory only when it is stored, or when it is said to be
dropped; and whatever keeps it from being stored is told to somebody.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from jido_tortoise import checks
from jido_tortoise.agents.agent import AgentLike
from jido_tortoise.agents.callbacks import check_class
from jido_tortoise.agents.fleet import Fleet, OnBackgroundError
from jido_tortoise.agents.home import Home, check_scope
from jido_tortoise.agents.keys import check_partition
from jido_tortoise.agents.live import Live, Visit
from jido_tortoise.agents.persist import Journal, check_journal
from jido_tortoise.agents.resolve import StorageLike, resolve_storage
from jido_tortoise.agents.storage import Storage
from jido_tortoise.database import to_the_end
from jido_tortoise.errors import InvalidInputError, JidoError, TransactionError

A = TypeVar("A", bound=AgentLike)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerStats:
    """What a manager has in memory."""

    #: How many agents, and their ids.
    count: int
    keys: tuple[Any, ...]
    #: How many of them somebody has.
    attached: int
    #: Those that could not be stored the last time: id and error.
    failing: tuple[tuple[Any, Exception], ...]


class AgentManager(Generic[A]):
    """The agents of one class and partition that are in memory; an async context manager.

    Leaving it hibernates them all. What could not be stored is raised as an ExceptionGroup, each error with a note that
    names its agent; those agents stay, so that `close()` can be called again.

    Args:
        storage: A Jido (its partition counts), a storage, something with a `.storage`, or a spec.
        cls: The agents' class.
        idle_timeout: Seconds after which an agent that nobody has is hibernated and leaves memory; None or 0: never.
        partition: The partition that the agents live in.
        scope: A name that keeps these agents apart from those that `jido.thaw` and other managers know by the same id;
            None shares them.
        journal: As for `thaw`.
        checkpoint_on_exit: Whether each checkout that ends without an error is saved.
        on_background_error: Told of each background hibernate that failed.
    """

    def __init__(
        self,
        storage: StorageLike,
        cls: type[A],
        *,
        idle_timeout: float | None = None,
        partition: str | None = None,
        scope: str | None = None,
        journal: Journal = "latest",
        checkpoint_on_exit: bool = False,
        on_background_error: OnBackgroundError | None = None,
    ) -> None:
        check_class(cls)
        within = _checked_partition(partition, storage)
        self._home: Home[A] = Home(resolve_storage(storage), cls, within, check_scope(scope), check_journal(journal))
        self._fleet = Fleet(self._home, _checked_timeout(idle_timeout), _checked_hook(on_background_error))
        self._checkpoint_on_exit = checks.flag(checkpoint_on_exit, "checkpoint_on_exit")

    @property
    def storage(self) -> Storage:
        """Where its agents are stored."""
        return self._home.storage

    async def __aenter__(self) -> AgentManager[A]:
        """Begin; background work will run in the context that is current here."""
        self._fleet.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hibernate all agents; see `close`. An error of the block is raised together with what could not be stored."""
        try:
            await self.close()
        except ExceptionGroup as group:
            if not isinstance(error, Exception):
                raise
            raise ExceptionGroup(group.message, [error, *group.exceptions]) from None

    async def close(self) -> None:
        """Hibernate all agents, also those that somebody has, and end; may be called again after it failed.

        Raises:
            ExceptionGroup: Some could not be stored; they are still in memory, see `lookup`.
            TransactionError: It was called inside a transaction of the host, which may still be rolled back.
        """
        if self._fleet.in_transaction():
            raise TransactionError("close the manager outside the transaction: that may still be rolled back")
        ending = self._fleet.end()
        if ending is None:
            return
        try:
            await to_the_end(_ended(ending))
        finally:  # a cancellation must not hide what was not stored
            if errors := ending.result():
                raise ExceptionGroup(f"{len(errors)} agents were not hibernated and are still in memory", errors)

    # -- having agents --------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def checkout(self, key: Any, *, initial_state: Any = None, exclusive: bool = False) -> AsyncIterator[A]:
        """Have the agent for the block: the one in memory, else as it is stored, else a new one.

        Several checkouts at a time share one agent object. Leaving the block does not store it, unless the manager was
        told `checkpoint_on_exit`; that happens by `save`, when it was idle for long enough, or when the manager ends.

        Args:
            key: The agent's id, as for `jido.thaw`.
            initial_state: The state of the agent when nothing is stored.
            exclusive: Whether other exclusive checkouts of this manager wait until this one ends.

        Raises:
            ConflictError: On entry, the copy in memory is known to be stale: `discard` it. On exit, it was dropped
                meanwhile with changes that are not stored, or `checkpoint_on_exit` met another writer.
            JidoError: What is stored cannot be thawed; nothing was changed, and nothing is in memory.
        """
        visit = Visit()
        live = await self._entered(key, visit, initial_state, exclusive)
        try:
            yield live.agent
            await self._end_of(live, visit)
        finally:
            if exclusive:
                live.turn.release()
            self._fleet.leave(live, visit)

    async def _entered(self, key: Any, visit: Visit, initial_state: Any, exclusive: bool) -> Live[A]:
        while True:
            live = await self._fleet.take(key, visit, None, initial_state)
            if not exclusive:
                return live
            try:
                await self._take_turn(live, visit)
            except BaseException:
                self._fleet.leave(live, visit)
                raise
            if live.gone is None and live.stale is None:
                return live
            live.turn.release()  # it went bad while we waited
            self._fleet.leave(live, visit)

    async def _take_turn(self, live: Live[A], visit: Visit) -> None:
        if live.turn.locked() and live.holder is not None and live.holder.task is visit.task:
            message = f"this task has an exclusive checkout of {live.agent.id!r} already, and would wait for itself"
            raise JidoError(message, reason="deadlock", id=live.agent.id)
        await self._fleet.acquire(live.turn)
        live.holder = visit

    async def _end_of(self, live: Live[A], visit: Visit) -> None:
        if visit not in live.owners:  # this task has dropped it itself
            return
        if live.gone is not None:
            if not await live.unchanged():
                raise live.gone_again()
        elif self._checkpoint_on_exit:
            await to_the_end(self._fleet.store(live))

    async def attach(self, key: Any, owner: Hashable = None, *, initial_state: Any = None) -> A:
        """Have the agent until `detach`; attaching the same owner again changes nothing.

        Args:
            key: The agent's id.
            owner: Who has it: any hashable; the current task when None. A task that ends has it no longer.
            initial_state: The state of the agent when nothing is stored.

        Raises:
            ConflictError, JidoError: As for the entry of a checkout.
        """
        name = self._home.name(key)

        def on_done(task: Any) -> None:
            self._fleet.release(name, task)

        return (await self._fleet.take(key, _owner(owner), on_done, initial_state)).agent

    def detach(self, key: Any, owner: Hashable = None) -> None:
        """Have it no longer; nothing happens when the owner did not have it. The last one starts the idle timer."""
        self._fleet.release(self._home.name(key), _owner(owner))

    def touch(self, key: Any) -> bool:
        """Start the idle timer anew, and tell whether the agent is in memory."""
        live = self._find(key)
        if live is not None:
            self._fleet.touch(live)
        return live is not None

    def lookup(self, key: Any) -> A | None:
        """Answer the agent when it is in memory; nothing is read, and it may leave memory at any time."""
        live = self._find(key)
        return None if live is None else live.agent

    def stats(self) -> ManagerStats:
        """Answer what is in memory."""
        lives = self._fleet.lives.values()
        return ManagerStats(
            count=len(lives),
            keys=tuple(live.agent.id for live in lives),
            attached=sum(bool(live.owners) for live in lives),
            failing=tuple((live.agent.id, live.error) for live in lives if live.error is not None),
        )

    def _find(self, key: Any) -> Live[A] | None:
        return self._fleet.lives.get(self._home.name(key))

    # -- storing and dropping them --------------------------------------------------------------------------------

    async def save(self, key: Any, *, force: bool = False) -> None:
        """Hibernate an agent that is in memory, and keep it; nothing is written when nothing has changed.

        Inside a transaction of the host this joins it. Once begun it goes on when the caller is cancelled.

        Args:
            key: The agent's id.
            force: Overwrite what another writer has stored.

        Raises:
            ConflictError: Another writer was there first: `discard` this copy and check it out again.
            InvalidInputError: It is not in memory: `not_live`.
        """
        dropped = self._fleet.dropped_from(self._home.name(key))
        if dropped is not None:
            raise dropped.gone_again()
        live = self._find(key)
        if live is None:
            raise InvalidInputError.at("key", "the id of an agent that is checked out", key, reason="not_live")
        await to_the_end(self._fleet.store(live, force=force))

    async def stop(self, key: Any) -> bool:
        """Hibernate an agent and let it leave memory, now or when its last owner leaves; False when it is not there.

        Raises:
            JidoError: It could not be stored, and stays.
        """
        live = self._find(key)
        if live is None:
            return False
        await to_the_end(self._fleet.store(live))
        live.leaving = True
        if self._fleet.in_transaction():  # which may be rolled back: it goes when it is stored for certain
            self._fleet.arm(live, 0)
        else:
            self._fleet.evict(live)
        return True

    async def discard(self, key: Any) -> bool:
        """Drop the copy in memory without storing it, so that the next checkout thaws; False when there is none.

        Another task that still has the copy, and changed it, gets a ConflictError when it saves it or leaves.
        """
        live = self._find(key)
        if live is None:
            return False
        self._fleet.drop(live, "it was discarded")
        self._fleet.disown(live)
        return True

    async def delete(self, key: Any) -> None:
        """Delete the agent: its checkpoint, its journal, and the copy in memory."""
        live = self._find(key)
        await to_the_end(self._home.delete(key) if live is None else self._delete(key, live))
        if live is not None:
            self._fleet.disown(live)

    async def _delete(self, key: Any, live: Live[A]) -> None:
        async with self._fleet.held(live.storing):
            await self._home.delete(key)
            self._fleet.drop(live, "it was deleted")


async def _ended(task: asyncio.Task[list[Exception]]) -> list[Exception]:
    return await task


def _owner(given: Hashable) -> Hashable:
    return asyncio.current_task() if given is None else given


def _checked_timeout(seconds: Any) -> float | None:
    if seconds is None or seconds == math.inf:
        return None
    return checks.seconds(seconds, "idle_timeout", zero=True) or None


def _checked_hook(hook: Any) -> OnBackgroundError | None:
    if hook is not None and not callable(hook):
        raise InvalidInputError.at("on_background_error", "a function of id and error, or None", hook)
    return cast(OnBackgroundError | None, hook)


def _checked_partition(given: str | None, storage: StorageLike) -> str | None:
    bound = getattr(storage, "partition", None)
    if given is not None and bound not in (None, given):
        raise InvalidInputError.at("partition", f"the one that the Jido is bound to, {bound!r}", given)
    return check_partition(bound if given is None else given)
