"""`recording list|show|tail|export|import|usage`: recorded sessions, without the classes of the host."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import fields
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from jido_tortoise.cli import options, output, recording_care
from jido_tortoise.cli.progress import Tally
from jido_tortoise.errors import InvalidInputError, NotFoundError, said

if TYPE_CHECKING:
    from jido_tortoise.recording import Event, QueryAPI
    from jido_tortoise.recording.query_results import SessionStats, UsageRow

_PAGE = 500
#: The most rows of one page, see `recording.filters`, which is not imported before it is needed.
_MOST = 1000
#: Seconds between two looks for new events.
_PAUSE = 0.5

Command = Callable[[argparse.Namespace, "QueryAPI"], Coroutine[Any, Any, int]]


def add_to(commands: Any) -> None:
    """Add the commands of this group."""
    group = commands.add_parser(
        "recording", help="look at recorded sessions, move them, add up what they used, care for them"
    )
    actions = group.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_list(actions)
    _add_show(actions)
    _add_tail(actions)
    _add_export(actions)
    _add_import(actions)
    _add_usage(actions)
    recording_care.add_to(actions)


def _add(actions: Any, name: str, command: Command, help: str, description: str | None = None) -> Any:
    one = actions.add_parser(name, parents=[options.connected()], help=help, description=description)
    one.set_defaults(run=_runner(command))
    return one


def _runner(command: Command) -> Callable[..., int]:
    async def connect(given: argparse.Namespace) -> int:
        async with options.opened_recording(given) as query:
            return await command(given, query)

    return lambda given: asyncio.run(connect(given))


def _add_filters(parser: argparse.ArgumentParser) -> None:
    several: dict[str, Any] = {"action": "append", "default": None}
    parser.add_argument("--agent", metavar="ID", help="only sessions of this agent (several: any)", **several)
    parser.add_argument("--status", metavar="STATUS", help="only sessions with this status (several: any)", **several)
    parser.add_argument("--provider", metavar="NAME", help="only sessions with a run of it (several: any)", **several)
    parser.add_argument("--tag", metavar="TAG", help="only sessions with this tag (several: all)", **several)
    parser.add_argument("--deleted", action="store_true", help="also sessions that were deleted softly")


def _filters(given: argparse.Namespace) -> dict[str, Any]:
    return {
        "agent_id": given.agent,
        "status": given.status,
        "provider": given.provider,
        "tags": given.tag,
        "include_deleted": given.deleted,
    }


# -- list ---------------------------------------------------------------------------------------------------------


def _add_list(actions: Any) -> None:
    one = _add(actions, "list", _list, "list sessions, the one that was changed last first")
    _add_filters(one)
    one.add_argument(
        "--limit", type=options.number(1, _MOST), default=50, metavar="N", help="at most N, up to 1000 (default: 50)"
    )
    one.add_argument("--after", metavar="CURSOR", help="go on after a page; it printed the cursor")


async def _list(given: argparse.Namespace, query: QueryAPI) -> int:
    unread: list[Any] = []
    page = await query.search_sessions(
        **_filters(given), limit=given.limit, cursor=given.after, on_corrupt=unread.append
    )
    following = page.cursor if page.has_more else None
    if given.json:
        output.print_json({"sessions": [_record(session) for session in page.sessions], "next": following})
    else:
        rows = [[one.id, one.agent_id, one.status, ", ".join(one.tags), _time(one.updated_at)] for one in page.sessions]
        output.print_table(("id", "agent", "status", "tags", "updated"), rows)
    for error in unread:
        output.say(f"left out: {error}")
    if following:
        output.say(f"there are more: --after {following}")
    return 1 if unread else 0


# -- show ---------------------------------------------------------------------------------------------------------


def _add_show(actions: Any) -> None:
    one = _add(actions, "show", _show, "show a session, its runs and its last events")
    one.add_argument("session", metavar="SESSION")
    one.add_argument(
        "--runs", type=options.number(0, _MOST), default=10, metavar="N", help="the last N runs (default: 10)"
    )
    one.add_argument(
        "--events", type=options.number(0, _MOST), default=10, metavar="N", help="the last N events (default: 10)"
    )


async def _show(given: argparse.Namespace, query: QueryAPI) -> int:
    stats = await query.get_session_stats(given.session)
    session = await _session(query, given.session)
    runs = (await query.search_runs(session_id=given.session, limit=given.runs)).runs if given.runs else ()
    events = await _last_events(query, given.session, given.events)
    if given.json:
        shown = {"runs": [*map(_record, reversed(runs))], "events": [*map(_record, events)]}
        output.print_json({"session": session, "stats": _record(stats), **shown})
        return 0
    _print_fields(session, stats)
    if runs:
        print()
        rows = [_run_row(run) for run in reversed(runs)]
        output.print_table(("run", "status", "provider", "tokens", "cost", "started"), rows, numbers=("tokens", "cost"))
    if events:
        print()
        rows = [[e.sequence_number, _time(e.timestamp), e.type, output.as_json(e.data)] for e in events]
        output.print_table(("seq", "at", "type", "data"), rows, numbers=("seq",))
    return 0


async def _session(query: QueryAPI, session_id: str) -> dict[str, Any]:
    import json

    async with aclosing(aiter(query.export_session(session_id))) as lines:
        session: dict[str, Any] = json.loads(await anext(lines))
    return {name: value for name, value in session.items() if name not in ("record", "format")}


def _print_fields(session: dict[str, Any], stats: SessionStats) -> None:
    tokens = stats.token_totals
    used = f"{tokens.total_tokens:,} tokens ({tokens.input_tokens:,} in, {tokens.output_tokens:,} out)"
    more = {
        "runs": ", ".join(f"{count} {status}" for status, count in stats.status_counts.items()) or "none",
        "used": used + (f" with {', '.join(stats.providers_used)}" if stats.providers_used else ""),
        "events": f"{stats.event_count:,}",
    }
    for name, value in {**session, **more}.items():
        text = value if isinstance(value, str) else output.as_json(value)
        print(output.clean(f"{name:18} {text}"))


def _run_row(run: Any) -> list[Any]:
    cost = None if run.cost_usd is None else f"${run.cost_usd:.4f}"
    return [run.id, run.status, run.provider, run.token_usage.get("total_tokens"), cost, _time(run.started_at)]


# -- tail ---------------------------------------------------------------------------------------------------------


def _add_tail(actions: Any) -> None:
    text = (
        "Print the last events, one a line (with --json as lines of JSON), and with --follow those that come, until the"
        " session is deleted, which makes the exit code 1."
    )
    one = _add(actions, "tail", _tail, "print the last events of a session", text)
    one.add_argument("session", metavar="SESSION")
    one.add_argument(
        "-n", "--events", type=options.number(0, _MOST), default=10, metavar="N", help="the last N events (default: 10)"
    )
    one.add_argument("-f", "--follow", action="store_true", help="go on with the events that come, until interrupted")
    one.add_argument("--type", action="append", metavar="TYPE", help="only events of this type (several: any)")


async def _tail(given: argparse.Namespace, query: QueryAPI) -> int:
    from jido_tortoise import seams

    session = await _session(query, given.session)  # which refuses one that is not there
    last = 0
    for event in await _last_events(query, given.session, given.events, given.type):
        last = _print_event(event, given.json)
    if not given.events:
        last = max([last, *(e.sequence_number or 0 for e in await _last_events(query, given.session, 1))])
    while given.follow:
        page = await query.search_events(session_ids=given.session, types=given.type, after=last)
        for event in page.events:
            last = _print_event(event, given.json)
        print(end="", flush=True)
        if not page.has_more:
            await _refuse_other(query, session)
            await seams.sleep(_PAUSE)
    return 0


async def _refuse_other(query: QueryAPI, session: dict[str, Any]) -> None:
    """Refuse to go on when a session was deleted, or another one has its id."""
    try:
        there = await _session(query, session["id"])
    except NotFoundError:
        there = {}
    if there.get("created_at") != session["created_at"]:
        message = f"session {session['id']!r} was deleted"
        raise NotFoundError(message, reason="session_not_found", session_id=session["id"])


async def _last_events(query: QueryAPI, session_id: str, count: int, types: Any = None) -> list[Event]:
    if not count:
        return []
    page = await query.search_events(session_ids=session_id, types=types, order_by="sequence_desc", limit=count)
    return [*reversed(page.events)]


def _print_event(event: Event, as_json: bool) -> int:
    if as_json:
        output.print_line(_record(event), sys.stdout)
    else:
        number, data = event.sequence_number or 0, output.as_json(event.data)
        print(output.clean(f"{number:6}  {_time(event.timestamp)}  {event.type:22}  {data}"))
    return event.sequence_number or 0


# -- export, import -----------------------------------------------------------------------------------------------


def _add_export(actions: Any) -> None:
    text = "Write each session as lines of JSON: itself, its runs, its events, its end. `recording import` reads them."
    one = _add(actions, "export", _export, "write sessions as lines of JSON", text)
    one.add_argument("session", nargs="*", metavar="SESSION", help="these sessions only")
    _add_filters(one)
    one.add_argument("--artifacts", action="store_true", help="also what is known of artifacts, but not their content")
    one.add_argument("-o", "--output", type=Path, metavar="FILE", help="a new file (default: stdout)")


async def _export(given: argparse.Namespace, query: QueryAPI) -> int:
    sessions = lines = 0
    with output.target(given.output) as file, Tally("lines", shown=given.output is not None) as tally:
        async for session_id in _wished(given, query):
            async for line in query.export_session(session_id, include_artifacts=given.artifacts):
                print(line, file=file)
                lines += 1
                tally.add()
            sessions += 1
    output.say(f"sessions: {sessions}, lines: {lines}")
    return 0


async def _wished(given: argparse.Namespace, query: QueryAPI) -> AsyncIterator[str]:
    if given.session:
        for session_id in given.session:
            yield session_id
        return
    cursor: str | None = None
    while True:
        page = await query.search_sessions(**_filters(given), order_by="created_at_asc", limit=_PAGE, cursor=cursor)
        for session in page.sessions:
            yield session.id
        cursor = page.cursor
        if not page.has_more:
            return


def _add_import(actions: Any) -> None:
    help = "write exported sessions into a database, each whole or not at all"
    one = actions.add_parser("import", parents=[options.connected()], help=help)
    one.set_defaults(run=lambda given: asyncio.run(_prepared_import(given)))
    one.add_argument("file", metavar="FILE", help="what `recording export` wrote; - for stdin")
    one.add_argument("--skip-existing", action="store_true", help="pass over sessions that are there already")


async def _prepared_import(given: argparse.Namespace) -> int:
    from jido_tortoise.schema import upgrade

    with _source(given.file) as lines:  # before a database is made for what is not there
        if given.db is not None:  # which a config would have told `jido-tortoise upgrade`
            await upgrade(options.settings_of(given, "recording"), schema=given.schema)
        async with options.opened_recording(given):
            return await _import(given, lines)


async def _import(given: argparse.Namespace, lines: TextIO) -> int:
    from jido_tortoise.recording import SessionStore, import_sessions

    store = SessionStore(given.connection, given.schema)
    with Tally("lines") as tally:
        done = await import_sessions(tally.counted(lines), store, existing="skip" if given.skip_existing else "refuse")
    if given.json:
        output.print_json(_record(done))
    else:
        print(", ".join(f"{name}: {count:,}" for name, count in _record(done).items()))
    return 0


@contextmanager
def _source(name: str) -> Iterator[TextIO]:
    if name == "-":
        yield sys.stdin
        return
    with ExitStack() as stack:
        try:
            # What is no UTF-8 becomes what the import refuses, by its line.
            file = stack.enter_context(open(name, encoding="utf-8", errors="surrogateescape"))
        except OSError as error:
            raise InvalidInputError.at("FILE", "a file", said(f"{name}: {error.strerror}")) from error
        yield file


# -- usage --------------------------------------------------------------------------------------------------------


def _add_usage(actions: Any) -> None:
    one = _add(actions, "usage", _usage, "add up tokens and cost by provider, model and day")
    one.add_argument(
        "--by", default="day,provider,model", metavar="WHAT", help="what is told apart (default: day,provider,model)"
    )
    one.add_argument("--agent", action="append", metavar="ID", help="only runs of this agent (several: any)")
    one.add_argument("--provider", action="append", metavar="NAME", help="only runs of it (several: any)")
    one.add_argument(
        "--since", type=options.moment, metavar="MOMENT", help="only runs from then on: 2026-01-31, or with a time"
    )
    one.add_argument("--until", type=options.moment, metavar="MOMENT", help="only runs up to then")
    one.add_argument(
        "--prices", type=Path, metavar="FILE.json", help="US dollars per token, by provider and model (default: ours)"
    )


async def _usage(given: argparse.Namespace, query: QueryAPI) -> int:
    by = [name.strip() for name in given.by.split(",") if name.strip()]
    found = await query.get_usage(
        by=by,
        agent_id=given.agent,
        provider=given.provider,
        since=given.since,
        until=given.until,
        pricing_table=_prices(given.prices),
    )
    if given.json:
        output.print_json({"usage": [_record(row) for row in found]})
    else:
        _print_usage(found, [name for name in ("day", "provider", "model") if name in by])
    return 0


def _prices(path: Path | None) -> Any:
    import json

    if path is None:
        return None
    try:
        return json.loads(path.read_text("utf-8"), parse_float=str)
    except (OSError, ValueError) as error:
        raise InvalidInputError.at("--prices", "a file of JSON", said(f"{path}: {error}")) from error


def _print_usage(found: list[UsageRow], by: list[str]) -> None:
    numbers = ("runs", "input", "output", "tokens", "cost")
    most = max((row.total_tokens for row in found), default=0) or 1
    rows = [[*(getattr(row, name) for name in by), *_sums([row]), output.bar(row.total_tokens / most)] for row in found]
    total = [*["total", *[None] * (len(by) - 1)][: len(by)], *_sums(found), None]
    # Told apart by nothing, the only row is the sum already.
    output.print_table((*by, *numbers, ""), [*rows, total] if by or not rows else rows, numbers=numbers)
    unmapped = sum(row.unmapped_runs for row in found)
    if unmapped:
        output.say(f"runs without a cost and without a price, which is not in the sums: {unmapped:,}")


def _sums(rows: Iterable[UsageRow]) -> list[str]:
    rows = list(rows)
    counts = [sum(getattr(row, f"{name}") for row in rows) for name in ("run_count", "input_tokens", "output_tokens")]
    cost = sum(row.cost_usd for row in rows)
    return [*(f"{count:,}" for count in counts), f"{sum(row.total_tokens for row in rows):,}", f"${cost:,.4f}"]


# -- words --------------------------------------------------------------------------------------------------------


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%SZ}"


def _record(value: Any) -> dict[str, Any]:
    return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return _record(value) if hasattr(value, "__dataclass_fields__") else value
