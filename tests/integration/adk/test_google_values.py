"""What agents put into states and events comes back or is made safe, alike on both databases, by either class."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from google.adk.events import Event, EventActions
from google.adk.sessions import Session
from google.genai import types
from pydantic import BaseModel

from jido_tortoise import adk
from jido_tortoise.adk import AdkSessionStore, TortoiseSessionService
from jido_tortoise.adk.models import AdkEvent, AdkSession
from jido_tortoise.errors import CorruptRowError, DuplicateEntryError, InvalidInputError, UnstorableError
from tests.conftest import Database

store = AdkSessionStore()


async def made(service: TortoiseSessionService, app: str, state: dict[str, Any] | None = None) -> Session:
    return await service.create_session(app_name=app, user_id="u", session_id="s", state=state)


async def again(service: TortoiseSessionService, app: str) -> Session:
    found = await service.get_session(app_name=app, user_id="u", session_id="s")
    assert found is not None
    return found


def setting(**delta: Any) -> Event:
    return Event(author="a", actions=EventActions(state_delta=delta))


# -- state --------------------------------------------------------------------------------------------------------

KEPT = {
    "NUL": "a\0b",
    "a lone surrogate": "\ud800",
    "infinite": [math.inf, -math.inf],
    "bytes": [b"\xff", b"ok"],
    "a datetime": datetime(2026, 1, 1, tzinfo=UTC),
    "tuple and set": ((1, 2), {3}),
    "keys that are no strings": {1: "one", (2, 3): None},
    "a large int": 10**30,
    "a decimal": Decimal("1.50"),
    "the codec's own mark": {"$jido:bytes": "no"},
    "a key with NUL": {"a\0b": {"\ud800": 1}},
}


@pytest.mark.parametrize("prefix", ["", "app:", "user:"])
async def test_what_the_codec_knows_is_kept(service: TortoiseSessionService, app: str, prefix: str) -> None:
    """Of the same type and value, wherever it is kept; set by a create, and by an event."""
    values = {f"{prefix}{name}": value for name, value in KEPT.items()}
    session = await made(service, app, {f"{prefix}created": values})
    await service.append_event(session, setting(**values))
    found = await again(service, app)
    assert found == session
    assert found.state == {**values, f"{prefix}created": values}
    assert found.events[0].actions.state_delta == values
    assert (await service.list_sessions(app_name=app)).sessions[0].state == found.state


async def test_an_event_with_nan_is_the_one_that_was_read(service: TortoiseSessionService, app: str) -> None:
    """Google writes NaN of an output as None: to append what was read once more is a repeat like any other."""
    session = await made(service, app)
    given = Event(author="a", output=math.nan, avg_logprobs=math.nan, custom_metadata={"n": math.nan, "none": None})
    for event in (given, given.model_copy(deep=True)):
        await service.append_event(session, event)
    found = await again(service, app)
    assert found.events[0].output is None
    await service.append_event(found, found.events[0].model_copy(deep=True))
    assert len((await again(service, app)).events) == 1


async def test_nan_is_kept(service: TortoiseSessionService, app: str) -> None:
    """It equals nothing, not even itself."""
    session = await made(service, app, {"created": math.nan})
    await service.append_event(session, setting(nan=[math.nan]))
    found = await again(service, app)
    assert math.isnan(found.state["created"])
    assert math.isnan(found.state["nan"][0])
    assert math.isnan(found.events[0].actions.state_delta["nan"][0])


class Color(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    when: datetime


class Model(BaseModel):
    color: Color
    data: bytes = b"ok"


class Unspeakable:
    def __repr__(self) -> str:
        raise LookupError


def deep(levels: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(levels):
        made = [made]
    return made


def cyclic() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MADE_SAFE: dict[str, tuple[Callable[[], Any], Any]] = {
    "a function": (lambda: len, "<built-in function len>"),
    "an Enum": (lambda: Color.RED, "red"),
    "a dataclass": (lambda: Point(1, NOON), {"x": 1, "when": "2026-01-01T12:00:00Z"}),
    "a model": (lambda: Model(color=Color.RED), {"color": "red", "data": "ok"}),
    "a model that is not JSON": (lambda: Model(color=Color.RED, data=b"\xff"), {"color": "red", "data": b"\xff"}),
    "an object": (Unspeakable, "<Unspeakable>"),
    "beside others": (lambda: {"f": len, 1: (len, b"\xff")}, {"f": str(len), 1: (str(len), b"\xff")}),
    "in a set": (lambda: {Color.RED}, ["red"]),
    "as a key": (lambda: {Color.RED: 1}, {"<Color.RED: 'red'>": 1}),
    "too deep": (lambda: deep(200), None),
    "a cycle": (cyclic, None),
}


@pytest.mark.parametrize("name", MADE_SAFE)
async def test_what_cannot_be_stored_is_made_safe(
    service: TortoiseSessionService, app: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing else changes, the append succeeds, the log says so; by a create too. The session in hand keeps it."""
    make, expected = MADE_SAFE[name]
    session = await made(service, app, {"created": make(), "kept": (1,)})
    await service.append_event(session, setting(value=make(), **{"app:value": make(), "plain": b"\xff"}))
    found = await again(service, app)
    assert type(session.state["value"]) is type(make())
    values = [found.state[key] for key in ("created", "value", "app:value")]
    values.append(found.events[0].actions.state_delta["value"])
    if expected is not None:
        assert values == [expected] * 4
    assert (found.state["kept"], found.state["plain"]) == ((1,), b"\xff")
    assert "stored in another form: " in caplog.text
    await service.append_event(found, setting(value=1))
    assert (await again(service, app)).state["value"] == 1


