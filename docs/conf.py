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


def _escape(_app, _what, _name, _object, _options, lines: list[str]) -> None:
    """Take the stars of our docstrings as they are: they are Python's, and never mean emphasis."""
    for number, line in enumerate(lines):
        parts = re.split(r"(`[^`]*`)", line)
        lines[number] = "".join(part if part.startswith("`") else part.replace("*", r"\*") for part in parts)


def setup(app) -> None:
    # Before napoleon (500), which puts stars of its own.
    app.connect("autodoc-process-docstring", _escape, priority=100)
