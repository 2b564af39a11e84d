"""The storage on the host's own Tortoise connection: SQLite and PostgreSQL, the same to the corner cases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final, overload

from jido_tortoise import checks, codec, journal, probe, seams, telemetry
from jido_tortoise.agents import keys, rules, statements
from jido_tortoise.agents.models import COLUMNS, JidoCheckpoint
from jido_tortoise.agents.rules import EncodedCheckpoint, EncodedEntry, StoredEntry
from jido_tortoise.agents.statements import THREADS
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
from jido_tortoise.database import Db, check_timeout, resolve, transaction
from jido_tortoise.driver_errors import ConstraintError
from jido_tortoise.errors import (
    AlreadyExistsError,
    ConflictError,
    CorruptRowError,
    JidoError,
    NotFoundError,
    StorageUnavailableError,
    shown,
)
from jido_tortoise.journal import Append, Head, Refused, Sibling, Written
from jido_tortoise.journal.run import run
from jido_tortoise.journal.statements import Statement

_CAPABILITIES: frozenset[Capability] = frozenset(
    {"compare_and_set", "atomic_save", "head", "list", "trim", "copy", "repair"}
)
#: How often a write is tried when a second look finds nothing that refuses it: others were at work in between.
_LOOKS = 3


class TortoiseStorage:
    """Checkpoints and journals in the tables of `jido_tortoise.agents.models`.

    A cheap value: it holds no pool and no task, and may be made anew for every call. Inside a transaction of the host
    on the same connection everything joins it.

    Args:
        connection: An alias of the host's Tortoise config; None takes the one that our app is registered with.
        schema: The PostgreSQL schema of our tables; None leaves it to the search path.
        timeout: Seconds for each statement, waiting for a connection included; 30 when None, `float("inf")` for none.
    """

    __slots__ = ("connection", "schema", "timeout")
    capabilities: frozenset[Capability] = _CAPABILITIES

    def __init__(self, connection: str | None = None, schema: str | None = None, timeout: float | None = None) -> None:
        self.connection = None if connection is None else checks.text(connection, "connection")
        self.schema = None if schema is None else checks.text(schema, "schema")
        self.timeout = check_timeout(timeout)

    def options(self, **changes: Any) -> TortoiseStorage:
        """Answer the same storage with other options, for a single call or for good."""
        now = {"connection": self.connection, "schema": self.schema, "timeout": self.timeout}
        return TortoiseStorage(**(now | changes))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TortoiseStorage):
            return NotImplemented
        return (self.connection, self.schema) == (other.connection, other.schema)

    def __hash__(self) -> int:
        return hash((self.connection, self.schema))

    def __repr__(self) -> str:
        return f"TortoiseStorage(connection={self.connection!r}, schema={self.schema!r}, timeout={self.timeout!r})"

    async def _db(self) -> Db:
        db = resolve(self.connection, JidoCheckpoint, schema=self.schema, timeout=self.timeout)
        await probe.check_once(db, COLUMNS)
        return db

    # -- checkpoints ----------------------------------------------------------------------------------------------

    async def put_checkpoint(self, key: Any, data: Any, *, expected_version: int | None = None) -> Checkpoint:
        """Store data under the key, over what was there, or only over that version (0: over nothing).

        Raises:
            ConflictError: It is at another version.
            UnstorableError: Key or data cannot be stored.
        """
        rules.check_expected("expected_version", expected_version)
        row = rules.encode_checkpoint(key, data)
        with telemetry.operation("put_checkpoint", bytes=len(row.data)) as span:
            db = await self._db()
            values = _checkpoint_values(row, expected_version)
            found = await _one(
                db, statements.put(statements.guard_of(expected_version), db.schema, db.dialect), values, write=True
            )
            if found is None:
                raise await self._version_conflict(db, key, row.key_hash, expected_version)
            version, created_ms, updated_ms = found
            span.set(version=version)
        return _checkpoint(key, data, version, created_ms, updated_ms)

    async def _version_conflict(self, db: Db, key: Any, key_hash: str, expected: int | None) -> ConflictError:
        found = await _one(db, statements.version(db.schema, db.dialect), {"key_hash": key_hash})
        return rules.version_conflict(key, expected or 0, found[0] if found else None)

    async def get_checkpoint(self, key: Any) -> Checkpoint | None:
        """Answer what is stored under the key; None when nothing is.

        Raises:
            CorruptRowError: It cannot be decoded, or another key has the same hash (`checkpoint_hash_collision`).
        """
        key_hash = keys.key_hash(key)
        with telemetry.operation("get_checkpoint") as span:
            db = await self._db()
            row = await _one(db, statements.get(db.schema, db.dialect), {"key_hash": key_hash})
            found = None if row is None else _decoded(key, row)
            span.set(version=found.version if found is not None else None)
            return found

    async def delete_checkpoint(self, key: Any) -> None:
        """Remove what is stored under the key; nothing happens when nothing is."""
        key_hash = keys.key_hash(key)
        with telemetry.operation("delete_checkpoint"):
            db = await self._db()
            await _one(db, statements.delete(db.schema, db.dialect), {"key_hash": key_hash}, write=True)

    # -- journals -------------------------------------------------------------------------------------------------

    async def append_thread(
        self,
        thread_id: str,
        entries: EntryLike | Sequence[EntryLike],
        *,
        expected_rev: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Appended:
        """Append all the entries or none, numbered on from the journal's revision.

        Repeating an append with the same ids answers what is stored and writes nothing, so that a call whose outcome is
        unknown may be made again.

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
        rules.check_thread_id(thread_id)
        rules.check_expected("expected_rev", expected_rev)
        rows = rules.encode_entries(entries)
        request = _append(thread_id, rows, expected_rev, {"metadata": rules.encode_metadata(metadata)})
        with telemetry.operation("append_thread", thread_id=thread_id, count=len(rows)) as span, _repeatable(rows):
            rev, stored = await self._append(await self._db(), request, rows)
            span.set(rev=rev)
        return Appended(thread_id=thread_id, rev=rev, entries=_AppendedEntries(stored, rev) if stored else ())

    async def _append(self, db: Db, request: Append, rows: list[EncodedEntry]) -> tuple[int, list[EncodedEntry]]:
        for _ in range(_LOOKS):
            try:
                return (await journal.append(db, THREADS, request)).counter, rows
            except Refused as refused:
                stored = [StoredEntry(*row) for row in refused.found]
                first = rules.repeated_at(rows, stored, request.expected)
                if first is not None:
                    return first + len(rows), [EncodedEntry(*row[1:]) for row in stored]
                conflict = _rev_conflict(request, refused, stored)
                if conflict is not None:
                    raise conflict from refused.__cause__
        raise await _unexplained(db, request)

    async def load_thread(
        self, thread_id: str, *, from_seq: int = 0, limit: int | None = None, tail: int | None = None
    ) -> Thread | None:
        """Answer the journal, or the wished range of it, as it stood at one moment; None when it has no entries.

        Args:
            thread_id: The journal.
            from_seq: The first number wished.
            limit: At most so many entries from there.
            tail: Instead: the last so many.

        Raises:
            CorruptRowError: A row is malformed, rows are missing, or there are rows without a head.
        """
        rules.check_thread_id(thread_id)
        rules.check_range(from_seq, limit, tail)
        with telemetry.operation("load_thread", thread_id=thread_id) as span:
            db = await self._db()
            found = await journal.load(db, THREADS, (thread_id,), start=from_seq, limit=limit, tail=tail)
            if found is None or found[0].counter == found[0].oldest:
                return None
            head, rows = found
            span.set(rev=head.counter, count=len(rows))
            return _thread(thread_id, _thread_head(thread_id, head), rows)

    async def delete_thread(self, thread_id: str) -> None:
        """Remove the journal with its head; nothing happens when there is none."""
        rules.check_thread_id(thread_id)
        with telemetry.operation("delete_thread", thread_id=thread_id):
            await journal.delete(await self._db(), THREADS, (thread_id,))

    async def get_thread_head(self, thread_id: str) -> ThreadHead | None:
        """Answer a journal's head without reading entries; also that of a journal that has none."""
        rules.check_thread_id(thread_id)
        with telemetry.operation("get_thread_head", thread_id=thread_id) as span:
            head = await journal.read_head(await self._db(), THREADS, (thread_id,))
            span.set(rev=head.counter if head is not None else None)
            return None if head is None else _thread_head(thread_id, head)

    async def iter_entries(
        self, thread_id: str, *, from_seq: int = 0, upto: int | None = None, page: int = 500
    ) -> AsyncIterator[Entry]:
        """Walk a journal in bounded memory, a page of entries at a time; telemetry is told of each page."""
        rules.check_thread_id(thread_id)
        rules.check_walk(from_seq, upto, page)
        db = await self._db()
        head = await journal.read_head(db, THREADS, (thread_id,))
        if head is None:
            return
        stop = head.counter if upto is None else min(upto, head.counter)
        for first in range(max(from_seq, head.oldest), stop, page):
            with telemetry.operation("iter_entries", thread_id=thread_id) as span:
                rows = await journal.read_rows(db, THREADS, (thread_id,), first, min(first + page, stop))
                span.set(count=len(rows))
            for row in rows:
                yield rules.decode_entry(StoredEntry(*row), thread_id)

    async def trim_thread(self, thread_id: str, *, before: int) -> int:
        """Drop the entries with a number below `before`, and answer how many; revision and numbers stay as they are."""
        rules.check_thread_id(thread_id)
        checks.whole(before, "before")
        with telemetry.operation("trim_thread", thread_id=thread_id) as span:
            dropped = await journal.trim(await self._db(), THREADS, (thread_id,), stop=before)
            span.set(count=dropped)
            return dropped

    async def copy_thread(self, source: str, target: str, *, upto: int | None = None) -> ThreadHead:
        """Copy the entries below `upto` (all when None) into a new journal, with the same numbers.

        Raises:
            NotFoundError: There is no source.
            AlreadyExistsError: The target exists.
        """
        rules.check_thread_id(source)
        rules.check_thread_id(target)
        rules.check_expected("upto", upto)
        with telemetry.operation("copy_thread", thread_id=source, target=target) as span:
            try:
                # Together, or an error of the second would say that nothing was copied.
                async with transaction(await self._db()) as db:
                    copied = await journal.copy(db, THREADS, (source,), (target,), stop=upto, now=seams.now_ms())
                    head = await journal.read_head(db, THREADS, (target,))
            except ConstraintError as error:
                raise AlreadyExistsError(f"thread {target!r} exists already", thread_id=target) from error
            if not copied or head is None:
                raise NotFoundError(f"no thread {source!r}", thread_id=source)
            span.set(rev=head.counter)
            return _thread_head(target, head)

    # -- both together --------------------------------------------------------------------------------------------

    async def save(
        self,
        key: Any,
        data: Mapping[str, Any],
        *,
        expected_version: int | None = None,
        thread: ThreadWrite | None = None,
    ) -> Saved:
        """Append to the journal and put the checkpoint in one step; data's "thread" becomes the pointer.

        Raises:
            ConflictError: Checkpoint or journal are not where they were expected; neither has changed.
        """
        if thread is None:
            put = await self.put_checkpoint(key, checks.string_map(data, "data"), expected_version=expected_version)
            return Saved(version=put.version, rev=None, provisional=(await self._db()).in_transaction)
        rules.check_expected("expected_version", expected_version)
        rules.check_thread_id(thread.id)
        rules.check_expected("expected_rev", thread.expected_rev)
        rows = rules.encode_entries(thread.entries)
        rev = None if thread.expected_rev is None else thread.expected_rev + len(rows)
        row = rules.encode_checkpoint(key, rules.with_pointer(data, thread.id, rev or 0))
        values = _checkpoint_values(row, expected_version) | {"metadata": rules.encode_metadata(thread.metadata)}
        check_only = not rows and bool(thread.expected_rev or not thread.metadata)
        request = _append(thread.id, rows, thread.expected_rev, values, check_only=check_only)
        sibling = statements.sibling(statements.guard_of(expected_version), rev is not None)
        with telemetry.operation("save", thread_id=thread.id, count=len(rows), bytes=len(row.data)) as span:
            db = await self._db()
            written = await self._save(db, request, sibling, key)
            span.set(rev=written.counter, version=written.sibling[0])
        return Saved(version=written.sibling[0], rev=written.counter, provisional=db.in_transaction)

    async def _save(self, db: Db, request: Append, sibling: Sibling, key: Any) -> Written:
        expected = request.values["expected_version"]
        for _ in range(_LOOKS):
            try:
                return await journal.append(db, THREADS, request, sibling)
            except Refused as refused:
                version = refused.lock[0] if refused.lock else None
                if expected is not None and expected != (version or 0):
                    raise rules.version_conflict(key, expected, version) from None
                conflict = _rev_conflict(request, refused, [StoredEntry(*row) for row in refused.found])
                if conflict is not None:
                    raise conflict from refused.__cause__
        raise await _unexplained(db, request)

    async def fetch(self, key: Any) -> tuple[Checkpoint, ThreadHead | None] | None:
        """Answer the checkpoint and the head of the journal that it points at, read at one moment."""
        key_hash = keys.key_hash(key)
        with telemetry.operation("fetch") as span:
            db = await self._db()
            row = await _one(db, statements.get_with_head(db.schema, db.dialect), {"key_hash": key_hash})
            checkpoint = None if row is None else _decoded(key, row)
            head = None if row is None or row[5] is None else _head_beside(row[5:])
            span.set(
                version=checkpoint.version if checkpoint is not None else None,
                rev=head.rev if head is not None else None,
            )
            return None if checkpoint is None else (checkpoint, head)

    async def read_thread(self, thread_id: str, head: ThreadHead) -> Thread | None:
        """Answer the journal as it was at that head, without reading the head again; None when it was trimmed since."""
        with telemetry.operation("read_thread", thread_id=thread_id) as span:
            rows: list[Any] = []
            if head.first_seq < head.rev:
                rows = await journal.read_rows(await self._db(), THREADS, (thread_id,), head.first_seq, head.rev)
            span.set(rev=head.rev, count=len(rows))
            if len(rows) != head.rev - head.first_seq:
                return None
            return _thread(thread_id, head, rows)

    async def delete_agent(self, key: Any, thread_id: str | None = None) -> None:
        """Remove the checkpoint, the journal it points at, and that journal, together."""
        key_hash = keys.key_hash(key)
        with telemetry.operation("delete_agent"):
            async with transaction(await self._db()) as db:
                row = await _one(db, statements.delete(db.schema, db.dialect), {"key_hash": key_hash}, write=True)
                for name in sorted({name for name in (thread_id, row[0] if row else None) if name}):
                    await journal.delete(db, THREADS, (name,))

    # -- lists ----------------------------------------------------------------------------------------------------

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
        filters = _filters(agent_type, partition)
        after_ms, after_hash = (
            (None, None) if after is None else rules.parse_cursor(after, agent_type=agent_type, partition=partition)
        )
        values = {"agent_type": agent_type, "partition": partition, "limit": min(limit, checks.MOST - 1) + 1}
        values |= {"after_ms": after_ms, "after_hash": after_hash}
        with telemetry.operation("list_checkpoints", agent_type=agent_type) as span:
            db = await self._db()
            rows = await run(db, statements.page(filters, after is not None, db.schema, db.dialect), values)
            span.set(count=min(len(rows), limit))
        return _page(rows, limit, agent_type, partition)

    async def count_checkpoints(self, *, agent_type: str | None = None, partition: str | None = None) -> int:
        """Count what `list_checkpoints` would list."""
        rules.check_filters(agent_type, partition)
        values = {"agent_type": agent_type, "partition": partition}
        with telemetry.operation("count_checkpoints", agent_type=agent_type) as span:
            db = await self._db()
            row = await _one(db, statements.count(_filters(agent_type, partition), db.schema, db.dialect), values)
            count = 0 if row is None else int(row[0])
            span.set(count=count)
            return count

    # -- repair ---------------------------------------------------------------------------------------------------

    async def repair_thread(self, thread_id: str) -> str | None:
        """Make the head say what the entries say, and answer what was done; None when nothing was wrong.

        Raises:
            CorruptRowError: The entries themselves have a gap.
        """
        rules.check_thread_id(thread_id)
        with telemetry.operation("repair_thread", thread_id=thread_id) as span:
            done = await journal.repair(
                await self._db(), THREADS, (thread_id,), now=seams.now_ms(), values={"metadata": "{}"}
            )
            span.set(repaired=done is not None)
            return done

    async def read_raw_checkpoint(self, key: Any) -> tuple[str, int] | None:
        """Answer a checkpoint's stored text and version without decoding it; None when there is none."""
        db = await self._db()
        row = await _one(db, statements.get(db.schema, db.dialect), {"key_hash": keys.key_hash(key)})
        return None if row is None else (row[1], row[2])


