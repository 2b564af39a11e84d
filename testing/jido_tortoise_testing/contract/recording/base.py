"""What every group of checks of a session store stands on: two handles, and the words for what is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest

from jido_tortoise.errors import JidoError
from jido_tortoise.recording import Event, Run, Session, SessionStoreLike

#: Makes a handle on the data of the running check, as another process would have one.
MakeStore = Callable[[], SessionStoreLike]


class StoreChecks:
    """The fixtures of a group of checks; `make_store` is the one that a subclass must give."""

    # Explicit, so that the suite also runs where pytest-asyncio is in strict mode.
    pytestmark: ClassVar[Any] = pytest.mark.asyncio

    #: Seconds after which a call counts as hung.
    patience: ClassVar[float] = 30.0

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Give a function that makes a handle on the data of this check: the same data each time, empty at first."""
        raise NotImplementedError(f"{type(self).__name__} must define the fixture make_store")

    @pytest.fixture
    def store(self, make_store: MakeStore) -> SessionStoreLike:
        """Give the first handle."""
        return make_store()

    @pytest.fixture
    def second(self, make_store: MakeStore) -> SessionStoreLike:
        """Give another handle on the same data, as another process would have one."""
        return make_store()


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
