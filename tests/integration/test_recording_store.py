"""Recorded sessions in a database: what an operation costs, the host's transactions, rows that others wrote."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tortoise.backends.base.client import Capabilities
from tortoise.transactions import in_transaction

from jido_tortoise import seams
from jido_tortoise.database import transaction
from jido_tortoise.errors import (
    AppNotRegisteredError,
    CorruptRowError,
    DuplicateEntryError,
    InvalidInputError,
    NotFoundError,
    SchemaError,
    UnsupportedDatabaseError,
)
from jido_tortoise.recording import Event, QueryAPI, Run, Session, SessionManager, SessionStore, reading, statements
from jido_tortoise.recording.models import AsmEvent, AsmSession, AsmSessionSequence
from jido_tortoise.recording.statements import RUN, SESSION
from jido_tortoise.schema import ddl
from jido_tortoise_testing.clocks import VirtualClock
from tests.conftest import Database, opened
from tests.integration.test_costs import sent

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def event(event_id: str = "e", **fields: Any) -> Event:
    """Make an event."""
    return Event(**{"type": "message_sent", "session_id": "s", "id": event_id, **fields})


@pytest.fixture
async def store(recording_db: Database) -> SessionStore:
    """Give a store with a session."""
    store = SessionStore()
    await store.save_session(Session(agent_id="agent", id="s"))
    return store


# -- costs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
async def test_w22_an_append_is_one_statement(recording_db: Database, store: SessionStore) -> None:
    """One event or many, notified or not; a repeat is one read more; saving a session is one statement (W22)."""
    batch = [event(f"b{n}") for n in range(300)]
    await store.append_events([event("first"), event("second")])  # the driver asks for the types of arrays once
    for work in (
        lambda: store.append_event(event()),
        lambda: SessionStore(notify=True).append_event(event("other")),
        lambda: store.append_events(batch),
        lambda: store.save_session(Session(agent_id="agent")),
        lambda: store.save_run(Run(session_id="s")),
        lambda: store.get_events("s", after=3, type="message_sent", limit=5),
    ):
        statements = await sent(recording_db, work)
        assert len(statements) == 1, statements
    assert len(await sent(recording_db, lambda: store.append_event(event()))) == 2
    assert len(await sent(recording_db, lambda: store.append_events(batch))) == 2


async def test_append_on_sqlite(sqlite_url: str) -> None:
    """On SQLite it writes first, under BEGIN IMMEDIATE, and reads nothing (W1)."""
    async with opened(sqlite_url, families=("recording",)) as db:
        store = SessionStore()
        await store.save_session(Session(agent_id="agent", id="s"))
        statements = await sent(db, lambda: store.append_events([event("a"), event("b")]))
        assert [sql.split()[0] for sql in statements] == ["BEGIN", "UPDATE", "INSERT", "INSERT", "COMMIT"]
        assert statements[0] == "BEGIN IMMEDIATE"


async def test_w12_an_idle_follower_is_idle(recording_db: Database, store: SessionStore) -> None:
    """It looks a few times, then twice a second: no busy loop (W12)."""
    following = store.follow("s")
    waiting = asyncio.create_task(anext(following))
    await asyncio.sleep(0.1)
    if recording_db.dialect == "sqlite":
        statements = await sent(recording_db, lambda: asyncio.sleep(0.6))
        assert len([sql for sql in statements if sql.startswith("SELECT")]) <= 4
    await store.append_event(event())
    assert (await waiting).id == "e"
    await following.aclose()


# -- the host's transactions --------------------------------------------------------------------------------------


async def test_all_joins_the_host_s_transaction(recording_db: Database, store: SessionStore) -> None:
    """What is rolled back is gone, its numbers too; what is committed is there."""

    async def work(name: str) -> None:
        session = await store.save_session(Session(agent_id="agent", id=name))
        await store.append_event(event(name))
        await store.save_run(Run(session_id=name, id=name, status="running"))
        await store.flush(session=session.with_status("active"), events=[event(f"{name}-2", session_id=name)])

    with pytest.raises(ZeroDivisionError):
        async with in_transaction("default"):
            await work("undone")
            raise ZeroDivisionError
    async with in_transaction("default"):
        await work("done")
    assert sorted(session.id for session in await store.list_sessions()) == ["done", "s"]
    assert [(e.id, e.sequence_number) for e in await store.get_events("s")] == [("done", 1)]
    assert (await store.get_run("done")).session_id == "done"


async def test_a_refusal_leaves_the_transaction_usable(recording_db: Database, store: SessionStore) -> None:
    """A repeat, another content and a missing session are told inside a transaction as outside."""
    first = await store.append_event(event())
    async with in_transaction("default"):
        assert await store.append_event(event()) == first
        with pytest.raises(DuplicateEntryError):
            await store.append_event(event(data={"n": 1}))
        with pytest.raises(NotFoundError):
            await store.append_event(event("x", session_id="nowhere"))
        with pytest.raises(NotFoundError):
            await store.save_run(Run(session_id="nowhere"))
        await store.append_event(event("next"))
    assert await store.get_latest_sequence("s") == 2


async def test_w2_a_wait_ends_at_the_commit(recording_db: Database, store: SessionStore) -> None:
    """What a transaction has appended is seen when it is committed, soon, and not before."""
    waiting = asyncio.create_task(store.get_events("s", wait_timeout_ms=5000))
    await asyncio.sleep(0.02)
    db = await store.connected()
    async with transaction(db):
        await store.append_event(event())
        await asyncio.sleep(0.05)
        assert not waiting.done()
    async with asyncio.timeout(1):
        assert [e.id for e in await waiting] == ["e"]


async def test_cancelled_appends_may_be_repeated(recording_db: Database, store: SessionStore) -> None:
    """Wherever an append was cancelled, the same one afterwards stores it once; no number is lost."""
    made = [event(str(n)) for n in range(25)]
    for turns, one in enumerate(made):
        task = asyncio.create_task(store.append_event(one))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await store.append_event(one)).sequence_number == turns + 1
    assert [e.id for e in await store.get_events("s")] == [one.id for one in made]


# -- rows that others wrote ---------------------------------------------------------------------------------------


async def test_w13_a_newer_version_s_words(recording_db: Database, store: SessionStore) -> None:
    """Unknown statuses and types are read as they are, listed by their name, and may be saved again (W13)."""
    run = await store.save_run(Run(session_id="s", id="r"))
    execute = recording_db.client.execute_query
    await execute("UPDATE asm_sessions SET status = 'archived' WHERE id = 's'")
    await execute("UPDATE asm_runs SET status = 'queued'")
    stored = {"timestamp": NOW, "sequence_number": 1, "data": {}, "metadata": {}, "schema_version": 9}
    await AsmSessionSequence.filter(session_id="s").update(last_sequence=1)
    row = AsmEvent(id="new", type="thought", session_id="s", **stored)
    await AsmEvent.bulk_create([row])  # which nothing checks
    session = await store.get_session("s")
    assert (session.status, (await store.get_run("r")).status) == ("archived", "queued")
    assert [s.id for s in await store.list_sessions(status="archived")] == ["s"]
    (found,) = await store.get_events("s", type="thought")
    assert (found.type, found.schema_version, found.timestamp) == ("thought", 9, NOW)
    assert await store.append_event(found) == found
    saved = await store.save_session(session.changed(tags=["x"]))
    assert (saved.status, saved.revision) == ("archived", 2)
    with pytest.raises(InvalidInputError):
        await store.save_run(replace(await store.get_run("r"), status="running"))
    assert run.status == "pending"


async def test_a_malformed_row_is_named(recording_db: Database, store: SessionStore) -> None:
    """One row that is no record is an error that names it; the others stay readable."""
    await store.save_session(Session(agent_id="agent", id="bad"))
    await recording_db.client.execute_query("UPDATE asm_sessions SET metadata = '[1, 2]' WHERE id = 'bad'")
    await recording_db.client.execute_query("""UPDATE asm_sessions SET tags = '{"a": 1}' WHERE id = 'bad'""")
    await recording_db.client.execute_query("""UPDATE asm_sessions SET context = '{"$jido:?": 1}' WHERE id = 'bad'""")
    with pytest.raises(CorruptRowError, match="asm_sessions 'bad' is malformed") as caught:
        await store.get_session("bad")
    assert (caught.value.table, caught.value.key) == ("asm_sessions", "bad")
    assert (await store.get_session("s")).id == "s"


async def test_a_session_of_the_host_s_making(recording_db: Database, store: SessionStore) -> None:
    """One that was made through the model takes events, runs and changes like any other."""
    times = {"created_at": NOW, "updated_at": NOW}
    maps: dict[str, Any] = {"metadata": {"at": NOW}, "context": {}, "tags": []}
    await AsmSession.create(id="host", agent_id="agent", status="active", revision=1, **maps, **times)
    session = await store.get_session("host")
    assert session == Session(agent_id="agent", id="host", status="active", revision=1, **maps, **times)
    appended = await store.append_events([event("a", session_id="host"), event("b")])
    assert [one.sequence_number for one in appended] == [1, 1]
    session = await store.save_session(session)  # on SQLite its times are written anew, in our form
    assert (await store.save_session(session.with_status("paused"))).status == "paused"


async def test_events_that_nobody_counted(recording_db: Database, store: SessionStore) -> None:
    """A counter that is behind its events is an error that names the cure, not another event's number."""
    await store.append_events([event("a"), event("b")])
    await AsmSessionSequence.filter(session_id="s").update(last_sequence=1)
    with pytest.raises(CorruptRowError, match="does not count") as caught:
        await store.append_event(event("c"))
    assert caught.value.reason == "orphaned_events"


