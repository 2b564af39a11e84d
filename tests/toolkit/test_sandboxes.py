"""Sandboxes: everything commits, nothing stays, and nobody reaches another database."""

from __future__ import annotations

import asyncio
import gc
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from tortoise import Tortoise, context
from tortoise.backends.sqlite.client import SqliteClient
from tortoise.context import TortoiseContext, get_current_context, tortoise_test_context
from tortoise.contrib.fastapi import RegisterTortoise
from tortoise.exceptions import IntegrityError
from tortoise.transactions import in_transaction

import jido_tortoise as jt
from jido_tortoise_testing.failures import JidoSandboxError
from jido_tortoise_testing.keeping import keep, settle
from jido_tortoise_testing.postgres import fresh_database, run_sql
from jido_tortoise_testing.postgres_sandboxes import Cleaner, _deletes
from jido_tortoise_testing.queries import counting
from jido_tortoise_testing.roundtrip import assert_roundtrip, assert_unchanged
from jido_tortoise_testing.sandboxes import Sandbox, Workshop, drive, open_sandbox
from tests.toolkit.shop_models import Customer, Order

_DEADLINE = 30.0
_REAL = "sqlite://REAL.db"
_KINDS = [("sqlite", "memory"), ("sqlite", "file"), ("postgres", None), ("postgres", "clone")]
_IDS = ["sqlite-memory", "sqlite-file", "postgres-clean", "postgres-clone"]
_CONFIG: dict[str, Any] = {
    "connections": {"default": _REAL},
    "apps": {"shop": {"models": ["tests.toolkit.shop_models"], "default_connection": "default"}},
}


class Shopper(jt.Agent, agent_type="sandbox-shopper"):
    """An agent with a journal."""


