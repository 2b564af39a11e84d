"""What ADK sessions cost, beside google-adk's own services and a bare INSERT of the same payload."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from jido_tortoise.adk import Actions, AdkSessionStore, Content, Event, Part, Session
from tests.benchmarks import google, peers
from tests.benchmarks.google import OWNER
from tests.benchmarks.measure import Call, Line, Prepared, Samples, compared, counted, interleaved
from tests.benchmarks.places import Place
from tests.benchmarks.samples import message, state
from tests.benchmarks.setting import Size, fill_sessions

_LARGE = 100_000


def event(number: int, changes: dict[str, Any] | None = None) -> Event:
    """Answer what `google.event` answers, as ours."""
    said = Content("model", [Part(message(number % 100)["content"])])
    return Event(author="agent", invocation_id=f"inv-{number // 4}", content=said, actions=Actions(changes or {}))


def payload(number: int = 0) -> dict[str, Any]:
    """Answer what of an event has to be written by anybody."""
    content = {"role": "model", "parts": [{"text": message(number)["content"]}]}
    return {"id": "e" * 36, "author": "agent", "invocation_id": "inv-1", "content": content, "actions": delta(number)}


def delta(number: int) -> dict[str, Any]:
    return {"turn": number, "last_tool": "find_flights"}


async def filled(store: AdkSessionStore, session_id: str, length: int, state: dict[str, Any] | None = None) -> Session:
    """Make a session with so many events, by the store itself."""
    session = await store.create(**OWNER, session_id=session_id, state=state or {})
    for number in range(length):
        session = await store.append_event(session, event(number))
    return session


def appends(store: AdkSessionStore, session: Session, changes: Callable[[int], dict[str, Any]] = delta) -> Prepared:
    """Append one new event after another, each to the session that the last one answered."""
    ready: list[Event] = []
    made = 0

    def before() -> None:
        nonlocal made
        made += 1
        ready[:] = [event(made, changes(made))]

    async def call() -> None:
        nonlocal session
        session = await store.append_event(session, ready[0])

    return Prepared(call, before)


def _whole(prepared: Prepared) -> Call:
    async def call() -> None:
        prepared.before()
        await prepared.call()

    return call


# -- append_event -------------------------------------------------------------------------------------------------


async def append(place: Place, size: Size) -> list[Line]:
    """One event with a delta, onto nothing and onto 1,000 events, with a small state."""
    store, long = AdkSessionStore(), size.of(1_000)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(google.database_service(place))
        ours = {f"ours {n}": appends(store, await filled(store, f"long-{n}", n)) for n in (0, long)}
        theirs = {
            f"D {n}": google.appends(database, await google.filled(database, f"long-{n}", n), delta) for n in (0, long)
        }
        contenders: dict[str, Call | Prepared] = {"insert": peers.insert(place, payload()), **ours, **theirs}
        contenders["ours, no delta"] = appends(store, await filled(store, "still", 0), lambda _: {})
        contenders["ours, three scopes"] = appends(store, await filled(store, "scopes", 0), _in_three_scopes)
        if place.dialect == "sqlite":
            own = await stack.enter_async_context(google.sqlite_service())
            contenders["S"] = google.appends(own, await google.filled(own, "long-0", 0), delta)
        await place.settle()
        samples = await interleaved(contenders, size.times(200))
        counts = (
            len(await place.statements(_whole(ours["ours 0"]))),
            len(await google.statements(database, theirs["D 0"])),
        )
    return [*_appended(place, samples, long), *_counted(place, counts), *_contrasts(place, samples)]


def _in_three_scopes(number: int) -> dict[str, Any]:
    return {"turn": number, "app:turns": number, "user:turns": number}


def _appended(place: Place, samples: Samples, long: int) -> list[Line]:
    work, lines = "append_event", []
    least = 4.5 if place.dialect == "postgres" else 8
    for length in (0, long):
        ours = f"ours {length}"
        if place.dialect == "postgres":
            bound = place.bound(1.5)
            lines.append(compared(f"{work}, session of {length:,}", place.name, samples, ours, "insert", bound))
        lines.append(faster(f"{work}, session of {length:,}, against D", place, samples, ours, f"D {length}", least))
    if place.dialect == "sqlite":
        lines.append(faster(f"{work}, against S", place, samples, "ours 0", "S", 3.5))
    return lines


def faster(work: str, place: Place, samples: Samples, ours: str, theirs: str, least: float) -> Line:
    """Make the line of something that must be so many times as fast as google's (D: Database-, S: Sqlite-)."""
    bound = place.bound(round(1 / least, 3))
    return compared(work, place.name, samples, ours, theirs, bound)


