"""Many writers of ADK sessions at once: nothing is lost, nothing is torn, nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tortoise.transactions import in_transaction

from jido_tortoise.adk import Actions, AdkSessionStore, Event, Session
from jido_tortoise.adk.models import AdkAppState, AdkEvent, AdkSession, AdkUserState
from jido_tortoise.database import resolve
from jido_tortoise.errors import AlreadyExistsError, ConflictError
from jido_tortoise_testing.postgres import fresh_database
from tests import forking
from tests.conftest import Database, opened

WHO = {"app_name": "shop", "user_id": "ann"}
WRITERS = 20
store = AdkSessionStore()


def setting(**delta: Any) -> Event:
    return Event(author="agent", actions=Actions(delta))


async def made(name: str = "s", **more: Any) -> Session:
    return await store.create(**{**WHO, **more}, session_id=name)


async def got(name: str = "s", **more: Any) -> Session:
    return await store.get(**{**WHO, **more}, session_id=name)


@asynccontextmanager
async def two_connections(database: Database) -> AsyncIterator[list[AdkSessionStore]]:
    """Give a store on each of two clients of one database, as two processes would have them."""
    if database.backend == "sqlite-memory":
        pytest.skip("a database in memory is one connection's")
    more = {"connections": {"default": database.url, "second": database.url}}
    async with opened(database.url, tables=False, families=("adk",), **more):
        yield [AdkSessionStore(), AdkSessionStore(connection="second")]


# -- the four scenarios in which google-adk's own services lose updates --------------------------------------------


async def test_20_creates_with_a_key_of_the_app_each(adk_db: Database) -> None:
    """Every key survives."""
    await asyncio.gather(
        *(store.create(**WHO, session_id=f"s{n}", state={f"app:k{n}": n, f"user:k{n}": n}) for n in range(WRITERS))
    )
    expected = {f"k{n}": n for n in range(WRITERS)}
    assert (await AdkAppState.get(app_name="shop")).state == expected
    assert await store.get_user_state(**WHO) == expected


async def test_20_sessions_append_a_key_of_the_app_each(adk_db: Database) -> None:
    """Every key survives."""
    sessions = [await made(f"s{n}") for n in range(WRITERS)]
    await asyncio.gather(*(store.append_event(s, setting(**{f"app:k{n}": n})) for n, s in enumerate(sessions)))
    assert (await AdkAppState.get(app_name="shop")).state == {f"k{n}": n for n in range(WRITERS)}


async def test_the_same_by_two_connections(adk_db: Database) -> None:
    """Two processes lose nothing either."""
    async with two_connections(adk_db) as stores:
        sessions = [await made(f"s{n}") for n in range(WRITERS)]
        jobs = [stores[n % 2].append_event(s, setting(**{f"app:k{n}": n})) for n, s in enumerate(sessions)]
        await asyncio.gather(*jobs)
        assert (await AdkAppState.get(app_name="shop")).state == {f"k{n}": n for n in range(WRITERS)}


async def test_20_writers_of_one_session_by_two_connections(adk_db: Database) -> None:
    """Every event and every key survives, numbered without a gap."""
    async with two_connections(adk_db) as stores:
        session = await made()
        await asyncio.gather(*(stores[n % 2].append_event(session, setting(**{f"k{n}": n})) for n in range(WRITERS)))
        found = await got()
        assert (found.rev, len(found.events)) == (WRITERS, WRITERS)
        assert found.state == {f"k{n}": n for n in range(WRITERS)}
        assert [row.seq for row in await AdkEvent.all().order_by("seq")] == list(range(WRITERS))


async def test_of_two_stale_copies_one_wins_each_round(adk_db: Database) -> None:
    """When staleness is checked, also across connections: 10 rounds, 10 winners."""
    async with two_connections(adk_db) as stores:
        await made()
        for n in range(10):
            session = await got()
            answers = await asyncio.gather(
                *(s.append_event(session, setting(n=n), check_stale=True) for s in stores), return_exceptions=True
            )
            assert sorted(type(answer).__name__ for answer in answers) == ["ConflictError", "Session"]
            assert [a.reason for a in answers if isinstance(a, ConflictError)] == ["stale_session"]
        assert (await got()).rev == 10


#: What a new session changes of what is shared.
STATES: dict[str, dict[str, Any]] = {
    "nothing": {"own": 1},
    "app": {"app:mine": 1},
    "user": {"user:mine": 1},
    "both": {"app:mine": 1, "user:mine": 1},
}


@pytest.mark.parametrize("backend", ["sqlite-file", "postgres"])
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
async def test_a_new_session_is_told_whole_appends(adk_db: Database, state: dict[str, Any]) -> None:
    """Of an append that commits while a session is made, it is answered all of the shared state, or nothing."""
    async with two_connections(adk_db) as (mine, others):
        await others.append_event(await made("other"), setting(**{"app:x": 0, "user:x": 0}))
        async with in_transaction("second"):
            await others.append_event(await others.get(**WHO, session_id="other"), setting(**{"app:x": 1, "user:x": 1}))
            making = asyncio.create_task(mine.create(**WHO, session_id="s", state=state))
            await asyncio.wait([making], timeout=0.1)
        async with asyncio.timeout(10):
            found = (await making).state
        assert found["app:x"] == found["user:x"]
        assert found.items() >= state.items()
        if state == STATES["both"] or adk_db.dialect == "sqlite":
            assert found["app:x"] == 1, "it waited for that append"


@pytest.mark.parametrize("backend", ["sqlite-file", "postgres"])
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
async def test_64_make_one_session(adk_db: Database, state: dict[str, Any]) -> None:
    """One has made it, all others are told that it is there, and nothing of theirs is; appends beside them end, too."""
    async with two_connections(adk_db) as stores:
        beside = await made("beside")
        jobs = [
            stores[n % 2].create(**WHO, session_id="s", state={**state, "app:n": n, "user:n": n}) for n in range(32)
        ]
        jobs += [stores[n % 2].create(**WHO, session_id="s", state={**state, "n": n}) for n in range(32)]
        appends = [stores[n % 2].append_event(beside, setting(**{"app:k": n, "user:k": n})) for n in range(16)]
        async with asyncio.timeout(30):
            answers = await asyncio.gather(*jobs, *appends, return_exceptions=True)
        made_here = [answer for answer in answers[:64] if isinstance(answer, Session)]
        assert [type(answer) for answer in answers[:64]].count(AlreadyExistsError) == 63
        (winner,) = made_here
        found = await got()
        assert (found.identity, found.rev) == (winner.identity, 0)
        assert {key: found.state.get(key) for key in ("n", "app:n", "user:n")} == {
            key: winner.state.get(key) for key in ("n", "app:n", "user:n")
        }
        assert (await got("beside")).rev == 16


async def test_two_processes_lose_nothing(adk_db: Database) -> None:
    """In earnest: two processes write the app's, the user's and the session's keys at once."""
    if adk_db.backend == "sqlite-memory":
        pytest.skip("a database in memory is one process's")
    await made()
    program = f"""
import asyncio, sys
from tortoise.context import TortoiseContext
from jido_tortoise.adk import Actions, AdkSessionStore, Event
async def main(me):
    async with TortoiseContext() as context:
        apps = {{"jido_adk": {{"models": ["jido_tortoise.adk.models"], "default_connection": "default"}}}}
        await context.init(config={{"connections": {{"default": {adk_db.url!r}}}, "apps": apps}})
        store = AdkSessionStore()
        session = await store.get(app_name="shop", user_id="ann", session_id="s")
        jobs = []
        for n in range(10):
            delta = {{f"{{scope}}{{me}}-{{n}}": n for scope in ("app:", "user:", "")}}
            jobs.append(store.append_event(session, Event(actions=Actions(delta))))
        await asyncio.gather(*jobs)
asyncio.run(main(sys.argv[1]))
"""
    both = await asyncio.to_thread(forking.together, *[("-c", program, me) for me in ("a", "b")])
    assert [(done.returncode, done.stderr) for done in both] == [(0, "")] * 2
    found = await got()
    assert (found.rev, len(found.state)) == (20, 60)


