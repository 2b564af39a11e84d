"""google-adk's sessions in the host's own database: what its `Runner` and its web server take as a session service.

It writes the rows of `AdkSessionStore`, which may read and write them too. What google calls the storage update marker
is a number that every append makes one higher, and that no other session under the same names ever has: a copy that
lacks an event of another writer, or is of a session that was deleted, is always told so, whatever the clocks say.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit
from weakref import WeakKeyDictionary

from google.adk.errors import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events import Event
from google.adk.sessions import BaseSessionService, Session
from google.adk.sessions.base_session_service import GetSessionConfig, ListSessionsResponse

from jido_tortoise import checks, codec, commits, errors, journal, seams, telemetry, times
from jido_tortoise.adk import google_events, rows, values
from jido_tortoise.adk.google_cache import Cache, Known
from jido_tortoise.adk.keys import no_session, session_key
from jido_tortoise.adk.opening import Opening, OpeningStore
from jido_tortoise.adk.rows import Key, SessionRow
from jido_tortoise.adk.safe_state import safe_state
from jido_tortoise.adk.statements import SESSIONS
from jido_tortoise.adk.store import AdkSessionStore, holes_in
from jido_tortoise.database import Db
from jido_tortoise.errors import ConflictError, CorruptRowError, InvalidInputError, NotFoundError, UnstorableError

#: What tells a session from others under its names, and its revision: the number of events ever appended.
Place = tuple[int, int]  # a marker is both of them in one number
#: The marker of no session.
_NOWHERE = "0"


class TortoiseSessionService(BaseSessionService):
    """A session service for google-adk on the host's Tortoise connection, SQLite or PostgreSQL.

    It opens nothing, unless made by `from_uri`. Any number of them, in any number of processes, may serve the same
    sessions.

    Args:
        connection: An alias of the host's Tortoise config; None takes the one that our app is registered with.
        schema: The PostgreSQL schema of our tables; None leaves it to the search path.
        timeout: Seconds for each statement, waiting for a connection included; 30 when None.
        cache: How many events, of the sessions that were loaded last, are kept to load these again without reading and
            validating them once more; 0 for none. What others append or delete is seen all the same.
        on_corrupt: Called by `list_sessions` with the error of each session that cannot be read, which is then left
            out; it raises that error when None.
    """

    def __init__(
        self,
        connection: str | None = None,
        schema: str | None = None,
        timeout: float | None = None,
        *,
        cache: int = 0,
        on_corrupt: Callable[[CorruptRowError], object] | None = None,
    ) -> None:
        #: The store beneath, for what google-adk has no method for: pages, pruning, copies.
        self.store = AdkSessionStore(connection, schema, timeout)
        self._on_corrupt = on_corrupt
        self._most = checks.whole(cache, "cache")
        #: By connection; what is known ends with it.
        self._caches: WeakKeyDictionary[Any, Cache] = WeakKeyDictionary()
        self._opening: Opening | None = None

    @classmethod
    def from_uri(cls, uri: str, **options: Any) -> TortoiseSessionService:
        """Make a service that opens Tortoise itself at its first call, for google-adk's registry of services.

        A Tortoise that the process has open by then is taken as it is.

        Args:
            uri: `tortoise://settings.TORTOISE_ORM`, the module and the name of the config; a module of the current
                folder is found too. A query may follow with the `connection`, `schema`, `timeout` and `cache` of the
                class.
            options: The other arguments of the class; `agents_dir`, which the registry gives, is left out. Without an
                `on_corrupt` the log tells of sessions that cannot be read.

        Raises:
            ConfigError: There is no such config.
            InvalidInputError: The URI says something else.
        """
        name, asked = _read_uri(uri)
        given = {key: value for key, value in options.items() if key != "agents_dir"}
        options = {"on_corrupt": _warn, **asked, **given}
        made = cls(**options)
        made._opening = Opening(name)
        made.store = OpeningStore(made._opening, made.store.connection, made.store.schema, made.store.timeout)
        return made

    async def close(self) -> None:
        """Close the Tortoise that a service made by `from_uri` has opened; nothing happens with any other."""
        if self._opening is not None:
            await self._opening.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- writing --------------------------------------------------------------------------------------------------

    async def create_session(
        self,
        *,
        app_name: str,
        user_id: str,
        state: dict[str, Any] | None = None,
        session_id: str | None = None,
    ) -> Session:
        """Make a session, and answer it with the state that it begins with, the shared one included.

        Args:
            app_name: The app.
            user_id: The user.
            state: Keys with `app:` and `user:` are merged into what is shared, those with `temp:` are dropped.
            session_id: Without the blanks around it; made when there is nothing else.

        Raises:
            AlreadyExistsError: google-adk's: there is one with this id; nothing was written.
            InvalidInputError: A name cannot be stored (a ValueError).
        """
        name = session_id.strip() if isinstance(session_id, str) else session_id
        key = session_key(app_name, user_id, seams.new_id("") if name in (None, "") else name)
        try:
            made = await self._make(key, {} if state is None else state)
        except errors.AlreadyExistsError as error:
            raise AlreadyExistsError(f"Session with id {key[2]} already exists.") from error
        place, updated = (made.identity or 0, 0), made.last_update_time.timestamp()
        return _forget_when_undone(await self.store.connected(), _session(key, _apart(made.state), [], place, updated))

    async def _make(self, key: Key, state: Mapping[str, Any]) -> values.Session:
        try:
            return await self.store.make(key, state)
        except UnstorableError as error:
            return await self.store.make(key, safe_state(state, error))

    async def append_event(self, session: Session, event: Event) -> Event:
        """Store an event and the changes of state that come with it, and add both to the session in hand.

        A partial event is neither stored nor added. An event that is stored already is not stored again. Tasks that
        share one session object take turns; of two copies of a session only the one that has all events may append.

        Args:
            session: Where to; it is changed.
            event: What to append; what is temporary is taken out of it.

        Returns:
            The event.

        Raises:
            InvalidInputError: One of them is no object of google-adk's.
            SessionNotFoundError: google-adk's: the session is not there (any more).
            StaleSessionError: google-adk's: others have appended since it was read; nothing was written.
            DuplicateEntryError: The session has another event with this id.
            UnstorableError: There is something in the event, beside the state, that cannot be written as JSON.
        """
        for path, value, kind in (("session", session, Session), ("event", event, Event)):
            if not isinstance(value, kind):
                raise InvalidInputError.at(path, f"google-adk's {kind.__name__}", value)
        if event.partial:
            return event
        async with _turn_of(session):
            self._apply_temp_state(session, event)
            event = self._trim_temp_delta_state(event)
            with telemetry.operation("adk_append_event", session_id=session.id) as span:
                (identity, before), after = await self._append(session, event)
                span.set(rev=after)
            if after != before + 1:  # it was stored before, and the session has it or is stale
                return event
            _mark(session, (identity, after), event.timestamp)
            return self._commit_event_to_session(session, event)

    async def _append(self, session: Session, event: Event) -> tuple[Place, int]:
        """Answer where the session was, and the revision that the event has led to."""
        try:
            _check_named(session)
            db = await self.store.connected()
            identity, rev = place = await self._place(db, session)
            encoded = _encoded(session, event, db)
            after = await self.store.append_row(db, *encoded, expected=rev, identity=identity)
            _forget_when_undone(db, session)
            return place, after
        except NotFoundError as error:
            raise SessionNotFoundError(f"Session {session.id} not found.") from error
        except ConflictError as error:
            if error.reason != "stale_session":
                raise
            raise _stale(session) from error

    async def _place(self, db: Db, session: Session) -> Place:
        """Answer where a session in hand is.

        Raises:
            NotFoundError: It has no marker, and is not stored.
            StaleSessionError: It has no marker, and lacks what is stored.
        """
        marker = session._storage_update_marker
        if marker is not None and marker.isdecimal():
            return divmod(int(marker), rows.MOST_EVENTS)
        head, last = await self.store.read(db, (session.app_name, session.user_id, session.id), 1)
        mine = session.events[-1].id if session.events else None
        # One without events may have been read without them; its time is all that it can be known by.
        known = times.moment_of(session.last_update_time, "session.last_update_time")
        if mine != (last[0][1] if last else None) and (mine or times.read_time(head.updated_at) > known):
            raise _stale(session)
        return head.identity, head.rev

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        """Remove a session and its events, together; nothing happens when there is none. Shared state stays."""
        names = _names(app_name, user_id, session_id)
        if names is not None:
            app_name, user_id, session_id = await _stored_key(await self.store.connected(), names)
            await self.store.delete(app_name=app_name, user_id=user_id, session_id=session_id)

    async def flush(self) -> None:
        """Do nothing: what was appended is stored."""

    # -- reading --------------------------------------------------------------------------------------------------

    async def get_session(
        self, *, app_name: str, user_id: str, session_id: str, config: GetSessionConfig | None = None
    ) -> Session | None:
        """Answer a session with its state, the shared one included, and its events in the order of their appends.

        Args:
            app_name: The app.
            user_id: The user.
            session_id: The session.
            config: Only the last events, or those from a time on; read from the database are only these.

        Returns:
            The session; None when there is none.

        Raises:
            CorruptRowError: A row is malformed, or events are missing.
        """
        names = _names(app_name, user_id, session_id)
        if names is None:
            return None
        with telemetry.operation("adk_get", session_id=session_id) as span:
            try:
                found = await self._get(names, config or GetSessionConfig())
            except NotFoundError:
                return None
            span.set(count=len(found.events))
            return found

    async def _get(self, names: Key, config: GetSessionConfig) -> Session:
        db = await self.store.connected()
        key = await _stored_key(db, names)
        is_whole = config.num_recent_events is None and config.after_timestamp is None
        if self._most and is_whole and not db.in_transaction:  # what a transaction sees may never have been
            return await self._get_again(db, key)
        head, found = await self.store.read(db, key, config.num_recent_events, since=config.after_timestamp)
        return _forget_when_undone(db, _of_row(head, key[0], google_events.decode_events(found, key)))

    async def _get_again(self, db: Db, key: Key) -> Session:
        cache = self._caches.setdefault(db.root, Cache(self._most))
        known = cache.get(key)
        head, found = await self.store.read(db, key, start=known.start)
        if known.start(head) and not known.fits(found):
            known = Known()
            head, found = await self.store.read(db, key)
        elif not known.start(head):
            known = Known()
        new = [row for row in found if row[0] not in known.events]
        events = google_events.decode_events(new, key)
        after = known.joined(head, holes_in(head, key), {row[0]: e for row, e in zip(new, events, strict=True)})
        return _of_row(head, key[0], cache.load(key, known, after))

    async def list_sessions(self, *, app_name: str, user_id: str | None = None) -> ListSessionsResponse:
        """Answer all sessions of a user, or of the app, with their state and without their events.

        Args:
            app_name: The app.
            user_id: The user; None for all of them.

        Returns:
            The one that was changed last at the end.

        Raises:
            CorruptRowError: A row is malformed, and the service has no `on_corrupt`.
        """
        if not checks.is_text(app_name) or not (user_id is None or checks.is_text(user_id)):
            return ListSessionsResponse()
        with telemetry.operation("adk_list", app_name=app_name) as span:
            sessions = []
            for head in await self.store.heads(await self.store.connected(), app_name, user_id):
                try:
                    sessions.append(_of_row(head, app_name, []))
                except CorruptRowError as error:
                    if self._on_corrupt is None:
                        raise
                    self._on_corrupt(error)
            span.set(count=len(sessions))
        # Once more, since a column holds microseconds.
        sessions.sort(key=lambda session: (session.last_update_time, session.user_id, session.id))
        return ListSessionsResponse(sessions=sessions)

    async def get_user_state(self, *, app_name: str, user_id: str) -> dict[str, Any]:
        """Answer the state that a user's sessions share, its keys without a prefix; {} when there is none."""
        if not (checks.is_text(app_name) and checks.is_text(user_id)):
            return {}
        return await self.store.get_user_state(app_name=app_name, user_id=user_id)


