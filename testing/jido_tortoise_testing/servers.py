"""The one PostgreSQL server of a run: one that runs already, or our own, started when the first test needs it."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
import threading
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from jido_tortoise_testing.postgres import PostgresError, PostgresServer
from jido_tortoise_testing.settings import Run

T = TypeVar("T")

_URL = pytest.StashKey[str]()
_PATIENCE = 60.0
#: Tells a worker that what follows is no URL.
_FAILED = "failed: "


def server_url(run: Run) -> str:
    """Give the URL of the run's server."""
    stash = run.config.stash
    if _URL not in stash:
        stash[_URL] = run.url.text if run.url else _offered(run.told) or _started(run.config)
    return stash[_URL]


def _started(config: pytest.Config) -> str:
    server = PostgresServer().start()
    config.add_cleanup(server.stop)
    return server.url()


# -- one server for all workers -----------------------------------------------------------------------------------


def offer(run: Run) -> str:
    """Let the workers of pytest-xdist ask this process for the server; the first who asks has it started.

    Returns:
        The path of the socket to ask at.
    """
    path = run.config.stash.get(_SOCKET, None)
    if path is None:
        folder = Path(tempfile.mkdtemp(prefix="jido-"))
        path = run.config.stash[_SOCKET] = str(folder / "server")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        run.config.add_cleanup(lambda: _withdraw(listener, folder))
        threading.Thread(target=_answer, args=(listener, run), name="jido-server", daemon=True).start()
    return path


_SOCKET = pytest.StashKey[str]()


def _answer(listener: socket.socket, run: Run) -> None:
    with suppress(OSError):  # withdrawn
        while True:
            asking, _ = listener.accept()
            with asking, suppress(OSError):
                asking.sendall(_told_url(run).encode())


def _told_url(run: Run) -> str:
    try:
        return server_url(run)
    except (OSError, PostgresError) as error:
        return f"{_FAILED}{error}"


def _withdraw(listener: socket.socket, folder: Path) -> None:
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)  # or the thread would go on waiting
    listener.close()
    shutil.rmtree(folder, ignore_errors=True)


def _offered(told: dict[str, Any]) -> str | None:
    """Ask the controller; None when there is none, or none on this machine."""
    path = told.get("jido_server")
    if path is None:
        return None
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.connect(path)
        except OSError:
            return None
        answer = b"".join(iter(lambda: asking.recv(4096), b"")).decode()
    if answer.startswith(_FAILED):
        raise PostgresError(answer.removeprefix(_FAILED))
    return answer


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
