"""Databases that google-adk itself has made, read into ours: both layouts, from and to both databases."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.adk.events import Event, EventActions
from google.adk.sessions import DatabaseSessionService
from google.adk.sessions.schemas import v0
from google.adk.sessions.sqlite_session_service import SqliteSessionService
from google.adk.tools.tool_confirmation import ToolConfirmation
from google.genai import types
from sqlalchemy.ext.asyncio import create_async_engine

from jido_tortoise.adk import AdkSessionStore, TortoiseSessionService
from jido_tortoise.adk.google_source import PAGE, opened, read_moment
from jido_tortoise.adk.importing import BadRow, Diverged, Import, Imported
from jido_tortoise.adk.models import AdkAppState, AdkEvent
from jido_tortoise.errors import ConfigError
from jido_tortoise_testing.postgres import fresh_database, run_sql
from tests.conftest import Database

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
store = AdkSessionStore()


@pytest.fixture(params=["sqlite", "postgres"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of an empty database, as google-adk takes it."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'google.db'}"
        return
    with fresh_database(request.getfixturevalue("pg_server")) as url:
        yield url.replace("postgresql://", "postgresql+asyncpg://")


@pytest.fixture
async def service(source: str) -> AsyncIterator[DatabaseSessionService]:
    """Give google-adk's service on it."""
    async with DatabaseSessionService(source) as made:
        await made.prepare_tables()
        yield made


@pytest.fixture
async def old_service(source: str) -> AsyncIterator[DatabaseSessionService]:
    """Give google-adk's service on tables of its old layout."""
    await _make_v0(source)
    async with DatabaseSessionService(source) as made:
        yield made


