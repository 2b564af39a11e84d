"""The command line as a user sees it: what it prints, what it changes, and how it ends."""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import jido_tortoise as jt
from jido_tortoise import doctor, seams
from jido_tortoise.cli import output, program
from jido_tortoise.cli import stored as stored_agents
from jido_tortoise.doctor import SQLITE_PARAMETERS
from jido_tortoise.schema.families import FAMILIES
from jido_tortoise_testing.postgres import fresh_database, run_sql
from tests import forking

_ROOT = Path(__file__).parent.parent.parent
_COMMANDS = (
    *("demo", "upgrade", "verify", "doctor"),
    *("migrations heads", "migrations history", "migrations location", "migrations vendor"),
    *("agents list", "agents show", "agents repair", "agents export"),
    *("adk list", "adk show", "adk prune", "adk delete", "adk import"),
    *("recording list", "recording show", "recording tail", "recording export", "recording import"),
    *("recording usage", "recording prune", "recording health"),
)


@dataclass
class Basket:
    """The state of the agents below; the command line does not know this class."""

    items: list[str] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)


class Buyer(jt.Agent[dict[str, Any]], agent_type="cli-buyer"):
    """Its checkpoint holds an object of a class that a program must register."""


jt.register(Basket, name="cli-basket")

Run = Callable[..., subprocess.CompletedProcess[str]]


def command(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    inherited = {name: value for name, value in os.environ.items() if name != "TORTOISE_ORM"}
    return forking.run("-m", "jido_tortoise", *arguments, cwd=cwd, env={**inherited, **environment})


@pytest.fixture(autouse=True)
def _without_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep a config of whoever runs the tests out of them."""
    monkeypatch.delenv("TORTOISE_ORM", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Give a function that runs a command in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            code = program.main([str(argument) for argument in arguments])
        except SystemExit as end:  # argparse's way out
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def run_json(run: Callable[..., tuple[int, str, str]]) -> Callable[..., Any]:
    """Give a function that runs a command with --json and answers what it printed."""
    return lambda *arguments: json.loads(run(*arguments, "--json")[1])


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """Give the URL of an empty database, once a dialect."""
    return str(request.getfixturevalue("pg_url" if request.param == "postgres" else "sqlite_url"))


@pytest.fixture
def stored(url: str) -> str:
    """Give the URL of a database with three agents and a checkpoint that is none."""
    asyncio.run(_store(url))
    return url


async def _store(url: str) -> None:
    config = {"connections": {"default": url}, "apps": jt.apps()}
    await jt.upgrade(config)
    clock = count(1_800_000_000_000)  # so that "oldest first" is one order
    with seams.replaced(now_ms=lambda: next(clock)):
        await _store_agents(url)


async def _store_agents(url: str) -> None:
    async with jt.Jido.connect(url) as jido:
        for id, partition in (("user-1", None), (7, None), ("user-1", "acme")):
            buyer = Buyer(id, {"basket": Basket(["tea"], {1})}, partition=partition)
            buyer.thread.extend([{"kind": "message", "payload": {"n": n, "basket": Basket()}} for n in range(12)])
            await jido.hibernate(buyer)
        await jido.storage.put_checkpoint("settings", {"a\x1b[31m": "\ud800"})


def execute(url: str, sql: str) -> None:
    """Run a statement behind the library's back."""
    if not url.startswith("sqlite"):
        run_sql(url, sql)
        return
    with closing(sqlite3.connect(url.removeprefix("sqlite://"))) as connection, connection:
        connection.execute(sql)


def thaw(url: str, id: Any) -> Buyer:
    """Thaw an agent, as its service would."""

    async def thaw() -> Buyer:
        async with jt.Jido.connect(url) as jido:
            return await jido.thaw(Buyer, id)

    return asyncio.run(thaw())


# -- the config ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "environment", "tool"),
    [
        (("-c", "settings.GOOD"), {"TORTOISE_ORM": "settings.BAD"}, "[tool.aerich]\ntortoise_orm = 'settings.BAD'"),
        ((), {"TORTOISE_ORM": "settings.GOOD"}, "[tool.aerich]\ntortoise_orm = 'settings.BAD'"),
        ((), {}, "[tool.aerich]\ntortoise_orm = 'settings.GOOD'"),
        ((), {}, "[tool.tortoise]\ntortoise_orm = 'settings.GOOD'\n[tool.aerich]\nlocation = './m'"),
        ((), {}, "[tool.aerich]\ntortoise_orm = 'inner.GOOD'\nsrc = 'src'"),
    ],
    ids=["option", "environment", "aerich", "tortoise", "src"],
)
def test_the_config_is_found(
    arguments: tuple[str, ...], environment: dict[str, str], tool: str, tmp_path: Path
) -> None:
    """By -c, else TORTOISE_ORM, else pyproject.toml as Aerich and Tortoise read it; in this order."""
    good = "import jido_tortoise as jt\nGOOD = {'connections': {'default': 'sqlite://app.db'}, 'apps': jt.apps()}\n"
    (tmp_path / "settings.py").write_text(good)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "inner.py").write_text(good)
    (tmp_path / "pyproject.toml").write_text(tool)
    done = command("upgrade", *arguments, cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "app.db").exists()


