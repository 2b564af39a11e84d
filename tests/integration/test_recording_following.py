"""Recorded sessions of several processes, and of followers on PostgreSQL that are notified."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from jido_tortoise.doctor import examine
from jido_tortoise.recording import Event, Run, Session, SessionStore, bells, listening
from jido_tortoise_testing.postgres import run_sql
from tests import forking
from tests.conftest import Database, opened

_PROGRAM = """
import asyncio, sys
from tortoise.context import TortoiseContext
from jido_tortoise.recording import Event, SessionStore
async def main(url, me):
    async with TortoiseContext() as context:
        apps = {"jido_recording": {"models": ["jido_tortoise.recording.models"], "default_connection": "default"}}
        await context.init(config={"connections": {"default": url}, "apps": apps})
        store = SessionStore()
        made = [Event(type="message_sent", session_id="s", id=f"{me}-{n}") for n in range(20)]
        shared = Event(type="run_started", session_id="s", id="shared")
        await asyncio.gather(*(store.append_event(one) for one in made), store.append_events([shared, *made]))
asyncio.run(main(*sys.argv[1:]))
"""


def event(event_id: str) -> Event:
    """Make an event."""
    return Event(type="message_sent", session_id="s", id=event_id)


@pytest.mark.parametrize("backend", ["sqlite-file", "postgres"], indirect=True)
async def test_w1_w2_processes_that_append_the_same(recording_db: Database) -> None:
    """Three processes append their own events twice and a shared one: each is stored once, gapless; a follower of
    another process sees every one of them, in order (W1, W2)."""
    store = SessionStore()
    await store.save_session(Session(agent_id="agent", id="s"))
    lines = [("-c", _PROGRAM, recording_db.url, me) for me in "abc"]
    appending = asyncio.create_task(asyncio.to_thread(forking.together, *lines))
    async with asyncio.timeout(60), aclosing(store.follow("s")) as following:
        seen = [await anext(following) for _ in range(61)]
    assert [(done.returncode, done.stderr) for done in await appending] == [(0, "")] * 3
    assert [one.sequence_number for one in seen] == list(range(1, 62))
    assert len({one.id for one in seen}) == 61
    assert await store.get_events("s") == seen


# -- followers that are notified ----------------------------------------------------------------------------------


@pytest.fixture
async def two(pg_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[SessionStore]]:
    """Give a store on each of two clients of one database, where nobody looks before he is told."""
    monkeypatch.setattr(bells, "SHORTEST", 12.0)
    async with opened(pg_url, families=("recording",), connections={"default": pg_url, "second": pg_url}):
        stores = [SessionStore(notify=True), SessionStore("second", notify=True)]
        await stores[0].save_session(Session(agent_id="agent", id="s"))
        yield stores


#: Of this test's database: others run beside it on the server.
_LISTENING = "datname = current_database() AND query LIKE 'LISTEN%'"


async def test_followers_are_notified(two: list[SessionStore]) -> None:
    """At once, by appends, batches and flushes of another client, at their commit."""
    mine, theirs = two
    async with aclosing(mine.follow("s")) as following:
        for n, append in enumerate(
            (
                lambda: theirs.append_event(event("0")),
                lambda: theirs.append_events([event("1")]),
                lambda: _flush(theirs),
            )
        ):
            waiting = asyncio.create_task(anext(following))
            await asyncio.sleep(0.05)
            await append()
            async with asyncio.timeout(4):
                assert (await waiting).id == str(n)


async def _flush(store: SessionStore) -> Any:
    session = await store.get_session("s")
    return await store.flush(session=session, run=Run(session_id="s"), events=[event("2")])


async def test_one_listening_connection_while_somebody_follows(two: list[SessionStore], pg_url: str) -> None:
    """Many followers share it, `doctor` counts it, nobody is asked to notify without one, and it goes with the last."""
    mine, theirs = two
    root = (await mine.connected()).root
    listening_now = f"SELECT count(*)::int FROM pg_stat_activity WHERE {_LISTENING}"
    assert (listening.connections(root), run_sql(pg_url, listening_now)[0][0]) == (0, 0)
    waits = [asyncio.create_task(mine.get_events("s", after=0, wait_timeout_ms=9000)) for _ in range(7)]
    for _ in range(100):
        await asyncio.sleep(0.1)
        if run_sql(pg_url, listening_now)[0][0]:
            break
    assert (listening.connections(root), run_sql(pg_url, listening_now)[0][0]) == (1, 1)
    report = await examine("default")
    assert [one.found[:12] for one in report.findings if one.topic == "listening"] == ["1 connection"]
    await theirs.append_event(event("e"))
    async with asyncio.timeout(4):
        assert [[one.id for one in found] for found in await asyncio.gather(*waits)] == [["e"]] * 7
    assert listening.connections(root) == 0
    assert "listening" not in [one.topic for one in (await examine("default")).findings]


async def test_a_lost_listener_is_replaced(two: list[SessionStore], pg_url: str) -> None:
    """When the server ends its connection, what comes in between is read, and what comes later is notified."""
    mine, theirs = two
    async with aclosing(mine.follow("s")) as following:
        waiting = asyncio.create_task(anext(following))
        await asyncio.sleep(0.1)
        run_sql(pg_url, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {_LISTENING}")
        await theirs.append_event(event("0"))
        async with asyncio.timeout(4):
            assert (await waiting).id == "0"
        waiting = asyncio.create_task(anext(following))
        await asyncio.sleep(0.1)
        await theirs.append_event(event("1"))
        async with asyncio.timeout(4):
            assert (await waiting).id == "1"


async def test_no_append_slips_through_as_a_follower_begins(two: list[SessionStore]) -> None:
    """Appends that are under way while followers begin are seen by all of them, though nobody looks again."""
    mine, theirs = two

    async def first_of(after: int) -> int | None:
        (found, *_) = await mine.get_events("s", after=after, wait_timeout_ms=9000)
        return found.sequence_number

    for turn in range(15):
        waits = [asyncio.create_task(first_of(turn)) for _ in range(3)]
        for _ in range(turn):
            await asyncio.sleep(0)
        await theirs.append_event(event(str(turn)))
        async with asyncio.timeout(4):
            assert await asyncio.gather(*waits) == [turn + 1] * 3
