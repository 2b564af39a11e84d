"""Golden files: what the export writes tells nothing, and the mark says what today's code cannot do with them."""

from __future__ import annotations

import asyncio
import enum
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from pydantic import BaseModel

import jido_tortoise as jt
from jido_tortoise import codec
from jido_tortoise.cli import program
from jido_tortoise.golden.anonymise import Anonymiser
from jido_tortoise_testing.factories import Factories
from jido_tortoise_testing.golden import GoldenError, GoldenFile, misfits
from jido_tortoise_testing.strategies import json_states
from tests.toolkit.conftest import Host

pytest_plugins = ["pytester"]

_SECRET = "Ada Lovelace"


class Mood(enum.Enum):
    """What code writes stays."""

    CALM = "calm"


@dataclass
class Purse:
    """An object in a state."""

    owner: str = ""
    notes: list[str] = field(default_factory=list)


class Patient(jt.Agent[dict[str, Any]], agent_type="golden-patient", version=3):
    """An agent with secrets of every type."""


jt.register(Purse, name="golden-purse")
jt.register(Mood, name="golden-mood")


def _state() -> dict[str, Any]:
    return {
        "name": _SECRET,
        "friend": _SECRET,
        "empty": ["", 0, None, {}, True],
        "Ada Lovelace's": {"ada@example.com": 36, 1815: "born"},
        "purse": Purse(_SECRET, ["gin & tonic"]),
        "mood": Mood.CALM,
        "tuple": (1815, -27.11, Decimal("18.150"), {"set of Ada"}),
        "bytes": b"enchantress",
        "when": datetime(1815, 12, 10, 7, 30, 1, 5, tzinfo=ZoneInfo("Europe/London")),
        "day": date(1852, 11, 27),
        "clock": time(11, 27, tzinfo=UTC),
        "span": timedelta(days=1852, seconds=1127),
        "uuid": uuid.UUID("12345678-1234-4234-8234-123456789abc"),
        "big": 2**70 + 1815,
        "odd": "Ada \0 Lovelace",
        "huge": 1.815e300,
    }


_WORDS = (
    "Ada",
    "Lovelace",
    "1815",
    "1852",
    "27.11",
    "gin",
    "London",
    "12345678",
    "enchantress",
    "set of",
    "user-",
)


# -- what stays, and what does not --------------------------------------------------------------------------------


def _tree(value: Any) -> Any:
    return codec.loads_raw(codec.dumps(value))


