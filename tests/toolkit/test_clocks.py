"""The virtual clock and the ids of a seed."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from jido_tortoise import seams
from jido_tortoise_testing.clocks import PATIENCE, START, Ids, VirtualClock

_DAY = 86_400.0


async def test_short_sleeps_return_at_once_and_move_the_clock() -> None:
    """Attempts after a conflict cost no time, and are seen to wait."""
    with VirtualClock().installed() as clock:
        async with asyncio.timeout(5):
            for _ in range(100):
                await seams.sleep(PATIENCE)
        assert clock.now() - START == timedelta(seconds=100 * PATIENCE)
        assert seams.monotonic() == 100 * PATIENCE
        assert seams.now_ms() == clock.now_ms()
    assert seams.now_ms() > clock.now_ms()


async def test_timers_wake_in_their_order_when_the_clock_is_moved() -> None:
    """A timer of a day does not fire before its day, and does so at its own time."""
    woken: list[tuple[str, timedelta]] = []
    with VirtualClock().installed() as clock:

        async def timer(name: str, seconds: float) -> None:
            await seams.sleep(seconds)
            woken.append((name, clock.now() - START))

        tasks = [asyncio.create_task(timer("two", 2 * _DAY)), asyncio.create_task(timer("one", _DAY))]
        await clock.sleep(timedelta(hours=1))
        assert woken == []
        assert clock.sleeping == [START + timedelta(days=1), START + timedelta(days=2)]
        async with asyncio.timeout(5):
            await clock.sleep(30 * _DAY)
            await asyncio.gather(*tasks)
    assert woken == [("one", timedelta(days=1)), ("two", timedelta(days=2))]
    assert clock.now() == START + timedelta(days=30, hours=1)


async def test_it_is_moved_without_waiting() -> None:
    """shift() and move_to() wake whose time has come, and pass over who was cancelled."""
    with VirtualClock().installed() as clock:
        given_up, waiting = (asyncio.create_task(seams.sleep(_DAY)) for _ in range(2))
        await asyncio.sleep(0)
        given_up.cancel()
        clock.shift(timedelta(hours=23))
        await asyncio.sleep(0)
        assert not waiting.done()
        clock.move_to(START + timedelta(days=1))
        async with asyncio.timeout(5):
            await waiting
        with pytest.raises(ValueError, match=r"^a clock does not go back: it is 2026-01-02"):
            clock.move_to(START)


def test_a_sleeper_whose_loop_has_ended_is_no_matter() -> None:
    """The next test's clock is another, but the fixture may move this one still."""
    with VirtualClock().installed() as clock:

        async def leave() -> None:
            sleeper = asyncio.create_task(seams.sleep(_DAY))
            await asyncio.sleep(0)
            sleeper.cancel()

        asyncio.run(leave())
        clock.shift(2 * _DAY)
        assert clock.sleeping == []


def test_ids_depend_on_the_seed_alone() -> None:
    """The same seed gives the same ids; they sort by their making, as real ones do."""
    made = []
    for seed in (7, 7, 8):
        with Ids(seed).installed() as ids:
            made.append([seams.new_id("entry_") for _ in range(50)])
            assert ids.made == made[-1]
    assert made[0] == made[1]
    assert set(made[0]).isdisjoint(made[2])
    assert made[0] == sorted(made[0])
    assert made[0][0].startswith("entry_019b76da-a800-7")
