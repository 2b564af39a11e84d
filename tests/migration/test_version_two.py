"""The next version, rehearsed: every tool upgrades an old dump, and the release of today works on the new tables."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.schema import apps, migrations_location, upgrade, verify
from jido_tortoise_testing.contract import MakeStorage, StorageContract
from jido_tortoise_testing.postgres import fresh_database, run_sql
from tests.conftest import opened
from tests.migration.catalog import snapshot
from tests.migration.ext.dump import KEY, LONG, PAYLOADS, STATE, TABLES
from tests.migration.hosts import Host, Place, make_host

EXT = Path(__file__).parent / "ext"
#: What the first lines of a program of the next release would be, if they had to be said.
NEXT = "from tests.migration.ext.two import install; install()\n"


def load_old_dump(place: Place) -> None:
    """Make the database that a release with version 1 left behind."""
    text = (EXT / f"agents_1.{place.dialect}.sql").read_text("utf-8")
    if place.dialect == "postgres":
        # One simple query of many statements: asyncpg's fetch takes only one.
        run_sql(place.url, "DO $load$ BEGIN EXECUTE $dump$" + text + "$dump$; END $load$")
        return
    with closing(sqlite3.connect(place.url.removeprefix("sqlite://"))) as connection:
        connection.executescript(text)


def next_release(host: Host, code: str) -> str:
    """Run code as the next release would: with its families, and its models in the config."""
    host.write("settings.py", NEXT + (host.folder / "settings.py").read_text("utf-8"))
    return host.python("-c", f"import settings, asyncio\nfrom jido_tortoise import schema\n{code}")


UPGRADE = "print(*asyncio.run(schema.upgrade(settings.TORTOISE_ORM)).apps[0].applied)"
VERIFY = """
from tortoise.context import TortoiseContext
async def main():
    async with TortoiseContext() as context:
        await context.init(config=settings.TORTOISE_ORM)
        await schema.verify()
asyncio.run(main())
"""
REFUSED = """
from jido_tortoise import errors, probe
from tests.migration.ext.two import COLUMNS
from tortoise.context import TortoiseContext
async def main():
    async with TortoiseContext() as context:
        await context.init(config=settings.TORTOISE_ORM)
        for refused in (schema.verify(), probe.check(db_of("default"), COLUMNS)):
            try:
                await refused
            except errors.SchemaError as error:
                print(error.reason, error)
from jido_tortoise.schema.execute import db_of
asyncio.run(main())
"""


@pytest.fixture
def old(host: Host) -> Host:
    """Give a host whose database was made, and written to, by a release with version 1."""
    load_old_dump(host.place)
    return host


async def check_old_rows(place: Place) -> None:
    """Read what version 1 wrote, and go on writing, with the release of today."""
    async with opened(place.url, tables=False):
        await verify()
        storage = TortoiseStorage()
        fetched = await storage.fetch(KEY)
        assert fetched is not None
        checkpoint, head = fetched
        assert checkpoint.data["state"] == STATE
        assert head is not None
        assert (head.rev, head.metadata) == (3, {"source": "shop"})
        thread = await storage.load_thread("shopper:user-123")
        assert thread is not None
        assert [entry.payload for entry in thread] == PAYLOADS
        appended = await storage.append_thread(LONG, {"kind": "note", "payload": {}}, expected_rev=20)
        assert (appended.rev, appended.entries[0].seq) == (21, 20)
        empty = await storage.get_thread_head("empty")
        assert empty is not None
        assert empty.metadata == {"kept": True}
        put = await storage.put_checkpoint({"any": ["key", 1.0]}, "again", expected_version=1)
        assert put.version == 2


# -- the upgrade --------------------------------------------------------------------------------------------------


async def test_our_runner_upgrades_an_old_dump(old: Host) -> None:
    """Only the new step runs; old rows get their value; the release of today reads and writes on."""
    assert next_release(old, UPGRADE).split() == ["2_cost"]
    assert next_release(old, UPGRADE).split() == []
    next_release(old, VERIFY)
    assert old.place.rows("SELECT thread_id, cost FROM jido_threads ORDER BY 1") == [
        ("empty", 0),
        ("long", 20),
        ("shopper:user-123", 3),
    ]
    await check_old_rows(old.place)


async def test_aerich_upgrades_an_old_dump(old: Host) -> None:
    """By its own file; one step down leaves version 1 with all its rows."""
    shutil.copytree(migrations_location() / "jido_agents", old.folder / "migrations/jido_agents")
    last = (migrations_location() / "jido_agents/1_guards.py").read_text("utf-8")
    old.write("migrations/jido_agents/2_cost.py", last.replace("1_guards", "2_cost"))
    old.write("settings.py", NEXT + (old.folder / "settings.py").read_text("utf-8"))
    said = old.aerich("--app", "jido_agents", "upgrade")
    assert said.count("Success upgrading to") == 1
    next_release(old, VERIFY)
    assert next_release(old, UPGRADE).split() == []
    old.aerich("--app", "jido_agents", "downgrade", "--yes")
    await check_old_rows(old.place)


async def test_tortoise_upgrades_an_old_dump(old: Host) -> None:
    """By its own file, also where our runner made the tables; one step down leaves version 1 with all its rows."""
    old.settings(
        "{'jido_agents': {'models': ['tests.migration.ext.two'], 'migrations': 'tests.migration.ext.native'},"
        " 'shop': {'models': ['shop.models']}}"
    )
    old.tortoise("migrate")
    next_release(old, VERIFY)
    old.tortoise("downgrade", "jido_agents", "0001_initial")
    await check_old_rows(old.place)


def test_fresh_and_upgraded_are_the_same(old: Host, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Version 2 from nothing is version 2 from version 1."""
    next_release(old, UPGRADE)
    if old.place.dialect == "sqlite":
        new = make_host(tmp_path / "new", Place("sqlite", f"sqlite://{tmp_path / 'new.db'}"))
        assert next_release(new, UPGRADE).split() == ["0_init", "1_guards", "2_cost"]
        assert snapshot(new.place) == snapshot(old.place)
        return
    with fresh_database(request.getfixturevalue("pg_server")) as url:
        new = make_host(tmp_path / "new", Place("postgres", url))
        assert next_release(new, UPGRADE).split() == ["0_init", "1_guards", "2_cost"]
        assert snapshot(new.place) == snapshot(old.place)