def test_without_a_config_the_ways_to_name_one_are_told(run: Any) -> None:
    """All of them, in one message."""
    code, _, errors = run("verify")
    assert code == 2
    assert all(way in errors for way in ("-c ", "TORTOISE_ORM", "[tool.aerich]", "[tool.tortoise]", "--db"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-c", "nothing.CONFIG"), "No module named 'nothing'"),
        (("-c", "settings"), "module.NAME"),
        (("-c", "json.dumps"), "not a Tortoise config"),
        (("--db", "nonsense"), "expected a database URL"),
        (("--db", "postgres://host:port/name"), "expected a database URL"),
        (("--db", "mysql://root@host/name"), "aiomysql"),
        (("--db", "sqlite://a.db", "-c", "settings.CONFIG"), "not allowed with"),
        (("--db", "sqlite://a.db", "--schema", "jido"), "which has no schemas"),
    ],
    ids=["module", "name", "value", "url", "port", "driver", "both", "schema"],
)
def test_a_config_that_cannot_be_used_is_told(arguments: tuple[str, ...], words: str, run: Any) -> None:
    """In one message without a traceback, with exit code 2, whichever command it was."""
    for name in ("upgrade", "verify"):
        code, _, errors = run(name, *arguments)
        assert code == 2
        assert words in errors
        assert "Traceback" not in errors


def test_a_pyproject_that_is_broken_is_told(run: Any, tmp_path: Path) -> None:
    """Its error names the file."""
    (tmp_path / "pyproject.toml").write_text("[tool")
    code, _, errors = run("verify")
    assert code == 2
    assert errors.startswith("jido-tortoise: pyproject.toml: ")