# -- the URI ------------------------------------------------------------------------------------------------------

_log = logging.getLogger("jido_tortoise")


def _warn(error: CorruptRowError) -> None:
    _log.warning("a session is left out of a list: %s", error)


_ASKED: Mapping[str, Callable[[str], Any]] = {"connection": str, "schema": str, "timeout": float, "cache": int}


def _read_uri(uri: str) -> tuple[str, dict[str, Any]]:
    """Answer the name of the config, and the arguments that the query asks for."""
    parts = urlsplit(uri)
    name = (parts.netloc + parts.path).strip("/")
    words = name.split(".")
    if parts.scheme != "tortoise" or len(words) < 2 or not all(map(str.isidentifier, words)):
        raise InvalidInputError.at("uri", "tortoise://MODULE.NAME of a Tortoise config", uri)
    try:
        asked = {key: _ASKED[key](value) for key, value in parse_qsl(parts.query, keep_blank_values=True)}
    except (KeyError, ValueError) as error:
        raise InvalidInputError.at("uri", f"a query of {', '.join(_ASKED)}", parts.query) from error
    return name, asked


# -- names --------------------------------------------------------------------------------------------------------


def _names(app_name: str, user_id: str, session_id: str) -> Key | None:
    """Answer what may name a session; None when it is what no session can be called."""
    names = (app_name, user_id, session_id)
    return names if all(map(checks.is_text, names)) and session_id.strip() else None


