"""Sessions and runs as a host uses them, on every store: what is recorded, what is told, and what ends how."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, get_args, get_type_hints

import pytest

from jido_tortoise import telemetry
from jido_tortoise.errors import (
    ConflictError,
    InvalidInputError,
    InvalidStorageError,
    InvalidTransitionError,
    NotFoundError,
    ProviderError,
    ProviderUnavailableError,
    RunStoppedError,
    StorageUnavailableError,
)
from jido_tortoise.recording import intake
from jido_tortoise.recording.buffer import Buffering
from jido_tortoise.recording.entities import Event
from jido_tortoise.recording.execution import RunResult
from jido_tortoise.recording.manager import SessionManager
from jido_tortoise.recording.memory import InMemorySessionStore
from jido_tortoise.recording.policies import Policy
from jido_tortoise.recording.providers import (
    Answer,
    AnthropicProvider,
    OpenAIProvider,
    Request,
    Said,
    ScriptedProvider,
    recorded_function,
)
from jido_tortoise.recording.redaction import Redactor
from jido_tortoise.recording.store import SessionStore
from jido_tortoise_testing.clocks import VirtualClock
from jido_tortoise_testing.leases import is_frame, is_plumbing
from tests.conftest import Database, opened
from tests.integration.llm_server import anthropic_answer, llm_server, openai_answer
from tests.integration.test_costs import sent
from tests.unit.test_redaction import SECRETS

_SECRET = "ghp_" + "aBcDeFgHi" * 4
_PRICES = {"scripted": {"default": {"input": "0.001", "output": "0.002"}}}
_USED = Said("token_usage_updated", {"input_tokens": 3, "output_tokens": 2, "model": "m-1"})
_DONE = Answer(output={"content": "ok"}, model="m-1")


#: For what has nothing to do with the database.
_IN_MEMORY = pytest.mark.parametrize("store", ["memory"], indirect=True)


@pytest.fixture(params=["memory", "sqlite-file", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Give a store of each kind, in a database of its own."""
    if request.param == "memory":
        yield InMemorySessionStore()
        return
    url = request.getfixturevalue("pg_url" if request.param == "postgres" else "sqlite_url")
    async with opened(url, backend=request.param, families=("recording",)):
        yield SessionStore()


def _types(events: Any) -> list[str]:
    return [event.type for event in events]


async def _only_run(store: Any, error: Any = None) -> Any:
    (run,) = await store.list_runs((await store.list_sessions())[0].id)
    return run


def _begun() -> tuple[asyncio.Event, Any]:
    """Give an event that is set when a run has said something, and the callback that sets it."""
    begun = asyncio.Event()
    return begun, lambda _: begun.set()


async def test_run_once_records_all_of_it(store: Any) -> None:
    """One session, one run, every event numbered without a gap, tokens and cost, and the whole result in hand (W10)."""
    heard: list[Event] = []
    manager = SessionManager(store, pricing=_PRICES)
    result = await manager.run_once(
        ScriptedProvider.saying("hello dear world"),
        {"messages": [{"role": "User", "content": "hi"}, {"role": "user", "content": ""}]},
        tags=["greeting"],
        event_callback=heard.append,
    )
    session = await store.get_session(result.session_id)
    assert (session.agent_id, session.status, session.tags) == ("scripted", "completed", ("greeting",))
    run = await store.get_run(result.run_id)
    assert (run.status, run.provider, run.output) == ("completed", "scripted", {"content": "hello dear world"})
    assert run.token_usage == result.token_usage == {"input_tokens": 3, "output_tokens": 3, "total_tokens": 6}
    assert run.cost_usd == result.cost_usd == 0.009
    assert result.provider_metadata == {"provider": "scripted", "model": "scripted-1"}
    events = await store.get_events(result.session_id)
    assert [event.sequence_number for event in events] == list(range(1, len(events) + 1))
    assert _types(events) == [
        "session_created",
        "session_started",
        "run_started",
        "message_sent",
        "message_streamed",
        "message_streamed",
        "message_streamed",
        "message_received",
        "token_usage_updated",
        "run_completed",
        "session_completed",
    ]
    assert list(result.events) == [event for event in events if event.run_id == result.run_id]
    assert [event.id for event in heard] == [event.id for event in result.events[2:]]
    assert events[3].data == {"content": "hi", "role": "user"}


async def test_every_event_of_a_run_has_provider_and_correlation_id(store: Any) -> None:
    """Also the internal ones, also when the run fails: None is no text "nil" (W11)."""
    manager = SessionManager(store)
    with pytest.raises(ValueError, match="boom"):
        await manager.run_once(ScriptedProvider([_USED, ValueError("boom")]), "hi", correlation_id="req-7")
    run = await _only_run(store)
    told = await manager.record(run.session_id, "error_recovered")
    others = [event for event in await store.get_events(run.session_id) if event.run_id is None]
    assert [(event.type, event.provider) for event in others] == [
        ("session_created", "scripted"),
        ("session_started", None),
        ("session_failed", None),
        ("error_recovered", None),
    ]
    assert (told.provider, told.correlation_id, told.run_id) == (None, None, None)
    events = await store.get_events(run.session_id, run_id=run.id)
    assert _types(events) == ["run_started", "message_sent", "token_usage_updated", "run_failed"]
    assert {(event.provider, event.correlation_id) for event in events} == {("scripted", "req-7")}
    assert events[-1].data == {"error_code": "ValueError", "error_message": "boom"}


