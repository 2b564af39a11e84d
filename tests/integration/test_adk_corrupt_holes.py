"""Notes of deleted events that were damaged behind our back: named with their session, and in nobody's way."""

from __future__ import annotations

from typing import Any

import pytest

from jido_tortoise.adk import AdkSessionStore, TortoiseSessionService
from jido_tortoise.adk.models import AdkEvent, AdkSession
from jido_tortoise.adk.statements import SESSIONS
from jido_tortoise.errors import CorruptRowError
from jido_tortoise_testing.adk_contract.base import WHO, got, ids, made, said, talked
from tests.conftest import Database

store = AdkSessionStore()

#: What may stand there instead of [[2, 4]], in a session of six events.
HOLES = {
    "nothing": '{"holes": null}',
    "number": '{"holes": 5}',
    "text": '{"holes": "2-4"}',
    "map": '{"holes": {"2": 4}}',
    "numbers": '{"holes": [2, 4]}',
    "triple": '{"holes": [[2, 3, 4]]}',
    "backwards": '{"holes": [[4, 2]]}',
    "empty": '{"holes": [[2, 2]]}',
    "fraction": '{"holes": [[2.5, 4]]}',
    "flag": '{"holes": [[true, 3]]}',
    "negative": '{"holes": [[-2, 0]]}',
    "huge": '{"holes": [[2, 9223372036854775808]]}',
    "unordered": '{"holes": [[3, 4], [2, 3]]}',
    "overlapping": '{"holes": [[2, 4], [3, 4]]}',
    "beyond": '{"holes": [[2, 4], [7, 9]]}',
    "tag": '{"holes": {"$jido:nope": 1}}',
}
#: What may stand there instead of any map.
EXTRAS = {"list": '["holes"]', "word": '"holes"', "null": "null", "tag-of-all": '{"$jido:nope": 1}'}
#: What a column of SQLite takes, too.
BROKEN = {"broken": '{"holes": [[2,', "no-json": "holes"}


@pytest.fixture
async def sessions(adk_db: Database) -> Database:
    """Give two sessions of six events that have lost their second invocation, `bad` and `good`."""
    for name in ("bad", "good"):
        await talked(store, 6, name)
        assert await store.delete_invocation(**WHO, session_id=name, invocation_id="i1") == 2
    return adk_db


def variants(db: Database, more: dict[str, str]) -> dict[str, str]:
    return {**more, **(BROKEN if db.dialect == "sqlite" else {})}


async def damage(db: Database, extra: str) -> None:
    await db.client.execute_query(f"UPDATE adk_sessions SET extra = '{extra}' WHERE id = 'bad'")


async def named(call: Any, damaged: str) -> None:
    with pytest.raises(CorruptRowError, match=r"adk_sessions .*'bad'") as caught:
        await call
    facts = (caught.value.table, caught.value.key, caught.value.session_id)
    assert facts == ("adk_sessions", ("shop", "ann", "bad"), "bad"), damaged


async def test_it_is_named_and_hides_no_other_session(sessions: Database) -> None:
    """Whoever needs the events is told which session it is; a list tells of it and has the rest."""
    google = TortoiseSessionService(on_corrupt=lambda error: None)
    which = {**WHO, "session_id": "bad"}
    for name, extra in variants(sessions, HOLES | EXTRAS).items():
        await damage(sessions, extra)
        await named(got(store, "bad"), name)
        await named(got(store, "bad", num_recent_events=2), name)
        await named(store.delete_invocation(**which, invocation_id="i0"), name)
        await named(store.copy(**which, new_session_id=name), name)
        await named(store.copy(**which, new_session_id=name, until=3), name)
        await named(store.rewind(**which, before_invocation_id="i0"), name)
        await named(google.get_session(**which), name)
        await named(store.list(**WHO), name)
        errors: list[CorruptRowError] = []
        assert [one.id for one in await store.list(**WHO, on_corrupt=errors.append)] == ["good"]
        assert [error.key for error in errors] == [("shop", "ann", "bad")], name
        assert "good" in [one.id for one in (await google.list_sessions(**WHO)).sessions]
    assert await AdkSession.all().count() == 2


async def test_what_needs_no_events_goes_on(sessions: Database) -> None:
    """Lists and pages without events show the session's state, and it can be deleted."""
    for extra in variants(sessions, HOLES | EXTRAS).values():
        await damage(sessions, extra)
        listed = await store.list(**WHO, events=False)
        assert {one.id: one.state["last"] for one in listed} == {"bad": 5, "good": 5}
        assert {one.id for one in (await store.page_sessions(**WHO)).items} == {"bad", "good"}
    await store.delete(**WHO, session_id="bad")
    assert await AdkEvent.filter(session_id="bad").count() == 0


async def test_an_append_keeps_what_it_cannot_read(sessions: Database) -> None:
    """The event is stored, and the damage stays to be seen; what is no map at all is refused, and left as it is."""
    session = await got(store, "bad")
    forever = {name: extra for name, extra in HOLES.items() if name != "beyond"}  # all events but for a while
    for name, extra in forever.items():
        await damage(sessions, extra)
        session = await store.append_event(session, said(id=name), check_stale=True)
        await named(got(store, "bad"), name)
    for name, extra in variants(sessions, EXTRAS).items():
        if name != "tag-of-all":  # a map, for SQL
            await damage(sessions, extra)
            await named(store.append_event(session, said(delta={"app:x": 1})), name)
    assert "app:x" not in (await got(store, "good")).state
    assert await AdkEvent.filter(session_id="bad").count() == 4 + len(forever)


async def test_pruning_takes_no_more_than_it_can_count(sessions: Database) -> None:
    """Of a session whose last events nobody can count all stay; by age they go, and so does the session."""
    await damage(sessions, HOLES["number"])
    dry = await store.prune(app_name="shop", keep_events=3, dry_run=True)
    pruned = await store.prune(app_name="shop", keep_events=3)
    assert (pruned.events, dry.events) == (1, 1)
    assert await AdkEvent.filter(session_id="bad").count() == 4
    assert ids(await got(store, "good")) == ["e1", "e4", "e5"]
    assert (await store.prune(app_name="shop", keep_sessions=0)).sessions == 2
    assert await AdkEvent.all().count() == 0


async def test_a_damaged_event_is_named_by_who_looks_for_invocations(adk_db: Database) -> None:
    """Its number too; the other session's can be deleted."""
    await made(store, "bad")
    await talked(store, 2, "good")
    long_id = "i" * 300
    event = said(id="e0", invocation_id=long_id)
    await store.append_event(await got(store, "bad"), event)
    await _damage_event(adk_db)
    with pytest.raises(CorruptRowError, match="event 0 is malformed") as caught:
        await store.delete_invocation(**WHO, session_id="bad", invocation_id=long_id)
    assert (caught.value.table, caught.value.key, caught.value.seq) == ("adk_events", ("shop", "ann", "bad"), 0)
    assert await store.delete_invocation(**WHO, session_id="good", invocation_id="i0") == 2


async def _damage_event(db: Database) -> None:
    # Events cannot be updated: to damage one it is made anew.
    names = ", ".join((*SESSIONS.row_key, "seq", *(column.name for column in SESSIONS.row if column.name != "extra")))
    await db.client.execute_query("CREATE TABLE damaged AS SELECT * FROM adk_events WHERE session_id = 'bad'")
    await db.client.execute_query("DELETE FROM adk_events WHERE session_id = 'bad'")
    await db.client.execute_query(f"INSERT INTO adk_events ({names}, extra) SELECT {names}, '[1]' FROM damaged")
