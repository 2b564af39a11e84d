"""Recorded sessions, runs, events and artifacts as values: their defaults, ids, checks and statuses."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import product
from typing import Any

import pytest

from jido_tortoise import seams
from jido_tortoise.errors import InvalidRecordError, InvalidTransitionError
from jido_tortoise.recording import EVENT_TYPES, RUN_STATUSES, SESSION_STATUSES, Artifact, Event, Run, Session

_MACHINES = [
    (Session(agent_id="a"), SESSION_STATUSES),
    (Run(session_id="s"), RUN_STATUSES),
]


def _artifact(**fields: Any) -> Artifact:
    known = {"byte_size": 1, "checksum_sha256": "0" * 64, "storage_backend": "file", "storage_ref": "x"}
    return Artifact(**{"key": "k", **known, **fields})


def test_defaults_and_ids() -> None:
    """A session needs its agent only, a run its session, an event its type too; the ids have the contract's forms."""
    session, run, event = Session(agent_id="a"), Run(session_id="s"), Event(type="message_sent", session_id="s")
    for value, prefix in ((session, "ses_"), (run, "run_"), (event, "evt_")):
        assert re.fullmatch(rf"{prefix}[0-9a-f]{{32}}", value.id)
    assert re.fullmatch(r"art_[\w-]{16}", _artifact().id)
    assert (session.status, session.metadata, session.context, session.tags) == ("pending", {}, {}, ())
    assert session.created_at == session.updated_at
    assert (run.status, run.turn_count, run.token_usage, run.cost_usd, run.ended_at) == ("pending", 0, {}, None, None)
    assert (event.sequence_number, event.schema_version, event.provider, event.data) == (None, 1, None, {})
    assert session.created_at.utcoffset() == timedelta(0)
    assert len(EVENT_TYPES) == 28


#: No time in UTC, which is what is stored.
_BEYOND = datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: Session(agent_id=""), "session.agent_id"),
        (lambda: Session(agent_id="a", id="x" * 256), "session.id"),
        (lambda: Session(agent_id="a", tags="pinned"), "session.tags"),
        (lambda: Session(agent_id="a", tags=["ok", 1]), "session.tags[1]"),  # type: ignore[list-item]
        (lambda: Session(agent_id="a", metadata=None), "session.metadata"),  # type: ignore[arg-type]
        (lambda: Session(agent_id="a", created_at=datetime(2026, 1, 1)), "session.created_at"),
        (lambda: Session(agent_id="a", created_at=_BEYOND), "session.created_at"),
        (lambda: Session(agent_id="a", status="done"), "session.status"),
        (lambda: Run(session_id="\0"), "run.session_id"),
        (lambda: Run(session_id="s", turn_count=-1), "run.turn_count"),
        (lambda: Run(session_id="s", cost_usd=float("nan")), "run.cost_usd"),
        (lambda: Run(session_id="s", cost_usd=10**400), "run.cost_usd"),
        (lambda: Run(session_id="s", output=[]), "run.output"),  # type: ignore[arg-type]
        (lambda: Event(type="spoken", session_id="s"), "event.type"),
        (lambda: Event(type=None, session_id="s"), "event.type"),  # type: ignore[arg-type]
        (lambda: Event(type="message_sent", session_id="s", id=None), "event.id"),  # type: ignore[arg-type]
        (lambda: Event(type="message_sent", session_id="s", timestamp=None), "event.timestamp"),  # type: ignore[arg-type]
        (lambda: Event(type="message_sent", session_id="s", schema_version=0), "event.schema_version"),
        (lambda: Event(type="message_sent", session_id="s", provider=""), "event.provider"),
        (lambda: _artifact(key="x" * 300), "artifact.key"),
        (lambda: _artifact(storage_ref=""), "artifact.storage_ref"),
        (lambda: _artifact(byte_size=-1), "artifact.byte_size"),
        (lambda: _artifact(checksum_sha256="0" * 63), "artifact.checksum_sha256"),
        (lambda: _artifact(checksum_sha256="g" * 64), "artifact.checksum_sha256"),
        (lambda: _artifact(checksum_sha256="0" * 64 + "\n"), "artifact.checksum_sha256"),
        (lambda: _artifact(checksum_sha256="٣" * 64), "artifact.checksum_sha256"),
    ],
)
def test_w13_w14_bad_fields_are_refused_by_their_path(make: Any, path: str) -> None:
    """What no column can hold, a missing type, a naive time: refused where it is made, before any store."""
    with pytest.raises(InvalidRecordError) as caught:
        make()
    assert caught.value.path == path


@pytest.mark.parametrize(("value", "machine"), _MACHINES, ids=["session", "run"])
def test_w5_every_pair_of_statuses(value: Session | Run, machine: dict[str, frozenset[str]]) -> None:
    """A status follows another as the machine says and not otherwise; a refusal names from, to and what may."""
    for old, new in product(machine, machine):
        there = replace(value, status=old)
        if new == old or new in machine[old]:
            assert there.with_status(new).status == new
            continue
        with pytest.raises(InvalidTransitionError) as caught:
            there.with_status(new)
        error = caught.value
        assert (error.reason, error.from_status, error.to_status) == ("invalid_transition", old, new)
        assert error.allowed == sorted(machine[old])
    with pytest.raises(InvalidRecordError) as wrong:
        value.with_status("bogus")
    assert wrong.value.reason == "invalid_status"


def test_w13_what_a_newer_version_stored_is_kept() -> None:
    """A status or type that we do not know, in a value that a store answered; but nothing of ours follows it."""
    session = Session(agent_id="a", status="archived", revision=3)
    assert session.changed(tags=["x"]).status == "archived"
    assert not session.is_terminal
    with pytest.raises(InvalidTransitionError, match="what may follow 'archived' is nothing"):
        session.with_status("active")
    assert Event(type="thought", session_id="s", sequence_number=1).type == "thought"


def test_the_end_of_a_run() -> None:
    """Output completes it, an error fails it, either ends it; usage is added, turns are counted."""
    run = Run(session_id="s").with_status("running")
    done = run.with_turn().with_output({"text": "hi"})
    assert (done.status, done.output, done.turn_count, done.is_terminal) == ("completed", {"text": "hi"}, 1, True)
    assert done.ended_at is not None
    assert done.ended_at >= run.started_at
    assert run.with_error({"code": "timeout"}).status == "failed"
    used = run.with_usage({"input_tokens": 2, "model": "m"}).with_usage(
        {"input_tokens": 3, "model": "n", "cached": True}
    )
    assert used.token_usage == {"input_tokens": 5, "model": "n", "cached": True}
    assert run.token_usage == {}


def test_a_clock_that_goes_back_makes_nothing_older() -> None:
    """A change is never older than what it changes, nor an end than its beginning."""
    ahead = datetime(2100, 1, 1, tzinfo=UTC)
    with seams.replaced(now_ms=lambda: 0):
        assert Session(agent_id="a", created_at=ahead).with_status("active").updated_at == ahead
        assert Run(session_id="s", started_at=ahead).with_status("cancelled").ended_at == ahead
