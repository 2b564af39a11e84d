"""State lives where its prefix says, is merged key by key, and keeps its types."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from jido_tortoise.errors import NotFoundError, UnstorableError
from jido_tortoise_testing.adk_contract.base import BOB, WHO, AdkChecks, FullStore, got, made, said
from jido_tortoise_testing.contract.exact import assert_same


class RoutingChecks(AdkChecks):
    """`app:` is seen by all sessions of the app, `user:` by the user's, `temp:` by none, the rest by its own."""

    async def test_create_routes_its_state(self, store: FullStore, second: FullStore) -> None:
        """What is shared is seen by other sessions, with its prefix; what is the session's own is not."""
        state = {"app:a": 1, "user:u": 2, "k": 3}
        assert (await made(store, state=state)).state == state
        assert (await made(second, "t")).state == {"app:a": 1, "user:u": 2}
        assert (await made(second, "t", user_id="bob")).state == {"app:a": 1}
        assert (await made(second, "t", app_name="bar")).state == {}

    async def test_append_routes_its_delta(self, store: FullStore, second: FullStore) -> None:
        """As a create does; sessions that were there before see it."""
        for who in (WHO, BOB):
            await store.create(**who, session_id="t")
        session = await store.append_event(await made(store), said(delta={"app:a": 1, "user:u": 2, "k": 3}))
        assert session.state == (await got(second)).state == {"app:a": 1, "user:u": 2, "k": 3}
        assert (await got(second, "t")).state == {"app:a": 1, "user:u": 2}
        assert (await second.get(**BOB, session_id="t")).state == {"app:a": 1}

    async def test_what_is_temporary_is_not_created(self, store: FullStore) -> None:
        """`temp:` of a create is in no answer."""
        assert (await made(store, state={"temp:t": 1, "k": 2})).state == {"k": 2}
        assert (await got(store)).state == {"k": 2}

    async def test_what_is_temporary_is_not_appended(self, store: FullStore) -> None:
        """`temp:` of an append is neither in the state nor in the stored event; the caller's event keeps it."""
        event = said(delta={"temp:t": 1, "k": 2})
        await store.append_event(await made(store), event)
        found = await got(store)
        assert (found.state, found.events[0].actions.state_delta) == ({"k": 2}, {"k": 2})
        assert event.actions.state_delta == {"temp:t": 1, "k": 2}

    async def test_other_prefixes_are_the_sessions_own(self, store: FullStore) -> None:
        """A prefix that nobody knows is a part of the key."""
        await made(store, state={"odd:z": 1, "APP:a": 2, ":": 3})
        assert (await got(store)).state == {"odd:z": 1, "APP:a": 2, ":": 3}
        assert (await made(store, "t")).state == {}

    async def test_none_is_stored(self, store: FullStore) -> None:
        """None is a value in all three places, not a deletion."""
        session = await made(store, state={"app:a": 1, "user:u": 1, "k": 1})
        nothing = {"app:a": None, "user:u": None, "k": None}
        await store.append_event(session, said(delta=nothing))
        assert (await got(store)).state == nothing

    async def test_values_are_replaced_whole(self, store: FullStore) -> None:
        """A dict in a delta replaces the one that was there, in all three places."""
        session = await made(store, state={key: {"old": 1, "both": 1} for key in ("app:a", "user:u", "k")})
        new = {key: {"both": 2} for key in ("app:a", "user:u", "k")}
        await store.append_event(session, said(delta=new))
        assert (await got(store)).state == new

    async def test_other_keys_stay(self, store: FullStore) -> None:
        """A delta changes the keys that it names, and no others; so does a create what is shared."""
        session = await made(store, state={"app:a": 1, "user:u": 1, "k": False})
        await store.append_event(session, said(delta={"app:b": 2, "user:v": 2, "l": 2}))
        await made(store, "t", {"app:c": 3, "user:w": 3})
        shared = {"app:a": 1, "app:b": 2, "app:c": 3, "user:u": 1, "user:v": 2, "user:w": 3}
        assert (await got(store)).state == {**shared, "k": False, "l": 2}

    async def test_the_sessions_own_keys_win(self, store: FullStore) -> None:
        """Of one name in several places the merged state has each, by its prefix."""
        await made(store, state={"app:k": 1, "user:k": 2, "k": 3})
        assert (await got(store)).state == {"app:k": 1, "user:k": 2, "k": 3}

    async def test_user_state_without_prefix(self, store: FullStore) -> None:
        """`get_user_state` answers the user's keys alone, without their prefix; {} where there are none."""
        await made(store, state={"app:a": 1, "user:u": 2, "k": 3})
        assert await store.get_user_state(**WHO) == {"u": 2}
        assert await store.get_user_state(**BOB) == {}
        assert await store.get_user_state(app_name="bar", user_id="ann") == {}


class ValueChecks(AdkChecks):
    """What goes in comes out."""

    VALUES: ClassVar[Any] = {
        "numbers": [0, -1, 2**53 + 1, 2**70, 0.1, -0.0, 1e300],
        "texts": ["", "a\0b", "é", "🍵", "\ud800"],
        "tuple": (1, ("two", None)),
        "bytes": b"\xff\x00",
        "times": [datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC), date(2026, 1, 1)],
        "decimal": Decimal("1.10"),
        "nested": {"": {"a": [{}]}, "null": None, "flags": [True, False]},
    }

    async def test_state_keeps_its_types(self, store: FullStore, second: FullStore) -> None:
        """Values of all three places have, when they are read, the types that they had."""
        await made(store, state={"k": self.VALUES, "app:k": self.VALUES})
        await store.append_event(await got(store), said(delta={"user:k": self.VALUES}))
        state = (await got(second)).state
        for key in ("k", "app:k", "user:k"):
            assert_same(state[key], self.VALUES, key)

    async def test_a_callers_values_are_its_own(self, store: FullStore) -> None:
        """What the caller changes afterwards, in what it gave or got, is not stored."""
        state = {"k": ["given"]}
        session = await made(store, state=state)
        state["k"].append("later")
        assert (await got(store)).state == {"k": ["given"]}
        (await got(store)).state["k"].append("later")
        assert (await got(store)).state == {"k": ["given"]}
        assert session.id == "s"

    async def test_unstorable_state_is_refused(self, store: FullStore) -> None:
        """A create with it is an UnstorableError that says where, and has made nothing."""
        with pytest.raises(UnstorableError) as caught:
            await made(store, state={"app:ok": 1, "k": [print]})
        assert "k" in caught.value.path
        with pytest.raises(NotFoundError):
            await got(store)
        assert (await made(store)).state == {}

    async def test_unstorable_delta_is_refused(self, store: FullStore) -> None:
        """An append with it has written neither the event nor any state."""
        session = await made(store)
        with pytest.raises(UnstorableError):
            await store.append_event(session, said(delta={"app:ok": 1, "user:bad": print}))
        found = await got(store)
        assert (found.rev, found.events, found.state) == (0, (), {})
