"""Every marked example of the documentation runs, and prints what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

import jido_tortoise
from tests.acceptance.snippets import ROOT, of, run_page, snippets

_PAGES = sorted((ROOT / "docs").rglob("*.md"))
_WITH_EXAMPLES = [page for page in _PAGES if "<!-- runnable -->" in page.read_text("utf-8")]


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", _WITH_EXAMPLES, ids=_name)
def test_the_examples_of_a_page_run(page: Path, tmp_path: Path) -> None:
    """A reader who types them in gets what the page shows."""
    printed = run_page(page, tmp_path)
    expected = of(page, "output")
    if expected:
        assert printed == "".join(snippet.text for snippet in expected)


@pytest.mark.parametrize("page", _PAGES, ids=_name)
def test_every_mark_means_a_block(page: Path) -> None:
    """A misspelt mark would silently take an example out of the tests."""
    assert all(snippet.text for snippet in snippets(page))


@pytest.mark.parametrize(
    "text",
    [
        "<!-- runable -->\n```python\n1\n```\n",
        "<!-- runnable -->\n\n```python\n1\n```\n",
        "<!-- output -->\n```python\n1\n```\n",
        "<!-- runnable -->\n```\n1\n```\n",
    ],
    ids=["misspelt", "not right above", "wrong language", "no language"],
)
def test_a_mark_that_means_no_block_is_refused(text: str, tmp_path: Path) -> None:
    """The check above can fail."""
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match=r"^page\.md: <!-- "):
        snippets(page)


def test_a_failing_example_fails_with_the_line_of_the_page(tmp_path: Path) -> None:
    """An example that no longer works is found, and leads to where it stands."""
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n<!-- runnable -->\n```python\nvalue = 1\nraise LookupError(value)\n```\n")
    with pytest.raises(AssertionError, match=r'(?s)page\.md", line 6.*LookupError: 1'):
        run_page(page, tmp_path)


def test_the_quickstart_and_the_first_how_tos_have_examples() -> None:
    """The marks must not get lost altogether."""
    assert {"docs/quickstart.md", "docs/how-to/fastapi.md"} <= set(map(_name, _WITH_EXAMPLES))


def test_the_reference_holds_every_public_name() -> None:
    """A name that is exported and documented nowhere is not public."""
    text = "".join(page.read_text("utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    documented = set(re.findall(r"^\.\. auto(?:class|function):: (?:.*\.)?(\w+)$", text, re.MULTILINE))
    whole_modules = set(re.findall(r"^\.\. automodule:: (.+)$", text, re.MULTILINE))
    objects = {name: getattr(jido_tortoise, name) for name in jido_tortoise.__all__ if not name.startswith("__")}
    missing = [
        name
        for name, public in objects.items()
        if not isinstance(public, ModuleType) and name not in documented and public.__module__ not in whole_modules
    ]
    assert missing == []
