"""The storage in memory: the same laws as the one on a database, for tests and for agents that need no durability."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar, cast

from jido_tortoise import checks, codec, seams, telemetry
from jido_tortoise.agents import keys, rules
from jido_tortoise.agents.rules import EncodedCheckpoint, EncodedEntry, StoredEntry
from jido_tortoise.agents.storage import (
    Appended,
    Capability,
    Checkpoint,
    CheckpointInfo,
    EntryLike,
    Page,
    Saved,
    ThreadHead,
    ThreadWrite,
)
from jido_tortoise.agents.thread import Entry, Thread
from jido_tortoise.errors import AlreadyExistsError, CorruptRowError, NotFoundError, shown

M = TypeVar("M", bound=Callable[..., Coroutine[Any, Any, Any]])

_CAPABILITIES: frozenset[Capability] = frozenset(
    {"compare_and_set", "atomic_save", "head", "list", "trim", "copy", "repair"}
)


@dataclass(slots=True)
class _Journal:
    """A head with its rows; row `i` has the number `first_seq + i`."""

    metadata: str
    created_ms: int
    updated_ms: int
    rev: int = 0
    rows: list[EncodedEntry] = field(default_factory=list)
    #: The number of each row that is there, by its id.
    numbers: dict[str, int] = field(default_factory=dict)

    @property
    def first_seq(self) -> int:
        return self.rev - len(self.rows)

    def stored(self, start: int, stop: int) -> list[StoredEntry]:
        """Answer the rows with a number in [start, stop)."""
        first = max(start, self.first_seq)
        rows = self.rows[first - self.first_seq : max(first, stop) - self.first_seq]
        return [StoredEntry(first + index, *row) for index, row in enumerate(rows)]

    def with_ids_of(self, rows: list[EncodedEntry]) -> list[StoredEntry]:
        """Answer the rows that have one of these ids, in the order of their numbers."""
        found = sorted(self.numbers[row.id] for row in rows if row.id in self.numbers)
        return [row for seq in found for row in self.stored(seq, seq + 1)]

    def add(self, rows: list[EncodedEntry], now: int) -> None:
        """Append the rows; without rows, only the time moves."""
        self.numbers.update((row.id, self.rev + index) for index, row in enumerate(rows))
        self.rows += rows
        self.rev += len(rows)
        self.updated_ms = max(self.updated_ms, now)

    def drop(self, count: int) -> None:
        """Drop the oldest rows."""
        for row in self.rows[:count]:
            del self.numbers[row.id]
        del self.rows[:count]


@dataclass(frozen=True, slots=True)
class _Row:
    checkpoint: EncodedCheckpoint
    version: int
    created_ms: int
    updated_ms: int


@dataclass(slots=True, eq=False)
class MemoryTables:
    """What a storage in memory holds."""

    _checkpoints: dict[str, _Row] = field(default_factory=dict)
    _journals: dict[str, _Journal] = field(default_factory=dict)


def _told(method: M) -> M:
    """Tell telemetry of every call, as the storage on Tortoise does."""
    name = method.__name__

    @wraps(method)
    async def told(self: Any, *args: Any, **kwargs: Any) -> Any:
        named = {"thread_id": args[0]} if args and "thread" in name else {}
        with telemetry.operation(name, **named) as span:
            answer = await method(self, *args, **kwargs)
            span.set(**_facts(answer))
            return answer

    # As the method was written: pyright takes a Coroutine for less than what a protocol's `async def` answers.
    return cast(M, told)


def _facts(answer: Any) -> dict[str, Any]:
    if isinstance(answer, tuple):  # a checkpoint and its head
        return {name: value for one in answer for name, value in _facts(one).items()}
    facts = {name: getattr(answer, name) for name in ("rev", "version") if hasattr(answer, name)}
    if isinstance(answer, Appended | Thread):
        facts["count"] = len(answer.entries)
    if isinstance(answer, Page):
        facts["count"] = len(answer.items)
    return facts | ({"count": answer} if isinstance(answer, int) else {})


class InMemoryStorage:
    """Checkpoints and journals in dicts, as JSON: nothing that is stored is shared with who stored it.

    No method awaits anything, so that tasks which run beside each other see each call as one step.

    Args:
        tables: The data of another InMemoryStorage, as a second process would see them; empty ones when None.
    """

    __slots__ = ("tables",)
    Tables = MemoryTables
    capabilities: frozenset[Capability] = _CAPABILITIES

    def __init__(self, tables: MemoryTables | None = None) -> None:
        self.tables = MemoryTables() if tables is None else tables

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InMemoryStorage):
            return NotImplemented
        return self.tables is other.tables

    def __hash__(self) -> int:
        return hash(self.tables)

    def __repr__(self) -> str:
        held = self.tables
        return f"<InMemoryStorage: {len(held._checkpoints)} checkpoints, {len(held._journals)} journals>"

    # -- checkpoints --------------------------------------------------------------------------------------------------

    @_told
    async def put_checkpoint(self, key: Any, data: Any, *, expected_version: int | None = None) -> Checkpoint:
        """Store data under the key, over what was there, or only over that version (0: over nothing).

        Raises:
            ConflictError: It is at another version.
            UnstorableError: Key or data cannot be stored.
        """
        rules.check_expected("expected_version", expected_version)
        encoded = rules.encode_checkpoint(key, data)
        self._check_version(key, encoded.key_hash, expected_version)
        return _checkpoint(key, data, self._put(encoded))

    def _check_version(self, key: Any, key_hash: str, expected: int | None) -> None:
        row = self.tables._checkpoints.get(key_hash)
        actual = 0 if row is None else row.version
        if expected is not None and expected != actual:
            raise rules.version_conflict(key, expected, actual or None)

    def _put(self, encoded: EncodedCheckpoint) -> _Row:
        now, old = seams.now_ms(), self.tables._checkpoints.get(encoded.key_hash)
        row = _Row(encoded, 1, now, now)
        if old is not None:
            row = _Row(encoded, old.version + 1, old.created_ms, max(old.updated_ms, now))
        self.tables._checkpoints[encoded.key_hash] = row
        return row

    @_told
    async def get_checkpoint(self, key: Any) -> Checkpoint | None:
        """Answer what is stored under the key; None when nothing is (a stored None is a Checkpoint)."""
        return self._read(key)

    def _read(self, key: Any) -> Checkpoint | None:
        row = self.tables._checkpoints.get(keys.key_hash(key))
        return None if row is None else _checkpoint(key, _decoded(key, row), row)

    @_told
    async def delete_checkpoint(self, key: Any) -> None:
        """Remove what is stored under the key; nothing happens when nothing is."""
        self.tables._checkpoints.pop(keys.key_hash(key), None)

    # -- journals -----------------------------------------------------------------------------------------------------

    @_told
    async def append_thread(
        self,
        thread_id: str,
        entries: EntryLike | Sequence[EntryLike],
        *,
        expected_rev: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Appended:
        """Append all the entries or none, numbered on from the journal's revision.

        Repeating an append with the same ids answers what is stored and writes nothing.

        Args:
            thread_id: The journal; made when it is not there.
            entries: Entries, mappings with the fields of one, or one of either.
            expected_rev: The revision it must be at; None never conflicts.
            metadata: Stored when the journal is made, never after.

        Raises:
            ConflictError: It is at another revision.
            DuplicateEntryError: An id is stored already, with another content or in another place.
            InvalidEntryError, UnstorableError: Nothing was written; `path` says what was wrong.
        """
        thread_id = rules.check_thread_id(thread_id)
        rules.check_expected("expected_rev", expected_rev)
        rows, text = rules.encode_entries(entries), rules.encode_metadata(metadata)
        found = self._found(thread_id, rows)
        first = rules.repeated_at(rows, found, expected_rev)
        if first is None:
            self._check_place(thread_id, expected_rev, found)
            first = self._add(thread_id, rows, text)
        stored = self.tables._journals[thread_id].stored(first, first + len(rows))
        return Appended(
            thread_id=thread_id, rev=first + len(rows), entries=tuple(rules.decode_entries(stored, thread_id))
        )

    def _found(self, thread_id: str, rows: list[EncodedEntry]) -> list[StoredEntry]:
        journal = self.tables._journals.get(thread_id)
        return [] if journal is None else journal.with_ids_of(rows)

    def _rev(self, thread_id: str) -> int:
        journal = self.tables._journals.get(thread_id)
        return 0 if journal is None else journal.rev

    def _check_place(self, thread_id: str, expected_rev: int | None, found: list[StoredEntry]) -> None:
        actual = self._rev(thread_id)
        if expected_rev is not None and expected_rev != actual:
            raise rules.rev_conflict(thread_id, expected_rev, actual if thread_id in self.tables._journals else None)
        if found:
            raise rules.duplicate_ids(thread_id, (row.id for row in found))

    def _add(self, thread_id: str, rows: list[EncodedEntry], metadata: str) -> int:
        now = seams.now_ms()
        journal = self.tables._journals.setdefault(thread_id, _Journal(metadata, now, now))
        first = journal.rev
        journal.add(rows, now)
        return first

    @_told
    async def load_thread(
        self, thread_id: str, *, from_seq: int = 0, limit: int | None = None, tail: int | None = None
    ) -> Thread | None:
        """Answer the journal, or the wished range of it; None when it has no entries.

        Args:
            thread_id: The journal.
            from_seq: The first number wished.
            limit: At most so many entries from there.
            tail: Instead: the last so many.
        """
        rules.check_thread_id(thread_id)
        rules.check_range(from_seq, limit, tail)
        journal = self.tables._journals.get(thread_id)
        if journal is None or not journal.rows:
            return None
        start = max(from_seq if tail is None else journal.rev - tail, journal.first_seq)
        return _thread(thread_id, journal, start, journal.rev if limit is None else start + limit)

    @_told
    async def delete_thread(self, thread_id: str) -> None:
        """Remove the journal with its head; nothing happens when there is none."""
        self.tables._journals.pop(rules.check_thread_id(thread_id), None)

    @_told
    async def get_thread_head(self, thread_id: str) -> ThreadHead | None:
        """Answer a journal's head without reading entries; also that of a journal that has none."""
        rules.check_thread_id(thread_id)
        return self._head(thread_id)

    def _head(self, thread_id: str) -> ThreadHead | None:
        journal = self.tables._journals.get(thread_id)
        if journal is None:
            return None
        return ThreadHead(
            rev=journal.rev,
            first_seq=journal.first_seq,
            metadata=rules.decode_metadata(journal.metadata, thread_id),
            created_at=seams.to_datetime(journal.created_ms),
            updated_at=seams.to_datetime(journal.updated_ms),
        )

    def iter_entries(
        self, thread_id: str, *, from_seq: int = 0, upto: int | None = None, page: int = 500
    ) -> AsyncIterator[Entry]:
        """Walk the entries that are there when it begins, a page at a time; telemetry is told of each."""
        rules.check_thread_id(thread_id)
        rules.check_walk(from_seq, upto, page)
        return self._walk(thread_id, from_seq, upto, page)

    async def _walk(self, thread_id: str, start: int, upto: int | None, page: int) -> AsyncIterator[Entry]:
        journal = self.tables._journals.get(thread_id)
        if journal is None:
            return
        stop = journal.rev if upto is None else min(upto, journal.rev)
        for first in range(max(start, journal.first_seq), stop, page):
            with telemetry.operation("iter_entries", thread_id=thread_id) as span:
                entries = rules.decode_entries(journal.stored(first, min(first + page, stop)), thread_id)
                span.set(count=len(entries))
            for entry in entries:
                yield entry
            if self.tables._journals.get(thread_id) is not journal:  # deleted meanwhile
                return

    @_told
    async def trim_thread(self, thread_id: str, *, before: int) -> int:
        """Drop the entries with a number below `before`, and answer how many; revision and numbers stay as they are."""
        rules.check_thread_id(thread_id)
        checks.whole(before, "before")
        journal = self.tables._journals.get(thread_id)
        if journal is None:
            return 0
        count = min(max(0, before - journal.first_seq), len(journal.rows))
        journal.drop(count)
        return count

    @_told
    async def copy_thread(self, source: str, target: str, *, upto: int | None = None) -> ThreadHead:
        """Copy the entries below `upto` (all when None) into a new journal, with the same numbers.

        Raises:
            NotFoundError: There is no source.
            AlreadyExistsError: The target exists.
        """
        rules.check_thread_id(source, "source")
        rules.check_thread_id(target, "target")
        rules.check_expected("upto", upto)
        journal = self.tables._journals.get(source)
        if journal is None:
            raise NotFoundError(f"no thread {source!r}", thread_id=source)
        if target in self.tables._journals:
            raise AlreadyExistsError(f"thread {target!r} exists already", thread_id=target)
        now = seams.now_ms()
        rows = journal.rows[: None if upto is None else max(0, upto - journal.first_seq)]
        copied = _Journal(journal.metadata, now, now, rev=journal.first_seq)
        copied.add(rows, now)
        self.tables._journals[target] = copied
        head = self._head(target)
        assert head is not None
        return head

    # -- both together ------------------------------------------------------------------------------------------------

    @_told
    async def save(
        self,
        key: Any,
        data: Mapping[str, Any],
        *,
        expected_version: int | None = None,
        thread: ThreadWrite | None = None,
    ) -> Saved:
        """Append to the journal and put the checkpoint in one step; data's "thread" is the pointer to that revision.

        Raises:
            ConflictError: Checkpoint or journal are not where they were expected; neither has changed.
        """
        rules.check_expected("expected_version", expected_version)
        if thread is None:
            put = await self.put_checkpoint(key, checks.string_map(data, "data"), expected_version=expected_version)
            return Saved(version=put.version, rev=None)
        rules.check_thread_id(thread.id)
        rules.check_expected("expected_rev", thread.expected_rev)
        rows, metadata = rules.encode_entries(thread.entries), rules.encode_metadata(thread.metadata)
        rev = self._rev(thread.id) + len(rows)
        encoded = rules.encode_checkpoint(key, rules.with_pointer(data, thread.id, rev))
        self._check_version(key, encoded.key_hash, expected_version)
        self._check_place(thread.id, thread.expected_rev, self._found(thread.id, rows))
        if rows or (thread.metadata and not thread.expected_rev):
            self._add(thread.id, rows, metadata)
        return Saved(version=self._put(encoded).version, rev=rev)

    @_told
    async def fetch(self, key: Any) -> tuple[Checkpoint, ThreadHead | None] | None:
        """Answer the checkpoint and the head of the journal that it points at, read at one moment."""
        checkpoint = self._read(key)
        if checkpoint is None:
            return None
        pointer = keys.pointer_of(checkpoint.data)
        return checkpoint, None if pointer is None else self._head(pointer[0])

    @_told
    async def read_thread(self, thread_id: str, head: ThreadHead) -> Thread | None:
        """Answer the journal as it was at that head; None when it was trimmed since."""
        journal = self.tables._journals.get(thread_id)
        if journal is None or journal.first_seq > head.first_seq or journal.rev < head.rev:
            return None
        created_ms, updated_ms = seams.to_ms(head.created_at), seams.to_ms(head.updated_at)
        entries = rules.decode_entries(journal.stored(head.first_seq, head.rev), thread_id)
        return Thread._loaded(thread_id, head.rev, head.first_seq, head.metadata, created_ms, updated_ms, entries)

    @_told
    async def delete_agent(self, key: Any, thread_id: str | None = None) -> None:
        """Remove the checkpoint, the journal that it points at, and that journal, together."""
        named = None if thread_id is None else rules.check_thread_id(thread_id)
        row = self.tables._checkpoints.pop(keys.key_hash(key), None)
        for name in {named, row.checkpoint.thread_id if row is not None else None} - {None}:
            self.tables._journals.pop(str(name), None)

    # -- lists --------------------------------------------------------------------------------------------------------

    @_told
    async def list_checkpoints(
        self, *, agent_type: str | None = None, partition: str | None = None, limit: int = 100, after: str | None = None
    ) -> Page:
        """Answer a page of checkpoints without their data, oldest first.

        Args:
            agent_type: Only agents of this type.
            partition: Only those of this partition; "" those of none; None all.
            limit: The most of a page.
            after: `next` of the page before.

        Raises:
            InvalidInputError: `after` is of another list, or no cursor.
        """
        rules.check_filters(agent_type, partition)
        checks.whole(limit, "limit", least=1)
        place = None
        if after is not None:
            place = rules.parse_cursor(after, agent_type=agent_type, partition=partition)
        found = sorted(self._filtered(agent_type, partition), key=_place_of)
        rows = [row for row in found if place is None or _place_of(row) > place]
        more = None
        if len(rows) > limit:
            more = rules.cursor_of(*_place_of(rows[limit - 1]), agent_type=agent_type, partition=partition)
        return Page(items=tuple(_info(row) for row in rows[:limit]), next=more)

    @_told
    async def count_checkpoints(self, *, agent_type: str | None = None, partition: str | None = None) -> int:
        """Count what `list_checkpoints` would list."""
        rules.check_filters(agent_type, partition)
        return len(self._filtered(agent_type, partition))

    def _filtered(self, agent_type: str | None, partition: str | None) -> list[_Row]:
        return [
            row
            for row in self.tables._checkpoints.values()
            if (agent_type is None or row.checkpoint.agent_type == agent_type)
            and (partition is None or (row.checkpoint.partition or "") == partition)
        ]

    # -- repair -------------------------------------------------------------------------------------------------------

    @_told
    async def repair_thread(self, thread_id: str) -> str | None:
        """Answer None: head and entries are one object here, and never disagree."""
        rules.check_thread_id(thread_id)
        return None

    @_told
    async def read_raw_checkpoint(self, key: Any) -> tuple[str, int] | None:
        """Answer a checkpoint's stored text and version without decoding it; None when there is none."""
        row = self.tables._checkpoints.get(keys.key_hash(key))
        return None if row is None else (row.checkpoint.data, row.version)


