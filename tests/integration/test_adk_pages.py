"""Pages of sessions: in order, with filters, through indexes; a cursor serves the list that it came from alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from jido_tortoise import checks
from jido_tortoise.adk import Actions, AdkSessionStore, Event, SessionPage, care_statements
from jido_tortoise.adk.models import AdkAppState, AdkSession
from jido_tortoise.database import resolve
from jido_tortoise.errors import CorruptRowError, InvalidInputError
from tests.conftest import Database

store = AdkSessionStore()
T0 = datetime(2026, 1, 1, tzinfo=UTC)
SHOP = {"app_name": "shop"}


async def made(count: int, **more: Any) -> list[str]:
    """Make sessions that were updated a minute apart, of two users in turn; some share a time."""
    names = [f"s{n:02}" for n in range(count)]
    for n, name in enumerate(names):
        who = {"app_name": "shop", "user_id": "ann" if n % 2 == 0 else "bob", **more}
        session = await store.create(**who, session_id=name, state={"n": n, "topic": "tea" if n % 3 else "tax"})
        await store.append_event(session, Event(timestamp=T0 + timedelta(minutes=n - n % 2)))
    return names


async def walked(limit: int, **filters: Any) -> list[str]:
    """Walk all pages, each full but for the last."""
    names, page = [], SessionPage((), "")
    while page.next is not None:
        page = await store.page_sessions(**SHOP, limit=limit, after=page.next or None, **filters)
        assert len(page.items) == limit or page.next is None
        names += [session.id for session in page.items]
    return names


async def test_pages_in_both_orders(adk_db: Database) -> None:
    """All of them, each once, by the last update; those of one time by their making."""
    names = await made(9)
    for limit in (1, 2, 4, 9, checks.MOST):
        assert await walked(limit, newest_first=False) == names
        assert await walked(limit) == names[::-1]


async def test_filters(adk_db: Database) -> None:
    """User, times and state, together too; the moments themselves are outside."""
    names = await made(12)
    await made(3, app_name="other")
    oldest = {"newest_first": False, "limit": 3}
    assert await walked(**oldest, user_id="ann") == names[::2]
    late, early = T0 + timedelta(minutes=4), T0 + timedelta(minutes=8)
    assert await walked(**oldest, updated_after=late) == names[6:]
    assert await walked(**oldest, updated_before=early) == names[:8]
    assert await walked(**oldest, updated_after=late, updated_before=early) == names[6:8]
    assert await walked(**oldest, where={"topic": "tax"}) == names[::3]
    assert await walked(**oldest, where={"topic": "tax", "n": 6}, user_id="ann") == [names[6]]
    assert await walked(**oldest, where={"nothing": None}) == []
    assert await walked(**oldest, user_id="nobody") == []
    assert await store.page_sessions(app_name="nobody") == SessionPage((), None)


async def test_state_conditions_are_alike_on_all_databases(adk_db: Database) -> None:
    """1 is 1.0 but not True, None is there or not, and a text with NUL is found like any other."""
    states = [{"k": value} for value in (1, 1.0, True, "1", None, "a\0b", [1], {"k": 1})]
    for n, state in enumerate([*states, {}]):
        await store.create(**SHOP, user_id="ann", session_id=str(n), state=state)
    found = {}
    for value in (1, True, "1", None, "a\0b"):
        page = await store.page_sessions(**SHOP, where={"k": value}, newest_first=False)
        found[repr(value)] = "".join(session.id for session in page.items)
    assert found == {"1": "01", "True": "2", "'1'": "3", "None": "4", repr("a\0b"): "5"}


async def test_a_page_has_the_merged_state_or_none(adk_db: Database) -> None:
    """As `list` shows them, without events; without state nothing of it is read."""
    for user in ("ann", "bob"):
        await store.create(**SHOP, user_id=user, session_id="s", state={"app:a": user, "user:u": user, "k": 1})
    with_events = await store.list(**SHOP, events=False)
    page = await store.page_sessions(**SHOP, newest_first=False)
    assert sorted(page.items, key=lambda s: s.user_id) == sorted(with_events, key=lambda s: s.user_id)
    await AdkAppState.filter(app_name="shop").delete()
    db = resolve(None, AdkSession)
    broken = "'[]'::jsonb" if db.dialect == "postgres" else "'nonsense'"
    await adk_db.client.execute_query(f"UPDATE adk_user_states SET state = {broken}")
    page = await store.page_sessions(**SHOP, with_state=False)
    assert [session.state for session in page.items] == [{}, {}]
    with pytest.raises(CorruptRowError):
        await store.page_sessions(**SHOP)


async def test_a_session_that_moves(adk_db: Database) -> None:
    """With the oldest first nothing is missed by who pages while others write."""
    names = await made(6)
    page = await store.page_sessions(**SHOP, newest_first=False, limit=2)
    session = await store.get(**SHOP, user_id="ann", session_id=names[0])
    await store.append_event(session, Event(timestamp=T0 + timedelta(days=1)))
    await store.delete(**SHOP, user_id="bob", session_id=names[3])
    rest = await store.page_sessions(**SHOP, newest_first=False, after=page.next)
    assert [one.id for one in rest.items] == [names[2], *names[4:], names[0]]


async def test_a_cursor_serves_its_own_list_only(adk_db: Database) -> None:
    """Other filters, another order, or no cursor at all: refused, and named."""
    await made(3)
    filters: dict[str, Any] = {"user_id": "ann", "updated_after": T0 - timedelta(1), "where": {"topic": "tax"}}
    cursor = (await store.page_sessions(**SHOP, limit=1)).next
    for name, value in filters.items():
        with pytest.raises(InvalidInputError) as caught:
            await store.page_sessions(**SHOP, after=cursor, **{name: value})
        assert caught.value.path == "after"
    for wrong in ({"newest_first": False}, {"app_name": "other"}, {"updated_before": T0}):
        with pytest.raises(InvalidInputError):
            await store.page_sessions(**{**SHOP, "after": cursor, **wrong})
    for nonsense in ("", "x", "é", 7, b"", json.dumps(["a", 1, "b"])):
        with pytest.raises(InvalidInputError):
            await store.page_sessions(**SHOP, after=nonsense)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"app_name": ""}, "app_name"),
        ({"user_id": 7}, "user_id"),
        ({"limit": 0}, "limit"),
        ({"updated_after": datetime(2026, 1, 1)}, "updated_after"),
        ({"updated_before": "today"}, "updated_before"),
        ({"updated_after": datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))}, "updated_after"),
        ({"where": {"user:k": 1}}, "where.user:k"),
        ({"where": {"k": 1.5}}, "where.k"),
        ({"where": {1: 1}}, "where"),
    ],
)
@pytest.mark.parametrize("backend", ["sqlite-memory"])
async def test_bad_input(adk_db: Database, wrong: dict[str, Any], path: str) -> None:
    """Refused, with the name of what is wrong."""
    with pytest.raises(InvalidInputError) as caught:
        await store.page_sessions(**{**SHOP, **wrong})
    assert caught.value.path == path


async def test_a_corrupt_row_does_not_hide_the_rest(adk_db: Database) -> None:
    """It is named by its key, and the pages go on after it."""
    names = await made(4)
    broken = "'[1]'::jsonb" if adk_db.dialect == "postgres" else "'nonsense'"
    await adk_db.client.execute_query(f"UPDATE adk_sessions SET state = {broken} WHERE id = '{names[1]}'")
    seen: list[CorruptRowError] = []
    page = await store.page_sessions(**SHOP, newest_first=False, limit=2, on_corrupt=seen.append)
    found = [session.id for session in page.items]
    page = await store.page_sessions(**SHOP, newest_first=False, after=page.next, on_corrupt=seen.append)
    assert found + [session.id for session in page.items] == [names[0], *names[2:]]
    assert [(error.table, error.session_id) for error in seen] == [("adk_sessions", names[1])]
    with pytest.raises(CorruptRowError):
        await store.page_sessions(**SHOP)


# -- through an index ---------------------------------------------------------------------------------------------

MANY = {
    "sqlite": "INSERT INTO adk_sessions (app_name, user_id, id, state, rev, first_seq, extra, inserted_at, updated_at)"
    " WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < 10000)"
    " SELECT 'shop', 'ann', 's' || n, '{}', 0, 0, '{}', printf('2026-01-01 %02d:%02d:%02d.000000+00:00', n / 3600,"
    " n / 60 % 60, n % 60), '2026-01-01 00:00:00.000000+00:00' FROM g",
    "postgres": "INSERT INTO adk_sessions"
    " (app_name, user_id, id, state, rev, first_seq, extra, inserted_at, updated_at)"
    " SELECT 'shop', 'ann', 's' || n, '{}', 0, 0, '{}', now(), now() - n * interval '1 s'"
    " FROM generate_series(1, 10000) AS n",
}
APP, USER = "idx_adk_session_app_nam_3c7ddc", "idx_adk_session_user_id_873814"


async def plan_of(db: Database, *wished: str) -> str:
    """Explain a page's statement with values as they come."""
    statement = care_statements.page(frozenset(wished), None, db.dialect)  # type: ignore[arg-type]
    values: dict[str, Any] = {"app_name": "shop", "user_id": "ann", "limit": 101, "place_id": 2**40, "where": "{}"}
    moment: Any = datetime(2027, 1, 1, tzinfo=UTC)
    values["place_at"] = moment if db.dialect == "postgres" else str(moment)
    if db.dialect == "postgres":
        async with db.client.acquire_connection() as raw:
            return "\n".join(row[0] for row in await raw.fetch(f"EXPLAIN {statement.sql}", *statement.args(values)))
    async with db.client.acquire_connection() as raw:
        return "\n".join(row[3] for row in await raw.execute_fetchall(f"EXPLAIN QUERY PLAN {statement.sql}", values))


