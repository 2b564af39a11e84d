"""Cancelling a call at one of its awaits, at the await itself or just after what it waited for has happened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

Call = Callable[[], Coroutine[Any, Any, object]]


class _Stepper(Awaitable[object]):
    """A coroutine whose task is cancelled when it waits for the n-th time."""

    def __init__(self, coroutine: Coroutine[Any, Any, object], step: int, *, late: bool) -> None:
        self.coroutine, self.step, self.late = coroutine, step, late
        self.reached = False

    def __await__(self) -> Generator[Any, Any, object]:
        resume: Callable[[Any], Any] = self.coroutine.send
        value: Any = None
        step = -1
        while True:
            step += 1
            try:
                waited_for = resume(value)
            except StopIteration as stop:
                return stop.value
            if step == self.step:
                self._cancel(waited_for)
            try:
                resume, value = self.coroutine.send, (yield waited_for)
            except BaseException as error:
                resume, value = self.coroutine.throw, error

    def _cancel(self, waited_for: Any) -> None:
        self.reached = True
        task = asyncio.current_task()
        assert task is not None
        if self.late and isinstance(waited_for, asyncio.Future):
            # The worst moment: what was waited for has just happened, and the task has not been told yet.
            waited_for.add_done_callback(lambda _: task.cancel())
        else:
            task.cancel()


@dataclass(frozen=True)
class Cancelled:
    """A call that was cancelled at one of its awaits."""

    step: int
    late: bool
    #: Whether there was such an await.
    reached: bool
    #: Whether the call ended as cancelled.
    told: bool

    def __str__(self) -> str:
        return f"cancelled {'just after' if self.late else 'at'} await {self.step}"


async def cancelled(call: Call, step: int, *, late: bool, patience: float = 30.0) -> Cancelled:
    """Run a call in a task of its own, cancel it at its n-th await and wait for its end.

    Args:
        call: Makes the coroutine.
        step: At which await, counted from 0.
        late: Cancel when what is awaited has happened, but the task does not know yet.
        patience: Seconds after which the call counts as hung.

    Raises:
        AssertionError: The call hangs.
    """
    stepper = _Stepper(call(), step, late=late)

    async def run() -> object:
        return await stepper

    task = asyncio.create_task(run())
    done, _ = await asyncio.wait([task], timeout=patience)
    if not done:
        task.cancel()
        await asyncio.wait([task], timeout=patience)
        raise AssertionError(f"await {step}: the call goes on {patience} s after it was cancelled")
    if not task.cancelled():
        task.result()
    return Cancelled(step, late, stepper.reached, task.cancelled())
