"""Options that several commands share, and the config that they name."""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jido_tortoise import checks
from jido_tortoise.errors import ConfigError, InvalidInputError

if TYPE_CHECKING:
    from tortoise.models import Model

    from jido_tortoise.adk.store import AdkSessionStore
    from jido_tortoise.agents.tortoise import TortoiseStorage
    from jido_tortoise.database import Db
    from jido_tortoise.recording.queries import QueryAPI


def common() -> argparse.ArgumentParser:
    """Build the options of every command."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--json", action="store_true", help="print JSON on stdout, also of an error")
    parser.add_argument("--debug", action="store_true", help="print the traceback of an error")
    return parser


def database() -> argparse.ArgumentParser:
    """Build the options of the commands that need a database."""
    parser = argparse.ArgumentParser(add_help=False, parents=[common()])
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "-c",
        "--config",
        metavar="MODULE.NAME",
        help="the Tortoise config, such as shop.settings.TORTOISE_ORM; else what TORTOISE_ORM in the environment names,"
        " else `tortoise_orm` of [tool.aerich] or [tool.tortoise] in the pyproject.toml of this folder",
    )
    which.add_argument("--db", metavar="URL", help="instead of a config: a database that holds our tables alone")
    parser.add_argument("--schema", metavar="NAME", help="the PostgreSQL schema of our tables")
    return parser


def connected() -> argparse.ArgumentParser:
    """Build the options of the commands that look into one database."""
    parser = argparse.ArgumentParser(add_help=False, parents=[database()])
    parser.add_argument("--connection", metavar="ALIAS", help="another connection of the config than that of our app")
    return parser


def families() -> argparse.ArgumentParser:
    """Build the option that says which of our tables a database without a config has."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--family",
        action="append",
        default=[],
        metavar="NAME",
        help="with --db: agents, adk or recording, as often as there are; agents when none is given",
    )
    return parser


def moment(text: str) -> datetime:
    """Read an argument as a moment of ISO 8601; without a zone it is of this machine's."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        wished = "a moment of the years 1 to 9999, such as 2026-01-31 or 2026-01-31T09:30Z"
        raise argparse.ArgumentTypeError(f"expected {wished}, got {text!r}") from error


def number(least: int, most: int = checks.MOST) -> Callable[[str], int]:
    """Answer what reads an argument as a whole number from `least` to `most`; argparse says which option it was."""

    def read(text: str) -> int:
        try:
            found = int(text)
        except ValueError:
            found = least - 1
        if not least <= found <= most:
            upto = "on" if most == checks.MOST else f"to {most}"
            raise argparse.ArgumentTypeError(f"expected a number from {least} {upto}, got {text!r}")
        return found

    return read


# -- the config ---------------------------------------------------------------------------------------------------


def settings_of(options: argparse.Namespace, *families: str) -> dict[str, Any]:
    """Answer the Tortoise config that the options, the environment or pyproject.toml name.

    Args:
        options: As they were given.
        families: Which of ours a database that is named by `--db` has; "agents" when none is given.

    Raises:
        ConfigError: None is named, or it cannot be imported or read.
    """
    from jido_tortoise.host_config import read_config
    from jido_tortoise.schema.apps import apps

    if options.db is not None:
        return read_config({"connections": {"default": options.db}, "apps": apps(*families)})
    name, source = _named(options.config)
    sys.path[:0] = [path for path in (os.path.abspath(source), os.getcwd()) if path not in sys.path]
    return read_config(name)


def chosen_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Answer the Tortoise config of a command that takes `--family`; see `settings_of`.

    Raises:
        InvalidInputError: There is no such family, or the config says which there are.
    """
    if options.family and options.db is None:
        raise InvalidInputError.at("--family", "--db beside it: a config says which it has", options.family)
    return settings_of(options, *options.family)


