"""One fault at one statement: what fails, is cancelled or loses its connection, before the statement or after it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from jido_tortoise_testing.faults.watching import watching

Kind = Literal["fail", "cancel", "disconnect"]
When = Literal["before", "after"]

KINDS: tuple[Kind, ...] = ("fail", "cancel", "disconnect")
WHENS: tuple[When, ...] = ("before", "after")

#: A refusal of the server's own, so that the transaction is as broken as after a real one.
_REFUSAL = "DO $$ BEGIN RAISE EXCEPTION 'injected: no space left on device' USING ERRCODE = '53100'; END $$"
#: Seconds that a statement in SQLite's thread waits for the event loop to take a cancellation.
_HANDOVER = 5.0

_WORDS: dict[tuple[Kind, When], str] = {
    ("fail", "before"): "failed",
    ("fail", "after"): "failed after executing",
    ("cancel", "before"): "was about to run and the caller was cancelled",
    ("cancel", "after"): "had run and the caller was cancelled",
    ("disconnect", "before"): "lost its connection before executing",
    ("disconnect", "after"): "lost its connection after executing",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at which statement of an operation, counted from 0."""

    kind: Kind
    when: When
    at: int

    def __str__(self) -> str:
        return f"statement {self.at} {_WORDS[self.kind, self.when]}"


@dataclass
class Injector:
    """The hook that counts an operation's statements, and strikes at one of them."""

    fault: Fault | None = None
    #: Called before each statement with its number, in SQLite's thread.
    snapshot: Callable[[int], object] | None = None
    #: Chooses the fault for a statement, by its number and text, instead of the one above.
    plan: Callable[[int, str], Fault | None] | None = None
    #: The statements so far.
    log: list[str] = field(default_factory=list)
    #: The faults that have happened.
    strikes: list[Fault] = field(default_factory=list)
    _armed: bool = False
    _task: asyncio.Task[Any] | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    @property
    def struck(self) -> bool:
        """Whether a fault has happened."""
        return bool(self.strikes)

    @contextmanager
    def armed(self, task: asyncio.Task[Any] | None) -> Iterator[None]:
        """Count statements while the block runs; a cancellation goes to this task."""
        self._task, self._loop = task, task.get_loop() if task else None
        self._armed = True
        with watching(self):
            try:
                yield
            finally:
                self._armed, self._task = False, None

    def on_sqlite(self, raw: sqlite3.Connection, sql: str, run: Callable[[], Any]) -> Any:
        """Run a statement of SQLite, with the fault when it is due."""
        fault = self._due(sql)
        if self.snapshot is not None and self._armed:
            self.snapshot(len(self.log) - 1)
        if fault is None:
            return run()
        if fault.when == "before":
            self._strike_sqlite(fault, raw)
            return run()
        result: Any = run()
        if fault.kind != "cancel" and isinstance(result, sqlite3.Cursor):
            result.close()  # an open one would keep its transaction open, past the end of its connection
        self._strike_sqlite(fault, raw)
        if fault.kind == "disconnect":
            raise sqlite3.ProgrammingError("Cannot operate on a closed database.")
        return result

    async def on_postgres(self, raw: Any, sql: str, run: Callable[[], Awaitable[Any]]) -> Any:
        """Run a statement of PostgreSQL, with the fault when it is due."""
        fault = self._due(sql)
        if fault is None:
            return await run()
        if fault.when == "before":
            await self._strike_postgres(fault, raw)
            return await run()
        result = await run()
        await self._strike_postgres(fault, raw)
        return result

    def _due(self, sql: str) -> Fault | None:
        if not self._armed:
            return None
        self.log.append(" ".join(sql.split()))
        number = len(self.log) - 1
        fault = self.plan(number, self.log[-1]) if self.plan else self.fault
        if fault is None or fault.at != number:
            return None
        self.strikes.append(fault)
        return fault

    # -- SQLite -------------------------------------------------------------------------------------------------------

    def _strike_sqlite(self, fault: Fault, raw: sqlite3.Connection) -> None:
        if fault.kind == "cancel":
            self._cancel_from_thread()
        elif fault.kind == "disconnect":
            raw.close()
        elif fault.when == "before":
            raise _sqlite_error("injected: database is locked", sqlite3.SQLITE_BUSY)
        else:
            raise _sqlite_error("injected: disk I/O error", sqlite3.SQLITE_IOERR)

    def _cancel_from_thread(self) -> None:
        task, loop = self._task, self._loop
        assert task is not None
        assert loop is not None
        if _inside(loop):
            task.cancel()
            return
        taken = threading.Event()
        # Set one turn of the loop later: by then the task has seen it.
        loop.call_soon_threadsafe(lambda: (task.cancel(), loop.call_soon(loop.call_soon, taken.set)))
        taken.wait(_HANDOVER)

    # -- PostgreSQL ---------------------------------------------------------------------------------------------------

    async def _strike_postgres(self, fault: Fault, raw: Any) -> None:
        if fault.kind == "cancel":
            assert self._task is not None
            self._task.cancel()
            await asyncio.sleep(0)  # raises here when the task itself sends the statement
        elif fault.kind == "disconnect":
            await _cut(raw, fault.when)
        elif fault.when == "before":
            await type(raw)._execute(raw, _REFUSAL, (), 0, None)
        else:
            from asyncpg.exceptions import ConnectionFailureError

            raise ConnectionFailureError("injected: the answer was lost")


def _inside(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _sqlite_error(text: str, code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


async def _cut(raw: Any, when: When) -> None:
    from asyncpg.exceptions import ConnectionDoesNotExistError

    raw.terminate()
    if when == "after":
        raise ConnectionDoesNotExistError("connection was closed in the middle of operation")
