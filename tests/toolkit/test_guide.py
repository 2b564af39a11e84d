"""The testing guide: its files make a service, whose tests pass, and fail where and as the pages say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import pytest

import _jido_tortoise_pytest as plugin
from jido_tortoise_testing.plugin import MARKS
from jido_tortoise_testing.settings import SETTINGS
from tests.toolkit.conftest import ROOT, plugins_for, run_pytest

pytest_plugins = ["pytester"]
# It also takes away what the environment of this run says to pytest.
pytestmark = pytest.mark.usefixtures("host")

_PAGES = sorted((ROOT / "docs" / "testing").glob("*.md"))
_BLOCK = re.compile(
    r"^```(?P<kind>\w+)\n(?:# (?P<file>\S+\.\w+?)(?P<fails>, which fails)?\n)?(?P<text>.*?)^```$", re.S | re.M
)


@dataclass(frozen=True)
class File:
    """A block that begins with the name of a file."""

    name: str
    text: str
    #: What the page shows of its failure, a line each; empty when its tests pass.
    words: tuple[str, ...] = ()


def files() -> dict[str, File]:
    """Read the files of all pages; one that fails is followed by a block with its words."""
    return dict(file for page in _PAGES for file in _files(page))


def _files(page: Path) -> Iterator[tuple[str, File]]:
    blocks = list(_BLOCK.finditer(page.read_text("utf-8")))
    for block, following in zip_longest(blocks, blocks[1:]):
        if not block["file"]:
            continue
        words: tuple[str, ...] = ()
        if block["fails"]:
            assert following is not None, block["file"]
            assert following["kind"] == "text", f"{block['file']} is to fail; the page must show how"
            words = tuple(following["text"].splitlines())
        yield block["file"], File(block["file"], block["text"], words)


def _tests(file: File) -> int:
    if not file.name.endswith(".py"):
        return 0
    tree = ast.parse(file.text)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return sum(isinstance(node, kinds) and node.name.startswith("test_") for node in ast.walk(tree))


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_its_service_does_what_the_pages_say(backend: str, pg_server: str, pytester: pytest.Pytester) -> None:
    """A reader who copies the files has a suite that runs, and sees the failures that the pages show."""
    written = files()
    for name, file in written.items():
        path = pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)
    arguments = [f"--jido-db={backend}", f"--jido-db-url={pg_server}", "--tb=short", "--deselect", _CONTRACT, "tests"]
    plugins = plugins_for(*(file.text for file in written.values()))
    result = run_pytest(pytester, *plugins, *arguments)
    failing = [file for file in written.values() if file.words]
    result.assert_outcomes(
        passed=sum(_tests(file) for name, file in written.items() if name.startswith("tests/") and not file.words) + 1,
        failed=sum(map(_tests, failing)),
    )
    printed = result.stdout.str().replace("on PostgreSQL", "on SQLite in memory")
    missing = [line for file in failing for line in file.words if line.strip() not in printed]
    assert missing == []
    assert not list(pytester.path.rglob("production.db"))


#: Its checks are run often enough elsewhere.
_CONTRACT = "tests/test_my_storage.py"


def test_the_contract_runs_as_the_page_says(pytester: pytest.Pytester) -> None:
    """Each check is a test; those of one group stand for all."""
    source = files()[_CONTRACT].text
    pytester.makepyfile(test_my_storage=source)
    result = run_pytest(pytester, *plugins_for(source), "-k", "spurious or rev")
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] >= 5
    assert outcomes["passed"] + outcomes["deselected"] >= 300


def test_every_page_has_examples_that_run() -> None:
    """But for the table of contents."""
    without = [page.name for page in _PAGES if not list(_files(page)) and "<!-- runnable -->" not in page.read_text()]
    assert without == ["index.md"]


def test_the_reference_has_every_fixture_option_and_mark() -> None:
    """What is added to the plugin is added there."""
    text = (ROOT / "docs" / "reference" / "testing.md").read_text("utf-8")
    fixtures = [name for name in plugin.__all__ if not name.startswith("pytest_")]
    marks = [mark.partition("(")[0] for mark in MARKS]
    assert [name for name in fixtures if f"\n| `{name}` |" not in text] == []
    assert [mark for mark in marks if f"\n| `{mark}(" not in text] == []
    for setting in SETTINGS.values():
        row = re.compile(rf"^\| `{setting.option}(=\S+)?` \| `{setting.variable}` \| `{setting.name}` \|", re.MULTILINE)
        assert row.search(text), setting.option
