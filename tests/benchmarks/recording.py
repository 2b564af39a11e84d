"""What it costs to record an event, beside a bare INSERT of the same row and the way the original went."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack

from jido_tortoise.database import resolve
from jido_tortoise.recording import Event, Session, SessionStore, listening
from jido_tortoise.recording.models import AsmSession
from tests.benchmarks import peers, recording_peers
from tests.benchmarks.measure import Call, Line, Prepared, Samples, compared, counted, interleaved
from tests.benchmarks.places import Place
from tests.benchmarks.recording_peers import event
from tests.benchmarks.samples import message
from tests.benchmarks.setting import Size
from tests.many_records import store_many

#: Events of the long session.
_LONG = 100_000
#: What `store_many` calls it.
_LONG_ID = "ses_1"
#: Sessions that are appended to at the same time, each by a task of its own: as many as the pool has connections.
_AT_ONCE = 5
#: Events that each of these tasks appends, one after the other.
_EACH = 4


def appends(store: SessionStore, session_id: str, count: int = 1) -> Prepared:
    """Append new events of a session, made before the clock starts."""
    ready: list[Event] = []

    def before() -> None:
        ready[:] = [event(session_id, number) for number in range(count)]

    async def call() -> None:
        await (store.append_event(ready[0]) if count == 1 else store.append_events(ready))

    return Prepared(call, before)


async def append(place: Place, size: Size) -> list[Line]:
    """One event into a new session and a long one, a hundred in one append, and what notifications cost."""
    async with place.client.acquire_connection() as raw:
        await store_many(raw.execute, place.dialect, 1, size.of(_LONG))
    await peers.make_twins(place, "asm_events")
    for twin in ("bench_twin", "bench_twin_bare"):
        await place.run(f"INSERT INTO {twin} SELECT * FROM asm_events")
    await place.settle()
    lines = await _one(place, size) + await _hundred(place, size)
    return lines if place.dialect == "sqlite" else [*lines, *await _notified(place, size)]


async def _one(place: Place, size: Size) -> list[Line]:
    store, long = SessionStore(), size.of(_LONG)
    await _begin(store, "short", "theirs")
    contenders: dict[str, Call | Prepared] = {
        "short": appends(store, "short"),
        "long": appends(store, _LONG_ID),
        "same row": recording_peers.insert(place, "bench_twin"),
        "no index": recording_peers.insert(place, "bench_twin_bare"),
        "smallest": peers.insert(place, message()),
        "original": recording_peers.original(place, "theirs"),
    }
    samples = await interleaved(contenders, size.rounds)
    bound = place.bound(1.5) if place.dialect == "postgres" else None
    lines = [
        compared(f"record 1, session of {length:,}", place.name, samples, name, "same row", bound)
        for name, length in (("short", 0), ("long", long))
    ]
    if place.dialect == "postgres":
        statements = await place.statements(_whole(appends(store, "short")))
        lines.append(counted("record 1, statements", place.name, len(statements), 1))
        theirs = await place.statements(_whole(recording_peers.original(place, "theirs")))
        lines.append(Line("  (record 1, statements of the original's way)", place.name, len(theirs), unit=""))
    return [
        *lines,
        compared("  (record 1, against the original's way)", place.name, samples, "long", "original"),
        compared("  (the original's way, against the INSERT)", place.name, samples, "original", "same row"),
        compared("  (record 1, against the row without any index)", place.name, samples, "long", "no index"),
        compared("  (record 1, against the smallest table's INSERT)", place.name, samples, "long", "smallest"),
    ]


async def _hundred(place: Place, size: Size) -> list[Line]:
    store = SessionStore()
    await _begin(store, "hundred")
    contenders = {
        "ours": appends(store, "hundred", 100),
        "raw": recording_peers.insert_many(place, "bench_twin", 100),
        "bare": recording_peers.insert_many(place, "bench_twin_bare", 100),
    }
    samples = await interleaved(contenders, size.times(100))
    lines = [
        compared("  (record 100, against the same rows raw)", place.name, samples, "ours", "raw"),
        compared("  (record 100, against the rows without any index)", place.name, samples, "ours", "bare"),
    ]
    if place.dialect == "postgres":
        statements = await place.statements(_whole(appends(store, "hundred", 100)))
        lines.insert(0, counted("record 100, statements", place.name, len(statements), 1))
    return lines


# -- notifications ------------------------------------------------------------------------------------------------


async def _notified(place: Place, size: Size) -> list[Line]:
    """What it costs to notify, whether anybody follows or not, alone and beside other appenders."""
    heard = [f"heard-{number}" for number in range(_AT_ONCE)]
    silent = [f"silent-{number}" for number in range(_AT_ONCE)]
    plain, loud = SessionStore(), SessionStore(notify=True)
    await _begin(plain, *heard, *silent, "unheard")
    async with AsyncExitStack() as stack:
        db = resolve(None, AsmSession)
        for session_id in heard:
            await (await stack.enter_async_context(listening.hearing(db, session_id))).ready()
        alone = await interleaved(
            {
                "silent": appends(plain, silent[0]),
                "unheard": appends(loud, "unheard"),
                "heard": appends(loud, heard[0]),
            },
            size.rounds,
        )
        beside = await interleaved({"silent": _crowd(plain, silent), "heard": _crowd(loud, heard)}, size.times(100))
    many, each = f"{_AT_ONCE} at once", _each(beside, _AT_ONCE * _EACH)
    return [
        compared("  (notify=True while nobody follows: with / without)", place.name, alone, "unheard", "silent"),
        compared("  (notify=True while somebody follows: with / without)", place.name, alone, "heard", "silent"),
        compared(f"  (the same by {many}, to other sessions: with / without)", place.name, each, "heard", "silent"),
    ]


def _crowd(store: SessionStore, session_ids: list[str]) -> Call:
    async def one(session_id: str) -> None:
        for number in range(_EACH):
            await store.append_event(event(session_id, number))

    async def call() -> None:
        await asyncio.gather(*map(one, session_ids))

    return call


def _each(samples: Samples, count: int) -> Mapping[str, list[float]]:
    return {name: [took / count for took in times] for name, times in samples.items()}


async def _begin(store: SessionStore, *session_ids: str) -> None:
    for session_id in session_ids:
        await store.save_session(Session(id=session_id, agent_id="bench"))


def _whole(prepared: Prepared) -> Call:
    async def call() -> None:
        await prepared.ready()
        await prepared.call()

    return call
