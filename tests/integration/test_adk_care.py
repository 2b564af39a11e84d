"""Pruning, deletion by invocation, copies and rewinding: what goes is what was named, and the rest is as it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tortoise.transactions import in_transaction

from jido_tortoise.adk import Actions, AdkSessionStore, Event, Pruned, Session, pruning, undoing
from jido_tortoise.adk.models import AdkAppState, AdkEvent, AdkSession
from jido_tortoise.adk.pruning import Rules, Seen
from jido_tortoise.database import Db
from jido_tortoise.errors import (
    AlreadyExistsError,
    CorruptRowError,
    DuplicateEntryError,
    InvalidInputError,
    NotFoundError,
)
from jido_tortoise_testing.faults import Trial, cancel_everywhere, crash_everywhere
from tests.conftest import Database

store = AdkSessionStore()
WHO = {"app_name": "shop", "user_id": "ann"}
T0 = datetime(2026, 1, 1, tzinfo=UTC)


def step(n: int, **more: Any) -> Event:
    """Make an event of minute n that sets a key of its own."""
    fields: dict[str, Any] = {"id": f"e{n}", "timestamp": T0 + timedelta(minutes=n), "invocation_id": f"i{n // 2}"}
    return Event(**{**fields, "actions": Actions({"last": n, f"k{n}": n}), **more})


async def made(name: str = "s", events: int = 0, start: int = 0, **who: str) -> Session:
    """Make a session with events of the minutes from `start` on."""
    session = await store.create(**{**WHO, **who}, session_id=name, state={"begun": True, "app:shared": 1})
    for n in range(start, start + events):
        session = await store.append_event(session, step(n))
    return session


async def got(name: str = "s", **more: Any) -> Session:
    return await store.get(**{**WHO, **more}, session_id=name)


async def names() -> list[str]:
    return [session.id for session in (await store.page_sessions(app_name="shop", newest_first=False)).items]


def ids(session: Session) -> list[str]:
    return [event.id for event in session.events]


# -- prune: sessions ----------------------------------------------------------------------------------------------


async def test_prune_sessions_by_age(adk_db: Database) -> None:
    """With their events, in batches of any size; shared state and other apps stay, and a dry run only counts."""
    for n in range(6):
        await made(f"s{n}", 2, start=10 * n)
    await made("s0", 1, app_name="other")
    rule: dict[str, Any] = {"app_name": "shop", "sessions_before": T0 + timedelta(minutes=31)}
    assert await store.prune(**rule, dry_run=True) == Pruned(3, 6)
    assert len(await names()) == 6
    assert await store.prune(**rule, batch=1) == Pruned(3, 6)
    assert await names() == ["s3", "s4", "s5"]
    assert await AdkEvent.filter(app_name="shop").count() == 6
    assert await store.prune(**rule) == Pruned(0, 0)
    assert await AdkAppState.filter(app_name="shop").exists()
    assert await AdkSession.filter(app_name="other").count() == 1


async def test_prune_keeps_the_newest_of_each_user(adk_db: Database) -> None:
    """By count, by age, or by one of the two when both are given; of one user when one is named."""
    for n in range(8):
        await made(f"s{n}", 1, start=n, user_id="ann" if n % 2 else "bob")
    both = {"keep_sessions": 3, "sessions_before": T0 + timedelta(minutes=4)}
    assert await store.prune(app_name="shop", user_id="ann", **both, dry_run=True) == Pruned(2, 2)
    assert await store.prune(app_name="shop", keep_sessions=3) == Pruned(2, 2)
    assert await names() == ["s2", "s3", "s4", "s5", "s6", "s7"]
    assert await store.prune(app_name="shop", user_id="bob", keep_sessions=0) == Pruned(3, 3)
    assert await names() == ["s3", "s5", "s7"]


async def test_prune_a_session_of_many_events_in_small_steps(adk_db: Database) -> None:
    """And one that has been touched since stays, whatever was counted."""
    await made("long", 7)
    assert await store.prune(app_name="shop", keep_sessions=0, batch=3) == Pruned(1, 7)
    assert await AdkEvent.all().count() == 0


@pytest.mark.parametrize("backend", ["postgres"])
async def test_prune_passes_over_what_others_write(adk_db: Database) -> None:
    """A session whose row is locked by another transaction stays, and nobody waits."""
    for n in range(3):
        await made(f"s{n}", 1)
    async with adk_db.client._pool.acquire() as other, other.transaction():
        await other.execute("SELECT 1 FROM adk_sessions WHERE id = 's1' FOR UPDATE")
        async with asyncio.timeout(5):
            assert await store.prune(app_name="shop", keep_sessions=0) == Pruned(2, 2)
    assert await names() == ["s1"]


async def test_prune_beside_appends_loses_no_event(adk_db: Database) -> None:
    """A session that is appended to meanwhile is there with all of it, or gone."""
    sessions = [await made(f"s{n}", 3) for n in range(6)]

    async def append(session: Session) -> Any:
        try:
            return await store.append_event(session, Event(id="late", timestamp=T0 + timedelta(days=9)))
        except NotFoundError:
            return None

    rule: dict[str, Any] = {"app_name": "shop", "sessions_before": T0 + timedelta(days=1), "batch": 2}
    *appended, _ = await asyncio.gather(*map(append, sessions), store.prune(**rule))
    there = await names()
    assert there == [session.id for session, answer in zip(sessions, appended, strict=True) if answer is not None]
    for name in there:
        assert ids(await got(name))[-1] == "late"
    assert await AdkEvent.all().count() == sum([len((await got(name)).events) for name in there])


# -- prune: events ------------------------------------------------------------------------------------------------


async def test_prune_leaves_a_session_alone_that_was_made_anew(
    adk_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted and made anew under its names since it was looked at, it is another one: its events are not old."""

    async def made_anew(db: Db, rules: Rules) -> AsyncIterator[tuple[Seen, int]]:
        async for one in found(db, rules):
            await store.delete(**WHO, session_id="s")
            await made("s", 2)
            yield one
            break  # the one that was made anew would be found too

    found = pruning._with_old_events
    monkeypatch.setattr(pruning, "_with_old_events", made_anew)
    await made("s", 5)
    assert await store.prune(app_name="shop", keep_events=1) == Pruned(0, 0)
    assert ids(await got()) == ["e0", "e1"]


