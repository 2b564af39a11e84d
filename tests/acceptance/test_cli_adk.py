"""`jido-tortoise adk ...` as a user sees it: what it prints, what it changes, and how it ends."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jido_tortoise.adk import AdkSessionStore, Blob, Content, Event, FunctionCall, Part
from jido_tortoise.cli import program
from jido_tortoise_testing.postgres import fresh_database
from tests.acceptance.terminals import on_terminal
from tests.conftest import opened

Run = Callable[..., tuple[int, str, str]]
GOOGLE = "sqlite+aiosqlite:///google.db"


async def _fill() -> None:
    from google.adk.events import Event, EventActions
    from google.adk.sessions import DatabaseSessionService
    from google.genai import types

    async with DatabaseSessionService(GOOGLE) as service:
        for user in ("ann", "bob"):
            session = await service.create_session(app_name="shop", user_id=user, session_id="s1", state={"app:a": 1})
            for n in range(3):
                content = types.Content(role="user", parts=[types.Part(text=f"say {n}")])
                actions = EventActions(state_delta={"n": n})
                more = {"author": "user", "invocation_id": f"i{n}", "timestamp": 1.7e9 + n}
                await service.append_event(session, Event(content=content, actions=actions, **more))


@pytest.fixture(scope="module")
def google_db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a database that google-adk has made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("google"))
        asyncio.run(_fill())
        return Path("google.db").resolve()


@pytest.fixture(params=["sqlite", "postgres"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Name an empty database."""
    if request.param == "sqlite":
        yield f"sqlite://{tmp_path / 'ours.db'}"
        return
    with fresh_database(request.getfixturevalue("pg_server")) as url:
        yield url


@pytest.fixture
def run(db: str, capsys: pytest.CaptureFixture[str], google_db: Path, tmp_path: Path, monkeypatch: Any) -> Run:
    """Run a command on it, beside a copy of google-adk's database."""
    monkeypatch.chdir(tmp_path)
    Path("google.db").write_bytes(google_db.read_bytes())

    def call(*arguments: str) -> tuple[int, str, str]:
        code = program.main(["adk", *arguments, "--db", db])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_import_and_look_and_clean_up(run: Run) -> None:
    """From the first import to the last deletion."""
    assert run("import", "--from", GOOGLE) == (0, "imported from schema v1: 2 sessions, 6 events, 3 states\n", "")
    code, out, _ = run("import", "--from", GOOGLE)
    assert (code, out.splitlines()[1:]) == (0, ["here already, with nothing new: 2 sessions"])

    code, out, err = run("list", "shop", "--limit", "1")
    assert (code, out.split()) == (0, ["user", "session", "rev", "updated", "bob", "s1", "3", *out.split()[7:]])
    cursor = err.split("--after ")[1].strip()
    code, out, _ = run("list", "shop", "--after", cursor, "--json")
    assert [one["user"] for one in json.loads(out)["sessions"]] == ["ann"]

    code, out, _ = run("show", "shop", "ann", "s1", "--events", "2")
    assert (code, out.splitlines()[0]) == (0, "'s1' of 'ann', 3 events ever")
    assert "say 1" in out
    assert "say 0" not in out
    shown = json.loads(run("show", "shop", "ann", "s1", "--json")[1])
    assert (shown["rev"], shown["state"], len(shown["events"])) == (3, {"app:a": 1, "n": 2}, 3)

    assert run("delete", "shop", "ann", "s1", "--invocation", "i1") == (0, "deleted: events 1\n", "")
    rules = ("prune", "shop", "--keep-events", "1")
    assert run(*rules, "--dry-run") == (0, "to delete: 0 sessions, 3 events\n", "")
    assert json.loads(run(*rules, "--json")[1]) == {"sessions": 0, "events": 3, "dry_run": False}
    assert run("delete", "shop", "ann", "s1") == (0, "deleted: session s1\n", "")
    assert run("delete", "shop", "ann", "s1")[0] == 1
    assert run("prune", "shop", "--sessions-before", "2030-01-01") == (0, "deleted: 1 sessions, 1 events\n", "")


def test_bad_rows_are_a_problem(run: Run) -> None:
    """The exit code says so, stderr names them, and JSON has them."""
    with closing(sqlite3.connect("google.db")) as raw, raw:
        raw.execute("UPDATE events SET event_data = 'nonsense' WHERE user_id = 'ann' AND invocation_id = 'i1'")
    code, out, err = run("import", "--from", GOOGLE, "--json")
    found = json.loads(out)
    assert (code, found["sessions"], found["events"], found["bad_rows"]) == (1, 2, 5, 1)
    (bad,) = found["bad"]
    assert (bad["table"], bad["key"][:3]) == ("events", ["shop", "ann", "s1"])
    assert err.startswith("not imported: events ('shop', 'ann', 's1', '")


