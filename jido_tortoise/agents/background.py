"""Work that outlives the call that began it: which context it runs in, and why that is never the caller's.

A task inherits the context of the call that starts it, and with it the transaction that is open there; once that has
ended, the task holds a finished wrapper. So what runs in the background starts in a context of its own.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any, TypeVar

from tortoise.backends.base.client import TransactionalDBClient
from tortoise.context import get_current_context

T = TypeVar("T")


def open_transactions() -> frozenset[object]:
    """Answer the transactions, on whatever connection, that the current task is inside of."""
    context = get_current_context()
    if context is None or context.connections._db_config is None:
        return frozenset()
    clients = context.connections.all()
    return frozenset(
        client for client in clients if isinstance(client, TransactionalDBClient) and not client._finalized
    )


class Background:
    """The tasks of one owner; all start in the context in which this was made."""

    def __init__(self) -> None:
        self._context = contextvars.copy_context()
        # A test's sandbox is a transaction around everything: that one outlives us, and is no reason for care.
        self._around = open_transactions()
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task that does not see what the caller's context holds."""
        # A copy for each: a transaction of one must not show in another.
        task = asyncio.create_task(work, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def in_transaction(self) -> bool:
        """Tell whether the current task is inside a transaction that the background is outside of."""
        return not open_transactions() <= self._around

    async def settled(self) -> None:
        """Wait until all tasks but the current one have ended."""
        while others := self._tasks - {asyncio.current_task()}:
            await asyncio.wait(others)
