"""What the contract of adk_ex_ecto promises, by the numbers of its 21 tests, and what the one in memory adds (M...)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from tortoise.transactions import in_transaction

from jido_tortoise import journal
from jido_tortoise.adk import (
    Actions,
    AdkSessionStore,
    Blob,
    Content,
    Event,
    FunctionCall,
    FunctionResponse,
    Part,
    Session,
    rows,
)
from jido_tortoise.adk.models import AdkAppState, AdkEvent, AdkSession, AdkUserState
from jido_tortoise.adk.rows import EventRow, stored_time
from jido_tortoise.adk.statements import SESSIONS
from jido_tortoise.database import resolve
from jido_tortoise.errors import (
    AlreadyExistsError,
    ConflictError,
    CorruptRowError,
    DuplicateEntryError,
    InvalidInputError,
    NotFoundError,
    UnstorableError,
)
from tests.conftest import Database

pytestmark = pytest.mark.usefixtures("adk_db")

WHO = {"app_name": "shop", "user_id": "ann"}
T0 = datetime(2026, 1, 1, 12, tzinfo=UTC)
store = AdkSessionStore()


def said(text: str, *, at: int = 0, **more: Any) -> Event:
    delta = more.pop("delta", {})
    content = Content("user", [Part(text)])
    moment = T0 + timedelta(seconds=at)
    return Event(author="user", content=content, actions=Actions(delta), timestamp=moment, **more)


def texts(session: Session) -> list[str | None]:
    return [event.content.parts[0].text for event in session.events if event.content]


async def made(session_id: str = "s", state: dict[str, Any] | None = None, **who: str) -> Session:
    return await store.create(**{**WHO, **who}, session_id=session_id, state=state)


async def got(session_id: str = "s", **more: Any) -> Session:
    return await store.get(**{**WHO, **more}, session_id=session_id)


async def talked(count: int, session_id: str = "s") -> Session:
    session = await made(session_id)
    for n in range(1, count + 1):
        session = await store.append_event(session, said(f"msg {n}", at=n))
    return session


# -- create -------------------------------------------------------------------------------------------------------


async def test_01_create_stores_a_session() -> None:
    """App, user, an id of its own, no state and no events."""
    session = await store.create(**WHO)
    assert (session.app_name, session.user_id, session.state, session.events) == ("shop", "ann", {}, ())
    assert isinstance(session.id, str)
    assert session.id
    assert await got(session.id) == session


async def test_02_create_routes_app_and_user_state() -> None:
    """The state that comes back has all three."""
    state = {"app:theme": "dark", "user:lang": "de", "step": 1}
    session = await made(state=state)
    assert session.state == state
    assert (await AdkAppState.get(app_name="shop")).state == {"theme": "dark"}
    assert (await AdkUserState.get(app_name="shop", user_id="ann")).state == {"lang": "de"}
    assert (await AdkSession.get(id="s")).state == {"step": 1}


async def test_03_create_keeps_an_explicit_id() -> None:
    """It is the caller's."""
    assert (await made("my-own")).id == "my-own"


async def test_m1_create_refuses_a_duplicate() -> None:
    """And writes nothing of it, shared state included; the same id of another user is another session."""
    await made(state={"app:a": 1})
    with pytest.raises(AlreadyExistsError) as caught:
        await made(state={"app:a": 2, "app:b": 3, "user:u": 4})
    assert caught.value.reason == "already_exists"
    assert (await got()).state == {"app:a": 1}
    await made(user_id="bob")


async def test_events_are_those_of_the_head_that_was_read() -> None:
    """One that was appended after it is not shown, whichever events are wished."""
    session = await store.create(app_name="shop", user_id="ann", session_id="head")
    for n in range(3):
        session = await store.append_event(session, Event(id=str(n), timestamp=datetime(2026, 1, 1, n, tzinfo=UTC)))
    await AdkSession.filter(id="head").update(rev=2)  # as it was before the last one
    early = datetime(2025, 1, 1, tzinfo=UTC)
    for wished in ({}, {"after": early}, {"after": early, "num_recent_events": 2}, {"num_recent_events": 2}):
        found = await store.get(app_name="shop", user_id="ann", session_id="head", **wished)
        assert [event.id for event in found.events] == ["0", "1"], wished


