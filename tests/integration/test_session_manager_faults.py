"""A manager that is cut off anywhere: a status and its event are never apart, and a run never stays half ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from tortoise.transactions import in_transaction

from jido_tortoise.errors import StorageError
from jido_tortoise.recording import Buffering, SessionManager, SessionStore
from jido_tortoise.recording.providers import Answer, Said, ScriptedProvider
from jido_tortoise_testing.faults import Trial, cancel_everywhere, crash_everywhere
from tests.conftest import Database

_BACKENDS = pytest.mark.parametrize("backend", ["sqlite-file", "postgres"])


def _types(events: Sequence[Any]) -> list[str]:
    return [event.type for event in events]


@_BACKENDS
async def test_a_status_is_stored_with_its_event(recording_db: Database, backend: str) -> None:
    """Struck before and after each statement: both are there, or neither (W6)."""
    manager = SessionManager()

    async def prepare(trial: Trial) -> None:
        await manager.start_session("a", session_id=trial.name)

    async def operation(trial: Trial) -> None:
        await manager.activate_session(trial.name)

    async def invariant(trial: Trial) -> tuple[str, list[str]]:
        session = await manager.store.get_session(trial.name)
        return session.status, _types(await manager.store.get_events(trial.name))

    report = await crash_everywhere(operation, invariant, prepare=prepare, connection="default")
    assert report.before == ("pending", ["session_created"])
    assert report.after == ("active", ["session_created", "session_started"])


@_BACKENDS
async def test_a_run_that_is_cancelled_anywhere(recording_db: Database, backend: str) -> None:
    """It has not begun, was cancelled, or is complete, and the log says the same; no event is lost or there twice."""
    manager = SessionManager(buffering=Buffering(size=2))
    script = [
        Said("message_streamed", {"content": "a"}),
        Said("token_usage_updated", {"input_tokens": 1, "output_tokens": 1}),
        Said("message_streamed", {"content": "b"}),
        Answer(output={"content": "ab"}),
    ]

    async def prepare(trial: Trial) -> None:
        session = await manager.start_session("a", session_id=trial.name)
        await manager.activate_session(session.id)
        await manager.start_run(session.id, "hi", run_id=f"run-{trial.name}")

    async def operation(trial: Trial) -> None:
        await manager.execute_run(f"run-{trial.name}", ScriptedProvider(script))

    async def invariant(trial: Trial) -> tuple[str, str]:
        run = await manager.store.get_run(f"run-{trial.name}")
        events = await manager.store.get_events(trial.name)
        assert [event.sequence_number for event in events] == list(range(1, len(events) + 1))
        said = [event.data["content"] for event in events if event.type == "message_streamed"]
        assert said == ["a", "b"][: len(said)]
        used = sum(event.data["output_tokens"] for event in events if event.type == "token_usage_updated")
        assert run.token_usage.get("output_tokens", 0) == used
        return run.status, events[-1].type

    also = [("cancelled", "run_cancelled")]
    await cancel_everywhere(operation, invariant, prepare=prepare, also=also, connection="default")
    assert manager._running == {}


@_BACKENDS
async def test_a_run_in_a_transaction_of_the_host(recording_db: Database, backend: str) -> None:
    """All of it joins, and is gone when the host rolls back."""
    manager = SessionManager()
    with pytest.raises(ZeroDivisionError):
        async with in_transaction():
            result = await manager.run_once(ScriptedProvider.saying("a b"), "hi")
            assert len(await manager.store.get_events(result.session_id)) == 10
            raise ZeroDivisionError
    assert await manager.store.list_sessions() == []


async def test_a_run_whose_end_cannot_be_stored_is_left_to_be_found(
    recording_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It raises, and says nothing that is not so: the run stays running, with its lease."""
    manager = SessionManager(lease=0.05)
    session = await manager.start_session("a")
    await manager.activate_session(session.id)
    run = await manager.start_run(session.id, "hi")
    real = SessionStore.flush

    async def no_end(self: SessionStore, **given: Any) -> Any:
        if given["run"].status != "running":
            raise StorageError("disk full")
        return await real(self, **given)

    monkeypatch.setattr(SessionStore, "flush", no_end)
    with pytest.raises(StorageError, match="disk full"):
        await manager.execute_run(run.id, ScriptedProvider.saying("a"))
    monkeypatch.undo()
    assert (await manager.store.get_run(run.id)).status == "running"
