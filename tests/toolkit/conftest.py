"""A service of its own, in a process of its own, whose tests use the toolkit."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests import forking

ROOT = Path(__file__).parent.parent.parent
#: A checkout that was installed before the plugin was there does not know its entry point.
PLUGIN = () if entry_points(group="pytest11", name="jido_tortoise") else ("-p", "_jido_tortoise_pytest")
#: Plugins of others, by the word that tests say which use them: their import is a third of what a small run takes.
_DEAR = {"anyio": "anyio", "faker": "faker", "hypothesis": "hypothesispytest"}
TIMEOUT = 120

MODELS = """
from tortoise import fields
from tortoise.models import Model

class Customer(Model):
    id = fields.IntField(primary_key=True)
    name = fields.CharField(max_length=50)
"""
SETTINGS = """
TORTOISE_ORM = {
    "connections": {"default": "sqlite://REAL.db"},
    "apps": {"shop": {"models": ["shop_models"], "default_connection": "default"}},
}
"""
INI = """
[pytest]
pythonpath = .
jido_tortoise_orm = shop_settings.TORTOISE_ORM
asyncio_mode = {mode}
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""
Host = Callable[..., pytest.RunResult]


def plugins_for(*sources: str) -> list[str]:
    """Give the arguments of pytest that load our plugin, and of the dear ones those that these tests use."""
    unused = [name for word, name in _DEAR.items() if not any(word in source for source in sources)]
    return [*PLUGIN, *(f"-pno:{name}" for name in unused)]


def run_pytest(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run pytest as `pytester.runpytest_subprocess` does, in a fork of a process that has imported others' packages."""
    folder, started = tempfile.mkdtemp(prefix="runpytest-", dir=pytester.path), time.monotonic()
    done = forking.run("-m", "pytest", f"--basetemp={folder}", *arguments, cwd=pytester.path, timeout=TIMEOUT)
    print(done.stdout, done.stderr, sep="\n")
    out, errors = done.stdout.splitlines(), done.stderr.splitlines()
    return pytest.RunResult(done.returncode, out, errors, time.monotonic() - started)


@pytest.fixture
def host(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Write a service with its settings, and give what runs its tests."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "testing")]))
    # Without caches of bytecode pytest rewrites some 180 modules in each of these runs, which takes a second.
    cacheless = "PYTHONDONTWRITEBYTECODE"
    pytests = ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "CI", "BUILD_NUMBER")  # the last two lengthen its summary
    for name in (*pytests, "JIDO_TEST_DB_URL", "JIDO_DB", "JIDO_SEED", cacheless):
        monkeypatch.delenv(name, raising=False)
    pytester.makepyfile(shop_models=MODELS, shop_settings=SETTINGS)

    def run(
        source: str, *arguments: str, mode: str = "auto", plugin: bool = True, fork: bool = True
    ) -> pytest.RunResult:
        ini = INI.format(mode=mode)
        pytester.makeini(ini if plugin else re.sub("jido_.*", "", ini))
        pytester.makepyfile(test_shop=source)
        chosen = plugins_for(source) if plugin else ["-p", "no:jido_tortoise"]
        if not fork:
            return pytester.runpytest_subprocess(*chosen, *arguments, timeout=TIMEOUT)
        return run_pytest(pytester, *chosen, *arguments)

    return run


@pytest.fixture
def server(pg_server: str, host: Host, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the service's tests use the server of ours."""
    monkeypatch.setenv("JIDO_TEST_DB_URL", pg_server)
    return pg_server