async def test_create_drops_temp_and_keeps_unknown_prefixes() -> None:
    """What is temporary is not even in the answer."""
    assert (await made(state={"temp:t": 1, "odd:z": 2})).state == {"odd:z": 2}
    assert (await got()).state == {"odd:z": 2}


async def test_create_merges_into_what_is_shared() -> None:
    """Key by key: what other sessions have set stays."""
    await made("one", {"app:a": 1, "user:u": {"deep": 1}})
    two = await made("two", {"app:b": 2, "user:u": {"new": 2}})
    assert two.state == {"app:a": 1, "app:b": 2, "user:u": {"new": 2}}
    assert await got("two") == two


# -- get ----------------------------------------------------------------------------------------------------------


async def test_04_get_merges_app_user_and_session_state() -> None:
    """With the prefixes back."""
    await made(state={"app:a": 1, "user:u": 2, "s": 3})
    assert (await got()).state == {"app:a": 1, "user:u": 2, "s": 3}


async def test_05_get_of_a_missing_session() -> None:
    """Is an error with the contract's reason."""
    with pytest.raises(NotFoundError) as caught:
        await got("nobody")
    assert caught.value.reason == "not_found"


async def test_06_num_recent_events() -> None:
    """The last ones, in their order; 0 is none, and more than there are is all."""
    await talked(5)
    assert texts(await got(num_recent_events=2)) == ["msg 4", "msg 5"]
    assert texts(await got(num_recent_events=0)) == []
    assert len((await got(num_recent_events=99)).events) == 5


async def test_07_events_are_chronological() -> None:
    """In the order of their appends."""
    await talked(3)
    assert texts(await got()) == ["msg 1", "msg 2", "msg 3"]


async def test_events_keep_append_order_whatever_they_say() -> None:
    """A clock that goes back does not reorder a conversation."""
    session = await made()
    for at in (30, 10, 10, 20):
        session = await store.append_event(session, said(str(at), at=at))
    assert texts(await got()) == ["30", "10", "10", "20"]
    assert await got() == session


async def test_m2_after_is_strict_and_comes_before_the_limit() -> None:
    """Exactly the later events, and of those the last ones; any time zone is good."""
    await talked(5)
    there = timezone(timedelta(hours=5))
    assert texts(await got(after=T0 + timedelta(seconds=4))) == ["msg 5"]
    assert texts(await got(after=(T0 + timedelta(seconds=2)).astimezone(there))) == ["msg 3", "msg 4", "msg 5"]
    assert texts(await got(after=T0 + timedelta(seconds=2), num_recent_events=2)) == ["msg 4", "msg 5"]
    assert texts(await got(after=T0 + timedelta(microseconds=999_999), num_recent_events=0)) == []
    assert len((await got(after=T0 + timedelta(microseconds=999_999))).events) == 5


# -- list and delete ----------------------------------------------------------------------------------------------


async def test_08_list_of_app_and_user() -> None:
    """All of them, with events and merged state."""
    await made("s1", {"app:a": 1})
    await made("s2", {"x": 2})
    found = await store.list(**WHO)
    assert {session.id for session in found} == {"s1", "s2"}
    assert [session.state for session in found if session.id == "s2"] == [{"app:a": 1, "x": 2}]


async def test_09_list_of_another_user_is_empty() -> None:
    """Nobody sees another one's sessions."""
    await made()
    assert await store.list(app_name="shop", user_id="bob") == []
    assert await store.list(app_name="other", user_id="ann") == []