@pytest.fixture(scope="module")
def workshop(pg_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """Make the databases of the shop once."""
    made = Workshop(_CONFIG, server=lambda: pg_server, folder=tmp_path_factory.mktemp("sandboxes"))
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgres"])
def db(request: pytest.FixtureRequest, workshop: Workshop) -> Iterator[Sandbox]:
    """Open the usual sandbox of each database."""
    with workshop.open(request.param) as sandbox:
        yield sandbox


async def _fill() -> None:
    customer = await Customer.create(name="Ada")
    await Order.create(customer=customer)
    agent = Shopper("u", {"cart": ("tea", 2)})
    agent.thread.append("message", {"text": "hi"})
    await jt.Jido().hibernate(agent)


async def _counts() -> tuple[int, int, int]:
    return await Customer.all().count(), await Order.all().count(), await jt.Jido().count(Shopper)


@pytest.mark.parametrize(("backend", "storage"), _KINDS, ids=_IDS)
async def test_everything_commits_and_nothing_stays(workshop: Workshop, backend: str, storage: str | None) -> None:
    """A second connection sees what the first wrote, and the next sandbox sees nothing of it."""
    for _ in range(2):
        with workshop.open(backend, storage) as sandbox:
            assert await _counts() == (0, 0, 0)
            await _fill()
            async with sandbox.second() as other:
                assert await _counts() == (1, 1, 1)
                assert (await other.jido.thaw(Shopper, "u")).state == {"cart": ("tea", 2)}
                await Customer.create(name="Bob")
            # In memory the second is a copy; elsewhere it is the same data.
            assert (await _counts())[0] == (1 if storage == "memory" else 2)


async def test_the_triggers_are_there(db: Sandbox) -> None:
    """The sandbox has our real schema, not just what the models say."""
    await _fill()
    with pytest.raises(Exception, match=r"(?i)jido|append|update"):
        await db.client.execute_script("UPDATE jido_thread_entries SET kind = 'other'")
    await jt.verify()


def test_another_process_sees_a_file(workshop: Workshop) -> None:
    """What is in a file or on a server can be opened by its URL."""
    with workshop.open("sqlite", "file") as sandbox:
        asyncio.run(_fill())
        with closing(sqlite3.connect(sandbox.url.removeprefix("sqlite://"))) as raw, raw:
            assert raw.execute("SELECT count(*) FROM jido_checkpoints").fetchall() == [(1,)]


async def test_rows_of_the_setup_are_there_in_every_sandbox(pg_server: str, tmp_path: Path) -> None:
    """A service's reference data outlives the cleaning, whatever a test did to it."""

    async def fill(_: TortoiseContext) -> None:
        await Customer.create(name="reference")

    workshop = Workshop(_CONFIG, server=lambda: pg_server, folder=tmp_path)
    workshop.add(fill)
    try:
        for backend in ("sqlite", "postgres", "postgres"):
            with workshop.open(backend):
                assert [customer.name for customer in await Customer.all()] == ["reference"]
                await Customer.all().delete()
        with pytest.raises(JidoSandboxError, match=r"^jido_db_setup\.add\(\) comes too late"):
            workshop.add(fill)
    finally:
        workshop.close()
    left = run_sql(pg_server, f"SELECT count(*) FROM pg_database WHERE datname LIKE '{workshop._postgres._prefix}%'")
    assert left[0][0] == 0


def test_it_serves_one_loop_after_the_other(db: Sandbox) -> None:
    """T7: data in memory is not gone on another loop, nothing warns, and pytest ends."""
    asyncio.run(_fill())
    assert asyncio.run(_counts()) == (1, 1, 1)


def test_two_loops_in_the_middle_of_their_work_are_told_apart(workshop: Workshop) -> None:
    """A second loop must not slip its statements into the first one's transaction."""
    with workshop.open("sqlite"):
        reached, go = threading.Event(), threading.Event()

        async def slow() -> None:
            async with in_transaction():
                reached.set()
                await asyncio.to_thread(go.wait, _DEADLINE)

        thread = threading.Thread(target=lambda: asyncio.run(slow()))
        thread.start()
        assert reached.wait(_DEADLINE)
        with pytest.raises(JidoSandboxError, match="two event loops use the sandbox's connection 'default' at once"):
            asyncio.run(_counts())
        go.set()
        thread.join(_DEADLINE)


async def test_concurrent_and_nested_work_never_hangs(db: Sandbox) -> None:
    """T5, T6: transactions of many tasks, one inside of another, and one that fails."""

    async def nested(number: int) -> None:
        async with in_transaction():
            await Customer.create(name=str(number))
            async with in_transaction():
                await Customer.create(name=f"{number} too")

    async with asyncio.timeout(_DEADLINE):
        await asyncio.gather(*(nested(number) for number in range(8)))
        await _fill()
        with pytest.raises(IntegrityError):
            async with in_transaction():
                await Order.create(customer_id=99)
        # T6: nothing of the failure is left in the way.
        assert await _counts() == (17, 1, 1)


async def test_conflicts_really_conflict(db: Sandbox) -> None:
    """Eight writers at one revision: one wins, which a sandbox by rollback cannot show."""
    async with asyncio.timeout(_DEADLINE):
        tries = [db.storage.append_thread("t", [{"kind": "m"}], expected_rev=0) for _ in range(8)]
        found = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(each, jt.ConflictError) for each in found) == 7


async def test_every_thread_and_task_sees_it(db: Sandbox) -> None:
    """Threads of an executor have contexts of their own."""
    await _fill()
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(None, get_current_context) is db.context


def test_nothing_of_it_is_left_in_the_process(workshop: Workshop) -> None:
    """T8: contexts, hooks, and the variables that Tortoise sets."""
    kept = Tortoise.__dict__["init"], TortoiseContext.__dict__["init"]
    with workshop.open(), pytest.raises(LookupError):
        raise LookupError
    assert (Tortoise.__dict__["init"], TortoiseContext.__dict__["init"]) == kept
    assert context._global_context is None
    assert get_current_context() is None


