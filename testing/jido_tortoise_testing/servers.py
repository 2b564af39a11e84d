"""The one PostgreSQL server of a run: one that runs already, or our own, started when the first test needs it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from jido_tortoise_testing.postgres import PostgresServer
from jido_tortoise_testing.settings import Run

T = TypeVar("T")

_URL = pytest.StashKey[str]()
_PATIENCE = 60.0


def server_url(run: Run) -> str:
    """Give the URL of the run's server."""
    stash = run.config.stash
    if _URL not in stash:
        stash[_URL] = run.url.text if run.url else _started(run.config)
    return stash[_URL]


def _started(config: pytest.Config) -> str:
    server = PostgresServer().start()
    config.add_cleanup(server.stop)
    return server.url()


class Janitor:
    """An event loop in a thread of its own, for what must be done between the tests' loops."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="jido-janitor", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end there and give its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    def close(self) -> None:
        """End the thread and the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
