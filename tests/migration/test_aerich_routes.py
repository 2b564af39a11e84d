"""Plain `aerich` in a scratch host: every route of docs/how-to/migrations.md, before and after the host's own start."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from jido_tortoise.schema import migrations_location, vendor
from jido_tortoise.schema.locks import STEP_LOCK
from tests.migration.catalog import snapshot
from tests.migration.hosts import Host, Place, make_host

FILES = ["0_init.py", "1_guards.py"]
OURS = {"jido_checkpoints", "jido_threads", "jido_thread_entries"}


def by_config_file(host: Host) -> list[str]:
    """A second config file, whose location is the installed folder."""
    host.write(
        "aerich.jido.toml",
        f'[tool.aerich]\ntortoise_orm = "settings.TORTOISE_ORM"\nlocation = "{migrations_location().as_posix()}"\n',
    )
    return ["-c", "aerich.jido.toml"]


def by_link(host: Host) -> list[str]:
    """A symbolic link in the host's folder of migrations."""
    (host.folder / "migrations").mkdir(exist_ok=True)
    os.symlink(migrations_location() / "jido_agents", host.folder / "migrations/jido_agents")
    return []


def by_stubs(host: Host) -> list[str]:
    """Files of the host that run ours."""
    vendor(host.folder / "migrations")
    return []


Route = Callable[[Host], list[str]]


@pytest.fixture(autouse=True)
def _installed_files_stay() -> Iterator[None]:
    """No route may write into the installed package."""
    before = {file: file.read_text("utf-8") for file in migrations_location().rglob("*.py")}
    yield
    assert {file: file.read_text("utf-8") for file in migrations_location().rglob("*.py")} == before


def test_ours_before_the_hosts(host: Host) -> None:
    """Up on an empty database, then the host's own start; our own runner finds nothing to do; down leaves the host."""
    ours = by_config_file(host)
    said = host.aerich(*ours, "--app", "jido_agents", "upgrade")
    assert [said.count(file) for file in FILES] == [1, 1]
    host.verify()
    assert host.place.listed("jido_agents") == FILES
    assert host.upgrade() == ""
    assert "No upgrade items found" in host.aerich(*ours, "--app", "jido_agents", "upgrade")
    assert "No available heads" in host.aerich(*ours, "--app", "jido_agents", "heads")

    host.aerich("init-db")
    assert host.place.tables() == OURS | {"aerich", "shop_products"}
    host.verify()

    for file in reversed(FILES):
        assert file in host.aerich(*ours, "--app", "jido_agents", "downgrade", "--yes")
    assert host.place.tables() == {"aerich", "shop_products"}
    assert not any(snapshot(host.place).values())
    assert host.place.listed("jido_agents") == []
    assert len(host.place.listed("shop")) == 1


@pytest.mark.parametrize("route", [by_link, by_stubs], ids=lambda route: route.__name__)
def test_other_routes_to_the_same(host: Host, route: Route) -> None:
    """Up by the host's own config, and one step down that leaves the tables and takes the guard."""
    ours = route(host)
    host.aerich(*ours, "--app", "jido_agents", "upgrade")
    host.verify()
    assert "1_guards.py" in host.aerich(*ours, "--app", "jido_agents", "downgrade", "--yes")
    left = snapshot(host.place)
    assert (len(left["columns"]), left["triggers"]) == (25, [])
    assert "applied 1_guards" in host.upgrade()


def test_ours_after_the_hosts(host: Host) -> None:
    """The host's `init-db` makes our tables too, in its own first migration; ours then only add what models lack."""
    host.aerich("init-db")
    assert host.place.tables() == OURS | {"aerich", "shop_products"}
    host.aerich(*by_config_file(host), "--app", "jido_agents", "upgrade")
    host.verify()
    assert host.place.listed("jido_agents") == FILES
    assert host.upgrade() == ""


def test_a_cloned_repository(host: Host) -> None:
    """Files of the host that were written elsewhere, with our tables in them, on an empty database."""
    host.aerich("init-migrations")
    by_stubs(host)
    host.aerich("--app", "jido_agents", "upgrade")
    host.aerich("upgrade")
    assert host.place.tables() == OURS | {"aerich", "shop_products"}
    host.verify()


def test_aerich_sees_no_changes_in_our_models(host: Host) -> None:
    """`aerich migrate` would otherwise write nonsense: the state that we list is that of the models."""
    by_stubs(host)
    host.aerich("--app", "jido_agents", "upgrade")
    assert "No changes detected" in host.aerich("--app", "jido_agents", "migrate", "--no-input")


def test_aerich_sees_no_changes_after_our_own_runner(host: Host) -> None:
    """Likewise when the steps were listed by `jido-tortoise upgrade`."""
    by_stubs(host)
    host.upgrade()
    assert "No changes detected" in host.aerich("--app", "jido_agents", "migrate", "--no-input")


