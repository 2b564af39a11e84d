"""Measure what the library promises about speed and memory, beside floors that move the same bytes.

    python -m tests.benchmarks [--only WORD ...] [--rounds N] [--quick] [--scale X] [--server URL] [--json]

Not tests: nothing fails when a bound is missed, since one run on a shared machine proves nothing. Ours and its floor
take turns within one run, and what counts is the median of their ratios. fsync is on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from tests.benchmarks import (
    adk,
    adk_service,
    appending,
    crowding,
    hibernating,
    importing,
    pruning,
    recorded,
    recording,
    report,
    streaming,
    testing,
    walking,
)
from tests.benchmarks.measure import Line
from tests.benchmarks.places import Place, file_system, on_disk, postgres, postgres_server, sqlite
from tests.benchmarks.setting import Size

Measure = Callable[[Place, Size], Awaitable[list[Line]]]

_RESULTS = Path(__file__).resolve().parents[2] / "bench-results"
_WHOLE: dict[str, Measure] = {
    "append": appending.one,
    "append100": appending.hundred,
    "hibernate": hibernating.hibernate,
    "thaw": hibernating.thaw,
    "torn": hibernating.consistent,
    "crowd": crowding.crowd,
    "walk": walking.walk,
    "usual": appending.usual,
    "telemetry": appending.observed,
    "recording-append": recording.append,
    "recording-stream": streaming.stream,
    "recording-page": recorded.pages,
    "recording-usage": recorded.usage,
    "recording-prune": pruning.prune,
    "adk-append": adk.append,
    "adk-large": adk.append_large,
    "adk-get": adk.get,
    "adk-recent": adk.recent,
    "adk-page": adk.page,
    "adk-service": adk_service.append,
    "adk-load": adk_service.get,
    "adk-turn": adk_service.turn,
}
#: What is measured where, by the name that `--only` looks for.
PLAN: dict[str, dict[str, Measure]] = {
    "postgres": {**_WHOLE, "trigger": appending.guarded},
    "postgres-nowait": {
        "append": appending.one,
        "append100": appending.hundred,
        "hibernate": hibernating.hibernate,
        "usual": appending.usual,
    },
    "sqlite-full": {**_WHOLE, "hops": appending.hop},
    "sqlite-advised": {"adk-append": adk.append, "adk-service": adk_service.append},
    "sqlite-normal": {"append": appending.one},
    "sqlite-memory": {
        "append": appending.one,
        "append100": appending.hundred,
        "thaw": hibernating.thaw,
        "usual": appending.usual,
    },
}


def main(arguments: list[str]) -> int:
    """Measure what was asked for, print the table and keep the samples."""
    asked = _parser().parse_args(arguments)
    rounds = asked.rounds or (30 if asked.quick else 300)
    size = Size(rounds, asked.scale or (0.1 if asked.quick else 1.0))
    with postgres_server(asked.server) as url:
        facts, lines = asyncio.run(_measure(asked.only, size, url))
    print(json.dumps(report.as_dicts(lines), indent=1) if asked.json else report.table(lines))
    kept = report.keep(lines, facts, asked.results)
    print(f"\n{_sum(lines)}; all samples: {kept}", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", action="append", default=[], metavar="WORD", help="e.g. append, adk, adk-get, sqlite, import"
    )
    parser.add_argument("--rounds", type=int, help="of each measurement (300; 30 when quick)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds and of the lengths")
    parser.add_argument("--scale", type=float, help="of the lengths (1; 0.1 when quick)")
    parser.add_argument("--server", metavar="URL", help="a PostgreSQL that runs, instead of one of our own")
    parser.add_argument("--results", type=Path, default=_RESULTS, metavar="FOLDER", help="where the samples go")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    return parser


async def _measure(only: list[str], size: Size, server_url: str) -> tuple[dict[str, Any], list[Line]]:
    facts: dict[str, Any] = report.machine() | {"rounds": size.rounds, "scale": size.scale}
    facts["file_system"] = file_system(on_disk())
    lines: list[Line] = []
    for where, measures in PLAN.items():
        for what, measure in measures.items():
            if not _wished(only, where, what):
                continue
            async with _opened(where, server_url) as place:
                _say(f"{what} on {place.name}")
                facts.setdefault(where, await _settings(place))
                lines += await measure(place, size)
    if _wished(only, "import", "import"):
        _say("import")
        lines += await importing.imports(size)
    if _wished(only, "testing", "testing"):
        _say("testing")
        lines += await testing.measured(size)
    return facts, lines


def _wished(only: list[str], where: str, what: str) -> bool:
    """Tell whether the words allow it: one of those that name works or kinds of them, and one of those for places."""
    works = [word for word in only if not any(word in place for place in PLAN)]
    places = [word for word in only if word not in works]
    return (not works or what in works or what.partition("-")[0] in works) and (
        not places or any(word in where for word in places)
    )


def _opened(where: str, server_url: str) -> AbstractAsyncContextManager[Place]:
    match where:
        case "postgres" | "postgres-nowait":
            return postgres(server_url, waiting=where == "postgres")
        case "sqlite-full":
            return sqlite("FULL")
        case "sqlite-advised":
            return sqlite("advised")
        case "sqlite-normal":
            return sqlite("NORMAL")
    return sqlite("memory")


async def _settings(place: Place) -> dict[str, Any]:
    """Read what decides how long a write waits."""
    if place.dialect == "postgres":
        names = ["server_version", "fsync", "synchronous_commit", "full_page_writes", "autovacuum", "data_directory"]
        return {name: (await place.run(f"SHOW {name}"))[0][0] for name in names}
    names = ["journal_mode", "synchronous", "journal_size_limit", "busy_timeout"]
    return {name: (await place.run(f"PRAGMA {name}"))[0][0] for name in names}


def _say(text: str) -> None:
    print(f"... {text}", file=sys.stderr, flush=True)


def _sum(lines: list[Line]) -> str:
    verdicts = [line.verdict for line in lines]
    return f"{verdicts.count('ok')} bounds met, {verdicts.count('short')} short"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
