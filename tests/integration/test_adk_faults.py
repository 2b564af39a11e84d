"""A server that goes away in mid-run, and writers of all kinds at once: nothing is lost, doubled or torn."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jido_tortoise.adk import Actions, AdkSessionStore, Event, Pruned, Session
from jido_tortoise.adk.google_source import opened as opened_source
from jido_tortoise.adk.importing import Import
from jido_tortoise.adk.models import AdkAppState, AdkEvent, AdkSession
from jido_tortoise.errors import ConflictError, StorageUnavailableError
from jido_tortoise_testing.faults import Trial, crash_everywhere
from jido_tortoise_testing.postgres import PostgresServer
from tests.conftest import Database, opened

store = AdkSessionStore()
T0 = datetime(2026, 1, 1, tzinfo=UTC)


async def persistent(call: Any) -> Any:
    """Repeat a call until the server is there."""
    for _ in range(400):
        try:
            return await call()
        except StorageUnavailableError:
            await asyncio.sleep(0.02)
    raise AssertionError("the server does not come back")


async def test_a_restart_in_mid_run(own_pg_server: PostgresServer, own_pg_url: str) -> None:
    """Runs that repeat what failed, with the same events, end as if nothing had been: also while others prune."""
    runs, steps = 4, 40
    done = 0
    warm = asyncio.Event()

    async def run(n: int) -> None:
        nonlocal done
        session: Session = await persistent(lambda: store.create(app_name="shop", user_id="ann", session_id=f"s{n}"))
        for step in range(steps):
            event = Event(id=f"e{step}", timestamp=T0 + timedelta(minutes=step), actions=Actions(_delta(n, step)))
            session = await persistent(lambda s=session, e=event: store.append_event(s, e))
            done += 1
            if done == runs * steps // 4:
                warm.set()

    async def prune() -> None:
        for _ in range(10):
            await persistent(lambda: store.prune(app_name="shop", events_before=T0 + timedelta(minutes=5)))
            await asyncio.sleep(0.02)

    async def restart() -> None:
        await warm.wait()
        await asyncio.to_thread(own_pg_server.kill)
        await asyncio.to_thread(own_pg_server.restart)

    async with opened(own_pg_url, families=("adk",)):
        async with asyncio.timeout(40):
            await asyncio.gather(*map(run, range(runs)), prune(), restart())
        await persistent(lambda: store.prune(app_name="shop", events_before=T0 + timedelta(minutes=5)))
        shared = (await AdkAppState.get(app_name="shop")).state
        for n in range(runs):
            found = await store.get(app_name="shop", user_id="ann", session_id=f"s{n}")
            assert [event.id for event in found.events] == [f"e{step}" for step in range(5, steps)]
            assert (found.rev, found.state["last"]) == (steps, steps - 1)
            assert {key for key in shared if key.startswith(f"{n}-")} == {f"{n}-{step}" for step in range(steps)}


def _delta(n: int, step: int) -> dict[str, Any]:
    return {"last": step, f"app:{n}-{step}": step}


async def test_a_prune_that_was_cut_off_goes_on(own_pg_server: PostgresServer, own_pg_url: str) -> None:
    """What it says is gone is gone, what is there is whole, and calling it again does the rest."""
    async with opened(own_pg_url, families=("adk",)):
        for n in range(30):
            session = await store.create(app_name="shop", user_id="ann", session_id=f"s{n}")
            await store.append_event(session, Event(timestamp=T0))
        pruning = asyncio.create_task(store.prune(app_name="shop", keep_sessions=0, batch=1))
        while await AdkSession.all().count() > 20:  # noqa: ASYNC110 - the database tells, nobody here
            await asyncio.sleep(0)
        own_pg_server.kill()  # not in a thread: beside it the pruning might come to its end
        with pytest.raises(StorageUnavailableError) as caught:
            await pruning
        await asyncio.to_thread(own_pg_server.restart)
        left = len(await persistent(lambda: store.list(app_name="shop")))
        assert caught.value.pruned.sessions <= 30 - left <= caught.value.pruned.sessions + 1
        assert await AdkEvent.all().count() == left
        assert await store.prune(app_name="shop", keep_sessions=0) == Pruned(left, left)


async def test_of_two_pruners_and_many_writers_none_waits_for_ever(adk_db: Database) -> None:
    """Deletions, copies and appends of the same sessions at once: no deadlock, and what is left is whole."""
    sessions = [await store.create(app_name="shop", user_id="ann", session_id=f"s{n}") for n in range(6)]

    async def write(session: Session) -> None:
        for step in range(6):
            event = Event(id=f"e{step}", timestamp=T0, invocation_id=f"i{step % 2}", actions=Actions({"app:k": step}))
            await store.append_event(session, event)
            await store.delete_invocation(
                app_name="shop", user_id="ann", session_id=session.id, invocation_id=f"i{step % 2}"
            )

    async def copy(session: Session) -> None:
        for step in range(3):
            await store.copy(
                app_name="shop", user_id="ann", session_id=session.id, new_session_id=f"{session.id}-{step}"
            )

    async def prune() -> None:
        for _ in range(4):
            await store.prune(app_name="shop", keep_events=1, batch=2)

    async with asyncio.timeout(30):
        await asyncio.gather(*map(write, sessions), *map(copy, sessions), prune(), prune())
    found = await store.list(app_name="shop")
    assert len(found) == 6 + 18
    assert all(len(session.events) <= session.rev for session in found)


@pytest.mark.parametrize("backend", ["sqlite-file", "postgres"])
async def test_an_import_that_crashed_anywhere(adk_db: Database, tmp_path: Path) -> None:
    """A session is imported whole or not at all, with the times that it has."""
    path = tmp_path / "google.db"
    _google(path)

    async def operation(trial: Trial) -> None:
        with closing(sqlite3.connect(path)) as raw, raw:
            raw.executescript(
                f"UPDATE sessions SET user_id = '{trial.name}'; UPDATE events SET user_id = '{trial.name}'"
            )
        async with opened_source(f"sqlite:///{path}") as source:
            await Import(source, store).run()

    async def look(trial: Trial) -> Any:
        found = await store.list(app_name="shop", user_id=trial.name)
        return [(one.rev, len(one.events), one.state, one.created_at, one.last_update_time) for one in found]

    report = await crash_everywhere(operation, look, connection="default", kinds=["fail"])
    assert len(report.after) == 1  # type: ignore[arg-type]


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("backend", ["sqlite-file", "postgres"])
async def test_a_repeated_import_that_crashed_anywhere(adk_db: Database, tmp_path: Path) -> None:
    """What is new of a session comes whole, with its state, or not at all."""
    path = tmp_path / "google.db"
    _google(path)

    def change(sql: str) -> None:
        with closing(sqlite3.connect(path)) as raw, raw:
            raw.executescript(sql)

    async def once() -> None:
        async with opened_source(f"sqlite:///{path}") as source:
            await Import(source, store).run()

    async def prepare(trial: Trial) -> None:
        change(
            f"UPDATE sessions SET user_id = '{trial.name}', update_time = 9.5, state = '{{\"k\": 1}}';"
            f"DELETE FROM events WHERE id > 'b'; UPDATE events SET user_id = '{trial.name}'"
        )
        await once()
        change(
            "UPDATE sessions SET update_time = 19.5, state = '{\"k\": 2}';"
            f"INSERT INTO events VALUES ('c', 'shop', '{trial.name}', 's', 'i', 12.5, '{{}}')"
        )

    async def operation(_: Trial) -> None:
        await once()

    async def look(trial: Trial) -> Any:
        found = await store.get(app_name="shop", user_id=trial.name, session_id="s")
        return len(found.events), found.rev, found.state, found.last_update_time

    report = await crash_everywhere(operation, look, connection="default", prepare=prepare, kinds=["fail", "cancel"])
    assert (report.before[:3], report.after[:3]) == ((2, 2, {"k": 1}), (3, 3, {"k": 2}))  # type: ignore[index]


@pytest.mark.parametrize("backend", ["postgres"])
@pytest.mark.parametrize(
    ("state", "count"),
    [({}, 1), ({"k": 1}, 1), ({"app:k": 1, "user:k": 1, "k": 1}, 1), ({"app:k": 1}, 2), ({"user:k": 1}, 2)],
    ids=["none", "own", "all", "app", "user"],
)
async def test_the_statements_of_a_create(adk_db: Database, state: dict[str, Any], count: int) -> None:
    """One, unless it changes one of the two shared states: the other is read when that one's lock is had."""

    async def create(trial: Trial) -> None:
        session = await store.create(app_name="shop", user_id=trial.name, session_id="s", state=state)
        assert session.state.items() >= state.items()
        assert session.identity > 0

    async def look(trial: Trial) -> Any:
        return await AdkSession.filter(user_id=trial.name).count()

    report = await crash_everywhere(create, look, connection="default", kinds=["fail"])
    assert len(report.statements) == count, report.statements


