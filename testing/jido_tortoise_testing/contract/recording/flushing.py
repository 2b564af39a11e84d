"""Flush: a session, a run and events, all of it or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from jido_tortoise.errors import ConflictError, DuplicateEntryError, InvalidRecordError, NotFoundError, UnstorableError
from jido_tortoise.recording import Session, SessionStoreLike
from jido_tortoise_testing.contract.recording.base import (
    StoreChecks,
    begun,
    event,
    events,
    ids,
    numbers,
    refused,
    run_of,
)


class FlushChecks(StoreChecks):
    """What belongs together is stored together."""

    async def test_flush(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """Session, run and events are all readable afterwards, the events in order (cases 32, 47)."""
        session, run = Session(agent_id="agent", id="s"), run_of(status="running")
        flushed = await store.flush(session=session, run=run, events=events(2))
        assert await second.get_session("s") == flushed.session
        assert await second.get_run("r") == flushed.run
        assert await second.get_events("s") == flushed.events
        assert numbers(flushed.events) == [1, 2]
        again = await store.flush(session=flushed.session, run=flushed.run, events=events(3))
        assert (numbers(again.events), again.session.revision) == ([1, 2, 3], 1)

    @pytest.mark.parametrize("bad", ["no event", event(session_id="elsewhere")], ids=["no-event", "of-another"])
    async def test_flush_of_bad_events(self, store: SessionStoreLike, bad: Any) -> None:
        """One bad event, and nothing of the rest is stored (case 33)."""
        with refused(InvalidRecordError, "validation_error", path="events[1]"):
            await store.flush(session=Session(agent_id="a", id="s"), run=run_of(), events=[event("ok"), bad])
        await self._nothing(store)

    async def test_flush_rolls_back(self, store: SessionStoreLike) -> None:
        """Events that a storage refuses take session and run with them (case 33)."""
        await begun(store, "other")
        await store.append_event(event("taken", session_id="other"))
        session = Session(agent_id="a", id="s")
        with refused(DuplicateEntryError):
            await store.flush(session=session, run=run_of(), events=[event("ok"), event("taken")])
        with refused(UnstorableError):
            await store.flush(session=session, run=run_of(), events=[event(data={"x": object()})])
        await self._nothing(store)

    async def _nothing(self, store: SessionStoreLike) -> None:
        with refused(NotFoundError, "session_not_found"):
            await store.get_session("s")
        with refused(NotFoundError, "run_not_found"):
            await store.get_run("r")
        assert await store.get_events("s") == []

    async def test_flush_of_another_session_s_run(self, store: SessionStoreLike) -> None:
        """What is of another session is refused by its place."""
        with refused(InvalidRecordError, path="run"):
            await store.flush(session=Session(agent_id="a", id="s"), run=run_of("other"))
        with refused(InvalidRecordError, path="session"):
            await store.flush(session=None)  # type: ignore[arg-type]

    async def test_w4_stale_flush(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """A flush of a copy that others have changed since stores nothing: not the run, not the events (W4, W6)."""
        mine = await begun(store, status="active")
        run = await store.save_run(run_of(status="running"))
        paused = await second.save_session(mine.with_status("paused"))
        with refused(ConflictError, "stale_session"):
            await store.flush(session=mine.with_status("completed"), run=run.with_output({}), events=events(2))
        assert (await store.get_session("s"), await store.get_run("r")) == (paused, run)
        assert await store.get_latest_sequence("s") == 0

    async def test_w5_flush_of_a_second_run(self, store: SessionStoreLike) -> None:
        """A flush begins no second run either, unless that is allowed (W5)."""
        session = await begun(store)
        await store.save_run(run_of(run_id="first", status="running"))
        second = run_of(run_id="second", status="running")
        with refused(ConflictError, "already_running"):
            await store.flush(session=session, run=second, events=events(1))
        assert (ids(await store.list_runs("s")), await store.get_events("s")) == (["first"], [])
        await store.flush(session=session, run=second, concurrent=True)
        assert sorted(ids(await store.list_runs("s"))) == ["first", "second"]
