"""Questions across sessions: the 36 cases of the contract (Q1 to Q36), and the weaknesses of its original (W...)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from jido_tortoise import cursors
from jido_tortoise.errors import CorruptRowError, InvalidInputError, NotFoundError
from jido_tortoise.journal import run as journal_run
from jido_tortoise.recording import Event, QueryAPI, Session, SessionStore, queries
from jido_tortoise.recording.pricing import Pricing
from jido_tortoise.recording.query_results import ModelCost, ProviderCost, ProviderUsage, TokenTotals, UsageRow
from jido_tortoise.recording.usage_sums import UNKNOWN
from tests.conftest import Database
from tests.integration.recorded import at, events, run, session, store_them, tokens

PRICES = {
    "claude": {
        "default": {"input": "0.001", "output": "0.002"},
        "models": {"claude-b": {"input": "0.00001", "output": "0.00002"}},
    }
}

#: The number of each event in its session.
NUMBERS = {"e0": 1, "e1": 2, "e2": 3, "e3": 4, "e4": 5, "e5": 1, "e6": 2, "e7": 1}


@pytest.fixture
async def query(recording_db: Database) -> QueryAPI:
    """Give the queries of a database with the sessions of `recorded`."""
    await store_them(SessionStore())
    return QueryAPI()


def ids(found: Sequence[Any]) -> list[str]:
    """Give what tells the rows apart."""
    return [one.id for one in found]


async def refused(call: Awaitable[Any]) -> InvalidInputError:
    """Give the error of a call that is bad input."""
    with pytest.raises(InvalidInputError) as caught:
        await call
    return caught.value


async def test_sessions_by_every_filter(query: QueryAPI) -> None:
    """Q1 to Q9: by default all that are live, the one that was changed last first; each filter, and all together."""
    wanted: list[tuple[dict[str, Any], list[str]]] = [
        ({}, ["s1", "s3", "s2", "s0"]),  # Q1
        ({"limit": 2}, ["s1", "s3"]),  # Q2
        ({"agent_id": "other"}, ["s2"]),  # Q3
        ({"status": "active"}, ["s0"]),  # Q4
        ({"status": ["active", "failed"]}, ["s3", "s0"]),  # Q5
        ({"provider": "codex"}, ["s1", "s0"]),  # Q6
        ({"provider": ["claude", "none"]}, ["s0"]),
        ({"tags": ["paid"]}, ["s1", "s0"]),  # Q7
        ({"tags": ["paid", "pinned"]}, ["s0"]),
        ({"tags": ["paid", "pinned", "x"]}, []),
        ({"tags": "pai"}, []),
        ({"created_after": at(60), "created_before": at(120)}, ["s1", "s2"]),
        ({"include_deleted": False}, ["s1", "s3", "s2", "s0"]),  # Q8
        ({"include_deleted": True, "order_by": "created_at_desc"}, ["s4", "s3", "s2", "s1", "s0"]),  # Q9
        ({"order_by": "created_at_asc"}, ["s0", "s1", "s2", "s3"]),
        ({"agent_id": ["clerk"], "status": "completed", "provider": "codex", "tags": ["paid"]}, ["s1"]),
    ]
    for filters, expected in wanted:
        page = await query.search_sessions(**filters)
        assert ids(page.sessions) == expected, filters
    (found,) = (await query.search_sessions(status="completed")).sessions
    assert found == await SessionStore().get_session("s1")


async def test_w24_the_total_is_counted_when_asked_for_and_once(query: QueryAPI) -> None:
    """Q2: with a page of two the total is that of all; later pages carry the number of the first."""
    assert (await query.search_sessions(limit=2)).total_count is None
    first = await query.search_sessions(limit=2, with_total=True, include_deleted=True)
    assert (len(first.sessions), first.total_count, first.has_more) == (2, 5, True)
    await SessionStore().delete_session("s4")
    second = await query.search_sessions(limit=9, with_total=True, include_deleted=True, cursor=first.cursor)
    assert (len(second.sessions), second.total_count, second.has_more) == (3, 5, False)
    assert (await query.search_sessions(with_total=True, status="failed", tags=["paid"])).total_count == 0


Search = Callable[..., Awaitable[Any]]


async def walked(search: Search, items: str, **given: Any) -> list[str]:
    """Give the ids of all pages of two, and see that each cursor is a text."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await search(**given, limit=2, cursor=cursor)
        found += ids(getattr(page, items))
        if not page.has_more:
            return found
        assert isinstance(page.cursor, str)  # Q10
        cursor = page.cursor


