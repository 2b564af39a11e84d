"""What the session services cost google-adk's Runner: ours beside its own, with its own sessions and events."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from jido_tortoise import adk  # which imports google-adk only when its service is asked for
from tests.benchmarks import google, peers
from tests.benchmarks.adk import delta, faster, payload
from tests.benchmarks.google import OWNER
from tests.benchmarks.measure import Call, Line, Prepared, compared, interleaved
from tests.benchmarks.places import Place
from tests.benchmarks.setting import Size

#: What a turn with one tool call appends: the question, the call, the tool's answer with its delta, the answer.
_TURN = 4
#: Of how many events the service keeps what it has read.
_KEPT = 10_000


async def append(place: Place, size: Size) -> list[Line]:
    """One event with a delta."""
    async with google.database_service(place) as database:
        services = {"ours": adk.TortoiseSessionService(), "D": database}
        contenders: dict[str, Call | Prepared] = {
            name: google.appends(service, await google.filled(service, "appended", 0), delta)
            for name, service in services.items()
        }
        await place.settle()
        samples = await interleaved(contenders | {"insert": peers.insert(place, payload())}, size.times(200))
    work = "TortoiseSessionService, append_event"
    least = 4.5 if place.dialect == "postgres" else 8
    return [
        faster(f"{work}, against D", place, samples, "ours", "D", least),
        compared("  (against the INSERT)", place.name, samples, "ours", "insert"),
    ]


async def get(place: Place, size: Size) -> list[Line]:
    """A whole session of 1,000 events: seen for the first time, and again after a turn's new ones."""
    length = size.of(1_000)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(google.database_service(place))
        services = {"ours": adk.TortoiseSessionService(), "D": database}
        for service in services.values():
            await google.filled(service, "got", length)
        await place.settle()
        first: dict[str, Call] = {name: google.get(service, "got") for name, service in services.items()}
        samples = await interleaved(first, size.times(40))
        keeping = services | {"ours": adk.TortoiseSessionService(cache=_KEPT)}
        again = {name: await _again(service) for name, service in keeping.items()}
        reloaded = await interleaved(again, size.times(40))
    work = f"TortoiseSessionService, get_session of {length:,}"
    return [
        faster(f"{work}, against D", place, samples, "ours", "D", 1.5),
        faster(f"{work}, again after {_TURN} new events, against D", place, reloaded, "ours", "D", 10),
    ]


async def _again(service: Any) -> Prepared:
    """Get a session that has been got before, and has got a turn's events since."""
    get = google.get(service, "got")
    in_hand = await get()

    async def before() -> None:
        for number in range(_TURN):
            await service.append_event(in_hand, google.event(number))

    return Prepared(get, before)


async def turn(place: Place, size: Size) -> list[Line]:
    """What a Runner asks of its service in one turn of a conversation: to get the session, and then four appends."""
    async with google.database_service(place) as database:
        services = {
            "ours": adk.TortoiseSessionService(),
            "keeping": adk.TortoiseSessionService(cache=_KEPT),
            "D": database,
        }
        contenders = {name: await _turns(service, name) for name, service in services.items()}
        await place.settle()
        samples = await interleaved(contenders, size.times(60))
    work = f"Runner's turn of {_TURN} events"
    return [
        faster(f"{work}, against D", place, samples, "ours", "D", 4),
        faster(f"{work}, with a cache, against D", place, samples, "keeping", "D", 4),
    ]


async def _turns(service: Any, session_id: str) -> Prepared:
    await google.filled(service, session_id, 5 * _TURN)
    ready: list[Any] = []
    turns = 0

    def before() -> None:
        nonlocal turns
        turns += 1
        ready[:] = [google.event(at, delta(turns) if at == 2 else None) for at in range(_TURN)]

    async def call() -> None:
        session = await service.get_session(**OWNER, session_id=session_id)
        for event in ready:
            await service.append_event(session=session, event=event)

    return Prepared(call, before)
