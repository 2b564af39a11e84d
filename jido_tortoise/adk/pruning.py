"""Deleting old sessions and old events: in small transactions, so that nobody waits long for one of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from jido_tortoise import checks, journal, times
from jido_tortoise.adk import care_statements, rows
from jido_tortoise.adk.holes import NO_HOLES, Holes, holes_of
from jido_tortoise.adk.locked import locked_row
from jido_tortoise.adk.rows import Key
from jido_tortoise.adk.statements import SESSIONS
from jido_tortoise.database import Db, transaction
from jido_tortoise.errors import InvalidInputError, NotFoundError, StorageUnavailableError, said
from jido_tortoise.journal.run import run

#: How many sessions are looked at in one statement, and deleted in one transaction at most.
_SESSIONS = 200


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was deleted, or would be."""

    sessions: int = 0
    #: Those of the sessions, and those of sessions that stay.
    events: int = 0

    def __add__(self, other: Pruned) -> Pruned:
        return Pruned(self.sessions + other.sessions, self.events + other.events)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is to go; each rule that is given suffices."""

    app_name: str
    user_id: str | None
    sessions_before: datetime | None
    keep_sessions: int | None
    events_before: datetime | None
    keep_events: int | None

    def __post_init__(self) -> None:
        checks.text(self.app_name, "app_name")
        if self.user_id is not None:
            checks.text(self.user_id, "user_id")
        for name in ("sessions_before", "events_before"):
            if (moment := getattr(self, name)) is not None:
                times.check_moment(moment, name)
        for name in ("keep_sessions", "keep_events"):
            if (count := getattr(self, name)) is not None:
                checks.whole(count, name)
        if not self.has_sessions and not self.has_events:
            expected = "sessions_before, keep_sessions, events_before or keep_events"
            raise InvalidInputError.at("rules", expected, said("none of them"))

    @property
    def has_sessions(self) -> bool:
        """Whether whole sessions may go."""
        return self.sessions_before is not None or self.keep_sessions is not None

    @property
    def has_events(self) -> bool:
        """Whether events of sessions that stay may go."""
        return self.events_before is not None or self.keep_events is not None

    def values(self, db: Db) -> dict[str, Any]:
        """Answer what all the statements take."""
        return {"app_name": self.app_name, "user_id": self.user_id, "limit": _SESSIONS}


class Seen(NamedTuple):
    """A session as it was when it was found due."""

    pk_id: int
    user_id: str
    id: str
    rev: int
    first_seq: int
    #: None when they are malformed.
    holes: Holes | None

    def count(self, stop: int) -> int:
        """Count its events below a number."""
        return self.counts(self.first_seq, stop)

    def counts(self, start: int, stop: int) -> int:
        """Count its events in [start, stop)."""
        return max(0, stop - start - (self.holes or NO_HOLES).between(start, stop))

    def start_of_last(self, keep: int) -> int:
        """Answer the number of the first of its last events that stay; of those that nobody can count all do."""
        return self.first_seq if self.holes is None else self.holes.start_of_last(keep, self.first_seq, self.rev)


async def prune(db: Db, rules: Rules, *, batch: int, dry_run: bool) -> Pruned:
    """Delete what the rules say, sessions first; numbers and shared state stay.

    Args:
        db: The connection.
        rules: What is to go.
        batch: About how many events go in one transaction.
        dry_run: Whether to count only.

    Raises:
        CorruptRowError: The numbers of a session's events are malformed.
        StorageUnavailableError: A part may have gone; `pruned` says how much is known to.
    """
    pruned = Pruned()
    try:
        async for some in _count(db, rules, batch) if dry_run else _delete(db, rules, batch):
            pruned += some
    except StorageUnavailableError as error:
        # The statement that failed has done nothing perhaps, but those before it have.
        error.facts |= {"outcome": "unknown", "pruned": pruned}
        raise
    return pruned


async def _count(db: Db, rules: Rules, batch: int) -> AsyncIterator[Pruned]:
    gone: set[int] = set()
    async for some in _due(db, rules, batch):
        gone |= {one.pk_id for one in some} if rules.has_events else set()
        yield Pruned(len(some), sum(one.count(one.rev) for one in some))
    async for one, stop in _with_old_events(db, rules):
        if one.pk_id not in gone:
            yield Pruned(0, one.count(stop))


async def _delete(db: Db, rules: Rules, batch: int) -> AsyncIterator[Pruned]:
    async for some in _due(db, rules, batch):
        yield await _drop(db, rules.app_name, some, batch)
    async for one, stop in _with_old_events(db, rules):
        yield Pruned(0, await _trim(db, rules.app_name, one, stop, batch))


# -- sessions -----------------------------------------------------------------------------------------------------


async def _due(db: Db, rules: Rules, batch: int) -> AsyncIterator[list[Seen]]:
    if not rules.has_sessions:
        return
    by_age, by_count = rules.sessions_before is not None, rules.keep_sessions is not None
    statement = care_statements.due(rules.user_id is not None, by_age, by_count, db.schema, db.dialect)
    values = rules.values(db) | {"before": _stored(rules.sessions_before, db), "keep": rules.keep_sessions}
    place = 0
    while found := await run(db, statement, values | {"place_id": place}):
        place = found[-1][0]
        for some in _batches([_seen(row, rules.app_name) for row in found], batch):
            yield some


def _batches(found: list[Seen], batch: int) -> list[list[Seen]]:
    batches: list[list[Seen]] = [[]]
    events = 0
    for one in found:
        if batches[-1] and events + one.count(one.rev) > batch:
            batches.append([])
            events = 0
        batches[-1].append(one)
        events += one.count(one.rev)
    return batches


async def _drop(db: Db, app_name: str, some: Sequence[Seen], batch: int) -> Pruned:
    early = {one.pk_id: await _shorten(db, app_name, one, batch) for one in some}
    async with transaction(db) as inner:
        mine = {pk_id for (pk_id,) in await _held(inner, some)}
        going = [one for one in some if one.pk_id in mine]
        if going:
            values = {"app_name": app_name, "pk_ids": _array(inner, [one.pk_id for one in going])}
            values |= {"users": _array(inner, [one.user_id for one in going])}
            values |= {"ids": _array(inner, [one.id for one in going])}
            await run(inner, care_statements.drop_sessions(db.schema, db.dialect), values)
            await run(inner, care_statements.drop_events(db.schema, db.dialect), values)
    return Pruned(len(going), sum(early.values()) + sum(one.count(one.rev) - early[one.pk_id] for one in going))


async def _held(db: Db, some: Sequence[Seen]) -> list[tuple[Any, ...]]:
    values = {"pk_ids": _array(db, [one.pk_id for one in some]), "revs": _array(db, [one.rev for one in some])}
    return await run(db, care_statements.hold(db.schema, db.dialect), values)


async def _shorten(db: Db, app_name: str, one: Seen, batch: int) -> int:
    """Delete the events of a long session that is due, but for the last `batch`, as long as nobody appends to it."""
    dropped = 0
    for start in range(one.first_seq, one.rev - batch, batch) if one.count(one.rev) > batch else ():
        stop = start + batch
        async with transaction(db) as inner:
            if not await _held(inner, [one]):
                break
            gone = await journal.trim(inner, SESSIONS, (app_name, one.user_id, one.id), stop=stop)
        dropped += gone
        if not gone and one.counts(start, stop):  # it says that it has more than there are: a walk to there may not end
            break
    return dropped


# -- events of sessions that stay ---------------------------------------------------------------------------------


async def _with_old_events(db: Db, rules: Rules) -> AsyncIterator[tuple[Seen, int]]:
    if not rules.has_events:
        return
    by_age = rules.events_before is not None
    statement = care_statements.with_events(rules.user_id is not None, by_age, db.schema, db.dialect)
    values = rules.values(db) | {"before": _stored(rules.events_before, db)}
    place = 0
    while found := await run(db, statement, values | {"place_id": place}):
        place = found[-1][0]
        for *row, young in found:
            one = _seen(row, rules.app_name)
            kept = one.first_seq if rules.keep_events is None else one.start_of_last(rules.keep_events)
            if (stop := max(young, kept)) > one.first_seq:
                yield one, stop


async def _trim(db: Db, app_name: str, one: Seen, stop: int, batch: int) -> int:
    key = (app_name, one.user_id, one.id)
    return sum(
        [await _trim_once(db, key, one, min(start + batch, stop)) for start in range(one.first_seq, stop, batch)]
    )


async def _trim_once(db: Db, key: Key, one: Seen, stop: int) -> int:
    async with transaction(db) as inner:
        try:
            row = await locked_row(inner, key)
        except NotFoundError:
            return 0
        # Its names may be those of another session by now, whose events have the same numbers.
        if row.pk_id != one.pk_id:
            return 0
        dropped = await journal.trim(inner, SESSIONS, key, stop=stop)
        if not dropped and one.counts(row.first_seq, stop):
            what = f"the session says that it has the events {row.first_seq} to {row.rev - 1}, but they are not there"
            raise rows.corrupt("adk_events", key, what, reason="invalid_session_revision")
        return dropped


# -- parts --------------------------------------------------------------------------------------------------------


def _seen(row: Sequence[Any], app_name: str) -> Seen:
    pk_id, user_id, id, rev, first_seq, extra = row
    rows.check_numbers(rev, first_seq, (app_name, user_id, id))
    holes: Holes | None
    try:
        holes = holes_of(extra, rev)
    except ValueError:  # a malformed row goes like any other; only the count of its events may be too high
        holes = None
    return Seen(pk_id, user_id, id, rev, first_seq, holes)


def _stored(moment: datetime | None, db: Db) -> Any:
    return None if moment is None else times.stored_time(moment, db.dialect)


def _array(db: Db, values: list[Any]) -> Any:
    return values if db.dialect == "postgres" else json.dumps(values)
