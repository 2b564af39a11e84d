"""Events: numbered without gaps in the order of their appends, stored once, never changed.

E1 to E10 are those cases of agent_session_manager's Ecto store that its contract does not have: E9 and E10 are about
tables, and stand with the tests of our own store.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from jido_tortoise.errors import (
    DuplicateEntryError,
    InvalidInputError,
    InvalidRecordError,
    NotFoundError,
    UnstorableError,
)
from jido_tortoise.recording import Event, SessionStoreLike
from jido_tortoise_testing.contract.exact import assert_same
from jido_tortoise_testing.contract.recording.base import StoreChecks, begun, event, events, ids, numbers, refused
from jido_tortoise_testing.contract.recording.sessions import RICH


class AppendChecks(StoreChecks):
    """Appending, one or many."""

    async def test_w13_an_unknown_type_is_not_stored(self, store: SessionStoreLike) -> None:
        """A type that there is not is refused whoever brings it, with a number too (W13)."""
        await begun(store)
        strange = Event(type="thought", session_id="s", id="strange", sequence_number=1)
        session = await store.get_session("s")
        with refused(InvalidRecordError):
            await store.append_events([event("e1"), strange])
        with refused(InvalidRecordError):
            await store.flush(session=session, events=[strange])
        assert await store.get_events("s") == []

    async def test_append_and_read(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """An event that was appended is read as it was, with its number (cases 19, 20, 24, E8)."""
        await begun(store)
        made = Event(
            type="tool_call_completed",
            session_id="s",
            run_id="r",
            timestamp=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
            data=RICH,
            metadata={"m": [1]},
            schema_version=2,
            provider="p",
            correlation_id="c",
        )
        stored = await store.append_event(made)
        assert stored == replace(made, sequence_number=1)
        assert await second.get_events("s") == [stored]
        assert_same(dict((await second.get_events("s"))[0].data), RICH)

    async def test_order_of_appends(self, store: SessionStoreLike) -> None:
        """Events are read in the order in which they were appended, whatever their times (cases 21, 46)."""
        await begun(store)
        now = datetime(2026, 1, 1, tzinfo=UTC)
        for n, name in enumerate("abc"):
            await store.append_event(event(name, timestamp=now - timedelta(days=n)))
        found = await store.get_events("s")
        assert (ids(found), numbers(found)) == (["a", "b", "c"], [1, 2, 3])

    async def test_numbers_rise(self, store: SessionStoreLike) -> None:
        """Numbers begin at 1 in each session, and the store alone gives them (cases 25, 29, E2)."""
        for name in ("s", "other"):
            await begun(store, name)
        assert await store.get_latest_sequence("s") == 0
        first = await store.append_event_with_sequence(event("a", sequence_number=41))
        second = await store.append_event_with_sequence(event("b"))
        assert (first.sequence_number, second.sequence_number) == (1, 2)
        assert (await store.append_event(event("c", session_id="other"))).sequence_number == 1
        assert await store.get_latest_sequence("s") == 2

    async def test_w2_repeated_append(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """The same event again answers with what is stored, and writes nothing (cases 26, 43)."""
        await begun(store)
        made = event(data=RICH)
        first = await store.append_event(made)
        again = await second.append_event(made)
        assert again == first
        assert await second.append_event(replace(made, timestamp=datetime(2026, 1, 1, tzinfo=UTC))) == first
        assert_same(dict(again.data), RICH)
        assert (len(await store.get_events("s")), await store.get_latest_sequence("s")) == (1, 1)

    async def test_w3_an_id_has_one_content(self, store: SessionStoreLike) -> None:
        """The same id with another content is an error, not silence, and takes the batch with it (W3)."""
        await begun(store)
        first = await store.append_event(event(data={"n": 1}))
        changes: list[dict[str, Any]] = [
            {"data": {"n": 1.0}},
            {"type": "message_received"},
            {"run_id": "other"},
            {"provider": "p"},
        ]
        for change in changes:
            with refused(DuplicateEntryError, "duplicate_entry", event_id="e", session_id="s"):
                await store.append_events([event("new"), replace(first, **change)])
        assert await store.get_events("s") == [first]

    async def test_w3_an_id_has_one_session(self, store: SessionStoreLike) -> None:
        """An id that another session has is an error, not the other session's event (W3)."""
        for name in ("s", "other"):
            await begun(store, name)
        first = await store.append_event(event())
        with refused(DuplicateEntryError, event_id="e", session_id="s"):
            await store.append_event(replace(first, session_id="other"))
        assert (await store.get_events("other"), await store.get_latest_sequence("other")) == ([], 0)

    async def test_w8_an_event_needs_its_session(self, store: SessionStoreLike) -> None:
        """An event of a session that is not there is refused (W8)."""
        with refused(NotFoundError, "session_not_found", session_id="s"):
            await store.append_event(event())
        assert await store.get_events("s") == []

    async def test_batch(self, store: SessionStoreLike) -> None:
        """A batch is numbered on in its order (case 27)."""
        await begun(store)
        assert numbers(await store.append_events(events(2))) == [1, 2]
        assert numbers(await store.append_events([event("c"), event("d")])) == [3, 4]
        assert await store.get_latest_sequence("s") == 4
        assert await store.append_events([]) == []

    async def test_w2_repeats_in_a_batch(self, store: SessionStoreLike) -> None:
        """What is twice in a batch, or stored before, is stored once; the answer is as long as the batch (case 28)."""
        await begun(store)
        a, b, c = events(3)
        await store.append_event(b)
        stored = await store.append_events([a, b, a, c, c])
        assert (ids(stored), numbers(stored)) == (["s-1", "s-2", "s-1", "s-3", "s-3"], [2, 1, 2, 3, 3])
        assert ids(await store.get_events("s")) == ["s-2", "s-1", "s-3"]
        assert stored == await store.append_events([a, b, a, c, c])
        with refused(DuplicateEntryError):
            await store.append_events([event("x"), event("x", "message_received")])

    async def test_batch_over_sessions(self, store: SessionStoreLike) -> None:
        """A batch may be of several sessions, each numbered by itself; when one is missing nothing is stored."""
        for name in ("s", "other"):
            await begun(store, name)
        mixed = [event(name, session_id="other" if name in "bd" else "s") for name in "abcd"]
        assert numbers(await store.append_events(mixed)) == [1, 1, 2, 2]
        with refused(NotFoundError, "session_not_found", session_id="zz-missing"):
            await store.append_events([event("x"), event("y", session_id="zz-missing")])
        assert await store.get_latest_sequence("s") == 2

    async def test_w26_large_batch(self, store: SessionStoreLike) -> None:
        """A batch of thousands is one like any other (W26, E4)."""
        await begun(store)
        assert numbers(await store.append_events(events(6000))) == list(range(1, 6001))
        assert numbers(await store.get_events("s", after=5998)) == [5999, 6000]

    async def test_w14_a_batch_of_anything_else(self, store: SessionStoreLike) -> None:
        """What is no event is refused by its place, before anything is written; the store goes on (W14, E3)."""
        await begun(store)
        bad: Any
        for bad in ("text", None, {"id": "e"}):
            with refused(InvalidRecordError, "validation_error", path="events[1]"):
                await store.append_events([event(), bad])
        for bad in ("text", 7, None):
            with refused(InvalidRecordError, path="events"):
                await store.append_events(bad)
        with refused(UnstorableError, path="events[0].data.x"):
            await store.append_event(event(data={"x": object()}))
        assert (await store.append_event(event())).sequence_number == 1


