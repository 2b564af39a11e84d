"""Sessions and runs as a host uses them: begun, executed, ended, each change stored with the event that tells it.

A manager holds no connection and no task. It keeps no copies either: every change begins with what is stored, so that
what others have changed meanwhile is never undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypedDict, Unpack

from jido_tortoise import checks, seams, telemetry
from jido_tortoise.attempts import repeated
from jido_tortoise.database import to_the_end
from jido_tortoise.errors import ConflictError, InvalidInputError, InvalidTransitionError, JidoError, RunStoppedError
from jido_tortoise.recording import continuation as continuing
from jido_tortoise.recording import port
from jido_tortoise.recording.buffer import Buffering
from jido_tortoise.recording.continuation import Continuation
from jido_tortoise.recording.endings import failure, session_ending
from jido_tortoise.recording.entities import Event, Run, Session
from jido_tortoise.recording.execution import EventCallback, Execution, RunResult, Settings, Wishes, executing
from jido_tortoise.recording.making import EventMaker, told_of, told_once
from jido_tortoise.recording.policies import Policy, check_policies
from jido_tortoise.recording.port import OnCorrupt, SessionStoreLike
from jido_tortoise.recording.pricing import LIST_PRICES, Pricing
from jido_tortoise.recording.providers.base import Provider, Request, Said, check_provider, name_of
from jido_tortoise.recording.recovery import ENDS_SESSION, recover_runs
from jido_tortoise.recording.redaction import Redactor
from jido_tortoise.recording.references import resolve_store
from jido_tortoise.recording.transcript import Message, Transcript

#: Seconds that a run is believed to be executed after its last sign of life; a third of it lies between two signs.
LEASE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is wished of one execution; see `SessionManager.execute_run`."""

    given: Any = None
    event_callback: EventCallback | None = None
    continuation: Continuation = False
    continuation_opts: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] | None = None
    policies: Iterable[Policy] = ()
    required_capabilities: Iterable[str] = ()
    optional_capabilities: Iterable[str] = ()
    correlation_id: str | None = None
    time_limit: float | None = None

    def __post_init__(self) -> None:
        # Kept, since what was given may be an iterator: it is looked at more than once.
        object.__setattr__(self, "policies", check_policies(self.policies))
        for name in ("required_capabilities", "optional_capabilities"):
            object.__setattr__(self, name, port.texts(getattr(self, name), name) or ())

    def check(self, provider: Provider) -> None:
        """Refuse what cannot be wished, or not of this provider, before anything is written."""
        check_provider(provider)
        continuing.check(self.continuation, self.continuation_opts)
        continuing.said_now(self.given)
        _check_capabilities(provider, self.required_capabilities)
        if self.event_callback is not None and not callable(self.event_callback):
            raise InvalidInputError.at("event_callback", "a function of an event, or None", self.event_callback)
        if self.options is not None and not isinstance(self.options, Mapping):
            raise InvalidInputError.at("options", "a dict, or None", self.options)
        if self.correlation_id is not None:
            checks.text(self.correlation_id, "correlation_id")
        if self.time_limit is not None:
            checks.seconds(self.time_limit, "time_limit")


class _Wished(TypedDict, total=False):
    """What may be wished of `run_once` beside its own arguments, as type checkers see it: `_Plan` without `given`."""

    event_callback: EventCallback | None
    continuation: Continuation
    continuation_opts: Mapping[str, Any]
    options: Mapping[str, Any] | None
    policies: Iterable[Policy]
    required_capabilities: Iterable[str]
    optional_capabilities: Iterable[str]
    correlation_id: str | None
    time_limit: float | None


_WISHES = _Plan.__dataclass_fields__.keys() - {"given"}


