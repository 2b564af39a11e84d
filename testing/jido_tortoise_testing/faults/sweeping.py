"""Crash an operation at every one of its statements and awaits, and look each time at what is left of it."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jido_tortoise.errors import InvalidInputError
from jido_tortoise_testing.faults.awaits import cancelled
from jido_tortoise_testing.faults.injecting import KINDS, WHENS, Fault, Injector, Kind
from jido_tortoise_testing.faults.places import Place, of_file
from jido_tortoise_testing.faults.report import CrashReport, Violation, shortened

#: More statements or awaits than these are no operation that anybody wants swept.
_MOST = 1000
_OUTCOMES = ("applied", "not_applied", "unknown")


@dataclass
class Trial:
    """One run of the operation; preparation, operation and invariant are each given it."""

    #: Another one each time: name by it what the operation works on, and nothing needs to be cleaned.
    name: str
    #: Whatever the preparation answered.
    given: Any = None
    #: Whether the operation returned, so that what it did must last.
    acknowledged: bool = False
    #: What it raised instead.
    error: BaseException | None = None
    #: The fault, in words; None in the runs without one.
    fault: str | None = None


Step = Callable[[Trial], Awaitable[Any]]


async def crash_everywhere(
    operation: Step,
    invariant: Step,
    *,
    prepare: Step | None = None,
    also: Iterable[Any] = (),
    kinds: Iterable[Kind] = KINDS,
    connection: str | None = None,
    patience: float = 5.0,
    tell: Callable[[str], object] = print,
) -> CrashReport:
    """Fail, cancel and disconnect an operation before and after each of its statements, BEGIN and COMMIT included.

    What the invariant answers is what can be seen of the operation. After a fault it must be what can be seen before
    the operation or after it; after it when the operation was acknowledged, before it when the error says that nothing
    was applied. The invariant may also raise. It runs on a second connection, as another process would. Before that
    the connection that was struck must still take a write, and then a transaction, that the second connection sees.

    On a SQLite file the process also dies before each statement and after the last: a copy of the files is opened.

    Args:
        operation: What is struck.
        invariant: Looks at what is left; its answer must not depend on `trial.name`.
        prepare: Runs before each trial, without faults; its answer is `trial.given`.
        also: More answers that are right, for an operation of several steps.
        kinds: Which faults.
        connection: An alias of the host's Tortoise config; None takes the one of our models.
        patience: Seconds after which an operation counts as hung.
        tell: Gets the report's text when all is well.

    Raises:
        CrashSafetyError: At some fault something was wrong; its `report` has all of them.
        AssertionError: Nothing was struck, so that nothing is proved.
    """
    __tracebackhide__ = True
    place, chosen = Place.current(connection), _known(kinds)
    async with _sweep(place, operation, invariant, prepare, also, patience) as sweep:
        await sweep.learn()
        sweep.report.refuse_nothing(sweep.report.statements, "sent no statement")
        for kind in chosen:
            if kind == "disconnect" and place.in_memory:
                sweep.report.untried.append("disconnect: a database in memory ends with its connection")
                continue
            for when in WHENS:
                await sweep.strike(kind, when)
        if place.file is not None:
            await sweep.die()
        sweep.report.refuse_nothing(sweep.report.points, "was struck nowhere")
        await sweep.explain()
    sweep.report.raise_for_violations()
    tell(str(sweep.report))
    return sweep.report


async def cancel_everywhere(
    operation: Step,
    invariant: Step,
    *,
    prepare: Step | None = None,
    also: Iterable[Any] = (),
    connection: str | None = None,
    patience: float = 5.0,
    tell: Callable[[str], object] = print,
) -> CrashReport:
    """Cancel an operation at each of its awaits, and just after what it waited for has happened.

    What must hold then, and the arguments, are those of `crash_everywhere`.

    Raises:
        CrashSafetyError: After some cancellation something was wrong.
    """
    __tracebackhide__ = True
    place = Place.current(connection)
    async with _sweep(place, operation, invariant, prepare, also, patience) as sweep:
        await sweep.learn()
        sweep.report.statements.clear()
        await sweep.cancel(late=False)
        await sweep.cancel(late=True)
        sweep.report.refuse_nothing(sweep.report.points, "never waited")
        await sweep.explain()
    sweep.report.raise_for_violations()
    tell(str(sweep.report))
    return sweep.report


def _known(kinds: Iterable[Kind]) -> list[Kind]:
    chosen = list(kinds)
    for kind in chosen:
        if kind not in KINDS:
            raise InvalidInputError.at("kinds", f"{', '.join(KINDS[:-1])} or {KINDS[-1]}", kind)
    return chosen


@asynccontextmanager
async def _sweep(
    place: Place, operation: Step, invariant: Step, prepare: Step | None, also: Iterable[Any], patience: float
) -> AsyncIterator[_Sweep]:
    report = CrashReport(operation=f"{getattr(operation, '__name__', 'operation')}()", place=place.name)
    async with place.probed(), place.elsewhere() as elsewhere:
        yield _Sweep(place, operation, invariant, prepare, list(also), patience, elsewhere, report)


@dataclass
class _Sweep:
    place: Place
    operation: Step
    invariant: Step
    prepare: Step | None
    also: list[Any]
    patience: float
    elsewhere: Callable[[], Any]
    report: CrashReport
    #: Names of trials; what an earlier sweep left in the database must not meet them.
    names: Iterator[str] = field(default_factory=lambda: map(f"{secrets.token_hex(3)}-{{}}".format, itertools.count()))

    async def learn(self) -> None:
        """Run the operation without a fault: what it sends, and what can be seen before and after."""
        first = await self._trial()
        self.report.before = await self._look(first)
        await self._run(first, Injector())  # caches and look-ups of a first call are no part of it
        self.report.after = await self._look(first)
        second = await self._trial()
        injector = Injector()
        await self._run(second, injector)
        for trial in (first, second):
            if trial.error is not None:
                raise trial.error
        self.report.statements = injector.log

    # -- the faults -----------------------------------------------------------------------------------------------

    async def strike(self, kind: Kind, when: Any) -> None:
        """Let one kind of fault happen at each statement in turn."""
        for at in range(_MOST):
            trial = await self._trial()
            injector = Injector(Fault(kind, when, at))
            hung = await self._run(trial, injector)
            if not injector.struck:
                return
            trial.fault = f"{injector.fault} ({shortened(injector.log[at])})"
            restart = kind == "disconnect" and self.place.dialect == "sqlite"
            await self._judge(trial, hung, restart=restart)
        self._give_up("statements")

    def _give_up(self, what: str) -> None:
        reason = f"more than the first {_MOST} {what}"
        if reason not in self.report.untried:
            self.report.untried.append(reason)

    async def cancel(self, *, late: bool) -> None:
        """Cancel at each await in turn."""
        for step in range(_MOST):
            trial = await self._trial()
            hung = None
            try:
                ended = await cancelled(lambda: self._call(trial), step, late=late, patience=self.patience)  # noqa: B023
            except AssertionError as error:
                hung, trial.fault = str(error), f"cancelled at await {step}"
            except Exception as error:
                trial.error, trial.fault = error, f"cancelled at await {step}, which ended in {error!r}"
            else:
                trial.fault, trial.acknowledged = str(ended), not ended.told
                if not ended.reached:
                    return
                if not ended.told and not late:
                    hung = "the cancellation was swallowed"
            await self._judge(trial, hung, restart=False)
        self._give_up("awaits")

    async def _call(self, trial: Trial) -> object:
        return await _begun("operation", self.operation, trial)

    async def explain(self) -> None:
        """When something was wrong, see whether it is only that the trials have met each other."""
        if self.report.violations:
            untouched = await self._look(await self._trial())
            if untouched != self.report.before:
                self.report.hint = (
                    f"a trial that has not run shows {untouched!r} and not {self.report.before!r}: name everything by"
                    " trial.name, so that no trial meets what another has left"
                )

    async def die(self) -> None:
        """Copy the SQLite file before each statement of one run, and look into each copy."""
        folder = Path(tempfile.mkdtemp())
        try:
            trial = await self._trial()
            injector = Injector(snapshot=lambda at: _copy(self._file, folder / str(at)))
            await self._run(trial, injector)
            _copy(self._file, folder / str(len(injector.log)))
            await self._judge_images(trial, injector.log, folder)
        finally:
            shutil.rmtree(folder)

    @property
    def _file(self) -> Path:
        assert self.place.file is not None
        return self.place.file

    async def _judge_images(self, trial: Trial, log: list[str], folder: Path) -> None:
        for at in range(len(log) + 1):
            words = f"before statement {at} ({shortened(log[at])})" if at < len(log) else "after the last statement"
            trial.fault = f"the process died {words}"
            trial.acknowledged = at == len(log)
            self.report.points.append(trial.fault)
            async with of_file(self.place.alias, folder / str(at) / self._file.name) as client:
                (check,) = await client.execute_query_dict("PRAGMA integrity_check")
                if check["integrity_check"] != "ok":
                    self._blame(trial, f"the file is damaged: {check['integrity_check']}")
                await self._judge_state(trial)

    # -- one run --------------------------------------------------------------------------------------------------

    async def _trial(self) -> Trial:
        trial = Trial(next(self.names))
        if self.prepare is not None:
            trial.given = await self.prepare(trial)
        return trial

    async def _run(self, trial: Trial, injector: Injector) -> str | None:
        task = asyncio.ensure_future(_begun("operation", self.operation, trial))
        with injector.armed(task):
            await asyncio.wait([task], timeout=self.patience)
            hung = None if task.done() else f"it did not end within {self.patience:g} s"
            if hung:
                task.cancel()
                await asyncio.wait([task], timeout=self.patience)
        if task.done():
            trial.error = asyncio.CancelledError() if task.cancelled() else task.exception()
            trial.acknowledged = trial.error is None
        return hung

    async def _judge(self, trial: Trial, hung: str | None, *, restart: bool) -> None:
        self.report.points.append(trial.fault or "")
        if hung is not None:
            self._blame(trial, hung)
        if restart:
            await self.place.reopen()
        if not await self._usable(trial):
            await self.place.reopen()
        await self._judge_state(trial, self.elsewhere)

    async def _usable(self, trial: Trial) -> bool:
        """Whether the struck connection takes writes that last; blames the operation when not."""
        found = len(self.report.violations)
        leak = await self.place.leak(self.patience)
        if leak is not None:
            self._blame(trial, leak)
        try:
            async with asyncio.timeout(self.patience):
                marks = await self.place.probe()
                async with self.elsewhere() as client:
                    lost = set(marks) - await self.place.marks(client or self._second())
            if lost:
                self._blame(
                    trial, f"{len(lost)} of 2 writes acknowledged afterwards are not seen by a second connection"
                )
        except TimeoutError:
            self._blame(trial, f"the next write on the connection did not end within {self.patience:g} s")
        except Exception as error:
            self._blame(trial, f"the next write on the connection failed: {error!r}")
        return len(self.report.violations) == found

    def _second(self) -> Any:
        return Place.current(self.place.alias).client

    # -- what is left ---------------------------------------------------------------------------------------------

    async def _look(self, trial: Trial) -> Any:
        async with self.elsewhere():
            return await _begun("invariant", self.invariant, trial)

    async def _judge_state(self, trial: Trial, elsewhere: Callable[[], Any] | None = None) -> None:
        try:
            async with asyncio.timeout(self.patience):
                seen = await self._look(trial) if elsewhere else await self.invariant(trial)
        except AssertionError as error:
            self._blame(trial, f"the invariant does not hold: {error}")
        except Exception as error:
            self._blame(trial, f"the invariant raised {error!r}")
        else:
            self._compare(trial, seen)

    def _compare(self, trial: Trial, seen: Any) -> None:
        before, after = self.report.before, self.report.after
        legal = f"legal states: before ({before!r}) | after ({after!r})     found: {seen!r}"
        if not any(seen == one for one in (before, after, *self.also)):
            self._blame(trial, f"{legal}{_raised(trial)}")
        elif trial.acknowledged and seen != after:
            self._blame(trial, f"it was acknowledged, and is not there; {legal}")
        elif _outcome(trial) == "not_applied" and seen != before:
            self._blame(trial, f"its error says that nothing was applied; {legal}{_raised(trial)}")

    def _blame(self, trial: Trial, what: str) -> None:
        self.report.violations.append(Violation(trial.fault or "", what))


def _begun(name: str, step: Step, trial: Trial) -> Awaitable[Any]:
    work = step(trial)
    if not inspect.isawaitable(work):
        raise InvalidInputError.at(name, "an async function of a trial", step)
    return work


def _outcome(trial: Trial) -> str | None:
    found = getattr(trial.error, "outcome", None)
    return found if found in _OUTCOMES else None


def _raised(trial: Trial) -> str:
    return f"     raised: {trial.error!r}" if trial.error is not None else ""


def _copy(file: Path, folder: Path) -> None:
    folder.mkdir()
    for suffix in ("", "-wal", "-journal"):
        part = file.with_name(file.name + suffix)
        if part.exists():
            shutil.copyfile(part, folder / part.name)