# -- rows and values ----------------------------------------------------------------------------------------------


def _checkpoint_values(row: EncodedCheckpoint, expected_version: int | None) -> dict[str, Any]:
    return {
        "key_hash": row.key_hash,
        "key": row.key,
        "agent_type": row.agent_type,
        "partition": row.partition,
        "agent_id": row.agent_id,
        "thread_id": row.thread_id,
        "thread_rev": row.thread_rev,
        "data": row.data,
        "now": seams.now_ms(),
        "expected_version": expected_version,
    }


def _checkpoint(key: Any, data: Any, version: int, created_ms: int, updated_ms: int) -> Checkpoint:
    created, updated = seams.to_datetime(created_ms), seams.to_datetime(updated_ms)
    return Checkpoint(key=key, data=data, version=version, created_at=created, updated_at=updated)


def _decoded(key: Any, row: Any) -> Checkpoint:
    stored_key, data, version, created_ms, updated_ms = row[:5]
    if not rules.same_json(stored_key, keys.encode_key(key)[1]):
        raise CorruptRowError(
            f"the checkpoint under the hash of {shown(key)} is that of another key: {stored_key}",
            reason="checkpoint_hash_collision",
            table="jido_checkpoints",
            key=key,
        )
    try:
        value = codec.loads(data)
    except CorruptRowError as error:
        facts = error.facts | {"table": "jido_checkpoints", "key": key}
        raise CorruptRowError(f"the checkpoint under {shown(key)} is malformed: {error}", **facts) from error
    return _checkpoint(key, value, version, created_ms, updated_ms)


