"""How long recordings are kept: what a policy says, checked before anything is deleted by it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jido_tortoise import checks
from jido_tortoise.errors import InvalidInputError
from jido_tortoise.recording import port
from jido_tortoise.recording.artifact_stores import ArtifactStore
from jido_tortoise.recording.entities import Session
from jido_tortoise.recording.statuses import EVENT_TYPES, SESSION_STATUSES

#: What tells how a session went: pruned only when a policy names the type among those that go first.
KEPT_EVENT_TYPES: frozenset[str] = frozenset(
    one
    for one in EVENT_TYPES
    if one.startswith(("session_", "run_", "tool_approval_")) or one in ("error_occurred", "policy_violation")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """What `Maintenance` deletes, and what it leaves alone; every number but `batch_size` may be None, for no limit.

    Sessions with an exempt status or tag are left alone by every step.
    """

    #: Days since its making after which a session is deleted softly, however lively it is.
    max_session_age_days: int | None = None
    #: Days since its last change after which a session is deleted softly.
    max_completed_session_age_days: int | None = 90
    #: Days since its soft deletion after which a session, with all that belongs to it, is deleted for good.
    hard_delete_after_days: int | None = 30
    #: Of each session; the events above it are pruned, the oldest first.
    max_events_per_session: int | None = None
    #: Of all sessions together; the events above it are pruned, the oldest first. They are counted as the step begins:
    #: run one pass with it at a time.
    max_total_events: int | None = None
    #: Whether what is to be deleted for good, events and sessions, is written to `archive_store` before.
    archive_before_prune: bool = False
    #: A store of artifacts, where archives are kept as lines of JSON.
    archive_store: ArtifactStore | None = None
    exempt_statuses: Sequence[str] = ("active", "paused")
    exempt_tags: Sequence[str] = ("pinned",)
    #: Pruned before all others, and even when they are of a type that is kept otherwise.
    prune_event_types_first: Sequence[str] = ("message_streamed", "token_usage_updated")
    #: Sessions or events that are deleted in one transaction.
    batch_size: int = 100

    def __post_init__(self) -> None:
        for name in _LIMITS:
            object.__setattr__(self, name, _limit(getattr(self, name), f"policy.{name}"))
        if not checks.is_whole(self.batch_size, least=1):
            raise _refusal("policy.batch_size", "an int from 1 on", self.batch_size)
        for name, known in (("exempt_statuses", SESSION_STATUSES), ("prune_event_types_first", EVENT_TYPES)):
            object.__setattr__(self, name, _texts(getattr(self, name), f"policy.{name}", known))
        object.__setattr__(self, "exempt_tags", _texts(self.exempt_tags, "policy.exempt_tags"))
        if not isinstance(self.archive_before_prune, bool):
            raise _refusal("policy.archive_before_prune", "True or False", self.archive_before_prune)
        if self.archive_before_prune and not isinstance(self.archive_store, ArtifactStore):
            expected = "a store of artifacts, such as FileArtifactStore, since archive_before_prune is set"
            raise _refusal("policy.archive_store", expected, self.archive_store)

    @property
    def archive(self) -> ArtifactStore | None:
        """Where to archive; None when it is not to be."""
        return self.archive_store if self.archive_before_prune else None

    def exempts(self, session: Session) -> bool:
        """Tell whether a session is left alone."""
        return session.status in self.exempt_statuses or not set(self.exempt_tags).isdisjoint(session.tags)


_LIMITS = (
    "max_session_age_days",
    "max_completed_session_age_days",
    "hard_delete_after_days",
    "max_events_per_session",
    "max_total_events",
)


def before(now: datetime, days: int | None) -> datetime | None:
    """Answer the time so many days ago; None when nothing is that old."""
    if days is None:
        return None
    try:
        return now - timedelta(days=days)
    except OverflowError:
        return None


def _limit(value: Any, path: str) -> int | None:
    if value is None or value == float("inf"):
        return None
    if not checks.is_whole(value, least=1):
        raise _refusal(path, "an int from 1 on, or None for no limit", value)
    return int(value)


def _texts(value: Any, path: str, known: Iterable[str] | None = None) -> tuple[str, ...]:
    try:
        texts = port.texts(value, path)
    except InvalidInputError as error:
        raise _refusal(path, "a list of texts", value) from error
    if texts is None:
        raise _refusal(path, "a list of texts", value)
    for at, text in enumerate(texts):
        if known is not None and text not in known:
            raise _refusal(f"{path}[{at}]", f"one of {', '.join(sorted(known))}", text)
    return texts


def _refusal(path: str, expected: str, got: object) -> InvalidInputError:
    return InvalidInputError.at(path, expected, got, reason="validation_error")
