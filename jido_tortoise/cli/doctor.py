"""`doctor`: everything about the connection, and what to change."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from jido_tortoise.cli import options, output

if TYPE_CHECKING:
    from jido_tortoise.doctor import Finding, Report


def add_to(commands: Any) -> None:
    """Add the commands of this group."""
    doctor = commands.add_parser(
        "doctor",
        parents=[options.connected(), options.families()],
        help="look at connection, tables, settings and versions, and say what to change",
        description="Look at everything that matters to us. Exit code 1: there is a problem; advice alone is 0.",
    )
    doctor.set_defaults(run=_doctor)


def _doctor(given: argparse.Namespace) -> int:
    report = asyncio.run(_examine(given))
    if given.json:
        output.print_json(
            {"ok": report.ok, "reachable": report.reachable, "findings": [asdict(one) for one in report.findings]}
        )
    else:
        _print(report)
    if not report.reachable:
        return 3
    return 0 if report.ok else 1


async def _examine(given: argparse.Namespace) -> Report:
    from jido_tortoise.doctor import examine

    async with options.opened_any(given):
        return await examine(given.connection, given.schema)


def _print(report: Report) -> None:
    output.print_table(("topic", "found", "level"), [(one.topic, one.found, one.level) for one in report.findings])
    cures = [one for one in report.findings if one.cure]
    if cures:
        print("\nwhat to change:")
    for one in sorted(cures, key=_urgency):
        print(output.clean(f"- {one.topic} ({one.level}): {one.cure}"))


def _urgency(finding: Finding) -> bool:
    return finding.level != "problem"
