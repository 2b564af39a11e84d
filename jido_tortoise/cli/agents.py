"""`agents list|show|repair|export`: stored agents, without the classes of the host where that can be."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jido_tortoise.cli import golden, options, output
from jido_tortoise.errors import CorruptRowError

if TYPE_CHECKING:
    from jido_tortoise.agents.storage import CheckpointInfo
    from jido_tortoise.cli.stored import StoredAgent


def add_to(commands: Any) -> None:
    """Add the commands of this group."""
    group = commands.add_parser("agents", help="look at stored agents, and repair them")
    actions = group.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_list(actions)
    _add_show(actions)
    _add_repair(actions)
    _add_export(actions)


def _add_list(actions: Any) -> None:
    one = actions.add_parser("list", parents=[options.connected()], help="list checkpoints, oldest first")
    _add_filters(one)
    one.add_argument("--limit", type=options.number(1), default=100, metavar="N", help="at most N (default: 100)")
    one.add_argument("--after", metavar="CURSOR", help="go on after a page; it printed the cursor")
    one.set_defaults(run=_runner(_list))


def _add_show(actions: Any) -> None:
    one = actions.add_parser(
        "show",
        parents=[options.connected()],
        help="show an agent's checkpoint and its last entries",
        description="Show what is stored, as JSON with our tags; no class of the host is needed.",
    )
    one.add_argument(
        "name", nargs="+", metavar="KEY | TYPE ID", help="a checkpoint's key (text or JSON), or type and id"
    )
    _add_partition(one)
    one.add_argument(
        "--entries", type=options.number(0), default=10, metavar="N", help="the last N entries (default: 10)"
    )
    one.set_defaults(run=_runner(_show))


def _add_repair(actions: Any) -> None:
    one = actions.add_parser(
        "repair",
        parents=[options.connected()],
        help="make an agent thaw again, and say what was done",
        description="Rebuild a journal's head from its entries, a pointer from the head and, given the class, a lost"
        " checkpoint from the journal. Entries are never changed.",
    )
    one.add_argument("type", metavar="TYPE")
    one.add_argument("id", metavar="ID")
    _add_partition(one)
    one.add_argument(
        "--class", dest="cls", metavar="PKG.MOD:CLASS", help="the agent's class; needed when its checkpoint is lost"
    )
    one.set_defaults(run=_runner(_repair))


def _add_export(actions: Any) -> None:
    one = actions.add_parser(
        "export",
        parents=[options.connected()],
        help="write agents as lines of JSON, or as golden files for tests",
        description="Write a line for each checkpoint and, after it, one for each entry of its journal, as stored. With"
        " --golden write a file for each agent, with all values replaced.",
    )
    one.add_argument("name", nargs="*", metavar="KEY | TYPE ID", help="one agent only")
    _add_filters(one)
    one.add_argument("-o", "--output", type=Path, metavar="FILE", help="a new file (default: stdout)")
    golden.add_options(one)
    one.set_defaults(run=_runner(_export))


def _add_partition(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--partition", metavar="NAME", help='the partition; "" means none')


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--type", metavar="TYPE", help="only agents of this type")
    _add_partition(parser)


def _runner(command: Callable[[argparse.Namespace, Any], Coroutine[Any, Any, int]]) -> Callable[..., int]:
    async def connect(given: argparse.Namespace) -> int:
        async with options.opened(given) as storage:
            return await command(given, storage)

    return lambda given: asyncio.run(connect(given))


# -- list ---------------------------------------------------------------------------------------------------------


async def _list(given: argparse.Namespace, storage: Any) -> int:
    page = await storage.list_checkpoints(
        agent_type=given.type, partition=given.partition, limit=given.limit, after=given.after
    )
    if given.json:
        output.print_json({"agents": [_info(item) for item in page.items], "next": page.next})
        return 0
    rows = [_row(item) for item in page.items]
    output.print_table(("type", "partition", "id", "rev", "version", "updated"), rows, numbers=("rev", "version"))
    if page.next:
        output.say(f"there are more: --after {page.next}")
    return 0


def _info(item: CheckpointInfo) -> dict[str, Any]:
    from jido_tortoise.agents.keys import Unreadable
    from jido_tortoise.cli import stored

    return {
        "key": stored.key_as_json(item.key),
        "type": item.agent_type,
        "partition": item.partition,
        "id": item.agent_id.text if isinstance(item.agent_id, Unreadable) else item.agent_id,
        "thread": item.thread_id,
        "rev": item.thread_rev,
        "version": item.version,
        "created": item.created_at.isoformat(),
        "updated": item.updated_at.isoformat(),
    }


def _row(item: CheckpointInfo) -> list[Any]:
    from jido_tortoise.agents.keys import Unreadable, id_text

    key, id = (one.text if isinstance(one, Unreadable) else one for one in (item.key, item.agent_id))
    shown = f"key {key!r}" if id is None else id if isinstance(item.agent_id, Unreadable) else id_text(id)
    return [
        item.agent_type,
        item.partition,
        shown,
        item.thread_rev,
        item.version,
        f"{item.updated_at:%Y-%m-%d %H:%M:%SZ}",
    ]


# -- show ---------------------------------------------------------------------------------------------------------


async def _show(given: argparse.Namespace, storage: Any) -> int:
    from jido_tortoise.cli import stored

    agent = await stored.find(storage, await stored.named(storage, given.name, given.partition))
    entries = await stored.last_entries(storage, agent, given.entries)
    if given.json:
        output.print_json({**agent.as_json(), "entries": entries})
    else:
        _print_agent(agent, entries)
    return 0


def _print_agent(agent: StoredAgent, entries: list[dict[str, Any]]) -> None:
    print(output.clean(f"{agent.shown_key}, written {output.times(agent.version)}"))
    data = agent.data if isinstance(agent.data, dict) else {"data": agent.data}
    width = max(map(len, data), default=0)
    for name, value in data.items():
        print(output.clean(f"  {name:{width}}  {output.as_json(value)}"))
    if entries:
        print()
        rows = [[one["seq"], one["at"], one["kind"], output.as_json(one["payload"])] for one in entries]
        output.print_table(("seq", "at", "kind", "payload"), rows, numbers=("seq",))


# -- repair -------------------------------------------------------------------------------------------------------


async def _repair(given: argparse.Namespace, storage: Any) -> int:
    from jido_tortoise.agents.care import repair
    from jido_tortoise.agents.keys import checkpoint_key, id_of
    from jido_tortoise.cli import stored

    cls = stored.import_agent(given.cls, given.type) if given.cls else stored.class_of(given.type)
    id, partition = id_of(given.id), given.partition or None
    key = checkpoint_key(given.type, id, partition)
    await stored.refuse_unknown_classes(storage, key)
    if cls is None:
        await stored.refuse_lost_checkpoint(storage, key)
    found = await repair(storage, cls or stored.stand_in(given.type), id, partition=partition, key=key)
    if given.json:
        output.print_json({"key": str(found.key), "done": found.done})
    else:
        print(output.clean("\n".join(found.done)) or "nothing was wrong")
    return 0


# -- export -------------------------------------------------------------------------------------------------------


async def _export(given: argparse.Namespace, storage: Any) -> int:
    from jido_tortoise.cli import stored

    if golden.is_wished(given):
        return await golden.export(given, storage, _keys(given, storage))
    agents = entries = skipped = 0
    with output.target(given.output) as file:
        async for key in _keys(given, storage):
            try:
                agent = await stored.find(storage, key)
            except CorruptRowError as error:
                if given.name:
                    raise
                output.say(f"skipped: {error}")
                skipped += 1
                continue
            output.print_line({"record": "checkpoint", **agent.as_json()}, file)
            agents += 1
            async for entry in stored.all_entries(storage, agent):
                output.print_line({"record": "entry", "thread": agent.thread_id, **entry}, file)
                entries += 1
    output.say(f"checkpoints: {agents}, entries: {entries}" + (f", skipped: {skipped}" if skipped else ""))
    return 1 if skipped else 0


async def _keys(given: argparse.Namespace, storage: Any) -> AsyncIterator[Any]:
    from jido_tortoise.cli import stored

    if given.name:
        yield await stored.named(storage, given.name, given.partition)
        return
    async for item in stored.listed(storage, given.type, given.partition):
        yield item.key
