"""Pages of sessions, by their last update: each begins where the one before ended, whatever has happened since."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jido_tortoise import checks, codec, telemetry, times
from jido_tortoise.adk import care_statements, routing, rows
from jido_tortoise.adk.rows import SessionRow
from jido_tortoise.adk.values import Session
from jido_tortoise.codec import text
from jido_tortoise.cursors import cursor_at, place_of
from jido_tortoise.database import Db
from jido_tortoise.errors import CorruptRowError, InvalidInputError
from jido_tortoise.journal.run import run

#: Called with the error of each session that cannot be read.
OnCorrupt = Callable[[CorruptRowError], object]


@dataclass(frozen=True, slots=True)
class SessionPage:
    """One page of sessions."""

    #: Without their events.
    items: tuple[Session, ...]
    #: Give this as `after` to get the next page; None after the last one.
    next: str | None


class SessionPages:
    """The part of `AdkSessionStore` that pages."""

    __slots__ = ()

    async def connected(self) -> Db:
        """Answer the connection."""
        raise NotImplementedError  # pragma: no cover - the store's own

    async def page_sessions(
        self,
        *,
        app_name: str,
        user_id: str | None = None,
        updated_after: datetime | None = None,
        updated_before: datetime | None = None,
        where: Mapping[str, Any] | None = None,
        newest_first: bool = True,
        with_state: bool = True,
        limit: int = 100,
        after: str | None = None,
        on_corrupt: OnCorrupt | None = None,
    ) -> SessionPage:
        """Answer a page of sessions without their events, in the order of their last updates.

        A session that is updated meanwhile moves to the newest end: pages with the oldest first show it once more,
        those with the newest first do not show it again, and miss it when they had not come to it yet.

        Args:
            app_name: The app.
            user_id: The user; None for all of them.
            updated_after: Only sessions that were updated later than this, which must have a time zone.
            updated_before: Only sessions that were updated earlier than this.
            where: Only sessions whose own state has these values: texts, ints, bools or None, all of them.
            newest_first: Whether the one that was updated last is the first.
            with_state: Whether they come with their state; without, nothing of it is read, and `state` is {}.
            limit: The most of a page.
            after: `next` of the page before, with the same filters and order.
            on_corrupt: Called with the error of each session that cannot be read, which is then left out.

        Raises:
            InvalidInputError: `after` is of another list, or no cursor.
            CorruptRowError: A row is malformed, and no `on_corrupt` was given.
        """
        _check(app_name, user_id, updated_after, updated_before)
        checks.whole(limit, "limit", least=1)
        given = None if where is None else codec.dump_map(_conditions(where), path="where")
        bound = (app_name, user_id, _iso(updated_after), _iso(updated_before), given, bool(newest_first))
        place_at, place_id = (None, None) if after is None else place_of(after, bound)
        filters = {"user": user_id, "after": updated_after, "before": updated_before, "where": given, "place": after}
        parts = {name for name, value in filters.items() if value is not None}
        parts |= {name for name, wished in (("state", with_state), ("oldest", not newest_first)) if wished}
        with telemetry.operation("adk_page_sessions", app_name=app_name) as span:
            db = await self.connected()
            values = {
                "app_name": app_name,
                "user_id": user_id,
                "where": given,
                "limit": min(limit, checks.MOST - 1) + 1,
            }
            values |= {"place_id": place_id, "place_at": _moment(place_at, db)}
            values |= {"after": _stored(updated_after, db), "before": _stored(updated_before, db)}
            statement = care_statements.page(frozenset(parts), db.schema, db.dialect)
            found = await run(db, statement, values, functions=_FUNCTIONS)
            span.set(count=min(len(found), limit))
        items = _sessions(found[:limit], app_name, on_corrupt)
        return SessionPage(items, _cursor(found[limit - 1], bound) if len(found) > limit else None)


# -- what is wished -----------------------------------------------------------------------------------------------


def _check(app_name: str, user_id: str | None, after: datetime | None, before: datetime | None) -> None:
    checks.text(app_name, "app_name")
    if user_id is not None:
        checks.text(user_id, "user_id")
    for name, moment in (("updated_after", after), ("updated_before", before)):
        if moment is not None:
            times.check_moment(moment, name)


def _conditions(where: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in checks.string_map(where, "where").items():
        if routing.scope_of(key)[0] != "session":
            raise InvalidInputError.at(f"where.{key}", "a key of the session's own state", key)
        if value is not None and type(value) not in (str, int, bool):
            raise InvalidInputError.at(f"where.{key}", "a text, an int, a bool or None", value)
    return dict(where)


def _holds(state: str, wanted: str) -> bool:
    """Tell whether a state has these values, as jsonb's `@>` does: 1 and 1.0 are one number, and True is none."""
    found = text.read(state)
    return type(found) is dict and all(
        key in found and found[key] == value and isinstance(found[key], bool) == isinstance(value, bool)
        for key, value in text.read(wanted).items()
    )


def _holds_safely(state: str, wanted: str) -> bool:
    # A malformed state has none of the values; the one who asks for its session is told what is wrong with it.
    try:
        return _holds(state, wanted)
    except (ValueError, RecursionError):
        return False


_FUNCTIONS = {"adk_holds": (2, _holds_safely)}


# -- places -------------------------------------------------------------------------------------------------------


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else str(times.stored_time(moment, "sqlite"))


def _stored(moment: datetime | None, db: Db) -> Any:
    return None if moment is None else times.stored_time(moment, db.dialect)


def _moment(place: str | None, db: Db) -> Any:
    return place if place is None or db.dialect == "sqlite" else datetime.fromisoformat(place)


def _cursor(row: tuple[Any, ...], bound: tuple[Any, ...]) -> str:
    moment, pk_id = row[6], row[-1]
    return cursor_at([moment if isinstance(moment, str) else _iso(moment), pk_id], bound)


# -- answers ------------------------------------------------------------------------------------------------------


def _sessions(found: list[tuple[Any, ...]], app_name: str, on_corrupt: OnCorrupt | None) -> tuple[Session, ...]:
    sessions = []
    for row in found:
        try:
            sessions.append(rows.decode_session(SessionRow(*row), app_name, ()))
        except CorruptRowError as error:
            if on_corrupt is None:
                raise
            on_corrupt(error)
    return tuple(sessions)