def test_another_label(host: Host) -> None:
    """The host's own name for our app, by plain Aerich: same tables, and no changes seen afterwards."""
    host.settings("{'shop': {'models': ['shop.models', 'aerich.models']}, 'robots': jt.apps()['jido_agents']}")
    vendor(host.folder / "migrations", label="robots")
    host.aerich("--app", "robots", "upgrade")
    host.verify()
    assert host.place.listed("robots") == FILES
    assert host.upgrade() == ""
    assert "No changes detected" in host.aerich("--app", "robots", "migrate", "--no-input")


def test_a_second_connection(host: Host, tmp_path: Path) -> None:
    """Our tables on a connection of their own, where the host's `init-db` has made Aerich's table on the other one."""
    other = Place("sqlite", f"sqlite://{tmp_path / 'other.db'}")
    host.settings(
        "{'shop': {'models': ['shop.models', 'aerich.models'], 'default_connection': 'shop'}, **jt.apps()}",
        connections=f"'shop': {other.url!r}",
    )
    host.aerich("init-db")
    by_stubs(host)
    host.aerich("--app", "jido_agents", "upgrade")
    host.verify()
    assert other.tables() == {"aerich", "shop_products"}
    assert other.listed("jido_agents") == FILES
    assert host.upgrade() == ""


def test_one_app_in_all(host: Host) -> None:
    """A host with no models of its own, whose config does not name Aerich's."""
    host.settings("jt.apps()")
    by_stubs(host)
    host.aerich("upgrade")
    host.verify()


def test_several_at_once(host: Host) -> None:
    """Plain Aerich has no lock; our steps have, so that none of them fails."""
    ours = by_config_file(host)
    host.together(*[("-m", "aerich", *ours, "--app", "jido_agents", "upgrade")] * 3)
    host.verify()


def test_steps_wait_for_one_another(pg_place: Place, tmp_path: Path) -> None:
    """While somebody else runs a step, Aerich waits: two that make one table at once would fail on PostgreSQL."""
    host = make_host(tmp_path / "host", pg_place)
    with held(pg_place.url, STEP_LOCK):
        process = host.start("-m", "aerich", *by_config_file(host), "--app", "jido_agents", "upgrade")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        assert not pg_place.tables() & OURS
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    host.verify()


@contextmanager
def held(url: str, lock: int) -> Iterator[None]:
    """Hold an advisory lock in a session of its own."""

    async def hold() -> None:
        raw = await asyncpg.connect(url)
        await raw.execute("SELECT pg_advisory_lock($1)", lock)
        holding.set()
        await asyncio.to_thread(release.wait)
        await raw.close()

    holding, release = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(hold()))
    thread.start()
    try:
        assert holding.wait(10)
        yield
    finally:
        release.set()
        thread.join()


def test_a_foreign_table_stops_aerich_too(host: Host) -> None:
    """IF NOT EXISTS would pass over a table of somebody else, and the next step would fail half way."""
    host.place.rows("CREATE TABLE jido_threads (id INT, title TEXT)")
    said = host.aerich(*by_config_file(host), "--app", "jido_agents", "upgrade", check=False)
    assert "jido_threads is not ours" in said
    assert host.place.tables() - {"aerich"} == {"jido_threads"}


def test_a_migration_of_the_hosts_own(host: Host) -> None:
    """A host that reviews all SQL calls `ddl` in a step of its own, up and down."""
    host.aerich("init-migrations")
    (first,) = (host.folder / "migrations/shop").glob("*.py")
    state = first.read_text("utf-8").partition("MODELS_STATE")[2]
    host.write(
        "migrations/shop/1_20260101000000_agents.py",
        "from jido_tortoise import schema\n\n"
        "async def upgrade(db):\n"
        '    return schema.ddl("agents", db.capabilities.dialect, version=1)\n\n'
        "async def downgrade(db):\n"
        '    return schema.ddl("agents", db.capabilities.dialect, version=1, down=True)\n\n'
        f"MODELS_STATE{state}",
    )
    host.aerich("init-db")  # a fresh database with files: Aerich applies them
    host.verify()
    assert "adopted 1_guards" in host.upgrade()
    host.aerich("downgrade", "--yes")
    assert host.place.tables() == {"aerich", "shop_products"}


def test_a_failing_script_changes_nothing(host: Host) -> None:
    """On SQLite a script commits Aerich's transaction first; ours brings its own, and a failure undoes all of it."""
    host.write(
        "migrations/jido_agents/0_init.py",
        "from jido_tortoise.schema import files\n\n"
        "async def upgrade(db):\n"
        "    script = await files.upgrade_script(db, 'agents', '0_init')\n"
        "    cut = script.rindex('CREATE TABLE')\n"
        "    return script[:cut] + 'SELECT no_such_function();' + script[cut:]\n",
    )
    said = host.aerich("--app", "jido_agents", "upgrade", check=False)
    assert "no_such_function" in said
    assert host.place.tables() == set()
