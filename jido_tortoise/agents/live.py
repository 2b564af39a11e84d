"""One agent in memory: who has it, what is known to be stored of it, and what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from hashlib import sha256
from typing import Any, Generic, TypeVar

from jido_tortoise import codec
from jido_tortoise.agents import callbacks, persist
from jido_tortoise.agents.agent import AgentLike
from jido_tortoise.agents.storage import Storage
from jido_tortoise.agents.stored import Stored
from jido_tortoise.agents.thread import Thread
from jido_tortoise.errors import ConflictError

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
        self._stored: tuple[str, int | None] | None = None

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

    # -- what is stored of it -------------------------------------------------------------------------------------

    @property
    def stale(self) -> ConflictError | None:
        """The conflict that this copy ran into; it will not go away."""
        return self.error if isinstance(self.error, ConflictError) else None

    async def store(self, storage: Storage, *, force: bool = False) -> None:
        """Hibernate the agent, unless what is stored is known to be the same."""
        seen = await _digest(self.agent)
        if not force and self._same(seen):
            self._note(None)
            return
        try:
            await persist.hibernate(storage, self.agent, key=self.key, force=force)
        except Exception as error:
            self._note(error)
            raise
        self._note(None)
        # Looked at before the write: what was changed meanwhile counts as not stored.
        self._stored = None if seen is None else (seen, _version(self.agent))

    async def thawed(self) -> None:
        """Note that the agent is now as it is stored."""
        seen = await _digest(self.agent)
        self._stored = None if seen is None else (seen, _version(self.agent))

    async def unchanged(self) -> bool:
        """Tell whether the agent is known to be as it is stored."""
        return self._same(await _digest(self.agent))

    def _same(self, seen: str | None) -> bool:
        version = _version(self.agent)
        return seen is not None and version is not None and self._stored == (seen, version)

    def _note(self, error: Exception | None) -> None:
        self.error = error
        self.failures = 0 if error is None else self.failures + 1


async def _digest(agent: AgentLike) -> str | None:
    """Answer a digest of all that a hibernate would store; None when that cannot be told."""
    thread = getattr(agent, "thread", None)
    last = thread.last() if isinstance(thread, Thread) else None
    place = (thread.id, thread.rev, last and last.id) if isinstance(thread, Thread) else None
    try:
        text = codec.dumps([await callbacks.checkpoint(agent), place], path="checkpoint")
    except Exception:  # hibernate meets it too, and says what it is
        return None
    return sha256(text.encode()).hexdigest()


def _version(agent: AgentLike) -> int | None:
    """Answer the version that is stored for certain; None while the last write may be undone or may be lost."""
    stored: Stored | None = getattr(agent, "_stored", None)
    return None if stored is None or stored.unsure else stored.version
