"""The one place that tells the world what the library does: hooks, the log, and OpenTelemetry where the host uses it.

    with telemetry.operation("append_thread", thread_id=thread_id, in_transaction=True) as span:
        ...
        span.set(rev=rev, count=count)

Facts are names, numbers and counts; never a payload, nor an error's message, which may quote one.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, Literal, Protocol

from jido_tortoise import seams
from jido_tortoise.errors import InvalidInputError

_log = logging.getLogger("jido_tortoise")


@dataclass(frozen=True, slots=True)
class Event:
    """One moment of one operation."""

    name: str
    phase: Literal["start", "stop", "error"]
    #: What is known by then; at the end also what the operation has found out.
    facts: dict[str, Any]
    #: Seconds since the start; None at the start.
    duration: float | None = None
    #: What ended the operation, a cancellation included; only in the phase "error".
    error: BaseException | None = None


class Span(Protocol):
    """A running operation."""

    def set(self, **facts: Any) -> None:
        """Add facts that are told when the operation ends."""
        ...


def operation(name: str, **facts: Any) -> AbstractContextManager[Span]:
    """Tell those who listen that an operation starts, and how it ends.

    The span is current for what runs inside, so never hold it over a `yield` of an asynchronous generator.
    """
    tracer = _tracer()
    if tracer is None and not _hooks and not _log.isEnabledFor(logging.DEBUG):
        return _SILENT
    return _Running(name, facts, tracer)


class Hook:
    """A function that hears every event; called, or left as a context manager, it is removed."""

    def __init__(self, function: Callable[[Event], object]) -> None:
        self.function = function

    def __call__(self) -> None:
        """Remove the hook; nothing happens when it is gone already."""
        global _hooks
        with _lock:
            _hooks = tuple(hook for hook in _hooks if hook is not self)

    def __enter__(self) -> Hook:
        return self

    def __exit__(self, *_: object) -> None:
        self()


def add_hook(function: Callable[[Event], object]) -> Hook:
    """Call a function with every event of this process, in the task and at the moment of the operation.

    What it raises is logged and goes no further.

    Returns:
        What removes the hook: a function, and a context manager.
    """
    global _hooks
    if iscoroutinefunction(function):  # it would never be awaited
        raise InvalidInputError.at("function", "a function that is not async", function)
    hook = Hook(function)
    with _lock:
        _hooks = (*_hooks, hook)
    return hook


_lock = threading.Lock()
_hooks: tuple[Hook, ...] = ()


class _Silent:
    """The operation that nobody listens to."""

    __slots__ = ()

    def set(self, **facts: Any) -> None:
        pass

    def __enter__(self) -> _Silent:
        return self

    def __exit__(self, *_: object) -> None:
        return None


_SILENT = _Silent()


class _Running:
    """The operation that somebody listens to."""

    __slots__ = ("_facts", "_name", "_started", "_traced", "_tracer")

    def __init__(self, name: str, facts: dict[str, Any], tracer: Any) -> None:
        self._name = name
        self._facts = facts
        self._tracer = tracer

    def set(self, **facts: Any) -> None:
        self._facts.update(facts)

    def __enter__(self) -> _Running:
        self._traced = None if self._tracer is None else _Traced(self._tracer, self._name)
        _tell(Event(self._name, "start", dict(self._facts)))
        self._started = seams.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        duration = seams.monotonic() - self._started
        phase: Literal["stop", "error"] = "stop" if error is None else "error"
        _tell(Event(self._name, phase, dict(self._facts), duration, error))
        if self._traced is not None:
            self._traced.end(self._facts, error)


def _tell(event: Event) -> None:
    if _log.isEnabledFor(logging.DEBUG):
        _write(event)
    for hook in _hooks:
        try:
            hook.function(event)
        except Exception:
            _log.warning("a telemetry hook failed at %s %s", event.name, event.phase, exc_info=True)


def _write(event: Event) -> None:
    took = "" if event.duration is None else f" {event.duration * 1000:.3f} ms"
    failed = "" if event.error is None else f" {_kind(event.error)}"
    _log.debug("%s %s%s%s %s", event.name, event.phase, took, failed, event.facts)


def _kind(error: BaseException) -> str:
    """Name an error by its type and reason; its message may quote a payload."""
    reason = getattr(error, "reason", None)
    return type(error).__name__ if reason is None else f"{type(error).__name__}({reason})"


class _Traced:
    """The operation as a span of OpenTelemetry."""

    def __init__(self, tracer: Any, name: str) -> None:
        # An exception is not recorded: that would send its message.
        self._manager = tracer.start_as_current_span(
            f"jido_tortoise.{name}", record_exception=False, set_status_on_exception=False
        )
        self._span = self._manager.__enter__()

    def end(self, facts: dict[str, Any], error: BaseException | None) -> None:
        for name, value in facts.items():
            if value is not None:
                self._span.set_attribute(f"jido_tortoise.{name}", _attribute(value))
        if error is not None:
            self._fail(error)
        self._manager.__exit__(None, None, None)

    def _fail(self, error: BaseException) -> None:
        trace = sys.modules["opentelemetry.trace"]
        self._span.set_attribute("error.type", type(error).__qualname__)
        self._span.set_status(trace.StatusCode.ERROR, _kind(error))


def _attribute(value: Any) -> Any:
    return value if isinstance(value, str | bool | int | float) else str(value)


def _tracer() -> Any:
    """Answer the tracer of the provider that the host has set; None when it has not, or has no OpenTelemetry."""
    # Who has set a provider has imported this; to import it here would slow every start.
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    provider = trace.get_tracer_provider()
    # Without an SDK that is a proxy whose spans go nowhere.
    return None if isinstance(provider, trace.ProxyTracerProvider) else provider.get_tracer("jido_tortoise")
