"""One run while it is executed: what its provider says is recorded, watched, told, and brought to an end in any case.

All statements are made by the task that executes the run; the provider has a task of its own, which stops when the run
does. However it ends, what was said until then is stored together with the end, with tokens and cost.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from jido_tortoise import seams, telemetry
from jido_tortoise.attempts import repeated
from jido_tortoise.database import to_the_end
from jido_tortoise.errors import (
    ConflictError,
    InvalidInputError,
    InvalidTransitionError,
    ProviderError,
    ProviderUnavailableError,
    RunStoppedError,
    StorageError,
)
from jido_tortoise.recording.buffer import Buffering, EventBuffer
from jido_tortoise.recording.continuation import with_provider_session
from jido_tortoise.recording.endings import Ending, ending_of, session_ended
from jido_tortoise.recording.entities import Event, Run, Session
from jido_tortoise.recording.intake import Intake
from jido_tortoise.recording.leases import holds, leases
from jido_tortoise.recording.making import EventMaker, told_of, told_once
from jido_tortoise.recording.policies import Policy, Violation, Watch
from jido_tortoise.recording.port import SessionStoreLike
from jido_tortoise.recording.pricing import Pricing
from jido_tortoise.recording.providers.base import Answer, Provider, Request, Said, check_answer, no_provider
from jido_tortoise.recording.redaction import Redactor
from jido_tortoise.recording.usage import Usage, cost_of

_log = logging.getLogger("jido_tortoise")

#: The runs that this code is a part of: their callbacks and providers must not wait for their ends.
executing: ContextVar[frozenset[str]] = ContextVar("jido_tortoise_executing", default=frozenset())

EventCallback = Callable[[Event], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What became of a run."""

    session_id: str
    run_id: str
    status: str
    #: As it is stored: without secrets, when there is a redactor.
    output: Mapping[str, Any]
    token_usage: Mapping[str, Any]
    #: US dollars; None when nobody knows.
    cost_usd: float | None
    #: All events of the run, with their numbers.
    events: Sequence[Event]
    provider: str
    provider_metadata: Mapping[str, Any]
    #: What its policies have found, also those that only warn.
    violations: Sequence[Violation] = ()
    #: How often a write had to be repeated because the database was away.
    storage_failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all runs of a manager have in common."""

    store: SessionStoreLike
    holder: str
    redactor: Redactor | None
    pricing: Pricing | None
    buffering: Buffering
    #: Seconds that a run is believed to be executed after its last sign of life.
    lease: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What is wished of one run."""

    policies: Sequence[Policy] = ()
    callback: EventCallback | None = None
    #: Seconds that it may take; None: as long as it takes.
    time_limit: float | None = None
    #: Whether its session ends with it, in the same transaction.
    ends_session: bool = False