def _shape(value: Any) -> Any:
    """Answer types and sizes."""
    if isinstance(value, dict):
        return sorted(f"{_shape(key)} {_shape(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(_shape, value)]
    sized = isinstance(value, set | frozenset | bytes | bytearray)
    return type(value).__name__, len(value) if sized else None


def test_types_and_sizes_stay_and_nothing_else() -> None:
    """Each value becomes one of its type and size; equal texts become equal ones."""
    made = codec.loads(codec.dumps(codec.loads(json.dumps(Anonymiser()(_tree(_state()), "state")))))
    assert not [word for word in _WORDS if word in str(made)]
    assert (made["name"], made["purse"].owner, made["mood"]) == (made["friend"], made["name"], Mood.CALM)
    assert len(made["name"]) == len(_SECRET)
    assert made["empty"] == ["", 0, None, {}, True]
    assert {name: type(value) for name, value in made.items() if name in _state()} == {
        name: type(value) for name, value in _state().items() if name != "Ada Lovelace's"
    }
    assert type(made["when"].tzinfo) is ZoneInfo
    assert list(map(type, made["tuple"])) == [int, float, Decimal, set]
    assert made["tuple"][2].as_tuple().exponent == -3
    assert len(str(made["big"])) == len(str(2**70))
    assert "\0" in made["odd"]


def test_keep_and_hide() -> None:
    """A value that code needs stays when its path is named; keys that are people's names go."""
    state = {"status": "active", "deep": [{"status": "open"}], "visits": {"alice": 3}}
    made = Anonymiser(keep=["state.status", "state.deep.*"], hide=["state.visits"])(state, "state")
    assert (made["status"], made["deep"]) == ("active", [{"status": "open"}])
    assert list(made["visits"]) != ["alice"]
    assert list(Anonymiser()(state, "state")["visits"]) == ["alice"]


def _texts(tree: Any) -> set[str]:
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    found = {tree} if isinstance(tree, str) else set()
    return found.union(*map(_texts, inner)) if inner else found


@given(json_states())
@settings(max_examples=150, deadline=None)
def test_no_text_is_left_in_any_state(state: dict[str, Any]) -> None:
    """Also in values that nobody thought of; the same state gives the same file, and it can be read."""
    tree = _tree(state)
    made = Anonymiser()(tree, "state")
    assert made == Anonymiser()(tree, "state")
    assert _shape(codec.loads(json.dumps(made))) == _shape(codec.loads(json.dumps(tree)))
    left = {text for text in _texts(tree) & _texts(made) if len(text) > 3 and set(text) - set("x0123456789")}
    assert left <= {"-0.0", "-inf"}


# -- the command --------------------------------------------------------------------------------------------------


async def _store(url: str) -> None:
    await jt.upgrade({"connections": {"default": url}, "apps": jt.apps()})
    async with jt.Jido.connect(url) as jido:
        make = Factories(3, jido)
        for number in range(3):
            patient = Patient(f"user-{number}", _state(), partition="acme" if number else None)
            patient.thread.extend(make.conversation(2, tools=1))
            patient.thread.append("message", {"text": _SECRET}, {"entry_id": patient.thread.last().id})
            patient.schedule = {"daily": {"cron_expression": "27 11 * * *", "message": _SECRET, "timezone": None}}
            await jido.hibernate(patient)
        await jido.compact(Patient, "user-0", keep=2)
        await jido.storage.put_checkpoint("settings", {"owner": _SECRET})


def _run(*arguments: object) -> int:
    return program.main([str(argument) for argument in arguments])


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder of golden files from a SQLite database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TORTOISE_ORM", raising=False)
    asyncio.run(_store("sqlite://agents.db"))
    assert _run("agents", "export", "--golden", "--db", "sqlite://agents.db") == 0
    return tmp_path / "tests" / "golden"


def test_the_export_tells_nothing_and_thaws(exported: Path, pg_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One file an agent, the same from both databases; journals too, trimmed ones as well."""
    asyncio.run(_store(pg_url))
    assert _run("agents", "export", "--golden", "--db", pg_url, "--out", "pg") == 0
    names = [f"golden-patient-v3-{number:04d}.json" for number in (1, 2, 3)]
    assert sorted(path.name for path in exported.iterdir()) == names
    assert "written: 3, there already: 0, no agents: 1" in capsys.readouterr().err
    for path in exported.iterdir():
        text = path.read_text("utf-8")
        assert text == (Path("pg") / path.name).read_text("utf-8")
        assert not [word for word in _WORDS if word in text]
        golden = GoldenFile(path)
        golden.check()
        assert golden.agent.state["name"] == golden.agent.schedule[next(iter(golden.agent.schedule))]["message"]
        assert (
            golden.agent.thread.last().refs["entry_id"] in [e.id for e in golden.agent.thread] or path.name == names[0]
        )
    assert (golden.golden.state_version, golden.golden.codec) == (3, 1)
    assert len(GoldenFile(exported / names[0]).golden.journal["entries"]) == 2  # type: ignore[index]


def test_files_that_are_there_never_change(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are what was stored then; what is stored now comes beside them."""
    before = {path.name: path.read_bytes() for path in exported.iterdir()}
    assert _run("agents", "export", "--golden", "--db", "sqlite://agents.db", "--limit", "2") == 0
    assert "written: 0, there already: 2" in capsys.readouterr().err
    assert _run("agents", "export", "--golden", "--db", "sqlite://agents.db", "--limit=1", "--keep=state.name") == 0
    after = {path.name: path.read_bytes() for path in exported.iterdir()}
    assert after.items() > before.items()
    assert _SECRET in after["golden-patient-v3-0004.json"].decode()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--out", "x"), "--out: expected --golden with it"),
        (("--golden", "-o", "x"), "--output: expected --out DIR with --golden"),
        (("--golden", "--out", "agents.db"), "--out: expected a folder to write to"),
    ],
)
@pytest.mark.usefixtures("exported")
def test_options_that_do_not_fit_are_refused(
    options: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rather than writing data somewhere that was not meant."""
    assert _run("agents", "export", "--db", "sqlite://agents.db", *options) == 2
    assert words in capsys.readouterr().err


# -- what today's code cannot do with them ------------------------------------------------------------------------


@dataclass
class AsItWas:
    items: list[str] = field(default_factory=list)
    total: float = 0.0


@dataclass
class NewField(AsItWas):
    currency: str = None  # type: ignore[assignment]


@dataclass
class Counted:
    items: dict[str, int] = field(default_factory=dict)
    total: float = 0.0


@dataclass
class Numbers:
    items: list[int] = field(default_factory=list)
    total: float = 0.0


@dataclass
class LostField:
    items: list[str] = field(default_factory=list)


@dataclass
class Demanding(AsItWas):
    owner: str = field(kw_only=True)


class Same(jt.Agent[AsItWas], agent_type="golden-same"):
    pass


class WithNewField(jt.Agent[NewField], agent_type="golden-new-field"):
    pass


class Renamed(jt.Agent[AsItWas], agent_type="golden-renamed", aliases=("golden-old-name",)):
    pass


class Migrated(jt.Agent[Counted], agent_type="golden-migrated", version=2):
    @classmethod
    def migrate_state(cls, state: dict[str, Any], version: int) -> dict[str, Any]:
        return state | {"items": dict.fromkeys(state["items"], 1)}


class ChangedType(jt.Agent[Counted], agent_type="golden-changed-type"):
    pass


class ChangedWithin(jt.Agent[Numbers], agent_type="golden-changed-within"):
    pass


class Lost(jt.Agent[LostField], agent_type="golden-lost-field"):
    pass


class Demands(jt.Agent[Demanding], agent_type="golden-demanding"):
    pass


class Fails(jt.Agent[AsItWas], agent_type="golden-failing"):
    @classmethod
    def restore(cls, data: dict[str, Any]) -> Any:
        return cls(data["name"])


class Forgets(jt.Agent[AsItWas], agent_type="golden-forgetful"):
    def checkpoint(self) -> dict[str, Any]:
        return self.default_checkpoint() | {"state": {}}


def _file(folder: Path, agent_type: str, **other: Any) -> Path:
    state = other.pop("state", {"items": ["xx1"], "total": 3.5})
    checkpoint = {"agent_type": agent_type, "id": "xx2", "version": 1, "state": state, "thread": None}
    made = {"agent_type": agent_type, "state_version": 1, "checkpoint": checkpoint, "journal": None}
    path = folder / f"{agent_type}.json"
    path.write_text(json.dumps({"format": 1, "codec": 1, **made, **other}))
    return path


@pytest.mark.parametrize("agent_type", ["golden-same", "golden-new-field", "golden-old-name", "golden-migrated"])
def test_what_is_still_understood_passes(tmp_path: Path, agent_type: str) -> None:
    """A new field with a default, an alias, a migration."""
    golden = GoldenFile(_file(tmp_path, agent_type))
    golden.check()
    assert "xx1" in golden.agent.state.items


@pytest.mark.parametrize(
    ("agent_type", "words"),
    [
        ("golden-nobody", "no class has this agent type"),
        ("golden-lost-field", "today's Lost cannot take it: checkpoint "),
        ("golden-demanding", "today's Demands cannot take it: checkpoint "),
        ("golden-changed-type", "state.items: expected dict[str, int], got list"),
        ("golden-changed-within", "state.items[0]: expected int, got str"),
        ("golden-failing", "KeyError('name')"),
        ("golden-forgetful", "stored by today's Forgets it is another one"),
    ],
)
def test_what_is_no_longer_understood_is_told(tmp_path: Path, agent_type: str, words: str) -> None:
    """With the file, the type, the version, what is wrong, and the cure."""
    path = _file(tmp_path, agent_type)
    with pytest.raises(GoldenError) as caught:
        GoldenFile(path).check()
    head, _, cure = str(caught.value).rpartition("\n")
    assert head.startswith(f"{path}: agent type {agent_type!r}, state version 1: ")
    assert words in head
    assert "aliases" in cure or "migrate_state" in cure


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"format": 2}, "expected a golden file of format 1, codec 1 at most, got format 2 with codec 1"),
        ({"more": 1}, "expected a golden file, got "),
        ({"state": {"items": [{"$jido:type": "gone"}]}}, "gone"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, other: dict[str, Any], words: str) -> None:
    """One of later, one that is none, one with an object of a class that is gone."""
    path = _file(tmp_path, "golden-same", **other)
    with pytest.raises(GoldenError) as caught:
        GoldenFile(path).check()
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


class Point(NamedTuple):
    x: int


class Inner(BaseModel):
    """A model in a state."""

    when: datetime | None = None
    kind: Literal["a", "b"] = "a"
    points: tuple[Point, ...] = ()


@pytest.mark.parametrize(
    ("value", "hint", "found"),
    [
        (3, float, []),
        (True, int, []),
        (None, str | None, []),
        ("xx1", Literal["a"], []),
        (3, Literal["a"], ["v: expected Literal['a'], got int"]),
        ({"a": [1]}, dict[str, list[str]], ["v['a'][0]: expected str, got int"]),
        ({1: "a"}, dict[str, str], ["v key 1: expected str, got int"]),
        ((1, "a"), tuple[int, str], []),
        ((1, 2), tuple[int, str], ["v[1]: expected str, got int"]),
        ([1], Annotated[list[int], "many"], []),
        ({"a"}, set[int], ["v[0]: expected int, got str"]),
        (Inner(points=(Point(1),)), Inner, []),
        (Inner.model_construct(when=3), Inner, ["v.when: expected datetime.datetime | None, got int"]),
        (Inner.model_construct(points=(Point("a"),)), Inner, ["v.points[0].x: expected int, got str"]),  # type: ignore[arg-type]
        ([Inner()], Any, []),
    ],
)
def test_what_is_of_another_type_than_declared(value: Any, hint: Any, found: list[str]) -> None:
    """The codec does not look; a replaced value need not be one of a Literal's."""
    assert list(misfits(value, hint, "v")) == found


# -- the mark -----------------------------------------------------------------------------------------------------

_AGENTS = """
from dataclasses import dataclass, field
import jido_tortoise as jt
@dataclass
class Cart:
    items: list[str] = field(default_factory=list)
class Shopper(jt.Agent[Cart], agent_type="shopper"):
    pass
"""


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_the_mark_runs_a_test_for_each_file(host: Host, pytester: pytest.Pytester, mode: str) -> None:
    """What is wrong with a file is the failure of its test, also when the test asks for nothing."""
    pytester.makepyfile(agents=_AGENTS)
    folder = pytester.mkdir("golden")
    _file(folder, "shopper", state={"items": ["xx1"]})
    _file(folder, "stranger")
    source = """
import pytest, agents
@pytest.mark.jido_golden("golden")
def test_bare(): pass
@pytest.mark.asyncio
@pytest.mark.jido_golden("golden", classes=[agents.Shopper])
async def test_more(jido_golden, jido_backend):
    assert jido_golden.agent.state.items == ["xx1"]
"""
    result = host(source, mode=mode)
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["FAILED *test_bare[[]stranger[]]*", "FAILED *test_more[[]stranger[]]*"])
    result.stdout.fnmatch_lines(["E *golden/stranger.json: agent type 'stranger', state version 1: no class has*"])


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        ('("nowhere")', "no golden files in *nowhere: `jido-tortoise agents export --golden` writes some"),
        ("()", 'takes a folder and classes=, as in jido_golden("tests/golden"), got '),
        ('("golden", class_=1)', "got 'golden', class_="),
    ],
)
def test_a_mark_without_files_is_refused(host: Host, mark: str, words: str) -> None:
    """A test that thaws nothing would pass for ever."""
    result = host(f"import pytest\n@pytest.mark.jido_golden{mark}\ndef test_x():\n    pass\n")
    assert result.ret != 0
    result.stdout.fnmatch_lines([f"*@pytest.mark.jido_golden*{words}*"])
