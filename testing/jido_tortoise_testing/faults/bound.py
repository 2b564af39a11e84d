"""The fixture `jido_faults`: sweeps and single faults on the databases of one test."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jido_tortoise_testing.failures import JidoSandboxError
from jido_tortoise_testing.faults.injecting import KINDS, WHENS, Fault, Injector, Kind, When
from jido_tortoise_testing.faults.report import CrashReport, shortened
from jido_tortoise_testing.faults.sweeping import Step, cancel_everywhere, crash_everywhere
from jido_tortoise_testing.leases import is_plumbing

if TYPE_CHECKING:
    from jido_tortoise_testing.sandboxes import Sandbox

_SHOWN = 20


class Faults:
    """Faults in one test: everywhere, at one statement, or now and then.

    Args:
        sandbox: The test's databases.
        seed: What `sometimes` draws from.
    """

    def __init__(self, sandbox: Sandbox, seed: int) -> None:
        self._sandbox = sandbox
        self._random = random.Random(f"faults {seed}")

    async def crash_everywhere(
        self,
        operation: Step,
        invariant: Step,
        *,
        prepare: Step | None = None,
        also: Iterable[Any] = (),
        kinds: Iterable[Kind] = KINDS,
        patience: float = 5.0,
        tell: Callable[[str], object] = print,
    ) -> CrashReport:
        """Fail, cancel and disconnect an operation at each statement: `jido_tortoise_testing.faults.crash_everywhere`.

        Raises:
            CrashSafetyError: At some fault something was wrong; its `report` has all of them.
        """
        __tracebackhide__ = True
        return await crash_everywhere(
            operation,
            invariant,
            prepare=prepare,
            also=also,
            kinds=kinds,
            connection=self._sandbox.alias,
            patience=patience,
            tell=tell,
        )

    async def cancel_everywhere(
        self,
        operation: Step,
        invariant: Step,
        *,
        prepare: Step | None = None,
        also: Iterable[Any] = (),
        patience: float = 5.0,
        tell: Callable[[str], object] = print,
    ) -> CrashReport:
        """Cancel an operation at each of its awaits: `jido_tortoise_testing.faults.cancel_everywhere`.

        Raises:
            CrashSafetyError: After some cancellation something was wrong.
        """
        __tracebackhide__ = True
        return await cancel_everywhere(
            operation,
            invariant,
            prepare=prepare,
            also=also,
            connection=self._sandbox.alias,
            patience=patience,
            tell=tell,
        )

    # -- one fault ------------------------------------------------------------------------------------------------

    @contextmanager
    def fail(self, at: int = 0, when: When = "before", *, sql: str = "", times: int = 1) -> Iterator[Injector]:
        """Let a statement of the block fail, as a full disk or a locked database would.

        Args:
            at: Which statement, counted from 0; BEGIN and COMMIT count, what opens and resets connections does not.
            when: "before" it runs, or "after" it ran, so that only the answer is lost.
            sql: Count only statements with this text in them.
            times: How many statements in a row fail.

        Raises:
            AssertionError: The block ended, and there was no such statement: it has proved nothing.
        """
        __tracebackhide__ = True
        with self._once(_Nth("fail", when, at, sql, times)) as injector:
            yield injector

    @contextmanager
    def cancel(self, at: int = 0, when: When = "before", *, sql: str = "") -> Iterator[Injector]:
        """Cancel the task that runs the block, at a statement; `CancelledError` leaves the block, and no more.

        The arguments and the error are those of `fail`.

        Raises:
            JidoSandboxError: No task runs the block.
        """
        __tracebackhide__ = True
        task = _task()
        if task is None:
            raise JidoSandboxError("jido_faults.cancel() cancels the task that runs its block: use it in an async test")
        asked = task.cancelling()
        try:
            with self._once(_Nth("cancel", when, at, sql), task) as injector:
                yield injector
        finally:
            while task.cancelling() > asked:  # as asyncio.timeout does, or the test itself would count as cancelled
                task.uncancel()

    @contextmanager
    def disconnect(self, at: int = 0, when: When = "before", *, sql: str = "") -> Iterator[Injector]:
        """Cut the connection at a statement; on a SQLite file it stays dead until the block ends.

        The arguments and the error are those of `fail`.

        Raises:
            JidoSandboxError: The database is in memory, and would end with its connection.
        """
        __tracebackhide__ = True
        self._refuse_memory()
        try:
            with self._once(_Nth("disconnect", when, at, sql)) as injector:
                yield injector
        finally:
            if self._sandbox.backend == "sqlite":
                self._reopen()

    @contextmanager
    def sometimes(self, share: float = 0.1, *, kinds: Iterable[Kind] = ("fail",)) -> Iterator[Injector]:
        """Let faults happen now and then in the block, drawn from the seed; a cancellation goes to the block's task.

        Args:
            share: The share of statements that are struck.
            kinds: Which faults; a lost connection on PostgreSQL only, since SQLite has no other.
        """
        chosen = list(kinds)
        if "disconnect" in chosen and self._sandbox.backend == "sqlite":
            raise JidoSandboxError("jido_faults.sometimes() cuts no connection to SQLite, which has only one")
        injector = Injector(plan=lambda number, sql: None if is_plumbing(sql) else self._drawn(number, share, chosen))
        with injector.armed(_task()):
            yield injector

    def _drawn(self, number: int, share: float, kinds: list[Kind]) -> Fault | None:
        struck, kind, when = self._random.random() < share, self._random.choice(kinds), self._random.choice(WHENS)
        return Fault(kind, when, number) if struck else None

    @contextmanager
    def _once(self, plan: _Nth, task: asyncio.Task[Any] | None = None) -> Iterator[Injector]:
        __tracebackhide__ = True
        injector = Injector(plan=plan)
        with injector.armed(task):
            yield injector
        if not injector.struck:
            ran = "".join(f"\n{number:>4} {shortened(sql)}" for number, sql in enumerate(injector.log[:_SHOWN]))
            raise AssertionError(f"{plan} was never reached: {len(injector.log)} statements ran{ran}")

    def _refuse_memory(self) -> None:
        if self._sandbox.kind == "memory":
            raise JidoSandboxError(
                'a database in memory ends with its connection: mark the test with @pytest.mark.jido_db(storage="file")'
            )

    def _reopen(self) -> None:
        for place in self._sandbox.places.values():
            for client in place.lease.clients:
                client.stop()
                client._lock = asyncio.Lock()  # whoever held it lost the connection


class _Nth:
    """The plan of a single fault, or of several in a row."""

    def __init__(self, kind: Kind, when: When, at: int, sql: str, times: int = 1) -> None:
        if when not in WHENS or at < 0 or times < 1:
            raise ValueError(
                f'expected when="before" or "after", at= from 0 and times= from 1 on: {when!r}, {at}, {times}'
            )
        self._kind: Kind = kind
        self._when: When = when
        self._at, self._sql, self._times = at, sql.lower(), times
        self._seen = 0

    def __call__(self, number: int, sql: str) -> Fault | None:
        if is_plumbing(sql) or self._sql not in sql.lower():
            return None
        self._seen += 1
        due = self._at < self._seen <= self._at + self._times
        return Fault(self._kind, self._when, number) if due else None

    def __str__(self) -> str:
        counted = f" of those with {self._sql!r}" if self._sql else ""
        return f"statement {self._at}{counted}, which was to {self._kind},"


def _task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
