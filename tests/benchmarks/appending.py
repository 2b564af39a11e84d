"""What an append costs, by the length of its thread and by how much it appends, beside what others would do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from jido_tortoise import telemetry
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.schema import ddl
from tests.benchmarks import peers
from tests.benchmarks.measure import Call, Line, Prepared, Samples, compared, counted, interleaved
from tests.benchmarks.models import Head, Snapshot
from tests.benchmarks.places import Place, hops
from tests.benchmarks.samples import entry, message, state
from tests.benchmarks.setting import Size, fill

_LENGTHS = (10, 1_000, 100_000)
#: A snapshot of more entries takes so long that nobody need see it.
_SNAPSHOTS = (10, 1_000, 5_000)


def appends(storage: TortoiseStorage, thread_id: str, count: int = 1) -> Call:
    """Append new entries, from the caller's plain dicts on."""
    given: list[dict[str, Any]] = [entry(number) for number in range(count)]
    return lambda: storage.append_thread(thread_id, given)


async def one(place: Place, size: Size) -> list[Line]:
    """One entry: the floor, ours at three lengths, raw drivers."""
    lengths = {length: f"length-{length}" for length in _LENGTHS}
    for length, thread_id in lengths.items():
        await fill(place, thread_id, size.of(length))
    await place.settle()
    async with AsyncExitStack() as stack:
        contenders = {thread_id: appends(place.storage, thread_id) for thread_id in lengths.values()}
        contenders |= {"insert": peers.insert(place, message())}
        contenders |= {"raw": await stack.enter_async_context(peers.raw_insert(place, message()))}
        if place.dialect == "sqlite":
            contenders["hops"] = peers.insert_in_three_hops(place, message())
        samples = await interleaved(contenders, size.rounds)
    statements = await place.statements(contenders["length-10"])
    return (_on_postgres if place.dialect == "postgres" else _on_sqlite)(place, size, samples, statements)


def _on_postgres(place: Place, size: Size, samples: Samples, statements: list[str]) -> list[Line]:
    lines = _by_length(place, size, samples, "insert", 1.5)
    if place.durable:
        longest, shortest = f"length-{_LENGTHS[-1]}", f"length-{_LENGTHS[0]}"
        lines.append(compared("append 1, longest / shortest", place.name, samples, longest, shortest, 1.15))
        lines.append(counted("append 1, statements", place.name, len(statements), 1))
        begins = sum("BEGIN" in sql.upper() for sql in statements)
        lines.append(counted("append 1, BEGIN", place.name, begins, 0))
    return [*lines, compared("  (the INSERT by asyncpg alone)", place.name, samples, "raw", "insert")]


def _on_sqlite(place: Place, size: Size, samples: Samples, statements: list[str]) -> list[Line]:
    return [
        *_by_length(place, size, samples, "hops", 1.2),
        compared("  (against one INSERT in one hop)", place.name, samples, "length-1000", "insert"),
        compared("  (the INSERT by sqlite3 alone)", place.name, samples, "raw", "insert"),
    ]


def _by_length(place: Place, size: Size, samples: Samples, floor: str, most: float) -> list[Line]:
    bound = place.bound(most)
    return [
        compared(f"append 1, thread of {size.of(n):,}", place.name, samples, f"length-{n}", floor, bound)
        for n in _LENGTHS
    ]


async def hop(place: Place, size: Size) -> list[Line]:
    """How often one append crosses to SQLite's thread."""
    await appends(place.storage, "hops")()
    with hops() as seen:
        await appends(place.storage, "hops")()
    return [counted("append 1, hops to SQLite's thread", place.name, len(seen), 1)]


async def hundred(place: Place, size: Size) -> list[Line]:
    """A hundred entries in one append, against the same rows by one raw statement into a twin of our table."""
    await peers.make_twins(place, "jido_thread_entries")
    payloads = [message(number) for number in range(100)]
    contenders: dict[str, Call | Prepared] = {
        "ours": appends(place.storage, "hundred", 100),
        "raw": peers.insert_many(place, "bench_twin", payloads),
        "bare": peers.insert_many(place, "bench_twin_bare", payloads),
    }
    samples = await interleaved(contenders, size.rounds)
    bound = place.bound(1.4) if place.dialect == "postgres" else None
    return [
        compared("append 100, against the same rows raw", place.name, samples, "ours", "raw", bound),
        compared("  (against the rows without any index)", place.name, samples, "ours", "bare"),
    ]


async def usual(place: Place, size: Size) -> list[Line]:
    """The idiomatic ORM version and the snapshot-rewriting design, for contrast."""
    payload = message()
    await Head.create(id="orm")
    for length in _SNAPSHOTS:
        old = [_snapshot_entry(number) for number in range(size.of(length))]
        await Snapshot.create(id=f"snapshot-{length}", rev=size.of(length), entries=old)
    contenders: dict[str, Call] = {"insert": peers.insert(place, payload), "ours": appends(place.storage, "usual")}
    contenders["orm"] = lambda: peers.orm_append("orm", [payload])
    contenders["orm hibernate"] = lambda: peers.orm_hibernate("orm", payload, state(100))
    samples = await interleaved(contenders, size.times(40))
    for length in _SNAPSHOTS:  # by themselves: one rewrites so much that whoever comes after it waits for the disk
        snapshot = f"snapshot-{length}"
        samples |= await interleaved({snapshot: _snapshot(snapshot, payload)}, size.times(40))
    lines = [
        compared("  (append 1, idiomatic ORM)", place.name, samples, "orm", "insert"),
        compared("  (hibernate +1, idiomatic ORM)", place.name, samples, "orm hibernate", "insert"),
    ]
    return lines + [
        compared(f"  (append 1, snapshot of {size.of(n):,} rewritten)", place.name, samples, f"snapshot-{n}", "insert")
        for n in _SNAPSHOTS
    ]


def _snapshot_entry(number: int) -> dict[str, Any]:
    return {"id": f"entry_{number:036d}", "seq": number, "kind": "message", "payload": message(number)}


def _snapshot(thread_id: str, payload: dict[str, Any]) -> Call:
    return lambda: peers.snapshot_append(thread_id, payload)


async def guarded(place: Place, size: Size) -> list[Line]:
    """What the trigger costs that refuses updates of entries: two schemas, one of them without it."""
    storages = {name: TortoiseStorage(schema=f"bench_{name}") for name in ("with", "without")}
    for storage in storages.values():
        await place.run(f"CREATE SCHEMA {storage.schema}")
        await place.client.execute_script(ddl("agents", "postgres", version=1, schema=storage.schema))
    await place.run("ALTER TABLE bench_without.jido_thread_entries DISABLE TRIGGER USER")
    samples = await interleaved({name: appends(st, "guarded") for name, st in storages.items()}, size.rounds)
    return [compared("  (the trigger against updates: with / without)", place.name, samples, "with", "without")]


async def observed(place: Place, size: Size) -> list[Line]:
    """What a telemetry hook costs."""
    events: list[telemetry.Event] = []
    call = appends(place.storage, "observed")
    samples = await interleaved({"with": _hooked(call, events.append), "without": call}, size.rounds)
    return [compared("  (a telemetry hook: with / without)", place.name, samples, "with", "without")]


def _hooked(call: Call, hook: Callable[[telemetry.Event], object]) -> Call:
    async def hooked() -> None:
        with telemetry.add_hook(hook):
            await call()

    return hooked
