"""What coverage traces of a run: the imports of our modules, and the tests whose lines no other test runs.

A trace function slows whatever runs under it by half, pytest itself and the imports of others' packages included.
"""

from __future__ import annotations

import os
import pkgutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest

_PACKAGES = ("jido_tortoise", "jido_tortoise_testing")
#: What they import of others and takes long.
_DEAR = ("google.adk.sessions", "hypothesis", "pydantic", "tortoise.models", "aerich")
#: How coverage tells a process to measure itself; the workers of pytest-xdist have heard it by now.
_MEASURE = "COVERAGE_PROCESS_CONFIG"
_measured = os.environ.get(_MEASURE)
#: Coverage's, when it measures this process.
_tracer: Any = sys.gettrace()
_IS_TRACED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput") or not getattr(config.option, "numprocesses", None):
        # What a test starts is not measured unless it asks for that: it takes half as long again, hundreds of times.
        os.environ.pop(_MEASURE, None)


@contextmanager
def traced(tracer: Any) -> Iterator[None]:
    """Let this trace function hear of the block and of the threads that it starts; None for nobody."""
    before = sys.gettrace()
    _trace(tracer)
    try:
        yield
    finally:
        _trace(before)


def _trace(tracer: Any) -> None:
    sys.settrace(tracer)
    threading.settrace(tracer)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Trace our imports, and neither what they nor what the tests import beside."""
    if _tracer is not None:
        with traced(None):
            for module in _DEAR:
                import_module(module)
        for module in _ours():
            import_module(module)
    with traced(None):
        return (yield)


def _ours() -> list[str]:
    packages = [import_module(name) for name in _PACKAGES]
    found = [info for each in packages for info in pkgutil.walk_packages(each.__path__, f"{each.__name__}.")]
    return [info.name for info in found if not info.name.endswith("__main__")]


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop() -> Iterator[Any]:
    """Trace neither what pytest does between the tests, nor the process that only deals them out to workers."""
    with traced(None):
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Choose what is traced: of a test with many parameters one set, on one of the databases that it runs on.

    The others run the same lines, but for a few, and half of all tests are traced on each database.
    """
    variants: dict[tuple[object, str], list[pytest.Item]] = {}
    for item in items:
        variants.setdefault((item.parent, getattr(item, "originalname", item.name)), []).append(item)
    for number, same in enumerate(variants.values()):
        ordered = sorted(same, key=lambda item: "postgres" in item.name, reverse=bool(number % 2))
        for item in same:
            item.stash[_IS_TRACED] = item is ordered[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    """Trace those tests."""
    with traced(_tracer if item.stash[_IS_TRACED] else None):
        return (yield)


@pytest.fixture
def unmeasured() -> Iterator[None]:
    """Do not measure the coverage of the test: others run the same lines already."""
    with traced(None):
        yield


@pytest.fixture
def measured(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let coverage measure the processes that the test starts, once where it runs on both databases.

    Some of our lines run in such processes alone.
    """
    if _measured is not None and "[sqlite" not in request.node.name:
        monkeypatch.setenv(_MEASURE, _measured)
