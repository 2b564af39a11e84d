"""What the README shows is what a reader gets."""

from __future__ import annotations

import re
from pathlib import Path

from tests.acceptance.snippets import ROOT, of, run

README = ROOT / "README.md"


def test_the_quickstart_is_short_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Saved and run twice in one folder, as the README says, it finds its first run's state and journal."""
    (quickstart,) = of(README, "runnable: script")
    assert len(quickstart.text.splitlines()) <= 20
    (tmp_path / "quickstart.py").write_text(quickstart.text)
    assert run(["quickstart.py"], tmp_path) == "1 items, 1 entries\n"
    assert run(["quickstart.py"], tmp_path) == "2 items, 2 entries\n"


def test_every_path_that_the_readme_names_is_there() -> None:
    """The table of what is where stays true."""
    text = README.read_text("utf-8")
    paths = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE) + re.findall(r"\]\((?!https?:)([^)]+)\)", text)
    assert len(paths) >= 10
    assert [path for path in paths if not Path(ROOT, path).exists()] == []


def test_the_commands_of_a_clone_are_those_of_dev_py() -> None:
    """Both commands under "From a clone" exist."""
    section = README.read_text("utf-8").split("## From a clone")[1].split("\n## ")[0]
    commands = re.findall(r"^python3 dev\.py (\w+)$", section, re.MULTILINE)
    assert commands == ["demo", "test"]
    dev = (ROOT / "dev.py").read_text("utf-8")
    assert all(f"\ndef {command}(" in dev for command in commands)
