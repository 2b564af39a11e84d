"""What a driver's error means: the one function that turns it into ours.

Tortoise translates some errors and leaves others raw (deadlocks, serialization failures, lost connections, everything
that runs in the SQLite thread), so both kinds are looked through to the driver's own.
"""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from tortoise.exceptions import BaseORMException, DBConnectionError

from jido_tortoise.errors import (
    ConfigError,
    ConnectionsClosedError,
    JidoError,
    SchemaError,
    StorageBusyError,
    StorageError,
    StorageTimeoutError,
    StorageUnavailableError,
    TransactionError,
)


class ConstraintError(StorageError):
    """A unique constraint refused a row; whoever wrote it knows what that means."""

    reason = "constraint"


class _Meaning(NamedTuple):
    error: type[JidoError]
    reason: str
    words: str
    outcome: str | None = None


_LOST = _Meaning(StorageUnavailableError, "connection_lost", "the connection to the database was lost", "unknown")
_DOWN = _Meaning(StorageUnavailableError, "server_unavailable", "the database takes no connections now", "not_applied")
_BUSY = _Meaning(StorageBusyError, "storage_busy", "another transaction was in the way", "not_applied")
_SCHEMA = _Meaning(
    SchemaError,
    "schema_missing",
    "our tables are missing or old: run `jido-tortoise upgrade -c your.settings.TORTOISE_ORM`",
)
_ABORTED = _Meaning(TransactionError, "transaction_aborted", "the transaction has failed already: roll it back")
_OPTIONS = _Meaning(
    ConfigError,
    "bad_url",
    "the driver refuses an option of the connection; for libpq's sslmode=verify-full say ssl=true",
)

#: By SQLSTATE, the exact code before its class (its first two characters).
_POSTGRES: dict[str, _Meaning] = {
    "08": _LOST,
    "57P01": _LOST._replace(reason="server_restarting", words="the server is shutting down"),
    "57P02": _LOST._replace(reason="server_restarting", words="the server crashed and restarts"),
    "57P03": _DOWN._replace(reason="server_restarting", words="the server is starting or stopping"),
    "57P05": _LOST,
    "25P03": _LOST,
    "53": _DOWN,
    "53300": _DOWN._replace(reason="too_many_connections", words="the server has no connection left"),
    "57014": _Meaning(StorageTimeoutError, "storage_timeout", "the server cancelled the statement", "not_applied"),
    "40001": _BUSY._replace(reason="serialization_failure"),
    "40P01": _BUSY._replace(reason="deadlock", words="a deadlock was broken at our cost"),
    "55P03": _BUSY._replace(reason="lock_not_available", words="a lock was not available in time"),
    "25P02": _ABORTED,
    "25": _Meaning(TransactionError, "transaction", "the transaction is not in the state for this"),
    "25006": _Meaning(StorageError, "read_only", "the database is read-only"),
    "3D000": _Meaning(StorageError, "no_such_database", "there is no such database"),
    "3F000": _SCHEMA,
    "42P01": _SCHEMA,
    "42703": _SCHEMA,
    "23": _Meaning(ConstraintError, "constraint", "a constraint refused the row"),
    "42501": _Meaning(StorageError, "permission", "the database user may not do this"),
}

#: What SQLite says when a table or column is not there; it has no code for that.
_NOT_OUR_SCHEMA = ("no such table", "no such column", "has no column")

#: By primary result code.
_SQLITE: dict[int, _Meaning] = {
    sqlite3.SQLITE_BUSY: _BUSY._replace(words="the database is locked by another process or connection"),
    sqlite3.SQLITE_LOCKED: _BUSY._replace(words="a table is locked within this connection"),
    sqlite3.SQLITE_INTERRUPT: _Meaning(
        StorageTimeoutError, "storage_timeout", "the statement was interrupted", "not_applied"
    ),
    sqlite3.SQLITE_CANTOPEN: _DOWN._replace(reason="cannot_open", words="the database file cannot be opened"),
    sqlite3.SQLITE_FULL: _DOWN._replace(reason="disk_full", words="the disk is full"),
    sqlite3.SQLITE_IOERR: _LOST._replace(reason="io_error", words="reading or writing the database file failed"),
    sqlite3.SQLITE_READONLY: _Meaning(StorageError, "read_only", "the database is read-only"),
    sqlite3.SQLITE_CONSTRAINT: _Meaning(ConstraintError, "constraint", "a constraint refused the row"),
    sqlite3.SQLITE_CORRUPT: _Meaning(StorageError, "corrupt_file", "the database file is damaged"),
    sqlite3.SQLITE_NOTADB: _Meaning(StorageError, "not_a_database", "the file is no SQLite database"),
}


