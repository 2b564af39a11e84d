"""The family `adk` where its tables are: in a schema of their own, or nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from jido_tortoise.adk import AdkSessionStore
from jido_tortoise.errors import AppNotRegisteredError
from jido_tortoise.schema import apps, upgrade, verify
from tests.conftest import opened
from tests.migration.hosts import Place


def config(place: Place) -> dict[str, Any]:
    """Give a config with our app."""
    return {"connections": {"default": place.url}, "apps": {**apps("adk")}}


async def test_a_schema_of_its_own(pg_place: Place) -> None:
    """Tables and store in a PostgreSQL schema that nobody else uses."""
    await upgrade(config(pg_place), schema="talks")
    async with opened(pg_place.url, tables=False, families=("adk",)):
        await verify(schema="talks")
        store = AdkSessionStore(schema="talks")
        made = await store.create(app_name="a", user_id="u", state={"app:k": 1, "user:k": 2, "k": 3})
        assert await store.list(app_name="a", user_id="u") == [made]
        await store.delete(app_name="a", user_id="u", session_id=made.id)
    assert pg_place.rows("SELECT count(*) FROM talks.adk_app_states") == [(1,)]


async def test_a_host_without_the_family_is_told(sqlite_place: Place) -> None:
    """Which app is missing from its config."""
    async with opened(sqlite_place.url, tables=False):
        # Which app a model belongs to is known to the process: another test may have set it.
        with pytest.raises(AppNotRegisteredError, match="AdkSession is in no app"):
            await AdkSessionStore().list(app_name="a")