@pytest.mark.parametrize(
    ("items", "order", "pages"),
    [
        pytest.param("sessions", "updated_at_desc", ["s1", "s3", "s2", "s0"], id="Q11"),
        pytest.param("sessions", "created_at_desc", ["s3", "s2", "s1", "s0"], id="Q12"),
        pytest.param("runs", "started_at_desc", ["r4", "r3", "r2", "r1"], id="Q23"),
        pytest.param("events", "timestamp_desc", ["e7", "e6", "e5", "e4"], id="Q30"),
    ],
)
async def test_page_two_is_another_one(query: QueryAPI, items: str, order: str, pages: list[str]) -> None:
    """Q11, Q12, Q23, Q30: the original's cursors once led to page one again, in each of these orders."""
    search: Search = getattr(query, f"search_{items}")
    first = await search(order_by=order, limit=2)
    second = await search(order_by=order, limit=2, cursor=first.cursor)
    assert (ids(getattr(first, items)), ids(getattr(second, items))) == (pages[:2], pages[2:])


@pytest.mark.parametrize("limit", [pytest.param(-1, id="Q13"), pytest.param(100_000, id="Q14")])
async def test_a_limit_that_is_none_is_refused(query: QueryAPI, limit: int) -> None:
    """Q13, Q14: too low and too high, by each of the searches; nothing is cut down silently."""
    for search in searches(query):
        error = await refused(search(limit=limit))
        assert (error.reason, error.path) == ("validation_error", "limit")
    with pytest.raises(InvalidInputError):
        await query.search_sessions(limit=1001)
    assert len((await query.search_sessions(limit=1000)).sessions) == 4


async def test_every_order_pages_through_all(query: QueryAPI) -> None:
    """Q10: no page repeats another, rows with one time included, and none is left out."""
    same = [replace(session(number), created_at=at(1), updated_at=at(1)) for number in range(10, 15)]
    for one in same:
        await SessionStore().save_session(one)
    for order in ("updated_at_desc", "created_at_asc", "created_at_desc"):
        found = await walked(query.search_sessions, "sessions", order_by=order, include_deleted=True)
        assert sorted(found) == sorted([*(f"s{n}" for n in range(5)), *ids(same)]), order
    for order, expected in (("started_at_asc", "01234"), ("started_at_desc", "43210")):
        assert await walked(query.search_runs, "runs", order_by=order) == [f"r{n}" for n in expected]
    for order, expected in (("timestamp_asc", "01234567"), ("timestamp_desc", "76543210")):
        assert await walked(query.search_events, "events", order_by=order) == [f"e{n}" for n in expected]
    interleaved = await walked(query.search_events, "events")
    assert sorted(interleaved) == [f"e{n}" for n in range(8)]
    assert [NUMBERS[id] for id in interleaved] == sorted(NUMBERS.values())


async def test_a_cursor_leads_on_from_the_last_page(query: QueryAPI) -> None:
    """It is there also on the last page, and finds what comes later; an empty page has none."""
    page = await query.search_events(session_ids="s0")
    assert (len(page.events), page.has_more) == (5, False)
    assert (await query.search_events(session_ids="s0", cursor=page.cursor)).cursor is None
    await SessionStore().append_event(Event(id="late", type="turn_completed", session_id="s0"))
    assert ids((await query.search_events(session_ids="s0", cursor=page.cursor)).events) == ["late"]


async def test_a_cursor_serves_its_own_list_alone(query: QueryAPI) -> None:
    """Another search, other filters, another order, another character: `invalid_cursor`, never a wrong page."""
    cursor = (await query.search_sessions(limit=1, status=["active", "failed"])).cursor
    assert cursor is not None
    good = {"status": ["failed", "active", "active"], "cursor": cursor}
    assert ids((await query.search_sessions(**good)).sessions) == ["s0"]
    others: list[Any] = [
        query.search_sessions(cursor=cursor),
        query.search_sessions(**good, include_deleted=True),
        query.search_sessions(**good, created_after=at(-1)),
        query.search_sessions(**good, order_by="created_at_asc"),
        query.search_runs(cursor=cursor),
        query.search_runs(order_by="token_usage_desc", cursor=cursor),
        query.search_events(cursor=cursor),
        *(query.search_sessions(**{**good, "cursor": bad}) for bad in ("", "x", 7, b"x", cursor[:-4], "ü", [cursor])),
    ]
    for call in others:
        error = await refused(call)
        assert (error.reason, error.path) == ("invalid_cursor", "cursor")


