"""google-adk on our tables: one database of each kind for a module, and in it an app of its own for each test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from jido_tortoise import seams
from jido_tortoise.adk import TortoiseSessionService
from jido_tortoise_testing.postgres import fresh_database
from tests.conftest import Database, opened

_FAMILIES = ("adk",)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL of a database with the tables of ADK sessions, which the tests of a module share."""
    if request.param == "sqlite":
        made = f"sqlite://{tmp_path_factory.mktemp('adk') / 'adk.db'}"
        asyncio.run(_make_tables(made))
        yield made
        return
    with fresh_database(request.getfixturevalue("pg_server")) as made:
        asyncio.run(_make_tables(made))
        yield made


async def _make_tables(url: str) -> None:
    async with opened(url, families=_FAMILIES):
        pass


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """Initialise Tortoise on that database, with a second connection to it, as another process would have it."""
    backend = "sqlite-file" if url.startswith("sqlite") else "postgres"
    more = {"connections": {"default": url, "second": url}}
    async with opened(url, backend=backend, tables=False, families=_FAMILIES, **more) as found:
        yield found


@pytest.fixture
def service(database: Database) -> TortoiseSessionService:
    """Give the service."""
    return TortoiseSessionService()


@pytest.fixture
def other(database: Database) -> TortoiseSessionService:
    """Give a service on the second connection."""
    return TortoiseSessionService("second")


@pytest.fixture
def app() -> str:
    """Name an app that no other test uses."""
    return seams.new_id("app-")


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the test run where the local time is neither UTC nor always as far from it."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
