"""One face for storages with an atomic save and without: what hibernate and thaw ask of either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from jido_tortoise import codec, seams
from jido_tortoise.agents import keys
from jido_tortoise.agents.resolve import StorageLike, capabilities_of, resolve_storage
from jido_tortoise.agents.storage import AtomicSave, Checkpoint, Heads, Saved, Storage, ThreadHead, ThreadWrite
from jido_tortoise.agents.thread import Thread
from jido_tortoise.errors import ConflictError, shown


@dataclass(frozen=True, slots=True)
class Backing:
    """A storage that saves in one step."""

    storage: Storage

    @staticmethod
    def of(given: StorageLike) -> Backing:
        """Answer the face of the storage that was meant."""
        storage = resolve_storage(given)
        return Backing(storage) if "atomic_save" in capabilities_of(storage) else InSteps(storage)

    @property
    def _atomic(self) -> AtomicSave:
        return cast(AtomicSave, self.storage)

    async def save(self, key: Any, data: Mapping[str, Any], version: int | None, thread: ThreadWrite | None) -> Saved:
        """Write journal and checkpoint together."""
        return await self._atomic.save(key, data, expected_version=version, thread=thread)

    async def fetch(self, key: Any) -> tuple[Checkpoint, ThreadHead | None] | None:
        """Read checkpoint and head, as they stand at one moment."""
        return await self._atomic.fetch(key)

    async def head(self, thread_id: str) -> ThreadHead | None:
        """Read a journal's head."""
        return await cast(Heads, self.storage).get_thread_head(thread_id)

    async def read_thread(self, thread_id: str, head: ThreadHead, upto: int) -> Thread | None:
        """Read a journal as it was at that head, cut at `upto`; None when it was trimmed since."""
        thread = await self._atomic.read_thread(thread_id, head)
        return thread if thread is None or thread.rev == upto else cut(thread, upto)


@dataclass(frozen=True, slots=True)
class InSteps(Backing):
    """A storage that can only do one thing after another: first the journal, so that no checkpoint points ahead."""

    async def save(self, key: Any, data: Mapping[str, Any], version: int | None, thread: ThreadWrite | None) -> Saved:
        """Write the journal, then the checkpoint; what cannot be stored is found out before either."""
        data = codec.loads(codec.dump_map(dict(data), path="checkpoint"))  # as it is now, before others change it
        await self._check_version(key, version)
        rev = None if thread is None else await self._append(thread)
        pointer = data.get("thread") if thread is None else {"id": thread.id, "rev": rev}
        whole = {**data, "thread": pointer}
        expected = version if "compare_and_set" in capabilities_of(self.storage) else None
        put = await self.storage.put_checkpoint(key, whole, expected_version=expected)
        return Saved(version=put.version, rev=rev)

    async def _check_version(self, key: Any, version: int | None) -> None:
        if version is None:
            return
        stored = await self.storage.get_checkpoint(key)
        actual = stored.version if stored is not None else 0
        if actual != version:
            raise ConflictError(
                f"checkpoint {shown(key)}: expected version {version}, it is {actual}", expected=version, actual=actual
            )

    async def _append(self, thread: ThreadWrite) -> int:
        if thread.entries or (thread.metadata and not thread.expected_rev):
            appended = await self.storage.append_thread(
                thread.id, list(thread.entries), expected_rev=thread.expected_rev, metadata=thread.metadata
            )
            return appended.rev
        head = await self.head(thread.id)
        rev = head.rev if head is not None else 0
        if thread.expected_rev is not None and rev != thread.expected_rev:
            raise ConflictError(
                f"thread {thread.id!r}: expected revision {thread.expected_rev}, it is {rev}",
                thread_id=thread.id,
                expected=thread.expected_rev,
                actual=rev,
            )
        return rev

    async def fetch(self, key: Any) -> tuple[Checkpoint, ThreadHead | None] | None:
        """Read the checkpoint, then the head."""
        checkpoint = await self.storage.get_checkpoint(key)
        if checkpoint is None:
            return None
        pointer = keys.pointer_of(checkpoint.data)  # a malformed one is told by who asks for the agent
        return checkpoint, None if pointer is None else await self.head(pointer[0])

    async def head(self, thread_id: str) -> ThreadHead | None:
        """Read a journal's head, from the journal itself when the storage has no other way."""
        if "head" in capabilities_of(self.storage):
            return await cast(Heads, self.storage).get_thread_head(thread_id)
        thread = await self.storage.load_thread(thread_id)
        if thread is None:
            return None
        return ThreadHead(
            rev=thread.rev,
            first_seq=thread.first_seq,
            metadata=thread.metadata,
            created_at=thread.created_at,
            updated_at=thread.updated_at,
        )

    async def read_thread(self, thread_id: str, head: ThreadHead, upto: int) -> Thread | None:
        """Read a journal, cut at `upto`."""
        thread = await self.storage.load_thread(thread_id)
        if thread is None:
            if head.first_seq < head.rev:
                return None
            times = seams.to_ms(head.created_at), seams.to_ms(head.updated_at)
            thread = Thread._loaded(thread_id, head.rev, head.first_seq, head.metadata, *times, [])
        return thread if thread.rev == upto else cut(thread, upto)


def cut(thread: Thread, rev: int) -> Thread:
    """Answer the thread as it was at an earlier revision."""
    return Thread._loaded(
        thread.id,
        rev,
        thread.first_seq,
        thread.metadata,
        thread._created_ms,
        thread._updated_ms,
        [entry for entry in thread if entry.seq < rev],
    )
