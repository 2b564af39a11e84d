"""What the testing toolkit costs: sandboxes beside the barest ways to isolate a test, the server, suites, a check."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import asyncpg
from tortoise.context import TortoiseContext

import jido_tortoise as jt
from jido_tortoise_testing.history import find_anomalies
from jido_tortoise_testing.postgres import PostgresServer
from jido_tortoise_testing.sandboxes import Workshop, open_sandbox
from tests.benchmarks.measure import Line, Prepared, compared, counted, interleaved
from tests.benchmarks.setting import Size
from tests.benchmarks.shop import Note
from tests.toolkit.histories import simulated

_ROOT = Path(__file__).resolve().parents[2]
_CONFIG: dict[str, Any] = {
    "connections": {"default": "sqlite://production.db"},
    "apps": {"shop": {"models": ["tests.benchmarks.shop"], "default_connection": "default"}, **jt.apps()},
}
_POSTGRES = "PostgreSQL, no disk"
_SQLITE = "SQLite memory"
#: What pytest imports of ours in a run that does not use it; pytest itself is there already.
_UNUSED = """
import importlib.metadata, sys, time
import pytest, _pytest.config
before = time.process_time()
import _jido_tortoise_pytest
print(time.process_time() - before, len({"tortoise", "faker", "hypothesis", "jido_tortoise"} & set(sys.modules)))
"""
_SETTINGS = """
[pytest]
pythonpath = .
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
jido_tortoise_orm = settings.TORTOISE_ORM
"""
_SUITE = """
import pytest
import jido_tortoise as jt
from tests.benchmarks.shop import Customer

class Shopper(jt.Agent, agent_type="shopper"):
    pass

@pytest.mark.parametrize("number", range({count}))
async def test_x(jido, number):
    customer = await Customer.create(name="Ada")
    agent = Shopper(customer.id, {{"items": ["tea"]}})
    agent.thread.append("message", {{"text": "hi"}})
    await jido.hibernate(agent)
    assert (await jido.thaw(Shopper, customer.id)).state == {{"items": ["tea"]}}
"""


async def measured(size: Size) -> list[Line]:
    """Measure all of it; PostgreSQL is a server of the toolkit's own, as tests have it: on tmpfs, without fsync."""
    lines = await _ready(size)
    with PostgresServer() as server:
        with _workshop(server.url()) as workshop:
            lines += [*await _sqlite(workshop, size), *await _postgres(workshop, size)]
        for backend, most in (("sqlite", 3.0), ("postgres", 8.0)):
            lines += await _suites(backend, server.url(), most, size)
    return [*lines, *await _unused(size), _history(size)]


@contextmanager
def _workshop(server: str) -> Iterator[Workshop]:
    with tempfile.TemporaryDirectory(prefix="jido-bench-") as folder:
        workshop = Workshop(_CONFIG, server=lambda: server, folder=Path(folder))
        yield workshop
        workshop.close()


# -- sandboxes ----------------------------------------------------------------------------------------------------


async def _touch() -> None:
    """Open the connection, which the sandbox leaves to the test."""
    await Note.all().first()


async def _sqlite(workshop: Workshop, size: Size) -> list[Line]:
    in_memory = {**_CONFIG, "connections": {"default": "sqlite://:memory:"}}

    async def ours() -> None:
        async with open_sandbox(workshop):
            await _touch()

    async def file() -> None:
        async with open_sandbox(workshop, "sqlite", "file"):
            await _touch()

    async def theirs() -> None:  # as tortoise_test_context does, which knows one app only
        async with TortoiseContext() as context:
            await context.init(config=in_memory)
            await context.generate_schemas(safe=False)
            await _touch()

    samples = await interleaved({"ours": ours, "theirs": theirs, "file": file}, size.times(100))
    return [
        compared("sandbox, against tortoise_test_context", _SQLITE, samples, "ours", "theirs", 1.0),
        compared("  (sandbox in a file)", _SQLITE, samples, "file", "theirs"),
    ]


