"""`jido-tortoise recording` as a user sees it."""

from __future__ import annotations

import asyncio
import io
import json
import math
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from jido_tortoise import seams
from jido_tortoise.cli import output, program
from jido_tortoise.recording import Event, Session, SessionStore
from tests.conftest import opened
from tests.integration.recorded import run as made_run
from tests.integration.recorded import store_them, tokens

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Give a function that runs a command in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            code = program.main(["recording", *map(str, arguments)])
        except SystemExit as end:  # argparse's way out
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.mark.parametrize(
    ("given", "option"),
    [
        (("list", "--limit", 1001), "--limit"),
        (("list", "--limit", 0), "--limit"),
        (("show", "s", "--runs", -1), "--runs"),
        (("show", "s", "--events", 1001), "--events"),
        (("tail", "s", "-n", "1001"), "-n/--events"),
        (("tail", "s", "-n", "many"), "-n/--events"),
    ],
)
def test_a_number_that_is_none(run: Run, given: tuple[object, ...], option: str) -> None:
    """Is refused by the name of its option, before any database is asked."""
    code, _, err = run(*given, "--db", "sqlite://nowhere.db")
    assert code == 2
    assert f"argument {option}: expected a number from" in err


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """Give the URL of a database with the sessions of `recorded`."""
    url = str(request.getfixturevalue("pg_url" if request.param == "postgres" else "sqlite_url"))
    asyncio.run(_store(url))
    return url


async def _store(url: str) -> None:
    async with opened(url, families=("recording",)):
        await store_them(SessionStore())
        gpt = made_run("s3", "gpt", 2000, provider="openai", token_usage=tokens(1_000_000, 0))
        await SessionStore().save_run(gpt)


def execute(url: str, sql: str) -> None:
    """Run a statement behind the library's back."""

    async def work() -> None:
        async with opened(url, tables=False, families=("recording",)) as database:
            await database.client.execute_query(sql)

    asyncio.run(work())


def test_list(run: Run, url: str) -> None:
    """Filters, pages and JSON; what cannot be read is named, and the exit code says so."""
    code, out, err = run("list", "--db", url, "--tag", "paid", "--tag", "pinned")
    assert (code, out.split()[:5], err) == (0, ["id", "agent", "status", "tags", "updated"], "")
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [["s0", "clerk", "active"]]
    first = json.loads(run("list", "--db", url, "--limit", 3, "--json")[1])
    assert [one["id"] for one in first["sessions"]] == ["s1", "s3", "s2"]
    assert first["sessions"][0]["created_at"] == "2026-01-02T04:04:05.000006+00:00"
    rest = json.loads(run("list", "--db", url, "--limit", 3, "--after", first["next"], "--json")[1])
    assert ([one["id"] for one in rest["sessions"]], rest["next"]) == (["s0"], None)
    assert "there are more: --after" in run("list", "--db", url, "--limit", 1, "--deleted")[2]
    execute(url, "UPDATE asm_sessions SET tags = '7' WHERE id = 's1'")
    code, out, err = run("list", "--db", url)
    assert (code, len(out.splitlines()), "left out: asm_sessions 's1'" in err) == (1, 4, True)


def test_show(run: Run, url: str) -> None:
    """A session with its sums, runs and last events; objects of unknown classes are shown as they are stored."""
    other = '{"ticket": {"$jido:type": "of-nobody", "n": 1}}'
    execute(url, f"UPDATE asm_sessions SET metadata = '{other}' WHERE id = 's0'")
    code, out, _ = run("show", "s0", "--db", url, "--events", 2)
    assert code == 0
    for words in ("1,660 tokens (1,107 in, 553 out) with claude, codex", "of-nobody", "1 completed", "$0.2500"):
        assert words in out, words
    assert ("error_occurred" in out, "message_sent" in out) == (True, False)
    shown = json.loads(run("show", "s0", "--db", url, "--json")[1])
    assert shown["session"]["metadata"] == json.loads(other)
    assert (shown["stats"]["run_count"], [one["id"] for one in shown["runs"]]) == (3, ["r0", "r1", "r2"])
    assert [one["sequence_number"] for one in shown["events"]] == [1, 2, 3, 4, 5]
    assert run("show", "none", "--db", url)[0] == 1