class ReadChecks(StoreChecks):
    """Reading a session's events through filters."""

    async def test_filters(self, store: SessionStoreLike) -> None:
        """By run, by one type or several; no list means all, an empty one none (cases 22, 23, W17)."""
        await begun(store)
        for name, type_, run_id in (("a", "run_started", "r"), ("b", "message_sent", "r"), ("c", "message_sent", None)):
            await store.append_event(event(name, type_, run_id=run_id))
        assert ids(await store.get_events("s", run_id="r")) == ["a", "b"]
        assert ids(await store.get_events("s", type="message_sent")) == ["b", "c"]
        assert ids(await store.get_events("s", type=["run_started", "message_sent"])) == ["a", "b", "c"]
        assert ids(await store.get_events("s", type="message_sent", run_id="r")) == ["b"]
        assert await store.get_events("s", type=[]) == []
        assert await store.get_events("s", type="never heard of") == []
        assert await store.get_events("nope") == []

    async def test_after_and_before(self, store: SessionStoreLike) -> None:
        """After and before are numbers, themselves not included; filters combine (cases 30, 31, E6)."""
        await begun(store)
        await store.append_events([event(str(n), run_id="r" if n % 2 else "q") for n in range(1, 9)])
        assert numbers(await store.get_events("s", after=6)) == [7, 8]
        assert numbers(await store.get_events("s", before=3)) == [1, 2]
        assert numbers(await store.get_events("s", after=1, before=3)) == [2]
        assert numbers(await store.get_events("s", after=1, run_id="r", limit=2)) == [3, 5]
        found = await store.get_events("s", after=1, before=9, type="message_sent", run_id="q", limit=2)
        assert numbers(found) == [2, 4]

    async def test_w16_since_and_limit(self, store: SessionStoreLike) -> None:
        """Since is a time, itself not included; limit 0 means none (W16, E5)."""
        await begun(store)
        times = [datetime(2026, 1, 1, 0, 0, 0, n, tzinfo=UTC) for n in range(4)]
        await store.append_events([event(str(n), timestamp=time) for n, time in enumerate(times)])
        assert ids(await store.get_events("s", since=times[1])) == ["2", "3"]
        assert ids(await store.get_events("s", limit=2)) == ["0", "1"]
        assert await store.get_events("s", limit=0) == []

    async def test_w16_bad_options_of_a_read(self, store: SessionStoreLike) -> None:
        """An option that is none is refused by its name, not ignored (W16)."""
        bad: dict[str, list[Any]] = {
            "limit": [-1, "1", True],
            "after": ["1"],
            "before": [1.5],
            "since": [datetime(2026, 1, 1), "2026-01-01"],
            "type": [7, ""],
            "run_id": ["", 7],
            "wait_timeout_ms": [0, "1", float("inf")],
        }
        for name, values in bad.items():
            for value in values:
                with refused(InvalidInputError, path=name):
                    await store.get_events("s", **{name: value})