async def test_list_is_what_get_says_oldest_change_first() -> None:
    """For one user and for all; without events when they are not wished."""
    for name in ("a", "b", "c"):
        await made(name)
    await made("b", user_id="bob")
    for n, name in enumerate(("b", "c", "a")):
        await store.append_event(await got(name), said(name, at=10**8 + n))
    found = await store.list(**WHO)
    assert [session.id for session in found] == ["b", "c", "a"]
    assert found == [await got(session.id) for session in found]
    assert len(await store.list(app_name="shop")) == 4
    assert [session.events for session in await store.list(**WHO, events=False)] == [(), (), ()]


async def test_sessions_of_one_moment_are_listed_by_their_names() -> None:
    """User, then id, by their characters' numbers: the same order in every database."""
    for user, name in (("bob", "a"), ("ann", "b"), ("ann", "a"), ("ann", "B")):
        await store.append_event(await made(name, user_id=user), said("hi"))
    found = [(session.user_id, session.id) for session in await store.list(app_name="shop")]
    assert found == [("ann", "B"), ("ann", "a"), ("ann", "b"), ("bob", "a")]


async def test_10_delete_takes_the_events_along() -> None:
    """A session made anew has none of the old ones; what is shared stays; deleting again does nothing."""
    session = await made(state={"app:a": 1})
    await store.append_event(session, said("hi"))
    for _ in range(2):
        await store.delete(**WHO, session_id="s")
    with pytest.raises(NotFoundError):
        await got()
    assert await AdkEvent.all().count() == 0
    again = await made()
    assert (again.state, (await got()).events) == ({"app:a": 1}, ())


# -- append -------------------------------------------------------------------------------------------------------


async def test_11_append_persists_the_event() -> None:
    """Its text, and it is the event that was given."""
    event = said("hello")
    await store.append_event(await made(), event)
    assert (await got()).events == (event,)


async def test_12_append_routes_three_prefixes() -> None:
    """Each to its own table."""
    await store.append_event(await made(), said("x", delta={"app:a": 1, "user:u": 2, "s": 3}))
    assert (await AdkAppState.get(app_name="shop")).state == {"a": 1}
    assert (await AdkUserState.get(app_name="shop", user_id="ann")).state == {"u": 2}
    assert (await AdkSession.get(id="s")).state == {"s": 3}


async def test_13_append_drops_temp() -> None:
    """From the state and from the stored event (M3); what the caller holds is not changed."""
    session, event = await made(), said("x", delta={"temp:t": 1, "keep": 2})
    after = await store.append_event(session, event)
    stored = await got()
    assert stored == after
    assert stored.state == {"keep": 2}
    assert stored.events[0].actions.state_delta == {"keep": 2}
    assert (event.actions.state_delta, session.state, session.events) == ({"temp:t": 1, "keep": 2}, {}, ())


async def test_14_updated_at_is_not_earlier() -> None:
    """An event of now moves it on; it is the time that the event says."""
    session = await made()
    event = Event(author="user")
    await store.append_event(session, event)
    assert session.last_update_time <= (await got()).last_update_time == event.timestamp


async def test_15_partial_is_not_stored() -> None:
    """Not even looked whether the session is there."""
    session = await made()
    partial = said("half", delta={"k": 1, "app:k": 1}, partial=True)
    assert await store.append_event(session, partial) is session
    assert await got() == session
    await store.append_event(Session(app_name="no", user_id="no", id="no"), partial)


async def test_append_to_a_missing_session_writes_nothing() -> None:
    """No event, no shared state."""
    with pytest.raises(NotFoundError):
        await store.append_event(
            Session(app_name="shop", user_id="ann", id="gone"), said("x", delta={"app:a": 1, "user:u": 1, "s": 1})
        )
    assert [await model.all().count() for model in (AdkSession, AdkEvent, AdkAppState, AdkUserState)] == [0, 0, 0, 0]


async def test_append_again_is_idempotent() -> None:
    """The same event once more, also when others came between: nothing is written, not even the state."""
    session, event = await made(), said("x", delta={"n": 1, "app:n": 1})
    after = await store.append_event(session, event)
    assert await store.append_event(session, event) == after
    assert await store.append_event(after, event) == after
    await store.append_event(after, said("y", delta={"n": 2, "app:n": 2}))
    await store.append_event(session, event, check_stale=True)
    found = await got()
    assert (found.rev, len(found.events), found.state) == (2, 2, {"n": 2, "app:n": 2})


