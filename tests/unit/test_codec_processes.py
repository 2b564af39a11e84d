"""The codec in other processes: without orjson, without pydantic, with another hash seed, before any object."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def _run(script: str, **environment: str) -> str:
    root = Path(__file__).parents[2]
    outcome = subprocess.run(
        [sys.executable, "-c", script],
        cwd=root,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout.strip()


_WITHOUT_ORJSON = "import sys; sys.modules['orjson'] = None\n"
_SHOW = """
from tests.codec_values import *
value = {"a": {3, "x", 2.5, (1, "é")}, 7: [Line("a", 1e-7), Open(number=2, z=1, b=2), {2**70}, {"k": 1, "j": 2}]}
print(ascii(codec.canonical(value)), ascii(codec.loads(codec.dumps(value)) == value), text.ORJSON is None)
"""


def test_canonical_text_is_the_same_in_every_process() -> None:
    """Not the hash seed, nor orjson, may change where a row is found."""
    seen = {_run(_SHOW, PYTHONHASHSEED=seed).rsplit(" ", 1)[0] for seed in ("1", "2")}
    without = _run(_WITHOUT_ORJSON + _SHOW, PYTHONHASHSEED="3")
    assert without.endswith("True True")
    assert seen == {without.rsplit(" ", 1)[0]}


def test_everything_works_where_orjson_cannot_be_imported() -> None:
    """orjson is an extra: the codec's tests pass without it, and so do its laws, with a tenth of the examples."""
    files = ["tests/unit/test_codec.py", "tests/unit/test_codec_properties.py"]
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"]
    _run(f"{_WITHOUT_ORJSON}import pytest; sys.exit(pytest.main({files + options!r}))", JIDO_SHARE_OF_EXAMPLES="0.1")


def test_pydantic_is_not_imported_for_its_own_sake() -> None:
    """A host without it loses nothing, one with it no time."""
    script = """
import sys
sys.modules["pydantic"] = None
import importlib.util, types
for name in ("jido_tortoise",):  # without its __init__, which brings Tortoise
    package = types.ModuleType(name); package.__path__ = [name]; sys.modules[name] = package
from dataclasses import dataclass
from jido_tortoise import codec
@codec.register
@dataclass
class A: x: int
assert codec.loads(codec.dumps([A(1)])) == [A(1)]
print("pydantic.main" in sys.modules)
"""
    assert _run(script) == "False"


def test_a_row_may_come_before_the_first_object() -> None:
    """A process that only reads knows the classes further down as well."""
    script = (
        "from jido_tortoise import codec; import tests.unit.test_codec as t;"
        'print(codec.loads(\'{"$jido:enum":["Level","LOW"]}\') is t.Level.LOW)'
    )
    assert _run(script) == "True"
