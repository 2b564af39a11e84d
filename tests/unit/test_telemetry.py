"""Telemetry: one event for each phase of each operation, to whoever listens, and never at the operation's cost."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import timeit
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from jido_tortoise import seams, telemetry
from jido_tortoise.errors import ConflictError, InvalidInputError
from jido_tortoise.telemetry import Event


@pytest.fixture
def heard() -> Iterator[list[Event]]:
    """Collect every event of the test."""
    events: list[Event] = []
    with telemetry.add_hook(events.append):
        yield events


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give OpenTelemetry a provider as a host would; it allows only one in the life of a process."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter.get_finished_spans
    provider.shutdown()


def test_an_operation_is_told_when_it_starts_and_when_it_stops(heard: list[Event]) -> None:
    """Facts of the start stand at the end as well, with what was found out."""
    ticks = iter([10.0, 12.5])
    with seams.replaced(monotonic=lambda: next(ticks)), telemetry.operation("append_thread", thread_id="t") as span:
        span.set(rev=3, count=1)
    start, stop = heard
    assert start == Event("append_thread", "start", {"thread_id": "t"})
    assert stop == Event("append_thread", "stop", {"thread_id": "t", "rev": 3, "count": 1}, 2.5, None)


def test_an_error_is_told_and_goes_on(heard: list[Event]) -> None:
    """The host's code gets the very same error."""
    error = ConflictError("somebody was first")
    with pytest.raises(ConflictError) as caught, telemetry.operation("hibernate") as span:
        span.set(rev=1)
        raise error
    assert caught.value is error
    assert heard[1].phase == "error"
    assert heard[1].error is error
    assert heard[1].facts == {"rev": 1}


