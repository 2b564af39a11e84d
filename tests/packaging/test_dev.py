"""dev.py, which must work before anything is installed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

DEV = Path(__file__).parent.parent.parent / "dev.py"


def _dev(*arguments: str) -> subprocess.CompletedProcess[str]:
    # -I: no site-packages of the user, and no folder of ours, may be needed.
    return subprocess.run([sys.executable, "-I", DEV, *arguments], capture_output=True, text=True, timeout=60)


def test_it_needs_the_standard_library_only() -> None:
    """A machine that has nothing but Python runs it."""
    nodes = list(ast.walk(ast.parse(DEV.read_text("utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names = plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("nonsense",), 2), (("--help",), 0)])
def test_without_a_command_it_lists_them(arguments: tuple[str, ...], code: int) -> None:
    """Nobody has to read it to use it."""
    done = _dev(*arguments)
    assert done.returncode == code
    assert all(f"\n    {command} " in done.stdout for command in ("demo", "test", "check", "bench", "clean"))


def test_check_refuses_a_step_that_it_does_not_have() -> None:
    """A misspelt step must not pass as checked."""
    done = _dev("check", "lints")
    assert done.returncode == 2
    assert "expected some of format, lint, layers, mypy, pyright, coverage, docs, got lints" in done.stderr


def test_the_makefile_has_an_alias_for_each_command() -> None:
    """`make test` is what some fingers type."""
    targets = (DEV.parent / "Makefile").read_text("utf-8").split(".PHONY:")[1].splitlines()[0].split()
    assert {"demo", "test", "check", "bench", "clean"} <= set(targets)