async def test_a_forged_cursor_is_refused(query: QueryAPI) -> None:
    """Whoever makes the seal too gets no further than to what is no place of the order."""
    bound = ["sessions", "created_at_asc", {"live": True}, False]
    for place in (
        [5, "s0", None],
        ["noon", "s0"],
        ["noon", "s0", None],
        ["2026-13-01 00:00:00+00:00", "s0", None],
        ["2026-01-01", 7, None],
        [None, "s0", None],
        [at(0).isoformat(), "s0", 9],
    ):
        forged = cursors.cursor_at(place, bound)
        error = await refused(query.search_sessions(order_by="created_at_asc", cursor=forged))
        assert error.reason == "invalid_cursor"


async def test_bad_filters_are_refused(query: QueryAPI) -> None:
    """Q15, Q29, Q32: `validation_error`, and the argument is named; nothing is ignored silently."""
    naive = datetime(2026, 1, 1)
    wrong: list[tuple[Search, dict[str, Any], str]] = [
        *(
            (search, {"limit": limit}, "limit")
            for search in searches(query)
            for limit in (-1, 0, 1001, 100000, True, "9")
        ),
        *((search, {"order_by": order}, "order_by") for search in searches(query) for order in ("id", None, 1)),
        (query.search_sessions, {"status": "done"}, "status"),
        (query.search_sessions, {"status": ["active", "running"]}, "status"),
        (query.search_runs, {"status": "paused"}, "status"),
        (query.search_events, {"types": ["run_started", "x"]}, "types"),
        (query.count_events, {"types": "x"}, "types"),
        (query.search_sessions, {"agent_id": 7}, "agent_id"),
        (query.search_sessions, {"tags": ["a", 7]}, "tags[1]"),
        (query.search_sessions, {"created_after": naive}, "created_after"),
        *((query.search_sessions, {"include_deleted": wrong}, "include_deleted") for wrong in ("no", 1, None)),
        (query.search_sessions, {"with_total": "no"}, "with_total"),
        (query.search_runs, {"min_tokens": -1}, "min_tokens"),
        (query.search_events, {"since": "2026-01-01"}, "since"),
        (query.get_usage_summary, {"since": naive}, "started_after"),
        (query.get_usage, {"by": ["hour"]}, "by"),
        (_export_with, {"query": query, "include_artifacts": "no"}, "include_artifacts"),
        (_made_raw, {"raw": "no"}, "raw"),
    ]
    for call, given, path in wrong:
        error = await refused(call(**given))
        assert (error.reason, error.path) == ("validation_error", path), given


async def _export_with(query: QueryAPI, **options: Any) -> None:
    await query.export_session("s0", **options)


async def _made_raw(**options: Any) -> None:
    QueryAPI(**options)


def searches(query: QueryAPI) -> tuple[Search, Search, Search]:
    """Give the three searches."""
    return query.search_sessions, query.search_runs, query.search_events


async def test_w17_an_empty_list_lets_nothing_pass(query: QueryAPI) -> None:
    """In every filter of texts of every call; the original took some for no filter, and answered everything."""
    for search, names in (
        (query.search_sessions, ("agent_id", "status", "provider", "tags")),
        (query.search_runs, ("session_id", "agent_id", "provider", "status")),
        (query.search_events, ("session_ids", "run_ids", "types", "providers", "correlation_id")),
    ):
        for name in names:
            page = await search(**{name: []})
            assert (len(getattr(page, page.__slots__[0])), page.cursor, page.has_more) == (0, None, False)
    assert (await query.search_sessions(tags=[], with_total=True)).total_count == 0
    assert await query.count_events(session_ids=[]) == 0
    assert (await query.get_usage_summary(session_id=[])).run_count == 0
    assert (await query.get_cost_summary(agent_id=())).run_count == 0
    assert await query.get_usage(provider=[]) == []


