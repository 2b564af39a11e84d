"""One upgrade at a time, whichever process runs it."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tortoise.context import require_context

from jido_tortoise import seams
from jido_tortoise.database import Db, to_the_end
from jido_tortoise.driver_errors import translated
from jido_tortoise.errors import ConfigError
from jido_tortoise.schema.execute import run

#: PostgreSQL's advisory locks: one that an upgrade holds from its first look to its end, ...
UPGRADE_LOCK = 0x6A69646F01
#: ... and one that every step takes, also when plain Aerich runs it. Two, since they are held in two sessions.
STEP_LOCK = 0x6A69646F02

#: Seconds between two looks at a lock that somebody else holds.
_PAUSE = 0.1


@asynccontextmanager
async def one_at_a_time(db: Db, waiting: Callable[[], object]) -> AsyncIterator[None]:
    """Keep other upgrades of this database out for the block.

    Args:
        db: A connection to it; the lock is held on another one.
        waiting: Called once when somebody else has the lock.
    """
    hold = _on_postgres if db.dialect == "postgres" else _beside_file
    with translated():
        async with hold(db, waiting):
            yield


async def take_step_lock(db: Db) -> None:
    """Wait, to the end of the transaction, for steps that plain Aerich runs; SQLite's write lock does it anyway."""
    if db.dialect == "postgres":
        await run(db, "SELECT pg_advisory_xact_lock($1)", [STEP_LOCK])


@asynccontextmanager
async def _on_postgres(db: Db, waiting: Callable[[], object]) -> AsyncIterator[None]:
    # A client of its own: the pool may be as small as one connection, and the steps need that.
    client = require_context().connections._create_connection(db.client.connection_name)
    client.pool_minsize = client.pool_maxsize = 1  # type: ignore[attr-defined]
    done = False
    try:
        async with client.acquire_connection() as raw:
            # Asked for again and again: a statement that waits holds a snapshot, and some DDL waits for those.
            await _until(lambda: raw.fetchval("SELECT pg_try_advisory_lock($1)", UPGRADE_LOCK), waiting)
            yield  # closing the connection gives the lock back
            done = True
    except Exception:
        if not done:  # else it is the connection that could not be reset, and asyncpg has closed it
            raise
    finally:
        await to_the_end(client.close())


@asynccontextmanager
async def _beside_file(db: Db, waiting: Callable[[], object]) -> AsyncIterator[None]:
    path = lock_file(db.client.filename)
    if path is None:
        yield  # a database in memory has no other process
        return
    handle = _opened(path)
    try:
        await _until(lambda: _try_file(handle), waiting)
        yield
    finally:
        os.close(handle)  # gives the lock back; the file stays, since removing it would let two processes in


def _opened(path: str) -> int:
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise ConfigError(f"there is no folder {folder} for the SQLite file: make it first", reason="bad_url")
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError as error:
        raise ConfigError(f"no right to write in {folder}, where an upgrade locks {path}", reason="bad_url") from error


def lock_file(filename: str) -> str | None:
    """Name the lock file of a SQLite database; None for one in memory."""
    if filename in ("", ":memory:") or "mode=memory" in filename:
        return None
    return f"{filename.removeprefix('file:').partition('?')[0]}.jido-upgrade.lock"


async def _try_file(handle: int) -> bool:
    try:
        _lock_file(handle)
    except (BlockingIOError, PermissionError):  # the second one is Windows'
        return False
    return True


if sys.platform == "win32":

    def _lock_file(handle: int) -> None:
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:

    def _lock_file(handle: int) -> None:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def _until(attempt: Callable[[], Any], waiting: Callable[[], object]) -> None:
    if await attempt():
        return
    waiting()
    while not await attempt():
        await seams.sleep(_PAUSE)
