"""Waiting for events: reads, and between them a pause that an append ends; the same for every store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from jido_tortoise import seams
from jido_tortoise.recording.bells import LONGEST, Bell
from jido_tortoise.recording.entities import Event
from jido_tortoise.recording.listening import PAUSE

#: How many events are read at once.
PAGE = 500


class Ears(Protocol):
    """Hears the appends of other processes."""

    async def ready(self) -> None:
        """See to it that what is appended after this rings the bell."""
        ...


async def until_some(
    read: Callable[[], Awaitable[list[Event]]], seconds: float, bell: Bell, ears: Ears | None
) -> list[Event]:
    """Read until there is something, or the seconds are over.

    Args:
        read: Reads what is wished.
        seconds: How long to wait.
        bell: Rung when something was appended.
        ears: Who rings it for other processes; None when nobody does.
    """
    end = seams.monotonic() + seconds
    while True:
        if ears is not None:
            await ears.ready()
        found = await read()
        left = end - seams.monotonic()
        if found or left <= 0:
            return found
        await bell.wait(left, LONGEST if ears is None else PAUSE)


async def all_after(
    read: Callable[[int], Awaitable[tuple[int | None, list[Event]]]], after: int, bell: Bell, ears: Ears | None
) -> AsyncIterator[Event]:
    """Answer events as they come; end when the session is gone.

    Args:
        read: Answers the session's counter, None when it is gone, and a page of what is wished after a number, not
            beyond that counter.
        after: The number to begin after.
        bell: Rung when something was appended.
        ears: Who rings it for other processes; None when nobody does.
    """
    while True:
        if ears is not None:
            await ears.ready()
        counter, events = await read(after)
        for event in events:
            yield event
        if counter is None:
            return
        if len(events) == PAGE:
            after = events[-1].sequence_number or after
        else:
            after = max(after, counter)
            await bell.wait(float("inf"), LONGEST if ears is None else PAUSE)
