"""`upgrade`: whatever it finds, our tables are right afterwards, and nothing else has changed."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import asyncpg
import pytest
from tortoise.config import TortoiseConfig
from tortoise.context import TortoiseContext, get_current_context
from tortoise.transactions import in_transaction

from jido_tortoise.agents.models import JidoThread
from jido_tortoise.errors import AppNotRegisteredError, ConfigError, InvalidInputError, SchemaError, StorageError
from jido_tortoise.schema import AppUpgrade, Progress, apps, create, ddl, upgrade, verify
from jido_tortoise.schema.ddl import placed
from jido_tortoise.schema.families import FAMILIES
from jido_tortoise.schema.ledger import MAKE
from jido_tortoise.schema.locks import STEP_LOCK, UPGRADE_LOCK, lock_file
from jido_tortoise.schema.steps import Step
from jido_tortoise_testing.postgres import with_database
from tests.conftest import opened
from tests.migration.catalog import snapshot
from tests.migration.hosts import Host, Place

STEPS = ("0_init", "1_guards")
FILES = ["0_init.py", "1_guards.py"]
OURS = {"jido_checkpoints", "jido_threads", "jido_thread_entries"}


def config(url: str, **more: Any) -> dict[str, Any]:
    """Give a config that has our app only."""
    return {"connections": {"default": url}, "apps": apps(), **more}


async def verified(settings: dict[str, Any], schema: str | None = None) -> None:
    """Check the tables as a host of this config would."""
    async with TortoiseContext() as context:
        await context.init(config=settings)
        await verify(schema=schema)


# -- what it does -------------------------------------------------------------------------------------------------


async def test_an_empty_database(place: Place) -> None:
    """The first time everything is made and listed for Aerich; the second time there is nothing to do."""
    told: list[Progress] = []
    report = await upgrade(config(place.url), progress=told.append)
    assert report.apps == (AppUpgrade(app="jido_agents", connection="default", applied=STEPS),)
    assert report.changed
    assert [(one.what, one.step) for one in told] == [
        *(("running", step) for step in STEPS),
        *(("applied", step) for step in STEPS),
    ]
    assert place.listed("jido_agents") == FILES
    assert place.tables() == OURS | {"aerich"}
    await verified(config(place.url))
    before = snapshot(place)
    again = await upgrade(config(place.url))
    assert not again.changed
    assert (snapshot(place), place.listed("jido_agents")) == (before, FILES)


async def test_tables_that_were_generated_are_adopted(place: Place) -> None:
    """`generate_schemas` or the host's `init-db` came first: rows stay, the guard is added."""
    async with opened(place.url, tables=False) as db:
        await db.context.generate_schemas()
        place.rows("INSERT INTO jido_threads VALUES ('t', 0, 0, '{}', 1, 1)")
    report = await upgrade(config(place.url))
    assert report.apps[0].applied == STEPS
    assert place.rows("SELECT thread_id FROM jido_threads") == [("t",)]
    await verified(config(place.url))


async def test_complete_tables_are_adopted_without_ddl(place: Place) -> None:
    """A host whose own migration called `ddl` gets the steps listed, and no lock on its tables."""
    async with opened(place.url):
        pass
    report = await upgrade(config(place.url))
    assert (report.apps[0].applied, report.apps[0].adopted) == ((), STEPS)
    assert place.listed("jido_agents") == FILES


async def test_lost_tables_are_made_again(place: Place) -> None:
    """Steps that are listed but whose work is gone (a table dropped by hand) are repeated, and listed once."""
    await upgrade(config(place.url))
    place.rows("DROP TABLE jido_threads")
    report = await upgrade(config(place.url))
    assert report.apps[0].applied == STEPS
    assert place.listed("jido_agents") == FILES
    await verified(config(place.url))


async def test_what_repeating_the_steps_does_not_cure_is_told(place: Place) -> None:
    """An index of somebody's that has our index's name is passed over by every step."""
    await upgrade(config(place.url))
    place.rows("DROP INDEX idx_jido_checkp_created_fab894")
    place.rows("CREATE INDEX idx_jido_checkp_created_fab894 ON jido_checkpoints (version)")
    with pytest.raises(SchemaError, match=r"no index on \(created_at_ms, key_hash\)"):
        await upgrade(config(place.url))


async def test_fake_lists_without_running(place: Place) -> None:
    """As Aerich's --fake does."""
    report = await upgrade(config(place.url), fake=True)
    assert (report.apps[0].applied, report.apps[0].adopted) == ((), STEPS)
    assert place.tables() == {"aerich"}
    assert place.listed("jido_agents") == FILES


