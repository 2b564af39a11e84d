"""The floor under every statement: whose connection, which transaction, how long, and what a driver's error means.

Tortoise's own `in_transaction()` is not safe under cancellation, leaves a transaction open when COMMIT fails, and
begins on SQLite without the write lock. What stands here replaces it for our statements, and joins the host's when
there is one. The seams of Tortoise and aiosqlite that it leans on are private (`_lock`, `_connection`, `_execute`): the
versions are pinned in pyproject.toml, and tests/integration/test_seams_of_tortoise.py fails when one of them changes.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, Literal, TypeVar

from tortoise.backends.base.client import TransactionalDBClient
from tortoise.backends.base.config_generator import expand_db_url
from tortoise.connection import ConnectionHandler, get_connections
from tortoise.context import TortoiseContext, get_current_context
from tortoise.exceptions import ConfigurationError
from tortoise.models import Model

from jido_tortoise import commits
from jido_tortoise.attempts import repeated
from jido_tortoise.driver_errors import translated
from jido_tortoise.errors import (
    AmbiguousConnectionError,
    AppNotRegisteredError,
    ConfigError,
    ConnectionsClosedError,
    InvalidInputError,
    NotInitialisedError,
    StorageBusyError,
    StorageTimeoutError,
    StorageUnavailableError,
    TransactionError,
    UnsupportedDatabaseError,
)

T = TypeVar("T")
Dialect = Literal["sqlite", "postgres"]

#: Seconds that a statement may take, waiting for a connection included, when the caller names no timeout.
DEFAULT_TIMEOUT = 30.0
#: Seconds that a timed-out statement has to be cancelled on the server; a frozen server never answers that either.
GRACE = 0.5
#: Seconds that the clean-up of a transaction may take before its connection is given up.
PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Db:
    """A connection as our statements see it: a cheap value, made anew for every call."""

    client: Any
    dialect: Dialect
    #: The PostgreSQL schema that our tables are in; None leaves it to the search path.
    schema: str | None = None
    #: Seconds; infinite when it is `inf`.
    timeout: float = DEFAULT_TIMEOUT
    #: Whether a statement that fails takes the whole transaction with it: writes have no savepoint, and whoever began
    #: the transaction must give it up.
    bare: bool = False

    @property
    def in_transaction(self) -> bool:
        """Whether the calls of this task run inside a transaction, the host's or ours."""
        return _is_transaction(self.client)

    @property
    def root(self) -> Any:
        """The client that a transaction was begun on; tells two databases apart within this process."""
        client = self.client
        while _is_transaction(client):
            client = client._parent
        return client

    @property
    def outermost(self) -> Db:
        """The same connection as the outermost transaction sees it; itself when there is none."""
        client = self.client
        while _is_transaction(client) and _is_transaction(client._parent):
            client = client._parent
        return replace(self, client=client)


#: By the client's class: to ask an abstract class takes ten times as long, and every call asks several times.
_transactional: dict[type, bool] = {}


def _is_transaction(client: Any) -> bool:
    kind = type(client)
    known = _transactional.get(kind)
    if known is None:
        known = _transactional[kind] = issubclass(kind, TransactionalDBClient)
    return known


# -- whose connection ---------------------------------------------------------------------------------------------


def resolve(
    connection: str | None, model: type[Model], *, schema: str | None = None, timeout: float | None = None
) -> Db:
    """Find the connection of a model, or the named one, as the current task sees it.

    Args:
        connection: An alias of the host's config; None takes the one of the app that holds our models.
        model: One of the models that live there.
        schema: The PostgreSQL schema of our tables; None leaves it to the search path.
        timeout: Seconds for each statement; None means `DEFAULT_TIMEOUT`.

    Raises:
        ConfigError: One of its kin, naming what the host's config lacks.
        InvalidInputError: The timeout is none, or there is a schema on SQLite.
    """
    context = _context()
    handler = context.connections
    try:
        client = handler.get(connection or _alias_of(model, context))
    except ConfigurationError as error:
        raise _config_error(connection, handler) from error
    except ImportError as error:
        raise _no_driver(error) from error
    _refuse_finished(client)
    dialect = _dialect(type(client), client.capabilities.dialect)
    if schema is not None and dialect == "sqlite":
        raise InvalidInputError.at("schema", "None on SQLite, which has no schemas", schema)
    return Db(client, dialect, schema, DEFAULT_TIMEOUT if (given := check_timeout(timeout)) is None else given)