async def test_prune_events_by_count(adk_db: Database) -> None:
    """The last ones stay, with their numbers; the state stays, and appends go on."""
    before = await made("s", 7)
    assert await store.prune(app_name="shop", keep_events=3, dry_run=True) == Pruned(0, 4)
    assert await store.prune(app_name="shop", keep_events=3, batch=2) == Pruned(0, 4)
    found = await got()
    assert (ids(found), found.rev, found.state) == (["e4", "e5", "e6"], 7, before.state)
    assert (await store.append_event(found, step(7))).rev == 8
    assert [row.seq for row in await AdkEvent.all().order_by("seq")] == [4, 5, 6, 7]
    assert await store.prune(app_name="shop", keep_events=0) == Pruned(0, 4)
    assert ids(await got()) == []
    assert (await store.append_event(await got(), step(8))).rev == 9


@pytest.mark.parametrize("rev", [2**62, 2**39])
async def test_prune_walks_to_no_number_that_cannot_be(adk_db: Database, rev: int) -> None:
    """A session that says that it has events without end is named, and nobody waits or runs out of memory."""
    await made("s", 3)
    await AdkSession.filter(id="s").update(rev=rev)
    rules: list[dict[str, Any]] = [{"keep_events": 2}, {"events_before": T0 + timedelta(days=1)}]
    for rule in [*rules, {"keep_sessions": 0}] if rev > 2**40 else rules:
        with pytest.raises(CorruptRowError) as caught:
            await store.prune(app_name="shop", **rule)
        assert (caught.value.key, caught.value.reason) == (("shop", "ann", "s"), "invalid_session_revision")
    if rev < 2**40:
        assert (await store.prune(app_name="shop", keep_sessions=0)).sessions == 1
        assert await AdkEvent.all().count() == 0


async def test_prune_events_by_age(adk_db: Database) -> None:
    """Up to the first that is young enough: what comes after it is not touched, even when it says that it is older."""
    session = await made("s", 4)
    await store.append_event(session, step(0, id="back in time"))
    await made("new", 2, start=50)
    rule: dict[str, Any] = {"app_name": "shop", "events_before": T0 + timedelta(minutes=2)}
    assert await store.prune(**rule, dry_run=True) == await store.prune(**rule) == Pruned(0, 2)
    assert ids(await got()) == ["e2", "e3", "back in time"]
    assert ids(await got("new")) == ["e50", "e51"]
    assert await store.prune(app_name="shop", events_before=T0 + timedelta(days=1), keep_events=2) == Pruned(0, 5)
    assert ids(await got()) == []


