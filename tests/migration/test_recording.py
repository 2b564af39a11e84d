"""The family `recording` by every route, alone and beside `agents`: what the tests of `agents` say holds for it too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aerich import Command
from tortoise import Tortoise
from tortoise.context import TortoiseContext
from tortoise.migrations.api import migrate

from jido_tortoise.schema import apps, ddl, migrations_location, upgrade, vendor, verify
from jido_tortoise.schema.ddl import placed
from jido_tortoise.schema.families import FAMILIES
from tests.conftest import opened
from tests.migration.catalog import snapshot
from tests.migration.hosts import Host, Place

FILES = ["0_init.py", "1_guards.py"]
OURS = {"asm_sessions", "asm_runs", "asm_events", "asm_session_sequences", "asm_artifacts"}
SHOP = "'shop': {'models': ['shop.models', 'aerich.models']}"


def config(place: Place) -> dict[str, Any]:
    """Give a config with our app and Aerich's."""
    aerich = {"models": ["aerich.models"], "default_connection": "default"}
    return {"connections": {"default": place.url}, "apps": {**apps("recording"), "aerich": aerich}}


async def by_upgrade(place: Place) -> None:
    """Our own runner."""
    await upgrade(config(place))


async def by_aerich(place: Place) -> None:
    """Aerich on our files."""
    async with TortoiseContext():
        await Tortoise.init(config=config(place))
        command = Command(config(place), app="jido_recording", location=str(migrations_location()))
        await command.init()
        await command.upgrade()


async def by_tortoise(place: Place) -> None:
    """Tortoise's own migrations."""
    async with TortoiseContext():
        await migrate(config=config(place), app_labels=["jido_recording"])


async def by_generating(place: Place) -> None:
    """`generate_schemas`, and the list of what it cannot express."""
    async with opened(place.url, tables=False, families=("recording",)) as db:
        await db.context.generate_schemas()
        for guard in FAMILIES["recording"].guards:
            for sql in placed(guard.up[place.dialect], None):
                await db.client.execute_query(sql)


async def by_generating_and_upgrade(place: Place) -> None:
    """`generate_schemas`, as a host's `aerich init-db` does it, and our runner after it."""
    async with opened(place.url, tables=False, families=("recording",)) as db:
        await db.context.generate_schemas()
    await upgrade(config(place))


ROUTES: list[Callable[[Place], Awaitable[None]]] = [
    by_upgrade,
    by_aerich,
    by_tortoise,
    by_generating,
    by_generating_and_upgrade,
]


@pytest.fixture
def other_place(place: Place, request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Give a second empty database of the same dialect."""
    if place.dialect == "sqlite":
        yield Place("sqlite", f"sqlite://{tmp_path / 'other.db'}")
        return
    from jido_tortoise_testing.postgres import fresh_database

    with fresh_database(request.getfixturevalue("pg_server")) as url:
        yield Place("postgres", url)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.__name__)
async def test_every_route_makes_the_same_tables(
    route: Callable[[Place], Awaitable[None]], place: Place, other_place: Place
) -> None:
    """Columns with types, defaults and order, indexes and constraints with their names, triggers, functions."""
    async with opened(place.url, tables=False, families=("recording",)) as db:
        await db.client.execute_script(ddl("recording", place.dialect, version=1))
    await route(other_place)
    made = snapshot(other_place, prefix="asm")
    assert made == snapshot(place, prefix="asm")
    assert len(made["columns"]) == 58
    async with opened(other_place.url, tables=False, families=("recording",)):
        await verify()


async def test_ddl_goes_down_again(place: Place) -> None:
    """Nothing of ours is left; down again does no harm."""
    async with opened(place.url, families=("recording",)) as db:
        for _ in range(2):
            await db.client.execute_script(ddl("recording", place.dialect, version=1, down=True))
    assert not any(snapshot(place, prefix="asm").values())


def test_aerich_from_a_scratch_host(host: Host) -> None:
    """Literally `aerich --app jido_recording upgrade`, then back; a host that has no agents."""
    host.settings(f"{{{SHOP}, **jt.apps('recording')}}")
    host.write(
        "aerich.jido.toml",
        f'[tool.aerich]\ntortoise_orm = "settings.TORTOISE_ORM"\nlocation = "{migrations_location().as_posix()}"\n',
    )
    ours = ["-c", "aerich.jido.toml", "--app", "jido_recording"]
    said = host.aerich(*ours, "upgrade")
    assert [said.count(file) for file in FILES] == [1, 1]
    host.verify()
    assert host.place.tables() == OURS | {"aerich"}
    assert host.upgrade() == ""
    host.aerich("init-db")
    for file in reversed(FILES):
        assert file in host.aerich(*ours, "downgrade", "--yes")
    assert host.place.tables() == {"aerich", "shop_products"}
    assert not any(snapshot(host.place, prefix="asm").values())


def test_aerich_sees_no_changes(host: Host) -> None:
    """The models are what the last step says: a host's `aerich migrate` has nothing to write."""
    host.settings(f"{{{SHOP}, **jt.apps('recording')}}")
    vendor(host.folder / "migrations", "recording")
    host.aerich("--app", "jido_recording", "upgrade")
    assert "No changes detected" in host.aerich("--app", "jido_recording", "migrate", "--no-input")


def test_tortoise_from_a_scratch_host(host: Host) -> None:
    """Tortoise's own tool up and down, with agents beside; it too has nothing to write afterwards."""
    host.settings("{'shop': {'models': ['shop.models']}, **jt.apps('agents', 'recording')}")
    host.tortoise("migrate")
    assert host.place.tables() > OURS
    host.verify()
    host.tortoise("downgrade", "jido_recording", "__first__")
    assert not host.place.tables() & OURS
    assert "jido_threads" in host.place.tables()
    assert not any(snapshot(host.place, prefix="asm").values())


def test_both_families_in_one_upgrade(host: Host) -> None:
    """Each is listed under its own label, and another label is the host's to choose."""
    host.settings(f"{{{SHOP}, **jt.apps(), 'talks': jt.apps('recording')['jido_recording']}}")
    said = host.upgrade()
    assert "jido_agents applied 0_init" in said
    assert "talks applied 1_guards" in said
    host.verify()
    assert host.place.listed("talks") == host.place.listed("jido_agents") == FILES
