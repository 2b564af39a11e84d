"""`recording prune|health`: retention by a policy, and what should not be in the tables."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jido_tortoise.cli import options, output
from jido_tortoise.cli.progress import Tally
from jido_tortoise.errors import InvalidInputError

if TYPE_CHECKING:
    from jido_tortoise.recording import Maintenance, MaintenanceReport, RetentionPolicy
    from jido_tortoise.recording.retention_pass import Step

Command = Callable[[argparse.Namespace, "Maintenance"], Coroutine[Any, Any, int]]

#: The rules of a prune, by the fields of a policy.
_RULES = {
    "max_completed_session_age_days": ("--unchanged-days", "delete softly what was not changed for N days"),
    "max_session_age_days": ("--age-days", "delete softly what was made N days ago, however lively"),
    "hard_delete_after_days": ("--deleted-days", "delete for good what was deleted softly N days ago"),
    "max_events_per_session": ("--keep-events", "prune events of each session to N, the oldest first"),
    "max_total_events": ("--keep-total", "prune events of all sessions together to N, the oldest first"),
}


def add_to(actions: Any) -> None:
    """Add the commands."""
    _add_prune(actions)
    _add_health(actions)


def _add(actions: Any, name: str, command: Command, help: str, description: str) -> Any:
    one = actions.add_parser(name, parents=[options.connected()], help=help, description=description)
    one.add_argument("--artifacts", type=Path, metavar="FOLDER", help="where the content of artifacts is, as files")
    one.set_defaults(run=lambda given: asyncio.run(_connected(given, command)))
    return one


async def _connected(given: argparse.Namespace, command: Command) -> int:
    from jido_tortoise.recording import FileArtifactStore, Maintenance

    async with options.opened_recording(given):
        stores = () if given.artifacts is None else FileArtifactStore(given.artifacts)
        return await command(given, Maintenance(given.connection, given.schema, artifacts=stores))


# -- prune --------------------------------------------------------------------------------------------------------


def _add_prune(actions: Any) -> None:
    text = (
        "Delete by the rules that are given, in short transactions; interrupted, it is simply run again. Active and"
        " paused sessions, and those with the tag `pinned`, are left alone unless --exempt-* say otherwise. Artifacts"
        " whose content is nowhere given keep their rows, marked as deleted."
    )
    one = _add(actions, "prune", _prune, "delete old sessions, and events that are too many", text)
    for field, (option, help) in _RULES.items():
        one.add_argument(option, dest=field, type=options.number(1), metavar="N", help=help)
    several: dict[str, Any] = {"action": "append", "default": None}
    one.add_argument("--exempt-tag", metavar="TAG", help="leave alone what has this tag (several: any)", **several)
    one.add_argument("--exempt-status", metavar="STATUS", help="leave alone what has it (several: any)", **several)
    one.add_argument("--archive", type=Path, metavar="FOLDER", help="write what goes for good into files there before")
    one.add_argument(
        "--batch", type=options.number(1), default=100, metavar="N", help="rows of one transaction (default: 100)"
    )
    one.add_argument("--dry-run", action="store_true", help="only print what would go")


async def _prune(given: argparse.Namespace, maintenance: Maintenance) -> int:
    policy, steps = _policy(given), list[dict[str, Any]]()
    with Tally("rows", shown=not given.dry_run) as tally:

        def on_step(step: Step) -> None:
            tally.add(step.count)
            if given.dry_run and given.json:
                steps.append(asdict(step))
            elif given.dry_run:
                print(output.clean(f"{step.what:16} {step.count:8}  {step.session_id or ''}".rstrip()))

        report = await maintenance.execute(policy, dry_run=given.dry_run, on_step=on_step)
    _print_report(report, steps, given)
    return 1 if report.errors else 0


def _policy(given: argparse.Namespace) -> RetentionPolicy:
    from jido_tortoise.recording import FileArtifactStore, RetentionPolicy

    fields: dict[str, Any] = {name: getattr(given, name) for name in _RULES}
    if all(value is None for value in fields.values()):
        rules = ", ".join(option for option, _ in _RULES.values())
        raise InvalidInputError(f"say what is to go, by one of {rules}", path="options")
    for name, value in {"exempt_tags": given.exempt_tag, "exempt_statuses": given.exempt_status}.items():
        if value is not None:
            fields[name] = value
    if given.archive is not None:
        fields |= {"archive_before_prune": True, "archive_store": FileArtifactStore(given.archive)}
    return RetentionPolicy(**fields, batch_size=given.batch)


def _print_report(report: MaintenanceReport, steps: list[dict[str, Any]], given: argparse.Namespace) -> None:
    if given.json:
        output.print_json({**asdict(report), **({"steps": steps} if given.dry_run else {})})
        return
    counts = {name: value for name, value in asdict(report).items() if isinstance(value, int) and name != "dry_run"}
    del counts["duration_ms"]
    done = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in counts.items() if value)
    print(f"{'would be' if given.dry_run else 'done'}: {done or 'nothing'}")
    for error in report.errors:
        output.say(f"failed: {error}")


# -- health -------------------------------------------------------------------------------------------------------


def _add_health(actions: Any) -> None:
    text = (
        "Look for rows without their session or run, counters that are wrong, events that are missing, runs that nobody"
        " executes, and, given a folder, for content that is gone or was changed. Exit code 1 when something is left."
    )
    one = _add(actions, "health", _health, "look for what should not be, and repair it", text)
    one.add_argument("--contents", action="store_true", help="read the content of artifacts, and compare checksums")
    one.add_argument("--repair", action="store_true", help="right what can be righted without guessing")


async def _health(given: argparse.Namespace, maintenance: Maintenance) -> int:
    repaired = (await maintenance.repair()).repaired if given.repair else []
    issues = await maintenance.health_check(contents=given.contents)
    if given.json:
        output.print_json({"repaired": [asdict(one) for one in repaired], "issues": [asdict(one) for one in issues]})
    else:
        rows = [*(("repaired", one) for one in repaired), *(("found", one) for one in issues)]
        if rows:
            output.print_table(("", "issue", "what"), [[state, one.reason, one.message] for state, one in rows])
        else:
            print("healthy")
    return 1 if issues else 0