async def test_another_event_with_the_same_id_is_refused() -> None:
    """Silently keeping one of them would lose the other; the same id in another session is fine."""
    session = await store.append_event(await made(), said("x", id="e"))
    with pytest.raises(DuplicateEntryError):
        await store.append_event(session, said("y", id="e", delta={"app:a": 1}))
    assert (await got()) == session
    await store.append_event(await made("other"), said("y", id="e"))


async def test_stale_on_request() -> None:
    """By revision, so that equal timestamps do not hide another writer; off when nobody asks."""
    first = await made()
    second = await store.append_event(first, said("x"))
    with pytest.raises(ConflictError, match="modified in storage") as caught:
        await store.append_event(first, said("y", delta={"app:a": 1}), check_stale=True)
    assert (caught.value.reason, caught.value.expected, caught.value.actual) == ("stale_session", 0, 1)
    assert await got() == second
    third = await store.append_event(first, said("y"))
    assert (await got()).rev == 2
    with pytest.raises(ConflictError):  # a copy that lacks an event stays stale
        await store.append_event(third, said("z"), check_stale=True)
    await store.append_event(await got(), said("z"), check_stale=True)


async def test_a_copy_of_a_session_made_anew_is_stale() -> None:
    """Also when the one under its names has come just as far; nothing of it is written."""
    gone = await store.append_event(await made(), said("x"))
    read = await got()
    await store.delete(**WHO, session_id="s")
    anew = await store.append_event(await made(), said("y"))
    for copy in (gone, read, replace(gone, state={})):
        with pytest.raises(ConflictError, match="another session under its names") as caught:
            await store.append_event(copy, said("z", delta={"app:a": 1}), check_stale=True)
        assert caught.value.reason == "stale_session"
    assert await got() == anew
    listed = (await store.list(**WHO), (await store.page_sessions(**WHO)).items)
    for (same,) in listed:
        anew = await store.append_event(replace(same, rev=anew.rev), said("z"), check_stale=True)
    # One that the host has made says nothing but its revision.
    await store.append_event(Session(**WHO, id="s", rev=3), said("z"), check_stale=True)


@pytest.mark.parametrize("moment", [datetime.min, datetime.max], ids=["the first", "the last"])
async def test_the_first_and_the_last_moment(moment: datetime) -> None:
    """asyncpg stores these two as PostgreSQL's infinities; they come back as what they were."""
    event = Event(author="user", timestamp=moment.replace(tzinfo=UTC))
    session = await store.append_event(await made(), event)
    assert await got() == session
    assert (await got(after=moment.replace(tzinfo=UTC))).events == ()
    (page,) = (await store.page_sessions(**WHO)).items
    assert page.last_update_time == event.timestamp


# -- what is shared, and what values survive ----------------------------------------------------------------------


async def test_16_app_state_is_seen_by_all_users() -> None:
    """Whoever wrote it."""
    await store.append_event(await made(), said("x", delta={"app:a": 1}))
    assert (await made("t", user_id="bob")).state == {"app:a": 1}
    assert (await made("t", app_name="other")).state == {}


async def test_17_user_state_is_seen_in_the_users_other_sessions() -> None:
    """And in nobody else's."""
    await store.append_event(await made(), said("x", delta={"user:u": 1}))
    assert (await made("t")).state == {"user:u": 1}
    assert (await made("t", user_id="bob")).state == {}
    assert await store.get_user_state(**WHO) == {"u": 1}
    assert await store.get_user_state(app_name="shop", user_id="bob") == {}


async def test_18_empty_state_reads_back_empty() -> None:
    """Not as null."""
    await made(state={})
    assert (await got()).state == {}


