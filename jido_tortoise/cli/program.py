"""The program: its commands, its exit codes, and how it speaks of errors."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

from jido_tortoise.cli import output
from jido_tortoise.errors import (
    ConfigError,
    InvalidInputError,
    JidoError,
    StorageError,
)

#: What an exit code says. argparse's own errors are 2 as well.
OK, PROBLEM, USAGE, DATABASE, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 3, 130, 141

_EPILOG = """exit codes: 0 all is well; 1 a problem was found, or what was asked for is not there; 2 the call or the
config is wrong; 3 the database is not there or refused; 130 interrupted; 141 the reader of the output went away"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and answer its exit code.

    Args:
        arguments: As after the program's name; those of the process when None.
    """
    output.prepare()
    options = build_parser().parse_args(arguments)
    try:
        code = _run(options)
        print(end="", flush=True)
        return code
    except BrokenPipeError:
        return _pipe_closed()
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    try:
        code: int = options.run(options)
        return code
    except JidoError as error:
        return _told(error, options)


def _told(error: JidoError, options: argparse.Namespace) -> int:
    if options.debug:
        traceback.print_exception(error)
    output.say(f"jido-tortoise: {error}")
    if options.json:
        output.print_json({"error": {"type": type(error).__name__, "reason": error.reason, "message": str(error)}})
    return exit_code(error)


def exit_code(error: JidoError) -> int:
    """Answer the exit code that says what kind of error it is."""
    if isinstance(error, ConfigError | InvalidInputError):
        return USAGE
    return DATABASE if isinstance(error, StorageError) else PROBLEM


def _pipe_closed() -> int:
    # Python flushes stdout once more at its end, and would complain again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE_CLOSED


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands; what a command needs is imported when it runs."""
    from jido_tortoise.cli import adk, agents, demo, doctor, migrations, recording, schema

    parser = argparse.ArgumentParser(
        prog="jido-tortoise",
        description="Durable agents on Tortoise ORM: the tables, and what stands in them.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for group in (demo, schema, doctor, migrations, agents, adk, recording):
        group.add_to(commands)
    return parser


class _ShowVersion(argparse.Action):
    """Looks it up only when somebody asks for it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from jido_tortoise import __version__

        print(f"jido-tortoise {__version__}")
        parser.exit()
