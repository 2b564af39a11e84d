"""Events are appended whole, once, and come back in the order of their appends."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from jido_tortoise.adk import Actions, Blob, Content, Event, FunctionCall, FunctionResponse, Part
from jido_tortoise.errors import DuplicateEntryError, InvalidInputError, NotFoundError
from jido_tortoise_testing.adk_contract.base import T0, WHO, AdkChecks, FullStore, got, ids, made, said, talked, texts

FULL = Event(
    id="full",
    timestamp=T0 + timedelta(microseconds=123457),
    invocation_id="i" * 300,
    author="agent",
    branch="a.b",
    content=Content(
        "model",
        [
            Part("text", thought=True, extra={"more": 1}),
            Part(function_call=FunctionCall("search", {"q": ["tea", None]}, "c1", {"extra": 1})),
            Part(function_response=FunctionResponse("search", {"found": {"n": 1}}, "c1")),
            Part(inline_data=Blob(b"\xff\xfe\x00", "image/png")),
        ],
        {"beside": True},
    ),
    actions=Actions(
        {"k": 1, "app:a": {"deep": [1]}},
        {"file.txt": 3},
        "other_agent",
        escalate=True,
        skip_summarization=True,
        requested_tool_confirmations={"c1": {"hint": "?"}},
        extra={"end_of_agent": True},
    ),
    turn_complete=True,
    interrupted=True,
    error_code="E",
    error_message="m" * 500,
    finish_reason="STOP",
    long_running_tool_ids=["c1", "c2"],
    custom_metadata={"a": 1},
    usage_metadata={"total": 7},
    citation_metadata={},
    grounding_metadata={"g": [1]},
    extra={"avg_logprobs": -0.5},
)


class AppendChecks(AdkChecks):
    """An append stores the event and its state together, once, or nothing at all."""

    async def test_append_answers_the_session_with_the_event(self, store: FullStore, second: FullStore) -> None:
        """The answer equals what another process gets."""
        session = await made(store, state={"k": 0})
        for n in range(3):
            session = await store.append_event(session, said(f"{n}", at=n, delta={"k": n}))
        assert session == await got(second)
        assert (session.rev, texts(session), session.state) == (3, ["0", "1", "2"], {"k": 2})

    async def test_append_changes_nothing_that_was_given(self, store: FullStore) -> None:
        """The session in hand is as it was: it may be given again."""
        session = await made(store)
        await store.append_event(session, said(delta={"k": 1}))
        assert (session.rev, session.events, session.state) == (0, (), {})

    async def test_events_come_in_the_order_of_appends(self, store: FullStore) -> None:
        """Whatever their timestamps say, and their ids."""
        session = await made(store)
        for name, at in (("m", 30), ("z", 10), ("a", 20), ("k", 20)):
            session = await store.append_event(session, said(name, at=at, id=name))
        assert ids(await got(store)) == ["m", "z", "a", "k"]
        assert ids((await store.list(**WHO))[0]) == ["m", "z", "a", "k"]

    async def test_the_last_event_says_the_time(self, store: FullStore) -> None:
        """`last_update_time` is the timestamp of the last event, also when that is an earlier one."""
        session = await made(store)
        for at in (30, 10):
            session = await store.append_event(session, said(at=at))
            assert session.last_update_time == (await got(store)).last_update_time == T0 + timedelta(minutes=at)

    async def test_a_partial_event_is_not_stored(self, store: FullStore) -> None:
        """Neither it nor its state, even when there is no session; it is no error."""
        session = await made(store)
        assert await store.append_event(session, said(partial=True, delta={"k": 1})) == session
        assert await got(store) == session
        await store.delete(**WHO, session_id="s")
        await store.append_event(session, said(partial=True))

    async def test_append_to_a_missing_session(self, store: FullStore) -> None:
        """It is a NotFoundError, and shared state is not written either."""
        session = await made(store)
        await store.delete(**WHO, session_id="s")
        with pytest.raises(NotFoundError):
            await store.append_event(session, said(delta={"app:a": 1, "user:u": 1}))
        assert (await made(store)).state == {}

    async def test_a_repeated_append_is_stored_once(self, store: FullStore, second: FullStore) -> None:
        """The same event again, from whatever copy of the session, writes nothing: no event, no state."""
        session = await made(store)
        event = said(id="e", delta={"k": 1})
        after = await store.append_event(session, event)
        later = await store.append_event(after, said("later", at=1, delta={"k": 2}))
        for copy in (session, after, later):
            await second.append_event(copy, event)
        assert await got(store) == later

    async def test_another_event_with_the_id(self, store: FullStore) -> None:
        """An id that stands for another event is a DuplicateEntryError, and nothing of it is written."""
        session = await store.append_event(await made(store), said("one", id="e"))
        with pytest.raises(DuplicateEntryError):
            await store.append_event(session, said("two", id="e", delta={"k": 1}))
        assert await got(store) == session

    async def test_two_sessions_may_have_an_id_each(self, store: FullStore) -> None:
        """An event's id is unique in its session, no further."""
        for name in ("s", "t"):
            await store.append_event(await made(store, name), said(name, id="e"))
        assert [texts(await got(store, name)) for name in ("s", "t")] == [["s"], ["t"]]

    async def test_a_copy_without_the_last_events_may_append(self, store: FullStore, second: FullStore) -> None:
        """Unless it is asked to be checked: both events are stored, and both states."""
        session = await made(store)
        await store.append_event(session, said("one", delta={"a": 1}))
        await second.append_event(session, said("two", delta={"b": 2}))
        found = await got(store)
        assert (texts(found), found.state, found.rev) == (["one", "two"], {"a": 1, "b": 2}, 2)


