"""The contract of a storage: six methods that every storage has, and capabilities that some have beyond them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

from jido_tortoise.agents.thread import Entry, Thread

Capability = Literal["compare_and_set", "atomic_save", "head", "list", "trim", "copy", "repair"]

#: One entry, or a mapping with the fields of one.
EntryLike = Entry | Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A stored checkpoint."""

    #: The value it was stored under.
    key: Any
    #: What was stored.
    data: Any
    #: 1 after the first write, one more after each.
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointInfo:
    """What a list shows of a checkpoint: everything but its data."""

    #: The key, or `keys.Unreadable` when it cannot be decoded here; either finds the checkpoint.
    key: Any
    #: The agent's stored type, partition and id (or `keys.Unreadable`); None where the data is not an agent's.
    agent_type: str | None
    partition: str | None
    agent_id: Any
    #: The journal it points at, and the revision it points to.
    thread_id: str | None
    thread_rev: int | None
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadHead:
    """The head of a journal: everything but its entries."""

    #: Number of entries ever appended; the next one gets this number.
    rev: int
    #: Number of the oldest entry that is still there; equal to rev when none is.
    first_seq: int
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """What an append answers."""

    thread_id: str
    #: The journal's revision after the append.
    rev: int
    #: The entries as they are stored, with their numbers.
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list."""

    items: tuple[CheckpointInfo, ...]
    #: Give this as `after` to get the next page; None after the last one.
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadWrite:
    """The journal's part of an atomic save."""

    id: str
    #: What the journal lacks; may be empty.
    entries: Sequence[EntryLike] = ()
    #: The revision it must be at, checked also when there is nothing to append; None appends to whatever is there.
    expected_rev: int | None = None
    #: Stored when this write creates the journal. Without entries and without metadata no journal is created.
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What an atomic save answers."""

    version: int
    #: The journal's revision after it; None when no journal was named.
    rev: int | None
    #: Whether it may still be undone, since it is part of the host's transaction.
    provisional: bool = False


@runtime_checkable
class Storage(Protocol):
    """Six methods make a storage. Errors are those of `jido_tortoise.errors`, whatever lies beneath.

    What a method is given it encodes before its first await: other tasks may go on changing it.
    """

    #: Which of the capabilities beyond the six methods this storage has.
    capabilities: frozenset[Capability]

    async def put_checkpoint(self, key: Any, data: Any, *, expected_version: int | None = None) -> Checkpoint:
        """Store data under the key, over what was there, or only over that version (0: over nothing)."""
        ...

    async def get_checkpoint(self, key: Any) -> Checkpoint | None:
        """Answer what is stored under the key; None when nothing is (a stored None is a Checkpoint)."""
        ...

    async def delete_checkpoint(self, key: Any) -> None:
        """Remove what is stored under the key; nothing happens when nothing is."""
        ...

    async def append_thread(
        self,
        thread_id: str,
        entries: EntryLike | Sequence[EntryLike],
        *,
        expected_rev: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Appended:
        """Append all the entries or none, numbered on from the journal's revision; a missing journal is made."""
        ...

    async def load_thread(
        self, thread_id: str, *, from_seq: int = 0, limit: int | None = None, tail: int | None = None
    ) -> Thread | None:
        """Answer the journal, or the wished range of it; None when it has no entries."""
        ...

    async def delete_thread(self, thread_id: str) -> None:
        """Remove the journal with its head; nothing happens when there is none."""
        ...


class AtomicSave(Protocol):
    """Capability `atomic_save`: journal and checkpoint become visible together, or neither does."""

    async def save(
        self,
        key: Any,
        data: Mapping[str, Any],
        *,
        expected_version: int | None = None,
        thread: ThreadWrite | None = None,
    ) -> Saved:
        """Append to the journal and put the checkpoint in one step; the data's "thread" becomes the pointer."""
        ...

    async def fetch(self, key: Any) -> tuple[Checkpoint, ThreadHead | None] | None:
        """Answer the checkpoint and the head of the journal that it points at, read at one moment."""
        ...

    async def read_thread(self, thread_id: str, head: ThreadHead) -> Thread | None:
        """Answer the journal as it was at that head, without reading the head again; None when it was trimmed since."""
        ...

    async def delete_agent(self, key: Any, thread_id: str | None = None) -> None:
        """Remove the checkpoint, the journal it points at, and that journal, together."""
        ...


class Heads(Protocol):
    """Capability `head`."""

    async def get_thread_head(self, thread_id: str) -> ThreadHead | None:
        """Answer a journal's head without reading entries; also that of a journal that has none."""
        ...


class Trimming(Protocol):
    """Capability `trim`."""

    async def trim_thread(self, thread_id: str, *, before: int) -> int:
        """Drop the entries with a number below `before`; answer how many. Revision and numbers stay as they are."""
        ...


class Copying(Protocol):
    """Capability `copy`."""

    async def copy_thread(self, source: str, target: str, *, upto: int | None = None) -> ThreadHead:
        """Copy the entries below `upto` (all when None) into a new journal, with the same numbers."""
        ...


class Repairing(Protocol):
    """Capability `repair`."""

    async def repair_thread(self, thread_id: str) -> str | None:
        """Make the head say what the entries say, and answer what was done; None when nothing was wrong.

        Raises:
            CorruptRowError: The entries themselves have a gap.
        """
        ...

    async def read_raw_checkpoint(self, key: Any) -> tuple[str, int] | None:
        """Answer a checkpoint's stored text and version without decoding it; None when there is none."""
        ...


class Listing(Protocol):
    """Capability `list`."""

    async def list_checkpoints(
        self, *, agent_type: str | None = None, partition: str | None = None, limit: int = 100, after: str | None = None
    ) -> Page:
        """Answer a page, oldest first; None filters nothing, the partition "" means: in none."""
        ...

    async def count_checkpoints(self, *, agent_type: str | None = None, partition: str | None = None) -> int:
        """Count what `list_checkpoints` would list."""
        ...

    def iter_entries(
        self, thread_id: str, *, from_seq: int = 0, upto: int | None = None, page: int = 500
    ) -> AsyncIterator[Entry]:
        """Walk a journal in bounded memory, a page of entries at a time."""
        ...
