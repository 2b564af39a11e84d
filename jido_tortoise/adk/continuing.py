"""Importing a session that is here already: what is new is fetched, unless the session has gone its own way here.

The two are told apart by the ids of their events, page by page: whatever is here must be there with the same content,
and what is there alone is appended after it. Only at the end it is known whether all that is here was met, so
everything happens in one transaction, which is rolled back when it was not.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from jido_tortoise import codec, journal
from jido_tortoise.adk import care_statements
from jido_tortoise.adk.keys import key_values
from jido_tortoise.adk.locked import Head, locked
from jido_tortoise.adk.rows import EventRow, Key, same_event
from jido_tortoise.adk.statements import SESSIONS
from jido_tortoise.database import Db, transaction
from jido_tortoise.journal import Append
from jido_tortoise.journal.run import run
from jido_tortoise.times import read_time


@dataclass(frozen=True, slots=True)
class Wanted:
    """A session as the source has it; times as a row holds them."""

    key: Key
    created: Any
    updated: Any
    #: JSON texts.
    state: str
    extra: str


class ApartError(Exception):
    """The session has gone its own way here; nothing was written.

    Attributes:
        reason: What shows it.
        missing: How many events of the source are not here.
    """

    def __init__(self, reason: str, missing: int) -> None:
        super().__init__(reason)
        self.reason, self.missing = reason, missing


@dataclass(slots=True)
class _Met:
    """What was met of a session's events here, and what was new."""

    found: int = 0
    new: int = 0
    reason: str | None = None


async def fetch_new(db: Db, wanted: Wanted, pages: AsyncIterator[list[EventRow]]) -> tuple[int, bool]:
    """Append the events that a session lacks, and bring its state up to the source's.

    Args:
        db: Where to.
        wanted: The session of the source.
        pages: All its events, in order; they are walked to the end also when nothing is written.

    Returns:
        How many events were appended, and whether anything was written.

    Raises:
        ApartError: It is not, or no longer, the session that was imported.
        CorruptRowError: Its row is malformed.
    """
    async with transaction(db) as inner:
        head = await locked(inner, wanted.key)
        met = _Met(reason=_changed(head, wanted))
        async for some in pages:
            await _meet(inner, wanted, some, met)
        if met.reason is None and met.found != head.row.rev:
            met.reason = f"{head.row.rev - met.found} of its events are not in the source"
        if met.reason is not None:
            raise ApartError(met.reason, met.new)
        is_behind = met.new > 0 or read_time(head.row.updated_at) < read_time(wanted.updated)
        if is_behind:
            await _bring_up(inner, wanted)
    return met.new, is_behind


def _changed(head: Head, wanted: Wanted) -> str | None:
    if read_time(head.row.inserted_at) != read_time(wanted.created):
        return "it was made at another time than the source's"
    if head.row.first_seq or head.holes.ranges:
        return "events of it were deleted here"
    return None


async def _meet(db: Db, wanted: Wanted, some: list[EventRow], met: _Met) -> None:
    ids = [row.id for row in some]
    values = key_values(wanted.key) | {"ids": json.dumps(ids) if db.dialect == "sqlite" else ids}
    found = await run(db, care_statements.some_events(db.schema, db.dialect), values)
    stored = {row[1]: row for row in found}
    new = [row for row in some if row.id not in stored]
    met.found += len(stored)
    met.new += len(new)
    for row in some:
        if row.id in stored and not same_event(row, stored[row.id]):
            met.reason = met.reason or f"its event {row.id!r} is another one than the source's"
    if new and met.reason is None:
        await add_rows(db, wanted, new)


async def add_rows(db: Db, wanted: Wanted, some: list[EventRow]) -> None:
    """Append events; the state that they lead to is set apart from them."""
    values = {"state": None, "extra": "{}"}
    columns = [*zip(*some, strict=True)]
    request = Append(key=wanted.key, columns=columns, now=wanted.updated, values=values, must_exist=True)
    await journal.append(db, SESSIONS, request)


async def _bring_up(db: Db, wanted: Wanted) -> None:
    values = key_values(wanted.key) | {"state": wanted.state, "extra": wanted.extra}
    await run(db, care_statements.set_session(db.schema, db.dialect), values, write=True)
    await set_updated(db, wanted)


async def set_updated(db: Db, wanted: Wanted) -> None:
    """Set when a session was updated, as exactly as the source says it."""
    moved = key_values(wanted.key) | {"after": wanted.updated, "extra": wanted.extra}
    await run(db, care_statements.set_updated(db.schema, db.dialect), moved, write=True)


def exactly(updated: Any) -> str:
    """Answer a session's `extra`: seconds, where the source has them, are finer than the column."""
    return codec.dump_map({"last_update_time": updated} if isinstance(updated, float) else {})
