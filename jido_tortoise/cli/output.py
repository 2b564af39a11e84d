"""What the commands print: tables and JSON on stdout, everything else on stderr."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from jido_tortoise.errors import InvalidInputError, said


def prepare() -> None:
    """Let every text be printed, also one that the terminal's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print a line for people on stderr."""
    print(clean(text), file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print one value as JSON."""
    # What the terminal's encoding lacks `prepare` would spell as no JSON does.
    print(_dumped(value, indent=2, ensure_ascii=not _is_utf8(sys.stdout)))


def print_line(value: Any, file: TextIO) -> None:
    """Write one value as a line of JSON."""
    print(_dumped(value, ensure_ascii=not _is_utf8(file)), file=file)


def as_json(value: Any) -> str:
    """Answer one value as JSON in one line."""
    return _dumped(value)


def _dumped(value: Any, *, indent: int | None = None, ensure_ascii: bool = False) -> str:
    def dumps(plain: Any) -> str:
        return json.dumps(plain, indent=indent, ensure_ascii=ensure_ascii, allow_nan=False, default=str)

    try:
        return dumps(value)
    except (TypeError, ValueError):  # a key that is a tuple, a float that JSON has no word for
        return dumps(_plain(value))


def _plain(value: Any) -> Any:
    """Answer a decoded value as JSON can hold it: what that has no word for as it stands in the database."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"$jido:float": str(value)}
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _is_utf8(file: TextIO) -> bool:
    return (getattr(file, "encoding", None) or "").lower().replace("-", "") == "utf8"


def print_table(headers: Sequence[str], rows: Sequence[Sequence[Any]], *, numbers: Sequence[str] = ()) -> None:
    """Print a table: drawn by rich on a terminal when rich is there, else in columns that `grep` and `cut` understand.

    Args:
        headers: The columns' names.
        rows: The cells; None is an empty one.
        numbers: The names of the columns that hold numbers.
    """
    cells = [["" if cell is None else clean(str(cell)) for cell in row] for row in rows]
    right = [header in numbers for header in headers]
    if not (sys.stdout.isatty() and _draw(headers, cells, right)):
        _write(headers, cells, right)


def _draw(headers: Sequence[str], rows: list[list[str]], right: list[bool]) -> bool:
    try:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for header, is_right in zip(headers, right, strict=True):
        table.add_column(header, justify="right" if is_right else "left", overflow="fold", no_wrap=is_right)
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
    return True


def _write(headers: Sequence[str], rows: list[list[str]], right: list[bool]) -> None:
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    for row in (list(headers), *rows):
        padded = [
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        ]
        print("  ".join(padded).rstrip())


@contextmanager
def target(path: Path | None) -> Iterator[TextIO]:
    """Open a new file for the block, or give stdout when there is no path; a block that fails leaves no file.

    Raises:
        InvalidInputError: It is there already, or cannot be made.
    """
    if path is None:
        yield sys.stdout
        return
    try:
        with path.open("x", encoding="utf-8") as file:
            try:
                yield file
            except BaseException:
                path.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise InvalidInputError.at("--output", "a file that is not there yet", said(f"{path}: {error}")) from error


def times(count: int) -> str:
    """Say how often."""
    return "once" if count == 1 else f"{count:,} times"


def bar(share: float, width: int = 16) -> str:
    """Draw a share of 1 as a bar: to an eighth of a character where the output can show that."""
    eighths = round(max(0.0, min(share, 1.0)) * width * 8)
    if not _is_utf8(sys.stdout):
        return "#" * round(eighths / 8)
    whole, part = divmod(eighths, 8)
    return "█" * whole + " ▏▎▍▌▋▊▉"[part].strip()


def clean(text: str) -> str:
    """Answer the text with what would move the cursor, or do worse to a terminal, spelled as escapes."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)
