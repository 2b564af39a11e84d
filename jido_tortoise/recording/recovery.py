"""Runs that a crash has left `running`: found by their leases, and ended with what they had used until then."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from jido_tortoise import seams, telemetry
from jido_tortoise.attempts import repeated
from jido_tortoise.errors import ConflictError, CorruptRowError, InvalidTransitionError, NotFoundError, RunStoppedError
from jido_tortoise.recording.endings import session_ended
from jido_tortoise.recording.entities import Event, Run
from jido_tortoise.recording.leases import LeasingStore, leases
from jido_tortoise.recording.making import EventMaker
from jido_tortoise.recording.port import OnCorrupt, SessionStoreLike
from jido_tortoise.recording.pricing import Pricing
from jido_tortoise.recording.usage import Usage, cost_of

_log = logging.getLogger("jido_tortoise")

#: In the metadata of a `run_started`: that the session ends with the run, as that of `run_once` does.
ENDS_SESSION = "ends_session"
#: Events that are read at a time, and lost runs.
_PAGE, _AT_ONCE = 1000, 100
#: That whoever recovers a run has for it.
_SECONDS = 60.0


async def recover_runs(
    store: SessionStoreLike, *, pricing: Pricing | None = None, limit: int = 100, on_corrupt: OnCorrupt | None = None
) -> Sequence[Run]:
    """End the running runs that nobody executes any more: `failed`, with the code `run_lost`, their tokens and cost.

    Whoever executes one all the same learns at the next sign of life that it is no longer theirs.

    Args:
        store: Where to look.
        pricing: What tokens cost.
        limit: How many runs to end at most.
        on_corrupt: Called with the error of each run that cannot be ended because its row, or that of its session or of
            an event of it, is malformed: it stays `running`, and the others are ended. The log tells when it is None.

    Returns:
        Those that were ended by this call; when several processes recover, each run is ended by one of them.
    """
    if not leases(store):
        return []
    malformed: dict[tuple[str, object], CorruptRowError] = {}

    def left_out(error: CorruptRowError) -> None:
        if malformed.setdefault((error.table, error.key), error) is error:
            (on_corrupt or _warn)(error)

    with telemetry.operation("recording_recover_runs") as span:
        ended = await _all_ended(store, pricing, limit, left_out)
        span.set(count=len(ended), malformed=len(malformed))
        return ended


def _warn(error: CorruptRowError) -> None:
    _log.warning("a lost run cannot be ended: %s", error)


async def _all_ended(store: LeasingStore, pricing: Pricing | None, limit: int, on_corrupt: OnCorrupt) -> Sequence[Run]:
    ended: list[Run] = []
    tried: set[str] = set()
    # Whatever has come of a run, its lease is somebody's now, so that it makes room for those behind it.
    while len(ended) < limit:
        lost = await store.lost_runs(limit=min(limit - len(ended), _AT_ONCE), on_corrupt=on_corrupt)
        if tried.issuperset(run.id for run in lost):
            break
        tried.update(run.id for run in lost)
        for one in lost:
            try:
                run = await _ended(store, one, pricing)
            except CorruptRowError as error:
                on_corrupt(error)
            else:
                ended += [] if run is None else [run]
    return ended


async def _ended(store: LeasingStore, lost: Run, pricing: Pricing | None) -> Run | None:
    if not await store.lease_run(lost.id, seams.new_id("rec_"), _SECONDS):
        return None  # somebody else was faster, or it lives after all
    said = await _said(store, lost)
    try:
        return await repeated(lambda: _end(store, lost, pricing, *said), ConflictError, InvalidTransitionError)
    except (ConflictError, InvalidTransitionError):  # somebody changes one of them all the time
        return None


async def _end(store: LeasingStore, lost: Run, pricing: Pricing | None, usage: Usage, ends_session: bool) -> Run | None:
    """End the run as it is stored now; None when it has ended."""
    try:
        session, run = await store.get_session(lost.session_id), await store.get_run(lost.id)
    except NotFoundError:
        return None  # deleted just now; or an orphan, which must not keep the others from being recovered
    if run.is_terminal:
        return None
    message = "the process that executed it gave no sign of life"
    run = replace(run, token_usage=usage.tokens(None), turn_count=usage.turns or run.turn_count)
    run = replace(run, cost_usd=cost_of(run, None, pricing, usage.model))
    run = run.with_error({"code": "run_lost", "message": message})
    maker = EventMaker(run.session_id, run_id=run.id, provider=run.provider, correlation_id=run.id)
    events = maker.one("run_failed", {"error_code": "run_lost", "error_message": message})
    if ends_session:
        error = RunStoppedError(message, reason="run_lost", run_id=run.id, session_id=session.id)
        session, session_ends = session_ended(session, error, None)
        events = [*events, *session_ends]
    return (await store.flush(session=session, run=run, events=events)).run


async def _said(store: SessionStoreLike, run: Run) -> tuple[Usage, bool]:
    """Answer what a run had used by its events, and whether its session was to end with it."""
    usage, ends_session = Usage(), False
    after, full = 0, True
    while full:
        events: Sequence[Event] = await store.get_events(run.session_id, run_id=run.id, after=after, limit=_PAGE)
        for event in events:
            usage.add(event.type, event.data)
            ends_session |= event.type == "run_started" and event.metadata.get(ENDS_SESSION) is True
            after = event.sequence_number or after
        full = len(events) == _PAGE
    return usage, ends_session
