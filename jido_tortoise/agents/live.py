"""One agent in memory: who has it, what is known to be stored of it, and what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Generic, TypeVar

from jido_tortoise import codec
from jido_tortoise.agents import callbacks, persist
from jido_tortoise.agents.agent import AgentLike
from jido_tortoise.agents.storage import Storage
from jido_tortoise.agents.stored import Stored
from jido_tortoise.agents.thread import Thread
from jido_tortoise.errors import ConflictError, UnstorableError

A = TypeVar("A", bound=AgentLike)

#: Called with the owner, a task, when it ends.
OnDone = Callable[[Any], object]


class Visit:
    """One checkout; it belongs to the task that made it."""

    __slots__ = ("task",)

    def __init__(self) -> None:
        self.task = asyncio.current_task()


class Live(Generic[A]):
    """An agent in memory.

    Args:
        name: The canonical text of its id.
        agent: The agent.
        key: The key it is stored under; None for its own.
    """

    def __init__(self, name: str, agent: A, key: Any) -> None:
        self.name = name
        self.agent = agent
        self.key = key
        self.owners: dict[Hashable, OnDone | None] = {}
        #: Sleeps until the agent is to be hibernated; None once it has begun with that.
        self.timer: asyncio.Task[None] | None = None
        #: The tasks that hibernate it since it was idle, or wait to do so.
        self.expiring: set[asyncio.Task[Any]] = set()
        #: Held while the agent is stored or deleted.
        self.storing = asyncio.Lock()
        #: Held by an exclusive checkout, and which one took it last.
        self.turn = asyncio.Lock()
        self.holder: Visit | None = None
        #: Whether it is to go as soon as nobody has it.
        self.leaving = False
        #: Why it is no longer the agent of its key, while somebody still has it.
        self.gone: str | None = None
        #: Of the last attempt to store it, and how many have failed in a row.
        self.error: Exception | None = None
        self.failures = 0
        # The digest and version of what is stored, and the digest of what was last written.
        self._stored: tuple[str | None, int | None] = (None, None)
        self._looked: str | None = None

    # -- who has it -----------------------------------------------------------------------------------------------

    def taken_by(self, owner: Hashable, on_done: OnDone | None = None) -> None:
        """Note an owner; a second time changes nothing."""
        self.disarm()
        self.leaving = False
        if owner in self.owners:
            return
        self.owners[owner] = on_done
        if isinstance(owner, asyncio.Task) and on_done is not None:
            owner.add_done_callback(on_done)

    def left_by(self, owner: Hashable) -> bool:
        """Forget an owner, and tell whether it was one."""
        if owner not in self.owners:
            return False
        on_done = self.owners.pop(owner)
        if isinstance(owner, asyncio.Task) and on_done is not None:
            owner.remove_done_callback(on_done)
        return True

    def visits_of(self, task: asyncio.Task[Any] | None) -> list[Hashable]:
        """Answer the owners that are this task, or checkouts made by it."""
        return [owner for owner in self.owners if owner is task or (isinstance(owner, Visit) and owner.task is task)]

    def disarm(self) -> None:
        """Stop the timer, unless it has gone off."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def gone_again(self) -> ConflictError:
        """Answer the error for one who still has this copy."""
        message = f"agent {self.agent.id!r}: this copy is no longer its manager's ({self.gone}); check it out again"
        return ConflictError(message, reason="copy_dropped", id=self.agent.id)

    def stale_again(self, conflict: ConflictError) -> ConflictError:
        """Answer the error for one who comes for a copy that ran into a conflict."""
        message = (
            f"agent {self.agent.id!r}: the copy in memory is stale; discard it and check it out again ({conflict})"
        )
        return type(conflict)(message, reason=conflict.reason, **conflict.facts)

    @contextmanager
    def expires(self) -> Iterator[None]:
        """Note that the current task hibernates it since it was idle."""
        task = asyncio.current_task()
        assert task is not None
        self.expiring.add(task)
        try:
            yield
        finally:
            self.expiring.discard(task)

    # -- what is stored of it -------------------------------------------------------------------------------------

    @property
    def stale(self) -> ConflictError | None:
        """The conflict that this copy ran into; it will not go away."""
        return self.error if isinstance(self.error, ConflictError) else None

    async def store(self, storage: Storage, *, force: bool = False) -> None:
        """Hibernate the agent, unless what is stored is known to be the same."""
        if not force and await self.unchanged():
            self._note(None)
            return
        try:
            await persist.write(storage, self.agent, key=self.key, force=force, look=self._look)
        except Exception as error:
            self._note(error)
            raise
        self._note(None)
        self._stored = (self._looked, _version(self.agent))

    def _look(self, data: dict[str, Any]) -> None:
        self._looked = _digest(self.agent, data)

    async def thawed(self) -> None:
        """Note that the agent is now as it is stored."""
        self._stored = (await self._seen(), _version(self.agent))

    async def unchanged(self) -> bool:
        """Tell whether the agent is known to be as it is stored."""
        return self._same(await self._seen())

    async def _seen(self) -> str | None:
        try:
            return _digest(self.agent, await callbacks.checkpoint(self.agent))
        except Exception:  # a hibernate meets it too, and says what it is
            return None

    def _same(self, seen: str | None) -> bool:
        now = (seen, _version(self.agent))
        return None not in now and now == self._stored

    def _note(self, error: Exception | None) -> None:
        self.error = error
        self.failures = 0 if error is None else self.failures + 1


def _digest(agent: AgentLike, data: dict[str, Any]) -> str | None:
    """Answer a digest of a checkpoint's data and where the thread is; None when they cannot be stored."""
    thread = getattr(agent, "thread", None)
    last = thread.last() if isinstance(thread, Thread) else None
    place = (thread.id, thread.rev, last and last.id) if isinstance(thread, Thread) else None
    try:
        text = codec.dumps([data, place], path="checkpoint")
    except UnstorableError:
        return None
    return sha256(text.encode()).hexdigest()


def _version(agent: AgentLike) -> int | None:
    """Answer the version that is stored for certain; None while the last write may be undone or may be lost."""
    stored: Stored | None = getattr(agent, "_stored", None)
    return None if stored is None or stored.unsure else stored.version
