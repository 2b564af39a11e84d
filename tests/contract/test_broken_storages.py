"""Every check of the contract can fail: each is seen to fail on a storage that is broken for it, and only there."""

from __future__ import annotations

import asyncio

import pytest

from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise.errors import JidoError
from jido_tortoise_testing.contract import StorageContract, check_names, run_check

from .zoo import CHECKS, ZOO, Animal, DriverError

pytestmark = pytest.mark.usefixtures("unmeasured")

#: How a check may fail: by its own word, or since the storage raised what it must not, or hangs. Anything else, such as
#: a TypeError, would be a mistake in the broken storage itself.
FAILURES = (AssertionError, pytest.fail.Exception, JidoError, DriverError, TimeoutError)


class Impatient(StorageContract):
    """The contract, as the broken storages meet it: those that hang are soon found out."""

    patience = 0.3


CATCHES = [
    pytest.param(animal, check, id=f"{animal.name}-{check}") for animal in ZOO.values() for check in animal.caught_by
]


@pytest.mark.parametrize(("animal", "check"), CATCHES)
async def test_broken_storage_is_caught(animal: Animal, check: str) -> None:
    """The check fails on the storage that is broken for it."""
    async with asyncio.timeout(20):
        with pytest.raises(FAILURES):
            await run_check(Impatient, check, animal.make_storage())


def test_every_check_was_seen_to_fail() -> None:
    """No check is left that was not seen to fail."""
    assert sorted(CHECKS - {check for animal in ZOO.values() for check in animal.caught_by}) == []


def test_every_broken_storage_is_caught() -> None:
    """No broken storage is left that passes for sound."""
    assert [animal.name for animal in ZOO.values() if not animal.caught_by] == []


def test_there_are_enough_checks() -> None:
    """The contract has at least 300 checks, no two of one name."""
    names = check_names(StorageContract)
    assert len(names) == len(set(names)) >= 300


@pytest.mark.parametrize("check", check_names(StorageContract))
async def test_sound_storage_passes(check: str) -> None:
    """The same checks, run in the same way, pass on the storage that the broken ones are made of; none is skipped."""
    tables = InMemoryStorage.Tables()
    assert await run_check(Impatient, check, lambda: InMemoryStorage(tables)) is None
