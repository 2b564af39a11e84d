"""The database goes away, stops answering or is not configured: a clear error, no hang, and the next call works."""

from __future__ import annotations

import asyncio
import re
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aerich.models import Aerich
from tortoise import Tortoise
from tortoise.context import TortoiseContext

from jido_tortoise import commits
from jido_tortoise.adk import AdkSessionStore
from jido_tortoise.adk.models import AdkSession
from jido_tortoise.agents.models import JidoThread
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.database import fetch, require_drivers, resolve, transaction
from jido_tortoise.errors import (
    AmbiguousConnectionError,
    AppNotRegisteredError,
    ConfigError,
    ConnectionsClosedError,
    InvalidInputError,
    NotInitialisedError,
    StorageError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from jido_tortoise.recording.models import AsmSession
from jido_tortoise.schema import upgrade
from jido_tortoise_testing.postgres import PostgresServer, with_database
from tests.conftest import Database, agents_app, opened

NOTE = {"kind": "note", "payload": {"text": "x"}}


# -- configuration ------------------------------------------------------------------------------------------------


async def test_not_initialised() -> None:
    """Without Tortoise.init the error says to call it (J2)."""
    with pytest.raises(NotInitialisedError, match=r"Tortoise\.init"):
        resolve(None, JidoThread)


async def test_closed_connections(db: Database) -> None:
    """After close_connections the error says that they were closed, not that they never were."""
    await Tortoise.close_connections()
    with pytest.raises(ConnectionsClosedError, match=r"Tortoise\.init"):
        resolve(None, JidoThread)


async def test_app_not_registered(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A config without our app is told the line to add, also when another context of the process has it."""
    monkeypatch.setattr(Aerich._meta, "app", None)  # a model keeps the first label it gets; the next test must not
    config = {"connections": {"default": "sqlite://:memory:"}, "apps": {"host": {"models": ["aerich.models"]}}}
    async with TortoiseContext() as context:
        await context.init(config=config)
        for model, line in (
            (JidoThread, "jido_tortoise.apps()"),
            (AdkSession, 'jido_tortoise.apps("adk")'),
            (AsmSession, 'jido_tortoise.apps("recording")'),
        ):
            monkeypatch.setattr(model._meta, "app", None)
            with pytest.raises(AppNotRegisteredError, match=re.escape(f"add `**{line}` to")):
                resolve(None, model)


async def test_another_label(sqlite_db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tortoise gives a model one app in a process: where the config has it under another, both are named."""
    monkeypatch.setattr(JidoThread._meta, "app", "before")
    models = {"host": {"models": ["jido_tortoise.agents.models"]}}
    async with TortoiseContext() as context:
        with pytest.warns(RuntimeWarning, match="has no models"):
            await context.init(config={"connections": {"default": "sqlite://:memory:"}, "apps": models})
        with pytest.raises(AppNotRegisteredError, match=r"'host' .* 'before'") as caught:
            resolve(None, JidoThread)
    assert (caught.value.label, caught.value.taken) == ("host", "before")


async def test_ambiguous_connection() -> None:
    """Several connections, of which our app names none: the error says which there are and what to write."""
    connections = {"main": "sqlite://:memory:", "other": "sqlite://:memory:"}
    async with TortoiseContext() as context:
        await context.init(config={"connections": connections, "apps": agents_app("main")})
        JidoThread._meta.default_connection = "gone"  # as another context of the process leaves it
        with pytest.raises(AmbiguousConnectionError, match=r'connection="main"') as caught:
            resolve(None, JidoThread)
        assert caught.value.connections == ["main", "other"]


@pytest.mark.parametrize("wrong", [0, -1, "soon", float("nan"), True])
async def test_a_timeout_that_is_none(sqlite_db: Database, wrong: Any) -> None:
    """It is refused at once; on SQLite, which knows of no such timeout, it would else be found in production."""
    for take in (TortoiseStorage, AdkSessionStore, partial(resolve, None, JidoThread)):
        with pytest.raises(InvalidInputError) as caught:
            take(timeout=wrong)  # type: ignore[operator]
        assert caught.value.path == "timeout"


async def test_a_schema_on_sqlite(sqlite_db: Database) -> None:
    """SQLite has none; it is not passed over, or two storages of two schemas would share their tables."""
    for take in (TortoiseStorage(schema="one").get_checkpoint, TortoiseStorage(schema="one").delete_thread):
        with pytest.raises(InvalidInputError) as caught:
            await take("a")
        assert caught.value.path == "schema"


def test_another_database() -> None:
    """A driver that is not there, and would be of no use to us, is told with those that are."""
    with pytest.raises(ConfigError, match=r"'nodriver' is not installed .*speaks SQLite, and PostgreSQL") as caught:
        require_drivers({"default": {"engine": "nodriver", "credentials": {}}})
    assert caught.value.reason == "missing_driver"


async def test_unknown_connection(db: Database) -> None:
    """A connection that the config does not have is named, with those that it has (J3)."""
    with pytest.raises(ConfigError, match="default") as caught:
        resolve("nowhere", JidoThread)
    assert caught.value.reason == "unknown_connection"
    with pytest.raises(ConfigError, match=r"an alias .*\['default'\], got a URL") as caught:
        resolve("postgres://ann:secret@db/shop", JidoThread)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("wrong", ["agents.db", "postgresql+asyncpg://ann:secret@db/shop", "mariadb://db/shop"])
def test_what_is_no_database_url(wrong: str) -> None:
    """A path, or a URL of another library, is told how one of Tortoise looks."""
    with pytest.raises(ConfigError, match=r'"default".*such as sqlite://app\.db or asyncpg://') as caught:
        require_drivers({"default": wrong})
    assert caught.value.reason == "bad_url"
    assert "secret" not in str(caught.value)


async def test_no_such_database(pg_url: str) -> None:
    """A database that the server does not have is named, and nobody is told to try again."""
    async with TortoiseContext() as context:
        connections = {"default": with_database(pg_url, "nowhere")}
        await context.init(config={"connections": connections, "apps": agents_app()})
        with pytest.raises(StorageError, match=r'there is no such database \(database "nowhere"') as caught:
            await TortoiseStorage().get_checkpoint("a")
    assert (caught.value.reason, caught.value.retryable) == ("no_such_database", False)
    assert isinstance(caught.value.__cause__, asyncpg.InvalidCatalogNameError)


# -- a file that is none ------------------------------------------------------------------------------------------


async def test_F17_truncated_file(sqlite_url: str) -> None:
    """A database file that was cut off is an error of ours, for reads and appends (F20), and never an empty journal."""
    path = Path(sqlite_url.removeprefix("sqlite://"))
    async with opened(sqlite_url):
        await TortoiseStorage().append_thread("t", [NOTE] * 500)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    async with opened(sqlite_url, tables=False):
        for work in (TortoiseStorage().load_thread("t"), TortoiseStorage().append_thread("t", NOTE)):
            with pytest.raises(StorageError) as caught:
                await work
            assert caught.value.__cause__ is not None


async def test_F18_not_a_database(sqlite_url: str) -> None:
    """A file of something else is named as such (F19), and left as it is."""
    path = Path(sqlite_url.removeprefix("sqlite://"))
    path.write_bytes(b"no database at all" * 100)
    async with opened(sqlite_url, tables=False):
        with pytest.raises(StorageError) as caught:
            await TortoiseStorage().append_thread("t", NOTE)
    assert caught.value.reason == "not_a_database"
    assert path.read_bytes() == b"no database at all" * 100


async def test_F21_a_directory(tmp_path: Path) -> None:
    """A path that cannot be opened is unavailable, with the reason of the system."""
    async with opened(f"sqlite://{tmp_path}", tables=False):
        with pytest.raises(StorageUnavailableError) as caught:
            await TortoiseStorage().load_thread("t")
    assert caught.value.reason == "cannot_open"
    # aiosqlite does not wait for the thread of a connection that never came about: it must not outlive this loop.
    await _until(lambda: not any("_connection_worker_thread" in thread.name for thread in threading.enumerate()))


# -- a server that goes away --------------------------------------------------------------------------------------


async def test_no_server(tmp_path: Path) -> None:
    """No server at the address: unavailable, retryable, nothing applied."""
    async with opened(f"asyncpg://postgres@/x?host={tmp_path}&port=5432", tables=False):
        with pytest.raises(StorageUnavailableError) as caught:
            await TortoiseStorage().get_thread_head("t")
    assert caught.value.retryable
    assert caught.value.outcome == "not_applied"
    assert isinstance(caught.value.__cause__, OSError)


async def test_killed_in_mid_append(own_pg_server: PostgresServer, own_pg_url: str) -> None:
    """The server is killed under a stream of appends: what was acknowledged is there, and nothing is torn."""
    acknowledged: list[str] = []

    async def stream(storage: TortoiseStorage) -> None:
        for number in range(100_000):
            answer = await storage.append_thread("t", [{**NOTE, "id": f"a{number}"}, {**NOTE, "id": f"b{number}"}])
            acknowledged.extend(entry.id for entry in answer.entries)

    async with opened(own_pg_url) as database:
        storage = TortoiseStorage()
        task = asyncio.create_task(stream(storage))
        await _until(lambda: len(acknowledged) >= 20)
        own_pg_server.kill()
        with pytest.raises(StorageUnavailableError) as caught:
            await task
        assert caught.value.retryable
        own_pg_server.restart()
        await _until_answered(storage)
        thread = await storage.load_thread("t")
        assert thread is not None
        ids = [entry.id for entry in thread]
        assert ids[: len(acknowledged)] == acknowledged
        assert len(ids) - len(acknowledged) in (0, 2)
        assert (await storage.append_thread("t", NOTE)).rev == len(ids) + 1
        assert database.client._pool.get_size() >= 1


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not come about")


async def _until_answered(storage: TortoiseStorage) -> None:
    for _ in range(50):
        try:
            await storage.get_thread_head("t")
            return
        except StorageUnavailableError:
            await asyncio.sleep(0.05)
    raise AssertionError("the server does not come back")


async def test_the_same_call_again_after_an_unknown_outcome(own_pg_server: PostgresServer, own_pg_url: str) -> None:
    """The error of an append carries its entries, with their ids: repeating it writes nothing twice."""
    async with opened(own_pg_url):
        storage = TortoiseStorage(timeout=0.4)
        await storage.append_thread("t", NOTE)
        own_pg_server.pause()
        with pytest.raises(StorageTimeoutError) as caught:
            await storage.append_thread("t", [NOTE, NOTE], expected_rev=1)
        own_pg_server.resume()
        await _until_answered(storage)
        answer = await storage.append_thread("t", caught.value.entries, expected_rev=1)
        assert answer.rev == 3
        assert (await storage.get_thread_head("t")).rev == 3  # type: ignore[union-attr]


@pytest.mark.parametrize("where", ["autocommit", "transaction", "savepoint", "commit", "release"])
async def test_frozen_server_runs_into_the_timeout(
    own_pg_server: PostgresServer, own_pg_url: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not answer (SIGSTOP) is our timeout, soon, and not a hang; afterwards the pool is whole.

    That its only connection is in use is no reason: only who never got one is told so, and has written nothing.
    """
    async with opened(f"{own_pg_url}&maxsize=1") as database:
        storage = TortoiseStorage(timeout=0.2)
        await storage.append_thread("t", NOTE)
        began, rescue = time.monotonic(), asyncio.get_running_loop().call_later(8, own_pg_server.resume)
        if where == "autocommit":
            own_pg_server.pause()
            errors = await asyncio.gather(*[storage.append_thread("t", NOTE) for _ in "ab"], return_exceptions=True)
            assert _told(*errors) == [("storage_timeout", "unknown"), ("pool_exhausted", "not_applied")]
            for least in (0, 1):  # without a pool yet, or with one that is not full
                async with opened(f"{own_pg_url}&minsize={least}&maxsize=1", tables=False):
                    with pytest.raises(StorageTimeoutError, match="took no connection") as caught:
                        await TortoiseStorage(timeout=0.05).append_thread("t", NOTE)
                    assert _told(caught.value) == [("storage_timeout", "not_applied")]
        elif where == "release":  # it was committed, and that its connection cannot be given back is no error
            monkeypatch.setattr(commits, "committed", lambda _: own_pg_server.pause())
            async with transaction(resolve(None, JidoThread, timeout=0.2)):
                pass
        else:
            with pytest.raises(StorageTimeoutError) as caught:
                async with transaction(resolve(None, JidoThread, timeout=0.2)):
                    own_pg_server.pause()
                    if where == "transaction":
                        await storage.append_thread("t", NOTE)
                    if where == "savepoint":
                        async with transaction(resolve(None, JidoThread, timeout=0.2)):
                            pass
            assert _told(caught.value) == [("storage_timeout", "unknown")]
        assert time.monotonic() - began < 8
        rescue.cancel()
        own_pg_server.resume()
        await _until_answered(storage)
        pool = database.client._pool
        await _until(lambda: pool.get_idle_size() == pool.get_size())


def _told(*errors: Any) -> list[tuple[str, str]]:
    return [(error.reason, error.outcome) for error in errors]


async def test_restarted_server_is_met_again(own_pg_server: PostgresServer, own_pg_url: str) -> None:
    """After a clean restart the next calls find the server again; idle connections of before are replaced."""
    async with opened(own_pg_url):
        storage = TortoiseStorage()
        await storage.append_thread("t", NOTE)
        own_pg_server.restart(stop_with=signal.SIGINT)
        await _until_answered(storage)
        assert (await storage.append_thread("t", NOTE)).rev == 2


async def test_a_connection_that_is_about_to_close(pg_url: str) -> None:
    """The server has said goodbye, and has not hung up yet: it is lost, and the call may be repeated.

    The words are given to the driver as they come from the network: so early a call is too rare to wait for.
    """
    goodbye = b"SFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
    async with opened(f"{pg_url}&minsize=1&maxsize=1") as database:
        db = resolve(None, JidoThread)
        (holder,) = database.client._pool._holders
        holder._con._protocol.data_received(b"E" + (len(goodbye) + 4).to_bytes(4, "big") + goodbye)
        with pytest.raises(StorageUnavailableError) as caught:
            await fetch(db, "SELECT 1")
        assert (caught.value.reason, caught.value.outcome) == ("connection_lost", "unknown")
        database.client._pool.terminate()  # nobody has hung up: it could not be closed in good order


@pytest.mark.parametrize("option", ["sslmode=disable", "target_session_attrs=perhaps", "minsize=5&maxsize=2"])
async def test_an_option_that_no_connection_has(pg_url: str, option: str) -> None:
    """As libpq calls it, or of another kind: an error of the config, whatever the driver raises."""
    with pytest.raises(ConfigError) as caught:
        await upgrade({"connections": {"default": f"{pg_url}&{option}"}, "apps": agents_app()})
    assert caught.value.reason == "bad_url"
    assert isinstance(caught.value.__cause__, TypeError | ValueError)


async def test_exhausted_pool(pg_url: str) -> None:
    """All connections in use: a timeout that says so, and the pool is whole afterwards."""
    async with opened(f"{pg_url}&maxsize=1") as database:
        release = asyncio.Event()

        async def hold() -> None:
            async with transaction(resolve(None, JidoThread)):
                await release.wait()

        storage = TortoiseStorage(timeout=0.2)
        await storage.get_thread_head("t")
        holder = asyncio.create_task(hold())
        await asyncio.sleep(0.05)
        with pytest.raises(StorageTimeoutError, match="maxsize") as caught:
            await storage.append_thread("t", NOTE)
        assert _told(caught.value) == [("pool_exhausted", "not_applied")]
        with pytest.raises(StorageTimeoutError, match="maxsize") as caught:
            async with transaction(resolve(None, JidoThread, timeout=0.05)):
                pass
        assert _told(caught.value) == [("pool_exhausted", "not_applied")]
        release.set()
        await holder
        assert (await storage.append_thread("t", NOTE)).rev == 1
        assert database.client._pool.get_idle_size() == database.client._pool.get_size()


async def test_terminated_backend_inside_a_transaction(pg_db: Database) -> None:
    """A connection that is cut inside a transaction is our error; the next one works."""
    outside = resolve(None, JidoThread)
    with pytest.raises(StorageUnavailableError):
        async with transaction(outside) as db:
            (row,) = await fetch(db, "SELECT pg_backend_pid() AS pid")
            await fetch(outside, f"SELECT pg_terminate_backend({row['pid']})")
            await asyncio.sleep(0.05)
            await fetch(db, "SELECT 1")
    assert (await TortoiseStorage().append_thread("t", NOTE)).rev == 1


# -- isolation levels and deadlocks -------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_appends_under_a_strict_isolation_level(pg_url: str, level: str) -> None:
    """Where the host's isolation level makes PostgreSQL refuse a statement, it is tried again (J6)."""
    raw = await asyncpg.connect(pg_url.replace("asyncpg://", "postgresql://"))
    name = await raw.fetchval("SELECT current_database()")
    await raw.execute(f"""ALTER DATABASE "{name}" SET default_transaction_isolation = '{level}'""")
    await raw.close()
    async with opened(f"{pg_url}&maxsize=8"):
        storage = TortoiseStorage()
        answers = await asyncio.gather(*(storage.append_thread("t", NOTE) for _ in range(64)))
        assert sorted(answer.rev for answer in answers) == list(range(1, 65))
