"""Notifications of PostgreSQL: one connection a database and process, beside the pool, open while somebody follows.

A connection of the pool would be lost to all others while it listens, and lose its listening when it is given back.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from weakref import WeakKeyDictionary

from jido_tortoise import seams
from jido_tortoise.database import Db, fetch, to_the_end
from jido_tortoise.driver_errors import translated
from jido_tortoise.recording import bells, statements

#: Seconds that appends are asked for notifications, after how many that is renewed, and the longest pause between two
#: looks meanwhile: a notification may be lost with its connection.
LEASE, RENEWED, PAUSE = 90.0, 30.0, 15.0

_listeners: WeakKeyDictionary[Any, Listener] = WeakKeyDictionary()


def connections(place: Any) -> int:
    """Answer how many connections listen beside the pool of a database's client."""
    found = _listeners.get(place)
    return int(found is not None and found.is_open)


class Listener:
    """The connection that hears for all followers of one database in this process."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._connection: Any = None
        self._opening = asyncio.Lock()
        self.followers = 0

    @property
    def is_open(self) -> bool:
        """Whether it hears."""
        return self._connection is not None and not self._connection.is_closed()

    async def open(self) -> None:
        """Listen, once more when the connection was lost."""
        async with self._opening:
            if not self.is_open:
                await to_the_end(self._connect())

    async def _connect(self) -> None:
        import asyncpg

        pool_only = ("min_size", "max_size", "max_queries", "max_inactive_connection_lifetime")
        wanted = {name: value for name, value in self._client._template.items() if name not in pool_only}
        with translated():
            connection = await asyncpg.connect(password=self._client.password, **wanted)
            connection.add_termination_listener(lambda _: bells.ring(self._client))
            await connection.add_listener(statements.CHANNEL, self._heard)
        self._connection = connection

    def _heard(self, connection: Any, pid: int, channel: str, note: str) -> None:
        schema, session_id = json.loads(note)
        bells.ring(self._client, (schema, session_id))

    async def close(self) -> None:
        """Stop listening."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # it is of no use any more, whatever became of it
                await connection.close(timeout=1)


def note_of(key: bells.Key) -> str:
    """Answer what a notification says of a session."""
    return json.dumps(key)


class Hearing:
    """What one follower has of the listener."""

    def __init__(self, db: Db, session_id: str, listener: Listener) -> None:
        self._db = db
        self._session_id = session_id
        self._listener = listener
        self._renewed = -RENEWED

    async def ready(self) -> None:
        """See to it that what is appended after this will be heard."""
        await self._listener.open()
        now = seams.monotonic()
        if now - self._renewed >= RENEWED:
            # It waits for an append that is under way, which the next read then sees.
            statement = statements.say_followed(self._db.schema)
            await fetch(self._db, statement.sql, statement.args({"session_id": self._session_id, "seconds": LEASE}))
            self._renewed = now


@asynccontextmanager
async def hearing(db: Db, session_id: str) -> AsyncIterator[Hearing]:
    """Keep the listener for a follower while the block runs; the last one to leave closes it."""
    listener = _listeners.setdefault(db.root, Listener(db.root))
    listener.followers += 1
    try:
        yield Hearing(db, session_id, listener)
    finally:
        listener.followers -= 1
        if not listener.followers:
            _listeners.pop(db.root, None)
            await to_the_end(listener.close())
