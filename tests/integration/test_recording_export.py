"""Sessions as lines of JSON, and back into another database: the same, whole or not at all, in bounded memory."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jido_tortoise import codec
from jido_tortoise.errors import AlreadyExistsError, CorruptRowError, InvalidInputError, NotFoundError
from jido_tortoise.recording import Event, QueryAPI, SessionStore, exporting, import_sessions, importing
from jido_tortoise.recording.importing import Imported
from jido_tortoise.recording.models import AsmArtifact, AsmEvent, AsmRun, AsmSession, AsmSessionSequence
from jido_tortoise_testing.faults import Trial, cancel_everywhere, crash_everywhere
from tests.conftest import Database, opened
from tests.integration.recorded import at, run, store_them
from tests.many_records import store_many


@dataclass
class Ticket:
    """A class of the host's, whose objects stand in the data."""

    number: int


codec.register(Ticket, name="export-ticket")

ODD = {
    "bytes": b"\x00\xff",
    "at": datetime(2026, 1, 1, tzinfo=UTC),
    "big": 2**80,
    "nan-like": [1.0, 1, -0.0, 1e300],
    "nul": "a\0b",
    "backslash": "\\u0000",
    "$jido:key": {"$jido:bytes": "no tag"},
    "lines": "a\u2028b\nc\r",
    "ticket": Ticket(7),
    7: "a key that is no text",
}


async def store_odd_ones() -> None:
    """Store sessions with all that a row can hold."""
    store = SessionStore()
    await store_them(store)
    made = await store.get_session("s0")
    made = await store.save_session(made.changed(metadata={"odd": ODD}, context={"ticket": Ticket(1)}))
    await store.append_event(Event(type="turn_completed", session_id="s0", id="odd", data={"odd": ODD}))
    one = run("s0", "odd", 9, input={"odd": ODD}, output={}, error=None, turn_count=3, cost_usd=0.1 + 0.2)
    await store.save_run(one)
    for number in range(3):
        await artifact(f"a{number}", deleted_at=at(9) if number == 2 else None)
    # As a prune leaves it, and as a newer version might write it.
    await AsmEvent.filter(id__in=["e0", "e2"]).delete()
    await AsmSessionSequence.filter(session_id="s0").update(first_sequence=2, pruned=2)
    await AsmSession.filter(id="s0").update(status="archived")
    await AsmRun.filter(id="odd").update(status="resting")


async def artifact(id: str, **fields: Any) -> None:
    """Make a row of an artifact of s0."""
    content = {"byte_size": 1, "checksum_sha256": "0" * 64, "storage_backend": "file", "storage_ref": "x" * 300}
    await AsmArtifact.create(id=id, session_id="s0", key=id, metadata={"n": 1}, created_at=at(1), **content, **fields)


async def lines_of(session_id: str = "s0", **options: Any) -> list[str]:
    """Give the lines of an export."""
    return [line async for line in QueryAPI().export_session(session_id, **options)]


@pytest.mark.parametrize("direction", ["to PostgreSQL", "to SQLite"])
async def test_what_is_imported_is_what_was_exported(direction: str, pg_url: str, sqlite_url: str) -> None:
    """Q33: by the lines and by the values, from the one database to the other, artifacts too."""
    source, target = (sqlite_url, pg_url) if direction == "to PostgreSQL" else (pg_url, sqlite_url)
    options = {"include_artifacts": True}
    async with opened(source, families=("recording",)):
        await store_odd_ones()
        lines = [line for name in ("s0", "s1", "s4") for line in await lines_of(name, **options)]
        whole = await QueryAPI().export_session("s0", **options)
        sums = await QueryAPI().get_usage_summary(session_id=["s0", "s1"])
    assert [one.id for one in whole.artifacts or ()] == ["a0", "a1"]  # W21
    assert [event.sequence_number for event in whole.events] == [2, 4, 5, 6]
    assert whole.session.metadata["odd"] == ODD
    async with opened(target, families=("recording",)):
        assert await import_sessions(lines) == Imported(sessions=3, runs=5, events=7, artifacts=2)
        again = [line for name in ("s0", "s1", "s4") for line in await lines_of(name, **options)]
        assert [json.loads(line) for line in again] == [json.loads(line) for line in lines]
        assert await QueryAPI().export_session("s0", **options) == whole
        assert await QueryAPI().get_usage_summary(session_id=["s0", "s1"]) == sums
        # It goes on where it was.
        assert (await SessionStore().append_event(Event(type="message_sent", session_id="s0"))).sequence_number == 7
        assert (await import_sessions(lines, existing="skip")) == Imported(skipped=3)


