"""`migrations heads|history|location|vendor`: the steps of our tables, and where Aerich finds them."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jido_tortoise.cli import options, output
from jido_tortoise.errors import ConfigError, InvalidInputError, said

if TYPE_CHECKING:
    from jido_tortoise.schema.apps import Home


def add_to(commands: Any) -> None:
    """Add the commands of this group."""
    group = commands.add_parser("migrations", help="the steps of our tables, and where Aerich finds them")
    actions = group.add_subparsers(title="commands", metavar="COMMAND", required=True)
    heads = actions.add_parser(
        "heads", parents=[options.database(), options.families()], help="show the newest step of each app"
    )
    heads.set_defaults(run=_steps, only_last=True)
    history = actions.add_parser(
        "history", parents=[options.database(), options.families()], help="show all steps of each app"
    )
    history.set_defaults(run=_steps, only_last=False)
    location = actions.add_parser(
        "location", parents=[options.common()], help="print the folder of the steps: Aerich's `location` for our apps"
    )
    location.set_defaults(run=_location)
    _add_vendor(actions)


def _add_vendor(actions: Any) -> None:
    one = actions.add_parser(
        "vendor",
        parents=[options.common()],
        help="write stubs of the steps into your own folder of migrations",
        description="For plain `aerich --app jido_agents upgrade` with your location: a stub runs the installed step.",
    )
    one.add_argument("folder", type=Path, metavar="DIR", help="Aerich's location, such as ./migrations")
    one.add_argument(
        "--family",
        action="append",
        default=[],
        metavar="NAME",
        help="agents, adk or recording, as often as there are; agents when none is given",
    )
    one.add_argument("--label", help="the app's label in your config when it is not jido_FAMILY")
    one.set_defaults(run=_vendor)


# -- heads and history --------------------------------------------------------------------------------------------


def _steps(given: argparse.Namespace) -> int:
    rows = [row for steps in asyncio.run(_read(given)) for row in (steps[-1:] if given.only_last else steps)]
    if given.json:
        output.print_json({"steps": rows})
        return 0
    words = {True: "yes", False: "no", None: "unknown: no config"}
    cells = [[row["app"], row["step"], row["version"], words[row["applied"]]] for row in rows]
    output.print_table(("app", "step", "schema version", "applied"), cells, numbers=("schema version",))
    return 0


async def _read(given: argparse.Namespace) -> list[list[dict[str, Any]]]:
    from jido_tortoise.schema.apps import find_homes
    from jido_tortoise.schema.families import FAMILIES
    from jido_tortoise.schema.upgrade import own_connections

    try:
        settings = options.chosen_settings(given)
    except ConfigError as error:
        if error.reason != "no_config":
            raise
        return [_rows(family, family.label, None) for family in FAMILIES.values()]
    found = []
    for home in find_homes(settings):
        async with own_connections(settings, {home.alias, home.listed_on}):
            found.append(_rows(home.family, home.label, await _applied(home, given.schema)))
    return found


async def _applied(home: Home, schema: str | None) -> set[str]:
    from jido_tortoise.schema import ledger
    from jido_tortoise.schema.execute import db_of

    book = db_of(home.listed_on if schema is None else home.alias, schema)
    options.refuse_missing_file(book)
    return await ledger.applied(book, home.listed_as)


def _rows(family: Any, label: str, applied: set[str] | None) -> list[dict[str, Any]]:
    return [
        {
            "app": label,
            "step": step.name,
            "version": step.version,
            "applied": None if applied is None else step.name in applied,
        }
        for step in family.steps
    ]


# -- files --------------------------------------------------------------------------------------------------------


def _location(given: argparse.Namespace) -> int:
    from jido_tortoise.schema import migrations_location

    place = str(migrations_location())
    output.print_json({"location": place}) if given.json else print(place)
    return 0


def _vendor(given: argparse.Namespace) -> int:
    from jido_tortoise.schema import vendor

    try:
        written = [str(path) for path in vendor(given.folder, *given.family, label=given.label)]
    except OSError as error:
        raise InvalidInputError.at("DIR", "a folder to write to", said(f"{given.folder}: {error}")) from error
    if given.json:
        output.print_json({"written": written})
    else:
        print("\n".join(written) or "nothing to write: all stubs are there")
    return 0
