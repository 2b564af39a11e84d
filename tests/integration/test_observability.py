"""H15: one event at the start and one at the end of every operation, with its facts, and never a payload."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tortoise.transactions import in_transaction

from jido_tortoise import adk, telemetry
from jido_tortoise.adk import AdkSessionStore
from jido_tortoise.agents.agent import Agent
from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise.agents.persist import hibernate, thaw
from jido_tortoise.agents.storage import ThreadWrite
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.errors import ConflictError
from jido_tortoise.telemetry import Event
from tests.conftest import Database, opened

SECRET = "the-secret-of-the-payload"
NOTE = {"kind": "note", "payload": {"text": SECRET}}


@pytest.fixture(params=["memory", "sqlite-file", "postgres"])
async def storage(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[Any]:
    if request.param == "memory":
        yield InMemoryStorage()
        return
    url = f"sqlite://{tmp_path / 'a.db'}" if request.param == "sqlite-file" else request.getfixturevalue("pg_url")
    async with opened(url, backend=request.param):
        yield TortoiseStorage()


CALLS: dict[str, Any] = {
    "put_checkpoint": lambda s: s.put_checkpoint("k", {"state": SECRET}),
    "get_checkpoint": lambda s: s.get_checkpoint("k"),
    "append_thread": lambda s: s.append_thread("t", [NOTE, NOTE]),
    "load_thread": lambda s: s.load_thread("t"),
    "get_thread_head": lambda s: s.get_thread_head("t"),
    "read_thread": lambda s: _read(s),
    "trim_thread": lambda s: s.trim_thread("t", before=1),
    "copy_thread": lambda s: s.copy_thread("t", "copy"),
    "save": lambda s: s.save("k", {"state": SECRET}, thread=ThreadWrite(id="t", entries=[NOTE])),
    "fetch": lambda s: s.fetch("k"),
    "list_checkpoints": lambda s: s.list_checkpoints(),
    "count_checkpoints": lambda s: s.count_checkpoints(),
    "iter_entries": lambda s: _walk(s),
    "repair_thread": lambda s: s.repair_thread("t"),
    "delete_agent": lambda s: s.delete_agent("k", "t"),
    "delete_checkpoint": lambda s: s.delete_checkpoint("k"),
    "delete_thread": lambda s: s.delete_thread("copy"),
}


#: What the end of each of them says, of those that find something out.
SAID: dict[str, dict[str, int]] = {
    "put_checkpoint": {"version": 1},
    "get_checkpoint": {"version": 1},
    "append_thread": {"rev": 2, "count": 2},
    "load_thread": {"rev": 2, "count": 2},
    "get_thread_head": {"rev": 2},
    "read_thread": {"rev": 2, "count": 2},
    "trim_thread": {"count": 1},
    "copy_thread": {"rev": 2},
    "save": {"rev": 3, "version": 2},
    "fetch": {"rev": 3, "version": 2},
    "list_checkpoints": {"count": 1},
    "iter_entries": {"count": 2},
    "count_checkpoints": {"count": 1},
}


async def _read(storage: Any) -> None:
    await storage.read_thread("t", await storage.get_thread_head("t"))


async def _walk(storage: Any) -> None:
    assert [entry.seq async for entry in storage.iter_entries("t", page=2)] == [1, 2]


async def test_every_operation_is_told(storage: Any) -> None:
    """Each call is told once as it starts and once as it ends, with duration and findings; no fact quotes a payload."""
    for name, call in CALLS.items():
        events: list[Event] = []
        with telemetry.add_hook(events.append):
            await call(storage)
        mine = [event for event in events if event.name == name]
        assert [event.phase for event in mine] == ["start", "stop"], name
        assert mine[1].duration is not None
        assert mine[1].facts.items() >= SAID.get(name, {}).items(), name
        assert SECRET not in repr(events)


async def test_facts(storage: Any) -> None:
    """The end of an append says revision and count; that of a save the version too."""
    events: list[Event] = []
    with telemetry.add_hook(events.append):
        await storage.append_thread("t", [NOTE, NOTE])
        await storage.save("k", {}, thread=ThreadWrite(id="t", entries=[NOTE]))
    ends = {event.name: event.facts for event in events if event.phase == "stop"}
    assert (ends["append_thread"]["rev"], ends["append_thread"]["count"]) == (2, 2)
    assert (ends["save"]["rev"], ends["save"]["version"]) == (3, 1)


async def test_errors_are_told(storage: Any) -> None:
    """A refused call ends in the phase "error", with the error itself."""
    await storage.append_thread("t", NOTE)
    events: list[Event] = []
    with telemetry.add_hook(events.append), pytest.raises(ConflictError):
        await storage.append_thread("t", NOTE, expected_rev=7)
    assert [event.phase for event in events] == ["start", "error"]
    assert isinstance(events[1].error, ConflictError)


class Seen(Agent, agent_type="seen"):  # type: ignore[type-arg]
    """An agent whose hibernate and thaw are watched."""


async def test_hibernate_and_thaw_are_told(storage: Any) -> None:
    """With the agent's name, the revision and the version."""
    agent = Seen("a", {"text": SECRET})
    agent.thread.append("note", {"text": SECRET})
    events: list[Event] = []
    with telemetry.add_hook(events.append):
        await hibernate(storage, agent)
        await thaw(storage, Seen, "a")
    ends = {event.name: event.facts for event in events if event.phase == "stop"}
    assert ends["hibernate"]["agent_type"] == "seen"
    assert (ends["hibernate"]["rev"], ends["hibernate"]["version"]) == (1, 1)
    assert (ends["thaw"]["rev"], ends["thaw"]["version"]) == (1, 1)
    assert SECRET not in repr(events)


