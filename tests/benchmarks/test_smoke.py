"""The benchmarks run, tiny: every promise about speed is measured, and those that are counts are kept at any size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.__main__ import PLAN, main
from tests.tracing import traced

#: What each row of the promised table must show, by how its line begins and where it runs.
_PROMISED = [
    ("append 1, thread of", "PostgreSQL", 3),
    ("append 1, longest / shortest", "PostgreSQL", 1),
    ("append 1, statements", "PostgreSQL", 1),
    ("append 1, BEGIN", "PostgreSQL", 1),
    ("append 100, against the same rows raw", "PostgreSQL", 1),
    ("append 1, thread of", "SQLite FULL", 3),
    ("append 1, hops", "SQLite FULL", 1),
    ("hibernate +1, thread of", "PostgreSQL", 3),
    ("hibernate +1, entry rows read", "PostgreSQL", 1),
    ("hibernate +1, entry rows read", "SQLite FULL", 1),
    ("hibernate +1, statements", "PostgreSQL", 1),
    ("thaw of", "PostgreSQL", 1),
    ("thaw of", "SQLite FULL", 1),
    ("thaw, statements", "PostgreSQL", 1),
    ("thaw, statements", "SQLite FULL", 1),
    ("thaw beside a writer, torn of", "PostgreSQL", 1),
    ("64 appenders to one thread, failed", "PostgreSQL", 1),
    ("64 appenders to one thread, gaps", "PostgreSQL", 1),
    ("64 appenders to one thread, failed", "SQLite FULL", 1),
    ("64 appenders to one thread, gaps", "SQLite FULL", 1),
    ("iterate", "PostgreSQL", 1),
    ("iterate", "SQLite FULL", 1),
    ("record 1, session of", "PostgreSQL", 2),
    ("record 1, statements", "PostgreSQL", 1),
    ("record 100, statements", "PostgreSQL", 1),
    ("1,000 tokens streamed, statements", "PostgreSQL", 1),
    ("1,000 tokens streamed, statements", "SQLite FULL", 1),
    ("1,000 tokens streamed, acknowledged and not stored", "PostgreSQL", 1),
    ("1,000 tokens streamed, acknowledged and not stored", "SQLite FULL", 1),
    ("search page of", "PostgreSQL", 10),
    ("search page, tables read whole", "PostgreSQL", 1),
    ("usage of", "PostgreSQL", 1),
    ("usage of", "SQLite FULL", 1),
    ("prune of", "PostgreSQL", 1),
    ("prune of", "SQLite FULL", 1),
    ("append_event, session of", "PostgreSQL", 4),
    ("append_event, statements", "PostgreSQL", 1),
    ("append_event, 100 KB of state", "PostgreSQL", 1),
    ("append_event, session of", "SQLite FULL", 2),
    ("append_event, against S", "SQLite FULL", 1),
    ("append_event, session of", "SQLite advised", 2),
    ("TortoiseSessionService, append_event", "SQLite advised", 1),
    ("get_session of", "PostgreSQL", 1),
    ("get_session of", "SQLite FULL", 1),
    ("num_recent_events=20", "PostgreSQL", 1),
    ("num_recent_events=20", "SQLite FULL", 1),
    *(
        (work, database, 1)
        for database in ("PostgreSQL", "SQLite FULL")
        for work in (
            "TortoiseSessionService, append_event",
            "TortoiseSessionService, get_session of 10, against D",
            "TortoiseSessionService, get_session of 10, again after",
            "Runner's turn of 4 events, against",
            "Runner's turn of 4 events, with a cache",
            "first page of 100 sessions / of 10, of the app",
            "first page of 100 sessions / of 10, of a user",
        )
    ),
    ("import jido_tortoise", "", 1),
    ("server ready", "PostgreSQL, no disk", 1),
    ("sandbox, against tortoise_test_context", "SQLite memory", 1),
    ("cleaning, against BEGIN and ROLLBACK", "PostgreSQL, no disk", 1),
    ("10 tests", "SQLite memory", 1),
    ("10 tests", "PostgreSQL, no disk", 1),
    ("unused plugin", "", 2),
    ("history of", "", 1),
]
_CONTRASTS = ["idiomatic ORM", "rewritten", "asyncpg alone", "sqlite3 alone", "trigger", "telemetry hook"]
_CONTRASTS += ["the original's way", "nobody follows", "somebody follows", "5 at once"]


@pytest.fixture(scope="module")
def run(pg_server: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run them all once, with two rounds and threads of a hundredth of the length, on the server of the tests."""
    folder = tmp_path_factory.mktemp("bench")
    with traced(None):
        words = ["--quick", "--rounds", "2", "--scale", "0.01", "--server", pg_server, "--results", str(folder)]
        assert main(words) == 0
    (kept,) = Path(folder).iterdir()
    written: dict[str, Any] = json.loads(kept.read_text())
    return written


@pytest.mark.parametrize(("work", "database", "count"), _PROMISED, ids=lambda value: str(value).strip())
def test_every_promise_is_measured(run: dict[str, Any], work: str, database: str, count: int) -> None:
    """A row of the table that nobody measures any more would be a promise that nobody keeps."""
    found = [line for line in run["lines"] if line["work"].startswith(work) and line["database"] == database]
    assert len(found) == count
    assert [line["bound"] for line in found if line["bound"] is None] == []


@pytest.mark.parametrize("words", _CONTRASTS)
def test_what_others_would_do_is_shown_beside_it(run: dict[str, Any], words: str) -> None:
    """Contrasts and costs stand in the table, without a bound."""
    assert [line for line in run["lines"] if words in line["work"] and line["bound"] is None] != []


def test_counts_are_kept_at_any_size(run: dict[str, Any]) -> None:
    """Statements, rows read, hops, failures, gaps and torn reads are no matter of how fast the machine is."""
    counts = [line for line in run["lines"] if line["ratio"] is None and line["bound"] is not None and not line["unit"]]
    assert len(counts) >= 14
    assert [line for line in counts if line["verdict"] != "ok"] == []


def test_samples_are_kept(run: dict[str, Any]) -> None:
    """Whoever doubts a median finds every round, and what the machine was."""
    compared = [line for line in run["lines"] if line["ratio"] is not None]
    assert min(len(samples) for line in compared for samples in line["samples"].values()) >= 1
    assert run["facts"]["postgres"].keys() >= {"fsync", "synchronous_commit", "full_page_writes"}
    assert run["facts"].keys() >= set(PLAN)


def test_one_work_on_one_place(capsys: pytest.CaptureFixture[str], pg_server: str, tmp_path: Path) -> None:
    """`--only` measures what it names and no more, and `--json` prints what the table would say."""
    words = ["--only", "sqlite-memory", "--only", "append", "--rounds", "2", "--scale", "0.001", "--json"]
    assert main([*words, "--server", pg_server, "--results", str(tmp_path)]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert {line["database"] for line in lines} == {"SQLite memory"}
    assert all("append 1" in line["work"] or line["work"].startswith("  (") for line in lines)
