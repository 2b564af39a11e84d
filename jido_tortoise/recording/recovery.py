"""Runs that a crash has left `running`: found by their leases, and ended with what they had used until then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jido_tortoise import telemetry
from jido_tortoise.errors import ConflictError, InvalidTransitionError
from jido_tortoise.recording.entities import Event, Run
from jido_tortoise.recording.making import EventMaker
from jido_tortoise.recording.pricing import Pricing
from jido_tortoise.recording.store import SessionStore
from jido_tortoise.recording.usage import Usage, cost_of

#: Events that are read at a time.
_PAGE = 1000


async def recover_runs(store: SessionStore, *, pricing: Pricing | None = None, limit: int = 100) -> Sequence[Run]:
    """End the running runs that nobody executes any more: `failed`, with the code `run_lost`, their tokens and cost.

    Whoever executes one all the same learns at the next sign of life that it is no longer theirs.

    Args:
        store: Where to look.
        pricing: What tokens cost.
        limit: How many runs at most.

    Returns:
        Those that were ended by this call; when several processes recover, each run is ended by one of them.
    """
    with telemetry.operation("recording_recover_runs") as span:
        ended = [run for lost in await store.lost_runs(limit=limit) if (run := await _ended(store, lost, pricing))]
        span.set(count=len(ended))
        return ended


async def _ended(store: SessionStore, lost: Run, pricing: Pricing | None) -> Run | None:
    usage = await _usage(store, lost)
    run = replace(lost, token_usage=usage.tokens(None), turn_count=usage.turns or lost.turn_count)
    run = replace(run, cost_usd=cost_of(run, None, pricing, usage.model))
    message = "the process that executed it gave no sign of life"
    run = run.with_error({"code": "run_lost", "message": message})
    maker = EventMaker(run.session_id, run_id=run.id, provider=run.provider, correlation_id=run.id)
    try:
        told = maker.one("run_failed", {"error_code": "run_lost", "error_message": message})
        return (await store.flush(run=run, events=told)).run
    except (ConflictError, InvalidTransitionError):  # somebody else was faster, or it ended after all
        return None


async def _usage(store: SessionStore, run: Run) -> Usage:
    usage = Usage()
    after, full = 0, True
    while full:
        events: Sequence[Event] = await store.get_events(run.session_id, run_id=run.id, after=after, limit=_PAGE)
        for event in events:
            usage.add(event.type, event.data)
            after = event.sequence_number or after
        full = len(events) == _PAGE
    return usage
