"""Conversations recorded as sessions, runs and events: queried, exported, imported elsewhere, and the same there."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jido_tortoise.demo.run import OWN_TRANSCRIPTS
from jido_tortoise.recording import (
    Event,
    Maintenance,
    QueryAPI,
    RetentionPolicy,
    Run,
    Session,
    SessionStore,
    import_sessions,
)
from tests.conftest import opened

_ROOT = Path(__file__).parent.parent.parent
_REAL = Path(
    os.environ.get("JIDO_TEST_TRANSCRIPTS")
    or _ROOT.parent / "shared" / "data" / "tau_bench_airline" / "trajectories.jsonl"
)
_PROVIDERS = ("anthropic", "openai")
_TYPES = {"user": "message_sent", "assistant": "message_received", "tool": "tool_call_completed"}


def recorded(file: Path) -> Iterator[tuple[Session, Run, list[Event]]]:
    """Make a session, its run and its events of each conversation; a word is a token."""
    for number, line in enumerate(file.read_text("utf-8").splitlines()):
        messages = json.loads(line)["messages"]
        session = Session(id=f"ses_{number}", agent_id="airline", tags=["pinned"] if number % 10 == 0 else [])
        words = {role: sum(count(m) for m in messages if m["role"] == role) for role in ("user", "assistant")}
        usage = {
            "input_tokens": words["user"],
            "output_tokens": words["assistant"],
            "total_tokens": sum(words.values()),
        }
        run = Run(id=f"run_{number}", session_id=session.id, token_usage=usage, provider=_PROVIDERS[number % 2])
        events = [
            Event(id=f"evt_{number}_{at}", type=_TYPES[m["role"]], session_id=session.id, run_id=run.id, data=m)
            for at, m in enumerate(messages)
            if m["role"] in _TYPES
        ]
        yield session, run, events


def count(message: dict[str, Any]) -> int:
    """Count the words of a message."""
    return len(json.dumps(message["content"]).split())


@pytest.mark.parametrize("direction", ["to PostgreSQL", "to SQLite"])
@pytest.mark.parametrize(
    "file",
    [
        pytest.param(OWN_TRANSCRIPTS, id="ours"),
        pytest.param(
            _REAL,
            id="tau-bench",
            marks=pytest.mark.skipif(
                not _REAL.is_file(), reason="needs tau-bench's transcripts; JIDO_TEST_TRANSCRIPTS names the file"
            ),
        ),
    ],
)
async def test_conversations_are_the_same_elsewhere(
    file: Path, direction: str, pg_url: str, sqlite_url: str, tmp_path: Path
) -> None:
    """Sums are those of the file; what is imported is what was recorded, to the last event."""
    source, target = (sqlite_url, pg_url) if direction == "to PostgreSQL" else (pg_url, sqlite_url)
    whole, query = [*recorded(file)], QueryAPI()
    async with opened(source, families=("recording",)):
        for session, run, events in whole:
            await SessionStore().flush(session=session, run=run, events=events)
        await check(query, whole)
        with (tmp_path / "sessions.jsonl").open("w", encoding="utf-8") as out:
            for session, *_ in whole:
                async for line in query.export_session(session.id):
                    out.write(line + "\n")
        before = [await query.export_session(session.id) for session, *_ in whole]
    async with opened(target, families=("recording",)):
        with (tmp_path / "sessions.jsonl").open(encoding="utf-8") as lines:
            done = await import_sessions(lines)
        assert (done.sessions, done.events) == (len(whole), sum(len(events) for *_, events in whole))
        await check(query, whole)
        assert [await query.export_session(session.id) for session, *_ in whole] == before
        await prune(query, whole)


async def check(query: QueryAPI, whole: list[tuple[Session, Run, list[Event]]]) -> None:
    """See that the database finds and adds up what Python does."""
    usage = await query.get_usage_summary()
    assert usage.total_tokens == sum(run.token_usage["total_tokens"] for _, run, _ in whole)
    assert {name: one.run_count for name, one in usage.by_provider.items()} == Counter(
        run.provider for _, run, _ in whole
    )
    for kind in _TYPES.values():
        expected = sum(event.type == kind for *_, events in whole for event in events)
        assert await query.count_events(types=kind) == expected
    page = await query.search_sessions(tags=["pinned"], limit=1000, with_total=True)
    assert {session.id for session in page.sessions} == {session.id for session, *_ in whole if session.tags}
    stored = await query.search_events(session_ids=whole[0][0].id, limit=1000)
    assert [event.data for event in stored.events] == [event.data for event in whole[0][2]]


async def prune(query: QueryAPI, whole: list[tuple[Session, Run, list[Event]]]) -> None:
    """Keep three events of each session; pinned ones keep all of theirs."""
    policy = RetentionPolicy(max_events_per_session=3)
    expected = sum(max(0, len(events) - 3) for session, _, events in whole if not session.tags)
    planned = await Maintenance().execute(policy, dry_run=True)
    report = await Maintenance().execute(policy)
    assert (planned.events_pruned, report.events_pruned, report.errors) == (expected, expected, [])
    for session, _, events in whole:
        left = (await query.search_events(session_ids=session.id, limit=1000)).events
        assert [event.id for event in left] == [event.id for event in (events if session.tags else events[-3:])]
    assert await Maintenance().health_check() == []
