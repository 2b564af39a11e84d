"""google-adk's own session services, as a host would use them, beside ours on the same server or the same disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.benchmarks.measure import Call, Prepared
from tests.benchmarks.places import Place, on_disk
from tests.benchmarks.samples import message

#: The session that everything here is about, but for its id.
OWNER: dict[str, Any] = {"app_name": "bench", "user_id": "mia_li_3668"}


@asynccontextmanager
async def database_service(place: Place) -> AsyncIterator[Any]:
    """Open a DatabaseSessionService: in our database on PostgreSQL, in a file of its own beside ours on SQLite."""
    from google.adk.sessions import DatabaseSessionService

    with TemporaryDirectory(prefix="jido-bench-", dir=on_disk()) as folder:
        url = place.url if place.dialect == "postgres" else f"sqlite:///{Path(folder, 'google.db')}"
        dialect, _, rest = url.partition("://")
        driver = "asyncpg" if place.dialect == "postgres" else "aiosqlite"
        async with DatabaseSessionService(f"{dialect}+{driver}://{rest}") as service:
            await service.prepare_tables()
            yield service


@asynccontextmanager
async def sqlite_service() -> AsyncIterator[Any]:
    """Open a SqliteSessionService on a file of its own."""
    from google.adk.sessions.sqlite_session_service import SqliteSessionService

    with TemporaryDirectory(prefix="jido-bench-", dir=on_disk()) as folder:
        yield SqliteSessionService(str(Path(folder, "google.db")))


@cache
def _kinds() -> tuple[Any, Any, Any]:
    """Import what an event is made of, which takes seconds, only when it is needed."""
    from google.adk.events import Event, EventActions
    from google.genai import types

    return Event, EventActions, types


def event(number: int, changes: dict[str, Any] | None = None) -> Any:
    """Make a google Event that says a message and changes the state."""
    made, actions, types = _kinds()
    said = types.Content(role="model", parts=[types.Part(text=message(number % 100)["content"])])
    does = actions(state_delta=changes or {})
    return made(author="agent", invocation_id=f"inv-{number // 4}", content=said, actions=does)


async def filled(service: Any, session_id: str, length: int, state: dict[str, Any] | None = None) -> Any:
    """Make a session with so many events, by the service itself."""
    session = await service.create_session(**OWNER, session_id=session_id, state=state or {})
    for number in range(length):
        await service.append_event(session, event(number))
    return session


def appends(service: Any, session: Any, changes: Callable[[int], dict[str, Any]]) -> Prepared:
    """Append one new event after another to a session in hand, each made before the clock starts."""
    ready: list[Any] = []
    made = 0

    def before() -> None:
        nonlocal made
        made += 1
        ready[:] = [event(made, changes(made))]

    return Prepared(lambda: service.append_event(session, ready[0]), before)


def get(service: Any, session_id: str, most: int | None = None) -> Call:
    """Get a session, all of it or its last events."""
    from google.adk.sessions.base_session_service import GetSessionConfig

    config = None if most is None else GetSessionConfig(num_recent_events=most)
    return lambda: service.get_session(**OWNER, session_id=session_id, config=config)


async def statements(service: Any, call: Prepared) -> list[str]:
    """Run a call and answer the statements of a DatabaseSessionService, BEGIN and COMMIT apart."""
    from sqlalchemy import event as signal

    seen: list[str] = []

    def listen(*said: Any) -> None:
        seen.append(said[2])

    engine = service.db_engine.sync_engine
    signal.listen(engine, "before_cursor_execute", listen)
    call.before()
    await call.call()
    signal.remove(engine, "before_cursor_execute", listen)
    return seen
