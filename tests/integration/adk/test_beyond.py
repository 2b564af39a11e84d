"""What `AdkSessionStore` does beyond appends, seen by google-adk's service and Runner on the same rows."""

from __future__ import annotations

from typing import Any

import pytest
from google.adk.agents import BaseAgent
from google.adk.errors import StaleSessionError
from google.adk.events import Event, EventActions
from google.adk.events._rewind_events import _apply_rewinds
from google.adk.runners import Runner
from google.genai import types

from jido_tortoise.adk import AdkSessionStore, TortoiseSessionService, undoing

store = AdkSessionStore()


def _ids(session: Any) -> list[str]:
    return [event.id for event in session.events]


async def _talked(service: TortoiseSessionService, app: str, events: int = 6) -> Any:
    session = await service.create_session(app_name=app, user_id="u", session_id="s", state={"begun": 1})
    for n in range(events):
        actions = EventActions(state_delta={"last": n, f"k{n}": n})
        more: dict[str, Any] = {"author": "a", "invocation_id": f"i{n // 2}", "timestamp": 1_700_000_000.1 + n}
        await service.append_event(session, Event(id=f"e{n}", actions=actions, **more))
    return session


async def _got(service: TortoiseSessionService, app: str, session_id: str = "s") -> Any:
    return await service.get_session(app_name=app, user_id="u", session_id=session_id)


async def test_what_was_deleted_and_pruned(service: TortoiseSessionService, app: str) -> None:
    """The service reads what is left, and a session in hand goes on: numbers stay."""
    session = await _talked(service, app)
    await store.delete_invocation(app_name=app, user_id="u", session_id="s", invocation_id="i1")
    await store.prune(app_name=app, keep_events=3)
    found = await _got(service, app)
    assert (_ids(found), found.state, found.last_update_time) == (["e1", "e4", "e5"], session.state, 1_700_000_005.1)
    await service.append_event(session, Event(id="e6", author="a", timestamp=1_700_000_006.1))
    assert _ids(await _got(service, app)) == ["e1", "e4", "e5", "e6"]
    with pytest.raises(StaleSessionError):
        await service.append_event(found, Event(author="a"))


async def test_a_copy_is_a_session_like_any_other(service: TortoiseSessionService, app: str) -> None:
    """Its events are google-adk's, and it takes appends of the service."""
    await _talked(service, app)
    await store.copy(app_name=app, user_id="u", session_id="s", new_session_id="t", until=4)
    fork = await _got(service, app, "t")
    assert _ids(fork) == ["e0", "e1", "e2", "e3"]
    assert fork.state == {"begun": 1, "last": 3, "k0": 0, "k1": 1, "k2": 2, "k3": 3}
    assert fork.events[3].timestamp == 1_700_000_003.1
    await service.append_event(fork, Event(id="e9", author="a"))
    assert _ids(await _got(service, app, "t")) == ["e0", "e1", "e2", "e3", "e9"]


class _Counter(BaseAgent):
    async def _run_async_impl(self, ctx: Any) -> Any:
        n = ctx.session.state.get("n", 0) + 1
        yield Event(invocation_id=ctx.invocation_id, author=self.name, actions=EventActions(state_delta={"n": n}))


async def test_the_runners_rewind_and_ours(service: TortoiseSessionService, app: str) -> None:
    """Either takes the state back, and both see the same events as live."""
    who = {"user_id": "u", "session_id": "s"}
    async with Runner(
        app_name=app, agent=_Counter(name="c"), session_service=service, auto_create_session=True
    ) as runner:
        message = types.Content(role="user", parts=[types.Part(text="hi")])

        async def turn() -> str:
            *_, last = [event async for event in runner.run_async(**who, new_message=message)]
            return str(last.invocation_id)

        names = [await turn() for _ in range(4)]
        await runner.rewind_async(**who, rewind_before_invocation_id=names[3])
        assert (await _got(service, app)).state["n"] == 3
        await store.rewind(app_name=app, **who, before_invocation_id=names[1])
        found = await _got(service, app)
        assert found.state["n"] == 1
        ours = undoing.live((await store.get(app_name=app, **who)).events)
        assert [event.id for event in ours] == [event.id for event in _apply_rewinds(found.events)]
        assert {event.invocation_id for event in ours} == {names[0]}
        await turn()
        assert (await _got(service, app)).state["n"] == 2
