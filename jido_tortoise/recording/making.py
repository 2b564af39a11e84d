"""From what a provider says to the event that is recorded: its type resolved, its secrets gone, its shape looked at."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jido_tortoise import checks, telemetry, times
from jido_tortoise.errors import InvalidInputError
from jido_tortoise.recording.entities import Event, Run, Session
from jido_tortoise.recording.providers.base import Said
from jido_tortoise.recording.redacted_stream import RedactedStream
from jido_tortoise.recording.redaction import Redactor
from jido_tortoise.recording.validation import WARNINGS, resolved, with_warnings


@dataclass(slots=True)
class EventMaker:
    """Makes the events of one run, or of one session when there is no run."""

    session_id: str
    run_id: str | None = None
    provider: str | None = None
    correlation_id: str | None = None
    redactor: Redactor | None = None
    #: Streamed text whose secrets may not be complete yet.
    _stream: RedactedStream[Event] | None = field(default=None, init=False)

    def event(self, said: Said) -> list[Event]:
        """Answer what can be recorded now: the event, with those that were held back before it; or none yet.

        Raises:
            InvalidInputError: It has no form that an event could have.
        """
        event = self._built(said)
        if self.redactor is None:
            return [event]
        if event.type == "message_streamed" and isinstance(_text_of(event), str):
            self._stream = self._stream or RedactedStream(self.redactor)
            return self._released(self._stream.push(_text_of(event), event))
        if event.type == "token_usage_updated" and self._stream is not None:
            # It comes between two pieces of a text: that goes on, and a secret in it too.
            return self._released(self._stream.push("", event))
        return [*self.held(), self._redacted(event, self.redactor)]

    def one(self, event_type: str, data: Mapping[str, Any] | None = None) -> list[Event]:
        """Answer an event of our own, with those that were held back before it."""
        return self.event(Said(event_type, data or {}))

    def held(self) -> list[Event]:
        """Answer the events that were held back: nothing follows in their stream."""
        if self._stream is None:
            return []
        stream, self._stream = self._stream, None
        return self._released(stream.end())

    def map(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer a map of a session or run without its secrets."""
        if self.redactor is None:
            return values
        found = self.redactor.map(values)
        self._tell(found.count, None)
        return found.value  # type: ignore[no-any-return]

    def _built(self, said: Said) -> Event:
        try:
            event_type, data = resolved(said.type, checks.string_map(said.data, "event.data"))
            metadata = with_warnings(event_type, data, checks.string_map(said.metadata, "event.metadata"))
            event = Event(
                type=event_type,
                session_id=self.session_id,
                run_id=self.run_id,
                timestamp=times.now() if said.timestamp is None else said.timestamp,
                data=data,
                metadata=metadata,
                provider=self.provider,
                correlation_id=self.correlation_id,
            )
        except (InvalidInputError, TypeError, AttributeError) as error:
            reason = getattr(error, "reason", type(error).__name__)
            with telemetry.operation("event_rejected", session_id=self.session_id, reason=reason):
                pass
            if isinstance(error, InvalidInputError):
                raise
            raise InvalidInputError.at("event", "a type, and maps of data and metadata", said) from error
        if event.metadata.get(WARNINGS):
            count = len(event.metadata[WARNINGS])
            with telemetry.operation(
                "event_validation_warning", session_id=self.session_id, type=event_type, count=count
            ):
                pass
        return event

    def _redacted(self, event: Event, redactor: Redactor) -> Event:
        data, metadata = redactor.event(event.type, event.data, event.metadata)
        self._tell(data.count + metadata.count, event.type)
        return replace(event, data=data.value, metadata=metadata.value)

    def _released(self, pieces: list[tuple[str, int, Event]]) -> list[Event]:
        return [self._cut(event, text, count) for text, count, event in pieces]

    def _cut(self, event: Event, text: str, count: int) -> Event:
        if event.type != "message_streamed":
            return event
        assert self.redactor is not None
        before = _text_of(event)
        streamed = {name for name in ("content", "delta") if event.data.get(name) == before}
        rest = {name: value for name, value in event.data.items() if name not in streamed}
        found = self.redactor.data(event.type, rest)
        self._tell(count + found.count, event.type)
        if text == before and not found.count:
            return event
        return replace(event, data={**event.data, **found.value, **dict.fromkeys(streamed, text)})

    def _tell(self, count: int, event_type: str | None) -> None:
        if count:
            with telemetry.operation("event_redacted", session_id=self.session_id, type=event_type, count=count):
                pass


def told_once(events: Sequence[Event], changed: Session | Run) -> list[Event]:
    """Answer the events of a change with ids made of what is changed, so that it is told once.

    Of two writers that make the same change of the same revision at the same moment both have made it; the second one's
    event is a duplicate then, and refused.
    """
    return [replace(event, id=_id_of(changed.id, changed.revision, event.type)) for event in events]


def _id_of(*parts: object) -> str:
    return f"evt_{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"


def told_of(events: Sequence[Event]) -> Sequence[Event]:
    """Answer events that were stored, having told so."""
    if events:
        last = events[-1]
        facts = {"session_id": last.session_id, "run_id": last.run_id, "count": len(events)}
        with telemetry.operation("event_persisted", **facts, last_sequence=last.sequence_number):
            pass
    return events


def _text_of(event: Event) -> Any:
    return event.data.get("delta") or event.data.get("content")