class EventChecks(AdkChecks):
    """An event is stored whole."""

    async def test_every_field_is_stored(self, store: FullStore, second: FullStore) -> None:
        """An event with all of them set equals the one that is read."""
        await store.append_event(await made(store), FULL)
        assert (await got(second)).events == (FULL,)

    async def test_an_empty_event(self, store: FullStore) -> None:
        """One with nothing set equals the one that is read, too."""
        event = Event(id="empty", timestamp=T0)
        await store.append_event(await made(store), event)
        assert (await got(store)).events == (event,)

    async def test_an_event_without_an_id_has_one(self, store: FullStore) -> None:
        """It is made with the event, and stored."""
        event = Event(timestamp=T0)
        await store.append_event(await made(store), event)
        assert ids(await got(store)) == [event.id]

    async def test_bad_events_are_refused(self, store: FullStore) -> None:
        """What is no event, or has a field that is none, is bad input; nothing is written."""
        session = await made(store)
        nonsense: Any = [1]
        wrong: list[Any] = [
            {"id": "e"},
            said(id=""),
            said(author=7),
            Event(timestamp=datetime(2026, 1, 1)),
            said(content="hi"),
            said(custom_metadata=[1]),
            said(content=Content("user", nonsense)),
            said(content=Content("user", [Part(nonsense)])),
            said(actions=Actions(artifact_delta=nonsense)),
        ]
        for event in wrong:
            with pytest.raises(InvalidInputError):
                await store.append_event(session, event)
        assert (await got(store)).rev == 0


class RangeChecks(AdkChecks):
    """A part of a session's events may be asked for."""

    async def test_the_last_events(self, store: FullStore) -> None:
        """The last so many, oldest first; none for 0; all when there are fewer."""
        await talked(store, 5)
        expected = {0: [], 2: ["e3", "e4"], 5: [f"e{n}" for n in range(5)], 99: [f"e{n}" for n in range(5)]}
        for count, wanted in expected.items():
            found = await got(store, num_recent_events=count)
            assert (ids(found), found.rev) == (wanted, 5)

    async def test_events_after_a_moment(self, store: FullStore) -> None:
        """Those that are later, not those of the moment itself; with a count, the last so many of them."""
        await talked(store, 5)
        assert ids(await got(store, after=T0 + timedelta(minutes=2))) == ["e3", "e4"]
        assert ids(await got(store, after=T0, num_recent_events=2)) == ["e3", "e4"]
        assert ids(await got(store, after=T0 + timedelta(days=1))) == []

    async def test_a_bad_range_is_refused(self, store: FullStore) -> None:
        """A negative count, and a moment without a time zone."""
        await made(store)
        given: list[dict[str, Any]] = [
            {"num_recent_events": -1},
            {"num_recent_events": True},
            {"after": datetime(2026, 1, 1)},
        ]
        for wrong in given:
            with pytest.raises(InvalidInputError):
                await got(store, **wrong)
