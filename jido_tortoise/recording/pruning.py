"""Events that are deleted to keep sessions small: which go first, batch by batch, and how they are counted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from jido_tortoise import codec, journal, times
from jido_tortoise.database import Db, transaction
from jido_tortoise.recording import care_statements, rows, saving
from jido_tortoise.recording.archiving import archive_events
from jido_tortoise.recording.care_statements import Which
from jido_tortoise.recording.entities import Session
from jido_tortoise.recording.reading import all_of
from jido_tortoise.recording.retention import KEPT_EVENT_TYPES, RetentionPolicy
from jido_tortoise.recording.rows import Row
from jido_tortoise.recording.statements import EVENT_COLUMNS, EVENTS, SESSION

#: Rows that are looked for at a time where nothing is deleted.
PAGE = 500
_EVERYTHING: tuple[tuple[Which, list[str]], ...] = (("others", []),)
#: Before all times.
EARLIEST = times.moment_from(float("-inf"))


def passes(policy: RetentionPolicy) -> tuple[tuple[Which, list[str]], ...]:
    """Answer what is pruned first and what then: types, or all types but these."""
    first = [*policy.prune_event_types_first]
    return ("these", first), ("others", sorted(KEPT_EVENT_TYPES.union(first)))


def exempt(policy: RetentionPolicy) -> Row:
    """Answer what the SQL needs to know of who is left alone."""
    return {"exempt_statuses": [*policy.exempt_statuses], "exempt_tags": [*policy.exempt_tags]}


async def locked_session(db: Db, session_id: str) -> Session | None:
    """Lock a session until the transaction ends; answer it without the host's classes, None when it is not there."""
    row = await saving.lock_session(db, session_id)
    return None if row is None else rows.decode(Session, SESSION.columns, row, SESSION.table, codec.loads_raw)


async def events_by_type(db: Db, session_id: str) -> dict[str, int]:
    """Count a session's events by type."""
    statement = care_statements.events_by_type(db.schema, db.dialect)
    return dict(await all_of(db, statement, {"session_id": session_id}))


def prunable(counts: dict[str, int], policy: RetentionPolicy, wished: int) -> int:
    """Answer how many of so many events would be pruned: fewer when what is left is kept by its type."""
    kept = KEPT_EVENT_TYPES.difference(policy.prune_event_types_first)
    return min(wished, sum(count for kind, count in counts.items() if kind not in kept))


async def oldest_of_session(
    db: Db, session_id: str, policy: RetentionPolicy, most: int, *, by_type: bool = True
) -> AsyncIterator[list[Row]]:
    """Answer the events of a session that go first, at most so many in all, batch by batch.

    Args:
        db: The connection.
        session_id: The session.
        policy: Which types go first, and how many events are a batch.
        most: At most so many.
        by_type: Whether the type decides; else the oldest go first, whatever they are.
    """
    for which, types in passes(policy) if by_type else _EVERYTHING:
        after, full = 0, True
        while full and most > 0:
            batch = min(most, policy.batch_size)
            given = {"session_id": session_id, "after": after, "types": types, "batch": batch}
            found = await all_of(db, care_statements.oldest_of_session(which, db.schema, db.dialect), given)
            full = len(found) == batch
            if found:
                events = _named(found)
                after, most = events[-1]["sequence_number"], most - len(events)
                yield events


async def oldest_of_all(db: Db, policy: RetentionPolicy, most: int) -> AsyncIterator[list[Row]]:
    """Answer the oldest events of all sessions that are not left alone, in batches, each of one session."""
    for which, types in passes(policy):
        place, full = {"place_id": "", "place": times.stored_time(EARLIEST, db.dialect)}, True
        while full and most > 0:
            batch = min(most, policy.batch_size)
            given = {**exempt(policy), "types": types, "batch": batch, **place}
            found = _named(await all_of(db, care_statements.oldest_of_all(which, db.schema, db.dialect), given))
            full, most = len(found) == batch, most - len(found)
            for events in _by_session(found):
                yield events
            if found:
                place = {"place": found[-1]["timestamp"], "place_id": found[-1]["id"]}


def _named(found: Sequence[Sequence[Any]]) -> list[Row]:
    names = [column.name for column in EVENT_COLUMNS]
    return [dict(zip(names, row, strict=True)) for row in found]


def _by_session(found: Sequence[Row]) -> list[list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in found:
        groups.setdefault(row["session_id"], []).append(row)
    return [sorted(group, key=lambda row: int(row["sequence_number"])) for group in groups.values()]


async def prune(
    db: Db,
    policy: RetentionPolicy,
    events: Sequence[Row],
    *,
    keep: int | None = None,
    going: Callable[[Session], bool] | None = None,
) -> int:
    """Delete events of one session that is not left alone, archived before where that is asked for.

    Args:
        db: The connection.
        policy: Who is left alone, and where to archive.
        events: In the order of their numbers.
        keep: How many events of the session are to be left at the least, since another pass may prune it too.
        going: When the session is to go as a whole, and was archived as one: whether it still is to, looked at under
            its lock.

    Returns:
        How many were deleted: none when the session has come to be left alone.
    """
    session_id = events[0]["session_id"]
    if policy.archive is not None and going is None:
        await archive_events(policy.archive, session_id, events)
    try:
        async with transaction(db) as inner:
            session = await locked_session(inner, session_id)
            if session is None or policy.exempts(session) or (going is not None and not going(session)):
                return 0
            few = events if keep is None else events[: await _too_many(inner, session_id, keep)]
            return await _delete(inner, session_id, {row["sequence_number"]: row["id"] for row in few})
    except _OthersError:
        return 0


class _OthersError(Exception):
    """Under the numbers were other events: the session was deleted and made anew since they were read."""


async def _too_many(db: Db, session_id: str, keep: int) -> int:
    head = await journal.read_head(db, EVENTS, (session_id,))
    if head is None:
        return 0
    pruned, *_ = head.values
    return max(0, head.counter - int(pruned) - keep)


async def _delete(db: Db, session_id: str, events: dict[int, str]) -> int:
    given = {"session_id": session_id, "numbers": [*events], "now": times.stored_time(times.now(), db.dialect)}
    gone = await all_of(db, care_statements.delete_events(db.schema, db.dialect), given, write=True)
    if not {event_id for (event_id,) in gone}.issubset(events.values()):
        raise _OthersError
    counted = care_statements.count_pruned(db.schema, db.dialect)
    await all_of(db, counted, {**given, "count": len(gone)}, write=True)
    return len(gone)
