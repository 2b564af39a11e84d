"""Cancelling: a call that is cancelled at whichever of its awaits has happened or has not, state and events alike."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from jido_tortoise.adk import Session
from jido_tortoise.errors import AlreadyExistsError, NotFoundError
from jido_tortoise_testing.adk_contract.base import WHO, AdkChecks, FullStore, got, ids, made, said, talked
from jido_tortoise_testing.contract.sweeping import SweepingChecks
from jido_tortoise_testing.faults.awaits import Cancelled


async def found_or_none(store: FullStore, name: str) -> Session | None:
    """Get a session of ann's; None when it is not there."""
    try:
        return await got(store, name)
    except NotFoundError:
        return None


class CancellingChecks(SweepingChecks, AdkChecks):
    """Each check cancels one call at each of its awaits in turn, at two moments, and looks at what is left."""

    async def test_cancelled_append(self, store: FullStore, second: FullStore) -> None:
        """Event, own state and shared state are all there or none; a repeat is done once, and others go on."""
        sessions: dict[str, Session] = {}

        async def prepare(name: str) -> None:
            sessions[name] = await made(store, name)

        def delta(name: str) -> dict[str, int]:
            return {"own": 1, f"user:{name}": 1, f"app:{name}": 1}

        def append(name: str, handle: FullStore) -> Coroutine[Any, Any, Session]:
            return handle.append_event(sessions[name], said(id="e", delta=delta(name)))

        async def look(name: str, ended: Cancelled) -> None:
            there = await got(second, name)
            state = {key: value for key, value in there.state.items() if key in delta(name)}
            assert (ids(there), state) in ((["e"], delta(name)), ([], {})), ended
            await append(name, second)
            await store.append_event(await got(store, name), said(id="f"))
            after = await got(second, name)
            assert (after.rev, ids(after)) == (2, ["e", "f"]), ended

        await self.sweep(lambda name: lambda: append(name, store), look, prepare=prepare)

    async def test_cancelled_create(self, store: FullStore, second: FullStore) -> None:
        """A session that is made and its user's state are both there, or neither; then it can be made, or is known."""

        def state(name: str) -> dict[str, int]:
            return {"own": 1, f"user:{name}": 1}

        async def look(name: str, ended: Cancelled) -> None:
            there = await found_or_none(second, name)
            shared = await second.get_user_state(**WHO)
            assert (there is not None) == (name in shared), ended
            try:
                await made(store, name, state(name))
            except AlreadyExistsError:
                assert there is not None, ended
            after = await got(second, name)
            assert after.state.items() >= state(name).items(), ended

        await self.sweep(lambda name: lambda: made(store, name, state(name)), look)

    async def test_cancelled_delete(self, store: FullStore, second: FullStore) -> None:
        """A delete has taken the session with all its events, or nothing; a repeat takes all of it."""

        async def look(name: str, ended: Cancelled) -> None:
            there = await found_or_none(second, name)
            assert there is None or ids(there) == ["e0", "e1"], ended
            await second.delete(**WHO, session_id=name)
            assert ids(await made(store, name)) == ids(await got(second, name)) == [], ended

        await self.sweep(
            lambda name: lambda: store.delete(**WHO, session_id=name), look, prepare=lambda name: talked(store, 2, name)
        )

    async def test_cancelled_call_is_told(self, store: FullStore) -> None:
        """A call that is cancelled ends as cancelled: a timeout or a task group around it relies on that."""
        session = await made(store)

        async def look(_: str, ended: Cancelled) -> None:
            assert ended.told == ended.reached, f"{ended}: the cancellation was swallowed"

        await self.sweep(lambda _: lambda: store.append_event(session, said()), look)
        await self.sweep(lambda _: lambda: got(store), look)