async def test_stats_of_a_session(query: QueryAPI) -> None:
    """Q16, Q17: counts, tokens, providers, times and statuses; of a session without anything too."""
    stats = await query.get_session_stats("s0")
    assert (stats.event_count, stats.run_count) == (5, 3)
    assert stats.token_totals == TokenTotals(1107, 553, 1660)
    assert stats.providers_used == ("claude", "codex")
    assert (stats.first_event_at, stats.last_event_at) == (at(0), at(4))
    assert stats.status_counts == {"completed": 1, "failed": 1, "running": 1}
    empty = await query.get_session_stats("s3")
    assert (empty.event_count, empty.run_count, empty.first_event_at) == (0, 0, None)
    assert (empty.token_totals, empty.providers_used, empty.status_counts) == (TokenTotals(), (), {})
    with pytest.raises(NotFoundError) as caught:
        await query.get_session_stats("s9")
    assert caught.value.reason == "session_not_found"


async def test_runs_by_every_filter(query: QueryAPI) -> None:
    """Q18 to Q22, and W15: a list of statuses finds the runs of each."""
    wanted: list[tuple[dict[str, Any], list[str]]] = [
        ({}, ["r4", "r3", "r2", "r1", "r0"]),
        ({"session_id": "s0"}, ["r2", "r1", "r0"]),  # Q18
        ({"session_id": ["s1", "s2"]}, ["r4", "r3"]),
        ({"agent_id": "other"}, ["r4"]),
        ({"provider": "claude"}, ["r1", "r0"]),  # Q19
        ({"status": "completed"}, ["r3", "r0"]),  # Q20
        ({"status": ["failed", "pending"]}, ["r4", "r1"]),  # W15
        ({"started_after": at(2), "started_before": at(60)}, ["r3", "r2"]),
        ({"min_tokens": 20}, ["r4", "r1", "r0"]),  # Q21
        ({"min_tokens": 0}, ["r4", "r3", "r2", "r1", "r0"]),
        ({"order_by": "token_usage_desc"}, ["r1", "r0", "r4", "r2", "r3"]),  # Q22
        ({"order_by": "token_usage_desc", "limit": 2}, ["r1", "r0"]),
    ]
    for filters, expected in wanted:
        assert ids((await query.search_runs(**filters)).runs) == expected, filters
    by_tokens = await query.search_runs(order_by="token_usage_desc", limit=2)
    assert (by_tokens.cursor, by_tokens.has_more) == (None, True)


async def test_w15_any_number_of_tokens_is_read(query: QueryAPI) -> None:
    """Beyond 32 bits, with a fraction, negative, absurd or no number: sums are whole, and no statement fails."""
    odd = [2**31 * 3, 1.5, -5, "9", None, True, [1], 2**70, 1e300, float("nan")]
    for number, value in enumerate(odd):
        await SessionStore().save_run(run("s3", f"odd{number}", 300 + number, token_usage={"total_tokens": value}))
    assert (await query.get_usage_summary(session_id="s3")).total_tokens == 2**31 * 3 + 1
    found = await query.search_runs(order_by="token_usage_desc", session_id="s3", limit=3)
    assert ids(found.runs)[:2] == ["odd0", "odd1"]
    assert len((await query.search_runs(min_tokens=1, session_id="s3")).runs) == 2
    assert (await query.get_session_stats("s3")).token_totals.total_tokens == 2**31 * 3 + 1


async def test_usage(query: QueryAPI) -> None:
    """Q24, Q25: sums in all and by provider; the runs without one are those of "unknown"."""
    summary = await query.get_usage_summary()
    assert (summary.total_input_tokens, summary.total_output_tokens, summary.total_tokens) == (1117, 563, 1680)
    assert summary.run_count == 5
    assert summary.by_provider == {
        "claude": ProviderUsage(1100, 550, 1650, 2),
        "codex": ProviderUsage(7, 3, 10, 2),
        UNKNOWN: ProviderUsage(10, 10, 20, 1),
    }
    assert (await query.get_usage_summary(since=at(1), until=at(2))).total_tokens == 1510
    assert (await query.get_usage_summary(session_id="s1")).total_tokens == 0
    assert (await query.get_usage_summary(agent_id="other", provider="claude")).run_count == 0


