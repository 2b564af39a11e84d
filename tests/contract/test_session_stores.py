"""The contract of a store of sessions, kept by all of ours: in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import cycle
from typing import Any

import pytest
from tortoise.backends.base.executor import EXECUTOR_CACHE
from tortoise.context import TortoiseContext

from jido_tortoise.recording import InMemorySessionStore, SessionStore
from jido_tortoise.schema import ddl
from jido_tortoise_testing.contract import MakeStore, SessionStoreContract
from jido_tortoise_testing.contract.recording.concurrency import CrowdChecks
from jido_tortoise_testing.contract.recording.waiting import FollowChecks, WaitChecks
from tests.conftest import our_apps


class TestInMemorySessionStore(SessionStoreContract):
    """Both handles are given the same tables."""

    @pytest.fixture
    def make_store(self) -> MakeStore:
        tables = InMemorySessionStore.Tables()
        return lambda: InMemorySessionStore(tables)


@pytest.mark.usefixtures("unmeasured")
class TestSessionStore(SessionStoreContract):
    """Each handle is a SessionStore of its own on the connection of the database."""

    @pytest.fixture
    def make_store(self, recording_db: Any) -> MakeStore:
        return SessionStore


class _TwoConnections(CrowdChecks, WaitChecks, FollowChecks):
    """The second handle has another connection, as a second process would: no bell of the one rings for the other."""

    notify = False

    @pytest.fixture
    async def connections(self, db_url: str) -> AsyncIterator[list[str]]:
        EXECUTOR_CACHE.clear()
        names = ["default", "second"]
        async with TortoiseContext() as context:
            config = {"connections": dict.fromkeys(names, db_url), "apps": our_apps(("recording",))}
            await context.init(config=config)
            client = context.connections.get("default")
            await client.execute_script(ddl("recording", client.capabilities.dialect, version=1))  # type: ignore[arg-type]
            yield names

    @pytest.fixture
    def make_store(self, connections: list[str]) -> MakeStore:
        names = cycle(connections)
        return lambda: SessionStore(next(names), notify=self.notify)


@pytest.mark.usefixtures("unmeasured")
class TestW1TwoConnections(_TwoConnections):
    """W1: on SQLite the two lock each other out, and wait rather than fail; what the other appends is polled for."""

    @pytest.fixture(params=["sqlite-file", "postgres"])
    def backend(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)


@pytest.mark.usefixtures("unmeasured")
class TestNotifying(_TwoConnections):
    """What the other connection appends is notified, on PostgreSQL."""

    notify = True

    @pytest.fixture(params=["postgres"])
    def backend(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)
