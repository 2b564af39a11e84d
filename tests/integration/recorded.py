"""Recorded sessions for the tests of queries: five sessions, whose every count and sum is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from jido_tortoise.recording import Event, Run, Session, SessionStore

START = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


def at(minutes: float) -> datetime:
    """Give a time so many minutes after the start."""
    return START + timedelta(minutes=minutes)


def session(number: int, **fields: Any) -> Session:
    """Make the session s0, s1, ...; each begins an hour after the one before."""
    given = {"id": f"s{number}", "agent_id": "clerk", "created_at": at(60 * number), "updated_at": at(60 * number + 30)}
    return Session(**{**given, **fields})


def run(session_id: str, id: str, minutes: float, **fields: Any) -> Run:
    """Make a run of a session."""
    return Run(session_id=session_id, id=id, started_at=at(minutes), **fields)


def tokens(given: int, answered: int) -> dict[str, Any]:
    """Give what a run has used."""
    return {"input_tokens": given, "output_tokens": answered, "total_tokens": given + answered}


RUNS = [
    run("s0", "r0", 0, status="completed", provider="claude", token_usage=tokens(100, 50), cost_usd=0.25),
    run("s0", "r1", 1, status="failed", provider="claude", token_usage=tokens(1000, 500)),
    run("s0", "r2", 2, status="running", provider="codex", token_usage=tokens(7, 3)),
    run("s1", "r3", 60, status="completed", provider="codex", token_usage={"total_tokens": "many"}),
    run("s2", "r4", 120, status="pending", token_usage=tokens(10, 10)),
]
MODELS = {"r0": "claude-a", "r1": "claude-b-2026", "r2": "gpt"}


async def store_them(store: SessionStore) -> None:
    """Store five sessions, five runs and eight events."""
    sessions = [
        session(0, status="active", tags=["pinned", "paid"]),
        session(1, status="completed", tags=["paid"], updated_at=at(1000)),
        session(2, agent_id="other"),
        session(3, status="failed"),
        session(4, deleted_at=at(500)),
    ]
    for one in sessions:
        await store.save_session(one)
    for made in RUNS:
        model = MODELS.get(made.id)
        await store.save_run(replace(made, provider_metadata={"model": model} if model else {}))
    await store.append_events([*events()])


def events() -> list[Event]:
    """Make five events of s0 (three of r0), two of s1 and one of s4, which was deleted softly."""
    types = ["run_started", "message_sent", "message_received", "run_completed", "error_occurred"]
    made = [
        Event(id=f"e{n}", type=kind, session_id="s0", run_id="r0" if n < 3 else None, timestamp=at(n), data={"n": n})
        for n, kind in enumerate(types)
    ]
    made = [replace(event, provider="claude", correlation_id="c1") if event.run_id else event for event in made]
    made += [Event(id=f"e{n}", type="message_sent", session_id="s1", timestamp=at(60 + n)) for n in (5, 6)]
    return [*made, Event(id="e7", type="session_created", session_id="s4", timestamp=at(200), provider="codex")]
