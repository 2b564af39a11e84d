"""Leases of runs, for the stores that keep them: who executes a run, and which runs were left behind."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import ClassVar, cast

import pytest

from jido_tortoise.errors import InvalidInputError
from jido_tortoise.recording import SessionStoreLike
from jido_tortoise.recording.leases import LeasingStore
from jido_tortoise_testing.clocks import VirtualClock
from jido_tortoise_testing.contract.recording.base import StoreChecks, begun, needs, run_of
from jido_tortoise_testing.levels import Level

_MINUTE = timedelta(minutes=1)


def _leasing(store: SessionStoreLike) -> LeasingStore:
    return cast("LeasingStore", store)


class LeaseChecks(StoreChecks):
    """A lease is one holder's at a time, and what it was when it runs out."""

    level: ClassVar[Level] = "CONCURRENT"

    @needs("leases")
    async def test_a_lease_has_one_holder(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """It is free, then its holder's, who may renew it, until it has run out; the run is not written."""
        mine, theirs = _leasing(store), _leasing(second)
        await begun(store)
        run = await store.save_run(run_of())
        with VirtualClock().installed() as clock:
            assert await mine.lease_run("r", "me", 60)
            assert not await theirs.lease_run("r", "they", 60)
            clock.shift(_MINUTE / 2)
            assert await mine.lease_run("r", "me", 60)
            clock.shift(_MINUTE)
            assert not await theirs.lease_run("r", "they", 60), "it runs out after its last moment"
            clock.shift(0.001)
            assert await theirs.lease_run("r", "they", 60)
            assert not await mine.lease_run("r", "me", 60)
        assert await store.get_run("r") == run

    @needs("leases")
    async def test_a_lease_goes_with_its_run(self, store: SessionStoreLike) -> None:
        """A run that is made anew under the id of a deleted one is nobody's."""
        leasing = _leasing(store)
        for holder in ("me", "they"):
            await begun(store)
            await store.save_run(run_of())
            assert await leasing.lease_run("r", holder, 60)
            await store.delete_session("s")

    @needs("leases")
    async def test_only_runs_that_have_not_ended_are_leased(self, store: SessionStoreLike) -> None:
        """Nor one that there is not."""
        leasing = _leasing(store)
        await begun(store)
        await store.save_run(run_of().with_status("completed"))
        assert not await leasing.lease_run("r", "me", 60)
        assert not await leasing.lease_run("nobody", "me", 60)
        for seconds in (0, -1, float("nan"), "60"):
            with pytest.raises(InvalidInputError):
                await leasing.lease_run("r", "me", cast("float", seconds))

    @needs("leases")
    async def test_lost_runs(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """Running ones whose lease has run out, the longest ago first; not those that nobody leased, or that ended."""
        leasing = _leasing(second)
        await begun(store)
        with VirtualClock().installed() as clock:
            for seconds, run_id in enumerate(("pending", "old", "older", "ended", "free", "held"), 1):
                await store.save_run(run_of(run_id=run_id))
                if run_id != "free":
                    assert await leasing.lease_run(run_id, "me", {"old": 20, "held": 1000}.get(run_id, seconds))
                if run_id == "pending":
                    continue
                running = await store.save_run((await store.get_run(run_id)).with_status("running"), concurrent=True)
                if run_id == "ended":
                    await store.save_run(running.with_status("failed"))
            assert await leasing.lost_runs() == []
            clock.shift(_MINUTE)
            assert [run.id for run in await leasing.lost_runs()] == ["older", "old"]
            assert [run.id for run in await leasing.lost_runs(limit=1)] == ["older"]
            assert await leasing.lost_runs(limit=0) == []
            assert (await leasing.lost_runs())[0] == await store.get_run("older")

    @needs("leases")
    async def test_one_of_many_takes_a_lost_run(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """When all try at once, one has it."""
        handles = [_leasing(store), _leasing(second)]
        await begun(store)
        await store.save_run(run_of())
        with VirtualClock().installed() as clock:
            assert await handles[0].lease_run("r", "gone", 1)
            clock.shift(_MINUTE)
            takers = [handle.lease_run("r", f"taker {n}", 60) for n, handle in enumerate(handles * 4)]
            assert (await asyncio.gather(*takers)).count(True) == 1
