"""The seam of the faults: every statement that goes to SQLite or PostgreSQL passes a hook while a block runs.

It stands beneath Tortoise, so it also sees the connections that an operation opens for itself. aiosqlite gives its raw
connection by `Connection._conn`, and asyncpg's pool looks its methods up on `Connection` at each call: both are looked
after by tests/toolkit/test_faults.py.
"""

from __future__ import annotations

import importlib.util
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import aiosqlite

_ASYNCPG_METHODS = ("execute", "executemany", "fetch", "fetchmany", "fetchrow", "fetchval")


class Hook(Protocol):
    """What is asked to run each statement."""

    def on_sqlite(self, raw: sqlite3.Connection, sql: str, run: Callable[[], Any]) -> Any:
        """Run a statement, in the connection's thread."""
        ...

    async def on_postgres(self, raw: Any, sql: str, run: Callable[[], Awaitable[Any]]) -> Any:
        """Run a statement, in whichever task sends it."""
        ...


@contextmanager
def watching(hook: Hook) -> Iterator[None]:
    """Let every statement of this process pass the hook while the block runs."""
    with ExitStack() as stack:
        stack.enter_context(_watched_sqlite(hook))
        if importlib.util.find_spec("asyncpg") is not None:
            stack.enter_context(_watched_asyncpg(hook))
        yield


# -- SQLite -------------------------------------------------------------------------------------------------------


@contextmanager
def _watched_sqlite(hook: Hook) -> Iterator[None]:
    before: Any = aiosqlite.Connection.__dict__["_conn"]
    vars_of: Any = aiosqlite.Connection
    vars_of._conn = property(lambda connection: _Watched(before.fget(connection), hook))
    try:
        yield
    finally:
        vars_of._conn = before


class _Watched:
    """A raw connection, but for what runs statements."""

    __slots__ = ("_hook", "_raw")
    _hook: Hook
    _raw: sqlite3.Connection

    def __init__(self, raw: sqlite3.Connection, hook: Hook) -> None:
        object.__setattr__(self, "_raw", raw)
        object.__setattr__(self, "_hook", hook)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._raw, name, value)

    def execute(self, sql: str, *args: Any) -> Any:
        return self._hook.on_sqlite(self._raw, sql, lambda: self._raw.execute(sql, *args))

    def executemany(self, sql: str, *args: Any) -> Any:
        return self._hook.on_sqlite(self._raw, sql, lambda: self._raw.executemany(sql, *args))

    def executescript(self, sql: str) -> Any:
        return self._hook.on_sqlite(self._raw, sql, lambda: self._raw.executescript(sql))

    def cursor(self, *args: Any) -> Any:
        return _WatchedCursor(self._raw.cursor(*args), self._raw, self._hook)

    def commit(self) -> Any:
        # Without a transaction it sends nothing.
        run = self._raw.commit
        return self._hook.on_sqlite(self._raw, "COMMIT", run) if self._raw.in_transaction else run()

    def rollback(self) -> Any:
        run = self._raw.rollback
        return self._hook.on_sqlite(self._raw, "ROLLBACK", run) if self._raw.in_transaction else run()


class _WatchedCursor:
    """A raw cursor, but for what runs statements."""

    __slots__ = ("_cursor", "_hook", "_raw")
    _cursor: sqlite3.Cursor
    _hook: Hook
    _raw: sqlite3.Connection

    def __init__(self, cursor: sqlite3.Cursor, raw: sqlite3.Connection, hook: Hook) -> None:
        for name, value in (("_cursor", cursor), ("_raw", raw), ("_hook", hook)):
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._cursor, name, value)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor)

    def execute(self, sql: str, *args: Any) -> Any:
        return self._run(sql, lambda: self._cursor.execute(sql, *args))

    def executemany(self, sql: str, *args: Any) -> Any:
        return self._run(sql, lambda: self._cursor.executemany(sql, *args))

    def executescript(self, sql: str) -> Any:
        return self._run(sql, lambda: self._cursor.executescript(sql))

    def _run(self, sql: str, run: Callable[[], Any]) -> Any:
        self._hook.on_sqlite(self._raw, sql, run)
        return self


# -- PostgreSQL ---------------------------------------------------------------------------------------------------


@contextmanager
def _watched_asyncpg(hook: Hook) -> Iterator[None]:
    from asyncpg.connection import Connection

    before = {name: getattr(Connection, name) for name in _ASYNCPG_METHODS}
    for name, method in before.items():
        setattr(Connection, name, _watched_method(method, hook))
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(Connection, name, method)


def _watched_method(method: Callable[..., Awaitable[Any]], hook: Hook) -> Callable[..., Awaitable[Any]]:
    async def watched(self: Any, query: str, *args: Any, **options: Any) -> Any:
        return await hook.on_postgres(self, query, lambda: method(self, query, *args, **options))

    return watched
