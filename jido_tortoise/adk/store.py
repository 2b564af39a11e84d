"""ADK sessions on the host's own Tortoise connection: SQLite and PostgreSQL, the same to the corner cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

from jido_tortoise import checks, journal, probe, seams, telemetry, times
from jido_tortoise.adk import routing, rows, statements
from jido_tortoise.adk.care import SessionCare
from jido_tortoise.adk.event_checks import check_event
from jido_tortoise.adk.holes import Holes, holes_of
from jido_tortoise.adk.keys import key_values, no_session, session_key
from jido_tortoise.adk.models import COLUMNS, AdkSession
from jido_tortoise.adk.pages import SessionPages
from jido_tortoise.adk.rows import EventRow, Key, SessionRow
from jido_tortoise.adk.statements import APP_STATE, SESSIONS, SHARED, USER_STATE
from jido_tortoise.adk.values import Event, Session
from jido_tortoise.database import Db, check_timeout, resolve
from jido_tortoise.errors import (
    AlreadyExistsError,
    ConflictError,
    CorruptRowError,
    DuplicateEntryError,
    InvalidInputError,
    JidoError,
    NotFoundError,
    StorageUnavailableError,
)
from jido_tortoise.journal import Append, Follower, Refused
from jido_tortoise.journal.run import run

#: The states of an app and of a user, and what tells a session from others under its key.
_Shared = tuple[dict[str, Any], dict[str, Any], int | None]

#: How often a read or a write is tried when others were at work between its statements.
_LOOKS = 4


class AdkSessionStore(SessionPages, SessionCare):
    """Sessions, their events, and the state that they share, in the tables of `jido_tortoise.adk.models`.

    A cheap value: it holds no pool and no task, and may be made anew for every call. Inside a transaction of the host
    on the same connection everything joins it.

    Args:
        connection: An alias of the host's Tortoise config; None takes the one that our app is registered with.
        schema: The PostgreSQL schema of our tables; None leaves it to the search path.
        timeout: Seconds for each statement, waiting for a connection included; 30 when None, `float("inf")` for none.
    """

    __slots__ = ("connection", "schema", "timeout")

    #: What it can beyond create, get, list, delete, append and the user's state; for the contract suite of the toolkit.
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"check_stale", "pages", "prune", "delete_invocation", "copy", "rewind"}
    )

    def __init__(self, connection: str | None = None, schema: str | None = None, timeout: float | None = None) -> None:
        self.connection = connection
        self.schema = None if schema is None else checks.text(schema, "schema")
        self.timeout = check_timeout(timeout)

    def __repr__(self) -> str:
        return f"AdkSessionStore(connection={self.connection!r}, schema={self.schema!r}, timeout={self.timeout!r})"

    async def connected(self) -> Db:
        """Answer the connection, once it is known to have our tables; for what is built on the store."""
        db = resolve(self.connection, AdkSession, schema=self.schema, timeout=self.timeout)
        await probe.check_once(db, COLUMNS)
        return db

    # -- writing --------------------------------------------------------------------------------------------------

    async def create(
        self, *, app_name: str, user_id: str, session_id: str | None = None, state: Mapping[str, Any] | None = None
    ) -> Session:
        """Make a session, and answer it with the state that it begins with, the shared one included.

        Args:
            app_name: The app.
            user_id: The user.
            session_id: Unique for app and user; made when None.
            state: Keys with `app:` and `user:` are merged into what is shared, those with `temp:` are dropped.

        Raises:
            AlreadyExistsError: There is one with this id; nothing was written.
            UnstorableError: The state cannot be stored.
            StorageUnavailableError: Where its `outcome` is "unknown", the session may be there.
        """
        return await self.make(
            session_key(app_name, user_id, seams.new_id("") if session_id is None else session_id), state
        )

    async def make(self, key: Key, state: Mapping[str, Any] | None) -> Session:
        """Make a session under a key; see `create`."""
        deltas = routing.split(checks.string_map({} if state is None else state, "state"))
        values, followers = _deltas(deltas, "state")
        values["state"] = values["state"] or "{}"
        now = times.now()
        with telemetry.operation("adk_create", session_id=key[2]):
            db = await self.connected()
            request = Append(
                key=key, columns=_NO_ROWS, now=times.stored_time(now, db.dialect), values=values, must_be_new=True
            )
            app, user, identity = await self._make(db, request, followers)
        state = routing.merge(app, user, deltas.session)
        return Session(
            app_name=key[0],
            user_id=key[1],
            id=key[2],
            state=state,
            created_at=now,
            last_update_time=now,
            identity=identity or 0,  # of none, when it has been deleted by now
        )

    async def _make(self, db: Db, request: Append, followers: tuple[Follower, ...]) -> _Shared:
        key, together = request.key, SHARED.get(len(followers))
        try:
            written = await journal.append(db, SESSIONS, request, None, together or followers)
        except Refused as refused:
            if refused.head is None:
                await self._shared(db, key)  # which may be malformed
            raise AlreadyExistsError(
                f"there is a session {key[2]!r} of app {key[0]!r} and user {key[1]!r} already", key=key
            ) from refused
        if together:
            return _beside(written.answers, key)
        try:
            return await self._shared(db, key)
        except StorageUnavailableError as error:
            error.facts["outcome"] = "unknown"  # the session is there by now
            raise

    async def _shared(self, db: Db, key: Key) -> _Shared:
        """Answer the states of the app and of the user, and what tells the session from others under its key."""
        (found,) = await run(db, statements.beside(db.schema, db.dialect), key_values(key))
        return _beside(found, key)

    async def append_event(self, session: Session, event: Event, *, check_stale: bool = False) -> Session:
        """Store an event and the changes of state that come with it: all together or nothing.

        Appending the same event once more writes nothing. A partial event is not stored at all.

        Args:
            session: It names where to; neither it nor the event is changed.
            event: What to append; keys with `temp:` are left out of what is stored.
            check_stale: Whether to refuse the append when others have appended since the session was read, or have
                deleted it and made another one under its names.

        Returns:
            The session with the event. Its `rev` has moved on only when nobody else had appended.

        Raises:
            NotFoundError: The session is not there (any more).
            ConflictError: `stale_session`, when that was to be checked.
            DuplicateEntryError: The session has another event with this id.
            InvalidInputError: The event is none, or a part of it is not what its field says; `path` says which.
            UnstorableError: Nothing was written; `path` says what cannot be stored.
        """
        if not isinstance(session, Session):
            raise InvalidInputError.at("session", "a Session", session)
        check_event(event)
        key = session_key(session.app_name, session.user_id, session.id)
        if event.partial:
            return session
        with telemetry.operation("adk_append_event", session_id=key[2]) as span:
            db = await self.connected()
            row = rows.encode_event(event, db.dialect)
            expected, identity = (session.rev, session.identity) if check_stale else (None, None)
            delta = event.actions.state_delta
            rev = await self.append_row(db, key, row, delta, expected=expected, identity=identity)
            span.set(rev=rev)
        return _after(session, event, rev)

    async def append_row(
        self,
        db: Db,
        key: Key,
        row: EventRow,
        delta: Mapping[str, Any],
        extra: str = "{}",
        *,
        expected: int | None = None,
        identity: int | None = None,
    ) -> int:
        """Store an event's row with its delta, and answer the session's revision after it; see `append_event`."""
        values, followers = _deltas(routing.split(delta), "event.actions.state_delta")
        values["extra"] = extra
        columns = [(value,) for value in row]
        request = Append(
            key=key,
            columns=columns,
            now=row.timestamp,
            values=values,
            must_exist=True,
            expected=expected,
            identity=identity,
        )
        return await self._append(db, request, followers, row)

    async def _append(self, db: Db, request: Append, followers: tuple[Follower, ...], row: EventRow) -> int:
        for _ in range(_LOOKS):
            try:
                return (await journal.append(db, SESSIONS, request, None, followers)).counter
            except Refused as refused:
                if refused.found:
                    return _repeated(request, row, refused.found[0])
                if refused.head is None:
                    raise no_session(request.key) from refused.__cause__
                if _is_stale(request, refused):
                    raise _stale(request, refused.head.counter) from None
                await self._read(db, request.key, 0)  # which fails, too, when a state is malformed
        raise rows.corrupt(
            "adk_events", request.key, "there are events that the session does not count", reason="orphaned_events"
        )

    async def delete(self, *, app_name: str, user_id: str, session_id: str) -> None:
        """Remove a session and its events, together; nothing happens when there is none. Shared state stays."""
        key = session_key(app_name, user_id, session_id)
        with telemetry.operation("adk_delete", session_id=session_id):
            await journal.delete(await self.connected(), SESSIONS, key)

    # -- reading --------------------------------------------------------------------------------------------------

    async def get(
        self,
        *,
        app_name: str,
        user_id: str,
        session_id: str,
        num_recent_events: int | None = None,
        after: datetime | None = None,
    ) -> Session:
        """Answer a session with its state, the shared one included, and its events in the order of their appends.

        Args:
            app_name: The app.
            user_id: The user.
            session_id: The session.
            num_recent_events: Only the last so many events, of those that `after` leaves; 0 for none.
            after: Only events with a later timestamp than this one, which must have a time zone.

        Raises:
            NotFoundError: There is none.
            CorruptRowError: A row is malformed, or events are missing.
        """
        key = session_key(app_name, user_id, session_id)
        if num_recent_events is not None:
            checks.whole(num_recent_events, "num_recent_events")
        if after is not None:
            times.check_moment(after, "after")
        with telemetry.operation("adk_get", session_id=session_id) as span:
            found = await self._read(await self.connected(), key, num_recent_events, after)
            span.set(rev=found.rev, count=len(found.events))
            return found

    async def _read(self, db: Db, key: Key, most: int | None = None, after: datetime | None = None) -> Session:
        head, events = await self.read(db, key, most, after)
        return rows.decode_session(head, key[0], rows.decode_events(events, key))

    async def read(
        self,
        db: Db,
        key: Key,
        most: int | None = None,
        after: datetime | None = None,
        *,
        since: float | None = None,
        start: Callable[[SessionRow], int] | None = None,
    ) -> tuple[SessionRow, list[Any]]:
        """Read the rows of a session and of the wished events, see `get`; for what is built on the store.

        Args:
            db: The connection.
            key: The session.
            most: Only the last so many events.
            after: Only events with a later timestamp.
            since: Instead: those of that timestamp too, in seconds since 1970.
            start: Instead of all that: answers, for the session's row, from which number on.
        """
        for left in reversed(range(_LOOKS)):
            found = await run(db, statements.head(db.schema, db.dialect), key_values(key))
            if not found:
                break
            head = SessionRow(*found[0])
            rows.check_numbers(head.rev, head.first_seq, key)
            if start is None:
                events = await _events(db, head, key, most, after, since)
            else:
                events = await _between(db, head, key, max(start(head), head.first_seq))
            if events is not None:
                return head, events
            if not left:
                raise _lacking(head, key)
        raise no_session(key)

    async def list(
        self,
        *,
        app_name: str,
        user_id: str | None = None,
        events: bool = True,
        on_corrupt: Callable[[CorruptRowError], object] | None = None,
    ) -> Sequence[Session]:
        """Answer all sessions of a user, or of the app, the one that was changed last at the end.

        Args:
            app_name: The app.
            user_id: The user; None for all of them.
            events: Whether they come with their events.
            on_corrupt: Called with the error of each session that cannot be read, which is then left out.

        Raises:
            CorruptRowError: A row is malformed, and no `on_corrupt` was given.
        """
        checks.text(app_name, "app_name")
        if user_id is not None:
            checks.text(user_id, "user_id")
        values = {"app_name": app_name, "user_id": user_id}
        with telemetry.operation("adk_list", app_name=app_name) as span:
            db = await self.connected()
            of_user = user_id is not None
            heads = await self.heads(db, app_name, user_id)
            parts: dict[tuple[str, str], list[Any]] = defaultdict(list)
            if events and heads:
                for user, name, *row in await run(db, statements.events_of_all(of_user, db.schema, db.dialect), values):
                    parts[user, name].append(row)
            sessions = []
            for head in heads:
                try:
                    mine = parts[head.user_id, head.id] if events else None
                    sessions.append(await self._listed(db, head, app_name, mine))
                except NotFoundError:  # it was deleted meanwhile
                    continue
                except CorruptRowError as error:
                    if on_corrupt is None:
                        raise
                    on_corrupt(error)
            span.set(count=len(sessions))
            return sessions

    async def heads(self, db: Db, app_name: str, user_id: str | None) -> Sequence[SessionRow]:
        """Read the rows of all sessions, without their events; see `list`."""
        values = {"app_name": app_name, "user_id": user_id}
        statement = statements.heads(user_id is not None, db.schema, db.dialect)
        return [SessionRow(*row) for row in await run(db, statement, values)]

    async def _listed(self, db: Db, head: SessionRow, app_name: str, found: Sequence[Any] | None) -> Session:
        key = (app_name, head.user_id, head.id)
        if found is None:
            return rows.decode_session(head, app_name, ())
        rows.check_numbers(head.rev, head.first_seq, key)
        mine = [row for row in found if head.first_seq <= row[0] < head.rev]
        if len(mine) != _count(
            holes_in(head, key), head.first_seq, head.rev
        ):  # it has changed between the two statements
            return await self._read(db, key)
        return rows.decode_session(head, app_name, rows.decode_events(mine, key))

    async def get_user_state(self, *, app_name: str, user_id: str) -> dict[str, Any]:
        """Answer the state that a user's sessions share, its keys without a prefix; {} when there is none."""
        checks.text(app_name, "app_name")
        checks.text(user_id, "user_id")
        with telemetry.operation("adk_get_user_state", app_name=app_name):
            db, values = await self.connected(), {"app_name": app_name, "user_id": user_id}
            (shared,) = await run(db, statements.states(db.schema, db.dialect), values)
            return _states(shared, app_name, user_id)[1]


