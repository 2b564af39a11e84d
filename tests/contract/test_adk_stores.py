"""The contract of a store of ADK sessions, kept by ours: SQLite in memory and in a file, and PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest

from jido_tortoise.adk import AdkSessionStore
from jido_tortoise_testing.adk_contract import AdkSessionContract, MakeStore
from jido_tortoise_testing.adk_contract.concurrency import CrowdChecks, StaleChecks
from jido_tortoise_testing.contract import Checks, check_names
from tests.conftest import Database, opened


class TestAdkSessionStore(AdkSessionContract):
    """Each handle is a store of its own on the connection of the database."""

    @pytest.fixture
    def make_store(self, adk_db: Any) -> MakeStore:
        return AdkSessionStore


@pytest.mark.usefixtures("unmeasured")
class TestTwoConnections(CrowdChecks, StaleChecks):
    """The second handle has another connection, as a second process would: on SQLite the two lock each other out."""

    @pytest.fixture(params=["sqlite-file", "postgres"])
    def backend(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    async def make_store(self, adk_db: Database) -> Any:
        urls = {"default": adk_db.url, "second": adk_db.url}
        async with opened(adk_db.url, tables=False, families=("adk",), connections=urls):
            handles = iter([AdkSessionStore(), AdkSessionStore("second")])
            yield lambda: next(handles)


@pytest.mark.parametrize("name", check_names(AdkSessionContract))
def test_a_check_says_its_law(name: str) -> None:
    """The docstring of a check is the law that it checks, in one sentence."""
    text = getattr(AdkSessionContract, name).__doc__ or ""
    assert text.strip().endswith(".")
    assert "\n" not in text.strip()


def test_no_group_hides_a_check_of_another() -> None:
    """Two groups with a check of one name would make one of the two disappear."""
    groups = [cls for cls in AdkSessionContract.__mro__ if issubclass(cls, Checks)]
    names = [name for cls in groups for name in vars(cls) if name.startswith("test_")]
    assert len(names) == len(set(names)) >= 60