async def test_success_inside_the_hosts_transaction_is_provisional(pg_url: str) -> None:
    """Told before the host commits, a write says that it may still be undone."""
    async with opened(pg_url):
        events: list[Event] = []
        with telemetry.add_hook(events.append):
            async with in_transaction("default"):
                await hibernate(TortoiseStorage(), Seen("a"))
            await hibernate(TortoiseStorage(), Seen("b"))
        ends = [event.facts["provisional"] for event in events if (event.name, event.phase) == ("hibernate", "stop")]
        assert ends == [True, False]


ADK_CALLS: dict[str, tuple[Any, dict[str, int]]] = {
    "adk_create": (lambda s: s.create(**WHO, state={"k": SECRET, "app:k": SECRET}), {}),
    "adk_append_event": (lambda s: _append(s), {"rev": 1}),
    "adk_get": (lambda s: s.get(**WHO), {"rev": 1, "count": 1}),
    "adk_list": (lambda s: s.list(app_name="shop"), {"count": 1}),
    "adk_page_sessions": (lambda s: s.page_sessions(app_name="shop"), {"count": 1}),
    "adk_get_user_state": (lambda s: s.get_user_state(app_name="shop", user_id="ann"), {}),
    "adk_copy": (lambda s: s.copy(**WHO, new_session_id="copy"), {"rev": 1, "count": 1}),
    "adk_rewind": (lambda s: s.rewind(**WHO, before_invocation_id="i"), {"rev": 2}),
    "adk_delete_invocation": (lambda s: s.delete_invocation(**WHO, invocation_id="i"), {"count": 1}),
    "adk_prune": (lambda s: s.prune(app_name="shop", keep_sessions=1), {"sessions": 1}),
    "adk_delete": (lambda s: s.delete(**WHO), {}),
}
WHO = {"app_name": "shop", "user_id": "ann", "session_id": "s"}


async def _append(store: AdkSessionStore) -> None:
    said = adk.Event(invocation_id="i", content=adk.Content("user", [adk.Part(SECRET)]))
    await store.append_event(await store.get(**WHO), said)


async def test_every_operation_on_an_adk_session_is_told(adk_db: Database) -> None:
    """With what it has found out, and without what was said and what the state holds."""
    for name, (call, said) in ADK_CALLS.items():
        events: list[Event] = []
        with telemetry.add_hook(events.append):
            await call(AdkSessionStore())
        mine = [event for event in events if event.name == name]
        assert [event.phase for event in mine] == ["start", "stop"], name
        assert mine[1].facts.items() >= said.items(), name
        assert SECRET not in repr(events)
