"""One of two processes that write by google-adk's interface at once.

Run by test_google_writers.py: `python -m tests.integration.adk.google_writer URL APP NAME` says when it is ready, and
begins when it is told a line; the other process is that of the test, since an import of google-adk takes seconds.
"""

from __future__ import annotations

import asyncio
import sys

from google.adk.errors import StaleSessionError
from google.adk.events import Event, EventActions
from tortoise.context import TortoiseContext

from jido_tortoise.adk import TortoiseSessionService

TIMES = 10


async def write(service: TortoiseSessionService, app: str, me: str) -> None:
    """Write what is shared from sessions of its own, and race for one that is not."""

    async def own(n: int) -> None:
        session = await service.create_session(app_name=app, user_id="u")
        delta = {f"{scope}{me}-{n}": n for scope in ("app:", "user:")}
        await service.append_event(session, Event(actions=EventActions(state_delta=delta)))

    async def race(n: int) -> Event:
        while True:
            session = await service.get_session(app_name=app, user_id="u", session_id="s")
            assert session is not None
            delta = {f"{me}-{n}": n, "count": session.state.get("count", 0) + 1}
            try:
                return await service.append_event(session, Event(actions=EventActions(state_delta=delta)))
            except StaleSessionError:
                await asyncio.sleep(0.001)

    await asyncio.gather(*map(own, range(TIMES)))
    for n in range(TIMES):
        await race(n)


async def main(url: str, app: str, me: str) -> None:
    apps = {"jido_adk": {"models": ["jido_tortoise.adk.models"], "default_connection": "default"}}
    async with TortoiseContext() as context:
        await context.init(config={"connections": {"default": url}, "apps": apps})
        print("ready", flush=True)
        sys.stdin.readline()
        await write(TortoiseSessionService(), app, me)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