def _append(
    thread_id: str,
    rows: list[EncodedEntry],
    expected: int | None,
    values: Mapping[str, Any],
    *,
    check_only: bool = False,
) -> Append:
    columns = list(zip(*rows, strict=True)) or [()] * len(EncodedEntry._fields)
    return Append(
        key=(thread_id,),
        columns=columns,
        now=seams.now_ms(),
        expected=expected,
        values=values,
        check_only=check_only,
    )


@final
class _AppendedEntries(Sequence[Entry]):
    """What an append has written, read from its texts when somebody looks at it: hardly anybody does."""

    __slots__ = ("_made", "_rev", "_rows")
    __hash__ = None  # type: ignore[assignment]  # as the entries' own

    def __init__(self, rows: list[EncodedEntry], rev: int) -> None:
        self._rows = rows
        self._rev = rev
        self._made: list[Entry] | None = None

    def _all(self) -> list[Entry]:
        if self._made is None:
            self._made = _numbered(self._rows, self._rev)
        return self._made

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._all())

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        return self._all()[index]

    def __eq__(self, other: object) -> bool:
        return self._all() == list(other) if isinstance(other, Sequence) else NotImplemented

    def __repr__(self) -> str:
        return repr(tuple(self._all()))


def _numbered(rows: list[EncodedEntry], rev: int) -> list[Entry]:
    first = rev - len(rows)
    return rules.decode_entries([(first + index, *row) for index, row in enumerate(rows)], "")


