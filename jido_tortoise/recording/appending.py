"""Appending events to one session: once each, numbered by the journal, whoever else appends the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jido_tortoise import journal, times
from jido_tortoise.database import Db
from jido_tortoise.errors import CorruptRowError, JidoError
from jido_tortoise.journal import Append, Refused
from jido_tortoise.recording import listening, reading, rows, statements
from jido_tortoise.recording.entities import Event
from jido_tortoise.recording.rows import Row
from jido_tortoise.recording.statements import EVENTS
from jido_tortoise.recording.statuses import EVENT_TYPES

#: How often an append is tried again when others were at work between its statements.
_LOOKS = 4


async def append(db: Db, session_id: str, wanted: list[Row], notify: bool) -> dict[str, Event | int]:
    """Append a session's rows; answer by id the new number, or the event that was stored before."""
    stored: dict[str, Event | int] = {}
    looks = _LOOKS
    if not EVENT_TYPES.issuperset([row["type"] for row in wanted]):
        await _refuse_unknown(db, wanted)
    while wanted:
        try:
            return stored | await _append_new(db, session_id, wanted, notify)
        except Refused as refused:
            if refused.found:
                for event, row in _stored(session_id, refused.found, wanted):
                    stored[event.id] = event
                    wanted = [other for other in wanted if other is not row]
            elif not looks:
                raise _uncounted(session_id) from refused.__cause__
            else:
                looks -= 1
                await _look_why(db, session_id, wanted, refused)
    return stored


async def _append_new(db: Db, session_id: str, wanted: list[Row], notify: bool) -> dict[str, Event | int]:
    request = Append(
        key=(session_id,),
        columns=[tuple(row[column.name] for row in wanted) for column in EVENTS.row],
        now=times.stored_time(times.now(), db.dialect),
        values={"note": listening.note_of((db.schema, session_id))} if notify else {},
        must_exist=True,
    )
    followers = (statements.TELL,) if notify and db.dialect == "postgres" else ()
    written = await journal.append(db, EVENTS, request, None, followers)
    first = written.counter - len(wanted) + 1
    return {row["id"]: first + at for at, row in enumerate(wanted)}


async def _refuse_unknown(db: Db, wanted: list[Row]) -> None:
    """Refuse types that there are not, but of events of a newer version that are stored and only repeated."""
    found = await reading.all_of(
        db, statements.events_by_id(db.schema, db.dialect), {"ids": [row["id"] for row in wanted]}
    )
    there = {rows.named_event(row[0], row[1:])["id"] for row in found}
    for row in wanted:
        if row["id"] not in there:
            rows.refuse_unknown(row)


def _stored(session_id: str, found: Sequence[Sequence[Any]], wanted: list[Row]) -> list[tuple[Event, Row]]:
    """Answer the events that are stored already, each with the row that repeats it."""
    known = {row["id"]: row for row in wanted}
    repeated = []
    for row in found:
        there = rows.named_event(session_id, row)
        rows.refuse_other(known[there["id"]], there)
        repeated.append((rows.events_of([(session_id, *row)])[0], known[there["id"]]))
    return repeated


async def _look_why(db: Db, session_id: str, wanted: list[Row], refused: Refused) -> None:
    """Raise when it was refused for good; else it may be tried again."""
    if refused.head is None:
        # A session of the host's making has no counter yet.
        now = times.stored_time(times.now(), db.dialect)
        await reading.all_of(
            db, statements.make_counter(db.schema, db.dialect), {"id": session_id, "now": now}, write=True
        )
        if await journal.read_head(db, EVENTS, (session_id,)) is None:
            raise rows.missing("session", session_id) from refused.__cause__
    known = {row["id"]: row for row in wanted}
    for row in await reading.all_of(db, statements.events_by_id(db.schema, db.dialect), {"ids": list(known)}):
        there = rows.named_event(row[0], row[1:])
        if there["session_id"] != session_id:
            rows.refuse_other(known[there["id"]], there)


def _uncounted(session_id: str) -> JidoError:
    return CorruptRowError(
        f"{EVENTS.rows}: session {session_id!r} has events that {EVENTS.head} does not count; `repair` counts them",
        reason="orphaned_events",
        table=EVENTS.rows,
        key=session_id,
    )


def answer(events: Iterable[Event], stored: Mapping[str, Event | int]) -> list[Event]:
    """Answer the events as they are stored, as many as were given and in their order."""
    found = [(event, stored[event.id]) for event in events]
    return [known if isinstance(known, Event) else rows.numbered(event, known) for event, known in found]
