"""The checks of a session store can fail: each of these stores breaks one law, as its forebear did, and is caught."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from jido_tortoise.errors import ConflictError, DuplicateEntryError, JidoError, NotFoundError
from jido_tortoise.recording import Artifact, Event, Flushed, InMemorySessionStore, Run, Session
from jido_tortoise_testing.contract import SessionStoreContract, run_check

pytestmark = pytest.mark.usefixtures("unmeasured")

#: How a check may fail: by its own word, or since the store raised what it must not, or hangs.
FAILURES = (AssertionError, pytest.fail.Exception, JidoError, TimeoutError, StopAsyncIteration)


class Impatient(SessionStoreContract):
    """The contract, as the broken stores meet it."""

    patience = 1.0


class LastWriterWins(InMemorySessionStore):
    """Saves over whatever is there (W4)."""

    async def save_session(self, session: Session, **options: Any) -> Session:
        try:
            return await super().save_session(session)
        except ConflictError:
            there = await self.get_session(session.id)
            return await super().save_session(replace(session, revision=there.revision))

    async def save_run(self, run: Run, *, concurrent: bool = False, once: bool = False) -> Run:
        try:
            return await super().save_run(run, concurrent=concurrent)
        except ConflictError:
            return run


class CountsEverySave(InMemorySessionStore):
    """Takes the same version for a new one each time."""

    async def save_session(self, session: Session, **options: Any) -> Session:
        saved = await super().save_session(session)
        return await super().save_session(replace(saved, context={**saved.context, "saves": saved.revision}))


class RunsAllAtOnce(InMemorySessionStore):
    """Lets any number of runs begin (W5)."""

    async def save_run(self, run: Run, *, concurrent: bool = False, once: bool = False) -> Run:
        return await super().save_run(run, concurrent=True, once=once)


class DropsOtherContents(InMemorySessionStore):
    """Answers with what is stored under the id, whatever it says and wherever it is (W3)."""

    async def append_events(self, events: Any) -> list[Event]:
        try:
            return await super().append_events(events)
        except DuplicateEntryError:
            known = self._tables.by_id
            return [(await self.get_events(known[one.id]["session_id"]))[0] for one in events if one.id in known]


class StoresTwice(InMemorySessionStore):
    """Gives every append an id of its own, so that a repeat is another event (W2)."""

    async def append_events(self, events: Any) -> list[Event]:
        made = [replace(one, id=f"{one.id}-{id(events)}") for one in events]
        stored = await super().append_events(made)
        return [replace(there, id=one.id) for one, there in zip(events, stored, strict=True)]


class NeedsNoSession(InMemorySessionStore):
    """Makes the session of an event that has none (W8)."""

    async def append_events(self, events: Any) -> list[Event]:
        try:
            return await super().append_events(events)
        except NotFoundError as error:
            await self.save_session(Session(agent_id="nobody", id=error.session_id))
            return await self.append_events(events)


class LeavesEventsBehind(InMemorySessionStore):
    """Deletes the session alone (W16)."""

    async def delete_session(self, session_id: str) -> list[Artifact]:
        self._tables.sessions.pop(session_id, None)
        return []


class FlushesInSteps(InMemorySessionStore):
    """Stores session, run and events one after the other (W6)."""

    async def flush(
        self,
        *,
        session: Any,
        run: Any = None,
        events: Any = (),
        provider_metadata: Any = None,
        concurrent: bool = False,
        once: bool = False,
    ) -> Flushed:
        saved = await self.save_session(session)
        saved_run = None if run is None else await self.save_run(run, concurrent=concurrent)
        return Flushed(saved, saved_run, await self.append_events(events))


class FlushesInSlowSteps(FlushesInSteps):
    """Waits between its steps, as for a database."""

    async def append_events(self, events: Any) -> list[Event]:
        await asyncio.sleep(0)
        return await super().append_events(events)


class AppendsOneByOne(InMemorySessionStore):
    """Makes many appends of a batch."""

    async def append_events(self, events: Any) -> list[Event]:
        stored = []
        for one in events:
            stored += await super().append_events([one])
            await asyncio.sleep(0)
        return stored


class SavesInTwoSteps(InMemorySessionStore):
    """Stores a new revision, and then what it is."""

    async def save_session(self, session: Session) -> Session:
        saved = await super().save_session(replace(session, metadata={}, context={"changing": True}))
        await asyncio.sleep(0)
        return await super().save_session(replace(session, revision=saved.revision))


class DeletesInSteps(InMemorySessionStore):
    """Takes the events, and then the rest."""

    async def delete_session(self, session_id: str) -> list[Artifact]:
        self._tables.events.pop(session_id, None)
        await asyncio.sleep(0)
        return await super().delete_session(session_id)


class SwallowsACancellation(InMemorySessionStore):
    """Answers although it was cancelled."""

    async def append_event(self, event: Event) -> Event:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        return await super().append_event(event)


class GivesAnyoneTheLease(InMemorySessionStore):
    """Keeps no holder."""

    async def lease_run(self, run_id: str, holder: str, seconds: float) -> bool:
        return await super().lease_run(run_id, "anyone", seconds)


class EmptyListsMeanAll(InMemorySessionStore):
    """Takes an empty list of types, and a limit of 0, for no filter (W16, W17)."""

    async def get_events(self, session_id: str, **options: Any) -> list[Event]:
        return await super().get_events(session_id, **{name: value for name, value in options.items() if value})


class NeverWaits(InMemorySessionStore):
    """Ignores the wait (W12)."""

    async def get_events(self, session_id: str, *, wait_timeout_ms: float | None = None, **options: Any) -> list[Event]:
        return await super().get_events(session_id, **options)


class WakesForAnything(InMemorySessionStore):
    """Ends the wait with whatever was appended."""

    async def get_events(self, session_id: str, *, wait_timeout_ms: float | None = None, **options: Any) -> list[Event]:
        found = await super().get_events(session_id, **options)
        if found or wait_timeout_ms is None:
            return found
        return await super().get_events(session_id, wait_timeout_ms=wait_timeout_ms)


class FollowsWhatIsThere(InMemorySessionStore):
    """Ends when all that is there was told."""

    async def follow(self, session_id: str, *, after: int = 0, **filters: Any) -> AsyncGenerator[Event, None]:
        for one in await self.get_events(session_id, after=after, **filters):
            yield one


class TakesCallersNumbers(InMemorySessionStore):
    """Answers with the number that the caller said."""

    async def append_events(self, events: Any) -> list[Event]:
        stored = await super().append_events(events)
        return [
            replace(there, sequence_number=one.sequence_number or there.sequence_number)
            for one, there in zip(events, stored, strict=True)
        ]


class IgnoresOffset(InMemorySessionStore):
    """Documents an offset, and has none (W16)."""

    async def list_sessions(self, *, offset: int = 0, **options: Any) -> list[Session]:
        return await super().list_sessions(**options)


CATCHES: dict[type[InMemorySessionStore], str] = {
    LastWriterWins: "w4_no_update_is_lost w4_saves_at_once w5_an_ended_run_stays_ended changes_of_one_run",
    CountsEverySave: "same_session_again sessions_read_amid_saves",
    RunsAllAtOnce: "w5_one_run_at_a_time w5_runs_that_begin_at_once",
    DropsOtherContents: "w3_an_id_has_one_content w3_an_id_has_one_session w3_one_id_at_once",
    StoresTwice: "w2_repeated_append w2_repeats_in_a_batch w2_one_event_at_once everything_for_a_while",
    NeedsNoSession: "w8_an_event_needs_its_session batch_over_sessions w8_nothing_comes_after_a_delete",
    LeavesEventsBehind: "delete_session new_sessions_at_once",
    FlushesInSteps: "flush_rolls_back",
    FlushesInSlowSteps: "cancelled_flush",
    AppendsOneByOne: "cancelled_append",
    SavesInTwoSteps: "cancelled_save",
    DeletesInSteps: "cancelled_delete",
    SwallowsACancellation: "cancelled_call_is_told",
    GivesAnyoneTheLease: "a_lease_has_one_holder one_of_many_takes_a_lost_run",
    EmptyListsMeanAll: "filters w16_since_and_limit",
    NeverWaits: "wait_for_nothing wait_until_something_comes",
    WakesForAnything: "wait_respects_its_filters",
    FollowsWhatIsThere: "follow follow_through_filters",
    TakesCallersNumbers: "numbers_rise many_appends",
    IgnoresOffset: "w16_w17_limit_offset_and_empty_lists w16_bad_options_of_a_list",
}
#: What parametrised checks are given.
_GIVEN: dict[str, dict[str, Any]] = {
    "w4_no_update_is_lost": {"change": {"tags": ["pinned"]}},
    "wait_until_something_comes": {"append": "append_event"},
    "wait_respects_its_filters": {"other": {"type": "message_received"}},
}


async def run(name: str, store: type[InMemorySessionStore]) -> None:
    """Run one check on two handles of new data."""
    tables = InMemorySessionStore.Tables()
    assert await run_check(Impatient, f"test_{name}", lambda: store(tables), **_GIVEN.get(name, {})) is None


@pytest.mark.parametrize(
    ("store", "check"),
    [
        pytest.param(store, check, id=f"{store.__name__}-{check}")
        for store, all_ in CATCHES.items()
        for check in all_.split()
    ],
)
async def test_a_broken_store_is_caught(store: type[InMemorySessionStore], check: str) -> None:
    """The check fails on the store that is broken for it, and passes on the one that it is made of."""
    await run(check, InMemorySessionStore)
    with pytest.raises(FAILURES):
        await run(check, store)


async def test_a_store_without_leases_is_not_asked_for_them() -> None:
    """What it cannot do is seen in its methods; the reason is told."""

    class KeepsNoLeases(InMemorySessionStore):
        lease_run = None  # type: ignore[assignment]

    reason = await run_check(SessionStoreContract, "test_lost_runs", KeepsNoLeases)
    assert reason == "the storage does not declare leases; it declares nothing"


def test_every_check_says_its_law() -> None:
    """The docstring of a check is the law that it checks, and no two checks have one name."""
    groups = [cls for cls in SessionStoreContract.__mro__[1:] if cls.__module__.startswith("jido_tortoise_testing")]
    names = [name for cls in groups for name in vars(cls) if name.startswith("test_")]
    assert len(names) == len(set(names)) >= 55
    assert all((getattr(SessionStoreContract, name).__doc__ or "").strip().endswith((".", ").")) for name in names)


def test_all_cases_of_the_forebear_are_there() -> None:
    """Each of the 47 cases of agent_session_manager's contract is named by a check, and 21 of its other suites."""
    groups = [cls for cls in SessionStoreContract.__mro__[1:] if cls.__module__.startswith("jido_tortoise_testing")]
    laws = [getattr(cls, name).__doc__ for cls in groups for name in vars(cls) if name.startswith("test_")]
    told = re.findall(r"\bcases? ([^)]*)\)", " ".join(laws))
    assert {int(number) for part in told for number in re.findall(r"\b\d+", part)} == set(range(1, 48))
    others = {*re.findall(r"\b[CE]\d+\b", " ".join(laws))}
    assert others == {f"C{n}" for n in range(1, 14)} | {f"E{n}" for n in range(1, 9)}