async def test_a_session_that_is_not_there(recording_db: Database) -> None:
    """Q34: `session_not_found`, awaited or iterated."""
    with pytest.raises(NotFoundError) as caught:
        await QueryAPI().export_session("none")
    assert caught.value.reason == "session_not_found"
    with pytest.raises(NotFoundError):
        await lines_of("none")


async def test_what_comes_meanwhile_is_left_out(recording_db: Database) -> None:
    """An export that takes long still says at its end what it holds, and can be imported."""
    await store_them(SessionStore())
    lines: list[str] = []
    async for line in QueryAPI().export_session("s0"):
        lines.append(line)
        await SessionStore().append_event(Event(type="message_streamed", session_id="s0"))
    assert len(lines) == 1 + 3 + 5 + 1
    await SessionStore().delete_session("s0")
    assert (await import_sessions(lines)).events == 5


async def test_w28_memory_is_bounded(
    sqlite_db_of_recording: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the pages and batches, not by the session: out and in take a fraction of what the whole of it does."""
    monkeypatch.setattr(exporting, "_PAGE", 50)
    monkeypatch.setattr(importing, "_BATCH", 50)
    await store_many(sqlite_db_of_recording.client.execute_query, "sqlite", 1, 2_000)
    file = tmp_path / "session.jsonl"
    whole = await peak(lambda: whole_of("ses_1"))
    assert await peak(lambda: export_to(file)) < whole / 5
    assert len(file.read_text("utf-8").splitlines()) == 2_003
    await SessionStore().delete_session("ses_1")
    assert await peak(lambda: import_from(file)) < whole / 5
    assert await QueryAPI().count_events(session_ids="ses_1") == 2_000


@pytest.mark.parametrize("backend", ["sqlite-file", "postgres"])
async def test_an_import_is_whole_or_absent(recording_db: Database) -> None:
    """A fault at every statement, a cancellation at every await."""
    await store_them(SessionStore())
    lines = await lines_of("s0")

    async def absent(_: Trial) -> None:
        await SessionStore().delete_session("s0")

    async def operation(_: Trial) -> None:
        await import_sessions(lines)

    async def look(_: Trial) -> tuple[int, int, int]:
        sessions = await QueryAPI().search_sessions(tags="pinned")
        runs = await QueryAPI().search_runs(session_id="s0")
        return len(sessions.sessions), len(runs.runs), await QueryAPI().count_events(session_ids="s0")

    report = await crash_everywhere(operation, look, prepare=absent, connection="default")
    assert (report.before, report.after) == ((0, 0, 0), (1, 3, 5))
    await cancel_everywhere(operation, look, prepare=absent, connection="default")


@pytest.fixture
async def sqlite_db_of_recording(sqlite_url: str) -> Any:
    """Give a SQLite file with the tables of recording."""
    async with opened(sqlite_url, backend="sqlite-file", families=("recording",)) as database:
        yield database


async def peak(work: Callable[[], Any]) -> int:
    """Give the bytes that some work has taken at most."""
    tracemalloc.start()
    try:
        await work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def whole_of(session_id: str) -> None:
    """Read a session as one value."""
    await QueryAPI().export_session(session_id)


async def export_to(file: Path) -> None:
    """Write an export line by line."""
    with file.open("w", encoding="utf-8") as out:
        async for line in QueryAPI().export_session("ses_1"):
            out.write(line + "\n")


async def import_from(file: Path) -> None:
    """Read a file line by line."""
    with file.open(encoding="utf-8") as lines:
        await import_sessions(lines)


Change = Callable[[list[dict[str, Any]]], Any]


def changed(at: int, **fields: Any) -> Change:
    """Change fields of a record."""
    return lambda records: records[at].update(fields)


#: What is done to the records of an export (session, three runs, five events, end), and where it is found.
BROKEN: dict[str, tuple[Change, str]] = {
    "cut off": (lambda records: records.pop(), "lines"),
    "an event is missing": (lambda records: records.pop(5), "lines[9]"),
    "an event is missing at the end": (lambda records: records.pop(8), "lines[9]"),
    "more than is counted": (changed(9, artifactt=1), "lines[10]"),
    "no session": (lambda records: records.pop(0), "lines[1]"),
    "another format": (changed(0, format=2), "lines[1]"),
    "another column": (changed(1, mood="fine"), "lines[2]"),
    "no column": (lambda records: records[1].pop("status"), "lines[2]"),
    "no time": (changed(1, started_at="noon"), "lines[2].started_at"),
    "a damaged time": (changed(1, started_at="2026-01-02U03:04:05.000006+00:00"), "lines[2].started_at"),
    "no time zone": (changed(1, started_at="2026-01-01T00:00:00.000000"), "lines[2].run.started_at"),
    "no map": (changed(4, data=[1]), "lines[5].event.data"),
    "NUL": (changed(4, data={"a": ["\0"]}), "lines[5].data"),
    "of another session": (changed(4, session_id="s1"), "lines[5].session_id"),
    "beyond the counter": (changed(8, sequence_number=6), "lines[9].sequence_number"),
    "no number": (changed(8, sequence_number=None), "lines[9].sequence_number"),
    "no counter": (changed(0, counter={"last_sequence": 5}), "lines[1].counter"),
    "no revision": (changed(1, revision=0), "lines[2].revision"),
    "an unknown record": (changed(2, record="note"), "lines[3]"),
    "no id": (changed(0, id=""), "lines[1].session.id"),
}


async def test_bad_lines_are_refused_whole(recording_db: Database) -> None:
    """The line is named, and nothing of the session was written; the sessions before it stay."""
    store, query = SessionStore(), QueryAPI()
    await store_them(store)
    good = await lines_of("s0")
    other = await lines_of("s1")
    await store.delete_session("s0")
    for name, (change, path) in BROKEN.items():
        records = [json.loads(line) for line in good]
        change(records)
        await store.delete_session("s1")
        with pytest.raises(InvalidInputError) as caught:
            await import_sessions([*other, "", *(json.dumps(record) for record in records)])
        shift = len(other) + 1
        where = path if path == "lines" else path.replace("lines[", "").partition("]")
        expected = path if path == "lines" else f"lines[{int(where[0]) + shift}]{where[2]}"
        assert caught.value.path == expected, name
        assert await query.count_events(session_ids="s0") == 0
        assert [one.id for one in (await query.search_sessions(agent_id="clerk")).sessions] == ["s1", "s3"]
    for text in ("{", "[]", "7", '{"record": "session"}'):
        with pytest.raises(InvalidInputError):
            await import_sessions([text])
    for lines in ("{}", b"{}", 7, None):
        with pytest.raises(InvalidInputError, match="lines: expected an iterable of lines"):
            await import_sessions(lines)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="existing"):
        await import_sessions([], existing="overwrite")  # type: ignore[arg-type]


async def test_what_is_there_already_is_refused(recording_db: Database) -> None:
    """A session of that id, and an event of one that stands in another session; nothing is written twice."""
    await store_them(SessionStore())
    lines = await lines_of("s0")
    with pytest.raises(AlreadyExistsError) as caught:
        await import_sessions(lines)
    assert caught.value.session_id == "s0"
    moved = [line.replace('"s0"', '"copy"') for line in lines]
    with pytest.raises(AlreadyExistsError):
        await import_sessions(moved)
    assert (await QueryAPI().search_sessions()).sessions[-1].id == "s0"
    with pytest.raises(NotFoundError):
        await SessionStore().get_session("copy")


async def test_a_malformed_row_is_named(recording_db: Database) -> None:
    """An export does not write what nobody could read again."""
    await store_them(SessionStore())
    if recording_db.dialect == "postgres":
        pytest.skip("jsonb holds no malformed JSON")
    await recording_db.client.execute_query("UPDATE asm_runs SET metadata = '{' WHERE id = 'r1'")
    with pytest.raises(CorruptRowError) as caught:
        await lines_of("s0")
    assert (caught.value.table, caught.value.key) == ("asm_runs", "r1")