async def _postgres(workshop: Workshop, size: Size) -> list[Line]:
    async with open_sandbox(workshop, "postgres") as sandbox:
        url = "postgresql" + sandbox.url[sandbox.url.index(":") :]
    bare = await asyncpg.connect(url)

    async def rolled_back() -> None:
        await bare.execute("BEGIN")
        await bare.execute("ROLLBACK")

    async def cleaned() -> None:
        workshop._postgres._clean(busy=False)

    async def whole() -> None:
        async with open_sandbox(workshop, "postgres"):
            await _touch()

    async def clone() -> None:
        async with open_sandbox(workshop, "postgres", "clone"):
            await _touch()

    writer = workshop.janitor.run(asyncpg.connect(url))
    rows = "; ".join(f"INSERT INTO note (text) VALUES ('{number}')" for number in range(8))
    dirty = Prepared(cleaned, lambda: workshop.janitor.run(writer.execute(rows)))
    try:
        samples = await interleaved({"cleaned": dirty, "rolled back": rolled_back, "whole": whole}, size.times(100))
        clones = await interleaved({"clone": clone, "rolled back": rolled_back}, size.times(10))
    finally:
        workshop.janitor.run(writer.close())
        await bare.close()
    return [
        compared("cleaning, against BEGIN and ROLLBACK", _POSTGRES, samples, "cleaned", "rolled back", 2.0),
        compared("  (the whole sandbox, with a connection)", _POSTGRES, samples, "whole", "rolled back"),
        compared("  (a sandbox that is a clone)", _POSTGRES, clones, "clone", "rolled back"),
    ]


# -- servers and suites -------------------------------------------------------------------------------------------


async def _ready(size: Size) -> list[Line]:
    """A server's way from nothing to its first answer, its binaries in the kernel's cache."""
    seconds = []
    for _ in range(size.times(5)):
        began = perf_counter()
        with PostgresServer():
            seconds.append(perf_counter() - began)
    return [_timed("server ready", _POSTGRES, seconds, 1.0, "s")]


async def _suites(backend: str, server: str, most: float, size: Size) -> list[Line]:
    """A host's tests, each of which writes a row of its own and an agent: the whole run, pytest's start included."""
    count, database = size.of(200), {"sqlite": _SQLITE, "postgres": _POSTGRES}[backend]
    lines = []
    with tempfile.TemporaryDirectory(prefix="jido-bench-") as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text(_SETTINGS)
        (folder / "settings.py").write_text(f"TORTOISE_ORM = {_CONFIG!r}")
        (folder / "test_suite.py").write_text(_SUITE.format(count=count))
        for workers in (0, 2) if size.scale >= 1 else (0,):
            arguments = ["-m", "pytest", "-q", f"--jido-db={backend}", f"--jido-db-url={server}", f"-n{workers}"]
            seconds = [await _seconds(arguments, folder, count) for _ in range(size.times(4))]
            work = f"  ({count} tests, {workers} workers)" if workers else f"{count} tests"
            # The first fills the caches of bytecode, where there were more.
            lines.append(_timed(work, database, seconds[1:] or seconds, None if workers else most, "s"))
    return lines


async def _seconds(arguments: list[str], folder: Path, count: int) -> float:
    began = perf_counter()
    printed = await _run(arguments, folder)
    taken = perf_counter() - began
    assert f"{count} passed" in printed, printed
    return taken


async def _unused(size: Size) -> list[Line]:
    """What a run pays that does not use the plugin: the processor's time of its import, and what that brings along."""
    printed = [(await _run(["-c", _UNUSED], _ROOT)).split() for _ in range(size.times(15) + 1)]
    heavy = max(int(count) for _, count in printed)
    milliseconds = [float(seconds) * 1000 for seconds, _ in printed[1:]]
    return [
        _timed("unused plugin", "", milliseconds, 10.0, "ms"),
        counted("unused plugin, heavy packages imported", "", heavy, 0),
    ]


def _history(size: Size) -> Line:
    count, seconds = size.of(10_000), []
    operations, final = simulated(1, count)
    for _ in range(size.times(5)):
        began = perf_counter()
        assert find_anomalies(operations, final) == []
        seconds.append(perf_counter() - began)
    return _timed(f"history of {count:,} calls checked", "", seconds, 2.0, "s")


def _timed(work: str, database: str, samples: list[float], most: float | None, unit: str) -> Line:
    return Line(work, database, median(samples), bound=most, unit=unit, samples={"ours": samples})


async def _run(arguments: list[str], folder: Path) -> str:
    path = os.pathsep.join([str(_ROOT), str(_ROOT / "testing")])
    # PYTHONDONTWRITEBYTECODE above all: without its caches pytest rewrites what it imports in every run.
    private, kept = ("JIDO_", "PYTEST_", "PYTHON"), "PYTHONPYCACHEPREFIX"
    environment = {name: value for name, value in os.environ.items() if name == kept or not name.startswith(private)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=folder,
        env={**environment, "PYTHONPATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return out.decode()