def test_generated_tables_get_what_they_lack(host: Host) -> None:
    """A host's `init-db` of the next release: the columns are there, and adding them again is no error."""
    host.write("settings.py", NEXT + (host.folder / "settings.py").read_text("utf-8"))
    host.aerich("init-db")
    assert next_release(host, UPGRADE).split() == ["0_init", "1_guards", "2_cost"]
    next_release(host, VERIFY)


def test_the_next_release_refuses_old_tables(old: Host) -> None:
    """`verify` and the storage's first look name what is lacking, and the cure."""
    said = next_release(old, REFUSED)
    assert said.count("schema_old table jido_threads is old: it has no cost") == 2
    assert said.count("jido-tortoise upgrade -c") == 2


# -- the release of today on the tables of tomorrow -----------------------------------------------------------------


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def upgraded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Give an old database that the next release has upgraded, and whose rows are deleted."""
    folder = tmp_path_factory.mktemp("upgraded")
    if request.param == "sqlite":
        yield _upgraded(Place("sqlite", f"sqlite://{folder / 'agents.db'}"), folder)
        return
    with fresh_database(request.getfixturevalue("pg_server")) as url:
        yield _upgraded(Place("postgres", url), folder)


def _upgraded(place: Place, folder: Path) -> Place:
    load_old_dump(place)
    next_release(make_host(folder / "host", place), UPGRADE)
    for table in TABLES[:3]:
        place.rows(f"DELETE FROM {table}")
    return place


@pytest.fixture
def copy(upgraded: Place, tmp_path: Path) -> Place:
    """Give it without rows: a copy of the file, or the one database, since copying those takes long."""
    if upgraded.dialect == "postgres":
        upgraded.rows("DO $$ BEGIN " + "".join(f"DELETE FROM {table};" for table in TABLES[:3]) + " END $$")
        return upgraded
    shutil.copy(upgraded.url.removeprefix("sqlite://"), tmp_path / "copy.db")
    return Place("sqlite", f"sqlite://{tmp_path / 'copy.db'}")


@pytest.mark.usefixtures("unmeasured")
class TestUpgradedFromAnOldDump(StorageContract):
    """The whole contract, by code that knows version 1 only, on version 2."""

    @pytest.fixture
    async def database(self, copy: Place) -> AsyncIterator[Any]:
        unsafe = "?synchronous=OFF" if copy.dialect == "sqlite" else ""  # nobody pulls the plug
        async with opened(copy.url + unsafe, tables=False) as database:
            yield database

    @pytest.fixture
    def make_storage(self, database: Any) -> MakeStorage:
        return TortoiseStorage


async def test_todays_upgrade_leaves_newer_tables_alone(copy: Place) -> None:
    """A deployment that rolls back runs the old `upgrade` on the new tables: nothing happens, and `verify` agrees."""
    before = snapshot(copy)
    settings = {"connections": {"default": copy.url}, "apps": apps()}
    assert not (await upgrade(settings)).changed
    assert snapshot(copy) == before
    async with opened(copy.url, tables=False):
        await verify()
