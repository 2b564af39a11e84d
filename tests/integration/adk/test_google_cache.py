"""A service that keeps what it has read: everybody's changes are seen, and nobody sees what a caller did to a copy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.adk.events import Event, EventActions
from google.adk.sessions import Session
from google.genai import types

from jido_tortoise.adk import TortoiseSessionService, google_making
from jido_tortoise.adk.models import AdkEvent
from jido_tortoise.database import resolve, transaction
from jido_tortoise.errors import InvalidInputError
from tests.conftest import Database
from tests.integration.adk.test_google_contract import everything

#: Longer than it takes to make what the next load answers.
BETWEEN = 0.02


@pytest.fixture
def cached(database: Database) -> TortoiseSessionService:
    """Give a service that keeps up to 30 events."""
    return TortoiseSessionService(cache=30)


class Watched:
    """A session, loaded by the service that keeps events and by one that does not."""

    def __init__(self, cached: TortoiseSessionService, plain: TortoiseSessionService, app: str) -> None:
        self.cached, self.plain = cached, plain
        self.names = {"app_name": app, "user_id": "u", "session_id": "s"}

    async def make(self, count: int = 0) -> Session:
        session = await self.plain.create_session(**self.names)
        for n in range(count):
            await self.plain.append_event(session, said(n))
        return session

    async def load(self) -> Session | None:
        """Load it by both, and see that it is the same."""
        found = await self.cached.get_session(**self.names)
        assert found == await self.plain.get_session(**self.names)
        return found

    async def ids(self) -> str:
        found = await self.load()
        return "-" if found is None else "".join(event.id for event in found.events)


def said(n: int, **more: Any) -> Event:
    content = types.Content(role="user", parts=[types.Part(text=f"{n}")])
    actions = EventActions(state_delta={"n": n, "deep": {"list": [n]}})
    return Event(
        **{"id": f"{n}", "author": "a", "invocation_id": f"i{n}", "content": content, "actions": actions, **more}
    )


@pytest.fixture
def watched(cached: TortoiseSessionService, other: TortoiseSessionService, app: str) -> Watched:
    return Watched(cached, other, app)


@pytest.mark.parametrize("between", [0.0, BETWEEN])
async def test_what_others_do_is_seen(watched: Watched, between: float) -> None:
    """Appends by another process, pruning, a deleted invocation, a rewind, a deletion, and one made anew."""
    session = await watched.make(6)
    plain, app = watched.plain, session.app_name
    undo = Event(id="r", author="u", actions=EventActions(rewind_before_invocation_id="i5"))
    steps: list[tuple[str, Callable[[], Awaitable[object]] | None]] = [
        ("012345", None),
        ("0123456", lambda: plain.append_event(session, said(6))),
        ("0123456", None),
        ("23456", lambda: plain.store.prune(app_name=app, keep_events=5)),
        ("2356", lambda: plain.store.delete_invocation(**watched.names, invocation_id="i4")),
        ("2356r", lambda: plain.append_event(session, undo)),
        ("-", lambda: plain.delete_session(**watched.names)),
        ("0", lambda: watched.make(1)),
    ]
    for expected, step in steps:
        if step is not None:
            await step()
        assert await watched.ids() == expected
        await asyncio.sleep(between)


async def test_the_first_load_of_a_pruned_session(watched: Watched) -> None:
    """Reads the events that there are."""
    session = await watched.make(4)
    await watched.plain.store.prune(app_name=session.app_name, keep_events=2)
    assert [await watched.ids() for _ in range(2)] == ["23", "23"]


async def test_made_anew_and_just_as_long(watched: Watched) -> None:
    """The events of the one before are not shown."""
    for texts in ("first", "second"):
        session = await watched.make()
        for n, text in enumerate(texts):
            await watched.plain.append_event(session, said(n, author=text))
        await watched.load()
        await watched.plain.delete_session(**watched.names)


@pytest.mark.parametrize("more", [-1, 0, 1])
async def test_a_restored_backup(watched: Watched, more: int) -> None:
    """The database was brought back to before, and other events came in place of those that are known, or none."""
    session = await watched.make(2)
    stale = session.model_copy(deep=True)
    await watched.plain.append_event(session, said(7))
    assert await watched.ids() == "017"
    await watched.plain.delete_session(**watched.names)
    client = resolve(None, AdkEvent).client
    await watched.make(2)
    # As a restored row has it: the identity of before.
    marker = int(str(stale._storage_update_marker)) // 2**40
    await client.execute_script(
        f"UPDATE adk_sessions SET pk_id = {marker} WHERE id = 's' AND app_name = '{stale.app_name}'"
    )
    for n in (8, 9)[: 1 + more]:
        await watched.plain.append_event(stale, said(n))
    assert await watched.ids() == "0189"[: 3 + more]


async def test_what_a_caller_changes_is_his_own(watched: Watched) -> None:
    """Whatever he changes in his copy, wherever in it, the next one is as stored, and so is the one before."""
    session = await watched.make(1)
    await watched.plain.append_event(session, everything())
    odd = said(3, custom_metadata={"l": [{"d": [1]}]}, output=[[1], {"a": {}}])
    odd.actions.state_delta["object"] = {1: bytearray(b"x"), 2: ({"in": "tuple"},)}
    await watched.plain.append_event(session, odd)
    first = await watched.load()
    for _ in range(3):
        found = await watched.load()
        assert found is not None
        assert _ids_of(first).isdisjoint(_ids_of(found))
        _spoil(found)
        await asyncio.sleep(BETWEEN)
    assert first == await watched.load()


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list | tuple | set):
        return list(value)
    return [value.__dict__, value.__pydantic_fields_set__, value.__pydantic_extra__] if _is_model(value) else []


def _is_model(value: Any) -> bool:
    return hasattr(value, "__pydantic_fields_set__")


def _ids_of(value: Any) -> set[int]:
    """Answer the ids of all that can be changed in a value."""
    mine = {id(value)} if isinstance(value, dict | list | set | bytearray) or _is_model(value) else set()
    return mine.union(*map(_ids_of, _children(value)))


def _spoil(value: Any) -> None:
    """Empty each container in a value."""
    for child in _children(value):
        _spoil(child)
    if isinstance(value, dict | list | set | bytearray):
        value.clear()


async def test_only_what_is_new_is_read(
    watched: Watched, cached: TortoiseSessionService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And validated: the last known event and those after it; of an unchanged session none."""
    session = await watched.make(20)
    await watched.load()
    seen: list[str] = []
    make = google_making.event_of
    monkeypatch.setattr("jido_tortoise.adk.google_events.event_of", lambda tree: seen.append(tree["id"]) or make(tree))
    for n in (20, 21, 22, 23):
        await watched.plain.append_event(session, said(n))
    for expected in (["20", "21", "22", "23"], []):
        seen.clear()
        assert await cached.get_session(**watched.names) == session
        assert seen == expected