def test_a_model_module_that_is_missing_is_told(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in the host's own part of the config is not a crash of ours."""
    config = {"connections": {"default": "sqlite://a.db"}, "apps": {**jt.apps(), "shop": {"models": ["no.such"]}}}
    (tmp_path / "broken_settings.py").write_text(f"CONFIG = {config!r}")
    code, _, errors = run("verify", "-c", "broken_settings.CONFIG")
    assert code == 2
    assert "no.such" in errors


# -- how it ends --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["upgrade", "verify", "doctor", "agents list", "migrations history"])
def test_a_database_that_is_not_there_is_exit_code_3(name: str, run: Any) -> None:
    """A deployment may try again; it is not the config that is wrong."""
    code, printed, errors = run(*name.split(), "--db", "postgres://nobody@localhost:1/none")
    assert code == 3
    assert "takes no connections" in printed + errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("name", ["verify", "doctor", "agents list", "migrations history"])
def test_looking_at_a_database_file_does_not_make_it(name: str, run: Any, tmp_path: Path) -> None:
    """A misspelt path is told, rather than shown as an empty database."""
    code, _, errors = run(*name.split(), "--db", "sqlite://mispelt.db")
    assert code == 2
    assert "no database file mispelt.db" in errors
    assert list(tmp_path.iterdir()) == []


def test_an_error_as_json_is_json(run: Any) -> None:
    """A program that reads stdout learns what kind of error it was."""
    code, printed, _ = run("verify", "--json")
    error = json.loads(printed)["error"]
    assert (code, error["type"], error["reason"]) == (2, "ConfigError", "no_config")
    assert error["message"].startswith("no Tortoise config")


def test_debug_shows_where_an_error_came_from(run: Any) -> None:
    """Only then is there a traceback."""
    assert "Traceback" in run("verify", "--debug")[2]


@pytest.mark.parametrize("name", ["", "agents", "migrations", "nonsense", "demo --limit 0", "demo --every x"])
def test_a_wrong_call_is_exit_code_2(name: str, run: Any) -> None:
    """With a usage line, as argparse does."""
    code, _, errors = run(*name.split())
    assert code == 2
    assert errors.startswith("usage: ")


def test_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    """`jido-tortoise agents export | head -1` ends quietly, as programs do."""
    url = f"sqlite://{tmp_path}/agents.db"
    asyncio.run(_store(url))
    reader, writer = os.pipe()
    os.close(reader)
    line = [sys.executable, "-m", "jido_tortoise", "agents", "export", "--db", url]
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run(line, stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 141
    assert "Error" not in done.stderr


def test_every_text_can_be_printed(tmp_path: Path) -> None:
    """A terminal that has no such sign gets an escape, not a UnicodeEncodeError."""
    url = f"sqlite://{tmp_path}/agents.db"
    asyncio.run(_store(url))
    done = command("agents", "show", "settings", "--db", url, cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout


def test_version_and_help_say_what_they_should(run: Any) -> None:
    """The version is the installed one; the help names the exit codes."""
    assert run("--version")[1] == f"jido-tortoise {jt.__version__}\n"
    assert "3 the database" in run("--help")[1]
    for shown in (run("--help")[1], run("nothing")[2], run("demo", "--help")[1]):
        assert "stage" not in shown, "the demo's own processes are its own affair"


def test_every_command_is_documented() -> None:
    """The reference names each command and each of its options."""
    page = (_ROOT / "docs" / "reference" / "cli.md").read_text("utf-8")
    for name in _COMMANDS:
        assert f"`{name}`" in page or f"\n## {name}\n" in page, name
        for option in _options(name.split()):
            assert f"`{option}" in page, (name, option)
    assert sorted(_leaves(program.build_parser())) == sorted(_COMMANDS)


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found


def _leaves(parser: argparse.ArgumentParser, name: str = "") -> Iterator[str]:
    below = _subparsers(parser)
    if not below:
        yield name
    for word, one in below.items():
        yield from _leaves(one, f"{name} {word}".strip())


def _options(words: list[str]) -> Iterator[str]:
    parser = program.build_parser()
    for word in words:
        parser = _subparsers(parser)[word]
    for action in parser._actions:
        if action.help == argparse.SUPPRESS:
            continue
        yield from (option for option in action.option_strings if option.startswith("--") and option != "--help")


def test_nothing_optional_is_needed(tmp_path: Path) -> None:
    """upgrade, verify, demo and all others run with Tortoise and Aerich alone."""
    here = "--db sqlite://app.db"
    lines = [f"{name} {here}".split() for name in ("upgrade", "verify", "doctor", "migrations history", "agents list")]
    lines.append(["verify", "--db", "postgres://nobody@localhost/none"])
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['rich', 'orjson', 'asyncpg', 'pydantic', 'typer']))\n"
        "from jido_tortoise.cli.program import main\n"
        f"raise SystemExit([main(line) for line in {lines}] != [0, 0, 0, 0, 0, 2])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "jido-tortoise[asyncpg]" in done.stderr.splitlines()[-1]


def test_what_is_printed_cannot_steer_a_terminal() -> None:
    """Ids and payloads come from strangers."""
    assert output.clean("a\x1b[2Jb\nc\x9b\u202ed") == "a\\x1b[2Jb\nc\\x9b\\u202ed"


# -- upgrade and verify -------------------------------------------------------------------------------------------


def test_upgrade_makes_what_verify_asks_for(url: str, run: Any, run_json: Any) -> None:
    """First verify refuses and names the cure, then upgrade makes the tables, then both are content."""
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite://")).touch()
    code, _, errors = run("verify", "--db", url)
    assert code == 1
    assert "jido-tortoise upgrade" in errors
    code, printed, errors = run("upgrade", "--db", url)
    assert (code, printed) == (0, "jido_agents (default): 2 steps done\n")
    assert "jido_agents: 1_guards applied" in errors
    assert run("verify", "--db", url)[:2] == (0, "our tables are as this version needs them\n")
    assert run("upgrade", "--db", url)[1] == "jido_agents (default): is up to date\n"
    assert run_json("upgrade", "--db", url) == {
        "changed": False,
        "apps": [{"app": "jido_agents", "connection": "default", "schema": None, "applied": [], "adopted": []}],
    }
    assert run_json("verify", "--db", url) == {"ok": True}


def test_a_database_of_other_families(url: str, run: Any, run_json: Any) -> None:
    """A database that is named by --db has those that `--family` names, of which agents need be none."""
    chosen = ("--family", "adk", "--family", "recording", "--db", url)
    assert [one["app"] for one in run_json("upgrade", *chosen)["apps"]] == ["jido_adk", "jido_recording"]
    assert run_json("verify", *chosen) == {"ok": True}
    assert findings(run_json("doctor", *chosen))["our tables"]["level"] == "ok"
    assert {one["app"] for one in run_json("migrations", "heads", *chosen)["steps"]} == {"jido_adk", "jido_recording"}
    assert run_json("adk", "list", "shop", "--db", url)["sessions"] == []
    assert run("verify", "--db", url)[0] == 1  # the agents' are not there


def test_a_config_of_another_family(sqlite_url: str, run: Any, tmp_path: Path) -> None:
    """It says itself which it has; `verify` and `doctor` ask for no other."""
    config = f'{{"connections": {{"default": {sqlite_url!r}}}, "apps": jido_tortoise.apps("adk")}}'
    (tmp_path / "adk_settings.py").write_text(f"import jido_tortoise\nCONFIG = {config}\n")
    chosen = ("-c", "adk_settings.CONFIG")
    assert run("upgrade", *chosen)[1] == "jido_adk (default): 2 steps done\n"
    assert run("verify", *chosen)[0] == 0
    assert run("doctor", *chosen)[0] == 0
    execute(sqlite_url, "DROP TABLE adk_app_states")
    assert "there is no table adk_app_states" in run("verify", *chosen)[2]
    assert run("doctor", *chosen)[0] == 1
    for wrong in ((*chosen, "--family", "adk"), ("--db", sqlite_url, "--family", "nonsense")):
        code, _, errors = run("verify", *wrong)
        assert (code, "family" in errors) == (2, True)


def test_upgrade_can_use_a_schema_of_its_own(pg_url: str, run: Any, run_json: Any) -> None:
    """Beside a host's tables in public; the other commands look there too."""
    assert run("upgrade", "--db", pg_url, "--schema", "jido")[1] == "jido_agents (default, schema jido): 2 steps done\n"
    assert run("verify", "--db", pg_url)[0] == 1
    for name in ("verify", "agents list", "migrations history"):
        assert run(*name.split(), "--db", pg_url, "--schema", "jido")[0] == 0, name
    report = run_json("doctor", "--db", pg_url, "--schema", "jido")
    assert findings(report)["our tables"]["level"] == "ok"
    assert run("demo", "--db", pg_url, "--schema", "jido", "--limit", "1")[0] == 0


def test_fake_lists_steps_without_running_them(sqlite_url: str, run: Any) -> None:
    """For who has made the tables otherwise."""
    assert "jido_agents: 0_init faked" in run("upgrade", "--db", sqlite_url, "--fake")[2]
    assert run("verify", "--db", sqlite_url)[0] == 1


def test_a_foreign_table_is_named(sqlite_url: str, run: Any) -> None:
    """Somebody else's jido_threads is not used, and not changed."""
    execute(sqlite_url, "CREATE TABLE jido_threads (id INTEGER PRIMARY KEY, colour TEXT)")
    for name in ("upgrade", "verify"):
        code, _, errors = run(name, "--db", sqlite_url)
        assert code == 1
        assert "jido_threads is not ours" in errors


# -- migrations ---------------------------------------------------------------------------------------------------


def test_history_and_heads_tell_what_is_applied(url: str, run: Any, run_json: Any) -> None:
    """Before and after the upgrade; without a config they tell what there is."""
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite://")).touch()
    names = ["0_init", "1_guards"]
    for applied in (False, True):
        steps = run_json("migrations", "history", "--db", url)["steps"]
        assert [(one["step"], one["applied"]) for one in steps] == [(name, applied) for name in names]
        run("upgrade", "--db", url)
    assert [one["step"] for one in run_json("migrations", "heads", "--db", url)["steps"]] == ["1_guards"]
    shipped = run_json("migrations", "history")["steps"]  # of every family
    assert [one["applied"] for one in shipped] == [None, None] * len(FAMILIES)
    assert run("migrations", "heads", "--db", url)[1].splitlines()[1].split() == ["jido_agents", "1_guards", "1", "yes"]


def test_location_is_the_folder_that_aerich_needs(run: Any, run_json: Any) -> None:
    """`location/app` holds the files."""
    place = Path(run("migrations", "location")[1].strip())
    assert (place / "jido_agents" / "0_init.py").is_file()
    assert run_json("migrations", "location") == {"location": str(place)}


def test_vendor_writes_stubs_once(run: Any, run_json: Any, tmp_path: Path) -> None:
    """Into the host's own folder; a second time there is nothing to do, and a file of the host's is left alone."""
    written = run_json("migrations", "vendor", "mine", "--label", "agents")["written"]
    assert written == ["mine/agents/0_init.py", "mine/agents/1_guards.py"]
    assert run("migrations", "vendor", "mine", "--label", "agents")[1] == "nothing to write: all stubs are there\n"
    (tmp_path / "mine" / "agents" / "0_init.py").write_text("# the host's")
    assert run("migrations", "vendor", "mine", "--label", "agents")[0] == 2
    (tmp_path / "file").touch()
    assert run("migrations", "vendor", "file")[0] == 2
    asked = ("migrations", "vendor", "both", "--family", "agents", "--family", "adk")
    assert {Path(path).parts[-2] for path in run_json(*asked)["written"]} == {"jido_agents", "jido_adk"}
    assert run("migrations", "vendor", "both", "--family", "agentz")[0] == 2


# -- doctor -------------------------------------------------------------------------------------------------------


def findings(report: Any) -> dict[str, Any]:
    """Answer the findings by their topic."""
    return {one["topic"]: one for one in report["findings"]}


def test_doctor_advises_what_suits_sqlite(sqlite_url: str, run: Any, run_json: Any) -> None:
    """With Tortoise's defaults it gives advice; a URL that follows it has none left."""
    run("upgrade", "--db", sqlite_url)
    report = run_json("doctor", "--db", sqlite_url)
    assert report["ok"]
    advised = {topic for topic, one in findings(report).items() if one["level"] == "advice"}
    assert advised == {"synchronous", "busy_timeout", "journal_size_limit"}
    code, printed, _ = run("doctor", "--db", sqlite_url)
    assert code == 0
    assert f"add ?{SQLITE_PARAMETERS} to the URL" in printed
    better = findings(run_json("doctor", "--db", f"{sqlite_url}?{SQLITE_PARAMETERS}"))
    assert {one["level"] for one in better.values()} == {"ok"}
    assert better["our tables"]["found"] == "as this version needs them"


@pytest.mark.parametrize(
    ("parameters", "topic", "level"),
    [("synchronous=OFF", "synchronous", "problem"), ("journal_mode=DELETE", "journal_mode", "advice")],
)
def test_doctor_sees_dangerous_pragmas(parameters: str, topic: str, level: str, sqlite_url: str, run_json: Any) -> None:
    """A setting that may cost the file is a problem, one that costs time is advice."""
    Path(sqlite_url.removeprefix("sqlite://")).touch()
    assert findings(run_json("doctor", "--db", f"{sqlite_url}?{parameters}"))[topic]["level"] == level


def test_doctor_names_missing_tables_and_the_cure(url: str, run: Any, run_json: Any) -> None:
    """What verify says is a part of the report, and makes the exit code 1."""
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite://")).touch()
    found = findings(run_json("doctor", "--db", url))["our tables"]
    assert (found["level"], found["found"]) == ("problem", "schema_missing")
    assert "jido-tortoise upgrade" in found["cure"]
    assert run("doctor", "--db", url)[0] == 1


@pytest.fixture
def set_url(pg_server: str) -> Iterator[str]:
    """Give the URL of a database that goes with its settings: made read-only, it could not be emptied for the next."""
    with fresh_database(pg_server) as url:
        yield url


def test_doctor_reads_the_settings_of_postgres(set_url: str, run: Any, run_json: Any) -> None:
    """Isolation level, durability, access and pool, as they are for this role in this database."""
    run("upgrade", "--db", set_url)
    name = run_sql(set_url, "SELECT current_database()")[0][0]
    for setting in (
        "default_transaction_isolation = 'serializable'",
        "synchronous_commit = off",
        "default_transaction_read_only = on",
    ):
        run_sql(set_url, f'ALTER DATABASE "{name}" SET {setting}')
    found = findings(run_json("doctor", "--db", f"{set_url}&maxsize=1"))
    assert found["isolation"]["found"] == "serializable"
    assert found["fsync"]["level"] == "problem"  # as the server of the tests is run
    assert {topic: found[topic]["level"] for topic in ("isolation", "access", "synchronous_commit", "pool")} == {
        "isolation": "advice",
        "access": "problem",
        "synchronous_commit": "advice",
        "pool": "advice",
    }
    assert findings(run_json("doctor", "--db", f"{set_url}&maxsize=5000"))["pool"]["level"] == "problem"


def test_doctor_names_connections_that_are_not_part_of_a_transaction(tmp_path: Path, run_json: Any) -> None:
    """A host with two databases thinks that its transaction holds ours; only one of them can."""
    connections = {"default": "sqlite://a.db", "reports": "sqlite://b.db"}
    config = {"connections": connections, "apps": jt.apps(connection="reports")}
    (tmp_path / "two_settings.py").write_text(f"CONFIG = {config!r}")
    (tmp_path / "b.db").touch()
    found = findings(run_json("doctor", "-c", "two_settings.CONFIG"))["other connection"]
    assert (found["found"], found["level"]) == ("default", "advice")
    assert "'reports'" in found["cure"]


@pytest.mark.filterwarnings("ignore:Module .* has no models:RuntimeWarning")
def test_doctor_names_apps_that_have_our_models_in_vain(tmp_path: Path, run_json: Any) -> None:
    """Tortoise gives a model one app, and says of the second only that its module had none."""
    connections = {"default": "sqlite://a.db", "reports": "sqlite://b.db"}
    apps = jt.apps() | {"again": {"models": ["jido_tortoise.agents.models"], "default_connection": "reports"}}
    config = {"connections": connections, "apps": apps}
    (tmp_path / "again_settings.py").write_text(f"CONFIG = {config!r}")
    (tmp_path / "a.db").touch()
    found = findings(run_json("doctor", "-c", "again_settings.CONFIG"))["other app"]
    assert (found["found"], found["level"]) == ("again", "advice")
    assert "TortoiseStorage(connection='reports')" in found["cure"]


def test_doctor_lists_versions(sqlite_url: str, run_json: Any) -> None:
    """What a bug report needs."""
    Path(sqlite_url.removeprefix("sqlite://")).touch()
    found = findings(run_json("doctor", "--db", sqlite_url))
    assert found["jido-tortoise"]["found"] == jt.__version__
    assert {"python", "tortoise-orm", "aerich", "asyncpg", "orjson", "SQLite"} <= set(found)


async def test_doctor_in_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service may ask in its own context; a database in memory, and packages that are missing, are told."""

    def version(name: str) -> str:
        if name in ("orjson", "asyncpg", "aerich"):
            raise doctor.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(doctor, "version", version)
    async with jt.Jido.connect("sqlite://:memory:"):
        report = await doctor.examine()
    found = {one.topic: (one.found, one.level) for one in report.findings}
    assert found["file"] == ("in memory", "advice")
    assert found["orjson"] == ("not installed", "advice")
    assert found["asyncpg"] == ("not installed", "ok")
    assert found["aerich"] == ("not installed", "problem")
    assert not report.ok
    assert report.reachable


# -- agents -------------------------------------------------------------------------------------------------------


def test_list_shows_agents_oldest_first(stored: str, run: Any, run_json: Any) -> None:
    """Type, partition, id, revision and version; an id that is no text is told apart from one that is."""
    code, printed, _ = run("agents", "list", "--db", stored)
    assert code == 0
    rows = [line.split() for line in printed.splitlines()]
    assert rows[0] == ["type", "partition", "id", "rev", "version", "updated"]
    assert [row[:4] for row in rows[1:4]] == [
        ["cli-buyer", "user-1", "12", "1"],
        ["cli-buyer", "=7", "12", "1"],
        ["cli-buyer", "acme", "user-1", "12"],
    ]
    assert "key 'settings'" in printed
    listed = run_json("agents", "list", "--db", stored)
    assert [one["id"] for one in listed["agents"]] == ["user-1", 7, "user-1", None]
    assert listed["agents"][0]["key"] == {"$jido:tuple": ["cli-buyer", "user-1"]}
    assert listed["next"] is None


def test_list_filters_and_pages(stored: str, run: Any, run_json: Any) -> None:
    """By type and partition; the cursor of one page leads to the next."""
    first = run_json("agents", "list", "--db", stored, "--type", "cli-buyer", "--limit", "2")
    rest = run_json("agents", "list", "--db", stored, "--type", "cli-buyer", "--after", first["next"])
    assert [len(first["agents"]), len(rest["agents"]), rest["next"]] == [2, 1, None]
    assert [
        one["partition"] for one in run_json("agents", "list", "--db", stored, "--partition", "acme")["agents"]
    ] == ["acme"]
    assert "--after " in run("agents", "list", "--db", stored, "--limit", "1")[2]
    assert run("agents", "list", "--db", stored, "--after", "nonsense")[0] == 2


@pytest.mark.parametrize(
    ("name", "partition"), [(["cli-buyer", "=7"], []), (["cli-buyer", "user-1"], ["--partition", "acme"])]
)
def test_show_needs_no_class_of_the_host(stored: str, name: list[str], partition: list[str], tmp_path: Path) -> None:
    """State and entries as they are stored, tags and all, in a process that knows neither class."""
    done = command("agents", "show", *name, *partition, "--db", stored, "--json", "--entries", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["data"]["state"]["basket"] == {
        "$jido:type": "cli-basket",
        "items": ["tea"],
        "seen": {"$jido:set": [1]},
    }
    assert [one["seq"] for one in shown["entries"]] == [9, 10, 11]
    assert shown["entries"][2]["payload"]["n"] == 11
    assert shown["version"] == 1


def test_show_for_people_has_the_same(stored: str, run: Any) -> None:
    """A line for each part of the checkpoint, then a table of entries."""
    _, printed, _ = run("agents", "show", "cli-buyer", "user-1", "--db", stored, "--entries", "1")
    assert "('cli-buyer', 'user-1'), written once" in printed
    assert '"$jido:type": "cli-basket"' in printed
    assert printed.splitlines()[-1].split()[0] == "11"
    assert "seq" not in run("agents", "show", "cli-buyer", "user-1", "--db", stored, "--entries", "0")[1]


@pytest.mark.parametrize("key", ["settings", '"settings"'])
def test_show_finds_other_checkpoints_by_their_key(key: str, stored: str, run_json: Any) -> None:
    """A key is JSON of the codec, or a text as it is."""
    assert run_json("agents", "show", key, "--db", stored)["key"] == "settings"


def test_show_of_what_is_not_there(stored: str, run: Any) -> None:
    """Exit code 1; too many words are exit code 2."""
    assert run("agents", "show", "cli-buyer", "nobody", "--db", stored)[0] == 1
    code, _, said = run("agents", "show", "user-1", "--db", stored)
    assert (code, "an agent is named by TYPE ID" in said) == (1, True)
    assert run("agents", "show", "cli-buyer", "user-1", "more", "--db", stored)[0] == 2


def test_export_writes_all_that_is_stored(
    stored: str, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for each checkpoint with one for each of its entries behind it, page after page."""
    monkeypatch.setattr(stored_agents, "_PAGE", 2)
    code, _, errors = run("agents", "export", "--db", stored, "-o", tmp_path / "all.jsonl")
    assert (code, errors) == (0, "checkpoints: 4, entries: 36\n")
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text("utf-8").splitlines()]
    assert [line["record"] for line in lines[:14]] == ["checkpoint", *["entry"] * 12, "checkpoint"]
    assert [line["seq"] for line in lines[1:13]] == list(range(12))
    assert {line["thread"] for line in lines[1:13]} == {lines[0]["data"]["thread"]["id"]}
    assert run("agents", "export", "--db", stored, "-o", tmp_path / "all.jsonl")[0] == 2
    assert run("agents", "export", "--db", stored, "--type", "nobody")[1:] == ("", "checkpoints: 0, entries: 0\n")
    assert len(run("agents", "export", "cli-buyer", "=7", "--db", stored)[1].splitlines()) == 13