async def test_w16_a_clock_that_goes_back(recording_db: Database, store: SessionStore) -> None:
    """Numbers go on and nothing is refused; the counter's time never goes back."""
    with seams.replaced(now_ms=lambda: 4_102_444_800_000):
        await store.append_event(event("a"))
    with seams.replaced(now_ms=lambda: 0):
        assert (await store.append_event(event("b"))).sequence_number == 2
    assert (await AsmSessionSequence.get(session_id="s")).updated_at.year == 2100
    assert [e.id for e in await store.get_events("s", since=datetime(2099, 1, 1, tzinfo=UTC))] == ["a"]


# -- where it is --------------------------------------------------------------------------------------------------


async def test_a_schema_of_its_own(pg_url: str) -> None:
    """All of it in a PostgreSQL schema that nobody else uses, followers included."""
    async with opened(pg_url, tables=False, families=("recording",)) as db:
        await db.client.execute_script(ddl("recording", "postgres", version=1, schema="rec"))
        store = SessionStore(schema="rec", notify=True)
        session = await store.save_session(Session(agent_id="agent", id="s"))
        await store.flush(session=session.with_status("active"), run=Run(session_id="s"), events=[event("a")])
        async with aclosing(store.follow("s")) as following:
            assert (await anext(following)).id == "a"
            await store.append_event(event("b"))
            async with asyncio.timeout(10):
                assert (await anext(following)).id == "b"
        assert await store.delete_session("s") == []
        assert await db.client.execute_query_dict("SELECT count(*)::int AS n FROM rec.asm_events") == [{"n": 0}]


