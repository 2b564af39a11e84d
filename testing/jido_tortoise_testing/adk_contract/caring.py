"""Pruning, deletion by invocation, copies, rewinding."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jido_tortoise.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from jido_tortoise_testing.adk_contract.base import T0, WHO, AdkChecks, FullStore, got, ids, made, needs, said, talked

SHOP = {"app_name": "shop"}


async def _names(store: FullStore) -> list[str]:
    return [session.id for session in await store.list(**SHOP, events=False)]


class PruneChecks(AdkChecks):
    """Old sessions and old events go; what stays is as it was."""

    @needs("prune")
    async def test_prune_sessions_by_age(self, store: FullStore) -> None:
        """Those that were last updated before the moment, with their events; other apps keep theirs."""
        for n in range(4):
            await talked(store, 2, f"s{n}", start=10 * n)
        await talked(store, 1, "s0", app_name="bar")
        pruned = await store.prune(**SHOP, sessions_before=T0 + timedelta(minutes=21))
        assert (pruned.sessions, pruned.events) == (2, 4)
        assert await _names(store) == ["s2", "s3"]
        assert len(await store.list(app_name="bar")) == 1

    @needs("prune")
    async def test_prune_keeps_the_newest_sessions(self, store: FullStore) -> None:
        """So many of each user."""
        for n in range(6):
            await talked(store, 1, f"s{n}", start=n, user_id="ann" if n % 2 else "bob")
        assert (await store.prune(**SHOP, keep_sessions=2)).sessions == 2
        assert await _names(store) == ["s2", "s3", "s4", "s5"]

    @needs("prune")
    async def test_prune_keeps_the_last_events(self, store: FullStore) -> None:
        """The state and the revision stay, and the session goes on."""
        before = await talked(store, 5)
        assert (await store.prune(**SHOP, keep_events=2)).events == 3
        found = await got(store)
        assert (ids(found), found.rev, found.state) == (["e3", "e4"], 5, before.state)
        assert (await store.append_event(found, said(at=9))).rev == 6
        assert len((await got(store)).events) == 3

    @needs("prune")
    async def test_prune_events_by_age(self, store: FullStore) -> None:
        """From the beginning up to the first that is young enough."""
        session = await talked(store, 4)
        await store.append_event(session, said(at=0, id="old, but later"))
        assert (await store.prune(**SHOP, events_before=T0 + timedelta(minutes=2))).events == 2
        assert ids(await got(store)) == ["e2", "e3", "old, but later"]

    @needs("prune")
    async def test_a_dry_run_deletes_nothing(self, store: FullStore) -> None:
        """It counts what would go."""
        for n in range(3):
            await talked(store, 3, f"s{n}", start=n)
        rules = {"keep_sessions": 2, "keep_events": 1}
        counted = await store.prune(**SHOP, **rules, dry_run=True)
        assert (counted.sessions, counted.events) == (1, 7)
        assert [len(session.events) for session in await store.list(**SHOP)] == [3, 3, 3]
        assert await store.prune(**SHOP, **rules) == counted

    @needs("prune")
    async def test_prune_wants_a_rule(self, store: FullStore) -> None:
        """Without one it is bad input, not everything."""
        await talked(store, 1)
        with pytest.raises(InvalidInputError):
            await store.prune(**SHOP)
        assert len((await got(store)).events) == 1

    @needs("prune")
    async def test_prune_leaves_what_is_shared(self, store: FullStore) -> None:
        """State of app and user outlives all sessions."""
        await made(store, state={"app:a": 1, "user:u": 2})
        await store.prune(**SHOP, keep_sessions=0)
        assert (await made(store)).state == {"app:a": 1, "user:u": 2}


class InvocationChecks(AdkChecks):
    """The events of an invocation may be deleted."""

    @needs("delete_invocation")
    async def test_delete_an_invocation(self, store: FullStore, second: FullStore) -> None:
        """Its events, and no others; the answer is how many; state and revision stay."""
        before = await talked(store, 6)
        assert await store.delete_invocation(**WHO, session_id="s", invocation_id="i1") == 2
        found = await got(second)
        assert (ids(found), found.rev, found.state) == (["e0", "e1", "e4", "e5"], 6, before.state)
        assert await store.delete_invocation(**WHO, session_id="s", invocation_id="i1") == 0

    @needs("delete_invocation")
    async def test_reading_after_a_deletion(self, store: FullStore) -> None:
        """The last so many are of those that are there; a list shows the same; appends go on."""
        await talked(store, 6)
        await store.delete_invocation(**WHO, session_id="s", invocation_id="i1")
        assert ids(await got(store, num_recent_events=3)) == ["e1", "e4", "e5"]
        await store.append_event(await got(store), said(at=9, id="e9"))
        assert ids((await store.list(**WHO))[0]) == ids(await got(store)) == ["e0", "e1", "e4", "e5", "e9"]

    @needs("delete_invocation")
    async def test_delete_an_invocation_of_a_missing_session(self, store: FullStore) -> None:
        """It is a NotFoundError."""
        with pytest.raises(NotFoundError):
            await store.delete_invocation(**WHO, session_id="s", invocation_id="i1")


class CopyChecks(AdkChecks):
    """A session may be copied, whole or up to an event."""

    @needs("copy")
    async def test_a_copy_goes_its_own_way(self, store: FullStore, second: FullStore) -> None:
        """It has the events and the state of the source; what is appended to one is not in the other."""
        source = await talked(store, 3)
        copied = await store.copy(**WHO, session_id="s", new_session_id="t")
        assert (copied.id, copied.events, copied.state, copied.rev) == ("t", source.events, source.state, 3)
        await store.append_event(copied, said(at=9, id="e9", delta={"last": 9}))
        assert ids(await got(second, "t")) == ["e0", "e1", "e2", "e9"]
        assert (ids(await got(second)), (await got(second)).state["last"]) == (["e0", "e1", "e2"], 2)

    @needs("copy")
    async def test_a_copy_up_to_an_event(self, store: FullStore) -> None:
        """Its state is that of the moment: keys that a left-out event set are as they were, or gone."""
        await talked(store, 4)
        fork = await store.copy(**WHO, session_id="s", new_session_id="t", until=2)
        assert (ids(fork), fork.state, fork.rev) == (["e0", "e1"], {"begun": True, "last": 1, "k0": 0, "k1": 1}, 2)
        assert fork == await got(store, "t")

    @needs("copy")
    async def test_a_copy_refuses_a_taken_id(self, store: FullStore) -> None:
        """It is an AlreadyExistsError, and the session that is there stays as it was; a missing source is not found."""
        await talked(store, 2)
        there = await talked(store, 1, "t")
        with pytest.raises(AlreadyExistsError):
            await store.copy(**WHO, session_id="s", new_session_id="t")
        assert await got(store, "t") == there
        with pytest.raises(NotFoundError):
            await store.copy(**WHO, session_id="none", new_session_id="u")


class RewindChecks(AdkChecks):
    """A session may be taken back to before an invocation."""

    @needs("rewind")
    async def test_rewind_appends_an_event(self, store: FullStore, second: FullStore) -> None:
        """The event names the invocation; the others stay."""
        await talked(store, 4)
        rewound = await store.rewind(**WHO, session_id="s", before_invocation_id="i1")
        assert rewound == await got(second)
        assert ids(rewound)[:4] == ["e0", "e1", "e2", "e3"]
        assert (rewound.rev, rewound.events[-1].actions.extra["rewind_before_invocation_id"]) == (5, "i1")

    @needs("rewind")
    async def test_rewind_takes_the_state_back(self, store: FullStore) -> None:
        """Keys that were set since then are as they were, or None; what is shared stays."""
        session = await talked(store, 3)
        await store.append_event(session, said(at=3, invocation_id="i1", delta={"app:a": 1, "last": 3}))
        rewound = await store.rewind(**WHO, session_id="s", before_invocation_id="i1")
        assert rewound.state == {"app:a": 1, "begun": True, "last": 1, "k0": 0, "k1": 1, "k2": None}

    @needs("rewind")
    async def test_rewind_before_what_is_not_there(self, store: FullStore) -> None:
        """It is a NotFoundError with the reason invocation_not_found, and nothing is written."""
        session = await talked(store, 2)
        with pytest.raises(NotFoundError) as caught:
            await store.rewind(**WHO, session_id="s", before_invocation_id="i7")
        assert caught.value.reason == "invocation_not_found"
        assert await got(store) == session