@pytest.mark.parametrize("form", ["dict", "class", "path", "mapping"])
async def test_forms_of_a_config(
    form: str, sqlite_place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A dict, Tortoise's class, or where to import either from; the host's value is left as it is."""
    settings = config(sqlite_place.url)
    (tmp_path / "settings_of_test_forms.py").write_text(f"TORTOISE_ORM = {settings!r}")
    monkeypatch.syspath_prepend(tmp_path)
    given = {
        "dict": settings,
        "class": TortoiseConfig.from_dict(settings),
        "path": "settings_of_test_forms.TORTOISE_ORM",
        "mapping": MappingProxyType(settings),
    }
    before = repr(settings)
    await upgrade(given[form])  # type: ignore[arg-type]
    assert sqlite_place.listed("jido_agents") == FILES
    assert repr(settings) == before


@pytest.mark.parametrize("given", ["no.such.CONFIG", "settings", "", {}, {"connections": {}, "apps": {}}, 7, "os.sep"])
async def test_what_is_no_config(given: Any) -> None:
    """The error says so before anything is opened."""
    with pytest.raises(ConfigError, match=r"Tortoise config"):
        await upgrade(given)


async def test_an_app_whose_models_cannot_be_imported(sqlite_place: Place) -> None:
    """A typo in the host's config is its error, and nothing was opened."""
    settings = config(sqlite_place.url)
    settings["apps"]["shop"] = {"models": ["shop.modles"]}
    with pytest.raises(ConfigError, match=r"names models in 'shop\.modles': No module named 'shop'"):
        await upgrade(settings)


async def test_a_config_without_our_app(sqlite_place: Place) -> None:
    """The error names the line to add."""
    settings = {"connections": {"default": sqlite_place.url}, "apps": {"aerich": {"models": ["aerich.models"]}}}
    with pytest.raises(AppNotRegisteredError, match=r"\*\*jido_tortoise\.apps\(\)"):
        await upgrade(settings)
    assert sqlite_place.tables() == set()


async def test_a_database_in_memory_is_refused() -> None:
    """Tables made there would be gone before the host connects; the error names what to call instead."""
    with pytest.raises(InvalidInputError, match=r"schema\.create\(\)"):
        await upgrade(config("sqlite://:memory:"))


# -- where it does it ---------------------------------------------------------------------------------------------


def test_another_label(host: Host) -> None:
    """Listed under the host's label, with models of that label, so that plain Aerich goes on from there."""
    host.settings("{'shop': {'models': ['shop.models', 'aerich.models']}, 'robots': jt.apps()['jido_agents']}")
    assert "robots applied 1_guards" in host.upgrade()
    assert host.place.listed("robots") == FILES
    ((content,),) = host.place.rows("SELECT content FROM aerich WHERE version = '1_guards.py'")
    assert '"robots.JidoThread"' in content
    assert "jido_agents" not in content
    host.verify()


def test_a_plain_list_of_models(host: Host) -> None:
    """Our models in the host's only app: its list of migrations is its own, so ours are listed beside it."""
    host.settings("{'shop': {'models': ['shop.models', 'jido_tortoise.agents.models', 'aerich.models']}}")
    assert "shop applied 1_guards" in host.upgrade()
    assert host.place.listed("shop") == []
    assert host.place.listed("jido_agents") == FILES
    assert host.upgrade() == ""
    # Aerich takes the last line of an app for the state of all its models: a line of ours would make it lose the shop.
    host.aerich("init-db")
    host.write("shop/models.py", (host.folder / "shop/models.py").read_text().replace("max_length=50", "max_length=60"))
    host.aerich("migrate") if host.place.dialect == "postgres" else None
    (_, *changes) = sorted((host.folder / "migrations/shop").glob("*.py"))
    assert not any("jido" in file.read_text().partition("MODELS_STATE")[0] for file in changes)


def test_models_that_the_host_only_re_exports(host: Host) -> None:
    """What counts is which models the app has, not which module they were named by."""
    host.write("shop/models.py", "from jido_tortoise.agents.models import *\n")
    host.settings("{'shop': {'models': ['shop.models']}}")
    assert "shop applied 0_init" in host.upgrade()
    assert host.place.listed("shop") == FILES


async def test_a_second_connection(place: Place, tmp_path: Path) -> None:
    """Our tables on a connection of their own; Aerich's table stays where Aerich has it."""
    host_url = f"sqlite://{tmp_path / 'host.db'}"
    settings = {
        "connections": {"default": host_url, "agents": place.url},
        "apps": {"aerich": {"models": ["aerich.models"]}, **apps(connection="agents")},
    }
    assert (await upgrade(settings)).apps[0].connection == "agents"
    assert place.tables() == OURS
    assert Place("sqlite", host_url).tables() == {"aerich"}
    assert Place("sqlite", host_url).listed("jido_agents") == FILES
    assert not (await upgrade(settings)).changed
    await verified(settings)


async def test_a_second_connection_without_aerich_in_the_config(place: Place, tmp_path: Path) -> None:
    """Then the list is kept beside our tables, and the host's database is not even opened."""
    host_file = tmp_path / "host.db"
    settings = {
        "connections": {"default": f"sqlite://{host_file}", "agents": place.url},
        "apps": apps(connection="agents"),
    }
    await upgrade(settings)
    assert place.listed("jido_agents") == FILES
    assert not host_file.exists()


async def test_a_schema_beside_the_hosts_tables(pg_place: Place) -> None:
    """`schema=` makes it; two of them in one database know nothing of each other, nor do the host's tables."""
    pg_place.rows("CREATE TABLE jido_threads (id INT, title TEXT)")
    for schema in ("jido", 'te"nant'):
        report = await upgrade(config(pg_place.url), schema=schema)
        assert (report.apps[0].schema, report.apps[0].applied) == (schema, STEPS)
        await verified(config(pg_place.url), schema)
    pg_place.rows('DROP SCHEMA "jido" CASCADE')
    await verified(config(pg_place.url), 'te"nant')
    assert not (await upgrade(config(pg_place.url), schema='te"nant')).changed
    assert (await upgrade(config(pg_place.url), schema="jido")).changed


async def test_a_schema_on_a_second_connection(pg_place: Place, tmp_path: Path) -> None:
    """Each schema has its own list beside its tables: one of the host's would take two schemas for one."""
    host_file = tmp_path / "host.db"
    settings = {
        "connections": {"default": f"sqlite://{host_file}", "agents": pg_place.url},
        "apps": {"aerich": {"models": ["aerich.models"]}, **apps(connection="agents")},
    }
    for schema in ("one", "two"):
        assert (await upgrade(settings, schema=schema)).apps[0].applied == STEPS
    assert not host_file.exists()


async def test_the_search_path_of_the_connection(pg_place: Place) -> None:
    """A connection with `?schema=` has our tables there, and the schema is made when it is missing."""
    url = f"{pg_place.url}{'&' if '?' in pg_place.url else '?'}schema=apart"
    await upgrade(config(url))
    await verified(config(url))
    assert pg_place.rows("SELECT DISTINCT schemaname::text FROM pg_tables WHERE tablename LIKE 'jido%'") == [("apart",)]
    assert not (await upgrade(config(url))).changed


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A slip of the pen in a path is no matter of a database that is down."""
    with pytest.raises(ConfigError, match=rf"no folder {tmp_path}/nowhere for the SQLite file: make it first"):
        await upgrade(config(f"sqlite://{tmp_path}/nowhere/agents.db"))


async def test_a_schema_on_sqlite_is_refused(sqlite_place: Place) -> None:
    """SQLite has none, and forgetting the wish would put the tables somewhere else."""
    with pytest.raises(InvalidInputError, match="schema: expected None on SQLite"):
        await upgrade(config(sqlite_place.url), schema="jido")


async def test_create_works_on_the_current_connection() -> None:
    """Also in memory, where `upgrade` cannot; a second call has nothing to do."""
    async with opened("sqlite://:memory:", tables=False):
        assert (await create()).apps[0].applied == STEPS
        await verify()
        assert not (await create()).changed


async def test_create_on_a_database_that_lasts(place: Place) -> None:
    """It lists its steps as `upgrade` does, so that either may come next."""
    async with opened(place.url, tables=False):
        await create()
        await verify()
    assert not (await upgrade(config(place.url))).changed


async def test_the_hosts_live_connections_are_left_alone(place: Place) -> None:
    """Upgrading in the lifespan of a running service: its context, connection and open transaction stay."""
    async with opened(place.url) as db:
        client = db.client
        await upgrade(config(place.url))
        assert get_current_context() is db.context
        assert db.client is client
        await JidoThread.create(thread_id="t", rev=0, first_seq=0, metadata={}, created_at_ms=1, updated_at_ms=1)
        assert await JidoThread.all().count() == 1


async def test_the_hosts_transaction_is_left_alone(pg_place: Place) -> None:
    """Tables that were made while the host was in a transaction stay when that one is rolled back."""
    async with opened(pg_place.url, tables=False):
        with pytest.raises(ZeroDivisionError):
            async with in_transaction():
                await upgrade(config(pg_place.url))
                raise ZeroDivisionError
    await verified(config(pg_place.url))


async def test_a_pool_of_one_connection(pg_place: Place) -> None:
    """The lock is held on a connection that is not the pool's: with one for both it would wait for itself."""
    url = f"{pg_place.url}{'&' if '?' in pg_place.url else '?'}minsize=1&maxsize=1"
    async with asyncio.timeout(20):
        assert (await upgrade(config(url))).changed


# -- what it must not do ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", sorted(OURS))
async def test_a_foreign_table_is_named_and_nothing_is_changed(place: Place, table: str) -> None:
    """A `jido_threads` of somebody else is neither used nor touched, nor are our other tables made beside it."""
    place.rows(f"CREATE TABLE {table} (no INT, title TEXT)")
    with pytest.raises(SchemaError, match=rf"{table} is not ours: it has no .*, only no, title") as caught:
        await upgrade(config(place.url))
    assert caught.value.reason == "schema_foreign"
    assert place.tables() == {table}


async def test_a_foreign_table_named_aerich(place: Place) -> None:
    """The list of steps is not written into somebody else's table."""
    place.rows("CREATE TABLE aerich (id INT)")
    with pytest.raises(SchemaError, match="aerich is not ours"):
        await upgrade(config(place.url))
    assert place.tables() == {"aerich"}


@pytest.fixture
def failing_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a third step whose second statement fails."""
    sql = ("CREATE TABLE jido_half (id INT)", "SELECT no_such_function()")
    step = Step(name="2_half", version=2, up={"sqlite": sql, "postgres": sql}, down={}, state="")
    agents = FAMILIES["agents"]
    # Its table is expected, so that the step is needed.
    models = "tests.migration.ext.half"
    monkeypatch.setitem(FAMILIES, "agents", replace(agents, steps=(*agents.steps, step), models=models))


@pytest.mark.usefixtures("failing_step")
async def test_a_step_that_fails_leaves_nothing_behind(place: Place) -> None:
    """All steps of an app or none, on SQLite too, where scripts commit as they go."""
    with pytest.raises(StorageError):
        await upgrade(config(place.url))
    assert place.tables() == set()
    with pytest.raises(StorageError):  # and the lock was given back
        await upgrade(config(place.url))


async def test_a_cancelled_upgrade_leaves_nothing_behind(place: Place) -> None:
    """Whenever it is cancelled, the next one finds all or nothing, and no lock that is still held."""
    for step in range(40):
        task = asyncio.ensure_future(upgrade(config(place.url)))
        await asyncio.sleep(step * 0.0008)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
        assert place.tables() in (set(), OURS | {"aerich"})
    async with asyncio.timeout(20):
        await upgrade(config(place.url))
    await verified(config(place.url))


async def test_a_database_that_is_not_there(pg_place: Place) -> None:
    """It is our error, with the driver's as its cause, and no use to be tried again."""
    with pytest.raises(StorageError) as caught:
        await upgrade(config(with_database(pg_place.url, "jido_no_such_database")))
    assert not caught.value.retryable
    assert isinstance(caught.value.__cause__, asyncpg.InvalidCatalogNameError)


# -- one at a time ------------------------------------------------------------------------------------------------


def test_several_processes_at_once(host: Host) -> None:
    """One does it, the others wait and find it done; each step is listed once."""
    code = (
        "import asyncio; from jido_tortoise import schema;"
        "r = asyncio.run(schema.upgrade('settings.TORTOISE_ORM')); print('CHANGED' if r.changed else 'same')"
    )
    said = host.together(*[("-c", code)] * 4)
    assert sorted(words.split()[-1] for words in said) == ["CHANGED", "same", "same", "same"], said
    assert host.place.listed("jido_agents") == FILES


async def test_several_tasks_at_once(place: Place) -> None:
    """The same within one process."""
    reports = await asyncio.gather(*(upgrade(config(place.url)) for _ in range(4)))
    assert sorted(report.changed for report in reports) == [False, False, False, True]
    assert place.listed("jido_agents") == FILES


async def test_waiting_is_told(place: Place) -> None:
    """Who waits for another upgrade says so once, goes on when that one ends, and waits for no lock of the host's."""
    told: list[Progress] = []
    holding, release = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        from jido_tortoise.schema.execute import db_of
        from jido_tortoise.schema.locks import one_at_a_time

        async with TortoiseContext() as context:
            await context.init(config=config(place.url))
            async with one_at_a_time(db_of("default"), lambda: None):
                holding.set()
                await release.wait()

    holder = asyncio.ensure_future(hold())
    await holding.wait()
    waiter = asyncio.ensure_future(upgrade(config(place.url), progress=told.append))
    await asyncio.sleep(0.3)
    assert [one.what for one in told] == ["waiting"]
    assert not waiter.done()
    release.set()
    await holder
    assert (await waiter).changed


async def test_steps_of_plain_aerich_are_waited_for(pg_place: Place) -> None:
    """Aerich takes no lock for an upgrade, but its every step does, and so do ours."""
    raw = await asyncpg.connect(pg_place.url)
    try:
        await raw.execute("SELECT pg_advisory_lock($1)", STEP_LOCK)
        task = asyncio.ensure_future(upgrade(config(pg_place.url)))
        await asyncio.sleep(0.5)
        assert not task.done()
        assert pg_place.tables() == set()
        await raw.execute(ddl("agents", "postgres", version=1) + "".join(placed(MAKE["postgres"], "postgres")))
        listing = "INSERT INTO aerich (version, app, content) VALUES ($1, 'jido_agents', '{}')"
        await raw.executemany(listing, [(file,) for file in FILES])
    finally:
        await raw.close()
    assert not (await task).changed  # what was done meanwhile is looked at only now
    assert pg_place.listed("jido_agents") == FILES


async def test_the_lock_is_given_back(pg_place: Place) -> None:
    """No session keeps it."""
    await upgrade(config(pg_place.url))
    # Of this database alone: the catalog shows those of all databases, and other tests upgrade theirs.
    key = (
        "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database"
        f" WHERE d.datname = current_database() AND locktype = 'advisory' AND objid = {UPGRADE_LOCK & 0xFFFFFFFF}"
    )
    assert pg_place.rows(key) == [(0,)]


def test_where_the_lock_file_is() -> None:
    """Beside the database, and nowhere for one in memory."""
    assert lock_file("/data/app.db") == "/data/app.db.jido-upgrade.lock"
    assert lock_file("file:/data/app.db?nolock=1") == "/data/app.db.jido-upgrade.lock"
    assert lock_file(":memory:") is lock_file("") is lock_file("file:x?mode=memory&cache=shared") is None


# -- the host's apps too ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("measured")
def test_all_upgrades_the_host_by_the_tool_that_it_has(host: Host) -> None:
    """Ours first; then the host's app by Aerich, from the location that its pyproject.toml names."""
    host.aerich("init-migrations")
    assert "shop" not in host.upgrade().split()
    assert "shop applied" in host.upgrade("all=True")
    assert "shop_products" in host.place.tables()
    assert host.upgrade("all=True") == ""


@pytest.mark.usefixtures("measured")
def test_all_upgrades_native_apps(host: Host) -> None:
    """Likewise an app that has Tortoise's own migrations."""
    host.settings("{'shop': {'models': ['shop.models'], 'migrations': 'shop.migrations'}, **jt.apps()}")
    host.write("shop/migrations/__init__.py", "")
    host.tortoise("makemigrations", "shop")
    assert "shop applied 0001_initial" in host.upgrade("all=True")
    assert "shop_products" in host.place.tables()
    assert host.upgrade("all=True") == ""


def test_all_leaves_apps_without_migrations(host: Host) -> None:
    """A host that has none yet is not an error; and ours, which has Tortoise's too, is upgraded by us alone."""
    told = host.upgrade("all=True")
    assert "shop" not in told.split()
    assert told.count("jido_agents applied") == len(STEPS)
    assert host.place.tables() == {*OURS, "aerich"}


@pytest.mark.usefixtures("measured")
def test_a_migration_of_the_host_that_fails_is_named(host: Host) -> None:
    """By its app, and not as if our tables were missing; ours are there."""
    host.write("migrations/shop/0_broken.py", "async def upgrade(db):\n    return 'INSERT INTO nowhere VALUES (1)'\n")
    said = host.upgrade("all=True", check=False)
    assert re.search("StorageError: a migration of the app 'shop' failed: .*nowhere", said), said
    host.verify()


async def test_ddl_by_the_host_then_upgrade_then_tortoise(place: Place) -> None:
    """The routes may follow one another in any order."""
    from tests.migration.test_same_schema import by_aerich, by_tortoise

    async with opened(place.url, tables=False) as db:
        await db.client.execute_script(ddl("agents", place.dialect, version=1))
    await by_tortoise(place)
    await by_aerich(place)
    before = snapshot(place)
    assert not (await upgrade(config(place.url))).changed
    assert snapshot(place) == before