@dataclass(slots=True)
class Execution:
    """A run that is being executed."""

    settings: Settings
    run: Run
    provider: str
    maker: EventMaker
    wishes: Wishes
    #: Set when all is stored, or could not be.
    over: asyncio.Event = field(default_factory=asyncio.Event)
    _buffer: EventBuffer = field(init=False)
    _watch: Watch = field(init=False)
    _usage: Usage = field(default_factory=Usage)
    _events: list[Event] = field(default_factory=list)
    _answer: Answer | None = None
    _stop: RunStoppedError | None = None
    _intake: Intake[Said | Answer] | None = None
    _next_sign: float = 0.0
    _ends: float | None = None
    #: Set when it is stored that the run is running, by us.
    _begun: bool = False

    def __post_init__(self) -> None:
        self._buffer = EventBuffer(self.settings.store, self.settings.buffering)
        self._watch = Watch(self.wishes.policies, self.settings.pricing, self.provider)

    def stop(self, error: RunStoppedError) -> None:
        """End the run from another task of this process, for that reason."""
        self._stop = self._stop or error
        if self._intake is not None:
            self._intake.wake()

    async def execute(
        self, session: Session, provider: Provider, request: Request, opening: Iterable[Said]
    ) -> RunResult:
        """Execute the run to its end.

        Args:
            session: Its session, as it is stored.
            provider: Who answers.
            request: What it is asked.
            opening: What is said first.

        Raises:
            RunStoppedError: It was cancelled, by whomever, or has broken a policy.
            ProviderError: The provider failed; what else it raises is passed on.
            StorageError: The database was away for too long. What is stored is found by `recover_runs`.
        """
        before = executing.set(executing.get() | {self.run.id})
        try:
            answer = await self._followed(session, provider, request, opening)
            return await to_the_end(self._completed(answer))
        finally:
            executing.reset(before)
            self.over.set()

    async def _begin(self, session: Session, opening: Iterable[Said]) -> None:
        # Not even when its lease has run out: its process may only be late, and would not be the only one then.
        if self.run.status == "running":
            raise _active(self.run)
        events = [event for said in opening for event in self.maker.event(said)]
        events += self.maker.held()
        store = self.settings.store
        running = replace(self.run.with_status("running"), provider=self.provider)
        # Before it runs: a crash after this leaves a pending run, one a moment later a run that can be recovered.
        if leases(store) and not await store.lease_run(self.run.id, self.settings.holder, self.settings.lease):
            raise _active(self.run)
        flushed = await store.flush(session=session, run=running, events=events)
        self.run, self._begun = flushed.run or running, True
        self._events += told_of(flushed.events)
        now = seams.monotonic()
        self._next_sign = now + self.settings.lease / 3
        self._ends = None if self.wishes.time_limit is None else now + self.wishes.time_limit

    async def _followed(
        self, session: Session, provider: Provider, request: Request, opening: Iterable[Said]
    ) -> Answer:
        """Begin, and listen until the provider has answered."""
        try:
            self._intake = Intake(_stream(provider, request), self.settings.buffering.room)
            # Not cut off, or nobody would know whether it has begun.
            await to_the_end(self._begin(session, opening))
            self._intake.start()
            await self._listen(self._intake)
            if self._answer is None:
                raise ProviderError(
                    f"{self.provider} ended without an Answer",
                    reason="provider_malformed_response",
                    provider=self.provider,
                )
            return self._answer
        except BaseException as error:
            await to_the_end(self._broken_off(error))
            raise

    async def _listen(self, intake: Intake[Said | Answer]) -> None:
        while True:
            await self._look_up()
            items = await intake.take(self._time_left())
            for item in items:
                await self._hear(item)
            if not items and intake.ended:
                break
        if isinstance(intake.error, asyncio.CancelledError):
            # Not we have cancelled it, nor is this task cancelled.
            raise ProviderError(f"{self.provider} was cancelled from within", provider=self.provider)
        if intake.error is not None:
            raise intake.error

    async def _hear(self, item: Said | Answer) -> None:
        if isinstance(item, Answer):
            check_answer(item, self.provider)
            self._answer = item
            self._usage.model = item.model or self._usage.model
            return
        if not isinstance(item, Said):
            raise ProviderError(
                f"{self.provider} yielded a {type(item).__name__}, which is neither Said nor Answer",
                reason="provider_malformed_response",
                provider=self.provider,
            )
        if not await self._record(item):
            return
        for violation in self._watch.observe(item.type, item.data):
            await self._violated(violation)

    async def _record(self, said: Said) -> bool:
        """Record what was said; False when it was no event, of which an event tells."""
        good = True
        try:
            events = self.maker.event(said)
        except InvalidInputError as error:
            good = False
            # Not what stood there: a secret that is cut in half is not known for one.
            why = f"{error.facts.get('path')}: expected {error.facts.get('expected')}"
            events = self.maker.one("error_occurred", {"error_message": f"an event was rejected: {why}"})
        else:
            self._usage.add(said.type, said.data)
        for event in events:
            self._buffer.add(event)
            await self._tell(event)
        if self._buffer.time_left() == 0:
            await self._flush()
        return good

    async def _tell(self, event: Event) -> None:
        if self.wishes.callback is None:
            return
        try:
            told = self.wishes.callback(event)
            if inspect.isawaitable(told):
                await told
        except Exception:
            _log.warning("an event callback failed at %s of run %s", event.type, self.run.id, exc_info=True)

    async def _violated(self, violation: Violation) -> None:
        await self._record(Said("policy_violation", violation.data()))
        if violation.action == "warn":
            return
        asks = violation.action == "request_approval"
        raise RunStoppedError(
            f"run {self.run.id!r} has broken the policy {violation.policy!r}: {violation.kind}",
            reason="tool_approval_requested" if asks else "policy_violation",
            run_id=self.run.id,
            session_id=self.run.session_id,
            violation=violation,
        )

    # -- time -----------------------------------------------------------------------------------------------------

    def _time_left(self) -> float:
        """Answer the seconds until something is due."""
        now = seams.monotonic()
        dues = [self._next_sign - now, self._buffer.time_left(), self._watch.time_left()]
        dues.append(None if self._ends is None else self._ends - now)
        return max(0.0, min(due for due in dues if due is not None))

    async def _look_up(self) -> None:
        """Do what is due."""
        if self._stop is not None:
            raise self._stop
        now = seams.monotonic()
        if self._ends is not None and now >= self._ends:
            raise ProviderUnavailableError(
                f"{self.provider} has not answered within {self.wishes.time_limit} s",
                reason="run_timeout",
                provider=self.provider,
                run_id=self.run.id,
            )
        for violation in self._watch.tick():
            await self._violated(violation)
        if self._buffer.time_left() == 0:
            await self._flush()
        if now >= self._next_sign:
            await self._sign()

    async def _sign(self) -> None:
        """Give a sign of life, and learn whether the run is still ours."""
        self._next_sign = seams.monotonic() + self.settings.lease / 3
        settings = self.settings
        mine = await self._buffer.insist(lambda: holds(settings.store, self.run.id, settings.holder, settings.lease))
        if not mine:
            raise await self._taken_away()

    async def _taken_away(self) -> RunStoppedError:
        """Answer the error of a run that somebody else has ended."""
        self.run = await self.settings.store.get_run(self.run.id)
        reason = "run_cancelled" if self.run.status == "cancelled" else "run_lost"
        return RunStoppedError(
            f"run {self.run.id!r} was ended from elsewhere: it is {self.run.status}",
            reason=reason,
            run_id=self.run.id,
            session_id=self.run.session_id,
        )

    async def _flush(self) -> None:
        self._events += await self._buffer.flush()

    # -- the end --------------------------------------------------------------------------------------------------

    async def _completed(self, answer: Answer) -> RunResult:
        said = {"stop_reason": answer.stop_reason, **({"model": answer.model} if answer.model else {})}
        output = self.maker.map(answer.output or {})
        await self._close(Ending("completed", "run_completed", said), None, answer, output)
        if self.run.status != "completed":
            raise await self._taken_away()
        return RunResult(
            session_id=self.run.session_id,
            run_id=self.run.id,
            status=self.run.status,
            output=output,
            token_usage=self.run.token_usage,
            cost_usd=self.run.cost_usd,
            events=tuple(self._events),
            provider=self.provider,
            provider_metadata=self.run.provider_metadata,
            violations=tuple(self._watch.violations),
            storage_failures=self._buffer.failures,
        )

    async def _broken_off(self, error: BaseException) -> None:
        """Stop the provider, and store what it has said with the end; what ended the run is raised by the caller."""
        if self._intake is not None:
            await self._intake.stop()
        if isinstance(error, StorageError):
            return  # nothing can be stored: its lease runs out, and by that it is found
        # Not by its status alone: a run that was refused to us may be running by another, or have ended.
        if not self._begun and not (self.run.status == "pending" and self.wishes.ends_session):
            return  # it has not begun, and may be executed once more, or is none of ours
        with suppress(StorageError):
            for item in [] if self._intake is None else await self._intake.take(0):
                if isinstance(item, Said):
                    await self._record(item)
            await self._close(ending_of(error, self.maker), error, self._answer, None)

    async def _close(
        self, ending: Ending, error: BaseException | None, answer: Answer | None, output: Mapping[str, Any] | None
    ) -> None:
        """Store the end of the run, with all that was not stored yet, in one transaction."""
        for event in self.maker.held():
            self._buffer.add(event)
            await self._tell(event)
        ends = told_once([event for said in ending.said() for event in self.maker.event(said)], self.run)

        async def attempt() -> None:
            try:
                await self._buffer.insist(lambda: self._stored_end(ending, error, answer, output, ends))
            except (ConflictError, InvalidTransitionError):
                self.run = await self.settings.store.get_run(self.run.id)
                raise

        await repeated(attempt, ConflictError, InvalidTransitionError)

    async def _stored_end(
        self,
        ending: Ending,
        error: BaseException | None,
        answer: Answer | None,
        output: Mapping[str, Any] | None,
        ends: Sequence[Event],
    ) -> None:
        # Whoever else has ended it has also said so; nobody but us completes it.
        said = ends if not self.run.is_terminal or self.run.status == "completed" else ()
        run = self._ended(ending, answer, output)
        # Read anew: whatever others have changed in it meanwhile stays.
        session = await self.settings.store.get_session(run.session_id)
        if answer is not None and answer.provider_session_id is not None:
            session = with_provider_session(session, self.provider, answer.provider_session_id, answer.model)
        session_ends: Sequence[Event] = ()
        if said and self.wishes.ends_session:
            session, session_ends = session_ended(session, error, self.settings.redactor)
        events = [*self._buffer.take(), *said, *session_ends]
        with _changing(session) if session_ends else nullcontext():
            flushed = await self.settings.store.flush(session=session, run=run, events=events)
        self.run = flushed.run or run
        mine = len(events) - len(session_ends)
        self._events += told_of(flushed.events[:mine])
        told_of(flushed.events[mine:])
        self._buffer.stored()
        for event in said:
            await self._tell(event)

    def _ended(self, ending: Ending, answer: Answer | None, output: Mapping[str, Any] | None) -> Run:
        """Answer the run as it ends; one that somebody else has ended keeps that, and gets its usage."""
        run = self.run
        if not run.is_terminal:
            run = run.with_status(ending.status)
            error = None if ending.error is None else self.maker.map(ending.error)
            run = replace(run, output=output, error=error)
        usage = self._usage.tokens(None if answer is None else answer.token_usage)
        run = replace(run, token_usage=usage, turn_count=self._usage.turns or run.turn_count)
        metadata = {"provider": self.provider, "model": self._usage.model}
        if answer is not None:
            metadata |= {"provider_session_id": answer.provider_session_id, **self.maker.map(answer.metadata)}
        return replace(
            run,
            provider=run.provider or self.provider,
            provider_metadata={name: value for name, value in metadata.items() if value is not None},
            cost_usd=cost_of(
                run, None if answer is None else answer.cost_usd, self.settings.pricing, self._usage.model
            ),
        )


def _active(run: Run) -> ConflictError:
    return ConflictError(
        f"run {run.id!r} is executed by another process; should that be gone, recover_runs() ends the run",
        reason="run_active",
        run_id=run.id,
    )


def _changing(session: Session) -> AbstractContextManager[object]:
    return telemetry.operation("recording_change_session", session_id=session.id, status=session.status)


def _stream(provider: Provider, request: Request) -> AsyncIterator[Said | Answer]:
    """Ask the provider, which does nothing before its first item is wished."""
    stream: Any = provider(request)
    if hasattr(stream, "__aiter__"):
        return stream  # type: ignore[no-any-return]
    if inspect.iscoroutine(stream):
        stream.close()
    raise no_provider(provider)
