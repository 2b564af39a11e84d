"""The families beside `agents` by every route: what the tests of `agents` say holds for them too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Ours:
    """A family, and what its tables are called."""

    name: str
    prefix: str
    tables: frozenset[str]
    #: How many columns they have in all.
    columns: int

    @property
    def label(self) -> str:
        """Of its app."""
        return f"jido_{self.name}"


FAMILIES_BESIDE = [
    Ours("adk", "adk", frozenset({"adk_sessions", "adk_events", "adk_app_states", "adk_user_states"}), 41),
    Ours(
        "recording",
        "asm",
        frozenset({"asm_sessions", "asm_runs", "asm_events", "asm_session_sequences", "asm_artifacts"}),
        58,
    ),
]


@pytest.fixture(params=FAMILIES_BESIDE, ids=lambda ours: ours.name)
def ours(request: pytest.FixtureRequest) -> Ours:
    """Give each of the families."""
    found: Ours = request.param
    return found


SHOP = "'shop': {'models': ['shop.models', 'aerich.models']}"


def config(ours: Ours, place: Place) -> dict[str, Any]:
    """Give a config with our app and Aerich's."""
    aerich = {"models": ["aerich.models"], "default_connection": "default"}
    return {"connections": {"default": place.url}, "apps": {**apps(ours.name), "aerich": aerich}}


async def by_upgrade(ours: Ours, place: Place) -> None:
    """Our own runner."""
    await upgrade(config(ours, place))


async def by_aerich(ours: Ours, place: Place) -> None:
    """Aerich on our files."""
    async with TortoiseContext():
        await Tortoise.init(config=config(ours, place))
        command = Command(config(ours, place), app=ours.label, location=str(migrations_location()))
        await command.init()
        await command.upgrade()


async def by_tortoise(ours: Ours, place: Place) -> None:
    """Tortoise's own migrations."""
    async with TortoiseContext():
        await migrate(config=config(ours, place), app_labels=[ours.label])


async def by_generating(ours: Ours, place: Place) -> None:
    """`generate_schemas`, and the list of what it cannot express."""
    async with opened(place.url, tables=False, families=(ours.name,)) as db:
        await db.context.generate_schemas()
        for guard in FAMILIES[ours.name].guards:
            for sql in placed(guard.up[place.dialect], None):
                await db.client.execute_query(sql)


async def by_generating_and_upgrade(ours: Ours, place: Place) -> None:
    """`generate_schemas`, as a host's `aerich init-db` does it, and our runner after it."""
    async with opened(place.url, tables=False, families=(ours.name,)) as db:
        await db.context.generate_schemas()
    await upgrade(config(ours, place))


Route = Callable[[Ours, Place], Awaitable[None]]
ROUTES: list[Route] = [
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
async def test_every_route_makes_the_same_tables(route: Route, ours: Ours, place: Place, other_place: Place) -> None:
    """Columns with types, defaults and order, indexes and constraints with their names, triggers, functions."""
    async with opened(place.url, tables=False, families=(ours.name,)) as db:
        await db.client.execute_script(ddl(ours.name, place.dialect, version=1))
    await route(ours, other_place)
    made = snapshot(other_place, prefix=ours.prefix)
    assert made == snapshot(place, prefix=ours.prefix)
    assert len(made["columns"]) == ours.columns
    async with opened(other_place.url, tables=False, families=(ours.name,)):
        await verify()


async def test_ddl_goes_down_again(ours: Ours, place: Place) -> None:
    """Nothing of ours is left; down again does no harm."""
    async with opened(place.url, families=(ours.name,)) as db:
        for _ in range(2):
            await db.client.execute_script(ddl(ours.name, place.dialect, version=1, down=True))
    assert not any(snapshot(place, prefix=ours.prefix).values())


def test_aerich_from_a_scratch_host(ours: Ours, host: Host) -> None:
    """Literally `aerich --app LABEL upgrade`, then back; a host that has no agents."""
    host.settings(f"{{{SHOP}, **jt.apps('{ours.name}')}}")
    host.write(
        "aerich.jido.toml",
        f'[tool.aerich]\ntortoise_orm = "settings.TORTOISE_ORM"\nlocation = "{migrations_location().as_posix()}"\n',
    )
    app = ["-c", "aerich.jido.toml", "--app", ours.label]
    said = host.aerich(*app, "upgrade")
    assert [said.count(file) for file in FILES] == [1, 1]
    host.verify()
    assert host.place.tables() == ours.tables | {"aerich"}
    assert host.upgrade() == ""
    host.aerich("init-db")
    for file in reversed(FILES):
        assert file in host.aerich(*app, "downgrade", "--yes")
    assert host.place.tables() == {"aerich", "shop_products"}
    assert not any(snapshot(host.place, prefix=ours.prefix).values())


def test_aerich_sees_no_changes(ours: Ours, host: Host) -> None:
    """The models are what the last step says: a host's `aerich migrate` has nothing to write."""
    host.settings(f"{{{SHOP}, **jt.apps('{ours.name}')}}")
    vendor(host.folder / "migrations", ours.name)
    host.aerich("--app", ours.label, "upgrade")
    assert "No changes detected" in host.aerich("--app", ours.label, "migrate", "--no-input")


def test_tortoise_from_a_scratch_host(ours: Ours, host: Host) -> None:
    """Tortoise's own tool up and down, with agents beside; it too has nothing to write afterwards."""
    host.settings(f"{{'shop': {{'models': ['shop.models']}}, **jt.apps('agents', '{ours.name}')}}")
    host.tortoise("migrate")
    assert host.place.tables() > ours.tables
    host.verify()
    host.tortoise("downgrade", ours.label, "__first__")
    assert not host.place.tables() & ours.tables
    assert "jido_threads" in host.place.tables()
    assert not any(snapshot(host.place, prefix=ours.prefix).values())


def test_both_families_in_one_upgrade(ours: Ours, host: Host) -> None:
    """Each is listed under its own label, and another label is the host's to choose."""
    host.settings(f"{{{SHOP}, **jt.apps(), 'talks': jt.apps('{ours.name}')['{ours.label}']}}")
    said = host.upgrade()
    assert "jido_agents applied 0_init" in said
    assert "talks applied 1_guards" in said
    host.verify()
    assert host.place.listed("talks") == host.place.listed("jido_agents") == FILES