@pytest.mark.parametrize("how", ["failed", "cancelled", "timeout"])
async def test_a_run_without_an_answer_keeps_its_usage(how: str, store: Any) -> None:
    """Tokens, cost, provider and model are there, whatever ended it (W11)."""
    manager = SessionManager(store, pricing=_PRICES)
    provider = ScriptedProvider([_USED, ProviderError("no") if how == "failed" else 5.0, _DONE])
    session = await manager.start_session("a")
    await manager.activate_session(session.id)
    run = await manager.start_run(session.id, "hi")
    begun, heard = _begun()
    limit = 0.3 if how == "timeout" else None
    task = asyncio.create_task(manager.execute_run(run.id, provider, time_limit=limit, event_callback=heard))
    if how == "cancelled":
        await asyncio.wait_for(begun.wait(), 5)
        assert (await manager.cancel_run(run.id, reason="enough")).status == "cancelled"
    errors = {"failed": ProviderError, "cancelled": RunStoppedError, "timeout": ProviderUnavailableError}
    with pytest.raises(errors[how]):
        await task
    ended = await store.get_run(run.id)
    assert (ended.status, ended.provider, ended.ended_at is not None) == (how, "scripted", True)
    assert ended.token_usage == {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    assert (ended.cost_usd, ended.provider_metadata["model"]) == (0.007, "m-1")
    last = (await store.get_events(session.id))[-1]
    assert last.type == f"run_{how}"
    if how == "cancelled":
        assert last.data == {"reason": "enough"}


async def test_cancelling_the_task_cancels_the_run(store: Any) -> None:
    """The provider is closed, what it has said is stored with the end, and the session is cancelled too."""
    begun, closed = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> AsyncIterator[Said | Answer]:
        try:
            yield Said("message_streamed", {"content": "half "})
            begun.set()
            await asyncio.sleep(5)
        finally:
            closed.set()

    task = asyncio.create_task(SessionManager(store).run_once(slow, "hi"))
    await asyncio.wait_for(begun.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed.is_set()
    run = await _only_run(store)
    assert run.status == "cancelled"
    assert (await store.get_session(run.session_id)).status == "cancelled"
    assert _types(await store.get_events(run.session_id))[-3:] == [
        "message_streamed",
        "run_cancelled",
        "session_cancelled",
    ]


async def test_what_others_change_meanwhile_stays(store: Any) -> None:
    """A pause, a tag and a soft delete during the run are not undone by its end (W4)."""
    manager = SessionManager(store)
    session = await manager.start_session("a", tags=["old"])
    await manager.activate_session(session.id)

    async def during(request: Request) -> AsyncIterator[Said | Answer]:
        await manager.pause_session(session.id, reason="lunch")
        await manager.update_session(
            session.id, lambda stored: stored.changed(tags=["new"], deleted_at=stored.updated_at)
        )
        yield Answer(output={}, provider_session_id="conv-1", model="m-1")

    run = await manager.start_run(session.id, "hi")
    await manager.execute_run(run.id, during)
    after = await store.get_session(session.id)
    assert (after.status, after.tags, after.is_deleted) == ("paused", ("new",), True)
    assert after.metadata["provider_sessions"] == {"during": {"provider_session_id": "conv-1", "model": "m-1"}}


@pytest.mark.parametrize("wrong", [3, None, b"no", ["no"]], ids=repr)
async def test_a_reason_is_a_text(store: Any, wrong: Any) -> None:
    """What is no text, and for `fail_session` no error either, is refused by its name, and nothing is written."""
    manager = SessionManager(store)
    session = await manager.start_session("a")
    session = await manager.activate_session(session.id)
    run = await manager.start_run(session.id, "hi")
    calls: dict[str, Any] = {"error": partial(manager.fail_session, session.id)}
    if wrong is not None:
        calls |= {"metadata": partial(manager.start_run, session.id, "hi"), "data": _recording(manager, session.id)}
        for change in (manager.pause_session, manager.cancel_session):
            calls[f"reason of {change.__name__}"] = partial(change, session.id)
        calls["reason of a run"] = partial(manager.cancel_run, run.id)
    for name, call in calls.items():
        with pytest.raises(InvalidInputError) as caught:
            await call(**{name.split()[0]: wrong})
        assert caught.value.path.split(".")[-1] == name.split()[0]
    assert (await store.get_session(session.id), await store.list_runs(session.id)) == (session, [run])


def _recording(manager: SessionManager, session_id: str) -> Any:
    return partial(manager.record, session_id, "message_sent")


@pytest.mark.parametrize(("change", "status"), [("pause_session", "paused"), ("cancel_session", "cancelled")])
async def test_run_once_answers_though_others_ended_its_session(store: Any, change: str, status: str) -> None:
    """What the run has answered, and cost, is not lost to the caller; the session stays as it was left (W4)."""
    manager = SessionManager(store)

    async def during(request: Request) -> AsyncIterator[Said | Answer]:
        await getattr(manager, change)(request.session_id)
        yield _DONE

    result = await manager.run_once(during, "hi")
    assert (result.status, result.output) == ("completed", {"content": "ok"})
    assert (await store.get_session(result.session_id)).status == status


@pytest.mark.parametrize("deep_scan", [True, False])
@_IN_MEMORY
async def test_reasons_are_stored_without_secrets(store: Any, deep_scan: bool) -> None:
    """What somebody gave as a reason is text like any other: of a pause, of a cancelled run, of a cancelled session."""
    manager = SessionManager(store, redactor=Redactor(deep_scan=deep_scan))
    session = await manager.start_session("a")
    await manager.activate_session(session.id)
    await manager.pause_session(session.id, reason=f"leaked {_SECRET}")
    await manager.resume_session(session.id)
    run = await manager.start_run(session.id, "hi")
    await manager.cancel_run(run.id, reason=f"leaked {_SECRET}")
    await manager.record(session.id, "run_timeout", {"error_message": f"leaked {_SECRET}"})
    await manager.cancel_session(session.id, reason=f"leaked {_SECRET}")
    told = [event.data for event in await store.get_events(session.id) if event.data]
    words = "leaked [REDACTED]"
    assert told == [{"reason": words}, {"reason": words}, {"error_message": words}, {"reason": words}]


async def test_a_run_that_others_change_ends_upon_their_change(store: Any) -> None:
    """What somebody has written into the run meanwhile is there after its end (W4)."""
    manager = SessionManager(store)
    session = await manager.start_session("a")
    await manager.activate_session(session.id)

    async def during(request: Request) -> AsyncIterator[Said | Answer]:
        stored = await store.get_run(request.run_id)
        await store.save_run(replace(stored, metadata={"note": "theirs"}))
        yield _DONE

    run = await manager.start_run(session.id, "hi", metadata={"note": "ours"})
    await manager.execute_run(run.id, during)
    ended = await store.get_run(run.id)
    assert (ended.status, ended.metadata) == ("completed", {"note": "theirs"})
    assert _types(await store.get_events(session.id)).count("run_completed") == 1


async def test_changes_at_the_same_time_are_all_made(store: Any) -> None:
    """Each upon what is stored then: no tag is lost; of several ends the first is the only one, told once (W4, W6)."""
    manager = SessionManager(store)
    session = await manager.start_session("a")
    await manager.activate_session(session.id)

    def tagged(number: int) -> Any:
        return manager.update_session(session.id, lambda stored: stored.changed(tags=[*stored.tags, str(number)]))

    await asyncio.gather(*(tagged(number) for number in range(5)))
    assert sorted((await store.get_session(session.id)).tags) == ["0", "1", "2", "3", "4"]
    run = await manager.start_run(session.id, "hi")
    cancels = [manager.cancel_run(run.id) for _ in range(3)]
    assert {each.status for each in await asyncio.gather(*cancels)} == {"cancelled"}
    ends = [manager.complete_session(session.id), manager.cancel_session(session.id)]
    found = await asyncio.gather(*ends, return_exceptions=True)
    assert [type(each) for each in found].count(InvalidTransitionError) == 1
    types = _types(await store.get_events(session.id))
    assert types.count("run_cancelled") == 1
    assert types.count("session_completed") + types.count("session_cancelled") == 1


async def test_events_of_the_hosts_own(store: Any) -> None:
    """Recorded without secrets; an approval is asked for with the end of the run."""
    manager = SessionManager(store, redactor=Redactor())
    session = await manager.start_session("a")
    await manager.activate_session(session.id)
    run = await manager.start_run(session.id, "hi")
    told = await manager.record(session.id, "message_streamed", {"content": f"key {_SECRET}"}, run_id=run.id)
    assert (told.data, told.run_id, told.correlation_id) == ({"content": "key [REDACTED]"}, run.id, run.id)
    assert (await manager.cancel_for_approval(run.id, "rm", policy_name="careful")).status == "cancelled"
    changed = await manager.update_session(session.id, lambda stored: stored.changed(metadata={"key": _SECRET}))
    started = await manager.start_run(session.id, "hi")
    kept = await manager.update_run(started.id, lambda stored: replace(stored, metadata={"key": _SECRET}))
    assert _SECRET not in str(kept) + str(await store.get_run(started.id))
    assert changed.metadata == {"key": "[REDACTED]"}
    events = await store.get_events(session.id)
    assert _types(events)[-2:] == ["tool_approval_requested", "run_cancelled"]
    assert events[-2].data == {"tool_name": "rm", "policy_name": "careful"}
    before = await store.get_latest_sequence(session.id)
    with pytest.raises(InvalidInputError):
        await manager.record_all(session.id, [Said("message_sent"), Said("message_sent", None)])  # type: ignore[arg-type]
    assert await store.get_latest_sequence(session.id) == before, "one bad event, and nothing is written"
    both = await manager.record_all(session.id, [Said("error_occurred"), Said("error_recovered")])
    assert [event.sequence_number for event in both] == [before + 1, before + 2]


async def test_a_store_without_leases() -> None:
    """It works, and a run that is ended elsewhere stops; nothing can be recovered."""

    class Plain:
        def __init__(self) -> None:
            self.inner = InMemorySessionStore()

        def __getattr__(self, name: str) -> Any:
            if name in ("lease_run", "lost_runs"):
                raise AttributeError(name)
            return getattr(self.inner, name)

    manager = SessionManager(Plain(), lease=0.15)
    session = await manager.start_session("a")
    await manager.activate_session(session.id)
    run = await manager.start_run(session.id, "hi")
    begun, heard = _begun()
    task = asyncio.create_task(manager.execute_run(run.id, ScriptedProvider([_USED, 5.0, _DONE]), event_callback=heard))
    await asyncio.wait_for(begun.wait(), 5)
    await SessionManager(manager.store).cancel_run(run.id)
    with pytest.raises(RunStoppedError):
        await asyncio.wait_for(task, 5)
    assert await manager.recover_runs() == []


async def test_statuses_follow_their_machine(store: Any) -> None:
    """Pause, resume, end; what may not follow is refused and leaves no event (W5, W6)."""
    manager = SessionManager(store)
    session = await manager.start_session("a")
    with pytest.raises(InvalidTransitionError) as caught:
        await manager.pause_session(session.id)
    assert (caught.value.from_status, caught.value.to_status) == ("pending", "paused")
    with pytest.raises(InvalidTransitionError):
        await manager.start_run(session.id, "too early")
    await manager.activate_session(session.id)
    await manager.pause_session(session.id, reason="lunch")
    assert (await manager.pause_session(session.id)).status == "paused"
    with pytest.raises(InvalidTransitionError):
        await manager.start_run(session.id, "not now")
    await manager.resume_session(session.id)
    await manager.fail_session(session.id, ProviderError("no more", status=500))
    for refused in (manager.activate_session, manager.cancel_session, manager.complete_session, manager.resume_session):
        with pytest.raises(InvalidTransitionError):
            await refused(session.id)
    events = await store.get_events(session.id)
    assert _types(events) == [
        "session_created",
        "session_started",
        "session_paused",
        "session_resumed",
        "session_failed",
    ]
    assert events[2].data == {"reason": "lunch"}
    assert events[-1].data == {"error_code": "provider_error", "error_message": "no more", "status": 500}
    with pytest.raises(NotFoundError):
        await manager.cancel_session("ses_nobody")


async def test_a_run_is_executed_once(store: Any) -> None:
    """A finished run is neither executed nor cancelled again, and a session has one running run (W5)."""
    manager = SessionManager(store)
    session = await manager.start_session("a")
    await manager.activate_session(session.id)
    first, second = [await manager.start_run(session.id, "hi") for _ in range(2)]
    begun, heard = _begun()
    go_on = asyncio.Event()

    async def slow(request: Request) -> AsyncIterator[Said | Answer]:
        yield Said("message_streamed", {"content": "x"})
        await go_on.wait()
        yield _DONE

    task = asyncio.create_task(manager.execute_run(first.id, slow, event_callback=heard))
    await asyncio.wait_for(begun.wait(), 5)
    with pytest.raises(ConflictError):
        await manager.execute_run(second.id, ScriptedProvider([_DONE]))
    with pytest.raises(ConflictError):
        await manager.execute_run(first.id, ScriptedProvider([_DONE]))
    go_on.set()
    await task
    again = ScriptedProvider([_DONE])
    with pytest.raises(InvalidTransitionError):
        await manager.execute_run(first.id, again)
    assert again.requests == [], "the provider was asked all the same"
    with pytest.raises(InvalidTransitionError):
        await manager.cancel_run(first.id)
    await manager.execute_run(second.id, ScriptedProvider([_DONE]))
    pending = await manager.start_run(session.id, "never")
    assert [(await manager.cancel_run(pending.id)).status for _ in range(2)] == ["cancelled", "cancelled"]


async def test_an_execution_that_is_refused_changes_nothing(store: Any) -> None:
    """Neither the run that another manager is executing, nor what a finished one has used, nor the events of either."""
    manager, other = SessionManager(store), SessionManager(store)
    session = await manager.start_session("a")
    await manager.activate_session(session.id)
    run = await manager.start_run(session.id, "hi")
    begun, heard = _begun()
    go_on = asyncio.Event()

    async def slow(request: Request) -> AsyncIterator[Said | Answer]:
        yield Said("message_streamed", {"content": "x"})
        await go_on.wait()
        yield Answer(token_usage={"input_tokens": 2}, model="m", cost_usd=0.5)

    task = asyncio.create_task(manager.execute_run(run.id, slow, event_callback=heard))
    await asyncio.wait_for(begun.wait(), 5)
    with pytest.raises(ConflictError):
        await other.execute_run(run.id, ScriptedProvider([_DONE]))
    assert (await store.get_run(run.id)).status == "running"
    go_on.set()
    assert (await task).cost_usd == 0.5
    before = await store.get_run(run.id), await store.get_events(session.id)
    for each in (manager, other):
        with pytest.raises(InvalidTransitionError):
            await each.execute_run(run.id, ScriptedProvider([_DONE]))
    assert (await store.get_run(run.id), await store.get_events(session.id)) == before


def _with_usage(piece: str) -> list[Said]:
    return [
        Said("message_streamed", {"content": piece}),
        Said("token_usage_updated", {"input_tokens": 0, "output_tokens": 1}),
    ]


async def test_secrets_are_gone_everywhere(store: Any) -> None:
    """From rows, events, callbacks and telemetry alike; the provider itself is asked with them."""
    heard: list[Event] = []
    told: list[telemetry.Event] = []
    manager = SessionManager(store, redactor=Redactor())
    provider = ScriptedProvider(
        [
            *(each for piece in re.findall("..?", f"key {_SECRET} it is") for each in _with_usage(piece)),
            Said("tool_call_completed", {"tool_name": "env", "tool_output": {"out": [_SECRET]}}),
            Answer(output={"content": _SECRET}, metadata={"note": _SECRET}),
        ],
        [ProviderError(f"bad key {_SECRET}", provider_error={"said": _SECRET})],
    )
    asked = {"messages": [{"role": "user", "content": f"my key is {_SECRET}"}]}
    with telemetry.add_hook(told.append):
        await manager.run_once(
            provider, asked, context={"env": _SECRET}, metadata={"m": _SECRET}, event_callback=heard.append
        )
        with pytest.raises(ProviderError):
            await manager.run_once(provider, f"again {_SECRET}", event_callback=heard.append)
    assert provider.requests[0].messages[0].content == f"my key is {_SECRET}"
    stored: list[Any] = []
    for session in await store.list_sessions():
        stored += [session, *await store.list_runs(session.id), *await store.get_events(session.id)]
    assert len(stored) > 15
    assert _SECRET not in repr(stored) + repr(heard) + repr(told)
    streamed = "".join(event.data["content"] for event in heard if event.type == "message_streamed")
    assert streamed == "key [REDACTED] it is"
    assert [event.type for event in heard[2:6]] == ["message_streamed", "token_usage_updated"] * 2
    assert sum(event.facts["count"] for event in told if event.name == "event_redacted" and event.phase == "stop") >= 8


@pytest.mark.parametrize("size", [1, 200], ids=["alone", "with others"])
async def test_telemetry_of_odd_and_unstorable_events(size: int, store: Any) -> None:
    """Warnings, rejections and writes are told; an event that cannot be stored takes no other with it."""
    told: list[telemetry.Event] = []
    provider = ScriptedProvider(
        [
            Said("message_streamed", {}),
            Said("never_heard_of", {"x": 1}),
            Said("message_streamed", {"content": "ok", "raw": object()}),
            Said("message_streamed", {"content": "ok"}, timestamp="yesterday"),  # type: ignore[arg-type]
            Said("tool_call_started", None),  # type: ignore[arg-type]
            Said("tool_call_started", {1: "a key that is no text"}),  # type: ignore[dict-item]
            Said("message_received", {"content": "NUL \0 and \ud800", "role": "assistant"}),
            _DONE,
        ]
    )
    with telemetry.add_hook(told.append):
        result = await SessionManager(store, buffering=Buffering(size=size)).run_once(provider, None)
    events = {event.type: event for event in result.events}
    assert events["message_streamed"].metadata["_validation_warnings"] == ["content is missing"]
    assert events["message_received"].data["content"] == "NUL \0 and \ud800"
    wrong = [event.data["error_message"] for event in result.events if event.type == "error_occurred"]
    assert len(wrong) == 5
    assert "never_heard_of" in wrong[0]
    assert "raw" in " ".join(wrong)
    names = {event.name for event in told}
    assert {"event_persisted", "event_validation_warning", "event_rejected"} <= names


@_IN_MEMORY
async def test_policies_warn_cancel_or_ask(store: Any) -> None:
    """The violation is an event; the run goes on, fails, or waits for an approval with its session paused."""
    call = Said("tool_call_started", {"tool_name": "rm", "tool_call_id": "1"})
    manager = SessionManager(store, policies=[Policy(name="w", max_total_tokens=1, on_violation="warn")])

    result = await manager.run_once(ScriptedProvider([_USED, _USED, _DONE]), None)
    assert [violation.policy for violation in result.violations] == ["w"]
    assert _types(result.events).count("policy_violation") == 1

    with pytest.raises(RunStoppedError) as caught:
        await manager.run_once(ScriptedProvider([call, 5.0]), None, policies=[Policy(name="no rm", deny_tools=["rm"])])
    assert caught.value.reason == "policy_violation"
    failed = await store.get_run(caught.value.run_id)
    assert (failed.status, failed.error["code"]) == ("failed", "policy_violation")

    asks = Policy(name="ask", allow_tools=[], on_violation="request_approval")
    with pytest.raises(RunStoppedError) as caught:
        await manager.run_once(ScriptedProvider([call, 5.0]), None, policies=[asks])
    session = await store.get_session(caught.value.session_id)
    events = await store.get_events(session.id)
    assert session.status == "paused"
    assert _types(events)[-4:] == ["policy_violation", "tool_approval_requested", "run_cancelled", "session_paused"]
    assert events[-3].data["tool_name"] == "rm"
    with pytest.raises(RunStoppedError):
        await manager.run_once(ScriptedProvider([5.0]), None, policies=[Policy(max_duration_ms=50)])


async def test_a_conversation_goes_on(store: Any) -> None:
    """By replay with what was said and called, natively with the provider's own id, and never by accident."""
    manager = SessionManager(store)
    session = await manager.start_session("a")
    await manager.activate_session(session.id)

    async def once(provider: ScriptedProvider, text: str, **wishes: Any) -> Request:
        run = await manager.start_run(session.id, text)
        await manager.execute_run(run.id, provider, **wishes)
        return provider.requests[-1]

    def shown(request: Request) -> list[Any]:
        return [message.content or message.tool_name for message in request.messages]

    call = {"tool_name": "look", "tool_call_id": "c"}
    called = [Said("tool_call_started", call), Said("tool_call_completed", {**call, "tool_output": "x"})]
    plain = ScriptedProvider([*called, *ScriptedProvider.saying("one two")._scripts[0]], [_DONE], [_DONE], [_DONE])
    await once(plain, "first")
    assert shown(await once(plain, "second")) == ["second"]
    whole = ["first", "look", "look", "one two", "second", "third"]
    assert shown(await once(plain, "third", continuation="auto")) == whole
    limits = {"max_messages": 2}
    assert shown(await once(plain, "4th", continuation="replay", continuation_opts=limits)) == [
        "second",
        "third",
        "4th",
    ]
    with pytest.raises(InvalidInputError) as caught:
        await once(plain, "5th", continuation="native")
    assert caught.value.reason == "continuation_unavailable"

    answers = [[Answer(output={}, provider_session_id="conv-9")], [_DONE], [_DONE]]
    native = ScriptedProvider(*answers, provider="own", native=True)
    await once(native, "a")
    request = await once(native, "b", continuation="auto")
    assert (shown(request), request.provider_session_id) == (["b"], "conv-9")
    assert (await once(native, "c", continuation="replay")).provider_session_id is None
    for wrong in (True, "sometimes"):
        with pytest.raises(InvalidInputError, match="continuation"):
            await once(native, "d", continuation=wrong)
    early = await manager.transcript(session.id)
    assert early == await manager.transcript(session.id, early)


@_IN_MEMORY
async def test_how_much_of_a_conversation_goes_on(store: Any) -> None:
    """Bounded by events or by messages; calls of tools whose results are given go into the log."""
    manager = SessionManager(store)
    session = await manager.start_session("a")
    await manager.activate_session(session.id)
    provider = ScriptedProvider(*([_DONE] for _ in range(8)))

    async def asked(given: Any, **options: Any) -> list[Any]:
        run = await manager.start_run(session.id, given)
        await manager.execute_run(run.id, provider, continuation="replay", continuation_opts=options)
        return [message.content or message.tool_output for message in provider.requests[-1].messages]

    await asked({"messages": [{"role": "user", "content": n * "x"} for n in (1, 2, 3)]})
    first, second, last = await store.get_events(session.id, type="message_sent")
    await asyncio.sleep(0.002)
    assert await asked(None, limit=second.sequence_number) == ["x", "xx"]
    assert await asked(None, limit=0) == []
    assert await asked("y", after=first.sequence_number, max_messages=1) == ["xxx", "y"]
    assert await asked(None, since=last.timestamp) == ["y"]
    assert await asked(None, max_tokens_approx=1) == ["xxx", "y"]
    result = {"role": "tool", "tool_call_id": "c", "tool_name": "t", "content": "seen"}
    assert await asked({"messages": [result]}, max_chars=1) == ["y", "seen"]
    assert (await store.get_events(session.id, type="tool_call_completed"))[0].data["tool_output"] == "seen"
    with pytest.raises(InvalidInputError, match="continuation_opts"):
        await asked(None, most=1)
    with pytest.raises(InvalidInputError, match=r"input\.messages\[0\]"):
        await asked({"messages": ["hi"]})


@pytest.mark.parametrize("backend", ["sqlite-file", "postgres"])
async def test_a_thousand_tokens_in_few_statements(recording_db: Database, backend: str) -> None:
    """Streamed tokens are written many at a time, none is lost, and the callback heard each at once (W22)."""
    heard: list[Event] = []
    results: list[RunResult] = []
    script = [*(Said("message_streamed", {"content": f"{n} "}) for n in range(1000)), _USED, _DONE]
    store = SessionStore()
    manager = SessionManager(store)
    session = await manager.start_session("a")
    await manager.activate_session(session.id)
    run = await manager.start_run(session.id, "hi")

    async def work() -> None:
        results.append(await manager.execute_run(run.id, ScriptedProvider(script), event_callback=heard.append))

    # On PostgreSQL each BEGIN and SAVEPOINT is a round trip too; in SQLite nothing is.
    aside = is_plumbing if backend == "postgres" else is_frame
    statements = [sql for sql in await sent(recording_db, work) if not aside(sql)]
    if backend != "postgres":  # SQLite tells of each row of one prepared statement
        statements = [sql for sql, last in zip(statements, ["", *statements], strict=False) if sql[:22] != last[:22]]
    assert len(statements) <= 30, "\n".join(statements)
    (result,) = results
    stored = await store.get_events(result.session_id, type="message_streamed")
    assert [event.data["content"] for event in stored] == [f"{n} " for n in range(1000)]
    assert len(heard) == 1000 + 2


@_IN_MEMORY
async def test_a_slow_stream_is_written_by_time(store: Any) -> None:
    """What has waited long enough is stored while the provider still thinks."""
    manager = SessionManager(store, buffering=Buffering(seconds=0.05))
    seen: list[str] = []

    async def slow(request: Request) -> AsyncIterator[Said | Answer]:
        yield Said("message_streamed", {"content": "early"})
        await asyncio.sleep(0.3)
        seen.extend(_types(await store.get_events(request.session_id)))
        yield _DONE

    await manager.run_once(slow, None)
    assert seen[-1] == "message_streamed"


async def test_a_database_that_is_away_for_a_moment(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write is repeated with the same ids, nothing is stored twice; when it stays away, the run says so (C-3)."""
    real = type(store).append_events
    failures = 2

    async def flaky(self: Any, events: Any) -> Any:
        nonlocal failures
        if failures and any(event.type == "message_streamed" for event in events):
            failures -= 1
            if failures:  # the outcome is unknown: it was written
                await real(self, events)
            raise StorageUnavailableError("away", outcome="unknown")
        return await real(self, events)

    monkeypatch.setattr(type(store), "append_events", flaky)
    script = [*(Said("message_streamed", {"content": str(n)}) for n in range(10)), _DONE]
    manager = SessionManager(store, buffering=Buffering(size=5, patience=1.0))
    result = await manager.run_once(ScriptedProvider(script), None)
    assert result.storage_failures == 2
    streamed = [event.data["content"] for event in result.events if event.type == "message_streamed"]
    assert streamed == [str(n) for n in range(10)]

    failures = 10**6
    patient = SessionManager(store, buffering=Buffering(size=5, patience=0.1))
    with pytest.raises(StorageUnavailableError):
        await patient.run_once(ScriptedProvider(script), None)


@_IN_MEMORY
async def test_a_provider_waits_for_the_database(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much it has to say, no more than the buffer holds is in memory."""
    real = type(store).append_events
    said = stored = most = 0

    async def slow(self: Any, events: Any) -> Any:
        nonlocal stored
        await asyncio.sleep(0.005)
        answer = await real(self, events)
        stored += sum(event.type == "message_streamed" for event in events)
        return answer

    async def talkative(request: Request) -> AsyncIterator[Said | Answer]:
        nonlocal said, most
        for n in range(500):
            said += 1
            most = max(most, said - stored)
            yield Said("message_streamed", {"content": str(n)})
        yield _DONE

    monkeypatch.setattr(type(store), "append_events", slow)
    await SessionManager(store, buffering=Buffering(size=10, room=20)).run_once(talkative, None)
    assert most <= 10 + 2 * 20 + 2


@_IN_MEMORY
async def test_a_failing_callback_harms_nobody(store: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, sync or async, and the run goes on."""

    async def bad(event: Event) -> None:
        raise ValueError("no")

    result = await SessionManager(store).run_once(ScriptedProvider.saying("a b"), "hi", event_callback=bad)
    assert result.status == "completed"
    assert "event callback" in caplog.text


@_IN_MEMORY
async def test_a_callback_may_cancel_its_own_run(store: Any) -> None:
    """It asks, and goes on: the run ends when it returns, and nobody waits for himself."""
    manager = SessionManager(store)

    async def enough(event: Event) -> None:
        if event.type == "message_streamed":
            assert (await manager.cancel_run(event.run_id or "", reason="enough")).status == "running"

    script = [Said("message_streamed", {"content": "x"}), 5.0, _DONE]
    with pytest.raises(RunStoppedError) as caught:
        await asyncio.wait_for(manager.run_once(ScriptedProvider(script), None, event_callback=enough), 3)
    assert (await store.get_run(caught.value.run_id)).status == "cancelled"


async def test_a_provider_that_will_not_stop(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A run that is cancelled ends all the same."""
    monkeypatch.setattr(intake, "_PATIENCE", 0.05)
    stop = asyncio.Event()

    async def stubborn(request: Request) -> AsyncIterator[Said | Answer]:
        yield Said("message_streamed", {"content": "x"})
        while not stop.is_set():
            with suppress(asyncio.CancelledError):
                await stop.wait()

    with pytest.raises(ProviderUnavailableError):
        await asyncio.wait_for(SessionManager(InMemorySessionStore()).run_once(stubborn, None, time_limit=0.1), 3)
    assert "goes on although" in caplog.text
    stop.set()
    await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ["anthropic", "openai"])
async def test_a_real_answer_with_its_price(kind: str) -> None:
    """Over HTTP, with the list price of its model: cached tokens cost less."""
    store = InMemorySessionStore()
    async with llm_server() as server:
        server.answer(*(anthropic_answer("Hi") if kind == "anthropic" else openai_answer("Hi")))
        made = AnthropicProvider if kind == "anthropic" else OpenAIProvider
        result = await SessionManager(store).run_once(made("m", api_key="k", base_url=server.url), "hello")
    assert result.output["content"] == "Hi"
    # 10 in, 4 out, 3 read from and 2 written to the cache at 1 and 5 dollars a million; 4 in, 6 cached, 4 out.
    costs = {
        "anthropic": 10e-6 + 4 * 5e-6 + 3 * 0.1e-6 + 2 * 1.25e-6,
        "openai": 4 * 0.15e-6 + 6 * 0.075e-6 + 4 * 0.6e-6,
    }
    assert result.cost_usd == pytest.approx(costs[kind], rel=1e-12)
    assert (await store.get_run(result.run_id)).token_usage["total_tokens"] == {"anthropic": 19, "openai": 14}[kind]


@_IN_MEMORY
async def test_providers_that_break_the_rules(store: Any) -> None:
    """No answer, or something that is neither said nor answer: the run fails with that."""

    async def silent(request: Request) -> AsyncIterator[Said | Answer]:
        yield Said("message_streamed", {"content": "x"})

    async def wild(request: Request) -> AsyncIterator[Said | Answer]:
        yield {"type": "message_streamed"}  # type: ignore[misc]

    async def torn(request: Request) -> AsyncIterator[Said | Answer]:
        yield Said("message_streamed", {"content": "x"})
        raise asyncio.CancelledError

    for provider, reason in ((silent, "malformed_response"), (wild, "malformed_response"), (torn, "error")):
        with pytest.raises(ProviderError) as caught:
            await SessionManager(store).run_once(provider, None)
        assert caught.value.reason == f"provider_{reason}"
    with pytest.raises(InvalidInputError) as refused:
        await SessionManager(store).run_once(silent, None, required_capabilities=["tools"])
    assert refused.value.missing == ["tools"]

    async def able(request: Request) -> AsyncIterator[Said | Answer]:
        yield _DONE

    able.capabilities = {"tools"}  # type: ignore[attr-defined]
    wishes: dict[str, Any] = {"required_capabilities": ["tools"], "optional_capabilities": iter(["tools", "vision"])}
    result = await SessionManager(store).run_once(able, None, **wishes)
    assert result.events[0].data == {"provider": "able", "missing_capabilities": ["vision"]}


_BAD_ANSWERS: dict[str, dict[str, Any]] = {
    "answer.output": {"output": "text"},
    "answer.output.x": {"output": {"x": object()}},
    "answer.token_usage": {"token_usage": [1]},
    "answer.metadata": {"metadata": {1: 2}},
    "answer.model": {"model": 3},
    "answer.provider_session_id": {"provider_session_id": 3},
    "answer.stop_reason": {"stop_reason": object()},
    "answer.cost_usd": {"cost_usd": "much"},
}


@_IN_MEMORY
@pytest.mark.parametrize("path", _BAD_ANSWERS)
async def test_an_answer_that_no_run_can_keep(path: str, store: Any) -> None:
    """The run fails by it, with all that was said before: it is not left running until its lease is over (W7)."""

    async def odd(request: Request) -> AsyncIterator[Said | Answer]:
        yield Said("message_streamed", {"content": "x"})
        yield _USED
        yield Answer(**_BAD_ANSWERS[path])

    with pytest.raises(ProviderError) as caught:
        await SessionManager(store).run_once(odd, None)
    assert (caught.value.reason, caught.value.path) == ("provider_malformed_response", path)
    assert isinstance(caught.value.__cause__, InvalidInputError)
    run = await _only_run(store)
    assert (run.status, run.error["code"]) == ("failed", "provider_malformed_response")
    assert run.token_usage["total_tokens"] == 5
    told = _types(await store.get_events(run.session_id))
    assert told[-4:] == ["message_streamed", "token_usage_updated", "run_failed", "session_failed"]


async def test_a_run_once_that_never_began_has_ended(store: Any) -> None:
    """What is called but is no generator fails run and session together; the run of a session that goes on stays."""

    def plain(request: Request) -> str:
        return "ok"

    manager = SessionManager(store)
    provider: Any = plain
    with pytest.raises(InvalidInputError):
        await manager.run_once(provider, "hi")
    (session,) = await store.list_sessions()
    run = await _only_run(store)
    assert (session.status, run.status, run.provider) == ("failed", "failed", "plain")
    assert _types(await store.get_events(session.id))[-2:] == ["run_failed", "session_failed"]
    other = await manager.start_session("a")
    await manager.activate_session(other.id)
    pending = await manager.start_run(other.id, "hi")
    with pytest.raises(InvalidInputError):
        await manager.execute_run(pending.id, provider)
    assert await store.get_run(pending.id) == pending


@_IN_MEMORY
async def test_a_plain_function_is_recorded(store: Any) -> None:
    """It need not know of any of this."""

    async def double(text: str) -> dict[str, Any]:
        return {"content": text * 2}

    result = await SessionManager(store).run_once(recorded_function(double), {"text": "ab"})
    assert (result.output, result.provider) == ({"content": "abab"}, "double")
    assert (await store.get_run(result.run_id)).input == {"text": "ab"}


async def test_a_run_that_is_taken_away_stops(store: Any) -> None:
    """Cancelled by another process, its provider stops at the next sign of life, its usage is added (W5, W7, W11)."""
    here, elsewhere = SessionManager(store, lease=0.3, pricing=_PRICES), SessionManager(store)
    session = await here.start_session("a")
    await here.activate_session(session.id)
    run = await here.start_run(session.id, "hi")
    provider = ScriptedProvider([_USED, 5.0, _DONE])
    begun, heard = _begun()
    task = asyncio.create_task(here.execute_run(run.id, provider, event_callback=heard))
    await asyncio.wait_for(begun.wait(), 5)
    await elsewhere.cancel_run(run.id, reason="from elsewhere")
    with pytest.raises(RunStoppedError) as caught:
        await asyncio.wait_for(task, 5)
    assert caught.value.reason == "run_cancelled"
    ended = await store.get_run(run.id)
    assert (ended.status, ended.cost_usd) == ("cancelled", 0.007)
    (told,) = await store.get_events(session.id, type="run_cancelled")
    assert (told.provider, told.correlation_id, told.data) == ("scripted", run.id, {"reason": "from elsewhere"})


async def test_a_run_that_runs_is_never_executed_again(store: Any) -> None:
    """Nor when its lease has run out: its process may only be late, and two would answer then (W7)."""
    manager = SessionManager(store)
    session = await manager.start_session("a")
    await manager.activate_session(session.id)
    run = await manager.start_run(session.id, "hi")
    running = await manager.update_run(run.id, lambda run: run.with_status("running"))
    provider = ScriptedProvider([_DONE])
    with VirtualClock().installed() as clock:
        for seconds in (0, 60):
            assert await store.lease_run(run.id, "who is late", 30)
            clock.shift(seconds)
            with pytest.raises(ConflictError, match=r"recover_runs\(\) ends") as caught:
                await manager.execute_run(run.id, provider)
            assert (caught.value.reason, caught.value.run_id) == ("run_active", run.id)
        assert provider.requests == []
        assert await store.get_run(run.id) == running
        assert [lost.status for lost in await manager.recover_runs()] == ["failed"]


async def test_a_run_whose_lease_ran_out_is_recovered(store: Any) -> None:
    """One recoverer ends it, with its usage; who executed it learns that it is lost, and adds what it has (W7, W11)."""
    here = SessionManager(store, lease=30, pricing=_PRICES, buffering=Buffering(size=1))
    other = SessionManager(store, pricing=_PRICES)
    go_on, waits = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def scripted(request: Request) -> AsyncIterator[Said | Answer]:
        for _ in range(3):
            waits.release()
            await go_on.acquire()
            yield _USED
        await asyncio.sleep(5)

    async def next_one() -> None:
        go_on.release()
        await waits.acquire()
        await asyncio.sleep(0.05)

    with VirtualClock().installed() as clock:
        session = await here.start_session("a")
        await here.activate_session(session.id)
        run = await here.start_run(session.id, "hi")
        task = asyncio.create_task(here.execute_run(run.id, scripted))
        await waits.acquire()
        clock.shift(20)
        await next_one()  # it wakes, and gives a sign of life
        clock.shift(20)
        assert await other.recover_runs() == [], "it lives, and has said so"
        clock.shift(20)  # nothing wakes it meanwhile
        recovered = [each for runs in await asyncio.gather(*(other.recover_runs() for _ in "ab")) for each in runs]
        assert [(each.id, each.status, each.cost_usd) for each in recovered] == [(run.id, "failed", 0.007)]
        go_on.release()
        with pytest.raises(RunStoppedError) as caught:
            await asyncio.wait_for(task, 3)
    assert caught.value.reason == "run_lost"
    ended = await store.get_run(run.id)
    assert (ended.status, ended.error["code"], ended.cost_usd) == ("failed", "run_lost", 0.014)
    told = (await store.get_events(session.id))[-2:]
    assert _types(told) == ["run_failed", "token_usage_updated"]
    assert {(event.provider, event.correlation_id) for event in told} == {("scripted", run.id)}


async def test_a_run_once_that_is_lost_takes_its_session_along(store: Any) -> None:
    """Nobody is left to end it: active for ever, it would be spared by retention too (W7)."""
    begun, callback = _begun()
    wait = asyncio.Event()

    async def silent(request: Request) -> AsyncIterator[Said | Answer]:
        yield _USED
        await wait.wait()
        yield _DONE

    with VirtualClock().installed() as clock:
        manager = SessionManager(store, lease=30, buffering=Buffering(size=1))
        task = asyncio.create_task(manager.run_once(silent, None, event_callback=callback))
        await begun.wait()
        await asyncio.sleep(0.05)
        clock.shift(31)  # as if its process were gone
        (run,) = await SessionManager(store).recover_runs()
        assert run.error["code"] == "run_lost"
        assert (await store.get_session(run.session_id)).status == "failed"
        told = await store.get_events(run.session_id)
        assert _types(told)[-2:] == ["run_failed", "session_failed"]
        assert told[-1].data["error_code"] == "run_lost"
        wait.set()
        with pytest.raises(RunStoppedError):
            await asyncio.wait_for(task, 3)
    assert _types(await store.get_events(run.session_id)).count("session_failed") == 1


@pytest.mark.parametrize(
    "wrong", [{"policies": [5]}, {"redactor": 5}, {"pricing": 5}, {"buffering": 5}, {"lease": 0}], ids=str
)
def test_a_manager_is_refused_what_is_none(wrong: dict[str, Any]) -> None:
    """When it is made, not when the first run needs it."""
    with pytest.raises(InvalidInputError):
        SessionManager(InMemorySessionStore(), **wrong)


@_IN_MEMORY
async def test_what_cannot_be_asked_is_no_run(store: Any) -> None:
    """Nothing is stored of it; what is wrong with an execution leaves the run as it was."""
    manager = SessionManager(store)
    session = await manager.start_session("a")
    await manager.activate_session(session.id)
    for wrong in ({"messages": [5]}, {"messages": 5}):
        with pytest.raises(InvalidInputError):
            await manager.start_run(session.id, wrong)
    assert await store.list_runs(session.id) == []
    run = await manager.start_run(session.id, "hi")
    bad: list[dict[str, Any]] = [{"policies": [5]}, {"options": 5}, {"event_callback": 5}, {"given": {"messages": 5}}]
    for wishes in bad:
        with pytest.raises(InvalidInputError):
            await manager.execute_run(run.id, ScriptedProvider([_DONE]), **wishes)
    assert await store.get_run(run.id) == run


@_IN_MEMORY
async def test_a_wish_that_there_is_not(store: Any) -> None:
    """It is told with those that there are, and nothing is stored."""
    with pytest.raises(InvalidInputError, match=r"^wishes: expected some of .*event_callback.*, got 'session_id'$"):
        await SessionManager(store).run_once(ScriptedProvider([_DONE]), "hi", session_id="ses_1")
    assert await store.list_sessions() == []
    # What type checkers know of `run_once` is what `execute_run` takes beside the run, its provider, and what is given.
    taken = inspect.signature(SessionManager.execute_run).parameters.keys() - {"self", "run_id", "provider", "given"}
    (known,) = get_args(get_type_hints(SessionManager.run_once)["wishes"])
    assert get_type_hints(known).keys() == taken


@_IN_MEMORY
async def test_what_is_no_provider_is_no_run(store: Any) -> None:
    """A plain function, a class, what a provider answered: each is told what a provider is, and nothing is stored."""

    async def plain(text: str) -> str:
        return text

    for wrong in (plain, partial(plain, "a"), ScriptedProvider, ScriptedProvider([_DONE])(None), "a"):
        with pytest.raises(InvalidInputError, match=r"asynchronous generator function, .* or recorded_function\("):
            await SessionManager(store).run_once(wrong, "hi")  # type: ignore[arg-type]
    assert await store.list_sessions() == []


async def test_an_approval_of_a_run_that_has_ended(store: Any) -> None:
    """It is refused, and no event says that it was asked for; asked for twice, it is told once."""
    manager = SessionManager(store)
    session = await manager.start_session("a")
    await manager.activate_session(session.id)
    done, open_ = await manager.start_run(session.id, "hi"), await manager.start_run(session.id, "hi")
    await manager.execute_run(done.id, ScriptedProvider([_DONE]))
    before = await store.get_latest_sequence(session.id)
    with pytest.raises(InvalidTransitionError):
        await manager.cancel_for_approval(done.id, "rm", policy_name="careful")
    assert await store.get_latest_sequence(session.id) == before
    for _ in "ab":
        await manager.cancel_for_approval(open_.id, "rm", policy_name="careful")
    assert _types(await store.get_events(session.id, after=before)) == ["tool_approval_requested", "run_cancelled"]


@_IN_MEMORY
@pytest.mark.parametrize("category", SECRETS)
async def test_each_kind_of_secret_is_gone_everywhere(category: str, store: Any) -> None:
    """Whole, in pieces, in refused events and cut errors: from rows, events, callbacks and telemetry."""
    heard: list[Any] = []
    text = f"key {SECRETS[category]} it is so"

    def cut_at(most: int) -> str:
        """Answer a text that would be cut within the secret."""
        return "x" * (most - 4 - len(SECRETS[category]) * 3 // 4) + " " + text

    said = [
        *(Said("message_streamed", {"content": piece}) for piece in re.findall("(?s)..?.?", text)),
        Said("message_received", {"content": text, "role": "assistant"}),
        Said("tool_call_completed", {"tool_name": "env", "tool_output": {"out": [text]}}),
        Said("message_received", cut_at(45)),  # type: ignore[arg-type]
        Said(cut_at(80)),
        Answer(output={"content": text}, metadata={"note": text}),
    ]
    manager = SessionManager(store, redactor=Redactor())
    with telemetry.add_hook(heard.append):
        wishes: dict[str, Any] = {"context": {"env": text}, "metadata": {"m": text}}
        await manager.run_once(ScriptedProvider(said), text, event_callback=heard.append, **wishes)
        with pytest.raises(ProviderError):
            provider = ScriptedProvider([ProviderError(cut_at(2000), provider_error={"said": text})])
            await manager.run_once(provider, text, event_callback=heard.append)
    for session in await store.list_sessions():
        heard += [session, *await store.list_runs(session.id), *await store.get_events(session.id)]
    assert len(heard) > 50
    assert max(re.findall("[0-9A-Za-z_]+", SECRETS[category]), key=len)[:8] not in repr(heard)


async def test_what_may_be_given_as_a_store() -> None:
    """A store, its class, a tuple of class and connection, something that has one; anything else is refused (W10)."""
    store = SessionStore()

    class Holder:
        pass

    holder = Holder()
    holder.store = store  # type: ignore[attr-defined]
    assert SessionManager(store).store is store
    assert SessionManager(holder).store is store
    assert isinstance(SessionManager().store, SessionStore)
    assert isinstance(SessionManager(SessionStore).store, SessionStore)
    assert SessionManager((SessionStore, "other")).store.connection == "other"
    bad_arguments = ((SessionStore, 7), (SessionStore, {"colour": 1}), (InMemorySessionStore, "default"))
    for wrong in ("sqlite://", (1, 2), object(), *bad_arguments):
        with pytest.raises(InvalidStorageError):
            SessionManager(wrong)
