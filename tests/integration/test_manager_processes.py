"""Several processes with a manager each, on one database: who loses a race learns it, and nothing is lost."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from jido_tortoise.agents.persist import thaw
from jido_tortoise.agents.tortoise import TortoiseStorage
from tests.conftest import opened
from tests.integration.manager_worker import KEYS, Shared

_WORKER = Path(__file__).with_name("manager_worker.py")
_PROCESSES, _ROUNDS = 4, 25


async def _run(url: str, worker: int) -> int:
    """Run one process to its end and answer how often it lost a race."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(_WORKER), url, f"worker-{worker}", str(_ROUNDS),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), 120)
    except BaseException:
        process.kill()
        raise
    assert process.returncode == 0, err.decode()
    return int(out)


@pytest.mark.parametrize("backend", ["sqlite-file", "postgres"])
async def test_processes_that_race_lose_nothing(db_url: str, backend: str) -> None:
    """Four processes count in the same two agents: every count and every entry of each is there, in order."""
    async with opened(db_url, backend=backend):
        lost = await asyncio.gather(*(_run(db_url, worker) for worker in range(_PROCESSES)))
        assert sum(lost), "the processes never met: the test shows nothing"
        for key in KEYS:
            agent = await thaw(TortoiseStorage(), Shared, key)
            assert agent.state.count == _PROCESSES * _ROUNDS
            assert agent.state.by_worker == {f"worker-{worker}": _ROUNDS for worker in range(_PROCESSES)}
            assert [entry.seq for entry in agent.thread] == list(range(_PROCESSES * _ROUNDS))
            for worker in range(_PROCESSES):
                numbers = [e.payload["number"] for e in agent.thread if e.payload["worker"] == f"worker-{worker}"]
                assert numbers == list(range(_ROUNDS))