async def _make_v0(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(v0.Base.metadata.create_all)
    await engine.dispose()


def _event(n: int, **delta: Any) -> Event:
    parts = [
        types.Part(text=f"say {n}"),
        types.Part(function_call=types.FunctionCall(name="f", args={"n": n}, id=f"c{n}")),
        types.Part(inline_data=types.Blob(data=b"\xff\xfe\xfb", mime_type="image/png")),
    ]
    actions = EventActions(
        state_delta={"n": n, **delta},
        artifact_delta={"f.txt": n},
        requested_tool_confirmations={f"c{n}": ToolConfirmation(hint="sure?")},
        agent_state={},
    )
    return Event(
        id=f"e{n}",
        invocation_id=f"i{n // 2}",
        author="agent",
        timestamp=1_700_000_000.125 + n,
        content=types.Content(role="model", parts=parts),
        actions=actions,
        long_running_tool_ids={"c2", "c1"},
        custom_metadata={"k": [1, None]},
    )


async def _fill(service: Any, users: tuple[str, ...] = ("ann", "bob", "Öl"), events: int = 3) -> None:
    for user in users:
        state = {"app:theme": "dark", f"user:{user}": 1, "own": {"deep": [1.5]}}
        session = await service.create_session(app_name="shop", user_id=user, session_id=f"s of {user}", state=state)
        for n in range(events):
            await service.append_event(session, _event(n, **{f"app:{user}": n, "user:n": n, "temp:t": 1}))
    await service.create_session(app_name="bar", user_id="ann", session_id="empty")


async def _imported(url: str, **options: Any) -> Imported:
    async with opened(url) as source:
        return await Import(source, store, **options).run()


async def _same(service: Any, names: list[tuple[str, str, str]]) -> None:
    """Compare what google-adk's own service reads with what ours does."""
    ours = TortoiseSessionService()
    for app_name, user_id, session_id in names:
        key = {"app_name": app_name, "user_id": user_id, "session_id": session_id}
        theirs, mine = await service.get_session(**key), await ours.get_session(**key)
        assert mine is not None
        assert mine.model_dump() == theirs.model_dump()


NAMES = [*(("shop", user, f"s of {user}") for user in ("ann", "bob", "Öl")), ("bar", "ann", "empty")]


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """Give the target's kind: the other one than the source's, but for what a test asks."""
    return "sqlite-file" if "postgres" in request.node.name else "postgres"


async def test_schema_v1(adk_db: Database, source: str, service: DatabaseSessionService) -> None:
    """Every session is the one that google-adk reads; the second time there is nothing to do, and changes here stay."""
    await _fill(service)
    seen: list[int] = []
    done = await _imported(source, on_progress=seen.append)
    assert (done.schema, done.sessions, done.events, done.already, done.bad_rows) == ("v1", 4, 9, 0, 0)
    assert seen == [1, 2, 3, 4]
    await _same(service, NAMES)
    mine = await store.get(app_name="shop", user_id="ann", session_id="s of ann")
    assert (mine.rev, mine.events[0].content.parts[2].inline_data.data) == (3, b"\xff\xfe\xfb")  # type: ignore[union-attr]
    await store.append_event(mine, _ours())
    again = await _imported(source)
    assert (again.sessions, again.events, again.already, again.diverged) == (0, 0, 3, 1)
    assert (await AdkAppState.get(app_name="shop")).state["theme"] == "light"
    assert await AdkEvent.all().count() == 10


def _ours() -> Any:
    from jido_tortoise.adk import Actions
    from jido_tortoise.adk import Event as OurEvent

    return OurEvent(actions=Actions({"app:theme": "light"}))


async def test_schema_v0(
    adk_db: Database, source: str, old_service: DatabaseSessionService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its actions are pickles, which nobody loads."""
    await _fill(old_service)

    def loaded(*_: Any, **__: Any) -> Any:
        raise AssertionError("a pickle was loaded")

    with monkeypatch.context() as patch:
        for name in ("loads", "load", "Unpickler", "_Unpickler"):
            patch.setattr(pickle, name, loaded)
        done = await _imported(source)
    assert done.bad == []
    assert (done.schema, done.sessions, done.events, done.bad_rows) == ("v0", 4, 9, 0)
    await _same(old_service, NAMES)


async def test_the_layout_of_the_sqlite_service(adk_db: Database, tmp_path: Path) -> None:
    """Times are seconds there, finer than a column of ours."""
    service = SqliteSessionService(str(tmp_path / "lite.db"))
    await _fill(service)
    finest = _event(3)
    finest.timestamp = 1_700_000_009.1234567
    session = await service.get_session(app_name="shop", user_id="bob", session_id="s of bob")
    await service.append_event(session, finest)
    done = await _imported(f"sqlite:///{tmp_path / 'lite.db'}")
    assert (done.sessions, done.events, done.bad_rows) == (4, 10, 0)
    mine = await TortoiseSessionService().get_session(app_name="shop", user_id="bob", session_id="s of bob")
    theirs = await service.get_session(app_name="shop", user_id="bob", session_id="s of bob")
    assert mine is not None
    assert mine.model_dump() == theirs.model_dump()  # type: ignore[union-attr]


# -- bad rows -----------------------------------------------------------------------------------------------------


class Attack:
    """Would write a file where its pickle is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return open, (str(self.file), "w")


def _changed(path: Path, *statements: tuple[str, tuple[Any, ...]]) -> None:
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("PRAGMA foreign_keys = OFF")
        for sql, values in statements:
            raw.execute(sql, values)


@pytest.mark.parametrize("source", ["sqlite"], indirect=True)
async def test_bad_rows_are_named(
    adk_db: Database, source: str, old_service: DatabaseSessionService, tmp_path: Path
) -> None:
    """With table and key, and counted; everything beside them is imported, and no attack has run."""
    await _fill(old_service)
    await old_service.close()
    attack = pickle.dumps(Attack(tmp_path / "pwned"))
    where = "WHERE id = ? AND user_id = ?"
    _changed(
        tmp_path / "google.db",
        (f"UPDATE events SET actions = ? {where}", (attack, "e0", "ann")),
        (f"UPDATE events SET content = '[' {where}", ("e1", "ann")),
        (f"UPDATE events SET timestamp = 'noon' {where}", ("e2", "bob")),
        (f"UPDATE events SET content = '{{\"parts\": [7]}}' {where}", ("e1", "bob")),
        ("UPDATE sessions SET state = 'nonsense' WHERE user_id = ?", ("Öl",)),
        ("UPDATE app_states SET state = '[]' WHERE app_name = ?", ("bar",)),
        ("UPDATE events SET session_id = 'gone' WHERE id = ? AND user_id = ?", ("e0", "bob")),
    )
    await AdkAppState.create(app_name="shop", state=[1], updated_at=datetime.now(UTC))  # a malformed one of ours
    told: list[BadRow] = []
    done = await _imported(source, on_bad=told.append)
    assert (done.sessions, done.events, done.bad_rows) == (3, 1, 8)
    assert told == done.bad
    assert sorted((bad.table, *bad.key) for bad in told) == [
        ("app_states", "bar"),
        ("app_states", "shop"),
        ("events", "shop", "ann", "s of ann", "e0"),
        ("events", "shop", "ann", "s of ann", "e1"),
        ("events", "shop", "bob", "gone", "e0"),
        ("events", "shop", "bob", "s of bob", "e1"),
        ("events", "shop", "bob", "s of bob", "e2"),
        ("sessions", "shop", "Öl", "s of Öl"),
    ]
    called = f"{open.__module__}.open"
    assert (
        next(bad.reason for bad in told if bad.key[-1] == "e0") == f"the pickle calls {called}, which is no plain data"
    )
    assert not (tmp_path / "pwned").exists()
    await AdkAppState.all().delete()
    assert [event.id for event in (await store.get(app_name="shop", user_id="ann", session_id="s of ann")).events] == [
        "e2"
    ]


@pytest.mark.parametrize("source", ["sqlite"], indirect=True)
async def test_what_a_column_cannot_hold(
    adk_db: Database, source: str, service: DatabaseSessionService, tmp_path: Path
) -> None:
    """NUL, NaN and lone surrogates in a state or an event are kept; in a key they are a bad row."""
    await _fill(service, ("ann",), 1)
    await service.close()
    odd = '{"nan": NaN, "nul": "a\\u0000b", "lone": "\\ud800"}'
    event = '{"author": "x\\u0000y", "actions": {"state_delta": ' + odd + "}}"
    _changed(
        tmp_path / "google.db",
        ("UPDATE sessions SET state = ? WHERE user_id = 'ann'", (odd,)),
        ("UPDATE events SET event_data = ?", (event,)),
        ("UPDATE sessions SET id = ? WHERE app_name = 'bar'", ("x" * 300,)),
    )
    done = await _imported(source)
    assert [(bad.table, bad.key[:2]) for bad in done.bad] == [("sessions", ("bar", "ann"))]
    found = await store.get(app_name="shop", user_id="ann", session_id="s of ann")
    for state in (found.state, found.events[0].actions.state_delta):
        assert (state["nan"] != state["nan"], state["nul"], state["lone"]) == (True, "a\0b", "\ud800")
    assert found.events[0].author == "x\0y"


# -- long ones, and interrupted ones ------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["sqlite"], indirect=True)
async def test_a_session_of_many_events(
    adk_db: Database, source: str, service: DatabaseSessionService, tmp_path: Path
) -> None:
    """More than are in memory at once: numbered without a gap, in the order of their times, then of their ids."""
    await _fill(service, ("ann",), 1)
    await service.close()
    count = 2 * PAGE + 7
    _changed(
        tmp_path / "google.db",
        (
            "INSERT INTO events (id, app_name, user_id, session_id, invocation_id, timestamp, event_data)"
            " WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < ?)"
            " SELECT printf('n%05d', n), 'shop', 'ann', 's of ann', 'i',"
            " printf('2030-01-01 00:00:00.%06d', n / 2), '{}' FROM g",
            (count,),
        ),
    )
    done = await _imported(source)
    assert (done.events, done.bad_rows) == (count + 1, 0)
    found = await store.get(app_name="shop", user_id="ann", session_id="s of ann")
    assert [event.id for event in found.events] == ["e0", *(f"n{n:05}" for n in range(1, count + 1))]
    assert [row.seq for row in await AdkEvent.all().order_by("seq").only("seq")] == list(range(count + 1))
    _changed(
        tmp_path / "google.db",
        (
            "INSERT INTO events (id, app_name, user_id, session_id, invocation_id, timestamp, event_data)"
            " SELECT 'm' || id, app_name, user_id, session_id, 'i', timestamp, '{}' FROM events WHERE id LIKE 'n%'",
            (),
        ),
    )
    again = await _imported(source)
    assert (again.events, again.continued, again.diverged) == (count, 1, 0)
    more = (await store.get(app_name="shop", user_id="ann", session_id="s of ann")).events[count + 1 :]
    assert [event.id for event in more] == [f"mn{n:05}" for n in range(1, count + 1)]


async def test_an_import_that_was_interrupted_goes_on(
    adk_db: Database, source: str, service: DatabaseSessionService
) -> None:
    """Each session is there whole or not at all; calling it again brings the rest."""
    await _fill(service)

    def stop(seen: int) -> None:
        if seen == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await _imported(source, on_progress=stop)
    assert len(await store.list(app_name="shop")) + len(await store.list(app_name="bar")) == 2
    done = await _imported(source)
    assert (done.sessions, done.already) == (2, 2)
    await _same(service, NAMES)


# -- repeated ones ------------------------------------------------------------------------------------------------


async def _said(service: Any, name: tuple[str, str, str], n: int, at: int | None = None) -> None:
    session = await service.get_session(app_name=name[0], user_id=name[1], session_id=name[2])
    event = _event(n, **{f"more {n}": n})
    event.timestamp = 1_700_000_000.125 + (n if at is None else at)
    await service.append_event(session, event)


async def test_a_repeated_import_fetches_what_is_new(
    adk_db: Database, source: str, service: DatabaseSessionService
) -> None:
    """By their ids, after what is here; states are brought up, an interruption costs nothing, and then all is known."""
    await _fill(service)
    await _imported(source)
    for name in NAMES:
        for n in (7, 8):
            await _said(service, name, n)
    await service.create_session(app_name="shop", user_id="zoe", session_id="new", state={"k": 1})

    def stop(seen: int) -> None:
        if seen == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await _imported(source, on_progress=stop)
    done = await _imported(source)
    assert (done.sessions, done.continued, done.already, done.diverged, done.events) == (1, 2, 2, 0, 4)
    await _same(service, [*NAMES, ("shop", "zoe", "new")])

    await _said(service, NAMES[0], 9, at=1)  # late, between events that are here already
    for _ in range(2):
        done = await _imported(source)
        found = await store.get(app_name="shop", user_id="ann", session_id="s of ann")
        assert [event.id for event in found.events] == ["e0", "e1", "e2", "e7", "e8", "e9"]
        assert (found.state["n"], found.state["more 9"]) == (9, 9)
    assert (done.events, done.continued, done.already, done.diverged) == (0, 0, 5, 0)


@pytest.mark.parametrize("source", ["sqlite"], indirect=True)
async def test_a_session_that_got_another_state_and_no_event(
    adk_db: Database, source: str, service: DatabaseSessionService, tmp_path: Path
) -> None:
    """Is brought up to that, and to its time, once."""
    await _fill(service, ("ann",))
    await _imported(source)
    moved = "UPDATE sessions SET state = '{\"moved\": 1, \"temp:t\": 1}', update_time = '2050-01-02 03:04:05.000000'"
    _changed(tmp_path / "google.db", (moved, ()))
    for counts in ((2, 0), (0, 2)):
        done = await _imported(source)
        assert (done.events, done.continued, done.already) == (0, *counts)
        found = await store.get(app_name="shop", user_id="ann", session_id="s of ann")
        assert ("moved" in found.state, "temp:t" in found.state) == (True, False)
        assert found.last_update_time.isoformat() == "2050-01-02T03:04:05+00:00"


async def test_a_session_that_has_gone_its_own_way_is_left_alone(
    adk_db: Database, source: str, service: DatabaseSessionService
) -> None:
    """Continued, cut, deleted from, or made here: each is named with what shows it, and nothing of it is touched."""
    await _fill(service, ("continued", "cut", "made", "pruned", "same"))
    await _imported(source)
    who = {name: {"app_name": "shop", "user_id": name, "session_id": f"s of {name}"} for name in _APART}
    await store.append_event(await store.get(**who["continued"]), _ours())
    await store.delete_invocation(**who["cut"], invocation_id="i0")
    await store.delete(**who["made"])
    await store.create(**who["made"], state={"mine": True})
    await store.prune(app_name="shop", user_id="pruned", keep_events=1)
    for name in (*_APART, "same"):
        await _said(service, ("shop", name, f"s of {name}"), 7)
    before = {name: await store.get(**which) for name, which in who.items()}
    told: list[Diverged] = []
    done = await _imported(source, on_diverged=told.append)
    assert (done.events, done.continued, done.already, done.diverged, done.bad_rows) == (1, 1, 1, 4, 0)
    assert told == done.apart
    assert {one.key[1]: (one.reason, one.missing) for one in told} == _APART
    for name, which in who.items():
        after, was = await store.get(**which), before[name]
        assert (after.events, after.rev, after.last_update_time) == (was.events, was.rev, was.last_update_time)
        assert "more 7" not in after.state


_APART = {
    "continued": ("1 of its events are not in the source", 1),
    "cut": ("events of it were deleted here", 3),
    "made": ("it was made at another time than the source's", 4),
    "pruned": ("events of it were deleted here", 3),
}


@pytest.mark.parametrize("source", ["sqlite"], indirect=True)
async def test_an_event_that_is_another_one(
    adk_db: Database, source: str, service: DatabaseSessionService, tmp_path: Path
) -> None:
    """Under an id that is known, or a malformed row here: nothing is appended, and the one beside it is brought up."""
    await _fill(service)
    await _imported(source)
    for user in ("ann", "bob", "Öl"):
        await _said(service, ("shop", user, f"s of {user}"), 7)
    await service.close()
    _changed(tmp_path / "google.db", ("UPDATE events SET event_data = '{}' WHERE id = 'e1' AND user_id = 'ann'", ()))
    await adk_db.client.execute_query("UPDATE adk_sessions SET extra = '[]' WHERE user_id = 'bob'")
    done = await _imported(source)
    assert (done.events, done.continued, done.already) == (1, 1, 1)
    assert [(one.key[1], one.reason) for one in done.apart] == [
        ("ann", "its event 'e1' is another one than the source's")
    ]
    assert [(bad.table, *bad.key) for bad in done.bad] == [("adk_sessions", "shop", "bob", "s of bob")]
    assert await AdkEvent.filter(user_id__in=["ann", "bob"]).count() == 6


# -- sources that are none ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql+aiomysql://x/y", "sqlite:// or postgresql://"),
        ("nonsense", "sqlite:// or postgresql://"),
        ("sqlite:///no/such.db", r"no database file no/such\.db"),
        ("postgresql+asyncpg://ann:secret@db:here/shop", r"no URL of a PostgreSQL database"),
    ],
)
async def test_a_source_that_is_none(url: str, said: str) -> None:
    """Says what it is to be."""
    with pytest.raises(ConfigError, match=said):
        async with opened(url):
            pass


