"""What others have pushed aside is tried again, after a random moment: two in step would push each other for ever."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from jido_tortoise import seams

T = TypeVar("T")

#: How often something is tried in all.
ATTEMPTS = 12
#: Seconds: the longest pause after the first attempt, which doubles with each, and the longest of all.
_FIRST, _LONGEST = 0.004, 0.1


async def repeated(
    attempt: Callable[[], Awaitable[T]],
    *errors: type[Exception],
    when: Callable[[Any], bool] = lambda _: True,
) -> T:
    """Answer what the first attempt answers that nobody pushes aside; what the last one raises is raised.

    Args:
        attempt: Reads what it needs anew each time.
        errors: What says that it was pushed aside, and has changed nothing.
        when: Tells of such an error whether to try again.
    """
    for tried in range(1, ATTEMPTS):
        try:
            return await attempt()
        except errors as error:
            if not when(error):
                raise
        await seams.sleep(random.uniform(0, min(_FIRST * 2 ** (tried - 1), _LONGEST)))
    return await attempt()
