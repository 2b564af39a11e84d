"""How a run ends that has no answer: which status, which event, and what is said of the error."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jido_tortoise.errors import InvalidTransitionError, JidoError, RunStoppedError
from jido_tortoise.recording.entities import Event, Session
from jido_tortoise.recording.making import EventMaker, told_once
from jido_tortoise.recording.providers.base import Said
from jido_tortoise.recording.redaction import Redactor

#: Characters of an error's message that are kept.
_MOST = 2000


@dataclass(frozen=True, slots=True)
class Ending:
    """An end of a run."""

    status: str
    event_type: str
    data: Mapping[str, Any]
    #: What the run keeps of its error.
    error: Mapping[str, Any] | None = None
    #: What is said before the end.
    before: tuple[Said, ...] = ()

    def said(self) -> tuple[Said, ...]:
        """Answer its events."""
        return (*self.before, Said(self.event_type, self.data))


def ending_of(error: BaseException, maker: EventMaker) -> Ending:
    """Answer how a run ends by an error."""
    if isinstance(error, asyncio.CancelledError):
        return Ending("cancelled", "run_cancelled", {"reason": "the task was cancelled"})
    if isinstance(error, RunStoppedError):
        return _stopped(error, maker.redactor)
    known = error_map(error, maker.redactor)
    data = {"error_code": known["code"], "error_message": known["message"]}
    if known["code"] == "run_timeout":
        return Ending("timeout", "run_timeout", data, known)
    details = {"provider_error": known["provider_error"]} if "provider_error" in known else {}
    return Ending("failed", "run_failed", {**data, **details}, known)


def _stopped(error: RunStoppedError, redactor: Redactor | None) -> Ending:
    if error.reason == "tool_approval_requested":
        violation = error.facts["violation"]
        asked = {"tool_name": violation.details.get("tool_name", ""), "policy_name": violation.policy}
        before = (Said("tool_approval_requested", {**asked, "kind": violation.kind}),)
        return Ending("cancelled", "run_cancelled", {"reason": error.reason}, before=before)
    if error.reason == "run_cancelled":
        return Ending("cancelled", "run_cancelled", {"reason": error.facts.get("why") or error.reason})
    known = error_map(error, redactor)
    return Ending("failed", "run_failed", {"error_code": known["code"], "error_message": known["message"]}, known)


def session_ending(error: BaseException | None, redactor: Redactor | None) -> tuple[str, Said]:
    """Answer the status, and the event, of a session that is to end as its only run did: by this error, or without."""
    if error is None:
        return "completed", Said("session_completed", {})
    reason = error.reason if isinstance(error, RunStoppedError) else ""
    if reason == "tool_approval_requested":
        return "paused", Said("session_paused", {"reason": reason})
    if reason == "run_cancelled" or isinstance(error, asyncio.CancelledError):
        return "cancelled", Said("session_cancelled", {"reason": "run_cancelled"})
    return "failed", Said("session_failed", failure(error, redactor))


def session_ended(
    session: Session, error: BaseException | None, redactor: Redactor | None
) -> tuple[Session, Sequence[Event]]:
    """Answer a session as it ends with its only run, and what tells of it; as it is, when it cannot end so."""
    status, said = session_ending(error, redactor)
    try:
        ended = session.with_status(status)
    except InvalidTransitionError:
        return session, ()  # others have paused or ended it: that stays
    if ended == session:
        return session, ()
    return ended, told_once(EventMaker(session.id, redactor=redactor).event(said), session)


def failure(error: BaseException, redactor: Redactor | None) -> dict[str, Any]:
    """Answer what the event of a session tells of the error that has ended it."""
    known = error_map(error, redactor)
    return {"error_code": known.pop("code"), "error_message": known.pop("message"), **known}


def error_map(error: BaseException, redactor: Redactor | None) -> dict[str, Any]:
    """Answer what is recorded of an error: its code, its message, and what the provider said of it.

    The message loses its secrets before it is cut: nobody would know the first half of one for what it is.
    """
    code = error.reason if isinstance(error, JidoError) else type(error).__name__
    message = str(error) if redactor is None else redactor.text(str(error)).value
    known: dict[str, Any] = {"code": code, "message": message[:_MOST]}
    if isinstance(error, JidoError):
        for name in ("provider_error", "status", "request_id"):
            if error.facts.get(name) is not None:
                known[name] = error.facts[name]
    return known
