"""Questions across sessions, answered by the database: pages, counts, sums, and the whole of a session as lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import NoneType
from typing import Any, Generic, NamedTuple, TypeVar

from jido_tortoise import checks, codec, cursors, telemetry, times
from jido_tortoise.database import Db
from jido_tortoise.errors import InvalidInputError
from jido_tortoise.journal.run import run
from jido_tortoise.recording import query_statements, rows, usage_sums
from jido_tortoise.recording.entities import Event, Run, Session
from jido_tortoise.recording.exporting import SessionExport
from jido_tortoise.recording.filters import Filters, flag_of, limit_of, word_of
from jido_tortoise.recording.port import OnCorrupt, OneOrMany
from jido_tortoise.recording.pricing import LIST_PRICES, Pricing
from jido_tortoise.recording.query_results import (
    CostSummary,
    EventPage,
    RunPage,
    SessionPage,
    SessionStats,
    TokenTotals,
    UsageRow,
    UsageSummary,
)
from jido_tortoise.recording.query_statements import EVENT_ROWS, RUNS, SESSIONS, Searched
from jido_tortoise.recording.rows import Loads, Row
from jido_tortoise.recording.statuses import EVENT_TYPES, RUN_STATUSES, SESSION_STATUSES
from jido_tortoise.recording.store import SessionStore
from jido_tortoise.recording.usage_sums import Group

V = TypeVar("V", Session, Run, Event)
#: The order that has no cursor: what a run has used changes while it runs.
_BY_TOKENS = "token_usage_desc"


class QueryAPI:
    """Searches and sums over the sessions of all agents, in the tables of `jido_tortoise.recording.models`.

    A cheap value, as `SessionStore` is. Each call is one statement (a search that counts too is two), and takes its
    filters by name: of texts one or several, of which any will do; an empty list lets nothing pass; None is no filter.
    Runs and events are found also when their session was deleted softly.

    Args:
        connection: An alias of the host's Tortoise config; None takes the one that our app is registered with.
        schema: The PostgreSQL schema of our tables; None leaves it to the search path.
        timeout: Seconds for each statement, waiting for a connection included; 30 when None, `float("inf")` for none.
        raw: Whether metadata, data and the like come as the JSON that is stored, tags left as objects, so that no class
            of the host is needed.
    """

    __slots__ = ("_store", "raw")

    def __init__(
        self,
        connection: str | None = None,
        schema: str | None = None,
        timeout: float | None = None,
        *,
        raw: bool = False,
    ) -> None:
        self._store, self.raw = SessionStore(connection, schema, timeout), flag_of(raw, "raw")

    def __repr__(self) -> str:
        store = self._store
        given = f"connection={store.connection!r}, schema={store.schema!r}, timeout={store.timeout!r}, raw={self.raw}"
        return f"QueryAPI({given})"

    @property
    def _loads(self) -> Loads:
        return codec.loads_raw if self.raw else codec.loads

    # -- sessions -------------------------------------------------------------------------------------------------

    async def search_sessions(
        self,
        *,
        agent_id: OneOrMany | None = None,
        status: OneOrMany | None = None,
        provider: OneOrMany | None = None,
        tags: OneOrMany | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        include_deleted: bool = False,
        order_by: str = "updated_at_desc",
        limit: int = 50,
        cursor: str | None = None,
        with_total: bool = False,
        on_corrupt: OnCorrupt | None = None,
    ) -> SessionPage:
        """Answer a page of sessions.

        Args:
            agent_id: The agent.
            status: Of the session.
            provider: Only sessions with a run of it.
            tags: Only sessions that have all of them.
            created_after: From this time on.
            created_before: Up to this time.
            include_deleted: Whether those are found too that were deleted softly.
            order_by: `updated_at_desc`, `created_at_asc` or `created_at_desc`.
            limit: The most of a page, up to 1,000.
            cursor: That of the page before, with the same filters and order.
            with_total: Whether all that pass are counted: once, with the first page. It reads all of them.
            on_corrupt: Called with the error of each session that cannot be read, which is then left out.

        Raises:
            InvalidInputError: `validation_error`, or `invalid_cursor`; `path` says which argument.
            CorruptRowError: A row is malformed, and no `on_corrupt` was given.
        """
        filters = Filters().texts("agent_id", agent_id).texts("status", status, SESSION_STATUSES)
        filters.texts("provider", provider).tags(tags).flag("live", not flag_of(include_deleted, "include_deleted"))
        filters.moments(created_after=created_after, created_before=created_before)
        asked = _Asked(SESSIONS, filters, order_by, limit, cursor, "sessions", with_total=with_total)
        with telemetry.operation("recording_search_sessions") as span:
            db = await self._store.connected()
            found = await _page(db, asked, Session, self._loads, on_corrupt)
            span.set(count=len(found.items))
        return SessionPage(found.items, found.cursor, found.has_more, found.total)

    async def get_session_stats(self, session_id: str) -> SessionStats:
        """Answer what a session holds, in one statement.

        Raises:
            NotFoundError: `session_not_found`.
        """
        given = {"session_id": checks.text(session_id, "session_id")}
        with telemetry.operation("recording_session_stats", session_id=session_id):
            db = await self._store.connected()
            found = await run(db, query_statements.stats(db.schema, db.dialect), given)
        if not found:
            raise rows.missing("session", session_id)
        return _stats(found)

    # -- runs -----------------------------------------------------------------------------------------------------

    async def search_runs(
        self,
        *,
        session_id: OneOrMany | None = None,
        agent_id: OneOrMany | None = None,
        provider: OneOrMany | None = None,
        status: OneOrMany | None = None,
        started_after: datetime | None = None,
        started_before: datetime | None = None,
        min_tokens: int | None = None,
        order_by: str = "started_at_desc",
        limit: int = 50,
        cursor: str | None = None,
        on_corrupt: OnCorrupt | None = None,
    ) -> RunPage:
        """Answer a page of runs.

        Args:
            session_id: The session.
            agent_id: The session's agent.
            provider: Of the run.
            status: Of the run.
            started_after: From this time on.
            started_before: Up to this time.
            min_tokens: Only runs with so many `total_tokens`; one that does not say has none.
            order_by: `started_at_desc`, `started_at_asc`, or `token_usage_desc`, which looks at every run that passes,
                and has no cursor.
            limit: The most of a page, up to 1,000.
            cursor: That of the page before, with the same filters and order.
            on_corrupt: Called with the error of each run that cannot be read, which is then left out.

        Raises:
            InvalidInputError: `validation_error`, or `invalid_cursor`; `path` says which argument.
            CorruptRowError: A row is malformed, and no `on_corrupt` was given.
        """
        filters = _of_runs(session_id, agent_id, provider, started_after, started_before)
        filters.texts("status", status, RUN_STATUSES).whole("min_tokens", min_tokens)
        asked = _Asked(RUNS, filters, order_by, limit, cursor, "runs")
        with telemetry.operation("recording_search_runs") as span:
            found = await _page(await self._store.connected(), asked, Run, self._loads, on_corrupt)
            span.set(count=len(found.items))
        return RunPage(found.items, found.cursor, found.has_more)

    async def get_usage_summary(
        self,
        *,
        session_id: OneOrMany | None = None,
        agent_id: OneOrMany | None = None,
        provider: OneOrMany | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> UsageSummary:
        """Answer the tokens of the runs that started from `since` up to `until`, in all and by provider.

        Raises:
            InvalidInputError: `validation_error`; `path` says which argument.
        """
        filters = _of_runs(session_id, agent_id, provider, since, until)
        return usage_sums.usage_summary(await self._groups(filters, priced=False))

    async def get_cost_summary(
        self,
        *,
        session_id: OneOrMany | None = None,
        agent_id: OneOrMany | None = None,
        provider: OneOrMany | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        pricing_table: Pricing | Mapping[str, Any] | None = None,
    ) -> CostSummary:
        """Answer the cost of the runs that started from `since` up to `until`, in all, by provider and by model.

        A run's own cost counts; without one, what its tokens cost by the table. Runs with neither are only counted.

        Args:
            session_id: The session.
            agent_id: The session's agent.
            provider: Of the run.
            since: From this time on.
            until: Up to this time.
            pricing_table: As `Pricing` takes it; None for `LIST_PRICES`.

        Raises:
            InvalidInputError: `validation_error`; `path` says which argument.
        """
        pricing = _pricing(pricing_table)
        groups = await self._groups(_of_runs(session_id, agent_id, provider, since, until))
        return usage_sums.cost_summary(groups, pricing)

    async def get_usage(
        self,
        *,
        by: OneOrMany = ("provider", "model", "day"),
        session_id: OneOrMany | None = None,
        agent_id: OneOrMany | None = None,
        provider: OneOrMany | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        pricing_table: Pricing | Mapping[str, Any] | None = None,
    ) -> list[UsageRow]:
        """Answer tokens and cost together, by provider, model and day (of the start, in UTC), or some of these.

        Args:
            by: What is told apart.
            session_id: The session.
            agent_id: The session's agent.
            provider: Of the run.
            since: From this time on.
            until: Up to this time.
            pricing_table: As `Pricing` takes it; None for `LIST_PRICES`.

        Raises:
            InvalidInputError: `validation_error`; `path` says which argument.
        """
        words = [by] if isinstance(by, str) or not isinstance(by, Iterable) else by
        told_apart = frozenset(word_of(one, ("provider", "model", "day"), "by") for one in words)
        pricing = _pricing(pricing_table)
        filters = _of_runs(session_id, agent_id, provider, since, until)
        groups = await self._groups(filters, by_day="day" in told_apart)
        return usage_sums.usage_rows(groups, told_apart, pricing)

    async def _groups(self, filters: Filters, *, priced: bool = True, by_day: bool = False) -> list[Group]:
        if filters.nothing:
            return []
        with telemetry.operation("recording_usage") as span:
            db = await self._store.connected()
            statement = query_statements.usage(filters.wished, priced, by_day, db.schema, db.dialect)
            groups = [usage_sums.group_of(row) for row in await run(db, statement, filters.values(db.dialect))]
            span.set(count=len(groups))
        return groups

    # -- events ---------------------------------------------------------------------------------------------------

    async def search_events(
        self,
        *,
        session_ids: OneOrMany | None = None,
        run_ids: OneOrMany | None = None,
        types: OneOrMany | None = None,
        providers: OneOrMany | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        correlation_id: OneOrMany | None = None,
        after: int | None = None,
        order_by: str = "sequence_asc",
        limit: int = 100,
        cursor: str | None = None,
        on_corrupt: OnCorrupt | None = None,
    ) -> EventPage:
        """Answer a page of events.

        Args:
            session_ids: The sessions.
            run_ids: The runs.
            types: Of the event.
            providers: Of the event.
            since: From this time on.
            until: Up to this time.
            correlation_id: Of the event.
            after: Only events with a greater number in their session.
            order_by: `sequence_asc` or `sequence_desc`, by the number that each has in its session; `timestamp_asc` or
                `timestamp_desc`.
            limit: The most of a page, up to 1,000.
            cursor: That of the page before, with the same filters and order.
            on_corrupt: Called with the error of each event that cannot be read, which is then left out.

        Raises:
            InvalidInputError: `validation_error`, or `invalid_cursor`; `path` says which argument.
            CorruptRowError: A row is malformed, and no `on_corrupt` was given.
        """
        filters = _of_events(session_ids, run_ids, types, providers, correlation_id, since, until)
        filters.whole("after", after)
        asked = _Asked(EVENT_ROWS, filters, order_by, limit, cursor, "events")
        with telemetry.operation("recording_search_events") as span:
            found = await _page(await self._store.connected(), asked, Event, self._loads, on_corrupt)
            span.set(count=len(found.items))
        return EventPage(found.items, found.cursor, found.has_more)

    async def count_events(
        self,
        *,
        session_ids: OneOrMany | None = None,
        run_ids: OneOrMany | None = None,
        types: OneOrMany | None = None,
        providers: OneOrMany | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        correlation_id: OneOrMany | None = None,
    ) -> int:
        """Answer how many events pass the filters, which are those of `search_events`.

        Raises:
            InvalidInputError: `validation_error`; `path` says which argument.
        """
        filters = _of_events(session_ids, run_ids, types, providers, correlation_id, since, until)
        with telemetry.operation("recording_count_events"):
            return await _count(await self._store.connected(), EVENT_ROWS, filters)

    # -- a whole session ------------------------------------------------------------------------------------------

    def export_session(self, session_id: str, *, include_artifacts: bool = False) -> SessionExport:
        """Export a session, also one that was deleted softly: awaited as one value, iterated as lines of JSON.

        Args:
            session_id: The session.
            include_artifacts: Whether what is known of its artifacts comes too, but for those deleted softly.

        Raises:
            NotFoundError: `session_not_found`; when it is awaited or iterated.
        """
        with_artifacts = flag_of(include_artifacts, "include_artifacts")
        return SessionExport(self._store, checks.text(session_id, "session_id"), with_artifacts)


# -- filters ------------------------------------------------------------------------------------------------------


def _of_runs(session_id: Any, agent_id: Any, provider: Any, since: Any, until: Any) -> Filters:
    filters = Filters().texts("session_id", session_id).texts("agent_id", agent_id).texts("provider", provider)
    return filters.moments(started_after=since, started_before=until)


def _of_events(
    session_ids: Any, run_ids: Any, types: Any, providers: Any, correlation_id: Any, since: Any, until: Any
) -> Filters:
    filters = Filters().texts("session_ids", session_ids).texts("run_ids", run_ids).texts("types", types, EVENT_TYPES)
    filters.texts("providers", providers).texts("correlation_id", correlation_id)
    return filters.moments(since=since, until=until)


def _pricing(table: Any) -> Pricing:
    return LIST_PRICES if table is None else table if isinstance(table, Pricing) else Pricing(table)


# -- pages --------------------------------------------------------------------------------------------------------


class _Asked:
    """A page that is asked for, checked."""

    __slots__ = ("bound", "filters", "limit", "of", "order_by", "place", "with_total")

    def __init__(
        self,
        of: Searched,
        filters: Filters,
        order_by: Any,
        limit: Any,
        cursor: Any,
        what: str,
        *,
        with_total: bool = False,
    ) -> None:
        self.of, self.filters, self.with_total = of, filters, flag_of(with_total, "with_total")
        self.order_by, self.limit = word_of(order_by, of.orders, "order_by"), limit_of(limit)
        self.bound = [what, self.order_by, filters.bound, self.with_total]
        self.place = None if cursor is None else self._place(cursor)

    def _place(self, cursor: object) -> list[Any]:
        if self.order_by == _BY_TOKENS:
            words = f"None: the order {_BY_TOKENS} has no pages"
            raise InvalidInputError.at("cursor", words, cursor, reason="invalid_cursor")
        place = cursors.place_of(cursor, self.bound, path="cursor")
        kinds = [
            str if self.of.orders[self.order_by].type == "timestamptz" else int,
            str,
            int if self.with_total else NoneType,
        ]
        if [*map(type, place)] != kinds:
            raise InvalidInputError.at("cursor", "a cursor of ours", cursor, reason="invalid_cursor")
        return place


class _Found(NamedTuple, Generic[V]):
    items: tuple[V, ...]
    cursor: str | None
    has_more: bool
    total: int | None


async def _page(db: Db, asked: _Asked, cls: type[V], loads: Loads, on_corrupt: OnCorrupt | None) -> _Found[V]:
    total = await _total(db, asked)
    found = [] if asked.filters.nothing else await _read(db, asked)
    items = tuple(rows.readable(cls, asked.of, found[: asked.limit], on_corrupt, loads))
    last = found[: asked.limit][-1:]
    cursor = _cursor(asked, last[0], total) if last and asked.order_by != _BY_TOKENS else None
    return _Found(items, cursor, len(found) > asked.limit, total)


async def _total(db: Db, asked: _Asked) -> int | None:
    if not asked.with_total:
        return None
    return asked.place[2] if asked.place else await _count(db, asked.of, asked.filters)


async def _count(db: Db, of: Searched, filters: Filters) -> int:
    if filters.nothing:
        return 0
    statement = query_statements.count(of, filters.wished, db.schema, db.dialect)
    ((count,),) = await run(db, statement, filters.values(db.dialect))
    return int(count)


async def _read(db: Db, asked: _Asked) -> list[Row]:
    wished, values = asked.filters.wished, asked.filters.values(db.dialect) | {"limit": asked.limit + 1}
    if asked.place is not None:
        place, place_id, *_ = asked.place
        wished, values = wished | {"place"}, values | {"place": _stored(place, db), "place_id": place_id}
    several = asked.filters.several(asked.of.merged)
    statement = query_statements.search(asked.of, wished, asked.order_by, db.schema, db.dialect, several)
    names = [column.name for column in asked.of.columns]
    return [dict(zip(names, row, strict=True)) for row in await run(db, statement, values)]


def _cursor(asked: _Asked, row: Mapping[str, Any], total: int | None) -> str:
    place = row[asked.of.orders[asked.order_by].by]
    # The text that SQLite has, whoever wrote it: it is what the order goes by there.
    place = times.stored_time(place, "sqlite") if isinstance(place, datetime) else place
    return cursors.cursor_at([place, row["id"], total], asked.bound)


def _stored(place: Any, db: Db) -> Any:
    if not isinstance(place, str):
        return place
    try:
        moment = times.read_time(place)
        # On SQLite as it stands there: whoever wrote it may have written it otherwise than we do.
        return place if db.dialect == "sqlite" else moment
    except (ValueError, OverflowError) as error:
        raise InvalidInputError.at("cursor", "a cursor of ours", place, reason="invalid_cursor") from error


# -- sums ---------------------------------------------------------------------------------------------------------


def _stats(found: Sequence[Any]) -> SessionStats:
    event_count, first_at, last_at, *_ = found[0]
    runs = [row[3:] for row in found if row[3] is not None]
    status_counts: dict[str, int] = {}
    for status, _, count, *_ in runs:
        status_counts[status] = status_counts.get(status, 0) + count
    return SessionStats(
        event_count=event_count,
        run_count=sum(status_counts.values()),
        token_totals=TokenTotals(*(sum(int(row[at]) for row in runs) for at in (3, 4, 5))),
        providers_used=tuple(sorted({row[1] for row in runs if row[1] is not None})),
        first_event_at=None if first_at is None else times.read_time(first_at),
        last_event_at=None if last_at is None else times.read_time(last_at),
        status_counts=status_counts,
    )
