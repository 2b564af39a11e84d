"""How the databases find what is asked for: by an index, whatever the size of the tables (W24, W27)."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from itertools import groupby, product
from typing import Any

from jido_tortoise.journal.statements import Statement
from jido_tortoise.recording import QueryAPI, SessionStore, care_statements, query_statements, statements
from jido_tortoise.recording.filters import Filters
from jido_tortoise.recording.query_statements import EVENT_ROWS, RUNS, SESSIONS, Searched
from jido_tortoise.recording.statements import RUN
from tests.conftest import Database, opened
from tests.integration.recorded import store_them
from tests.many_records import LATE, RARE, store_many

MOMENT = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)


def asked(
    of: Searched, filters: Filters, order: str, dialect: Any, place: Any = None
) -> tuple[Statement, dict[str, Any]]:
    """Give the statement of a page, and its values; with a place, of a later one."""
    values = filters.values(dialect) | {"limit": 51, "place": place, "place_id": "x"}
    wished = filters.wished | ({"place"} if place is not None else set())
    several = filters.several(of.merged)
    return query_statements.search(of, frozenset(wished), order, None, dialect, several), values


def pages(dialect: str) -> dict[str, tuple[Statement, dict[str, Any]]]:
    """Give pages by the index that must find them."""
    live = Filters().flag("live", True)
    moment = MOMENT if dialect == "postgres" else "2026-01-01 00:10:00.000000+00:00"
    of_agent = Filters().flag("live", True).texts("agent_id", "agent-7")
    one = Filters().texts("session_ids", "ses_7")
    typed = Filters().texts("session_ids", "ses_7").texts("types", "error_occurred")
    rare = Filters().texts("types", LATE)
    some = Filters().texts("types", ["error_occurred", "run_failed", LATE])
    in_run = Filters().texts("run_ids", "run_7").texts("types", "message_streamed")
    asking = [
        ("idx_asm_session_updated", SESSIONS, live, "updated_at_desc", None),
        ("idx_asm_session_updated later", SESSIONS, live, "updated_at_desc", moment),
        ("idx_asm_session_created", SESSIONS, live, "created_at_asc", moment),
        ("idx_asm_session_created back", SESSIONS, live, "created_at_desc", moment),
        ("idx_asm_session_agent_i", SESSIONS, of_agent, "updated_at_desc", moment),
        ("idx_asm_session_status", SESSIONS, Filters().texts("status", "active"), "updated_at_desc", None),
        ("idx_asm_runs_started", RUNS, Filters(), "started_at_desc", moment),
        ("idx_asm_runs_session", RUNS, Filters().texts("session_id", "ses_7"), "started_at_asc", None),
        ("idx_asm_runs_provide", RUNS, Filters().texts("provider", "provider-1"), "started_at_desc", moment),
        ("idx_asm_events_sequenc", EVENT_ROWS, Filters(), "sequence_asc", 2),
        ("idx_asm_events_timesta", EVENT_ROWS, Filters(), "timestamp_desc", moment),
        ("asm_events_session", EVENT_ROWS, one, "sequence_asc", 1),
        ("asm_events_session typed", EVENT_ROWS, typed, "sequence_asc", None),
        ("idx_asm_events_run_id", EVENT_ROWS, Filters().texts("run_ids", "run_7"), "sequence_asc", 1),
        ("idx_asm_events_correla", EVENT_ROWS, Filters().texts("correlation_id", "request-9"), "sequence_asc", None),
        ("idx_asm_events_run_id typed", EVENT_ROWS, in_run, "sequence_asc", None),
    ]
    for types, filters in {"rare": rare, "some": some}.items():
        for order, place in {"sequence_asc": 2, "sequence_desc": 2, "timestamp_asc": moment}.items():
            asking.append((f"idx_asm_events_type {types} {order}", EVENT_ROWS, filters, order, None))
            asking.append((f"idx_asm_events_type {types} {order} later", EVENT_ROWS, filters, order, place))
        asking.append((f"idx_asm_events_type {types} back", EVENT_ROWS, filters, "timestamp_desc", moment))
    return {name: asked(of, filters, order, dialect, place) for name, of, filters, order, place in asking}


async def test_w27_every_page_has_its_index_on_postgres(pg_url: str) -> None:
    """No page reads a table from its first row to its last, or sorts more than some rows; GIN finds tags (W24)."""
    async with opened(pg_url, backend="postgres", families=("recording",)) as database:
        await store_many(database.client.execute_query, "postgres", 10_000, 3)
        await database.client.execute_query("VACUUM ANALYZE")
        for name, (statement, values) in pages("postgres").items():
            plan = await explained(database, statement, values)
            assert "Seq Scan" not in json.dumps(plan), name
            assert name.split()[0] in json.dumps(plan), (name, plan)
            assert rows_read(plan) <= 110, (name, plan)
        assert await by_index(database, ["all"] * 10 + ["rare-7"] * 10) == [0, 10]
        await in_order(["rare-7", "all"])
        rare = asked(SESSIONS, Filters().tags(["rare-7"]), "updated_at_desc", "postgres")
        plan = await explained(database, *rare)
        assert "asm_sessions_tags" in json.dumps(plan)
        assert rows_read(plan) <= 500  # the first of the order, and those with the tag


async def in_order(tags: list[str]) -> None:
    """Walk through the sessions of a tag, and see that each comes once, in order, however they are found."""
    for tag in tags:
        found, cursor = [], None
        while len(found) < 600:
            page = await QueryAPI().search_sessions(tags=[tag], limit=7, cursor=cursor, order_by="created_at_asc")
            found += [(session.created_at, session.id) for session in page.sessions]
            cursor = page.cursor
            if not page.has_more:
                break
        assert found == sorted(set(found))
        assert len(found) == (RARE if tag != "all" else 602)


async def by_index(database: Database, tags: list[str]) -> list[int]:
    """Search by one tag after another; give how many searches have used the index on tags, by tag."""
    used: list[int] = []
    for tag, many in groupby(tags):
        before = await scans(database)
        for _ in many:
            assert (await QueryAPI().search_sessions(tags=[tag], limit=5)).has_more
        used.append(await scans(database) - before)
    return used


async def scans(database: Database) -> int:
    """Give how often the index on tags was used."""
    run = database.client.execute_query
    await run("SELECT pg_stat_force_next_flush()")
    _, found = await run("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'asm_sessions_tags'")
    return int(found[0]["idx_scan"])


async def explained(database: Database, statement: Statement, values: dict[str, Any]) -> dict[str, Any]:
    """Run a statement and give the plan that was taken."""
    async with database.client.acquire_connection() as raw:
        ((plan,),) = await raw.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.sql}", *statement.args(values))
    (root,) = json.loads(plan)
    return dict(root["Plan"])


def rows_read(plan: dict[str, Any]) -> int:
    """Give the most rows that a node of a plan has read, those that it threw away included."""
    read = plan["Actual Rows"] * plan["Actual Loops"] + plan.get("Rows Removed by Filter", 0)
    return max([int(read), *(rows_read(part) for part in plan.get("Plans", []))])


async def test_w27_every_page_has_its_index_on_sqlite(sqlite_url: str) -> None:
    """As SQLite plans without having counted the rows; tags are looked through there, session by session."""
    names = {"asm_events_session": "asm_events"}  # of those that begin with the session, any
    async with opened(sqlite_url, backend="sqlite-file", families=("recording",)) as database:
        for name, (statement, values) in pages("sqlite").items():
            async with database.client.acquire_connection() as raw:
                found = await raw.execute_fetchall(f"EXPLAIN QUERY PLAN {statement.sql}", values)
            plan = [row[3] for row in found]
            index = names.get(name.split()[0], name.split()[0])
            reads = [step for step in plan if step.startswith(("SEARCH t ", "SCAN t "))]
            assert reads, (name, plan)
            assert all(index in step for step in reads), (name, plan)
            assert not any("SCAN" in step and "INDEX" not in step for step in plan), (name, plan)
            assert not any("TEMP B-TREE" in step for step in plan), (name, plan)


#: What looks for few rows by what no page is ordered by, with the index that must find them; the host's own reads too.
_SOUGHT = [
    ("idx_asm_session_deleted", care_statements.deleted(None, "sqlite").sql),
    ("idx_asm_session_parent_", "SELECT id FROM asm_sessions WHERE parent_session_id = :id"),
    ("idx_asm_runs_session_b2d292", statements.running(None, "sqlite").sql),
    ("idx_asm_runs_session", statements.rows_of(RUN, frozenset(["session_id", "status"]), None, "sqlite").sql),
    ("idx_asm_events_session_b88a4f", care_statements.events_by_type(None, "sqlite").sql),
    ("idx_asm_runs_status", statements.lost_runs(None, "sqlite").sql),
    ("idx_asm_runs_status", care_statements.stuck_runs(None, "sqlite").sql),
    ("asm_artifacts_live_key", care_statements.soft_delete_artifact(None, "sqlite").sql),
    ("idx_asm_artifac_key", "SELECT id FROM asm_artifacts WHERE key = :key"),
    ("idx_asm_artifac_session", care_statements.live_artifacts("session_id", None, "sqlite").sql),
    ("idx_asm_artifac_created", "SELECT id FROM asm_artifacts ORDER BY created_at, id LIMIT 50"),
    ("idx_asm_artifac_run_id", "SELECT id FROM asm_artifacts WHERE run_id = :id"),
]


async def test_w27_what_is_sought_has_its_index_on_sqlite(sqlite_url: str) -> None:
    """What retention, recovery and the host look for is found by an index as well (W27)."""
    async with opened(sqlite_url, backend="sqlite-file", families=("recording",)) as database:
        for index, sql in _SOUGHT:
            values = dict.fromkeys(re.findall(r":(\w+)", sql), "[]")
            async with database.client.acquire_connection() as raw:
                found = await raw.execute_fetchall(f"EXPLAIN QUERY PLAN {sql}", values)
            plan = [row[3] for row in found]
            assert any(index in step for step in plan), (sql, plan)
            assert not any(re.match(r"SCAN \w+$", step) for step in plan), (sql, plan)


def of_types() -> list[tuple[str, Statement]]:
    """Give what looks for events of some types on SQLite, with what must find them instead of the index on types."""
    found = [("(session_id", care_statements.prunable_events("these", None, "sqlite"))]
    for given in (["type", "since"], ["types", "since"], ["type", "since", "limit"]):
        found.append(("(session_id", statements.events(frozenset(given), None, "sqlite")))
    ways = [("(session_id", "session_ids"), ("(run_id", "run_ids"), ("(correlation_id", "correlation_id")]
    ways = [(index, f"{name}{many}") for index, name in ways for many in ("", "_many")]
    spans = [[], ["since"], ["since", "until"], ["after"]]
    for (index, name), types, order, more in product(ways, ["types", "types_many"], EVENT_ROWS.orders, spans):
        several = 2 if types == "types_many" else 0
        wished = frozenset([name, types, *more])
        found.append((index, query_statements.search(EVENT_ROWS, wished, order, None, "sqlite", several)))
    return found


def in_order_of_types() -> list[tuple[str, Statement]]:
    """Give what must read in order on SQLite, whatever it is asked for: sorting takes more than a few rows."""
    asking = [("sequence_asc", "since"), ("sequence_desc", "until"), ("timestamp_asc", "after")]
    return [
        ("idx_asm_events_timesta", care_statements.oldest_of_all("these", None, "sqlite")),
        *(
            ("(type", query_statements.search(EVENT_ROWS, frozenset(["types", more]), order, None, "sqlite"))
            for order, more in asking
        ),
    ]


async def test_what_few_events_have_is_sought_rather_than_their_type_on_sqlite(sqlite_url: str) -> None:
    """SQLite takes all indexes for equally good: by that on types it would read events of all sessions (W27)."""
    ordered = in_order_of_types()
    async with opened(sqlite_url, backend="sqlite-file", families=("recording",)) as database:
        for index, statement in [*of_types(), *ordered]:
            values = dict.fromkeys(re.findall(r":(\w+)", statement.sql), "[]")
            async with database.client.acquire_connection() as raw:
                found = await raw.execute_fetchall(f"EXPLAIN QUERY PLAN {statement.sql}", values)
            plan = [row[3] for row in found]
            (events,) = [step for step in plan if re.match("SEARCH (t|e|asm_events) ", step)]
            assert index in events, (statement.sql, plan)
            if (index, statement) in ordered:
                assert not any("TEMP B-TREE" in step for step in plan), (statement.sql, plan)


async def test_w25_each_call_is_one_statement(pg_url: str) -> None:
    """Whatever it adds up; and an export of a session of one page is one for each kind of rows, and for its head."""
    query = QueryAPI()
    calls: list[tuple[Callable[[], Awaitable[object]], int]] = [
        (lambda: query.get_session_stats("s0"), 1),
        (lambda: query.get_usage_summary(), 1),
        (lambda: query.get_cost_summary(agent_id=["clerk", "other"]), 1),
        (lambda: query.get_usage(since=MOMENT), 1),
        (lambda: query.search_sessions(tags=["paid"], provider="codex"), 1),
        (lambda: query.search_sessions(with_total=True), 2),
        (lambda: query.search_events(session_ids=["s0", "s1"]), 1),
        (lambda: query.count_events(), 1),
        (lambda: query.count_events(types=[]), 0),
        (lambda: query.export_session("s0"), 3),
    ]
    async with opened(pg_url, backend="postgres", families=("recording",)) as database:
        await store_them(SessionStore())
        await query.count_events()  # looks once whether the tables are there
        seen: list[Any] = []
        async with database.client.acquire_connection() as raw:
            raw.add_query_logger(seen.append)
        for number, (call, count) in enumerate(calls):
            seen.clear()
            await call()
            assert len([record for record in seen if "SELECT" in record.query]) == count, number
