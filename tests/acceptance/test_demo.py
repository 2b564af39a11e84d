"""The main job: conversations go through agents in three real processes, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jido_tortoise import codec
from jido_tortoise.cli import program, progress
from jido_tortoise.demo import run, transcripts
from jido_tortoise.demo.measure import Durations
from jido_tortoise.demo.run import OWN_TRANSCRIPTS, Plan, run_demo, shown_url
from jido_tortoise.demo.transcripts import BadLine, Conversation
from jido_tortoise.errors import InvalidInputError, JidoError, NotFoundError
from jido_tortoise_testing.postgres import run_sql
from tests import forking
from tests.acceptance.terminals import on_terminal

_ROOT = Path(__file__).parent.parent.parent
#: 120 real conversations of tau-bench (github.com/sierra-research/tau-bench), which are not a part of this repository.
_REAL = Path(
    os.environ.get("JIDO_TEST_TRANSCRIPTS")
    or _ROOT.parent / "shared" / "data" / "tau_bench_airline" / "trajectories.jsonl"
)
_TABLES = ("jido_checkpoints", "jido_threads", "jido_thread_entries")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """Give the URL of an empty database, once a dialect."""
    return str(request.getfixturevalue("pg_url" if request.param == "postgres" else "sqlite_url"))


def demo(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, which starts new interpreters for its stages."""
    return forking.run("-m", "jido_tortoise", "demo", *arguments, env={**os.environ, **environment})


class Silent:
    """Hears of everything that happens, and can do something before a stage begins."""

    def __init__(self, **before: Callable[[], object]) -> None:
        self.before = before
        self.heard: list[Any] = []

    def note(self, text: str) -> None:
        self.heard.append(text)

    def begin(self, stage: str) -> None:
        if stage in self.before:
            self.before[stage]()

    def progress(self, agents: int, share: float) -> None:
        assert share <= 1.0

    def end(self, agents: int) -> None:
        self.heard.append(agents)

    def skipped(self, line: int, reason: str) -> None:
        self.heard.append((line, reason))

    def difference(self, line: int | None, text: str) -> None:
        self.heard.append((line, text))


def execute(url: str, *statements: str) -> None:
    """Run statements behind the library's back."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite://"))) as connection, connection:
            for sql in statements:
                connection.execute(sql)
    else:
        for sql in statements:
            run_sql(url, sql)


def counts(url: str) -> list[int]:
    """Count the rows of our tables."""
    if not url.startswith("sqlite"):
        return [run_sql(url, f"SELECT count(*) FROM {table}")[0][0] for table in _TABLES]
    with closing(sqlite3.connect(url.removeprefix("sqlite://"))) as connection, connection:
        found = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in _TABLES]
    return found


def write_lines(path: Path, *lines: Any) -> Path:
    """Write values as lines of JSON, and bytes as they are."""
    rows = [line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode() for line in lines]
    path.write_bytes(b"".join(row + b"\n" for row in rows))
    return path


# -- the whole ----------------------------------------------------------------------------------------------------


def test_the_demo_of_its_own_conversations_loses_nothing(tmp_path: Path) -> None:
    """Without an argument it shows the main job, in three processes, and leaves nothing behind."""
    done = demo("--json", TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    messages = [len(json.loads(line)["messages"]) for line in OWN_TRANSCRIPTS.read_text("utf-8").splitlines()]
    assert report["ok"]
    assert [result["stage"] for result in report["processes"]] == ["begin", "finish", "compare"]
    assert len({result["pid"] for result in report["processes"]} - {os.getpid()}) == 3
    assert [result["entries"] for result in report["processes"]] == [
        sum((count + 1) // 2 for count in messages),
        sum(count // 2 for count in messages),
        sum(messages),
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("measured")
def test_it_runs_on_a_database_and_removes_its_agents(url: str) -> None:
    """In a database of somebody's it upgrades our tables first, says so, and takes its agents away again."""
    kept = demo("--db", url, "--keep", "--limit", "2")
    assert kept.returncode == 0, kept.stderr
    assert "partition demo-" in kept.stdout
    assert counts(url) == [2, 2, 18]
    done = demo("--db", url)
    assert done.returncode == 0, done.stderr
    assert "upgrading our tables in" in done.stderr
    assert "4 agents with 31 entries are stored as the file has them" in done.stdout
    assert counts(url) == [2, 2, 18]
    rows = [line.split() for line in done.stdout.splitlines()[:4]]
    assert rows[0][2:8] == ["agents", "entries", "bytes", "append", "hibernate", "thaw"]
    assert [row[0] for row in rows[1:]] == ["begin", "finish", "compare"]


