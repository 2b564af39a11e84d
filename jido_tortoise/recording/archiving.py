"""What is to be deleted for good, written down before: lines of JSON in a store of content, as an export has them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from jido_tortoise.errors import ConflictError, NotFoundError
from jido_tortoise.recording.artifact_stores import ArtifactStore
from jido_tortoise.recording.entities import Session
from jido_tortoise.recording.exporting import SessionExport, line_of, plain, written_time
from jido_tortoise.recording.query_statements import EVENT_ROWS
from jido_tortoise.recording.store import SessionStore

#: Longer ids of sessions than this do not fit into a key as they are.
_LONGEST = 180


def session_key(session_id: str, first: int) -> str:
    """Answer the key of a session with its events from a number on: what was archived of it earlier stays."""
    return f"{_named(session_id)}/session-from-{first:012}.jsonl"


def events_key(session_id: str, first: int, last: int) -> str:
    """Answer the key of events that are deleted together: a repeat after a crash overwrites them."""
    return f"{_named(session_id)}/events-{first:012}-{last:012}.jsonl"


def _named(session_id: str) -> str:
    if len(session_id) <= _LONGEST:
        return session_id
    return f"{session_id[:100]}~{hashlib.sha256(session_id.encode()).hexdigest()[:32]}"


class Archived(NamedTuple):
    """What stands in the archive of a session; compared with what is there when it is to be deleted."""

    created_at: str
    revision: int
    #: The number of its last event.
    last: int
    #: Of its runs and artifacts.
    belongings: int

    def is_of(self, session: Session) -> bool:
        """Tell whether a session is the one that was archived, unchanged, whatever has come of what belongs to it."""
        return (self.created_at, self.revision) == (written_time(session.created_at), session.revision)


async def archive_session(store: SessionStore, archive: ArtifactStore, session_id: str) -> Archived:
    """Write a whole session, which `import_sessions` can read.

    Raises:
        NotFoundError: `session_not_found`: there is none, or not any more. Nothing was written.
        ConflictError: `stale_session`: events of it were deleted meanwhile. Nothing was written.
        CorruptRowError: A row of it is malformed.
    """
    lines = aiter(SessionExport(store, session_id, include_artifacts=True))
    head = await anext(lines)
    session = json.loads(head)
    seen = 0

    async def parts() -> AsyncIterator[bytes]:
        nonlocal seen
        held, seen = head, 0
        async for line in lines:
            yield f"{held}\n".encode()
            held = line
            if line.startswith(_BELONGINGS):
                seen = with_line(seen, line)
        # Before the last part, without which none is stored: what another process has archived before it deleted must
        # not be replaced by what is left.
        await _refuse_shrunk(store, session)
        yield f"{held}\n".encode()

    key = session_key(session_id, session["counter"]["first_sequence"])
    await archive.put(await _own(archive, key, "created_at", session["created_at"]), parts())
    return Archived(session["created_at"], session["revision"], session["counter"]["last_sequence"], seen)


#: How the lines begin of what else belongs to a session.
_BELONGINGS = tuple(line_of(kind, {})[:-1] + "," for kind in ("run", "artifact"))


def with_line(seen: int, line: str) -> int:
    """Add a line to what was seen: a number that stands for a set of lines, in whatever order they come."""
    return (seen + int.from_bytes(hashlib.sha256(line.encode()).digest())) % 2**256


async def _refuse_shrunk(store: SessionStore, before: Mapping[str, Any]) -> None:
    async with aclosing(aiter(SessionExport(store, before["id"], include_artifacts=False))) as lines:
        now = json.loads(await anext(lines))
    if now["counter"]["pruned"] != before["counter"]["pruned"]:
        message = f"events of session {before['id']!r} were deleted while it was archived"
        raise ConflictError(message, reason="stale_session", session_id=before["id"])


async def archive_events(archive: ArtifactStore, session_id: str, found: Sequence[Mapping[str, Any]]) -> None:
    """Write events of one session, given as rows in the order of their numbers.

    Raises:
        CorruptRowError: A row is malformed.
    """
    first, last = found[0]["sequence_number"], found[-1]["sequence_number"]
    lines = (f"{line_of('event', plain(row, EVENT_ROWS))}\n".encode() for row in found)
    await archive.put(await _own(archive, events_key(session_id, first, last), "id", found[0]["id"]), lines)


async def _own(archive: ArtifactStore, key: str, name: str, value: str) -> str:
    """Answer the key of an archive, or one beside it when another session of the same id, deleted since, has it.

    A repeat finds its own archive there, whose first line has this value under this name, and replaces it.
    """
    try:
        async with aclosing(_lines(archive, key)) as lines:
            there = json.loads(await anext(lines))
    except NotFoundError:
        return key
    except (StopAsyncIteration, ValueError):
        there = {}  # it is somebody else's, whatever it is
    if there.get(name) == value:
        return key
    return f"{key.removesuffix('.jsonl')}~{hashlib.sha256(value.encode()).hexdigest()[:16]}.jsonl"


async def _lines(archive: ArtifactStore, key: str) -> AsyncGenerator[bytes, None]:
    held, parts = b"", archive.open(key)
    try:
        async for part in parts:
            *lines, held = (held + part).split(b"\n")
            for line in lines:
                yield line
    finally:
        if isinstance(parts, AsyncGenerator):
            await parts.aclose()  # which has a file open, or a connection
