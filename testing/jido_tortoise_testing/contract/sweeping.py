"""The sweep of cancellations that the CRASH-SAFE checks of every contract make."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar

import pytest

from jido_tortoise_testing.contract.base import Checks
from jido_tortoise_testing.faults.awaits import Call, Cancelled, cancelled
from jido_tortoise_testing.levels import Level

#: Makes what a call that is about to be cancelled needs, under a name.
Prepare = Callable[[str], Awaitable[object]]
#: Looks at what a cancelled call has left under a name.
Look = Callable[[str, Cancelled], Awaitable[None]]


class SweepingChecks(Checks):
    """Cancel one call at each of its awaits in turn, at two moments, and look at what is left."""

    level: ClassVar[Level] = "CRASH-SAFE"

    async def sweep(self, call: Callable[[str], Call], look: Look, *, prepare: Prepare | None = None) -> None:
        """Cancel the call at every await that it has; each time on something new that is named by a string."""
        for late in (False, True):
            for step in range(200):
                name = f"{'late' if late else 'early'}-{step}"
                if prepare is not None:
                    await prepare(name)
                ended = await cancelled(call(name), step, late=late, patience=self.patience)
                async with asyncio.timeout(self.patience):
                    await look(name, ended)
                if not ended.reached:
                    break
            else:
                pytest.fail("the call has more than 200 awaits")