def test_malformed_checkpoints_keep_nobody_from_the_others(sqlite_url: str, run: Any, run_json: Any) -> None:
    """They are named: by the list as they are, by an export in what it says; only then is its exit code 1."""
    asyncio.run(_store(sqlite_url))
    update = "UPDATE jido_checkpoints SET"
    execute(sqlite_url, f"{update} key = '[' WHERE agent_id IS NULL")
    execute(sqlite_url, f"{update} agent_id = '=[', data = '{{' WHERE agent_id = '=7'")
    listed = run_json("agents", "list", "--db", sqlite_url)["agents"]
    assert [(one["id"], one["key"] == "[") for one in listed][1:] == [("=[", False), ("user-1", False), (None, True)]
    assert [name in run("agents", "list", "--db", sqlite_url)[1] for name in ("=[", "key '['", "acme")] == [True] * 3
    code, lines, errors = run("agents", "export", "--db", sqlite_url)
    assert (code, lines.count('"checkpoint"')) == (1, 3)
    assert "skipped: checkpoint ('cli-buyer', 7): data: not JSON" in errors
    assert errors.endswith("checkpoints: 3, entries: 24, skipped: 1\n")
    assert "checkpoint ('cli-buyer', 7): data" in run("agents", "show", "cli-buyer", "=7", "--db", sqlite_url)[2]