# -- create -------------------------------------------------------------------------------------------------------


async def test_64_creates_of_one_id(adk_db: Database) -> None:
    """One wins, 63 are told that it exists, and only the winner's shared state is there."""
    answers = await asyncio.gather(
        *(store.create(**WHO, session_id="s", state={"n": n, f"app:k{n}": n}) for n in range(64)),
        return_exceptions=True,
    )
    winners = [answer for answer in answers if isinstance(answer, Session)]
    assert len(winners) == 1
    assert sum(isinstance(answer, AlreadyExistsError) for answer in answers) == 63
    assert await got() == winners[0]
    assert len((await AdkAppState.get(app_name="shop")).state) == 1


# -- locks --------------------------------------------------------------------------------------------------------


async def test_no_deadlock_over_shared_keys(adk_db: Database) -> None:
    """20 sessions of several users write what they share, with creates and deletes between; all of it in time."""
    users = [f"u{n % 4}" for n in range(WRITERS)]
    sessions = [await made(f"s{n}", user_id=user) for n, user in enumerate(users)]

    async def work(n: int, session: Session) -> None:
        for turn in range(8):
            delta = {"app:shared": n, "user:shared": turn, f"app:{n}-{turn}": 1, f"user:{n}-{turn}": 1, "own": turn}
            await store.append_event(session, setting(**delta))
            extra = await made(f"x{n}-{turn}", user_id=session.user_id)
            await store.delete(app_name="shop", user_id=session.user_id, session_id=extra.id)

    async with asyncio.timeout(60):
        await asyncio.gather(*(work(n, session) for n, session in enumerate(sessions)))
    assert len((await AdkAppState.get(app_name="shop")).state) == 8 * WRITERS + 1
    assert sum([len(state) for state in await AdkUserState.all().values_list("state", flat=True)]) == 8 * WRITERS + 4
    assert await AdkSession.all().count() == WRITERS