@contextmanager
def _repeatable(rows: list[EncodedEntry]) -> Iterator[None]:
    # Ids that were made here would be lost with the error: who repeats the append must bring the same ones.
    try:
        yield
    except StorageUnavailableError as error:
        error.facts["entries"] = _numbered(rows, len(rows))
        raise


def _rev_conflict(request: Append, refused: Refused, stored: list[StoredEntry]) -> ConflictError | None:
    thread_id = request.key[0]
    actual = None if refused.head is None else refused.head.counter
    if request.expected is not None and request.expected != (actual or 0):
        return rules.rev_conflict(thread_id, request.expected, actual)
    return rules.duplicate_ids(thread_id, (entry.id for entry in stored)) if stored else None


async def _unexplained(db: Db, request: Append) -> JidoError:
    # Neither head nor ids refuse it, so the numbers must be taken: the head is missing, or is behind its rows.
    thread_id = request.key[0]
    orphaned = await journal.read_head(db, THREADS, request.key) is None
    return CorruptRowError(
        f"thread {thread_id!r} has entries that its head does not count; `repair` rebuilds the head",
        reason="orphaned_thread_entries" if orphaned else "invalid_thread_revision",
        table="jido_thread_entries",
        thread_id=thread_id,
    )


def _thread_head(thread_id: str, head: Head) -> ThreadHead:
    return ThreadHead(
        rev=head.counter,
        first_seq=head.oldest,
        metadata=rules.decode_metadata(head.values[0], thread_id),
        created_at=seams.to_datetime(head.created_at),
        updated_at=seams.to_datetime(head.updated_at),
    )


