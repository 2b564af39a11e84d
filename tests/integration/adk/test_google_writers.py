"""Many writers through google-adk's interface at once, in one process and in two; cancelled, short of connections."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.events import Event, EventActions
from google.adk.sessions import Session

from jido_tortoise.adk import TortoiseSessionService
from jido_tortoise.adk.models import AdkEvent, AdkSession
from jido_tortoise.database import resolve
from jido_tortoise.errors import SchemaError, StorageTimeoutError, StorageUnavailableError
from jido_tortoise_testing.postgres import PostgresServer
from tests.conftest import Database, opened
from tests.integration.adk import google_writer

WRITERS = 20


def setting(**delta: Any) -> Event:
    return Event(author="a", actions=EventActions(state_delta=delta))


async def made(service: TortoiseSessionService, app: str, id: str = "s", **state: Any) -> Session:
    return await service.create_session(app_name=app, user_id="u", session_id=id, state=state)


async def again(service: TortoiseSessionService, app: str, id: str = "s") -> Session:
    found = await service.get_session(app_name=app, user_id="u", session_id=id)
    assert found is not None
    return found


def names(answers: list[Any]) -> dict[str, int]:
    return Counter(type(answer).__name__ for answer in answers)


# -- the scenarios in which google-adk's own services lose updates -------------------------------------------------


async def test_20_creates_with_a_key_of_the_app_each(service: TortoiseSessionService, app: str) -> None:
    """Every key survives."""
    await asyncio.gather(*(made(service, app, f"s{n}", **{f"app:k{n}": n}) for n in range(WRITERS)))
    assert (await again(service, app, "s0")).state == {f"app:k{n}": n for n in range(WRITERS)}


@pytest.mark.parametrize("services", [1, 2])
async def test_20_sessions_append_a_key_of_the_app_each(
    service: TortoiseSessionService, other: TortoiseSessionService, app: str, services: int
) -> None:
    """Every key survives, by one service and by two on connections of their own."""
    sessions = [await made(service, app, f"s{n}") for n in range(WRITERS)]
    each = (service, other)[:services]
    await asyncio.gather(
        *(
            each[n % services].append_event(s, setting(**{f"app:k{n}": n, f"user:k{n}": n}))
            for n, s in enumerate(sessions)
        )
    )
    found = await again(service, app, "s0")
    assert found.state == {f"{scope}:k{n}": n for n in range(WRITERS) for scope in ("app", "user")}


async def test_of_two_stale_copies_one_wins_each_round(
    service: TortoiseSessionService, other: TortoiseSessionService, app: str
) -> None:
    """10 rounds, 10 winners, and the loser's copy is as it was."""
    await made(service, app)
    for n in range(10):
        copies = [await again(service, app), await again(other, app)]
        answers = await asyncio.gather(
            service.append_event(copies[0], setting(**{f"k{n}": 0})),
            other.append_event(copies[1], setting(**{f"k{n}": 1})),
            return_exceptions=True,
        )
        assert names(answers) == {"Event": 1, "StaleSessionError": 1}
        winner = next(copy for copy, answer in zip(copies, answers, strict=True) if isinstance(answer, Event))
        assert await again(service, app) == winner
        assert sorted(len(copy.events) for copy in copies) == [n, n + 1]


async def test_two_processes_lose_nothing(database: Database, service: TortoiseSessionService, app: str) -> None:
    """In earnest: each writes what is shared from sessions of its own, and races for one that is not."""
    await made(service, app)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", google_writer.__name__, database.url, app, "a"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    async with asyncio.timeout(60):
        assert process.stdin is not None
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        process.stdin.write(b"go\n")
        await google_writer.write(service, app, "b")
        assert await process.wait() == 0
    found = await again(service, app)
    assert found.state.pop("count") == len(found.events) == 20
    assert len(found.state) == 60
    assert len((await service.list_sessions(app_name=app)).sessions) == 21


async def test_64_creates_of_one_id(service: TortoiseSessionService, other: TortoiseSessionService, app: str) -> None:
    """One wins, 63 are told by google's error, and only the winner's shared state is there."""
    answers = await asyncio.gather(
        *(
            (service, other)[n % 2].create_session(
                app_name=app, user_id="u", session_id="s", state={"n": n, f"app:k{n}": n}
            )
            for n in range(64)
        ),
        return_exceptions=True,
    )
    assert names(answers) == {"Session": 1, "AlreadyExistsError": 63}
    assert all("s already exists" in str(answer) for answer in answers if isinstance(answer, AlreadyExistsError))
    (winner,) = (answer for answer in answers if isinstance(answer, Session))
    assert await again(service, app) == winner
    assert len(winner.state) == 2


async def test_the_first_calls_of_a_process_may_be_many_at_once(url: str, app: str) -> None:
    """Nothing has to be prepared before them."""
    async with opened(url, tables=False, families=("adk",)):
        await asyncio.gather(*(made(TortoiseSessionService(), app, f"s{n}") for n in range(5)))
        listed = await TortoiseSessionService().list_sessions(app_name=app)
    assert sorted(session.id for session in listed.sessions) == [f"s{n}" for n in range(5)]


# -- one session object -------------------------------------------------------------------------------------------