@pytest.mark.parametrize("backends", [("sqlite", "postgres"), ("postgres", "sqlite")], ids=" in ".join)
async def test_one_inside_of_the_other(workshop: Workshop, backends: tuple[str, str]) -> None:
    """T8: the dialect of the inner one does not stick to the models of the outer."""
    with workshop.open(backends[0]):
        await _fill()
        async with open_sandbox(workshop, backends[1]):
            assert await _counts() == (0, 0, 0)
            await _fill()
        assert await _counts() == (1, 1, 1)
        await Customer.create(name="Eve")


# -- adoption and guard -------------------------------------------------------------------------------------------


async def test_an_application_gets_the_sandbox(db: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T1: its own Tortoise.init would write into its real database, and its end would close ours."""
    monkeypatch.chdir(tmp_path)
    async with RegisterTortoise(
        app=None,  # type: ignore[arg-type]
        db_url=_REAL,
        modules={"shop": ["tests.toolkit.shop_models"]},
        generate_schemas=True,
        _enable_global_fallback=True,
    ):
        await _fill()
    assert await _counts() == (1, 1, 1)
    assert os.listdir(tmp_path) == []


async def test_a_context_that_the_application_makes_gets_it_too(db: Sandbox, tmp_path: Path) -> None:
    """Jido.connect opens a context of its own, and closes it."""
    await _fill()
    async with jt.Jido.connect(f"sqlite://{tmp_path / 'real.db'}") as jido:
        assert (await jido.thaw(Shopper, "u")).id == "u"
    assert await _counts() == (1, 1, 1)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///srv/shop/real.db", r"/srv/shop/real\.db"),
        ("asyncpg://me:secret@db.example/shop", r"db\.example/shop"),
    ],
    ids=["sqlite", "postgres"],
)
async def test_nobody_reaches_another_database(workshop: Workshop, url: str, shown: str) -> None:
    """T1: around Tortoise.init too; the words name both places and no password."""
    with workshop.open() as sandbox:
        with pytest.raises(JidoSandboxError, match=f"this test would open {shown}, while its sandbox is sqlite://:mem"):
            await TortoiseContext().init(db_url=url, modules={"shop": ["tests.toolkit.shop_models"]})
        async with tortoise_test_context(["tests.toolkit.shop_models"], app_label="shop"):
            await Customer.create(name="in memory is nobody's")
        sandbox.point_models()


@pytest.mark.parametrize("name", ["jido_test_stranger", "shop"])
def test_a_database_of_somebody_else_is_never_cleaned(pg_server: str, name: str) -> None:
    """Neither one with another name, nor one with a name like ours that another run made."""
    with fresh_database(pg_server) as url, pytest.raises(JidoSandboxError, match="was not made by the toolkit"):
        asyncio.run(Cleaner.open(url, name))


@pytest.mark.parametrize("how", ["abandoned", "elsewhere"])
def test_work_that_was_left_in_the_middle_is_ended(workshop: Workshop, how: str) -> None:
    """Neither the test's own transaction nor that of another connection keeps the cleaning waiting for ever."""

    async def leave(sandbox: Sandbox) -> Any:
        if how == "abandoned":
            raw = await sandbox.client.acquire_connection().__aenter__()
        else:
            raw = await asyncpg.connect(sandbox.url)
        await raw.execute("BEGIN; INSERT INTO customer (name) VALUES ('left'); LOCK TABLE customer")
        return raw

    loop = asyncio.new_event_loop()
    with workshop.open("postgres") as sandbox:
        raw = loop.run_until_complete(leave(sandbox))
    with workshop.open("postgres"):
        assert asyncio.run(_counts()) == (0, 0, 0)
    if how == "elsewhere":
        loop.run_until_complete(asyncio.sleep(0.01))
        assert raw.is_closed()
    loop.close()


async def test_a_service_s_own_guards_do_not_keep_rows(pg_server: str, tmp_path: Path) -> None:
    """An append-only table refuses DELETE, but not the cleaning."""
    refuse = """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
        CREATE TRIGGER refuse BEFORE DELETE ON customer FOR EACH ROW EXECUTE FUNCTION refuse();"""

    async def guard(made: TortoiseContext) -> None:
        client: Any = made.connections.get("default")
        await client.execute_script(refuse)

    workshop = Workshop(_CONFIG, server=lambda: pg_server, folder=tmp_path)
    workshop.add(guard)
    try:
        for _ in range(2):
            with workshop.open("postgres"):
                assert await Customer.all().count() == 0
                await Customer.create(name="Ada")
                with pytest.raises(Exception, match=r"^no$"):
                    await Customer.all().delete()
    finally:
        workshop.close()


async def test_rows_of_the_template_come_back_whatever_became_of_them(pg_server: str, tmp_path: Path) -> None:
    """Changed, deleted, joined by others, or let alone; also where one refers to another."""

    async def fill(made: TortoiseContext) -> None:
        await Order.create(customer=await Customer.create(name="Ada"))

    async def change(how: int) -> None:
        if how == 1:
            await Customer.all().update(name="Eve")
        elif how == 2:
            await Order.all().delete()
            await Customer.all().delete()
        elif how == 3:
            await Customer.create(name="Bob")
        elif how == 4:
            await Order.all().delete()
            await Order.create(customer=await Customer.get())

    workshop = Workshop(_CONFIG, server=lambda: pg_server, folder=tmp_path)
    workshop.add(fill)
    try:
        found = []
        for how in (0, 0, 1, 2, 3, 4, 0, 0):
            with workshop.open("postgres") as sandbox:
                found.append(await sandbox.dump())
                await change(how)
        assert [rows["customer"] for rows in found] == [[{"id": 1, "name": "Ada"}]] * len(found)
        assert all(rows == found[0] for rows in found)
    finally:
        workshop.close()


def test_tables_that_refer_to_each_other_are_truncated() -> None:
    """There is no order in which they could be deleted."""
    assert _deletes({"a": {"b"}, "b": set()}) == ["DELETE FROM a", "DELETE FROM b"]
    assert _deletes({"a": {"b"}, "b": {"a"}}) == ["TRUNCATE a, b"]


def test_tortoise_initialises_without_waiting() -> None:
    """The synchronous fixtures rest on it; a version of Tortoise that waits is refused by name."""

    async def wait() -> None:
        await asyncio.sleep(0)

    with pytest.raises(JidoSandboxError, match="init has begun to wait"):
        drive(wait())


# -- what a test asks of it ---------------------------------------------------------------------------------------


async def test_statements_are_counted(db: Sandbox) -> None:
    """Those of the host's models and ours, without what frames them."""
    jido_queries = counting(db.statements)
    with jido_queries(max=2) as queries:
        async with in_transaction():
            await Customer.create(name="Ada")
            await Customer.all().count()
    assert [sql.split()[0] for sql in queries.statements] == ["INSERT", "SELECT"]
    assert any(sql.startswith("BEGIN") for sql in queries.all)
    words = r"^expected at most 1 statements, 2 ran:\n  1\. SELECT .*\n  2\. SELECT "
    with pytest.raises(AssertionError, match=words), jido_queries(max=1):
        await _counts_of_shop()


async def _counts_of_shop() -> None:
    await Customer.all().count()
    await Order.all().count()


async def test_it_is_dumped_and_a_family_is_emptied(db: Sandbox) -> None:
    """A dump has the rows of all tables; clean() empties ours only."""
    await _fill()
    dump = await db.dump()
    assert {table: len(rows) for table, rows in dump.items()} == {
        "customer": 1,
        "order": 1,
        "jido_checkpoints": 1,
        "jido_threads": 1,
        "jido_thread_entries": 1,
    }
    await db.clean("agents")
    assert await _counts() == (1, 1, 0)
    assert (await db.dump())["jido_thread_entries"] == []


async def test_only_sqlite_gives_its_bytes(db: Sandbox) -> None:
    """The bytes are a database."""
    if db.backend == "postgres":
        with pytest.raises(JidoSandboxError, match="only SQLite gives its database as bytes"):
            await db.serialize()
        return
    await _fill()
    raw = sqlite3.connect(":memory:")
    raw.deserialize(await db.serialize())
    assert raw.execute("SELECT name FROM customer").fetchall() == [("Ada",)]
    raw.close()


async def test_the_assertions_work_in_it(db: Sandbox) -> None:
    """An agent goes through a new process, and a table may be called as a word of SQL: the shop's is."""
    agent = Shopper("u", {"cart": ("tea", 2)})
    agent.thread.append("message", {"text": "hi"})
    await assert_roundtrip(db.jido, agent)
    async with assert_unchanged():
        await db.jido.thaw(Shopper, "u")
    ada = await Customer.create(name="Ada")
    with pytest.raises(AssertionError, match=r"the database has changed\n  (public\.)?order: \+ "):
        async with assert_unchanged():
            await Order.create(customer=ada)


def test_a_failed_test_s_database_is_kept(
    db: Sandbox, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message's command opens it, wherever the project lies: a shell takes it as it is printed."""
    asyncio.run(_fill())
    odd = tmp_path / "it's $HOME, kept"
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    config: Any = SimpleNamespace(stash=pytest.Stash(), cache=None)
    keep(config, request.node.nodeid, db)
    path, _, command = settle(config, failed=True).partition(": ")
    assert Path(path).is_relative_to(odd)
    if db.backend == "postgres":
        assert "COPY public.customer" in Path(path).read_text()
        assert _in_shell(f'createdb() {{ echo "$@"; }}; psql() {{ cat "$3"; }}; {command}').startswith("failed\n--\n")
    else:
        ours = f'jido-tortoise() {{ {shlex.quote(sys.executable)} -m jido_tortoise "$@"; }}'
        assert "sandbox-shopper" in _in_shell(f"{ours}; {command}")


def _in_shell(command: str) -> str:
    if not shutil.which("bash"):
        pytest.skip("no `bash` here")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_two_hundred_leave_nothing_behind(workshop: Workshop) -> None:
    """Neither threads, nor files, nor sockets."""

    def one(backend: str) -> None:
        with workshop.open(backend):
            asyncio.run(_fill())

    for backend in ("sqlite", "postgres"):
        one(backend)
    gc.collect()  # or what an earlier test has left open would be closed in the middle of this one
    before = threading.active_count(), _open_files()
    for number in range(200):
        one("postgres" if number % 4 == 0 else "sqlite")
    assert (threading.active_count(), _open_files()) == before


def _open_files() -> Counter[str]:
    """Count the open files by what they are: a path, or "socket", "pipe" and the like."""
    folder, kinds = Path("/proc/self/fd"), Counter[str]()
    for file in folder.iterdir() if folder.exists() else ():
        with suppress(FileNotFoundError):  # that of the walk itself
            kinds[os.readlink(file).partition(":[")[0]] += 1
    return kinds


async def test_the_seams_of_aiosqlite(workshop: Workshop) -> None:
    """What a sandbox reaches into: the queue, the thread, and the word that ends it."""
    from aiosqlite import core

    with workshop.open():
        await _fill()
        client: Any = Tortoise.get_connection("default")
        assert isinstance(client, SqliteClient)
        assert isinstance(client._connection, core.Connection)
        thread = client._connection._thread
        assert thread.is_alive()
        assert client.call(lambda raw: raw.execute("SELECT 1").fetchone())[0] == 1
        with pytest.raises(sqlite3.OperationalError):
            client.call(lambda raw: raw.execute("SELECT nonsense"))
    assert not thread.is_alive()
