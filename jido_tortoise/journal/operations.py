"""What can be done with a journal, the same on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from jido_tortoise.database import Db, transaction
from jido_tortoise.driver_errors import ConstraintError
from jido_tortoise.errors import CorruptRowError
from jido_tortoise.journal import postgres, sqlite
from jido_tortoise.journal.table import Append, Follower, Head, JournalTable, Refused, Sibling, Written

Key = tuple[Any, ...]
Row = tuple[Any, ...]

#: How often a read is taken again when a trim or delete came between its two statements.
_READS = 4


def _backend(db: Db) -> Any:
    return sqlite if db.dialect == "sqlite" else postgres


async def append(
    db: Db,
    table: JournalTable,
    request: Append,
    sibling: Sibling | None = None,
    followers: tuple[Follower, ...] = (),
) -> Written:
    """Append all rows or none, numbered on from the counter; sibling and followers are written with them or not at all.

    Raises:
        Refused: The head is not where it was expected, the sibling's guard failed, or a row's id is stored already.
        ConstraintError: A row's id is stored already, on a connection that is `bare`, which cannot look at it any more.
        StorageUnavailableError: The database was not there.
    """
    try:
        written: Written | None = await _backend(db).append(db, table, request, sibling, followers)
    except ConstraintError as error:
        if db.bare:
            raise
        raise await _refusal(db, table, request, sibling) from error
    if written is None:
        raise await _refusal(db, table, request, sibling)
    return written


async def _refusal(db: Db, table: JournalTable, request: Append, sibling: Sibling | None) -> Refused:
    # A second look: a sub-select in the same statement would see the snapshot from before the row lock was waited for.
    backend = _backend(db)
    looked = await backend.look(db, table, request)
    width = len(table.head_columns)
    head = _head(looked[0][:width])
    found = [row[width:] for row in looked if row[width] is not None]
    lock = None if sibling is None else await backend.read_lock(db, table, request, sibling)
    return Refused(head, found, lock)


async def read_head(db: Db, table: JournalTable, key: Key, *, lock: bool = False) -> Head | None:
    """Read the head alone; None when there is none. With `lock`, appends wait for the end of the transaction."""
    return _head(await _backend(db).read_head(db, table, key, lock=lock))


def _head(row: Row | None) -> Head | None:
    if row is None or row[0] is None:
        return None
    counter, oldest, *values, created_at, updated_at = row
    return Head(counter=counter, oldest=oldest, values=tuple(values), created_at=created_at, updated_at=updated_at)


async def read_rows(db: Db, table: JournalTable, key: Key, start: int, stop: int) -> list[Row]:
    """Read the rows with a number in [start, stop): number, then the row's columns."""
    rows: list[Row] = await _backend(db).read_rows(db, table, key, start, stop)
    return rows


async def load(
    db: Db, table: JournalTable, key: Key, *, start: int = 0, limit: int | None = None, tail: int | None = None
) -> tuple[Head, list[Row]] | None:
    """Read a head and the wished range of its rows, as they stood at one moment; None when there is no head.

    Args:
        db: The connection.
        table: The journal's tables.
        key: Which journal.
        start: The first number wished.
        limit: At most so many rows from there.
        tail: Instead: the last so many rows.

    Raises:
        CorruptRowError: Rows without a head, or rows missing between the head's numbers.
    """
    wrong = ""
    for _ in range(_READS):
        head = await read_head(db, table, key)
        if head is None:
            await _refuse_orphans(db, table, key)
            return None
        first, stop = _range(table, head, start, limit, tail)
        rows = await read_rows(db, table, key, first, stop) if first < stop else []
        if len(rows) == max(0, stop - first):
            return head, rows
        wrong = f"the head says {stop - first} rows from {first}, but {len(rows)} are there"
    raise CorruptRowError(
        f"{table.rows} {key}: {wrong}",
        reason="invalid_thread_revision",
        table=table.rows,
        key=key,
    )


