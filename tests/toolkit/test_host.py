"""A service that installs both wheels: its own suite passes on both databases, with and without workers, and can fail.

The service is tests/toolkit/host: models of its own, FastAPI with a lifespan, an agent with a pydantic state. All that
the toolkit is told is one line of its pyproject.toml.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import _jido_tortoise_pytest as plugin
from tests.installing import ROOT, run_clean

HOST = Path(__file__).parent / "host"
#: Tests of its suite that run once, on whatever databases: they need none, name theirs, or are of unittest.
_ONCE = [
    *("test_any_cart_survives", "test_ids_come_from_the_seed", "test_it", "test_on_a_copy_of_its_own"),
    "test_stored_shoppers_thaw",
]
_PASSED = re.compile(r" (?P<passed>\d+) passed in ")

pytestmark = pytest.mark.slow

Suite = Callable[..., str]


@pytest.fixture(scope="module")
def suite(service_bin_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """Copy the service to a folder of its own, and give what runs pytest there as its developer would."""
    folder = tmp_path_factory.mktemp("host") / "shop"
    shutil.copytree(HOST, folder, ignore=shutil.ignore_patterns("__pycache__"))

    def run(*arguments: str, fails: bool = False) -> str:
        done = run_clean(service_bin_folder / "python", "-m", "pytest", *arguments, cwd=folder, check=False)
        assert done.returncode == (1 if fails else 0), done.stdout + done.stderr
        # Neither the service's start nor its tests made the database that the settings name.
        assert not list(folder.rglob("*.db"))
        return done.stdout

    return run


def test_the_service_imports_the_wheels(service_bin_folder: Path, bin_folder: Path, tmp_path: Path) -> None:
    """The tests below mean something only where the checkout is out of reach."""
    program = (
        "import sys, _jido_tortoise_pytest, jido_tortoise, jido_tortoise_testing\n"
        "from importlib.metadata import files\n"
        "for module in (_jido_tortoise_pytest, jido_tortoise, jido_tortoise_testing): print(module.__file__)\n"
        "for name in ('jido-tortoise', 'jido-tortoise-testing'): print(files(name)[0].locate())\n"
        "print(*sys.path, sep='\\n')"
    )
    lines = run_clean(service_bin_folder / "python", "-c", program, cwd=tmp_path).stdout.splitlines()
    assert all(Path(line).is_relative_to(bin_folder.parent) for line in lines[:5]), lines
    assert not {str(ROOT), str(ROOT / "testing")} & set(lines)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_its_suite_passes(suite: Suite, workers: str) -> None:
    """All of it on both databases, warnings being errors; the settings' database is never made."""
    printed = suite("--jido-db=both", "--jido-seed=7", f"-n{workers}")
    places = "sqlite :memory: (fresh per test) and postgres (cleaned per test)"
    assert f"jido: {places}, seed 7 (--jido-seed=7), Tortoise.init gives the sandbox\n" in printed
    assert _count(printed) == 2 * len(_tests()) - len(_ONCE)


def test_its_suite_may_override_the_fixtures_of_the_run(suite: Suite) -> None:
    """A second database, models by a rule, reference data: each test twice, on two databases."""
    assert _count(suite("overriding", "--jido-db=both")) == 8


def test_its_twin_fails_in_these_words(suite: Suite) -> None:
    """A suite that cannot fail proves nothing: agents that forget, steps that tear, writers that look before."""
    printed = suite("twins", "--jido-seed=7", "--tb=short", fails=True)
    assert "4 failed in " in printed
    for words in _WORDS:
        assert words in printed, printed


_WORDS = [
    """\
AgentRoundTripError: Forgetful 1 changed on hibernate -> thaw (same): 8 of 10 fields equal
E     state.items[0].sizes: (42, 43) -> [42, 43]     tuple became list: JSON has no tuples; store it by the codec, or \
use a list
E     state.items[1]: Item(name='boots', price=Decimal('80.00'), sizes=(42, 43)) -> (nothing)
E     reproduce: pytest twins/test_twins.py::test_an_agent_that_forgets
""",
    """\
CrashSafetyError: buy() on a SQLite file: when statement 1 failed (BEGIN IMMEDIATE):
E     legal states: before ((0, False)) | after ((1, True))     found: (1, False)     raised: StorageBusyError""",
    "Then: both were acknowledged at expected_rev=0, and both cannot start there: a contradiction!\n",
    """\
E   buy() on SQLite in memory: when statement 0 had run and the caller was cancelled (BEGIN):
E     a transaction is still open on the connection
""",
    'reproduce: pytest "twins/test_twins.py::test_an_agent_that_forgets" --jido-db=sqlite --jido-seed=7\n',
]


def test_its_suite_uses_every_fixture() -> None:
    """Also those that are added later."""
    offered = {name for name in plugin.__all__ if not name.startswith("pytest_")}
    used = {argument.arg for function in _functions(HOST) for argument in function.args.args}
    assert offered - used == set()


def _count(printed: str) -> int:
    found = _PASSED.search(printed)
    assert found, printed
    return int(found["passed"])


def _tests() -> list[str]:
    return [one.name for one in _functions(HOST / "tests") if one.name.startswith("test_")]


def _functions(folder: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    trees = [ast.parse(path.read_text("utf-8")) for path in sorted(folder.rglob("*.py"))]
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for tree in trees for node in ast.walk(tree) if isinstance(node, kinds)]
