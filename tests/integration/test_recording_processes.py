"""A process that is killed while it executes a run: what it has stored is there, and the run is found and ended."""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jido_tortoise.errors import InvalidTransitionError
from jido_tortoise.recording.manager import SessionManager
from jido_tortoise.recording.pricing import Pricing
from jido_tortoise.recording.providers import ScriptedProvider
from jido_tortoise_testing.clocks import VirtualClock
from tests.conftest import opened
from tests.integration.recording_worker import LEASE

_WORKER = Path(__file__).with_name("recording_worker.py")
_PRICES = Pricing({"endless": {"input": "0.5", "output": "0.25"}})


async def _killed_in_mid_run(url: str) -> tuple[str, str, int]:
    """Start a process, let it record for a moment, kill it; answer its session, its run, and what it saw stored."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(_WORKER), url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        session_id, run_id = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().split()
        stored = 0
        while stored < 100:
            stored = int(await asyncio.wait_for(process.stdout.readline(), 30))
    finally:
        process.send_signal(signal.SIGKILL)
        await process.communicate()
    return session_id, run_id, stored


@pytest.mark.parametrize("backend", ["sqlite-file", "postgres"])
async def test_a_killed_run_is_found_and_recovered(db_url: str, backend: str) -> None:
    """Nothing that was stored is lost, one of two recoverers ends the run with its usage, the session goes on (W7)."""
    async with opened(db_url, backend=backend, families=("recording",)):
        session_id, run_id, stored = await _killed_in_mid_run(db_url)
        manager, other = SessionManager(pricing=_PRICES), SessionManager(pricing=_PRICES)
        assert await manager.recover_runs() == [], "its lease has not run out"
        assert (await manager.store.get_run(run_id)).status == "running"
        with VirtualClock(datetime.now(UTC) + timedelta(seconds=LEASE + 1)).installed():
            found = await asyncio.gather(manager.recover_runs(), other.recover_runs())
        assert [run.id for runs in found for run in runs] == [run_id]

        run = await manager.store.get_run(run_id)
        assert (run.status, run.error["code"], run.provider) == ("failed", "run_lost", "endless")
        events = await manager.store.get_events(session_id)
        assert [event.sequence_number for event in events] == list(range(1, len(events) + 1))
        assert len(events) > stored
        assert [event.type for event in events].count("run_failed") == 1
        usages = [event for event in events if event.type == "token_usage_updated"]
        assert run.token_usage["output_tokens"] == 10 * len(usages)
        assert run.cost_usd == 0.5 * len(usages) + 0.25 * 10 * len(usages)

        again = await manager.start_run(session_id, "once more")
        assert (await manager.execute_run(again.id, ScriptedProvider.saying("ok"))).status == "completed"
        with pytest.raises(InvalidTransitionError):
            await manager.execute_run(run_id, ScriptedProvider.saying("no"))
