"""What questions across recorded sessions cost: a page in large tables beside the same in small ones, and sums."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from tortoise.context import TortoiseContext

from jido_tortoise import cursors, times
from jido_tortoise.recording import QueryAPI
from jido_tortoise.recording.pricing import tokens
from jido_tortoise.schema import ddl
from tests.benchmarks.measure import Call, Line, Prepared, Samples, compared, counted, interleaved
from tests.benchmarks.places import Place, sqlite
from tests.benchmarks.setting import Size
from tests.many_records import LATE, store_many

_SESSIONS, _EVENTS = 100_000, 50
#: How much smaller the small tables are.
_SMALLER = 20
#: Below, PostgreSQL has less to plan with, and a page costs less for that alone.
_LEAST = 400
_SMALL = "small"


async def pages(place: Place, size: Size) -> list[Line]:
    """Pages of 50 and 100 over 100,000 sessions and 5,000,000 events, and over a twentieth of them."""
    rounds, small = size.times(100), max(_LEAST, size.of(_SESSIONS) // _SMALLER)
    large, events = max(2 * small, size.of(_SESSIONS)), size.of(_EVENTS)
    async with _small_tables(place, small, events) as few:
        await _fill(place, large, events)
        await place.settle()
        asked = {**await _asked(few, small, "small"), **await _asked(QueryAPI(), large, "large")}
        samples: Samples = await interleaved(asked, rounds)
    lines = []
    if place.dialect == "postgres":
        whole = await _read_whole(place, asked)
        lines = [counted("search page, tables read whole", place.name, whole, 0)]
    works = [name.removeprefix("large ") for name in samples if name.startswith("large ")]
    work = f"search page of {{}}, {large:,} / {small:,} sessions"
    return lines + [
        compared(work.format(name), place.name, samples, f"large {name}", f"small {name}", _bound(place, name))
        for name in works
    ]


@asynccontextmanager
async def _small_tables(place: Place, sessions: int, events: int) -> AsyncIterator[QueryAPI]:
    """Fill tables like the large ones and beside them, to be asked in turns: in another schema, or in another file."""
    if place.dialect == "postgres":
        await place.client.execute_script(ddl("recording", "postgres", version=1, schema=_SMALL))
        await _fill(place, sessions, events, _SMALL)
        yield QueryAPI(schema=_SMALL)
        return
    async with sqlite("FULL") as other, TortoiseContext() as context:
        await _fill(other, sessions, events)
        await other.settle()
        apps = {"jido_recording": {"models": ["jido_tortoise.recording.models"], "default_connection": "default"}}
        await context.init(config={"connections": {"default": place.url, _SMALL: other.url}, "apps": apps})
        yield QueryAPI(connection=_SMALL)


def _bound(place: Place, name: str) -> float | None:
    """Answer how much slower the large tables may be; SQLite looks through the tags, session by session."""
    return None if place.dialect == "sqlite" and name == "sessions by tag" else place.bound(1.5)


async def _fill(place: Place, sessions: int, events: int, schema: str | None = None) -> None:
    async with place.client.acquire_connection() as raw:
        run: Callable[[str], Awaitable[object]] = raw.execute
        if place.dialect == "postgres":
            await run("SET session_replication_role = replica")  # or a million keys are looked up, one by one
        await store_many(run, place.dialect, sessions, events, "" if schema is None else f"{schema}.")
        if place.dialect == "postgres":
            await run("RESET session_replication_role")


async def _asked(query: QueryAPI, sessions: int, named: str) -> dict[str, Call | Prepared]:
    """Answer pages by what they are of: the first ones, those half way, and those of a filter."""
    middle = await _half_way(query, sessions)
    rare = [f"rare-{sessions // 40}"]
    return {
        f"{named} sessions": lambda: query.search_sessions(),
        f"{named} sessions, half way": lambda: query.search_sessions(order_by="created_at_asc", cursor=middle[0]),
        f"{named} sessions by agent": lambda: query.search_sessions(agent_id="agent-7", limit=5),
        f"{named} sessions by tag": lambda: query.search_sessions(tags=rare),
        f"{named} runs by provider": lambda: query.search_runs(provider="provider-7", limit=5),
        f"{named} events": lambda: query.search_events(),
        f"{named} events, half way": lambda: query.search_events(order_by="timestamp_asc", cursor=middle[1]),
        f"{named} events by type": lambda: query.search_events(types=LATE, order_by="timestamp_asc"),
        f"{named} events by several types": lambda: query.search_events(types=[LATE, "run_failed", "error_occurred"]),
        f"{named} events of a session": lambda: query.search_events(session_ids="ses_3", types="message_streamed"),
    }


async def _half_way(query: QueryAPI, sessions: int) -> tuple[str | None, str | None]:
    """Answer cursors that lead into the middle, without walking there: those of the first page, moved."""
    found = (await query.search_runs(session_id=f"ses_{sessions // 2}")).runs[0]
    moment = times.stored_time(found.started_at, "sqlite")
    of_sessions = ["sessions", "created_at_asc", {"live": True}, False]
    of_events = ["events", "timestamp_asc", {}, False]
    return (
        cursors.cursor_at([moment, f"ses_{sessions // 2}", None], of_sessions),
        cursors.cursor_at([moment, "evt_", None], of_events),
    )


async def _read_whole(place: Place, asked: dict[str, Call | Prepared]) -> int:
    """Count the pages for which PostgreSQL reads a table from its first row to its last."""
    seen: list[Any] = []
    async with place.client.acquire_connection() as raw:
        raw.add_query_logger(seen.append)
    calls = [call for name, call in asked.items() if name.startswith("large ") and not isinstance(call, Prepared)]
    for call in calls:
        await call()
    searches = [record for record in seen if "LIMIT" in record.query]
    if len(searches) != len(calls):
        raise RuntimeError(f"{len(calls)} pages took {len(searches)} statements")
    plans = [(await place.run(f"EXPLAIN (FORMAT JSON) {one.query}", *one.args))[0][0] for one in searches]
    return sum("Seq Scan" in plan for plan in plans)


# -- sums ---------------------------------------------------------------------------------------------------------


async def usage(place: Place, size: Size) -> list[Line]:
    """The usage of 100,000 runs: added up by the database, and for contrast by the application."""
    runs = size.of(_SESSIONS)
    async with place.client.acquire_connection() as raw:
        await store_many(raw.execute, place.dialect, runs, 1)
    await place.settle()
    query = QueryAPI()

    async def ours() -> object:
        return await query.get_usage_summary()

    async def costs() -> object:
        return await query.get_cost_summary()

    samples = await interleaved(
        {"ours": ours, "costs": costs, "by the application": lambda: _in_python(place)}, size.times(10)
    )
    work = f"usage of {runs:,} runs"
    return [
        counted(f"{work}, statements", place.name, sum("SELECT" in sql for sql in await place.statements(ours)), 1),
        compared(f"  ({work}, against all rows added up in Python)", place.name, samples, "ours", "by the application"),
        compared(f"  (cost of {runs:,} runs, against the same)", place.name, samples, "costs", "by the application"),
    ]


async def _in_python(place: Place) -> dict[str, int]:
    """Add up as agent_session_manager does: every run's JSON, in the application."""
    cast = "::text" if place.dialect == "postgres" else ""
    sums: dict[str, int] = {}
    for provider, used in await place.run(f"SELECT provider, token_usage{cast} FROM asm_runs"):
        sums[provider] = sums.get(provider, 0) + tokens(json.loads(used).get("total_tokens"))
    return sums
