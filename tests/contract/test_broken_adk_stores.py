"""Every check of the ADK contract can fail: each is seen to fail on a store that is broken for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jido_tortoise.adk import AdkSessionStore
from jido_tortoise.errors import JidoError
from jido_tortoise_testing.adk_contract import AdkSessionContract, run_check

from .adk_zoo import CHECKS, ZOO, Animal

pytestmark = pytest.mark.usefixtures("unmeasured")

#: How a check may fail: by its own word, or since the store raised what it must not, or hangs.
FAILURES = (AssertionError, pytest.fail.Exception, JidoError, TimeoutError)
CATCHES = [
    pytest.param(animal, check, id=f"{animal.name}-{check}") for animal in ZOO.values() for check in animal.caught_by
]


@pytest.fixture
def backend() -> str:
    """Give the database on which a broken store is caught soonest."""
    return "sqlite-memory"


@pytest.mark.parametrize(("animal", "check"), CATCHES)
async def test_broken_store_is_caught(adk_db: Any, animal: Animal, check: str) -> None:
    """The check fails on the store that is broken for it."""
    async with asyncio.timeout(20):
        with pytest.raises(FAILURES):
            await run_check(AdkSessionContract, check, animal.make_store())


def test_every_check_was_seen_to_fail() -> None:
    """No check is left that was not seen to fail."""
    assert sorted(CHECKS - {check for animal in ZOO.values() for check in animal.caught_by}) == []


@pytest.mark.parametrize("check", sorted(CHECKS))
async def test_sound_store_passes(adk_db: Any, check: str) -> None:
    """The same checks, run in the same way, pass on the store that the broken ones are made of; none is skipped."""
    assert await run_check(AdkSessionContract, check, AdkSessionStore) is None


async def test_a_check_without_its_capability_is_not_run(adk_db: Any) -> None:
    """The reason is told."""

    class NoPages(AdkSessionStore):
        capabilities = AdkSessionStore.capabilities - {"pages"}

    reason = await run_check(AdkSessionContract, "test_pages_of_a_user", NoPages)
    assert reason is not None
    assert "does not declare pages" in reason