# -- parts ----------------------------------------------------------------------------------------------------------

_NO_ROWS: tuple[tuple[Any, ...], ...] = ((),) * len(SESSIONS.row)


def _states(found: Sequence[Any], app_name: str, user_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Answer the states of the app and of the user."""
    app, user = found
    return (
        rows.decode_state(app, "adk_app_states", (app_name,)),
        rows.decode_state(user, "adk_user_states", (app_name, user_id)),
    )


def _beside(found: Sequence[Any], key: Key) -> _Shared:
    *shared, identity = found
    return *_states(shared, key[0], key[1]), identity


def _deltas(deltas: routing.Deltas, path: str) -> tuple[dict[str, Any], tuple[Follower, ...]]:
    """Answer the values of the states, and the rows to write beside the session: only those with a delta."""
    values = {
        "state": rows.encode_state(deltas.session, path),
        "app_state": rows.encode_state(deltas.app, path),
        "user_state": rows.encode_state(deltas.user, path),
        "extra": "{}",
    }
    wished = ((APP_STATE, values["app_state"]), (USER_STATE, values["user_state"]))
    return values, tuple(follower for follower, delta in wished if delta is not None)


def _after(session: Session, event: Event, rev: int) -> Session:
    if rev <= session.rev:  # a repeat of what the session has
        return session
    given = event.actions.state_delta
    delta = routing.without_temp(given)
    stored = event if len(delta) == len(given) else replace(event, actions=replace(event.actions, state_delta=delta))
    return Session(
        app_name=session.app_name,
        user_id=session.user_id,
        id=session.id,
        state={**session.state, **delta},
        events=(*session.events, stored),
        # A copy that lacks the events of others stays one.
        rev=rev if rev == session.rev + 1 else session.rev,
        created_at=session.created_at,
        last_update_time=event.timestamp,
        identity=session.identity,
    )


def _repeated(request: Append, row: EventRow, stored: Sequence[Any]) -> int:
    if rows.same_event(row, stored):
        return int(stored[0]) + 1
    raise DuplicateEntryError(
        f"session {request.key} has another event with the id {row.id!r}", key=request.key, entry_id=row.id
    )


def _is_stale(request: Append, refused: Refused) -> bool:
    if request.expected is None or refused.head is None:
        return False
    # Where it is as far as expected, and no constraint was in the way, it is another one under the same key.
    is_another = request.identity is not None and refused.__cause__ is None
    return is_another or request.expected != refused.head.counter


def _stale(request: Append, actual: int) -> ConflictError:
    what = f"it is at revision {actual}, expected was {request.expected}"
    if actual == request.expected:
        what = "it is another session under its names"
    return ConflictError(
        f"session {request.key} was modified in storage: {what}; get it again and repeat",
        reason="stale_session",
        key=request.key,
        expected=request.expected,
        actual=actual,
    )


async def _events(
    db: Db, head: SessionRow, key: Key, most: int | None, after: datetime | None, since: float | None
) -> list[Any] | None:
    """Read the wished events of a session as it was at that head; None when it has changed since."""
    values = key_values(key) | {"stop": head.rev, "limit": most}
    if after is not None:
        values |= {"after": times.stored_time(after, db.dialect)}
        statement = statements.events_after(most is not None, db.schema, db.dialect)
        return (await run(db, statement, values))[::-1]
    if since is not None:
        values |= {"since": since, "after": times.stored_time(times.moment_from(since), db.dialect)}
        statement = statements.events_since(most is not None, db.schema, db.dialect)
        return (await run(db, statement, values))[::-1]
    if most is not None:
        return await _between(db, head, key, holes_in(head, key).start_of_last(most, head.first_seq, head.rev))
    return await _between(db, head, key, head.first_seq)


async def _between(db: Db, head: SessionRow, key: Key, first: int) -> list[Any] | None:
    """Read a session's events from a number on, as it was at that head; None when it has changed since."""
    if first >= head.rev:
        return []
    found = await journal.read_rows(db, SESSIONS, key, first, head.rev)
    return found if len(found) == _count(holes_in(head, key), first, head.rev) else None


def holes_in(head: SessionRow, key: Key) -> Holes:
    """Answer which of a session's events were deleted; a malformed row is a CorruptRowError that names it."""
    try:
        return holes_of(head.extra, head.rev)
    except ValueError as error:
        raise rows.corrupt("adk_sessions", key, str(error)) from error


def _count(holes: Holes, start: int, stop: int) -> int:
    return stop - start - holes.between(start, stop)


def _lacking(head: SessionRow, key: Key) -> JidoError:
    return rows.corrupt(
        "adk_events",
        key,
        f"the session says that it has the events {head.first_seq} to {head.rev - 1}, but some are not there",
        reason="invalid_session_revision",
    )
