"""What a run leaves behind: a table to read, and a file with every sample."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Line

_HEADINGS = ("work", "database", "ours", "floor", "ratio", "bound", "")


def table(lines: Sequence[Line]) -> str:
    """Lay the lines out in columns; figures are medians, times in microseconds."""
    cells = [_HEADINGS, *(_cells(line) for line in lines)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(_HEADINGS))]
    laid = ["  ".join(_aligned(text, at, widths[at]) for at, text in enumerate(row)).rstrip() for row in cells]
    return "\n".join([laid[0], "-" * max(map(len, laid)), *laid[1:]])


def _cells(line: Line) -> tuple[str, ...]:
    numbers = (_figure(line.ours, line.unit), _figure(line.floor, line.unit), _ratio(line.ratio), _bound(line))
    return (line.work, line.database, *numbers, line.verdict)


def _aligned(text: str, at: int, width: int) -> str:
    return text.ljust(width) if at < 2 or at == 6 else text.rjust(width)


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if unit in ("us", "") else f"{value:.1f} {unit}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _bound(line: Line) -> str:
    if line.bound is None:
        return ""
    return f"<= {line.bound:g}" + (f" {line.unit}" if line.ratio is None and line.unit else "")


def keep(lines: Sequence[Line], facts: dict[str, Any], folder: Path) -> Path:
    """Write every sample of the run into a new file of the folder."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}Z.json"
    path.write_text(json.dumps({"facts": facts, "lines": as_dicts(lines, samples=True)}, indent=1))
    return path


def as_dicts(lines: Sequence[Line], *, samples: bool = False) -> list[dict[str, Any]]:
    """Make the lines fit for JSON."""
    names = ["work", "database", "ours", "floor", "ratio", "bound", "unit", "verdict"] + ["samples"] * samples
    return [{name: getattr(line, name) for name in names} for line in lines]


def machine() -> dict[str, Any]:
    """Say what the figures depend on."""
    packages = ("tortoise-orm", "asyncpg", "aiosqlite", "orjson")
    return {
        "at": datetime.now(UTC).isoformat(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "load": os.getloadavg(),
        "packages": {name: version(name) for name in packages},
    }
