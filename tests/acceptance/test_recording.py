"""Conversations recorded on one database, moved to the other, and retained there: all of it seen against the input."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jido_tortoise import seams
from jido_tortoise.demo.run import OWN_TRANSCRIPTS
from jido_tortoise.doctor import SQLITE_PARAMETERS
from jido_tortoise.errors import JidoError
from jido_tortoise.recording import (
    FileArtifactStore,
    Maintenance,
    QueryAPI,
    RetentionPolicy,
    SessionManager,
    SessionStore,
    import_sessions,
)
from jido_tortoise.recording.providers import ScriptedProvider
from jido_tortoise.recording.providers.openai import rendered
from tests.acceptance.conversing import Talk, messages_of, record_all, talks_of
from tests.conftest import opened

#: The 120 real conversations of tau-bench (github.com/sierra-research/tau-bench), or any others: they take 20 seconds,
#: so that only who names the file has them recorded.
_REAL = os.environ.get("JIDO_TEST_TRANSCRIPTS", "")
_NEEDS_REAL = pytest.mark.skipif(not _REAL, reason="JIDO_TEST_TRANSCRIPTS names a file of real conversations")
#: Events that retention leaves to a session.
_MOST = 8


@pytest.fixture
def urls(pg_url: str, tmp_path: Path) -> dict[str, str]:
    """Give the URL of an empty database by dialect; that of SQLite as the guide recommends it."""
    return {"sqlite": f"sqlite://{tmp_path / 'agents.db'}?{SQLITE_PARAMETERS}", "postgres": pg_url}


@asynccontextmanager
async def database(url: str) -> AsyncIterator[SessionStore]:
    """Open a database with the tables of recording."""
    async with opened(url, families=("recording",)):
        yield SessionStore()


@pytest.mark.parametrize(("source", "target"), [("sqlite", "postgres"), ("postgres", "sqlite")])
@pytest.mark.parametrize(
    "file", [pytest.param(OWN_TRANSCRIPTS, id="ours"), pytest.param(Path(_REAL), id="tau-bench", marks=_NEEDS_REAL)]
)
async def test_conversations(file: Path, source: str, target: str, urls: dict[str, str], tmp_path: Path) -> None:
    """What was said is found message by message and added up: where it was recorded, moved to, and archived."""
    talks = talks_of(file)
    export = tmp_path / "sessions.jsonl"
    async with database(urls[source]) as store:
        await record_all(SessionManager(store), talks)
        await check(store, talks)
        before = await export_all(talks, export)
    async with database(urls[target]) as store:
        with export.open(encoding="utf-8") as lines:
            done = await import_sessions(lines)
        kinds = Counter(line["record"] for line in map(json.loads, before))
        assert (done.sessions, done.runs, done.events) == (kinds["session"], kinds["run"], kinds["event"])
        await check(store, talks)
        assert await export_all(talks, tmp_path / "again.jsonl") == before
        await retain(store, talks, FileArtifactStore(tmp_path / "archive"))


async def export_all(talks: Iterable[Talk], file: Path) -> list[str]:
    """Export the sessions of conversations to a file; answer its lines, in one form for both databases."""
    with file.open("w", encoding="utf-8") as out:
        for talk in talks:
            async for line in QueryAPI().export_session(talk.id, include_artifacts=True):
                out.write(line + "\n")
    with file.open(encoding="utf-8") as lines:
        return [canonical(line) for line in lines]


def canonical(line: str) -> str:
    """Answer a line with the keys of its objects in order: jsonb has one of its own."""
    return json.dumps(json.loads(line), sort_keys=True)


# -- against the input ---------------------------------------------------------------------------------------------


async def check(store: SessionStore, talks: list[Talk]) -> None:
    """See that the database holds the conversations, and finds and adds up what Python does."""
    for talk in talks:
        await check_talk(store, talk)
    await check_searches(talks)
    await check_sums(talks)


async def check_talk(store: SessionStore, talk: Talk) -> None:
    """See that a session tells its conversation, message by message, and its runs what was used."""
    session, events = await store.get_session(talk.id), await store.get_events(talk.id)
    runs = await store.list_runs(talk.id)
    assert (session.status, session.agent_id, [*session.tags]) == (talk.ended, talk.agent_id, talk.tags)
    assert session.metadata == {**talk.metadata, "provider": talk.provider}
    assert [event.sequence_number for event in events] == [*range(1, len(events) + 1)]
    told = messages_of(events)
    for at, (message, expected) in enumerate(zip(told, talk.messages, strict=True)):
        assert message == expected, f"message {at} of {talk.id}"
    assert [run.status for run in runs] == ["completed"] * len(talk.turns)
    for run, (start, end) in zip(runs, talk.turns, strict=True):
        assert run.input == {"messages": [talk.messages[start]]}
        mine = [event for event in events if event.run_id == run.id]
        assert messages_of(mine) == talk.messages[start:end]


async def check_searches(talks: list[Talk]) -> None:
    """See that sessions are found by agent, tags and status, page by page, and by nothing else."""
    for wanted in (
        {"agent_id": "guide"},
        {"tags": ["pinned"]},
        {"tags": ["paid", "pinned"], "agent_id": "porter"},
        {"status": ["failed"]},
        {"status": "completed", "provider": "openai"},
        {"tags": []},
    ):
        assert await found(**wanted) == sorted(talk.id for talk in talks if passes(talk, **wanted)), wanted


def passes(talk: Talk, **wanted: Any) -> bool:
    """Tell whether a conversation is one that is searched for."""
    status = wanted.get("status", talk.ended)
    same = all(getattr(talk, name) == wanted[name] for name in ("agent_id", "provider") if name in wanted)
    tags = wanted.get("tags")
    return (
        same
        and talk.ended in ([status] if isinstance(status, str) else status)
        and (tags is None or (tags != [] and set(tags) <= set(talk.tags)))
    )


async def found(**wanted: Any) -> list[str]:
    """Search for sessions in small pages; answer the ids of all, sorted."""
    ids: list[str] = []
    cursor, more = None, True
    while more:
        page = await QueryAPI().search_sessions(**wanted, limit=7, with_total=True, cursor=cursor)
        ids += [session.id for session in page.sessions]
        cursor, more = page.cursor, page.has_more
    assert page.total_count == len(ids)
    return sorted(ids)


async def check_sums(talks: list[Talk]) -> None:
    """See that tokens, runs and events are as many as the input makes them."""
    expected: Counter[Any] = Counter()
    for talk in talks:
        for given, answered in talk.tokens:
            expected += Counter({(talk.provider, "in"): given, (talk.provider, "out"): answered})
        expected[talk.provider] += len(talk.turns)
    summary = await QueryAPI().get_usage_summary()
    sums = {
        name: (one.input_tokens, one.output_tokens, one.total_tokens, one.run_count)
        for name, one in summary.by_provider.items()
    }
    assert sums == {
        name: (
            expected[name, "in"],
            expected[name, "out"],
            expected[name, "in"] + expected[name, "out"],
            expected[name],
        )
        for name in {talk.provider for talk in talks}
    }
    assert summary.total_tokens == sum(given + answered for talk in talks for given, answered in talk.tokens)
    calls = sum(len(message.get("tool_calls") or ()) for talk in talks for message in talk.messages)
    assert await QueryAPI().count_events(types="tool_call_started") == calls


# -- retention -----------------------------------------------------------------------------------------------------


async def retain(store: SessionStore, talks: list[Talk], archive: FileArtifactStore) -> None:
    """See that in the end what was pinned is there, message by message, and all else in the archive."""
    policy = RetentionPolicy(max_events_per_session=_MOST, archive_before_prune=True, archive_store=archive)
    pinned = [talk for talk in talks if "pinned" in talk.tags]
    expired = [talk for talk in talks if talk not in pinned]
    excess = sum([await too_many(store, talk) for talk in expired])
    with later(days=91):
        planned = await Maintenance().execute(policy, dry_run=True)
        report = await Maintenance().execute(policy)
    assert (planned.sessions_soft_deleted, planned.events_pruned) == (len(expired), excess)
    assert (report.sessions_soft_deleted, report.events_pruned, report.errors) == (len(expired), excess, [])
    assert await found() == sorted(talk.id for talk in pinned)
    with later(days=91 + 31):
        report = await Maintenance().execute(policy)
    assert (report.sessions_hard_deleted, report.errors) == (len(expired), [])
    assert sorted(session.id for session in await store.list_sessions()) == sorted(talk.id for talk in pinned)
    await check(store, pinned)
    assert await Maintenance().health_check() == []
    archived = in_archive(archive)
    for talk in expired:
        assert messages_of(archived[talk.id]) == talk.messages, talk.id


def later(**span: float) -> Any:
    """Let time pass for the block."""
    moment = seams.now_ms() + timedelta(**span) // timedelta(milliseconds=1)
    return seams.replaced(now_ms=lambda: moment)


async def too_many(store: SessionStore, talk: Talk) -> int:
    """Count the events of a session that are to be pruned: those above the limit, as far as their types allow."""
    events = await store.get_events(talk.id)
    told = sum(event.type.startswith(("message_", "tool_call_", "token_")) for event in events)
    return min(told, max(0, len(events) - _MOST))


def in_archive(archive: FileArtifactStore) -> dict[str, list[Any]]:
    """Read all events of an archive, by their sessions and in the order of their numbers."""
    events: dict[str, dict[int, Any]] = {}
    for file in archive.root.iterdir():
        with file.open(encoding="utf-8") as lines:
            for record in map(json.loads, lines):
                if record["record"] == "event":
                    events.setdefault(record["session_id"], {})[record["sequence_number"]] = SimpleNamespace(**record)
    return {session_id: [mine[number] for number in sorted(mine)] for session_id, mine in events.items()}


# -- going on with it ------------------------------------------------------------------------------------------------


async def test_a_conversation_given_as_history(urls: dict[str, str]) -> None:
    """A provider is asked with all that was said, calls of tools included, now and when a later run replays it."""
    async with database(urls["sqlite"]) as store:
        manager = SessionManager(store)
        for talk in talks_of(OWN_TRANSCRIPTS)[:3]:
            provider = ScriptedProvider.saying("Yes", "Certainly")
            session = await manager.start_session("clerk")
            await manager.activate_session(session.id)
            for given in ({"messages": talk.messages}, "Really?"):
                run = await manager.start_run(session.id, given)
                await manager.execute_run(run.id, provider, continuation="replay")
            first, second = (parsed(rendered(request.messages)) for request in provider.requests)
            assert first == parsed(talk.messages)
            later = [{"role": "assistant", "content": "Yes"}, {"role": "user", "content": "Really?"}]
            assert second == [*first, *later]


def parsed(messages: list[Any]) -> list[Any]:
    """Answer messages with the arguments of calls as values, and without the names of tools in results."""
    found = json.loads(json.dumps(messages))
    for message in found:
        message.pop("name", None)
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return list(found)


# -- a damaged export ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["sqlite", "postgres"])
async def test_a_flipped_bit_is_found(target: str, urls: dict[str, str], tmp_path: Path) -> None:
    """Wherever it is, the import refuses it, or what was imported is not what was exported."""
    export, flips = tmp_path / "sessions.jsonl", random.Random(5)
    async with database(urls[target]) as store:
        talks = talks_of(OWN_TRANSCRIPTS)[:1]
        await record_all(SessionManager(store), talks)
        before = await export_all(talks, export)
        whole = export.read_bytes()
        for place in flips.sample(range(len(whole)), 60):
            await store.delete_session(talks[0].id)
            damaged = bytearray(whole)
            damaged[place] ^= 1 << flips.randrange(8)
            assert not await is_the_same(bytes(damaged), talks, before, tmp_path), (place, damaged[place])


async def is_the_same(damaged: bytes, talks: list[Talk], before: list[str], tmp_path: Path) -> bool:
    """Tell whether a damaged export comes through as if nothing were wrong; leave nothing behind."""
    try:
        await import_sessions(StringIO(damaged.decode()))
    except (JidoError, UnicodeDecodeError):
        return False
    try:
        return await export_all(talks, tmp_path / "again.jsonl") == before
    except JidoError:
        return False
    finally:
        for session in await SessionStore().list_sessions():
            await SessionStore().delete_session(session.id)
