"""The suite as another project uses it: subclassed in a test file of its own, under pytest-asyncio's strict mode."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise_testing.contract import Checks, StorageContract, check_names, run_check
from jido_tortoise_testing.contract.base import needed
from tests import forking

ADAPTER = '''
import pytest
from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise_testing.contract import StorageContract


class SixMethods:
    """A storage without any capability."""

    capabilities = frozenset()

    def __init__(self, tables):
        inner = InMemoryStorage(tables)
        self.put_checkpoint, self.get_checkpoint = inner.put_checkpoint, inner.get_checkpoint
        self.delete_checkpoint, self.append_thread = inner.delete_checkpoint, inner.append_thread
        self.load_thread, self.delete_thread = inner.load_thread, inner.delete_thread


class TestSixMethods(StorageContract):
    @pytest.fixture
    def make_storage(self):
        tables = InMemoryStorage.Tables()
        return lambda: SixMethods(tables)
'''


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a project that has nothing of ours but the installed packages."""
    arguments = ("-p", "no:cacheprovider", "--rootdir", folder, *options, folder)
    return forking.run("-m", "pytest", *arguments, cwd=folder, timeout=120)


def test_a_storage_of_six_methods_is_asked_for_no_more(tmp_path: Path) -> None:
    """Every check runs or is skipped with the reason; nothing is passed over in silence, in strict mode either."""
    tmp_path.joinpath("test_adapter.py").write_text(ADAPTER)
    ran = run_pytest(tmp_path, "-o", "asyncio_mode=strict", "-q", "-rs")
    names = check_names(StorageContract)
    skipped = [name for name in names if needed(getattr(StorageContract, name))]
    assert ran.returncode == 0, ran.stdout
    assert f"{len(names) - len(skipped)} passed, {len(skipped)} skipped" in ran.stdout
    assert "the storage does not declare trim; it declares nothing" in ran.stdout


def test_a_contract_without_a_storage_says_what_it_needs(tmp_path: Path) -> None:
    """A subclass that gives no `make_storage` is told so."""
    text = "from jido_tortoise_testing.contract import StorageContract\nclass TestNothing(StorageContract): pass\n"
    tmp_path.joinpath("test_adapter.py").write_text(text)
    ran = run_pytest(tmp_path, "-o", "asyncio_mode=strict", "-q", "-x")
    assert ran.returncode != 0
    assert "TestNothing must define the fixture make_storage" in ran.stdout


def test_a_failed_check_shows_both_sides(tmp_path: Path) -> None:
    """Nobody has to ask pytest for it, however the toolkit is installed."""
    lossy = """
import jido_tortoise as jt
import pytest
from jido_tortoise_testing.contract import StorageContract

class Lossy(jt.InMemoryStorage):
    async def put_checkpoint(self, key, data, **options):
        return await super().put_checkpoint(key, "lost", **options)

class TestLossy(StorageContract):
    @pytest.fixture
    def make_storage(self):
        tables = jt.InMemoryStorage.Tables()
        return lambda: Lossy(tables)
"""
    tmp_path.joinpath("test_adapter.py").write_text(lossy)
    ran = run_pytest(tmp_path, "-o", "asyncio_mode=strict", "-q", "-k", "test_put_is_there")
    assert "AssertionError: assert ('k', 'lost') == ('k', {" in ran.stdout


async def test_a_check_without_its_capability_is_not_run() -> None:
    """Without pytest, too, the reason is told."""

    class NoTrim(InMemoryStorage):
        capabilities = InMemoryStorage.capabilities - {"trim"}

    reason = await run_check(StorageContract, "test_trim_of_all", NoTrim)
    assert reason is not None
    assert "does not declare trim; it declares atomic_save, compare_and_set" in reason


@pytest.mark.parametrize("name", check_names(StorageContract))
def test_a_check_says_its_law(name: str) -> None:
    """The docstring of a check is the law that it checks, in one sentence."""
    text = getattr(StorageContract, name).__doc__ or ""
    assert text.strip().endswith((".", ")."))
    assert "\n" not in text.strip()


def test_no_group_hides_a_check_of_another() -> None:
    """Two groups with a check of one name would make one of the two disappear."""
    names = [
        name for cls in StorageContract.__mro__ if issubclass(cls, Checks) for name in vars(cls) if "test_" in name
    ]
    assert len(names) == len(set(names))
