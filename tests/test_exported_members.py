"""The public names: what `__all__` says is what there is, and asking for it costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import jido_tortoise
import jido_tortoise.adk
import jido_tortoise.recording

# The names that the documentation teaches; removing one breaks somebody's import.
_FIXED = {
    "Agent",
    "AgentManager",
    "ConflictError",
    "Entry",
    "InMemoryStorage",
    "Jido",
    "JidoError",
    "NotFoundError",
    "Storage",
    "Thread",
    "TortoiseStorage",
    "apps",
    "hibernate",
    "register",
    "thaw",
    "transaction",
    "upgrade",
    "verify",
}


lazy = pytest.mark.parametrize("package", [jido_tortoise, jido_tortoise.adk, jido_tortoise.recording])


@lazy
def test_every_name_of_all_is_there_and_named_once(package: Any) -> None:
    """`from jido_tortoise import *` works, lazily imported names included."""
    assert len(package.__all__) == len(set(package.__all__))
    assert [name for name in package.__all__ if getattr(package, name, None) is None] == []


def test_the_documented_names_are_public() -> None:
    """What the quickstart and the how-to pages use is exported."""
    assert _FIXED - set(jido_tortoise.__all__) == set()


def test_public_names_know_where_they_live() -> None:
    """What is exported is ours, not something that a module happened to import."""
    modules = {
        name: getattr(getattr(jido_tortoise, name), "__module__", "jido_tortoise") for name in jido_tortoise.__all__
    }
    assert {name: module for name, module in modules.items() if not module.startswith("jido_tortoise")} == {}


@lazy
def test_dir_lists_what_is_public(package: Any) -> None:
    """Completion in a shell shows names that were not imported yet."""
    assert set(package.__all__) <= set(dir(package))


@lazy
def test_a_name_that_is_not_there_is_an_attribute_error(package: Any) -> None:
    """A misspelt name is told as any module tells it, and `hasattr` works."""
    with pytest.raises(AttributeError, match="has no attribute 'Agnet'"):
        _ = package.Agnet


def test_importing_the_package_imports_nothing_heavy() -> None:
    """A program that never uses it does not pay for it."""
    heavy = ["aerich", "asyncpg", "fastapi", "google", "opentelemetry", "orjson", "pydantic", "pytest", "rich", "typer"]
    program = f"import sys, jido_tortoise; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_importing_the_models_imports_no_stores() -> None:
    """Tortoise imports the models of all families in each process of a host, which may use one of them."""
    families = ("adk", "agents", "recording")
    program = f"""
import sys
import {", ".join(f"jido_tortoise.{family}.models" for family in families)}
print([name for name in sys.modules if name.startswith("jido_tortoise") and name.endswith(("store", "storage"))])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_importing_the_toolkit_imports_nothing_at_all() -> None:
    """A pytest plugin must not slow down runs that do not use it, nor hide imports from coverage."""
    program = "import sys, jido_tortoise_testing; print([n for n in sys.modules if n.startswith('jido_tortoise.')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("missing", "told"),
    [("google.adk", 'pip install "jido-tortoise[adk]"'), ("google", 'pip install "jido-tortoise[adk]"')],
)
def test_without_google_adk_its_service_names_the_extra(missing: str, told: str) -> None:
    """And all the rest of `jido_tortoise.adk` works."""
    program = f"""
import sys
sys.modules[{missing!r}] = None
from jido_tortoise.adk import AdkSessionStore
from jido_tortoise.errors import ConfigError
try:
    from jido_tortoise.adk import TortoiseSessionService
except ConfigError as error:
    print(error.reason, error.extra, error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("missing_extra adk ")
    assert told in done.stdout