async def test_the_rest_of_an_event_is_made_safe_too(service: TortoiseSessionService, app: str) -> None:
    """Texts with NUL and lone surrogates, numbers that are none, functions in what is meant to be JSON."""
    call = types.FunctionCall(name="f", args={"nul": "a\0b", "surrogate": "\ud800"})
    event = Event(
        author="a\0b",
        invocation_id="i" * 300,
        content=types.Content(parts=[types.Part(text="a\0b"), types.Part(function_call=call)]),
        avg_logprobs=-math.inf,
        error_code="\ud800",
        error_message="m" * 100_000,
        output={"nul\0": ["a\0b"]},
        custom_metadata={"f": "a\0b"},
    )
    session = await made(service, app)
    await service.append_event(session, event)
    odd = Event(output=len, custom_metadata={"f": len, "b": b"\xff"}, actions=EventActions(agent_state={"b": "\0"}))
    await service.append_event(session, odd)
    first, second = (await again(service, app)).events
    assert first == event
    assert second.output == second.custom_metadata["f"] == str(len)
    assert second.actions.agent_state == {"b": "\0"}


@pytest.mark.parametrize(
    "wrong", [{"id": "x" * 256}, {"id": "a\0b"}, {"timestamp": math.inf}, {"timestamp": math.nan}, {"timestamp": 1e18}]
)
async def test_what_no_row_can_hold_is_refused(
    service: TortoiseSessionService, app: str, wrong: dict[str, Any]
) -> None:
    """Before anything is written, on both databases."""
    session = await made(service, app)
    with pytest.raises(InvalidInputError, match=r"event\.(id|timestamp): expected"):
        await service.append_event(session, Event(**wrong))
    assert await again(service, app) == session


