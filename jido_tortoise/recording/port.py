"""What a store of recordings must do: the functions that managers, queries and the contract suite call."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from jido_tortoise import checks, times
from jido_tortoise.errors import CorruptRowError, InvalidInputError, InvalidRecordError
from jido_tortoise.recording.entities import Artifact, Event, Run, Session

V = TypeVar("V")

#: One text, or several of which any will do; of an empty list none does.
OneOrMany = str | Iterable[str]
#: Hears the error of what cannot be read.
OnCorrupt = Callable[[CorruptRowError], object]


@dataclass(frozen=True, slots=True)
class Flushed:
    """What a flush has stored."""

    session: Session
    run: Run | None
    events: list[Event]


class SessionStoreLike(Protocol):
    """Sessions, runs and events by id; see `SessionStore`, whose docstrings are the laws."""

    async def save_session(self, session: Session, *, once: bool = False) -> Session:
        """Store a session."""
        ...

    async def get_session(self, session_id: str) -> Session:
        """Answer a session, also one that was deleted softly."""
        ...

    async def list_sessions(
        self,
        *,
        status: OneOrMany | None = None,
        agent_id: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Session]:
        """Answer the sessions, the oldest first."""
        ...

    async def delete_session(self, session_id: str) -> list[Artifact]:
        """Remove a session with all that belongs to it; answer the artifacts whose content nobody refers to now."""
        ...

    async def save_run(self, run: Run, *, concurrent: bool = False, once: bool = False) -> Run:
        """Store a run."""
        ...

    async def get_run(self, run_id: str) -> Run:
        """Answer a run."""
        ...

    async def list_runs(
        self, session_id: str, *, status: OneOrMany | None = None, limit: int | None = None, offset: int = 0
    ) -> list[Run]:
        """Answer the runs of a session, the oldest first."""
        ...

    async def get_active_run(self, session_id: str) -> Run | None:
        """Answer the running run of a session, of several the one that was started last."""
        ...

    async def append_event(self, event: Event) -> Event:
        """Append an event."""
        ...

    async def append_event_with_sequence(self, event: Event) -> Event:
        """Do the same."""
        ...

    async def append_events(self, events: Iterable[Event]) -> list[Event]:
        """Append events, all or none."""
        ...

    async def flush(
        self,
        *,
        session: Session,
        run: Run | None = None,
        events: Iterable[Event] = (),
        provider_metadata: object = None,
        concurrent: bool = False,
        once: bool = False,
    ) -> Flushed:
        """Store a session, a run and events, all or nothing."""
        ...

    async def get_events(
        self,
        session_id: str,
        *,
        run_id: str | None = None,
        type: OneOrMany | None = None,
        since: datetime | None = None,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
        wait_timeout_ms: float | None = None,
    ) -> list[Event]:
        """Answer the events of a session that pass all these filters, in order."""
        ...

    def follow(
        self, session_id: str, *, after: int = 0, run_id: str | None = None, type: OneOrMany | None = None
    ) -> AsyncGenerator[Event, None]:
        """Answer the events of a session that come after a number, those that are there and all that will come."""
        ...

    async def get_latest_sequence(self, session_id: str) -> int:
        """Answer the number of the event that was appended last, 0 before there is one."""
        ...


# -- what was asked for -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wished:
    """Which events are wished, checked."""

    session_id: str
    run_id: str | None = None
    types: tuple[str, ...] | None = None
    since: datetime | None = None
    after: int | None = None
    before: int | None = None
    limit: int | None = None

    @property
    def nothing(self) -> bool:
        """Whether no event can pass."""
        return self.limit == 0 or self.types == ()

    def passes(self, event: Event) -> bool:
        """Tell whether an event passes all filters but the limit."""
        number = event.sequence_number or 0
        return (
            (self.run_id is None or event.run_id == self.run_id)
            and (self.types is None or event.type in self.types)
            and (self.since is None or event.timestamp > self.since)
            and (self.after is None or number > self.after)
            and (self.before is None or number < self.before)
        )


def wished(
    session_id: str,
    *,
    run_id: str | None = None,
    type: OneOrMany | None = None,
    since: datetime | None = None,
    after: int | None = None,
    before: int | None = None,
    limit: int | None = None,
) -> Wished:
    """Check what was asked for.

    Raises:
        InvalidInputError: `path` says which option is none.
    """
    for name, number in (("after", after), ("before", before), ("limit", limit)):
        if number is not None:
            checks.whole(number, name)
    return Wished(
        checks.text(session_id, "session_id"),
        None if run_id is None else checks.text(run_id, "run_id"),
        texts(type, "type"),
        None if since is None else times.check_moment(since, "since"),
        after,
        before,
        limit,
    )


def texts(value: Any, path: str) -> tuple[str, ...] | None:
    """Answer one text or several as a tuple; None for no filter, and an empty one for a filter that nothing passes.

    Raises:
        InvalidInputError: It is neither.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return (checks.text(value, path),)
    if not isinstance(value, Iterable):
        raise InvalidInputError.at(path, "a text or a list of texts", value)
    return tuple(dict.fromkeys(checks.text(one, f"{path}[{at}]") for at, one in enumerate(value)))


def page(limit: int | None, offset: int) -> tuple[int, int]:
    """Check how many rows are wished, and how many are passed over before."""
    return checks.MOST if limit is None else checks.whole(limit, "limit"), checks.whole(offset, "offset")


def milliseconds(value: Any, path: str) -> float | None:
    """Answer milliseconds as seconds.

    Raises:
        InvalidInputError: They are no number above 0.
    """
    if value is None:
        return None
    found = checks.number(value)
    if found is None or found <= 0:
        raise InvalidInputError.at(path, "milliseconds as a number above 0, or None", value)
    return found / 1000


def check_flags(**flags: object) -> None:
    """Refuse options of a store that are neither True nor False.

    Raises:
        InvalidInputError: `path` is the name of the first one.
    """
    for name, value in flags.items():
        checks.flag(value, name)


def check_flush(session: Any, run: Any, events: Any) -> list[Event]:
    """Answer the events of a flush when all of it is of one session.

    Raises:
        InvalidRecordError: Something in it is not what it must be, or of another session.
    """
    value_of(session, Session, "session")
    if run is not None and not (isinstance(run, Run) and run.session_id == session.id):
        raise InvalidRecordError.at("run", f"None, or a Run of session {session.id!r}", run)
    given = events_in(events)
    for at, event in enumerate(given):
        if event.session_id != session.id:
            raise InvalidRecordError.at(f"events[{at}]", f"an Event of session {session.id!r}", event)
    return given


def events_in(events: Any) -> list[Event]:
    """Answer a list of what was given, which must be events.

    Raises:
        InvalidRecordError: `path` says which is none.
    """
    if isinstance(events, str | Mapping) or not isinstance(events, Iterable):
        raise InvalidRecordError.at("events", "a list of Events", events)
    return [value_of(event, Event, f"events[{at}]") for at, event in enumerate(events)]


def value_of(value: Any, cls: type[V], path: str) -> V:
    """Answer the value when it is one of this class.

    Raises:
        InvalidRecordError: It is none.
    """
    if not isinstance(value, cls):
        raise InvalidRecordError.at(path, f"a {cls.__name__}", value)
    return value
