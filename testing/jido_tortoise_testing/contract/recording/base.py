"""What every group of checks of a session store stands on: two handles, and the words for what is stored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import contextmanager
from typing import Any, Literal

import pytest

from jido_tortoise.errors import JidoError
from jido_tortoise.recording import Event, Run, Session, SessionStoreLike
from jido_tortoise.recording.leases import leases
from jido_tortoise_testing.contract.base import Check, StoreFixtures
from jido_tortoise_testing.contract.base import needs as needs_of_any

#: Makes a handle on the data of the running check, as another process would have one.
MakeStore = Callable[[], SessionStoreLike]


#: What a store can beyond what `SessionStoreLike` names.
RecordingCapability = Literal["leases"]


def needs(*capabilities: RecordingCapability) -> Callable[[Check], Check]:
    """Skip the check, visibly and with the reason, on a store that cannot do all of these."""
    known: Any = capabilities
    return needs_of_any(*known)


class StoreChecks(StoreFixtures):
    """What a group of checks of a session store stands on; a subclass must give the fixture `make_store`."""

    def capabilities_of(self, storage: Any) -> Collection[str]:
        """Answer what a store can: it declares nothing, what it can is seen in its methods."""
        return {"leases"} if leases(storage) else set()


async def begun(store: SessionStoreLike, session_id: str = "s", **fields: Any) -> Session:
    """Store a new session."""
    return await store.save_session(Session(agent_id="agent", id=session_id, **fields))


def run_of(session_id: str = "s", run_id: str = "r", **fields: Any) -> Run:
    """Make a run."""
    return Run(session_id=session_id, id=run_id, **fields)


def event(event_id: str = "e", type: str = "message_sent", session_id: str = "s", **fields: Any) -> Event:
    """Make an event."""
    return Event(type=type, session_id=session_id, id=event_id, **fields)


def events(count: int, session_id: str = "s") -> list[Event]:
    """Make that many events, `<session>-1` and on."""
    return [event(f"{session_id}-{n}", session_id=session_id) for n in range(1, count + 1)]


def ids(values: Iterable[Any]) -> list[str]:
    """Answer the ids of sessions, runs or events."""
    return [value.id for value in values]


def numbers(values: Iterable[Event]) -> list[int | None]:
    """Answer the numbers of events."""
    return [value.sequence_number for value in values]


@contextmanager
def refused(error: type[JidoError], reason: str | None = None, **facts: Any) -> Any:
    """Expect an error with a reason and facts."""
    with pytest.raises(error) as caught:
        yield caught
    assert reason in (None, caught.value.reason), caught.value
    for name, value in facts.items():
        assert getattr(caught.value, name) == value, caught.value