def check_timeout(timeout: Any) -> float | None:
    """Answer a timeout as it was given: seconds, infinity for no end, or None for the usual one.

    Raises:
        InvalidInputError: It is none of them.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
        raise InvalidInputError.at("timeout", "seconds as a number above 0, or None", timeout)
    return timeout


def require_drivers(connections: Mapping[str, Any]) -> None:
    """Refuse connections whose driver is not installed, before Tortoise fails on them half way.

    Raises:
        ConfigError: `missing_driver`; names the extra to install. `bad_url`: one is no database URL.
    """
    for alias, info in connections.items():
        try:
            import_module(expand_db_url(info)["engine"] if isinstance(info, str) else info["engine"])
        except ImportError as error:
            raise _no_driver(error) from error
        except (ConfigurationError, KeyError, ValueError) as error:
            expected = "a database URL, such as sqlite://app.db or asyncpg://user@host/db, or engine and credentials"
            message = f'connections["{alias}"]: expected {expected} ({error})'
            raise ConfigError(message, reason="bad_url", connection=alias) from error


def _no_driver(error: ImportError) -> ConfigError:
    speaks = ' (jido-tortoise speaks SQLite, and PostgreSQL through asyncpg: pip install "jido-tortoise[asyncpg]")'
    cure = ': pip install "jido-tortoise[asyncpg]"' if error.name == "asyncpg" else speaks
    return ConfigError(f"the driver {error.name!r} is not installed{cure}", reason="missing_driver", driver=error.name)


def _context() -> TortoiseContext:
    context = get_current_context()
    if context is None:
        raise NotInitialisedError(
            "Tortoise is not initialised in this task: call `await Tortoise.init(config=TORTOISE_ORM)` before it starts"
            " (or `Tortoise.init(..., _enable_global_fallback=True)` when another task does)"
        )
    if context.connections._db_config is None:
        raise _without_config(context.inited)
    return context


def _without_config(was_initialised: bool) -> ConfigError:
    if was_initialised:
        return ConnectionsClosedError(
            "the connections of this Tortoise context were closed: call Tortoise.init() again"
        )
    return NotInitialisedError("Tortoise is not initialised: call `await Tortoise.init(config=TORTOISE_ORM)` first")


def _alias_of(model: type[Model], context: TortoiseContext) -> str:
    # Which app a model belongs to is known to the process, not to the context: another context may have set it.
    app, alias = model._meta.app, model._meta.default_connection
    if app is None or alias is None or context.apps is None or app not in context.apps:
        raise _not_registered(model, context)
    return alias


def _not_registered(model: type[Model], context: TortoiseContext) -> AppNotRegisteredError:
    name, taken = model.__name__, model._meta.app
    config: Mapping[str, Any] = {} if context.apps is None else context.apps._config
    for label, app in config.items():
        if any(_module_has(module, model) for module in app["models"]):
            return AppNotRegisteredError(
                f"{name} is in the app {label!r} of the Tortoise config, but this process has it in the app {taken!r}"
                " since an earlier Tortoise.init(), and Tortoise gives a model one app: use one label in all configs",
                model=name,
                label=label,
                taken=taken,
            )
    family = model.__module__.split(".")[1]
    named = "" if family == "agents" else f'"{family}"'
    line = f"**jido_tortoise.apps({named})"
    return AppNotRegisteredError(f'{name} is in no app of the Tortoise config: add `{line}` to its "apps"', model=name)


def _module_has(module: str | ModuleType, model: type[Model]) -> bool:
    return getattr(import_module(module) if isinstance(module, str) else module, model.__name__, None) is model


def _config_error(connection: str | None, handler: ConnectionHandler) -> ConfigError:
    known = sorted(handler.db_config)
    if connection is None:
        return AmbiguousConnectionError(
            f"our app names no connection of the config, which has {known}:"
            f' say `**jido_tortoise.apps(connection="{known[0]}")`',
            connections=known,
        )
    # A URL is not printed: it may hold a password.
    url = f"connection: expected an alias of the Tortoise config, which has {known}, got a URL: name it in the config"
    unknown = f'no connection {connection!r} in the "connections" of the Tortoise config, which has {known}'
    return ConfigError(
        url if "://" in connection else unknown,
        reason="unknown_connection",
        connection=connection,
        connections=known,
    )


@cache
def _dialect(kind: type, dialect: str) -> Dialect:
    if dialect == "sqlite":
        return "sqlite"
    if dialect == "postgres" and any("asyncpg" in base.__module__ for base in kind.__mro__):
        return "postgres"
    raise UnsupportedDatabaseError(
        f"{dialect} through {kind.__module__}: jido-tortoise speaks SQLite, and PostgreSQL through asyncpg"
        " (a URL that begins with asyncpg://)",
        dialect=dialect,
    )


def _refuse_finished(client: Any) -> None:
    # A task started inside a transaction keeps its wrapper; on SQLite it would silently write into somebody else's.
    if _is_transaction(client) and client._finalized:
        raise TransactionError(
            "this task was started inside a transaction that has ended: start it outside", reason="transaction_finished"
        )


# -- one statement ------------------------------------------------------------------------------------------------


async def fetch(db: Db, sql: str, args: Sequence[Any] = (), *, savepoint: bool = False) -> list[Any]:
    """Run one PostgreSQL statement and answer its rows.

    Outside a transaction it is an autocommit statement without BEGIN; when another transaction pushed it aside it has
    written nothing, and is tried again a bounded number of times (a host's isolation level may demand that).

    Args:
        db: The connection.
        sql: The statement, with `$1` placeholders.
        args: Their values.
        savepoint: Whether the statement may fail by design: inside a transaction it then leaves that usable.

    Raises:
        StorageUnavailableError: The database was not there; `outcome` says whether it may have written.
    """
    if db.in_transaction:
        return await _bounded(db, _fetch_joined(db, sql, args, savepoint and not db.bare))

    async def attempt() -> list[Any]:
        held: list[Any] = []
        return await _bounded(db, _fetch_alone(db, sql, args, held), held)

    return await repeated(attempt, StorageBusyError)


async def _fetch_alone(db: Db, sql: str, args: Sequence[Any], held: list[Any]) -> list[Any]:
    rows: list[Any] | None = None
    spared: Any = None
    try:
        async with db.client.acquire_connection() as raw:
            held.append(raw)
            rows = await raw.fetch(sql, *args)
            spared = _spare_reset(db.client._pool, raw)
    except Exception:
        if rows is None:
            raise
    finally:
        if spared is not None:
            spared._reset_query = None  # what others do with the connection is to be undone as ever
    # It has happened: that the connection could not be reset afterwards is no failure of it, and asyncpg closes that.
    return rows or []


def _spare_reset(pool: Any, raw: Any) -> Any:
    """Have a connection go back to its pool without the round trip, a quarter of an append, that resets a session.

    A single statement of ours leaves nothing behind: no setting, no lock, no cursor, no listener. Where the host sets
    connections up or resets them in its own way, that stays as it is. (The query is a private seam of asyncpg.)

    Returns:
        Whose reset is spared; None when it is not.
    """
    if pool._setup is not None or pool._reset is not None:
        return None
    connection = raw._con
    connection._reset_query = ""
    return connection


async def _fetch_joined(db: Db, sql: str, args: Sequence[Any], savepoint: bool) -> list[Any]:
    async with db.client.acquire_connection() as raw:
        if not savepoint:
            return list(await raw.fetch(sql, *args))
        async with raw.transaction():
            return list(await raw.fetch(sql, *args))


async def _bounded(db: Db, work: Coroutine[Any, Any, T], held: Sequence[Any] | None = None) -> T:
    """Await what may take as long as the timeout says; `held` is empty while it has no connection of the pool yet."""
    try:
        with translated(), _Deadline(db.timeout):
            return await work
    except TimeoutError as error:
        raise (_timed_out(db) if held is None or held else _without_connection(db)) from error


class _Deadline:
    """Two nested `asyncio.timeout` with one timer: a TimeoutError after its seconds, or after `GRACE` more.

    When the server is frozen, the first cancels the statement, and asyncpg then waits for an answer to that; only the
    second gets us out.
    """

    __slots__ = ("_cancelled_before", "_expired", "_loop", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = 0

    def __enter__(self) -> None:
        self._task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]  # we are in a coroutine
        self._loop = asyncio.get_running_loop()
        self._cancelled_before = self._task.cancelling()
        self._timer = self._loop.call_later(self._seconds, self._expire)

    def _expire(self) -> None:
        self._expired += 1
        self._task.cancel()
        if self._expired == 1:
            self._timer = self._loop.call_later(GRACE, self._expire)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._timer.cancel()
        if not self._expired:
            return
        for _ in range(self._expired):
            self._task.uncancel()
        # Somebody else's cancellation, should there be one too, goes on as what it is.
        if kind is asyncio.CancelledError and self._task.cancelling() <= self._cancelled_before:
            raise TimeoutError from error


def _timed_out(db: Db) -> StorageUnavailableError:
    return StorageTimeoutError(
        f"the database did not answer within {db.timeout:g} s; whether it wrote is not known",
        timeout=db.timeout,
        outcome="unknown",
    )


def _without_connection(db: Db) -> StorageUnavailableError:
    pool = db.client._pool
    if pool is None or pool.get_size() < pool.get_max_size():
        message = f"the database took no connection within {db.timeout:g} s"
        return StorageTimeoutError(message, timeout=db.timeout, outcome="not_applied")
    return StorageTimeoutError(
        f"no connection became free within {db.timeout:g} s:"
        f" all {pool.get_max_size()} of the pool are in use (maxsize=)",
        reason="pool_exhausted",
        timeout=db.timeout,
        outcome="not_applied",
    )


async def in_thread(db: Db, job: Callable[[sqlite3.Connection], T], *, write: bool = False) -> T:
    """Run one SQLite job in one hop to the connection's thread.

    A writing job runs under BEGIN IMMEDIATE, inside a transaction under a savepoint; all of it happens, or nothing.
    When the caller is cancelled, a job that has not begun never does, and one that has is waited for.

    Args:
        db: The connection.
        job: Called in that thread with the raw connection.
        write: Whether it writes.

    Raises:
        StorageUnavailableError: The database was locked for longer than its busy_timeout.
    """
    client = db.client
    with translated():
        async with client._lock:
            connection = client._connection or await _connect_sqlite(client)
            frame = None if db.bare else _FRAMES[write, db.in_transaction]
            result: T = await _run_job(connection, _Job(job, frame))
            return result


#: What frames a job: begin, commit, and what undoes it; by (writes, inside a transaction).
_FRAMES: dict[tuple[bool, bool], tuple[str, str, tuple[str, ...]] | None] = {
    (False, False): ("BEGIN", "COMMIT", ("ROLLBACK",)),
    (False, True): None,
    (True, False): ("BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",)),
    (True, True): ("SAVEPOINT jido", "RELEASE jido", ("ROLLBACK TO jido", "RELEASE jido")),
}


class _Job:
    """A function with its frame, as the connection's thread runs it."""

    __slots__ = ("abandoned", "frame", "function")

    def __init__(
        self, function: Callable[[sqlite3.Connection], Any], frame: tuple[str, str, tuple[str, ...]] | None
    ) -> None:
        self.function = function
        self.frame = frame
        self.abandoned = False

    def __call__(self, connection: sqlite3.Connection) -> Any:
        if self.abandoned:
            return None
        if self.frame is None:
            return self.function(connection)
        begin, commit, undo = self.frame
        try:
            connection.execute(begin)
            result = self.function(connection)
            connection.execute(commit)
        except BaseException:
            _undo(connection, undo)
            raise
        return result


def _undo(connection: sqlite3.Connection, statements: tuple[str, ...]) -> None:
    # A failed COMMIT leaves the transaction open: without this the next autocommit write would be lost with it.
    if connection.in_transaction:
        with suppress(sqlite3.OperationalError):  # no such savepoint: it is BEGIN that failed, and tells why
            for statement in statements:
                connection.execute(statement)


def all_rows(connection: sqlite3.Connection, sql: str, values: Any = ()) -> list[tuple[Any, ...]]:
    """Run a statement within a job and answer its rows, to the last: RETURNING has not written before."""
    cursor = connection.cursor()
    cursor.row_factory = None  # Tortoise's makes an object of each row, which we would take apart again
    return cursor.execute(sql, values).fetchall()


async def _connect_sqlite(client: Any) -> Any:
    # Not to be cancelled half way: the thread of a lost connection would keep the interpreter from ending.
    try:
        await to_the_end(client.create_connection(with_db=True))
    except BaseException:
        if client._connection is not None:
            await to_the_end(client.close())
        raise
    return client._connection


async def _run_job(connection: Any, job: _Job) -> Any:
    # Awaited as it is: a task around it, to shield it, would cost as much as the job.
    try:
        return await connection._execute(job, connection._conn)
    except asyncio.CancelledError:
        job.abandoned = True
        with suppress(Exception):  # the connection is being closed, which also waits for the job
            # The thread takes calls in turn: when it has come to this one, the job has ended or will never begin.
            await to_the_end(connection._execute(_nothing))
        raise


def _nothing() -> None:
    pass


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Await something that must not be cut off: a cancellation is kept until it has ended."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _settled(task)
        raise


async def _settled(task: asyncio.Future[Any]) -> None:
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:  # the first one is raised again by the caller
            continue
    if not task.cancelled():
        task.exception()  # seen, so that the loop does not report it


# -- several statements -------------------------------------------------------------------------------------------


@asynccontextmanager
async def transaction(db: Db) -> AsyncIterator[Db]:
    """Make what happens inside visible together or not at all, also when it is cancelled at any await.

    It nests in the host's transaction as a savepoint, takes the write lock first on SQLite, and rolls back when COMMIT
    fails. Everything that the task does on this connection inside belongs to it, the host's own queries too.

    Raises:
        StorageUnavailableError: As for a single statement.
    """
    if db.in_transaction:
        with translated():
            async with _nested(db) as inner:
                yield inner
        return
    ended: Any = None
    try:
        with translated():
            async with (_on_sqlite if db.dialect == "sqlite" else _on_postgres)(db) as inner:
                ended = inner.client
                yield inner
    finally:
        if ended is not None:
            await commits.ended(ended)  # when the connection is free again: it may take its time


@asynccontextmanager
async def _nested(db: Db) -> AsyncIterator[Db]:
    savepoint = f"jido_{random.getrandbits(48):012x}"
    run = _runner(db)
    released = False
    try:
        await to_the_end(run(f"SAVEPOINT {savepoint}"))
        yield db
        released = True  # once begun it is waited for, also when cancelled
        await to_the_end(run(f"RELEASE SAVEPOINT {savepoint}"))
    except BaseException:
        if not released:
            await _undo_savepoint(run, savepoint)
        raise


async def _undo_savepoint(run: Callable[[str], Coroutine[Any, Any, Any]], savepoint: str) -> None:
    with suppress(Exception):  # when the transaction around it is lost, the first error is the one that tells why
        await to_the_end(run(f"ROLLBACK TO SAVEPOINT {savepoint}"))
        await to_the_end(run(f"RELEASE SAVEPOINT {savepoint}"))


def _runner(db: Db) -> Callable[[str], Coroutine[Any, Any, Any]]:
    async def run(sql: str) -> None:
        async with db.client.acquire_connection() as raw:
            await raw.execute(sql)  # not fetch(): a name of its own each time would crowd the statement cache

    return lambda sql: _bounded(db, run(sql))


@asynccontextmanager
async def _on_sqlite(db: Db) -> AsyncIterator[Db]:
    async with db.client._lock:
        connection = db.client._connection or await _connect_sqlite(db.client)
        wrapper = db.client._in_transaction().connection  # Tortoise's own, so that the host's queries join
        wrapper._connection = connection
        try:
            await _run_statement(connection, "BEGIN IMMEDIATE")
            with _current(wrapper):
                yield Db(wrapper, db.dialect, db.schema, db.timeout)
                await commits.begin_commit(wrapper)
            await _run_statement(connection, "COMMIT")
            commits.committed(wrapper)
        finally:
            wrapper._finalized = True
            await to_the_end(connection._execute(_undo, connection._conn, ("ROLLBACK",)))


async def _run_statement(connection: Any, sql: str) -> None:
    await to_the_end(connection._execute(_execute, connection._conn, sql))


def _execute(connection: sqlite3.Connection, sql: str) -> None:
    connection.execute(sql)


@asynccontextmanager
async def _on_postgres(db: Db) -> AsyncIterator[Db]:
    wrapper = db.client._in_transaction().client  # Tortoise's own, so that the host's queries join
    raw = await _bounded(db, db.client.acquire_connection().__aenter__(), ())
    try:
        wrapper._connection = raw
        wrapper.transaction = raw.transaction()
        await to_the_end(_bounded(db, wrapper.transaction.start()))
        with _current(wrapper):
            yield Db(wrapper, db.dialect, db.schema, db.timeout)
            await commits.begin_commit(wrapper)
        await to_the_end(_bounded(db, wrapper.transaction.commit()))
        commits.committed(wrapper)
    finally:
        wrapper._finalized = True
        await to_the_end(_give_back(db, raw, wrapper.transaction))


async def _give_back(db: Db, raw: Any, transaction: Any) -> None:
    if not raw.is_closed() and raw.is_in_transaction():
        try:
            async with asyncio.timeout(min(db.timeout, PATIENCE)):
                await transaction.rollback()
        except Exception:  # a connection that cannot even roll back is of no use to anybody
            raw.terminate()
    if db.client._pool is not None:
        with suppress(Exception):  # what was committed stays so, and asyncpg closes a connection that it cannot reset
            await db.client._pool.release(raw, timeout=min(db.timeout, PATIENCE))


@contextmanager
def _current(wrapper: Any) -> Iterator[None]:
    connections = get_connections()
    token = connections.set(wrapper.connection_name, wrapper)
    try:
        yield
    finally:
        connections.reset(token)
