"""Many at once: nothing is lost, nothing is there twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import ClassVar

import pytest

from jido_tortoise.adk import Session
from jido_tortoise.errors import AlreadyExistsError, ConflictError
from jido_tortoise_testing.adk_contract.base import WHO, AdkChecks, FullStore, got, ids, made, needs, said
from jido_tortoise_testing.levels import Level


class CrowdChecks(AdkChecks):
    """Writers beside one another, from two processes."""

    level: ClassVar[Level] = "CONCURRENT"

    async def all_of(self, jobs: Iterable[Awaitable[Session]]) -> None:
        """Wait for all, also when one has failed: none may go on when the check has ended."""
        async with asyncio.timeout(self.patience):
            answers = await asyncio.gather(*jobs, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def test_many_append_to_one_session(self, store: FullStore, second: FullStore) -> None:
        """Every event is there once, and every key."""
        session = await made(store)
        handles = (store, second)
        events = [said(id=f"e{n}", at=n, delta={f"k{n}": n}) for n in range(self.crowd)]
        await self.all_of(handles[n % 2].append_event(session, event) for n, event in enumerate(events))
        found = await got(store)
        assert sorted(ids(found)) == sorted(event.id for event in events)
        assert (found.rev, found.state) == (self.crowd, {f"k{n}": n for n in range(self.crowd)})

    async def test_many_sessions_write_what_they_share(self, store: FullStore, second: FullStore) -> None:
        """Every key of the app and of the user survives."""
        sessions = [await made(store, f"s{n}") for n in range(self.crowd)]
        handles = (store, second)
        jobs = [
            handles[n % 2].append_event(session, said(delta={f"app:k{n}": n, f"user:k{n}": n}))
            for n, session in enumerate(sessions)
        ]
        await self.all_of(jobs)
        expected = {f"{scope}:k{n}": n for scope in ("app", "user") for n in range(self.crowd)}
        assert (await got(store, "s0")).state == expected

    async def test_many_create_with_what_they_share(self, store: FullStore, second: FullStore) -> None:
        """Every key of the app survives."""
        handles = (store, second)
        await self.all_of(made(handles[n % 2], f"s{n}", {f"app:k{n}": n}) for n in range(self.crowd))
        assert (await got(store, "s0")).state == {f"app:k{n}": n for n in range(self.crowd)}

    async def test_many_create_one_session(self, store: FullStore, second: FullStore) -> None:
        """One wins; all others are told that it exists, and nothing of theirs is there."""
        handles = (store, second)
        async with asyncio.timeout(self.patience):
            answers = await asyncio.gather(
                *(made(handles[n % 2], state={"n": n, f"app:k{n}": n}) for n in range(self.crowd)),
                return_exceptions=True,
            )
        winners = [answer for answer in answers if isinstance(answer, Session)]
        assert len(winners) == 1, f"{len(winners)} were told that they had made it"
        assert sum(isinstance(answer, AlreadyExistsError) for answer in answers) == self.crowd - 1
        assert await got(store) == winners[0]


class StaleChecks(AdkChecks):
    """Who asks for it is told that others have appended."""

    level: ClassVar[Level] = "CONCURRENT"

    @needs("check_stale")
    async def test_a_stale_copy_is_refused(self, store: FullStore, second: FullStore) -> None:
        """It is a ConflictError with the reason stale_session, equal timestamps or not, and nothing is written."""
        session = await made(store)
        after = await store.append_event(session, said("one"))
        with pytest.raises(ConflictError) as caught:
            await second.append_event(session, said("two", delta={"app:a": 1}), check_stale=True)
        assert caught.value.reason == "stale_session"
        assert await got(store) == after

    @needs("check_stale")
    async def test_a_copy_of_a_session_that_was_made_anew_is_refused(self, store: FullStore, second: FullStore) -> None:
        """Its names are another session's by now, and that it has come as far makes it no copy of that one."""
        before = [await made(store), await store.append_event(await got(store), said("one"))]
        await second.delete(**WHO, session_id="s")
        anew = [await made(second), await second.append_event(await got(second), said("other"))]
        for session in before:
            with pytest.raises(ConflictError) as caught:
                await store.append_event(session, said("two", delta={"app:a": 1}), check_stale=True)
            assert caught.value.reason == "stale_session"
        assert await got(store) == anew[-1]
        assert (await store.append_event(anew[-1], said("three"), check_stale=True)).rev == 2

    @needs("check_stale")
    async def test_a_current_copy_is_not_refused(self, store: FullStore) -> None:
        """One append after another, each with the session that the one before answered, or with one that was read."""
        session = await made(store)
        for n in range(3):
            session = await store.append_event(session, said(f"{n}", at=-n), check_stale=True)
        assert (await store.append_event(await got(store), said("3"), check_stale=True)).rev == 4

    @needs("check_stale")
    async def test_of_two_stale_copies_one_wins(self, store: FullStore, second: FullStore) -> None:
        """In each of several rounds."""
        await made(store)
        for n in range(5):
            session = await store.get(**WHO, session_id="s")
            jobs = [handle.append_event(session, said(delta={"n": n}), check_stale=True) for handle in (store, second)]
            answers = await asyncio.gather(*jobs, return_exceptions=True)
            assert sorted(isinstance(answer, ConflictError) for answer in answers) == [False, True]
        assert (await got(store)).rev == 5
