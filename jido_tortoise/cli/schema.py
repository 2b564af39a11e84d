"""`upgrade` and `verify`: our tables."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from jido_tortoise.cli import options, output

if TYPE_CHECKING:
    from jido_tortoise.schema import Progress, UpgradeReport


def add_to(commands: Any) -> None:
    """Add the commands of this group."""
    upgrade = commands.add_parser(
        "upgrade",
        parents=[options.database(), options.families()],
        help="make or upgrade our tables, under a lock",
        description="Bring our tables to the newest version; several processes may do so at once, and one does it.",
    )
    upgrade.add_argument("--all", action="store_true", help="the host's own apps too, after ours")
    upgrade.add_argument("--fake", action="store_true", help="list our steps as applied without running them")
    upgrade.add_argument("--location", metavar="DIR", help="where Aerich's files of the host's apps are (with --all)")
    upgrade.set_defaults(run=_upgrade)
    verify = commands.add_parser(
        "verify",
        parents=[options.connected(), options.families()],
        help="say whether our tables fit this version, and the cure when not",
        description="Compare our tables with what this version needs: columns, indexes, guards; exit code 1 when not.",
    )
    verify.set_defaults(run=_verify)


def _upgrade(given: argparse.Namespace) -> int:
    from jido_tortoise.schema import upgrade

    settings = options.chosen_settings(given)
    report = asyncio.run(
        upgrade(
            settings,
            all=given.all,
            schema=given.schema,
            progress=_tell,
            fake=given.fake,
            location=given.location,
        )
    )
    if given.json:
        output.print_json({"changed": report.changed, "apps": [asdict(app) for app in report.apps]})
    else:
        _show(report)
    return 0


def _tell(progress: Progress) -> None:
    if progress.what == "waiting":
        output.say(f"{progress.app}: waiting for another upgrade to end ...")
    else:
        output.say(f"{progress.app}: {progress.step} {progress.what}")


def _show(report: UpgradeReport) -> None:
    for app in report.apps:
        done = len(app.applied) + len(app.adopted)
        place = f"{app.connection}, schema {app.schema}" if app.schema else app.connection
        words = f"{done} step{'s' if done > 1 else ''} done" if done else "is up to date"
        print(f"{output.clean(app.app)} ({output.clean(place)}): {words}")


def _verify(given: argparse.Namespace) -> int:
    asyncio.run(_check(given))
    if given.json:
        output.print_json({"ok": True})
    else:
        print("our tables are as this version needs them")
    return 0


async def _check(given: argparse.Namespace) -> None:
    from jido_tortoise.schema import verify

    async with options.opened_any(given):
        await verify(given.connection, given.schema)