@pytest.mark.parametrize("backend", ["sqlite-file", "postgres"])
async def test_a_page_of_10000_sessions_is_read_by_an_index(adk_db: Database) -> None:
    """The page alone is read, none sorted: of the app, of a user with all of them, and deep in the list."""
    await adk_db.client.execute_script(MANY[adk_db.dialect])
    if adk_db.dialect == "postgres":  # as autovacuum does it; without statistics it sorts what it takes for two rows
        await adk_db.client.execute_script("ANALYZE")
    for wished, index in ((("state",), APP), (("place", "oldest"), APP), (("user", "place"), USER), (("user",), USER)):
        plan = await plan_of(adk_db, *wished)
        if adk_db.dialect == "sqlite":
            assert index in plan, plan
            assert "USE TEMP B-TREE" not in plan.split("SCAN p")[0], plan
        else:  # with all sessions of one user, either index has no more to read than the page
            assert "Sort" not in plan.split("Limit")[1], plan
            assert APP in plan or USER in plan, plan


@pytest.mark.parametrize("backend", ["postgres"])
async def test_an_append_takes_the_unique_index(adk_db: Database) -> None:
    """Also when PostgreSQL knows nothing of what is in the table yet: else it would scan all sessions of the user."""
    await adk_db.client.execute_script(MANY["postgres"])
    async with adk_db.client.acquire_connection() as raw:
        sql = "EXPLAIN UPDATE adk_sessions SET rev = rev WHERE app_name = $1 AND user_id = $2 AND id = $3"
        plan = "\n".join(row[0] for row in await raw.fetch(sql, "shop", "ann", "s77"))
    assert "uid_adk_session_app_nam_50ff43" in plan, plan


async def test_events_are_not_touched(adk_db: Database) -> None:
    """A page needs no event: those of a session may even be missing."""
    await made(1)
    await store.append_event((await store.page_sessions(**SHOP)).items[0], Event(actions=Actions({"k": 1})))
    await adk_db.client.execute_query("DELETE FROM adk_events")
    (session,) = (await store.page_sessions(**SHOP)).items
    assert (session.rev, session.events, session.state["k"]) == (2, (), 1)
