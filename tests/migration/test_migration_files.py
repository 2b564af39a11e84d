"""The files of aerich_migrations: one for each step, with the state that Aerich compares with, and stubs of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aerich.utils import decompress_dict, get_models_describe, import_py_file

from jido_tortoise.errors import ConfigError, InvalidInputError
from jido_tortoise.schema import apps, files, migrations_location, vendor
from jido_tortoise.schema.apps import find_homes, models_of
from jido_tortoise.schema.families import FAMILIES
from jido_tortoise.schema.ledger import describe
from tests.conftest import opened
from tests.migration.hosts import Place

FAMILY_NAMES = list(FAMILIES)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_one_file_for_each_step(name: str) -> None:
    """A step without a file would be unknown to plain Aerich, a file without a step to our runner."""
    family = FAMILIES[name]
    found = {file.stem for file in (migrations_location() / family.label).glob("*.py")}
    assert found == {step.name for step in family.steps}


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_steps_are_in_order(name: str) -> None:
    """Aerich sorts them by the number that they begin with, and versions never go back."""
    steps = FAMILIES[name].steps
    assert [int(step.name.partition("_")[0]) for step in steps] == list(range(len(steps)))
    assert [step.version for step in steps] == sorted(step.version for step in steps)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_every_guard_is_made_by_a_step(name: str) -> None:
    """What the list names, the steps of that version make, and drop again."""
    family = FAMILIES[name]
    for guard in family.guards:
        for dialect in ("sqlite", "postgres"):
            made = [sql for step in family.steps if step.version == guard.version for sql in step.up[dialect]]  # type: ignore[index]
            assert set(guard.up[dialect]) <= set(made)  # type: ignore[index]
            dropped = [sql for step in family.steps if step.version == guard.version for sql in step.down[dialect]]  # type: ignore[index]
            assert set(guard.down[dialect]) <= set(dropped)  # type: ignore[index]


@pytest.mark.parametrize("name", FAMILY_NAMES)
async def test_the_state_is_that_of_the_models(name: str, place: Place) -> None:
    """The last step's, on both databases; else `aerich migrate` would see changes that are none."""
    family = FAMILIES[name]
    async with opened(place.url, tables=False, families=(name,)):
        expected = json.loads(json.dumps(get_models_describe(family.label)))
    stored = json.loads(describe(family, family.steps[-1], family.label))
    assert _without_words(stored) == _without_words(expected)


def _without_words(models: dict[str, Any]) -> dict[str, Any]:
    # Aerich does not compare docstrings, and they may be reworded.
    return {name: {key: value for key, value in model.items() if key != "docstring"} for name, model in models.items()}


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_aerich_reads_the_files(name: str) -> None:
    """With Aerich's own functions."""
    for file in (migrations_location() / FAMILIES[name].label).glob("*.py"):
        module = import_py_file(file)
        assert {model["table"] for model in decompress_dict(module.MODELS_STATE).values()} == set(
            FAMILIES[name].columns()
        )
        assert module.RUN_IN_TRANSACTION is True


def test_apps() -> None:
    """What stands in the README: without an argument the agents, with names those families."""
    block = {
        "jido_agents": {
            "models": ["jido_tortoise.agents.models"],
            "default_connection": "default",
            "migrations": "jido_tortoise.migrations.jido_agents",
        }
    }
    assert apps() == apps("agents") == block
    assert apps("agents", connection="second")["jido_agents"]["default_connection"] == "second"
    apps()["jido_agents"]["models"].append("changed by the host")
    assert apps() == block


@pytest.mark.parametrize("arguments", [("no_such",), ("agents", "jido_agents"), (None,), ([],)])
def test_apps_refuses_what_is_no_family(arguments: tuple[Any, ...]) -> None:
    """The message names those that there are."""
    with pytest.raises(InvalidInputError, match="one of agents"):
        apps(*arguments)