async def test_a_dry_run_counts_no_event_twice(adk_db: Database) -> None:
    """The events of a session that would go are not those of one that stays."""
    await made("old", 3)
    await made("new", 3, start=100)
    rules: dict[str, Any] = {"app_name": "shop", "sessions_before": T0 + timedelta(minutes=50), "keep_events": 1}
    assert await store.prune(**rules, dry_run=True) == await store.prune(**rules) == Pruned(1, 5)


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({}, "rules"),
        ({"keep_events": -1}, "keep_events"),
        ({"keep_sessions": True}, "keep_sessions"),
        ({"sessions_before": T0.replace(tzinfo=None)}, "sessions_before"),
        ({"keep_events": 1, "batch": 0}, "batch"),
        ({"keep_events": 1, "user_id": ""}, "user_id"),
    ],
)
@pytest.mark.parametrize("backend", ["sqlite-memory"])
async def test_prune_refuses_bad_input(adk_db: Database, wrong: dict[str, Any], path: str) -> None:
    """Above all: no rule at all would be everything."""
    await made("s", 1)
    with pytest.raises(InvalidInputError) as caught:
        await store.prune(app_name="shop", **wrong)
    assert caught.value.path == path


# -- delete by invocation -----------------------------------------------------------------------------------------


async def test_delete_an_invocation(adk_db: Database) -> None:
    """From the midst: the others keep their numbers, every way of reading knows of it, and appends go on."""
    before = await made("s", 7)
    assert await store.delete_invocation(**WHO, session_id="s", invocation_id="i1") == 2
    assert await store.delete_invocation(**WHO, session_id="s", invocation_id="i1") == 0
    found = await got()
    assert (ids(found), found.rev, found.state) == (["e0", "e1", "e4", "e5", "e6"], 7, before.state)
    assert ids(await got(num_recent_events=4)) == ["e1", "e4", "e5", "e6"]
    assert ids(await got(after=T0)) == ["e1", "e4", "e5", "e6"]
    assert [ids(one) for one in await store.list(app_name="shop")] == [ids(found)]
    assert (await store.append_event(found, step(7))).rev == 8
    assert ids(await got(num_recent_events=0)) == []
    assert await store.delete_invocation(**WHO, session_id="s", invocation_id="i0") == 2
    assert ids(await got(num_recent_events=9)) == ["e4", "e5", "e6", "e7"]
    assert (await AdkSession.get(id="s")).extra == {"holes": [[0, 4]]}
    with pytest.raises(NotFoundError):
        await store.delete_invocation(**WHO, session_id="none", invocation_id="i0")


async def test_holes_and_pruning(adk_db: Database) -> None:
    """A count is one of events that are there, and holes that lie before all events are forgotten."""
    await made("s", 8)
    await store.delete_invocation(**WHO, session_id="s", invocation_id="i2")
    assert await store.prune(app_name="shop", keep_events=3, dry_run=True) == Pruned(0, 3)
    assert await store.prune(app_name="shop", keep_events=3) == Pruned(0, 3)
    assert ids(await got()) == ["e3", "e6", "e7"]
    await store.prune(app_name="shop", keep_events=2)
    await store.delete_invocation(**WHO, session_id="s", invocation_id="i3")
    assert (await got()).events == ()
    assert await store.prune(app_name="shop", keep_sessions=0) == Pruned(1, 0)


async def test_a_lost_event_is_no_hole(adk_db: Database) -> None:
    """What is gone without being named is still a corrupt session."""
    await made("s", 6)
    await store.delete_invocation(**WHO, session_id="s", invocation_id="i1")
    await adk_db.client.execute_query("DELETE FROM adk_events WHERE seq = 4")
    with pytest.raises(CorruptRowError) as caught:
        await got()
    assert caught.value.key == ("shop", "ann", "s")
    assert ids(await got(num_recent_events=1)) == ["e5"]


@pytest.mark.parametrize("nonsense", ['{"holes": [[2, 1]]}', '{"holes": 7}', "[]"])
async def test_malformed_holes_are_named(adk_db: Database, nonsense: str) -> None:
    """The session is corrupt, others beside it are read, and pruning removes it."""
    await made("s", 2)
    await made("t", 1)
    cast = "::jsonb" if adk_db.dialect == "postgres" else ""
    await adk_db.client.execute_query(f"UPDATE adk_sessions SET extra = '{nonsense}'{cast} WHERE id = 's'")
    for call in (got(), store.delete_invocation(**WHO, session_id="s", invocation_id="i0")):
        with pytest.raises(CorruptRowError) as caught:
            await call
        assert (caught.value.table, caught.value.session_id) == ("adk_sessions", "s")
    seen: list[CorruptRowError] = []
    assert [one.id for one in await store.list(app_name="shop", on_corrupt=seen.append)] == ["t"]
    assert len(seen) == 1
    assert (await store.prune(app_name="shop", keep_sessions=0)).sessions == 2