def _check_named(session: Session) -> None:
    key = (session.app_name, session.user_id, session.id)
    if _names(*key) is None:  # PostgreSQL would refuse the statement
        raise no_session(key)


async def _stored_key(db: Db, names: Key) -> Key:
    """Answer under which key a session is: without the blanks around its id, unless another program stored them."""
    app_name, user_id, session_id = names
    if session_id == session_id.strip() or await journal.read_head(db, SESSIONS, names) is not None:
        return names
    return app_name, user_id, session_id.strip()


# -- revisions ----------------------------------------------------------------------------------------------------


def _stale(session: Session) -> StaleSessionError:
    return StaleSessionError(
        f"The session {session.id} has been modified in storage since it was loaded."
        " Please reload the session before appending more events."
    )


def _mark(session: Session, place: Place, updated: float) -> None:
    identity, rev = place
    session.last_update_time = updated
    session._storage_update_marker = str(identity * rows.MOST_EVENTS + rev)


def _forget_when_undone(db: Db, session: Session) -> Session:
    """Take the marker of a session in hand away when the transaction around is rolled back.

    Its number may be another writer's by then. Without one the session is known by its last event, which is not there;
    one that has none, and nothing else to be known by, is stale.
    """
    if not db.in_transaction:
        return session

    async def forget() -> None:
        session._storage_update_marker = None if session.events else _NOWHERE

    async def look() -> commits.Then:
        return _keep

    commits.wait_for(db.outermost.client, look, forget)
    return session