@pytest.mark.parametrize("connection", ["", None, 7])
def test_apps_refuses_what_is_no_alias(connection: Any) -> None:
    """Before Tortoise says something less clear about it."""
    with pytest.raises(InvalidInputError, match="connection"):
        apps(connection=connection)


def test_models_are_found_as_tortoise_finds_them() -> None:
    """Also when a module lists them in `__models__`, and without registering any."""
    import types

    module = types.ModuleType("host_models")
    from jido_tortoise.agents.models import JidoCheckpoint, JidoThread

    module.__dict__.update(JidoThread=JidoThread, JidoCheckpoint=JidoCheckpoint, other=1)
    assert set(models_of([module])) == {JidoThread, JidoCheckpoint}
    module.__dict__["__models__"] = [JidoThread]
    assert models_of([module]) == [JidoThread]


def test_a_home_with_other_models_lists_ours_apart() -> None:
    """In an app that is not ours alone, Aerich's last line must stay the host's."""
    settings = {
        "apps": {"all": {"models": ["jido_tortoise.agents.models", "aerich.models", "tests.migration.ext.two"]}}
    }
    (home,) = find_homes(settings)
    assert (home.label, home.listed_as, home.alias, home.listed_on) == ("all", "jido_agents", "default", "default")
    (home,) = find_homes({"apps": {"mine": {"models": ["jido_tortoise.agents.models", "aerich.models"]}}})
    assert home.listed_as == "mine"  # Aerich's own model is nobody's
    described = json.loads(describe(home.family, home.family.steps[-1], "mine"))
    assert {(name.partition(".")[0], model["app"]) for name, model in described.items()} == {("mine", "mine")}


# -- stubs --------------------------------------------------------------------------------------------------------


def test_vendoring_again_changes_nothing(tmp_path: Path) -> None:
    """Only what is new is written, so that it may run in every deployment."""
    first = vendor(tmp_path)
    assert sorted(file.relative_to(tmp_path).as_posix() for file in first) == [
        "jido_agents/0_init.py",
        "jido_agents/1_guards.py",
    ]
    assert vendor(tmp_path) == []
    first[0].unlink()
    assert vendor(str(tmp_path), "agents") == [first[0]]


def test_one_label_for_several_families(tmp_path: Path) -> None:
    """Is refused: the steps of one would overwrite those of the other, which have the same names."""
    with pytest.raises(InvalidInputError, match=r"^label: expected None"):
        vendor(tmp_path, "agents", "adk", label="robots")
    assert list(tmp_path.iterdir()) == []


def test_vendoring_does_not_overwrite_the_hosts_files(tmp_path: Path) -> None:
    """A file of that name that is no stub is in the way; then nothing is written."""
    (tmp_path / "jido_agents").mkdir()
    (tmp_path / "jido_agents/1_guards.py").write_text("# the host's\n")
    with pytest.raises(InvalidInputError, match=r"1_guards\.py"):
        vendor(tmp_path)
    assert [file.name for file in (tmp_path / "jido_agents").iterdir()] == ["1_guards.py"]


def test_a_stub_holds_no_sql(tmp_path: Path) -> None:
    """It runs what is installed, under the label that the host chose."""
    for file in vendor(tmp_path, label="robots"):
        assert file.parent.name == "robots"
        assert "CREATE" not in file.read_text()
        assert callable(import_py_file(file).upgrade)


def test_a_broken_installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the folder the error says what to do."""
    monkeypatch.setattr(files, "__file__", str(tmp_path / "jido_tortoise/schema/files.py"))
    with pytest.raises(ConfigError, match="install jido-tortoise again"):
        migrations_location()


def test_the_folder_of_an_installed_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The wheel has it inside the package, and that is looked at first."""
    inside = tmp_path / "jido_tortoise/aerich_migrations"
    inside.mkdir(parents=True)
    (tmp_path / "aerich_migrations").mkdir()
    monkeypatch.setattr(files, "__file__", str(tmp_path / "jido_tortoise/schema/files.py"))
    assert migrations_location() == inside