async def test_a_create_that_cannot_tell_the_shared_state(adk_db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Says that the session may be there: it is."""

    async def fail(*_: object) -> Any:
        raise StorageUnavailableError("the server is gone", outcome="not written")

    monkeypatch.setattr(AdkSessionStore, "_shared", fail)
    with pytest.raises(StorageUnavailableError) as caught:
        await store.create(app_name="shop", user_id="u", session_id="s", state={"app:k": 1})
    assert caught.value.outcome == "unknown"
    assert await AdkSession.filter(id="s").exists()


def _google(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.executescript(
            "CREATE TABLE app_states (app_name, state, update_time);"
            "CREATE TABLE user_states (app_name, user_id, state, update_time);"
            "CREATE TABLE sessions (app_name, user_id, id, state, create_time, update_time);"
            "CREATE TABLE events (id, app_name, user_id, session_id, invocation_id, timestamp, event_data);"
            "INSERT INTO sessions VALUES ('shop', 'u', 's', '{\"k\": 1}', 1.5, 9.5);"
            "INSERT INTO events VALUES ('a', 'shop', 'u', 's', 'i', 2.5, '{}'), ('b', 'shop', 'u', 's', 'i', 3.5, '{}')"
        )
    raw.close()


async def test_a_stale_append_beside_a_pruner(adk_db: Database) -> None:
    """Numbers stay: a copy that was read before a prune is as current as it was."""
    session = await store.create(app_name="shop", user_id="ann", session_id="s")
    for _ in range(3):
        session = await store.append_event(session, Event())
    await store.prune(app_name="shop", keep_events=1)
    assert (await store.append_event(session, Event(), check_stale=True)).rev == 4
    with pytest.raises(ConflictError):
        await store.append_event(session, Event(), check_stale=True)
