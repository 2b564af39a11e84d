"""The one timer under every PostgreSQL statement, like two nested `asyncio.timeout`; and what is never cut off."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from typing import Any

import pytest

from jido_tortoise import database
from jido_tortoise.database import _Deadline, to_the_end


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "GRACE", 0.02)


def cancelling() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def test_work_in_time() -> None:
    """Nothing is left behind that would cancel the task later."""
    with _Deadline(0.01):
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    assert cancelling() == 0


async def test_work_that_takes_too_long() -> None:
    """It is cancelled, and the task goes on as if it never was."""
    with pytest.raises(TimeoutError), _Deadline(0.01):
        await asyncio.sleep(10)
    assert cancelling() == 0
    await asyncio.sleep(0)


async def test_work_that_survives_the_first_cancellation() -> None:
    """A frozen server does not answer the cancel request either: the grace ends, and with it the wait."""
    with pytest.raises(TimeoutError), _Deadline(0.01):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(10)
        await asyncio.sleep(10)
    assert cancelling() == 0


async def test_an_error_after_the_first_cancellation() -> None:
    """What the work makes of its cancellation is what the caller sees."""

    async def failing() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            raise ValueError("lost") from None

    with pytest.raises(ValueError, match="lost"), _Deadline(0.01):
        await failing()
    assert cancelling() == 0


@pytest.mark.parametrize("late", [False, True])
async def test_a_cancellation_from_outside(late: bool) -> None:
    """It stays one, also when the deadline has passed and the work is still ending."""
    inside, ending = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        with _Deadline(0.01 if late else 5):
            inside.set()
            try:
                await asyncio.sleep(10)
            finally:
                ending.set()
                await asyncio.sleep(0.01)

    task = asyncio.create_task(work())
    await (ending if late else inside).wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_the_hosts_own_timeout_around_it() -> None:
    """Whichever is shorter wins, and the other one does not mistake it for its own."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            with _Deadline(5):
                await asyncio.sleep(10)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5) as outer:
            with _Deadline(0.01):
                await asyncio.sleep(10)
    assert not outer.expired()
    assert cancelling() == 0


async def test_in_a_task_that_was_cancelled_before() -> None:
    """One that goes on all the same, as a shutdown that still stores something: its timeouts are timeouts."""

    async def work() -> int:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(10)
        with pytest.raises(TimeoutError), _Deadline(0.01):
            await asyncio.sleep(10)
        return cancelling()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == 1


async def test_no_limit() -> None:
    """An infinite timeout is one."""
    with _Deadline(float("inf")):
        await asyncio.sleep(0.01)


async def test_what_must_end_is_waited_for_however_often_it_is_cancelled() -> None:
    """A second cancellation, such as a shutdown's behind a timeout's, cuts a COMMIT off no more than the first."""
    gate, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await gate.wait()
        ended.set()

    task = asyncio.ensure_future(to_the_end(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_what_failed_behind_a_cancellation_is_not_reported_as_forgotten() -> None:
    """The caller sees its cancellation; that the work failed too is in nobody's log as an error never retrieved."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    async def work() -> None:
        await asyncio.sleep(0.01)
        raise ValueError

    task = asyncio.ensure_future(to_the_end(work()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    gc.collect()
    assert reported == []