def test_what_json_has_no_word_for() -> None:
    """Is printed as it stands in the database, where a command has it decoded: every line is JSON."""
    told = output.as_json({"n": [math.nan, 0.5], (1,): {math.inf: (-math.inf, None)}, "at": date(2026, 1, 2)})
    assert json.loads(told, parse_constant=pytest.fail) == {
        "n": [{"$jido:float": "nan"}, 0.5],
        "(1,)": {"inf": [{"$jido:float": "-inf"}, None]},
        "at": "2026-01-02",
    }


def test_json_is_printed_in_any_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the output's encoding lacks is spelled as JSON spells it."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    monkeypatch.setattr(output.sys, "stdout", stream)
    output.print_json({"name": "J\u00f6rg \U0001f600"})
    output.print_line(["J\u00f6rg"], stream)
    stream.seek(0)
    assert json.loads("".join(stream.readlines()[:3])) == {"name": "J\u00f6rg \U0001f600"}
    stream.seek(0)
    assert json.loads(stream.readlines()[3]) == ["J\u00f6rg"]


def test_tail(run: Run, url: str) -> None:
    """The last events in order, by type when asked for, as lines of JSON."""
    code, out, _ = run("tail", "s0", "-n", 2, "--db", url)
    assert (code, [line.split()[0] for line in out.splitlines()]) == (0, ["4", "5"])
    out = run("tail", "s0", "--type", "message_sent", "--json", "--db", url)[1]
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["e1"]
    assert run("tail", "none", "--db", url)[0] == 1
    assert run("tail", "s0", "--type", "nonsense", "--db", url)[0] == 2


