"""Every way to write a test, in every mode, on both databases, with and without workers, in any order.

Four runs hold the whole matrix: each has a file for each style, whose tests run on both databases.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from jido_tortoise_testing.postgres import _children
from tests.toolkit.conftest import INI, Host, plugins_for, run_pytest
from tests.toolkit.test_postgres import _alive, _eventually

pytest_plugins = ["pytester"]

_SHARED = """
from tortoise import Tortoise
from tortoise.transactions import in_transaction
import jido_tortoise as jt
from jido_tortoise_testing.roundtrip import assert_roundtrip
from shop_models import Customer
from shop_settings import TORTOISE_ORM

class Shopper(jt.Agent, agent_type="shopper"):
    pass

class Lossy(jt.Agent, agent_type="lossy"):
    def checkpoint(self):
        data = self.default_checkpoint()
        return {**data, "state": {name: list(value) for name, value in data["state"].items()}}

async def use():
    assert await Customer.all().count() == 0
    await Tortoise.init(config=TORTOISE_ORM)          # as the service's own start does
    async with in_transaction():
        await Customer.create(name="Ada")
    agent = Shopper("u", {"cart": ("tea", 2)})
    agent.thread.append("message", {"text": "hi"})
    await assert_roundtrip(jt.Jido(), agent, via=["same", "second-connection"])
    await Tortoise.close_connections()
    assert await Customer.all().count() == 1

async def lose():
    await assert_roundtrip(jt.Jido(), Lossy("u", {"tokens": (1, 2)}), via=["second-connection"])
"""
#: A test that passes and one that fails in each style; two classes of unittest, which takes no parameters.
_STYLES = {
    "strict": """
import pytest
from shared import lose, use

@pytest.mark.asyncio
async def test_good(jido):
    await use()

@pytest.mark.asyncio
async def test_lossy(jido):
    await lose()
""",
    "auto": """
from shared import lose, use

async def test_good(jido):
    await use()

async def test_lossy(jido):
    await lose()
""",
    "anyio": """
import pytest
from shared import lose, use

pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "asyncio"

async def test_good(jido):
    await use()

async def test_lossy(jido):
    await lose()
""",
    "sync": """
import asyncio
from shared import Customer, lose, use

def test_good(jido):
    asyncio.run(use())
    async def count():
        return await Customer.all().count()
    assert asyncio.run(count()) == 1

def test_lossy(jido):
    asyncio.run(lose())
""",
    "unittest": """
import unittest
import pytest
from shared import lose, use

class Both:
    async def test_good(self):
        await use()

    async def test_lossy(self):
        await lose()

@pytest.mark.jido_db(backend="sqlite")
class TestOnSqlite(Both, unittest.IsolatedAsyncioTestCase):
    pass

@pytest.mark.jido_db(backend="postgres")
class TestOnPostgres(Both, unittest.IsolatedAsyncioTestCase):
    pass
""",
}
#: What a plugin for random order does; the order is written down.
_SHUFFLED = """
import random
import pytest

def pytest_addoption(parser):
    parser.addoption("--order", type=int)

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    random.Random(config.getoption("order")).shuffle(items)

@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session):
    with open("order", "w") as file:
        print(*(item.nodeid for item in session.items), sep="\\n", file=file)
"""


@pytest.fixture(autouse=True)
def _measured_once(request: pytest.FixtureRequest) -> None:
    """Measure one of the runs, that with the most in it: they run the same lines of ours."""
    if "[auto-2]" in request.node.name:
        request.getfixturevalue("measured")


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_every_style_passes_and_fails_in_the_same_words(
    host: Host, server: str, mode: str, workers: str, pytester: pytest.Pytester
) -> None:
    """On both databases and in a random order; warnings are errors, and the real database is never made."""
    styles = {f"test_{name}": text for name, text in _STYLES.items() if name != "auto" or mode == "auto"}
    pytester.makepyfile(shared=_SHARED, **styles)
    pytester.makeconftest(_SHUFFLED)
    pytester.makeini(INI.format(mode=mode))
    plugins = plugins_for(*styles.values())
    arguments = [*plugins, "--jido-db=both", "--jido-seed=3", "--tb=short", f"--order={len(mode)}", f"-n{workers}"]
    result = run_pytest(pytester, *arguments)
    result.assert_outcomes(passed=2 * len(styles), failed=2 * len(styles))
    printed = result.stdout.str()
    for words in _words(styles):
        assert printed.count(words) == 1, words
    assert "differs between" not in printed
    assert not list(pytester.path.glob("REAL.db*"))
    order = (pytester.path / "order").read_text().split()
    assert len(order) == 4 * len(styles)
    assert order != sorted(order)


def _words(styles: dict[str, str]) -> list[str]:
    """Give what each failing test must say: what changed and why, and the line that shows it again."""
    nodes = [f"{name}.py::test_lossy[{db}]" for name in styles for db in ("sqlite", "postgres")]
    kinds = {node: "both" for node in nodes if "unittest" not in node}
    kinds |= {f"test_unittest.py::TestOn{db.title()}::test_lossy": db for db in ("sqlite", "postgres")}
    said = [
        "AgentRoundTripError: Lossy 'u' changed on hibernate -> thaw (second-connection): 4 of 5 fields equal\n"
        "E     state.tokens: (1, 2) -> [1, 2]     tuple became list: JSON has no tuples; store it by the codec, or"
        f" use a list\nE     reproduce: pytest {node}\n"
        for node in kinds
    ]
    again = [f'\nreproduce: pytest "{node}" --jido-db={db} --jido-seed=3\n' for node, db in kinds.items()]
    return said + again


# -- the end of a run ---------------------------------------------------------------------------------------------

_SLOW = """
import time

def test_slow(jido_db):
    with open("where", "a") as file:
        print(jido_db.url, file=file)
    time.sleep(1.5)

def test_slow_too(jido_db):
    test_slow(jido_db)
"""


def test_kill_9_of_a_run_with_workers_leaves_nothing(host: Host, pytester: pytest.Pytester) -> None:
    """Neither the server, nor its folder, nor workers, though nobody was left to stop them."""
    pytester.makeini(INI.format(mode="auto"))
    pytester.makepyfile(test_shop=_SLOW)
    command = [sys.executable, "-m", "pytest", *plugins_for(_SLOW), "--jido-db=postgres", "-n2"]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=pytester.path)
    where = pytester.path / "where"
    assert _eventually(lambda: where.exists() and len(where.read_text().split()) == 2)
    (folder,) = {Path(parse_qs(urlsplit(url).query)["host"][0]) for url in where.read_text().split()}
    assert folder.exists()
    started = _children(run.pid)
    assert len(started) >= 3  # two workers and the server's guard
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert _eventually(lambda: not folder.exists())
    assert _eventually(lambda: not any(map(_alive, started)))