async def test_w25_sums_are_made_by_the_database(query: QueryAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """W25: what is fetched grows with the groups, not with the runs, however many there are."""
    fetched: list[int] = []

    async def counted(*given: Any, **more: Any) -> Any:
        found = await journal_run.run(*given, **more)
        fetched.append(len(found))
        return found

    monkeypatch.setattr(queries, "run", counted)
    store = SessionStore()
    for number in range(40):
        await store.save_run(run("s3", f"more{number}", 400 + number, provider="codex", token_usage=tokens(1, 1)))
    calls: list[tuple[Awaitable[Any], int]] = [
        (query.get_session_stats("s3"), 1),
        (query.get_usage_summary(session_id="s3"), 1),
        (query.get_cost_summary(session_id="s3", pricing_table=PRICES), 1),
        (query.get_usage(by=["provider"], provider="codex"), 3),
    ]
    for call, most in calls:
        fetched.clear()
        assert await call
        assert 0 < sum(fetched) <= most, (most, fetched)


async def test_costs(query: QueryAPI) -> None:
    """Q35, Q36: a run's own cost counts before that of its tokens; who has neither is counted, and costs nothing."""
    costs = await query.get_cost_summary(pricing_table=PRICES)
    computed = Decimal("1000") * Decimal("0.00001") + 500 * Decimal("0.00002")
    assert costs.total_cost_usd == float(Decimal("0.25") + computed)
    assert (costs.run_count, costs.unmapped_runs) == (5, 3)
    assert costs.by_provider == {"claude": ProviderCost(float(Decimal("0.25") + computed), 2)}
    assert costs.by_model == {
        "claude-a": ModelCost(0.25, 100, 50),
        "claude-b-2026": ModelCost(float(computed), 1000, 500),
    }
    assert (await query.get_cost_summary(session_id="s1", pricing_table=PRICES)).total_cost_usd == 0
    assert (await query.get_cost_summary(agent_id="other", pricing_table=PRICES)).unmapped_runs == 1
    assert (await query.get_cost_summary(provider="claude", until=at(0))).total_cost_usd == 0.25
    assert (await query.get_cost_summary(since=at(1), pricing_table=Pricing({}))).unmapped_runs == 4


async def test_usage_by_provider_model_and_day(query: QueryAPI) -> None:
    """Tokens and cost together, in the order of the days; what is not asked for is not told apart."""
    await SessionStore().save_run(run("s0", "next day", 60 * 24, provider="claude", token_usage=tokens(1, 1)))
    rows = await query.get_usage(pricing_table=PRICES)
    day = at(0).date()
    assert [(row.day, row.provider, row.model) for row in rows] == [
        (day, "claude", "claude-a"),
        (day, "claude", "claude-b-2026"),
        (day, "codex", "gpt"),
        (day, "codex", UNKNOWN),
        (day, UNKNOWN, UNKNOWN),
        (day + timedelta(days=1), "claude", UNKNOWN),
    ]
    assert rows[-1] == UsageRow("claude", UNKNOWN, day + timedelta(days=1), 1, 1, 1, 2, 0.003, 0)
    by_day = await query.get_usage(by=["day"], pricing_table=PRICES)
    assert [(row.day, row.provider, row.run_count, row.unmapped_runs) for row in by_day] == [
        (day, None, 5, 3),
        (day + timedelta(days=1), None, 1, 0),
    ]
    (whole,) = await query.get_usage(by=[], pricing_table=PRICES)
    assert (whole.run_count, whole.total_tokens) == (6, 1682)


async def test_events_by_every_filter(query: QueryAPI) -> None:
    """Q26 to Q28, Q31: found and counted alike; those of a session that was deleted softly too."""
    wanted: list[tuple[dict[str, Any], str]] = [
        ({"session_ids": ["s0"]}, "01234"),  # Q26
        ({"session_ids": ["s1", "s4"]}, "567"),
        ({"session_ids": "s9"}, ""),
        ({"types": "message_sent"}, "156"),  # Q27
        ({"types": ["message_sent", "run_started"]}, "0156"),
        ({"correlation_id": "c1"}, "012"),  # Q28
        ({"run_ids": "r0"}, "012"),
        ({"run_ids": ["r0", "r1"], "types": ["run_started"]}, "0"),
        ({"providers": ["codex", "claude"]}, "0127"),
        ({"since": at(3), "until": at(65)}, "345"),
        ({"session_ids": "s0", "order_by": "sequence_desc", "limit": 2}, "43"),
        ({"session_ids": ["s0", "s1"], "after": 2, "order_by": "sequence_desc"}, "432"),
        ({}, "01234567"),
    ]
    for filters, expected in wanted:
        page = await query.search_events(**{"order_by": "timestamp_asc", **filters})
        assert ids(page.events) == [f"e{n}" for n in expected], filters
        if not filters.keys() & {"after", "limit"}:
            assert await query.count_events(**filters) == len(expected)  # Q31
    (first, *_) = (await query.search_events(session_ids="s0")).events
    assert first == replace(events()[0], sequence_number=1)


async def test_several_types_are_merged_in_order(query: QueryAPI) -> None:
    """In pages of two, in every order: each event once, though each type is looked for by itself (W27)."""
    types = ["message_sent", "run_completed", "error_occurred", "session_created", "run_timeout", "message_sent"]
    found = [replace(event, sequence_number=NUMBERS[event.id]) for event in events()]
    keys: dict[str, Callable[[Event], Any]] = {
        "sequence": lambda event: (event.sequence_number, event.id),
        "timestamp": lambda event: (event.timestamp, event.id),
    }
    wanted: list[tuple[dict[str, Any], str]] = [
        ({}, "134567"),
        ({"since": at(3), "until": at(66)}, "3456"),
        ({"providers": ["claude", "codex"]}, "17"),
        ({"session_ids": ["s0", "s4"]}, "1347"),
        ({"after": 1, "since": at(3)}, "346"),
    ]
    for filters, numbers in wanted:
        for by, key in keys.items():
            expected = ids(sorted((event for event in found if event.id[1] in numbers), key=key))
            for order, ordered in ((f"{by}_asc", expected), (f"{by}_desc", expected[::-1])):
                pages = await walked(query.search_events, "events", types=types, order_by=order, **filters)
                assert pages == ordered, (filters, order)


async def test_a_malformed_row_is_named_and_can_be_passed_over(query: QueryAPI, recording_db: Database) -> None:
    """The rows beside it stay readable, also for filters and sums that look into JSON."""
    broken = "'[1'" if recording_db.dialect == "sqlite" else "'7'"
    await recording_db.client.execute_query(f"UPDATE asm_sessions SET tags = {broken} WHERE id = 's2'")
    await recording_db.client.execute_query(f"UPDATE asm_runs SET token_usage = {broken} WHERE id = 'r0'")
    assert ids((await query.search_sessions(tags=["paid"])).sessions) == ["s1", "s0"]
    assert (await query.get_usage_summary(session_id="s0")).total_tokens == 1510
    with pytest.raises(CorruptRowError) as caught:
        await query.search_sessions()
    assert caught.value.key == "s2"
    passed: list[CorruptRowError] = []
    page = await query.search_sessions(limit=3, on_corrupt=passed.append)
    assert (ids(page.sessions), [error.key for error in passed]) == (["s1", "s3"], ["s2"])
    assert ids((await query.search_sessions(cursor=page.cursor)).sessions) == ["s0"]


async def test_w13_what_a_newer_version_wrote_is_found(query: QueryAPI, recording_db: Database) -> None:
    """An unknown status is kept as it is; to search for it takes the version that knows it."""
    await recording_db.client.execute_query("UPDATE asm_sessions SET status = 'archived' WHERE id = 's1'")
    assert (await query.search_sessions(limit=1)).sessions[0].status == "archived"
    assert (await refused(query.search_sessions(status="archived"))).reason == "validation_error"


async def test_raw_values_need_no_class(query: QueryAPI, recording_db: Database) -> None:
    """What a class of another program stands in is shown as it is stored; without `raw` it is a malformed row."""
    other = '{"ticket": {"$jido:type": "of-nobody", "n": 1}}'
    await recording_db.client.execute_query(f"UPDATE asm_sessions SET metadata = '{other}' WHERE id = 's1'")
    (raw, *_) = (await QueryAPI(raw=True).search_sessions()).sessions
    assert raw.metadata == json.loads(other)
    with pytest.raises(CorruptRowError):
        await query.search_sessions()


async def test_texts_that_look_like_sql_or_json_are_texts(query: QueryAPI) -> None:
    """Quotes, brackets and wildcards in filters are compared as they are."""
    odd = ['a"]', "%", "a,b", "{}", "$jido:bytes", "'; DROP TABLE asm_runs; --"]
    await SessionStore().save_session(Session(id="odd", agent_id=odd[-1], tags=odd))
    for text in odd:
        assert ids((await query.search_sessions(tags=[text])).sessions) == ["odd"]
    assert ids((await query.search_sessions(agent_id=odd, tags=json.loads(json.dumps(odd)))).sessions) == ["odd"]
    assert (await query.search_sessions(agent_id="%")).sessions == ()