async def test_a_host_without_the_family_is_told(sqlite_url: str) -> None:
    """Which app is missing from its config."""
    async with opened(sqlite_url, tables=False):
        # Which app a model belongs to is known to the process: another test may have set it.
        with pytest.raises(AppNotRegisteredError, match="AsmSession is in no app"):
            await SessionStore().list_sessions()


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
async def test_w27_reads_use_their_indexes(recording_db: Database, store: SessionStore) -> None:
    """No read of the store looks through a whole table: events by type or run, sessions, runs (W27)."""
    await recording_db.client.execute_script("""
        INSERT INTO asm_sessions SELECT 's' || n, 'a' || n % 50, CASE n % 100 WHEN 0 THEN 'active' ELSE 'completed' END,
            NULL, '{}', '{}', '[]', now(), now(), NULL, 1 FROM generate_series(1, 3000) AS n;
        INSERT INTO asm_runs SELECT 'r' || n, 's' || n, CASE n % 100 WHEN 0 THEN 'running' ELSE 'completed' END,
            NULL, NULL, NULL, '{}', 0, '{}', now(), NULL, 'p', '{}', NULL, 1, NULL, NULL
            FROM generate_series(1, 3000) AS n;
        INSERT INTO asm_events SELECT 'e' || n, 'type' || n % 20, now(), 's' || n % 10, 'r' || n % 400, n, '{}', '{}', 1
            FROM generate_series(1, 20000) AS n;
        ANALYZE asm_sessions; ANALYZE asm_runs; ANALYZE asm_events;
    """)
    given = {"session_id": "s1", "type": "type1", "run_id": "r1", "after": 19_000, "limit": 10, "offset": 0}
    given |= {"statuses": ["active"], "agent_id": "a7"}
    reads = [
        *(
            statements.events(frozenset(names), None, "postgres")
            for names in (["after"], ["type", "limit"], ["run_id"])
        ),
        *(statements.rows_of(SESSION, frozenset([name]), None, "postgres") for name in ("status", "agent_id")),
        statements.rows_of(RUN, frozenset(["session_id"]), None, "postgres"),
        statements.running(None, "postgres"),
    ]
    for read in reads:
        rows = await recording_db.client.execute_query(f"EXPLAIN {read.sql}", read.args(given))
        plan = "\n".join(row[0] for row in rows[1])
        assert "Index" in plan, plan
        assert "Seq Scan" not in plan, plan


@pytest.mark.parametrize(
    ("change", "missing"),
    [("DROP TABLE asm_artifacts", "asm_artifacts"), ("ALTER TABLE asm_runs DROP COLUMN cost_usd", "cost_usd")],
    ids=["table", "column"],
)
async def test_e9_what_a_migration_has_not_made_is_named(recording_db: Database, change: str, missing: str) -> None:
    """E9: before the first write, by the store as by its questions; E10, the way down, is with the migrations."""
    await recording_db.client.execute_query(change)
    for call in (SessionStore().save_session(Session(agent_id="a")), QueryAPI().get_usage_summary()):
        with pytest.raises(SchemaError, match=missing):
            await call
    assert await AsmSession.all().count() == 0