def _range(table: JournalTable, head: Head, start: int, limit: int | None, tail: int | None) -> tuple[int, int]:
    stop = head.counter + table.first
    if tail is not None:
        return max(head.oldest, stop - tail), stop
    first = max(head.oldest, start)
    return first, stop if limit is None else min(stop, first + limit)


async def _refuse_orphans(db: Db, table: JournalTable, key: Key) -> None:
    if await _backend(db).has_rows(db, table, key) and await read_head(db, table, key) is None:
        raise CorruptRowError(
            f"{table.rows} {key}: rows without a head in {table.head}; `repair` rebuilds it",
            reason="orphaned_thread_entries",
            table=table.rows,
            key=key,
        )


async def walk(
    db: Db, table: JournalTable, key: Key, *, start: int = 0, stop: int | None = None, page: int = 500
) -> AsyncIterator[Row]:
    """Walk the rows that are there when it begins, a page at a time; what is trimmed meanwhile is passed over."""
    head = await read_head(db, table, key)
    if head is None:
        return
    end = head.counter + table.first if stop is None else min(stop, head.counter + table.first)
    first = max(start, head.oldest)
    while first < end:
        for row in await read_rows(db, table, key, first, min(first + page, end)):
            yield row
        first += page


async def trim(db: Db, table: JournalTable, key: Key, *, stop: int) -> int:
    """Delete the rows with a number below `stop` and answer how many; counter and numbers stay as they are."""
    dropped: int = await _backend(db).trim(db, table, key, stop)
    return dropped


async def copy(db: Db, table: JournalTable, source: Key, target: Key, *, stop: int | None, now: Any) -> bool:
    """Copy the rows below `stop` into a new journal, with their numbers; False when there is no source.

    Raises:
        ConstraintError: The target exists.
    """
    copied: bool = await _backend(db).copy(db, table, source, target, 2**62 if stop is None else stop, now)
    return copied


async def delete(db: Db, table: JournalTable, key: Key) -> None:
    """Delete the head, then its rows, together."""
    await _backend(db).delete(db, table, key)


async def repair(db: Db, table: JournalTable, key: Key, *, now: Any, values: Mapping[str, Any]) -> str | None:
    """Make the head say what the rows say, and answer what was done in one sentence; None when nothing was wrong.

    Args:
        db: The connection.
        table: The journal's tables.
        key: Which journal.
        now: What the time columns of a new head get.
        values: Values of the kept and touched columns, for a head that has to be made.

    Raises:
        CorruptRowError: The rows themselves have a gap.
    """
    backend = _backend(db)
    async with transaction(db) as inner:
        # Else an append between the count of the rows and the new head would be counted by neither.
        head = await read_head(inner, table, key, lock=True)
        lowest, highest, count = await backend.span_of_rows(inner, table, key)
        wanted = _head_of_rows(table, key, head, lowest, highest, count)
        if wanted is None or (head is not None and wanted == (head.counter, head.oldest)):
            return None
        counter, oldest = wanted
        await backend.set_head(inner, table, key, {"n": counter, "start": oldest, "now": now, **values})
    before = "was missing" if head is None else f"said {head.counter} rows ever, the oldest {head.oldest}"
    return f"{table.head} {key}: the head {before}; its rows say {counter}, the oldest {oldest}"


def _head_of_rows(
    table: JournalTable, key: Key, head: Head | None, lowest: int | None, highest: int | None, count: int
) -> tuple[int, int] | None:
    if lowest is None or highest is None:
        return None if head is None else (head.counter, head.counter + table.first)
    if highest - lowest + 1 != count:
        raise CorruptRowError(
            f"{table.rows} {key}: {count} rows between the numbers {lowest} and {highest};"
            " what stood in the gap is gone",
            reason="invalid_thread_entry",
            table=table.rows,
            key=key,
        )
    return highest - table.first + 1, lowest