def _head_beside(columns: Sequence[Any]) -> ThreadHead:
    """Make the head that was read with the checkpoint that points at it."""
    counter, oldest, metadata, created_at, updated_at, thread_id = columns
    head = Head(counter=counter, oldest=oldest, values=(metadata,), created_at=created_at, updated_at=updated_at)
    return _thread_head(thread_id, head)


def _thread(thread_id: str, head: ThreadHead, rows: list[Any]) -> Thread:
    created_ms, updated_ms = seams.to_ms(head.created_at), seams.to_ms(head.updated_at)
    entries = rules.decode_entries(rows, thread_id)
    return Thread._loaded(thread_id, head.rev, head.first_seq, head.metadata, created_ms, updated_ms, entries)


def _filters(agent_type: str | None, partition: str | None) -> frozenset[str]:
    wished = {"agent_type": agent_type is not None, "partition": bool(partition), "bare": partition == ""}
    return frozenset(name for name, is_wished in wished.items() if is_wished)


def _page(rows: list[Any], limit: int, agent_type: str | None, partition: str | None) -> Page:
    items = tuple(_info(row) for row in rows[:limit])
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(items=items, next=None if last is None else _cursor(last, agent_type, partition))


def _cursor(row: Any, agent_type: str | None, partition: str | None) -> str:
    return rules.cursor_of(row[7], row[9], agent_type=agent_type, partition=partition)


def _info(row: Any) -> CheckpointInfo:
    key, agent_type, partition, agent_id, thread_id, thread_rev, version, created_ms, updated_ms, key_hash = row
    return CheckpointInfo(
        key=keys.decode_key(key, key_hash),
        agent_type=agent_type,
        partition=partition,
        agent_id=keys.shown_id(agent_id),
        thread_id=thread_id,
        thread_rev=thread_rev,
        version=version,
        created_at=seams.to_datetime(created_ms),
        updated_at=seams.to_datetime(updated_ms),
    )


async def _one(db: Db, statement: Statement, values: Mapping[str, Any], *, write: bool = False) -> Any:
    rows = await run(db, statement, values, write=write)
    return rows[0] if rows else None