async def test_an_invocation_id_that_its_column_cannot_hold(adk_db: Database) -> None:
    """Two that are cut to one text are told apart."""
    session = await made()
    long = ["x" * 300, "x" * 301, "a\0b", "a\ufffdb"]
    for n, name in enumerate(long):
        session = await store.append_event(session, step(n, invocation_id=name))
    for n, name in enumerate(long):
        assert await store.delete_invocation(**WHO, session_id="s", invocation_id=name) == 1
        assert ids(await got()) == [f"e{m}" for m in range(n + 1, 4)]


async def test_holes_survive_an_append(adk_db: Database) -> None:
    """Of what has no column they alone: google-adk's exact time is that of the last event, or none."""
    await made("s", 2)
    await store.delete_invocation(**WHO, session_id="s", invocation_id="i0")
    cast = "::jsonb" if adk_db.dialect == "postgres" else ""
    extra = '{"holes": [[0, 2]], "last_update_time": 1.5}'
    await adk_db.client.execute_query(f"UPDATE adk_sessions SET extra = '{extra}'{cast}")
    assert (await store.copy(**WHO, session_id="s", new_session_id="t")).events == ()
    assert (await AdkSession.get(id="t")).extra == {"holes": [[0, 2]]}
    await store.append_event(await got(), step(2))
    assert (await AdkSession.get(id="s")).extra == {"holes": [[0, 2]]}
    assert ids(await got()) == ["e2"]


# -- copy ---------------------------------------------------------------------------------------------------------


async def test_copy_whole(adk_db: Database) -> None:
    """Events, numbers and state; then each goes its own way."""
    source = await made("s", 4)
    copied = await store.copy(**WHO, session_id="s", new_session_id="t")
    assert (copied.id, copied.events, copied.state, copied.rev) == ("t", source.events, source.state, 4)
    await store.append_event(copied, step(9))
    assert ids(await got("t")) == [*ids(source), "e9"]
    assert ids(await got("s")) == ids(source)
    assert (await got("s")).state["last"] == 3
    assert (await store.copy(**WHO, session_id="s")).id not in ("s", "t")


async def test_copy_up_to_an_event(adk_db: Database) -> None:
    """State is taken back: to the last copied event that set a key; what no left-out event touched stays."""
    await made("s", 5)
    fork = await store.copy(**WHO, session_id="s", new_session_id="t", until=2)
    assert (ids(fork), fork.rev) == (["e0", "e1"], 2)
    assert fork.state == {"app:shared": 1, "begun": True, "last": 1, "k0": 0, "k1": 1}
    assert (await store.append_event(fork, step(2))).rev == 3
    empty = await store.copy(**WHO, session_id="s", until=0)
    assert (empty.events, empty.state) == ((), {"app:shared": 1, "begun": True})
    assert ids(await store.copy(**WHO, session_id="s", until=99)) == ids(await got())


async def test_copy_of_a_session_with_holes(adk_db: Database) -> None:
    """Those above the copy's end are none of its own: the next append there takes their number."""
    await made("s", 6)
    await store.prune(app_name="shop", keep_events=5)
    for name in ("i1", "i2"):
        await store.delete_invocation(**WHO, session_id="s", invocation_id=name)
    fork = await store.copy(**WHO, session_id="s", new_session_id="t", until=3)
    assert ids(fork) == ["e1"]
    await store.append_event(fork, step(7))
    assert ids(await got("t")) == ["e1", "e7"]
    assert ids(await store.copy(**WHO, session_id="s")) == ["e1"]


async def test_copy_refuses(adk_db: Database) -> None:
    """A source that is not there, a target that is: nothing is written, also inside a transaction."""
    await made("s", 2)
    await made("t", 1)
    with pytest.raises(NotFoundError):
        await store.copy(**WHO, session_id="none")
    async with in_transaction("default"):
        with pytest.raises(AlreadyExistsError):
            await store.copy(**WHO, session_id="s", new_session_id="t", until=1)
        assert ids(await got("t")) == ["e0"]
        assert len((await store.copy(**WHO, session_id="s", new_session_id="u")).events) == 2
    with pytest.raises(InvalidInputError):
        await store.copy(**WHO, session_id="s", until=-1)


