"""`adk list|show|prune|delete|import`: stored ADK sessions, and those of an existing google-adk database."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from jido_tortoise.cli import options, output

if TYPE_CHECKING:
    from jido_tortoise.adk import AdkSessionStore, Session
    from jido_tortoise.adk.importing import Imported

_OK, _PROBLEM = 0, 1
_WIDTH = 24


def add_to(commands: Any) -> None:
    """Add the commands of this group."""
    group = commands.add_parser("adk", help="look at stored ADK sessions, clean them up, import them")
    actions = group.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_add_list, _add_show, _add_prune, _add_delete, _add_import):
        add(actions)


def _add_list(actions: Any) -> None:
    one = actions.add_parser("list", parents=[options.connected()], help="list sessions, the last updated first")
    _add_app(one)
    one.add_argument("--limit", type=options.number(1), default=100, metavar="N", help="at most N (default: 100)")
    one.add_argument("--after", metavar="CURSOR", help="go on after a page; it printed the cursor")
    one.set_defaults(run=_runner(_list))


def _add_show(actions: Any) -> None:
    one = actions.add_parser("show", parents=[options.connected()], help="show a session, its state and last events")
    _add_key(one)
    one.add_argument(
        "--events", type=options.number(0), default=10, metavar="N", help="the last N events (default: 10)"
    )
    one.set_defaults(run=_runner(_show))


def _add_prune(actions: Any) -> None:
    one = actions.add_parser(
        "prune",
        parents=[options.connected()],
        help="delete old sessions, and old events of those that stay",
        description="Each rule that is given suffices. A moment is one of ISO 8601, such as 2026-01-31 or"
        " 2026-01-31T12:00:00+01:00; without a zone it is of this machine's.",
    )
    _add_app(one)
    one.add_argument(
        "--sessions-before", type=options.moment, metavar="MOMENT", help="sessions that were not updated since"
    )
    one.add_argument(
        "--keep-sessions", type=options.number(0), metavar="N", help="all but the newest N sessions of each user"
    )
    one.add_argument(
        "--events-before", type=options.moment, metavar="MOMENT", help="the first events, up to this moment"
    )
    one.add_argument(
        "--keep-events", type=options.number(0), metavar="N", help="all but the last N events of each session"
    )
    one.add_argument("--dry-run", action="store_true", help="only count")
    one.set_defaults(run=_runner(_prune))


def _add_delete(actions: Any) -> None:
    one = actions.add_parser("delete", parents=[options.connected()], help="delete a session and its events")
    _add_key(one)
    one.add_argument("--invocation", metavar="ID", help="only the events of this invocation; the session stays")
    one.set_defaults(run=_runner(_delete))


def _add_import(actions: Any) -> None:
    one = actions.add_parser(
        "import",
        parents=[options.connected()],
        help="import the sessions of an existing google-adk database",
        description="An import may be repeated: it goes on where it was interrupted, and of a session that is here"
        " already it fetches what is new. One that has gone its own way here is named, and left as it is. Nothing in"
        " the source is changed, and no pickle is executed.",
    )
    one.add_argument("--from", dest="source", required=True, metavar="URL", help="as google-adk takes it")
    one.add_argument(
        "--local-times", action="store_true", help="an old source (v0) holds the local times of this machine, not UTC"
    )
    one.set_defaults(run=lambda given: asyncio.run(_prepared_import(given)))


def _add_app(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("app", metavar="APP", help="the app")
    parser.add_argument("--user", metavar="USER", help="only this user")


def _add_key(parser: argparse.ArgumentParser) -> None:
    for name in ("app", "user", "session"):
        parser.add_argument(name, metavar=name.upper())


def _runner(command: Callable[[argparse.Namespace, Any], Coroutine[Any, Any, int]]) -> Callable[..., int]:
    async def connect(given: argparse.Namespace) -> int:
        async with options.opened_adk(given) as store:
            return await command(given, store)

    return lambda given: asyncio.run(connect(given))


def _key(given: argparse.Namespace) -> dict[str, Any]:
    return {"app_name": given.app, "user_id": given.user, "session_id": given.session}


# -- list and show ------------------------------------------------------------------------------------------------


async def _list(given: argparse.Namespace, store: AdkSessionStore) -> int:
    bad: list[str] = []
    page = await store.page_sessions(
        app_name=given.app,
        user_id=given.user,
        with_state=False,
        limit=given.limit,
        after=given.after,
        on_corrupt=lambda error: bad.append(str(error)),
    )
    for line in bad:
        output.say(line)
    if given.json:
        output.print_json({"sessions": [_info(one) for one in page.items], "next": page.next, "corrupt": bad})
    else:
        rows = [[one.user_id, one.id, one.rev, f"{one.last_update_time:%Y-%m-%d %H:%M:%SZ}"] for one in page.items]
        output.print_table(("user", "session", "rev", "updated"), rows, numbers=("rev",))
        if page.next:
            output.say(f"there are more: --after {page.next}")
    return _PROBLEM if bad else _OK


def _info(session: Session) -> dict[str, Any]:
    return {
        "app": session.app_name,
        "user": session.user_id,
        "id": session.id,
        "rev": session.rev,
        "created": session.created_at.isoformat(),
        "updated": session.last_update_time.isoformat(),
    }


async def _show(given: argparse.Namespace, store: AdkSessionStore) -> int:
    from jido_tortoise.cli import stored_sessions

    found = await stored_sessions.find(store, **_key(given), most=given.events)
    if given.json:
        output.print_json(found.as_json())
        return _OK
    print(output.clean(f"{given.session!r} of {given.user!r}, {found.rev} events ever"))
    for name, value in found.state.items():
        print(output.clean(f"  {name}  {output.as_json(value)}"))
    rows = [
        [_moment(one["timestamp"]), one["author"], one["invocation_id"], _said(one["content"])] for one in found.events
    ]
    if rows:
        print()
        output.print_table(("at", "author", "invocation", "says"), rows)
    return _OK


def _moment(iso: str) -> str:
    return f"{iso[:10]} {iso[11:19]}Z"


def _said(content: Any) -> str:
    parts = content.get("parts") if isinstance(content, dict) else None
    return " ".join(map(_part, parts if isinstance(parts, list) else ()))


def _part(part: Any) -> str:
    tree = part if isinstance(part, dict) else {}
    if (text := tree.get("text")) is not None:
        return str(text)
    call = tree.get("function_call") or tree.get("function_response")
    return f"{call.get('name')}(...)" if isinstance(call, dict) else "..."


# -- prune and delete ---------------------------------------------------------------------------------------------


async def _prune(given: argparse.Namespace, store: AdkSessionStore) -> int:
    pruned = await store.prune(
        app_name=given.app,
        user_id=given.user,
        sessions_before=given.sessions_before,
        keep_sessions=given.keep_sessions,
        events_before=given.events_before,
        keep_events=given.keep_events,
        dry_run=given.dry_run,
    )
    if given.json:
        output.print_json({"sessions": pruned.sessions, "events": pruned.events, "dry_run": given.dry_run})
    else:
        print(f"{'to delete' if given.dry_run else 'deleted'}: {pruned.sessions} sessions, {pruned.events} events")
    return _OK


async def _delete(given: argparse.Namespace, store: AdkSessionStore) -> int:
    if given.invocation is None:
        from jido_tortoise.cli import stored_sessions

        await stored_sessions.refuse_missing(store, **_key(given))  # here it is a mistake
        await store.delete(**_key(given))
        done: dict[str, Any] = {"session": given.session}
    else:
        done = {"events": await store.delete_invocation(**_key(given), invocation_id=given.invocation)}
    if given.json:
        output.print_json({"deleted": done})
    else:
        print(output.clean("deleted: " + ", ".join(f"{name} {value}" for name, value in done.items())))
    return _OK


# -- import -------------------------------------------------------------------------------------------------------


_COUNTS = ("schema", "sessions", "events", "states", "continued", "already", "diverged", "bad_rows")


async def _prepared_import(given: argparse.Namespace) -> int:
    from jido_tortoise.schema import upgrade

    if given.db is not None:  # which a config would have told `jido-tortoise upgrade`
        await upgrade(options.settings_of(given, "adk"), schema=given.schema)
    async with options.opened_adk(given) as store:
        return await _import(given, store)


async def _import(given: argparse.Namespace, store: AdkSessionStore) -> int:
    from jido_tortoise.adk.google_source import opened
    from jido_tortoise.adk.importing import Import, shown, told

    async with opened(given.source) as source:
        with _Bar(await source.count("sessions")) as bar:
            done = await Import(
                source,
                store,
                local=given.local_times,
                on_bad=lambda bad: bar.say(f"not imported: {shown(bad)}"),
                on_diverged=lambda one: bar.say(f"has gone its own way here: {told(one)}"),
                on_progress=bar.move,
            ).run()
    _print_imported(given, done)
    return _PROBLEM if done.bad_rows else _OK


def _print_imported(given: argparse.Namespace, done: Imported) -> None:
    from jido_tortoise.adk.importing import named

    counts = {name: getattr(done, name) for name in _COUNTS}
    if given.json:
        apart = [{"key": list(one.key), "reason": one.reason, "missing": one.missing} for one in done.apart]
        output.print_json({**counts, "bad": list(named(done.bad)), "apart": apart})
        return
    print(f"imported from schema {done.schema}: {done.sessions} sessions, {done.events} events, {done.states} states")
    if done.continued:
        print(f"here already, brought up to the source: {done.continued} sessions")
    if done.already:
        print(f"here already, with nothing new: {done.already} sessions")
    if done.diverged:
        print(f"have gone their own way here, left as they are: {done.diverged} sessions")
    if done.bad_rows:
        print(f"not imported: {done.bad_rows} rows")


class _Bar:
    """How far an import is, on stderr: a bar on a terminal, by rich or by hand; else nothing but what went wrong."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._is_terminal = sys.stderr.isatty()
        self._bar: Any = _rich_bar() if self._is_terminal else None

    def __enter__(self) -> _Bar:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("sessions", total=self._total)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._is_terminal:
            self._write("\n")

    def move(self, seen: int) -> None:
        """Show how many sessions have been looked at."""
        if self._bar is not None:
            self._bar.update(self._task, completed=seen)
        elif self._is_terminal:
            done = _WIDTH * seen // max(1, self._total)
            self._write(f"\r[{'#' * done}{'.' * (_WIDTH - done)}] {seen:,} of {self._total:,} sessions")

    def say(self, text: str) -> None:
        """Show a line beside the bar."""
        if self._bar is not None:
            self._bar.console.print(output.clean(text), markup=False, highlight=False, soft_wrap=True)
            return
        if self._is_terminal:
            self._write("\r")
        output.say(text)

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def _rich_bar() -> Any:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        return None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))
