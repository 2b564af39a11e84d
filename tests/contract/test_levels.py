"""The level that a storage reaches, and the failures that its author expects."""

from __future__ import annotations

from pathlib import Path

import pytest

from jido_tortoise.errors import InvalidInputError
from jido_tortoise_testing.contract import StorageContract
from jido_tortoise_testing.levels import sizes_of

from .test_contract import run_pytest

#: Contracts of a few checks, which run at once.
SMALL = '''
import pytest
from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise_testing.contract.base import Checks, needs


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
    ):
        assert f"\n{line}\n" in ran.stdout
    assert "2 skipped, 1 xfailed" in ran.stdout


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
    assert "test_adapter.py::TestStale: no level, 3 of 4 checks passed\n    not CORE: test_plain (failed)" in ran.stdout


def test_an_expected_failure_of_no_check_is_refused() -> None:
    """A misspelt name would expect nothing; the nearest one is told."""
    with pytest.raises(InvalidInputError, match=r"expected_failures.*test_one_winner_at_one_revision.*got .*_won'"):
        type(
            "TestMine",
            (StorageContract,),
            {"expected_failures": {"test_one_winner_at_one_revision_won": "a slip"}},
        )


def test_the_levels_of_the_contract() -> None:
    """Each level has checks, and a check that a subclass overrides stays where it was."""

    class Mine(StorageContract):
        async def test_one_winner_at_one_revision(self) -> None:  # type: ignore[override]
            """Mine."""

    sizes = sizes_of(Mine)
    assert sizes == sizes_of(StorageContract)
    assert sum(sizes.values()) >= 300
    assert min(sizes.values()) >= 10