async def test_19_content_goes_round() -> None:
    """Role, text, call, answer, bytes, delta: with the types they had."""
    event = Event(
        author="model",
        invocation_id="i",
        branch="a.b",
        content=Content(
            "model",
            [
                Part("thinking", thought=True),
                Part(function_call=FunctionCall("add", {"a": 1, "b": [2, {"c": None}]}, "call-1")),
                Part(function_response=FunctionResponse("add", {"sum": 3}, "call-1")),
                Part(inline_data=Blob(bytes(range(256)), "image/png"), extra={"file_data": {"uri": "x"}}),
            ],
            {"tone": "calm"},
        ),
        actions=Actions(
            {"k": {"n": 1}}, {"file": 2}, "other", True, True, {"t": {"hint": "?"}}, {"compaction": {"end": 1.5}}
        ),
        timestamp=T0 + timedelta(microseconds=123_456),
        turn_complete=True,
        interrupted=True,
        error_code="E1",
        error_message="it failed",
        finish_reason="STOP",
        long_running_tool_ids=["one", "two"],
        custom_metadata={"a": Decimal("1.50")},
        usage_metadata={"tokens": 7},
        citation_metadata={},
        grounding_metadata={"g": [1]},
        extra={"model_version": "m"},
    )
    after = await store.append_event(await made(), event)
    found = await got()
    assert found.events == (event,)
    assert found == after
    row = await AdkEvent.get(session_id="s")
    assert row.content["parts"][3]["inline_data"]["data"].startswith("AAECAwQF")
    assert "/" in row.content["parts"][3]["inline_data"]["data"]  # the standard alphabet
    assert set(row.actions) >= {
        "state_delta",
        "artifact_delta",
        "transfer_to_agent",
        "escalate",
        "skip_summarization",
    }


async def test_20_a_whole_turn() -> None:
    """Create, the user's event, the agent's event, get."""
    session = await made(state={"app:model": "m1", "counter": 0})
    session = await store.append_event(session, said("hi", at=1, delta={"user:last_seen": "today", "temp:x": 1}))
    await store.append_event(session, said("hello", at=2, delta={"counter": 1}))
    found = await got()
    assert len(found.events) == 2
    assert found.state == {"app:model": "m1", "counter": 1, "user:last_seen": "today"}


async def test_21_all_four_tables_can_be_queried() -> None:
    """By the public models, empty at first."""
    assert [await model.all() for model in (AdkSession, AdkEvent, AdkAppState, AdkUserState)] == [[], [], [], []]


AWKWARD: Sequence[Any] = [
    None,
    False,
    1.0,
    float("inf"),
    2**70,
    1e300,
    "a\x00b",
    "\ud800",
    b"\xff",
    (1, 2),
    {3},
    T0,
    Decimal("1.50"),
    {1: "int key"},
    {"": {"$jido:x": 1}},
]


@pytest.mark.parametrize("value", AWKWARD, ids=repr)
async def test_state_keeps_types(value: Any) -> None:
    """In the session's state, in what is shared, and in the event."""
    delta = {"k": value, "app:k": value, "user:k": value}
    session = await store.append_event(await made(), said("x", delta=delta))
    found = await got()
    assert found == session
    for name in delta:
        assert found.state[name] == value
        assert type(found.state[name]) is type(value)
        assert type(found.events[0].actions.state_delta[name]) is type(value)


@pytest.mark.parametrize("key", ["a.b", 'with "quotes"', "$jido:x", "nul\x00", "", "ключ", "a:b"], ids=repr)
async def test_keys_are_merged_whatever_they_are(key: str) -> None:
    """The same key twice is one key; others stay."""
    session = await made(state={"other": None})
    for n in (1, 2):
        session = await store.append_event(session, said("x", delta={key: n, f"app:{key}": n, f"user:{key}": n}))
    assert (await got()).state == {"other": None, key: 2, f"app:{key}": 2, f"user:{key}": 2} == session.state


async def test_none_is_stored_and_maps_are_replaced() -> None:
    """A delta is shallow, and None deletes nothing."""
    session = await made(state={"a": {"x": 1}, "b": 1, "flag": False, "app:a": {"x": 1}, "user:b": 1})
    await store.append_event(session, said("x", delta={"a": {"y": 2}, "b": None, "app:a": {"y": 2}, "user:b": None}))
    assert (await got()).state == {"a": {"y": 2}, "b": None, "flag": False, "app:a": {"y": 2}, "user:b": None}


