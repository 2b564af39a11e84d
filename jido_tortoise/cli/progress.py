"""How far a command is, on stderr: a bar by rich on a terminal, else a line that is written over, or plain lines."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from jido_tortoise.cli import output

T = TypeVar("T")

_WIDTH = 24


class Display:
    """Shows what happens while the demo runs; a context manager."""

    def __init__(self, transcripts: Path) -> None:
        self._transcripts = transcripts
        self._is_terminal = sys.stderr.isatty()
        self._bar = _rich_bar() if self._is_terminal else None
        self._stage = ""
        self._task: Any = None
        self._agents = 0

    def __enter__(self) -> Display:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def note(self, text: str) -> None:
        """Show a step."""
        self._say(text)

    def begin(self, stage: str) -> None:
        """Show that a process begins."""
        self._stage, self._agents = stage, 0
        if self._bar is not None:
            self._task = self._bar.add_task(f"{stage:8}", total=1.0, agents="")

    def progress(self, agents: int, share: float) -> None:
        """Show how far it is."""
        self._agents = agents
        if self._bar is not None:
            self._bar.update(self._task, completed=share, agents=f"{agents:,} agents")
        elif self._is_terminal:
            done = round(share * _WIDTH)
            self._write(f"\r{self._stage:8} [{'#' * done}{'.' * (_WIDTH - done)}] {agents:,} agents")

    def end(self, agents: int) -> None:
        """Show that it has ended, and how many agents it has done."""
        self.progress(agents, 1.0)
        if self._bar is None:
            self._write("\n" if self._is_terminal else f"{self._stage:8} {agents:,} agents\n")

    def skipped(self, line: int, reason: str) -> None:
        """Show a bad line."""
        self._say(f"skipped {self._transcripts}, line {line}: {reason}")

    def difference(self, line: int | None, text: str) -> None:
        """Show something that is not stored as it should be."""
        place = str(self._transcripts) if line is None else f"{self._transcripts}, line {line}"
        self._say(f"DIFFERS {place}: {text}")

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(output.clean(text), markup=False, highlight=False, soft_wrap=True)
            return
        if self._is_terminal:
            self._write("\r")
        output.say(text)

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


class Tally:
    """Shows on a terminal how many of something are done, where nobody knows how many there will be.

    Args:
        what: They are.
        shown: Whether at all: not where the results themselves are on that terminal.
    """

    #: Often enough for the eye, seldom enough for the work.
    _EVERY = 100

    def __init__(self, what: str, *, shown: bool = True) -> None:
        self._what, self._count = what, 0
        self._is_terminal = shown and sys.stderr.isatty()
        self._bar = _rich_bar() if self._is_terminal else None
        self._task: Any = None

    def __enter__(self) -> Tally:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=None, agents="")
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._is_terminal and self._count >= self._EVERY:
            sys.stderr.write("\n")

    def counted(self, items: Iterable[T]) -> Iterator[T]:
        """Answer the items, each counted."""
        for item in items:
            self.add()
            yield item

    def add(self, count: int = 1) -> None:
        """Count some more."""
        shown = self._count // self._EVERY
        self._count += count
        if self._count // self._EVERY > shown and self._is_terminal:
            self._show(f"{self._count:,}")

    def _show(self, count: str) -> None:
        if self._bar is not None:
            self._bar.update(self._task, agents=count)
        else:
            sys.stderr.write(f"\r{self._what} {count}")
            sys.stderr.flush()


def _rich_bar() -> Any:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        return None
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[agents]}"), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))