def test_what_cannot_be_read_here_is_found_as_it_is_listed(url: str, run: Any, run_json: Any) -> None:
    """An id of a class that this process lacks, and a key that is none: by the words of the list, and by its JSON."""
    asyncio.run(_store(url))
    forget = "UPDATE jido_checkpoints SET key = '{}', agent_id = {} WHERE agent_id = '=7'"
    id = '{"$jido:enum":["cli.forgotten","ONE"]}'
    execute(url, forget.format(f'{{"$jido:tuple":["cli-buyer",{id}]}}', f"'={id}'"))
    update = "UPDATE jido_checkpoints SET key = '{\"$jido:tuple\":7}'"
    execute(url, f"{update} WHERE agent_id = 'user-1' AND partition IS NULL")
    for one in run_json("agents", "list", "--db", url)["agents"]:
        if one["id"] is None or one["partition"] is not None:
            continue
        by_key, by_id = [json.dumps(one["key"])], [one["type"], str(one["id"])]
        for name in (by_key, by_id):
            shown = run_json("agents", "show", *name, "--db", url)
            lines = run("agents", "export", *name, "--db", url)[1].splitlines()
            assert (shown["data"]["thread"]["id"], len(lines)) == (one["thread"], 13)
            assert shown["key"] == json.loads(lines[0])["key"]
    assert "$jido:enum" in run("agents", "show", "cli-buyer", f"={id}", "--db", url)[1].splitlines()[0]
    for name in (["cli-buyer", "=" + id.replace("ONE", "TWO")], [id], ["cli-seller", f"={id}"], ["["]):
        assert run("agents", "show", *name, "--db", url)[0] == 1
    assert run("agents", "show", "cli-buyer", f"={id}", "--partition", "acme", "--db", url)[0] == 1