def _checkpoint(key: Any, data: Any, row: _Row) -> Checkpoint:
    created, updated = seams.to_datetime(row.created_ms), seams.to_datetime(row.updated_ms)
    return Checkpoint(key=key, data=data, version=row.version, created_at=created, updated_at=updated)


def _decoded(key: Any, row: _Row) -> Any:
    try:
        return codec.loads(row.checkpoint.data)
    except CorruptRowError as error:
        facts = error.facts | {"table": "jido_checkpoints", "key": key}
        raise CorruptRowError(f"the checkpoint under {shown(key)} is malformed: {error}", **facts) from error


def _thread(thread_id: str, journal: _Journal, start: int, stop: int) -> Thread:
    return Thread._loaded(
        thread_id,
        journal.rev,
        journal.first_seq,
        rules.decode_metadata(journal.metadata, thread_id),
        journal.created_ms,
        journal.updated_ms,
        rules.decode_entries(journal.stored(start, stop), thread_id),
    )


def _place_of(row: _Row) -> tuple[int, str]:
    return row.created_ms, row.checkpoint.key_hash


def _info(row: _Row) -> CheckpointInfo:
    stored = row.checkpoint
    return CheckpointInfo(
        key=keys.decode_key(stored.key, stored.key_hash),
        agent_type=stored.agent_type,
        partition=stored.partition,
        agent_id=keys.shown_id(stored.agent_id),
        thread_id=stored.thread_id,
        thread_rev=stored.thread_rev,
        version=row.version,
        created_at=seams.to_datetime(row.created_ms),
        updated_at=seams.to_datetime(row.updated_ms),
    )
