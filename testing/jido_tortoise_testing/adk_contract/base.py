"""What every group of checks stands on: the two handles, and the words for sessions and events."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

from jido_tortoise.adk import Actions, Content, Event, Part, Session
from jido_tortoise_testing.contract.base import Check, StoreFixtures
from jido_tortoise_testing.contract.base import needs as needs_of_any

#: When the events of the checks begin.
T0 = datetime(2026, 1, 1, tzinfo=UTC)
WHO = {"app_name": "shop", "user_id": "ann"}
BOB = {"app_name": "shop", "user_id": "bob"}


#: What a store can beyond create, get, list, delete, append and the user's state.
AdkCapability = Literal["check_stale", "pages", "prune", "delete_invocation", "copy", "rewind"]


def needs(*capabilities: AdkCapability) -> Callable[[Check], Check]:
    """Skip the check, visibly and with the reason, on a store that does not declare all of these."""
    known: Any = capabilities
    return needs_of_any(*known)


class FullStore(Protocol):
    """A store with every capability; a check calls only what its store declares."""

    @property
    def capabilities(self) -> Collection[str]: ...
    async def create(self, **session: Any) -> Session: ...
    async def get(self, **which: Any) -> Session: ...
    async def list(self, **which: Any) -> Any: ...
    async def delete(self, **which: Any) -> None: ...
    async def append_event(self, session: Session, event: Event, **options: Any) -> Session: ...
    async def get_user_state(self, **which: Any) -> dict[str, Any]: ...
    async def page_sessions(self, **which: Any) -> Any: ...
    async def prune(self, **rules: Any) -> Any: ...
    async def delete_invocation(self, **which: Any) -> int: ...
    async def copy(self, **which: Any) -> Session: ...
    async def rewind(self, **which: Any) -> Session: ...


#: Makes a handle on the data of the running check, as another process would have one.
MakeStore = Callable[[], FullStore]


class AdkChecks(StoreFixtures):
    """What a group of checks of a store of ADK sessions stands on; a subclass must give the fixture `make_store`."""


def said(text: str = "hi", *, at: float = 0, delta: dict[str, Any] | None = None, **fields: Any) -> Event:
    """Make an event that says something, some minutes after `T0`."""
    fields = {"author": "user", "content": Content("user", [Part(text)]), "actions": Actions(delta or {}), **fields}
    return Event(timestamp=T0 + timedelta(minutes=at), **fields)


def texts(session: Session) -> list[str | None]:
    """Answer what the events of a session say."""
    return [event.content.parts[0].text for event in session.events if event.content]


def ids(session: Session) -> list[str]:
    """Answer the ids of a session's events."""
    return [event.id for event in session.events]


async def made(store: FullStore, name: str = "s", state: dict[str, Any] | None = None, **who: str) -> Session:
    """Make a session of ann's."""
    return await store.create(**{**WHO, **who}, session_id=name, state=state)


async def got(store: FullStore, name: str = "s", **more: Any) -> Session:
    """Get a session of ann's."""
    return await store.get(**{**WHO, **more}, session_id=name)


async def talked(store: FullStore, count: int, name: str = "s", *, start: int = 0, **who: str) -> Session:
    """Make a session with events e0, e1, ..., a minute apart, two an invocation; each sets `last` and its own key."""
    session = await made(store, name, {"begun": True}, **who)
    for n in range(start, start + count):
        event = said(f"{n}", at=n, id=f"e{n}", invocation_id=f"i{n // 2}", delta={"last": n, f"k{n}": n})
        session = await store.append_event(session, event)
    return session