def test_a_row_that_cannot_be_read_is_shown_as_it_is(sqlite_url: str, run: Any, run_json: Any) -> None:
    """Others write there on SQLite, and times go on for ever; the rows beside them are shown as well."""
    asyncio.run(_store(sqlite_url))
    execute(sqlite_url, "DROP TRIGGER jido_thread_entries_never_change")
    execute(sqlite_url, f"UPDATE jido_thread_entries SET payload = '{{oops', at_ms = {10**16} WHERE seq = 11")
    show = ["agents", "show", "cli-buyer", "user-1", "--db", sqlite_url, "--entries", "2"]
    entries = run_json(*show)["entries"]
    assert entries[0]["payload"]["n"] == 10
    assert (entries[1]["payload"]["unreadable"], entries[1]["at"]) == ("{oops", 10**16)
    assert str(10**16) in run(*show)[1].splitlines()[-1]


def test_repair_of_what_is_sound_says_so(stored: str, run: Any, run_json: Any) -> None:
    """It changes nothing then."""
    assert run("agents", "repair", "cli-buyer", "user-1", "--db", stored)[:2] == (0, "nothing was wrong\n")
    assert run_json("agents", "repair", "cli-buyer", "=7", "--db", stored)["done"] == []


def test_repair_makes_an_agent_thaw_again(stored: str, run: Any) -> None:
    """A head that was lost is rebuilt from its entries."""
    execute(stored, "DELETE FROM jido_threads WHERE thread_id = 'cli-buyer::user-1'")
    with pytest.raises(jt.JidoError):
        thaw(stored, "user-1")
    code, printed, _ = run("agents", "repair", "cli-buyer", "user-1", "--db", stored)
    assert code == 0
    assert printed != "nothing was wrong\n"
    assert len(thaw(stored, "user-1").thread) == 12