class SessionManager:
    """Begins, executes and ends sessions and runs.

    Args:
        store: Where they are recorded; see `resolve_store` for what may stand here.
        redactor: What takes secrets out of everything before it is stored or told; None: nothing does.
        pricing: What tokens cost; None when runs shall have no cost but what providers say.
        policies: Of all runs, beside their own.
        buffering: When streamed events are written.
        lease: Seconds after which a run whose process gave no sign of life may be recovered.

    Raises:
        InvalidInputError: One of them is not what it must be; `path` says which.
    """

    def __init__(
        self,
        store: Any = None,
        *,
        redactor: Redactor | None = None,
        pricing: Pricing | Mapping[str, Any] | None = LIST_PRICES,
        policies: Iterable[Policy] = (),
        buffering: Buffering | None = None,
        lease: float = LEASE,
    ) -> None:
        self.store: SessionStoreLike = resolve_store(store)
        self._policies = check_policies(policies)
        for path, value, kind in (("redactor", redactor, Redactor), ("buffering", buffering, Buffering)):
            if value is not None and not isinstance(value, kind):
                raise InvalidInputError.at(path, f"a {kind.__name__}, or None", value)
        self._settings = Settings(
            store=self.store,
            holder=seams.new_id("mgr_"),
            redactor=redactor,
            pricing=pricing if pricing is None or isinstance(pricing, Pricing) else Pricing(pricing),
            buffering=buffering or Buffering(),
            lease=checks.seconds(lease, "lease"),
        )
        self._running: dict[str, Execution] = {}

    # -- sessions -------------------------------------------------------------------------------------------------

    async def start_session(
        self,
        agent_id: str | None = None,
        *,
        provider: object = None,
        session_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        parent_session_id: str | None = None,
    ) -> Session:
        """Begin a session: it is `pending`.

        Args:
            agent_id: Whose it is; the provider's name when None.
            provider: Who will answer, or that one's name.
            session_id: Its id; made when None.
            metadata: What is to be known of it.
            context: What its runs may use.
            tags: Words to find it by.
            parent_session_id: The session that it came from.

        Raises:
            InvalidInputError: It cannot be; nothing was written.
        """
        session, created = self._new_session(
            agent_id,
            provider,
            session_id=session_id,
            metadata=metadata,
            context=context,
            tags=tags,
            parent_session_id=parent_session_id,
        )
        with telemetry.operation("recording_start_session", session_id=session.id):
            return await self._stored(session, created)

    def _new_session(
        self,
        agent_id: str | None,
        provider: object,
        *,
        session_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        parent_session_id: str | None = None,
    ) -> tuple[Session, Sequence[Event]]:
        """Make a session, and what tells of it."""
        name = provider if isinstance(provider, str) else None if provider is None else name_of(provider)
        if agent_id is None and name is None:
            raise InvalidInputError.at("agent_id", "an agent's id, or a provider", agent_id)
        maker = self._maker("", provider=name)
        fields: dict[str, Any] = {} if session_id is None else {"id": session_id}
        session = Session(
            agent_id=agent_id if agent_id is not None else name or "",
            metadata=maker.map({**_map(metadata, "session.metadata"), **({"provider": name} if name else {})}),
            context=maker.map(_map(context, "session.context")),
            tags=tags,
            parent_session_id=parent_session_id,
            **fields,
        )
        maker.session_id = session.id
        return session, maker.one("session_created", {"provider": name} if name else {})

    async def activate_session(self, session_id: str) -> Session:
        """Make a `pending` session `active`."""
        return await self._change(session_id, "active", "session_started")

    async def pause_session(self, session_id: str, *, reason: str | None = None) -> Session:
        """Make an `active` session `paused`: no run begins in it."""
        return await self._change(session_id, "paused", "session_paused", _reason(reason))

    async def resume_session(self, session_id: str) -> Session:
        """Make a `paused` session `active` again."""
        return await self._change(session_id, "active", "session_resumed", only_from="paused")

    async def complete_session(self, session_id: str) -> Session:
        """End a session as `completed`."""
        return await self._change(session_id, "completed", "session_completed")

    async def fail_session(self, session_id: str, error: BaseException | str) -> Session:
        """End a session as `failed`.

        Args:
            session_id: The session.
            error: What went wrong: its code, message and what the provider said of it are recorded.

        Raises:
            InvalidInputError: It is neither an error nor a text.
        """
        if isinstance(error, str):
            return await self._change(session_id, "failed", "session_failed", {"error_message": error})
        if not isinstance(error, BaseException):
            raise InvalidInputError.at("error", "an error, or a text", error)
        return await self._change(session_id, "failed", "session_failed", failure(error, self._settings.redactor))

    async def cancel_session(self, session_id: str, *, reason: str | None = None) -> Session:
        """End a session as `cancelled`."""
        return await self._change(session_id, "cancelled", "session_cancelled", _reason(reason))

    async def _change(
        self,
        session_id: str,
        status: str,
        event_type: str,
        data: Mapping[str, Any] | None = None,
        *,
        only_from: str | None = None,
    ) -> Session:
        """Change the status of a session, and record it, in one transaction; to change nothing records nothing.

        Raises:
            NotFoundError: `session_not_found`.
            InvalidTransitionError: The status cannot follow the one that is stored.
        """

        def changed(session: Session) -> Session:
            if only_from is not None and session.status not in (only_from, status):
                raise _not_from(session, status, only_from)
            return session.with_status(status)

        with telemetry.operation("recording_change_session", session_id=session_id, status=status):
            made = self._maker(session_id).one(event_type, data)
            return await self._updated(session_id, changed, lambda stored: told_once(made, stored))

    async def update_session(
        self, session_id: str, change: Callable[[Session], Session], *, events: Sequence[Event] = ()
    ) -> Session:
        """Change what is stored of a session; when others change it at the same time, the change is made upon theirs.

        Args:
            session_id: The session.
            change: Answers the session as it is to be, given the one that is stored; perhaps several times.
            events: To be recorded with the change, and not when it changes nothing.

        Raises:
            NotFoundError: `session_not_found`.
        """
        return await self._updated(session_id, change, lambda _: events)

    async def _updated(
        self, session_id: str, change: Callable[[Session], Session], told: Callable[[Session], Sequence[Event]]
    ) -> Session:
        async def attempt() -> Session:
            stored = await self.store.get_session(session_id)
            session = self._without_secrets(change(stored))
            return session if session == stored else await self._stored(session, told(stored), once=True)

        return await repeated(attempt, ConflictError)

    async def _stored(self, session: Session, events: Sequence[Event], *, once: bool = False) -> Session:
        flushed = await self.store.flush(session=session, events=events, once=once)
        told_of(flushed.events)
        return flushed.session

    # -- runs -----------------------------------------------------------------------------------------------------

    async def update_run(self, run_id: str, change: Callable[[Run], Run]) -> Run:
        """Change what is stored of a run; when others change it at the same time, the change is made upon theirs.

        Two that add a turn at the same time by `update_run(run_id, Run.with_turn)` have added two.

        Args:
            run_id: The run.
            change: Answers the run as it is to be, given the one that is stored; perhaps several times.

        Raises:
            NotFoundError: `run_not_found`.
            ConflictError: `stale_run`: others have changed it again and again. `already_running`: as in `save_run`.
        """

        async def attempt() -> Run:
            stored = await self.store.get_run(run_id)
            run = self._run_without_secrets(change(stored))
            return run if run == stored else await self.store.save_run(run, once=True)

        return await repeated(attempt, ConflictError, when=lambda error: error.reason == "stale_run")

    async def start_run(
        self,
        session_id: str,
        given: Any = None,
        *,
        run_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Run:
        """Make a `pending` run in an active session.

        Args:
            session_id: The session.
            given: What is asked: a text, or a dict such as `{"messages": [{"role": "user", "content": "hi"}]}`.
            run_id: Its id; made when None.
            metadata: What is to be known of it.

        Raises:
            NotFoundError: `session_not_found`.
            InvalidTransitionError: The session is not active, or was deleted.
            InvalidInputError: It can be asked of nobody; nothing was written.
        """
        continuing.said_now(given)
        fields: dict[str, Any] = {} if run_id is None else {"id": run_id}
        run = self._new_run(
            session_id, given, metadata=self._maker(session_id).map(_map(metadata, "run.metadata")), **fields
        )
        with telemetry.operation("recording_start_run", session_id=session_id, run_id=run.id):
            _check_active(await self.store.get_session(session_id))
            return await self.store.save_run(run)

    def _new_run(self, session_id: str, given: Any, **fields: Any) -> Run:
        stored = self._maker(session_id).map(stored_input(given))
        return Run(session_id=session_id, input=stored or None, **fields)

    async def execute_run(
        self,
        run_id: str,
        provider: Provider,
        *,
        given: Any = None,
        event_callback: EventCallback | None = None,
        continuation: Continuation = False,
        continuation_opts: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        policies: Iterable[Policy] = (),
        required_capabilities: Iterable[str] = (),
        optional_capabilities: Iterable[str] = (),
        correlation_id: str | None = None,
        time_limit: float | None = None,
    ) -> RunResult:
        """Ask the provider, record what it says, and end the run.

        When the task that waits here is cancelled, so is the run. Tokens and cost are recorded however it ends.

        Args:
            run_id: A pending run.
            provider: Who answers.
            given: What the provider is asked when that is not what is stored, from which a redactor took the secrets.
            event_callback: Called with each event as it happens, before it is stored and numbered; may be async. What
                it raises is logged. Follow the store to hear of what is stored.
            continuation: Whether the provider learns what was said before: False, "replay", "native", or "auto".
            continuation_opts: `limit`, `after`, `since` for the events, `max_messages`, `max_chars`,
                `max_tokens_approx` for the messages.
            options: For the provider, such as `model`.
            policies: Of this run, beside the manager's.
            required_capabilities: What the provider's `capabilities` must hold.
            optional_capabilities: What they might hold; `run_started` tells which of these they lack.
            correlation_id: Stands in all events of the run; the run's id when None.
            time_limit: Seconds that it may take.

        Raises:
            InvalidTransitionError: The run has ended, or its session is not active.
            ConflictError: `run_active`: the run is running; when its process is gone, `recover_runs` ends it.
                `already_running`: the session has a running run already.
            RunStoppedError: It was cancelled, or has broken a policy.
            ProviderError: The provider failed. What else it raises is passed on.
        """
        plan = _Plan(
            given=given,
            event_callback=event_callback,
            continuation=continuation,
            continuation_opts={} if continuation_opts is None else continuation_opts,
            options=options,
            policies=policies,
            required_capabilities=required_capabilities,
            optional_capabilities=optional_capabilities,
            correlation_id=correlation_id,
            time_limit=time_limit,
        )
        plan.check(provider)
        run = await self.store.get_run(run_id)
        return await self._execute(plan, run, await self.store.get_session(run.session_id), provider)

    async def _execute(
        self, plan: _Plan, run: Run, session: Session, provider: Provider, *, ends_session: bool = False
    ) -> RunResult:
        """Execute a run, given as it is stored, with its session."""
        _check_active(session)
        name = name_of(provider)
        asked = run.input if plan.given is None else plan.given
        now = continuing.said_now(asked)
        earlier, own = await continuing.earlier(
            self.store, session, provider, plan.continuation, plan.continuation_opts
        )
        request = _request(run, asked, (*earlier, *now), own, plan.options)
        execution = Execution(
            settings=self._settings,
            run=run,
            provider=name,
            maker=self._maker(session.id, run_id=run.id, provider=name, correlation_id=plan.correlation_id or run.id),
            wishes=Wishes(
                policies=(*self._policies, *plan.policies),
                callback=plan.event_callback,
                time_limit=plan.time_limit,
                ends_session=ends_session,
            ),
        )
        opening = (_begun(provider, plan.optional_capabilities, ends_session), *map(_sent, now))
        return await self._executed(execution, session, provider, request, opening)

    async def _executed(
        self,
        execution: Execution,
        session: Session,
        provider: Provider,
        request: Request,
        opening: tuple[Said, ...],
    ) -> RunResult:
        run_id = execution.run.id
        if run_id in self._running:
            raise ConflictError(f"run {run_id!r} is being executed already", reason="run_active", run_id=run_id)
        self._running[run_id] = execution
        facts = {"session_id": request.session_id, "run_id": run_id, "provider": execution.provider}
        try:
            with self._told("recording_execute_run", **facts) as span:
                result = await execution.execute(session, provider, request, opening)
                span.set(status=result.status, count=len(result.events), cost_usd=result.cost_usd)
                return result
        finally:
            del self._running[run_id]

    async def cancel_run(self, run_id: str, *, reason: str | None = None) -> Run:
        """Cancel a run that is pending or running, wherever it is executed; one that was cancelled stays so.

        One that this manager executes has ended when this answers; in another process its provider stops at the run's
        next sign of life. Called by the run's own callback or provider it only asks: the run ends when they return.

        Raises:
            NotFoundError: `run_not_found`.
            InvalidTransitionError: It has ended already.
            InvalidInputError: The reason is no text.
        """
        _reason(reason)
        execution = self._running.get(run_id)
        if execution is not None:
            execution.stop(
                RunStoppedError(f"run {run_id!r} was cancelled", reason="run_cancelled", run_id=run_id, why=reason)
            )
            if run_id in executing.get():
                return await self.store.get_run(run_id)
            await execution.over.wait()
        return await self._cancelled(run_id, reason)

    async def _cancelled(self, run_id: str, reason: str | None, *before: Said) -> Run:
        """Cancel a run that nobody executes here, and tell of it, in one transaction."""

        async def attempt() -> Run:
            stored = await self.store.get_run(run_id)
            run = stored.with_status("cancelled")
            if run == stored:
                return run
            maker = self._maker(run.session_id, run_id=run_id, provider=run.provider, correlation_id=run_id)
            made = [event for said in before for event in maker.event(said)]
            events = told_once([*made, *maker.one("run_cancelled", _reason(reason))], stored)
            session = await self.store.get_session(run.session_id)
            return (await self.store.flush(session=session, run=run, events=events)).run or run

        return await repeated(attempt, ConflictError)

    async def cancel_for_approval(self, run_id: str, tool_name: str, *, policy_name: str) -> Run:
        """Cancel a run because somebody must allow a tool first, and record that this was asked.

        Raises:
            NotFoundError: `run_not_found`.
            InvalidTransitionError: It has ended already; nothing was written.
        """
        asked = Said("tool_approval_requested", {"tool_name": tool_name, "policy_name": policy_name})
        if run_id not in self._running:
            return await self._cancelled(run_id, asked.type, asked)
        run = await self.store.get_run(run_id)
        await self.record_all(run.session_id, [asked], run_id=run_id)
        return await self.cancel_run(run_id, reason=asked.type)

    async def recover_runs(self, *, on_corrupt: OnCorrupt | None = None) -> Sequence[Run]:
        """End the runs whose processes are gone as `failed` with the code `run_lost`; see `recovery.recover_runs`."""
        return await recover_runs(self.store, pricing=self._settings.pricing, on_corrupt=on_corrupt)

    async def record(
        self, session_id: str, event_type: str, data: Mapping[str, Any] | None = None, *, run_id: str | None = None
    ) -> Event:
        """Record an event of the host's own, checked and without secrets like any other."""
        return (await self.record_all(session_id, [Said(event_type, {} if data is None else data)], run_id=run_id))[-1]

    async def record_all(self, session_id: str, said: Iterable[Said], *, run_id: str | None = None) -> Sequence[Event]:
        """Record events of the host's own, all or none.

        Raises:
            InvalidInputError: One of them can be no event; nothing was written.
            NotFoundError: `session_not_found`.
        """
        maker = self._maker(session_id, run_id=run_id, correlation_id=run_id)
        events = [event for each in said for event in maker.event(each)]
        return told_of(await self.store.append_events([*events, *maker.held()]))

    async def transcript(self, session_id: str, since: Transcript | None = None) -> Transcript:
        """Answer the conversation of a session; with an earlier answer, only what is new is read."""
        return await continuing.read(self.store, since or Transcript(session_id=session_id))

    # -- all at once ----------------------------------------------------------------------------------------------

    async def run_once(
        self,
        provider: Provider,
        given: Any,
        *,
        agent_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        **wishes: Unpack[_Wished],
    ) -> RunResult:
        """Make a session with one run, execute it, and end both; what cannot be asked is refused before.

        The session ends as the run does: completed, failed or cancelled; when a tool must be allowed first, it pauses.
        One that others have paused or ended meanwhile stays so.

        Args:
            provider: Who answers.
            given: What it is asked, see `start_run`.
            agent_id: Whose session it is; the provider's name when None.
            metadata: Of the session.
            context: Of the session.
            tags: Of the session.
            wishes: As for `execute_run`.

        Raises:
            JidoError: As `execute_run` does.
        """
        for name in sorted(wishes.keys() - _WISHES):
            raise InvalidInputError.at("wishes", f"some of {', '.join(sorted(_WISHES))}", name)
        plan = _Plan(given=given, **wishes)
        plan.check(provider)
        fields = {"metadata": metadata, "context": context, "tags": tags}
        session, run = await self._begun_once(provider, agent_id, plan, fields)
        try:
            return await self._execute(plan, run, session, provider, ends_session=True)
        except BaseException as error:
            await to_the_end(self._end_by(session.id, error))
            raise

    async def _begun_once(
        self, provider: Provider, agent_id: str | None, plan: _Plan, fields: Mapping[str, Any]
    ) -> tuple[Session, Run]:
        """Store an active session and a pending run of it, in one transaction."""
        session, created = self._new_session(agent_id, provider, **fields)
        session = session.with_status("active")
        continuing.conversation(session, provider, plan.continuation)
        run = self._new_run(session.id, plan.given)
        started = self._maker(session.id).one("session_started")
        with (
            telemetry.operation("recording_start_session", session_id=session.id),
            telemetry.operation("recording_change_session", session_id=session.id, status=session.status),
            telemetry.operation("recording_start_run", session_id=session.id, run_id=run.id),
        ):
            flushed = await self.store.flush(session=session, run=run, events=[*created, *started])
        told_of(flushed.events)
        return flushed.session, flushed.run or run

    async def _end_by(self, session_id: str, error: BaseException) -> None:
        """End a session that has not ended with its run."""
        status, said = session_ending(error, self._settings.redactor)
        try:
            await self._change(session_id, status, said.type, said.data)
        except Exception as worse:
            # What ended the run is raised; what kept its session from ending is told with it.
            error.add_note(f"its session {session_id!r} could not be ended: {worse}")

    @contextmanager
    def _told(self, name: str, **facts: Any) -> Iterator[telemetry.Span]:
        """Tell of an operation; of an error that ends it, telemetry hears without its secrets."""
        redactor = self._settings.redactor
        raised: Exception | None = None
        try:
            with telemetry.operation(name, **facts) as span:
                try:
                    yield span
                except Exception as error:
                    if redactor is None:
                        raise
                    raised = error
                    raise _without_secrets(error, redactor) from None
        except Exception:
            if raised is None:
                raise
            raise raised from raised.__cause__

    def _without_secrets(self, session: Session) -> Session:
        if self._settings.redactor is None:
            return session
        maker = self._maker(session.id)
        return replace(session, metadata=maker.map(session.metadata), context=maker.map(session.context))

    def _run_without_secrets(self, run: Run) -> Run:
        if self._settings.redactor is None:
            return run
        maker = self._maker(run.session_id)
        maps = {name: getattr(run, name) for name in ("input", "output", "error", "metadata", "provider_metadata")}
        clean: dict[str, Any] = {name: maker.map(value) for name, value in maps.items() if value is not None}
        return replace(run, **clean)

    def _maker(self, session_id: str, **fields: Any) -> EventMaker:
        return EventMaker(session_id, redactor=self._settings.redactor, **fields)


# -- parts ----------------------------------------------------------------------------------------------------------


def stored_input(given: Any) -> dict[str, Any]:
    """Answer a run's input as it is stored; {} for none.

    Raises:
        InvalidInputError: It is neither a text nor a dict.
    """
    if given is None:
        return {}
    if isinstance(given, str):
        return {"prompt": given}
    if not isinstance(given, Mapping):
        raise InvalidInputError.at("input", "a text, or a dict", given)
    messages = given.get("messages")
    if not isinstance(messages, list | tuple):
        return dict(given)
    return {**given, "messages": [asdict(each) if isinstance(each, Message) else each for each in messages]}


def _without_secrets(error: Exception, redactor: Redactor) -> JidoError:
    message = redactor.text(str(error)).value
    reason = error.reason if isinstance(error, JidoError) else type(error).__name__
    kind = type(error) if isinstance(error, JidoError) else JidoError
    return kind(message, reason=reason)


def _sent(message: Message) -> Said:
    if message.role == "tool":
        data = {"tool_name": message.tool_name or "", "tool_call_id": message.tool_call_id}
        return Said("tool_call_completed", {**data, "tool_output": message.tool_output})
    if message.is_tool_call:
        call = {"tool_name": message.tool_name or "", "tool_call_id": message.tool_call_id}
        return Said("tool_call_started", {**call, "tool_input": message.tool_input})
    return Said("message_sent", {"content": message.content, "role": message.role})


def _reason(reason: str | None) -> dict[str, Any]:
    if reason is not None and not isinstance(reason, str):
        raise InvalidInputError.at("reason", "a text, or None", reason)
    return {} if reason is None else {"reason": reason}


def _map(given: Mapping[str, Any] | None, path: str) -> Mapping[str, Any]:
    return {} if given is None else checks.string_map(given, path)


def _check_active(session: Session) -> None:
    if session.status != "active" or session.is_deleted:
        state = "deleted" if session.is_deleted else session.status
        raise InvalidTransitionError(
            f"session {session.id!r} is {state}; runs begin in active sessions",
            path="session.status",
            from_status=state,
            to_status="active",
            allowed=["active"],
            session_id=session.id,
        )


def _not_from(session: Session, status: str, only_from: str) -> InvalidTransitionError:
    return InvalidTransitionError(
        f"session.status: {session.status!r} cannot become {status!r} here; only {only_from!r} can",
        path="session.status",
        from_status=session.status,
        to_status=status,
        allowed=[only_from],
    )


def _request(
    run: Run, asked: Any, messages: tuple[Message, ...], own: str | None, options: Mapping[str, Any] | None
) -> Request:
    return Request(
        session_id=run.session_id,
        run_id=run.id,
        messages=messages,
        input=asked,
        provider_session_id=own,
        options=dict(options or {}),
        metadata=run.metadata,
    )


def _begun(provider: Provider, optional_capabilities: Iterable[str], ends_session: bool) -> Said:
    lacking = _lacking(provider, optional_capabilities)
    missing = {"missing_capabilities": lacking} if lacking else {}
    # Whoever recovers the run after a crash knows nothing of it but this.
    metadata = {ENDS_SESSION: True} if ends_session else {}
    return Said("run_started", {"provider": name_of(provider), **missing}, metadata)


def _lacking(provider: object, wished: Iterable[str]) -> list[str]:
    return sorted(set(wished) - set(getattr(provider, "capabilities", ())))


def _check_capabilities(provider: object, required: Iterable[str]) -> None:
    missing = _lacking(provider, required)
    if missing:
        raise InvalidInputError.at(
            "required_capabilities",
            f"what {name_of(provider)} can do",
            missing,
            reason="capability_not_supported",
            missing=missing,
        )