# -- rewind -------------------------------------------------------------------------------------------------------


async def test_rewind(adk_db: Database) -> None:
    """One more event, which says what google-adk's Runner looks for, and sets the state back; shared state stays."""
    await made("s", 4)
    session = await store.append_event(await got(), step(4, actions=Actions({"last": 4, "app:shared": 2})))
    rewound = await store.rewind(**WHO, session_id="s", before_invocation_id="i1")
    assert rewound == await got()
    assert (rewound.rev, ids(rewound)[:5]) == (6, ids(session))
    event = rewound.events[-1]
    assert (event.author, event.actions.extra) == ("user", {"rewind_before_invocation_id": "i1"})
    assert event.actions.state_delta == {"last": 1, "k2": None, "k3": None}
    assert rewound.state == {"app:shared": 2, "begun": True, "last": 1, "k0": 0, "k1": 1, "k2": None, "k3": None}
    assert [one.id for one in undoing.live(rewound.events)] == ["e0", "e1"]
    again = await store.rewind(**WHO, session_id="s", before_invocation_id="i0")
    assert [one.id for one in undoing.live(again.events)] == []
    later = await store.append_event(again, step(9))
    assert [one.id for one in undoing.live(later.events)] == ["e9"]


async def test_rewind_may_be_repeated(adk_db: Database) -> None:
    """With the id of its event it is done once; an invocation that is not there is named."""
    await made("s", 2)
    for _ in range(2):
        found = await store.rewind(**WHO, session_id="s", before_invocation_id="i0", event_id="back")
    assert ids(found) == ["e0", "e1", "back"]
    with pytest.raises(NotFoundError) as caught:
        await store.rewind(**WHO, session_id="s", before_invocation_id="i7")
    assert caught.value.reason == "invocation_not_found"
    with pytest.raises(DuplicateEntryError):
        await store.append_event(found, Event(id="back"))


async def test_rewind_beside_appends(adk_db: Database) -> None:
    """It takes back what was there when it was stored: an append before it too."""
    session = await made("s", 2)
    *_, rewound = await asyncio.gather(
        *(store.append_event(session, step(n)) for n in range(2, 5)),
        store.rewind(**WHO, session_id="s", before_invocation_id="i0"),
    )
    *before, event = rewound.events
    assert event.actions.state_delta.keys() == {"last", *(f"k{one.id[1:]}" for one in before)}


# -- faults -------------------------------------------------------------------------------------------------------


async def _look(trial: Trial) -> Any:
    """Look at all that is there of this trial; whatever is listed can be read."""
    who = {"app_name": "shop", "user_id": trial.name}
    sessions = await store.list(**who)
    events = await AdkEvent.filter(user_id=trial.name).count()
    assert events == sum(len(session.events) for session in sessions)
    return [(session.id, session.rev, ids(session), session.state) for session in sessions]


async def _prepared(trial: Trial) -> None:
    await made("s", 4, user_id=trial.name)


async def _create(trial: Trial) -> None:
    state = {"k": 1, "user:k": 1}
    await store.create(app_name="shop", user_id=trial.name, session_id="new", state=state)


async def _append(trial: Trial) -> None:
    session = await store.get(app_name="shop", user_id=trial.name, session_id="s")
    await store.append_event(session, step(9, actions=Actions({"k": 1, "user:k": 1})))


async def _delete_invocation(trial: Trial) -> None:
    await store.delete_invocation(app_name="shop", user_id=trial.name, session_id="s", invocation_id="i0")


async def _copy(trial: Trial) -> None:
    await store.copy(app_name="shop", user_id=trial.name, session_id="s", new_session_id="t", until=2)


async def _prune(trial: Trial) -> None:
    await store.prune(app_name="shop", user_id=trial.name, keep_sessions=0)


async def _delete(trial: Trial) -> None:
    await store.delete(app_name="shop", user_id=trial.name, session_id="s")


async def _trim(trial: Trial) -> None:
    await store.prune(app_name="shop", user_id=trial.name, keep_events=1)


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("backend", ["sqlite-file", "postgres"])
@pytest.mark.parametrize("operation", [_create, _append, _delete_invocation, _copy, _prune, _trim, _delete])
async def test_crashed_anywhere_each_is_whole_or_absent(adk_db: Database, operation: Any) -> None:
    """A fault at every statement, a cancellation at every await."""
    report = await crash_everywhere(operation, _look, prepare=_prepared, connection="default")
    assert report.before != report.after
    await cancel_everywhere(operation, _look, prepare=_prepared, connection="default")