def test_notify_is_true_or_false() -> None:
    """It costs every append; nobody has it by `notify="no"`."""
    for wrong in ("no", 1, None):
        with pytest.raises(InvalidInputError, match="notify: expected True or False"):
            SessionStore(notify=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["sqlite-memory"])
async def test_w29_another_database_is_refused_by_name(recording_db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """W29: at once, rather than by an error of the driver somewhere on the way."""
    monkeypatch.setattr(recording_db.client, "capabilities", Capabilities("mysql"), raising=False)
    for call in (SessionStore().save_session(Session(agent_id="a")), QueryAPI().get_usage_summary()):
        with pytest.raises(UnsupportedDatabaseError, match=r"mysql.*speaks SQLite, and PostgreSQL") as caught:
            await call
        assert caught.value.dialect == "mysql"


async def test_w12_a_wait_for_events_is_idle(recording_db: Database, store: SessionStore) -> None:
    """`wait_timeout_ms` waits, with a look now and then, and ends in time: no busy loop either (W12)."""
    looks = 0
    read = reading.events

    async def counted(*given: Any) -> Any:
        nonlocal looks
        looks += 1
        return await read(*given)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reading, "events", counted)
        started = seams.monotonic()
        assert await store.get_events("s", wait_timeout_ms=500) == []
        assert 0.5 <= seams.monotonic() - started < 10
    assert 2 <= looks <= 10


@pytest.mark.parametrize("backend", ["sqlite-file", "postgres"])
async def test_w28_reads_wait_for_no_writer(db_url: str, backend: str) -> None:
    """W28: while another connection is writing a session, what was there before is read, at once."""
    async with opened(db_url, families=("recording",), connections={"default": db_url, "second": db_url}):
        store, query = SessionStore(), QueryAPI()
        await store.save_session(Session(agent_id="a", id="s"))
        await store.save_run(Run(id="r", session_id="s"))
        await store.append_event(event())
        async with in_transaction("second"):
            writer = SessionStore("second")
            await writer.save_session((await writer.get_session("s")).changed(tags=["x"]))
            await writer.save_run((await writer.get_run("r")).with_turn())
            await writer.append_event(event("late"))
            async with asyncio.timeout(10):
                assert [one.id for one in await store.get_events("s")] == ["e"]
                assert ((await store.get_session("s")).tags, (await store.get_run("r")).turn_count) == ((), 0)
                assert (await query.get_session_stats("s")).event_count == 1
                assert len([line async for line in query.export_session("s")]) == 4
        assert await store.get_latest_sequence("s") == 2


@pytest.mark.parametrize("backend", ["sqlite-file", "postgres"])
async def test_w4_changes_of_two_connections_are_all_made(db_url: str, backend: str) -> None:
    """Turns and counts that two clients add at once, at one and the same moment, are all there (W4)."""
    connections = {"default": db_url, "second": db_url}
    with VirtualClock().installed():
        async with opened(db_url, families=("recording",), connections=connections):
            managers = [SessionManager(SessionStore(name)) for name in connections]
            session = await managers[0].start_session("a", metadata={"n": 0})
            await managers[0].activate_session(session.id)
            run = await managers[0].start_run(session.id, "hi")

            def counted(session: Session) -> Session:
                return session.changed(metadata={"n": session.metadata["n"] + 1})

            async def add(manager: SessionManager) -> None:
                for _ in range(10):
                    await manager.update_run(run.id, Run.with_turn)
                    await manager.update_session(session.id, counted)

            await asyncio.gather(*map(add, managers))
            store = managers[0].store
            assert (await store.get_run(run.id)).turn_count == 20
            assert (await store.get_session(session.id)).metadata["n"] == 20
            with pytest.raises(NotFoundError):
                await managers[0].update_run("nope", Run.with_turn)
            assert await managers[1].update_run(run.id, lambda run: run) == await store.get_run(run.id)


async def test_a_session_of_the_hosts_making_is_followed(recording_db: Database) -> None:
    """It has no counter before its first event: that is no deletion."""
    rest: dict[str, Any] = {"metadata": {}, "context": {}, "tags": [], "created_at": NOW, "updated_at": NOW}
    await AsmSession.create(id="host", agent_id="a", status="active", revision=1, **rest)
    store = SessionStore()
    async with aclosing(store.follow("host")) as following:
        waiting = asyncio.create_task(anext(following, None))
        await asyncio.sleep(0.05)
        await store.append_event(event(session_id="host"))
        async with asyncio.timeout(5):
            found = await waiting
        assert found is not None
        waiting = asyncio.create_task(anext(following, None))
        await asyncio.sleep(0.05)
        await AsmSession.filter(id="host").delete()
        async with asyncio.timeout(5):
            assert await waiting is None