async def test_texts_that_a_column_cannot_hold() -> None:
    """Too long, with NUL or a lone surrogate: nothing is lost, and nothing fails on one database only."""
    event = Event(
        author="a" * 300, invocation_id="nul\x00", branch="\ud800", error_code="\x00", error_message="e" * 5000
    )
    await store.append_event(await made(), event)
    assert (await got()).events == (event,)
    row = await AdkEvent.get(session_id="s")
    assert (len(row.author or ""), row.invocation_id, row.error_message) == (255, "nul\ufffd", "e" * 5000)


async def test_what_cannot_be_stored_is_named() -> None:
    """And nothing of it is written."""
    session = await made()
    parts: list[tuple[Any, str]] = [
        ("hi", ""),
        (Part(5), ".text"),
        (Part(extra={"text": "z"}), ".extra.text"),
        (Part(function_call={"name": "f"}), ".function_call"),
        (Part(function_call=FunctionCall(5)), ".function_call.name"),
        (Part(function_call=FunctionCall("f", {1: 2})), ".function_call.args"),
        (Part(function_response=FunctionResponse("f", [1])), ".function_response.response"),
        (Part(inline_data=b"xx"), ".inline_data"),
        (Part(inline_data=Blob("text")), ".inline_data.data"),
    ]
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"actions": Actions({"k": {"f": print}})}, "event.actions.state_delta.k.f"),
        ({"custom_metadata": {"m": object()}}, "event.custom_metadata.m"),
        ({"timestamp": datetime(2026, 1, 1)}, "event.timestamp"),
        ({"id": ""}, "event.id"),
        ({"extra": {"author": "x"}}, "event.extra.author"),
        ({"extra": None}, "event.extra"),
        ({"partial": "no"}, "event.partial"),
        ({"finish_reason": 5}, "event.finish_reason"),
        ({"long_running_tool_ids": ["a", 1]}, "event.long_running_tool_ids[1]"),
        ({"long_running_tool_ids": "ab"}, "event.long_running_tool_ids"),
        ({"long_running_tool_ids": 3}, "event.long_running_tool_ids"),
        ({"actions": None}, "event.actions"),
        ({"actions": Actions(artifact_delta=[1])}, "event.actions.artifact_delta"),
        ({"actions": Actions(escalate="x")}, "event.actions.escalate"),
        ({"actions": Actions(extra={"state_delta": {"temp:k": 1}})}, "event.actions.extra.state_delta"),
        ({"content": {"role": "user"}}, "event.content"),
        ({"content": Content(5)}, "event.content.role"),
        *(
            (({"content": Content("user", [Part("hi"), part])}), f"event.content.parts[1]{path}")
            for part, path in parts
        ),
    ]
    for given, path in wrong:
        with pytest.raises(InvalidInputError) as caught:
            await store.append_event(session, Event(**given))
        assert caught.value.path == path
    with pytest.raises(InvalidInputError) as caught:
        Content("user", "a text")  # type: ignore[arg-type]
    assert caught.value.path == "content.parts"
    for stranger, event, path in (("s", Event(), "session"), (session, {"id": "e"}, "event")):
        with pytest.raises(InvalidInputError) as caught:
            await store.append_event(stranger, event)
        assert caught.value.path == path
    with pytest.raises(UnstorableError):
        await made("other", {"app:k": print})
    assert await got() == session
    assert await AdkAppState.all().count() == 0


# -- transactions and corrupt rows --------------------------------------------------------------------------------


async def test_everything_joins_the_hosts_transaction() -> None:
    """A refused call leaves it usable; its rollback takes all along."""
    session = await made()
    with pytest.raises(ZeroDivisionError):
        async with in_transaction("default"):
            await store.append_event(session, said("x", id="e", delta={"app:a": 1, "k": 1}))
            with pytest.raises(DuplicateEntryError):
                await store.append_event(session, said("y", id="e"))
            with pytest.raises(AlreadyExistsError):
                await made()
            assert (await got()).state == {"app:a": 1, "k": 1}
            raise ZeroDivisionError
    assert await got() == session


