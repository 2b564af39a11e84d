"""A Tortoise that is opened when it is first needed: for programs that are not the host's own, such as `adk web`."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any

from tortoise.context import TortoiseContext, get_current_context
from tortoise.exceptions import ConfigurationError

from jido_tortoise.adk.store import AdkSessionStore
from jido_tortoise.database import Db
from jido_tortoise.errors import ConfigError
from jido_tortoise.host_config import Config, read_config


class Opening:
    """A config, and the Tortoise that was opened from it for all tasks of the process; one that is open is taken.

    Args:
        config: The host's Tortoise config, or its name, which may be importable from the current folder alone.

    Raises:
        ConfigError: It is none, or cannot be imported.
    """

    def __init__(self, config: Config) -> None:
        # A program such as `adk` has its own folder on the path, not the one that it was started in. At the end, so
        # that nothing of the program's is hidden.
        sys.path += {os.getcwd()}.difference(sys.path)
        self._config = read_config(config)
        self._lock = asyncio.Lock()
        self._context: TortoiseContext | None = None

    async def ensure(self) -> None:
        """See that a Tortoise is open."""
        if get_current_context() is not None:
            return
        async with self._lock:
            if get_current_context() is None:
                self._context = await _opened(self._config)

    async def close(self) -> None:
        """Close what `ensure` has opened."""
        context, self._context = self._context, None
        if context is not None:
            await _close(context)


async def _opened(config: dict[str, object]) -> TortoiseContext:
    context = TortoiseContext()
    try:
        with context:  # which must be the current one for that, and be found by other tasks afterwards
            await context.init(config=config, _enable_global_fallback=True)
            _stop_at_the_end(context.connections.all())
    except ConfigurationError as error:
        await _close(context)
        raise ConfigError(f"Tortoise cannot be opened: {error}") from error
    return context


def _stop_at_the_end(clients: Sequence[Any]) -> None:
    """Let the process end though it never closes: it would wait for the threads of SQLite's connections."""

    def stop() -> None:
        threading.main_thread().join()
        for client in clients:
            ends = getattr(getattr(client, "_connection", None), "stop", None)
            if ends is not None:
                ends()

    threading.Thread(target=stop, name="jido-tortoise-stop", daemon=True).start()


async def _close(context: TortoiseContext) -> None:
    async with context:  # Tortoise closes the connections of the current one only
        pass


class OpeningStore(AdkSessionStore):
    """A store that opens Tortoise before its first call."""

    __slots__ = ("opening",)

    def __init__(
        self,
        opening: Opening,
        connection: str | None = None,
        schema: str | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(connection, schema, timeout)
        self.opening = opening

    async def connected(self) -> Db:
        """Answer the connection, open."""
        await self.opening.ensure()
        return await super().connected()
