"""What both distributions say of themselves."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent


def _project(folder: str = ".") -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / folder / "pyproject.toml").read_text("utf-8"))["project"]
    return project


def test_versions_are_in_lockstep() -> None:
    """Each release of one distribution fits exactly one of the other."""
    library, toolkit = _project(), _project("testing")
    assert library["version"] == toolkit["version"]
    assert library["optional-dependencies"]["testing"] == [f"jido-tortoise-testing=={library['version']}"]
    ours = [need for need in toolkit["dependencies"] if need.startswith("jido-tortoise")]
    assert ours == [f"jido-tortoise=={library['version']}"]


def test_the_changelog_has_a_section_for_the_version() -> None:
    """Nobody has to guess what a release changed."""
    sections = re.findall(r"^## \[(\S+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert sections[:2] == ["Unreleased", _project()["version"]]


def test_the_extras_are_those_that_the_documentation_names() -> None:
    """Errors tell users to install extras by these names."""
    extras = set(_project()["optional-dependencies"])
    assert extras == {"accel", "adk", "asyncpg", "cli", "otel", "providers", "s3", "testing", "testing-postgres"}


def test_both_name_the_same_licence_and_ship_its_text() -> None:
    """The text must be in each wheel, so each distribution has a copy."""
    assert _project()["license"] == _project("testing")["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text
    assert text == (ROOT / "testing" / "LICENSE").read_text("utf-8")


def test_both_pin_the_same_postgres() -> None:
    """The toolkit's own extra and the library's must not disagree."""
    (pin,) = (each for each in _project()["optional-dependencies"]["testing-postgres"] if "embedded" in each)
    assert pin in _project("testing")["optional-dependencies"]["postgres"]
