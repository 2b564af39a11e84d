"""Which statuses and event types there are, and which status may follow which."""

from __future__ import annotations

from collections.abc import Mapping

from jido_tortoise.errors import InvalidRecordError, InvalidTransitionError

#: By status of a session, those that may follow it.
SESSION_STATUSES: Mapping[str, frozenset[str]] = {
    "pending": frozenset({"active", "failed", "cancelled"}),
    "active": frozenset({"paused", "completed", "failed", "cancelled"}),
    "paused": frozenset({"active", "failed", "cancelled"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}

#: By status of a run, those that may follow it.
RUN_STATUSES: Mapping[str, frozenset[str]] = {
    "pending": frozenset({"running", "completed", "failed", "cancelled", "timeout"}),
    "running": frozenset({"completed", "failed", "cancelled", "timeout"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
    "timeout": frozenset(),
}

#: What an event can be.
EVENT_TYPES: frozenset[str] = frozenset(
    {
        "session_created",
        "session_started",
        "session_paused",
        "session_resumed",
        "session_completed",
        "session_failed",
        "session_cancelled",
        "run_started",
        "run_completed",
        "run_failed",
        "run_cancelled",
        "run_timeout",
        "message_sent",
        "message_received",
        "message_streamed",
        "tool_call_started",
        "tool_call_completed",
        "tool_call_failed",
        "error_occurred",
        "error_recovered",
        "token_usage_updated",
        "turn_completed",
        "workspace_snapshot_taken",
        "workspace_diff_computed",
        "policy_violation",
        "tool_approval_requested",
        "tool_approval_granted",
        "tool_approval_denied",
    }
)


def known_status(status: object, statuses: Mapping[str, frozenset[str]], path: str) -> str:
    """Answer the status when there is one of that name.

    Raises:
        InvalidRecordError: `invalid_status`.
    """
    if not isinstance(status, str) or status not in statuses:
        raise InvalidRecordError.at(path, f"one of {', '.join(statuses)}", status, reason="invalid_status")
    return str.__str__(status)


def check_transition(old: str, new: object, statuses: Mapping[str, frozenset[str]], path: str) -> str:
    """Answer the new status when it may follow the old one; to stay is no transition, and always possible.

    Nothing follows a status that we do not know: a newer version of this library has its own rules for it.

    Raises:
        InvalidRecordError: `invalid_status`: there is none of that name.
        InvalidTransitionError: It may not follow.
    """
    if new == old:
        return old
    status = known_status(new, statuses, path)
    allowed = statuses.get(old, frozenset())
    if status not in allowed:
        may = ", ".join(sorted(allowed)) or "nothing"
        raise InvalidTransitionError(
            f"{path}: {old!r} cannot become {status!r}; what may follow {old!r} is {may}",
            path=path,
            from_status=old,
            to_status=status,
            allowed=sorted(allowed),
        )
    return status


def befores(status: str, statuses: Mapping[str, frozenset[str]]) -> list[str]:
    """Answer the statuses that a stored row may have when this one is to be written over it, this one among them."""
    return [status, *(old for old, allowed in statuses.items() if status in allowed)]