async def test_corrupt_rows_are_named_and_hide_nothing_else(adk_db: Database) -> None:
    """The key is in the error; a list gives the rest and tells of what it left out."""
    for name in ("good", "bad", "worse"):
        await store.append_event(await made(name), said("x"))
    await adk_db.client.execute_query("UPDATE adk_sessions SET state = '[1]' WHERE id = 'bad'")
    await adk_db.client.execute_query("UPDATE adk_sessions SET rev = 5 WHERE id = 'worse'")
    for name, reason in (("bad", "invalid_term"), ("worse", "invalid_session_revision")):
        with pytest.raises(CorruptRowError, match=name) as caught:
            await got(name)
        assert (caught.value.session_id, caught.value.reason) == (name, reason)
    errors: list[CorruptRowError] = []
    found = await store.list(**WHO, on_corrupt=errors.append)
    assert ([session.id for session in found], {error.session_id for error in errors}) == (["good"], {"bad", "worse"})
    with pytest.raises(CorruptRowError):
        await store.list(**WHO)


@pytest.mark.parametrize(
    ("table", "prefix", "key"),
    [
        ("adk_sessions", "", ("shop", "ann", "s")),
        ("adk_app_states", "app:", ("shop",)),
        ("adk_user_states", "user:", ("shop", "ann")),
    ],
)
async def test_nothing_is_merged_into_a_corrupt_state(
    adk_db: Database, table: str, prefix: str, key: tuple[str, ...]
) -> None:
    """Whoever would change it is told which row it is, and that row is left as it is."""
    session = await made(state={"k": 1, "app:k": 1, "user:k": 1})
    await adk_db.client.execute_query(f"UPDATE {table} SET state = '[1]'")
    calls = [store.append_event(session, said("x", delta={f"{prefix}z": 1, "app:y": 1}), check_stale=True)]
    calls += [made("other", {f"{prefix}z": 1, "user:y": 1})] if prefix else []
    for call in calls:
        async with in_transaction("default"):
            with pytest.raises(CorruptRowError) as caught:
                await call
        assert (caught.value.table, caught.value.key) == (table, key)
    assert await AdkEvent.all().count() == 0
    assert await AdkSession.all().count() == 1
    assert [row["state"].replace(" ", "") for row in await _rows(adk_db, f"SELECT * FROM {table}")] == ["[1]"]
    if table != "adk_app_states":  # what is not touched is not in the way
        await store.append_event(session, said("x", delta={"app:z": 1}))


async def _rows(database: Database, sql: str) -> list[dict[str, Any]]:
    return [dict(row) for row in await database.client.execute_query_dict(sql)]


@pytest.mark.parametrize("column", ["rev", "first_seq"])
@pytest.mark.parametrize("wrong", ["'x'", "-1"])
async def test_a_session_whose_numbers_are_none_is_named(adk_db: Database, column: str, wrong: str) -> None:
    """A column of SQLite takes a text, too; it hides no other session."""
    if adk_db.dialect == "postgres" and wrong == "'x'":
        return
    await talked(2, "good")
    session = await talked(2, "bad")
    await adk_db.client.execute_query(f"UPDATE adk_sessions SET {column} = {wrong} WHERE id = 'bad'")
    bad = {**WHO, "session_id": "bad"}
    calls: list[Any] = [got("bad"), got("bad", num_recent_events=1), store.list(**WHO), store.list(**WHO, events=False)]
    calls += [store.copy(**bad), store.rewind(**bad, before_invocation_id="i"), store.page_sessions(**WHO)]
    calls.append(store.delete_invocation(**bad, invocation_id="i"))
    for call in calls:
        with pytest.raises(CorruptRowError, match="'bad'"):
            await call
    with suppress(CorruptRowError):  # or it is not found to have too many events
        await store.prune(**WHO, keep_events=1, dry_run=True)
    for events in (True, False):
        found = await store.list(**WHO, events=events, on_corrupt=lambda _: None)
        assert [one.id for one in found] == ["good"]
    await store.delete(app_name=session.app_name, user_id=session.user_id, session_id="bad")
    assert await AdkEvent.all().count() == 2