@pytest.mark.skipif(not _REAL.is_file(), reason="needs tau-bench's transcripts; JIDO_TEST_TRANSCRIPTS names the file")
def test_real_conversations_lose_nothing(url: str) -> None:
    """120 conversations of a real agent, message by message, on both databases."""
    done = demo("--db", url, "--transcripts", _REAL, "--json")
    assert done.returncode == 0, done.stderr
    compared = json.loads(done.stdout)["processes"][-1]
    messages = [len(json.loads(line)["messages"]) for line in _REAL.read_text("utf-8").splitlines()]
    assert (compared["agents"], compared["entries"], compared["differing"]) == (120, sum(messages), 0)


def test_a_database_that_is_not_there_is_one_clear_line() -> None:
    """No traceback, exit code 3, and no password in the output."""
    done = demo("--db", "postgres://me:secret@localhost:1/none?password=secret")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "takes no connections" in done.stderr
    assert "secret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite://a.db", "sqlite://a.db"),
        ("postgres://u:p@w@h:1/d?x=1", "postgres://u@h:1/d?x=1"),
        ("asyncpg://h/d?password=p&x=1", "asyncpg://h/d?password=...&x=1"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    """What is printed ends up in logs and screenshots."""
    assert shown_url(url) == shown


# -- something is lost --------------------------------------------------------------------------------------------


_MORE = (
    "INSERT INTO jido_thread_entries (thread_id, seq, entry_id, at_ms, kind, payload, refs)"
    " SELECT thread_id, 4, 'one more', at_ms, kind, payload, refs FROM jido_thread_entries"
    " WHERE thread_id LIKE '%line-7' AND seq = 3; UPDATE jido_threads SET rev = 5 WHERE thread_id LIKE '%line-7'"
)
#: What is done to each line's agent behind the library's back, and how the difference is told.
_LOSSES = (
    (
        "UPDATE jido_thread_entries SET kind = 'massage' WHERE thread_id LIKE '%line-1' AND seq = 2",
        "message 2 is stored",
    ),
    ("DELETE FROM jido_thread_entries WHERE thread_id LIKE '%line-2' AND seq = 3", ""),
    ("DELETE FROM jido_checkpoints WHERE agent_id = 'line-3'", "NotFoundError"),
    ("DELETE FROM jido_threads WHERE thread_id LIKE '%line-4'", "MissingThreadError"),
    ("UPDATE jido_threads SET metadata = '{}' WHERE thread_id LIKE '%line-5'", "the metadata differ"),
    ("UPDATE jido_checkpoints SET data = {three messages} WHERE agent_id = 'line-6'", "the state is Heard(messages=3,"),
    (_MORE, "5 entries are stored of 4 messages"),
)


#: What JSON can hold and databases change: numbers, NUL, surrogates, our own tags, empty things.
_HARD = [
    {"role": "user", "content": "\u0000 \ud800 🙂 e\u0301", "n": [1, 1.0, 1e16, -0.0, 1e-300, 2**80, float("inf")]},
    {"$jido:bytes": "not ours", "": {}, "role": None, "b": [True, False, None, [], ""]},
    {},
]
_REPEATED = b'{"messages": [{"a": 1, "a": 2}], "messages": [], "x": {"$jido:type": "y"}}'


def test_whatever_is_lost_in_the_database_is_found(url: str, tmp_path: Path) -> None:
    """Each part of what is stored is compared, and told with its line; hard values beside it come back exactly."""
    conversation = {"messages": [{"role": "user", "content": str(n)} for n in range(4)], "topic": "tea"}
    hard = json.dumps({"messages": _HARD, "meta": _HARD}).encode()
    path = write_lines(tmp_path / "many.jsonl", *[conversation] * len(_LOSSES), _REPEATED, hard)
    is_sqlite = url.startswith("sqlite")
    three = "json_set(data, '$.state.messages', 3)" if is_sqlite else "jsonb_set(data, '{state,messages}', '3')"
    changes = [sql.replace("{three messages}", three) for change, _ in _LOSSES for sql in change.split("; ")]
    if is_sqlite:
        changes.insert(0, "DROP TRIGGER jido_thread_entries_never_change")
    else:  # an entry is changed by whoever may switch the guard off, and switches it on again
        switch = "ALTER TABLE jido_thread_entries {} TRIGGER USER"
        changes = [switch.format("DISABLE"), *changes, switch.format("ENABLE")]
    watcher = Silent(compare=lambda: execute(url, *changes))
    report = run_demo(Plan(db=url, transcripts=path, every=1), watcher)
    assert not report.ok
    assert [one["line"] for one in report.differences] == [1, 2, 3, 4, 5, 6, 7, None]
    for one, (_, text) in zip(report.differences, _LOSSES, strict=False):
        assert one["text"].startswith(text)
    assert report.differences[-1]["text"] == "8 agents are stored of 9 conversations in the file"
    assert report.processes[0]["entries"] + report.processes[1]["entries"] == 4 * len(_LOSSES) + len(_HARD)


def test_what_has_changed_in_the_files_is_found_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sqlite_url: str, tmp_path: Path
) -> None:
    """A bit of rust on the disk; a transcript that is read anew, where 1 and true are two things; a line turned bad.

    A script that runs the demo learns of it by its exit code, and a reader sees which lines they are.
    """
    stored, path = Path(sqlite_url.removeprefix("sqlite://")), tmp_path / "six.jsonl"
    write_lines(path, *[{"messages": [{"n": 1, "s": "abc"}], "topic": "tea"}] * 5, {"messages": [{"s": "rounder"}]})
    begin = progress.Display.begin

    def tampered(self: progress.Display, stage: str) -> None:
        if stage == "compare":
            lines = path.read_bytes().splitlines(keepends=True)
            lines[0] = lines[0].replace(b"abc", b"abd")
            lines[1] = lines[1].replace(b"tea", b"ten")
            lines[2] = lines[2].replace(b"1", b"true")
            lines[4] = b"[" + lines[4][1:]
            path.write_bytes(b"".join(lines))
            place = (kept := stored.read_bytes()).index(b"rounder")
            stored.write_bytes(kept[:place] + b"j" + kept[place + 1 :])
        begin(self, stage)

    monkeypatch.setattr(progress.Display, "begin", tampered)
    assert program.main(["demo", "--db", sqlite_url, "--transcripts", str(path)]) == 1
    printed = capsys.readouterr()
    assert "NOT stored as the file has them; skipped lines: 1" in printed.out
    told = [line.removeprefix(f"DIFFERS {path}") for line in printed.err.splitlines() if line.startswith("DIFFERS")]
    assert [line.partition(" as ")[0] for line in told] == [
        ", line 1: message 0 is stored",
        ", line 2: the metadata differ from the line's other keys",
        ", line 3: message 0 is stored",
        ", line 6: message 0 is stored",
        ": 6 agents are stored of 5 conversations in the file",
    ]