async def test_a_cancellation_is_told(heard: list[Event]) -> None:
    """An operation that was given up did not stop well."""

    async def wait() -> None:
        with telemetry.operation("thaw"):
            await asyncio.sleep(60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(heard[1].error, asyncio.CancelledError)


async def test_operations_of_several_tasks_do_not_mix(heard: list[Event]) -> None:
    """Facts belong to one operation, whatever runs between its start and its end."""

    async def one(number: int) -> None:
        with telemetry.operation("append_thread", number=number) as span:
            await asyncio.sleep(0.001 * (number % 3))
            span.set(rev=number)

    await asyncio.gather(*map(one, range(20)))
    stops = [event.facts for event in heard if event.phase == "stop"]
    assert sorted(facts["number"] for facts in stops) == list(range(20))
    assert all(facts["number"] == facts["rev"] for facts in stops)


def test_a_hook_cannot_change_what_others_hear(heard: list[Event]) -> None:
    """Each event has facts of its own."""
    with telemetry.operation("thaw", n=1):
        heard[0].facts["n"] = 2
    assert heard[1].facts == {"n": 1}


def test_a_hook_is_removed_by_its_call_and_by_its_block() -> None:
    """The same function may be added twice; each removal ends one."""
    events: list[Event] = []
    first, second = telemetry.add_hook(events.append), telemetry.add_hook(events.append)
    with telemetry.operation("one"):
        pass
    first()
    first()
    with telemetry.operation("two"):
        pass
    with second, telemetry.operation("three"):
        pass
    with telemetry.operation("four"):
        pass
    names = [event.name for event in events]
    assert names == ["one"] * 4 + ["two"] * 2 + ["three"] * 2


def test_a_hook_that_fails_breaks_nothing(heard: list[Event], caplog: pytest.LogCaptureFixture) -> None:
    """Who looks on must not spoil the work; the log says so, and the other hooks still hear."""

    def fail(event: Event) -> None:
        raise RuntimeError("the dashboard is down")

    with telemetry.add_hook(fail), telemetry.operation("thaw") as span:
        span.set(rev=1)
    assert [event.phase for event in heard] == ["start", "stop"]
    assert [record.getMessage() for record in caplog.records] == [
        "a telemetry hook failed at thaw start",
        "a telemetry hook failed at thaw stop",
    ]


def test_a_hook_that_is_a_coroutine_is_refused() -> None:
    """Nobody would await it."""

    async def hook(event: Event) -> None: ...

    with pytest.raises(InvalidInputError, match="not async"):
        telemetry.add_hook(hook)


def test_the_log_tells_all_phases_and_no_message(caplog: pytest.LogCaptureFixture) -> None:
    """An error's message may quote a payload; the log has its type and reason."""
    caplog.set_level(logging.DEBUG, "jido_tortoise")
    with pytest.raises(ConflictError), telemetry.operation("append_thread", thread_id="t"):
        raise ConflictError("the secret is 1234")
    with pytest.raises(ZeroDivisionError), telemetry.operation("thaw"):
        raise ZeroDivisionError("1234")
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "append_thread start {'thread_id': 't'}"
    assert lines[1].startswith("append_thread error ")
    assert "ms ConflictError(conflict) {'thread_id': 't'}" in lines[1]
    assert "ms ZeroDivisionError {}" in lines[3]
    assert not any("1234" in line for line in lines)
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


def test_nobody_listens_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """At the usual level the log stays silent."""
    caplog.set_level(logging.INFO, "jido_tortoise")
    with telemetry.operation("thaw") as span:
        span.set(rev=1)
    assert caplog.records == []


def test_a_span_is_made_for_each_operation(spans: Any) -> None:
    """The host's traces show our operations, within each other, with their facts."""
    with telemetry.operation("hibernate", agent_id=("a", 1), forced=None), telemetry.operation("save") as inner:
        inner.set(rev=3, bytes=10, in_transaction=True)
    save, hibernate = spans()
    assert (save.name, hibernate.name) == ("jido_tortoise.save", "jido_tortoise.hibernate")
    assert save.parent.span_id == hibernate.context.span_id
    assert dict(save.attributes) == {
        "jido_tortoise.rev": 3,
        "jido_tortoise.bytes": 10,
        "jido_tortoise.in_transaction": True,
    }
    assert dict(hibernate.attributes) == {"jido_tortoise.agent_id": "('a', 1)"}


def test_a_span_tells_the_error_and_not_its_message(spans: Any) -> None:
    """Traces leave the house."""
    with pytest.raises(ConflictError), telemetry.operation("save", rev=3):
        raise ConflictError("the secret is 1234")
    span: ReadableSpan = spans()[0]
    assert span.status.status_code is trace.StatusCode.ERROR
    assert span.status.description == "ConflictError(conflict)"
    assert span.attributes is not None
    assert span.attributes["error.type"] == "ConflictError"
    assert not span.events
    assert "1234" not in span.to_json()


async def test_spans_of_several_tasks_do_not_mix(spans: Any) -> None:
    """A span is current only in the task that runs its operation."""

    async def one(number: int) -> None:
        with telemetry.operation("outer", number=number):
            await asyncio.sleep(0.001 * (number % 3))
            with telemetry.operation("inner", number=number):
                await asyncio.sleep(0)

    await asyncio.gather(*map(one, range(10)))
    outer = {span.context.span_id: span for span in spans() if span.name.endswith("outer")}
    inner = [span for span in spans() if span.name.endswith("inner")]
    assert len(inner) == 10
    for span in inner:
        assert outer[span.parent.span_id].attributes == span.attributes
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_without_a_provider_there_are_no_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenTelemetry that is only installed costs nothing."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)  # google-adk's web server sets one for good
    assert telemetry._tracer() is None


def test_opentelemetry_is_never_imported_by_us() -> None:
    """It is the host's to bring."""
    script = "import sys; from jido_tortoise import telemetry\nwith telemetry.operation('x'): pass\n"
    script += "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2]).returncode == 0


def test_an_operation_that_nobody_hears_is_nearly_free() -> None:
    """The hot path is full of them; the bound is ten times what they take."""

    def operate() -> None:
        with telemetry.operation("append_thread", thread_id="t", count=1) as span:
            span.set(rev=1)

    logging.getLogger("jido_tortoise").isEnabledFor(logging.DEBUG)
    best = min(timeit.repeat(operate, number=2000, repeat=7)) / 2000
    assert best < 15e-6