_HOST = """
from dataclasses import dataclass, field
import jido_tortoise as jt
@dataclass
class Basket:
    items: list[str] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
jt.register(Basket, name="cli-basket")
class Buyer(jt.Agent, agent_type="cli-buyer"): ...
class Other(jt.Agent, agent_type="cli-other"): ...
"""


def test_repair_without_the_classes_takes_nothing_for_unreadable(stored: str, tmp_path: Path) -> None:
    """A checkpoint whose classes are only not imported is left as it is; with the class it is found sound."""
    before = _raw(stored)
    done = command("agents", "repair", "cli-buyer", "user-1", "--db", stored, cwd=tmp_path)
    assert done.returncode == 2
    assert "--class" in done.stderr
    assert _raw(stored) == before
    (tmp_path / "host.py").write_text(_HOST)
    line = ("agents", "repair", "cli-buyer", "user-1", "--class", "host:Buyer", "--db", stored)
    done = command(*line, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "nothing was wrong\n"), done.stderr


def test_repair_rebuilds_a_lost_checkpoint_given_the_class(stored: str, tmp_path: Path) -> None:
    """Without the class it asks for it; with a wrong one it says so; with the right one the journal is attached."""
    execute(stored, "DELETE FROM jido_checkpoints WHERE agent_id = 'user-1' AND partition IS NULL")
    (tmp_path / "host.py").write_text(_HOST)
    line = ("agents", "repair", "cli-buyer", "user-1", "--db", stored)
    for wrong in ((), ("--class", "host:Other"), ("--class", "host:Nobody"), ("--class", "host")):
        done = command(*line, *wrong, cwd=tmp_path)
        assert done.returncode == 2
        assert "--class" in done.stderr
    done = command(*line, "--class", "host:Buyer", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the checkpoint was rebuilt" in done.stdout
    assert len(thaw(stored, "user-1").thread) == 12


def test_repair_without_the_class_sets_nothing_aside(sqlite_url: str, tmp_path: Path) -> None:
    """What cannot be rebuilt here is not taken away either."""
    asyncio.run(_store(sqlite_url))
    execute(sqlite_url, "UPDATE jido_checkpoints SET data = '{oops' WHERE agent_id = 'user-1' AND partition IS NULL")
    before = _raw(sqlite_url)
    done = command("agents", "repair", "cli-buyer", "user-1", "--db", sqlite_url, cwd=tmp_path)
    assert done.returncode == 2
    assert "malformed" in done.stderr
    assert _raw(sqlite_url) == before


def _raw(url: str) -> list[Any]:
    sql = "SELECT key_hash, data, version FROM jido_checkpoints ORDER BY key_hash"
    if not url.startswith("sqlite"):
        return [tuple(row) for row in run_sql(url, sql)]
    with closing(sqlite3.connect(url.removeprefix("sqlite://"))) as connection, connection:
        rows = connection.execute(sql).fetchall()
    return rows


# -- the public names, as type checkers read them -----------------------------------------------------------------


def test_type_checkers_see_the_names_that_there_are() -> None:
    """The imports that only type checkers read name the same things, from the same modules, as the lazy ones."""
    tree = ast.parse((_ROOT / "jido_tortoise" / "__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {"__version__"}
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            module = __import__(str(node.module), fromlist=["_"])
            for alias in node.names:
                seen.add(alias.name)
                assert getattr(module, alias.name) is getattr(jt, alias.name)
    assert seen == set(jt.__all__)
