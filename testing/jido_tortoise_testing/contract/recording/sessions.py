"""Sessions: stored by id, read as they were, never overwritten unseen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from jido_tortoise.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidInputError,
    InvalidRecordError,
    InvalidTransitionError,
    NotFoundError,
    UnstorableError,
)
from jido_tortoise.recording import Session, SessionStoreLike
from jido_tortoise_testing.contract.exact import assert_same
from jido_tortoise_testing.contract.recording.base import StoreChecks, begun, event, ids, refused, run_of

#: What a map of any record must bring back with its types.
RICH: dict[str, Any] = {
    "at": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    "day": date(2026, 1, 2),
    "price": Decimal("1.50"),
    "raw": b"\x00\xff",
    "pair": (1, 1.0, True, None),
    "text": "nul \0 and ü",
    "deep": {"Unknown": [{"key": "value"}, {}]},
    "": "",
}


class SessionChecks(StoreChecks):
    """Sessions by id."""

    async def test_save_and_get(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """A session that was stored is read as it was, by any handle (cases 1, 2, 44)."""
        made = Session(
            agent_id="agent",
            parent_session_id="parent",
            metadata={"k": 1},
            context={"c": [2]},
            tags=["b", "a"],
            created_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
            deleted_at=datetime(2026, 1, 3, tzinfo=UTC),
        )
        saved = await store.save_session(made)
        assert saved == replace(made, revision=1)
        assert await second.get_session(made.id) == saved

    async def test_missing_session(self, store: SessionStoreLike) -> None:
        """A session that was never stored is `session_not_found` (case 3)."""
        with refused(NotFoundError, "session_not_found", session_id="nope"):
            await store.get_session("nope")

    async def test_save_updates(self, store: SessionStoreLike) -> None:
        """A changed session replaces the one that was stored, also when a save's answer was dropped (case 4)."""
        made = Session(agent_id="agent")
        await store.save_session(made)
        saved = await store.save_session(made.with_status("active"))
        assert (saved.revision, (await store.get_session(made.id)).status) == (2, "active")
        await store.save_session(saved.with_status("paused"))
        assert (await store.get_session(made.id)).status == "paused"

    async def test_same_session_again(self, store: SessionStoreLike) -> None:
        """The same version may be saved any number of times: one row, one revision (cases 5, 41)."""
        made = Session(agent_id="agent", metadata=RICH, tags=["x"])
        saved = [await store.save_session(made) for _ in range(3)]
        assert [session.revision for session in saved] == [1, 1, 1]
        again = await store.save_session(await store.get_session(made.id))
        assert (again.revision, await store.list_sessions()) == (1, [again])
        newer = await store.save_session(again.changed(tags=["y"]))
        assert await store.save_session(again.changed(tags=["y"], updated_at=newer.updated_at)) == newer

    async def test_list_sessions(self, store: SessionStoreLike) -> None:
        """All are listed, the oldest first, those included that were deleted softly (case 6)."""
        start = datetime(2026, 1, 1, tzinfo=UTC)
        for name, days in (("b", 1), ("c", 0), ("a", 1)):
            await begun(store, name, created_at=start + timedelta(days=days), deleted_at=start)
        assert ids(await store.list_sessions()) == ["c", "a", "b"]

    async def test_list_by_filters(self, store: SessionStoreLike) -> None:
        """By one status or several, and by agent; all filters hold together (case 7)."""
        for name, status in (("a", "pending"), ("b", "active"), ("c", "paused")):
            await begun(store, name, status=status)
        await store.save_session(Session(agent_id="other", id="d", status="active"))
        assert ids(await store.list_sessions(status="pending")) == ["a"]
        assert sorted(ids(await store.list_sessions(status=["active", "paused"]))) == ["b", "c", "d"]
        assert ids(await store.list_sessions(status="active", agent_id="other")) == ["d"]
        assert await store.list_sessions(status="never heard of") == []

    async def test_w16_w17_limit_offset_and_empty_lists(self, store: SessionStoreLike) -> None:
        """Limit 0 and an empty list of statuses both mean none; offset passes over (W16, W17)."""
        for n in range(4):
            await begun(store, f"s{n}", created_at=datetime(2026, 1, 1 + n, tzinfo=UTC))
        assert ids(await store.list_sessions(limit=2, offset=1)) == ["s1", "s2"]
        assert ids(await store.list_sessions(offset=3)) == ["s3"]
        assert await store.list_sessions(limit=0) == []
        assert await store.list_sessions(status=[]) == []

    async def test_w16_bad_options_of_a_list(self, store: SessionStoreLike) -> None:
        """An option that is none is refused by its name, not ignored (W16)."""
        bad: list[dict[str, Any]] = [{"limit": -1}, {"limit": "2"}, {"offset": -1}, {"status": 7}, {"agent_id": ""}]
        for options in bad:
            with refused(InvalidInputError, path=next(iter(options))):
                await store.list_sessions(**options)

    async def test_delete_session(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """Deleting takes runs, events and counter along, and does no harm the second time (cases 8, 9, W16, E1)."""
        for name in ("s", "other"):
            await begun(store, name)
            await store.save_run(run_of(name, f"r-{name}"))
            await store.append_event(event(f"e-{name}", session_id=name))
        for _ in range(2):
            assert await store.delete_session("s") == []
        with refused(NotFoundError, "session_not_found"):
            await second.get_session("s")
        with refused(NotFoundError, "run_not_found"):
            await second.get_run("r-s")
        assert (await store.get_events("s"), await store.get_latest_sequence("s")) == ([], 0)
        assert (len(await store.get_events("other")), ids(await store.list_runs("other"))) == (1, ["r-other"])

    async def test_w8_nothing_comes_after_a_delete(self, store: SessionStoreLike) -> None:
        """A deleted session takes no event and no run, and a save does not bring it back (W8, W4)."""
        session = await begun(store)
        run = await store.save_run(run_of())
        await store.delete_session("s")
        with refused(NotFoundError, "session_not_found", session_id="s"):
            await store.append_event(event())
        with refused(NotFoundError, "session_not_found"):
            await store.save_run(run_of(run_id="new"))
        with refused(NotFoundError, "session_not_found", session_id="s"):
            await store.save_run(run.with_turn())
        with refused(NotFoundError, "session_not_found"):
            await store.save_session(session.with_status("active"))

    @pytest.mark.parametrize(
        "change",
        [
            {"tags": ["pinned"]},
            {"metadata": {"a": 1.0}},
            {"deleted_at": datetime(2026, 1, 1, tzinfo=UTC)},
        ],
        ids=["tag", "metadata", "soft-delete"],
    )
    async def test_w4_no_update_is_lost(
        self, store: SessionStoreLike, second: SessionStoreLike, change: dict[str, Any]
    ) -> None:
        """A copy that was read before another one was saved is refused, and what was saved stays (W4)."""
        await begun(store, status="active", metadata={"a": 1})
        mine, theirs = await store.get_session("s"), await second.get_session("s")
        saved = await second.save_session(theirs.changed(**change))
        with refused(ConflictError, "stale_session", expected=1, actual=2, session_id="s"):
            await store.save_session(mine.with_status("completed"))
        assert_same(await store.get_session("s"), saved)

    async def test_w4_two_of_one_id(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """Another new session with an id that is taken does not overwrite the one that has it."""
        first = await begun(store, created_at=datetime(2026, 1, 1, tzinfo=UTC))
        with refused(AlreadyExistsError, session_id="s"):
            await begun(second, created_at=datetime(2026, 1, 2, tzinfo=UTC))
        assert await store.get_session("s") == first

    async def test_w4_what_never_changes(self, store: SessionStoreLike) -> None:
        """Whose a session is and when it was made is not changed, and no save answers that it was (W4)."""
        first = await begun(store)
        for name, value in (("agent_id", "other"), ("created_at", first.created_at - timedelta(days=1))):
            with refused(AlreadyExistsError, session_id="s", field=name):
                await store.save_session(first.changed(tags=["t"], **{name: value}))
        assert await store.get_session("s") == first

    async def test_w5_statuses_follow_one_another(self, store: SessionStoreLike) -> None:
        """A status that cannot follow the stored one is refused, however the value came by it (W5)."""
        session = await begun(store, status="completed")
        with refused(InvalidTransitionError, "invalid_transition", from_status="completed", to_status="active"):
            await store.save_session(replace(session, status="active"))
        assert (await store.get_session("s")).status == "completed"

    async def test_w14_maps_keep_their_types(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """Metadata and context come back as they were: times, bytes, decimals, NUL, unknown keys (W14, E7)."""
        await begun(store, metadata=RICH, context={"rich": [RICH]})
        found = await second.get_session("s")
        assert_same(dict(found.metadata), RICH)
        assert_same(dict(found.context), {"rich": [RICH]})
        # Of plain types but for one text, what a tool said is no less of a danger.
        said = {"output": "nul \0", "half": "\ud800", "n": 1}
        await store.append_event(event(data=said, metadata={"\0": "key"}))
        (told,) = await second.get_events("s")
        assert_same((dict(told.data), dict(told.metadata)), (said, {"\0": "key"}))

    async def test_what_is_stored_is_nobody_s(self, store: SessionStoreLike) -> None:
        """Changing a map that was saved, or one that was read, changes nothing that is stored."""
        mine = {"list": [1]}
        await begun(store, metadata=mine)
        mine["list"].append(2)
        (await store.get_session("s")).metadata["list"].append(3)
        assert (await store.get_session("s")).metadata == {"list": [1]}

    async def test_what_cannot_be_stored(self, store: SessionStoreLike) -> None:
        """It is refused before anything is written, naming its place."""
        with refused(UnstorableError, path="session.metadata.x[1]"):
            await begun(store, metadata={"x": [0, object()]})
        with refused(InvalidInputError):
            await begun(store, metadata={1: "no text"})
        with refused(InvalidRecordError, path="session"):
            await store.save_session("s")  # type: ignore[arg-type]
        assert await store.list_sessions() == []