async def test_loads_at_once(watched: Watched) -> None:
    """Each has objects of its own."""
    session = await watched.make(5)
    for _ in range(2):
        found = await asyncio.gather(*(watched.cached.get_session(**watched.names) for _ in range(4)))
        assert found == [session] * 4
        assert len(set().union(*map(_ids_of, found))) == sum(map(len, map(_ids_of, found)))


async def test_it_is_bounded(watched: Watched, cached: TortoiseSessionService, app: str) -> None:
    """By events in all; a session with more is loaded whole each time, others push out those used longest ago."""
    for name, count in (("a", 12), ("b", 12), ("c", 12), ("long", 31)):
        session = await cached.create_session(app_name=app, user_id="u", session_id=name)
        for n in range(count):
            await cached.append_event(session, said(n))
        for _ in range(2):
            assert await cached.get_session(app_name=app, user_id="u", session_id=name) == session
    (kept,) = cached._caches.values()
    assert [kept.get((app, "u", name)).rev for name in ("a", "b", "c", "long")] == [0, 12, 12, 0]
    with pytest.raises(InvalidInputError, match="cache: expected an int"):
        TortoiseSessionService(cache=-1)


async def test_what_is_rolled_back_is_not_kept(watched: Watched, cached: TortoiseSessionService) -> None:
    """Within a transaction nothing is kept: another event may get the number, and be of the same moment."""
    session = await watched.make(2)
    db = await cached.store.connected()
    with pytest.raises(LookupError):
        async with transaction(db):
            inside = await cached.get_session(**watched.names)
            assert inside is not None
            await cached.append_event(inside, said(7, timestamp=50.0))
            assert len((await cached.get_session(**watched.names)).events) == 3
            raise LookupError
    await watched.plain.append_event(session, said(8, timestamp=50.0))
    assert await watched.ids() == "018"