def _counted(place: Place, counts: tuple[int, int]) -> list[Line]:
    ours, theirs = counts
    asked = [counted("append_event, statements", place.name, ours, 1)] if place.dialect == "postgres" else []
    return [*asked, Line("  (append_event, statements of D)", place.name, theirs, unit="")]


def _contrasts(place: Place, samples: Samples) -> list[Line]:
    return [
        compared(
            "  (append_event without a delta, against the INSERT)", place.name, samples, "ours, no delta", "insert"
        ),
        compared("  (three scopes, against the INSERT)", place.name, samples, "ours, three scopes", "insert"),
        compared("  (D, against the INSERT)", place.name, samples, "D 0", "insert"),
    ]


async def append_large(place: Place, size: Size) -> list[Line]:
    """One event with a small delta, to a session whose state is large."""
    store, large = AdkSessionStore(), state(_LARGE)
    async with google.database_service(place) as database:
        contenders: dict[str, Call | Prepared] = {
            "insert": peers.insert(place, payload()),
            "upsert": peers.upsert(place, large),
            "ours": appends(store, await filled(store, "large", 0, large)),
            "D": google.appends(database, await google.filled(database, "large", 0, large), delta),
        }
        await place.settle()
        samples = await interleaved(contenders, size.times(100))
    bound = place.bound(3) if place.dialect == "postgres" else None
    work = "append_event, 100 KB of state"
    return [
        compared(work, place.name, samples, "ours", "insert", bound),
        compared("  (100 KB of state, against D)", place.name, samples, "ours", "D"),
        compared("  (100 KB of state, against its upsert)", place.name, samples, "ours", "upsert"),
    ]


# -- get_session --------------------------------------------------------------------------------------------------


async def get(place: Place, size: Size) -> list[Line]:
    """A whole session of 1,000 events."""
    store, length = AdkSessionStore(), size.of(1_000)
    await filled(store, "got", length)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(google.database_service(place))
        await google.filled(database, "got", length)
        contenders = {"ours": _get(store, "got"), "D": google.get(database, "got")}
        if place.dialect == "sqlite":
            own = await stack.enter_async_context(google.sqlite_service())
            await google.filled(own, "got", length)
            contenders["S"] = google.get(own, "got")
        await place.settle()
        samples = await interleaved(contenders, size.times(40))
    work = f"get_session of {length:,}"
    return [
        faster(f"{work}, against D", place, samples, "ours", "D", 5),
        *([compared(f"  ({work}, against S)", place.name, samples, "ours", "S")] if "S" in samples else []),
    ]


def _get(store: AdkSessionStore, session_id: str, most: int | None = None) -> Call:
    return lambda: store.get(**OWNER, session_id=session_id, num_recent_events=most)


async def recent(place: Place, size: Size) -> list[Line]:
    """The last 20 events, of 100 and of 10,000."""
    store, lengths = AdkSessionStore(), (size.of(100), size.of(10_000))
    for length in lengths:
        await filled(store, f"long-{length}", length)
    async with google.database_service(place) as database:
        await google.filled(database, "recent", lengths[0])
        await place.settle()
        contenders = {f"ours {n}": _get(store, f"long-{n}", 20) for n in lengths}
        samples = await interleaved(contenders | {"D": google.get(database, "recent", 20)}, size.times(150))
    short, long = (f"ours {n}" for n in lengths)
    work = f"num_recent_events=20 of {lengths[1]:,}"
    return [
        compared(f"{work} / of {lengths[0]}", place.name, samples, long, short, place.bound(1.15)),
        compared(f"  ({work}, against D of {lengths[0]})", place.name, samples, long, "D"),
    ]


async def page(place: Place, size: Size) -> list[Line]:
    """The first page of an app's sessions, and of a user's, of 100 and of 10,000."""
    store, counts = AdkSessionStore(), (size.of(100), size.of(10_000))
    for count in counts:
        await fill_sessions(place, f"app-{count}", count)
    await place.settle()
    contenders = {f"app {n}": _page(store, n) for n in counts} | {
        f"user {n}": _page(store, n, "user-7") for n in counts
    }
    samples = await interleaved(contenders, size.times(150))
    few, many = counts
    work = f"first page of {many:,} sessions / of {few}"
    return [
        compared(f"{work}, of the app", place.name, samples, f"app {many}", f"app {few}", place.bound(1.15)),
        compared(f"{work}, of a user", place.name, samples, f"user {many}", f"user {few}", place.bound(1.15)),
    ]


def _page(store: AdkSessionStore, count: int, user_id: str | None = None) -> Call:
    # No more than the few have, so that both read as many.
    return lambda: store.page_sessions(app_name=f"app-{count}", user_id=user_id, limit=10)