def test_an_import_is_repeated(run: Run) -> None:
    """What is new comes; a session that has gone its own way is named on stderr, and counted."""
    run("import", "--from", GOOGLE)
    run("delete", "shop", "bob", "s1", "--invocation", "i1")
    with closing(sqlite3.connect("google.db")) as raw, raw:
        raw.execute(
            "INSERT INTO events (id, app_name, user_id, session_id, invocation_id, timestamp, event_data)"
            " SELECT 'new', app_name, user_id, session_id, 'i9', '2030-01-01 00:00:00', '{}' FROM events"
            " WHERE invocation_id = 'i0' GROUP BY user_id"
        )
    code, out, err = run("import", "--from", GOOGLE)
    assert (code, out.splitlines()) == (
        0,
        [
            "imported from schema v1: 0 sessions, 1 events, 3 states",
            "here already, brought up to the source: 1 sessions",
            "have gone their own way here, left as they are: 1 sessions",
        ],
    )
    assert err.startswith("has gone its own way here: ('shop', 'bob', 's1'): events of it were deleted here; ")
    found = json.loads(run("import", "--from", GOOGLE, "--json")[1])
    assert (found["events"], found["continued"], found["already"], found["diverged"]) == (0, 0, 1, 1)
    (apart,) = found["apart"]
    assert apart["key"] == ["shop", "bob", "s1"]
    assert f"{apart['missing']} events of the source are not here" in err


def test_mistakes(run: Run) -> None:
    """A source that is none and rules that are none are exit code 2."""
    assert run("import", "--from", "sqlite:///no.db")[0] == 2
    code, _, err = run("prune", "shop")
    assert code == 2
    assert "sessions_before, keep_sessions" in err


async def _store(db: str) -> None:
    async with opened(db, families=("adk",)) as database:
        store, who = AdkSessionStore(), {"app_name": "shop", "user_id": "ann"}
        session = await store.create(**who, session_id="s1", state={"n": float("nan"), "m": {(1, 2): b"x"}})
        await store.create(**who, session_id="s2")
        content = Content("model", [Part("hello"), Part(function_call=FunctionCall("price", {"of": (1, 2)}))])
        await store.append_event(session, Event(author="shop", invocation_id="i", content=content))
        await store.append_event(session, Event(content=Content(parts=[Part(inline_data=Blob(b"x"))])))
        await database.client.execute_script("""
            UPDATE adk_sessions SET state = '[]' WHERE id = 's2';
            INSERT INTO adk_app_states (app_name, state, updated_at)
            SELECT app_name, '{"size": {"$jido:enum": ["not imported", "S"]}}', updated_at
            FROM adk_sessions WHERE id = 's1'
        """)


def test_sessions_are_shown_as_they_are_stored(run: Run, db: str) -> None:
    """What JSON lacks is told by its tag, an object of an unknown class too; a malformed session can be deleted."""
    asyncio.run(_store(db))
    state = {
        "app:size": {"$jido:enum": ["not imported", "S"]},
        "n": {"$jido:float": "nan"},
        "m": {"$jido:map": [[{"$jido:tuple": [1, 2]}, {"$jido:bytes": "eA=="}]]},
    }
    code, out, _ = run("show", "shop", "ann", "s1", "--json")
    shown = json.loads(out)
    assert (code, shown["rev"], shown["state"], [one["seq"] for one in shown["events"]]) == (0, 2, state, [0, 1])
    assert shown["events"][0]["content"]["parts"][1]["function_call"]["args"] == {"of": {"$jido:tuple": [1, 2]}}
    code, out, _ = run("show", "shop", "ann", "s1")
    assert (code, [line.split()[2:] for line in out.splitlines()[-2:]]) == (
        0,
        [["shop", "i", "hello", "price(...)"], ["..."]],
    )

    code, _, err = run("show", "shop", "ann", "s2")
    assert (code, "adk_sessions ('shop', 'ann', 's2'): the state is malformed" in err) == (1, True)
    assert run("delete", "shop", "ann", "s2") == (0, "deleted: session s2\n", "")
    assert run("delete", "shop", "ann", "s2")[0] == 1


def test_an_import_loads_nothing_of_google(run: Run, db: str) -> None:
    """The program works where google-adk and SQLAlchemy are not installed."""
    program = (
        "import sys; sys.modules['google'] = sys.modules['sqlalchemy'] = None;"
        "from jido_tortoise.cli.program import main; raise SystemExit(main())"
    )
    command = [sys.executable, "-c", program, "adk", "import", "--from", GOOGLE, "--db", db]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, "imported from schema v1: 2 sessions, 6 events, 3 states\n"), ran.stderr


@pytest.mark.parametrize("with_rich", [True, False])
@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
def test_a_terminal_sees_a_bar(run: Run, db: str, with_rich: bool) -> None:
    """By rich when it is there, by hand when not."""
    program = "from jido_tortoise.cli.program import main; raise SystemExit(main())"
    if not with_rich:
        program = "import sys; sys.modules['rich'] = sys.modules['rich.console'] = None; " + program
    shown = on_terminal([sys.executable, "-c", program, "adk", "import", "--from", GOOGLE, "--db", db])
    assert ("━" in shown) is with_rich
    assert ("[########################] 2 of 2 sessions" in shown) is not with_rich
    assert "imported from schema v1: 2 sessions, 6 events, 3 states" in shown
