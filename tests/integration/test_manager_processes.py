"""Several processes with a manager each, on one database: who loses a race learns it, and nothing is lost."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from jido_tortoise.agents.persist import thaw
from jido_tortoise.agents.tortoise import TortoiseStorage
from tests import forking
from tests.conftest import opened
from tests.integration.manager_worker import KEYS, Shared

_PROCESSES, _ROUNDS = 4, 25


async def _run(url: str) -> int:
    """Run the processes to their ends and answer how often they lost a race."""
    worker = ("-m", "tests.integration.manager_worker", url)
    lines = [(*worker, f"worker-{number}", _ROUNDS) for number in range(_PROCESSES)]
    ran = await asyncio.to_thread(partial(forking.together, *lines, cwd=Path(__file__).parents[2], timeout=120))
    assert [(done.returncode, done.stderr) for done in ran] == [(0, "")] * _PROCESSES
    return sum(int(done.stdout) for done in ran)


@pytest.mark.parametrize("backend", ["sqlite-file", "postgres"])
async def test_processes_that_race_lose_nothing(db_url: str, backend: str) -> None:
    """Four processes count in the same two agents: every count and every entry of each is there, in order."""
    async with opened(db_url, backend=backend):
        assert await _run(db_url), "the processes never met: the test shows nothing"
        for key in KEYS:
            agent = await thaw(TortoiseStorage(), Shared, key)
            assert agent.state.count == _PROCESSES * _ROUNDS
            assert agent.state.by_worker == {f"worker-{worker}": _ROUNDS for worker in range(_PROCESSES)}
            assert [entry.seq for entry in agent.thread] == list(range(_PROCESSES * _ROUNDS))
            for worker in range(_PROCESSES):
                numbers = [e.payload["number"] for e in agent.thread if e.payload["worker"] == f"worker-{worker}"]
                assert numbers == list(range(_ROUNDS))
