"""`agents export --golden`: files for tests that thaw them with tomorrow's code; nobody's words are in them."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jido_tortoise.cli import options, output
from jido_tortoise.errors import InvalidInputError, JidoError, said

if TYPE_CHECKING:
    from jido_tortoise.cli.stored import StoredAgent
    from jido_tortoise.golden.files import Golden

_FOLDER = Path("tests/golden")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of golden files to a command."""
    group = parser.add_argument_group("golden files")
    group.add_argument("--golden", action="store_true", help="write a file for each agent, with all values replaced")
    group.add_argument("--out", type=Path, metavar="DIR", help=f"where (default: {_FOLDER}); files there never change")
    group.add_argument(
        "--limit", type=options.number(1), metavar="N", help="at most N agents of each type and version, oldest first"
    )
    group.add_argument(
        "--keep", action="append", default=[], metavar="PATH", help="values to keep, such as state.status or payload.*"
    )
    group.add_argument(
        "--hide", action="append", default=[], metavar="PATH", help="a dict whose keys are values, such as state.visits"
    )


def is_wished(given: argparse.Namespace) -> bool:
    """Tell whether golden files are wished for.

    Raises:
        InvalidInputError: The options do not fit together.
    """
    alone = [f"--{name}" for name in ("out", "limit", "keep", "hide") if getattr(given, name)]
    if alone and not given.golden:
        raise InvalidInputError.at(alone[0], "--golden with it", said("none"))
    if given.golden and given.output:
        raise InvalidInputError.at("--output", "--out DIR with --golden", said(str(given.output)))
    return bool(given.golden)


@dataclass
class _Tally:
    """What was done."""

    written: list[str] = field(default_factory=list)
    unchanged: int = 0
    skipped: int = 0
    by_kind: Counter[tuple[str, int]] = field(default_factory=Counter)


async def export(given: argparse.Namespace, storage: Any, keys: AsyncIterator[Any]) -> int:
    """Write the files, and say what was written."""
    from jido_tortoise.cli import stored

    folder, tally = given.out or _FOLDER, _Tally()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        async for key in keys:
            await _export(given, folder, storage, await stored.find(storage, key), tally)
    except OSError as error:
        raise InvalidInputError.at("--out", "a folder to write to", said(f"{folder}: {error}")) from error
    if given.json:
        output.print_json({"written": tally.written, "unchanged": tally.unchanged, "skipped": tally.skipped})
    else:
        print(output.clean("\n".join(tally.written)) or "nothing to write")
    output.say(f"written: {len(tally.written)}, there already: {tally.unchanged}, no agents: {tally.skipped}")
    return 0


async def _export(given: argparse.Namespace, folder: Path, storage: Any, agent: StoredAgent, tally: _Tally) -> None:
    from jido_tortoise.golden.files import kind_of, write

    kind = kind_of(agent.data)
    if kind is None:
        tally.skipped += 1
        return
    if given.limit is not None and tally.by_kind[kind] >= given.limit:
        return
    tally.by_kind[kind] += 1
    golden = await _golden(given, storage, agent)
    path = write(golden, folder)
    if path is None:
        tally.unchanged += 1
        return
    tally.written.append(str(path))
    await _try(golden, path)


async def _golden(given: argparse.Namespace, storage: Any, agent: StoredAgent) -> Golden:
    from jido_tortoise.cli import stored
    from jido_tortoise.golden.anonymise import Anonymiser
    from jido_tortoise.golden.files import anonymised

    head = await storage.get_thread_head(agent.thread_id) if agent.thread_id else None
    return await anonymised(agent.data, head, stored.all_entries(storage, agent), Anonymiser(given.keep, given.hide))


async def _try(golden: Golden, path: Path) -> None:
    """Warn when the class is at hand, and cannot do with the replaced values."""
    from jido_tortoise.cli import stored
    from jido_tortoise.golden.files import in_memory, thaw

    cls = stored.class_of(golden.agent_type)
    if cls is None:
        return
    try:
        await thaw(await in_memory(golden), cls)
    except JidoError as error:
        output.say(f"{path} does not thaw ({error}): when a value was needed, --keep its path, such as state.status")