@pytest.mark.parametrize("make", [cyclic, lambda: deep(200), lambda: deep(2000), lambda: {"\ud800": 1}])
async def test_an_event_that_is_no_json_is_refused(
    service: TortoiseSessionService, app: str, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Where it is not the state; the error is ours, and nothing is said of the state, which is as it was."""
    session = await made(service, app)
    call = types.Part(function_call=types.FunctionCall(name="f", args={"a": 1}))
    event = Event(content=types.Content(parts=[call]), actions=EventActions(state_delta={"k": 1}))
    call.function_call.args["a"] = make()
    with pytest.raises(UnstorableError, match=r"^event[.:]"):
        await service.append_event(session, event)
    assert "another form" not in caplog.text
    assert await again(service, app) == session


# -- the other class ----------------------------------------------------------------------------------------------


async def test_the_store_reads_what_the_service_wrote(service: TortoiseSessionService, app: str) -> None:
    """The same session, state and events, the times to the microsecond; and it may go on from there."""
    session = await made(service, app, {"app:a": 1, "k": (1,)})
    parts = [
        types.Part(text="hi", thought=True),
        types.Part(inline_data=types.Blob(data=bytes(range(256)), mime_type="image/png")),
        types.Part(function_call=types.FunctionCall(id="f", name="tool", args={"x": 1})),
        types.Part(function_response=types.FunctionResponse(id="f", name="tool", response={"y": 2})),
    ]
    event = Event(
        author="agent",
        invocation_id="i",
        branch="b",
        content=types.Content(role="model", parts=parts),
        actions=EventActions(state_delta={"user:u": b"\xff"}, transfer_to_agent="other", escalate=True),
        long_running_tool_ids={"b", "a"},
        turn_complete=True,
        finish_reason=types.FinishReason.STOP,
        timestamp=1700000000.5,
        model_version="m",
    )
    await service.append_event(session, event)
    found = await store.get(app_name=app, user_id="u", session_id="s")
    assert (found.state, found.rev) == ({"app:a": 1, "k": (1,), "user:u": b"\xff"}, 1)
    assert found.last_update_time == datetime.fromtimestamp(1700000000.5, UTC)
    (mine,) = found.events
    assert (mine.author, mine.invocation_id, mine.branch, mine.finish_reason) == ("agent", "i", "b", "STOP")
    assert mine.content == adk.Content(
        "model",
        [
            adk.Part("hi", thought=True),
            adk.Part(inline_data=adk.Blob(bytes(range(256)), "image/png")),
            adk.Part(function_call=adk.FunctionCall("tool", {"x": 1}, "f")),
            adk.Part(function_response=adk.FunctionResponse("tool", {"y": 2}, "f")),
        ],
    )
    assert (mine.actions.transfer_to_agent, mine.actions.escalate) == ("other", True)
    assert (mine.long_running_tool_ids, mine.turn_complete, mine.extra["model_version"]) == (("a", "b"), True, "m")
    await store.append_event(found, adk.Event(author="store", actions=adk.Actions({"k": 2})))
    assert [e.author for e in (await again(service, app)).events] == ["agent", "store"]


async def test_the_service_reads_what_the_store_wrote(service: TortoiseSessionService, app: str) -> None:
    """The same again from the other side; a copy in hand of before the store's append is stale."""
    moment = datetime(2026, 1, 1, 12, 0, 0, 123457, tzinfo=UTC)
    await store.create(app_name=app, user_id="u", session_id="  s ", state={"k": 1, "app:a": (1,)})
    padded = await service.get_session(app_name=app, user_id="u", session_id="  s ")
    assert padded is not None
    await service.append_event(padded, setting(k=2))
    session = await store.get(app_name=app, user_id="u", session_id="  s ")
    parts = [adk.Part("hi"), adk.Part(inline_data=adk.Blob(b"\xff\xfe", "image/png"))]
    event = adk.Event(
        author="store",
        timestamp=moment,
        content=adk.Content("user", parts),
        actions=adk.Actions({"k": {1: b"\xff"}}, escalate=True),
        long_running_tool_ids=["b"],
        custom_metadata={"m": 1},
        finish_reason="STOP",
        extra={"model_version": "m"},
    )
    await store.append_event(session, event)
    with pytest.raises(ValueError, match="modified in storage"):
        await service.append_event(padded, setting())
    found = await service.get_session(app_name=app, user_id="u", session_id="  s ")
    assert found is not None
    assert (found.state, found.last_update_time) == ({"k": {1: b"\xff"}, "app:a": (1,)}, moment.timestamp())
    mine = found.events[1]
    assert (mine.id, mine.author, mine.timestamp) == (event.id, "store", moment.timestamp())
    assert [part.text for part in mine.content.parts] == ["hi", None]
    assert mine.content.parts[1].inline_data.data == b"\xff\xfe"
    assert (mine.actions.escalate, mine.actions.state_delta) == (True, {"k": {1: b"\xff"}})
    assert (mine.finish_reason, mine.model_version, mine.custom_metadata) == (types.FinishReason.STOP, "m", {"m": 1})
    assert mine.long_running_tool_ids == {"b"}
    await service.append_event(found, setting(k=3))
    await service.delete_session(app_name=app, user_id="u", session_id="  s ")
    assert (await service.list_sessions(app_name=app)).sessions == []


async def test_what_the_store_cleans_up_the_service_no_longer_shows(service: TortoiseSessionService, app: str) -> None:
    """Pruned events and a deleted invocation; a copy in hand of before that may still append."""
    session = await made(service, app)
    for n in range(6):
        await service.append_event(session, Event(id=str(n), invocation_id=f"i{n // 2}"))
    await store.delete_invocation(app_name=app, user_id="u", session_id="s", invocation_id="i1")
    await store.prune(app_name=app, keep_events=3)
    assert [event.id for event in (await again(service, app)).events] == ["1", "4", "5"]
    await service.append_event(session, Event(id="6"))
    await store.delete_invocation(app_name=app, user_id="u", session_id="s", invocation_id="")
    session._storage_update_marker = None
    session.events.pop()
    await service.append_event(session, Event(id="7"))
    assert [event.id for event in (await again(service, app)).events] == ["1", "4", "5", "7"]


# -- malformed rows -----------------------------------------------------------------------------------------------


async def test_another_event_with_the_same_id(service: TortoiseSessionService, app: str) -> None:
    """Is an error, and the session in hand goes on."""
    session = await made(service, app)
    await service.append_event(session, Event(id="1", author="a"))
    with pytest.raises(DuplicateEntryError):
        await service.append_event(session, Event(id="1", author="b"))
    await service.append_event(session, Event(id="2"))
    assert await again(service, app) == session


async def test_a_malformed_row_is_named(database: Database, app: str) -> None:
    """By its key; and the other sessions of a list are there."""
    seen: list[CorruptRowError] = []
    service, strict = TortoiseSessionService(on_corrupt=seen.append), TortoiseSessionService()
    session = await made(service, app)
    await service.append_event(session, Event(author="a"))
    await service.create_session(app_name=app, user_id="u", session_id="t")
    broken = "[1]" if database.dialect == "sqlite" else "'[1]'::jsonb"
    table, quoted = AdkSession.Meta.table, f"'{broken}'" if database.dialect == "sqlite" else broken
    await database.client.execute_script(f"UPDATE {table} SET state = {quoted} WHERE id = 's' AND app_name = '{app}'")
    for call in (strict.list_sessions(app_name=app), again(strict, app)):
        with pytest.raises(CorruptRowError, match="state is malformed") as caught:
            await call
        assert caught.value.key == (app, "u", "s")
    assert [s.id for s in (await service.list_sessions(app_name=app)).sessions] == ["t"]
    assert [error.key for error in seen] == [(app, "u", "s")]


async def test_a_malformed_event_is_named(database: Database, service: TortoiseSessionService, app: str) -> None:
    """By its session and its number."""
    await made(service, app)
    row = {"app_name": app, "user_id": "u", "session_id": "s", "partial": False, "interrupted": False}
    row |= {"turn_complete": False, "long_running_tool_ids": [], "timestamp": datetime.now(UTC), "extra": {}}
    await AdkEvent.create(**row, seq=0, id="0", actions={})
    await AdkEvent.create(**row, seq=1, id="1", actions={"no such field": 1})
    await AdkSession.filter(app_name=app).update(rev=2)
    with pytest.raises(CorruptRowError, match="event 1 is malformed") as caught:
        await again(service, app)
    assert (caught.value.key, caught.value.seq) == ((app, "u", "s"), 1)
