"""The examples of the documentation, taken out of its pages and run as a reader would.

CONTRIBUTING.md says which blocks these are. `python snippets.py PAGE` runs the program of a page.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import subprocess
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
_BLOCK = re.compile(
    r"^<!-- (?P<mark>runnable|runnable: script|output) -->\n"
    r"(?P<fence>`{3,})(?P<language>\w+)\n(?P<text>.*?)^(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)
_MARK = re.compile(r"^<!-- .*-->$", re.MULTILINE)
_LANGUAGE = {"runnable": "python", "runnable: script": "python", "output": "text"}


@dataclass(frozen=True)
class Snippet:
    """One marked block of a page."""

    mark: str
    text: str
    #: Of its first line in the page, from 1.
    line: int


def snippets(page: Path) -> list[Snippet]:
    """Find the marked blocks of a page; a mark that belongs to no block is an error."""
    text = page.read_text("utf-8")
    found = list(_BLOCK.finditer(text))
    marks = [mark for mark in _MARK.finditer(text) if mark.start() not in {block.start() for block in found}]
    if marks:
        raise ValueError(f"{page.name}: {marks[0][0]} stands above no block that it could mean")
    for block in found:
        if block["language"] != _LANGUAGE[block["mark"]]:
            raise ValueError(f"{page.name}: <!-- {block['mark']} --> stands above a block of {block['language']}")
    return [Snippet(block["mark"], block["text"], text.count("\n", 0, block.start("text")) + 1) for block in found]


def of(page: Path, mark: str) -> list[Snippet]:
    """Give the blocks of a page that have this mark."""
    return [snippet for snippet in snippets(page) if snippet.mark == mark]


def run_page(page: Path, folder: Path) -> str:
    """Run the program of a page in this folder and give what it printed."""
    return run([__file__, str(page)], folder)


def run(arguments: list[str], folder: Path) -> str:
    """Run Python in this folder and give what it printed; a failure shows what it said."""
    command = [sys.executable, "-W", "error", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def _run_blocks(page: Path) -> None:
    # The blocks see one another's names, and dataclasses look for the module that they are defined in.
    namespace = sys.modules["__main__"].__dict__
    for snippet in of(page, "runnable"):
        # Line numbers of the page, so that a traceback leads to it.
        source = "\n" * (snippet.line - 1) + snippet.text
        code = compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        outcome: Any = eval(code, namespace)
        if inspect.iscoroutine(outcome):
            await _finish(outcome)


async def _finish(coroutine: Coroutine[Any, Any, None]) -> None:
    await coroutine


if __name__ == "__main__":
    asyncio.run(_run_blocks(Path(sys.argv[1])))
