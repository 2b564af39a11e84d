"""What is done with stored sessions beside appending to them: pruning, deletion by invocation, copies, rewinding."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from jido_tortoise import checks, codec, journal, seams, telemetry, times
from jido_tortoise.adk import care_statements, rows, undoing
from jido_tortoise.adk.holes import extra_of
from jido_tortoise.adk.keys import key_values, no_session, session_key
from jido_tortoise.adk.locked import Head, locked, locked_row
from jido_tortoise.adk.pruning import Pruned, Rules, prune
from jido_tortoise.adk.rows import Key
from jido_tortoise.adk.statements import SESSIONS
from jido_tortoise.adk.values import Actions, Event, Session
from jido_tortoise.database import Db, transaction
from jido_tortoise.driver_errors import ConstraintError
from jido_tortoise.errors import AlreadyExistsError, ConflictError, NotFoundError
from jido_tortoise.journal.run import run

#: How often a rewind is computed anew when others append meanwhile.
_LOOKS = 4


class SessionCare:
    """The part of `AdkSessionStore` that cleans up, copies and rewinds."""

    __slots__ = ()

    async def connected(self) -> Db:
        """Answer the connection."""
        raise NotImplementedError  # pragma: no cover - the store's own

    async def get(self, *, app_name: str, user_id: str, session_id: str) -> Session:
        """Answer a session with all of its events."""
        raise NotImplementedError  # pragma: no cover - the store's own

    async def append_event(self, session: Session, event: Event, *, check_stale: bool = False) -> Session:
        """Store an event."""
        raise NotImplementedError  # pragma: no cover - the store's own

    async def prune(
        self,
        *,
        app_name: str,
        user_id: str | None = None,
        sessions_before: datetime | None = None,
        keep_sessions: int | None = None,
        events_before: datetime | None = None,
        keep_events: int | None = None,
        batch: int = 1000,
        dry_run: bool = False,
    ) -> Pruned:
        """Delete old sessions, and old events of sessions that stay; each rule that is given suffices.

        It works in small transactions, and passes over sessions that others are writing. Interrupted, it has done a
        part, and may be called again. Numbers stay as they are, and so does shared state.

        Args:
            app_name: The app.
            user_id: The user; None for all of them.
            sessions_before: Sessions that were last updated before this moment go.
            keep_sessions: Of each user, all but so many sessions go, those that were updated last stay.
            events_before: The events at a session's beginning that are older than this go, up to the first that is not.
            keep_events: All but the last so many events of a session go.
            batch: About how many events are deleted in one transaction.
            dry_run: Whether to count only.

        Raises:
            InvalidInputError: No rule was given.
            StorageUnavailableError: A part may have gone; `pruned` says how much is known to.
        """
        rules = Rules(
            app_name=app_name,
            user_id=user_id,
            sessions_before=sessions_before,
            keep_sessions=keep_sessions,
            events_before=events_before,
            keep_events=keep_events,
        )
        checks.whole(batch, "batch", least=1)
        with telemetry.operation("adk_prune", app_name=app_name) as span:
            pruned = await prune(await self.connected(), rules, batch=batch, dry_run=dry_run)
            span.set(sessions=pruned.sessions, count=pruned.events)
        return pruned

    async def delete_invocation(self, *, app_name: str, user_id: str, session_id: str, invocation_id: str) -> int:
        """Delete the events of one invocation, and answer how many there were; the state stays, and so do the numbers.

        To take back what an invocation did to the state, `rewind` before it.

        Raises:
            NotFoundError: There is no such session.
        """
        key = session_key(app_name, user_id, session_id)
        column = rows.fitting(invocation_id, 255, "invocation_id")
        with telemetry.operation("adk_delete_invocation", session_id=session_id) as span:
            async with transaction(await self.connected()) as db:
                head = await locked(db, key)
                numbers = await _numbers_of(db, key, column, invocation_id)
                if numbers:
                    given = json.dumps(numbers) if db.dialect == "sqlite" else numbers
                    values = key_values(key) | {"seqs": given}
                    await run(db, care_statements.drop_numbers(db.schema, db.dialect), values)
                    holes = head.holes.joined(numbers).within(head.row.first_seq, head.row.rev)
                    await _set(db, key, head.row.state, holes.into(head.extra))
            span.set(count=len(numbers))
        return len(numbers)

    async def copy(
        self,
        *,
        app_name: str,
        user_id: str,
        session_id: str,
        new_session_id: str | None = None,
        until: int | None = None,
    ) -> Session:
        """Make a new session of a session's events, with their ids and numbers, and answer it; the two go on apart.

        The copy's own state is that of the session. Where events are left out it is taken back to what it was before
        them: a key that one of them has set gets the value of the last copied event that set it, and goes when none
        has. Shared state is shared.

        Args:
            app_name: The app.
            user_id: The user.
            session_id: The session to copy.
            new_session_id: The copy's; made when None.
            until: The number of the first event that is left out; None copies all.

        Raises:
            NotFoundError: There is no such session.
            AlreadyExistsError: There is a session with the new id; nothing was written.
        """
        source = session_key(app_name, user_id, session_id)
        target = session_key(app_name, user_id, seams.new_id("") if new_session_id is None else new_session_id)
        stop = None if until is None else checks.whole(until, "until")
        with telemetry.operation("adk_copy", session_id=session_id) as span:
            async with transaction(await self.connected()) as db:
                head = await locked(db, source)
                await _copy(db, source, target, stop)
                if stop is not None and stop < head.row.rev:
                    await _take_back(db, source, target, head)
                elif head.extra:
                    await _set(db, target, head.row.state, head.holes.into())
                # Within it: a copy that is told to have failed must not be there.
                copied = await self.get(app_name=app_name, user_id=user_id, session_id=target[2])
            span.set(rev=copied.rev, count=len(copied.events))
            return copied

    async def rewind(
        self, *, app_name: str, user_id: str, session_id: str, before_invocation_id: str, event_id: str | None = None
    ) -> Session:
        """Take a session back to before an invocation: by one more event, as google-adk's Runner does it.

        The event names the invocation, and sets the keys of the session's own state that were set since then to what
        they were; those that were not there to None. Events are not deleted: `undoing.live` leaves out those that were
        taken back.

        Args:
            app_name: The app.
            user_id: The user.
            session_id: The session.
            before_invocation_id: The invocation; its first event counts.
            event_id: The rewinding event's, for whoever repeats a call whose outcome is unknown; made when None.

        Raises:
            NotFoundError: There is no such session, or no event of that invocation: `invocation_not_found`.
            ConflictError: Others kept appending meanwhile.
        """
        key = session_key(app_name, user_id, session_id)
        event_id = seams.new_id("") if event_id is None else event_id
        with telemetry.operation("adk_rewind", session_id=session_id) as span:
            rewound = await self._rewind(key, before_invocation_id, event_id)
            span.set(rev=rewound.rev)
            return rewound

    async def _rewind(self, key: Key, before_invocation_id: str, event_id: str) -> Session:
        app_name, user_id, session_id = key
        for left in reversed(range(_LOOKS)):
            session = await self.get(app_name=app_name, user_id=user_id, session_id=session_id)
            if any(event.id == event_id for event in session.events):
                return session
            try:
                return await self.append_event(
                    session, _rewinding(session, before_invocation_id, event_id), check_stale=True
                )
            except ConflictError as error:
                if error.reason != "stale_session" or not left:
                    raise
        raise no_session(key)  # pragma: no cover - the last round returns or raises


# -- parts --------------------------------------------------------------------------------------------------------


async def _numbers_of(db: Db, key: Key, column: str | None, invocation_id: str) -> list[int]:
    values = key_values(key) | {"invocation_id": column}
    found = await run(db, care_statements.of_invocation(db.schema, db.dialect), values)
    return [seq for seq, extra in found if _invocation(extra, key, seq, column) == invocation_id]


def _invocation(extra: str, key: Key, seq: int, column: str | None) -> Any:
    try:
        return extra_of(extra).get("invocation_id", column)
    except ValueError as error:
        raise rows.corrupt("adk_events", key, f"event {seq} is malformed: {error}", seq=seq) from error


async def _set(db: Db, key: Key, state: str, extra: str) -> None:
    values = key_values(key) | {"state": state, "extra": extra}
    await run(db, care_statements.set_session(db.schema, db.dialect), values)


async def _copy(db: Db, source: Key, target: Key, stop: int | None) -> None:
    now = times.stored_time(times.now(), db.dialect)
    try:
        await journal.copy(db, SESSIONS, source, target, stop=stop, now=now)
    except ConstraintError as error:
        raise AlreadyExistsError(
            f"there is a session {target[2]!r} of this app and user already", key=target
        ) from error


async def _take_back(db: Db, source: Key, target: Key, head: Head) -> None:
    """Set the copy's state to what it was before the events that it lacks, and its holes to those below them."""
    rev = (await locked_row(db, target)).rev  # the holes are still the source's
    found = await journal.read_rows(db, SESSIONS, source, head.row.first_seq, head.row.rev)
    events = rows.decode_events(found, source)
    kept = sum(row[0] < rev for row in found)
    values, absent = undoing.before(events[:kept], events[kept:])
    own = {**rows.decode_state(head.row.state, "adk_sessions", source), **values}
    left = codec.dump_map({name: value for name, value in own.items() if name not in absent})
    await _set(db, target, left, head.holes.within(0, rev).into())


def _rewinding(session: Session, invocation_id: str, event_id: str) -> Event:
    first = undoing.first_of(session.events, invocation_id)
    if first is None:
        raise NotFoundError(
            f"session {session.key} has no event of the invocation {invocation_id!r}",
            reason="invocation_not_found",
            key=session.key,
            invocation_id=invocation_id,
        )
    values, absent = undoing.before(session.events[:first], session.events[first:])
    actions = Actions({**values, **dict.fromkeys(sorted(absent))}, extra={undoing.REWIND: invocation_id})
    return Event(id=event_id, author="user", invocation_id=f"e-{event_id}", actions=actions)