async def _keep() -> None:
    """Nothing is to be done after a commit."""


# -- turns --------------------------------------------------------------------------------------------------------

#: Of each session object that somebody appends to: a lock, and how many hold it or wait for it.
_turns: dict[int, tuple[asyncio.Lock, int]] = {}


@asynccontextmanager
async def _turn_of(session: Session) -> AsyncIterator[None]:
    # By identity: parallel branches of an invocation share one object, and each append changes its revision.
    lock, waiting = _turns.get(id(session), (None, 0))
    lock = lock or asyncio.Lock()
    _turns[id(session)] = lock, waiting + 1
    try:
        async with lock:
            yield
    finally:
        lock, waiting = _turns.pop(id(session))
        if waiting > 1:
            _turns[id(session)] = lock, waiting - 1


# -- sessions -----------------------------------------------------------------------------------------------------


def _encoded(session: Session, event: Event, db: Db) -> tuple[Key, rows.EventRow, Mapping[str, Any], str]:
    """Answer the key, the event's row, its delta as it is stored, and the session's `extra`."""
    key = (session.app_name, session.user_id, session.id)
    delta: Mapping[str, Any] = event.actions.state_delta
    try:
        row = google_events.encode_event(event, delta, db.dialect)
    except UnstorableError as error:
        if not error.path.startswith("event.actions.state_delta"):
            raise
        delta = safe_state(delta, error)
        row = google_events.encode_event(event, delta, db.dialect)
    return key, row, delta, codec.dump_map({"last_update_time": event.timestamp})


def _of_row(head: SessionRow, app_name: str, events: list[Event]) -> Session:
    known = rows.decode_session(head, app_name, ())
    extra = rows.decode_state(head.extra, "adk_sessions", known.key)
    updated = extra.get("last_update_time")
    if type(updated) is not float:
        updated = known.last_update_time.timestamp()
    return _session(known.key, dict(known.state), events, (head.identity, head.rev), updated)


def _session(key: Key, state: dict[str, Any], events: list[Event], place: Place, updated: float) -> Session:
    made = Session(app_name=key[0], user_id=key[1], id=key[2], state=state, events=events)
    _mark(made, place, updated)
    return made


def _apart(state: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a copy that shares nothing with what the caller gave."""
    made: dict[str, Any] = codec.loads(codec.dump_map(dict(state)))
    return made