async def test_a_database_of_somebody_else(tmp_path: Path, pg_server: str) -> None:
    """Says which table it lacks."""
    _changed(tmp_path / "other.db", ("CREATE TABLE sessions (id)", ()))
    with pytest.raises(ConfigError, match="no table events, app_states, user_states"):
        async with opened(f"sqlite:///{tmp_path / 'other.db'}"):
            pass
    with fresh_database(pg_server) as url:
        run_sql(url, "CREATE TABLE sessions (id int)")
        with pytest.raises(ConfigError, match="no table events"):
            async with opened(url):
                pass


@pytest.mark.usefixtures("new_york")
def test_times_without_a_zone() -> None:
    """Are UTC, or with `--local-times` the local time, which the oldest google-adk has written; summer time counts."""
    for text, hour in (("2026-01-01 07:00:00", 12), ("2026-07-01 07:00:00", 11)):
        naive = datetime.fromisoformat(text)
        for given in (text, naive):
            assert read_moment(given) == naive.replace(tzinfo=UTC)
            assert read_moment(given, local=True) == naive.replace(tzinfo=UTC, hour=hour)
    for local in (False, True):  # those that say where they are from
        assert read_moment("2026-01-01T07:00:00+01:00", local=local) == datetime(2026, 1, 1, 6, tzinfo=UTC)
        assert read_moment(1.5, local=local) == datetime.fromtimestamp(1.5, UTC)
