"""How the site is built: Markdown pages, and a reference that is read from the docstrings."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

_ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(_ROOT), str(_ROOT / "testing")]

project = "jido-tortoise"
author = "the jido-tortoise authors"
release = version = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "jido-tortoise"
html_show_copyright = False

# Public names are imported from the top, wherever they are defined.
add_module_names = False
autodoc_class_signature = "mixed"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
# What our docstrings put in single backticks is code.
default_role = "code"


def _as_markdown(_app, _what, _name, _object, _options, lines: list[str]) -> None:
    """Read what our docstrings have of Markdown: indented code below a blank line, and stars that mean nothing."""
    read: list[str] = []
    code = False
    for line in lines:
        if line.startswith("    ") and read[-1:] == [""] and not code:
            code = True
            read += ["::", ""]
        elif line and not line.startswith("    "):
            code = False
        read.append(line if code else _escaped(line))
    lines[:] = read


def _escaped(line: str) -> str:
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(part if part.startswith("`") else part.replace("*", r"\*") for part in parts)


def setup(app) -> None:
    # Before napoleon (500), which puts stars of its own.
    app.connect("autodoc-process-docstring", _as_markdown, priority=100)