async def test_branches_that_share_a_session_take_turns(
    service: TortoiseSessionService, other: TortoiseSessionService, app: str
) -> None:
    """All of them succeed, in the order in which they came, also through two services."""
    session = await made(service, app)
    events = [setting(**{f"k{n}": n, "last": n}) for n in range(WRITERS)]
    await asyncio.gather(*((service, other)[n % 2].append_event(session, e) for n, e in enumerate(events)))
    assert session.events == events
    assert await again(service, app) == session
    assert session.state["last"] == WRITERS - 1


async def test_one_that_fails_does_not_hold_up_the_others(service: TortoiseSessionService, app: str) -> None:
    """Refused or cancelled while it waits for its turn: the next one has it."""
    session = await made(service, app)
    wrong = Event(id="x" * 300)
    tasks = [
        asyncio.create_task(service.append_event(session, e)) for e in (setting(a=1), wrong, Event(), setting(b=1))
    ]
    await asyncio.sleep(0)
    tasks[2].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert names(answers) == {"Event": 2, "InvalidInputError": 1, "CancelledError": 1}
    assert await again(service, app) == session
    assert session.state == {"a": 1, "b": 1}


# -- what goes wrong ----------------------------------------------------------------------------------------------


async def test_cancelled_anywhere_an_append_is_whole_or_absent(service: TortoiseSessionService, app: str) -> None:
    """And repeating it with the same event brings the session in hand to where the stored one is."""
    session = await made(service, app)
    cancelled = 0
    for n in range(40):
        event = setting(**{f"k{n}": n, f"app:k{n}": n, f"user:k{n}": n})
        task = asyncio.create_task(service.append_event(session, event))
        for _ in range(n):
            await asyncio.sleep(0)
        task.cancel()
        (answer,) = await asyncio.gather(task, return_exceptions=True)
        cancelled += isinstance(answer, asyncio.CancelledError)
        found = await again(service, app)
        marks = {key for key in (f"k{n}", f"app:k{n}", f"user:k{n}") if key in found.state}
        assert (len(marks), event in found.events) in ((0, False), (3, True))
        await service.append_event(session, event)
        assert await again(service, app) == session
        assert len(session.events) == n + 1
    assert cancelled > 5


async def test_no_connection_is_free(database: Database, app: str) -> None:
    """An error within the timeout; the session in hand is as it was, and may append when there is one."""
    if database.dialect == "sqlite":
        pytest.skip("a SQLite file has no pool")
    async with opened(f"{database.url}&maxsize=1", tables=False, families=("adk",)):
        service = TortoiseSessionService(timeout=0.2)
        session, event = await made(service, app), setting(k=1)
        async with resolve(None, AdkSession).client._pool.acquire():
            for call in (service.append_event(session, event), again(service, app), made(service, app, "t")):
                with pytest.raises(StorageTimeoutError) as caught:
                    await call
                assert caught.value.reason == "pool_exhausted"
        assert session.events == []
        await service.append_event(session, event)
        assert await again(service, app) == session


async def test_an_append_that_fails_leaves_nothing(
    database: Database, service: TortoiseSessionService, app: str
) -> None:
    """However often; the session in hand goes on when the database does."""
    session = await made(service, app)
    await database.client.execute_script("ALTER TABLE adk_user_states RENAME TO away")
    for _ in range(3):
        with pytest.raises(SchemaError):
            await service.append_event(session, setting(**{"app:k": 1, "k": 1, "user:k": 1}))
    await database.client.execute_script("ALTER TABLE away RENAME TO adk_user_states")
    assert await again(service, app) == session
    await service.append_event(session, setting(**{"app:k": 2}))
    assert (await again(service, app)).state == {"app:k": 2}
    assert await AdkEvent.filter(app_name=app).count() == 1


async def test_an_append_is_one_statement_on_postgres(database: Database, app: str) -> None:
    """Whatever its delta, and nothing else is asked before or after it."""
    if database.dialect == "sqlite":
        pytest.skip("of a SQLite file's statements none travels")
    service = TortoiseSessionService()
    session = await made(service, app)
    await service.append_event(session, setting())
    seen: list[str] = []
    async with resolve(None, AdkSession).client._pool.acquire() as raw:
        raw._con.add_query_logger(lambda record: seen.append(record.query))
    for delta in ({}, {"k": 1}, {"user:k": 1, "app:k": 2, "k": 2, "temp:t": 1}):
        seen.clear()
        await service.append_event(session, setting(**delta))
        assert len([sql for sql in seen if "pg_advisory_unlock_all" not in sql]) == 1


async def test_the_server_restarts_between(own_pg_server: PostgresServer, own_pg_url: str, app: str) -> None:
    """An append that meets the restart may be repeated with the session in hand, and is stored once."""
    async with opened(own_pg_url, families=("adk",)):
        service = TortoiseSessionService()
        session = await made(service, app)
        for n in range(3):
            event = setting(**{f"k{n}": n})
            if n == 1:
                own_pg_server.restart()
            for _ in range(10):
                try:
                    await service.append_event(session, event)
                    break
                except StorageUnavailableError:
                    await asyncio.sleep(0.05)
        assert len(session.events) == 3
        assert await again(service, app) == session
