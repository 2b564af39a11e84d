"""What hibernate and thaw cost, beside bare statements that move the same bytes and beside what the ORM would do."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

from jido_tortoise.agents import persist
from jido_tortoise.agents.agent import Agent
from jido_tortoise.errors import ThreadMismatchError
from tests.benchmarks import peers
from tests.benchmarks.measure import Call, Line, Prepared, Samples, compared, counted, interleaved
from tests.benchmarks.models import Head, Row
from tests.benchmarks.places import Place
from tests.benchmarks.samples import entry, message, state
from tests.benchmarks.setting import Size

_SMALL = 100
_SIZES = {"small": _SMALL, "10 KB": 10_000, "100 KB": 100_000}


class BenchAgent(Agent, agent_type="bench"):  # type: ignore[type-arg]
    """An agent with a dict for its state."""


async def _stored(place: Place, name: str, bytes: int, length: int) -> BenchAgent:
    agent = BenchAgent(name, state(bytes))
    agent.thread.extend([entry(number) for number in range(length)])
    await persist.hibernate(place.storage, agent)
    return agent


def _turn(place: Place, agent: BenchAgent, *, entries: int = 1) -> Prepared:
    """One turn of a conversation: a message and a changed state, and then both are stored."""
    payload = message()

    def before() -> None:
        for _ in range(entries):
            agent.thread.append("message", payload)
        agent.state["turn"] += 1

    return Prepared(lambda: persist.hibernate(place.storage, agent), before)


def _whole(turn: Prepared) -> Call:
    async def call() -> None:
        turn.before()
        await turn.call()

    return call


# -- hibernate ----------------------------------------------------------------------------------------------------


async def hibernate(place: Place, size: Size) -> list[Line]:
    """One more entry on a long thread, with checkpoints of three sizes, each measured by itself."""
    length = size.of(10_000)
    agents = {kind: await _stored(place, kind, bytes, length) for kind, bytes in _SIZES.items()}
    await place.settle()
    runs = {kind: await _beside_bare_writes(place, agent, size) for kind, agent in agents.items()}
    work = f"hibernate +1, thread of {length:,}"
    return [
        compared(f"{work}, small", place.name, runs["small"], "turn", "insert", place.bound(1.6)),
        compared(f"{work}, 10 KB", place.name, runs["10 KB"], "turn", "insert", place.bound(2.0)),
        compared(f"{work}, 100 KB, against its upsert", place.name, runs["100 KB"], "turn", "upsert", place.bound(1.3)),
        compared("  (10 KB, against its upsert)", place.name, runs["10 KB"], "turn", "upsert"),
        compared("  (100 KB, against the INSERT)", place.name, runs["100 KB"], "turn", "insert"),
        compared("  (small, state only, against the INSERT)", place.name, runs["small"], "state only", "insert"),
        *(await _counts(place, agents["small"]) if place.durable else []),
    ]


async def _beside_bare_writes(place: Place, agent: BenchAgent, size: Size) -> Samples:
    contenders: dict[str, Call | Prepared] = {
        "insert": peers.insert(place, message()),
        "upsert": peers.upsert(place, _checkpoint(agent)),
        "turn": _turn(place, agent),
        "state only": _turn(place, agent, entries=0),
    }
    return await interleaved(contenders, size.times(200))


def _checkpoint(agent: BenchAgent) -> dict[str, Any]:
    """Answer a map of the bytes that the agent's checkpoint has."""
    return {"version": 1, "agent_type": "bench", "id": agent.id, "state": agent.state, "thread": {"id": "x", "rev": 1}}


async def _counts(place: Place, agent: BenchAgent) -> list[Line]:
    turn = _whole(_turn(place, agent))
    statements = await place.statements(turn)
    read = await (_rows_read if place.dialect == "postgres" else _columns_read)(place, turn)
    lines = [counted("hibernate +1, entry rows read", place.name, read, 0)]
    if place.dialect == "postgres":
        lines.append(counted("hibernate +1, statements", place.name, len(statements), 1))
    return lines


_READ = (
    "SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::bigint FROM pg_stat_user_tables"
    " WHERE relname = 'jido_thread_entries'"
)


async def _rows_read(place: Place, call: Call) -> int:
    async def read() -> int:
        await place.run("SELECT pg_stat_force_next_flush()")
        ((count,),) = await place.run(_READ)
        return int(count)

    before = await read()
    await call()
    return await read() - before


async def _columns_read(place: Place, call: Call) -> int:
    """Count the columns of entries that SQLite was asked to read while it prepared the call's statements."""
    seen: list[str] = []

    def authorizer(action: int, table: str | None, *_: object) -> int:
        if action == sqlite3.SQLITE_READ and table == "jido_thread_entries":
            seen.append(table)
        return sqlite3.SQLITE_OK

    async with place.client.acquire_connection() as raw:
        await raw.set_authorizer(authorizer)  # which also has every statement prepared anew
    await call()
    async with place.client.acquire_connection() as raw:
        await raw.set_authorizer(None)
    return len(seen)


# -- thaw ---------------------------------------------------------------------------------------------------------


async def thaw(place: Place, size: Size) -> list[Line]:
    """A thread of 1,000 with a small checkpoint, against the fetch and the parsing alone."""
    length = size.of(1_000)
    agent = await _stored(place, "thawed", _SMALL, length)
    await _fill_orm(length)
    await place.settle()
    contenders: dict[str, Call] = {
        "ours": lambda: persist.thaw(place.storage, BenchAgent, "thawed"),
        "floor": peers.fetch_and_parse(place, agent.thread.id),
        "orm": lambda: Row.filter(thread_id="orm-thaw").order_by("seq"),
    }
    samples = await interleaved(contenders, size.times(150))
    statements = await place.statements(contenders["ours"])
    reads = [sql for sql in statements if sql.lstrip().upper().startswith("SELECT")]
    return [
        compared(f"thaw of {length:,}", place.name, samples, "ours", "floor", place.bound(1.5)),
        counted("thaw, statements", place.name, len(reads), 2),
        compared("  (the same entries as models of the ORM)", place.name, samples, "orm", "floor"),
    ]


async def _fill_orm(length: int) -> None:
    await Head.create(id="orm-thaw")
    await peers.orm_append("orm-thaw", [message(number) for number in range(length)])


async def consistent(place: Place, size: Size) -> list[Line]:
    """Thaws beside a writer that hibernates all the time: journal and checkpoint must always fit together."""
    turn = _whole(_turn(place, await _stored(place, "moving", _SMALL, 50)))
    thaws, torn = size.times(200), 0
    writer = asyncio.ensure_future(_for_ever(turn))
    for _ in range(thaws):
        try:
            await persist.thaw(place.storage, BenchAgent, "moving", journal="exact")
        except ThreadMismatchError:
            torn += 1
    writer.cancel()
    await asyncio.wait([writer])
    return [counted(f"thaw beside a writer, torn of {thaws}", place.name, torn, 0)]


async def _for_ever(call: Call) -> None:
    while True:
        await call()
