"""The write-behind buffer of a run: streamed tokens become one statement for many, and none is lost on the way.

Events wait here until there are enough of them, or the first has waited long enough, or the run ends. Their ids were
made before, so a flush whose outcome is unknown is repeated with the same ones. What is stored is what `flush` has
answered, and nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from jido_tortoise import checks, codec, seams, telemetry
from jido_tortoise.errors import StorageUnavailableError, UnstorableError
from jido_tortoise.recording.entities import Event
from jido_tortoise.recording.making import told_of
from jido_tortoise.recording.port import SessionStoreLike

T = TypeVar("T")

#: Seconds between two attempts at a database that is away: at first, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffering:
    """When events are written.

    A provider whose events do not fit waits: at most `size` are buffered here, and `room` more on their way.
    """

    #: As soon as so many events wait.
    size: int = 200
    #: Seconds after which the first that waits is written, however few they are.
    seconds: float = 1.0
    #: How many more a provider may say meanwhile.
    room: int = 1000
    #: Seconds that a database may be away before the run is given up.
    patience: float = 30.0

    def __post_init__(self) -> None:
        for name in ("size", "room"):
            checks.whole(getattr(self, name), f"buffering.{name}", least=1)
        for name in ("seconds", "patience"):
            checks.seconds(getattr(self, name), f"buffering.{name}", zero=True)


class EventBuffer:
    """The events of one run that are not stored yet."""

    def __init__(self, store: SessionStoreLike, rules: Buffering) -> None:
        self.failures = 0
        self._store = store
        self._rules = rules
        self._waiting: list[Event] = []
        self._since = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, event: Event) -> None:
        """Take an event; it is not stored yet."""
        if not self._waiting:
            self._since = seams.monotonic()
        self._waiting.append(event)

    def time_left(self) -> float | None:
        """Answer the seconds until it must be flushed; None when nothing waits."""
        if not self._waiting:
            return None
        if len(self._waiting) >= self._rules.size:
            return 0.0
        return max(0.0, self._since + self._rules.seconds - seams.monotonic())

    async def flush(self) -> Sequence[Event]:
        """Store what waits, and answer it with its numbers.

        Raises:
            JidoError: It is not stored, and waits on.
        """
        if not self._waiting:
            return ()
        batch = self._waiting[:]
        stored = told_of(await self.insist(lambda: self._appended(batch)))
        self._waiting = self._waiting[len(batch) :]
        return stored

    async def _appended(self, batch: list[Event]) -> Sequence[Event]:
        try:
            return await self._store.append_events(batch)
        except UnstorableError:
            # One value that no database can hold must not take ninety-nine good events with it.
            batch[:] = [storable(event) for event in batch]
            return await self._store.append_events(batch)

    def take(self) -> list[Event]:
        """Answer what waits, storable, for somebody else to store together with the end of the run."""
        self._waiting = [storable(event) for event in self._waiting]
        return self._waiting[:]

    def stored(self) -> None:
        """Forget what waited: it was stored."""
        self._waiting = []

    async def insist(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write, again and again while the database is away; the write must be one that may be repeated.

        Raises:
            StorageUnavailableError: It was away for too long.
        """
        ends = seams.monotonic() + self._rules.patience
        pause = _FIRST_PAUSE
        while True:
            try:
                return await write()
            except StorageUnavailableError:
                self.failures += 1
                if seams.monotonic() + pause > ends:
                    raise
            await seams.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def storable(event: Event) -> Event:
    """Answer the event, or in its place and with its id an `error_occurred` that says why it cannot be stored."""
    try:
        codec.dumps(event.data)
        codec.dumps(event.metadata)
    except UnstorableError as error:
        with telemetry.operation("event_rejected", session_id=event.session_id, type=event.type, reason=error.reason):
            message = f"an event of type {event.type} cannot be stored: {error.path} is no value that can"
        return replace(event, type="error_occurred", data={"error_message": message}, metadata={})
    return event