def _named(given: str | None) -> tuple[str, str]:
    """Answer the config's name, and the folder to import it from."""
    tool = _tool_section(Path("pyproject.toml"))
    source = str(tool.get("src") or ".")
    name = given or os.environ.get("TORTOISE_ORM") or tool.get("tortoise_orm")
    if not name:
        raise ConfigError(
            "no Tortoise config: name it by -c shop.settings.TORTOISE_ORM, by TORTOISE_ORM in the environment, or by"
            ' `tortoise_orm = "shop.settings.TORTOISE_ORM"` under [tool.aerich] or [tool.tortoise] in pyproject.toml;'
            " or name a database by --db sqlite://agents.db",
            reason="no_config",
        )
    return str(name), source


def _tool_section(path: Path) -> dict[str, Any]:
    try:
        tool = tomllib.loads(path.read_text("utf-8")).get("tool", {})
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    sections = [tool.get(name) for name in ("aerich", "tortoise")]
    return next((one for one in sections if isinstance(one, dict) and "tortoise_orm" in one), {})


@asynccontextmanager
async def opened_any(options: argparse.Namespace) -> AsyncIterator[None]:
    """Initialise Tortoise by the options for the block, whichever of our families it has.

    Raises:
        ConfigError: The config cannot be used, or names a SQLite file that is not there.
    """
    async with _initialised(options, chosen_settings(options)):
        yield


@asynccontextmanager
async def opened(options: argparse.Namespace) -> AsyncIterator[TortoiseStorage]:
    """Initialise Tortoise by the options for the block, and answer the storage that they mean.

    Raises:
        ConfigError: The config cannot be used, or names a SQLite file that is not there.
    """
    from jido_tortoise.agents.models import JidoCheckpoint
    from jido_tortoise.agents.tortoise import TortoiseStorage

    async with _initialised(options, settings_of(options), JidoCheckpoint):
        yield TortoiseStorage(connection=options.connection, schema=options.schema)


@asynccontextmanager
async def opened_adk(options: argparse.Namespace) -> AsyncIterator[AdkSessionStore]:
    """Initialise Tortoise by the options for the block, and answer the store of ADK sessions that they mean.

    Raises:
        ConfigError: The config cannot be used, or names a SQLite file that is not there.
    """
    from jido_tortoise.adk.models import AdkSession
    from jido_tortoise.adk.store import AdkSessionStore

    async with _initialised(options, settings_of(options, "adk"), AdkSession):
        yield AdkSessionStore(connection=options.connection, schema=options.schema)


@asynccontextmanager
async def opened_recording(options: argparse.Namespace) -> AsyncIterator[QueryAPI]:
    """Initialise Tortoise by the options for the block, and answer the queries of the recorded sessions that they mean.

    Raises:
        ConfigError: The config cannot be used, or names a SQLite file that is not there.
    """
    from jido_tortoise.recording.models import AsmSession
    from jido_tortoise.recording.queries import QueryAPI

    async with _initialised(options, settings_of(options, "recording"), AsmSession):
        yield QueryAPI(options.connection, options.schema, raw=True)


@asynccontextmanager
async def _initialised(
    options: argparse.Namespace, settings: dict[str, Any], *models: type[Model]
) -> AsyncIterator[None]:
    from tortoise.context import TortoiseContext
    from tortoise.exceptions import ConfigurationError

    from jido_tortoise.database import resolve
    from jido_tortoise.schema.apps import registered_families

    async with TortoiseContext() as context:
        try:
            await context.init(config=settings)
        except (ConfigurationError, ImportError) as error:
            raise ConfigError(f"Tortoise cannot use this config: {error}") from error
        for model in models or [family.model_classes()[0] for family in registered_families()]:
            refuse_missing_file(resolve(options.connection, model, schema=options.schema))
        yield


def refuse_missing_file(db: Db) -> None:
    """Keep SQLite from making an empty file where none is.

    Raises:
        ConfigError: There is no file.
    """
    from jido_tortoise.schema.locks import lock_file

    file = db.client.filename if db.dialect == "sqlite" else ""
    if lock_file(file) and not file.startswith("file:") and not os.path.exists(file):
        raise ConfigError(f"no database file {file}: `jido-tortoise upgrade` makes it", reason="no_file")
