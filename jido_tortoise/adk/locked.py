"""A session's row, locked, for what changes it and its events in one transaction."""

from __future__ import annotations

from typing import Any, NamedTuple

from jido_tortoise.adk import care_statements, rows
from jido_tortoise.adk.holes import Holes, extra_of, holes_of
from jido_tortoise.adk.keys import key_values, no_session
from jido_tortoise.adk.rows import Key
from jido_tortoise.database import Db
from jido_tortoise.journal.run import run


class LockedRow(NamedTuple):
    """What stands in it; in the order of `care_statements.lock_session`."""

    rev: int
    first_seq: int
    #: JSON texts.
    extra: str
    state: str
    inserted_at: Any
    updated_at: Any
    #: Of this session alone, whatever others its names have had or get.
    pk_id: int


class Head(NamedTuple):
    """What is read of it."""

    row: LockedRow
    extra: dict[str, Any]
    holes: Holes


async def locked(db: Db, key: Key) -> Head:
    """Lock a session, and read its row.

    Raises:
        NotFoundError: There is none.
        CorruptRowError: It is malformed.
    """
    row = await locked_row(db, key)
    try:
        return Head(row, extra_of(row.extra), holes_of(row.extra, row.rev))
    except ValueError as error:
        raise rows.corrupt("adk_sessions", key, str(error)) from error


async def locked_row(db: Db, key: Key) -> LockedRow:
    """Lock a session, and answer its row as it stands there.

    Raises:
        NotFoundError: There is none.
        CorruptRowError: Its numbers are malformed.
    """
    found = await run(db, care_statements.lock_session(db.schema, db.dialect), key_values(key))
    if not found:
        raise no_session(key)
    row = LockedRow(*found[0])
    rows.check_numbers(row.rev, row.first_seq, key)
    return row
