"""Waiting for events: a read that waits for the first one, and a loop over all that come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from time import monotonic
from typing import Any

import pytest

from jido_tortoise.errors import InvalidInputError, NotFoundError
from jido_tortoise.recording import Event, SessionStoreLike
from jido_tortoise_testing.contract.recording.base import StoreChecks, begun, event, events, ids, numbers, refused

#: Seconds until a wait is surely under way.
BEGUN = 0.03


class WaitChecks(StoreChecks):
    """`wait_timeout_ms` of a read."""

    async def test_wait_that_finds_something(self, store: SessionStoreLike) -> None:
        """When there is something it is answered at once (case 34)."""
        await begun(store)
        await store.append_event(event())
        started = monotonic()
        assert len(await store.get_events("s", wait_timeout_ms=5000)) == 1
        assert monotonic() - started < 1

    @pytest.mark.parametrize("append", ["append_event", "append_events", "flush"])
    async def test_wait_until_something_comes(
        self, store: SessionStoreLike, second: SessionStoreLike, append: str
    ) -> None:
        """It waits for an append, by whatever function and handle, and answers with what that brought (case 35)."""
        session = await begun(store)
        waiting = asyncio.create_task(store.get_events("s", after=0, wait_timeout_ms=10_000))
        await asyncio.sleep(BEGUN)
        assert not waiting.done()
        if append == "append_event":
            await second.append_event(event())
        elif append == "append_events":
            await second.append_events([event()])
        else:
            await second.flush(session=session, events=[event()])
        async with asyncio.timeout(2):
            assert ids(await waiting) == ["e"]

    async def test_wait_for_nothing(self, store: SessionStoreLike) -> None:
        """It ends with nothing when the time is over, and not before (case 36)."""
        await begun(store)
        started = monotonic()
        assert await store.get_events("s", wait_timeout_ms=100) == []
        assert 0.08 <= monotonic() - started < 2

    @pytest.mark.parametrize(
        "other",
        [{"session_id": "other"}, {"type": "message_received"}, {"run_id": "other"}],
        ids=["session", "type", "run"],
    )
    async def test_wait_respects_its_filters(self, store: SessionStoreLike, other: dict[str, Any]) -> None:
        """What the same read would not answer does not end the wait (cases 37, 38, 39)."""
        for name in ("s", "other"):
            await begun(store, name)
        wished = store.get_events("s", run_id="r", type="message_sent", wait_timeout_ms=10_000)
        waiting = asyncio.create_task(wished)
        await asyncio.sleep(BEGUN)
        await store.append_event(event(**{"event_id": "not this", "run_id": "r", **other}))
        await asyncio.sleep(BEGUN)
        assert not waiting.done()
        await store.append_event(event("this", run_id="r"))
        async with asyncio.timeout(2):
            assert ids(await waiting) == ["this"]

    async def test_no_wait(self, store: SessionStoreLike) -> None:
        """Without the option, and where nothing can pass, the answer comes at once (case 40)."""
        await begun(store)
        started = monotonic()
        assert await store.get_events("s") == []
        assert await store.get_events("s", type=[], wait_timeout_ms=10_000) == []
        assert await store.get_events("s", limit=0, wait_timeout_ms=10_000) == []
        assert monotonic() - started < 1

    async def test_a_wait_can_be_cancelled(self, store: SessionStoreLike) -> None:
        """A cancelled wait ends at once, and the store goes on."""
        await begun(store)
        waiting = asyncio.create_task(store.get_events("s", wait_timeout_ms=10_000))
        await asyncio.sleep(BEGUN)
        waiting.cancel()
        async with asyncio.timeout(2):
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert (await store.append_event(event())).sequence_number == 1


class FollowChecks(StoreChecks):
    """`follow`: what is there, and all that comes."""

    async def test_follow(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """First what is there after the number, then what others append, each once and in order (W12)."""
        await begun(store)
        await store.append_events(events(3))
        async with aclosing(store.follow("s", after=1)) as following:
            seen = await _take(following, 2)
            for n in range(4, 8):
                await second.append_event(event(f"s-{n}"))
                seen += await _take(following, 1)
        assert numbers(seen) == [2, 3, 4, 5, 6, 7]

    async def test_follow_through_filters(self, store: SessionStoreLike) -> None:
        """Only what passes the filters, also when most does not."""
        await begun(store)
        async with aclosing(store.follow("s", type=["run_started"], run_id="r")) as following:
            waiting = asyncio.create_task(_take(following, 1))
            for n in range(5):
                await store.append_event(event(str(n), run_id="r"))
            await store.append_event(event("other", "run_started", run_id="q"))
            await asyncio.sleep(BEGUN)
            assert not waiting.done()
            await store.append_event(event("this", "run_started", run_id="r"))
            assert ids(await waiting) == ["this"]

    async def test_follow_many(self, store: SessionStoreLike) -> None:
        """More than one page is there at once, and nothing is left out or comes twice."""
        await begun(store)
        await store.append_events(events(1200))
        async with aclosing(store.follow("s")) as following:
            assert numbers(await _take(following, 1200)) == list(range(1, 1201))

    async def test_follow_ends_with_its_session(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """When the session is deleted, the loop over it ends."""
        await begun(store)
        following = store.follow("s")
        waiting = asyncio.create_task(anext(following, None))
        await asyncio.sleep(BEGUN)
        await second.delete_session("s")
        async with asyncio.timeout(5):
            assert await waiting is None

    async def test_follow_ends_when_its_session_is_made_anew(
        self, store: SessionStoreLike, second: SessionStoreLike
    ) -> None:
        """A session that has taken the id of the one that was followed is another: no event of it is answered."""
        await begun(store)
        await store.append_events(events(2))
        async with aclosing(store.follow("s")) as following:
            await _take(following, 2)
            waiting = asyncio.create_task(anext(following, None))
            await asyncio.sleep(BEGUN)
            await second.delete_session("s")
            await begun(second)
            await second.append_events([event(f"new-{n}") for n in range(4)])
            async with asyncio.timeout(5):
                assert await waiting is None

    async def test_follow_of_nothing(self, store: SessionStoreLike) -> None:
        """A session that is not there cannot be followed, and bad options are refused."""
        with refused(NotFoundError, "session_not_found"):
            await anext(store.follow("nope"))
        with refused(InvalidInputError, path="after"):
            await anext(store.follow("s", after=-1))


async def _take(following: AsyncIterator[Event], count: int) -> list[Event]:
    async with asyncio.timeout(5):
        return [await anext(following) for _ in range(count)]