def translated() -> AbstractContextManager[None]:
    """Turn a driver's error that leaves the block into ours, with the driver's as its cause."""
    return _TRANSLATED


class _Translated:
    """Not a generator, since every statement passes here and nearly none fails."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, Exception):
            ours = translate(error)
            if ours is not error:
                raise ours from _driver_error(error)


_TRANSLATED = _Translated()


def translate(error: Exception) -> Exception:
    """Answer our error for a driver's, or the same one when it is not a driver's."""
    if isinstance(error, JidoError | TimeoutError):
        return error
    driver = _driver_error(error)
    meaning = _meaning(driver)
    if meaning is None:
        return error
    facts: dict[str, Any] = {"constraint": getattr(driver, "constraint_name", None)}
    if meaning.outcome:
        facts = {"outcome": meaning.outcome}
    return meaning.error(f"{meaning.words} ({driver})", reason=meaning.reason, **facts)


def _driver_error(error: BaseException) -> BaseException:
    inner = error.args[0] if isinstance(error, BaseORMException) and error.args else None
    if isinstance(
        error, DBConnectionError
    ):  # its one argument is a text that does not say what the driver's error does
        inner = error.__cause__
    return inner if isinstance(inner, BaseException) else error


def _meaning(error: BaseException) -> _Meaning | None:
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        return (
            _POSTGRES.get(state)
            or _POSTGRES.get(state[:2])
            or _Meaning(StorageError, "storage", "the database refused")
        )
    if isinstance(error, sqlite3.Error):
        return _sqlite_meaning(error)
    if isinstance(error, OSError | DBConnectionError):
        return _DOWN
    return _asyncpg_meaning(error)


def _sqlite_meaning(error: sqlite3.Error) -> _Meaning:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_ERROR and any(words in str(error) for words in _NOT_OUR_SCHEMA):
        return _SCHEMA
    if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
        return _LOST
    return _SQLITE.get(code) or _Meaning(StorageError, "storage", "the database refused")


def _asyncpg_meaning(error: BaseException) -> _Meaning | None:
    # By the module and name: a host on SQLite has no asyncpg to import.
    if not type(error).__module__.startswith("asyncpg"):
        return _closed_meaning(error) or _options_meaning(error)
    text = str(error)
    if "ClientConfiguration" in type(error).__name__:
        return _OPTIONS
    if "pool is clos" in text:
        return _Meaning(ConnectionsClosedError, "connections_closed", "the connection pool was closed")
    if "clos" in text or "released" in text or "ConnectionDoesNotExist" in type(error).__name__:
        return _LOST
    # What a connection says that the server has just taken leave of, before it is seen to be closed.
    if "InternalClient" in type(error).__name__:
        return _LOST
    if "another operation is in progress" in text:
        return _Meaning(TransactionError, "transaction", "two tasks used one transaction at once")
    return _Meaning(StorageError, "storage", "the driver refused")


def _options_meaning(error: BaseException) -> _Meaning | None:
    # Python's own errors, of what stands in the URL or the credentials: known by the words of asyncpg and its pool.
    text = str(error)
    unknown = isinstance(error, TypeError) and text.startswith("connect() got an unexpected keyword argument")
    return _OPTIONS if unknown or (type(error) is ValueError and text.startswith(("min_size ", "max_size "))) else None


def _closed_meaning(error: BaseException) -> _Meaning | None:
    # aiosqlite has no class of its own for a closed connection.
    if isinstance(error, ValueError) and str(error) in ("Connection closed", "no active connection"):
        return _LOST._replace(outcome="not_applied")
    return None
