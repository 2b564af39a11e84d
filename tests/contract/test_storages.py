"""The contract of a storage, kept by all of ours: in memory, SQLite in memory and in a file, and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import chain, repeat
from typing import Any

import pytest
from tortoise.backends.base.executor import EXECUTOR_CACHE
from tortoise.context import TortoiseContext

from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.schema import ddl
from jido_tortoise_testing.contract import MakeStorage, StorageContract
from jido_tortoise_testing.contract.cancelling import CancellingChecks
from jido_tortoise_testing.contract.checkpoints import CheckpointChecks
from jido_tortoise_testing.contract.concurrency import ConcurrentAppendChecks, ConcurrentCheckpointChecks


class TestInMemoryStorage(StorageContract):
    """Both handles are given the same tables."""

    @pytest.fixture
    def make_storage(self) -> MakeStorage:
        tables = InMemoryStorage.Tables()
        return lambda: InMemoryStorage(tables)


@pytest.mark.usefixtures("unmeasured")
class TestTortoiseStorage(StorageContract):
    """Each handle is a TortoiseStorage of its own on the connection of the database."""

    @pytest.fixture
    def make_storage(self, db: Any) -> MakeStorage:
        return TortoiseStorage


@pytest.mark.usefixtures("unmeasured")
class TestTwoConnections(ConcurrentAppendChecks, ConcurrentCheckpointChecks, CancellingChecks, CheckpointChecks):
    """The second handle has another connection, as a second process would: on SQLite the two lock each other out."""

    @pytest.fixture(params=["sqlite-file", "postgres"])
    def backend(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    async def connections(self, db_url: str) -> AsyncIterator[list[str]]:
        EXECUTOR_CACHE.clear()
        names = ["default", "second"]
        app = {"models": ["jido_tortoise.agents.models"], "default_connection": names[0]}
        async with TortoiseContext() as context:
            await context.init(config={"connections": dict.fromkeys(names, db_url), "apps": {"jido_agents": app}})
            tables = ddl("agents", "sqlite" if db_url.startswith("sqlite") else "postgres", version=1)
            await context.connections.get(names[0]).execute_script(tables)
            yield names

    @pytest.fixture
    def make_storage(self, connections: list[str]) -> MakeStorage:
        handles = chain(map(TortoiseStorage, connections), repeat(TortoiseStorage(connections[0])))
        return lambda: next(handles)


async def test_other_tables_are_other_data() -> None:
    """Two storages in memory share nothing unless they are given the same tables (E27, Redis 29, Redis 30)."""
    one, other = InMemoryStorage(), InMemoryStorage()
    await one.put_checkpoint("k", 1)
    await one.append_thread("t", {})
    assert await other.get_checkpoint("k") is None
    assert await other.load_thread("t") is None
    assert await InMemoryStorage(one.tables).get_checkpoint("k") == await one.get_checkpoint("k")