@pytest.mark.parametrize("backend", ["postgres"])
async def test_append_is_one_statement_on_postgres(adk_db: Database) -> None:
    """Head, event, session, app and user state together; the shared rows only when the event changes them."""
    session = await made()
    await store.append_event(session, setting())
    seen: list[str] = []
    client = resolve(None, AdkSession).client
    async with client._pool.acquire() as raw:
        raw._con.add_query_logger(lambda record: seen.append(record.query))
    for delta, touched in (
        ({}, []),
        ({"k": 1}, []),
        ({"app:k": 1}, ["app"]),
        ({"user:k": 1, "app:k": 2, "k": 2, "temp:t": 1}, ["app", "user"]),
    ):
        seen.clear()
        await store.append_event(session, setting(**delta))
        (sent,) = [sql for sql in seen if "pg_advisory_unlock_all" not in sql]  # asyncpg's reset of a connection
        assert [name for name in ("app", "user") if f"adk_{name}_states" in sent] == touched


async def test_no_deadlock_is_ever_broken_on_postgres(pg_server: str) -> None:
    """An autocommit statement is repeated after a deadlock, which would hide a wrong order: the server counts them.

    In a database of its own, since others make deadlocks on purpose; a connection tells what it counted when it ends.
    """
    counted = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    with fresh_database(pg_server) as url:
        async with opened(url, families=("adk",)):
            await _append_and_create_at_once()
        async with opened(url, tables=False, families=("adk",)):
            assert await resolve(None, AdkSession).client.execute_query_dict(counted) == [{"deadlocks": 0}]


async def _append_and_create_at_once() -> None:
    sessions = [await made(f"s{n}", user_id=f"u{n % 2}") for n in range(WRITERS)]
    for turn in range(10):
        appends = [store.append_event(s, setting(**{"app:k": turn, "user:k": turn})) for s in sessions]
        creates = [
            store.create(app_name="shop", user_id=f"u{n % 2}", state={"user:k": n, "app:k": n}) for n in range(WRITERS)
        ]
        await asyncio.gather(*appends, *creates)


@pytest.mark.parametrize("backend", ["postgres"])
async def test_the_app_is_locked_before_the_user_on_postgres(adk_db: Database) -> None:
    """One order for all: an append that waits for the user's row holds the app's."""
    session = await store.create(**WHO, session_id="s", state={"app:k": 0, "user:k": 0})
    pool = resolve(None, AdkSession).client._pool
    async with pool.acquire() as holder, pool.acquire() as other:
        await holder.execute("BEGIN; SELECT * FROM adk_user_states FOR UPDATE")
        task = asyncio.create_task(store.append_event(session, setting(**{"app:k": 1, "user:k": 1})))
        waiting = (
            "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT granted AND datname = $1"
        )
        name = await other.fetchval("SELECT current_database()")
        async with asyncio.timeout(10):
            while not await other.fetchval(waiting, name):  # noqa: ASYNC110 - the server tells, nobody here
                await asyncio.sleep(0.01)
        free = await other.fetch("SELECT 1 FROM adk_app_states FOR UPDATE SKIP LOCKED")
        await holder.execute("COMMIT")
        assert free == []
    await task
    assert (await got()).state == {"app:k": 1, "user:k": 1}


# -- cancellation -------------------------------------------------------------------------------------------------


async def test_cancelled_anywhere_an_append_is_whole_or_absent(adk_db: Database) -> None:
    """And repeating it with the same event makes it be there once, with its state."""
    session = await made()
    delays = [0.0, *(0.00015 * n for n in range(40))]
    for n, delay in enumerate(delays):
        event = setting(**{f"k{n}": n, f"app:k{n}": n, f"user:k{n}": n})
        task = asyncio.create_task(store.append_event(session, event))
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        found = await got()
        marks = {key for key in (f"k{n}", f"app:k{n}", f"user:k{n}") if key in found.state}
        assert (len(marks), event.id in {e.id for e in found.events}) in ((0, False), (3, True))
        await store.append_event(session, event)
        again = await got()
        assert again.rev == len(again.events) == n + 1
        assert again.state[f"app:k{n}"] == n
