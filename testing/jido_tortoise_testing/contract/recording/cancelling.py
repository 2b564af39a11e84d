"""Cancelling: a call that is cancelled at whichever of its awaits has happened, with all that belongs to it, or not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from jido_tortoise.errors import NotFoundError
from jido_tortoise.recording import Flushed, Session, SessionStoreLike
from jido_tortoise_testing.contract.recording.base import StoreChecks, begun, event, events, ids, numbers, run_of
from jido_tortoise_testing.contract.sweeping import SweepingChecks
from jido_tortoise_testing.faults.awaits import Cancelled

Value = TypeVar("Value")


async def found_or_none(get: Callable[[str], Awaitable[Value]], key: str) -> Value | None:
    """Get a session or a run; None when it is not there."""
    try:
        return await get(key)
    except NotFoundError:
        return None


class CancellingChecks(SweepingChecks, StoreChecks):
    """Each check cancels one call at each of its awaits in turn, at two moments, and looks at what is left."""

    async def test_cancelled_append(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """A batch that is cancelled is there whole or not at all; a repeat of it is done once, and others go on."""

        async def look(name: str, ended: Cancelled) -> None:
            assert numbers(await second.get_events(name)) in ([], [1, 2, 3]), ended
            assert numbers(await store.append_events(events(3, name))) == [1, 2, 3], ended
            assert (await second.append_event(event(f"{name}-last", session_id=name))).sequence_number == 4, ended
            assert len(await store.get_events(name)) == 4, ended

        await self.sweep(
            lambda name: lambda: store.append_events(events(3, name)), look, prepare=lambda name: begun(store, name)
        )

    async def test_cancelled_save(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """A save that is cancelled has replaced what was there, or has not; a repeat is no conflict."""
        changed: dict[str, Session] = {}

        async def prepare(name: str) -> None:
            changed[name] = (await begun(store, name)).changed(metadata={"n": 1})

        async def look(name: str, ended: Cancelled) -> None:
            there = await second.get_session(name)
            assert (there.revision, there.metadata) in ((1, {}), (2, {"n": 1})), ended
            assert (await second.save_session(changed[name])).revision == 2, ended

        await self.sweep(lambda name: lambda: store.save_session(changed[name]), look, prepare=prepare)

    async def test_cancelled_flush(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """A flush that is cancelled has stored session, run and events, or none of them; a repeat stores all once."""
        given: dict[str, dict[str, Any]] = {}

        def flush(name: str, handle: SessionStoreLike) -> Coroutine[Any, Any, Flushed]:
            session, run = Session(agent_id="agent", id=name), run_of(name, name, status="running")
            return handle.flush(**given.setdefault(name, {"session": session, "run": run, "events": events(2, name)}))

        async def look(name: str, ended: Cancelled) -> None:
            there = [await found_or_none(second.get_session, name), await found_or_none(second.get_run, name)]
            stored = numbers(await second.get_events(name))
            assert ([one is not None for one in there], stored) in (([True] * 2, [1, 2]), ([False] * 2, [])), ended
            assert numbers((await flush(name, second)).events) == [1, 2], ended
            assert ids(await store.list_runs(name)) == [name], ended

        await self.sweep(lambda name: lambda: flush(name, store), look)

    async def test_cancelled_delete(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """A delete that is cancelled has taken the session with its runs and events, or nothing of it."""

        async def prepare(name: str) -> None:
            session = Session(agent_id="agent", id=name)
            await store.flush(session=session, run=run_of(name, name), events=events(2, name))

        async def look(name: str, ended: Cancelled) -> None:
            there = [await found_or_none(second.get_session, name), await found_or_none(second.get_run, name)]
            stored = numbers(await second.get_events(name))
            assert ([one is not None for one in there], stored) in (([True] * 2, [1, 2]), ([False] * 2, [])), ended
            await second.delete_session(name)
            assert await found_or_none(store.get_run, name) is None, ended
            assert await store.get_events(name) == [], ended

        await self.sweep(lambda name: lambda: store.delete_session(name), look, prepare=prepare)

    async def test_cancelled_call_is_told(self, store: SessionStoreLike) -> None:
        """A call that is cancelled ends as cancelled: a timeout or a task group around it relies on that."""
        await begun(store)

        async def look(_: str, ended: Cancelled) -> None:
            assert ended.told == ended.reached, f"{ended}: the cancellation was swallowed"

        await self.sweep(lambda name: lambda: store.append_event(event(name)), look)
        await self.sweep(lambda _: lambda: store.get_events("s"), look)
