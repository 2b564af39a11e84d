"""Runs: stored by id under a session that is there, one of them running."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jido_tortoise.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidInputError,
    InvalidRecordError,
    InvalidTransitionError,
    NotFoundError,
)
from jido_tortoise.recording import SessionStoreLike
from jido_tortoise_testing.contract.exact import assert_same
from jido_tortoise_testing.contract.recording.base import StoreChecks, begun, event, ids, refused, run_of
from jido_tortoise_testing.contract.recording.sessions import RICH


class RunChecks(StoreChecks):
    """Runs by id, and by session."""

    async def test_save_and_get_run(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """A run that was stored is read as it was, by any handle (cases 10, 11, 45)."""
        await begun(store)
        made = run_of(
            input=RICH,
            output={"text": "hi"},
            error={"code": "e"},
            metadata={"m": 1},
            turn_count=2,
            token_usage={"input_tokens": 3, "cost": 0.5},
            provider="p",
            provider_metadata={"model": "m"},
            cost_usd=0.1,
            started_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
            ended_at=datetime(2026, 1, 3, tzinfo=UTC),
        )
        saved = await store.save_run(made)
        assert saved == replace(made, revision=1)
        found = await second.get_run("r")
        assert found == saved
        assert_same(dict(found.input or {}), RICH)

    async def test_missing_run(self, store: SessionStoreLike) -> None:
        """A run that was never stored is `run_not_found` (case 12)."""
        with refused(NotFoundError, "run_not_found", run_id="nope"):
            await store.get_run("nope")

    async def test_save_updates_a_run(self, store: SessionStoreLike) -> None:
        """A changed run replaces the one that was stored (case 13)."""
        await begun(store)
        made = run_of()
        await store.save_run(made)
        running = await store.save_run(made.with_status("running"))
        assert (await store.get_run("r")).status == "running"
        await store.save_run(running.with_output({"text": "done"}))
        done = await store.get_run("r")
        assert (done.status, done.output, done.ended_at is None) == ("completed", {"text": "done"}, False)

    async def test_same_run_again(self, store: SessionStoreLike) -> None:
        """The same version may be saved any number of times: one row, one revision (case 42)."""
        await begun(store)
        made = run_of(status="running", input=RICH)
        assert [(await store.save_run(made)).revision for _ in range(3)] == [1, 1, 1]
        assert len(await store.list_runs("s")) == 1

    async def test_w4_the_same_change_of_two(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """Two that make one change of one revision pass for one that repeats it, unless a save says `once` (W4)."""
        session = await begun(store)
        seen = await store.save_run(run_of())
        saved = await store.save_run(seen.with_turn())
        assert await second.save_run(seen.with_turn()) == saved
        with refused(ConflictError, "stale_run", expected=1, actual=2, run_id="r"):
            await second.save_run(seen.with_turn(), once=True)
        with refused(ConflictError, "stale_run"):
            await second.flush(session=session, run=seen.with_turn(), events=[event()], once=True)
        assert await second.save_run(saved, once=True) == saved, "nothing is to be changed"
        assert (await second.save_run(saved.with_turn(), once=True)).turn_count == 2
        tagged = session.changed(tags=["x"])
        assert await second.save_session(tagged) == await store.save_session(tagged)
        for save in (second.save_session(tagged, once=True), second.flush(session=tagged, once=True)):
            with refused(ConflictError, "stale_session", expected=1, actual=2):
                await save
        made = run_of(run_id="new")
        await store.save_run(made, once=True)
        with refused(ConflictError, "stale_run"):
            await second.save_run(made, once=True)
        assert await store.get_events("s") == []

    async def test_list_runs(self, store: SessionStoreLike) -> None:
        """The runs of a session are listed, the oldest first; there are none of an unknown one (cases 14, 15)."""
        for name in ("s", "other"):
            await begun(store, name)
        for name, day in (("b", 1), ("a", 2)):
            await store.save_run(run_of(run_id=name, started_at=datetime(2026, 1, day, tzinfo=UTC)))
        await store.save_run(run_of("other", "c"))
        assert ids(await store.list_runs("s")) == ["b", "a"]
        assert ids(await store.list_runs("s", limit=1, offset=1)) == ["a"]
        assert ids(await store.list_runs("s", status=["pending", "failed"])) == ["b", "a"]
        assert [await store.list_runs("s", status=[]), await store.list_runs("nope")] == [[], []]

    async def test_active_run(self, store: SessionStoreLike) -> None:
        """The active run is the running one; none when all have ended (cases 16, 17)."""
        await begun(store)
        await store.save_run(run_of(run_id="done").with_status("running").with_output({}))
        assert await store.get_active_run("s") is None
        running = await store.save_run(run_of(status="running"))
        assert await store.get_active_run("s") == running

    async def test_active_run_is_seen_at_once(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """What one handle has saved, another reads (case 18)."""
        await begun(store)
        pending = await store.save_run(run_of())
        assert (await second.get_run("r")).status == "pending"
        await store.save_run(pending.with_status("running"))
        active = await second.get_active_run("s")
        assert active is not None
        assert active.id == "r"

    async def test_w8_a_run_needs_its_session(self, store: SessionStoreLike) -> None:
        """A run of a session that is not there is refused, running or not, new or of another session before (W8)."""
        await begun(store, "other")
        saved = await store.save_run(run_of("other", "there"))
        for status in ("pending", "running"):
            taken, moved = run_of(run_id="there", status=status), replace(saved, session_id="s", status=status)
            for run in (run_of(status=status), taken, moved):
                with refused(NotFoundError, "session_not_found", session_id="s"):
                    await store.save_run(run)
        assert await store.get_run("there") == saved
        with refused(InvalidRecordError, path="run"):
            await store.save_run(None)  # type: ignore[arg-type]

    @pytest.mark.parametrize("wrong", ["no", 1, None, []], ids=repr)
    async def test_a_flag_is_a_bool(self, store: SessionStoreLike, wrong: Any) -> None:
        """What is neither True nor False is refused as `once` and as `concurrent`, and nothing is written."""
        session = await begun(store)
        for name in ("once", "concurrent"):
            flag = {name: wrong}
            with refused(InvalidInputError, path=name):
                await store.save_run(run_of(), **flag)
            with refused(InvalidInputError, path=name):
                await store.flush(session=session.changed(tags=["t"]), **flag)
        with refused(InvalidInputError, path="once"):
            await store.save_session(session.changed(tags=["t"]), once=wrong)
        assert (await store.get_session("s"), await store.list_runs("s")) == (session, [])

    async def test_w5_one_run_at_a_time(self, store: SessionStoreLike) -> None:
        """A second run does not begin while one is running, unless that is allowed; the first goes on (W5)."""
        await begun(store)
        first = await store.save_run(run_of(run_id="first", status="running"))
        waiting = await store.save_run(run_of(run_id="second"))
        with refused(ConflictError, "already_running", running=["first"]):
            await store.save_run(waiting.with_status("running"))
        assert (await store.get_run("second")).status == "pending"
        first = await store.save_run(first.with_turn())
        allowed = await store.save_run(waiting.with_status("running"), concurrent=True)
        await store.save_run(allowed.with_turn())
        assert len(await store.list_runs("s", status="running")) == 2

    async def test_w5_an_ended_run_stays_ended(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """It is not executed again, and a copy from before its end does not cancel it (W5)."""
        await begun(store)
        running = await store.save_run(run_of(status="running"))
        done = await store.save_run(running.with_output({}))
        with refused(ConflictError, "stale_run", expected=1, actual=2, run_id="r"):
            await second.save_run(running.with_status("cancelled"))
        with refused(InvalidTransitionError, from_status="completed", to_status="running", allowed=[]):
            await second.save_run(replace(done, status="running"))
        assert await store.get_run("r") == done

    async def test_a_run_stays_in_its_session(self, store: SessionStoreLike) -> None:
        """Its id cannot be taken by a run of another session, nor can it move there, or to another time."""
        for name in ("s", "other"):
            await begun(store, name)
        saved = await store.save_run(run_of())
        later = replace(saved, started_at=saved.started_at + timedelta(days=1), turn_count=1)
        for moved in (run_of("other"), replace(saved, session_id="other"), later):
            with refused(AlreadyExistsError, run_id="r"):
                await store.save_run(moved)
        assert await store.get_run("r") == saved
