"""Whatever route made our tables, they are the same; what models cannot say is one list, which both tools apply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aerich import Command
from tortoise import Tortoise
from tortoise.context import TortoiseContext
from tortoise.migrations.api import migrate

from jido_tortoise.schema import apps, ddl, migrations_location, upgrade, verify
from jido_tortoise.schema.ddl import placed
from jido_tortoise.schema.families import FAMILIES
from tests.conftest import opened
from tests.migration.catalog import snapshot
from tests.migration.hosts import Place

GUARDS = FAMILIES["agents"].guards
TRIGGERS = {guard.name for guard in GUARDS if guard.name}
#: What `generate_schemas` cannot make.
LISTED = {"triggers", "functions", "storage"}
#: e is EXTERNAL: outside the row when it is large, and never compressed.
STORAGE = [("jido_checkpoints", "data", "e")]


def config(place: Place) -> dict[str, Any]:
    """Give a config with our app and Aerich's."""
    aerich = {"models": ["aerich.models"], "default_connection": "default"}
    return {"connections": {"default": place.url}, "apps": {**apps(), "aerich": aerich}}


async def by_ddl(place: Place) -> None:
    """The frozen text."""
    async with opened(place.url, tables=False) as db:
        await db.client.execute_script(ddl("agents", place.dialect, version=1))


async def by_upgrade(place: Place) -> None:
    """Our own runner."""
    await upgrade(config(place))


async def by_aerich(place: Place) -> None:
    """Aerich on our files."""
    async with TortoiseContext():
        await Tortoise.init(config=config(place))
        command = Command(config(place), app="jido_agents", location=str(migrations_location()))
        await command.init()
        await command.upgrade()


async def by_tortoise(place: Place) -> None:
    """Tortoise's own migrations."""
    async with TortoiseContext():
        await migrate(config=config(place), app_labels=["jido_agents"])


async def by_generating(place: Place) -> None:
    """`generate_schemas`, and the list of what it cannot express."""
    async with opened(place.url, tables=False) as db:
        await db.context.generate_schemas()
        for guard in GUARDS:
            for sql in placed(guard.up[place.dialect], place.dialect):
                await db.client.execute_query(sql)


async def by_generating_and_upgrade(place: Place) -> None:
    """`generate_schemas`, as a host's `aerich init-db` does it, and our runner after it."""
    async with opened(place.url, tables=False) as db:
        await db.context.generate_schemas()
    await upgrade(config(place))


Route = Callable[[Place], Awaitable[None]]
ROUTES: list[Route] = [by_upgrade, by_aerich, by_tortoise, by_generating, by_generating_and_upgrade]


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
async def test_every_route_makes_the_same_tables(route: Route, place: Place, other_place: Place) -> None:
    """Columns with types, defaults and order, indexes and constraints with their names, triggers, functions."""
    await by_ddl(place)
    await route(other_place)
    made = snapshot(other_place)
    assert made == snapshot(place)
    assert len(made["columns"]) == 25
    async with opened(other_place.url, tables=False):
        await verify()


async def test_generate_schemas_lacks_exactly_what_is_listed(place: Place, other_place: Place) -> None:
    """A trigger that is in one of them and not in the list would be forgotten by one of the tools."""
    await by_ddl(place)
    async with opened(other_place.url, tables=False) as db:
        await db.context.generate_schemas()
    without, whole = snapshot(other_place), snapshot(place)
    assert {name: whole[name] for name in whole if name not in LISTED} == {
        name: without[name] for name in without if name not in LISTED
    }
    assert not any(without.get(name) for name in LISTED)
    assert {trigger[0] for trigger in whole["triggers"]} == TRIGGERS
    assert whole.get("storage", STORAGE) == STORAGE


async def test_verify_reports_each_listed_guard(place: Place) -> None:
    """One that is lost or switched off is named, with the cure."""
    for guard in (guard for guard in GUARDS if guard.name):
        async with opened(place.url) as db:
            for sql in placed(guard.down[place.dialect], place.dialect):
                await db.client.execute_query(sql)
            with pytest.raises(Exception, match=rf"has no trigger {guard.name} .*jido-tortoise upgrade -c"):
                await verify()
