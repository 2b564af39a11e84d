"""What an agent in memory remembers of its stored self, so that nobody's write is lost and its own is recognised.

An agent's own write may be undone behind its back (the host rolls its transaction back) or land although it failed (a
cancellation, a lost connection). Both are told by a look at what is stored: by its version, and by its data.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from jido_tortoise import codec
from jido_tortoise.agents.storage import Checkpoint, Saved, Storage
from jido_tortoise.agents.thread import Thread


class Attempt(NamedTuple):
    """A write that may have landed."""

    #: The checkpoint as it was to be stored, but for the pointer.
    data: dict[str, Any]
    #: The version it was to follow; None for any.
    over: int | None

    def landed(self, version: int, data: Any) -> bool:
        """Tell whether this write is what is stored now."""
        if self.over is not None and version != self.over + 1:
            return False
        return isinstance(data, dict) and codec.canonical(_bare(data)) == codec.canonical(_bare(self.data))

    def frozen(self) -> Attempt:
        """Answer the same with data of its own: what is in the state goes on changing."""
        return self._replace(data=codec.loads(codec.dumps(self.data)))


def _bare(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != "thread"}


class Stored(NamedTuple):
    """Where an agent was last known to be; replaced as a whole, so that a failed write leaves the old one."""

    storage: Storage
    key: Any
    #: The checkpoint's version; 0 when there was none; None when the agent never met this storage.
    version: int | None = None
    #: The journal's revision up to which the agent's thread is known to be stored.
    rev: int | None = None
    #: Writes that may have landed, and what was known before them, which may be true again; None: nothing was known.
    attempts: tuple[Attempt, ...] = ()
    earlier: frozenset[int | None] = frozenset()
    #: Where `journal="pinned"` has cut the thread: its id and revision.
    pinned: tuple[str, int] | None = None

    @classmethod
    def thawed(
        cls, storage: Storage, key: Any, checkpoint: Checkpoint, thread: Thread | None, *, pinned: bool
    ) -> Stored:
        """Answer what is known right after a thaw."""
        if thread is None:
            return cls(storage, key, checkpoint.version)
        return cls(storage, key, checkpoint.version, thread.rev, pinned=(thread.id, thread.rev) if pinned else None)

    @property
    def met(self) -> bool:
        """Whether the agent knows what the storage held."""
        return self.version is not None

    @property
    def may_be_unmet(self) -> bool:
        """Whether all that the agent knows may have been undone."""
        return self.version is None or None in self.earlier

    @property
    def unsure(self) -> bool:
        """Whether the last write may have landed or not."""
        return bool(self.attempts)

    @property
    def pointer(self) -> dict[str, Any] | None:
        """The pointer that a pinned thread keeps."""
        return None if self.pinned is None else {"id": self.pinned[0], "rev": self.pinned[1]}

    def keeps_pointer(self, thread: Thread) -> bool:
        """Tell whether the journal is to be left alone: the thread was cut, and nothing was appended since."""
        return self.pinned == (thread.id, thread.rev)

    def same_place(self, other: Stored) -> bool:
        """Tell whether both know the same of checkpoint and journal."""
        return (self.version, self.rev or 0) == (other.version, other.rev or 0)

    def landed(self, version: int, data: Any) -> bool:
        """Tell whether one of the attempts is what is stored now."""
        return any(attempt.landed(version, data) for attempt in self.attempts)

    def knew(self, version: int) -> bool:
        """Tell whether this is a version that the agent has seen."""
        return version == self.version or version in self.earlier

    def with_attempt(self, attempt: Attempt) -> Stored:
        """Answer the same, unsure of one write more."""
        attempts = (*self.attempts, attempt)
        return Stored(self.storage, self.key, self.version, self.rev, attempts, self.earlier, self.pinned)

    def moved_to(self, version: int | None, rev: int | None) -> Stored:
        """Answer what is known after a look; the attempts stay until a write is certain."""
        return self._replace(version=version, rev=rev, earlier=self.earlier | {self.version})

    def after(self, saved: Saved, attempt: Attempt) -> Stored:
        """Answer what is known after a write that was acknowledged."""
        if saved.provisional:  # the host may still roll it back
            return self.with_attempt(attempt.frozen())
        pinned = self.pinned if saved.rev is None else None
        return Stored(
            self.storage, self.key, saved.version, self.rev if saved.rev is None else saved.rev, pinned=pinned
        )
