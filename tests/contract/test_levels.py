"""The level that a storage reaches, and the failures that its author expects."""

from __future__ import annotations

from pathlib import Path

import pytest

from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise.errors import InvalidInputError
from jido_tortoise_testing.adk_contract import AdkSessionContract
from jido_tortoise_testing.contract import Checks, SessionStoreContract, StorageContract, run_check
from jido_tortoise_testing.levels import LEVELS, sizes_of

from .test_contract import run_pytest

#: Of each contract a check that is not CORE.
NEAR: dict[type[Checks], str] = {
    StorageContract: "test_one_winner_at_one_revision",
    AdkSessionContract: "test_many_append_to_one_session",
    SessionStoreContract: "test_w2_one_event_at_once",
}

#: Contracts of a few checks, which run at once.
SMALL = '''
import pytest
from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise_testing.adk_contract import AdkChecks
from jido_tortoise_testing.contract.base import Checks, needs
from jido_tortoise_testing.contract.recording import StoreChecks


class Plain(Checks):
    async def test_plain(self, storage):
        """One."""

    @needs("trim")
    async def test_trim(self, storage):
        """Two."""


class Crowded(Checks):
    level = "CONCURRENT"

    async def test_crowd(self, storage):
        """Three."""
        assert "lossy" not in type(storage).__name__.lower()


class Struck(Checks):
    level = "CRASH-SAFE"

    @needs("atomic_save")
    async def test_struck(self, storage):
        """Four."""


class Contract(Plain, Crowded, Struck):
    level, graded = "CORE", True

    @pytest.fixture
    def make_storage(self):
        return self.Storage


class Lossy(InMemoryStorage):
    pass


class NotAtomic(InMemoryStorage):
    capabilities = InMemoryStorage.capabilities - {"atomic_save", "trim"}


class Stored:
    level = "CORE"

    async def test_stored(self, store, second):
        """One."""
        assert store is not second

    async def test_kept(self, store):
        """Two."""
        assert not self.lossy


class StoredAtOnce(Stored):
    level = "CONCURRENT"

    async def test_at_once(self, store):
        """Three."""

    @pytest.fixture
    def make_store(self):
        return lambda: InMemoryStorage()


class TestAdkStore(StoredAtOnce, AdkChecks):
    level, graded, lossy = "CORE", True, False


class TestSessionStore(StoredAtOnce, StoreChecks):
    level, graded, lossy = "CORE", True, True
    expected_failures = {"test_kept": "loses all"}


class TestWhole(Contract):
    Storage = InMemoryStorage


class TestNotAtomic(Contract):
    Storage = NotAtomic


class TestExpected(Contract):
    Storage = Lossy
    expected_failures = {"test_crowd": "no lock yet"}
'''

STALE = """

class TestStale(Contract):
    Storage = InMemoryStorage
    expected_failures = {"test_plain": "no longer true"}


class TestStaleStore(StoredAtOnce, StoreChecks):
    level, graded, lossy = "CORE", True, False
    expected_failures = {"test_kept": "mended long ago"}
"""


def test_the_level_of_each_storage_is_told_with_what_keeps_it_there(tmp_path: Path) -> None:
    """An undeclared or an expected failure is never counted as passed, and a level stands on those beneath it."""
    tmp_path.joinpath("test_adapter.py").write_text(SMALL)
    ran = run_pytest(tmp_path, "-o", "asyncio_mode=strict", "-q")
    assert ran.returncode == 0, ran.stdout
    for line in (
        "test_adapter.py::TestWhole: CRASH-SAFE, all 4 checks passed",
        "test_adapter.py::TestNotAtomic: CONCURRENT, 2 of 4 checks passed",
        "    not CRASH-SAFE: test_struck (atomic_save not declared)",
        "    not declared: atomic_save, trim",
        "test_adapter.py::TestExpected: CORE, 3 of 4 checks passed",
        "    not CONCURRENT: test_crowd (expected to fail)",
        "test_adapter.py::TestAdkStore: CONCURRENT, all 3 checks passed",
        "test_adapter.py::TestSessionStore: no level, 2 of 3 checks passed",
        "    not CORE: test_kept (expected to fail)",
    ):
        assert f"\n{line}\n" in ran.stdout
    assert "2 skipped, 2 xfailed" in ran.stdout


def test_a_part_of_the_checks_gives_no_level(tmp_path: Path) -> None:
    """Who runs one check has not proved a level; workers tell the same."""
    tmp_path.joinpath("test_adapter.py").write_text(SMALL)
    ran = run_pytest(tmp_path, "-q", "-k", "TestWhole and not plain", "-n", "1")
    assert "\ntest_adapter.py::TestWhole: no level, 3 of 4 checks passed\n    not CORE: 1 not run\n" in ran.stdout


def test_an_expected_failure_that_passes_is_a_failure(tmp_path: Path) -> None:
    """Who has mended the storage is told to take the expectation away."""
    tmp_path.joinpath("test_adapter.py").write_text(SMALL + STALE)
    ran = run_pytest(tmp_path, "-q", "-k", "TestStale")
    assert ran.returncode == 1
    assert "[XPASS(strict)] no longer true" in ran.stdout
    assert "[XPASS(strict)] mended long ago" in ran.stdout
    assert "test_adapter.py::TestStale: no level, 3 of 4 checks passed\n    not CORE: test_plain (failed)" in ran.stdout


@pytest.mark.parametrize(("contract", "name"), NEAR.items())
def test_an_expected_failure_of_no_check_is_refused(contract: type[Checks], name: str) -> None:
    """A misspelt name would expect nothing; the nearest one is told."""
    with pytest.raises(InvalidInputError, match=rf"TestMine.expected_failures.*{name}.*got '{name}_slipped'"):
        type("TestMine", (contract,), {"expected_failures": {f"{name}_slipped": "a slip"}})


async def test_a_check_of_no_contract_is_not_run() -> None:
    """The nearest name is told here, too."""
    with pytest.raises(InvalidInputError, match=r"test_cancelled_append.*got 'test_canceled_append'"):
        await run_check(StorageContract, "test_canceled_append", InMemoryStorage)


@pytest.mark.parametrize(
    ("contract", "count"), [(StorageContract, 300), (AdkSessionContract, 80), (SessionStoreContract, 75)]
)
def test_the_levels_of_the_contract(contract: type[Checks], count: int) -> None:
    """Each level has checks, and a check that a subclass overrides stays where it was."""

    async def mine(_: object) -> None:
        """Mine."""

    sizes = sizes_of(type("Mine", (contract,), {NEAR[contract]: mine}))
    assert sizes == sizes_of(contract)
    assert contract.graded
    assert sum(sizes.values()) >= count
    assert {*sizes} == {*LEVELS}
    assert min(sizes.values()) >= 4