@pytest.mark.parametrize(
    ("content", "actions"), [("""'{"role": 1, "parts": [7]}'""", "actions"), ("content", """'{"state_delta": 5}'""")]
)
async def test_a_corrupt_event_is_named(adk_db: Database, content: str, actions: str) -> None:
    """With its number; what does not need it can still be read."""
    await talked(3)
    sql = (
        "INSERT INTO adk_events (app_name, user_id, session_id, seq, id, content, actions, partial, turn_complete,"
        " interrupted, long_running_tool_ids, timestamp, extra) SELECT app_name, user_id, session_id, 3, 'bad',"
        f" {content}, {actions}, partial, turn_complete, interrupted, long_running_tool_ids, timestamp, extra"
        " FROM adk_events WHERE seq = 1"
    )
    await adk_db.client.execute_query(sql)
    await adk_db.client.execute_query("UPDATE adk_sessions SET rev = 4")
    with pytest.raises(CorruptRowError, match="event 3 is malformed") as caught:
        await got()
    assert (caught.value.table, caught.value.seq, caught.value.session_id) == ("adk_events", 3, "s")
    assert (await got(num_recent_events=0)).rev == 4


async def test_events_are_never_updated(adk_db: Database) -> None:
    """The database itself refuses it."""
    await talked(1)
    with pytest.raises(Exception, match="events are never updated"):
        await adk_db.client.execute_query("UPDATE adk_events SET author = 'forged'")


async def test_parallel_calls_in_one_task_group() -> None:
    """Branches that share one session object all succeed."""
    session = await made()
    async with asyncio.TaskGroup() as group:
        for n in range(10):
            group.create_task(store.append_event(session, said(str(n), delta={f"k{n}": n})))
    found = await got()
    assert (found.rev, len(found.state)) == (10, 10)


async def test_the_journal_serves_sessions_too() -> None:
    """Copying, trimming and repairing find the events by the names that the key's columns have there."""
    session = await talked(4)
    db = resolve(None, AdkSession)
    now = stored_time(T0, db.dialect)
    assert await journal.copy(db, SESSIONS, session.key, ("shop", "bob", "copy"), stop=3, now=now)
    copied = await got("copy", user_id="bob")
    assert (copied.rev, copied.events) == (3, session.events[:3])
    assert await journal.trim(db, SESSIONS, session.key, stop=2) == 2
    assert texts(await got()) == ["msg 3", "msg 4"]
    assert (await got(num_recent_events=3)).events == session.events[2:]
    assert [row[0] async for row in journal.walk(db, SESSIONS, session.key)] == [2, 3]
    await AdkSession.filter(user_id="ann").delete()
    told = await journal.repair(db, SESSIONS, session.key, now=now, values={"state": "{}", "extra": "{}"})
    assert "was missing" in str(told)
    assert texts(await got()) == ["msg 3", "msg 4"]


async def test_an_event_that_does_nothing_is_known_by_its_row() -> None:
    """It is read without parsing what it does, so each database must spell that as expected; none shares a dict."""
    session = await made()
    for text in ("one", "two"):
        session = await store.append_event(session, said(text))
    stored = await journal.read_rows(await store.connected(), SESSIONS, session.key, 0, 2)
    assert {EventRow(*row[1:]).actions for row in stored} <= rows.NOTHING_DONE
    first, second = (await store.get(**WHO, session_id="s")).events
    assert first.actions == second.actions == Actions()
    first.actions.state_delta["mine"] = 1  # type: ignore[index]  # as a caller may, though a Mapping does not say so
    assert second.actions == Actions() == (await store.get(**WHO, session_id="s")).events[0].actions
