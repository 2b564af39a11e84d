"""`run_once`: what it sends, and that what belongs together is stored together, wherever it is cut off (W6, W22)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from jido_tortoise.errors import DuplicateEntryError, InvalidInputError, ProviderError, RunStoppedError
from jido_tortoise.recording import Buffering, Event, Run, Session, SessionManager, SessionStore
from jido_tortoise.recording.providers import Said, ScriptedProvider
from jido_tortoise_testing.faults import Trial, crash_everywhere
from tests.conftest import Database, opened
from tests.integration.managing import until
from tests.integration.test_costs import sent

_BACKENDS = pytest.mark.parametrize("backend", ["sqlite-file", "postgres"])
#: Statements of a short run, each BEGIN and COMMIT among them; SQLite frames each read too.
_STATEMENTS = {"sqlite": 28, "postgres": 20}


async def test_w22_what_a_short_run_sends(sqlite_url: str, pg_url: str) -> None:
    """W22: three transactions, a lease and a read; the original takes 29 round trips, and 5 more for each event."""
    for url in (sqlite_url, f"{pg_url}&minsize=1&maxsize=1"):
        async with opened(url, families=("recording",)) as database:
            manager = SessionManager()
            await manager.run_once(ScriptedProvider.saying("a b"), "hi")  # asyncpg looks at types, and we at tables
            seen = await sent(database, partial(manager.run_once, ScriptedProvider.saying("a b"), "hi"))
            # A statement that a trigger makes again is one; rows of one executemany are.
            counted = [sql for sql, before in zip(seen, ["", *seen], strict=False) if sql[:40] != before[:40]]
            assert len(counted) == _STATEMENTS[database.dialect], "\n".join(sql[:60] for sql in counted)
            assert [sql for sql in counted if "SAVEPOINT" in sql] == []


def _types(events: Any) -> list[str]:
    return [event.type for event in events]


@pytest.mark.usefixtures("unmeasured")
@_BACKENDS
async def test_w6_a_run_and_its_session_end_together(recording_db: Database, backend: str) -> None:
    """Struck before and after each statement: they begin together and end together, each with its event (W6, W7)."""
    manager = SessionManager(buffering=Buffering(patience=0))

    async def operation(trial: Trial) -> None:
        await manager.run_once(ScriptedProvider.saying("a"), "hi", agent_id=trial.name)

    async def invariant(trial: Trial) -> None:
        for session in await manager.store.list_sessions(agent_id=trial.name):
            await agrees(session)

    async def agrees(session: Session) -> None:
        (run,) = await manager.store.list_runs(session.id)
        told = _types(await manager.store.get_events(session.id))
        assert told[:2] == ["session_created", "session_started"]
        assert (session.status == "completed") is (run.status == "completed")
        assert [kind for kind in told if kind.startswith("session_")][-1] == _TELLS["session", session.status]
        assert [None, *(kind for kind in told if kind.startswith("run_"))][-1] == _TELLS["run", run.status]
        seen.add((session.status, run.status))

    seen: set[tuple[str, str]] = set()
    await crash_everywhere(operation, invariant, connection="default")
    assert {("active", "pending"), ("completed", "completed")} <= seen
    assert "running" in {run for _, run in seen}


#: The last event of a session and of a run, by their status.
_TELLS = {
    ("session", "active"): "session_started",
    **{("session", end): f"session_{end}" for end in ("completed", "failed", "cancelled")},
    ("run", "pending"): None,
    ("run", "running"): "run_started",
    **{("run", end): f"run_{end}" for end in ("completed", "failed", "cancelled")},
}


async def _fails(request: Any) -> Any:
    yield Said("message_streamed", {"content": "a"})
    raise ProviderError("no more", status=500)


async def _asks(request: Any) -> Any:
    yield Said("message_streamed", {"content": "a"})
    raise RunStoppedError("cancelled", reason="run_cancelled")


async def _waits(request: Any) -> Any:
    yield Said("message_streamed", {"content": "a"})
    await asyncio.sleep(30)


@pytest.mark.parametrize(
    ("provider", "error", "session_status", "run_status", "last"),
    [
        (_fails, ProviderError, "failed", "failed", ["run_failed", "session_failed"]),
        (_asks, RunStoppedError, "cancelled", "cancelled", ["run_cancelled", "session_cancelled"]),
        (_waits, asyncio.CancelledError, "cancelled", "cancelled", ["run_cancelled", "session_cancelled"]),
    ],
)
async def test_w6_without_an_answer_they_end_together_too(
    recording_db: Database, provider: Any, error: Any, session_status: str, run_status: str, last: list[str]
) -> None:
    """In one transaction: both have the last two numbers, and nobody has ended the session apart (W6)."""
    flushes: list[dict[str, Any]] = []

    class Watched(SessionStore):
        async def flush(self, **given: Any) -> Any:
            flushes.append({**given, "events": _types(given["events"])})
            return await super().flush(**given)

    manager = SessionManager(Watched())
    task = asyncio.create_task(manager.run_once(provider, "hi"))
    if error is asyncio.CancelledError:
        await until(lambda: len(flushes) == 2)
        task.cancel()
    with pytest.raises(error):
        await task
    (session,) = await manager.store.list_sessions()
    (run,) = await manager.store.list_runs(session.id)
    assert (session.status, run.status) == (session_status, run_status)
    assert _types(await manager.store.get_events(session.id))[-2:] == last
    assert flushes[-1]["events"][-2:] == last


#: What can be asked of nobody.
_BAD: list[tuple[Any, dict[str, Any]]] = [
    ({"messages": "hi"}, {}),
    ({"messages": [5]}, {}),
    ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, {}),
    ("hi", {"metadata": 5}),
    *(("hi", {name: wrong}) for name in ("metadata", "context") for wrong in ([], "", 0, False)),
    *(("hi", {name: wrong}) for name in ("tags", "policies", "required_capabilities") for wrong in (0, False)),
    *(("hi", {"continuation_opts": wrong}) for wrong in ([], 0, "")),
    *(("hi", {"options": wrong}) for wrong in ([], 0, "")),
    ("hi", {"agent_id": ""}),
    ("hi", {"continuation": 0}),
    ("hi", {"event_callback": 0}),
    ("hi", {"correlation_id": ""}),
    ("hi", {"time_limit": 0}),
    ("hi", {"continuation": True}),
    ("hi", {"continuation_opts": [1]}),
    ("hi", {"continuation": "auto", "continuation_opts": {"limit": "x"}}),
    ("hi", {"continuation": "auto", "continuation_opts": {"max_chars": 0}}),
    ("hi", {"continuation": "auto", "continuation_opts": {"since": "yesterday"}}),
    ("hi", {"time_limit": -1}),
    ("hi", {"required_capabilities": 5}),
    ("hi", {"required_capabilities": ["magic"]}),
    ("hi", {"policies": [5]}),
    ("hi", {"event_callback": 5}),
    ("hi", {"options": 5}),
    ("hi", {"correlation_id": 5}),
    ("hi", {"continuation": "native"}),
]


async def test_bad_input_of_run_once_writes_nothing(recording_db: Database) -> None:
    """What cannot be asked is refused before there is a session."""
    manager = SessionManager()
    with pytest.raises(InvalidInputError):
        await manager.run_once(ScriptedProvider.saying("a"), 7)
    with pytest.raises(InvalidInputError, match="wishes: expected some of"):
        await manager.run_once(ScriptedProvider.saying("a"), "hi", colour="red")
    for given, wishes in _BAD:
        with pytest.raises(InvalidInputError):
            await manager.run_once(ScriptedProvider.saying("a"), given, **wishes)
    with pytest.raises(InvalidInputError):
        await manager.run_once(7, "hi", agent_id="a")  # type: ignore[arg-type]
    assert await manager.store.list_sessions() == []


async def test_a_flush_that_repeats_an_event_stores_the_rest(recording_db: Database) -> None:
    """Without a savepoint the repeat ends the transaction; it is taken again with one, and nothing is there twice."""
    store = SessionStore()
    session = await store.save_session(Session(agent_id="a", id="s", status="active"))
    old = Event(id="old", type="message_sent", session_id="s", data={"n": 1})
    await store.append_event(old)
    new = Event(id="new", type="message_sent", session_id="s", data={"n": 2})
    run = Run(id="r", session_id="s", status="running")
    flushed = await store.flush(session=session.changed(tags=["x"]), run=run, events=[old, new])
    assert [event.sequence_number for event in flushed.events] == [1, 2]
    assert (flushed.session.revision, (await store.get_run("r")).status) == (2, "running")
    other = Event(id="old", type="message_sent", session_id="s", data={"n": 3})
    with pytest.raises(DuplicateEntryError):
        await store.flush(session=flushed.session.changed(tags=["y"]), events=[other])
    assert (await store.get_session("s")).tags == ("x",)
