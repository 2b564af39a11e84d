"""The demo as a whole: three processes, one after the other, and what they told."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol, cast

from jido_tortoise import errors, seams
from jido_tortoise.demo.agent import Listener
from jido_tortoise.demo.stages import STAGES, Task
from jido_tortoise.demo.transcripts import check_file
from jido_tortoise.errors import JidoError
from jido_tortoise.jido import Jido
from jido_tortoise.schema import apps, upgrade

#: The conversations that ship with the library.
OWN_TRANSCRIPTS = Path(__file__).parent / "transcripts.jsonl"
#: How many bad lines and differences a report lists; all are counted, and told as they are found.
_LISTED = 1000
#: Seconds that a process has to end by itself when it is told to.
_PATIENCE = 10.0


class Watcher(Protocol):
    """Who is told what happens while the demo runs."""

    def note(self, text: str) -> None:
        """Hear of a step."""
        ...

    def begin(self, stage: str) -> None:
        """Hear that a process begins."""
        ...

    def progress(self, agents: int, share: float) -> None:
        """Hear how many agents it has done, and which share of the input that is, from 0 to 1."""
        ...

    def end(self, agents: int) -> None:
        """Hear that it has done its part, and with how many agents."""
        ...

    def skipped(self, line: int, reason: str) -> None:
        """Hear of a bad line."""
        ...

    def difference(self, line: int | None, text: str) -> None:
        """Hear of something that is not stored as it should be."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the demo is to do."""

    #: None: a SQLite file in a temporary folder.
    db: str | None = None
    schema: str | None = None
    transcripts: Path = OWN_TRANSCRIPTS
    limit: int | None = None
    every: int = 5
    #: Whether the agents, and the temporary file, stay.
    keep: bool = False


@dataclass(kw_only=True)
class Report:
    """What the demo found."""

    url: str
    run: str
    #: One result a process, in their order: pid, stage, counts, medians in seconds.
    processes: list[dict[str, Any]] = field(default_factory=list)
    #: The first of the bad lines, and of the differences.
    skipped: list[dict[str, Any]] = field(default_factory=list)
    differences: list[dict[str, Any]] = field(default_factory=list)

    @property
    def compared(self) -> dict[str, Any]:
        """What the last process, which compares, has counted."""
        return self.processes[-1]

    @property
    def ok(self) -> bool:
        """Whether there were conversations, and all of them are stored as the file has them."""
        return bool(self.compared["agents"] > 0 and self.compared["differing"] == 0)


def run_demo(plan: Plan, watcher: Watcher) -> Report:
    """Run the three processes and answer what they found.

    Raises:
        JidoError: The file or the database cannot be used, or a process ended before it was done.
    """
    size = check_file(plan.transcripts)
    with _database(plan, watcher) as (url, keep):
        report = Report(url=url, run=seams.new_id("demo-"))
        with _tidied(plan, report, keep):
            for stage in STAGES:
                _run_stage(_task(plan, report, stage), report, size, watcher)
    return report


@contextmanager
def _tidied(plan: Plan, report: Report, keep: bool) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(JidoError):  # when the database is gone, the first error is the one that tells why
            _remove_agents(plan, report, keep)
        raise
    _remove_agents(plan, report, keep)


def _remove_agents(plan: Plan, report: Report, keep: bool) -> None:
    if not keep:
        asyncio.run(remove_agents(report.url, plan.schema, report.run))


@contextmanager
def _database(plan: Plan, watcher: Watcher) -> Iterator[tuple[str, bool]]:
    """Answer the URL of a database with our tables, and whether the agents may stay there."""
    if plan.db is not None:
        watcher.note(f"upgrading our tables in {shown_url(plan.db)}")
        config = {"connections": {"default": plan.db}, "apps": apps()}
        asyncio.run(upgrade(config, schema=plan.schema))
        yield plan.db, plan.keep
        return
    folder = tempfile.mkdtemp(prefix="jido-demo-")
    watcher.note(f"on a SQLite file in {folder}")
    try:
        yield f"sqlite://{folder}/agents.db", True  # they go with the file
    finally:
        if not plan.keep:
            _remove(Path(folder))


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def _task(plan: Plan, report: Report, stage: str) -> Task:
    return Task(
        stage=stage,
        url=report.url,
        schema=plan.schema,
        transcripts=str(plan.transcripts),
        run=report.run,
        limit=plan.limit,
        every=plan.every,
    )


async def remove_agents(url: str, schema: str | None, run: str) -> int:
    """Delete the agents of a run with their journals, and answer how many there were."""
    removed = 0
    async with Jido.connect(url, schema=schema, partition=run) as jido:
        while (page := await jido.list(Listener)).items:
            for item in page.items:
                await jido.delete(Listener, item.agent_id)
                removed += 1
    return removed


# -- one process --------------------------------------------------------------------------------------------------


def _run_stage(task: Task, report: Report, size: int, watcher: Watcher) -> None:
    watcher.begin(task.stage)
    process = subprocess.Popen(
        [sys.executable, "-m", "jido_tortoise", "demo", "--stage"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with suppress(BrokenPipeError), cast(IO[str], process.stdin) as orders:  # its exit code will tell
            orders.write(json.dumps(asdict(task)) + "\n")
        for line in cast(IO[str], process.stdout):
            _hear(json.loads(line), task, report, size, watcher)
        code = process.wait()
    finally:
        _end(process)
    if code or len(report.processes) <= STAGES.index(task.stage):
        raise JidoError(
            f"the process {task.stage!r} ended with exit code {code} before it was done",
            reason="process_ended",
            code=code,
        )
    watcher.end(report.compared["agents"])


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _hear(told: dict[str, Any], task: Task, report: Report, size: int, watcher: Watcher) -> None:
    what = told.pop("what")
    if what == "error":
        raise _as_error(told, task.stage)
    if what == "result":
        report.processes.append(told)
    elif what == "progress":
        share = told["agents"] / task.limit if task.limit else 0.0
        watcher.progress(told["agents"], min(1.0, max(share, told["end"] / size)))
    elif what == "difference":
        watcher.difference(**told)
        _list(report.differences, told)
    elif task.stage == STAGES[0]:  # the others skip the same lines
        watcher.skipped(**told)
        _list(report.skipped, {"file": task.transcripts, **told})


def _list(known: list[dict[str, Any]], one: dict[str, Any]) -> None:
    if len(known) < _LISTED:
        known.append(one)


def _as_error(told: dict[str, Any], stage: str) -> JidoError:
    cls = getattr(errors, told["error"], JidoError)
    error: JidoError = cls(f"in the process {stage!r}: {told['message']}", reason=told["reason"])
    return error


def shown_url(url: str) -> str:
    """Answer a database URL without its password."""
    scheme, mark, rest = url.partition("://")
    user, at, place = rest.rpartition("@")
    return f"{scheme}{mark}{user.partition(':')[0]}{at}{re.sub('password=[^&]*', 'password=...', place)}"