def test_a_process_that_is_killed_is_told_and_its_agents_removed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`kill -9` in the middle is no success, and leaves no agents in somebody's database."""
    real, started = subprocess.Popen, []

    def second_is_killed(*arguments: Any, **options: Any) -> Any:
        process = real(*arguments, **options)
        started.append(process)
        if len(started) == 2:
            process.kill()
        return process

    monkeypatch.setattr(subprocess, "Popen", second_is_killed)
    with pytest.raises(JidoError, match="'finish' ended with exit code -9") as caught:
        run_demo(Plan(db=url), Silent())
    assert caught.value.reason == "process_ended"
    assert len(started) == 2
    assert counts(url) == [0, 0, 0]


def test_a_process_that_does_not_end_when_told_is_killed(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo would else wait for ever, and whoever interrupted it too."""
    real, started = subprocess.Popen, []
    told = '{"what": "progress", "agents": 1, "end": 1}'
    deaf = f"import signal as s; s.signal(s.SIGTERM, s.SIG_IGN); print({told!r}, flush=True); s.pause()"

    class Interrupted(Silent):
        def progress(self, agents: int, share: float) -> None:
            raise KeyboardInterrupt

    def that_is_deaf(_: Any, **options: Any) -> Any:
        started.append(real([sys.executable, "-c", deaf], **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", that_is_deaf)
    monkeypatch.setattr(run, "_PATIENCE", 0.1)
    with pytest.raises(KeyboardInterrupt):
        run_demo(Plan(db=sqlite_url), Interrupted())
    assert [process.returncode for process in started] == [-signal.SIGKILL]


def test_an_error_in_a_process_is_told_as_what_it_is(sqlite_url: str) -> None:
    """The error keeps its class and reason on its way out of the process, and says where it was."""
    watcher = Silent(finish=lambda: execute(sqlite_url, "DELETE FROM jido_checkpoints"))
    with pytest.raises(NotFoundError, match="in the process 'finish': no checkpoint under") as caught:
        run_demo(Plan(db=sqlite_url), watcher)
    assert caught.value.reason == "not_found"


@pytest.mark.usefixtures("measured")
def test_interrupted_it_ends_quietly_and_tidies_up(url: str, tmp_path: Path) -> None:
    """Ctrl-C reaches the demo and its process: no traceback, exit code 130, no agents left."""
    path = write_lines(tmp_path / "long.jsonl", *[{"messages": [{"n": n}] * 20} for n in range(2000)])
    command = [sys.executable, "-m", "jido_tortoise", "demo", "--db", url, "--transcripts", str(path)]
    # A shell that runs us in its background has us ignore Ctrl-C, and whom we start, too.
    pipes: dict[str, Any] = {"preexec_fn": _hear_interrupts, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, start_new_session=True, text=True, **pipes) as process:
        deadline = time.monotonic() + 60
        while not _has_agents(url) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert counts(url) == [0, 0, 0]


def _hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _has_agents(url: str) -> bool:
    try:
        return counts(url)[0] > 0
    except Exception:  # the tables are not there yet
        return False


# -- bad input ----------------------------------------------------------------------------------------------------

_BAD = {
    "no JSON": (b"{nope", "not JSON: "),
    "no UTF-8": (b'{"messages": ["\xff"]}', "not JSON: 'utf-8' codec"),
    "a list": (b"[]", 'line: expected {"messages": [...]}, got a list'),
    "no messages": (b'{"a": 1}', "messages: expected a list, got nothing"),
    "messages no list": (b'{"messages": {}}', "messages: expected a list, got a dict"),
    "message no dict": (b'{"messages": [{}, 3]}', "messages[1]: expected an object, got a int"),
    "too deep": (b'{"messages": [{"a": ' + b"[" * 200 + b"]" * 200 + b"}]}", "messages[0].a"),
    "far too deep": (b"[" * 100_000, "nested too deeply"),
    "metadata too deep": (b'{"messages": [], "m": ' + b"[" * 200 + b"]" * 200 + b"}", "line.m"),
}


@pytest.mark.usefixtures("measured")
def test_bad_lines_are_named_skipped_and_counted(tmp_path: Path) -> None:
    """One bad line costs one line: it is told with file, line and reason; --strict makes it an exit code."""
    good = {"messages": [{"role": "user", "content": "hi"}]}
    path = write_lines(tmp_path / "mixed.jsonl", good, *[raw for raw, _ in _BAD.values()], b"", good)
    done = demo("--transcripts", path, "--json", "--strict")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["ok"]
    assert report["processes"][-1]["agents"] == 2
    assert report["processes"][-1]["skipped"] == len(_BAD)
    assert [(one["file"], one["line"]) for one in report["skipped"]] == [(str(path), n + 2) for n in range(len(_BAD))]
    for told, (_, reason) in zip(report["skipped"], _BAD.values(), strict=True):
        assert told["reason"].startswith(reason)
        assert f"skipped {path}, line {told['line']}: " in done.stderr


def test_a_file_of_bad_lines_alone_is_no_success(tmp_path: Path) -> None:
    """Nothing was lost since nothing was there: that is not what was asked for."""
    done = demo("--transcripts", write_lines(tmp_path / "bad.jsonl", b"nope"))
    assert done.returncode == 1
    assert "there is no conversation in the file; skipped lines: 1" in done.stdout


def _make_nothing(_: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_make_nothing, "No such file or directory"),
        (Path.mkdir, "which is a directory"),
        (Path.touch, "which is empty"),
        (os.mkfifo, "which is no regular file"),
    ],
    ids=["missing", "directory", "empty", "pipe"],
)
def test_what_is_no_transcript_file_is_refused(make: Callable[[Path], object], reason: str, tmp_path: Path) -> None:
    """Before any database is touched, with exit code 2 and the reason."""
    make(tmp_path / "file.jsonl")
    done = demo("--transcripts", tmp_path / "file.jsonl")
    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    """An error while reading is told like one before it."""
    with pytest.raises(InvalidInputError, match="--transcripts"):
        list(transcripts.read(tmp_path))


def test_a_byte_order_mark_and_windows_lines_do_no_harm(tmp_path: Path) -> None:
    """Files come from everywhere."""
    path = tmp_path / "windows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"messages": []}\r\n\r\n{"messages": [], "a": 1}')
    assert [(one.line, type(one)) for one in transcripts.read(path)] == [(1, Conversation), (3, Conversation)]


def test_a_line_that_is_too_long_is_passed_over_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is one huge line does not fill the memory, and the lines behind it are read."""
    monkeypatch.setattr(codec, "MAX_BYTES", 1000)
    path = write_lines(tmp_path / "long.jsonl", b"x" * 999, b"x" * 1000, b"x" * 5500, {"messages": []})
    reasons = [one.reason if isinstance(one, BadLine) else "good" for one in transcripts.read(path)]
    assert [reason[:9] for reason in reasons] == ["not JSON:", "longer th", "longer th", "good"]


def test_big_files_are_read_in_bounded_memory(tmp_path: Path) -> None:
    """Memory depends on the longest line, not on the file."""
    line = json.dumps({"messages": [{"role": "user", "content": "x" * 200}] * 50}).encode()
    path = write_lines(tmp_path / "big.jsonl", *[line] * 400)
    assert path.stat().st_size > 4_000_000
    tracemalloc.start()
    try:
        assert sum(isinstance(one, Conversation) for one in transcripts.read(path)) == 400
        assert tracemalloc.get_traced_memory()[1] < 400_000
    finally:
        tracemalloc.stop()


# -- what is shown ------------------------------------------------------------------------------------------------


def test_the_median_is_that_of_all_samples_to_one_per_cent() -> None:
    """The table shows what was measured, though no sample is kept."""
    samples = [(n * 7919 % 1000 + 1) / 1000 for n in range(1001)]
    durations = Durations()
    assert durations.median() is None
    for seconds in samples:
        durations.add(seconds)
    assert durations.median() == pytest.approx(statistics.median(samples), rel=0.01)


@pytest.mark.parametrize("with_rich", [True, False])
def test_a_terminal_sees_a_bar(with_rich: bool, tmp_path: Path) -> None:
    """By rich when it is there, by hand when not; a bad line does not disturb it."""
    path = write_lines(tmp_path / "some.jsonl", b"nope", {"messages": [{}]})
    program = "from jido_tortoise.cli.program import main; raise SystemExit(main())"
    if not with_rich:
        program = "import sys; sys.modules['rich'] = sys.modules['rich.console'] = None; " + program
    shown = on_terminal([sys.executable, "-c", program, "demo", "--transcripts", str(path)])
    assert ("━" in shown) is with_rich
    assert ("[########################] 1 agents" in shown) is not with_rich
    assert "line 1: not JSON" in shown
    assert "1 agents with 1 entries are stored as the file has them" in shown


def test_a_plan_is_a_value() -> None:
    """The defaults are those that the documentation names."""
    assert replace(Plan(), limit=3) == Plan(limit=3)
    assert (Plan().every, Plan().keep, Plan().transcripts) == (5, False, OWN_TRANSCRIPTS)
