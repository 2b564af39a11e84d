"""One process of a service whose run is cut off: it records until it is killed.

Run by test_recording_processes.py: `recording_worker.py URL`; prints the session, the run, and then each event that is
stored for certain.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from tortoise import Tortoise

import jido_tortoise as jt
from jido_tortoise.recording.buffer import Buffering
from jido_tortoise.recording.manager import SessionManager
from jido_tortoise.recording.providers import Answer, Request, Said

#: Seconds that a run of this process is believed in.
LEASE = 60.0


async def endless(request: Request) -> AsyncIterator[Said | Answer]:
    """Say words until the end of time, and count them."""
    number = 0
    while True:
        yield Said("message_streamed", {"content": f"{number} "})
        if number % 10 == 0:
            yield Said("token_usage_updated", {"input_tokens": 1, "output_tokens": 10, "model": "gpt-4o-mini"})
        number += 1
        await asyncio.sleep(0.001)


async def tell(manager: SessionManager, session_id: str) -> None:
    """Print how many events are stored, again and again."""
    while True:
        print(await manager.store.get_latest_sequence(session_id), flush=True)
        await asyncio.sleep(0.02)


async def main(url: str) -> None:
    await Tortoise.init(config={"connections": {"default": url}, "apps": jt.apps("recording")})
    manager = SessionManager(lease=LEASE, buffering=Buffering(size=20, seconds=0.05))
    session = await manager.start_session("worker")
    await manager.activate_session(session.id)
    run = await manager.start_run(session.id, "count")
    print(session.id, run.id, flush=True)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(tell(manager, session.id))
        tasks.create_task(manager.execute_run(run.id, endless))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