@pytest.mark.parametrize("shown", [2, 0])
def test_tail_follows(url: str, shown: int, capsys: pytest.CaptureFixture[str]) -> None:
    """What is appended later is printed, each event once, until the reader stops."""
    pauses = 0

    async def pause(_: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 3:
            raise KeyboardInterrupt
        async with opened(url, tables=False, families=("recording",)):
            await SessionStore().append_event(Event(type="turn_completed", session_id="s0"))

    with seams.replaced(sleep=pause):
        code = program.main(["recording", "tail", "s0", "-f", "-n", str(shown), "--db", url])
    numbers = [int(line.split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert (code, numbers) == (130, [4, 5, 6, 7][2 - shown :])


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_tail_ends_with_its_session(run: Run, url: str, anew: bool, options: list[str]) -> None:
    """When the session is deleted, or another one has its id, it says so, and ends: the exit code is 1."""
    pauses = 0

    async def pause(_: float) -> None:
        nonlocal pauses
        pauses += 1
        assert pauses < 3, "it goes on for ever"
        async with opened(url, tables=False, families=("recording",)):
            store = SessionStore()
            if pauses == 1:
                await store.append_event(Event(type="turn_completed", session_id="s0"))
                return
            await store.delete_session("s0")
            if anew:
                await store.save_session(Session(id="s0", agent_id="clerk"))

    with seams.replaced(sleep=pause):
        code, out, err = run("tail", "s0", "-f", "-n", 1, "--db", url, *options)
    assert (code, err) == (1, "jido-tortoise: session 's0' was deleted\n")
    assert out.count("turn_completed") == 1
    assert ("session_not_found" in out) is bool(options)
    assert run("tail", "s4-never", "-f", "--db", url)[0] == 1


def test_export_and_import(run: Run, url: str, tmp_path: Path) -> None:
    """Out of one database, into another, and again: what is there is refused, or passed over."""
    file, target = tmp_path / "sessions.jsonl", f"sqlite://{tmp_path / 'other.db'}"
    assert run("export", "--deleted", "--artifacts", "-o", file, "--db", url)[0] == 0
    assert run("export", "-o", file, "--db", url)[0] == 2
    code, out, _ = run("import", file, "--db", target)
    assert (code, out.strip()) == (0, "sessions: 5, runs: 6, events: 8, artifacts: 0, skipped: 0")
    assert run("import", file, "--db", target)[0] == 1
    assert json.loads(run("import", file, "--skip-existing", "--json", "--db", target)[1])["skipped"] == 5
    one = [run("export", "s1", "--db", database)[1] for database in (url, target)]
    assert [*map(json.loads, one[0].splitlines())] == [*map(json.loads, one[1].splitlines())]
    (tmp_path / "bad").write_bytes(b"\xff\n")
    code, _, err = run("import", tmp_path / "bad", "--db", target)
    assert (code, "lines[1]" in err) == (2, True)
    assert run("import", tmp_path / "none", "--db", f"sqlite://{tmp_path / 'new.db'}")[0] == 2
    assert not (tmp_path / "new.db").exists()


def test_an_export_that_fails_leaves_no_file(run: Run, url: str, tmp_path: Path) -> None:
    """The lines of the sessions before the one that is not there go with it, and a file that was there stays."""
    file = tmp_path / "sessions.jsonl"
    assert run("export", "s1", "nobody", "-o", file, "--db", url)[0] == 1
    assert [*tmp_path.glob("*.jsonl*")] == []
    file.write_text("mine")
    assert run("export", "s1", "nobody", "-o", file, "--db", url)[0] == 2
    assert file.read_text() == "mine"


def test_usage_of_all_together(run: Run, url: str) -> None:
    """Told apart by nothing it is one row, which is the sum already; without a run it is nothing."""
    _, out, _ = run("usage", "--by", "", "--db", url)
    (_, row) = out.splitlines()
    assert row.split()[:5] == ["6", "1,001,117", "563", "1,001,680", "$0.2500"]
    _, out, _ = run("usage", "--by", "", "--until", "2026-01-01T00:00:00Z", "--db", url)
    assert out.splitlines()[1].split() == ["0", "0", "0", "0", "$0.0000"]


def test_usage(run: Run, url: str, tmp_path: Path) -> None:
    """Tokens and cost in order, with bars, a sum, and a word on what has no price."""
    code, out, err = run("usage", "--by", "provider", "--db", url)
    assert (code, out.split()[:6]) == (0, ["provider", "runs", "input", "output", "tokens", "cost"])
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["claude", "codex", "openai", "unknown", "total"]
    assert lines[3].endswith(("█" * 16, "#" * 16))
    assert lines[-1].split()[1:] == ["6", "1,001,117", "563", "1,001,680", "$0.2500"]
    assert "without a price" in err
    prices = tmp_path / "prices.json"
    prices.write_text('{"openai": {"input": 0.000001, "output": 0.1}, "codex": {"input": 1, "output": 0}}')
    found = json.loads(run("usage", "--by", "model,day", "--prices", prices, "--json", "--db", url)[1])["usage"]
    assert [(row["day"], row["model"]) for row in found][-1] == ("2026-01-03", "unknown")
    assert (found[-1]["cost_usd"], found[-1]["provider"]) == (1.0, None)
    assert (
        json.loads(run("usage", "--agent", "other", "--since", "2026-01-02", "--json", "--db", url)[1])["usage"][0][
            "run_count"
        ]
        == 1
    )
    assert json.loads(run("usage", "--until", "2026-01-01T00:00:00Z", "--json", "--db", url)[1]) == {"usage": []}
    for wrong in (("--by", "hour"), ("--prices", tmp_path / "none")):
        assert run("usage", *wrong, "--db", url)[0] == 2
    for moment in ("noon", "0001-01-01T00:00+14:00", "9999-12-31T23:00-14:00"):
        code, _, err = run("usage", "--since", moment, "--db", url)
        assert (code, "argument --since: expected a moment" in err) == (2, True)


def test_a_bar_is_drawn_as_the_output_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """To an eighth of a character in UTF-8, else with signs that every terminal has."""

    class Stream:
        encoding = "utf-8"

    monkeypatch.setattr(output.sys, "stdout", Stream())
    assert [output.bar(share, 4) for share in (0, 0.03, 0.5, 0.97, 1, 2)] == ["", "▏", "██", "███▉", "████", "████"]
    Stream.encoding = "ascii"
    assert [output.bar(share, 4) for share in (0, 0.5, 1)] == ["", "##", "####"]


def test_prune(run: Run, url: str, tmp_path: Path) -> None:
    """Nothing without a rule; a dry run prints what would go; what is exempt stays; events are archived before."""
    code, _, err = run("prune", "--db", url)
    assert (code, "say what is to go, by one of --unchanged-days" in err) == (2, True)
    rules = ("--db", url, "--unchanged-days", 1, "--deleted-days", 1, "--keep-events", 1, "--archive", tmp_path / "a")
    code, out, err = run("prune", *rules, "--dry-run")
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()[:-1]] == [
        ["soft_delete", "1", "s2"],
        ["soft_delete", "1", "s3"],
        ["soft_delete", "1", "s1"],
        ["hard_delete", "1", "s4"],
        ["prune", "1", "s1"],
    ]
    assert out.splitlines()[-1] == "would be: 3 sessions soft deleted, 1 sessions hard deleted, 1 events pruned"
    planned = json.loads(run("prune", *rules, "--dry-run", "--json")[1])
    assert (planned["dry_run"], len(planned["steps"]), planned["events_pruned"]) == (True, 5, 1)
    code, out, err = run("prune", *rules, "--batch", 1)
    assert (code, err) == (0, "")
    assert out == "done: 3 sessions soft deleted, 1 sessions hard deleted, 1 events pruned\n"
    assert len([*(tmp_path / "a").iterdir()]) == 2
    done = json.loads(run("prune", *rules, "--exempt-status", "completed", "--json")[1])
    assert (done["sessions_soft_deleted"], done["events_pruned"]) == (0, 0)  # s0 is pinned
    assert json.loads(run("show", "--db", url, "s0", "--json")[1])["stats"]["event_count"] == 5
    (tmp_path / "b").touch()
    broken = (
        "--db",
        url,
        "--keep-events",
        1,
        "--exempt-tag",
        "x",
        "--exempt-status",
        "failed",
        "--archive",
        tmp_path / "b",
    )
    code, out, err = run("prune", *broken)
    assert (code, out) == (1, "done: nothing\n")
    assert "failed: prune: session 's0': the folder of artifacts" in err
    assert run("prune", "--db", url, "--keep-events", 0)[0] == 2


def test_health(run: Run, url: str) -> None:
    """What is wrong is named, repaired where it can be, and told by the exit code."""
    execute(url, "UPDATE asm_session_sequences SET last_sequence = 9 WHERE session_id = 's0'")
    execute(url, "UPDATE asm_runs SET started_at = '2020-01-01 00:00:00.000000+00:00' WHERE id = 'r2'")
    code, out, _ = run("health", "--db", url)
    assert (code, "session 's0': 4 events are missing" in out, "stuck_run" in out) == (1, True, True)
    code, out, _ = run("health", "--db", url, "--repair", "--json")
    told = json.loads(out)
    assert ([one["reason"] for one in told["repaired"]], [one["reason"] for one in told["issues"]]) == (
        ["missing_events"],
        ["stuck_run"],
    )
    execute(url, "DELETE FROM asm_runs WHERE id = 'r2'")
    assert (code, run("health", "--db", url)) == (1, (0, "healthy\n", ""))
