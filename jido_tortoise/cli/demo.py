"""`demo`: the main job on real input, and the process that it starts three times."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jido_tortoise.cli import options, output
from jido_tortoise.cli.progress import Display

if TYPE_CHECKING:
    from jido_tortoise.demo.run import Report

_DESCRIPTION = """Conversations run through agents message by message. Half way the agents hibernate and their process
ends; a second process thaws them and finishes; a third compares what is stored with the file. Exit code 1: something is
not stored as the file has it, or there was no conversation in it."""


def add_to(commands: Any) -> None:
    """Add the commands of this group."""
    demo = commands.add_parser(
        "demo", parents=[options.common()], help="run conversations through agents", description=_DESCRIPTION
    )
    demo.add_argument(
        "--db",
        metavar="URL",
        help="where, such as sqlite://agents.db or asyncpg://user@host/db: our tables are upgraded there, and the"
        " agents removed at the end (default: a SQLite file in a temporary folder)",
    )
    demo.add_argument("--schema", metavar="NAME", help="the PostgreSQL schema of our tables")
    demo.add_argument(
        "--transcripts",
        type=Path,
        metavar="FILE.jsonl",
        help='one conversation a line, {"messages": [...]} in the chat format of OpenAI; other keys become the'
        " thread's metadata (default: a small file of our own)",
    )
    demo.add_argument("--limit", type=options.number(1), metavar="N", help="only the first N conversations")
    demo.add_argument(
        "--every", type=options.number(1), default=5, metavar="N", help="hibernate after N messages (default: 5)"
    )
    demo.add_argument("--keep", action="store_true", help="leave the agents, and the temporary file, where they are")
    demo.add_argument("--strict", action="store_true", help="exit code 1 also when lines were skipped")
    # For the processes that the demo starts.
    demo.add_argument("--stage", dest="run", action="store_const", const=_stage, help=argparse.SUPPRESS)
    demo.set_defaults(run=_demo)


def _stage(_: argparse.Namespace) -> int:
    from jido_tortoise.demo.child import serve

    return serve()


def _demo(given: argparse.Namespace) -> int:
    from jido_tortoise.demo.run import OWN_TRANSCRIPTS, Plan, run_demo

    plan = Plan(
        db=given.db,
        schema=given.schema,
        transcripts=given.transcripts or OWN_TRANSCRIPTS,
        limit=given.limit,
        every=given.every,
        keep=given.keep,
    )
    with Display(plan.transcripts) as display:
        report = run_demo(plan, display)
    _print(report, given)
    return 1 if not report.ok or (given.strict and report.compared["skipped"]) else 0


def _print(report: Report, given: argparse.Namespace) -> None:
    from jido_tortoise.demo.run import shown_url

    if given.json:
        output.print_json({"ok": report.ok, **vars(report), "url": shown_url(report.url)})
        return
    headers = ("process", "pid", "agents", "entries", "bytes", *_TIMES, "seconds")
    output.print_table(headers, [_row(result) for result in report.processes], numbers=headers[1:])
    print("(medians; an append is made in memory, and stored by the hibernate that follows)")
    print(_verdict(report))
    if given.keep:
        print(f"the agents are in {shown_url(report.url)}, partition {report.run}")


_TIMES = ("append", "hibernate", "thaw")


def _row(result: dict[str, Any]) -> list[Any]:
    counts = [f"{result[name]:,}" for name in ("agents", "entries", "bytes")]
    times = [_duration(result[f"median_{name}"]) for name in _TIMES]
    return [result["stage"], result["pid"], *counts, *times, f"{result['seconds']:.2f}"]


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return f"{seconds * 1e6:.1f} µs" if seconds < 1e-4 else f"{seconds * 1e3:.2f} ms"


def _verdict(report: Report) -> str:
    done = report.compared
    skipped = f"; skipped lines: {done['skipped']:,}" if done["skipped"] else ""
    if not done["agents"]:
        return f"there is no conversation in the file{skipped}"
    if done["differing"]:
        return f"{done['differing']:,} of {done['agents']:,} agents are NOT stored as the file has them{skipped}"
    return f"{done['agents']:,} agents with {done['entries']:,} entries are stored as the file has them{skipped}"
