"""Writing sessions and runs: each over the revision that it was read at, and over no other."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from jido_tortoise import times
from jido_tortoise.database import Db, all_rows, in_thread, transaction
from jido_tortoise.driver_errors import ConstraintError
from jido_tortoise.errors import AlreadyExistsError, ConflictError, NotFoundError
from jido_tortoise.journal.statements import Statement
from jido_tortoise.recording import reading, rows, statements
from jido_tortoise.recording.entities import Run, Session
from jido_tortoise.recording.rows import Row
from jido_tortoise.recording.statements import RUN, SESSION, Kind

T = TypeVar("T")
V = TypeVar("V", Session, Run)

#: How often a write is tried again when others were at work between its statements.
_LOOKS = 4


async def save(db: Db, kind: Kind, value: V, once: bool = False) -> V:
    """Store a session or run over the revision that it was read at, and answer it with the one that it has now."""
    try:
        return await _saved(db, kind, value, once)
    except (AlreadyExistsError, NotFoundError) as error:
        # Whatever else is wrong with a run, that its session is not there is said first, as in memory.
        if kind is RUN and error.reason != "session_not_found":
            get, session_id = statements.get(SESSION, db.schema, db.dialect), getattr(value, "session_id", None)
            if not await reading.all_of(db, get, {"id": session_id}):
                raise rows.missing("session", session_id) from error
        raise


async def _saved(db: Db, kind: Kind, value: V, once: bool) -> V:
    row = rows.encode_value(kind, value, db.dialect)
    for _ in range(_LOOKS):
        revision = await _write(db, kind, row)
        if revision is None:
            found = await reading.all_of(db, statements.get(kind, db.schema, db.dialect), {"id": value.id})
            there = rows.named(kind, found[0]) if found else {}
            stored = rows.settled(kind, there, db.dialect) if found else None
            if rows.may_write(kind, row, stored, once=once) or stored is None:
                # It was deleted or changed back between the two statements; or the host has written the time of its
                # making, which never changes, otherwise than we do.
                row |= {name: there[name] for name in kind.fixed if found}
                continue
            revision = int(stored["revision"])
        return value if revision == value.revision else replace(value, revision=revision)
    raise ConflictError(f"{kind.name} {value.id!r} is changed by others all the time", reason=f"stale_{kind.name}")


async def _write(db: Db, kind: Kind, row: Row) -> int | None:
    """Write a row; None when it was not to be, for a reason that only a second look tells."""
    fresh = not row["revision"]
    values = row | {"expected": row["revision"], "now": times.stored_time(times.now(), db.dialect)}
    statement = statements.save(kind, fresh, db.schema, db.dialect)
    try:
        if kind is SESSION and fresh and db.dialect == "sqlite":
            return await _insert_session(db, statement, values)
        written = await reading.all_of(db, statement, values, write=True)
    except ConstraintError as error:  # there is no constraint but that on the session
        raise rows.missing("session", row.get("session_id")) from error
    return int(written[0][0]) if written else None


async def _insert_session(db: Db, statement: Statement, values: Row) -> int | None:
    given = reading.given(db, values)

    def job(connection: sqlite3.Connection) -> int | None:
        written = all_rows(connection, statement.sql, given)
        if written:
            connection.execute(statements.SQLITE_COUNTER, given)
        return int(written[0][0]) if written else None

    return await in_thread(db, job, write=True)


async def save_run(db: Db, run: Run, concurrent: bool, once: bool) -> Run:
    """Store a run; one that is to run alone, under the lock of its session."""
    if run.status != "running" or concurrent:
        return await save(db, RUN, run, once)
    async with transaction(db) as inner:
        if await lock_session(inner, run.session_id) is None:
            raise rows.missing("session", run.session_id)
        return await save_locked_run(replace(inner, bare=True), run, concurrent, once)


async def together(db: Db, write: Callable[[Db], Awaitable[T]]) -> T:
    """Write several things in one transaction, or none of them.

    A savepoint around an append is two round trips, and only needed to look which of its events are there already,
    which is rare. So there is none at first, and when the append fails, all is done once more.
    """
    if not db.in_transaction:
        with suppress(ConstraintError):
            async with transaction(db) as inner:
                return await write(replace(inner, bare=True))
    async with transaction(db) as inner:
        return await write(inner)


async def save_locked_run(db: Db, run: Run, concurrent: bool, once: bool) -> Run:
    """Store a run under the lock of its session: without it two that begin at once would each see that nobody runs."""
    if run.status == "running" and not concurrent:
        rows.may_run(run, [row["id"] for row in await reading.running(db, run.session_id)])
    return await save(db, RUN, run, once)


async def save_locked_session(db: Db, session: Session, stored: Row | None, once: bool) -> Session:
    """Store a session that was locked and read; most flushes change nothing in it, which spares two statements."""
    row = rows.encode_value(SESSION, session, db.dialect)
    if stored is None or rows.may_write(SESSION, row, stored, once=once):
        return await save(db, SESSION, session, once)
    revision = int(stored["revision"])
    return session if revision == session.revision else replace(session, revision=revision)


async def lock_session(db: Db, session_id: str) -> Row | None:
    """Lock a session, always before its runs and its counter, as who deletes it does; None when it is not there."""
    found = await reading.all_of(db, statements.lock_session(db.schema, db.dialect), {"id": session_id})
    return rows.settled(SESSION, rows.named(SESSION, found[0]), db.dialect) if found else None
