"""Sessions are made, found, listed and deleted."""

from __future__ import annotations

from typing import Any

import pytest

from jido_tortoise.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from jido_tortoise_testing.adk_contract.base import BOB, WHO, AdkChecks, FullStore, got, ids, made, said, talked, texts


class CreateChecks(AdkChecks):
    """A session is made once, and found under its names alone."""

    async def test_create_answers_the_session(self, store: FullStore) -> None:
        """It has the names that were given, no events, no state, and the revision 0."""
        session = await made(store, "mine")
        assert (session.app_name, session.user_id, session.id) == ("shop", "ann", "mine")
        assert (dict(session.state), tuple(session.events), session.rev) == ({}, (), 0)

    async def test_create_makes_an_id(self, store: FullStore) -> None:
        """Without an id each session gets one of its own."""
        made = [await store.create(**WHO) for _ in range(3)]
        assert all(session.id for session in made)
        assert len({session.id for session in made}) == 3

    async def test_get_answers_what_create_answered(self, store: FullStore, second: FullStore) -> None:
        """Another process gets a session that equals the one that was made."""
        session = await made(store, state={"k": 1, "app:a": [1], "user:u": None})
        assert await got(second) == session

    async def test_create_refuses_a_duplicate(self, store: FullStore, second: FullStore) -> None:
        """A second session of the same names is an AlreadyExistsError, and nothing of it is written."""
        session = await made(store, state={"k": 1, "app:a": 1})
        with pytest.raises(AlreadyExistsError):
            await made(second, state={"k": 2, "app:a": 2, "user:u": 2})
        assert await got(store) == session

    async def test_users_and_apps_have_sessions_of_their_own(self, store: FullStore) -> None:
        """One id under two users, or two apps, is two sessions."""
        for n, who in enumerate((WHO, BOB, {**WHO, "app_name": "bar"})):
            await store.create(**who, session_id="s", state={"n": n})
        for n, who in enumerate((WHO, BOB, {**WHO, "app_name": "bar"})):
            assert (await store.get(**who, session_id="s")).state == {"n": n}

    async def test_get_of_a_missing_session(self, store: FullStore) -> None:
        """A session that is not there is a NotFoundError with the reason not_found."""
        await made(store)
        for who in (BOB, {**WHO, "app_name": "bar"}):
            with pytest.raises(NotFoundError) as caught:
                await store.get(**who, session_id="s")
            assert caught.value.reason == "not_found"

    async def test_names_are_exact(self, store: FullStore) -> None:
        """Case, blanks, wildcards and marks in an id count."""
        names = ["a", "A", " a", "a ", "%", "_", "a/b", "a'b", "é", "e\u0301", "🍵"]
        for n, name in enumerate(names):
            await made(store, name, {"n": n})
        assert [(await got(store, name)).state["n"] for name in names] == list(range(len(names)))

    async def test_names_that_cannot_be_stored(self, store: FullStore) -> None:
        """What is no text of 1 to 255 sound characters is refused as bad input, by every method."""
        wrong: tuple[Any, ...] = ("", 7, "x" * 256, "a\0b", "\ud800")
        for name in wrong:
            for who in ({"app_name": name, "user_id": "ann"}, {"app_name": "shop", "user_id": name}):
                for method in (store.create, store.get, store.delete):
                    with pytest.raises(InvalidInputError):
                        await method(**who, session_id="s")
            with pytest.raises(InvalidInputError):
                await made(store, name)


class DeleteChecks(AdkChecks):
    """A deleted session leaves nothing behind but what is shared."""

    async def test_delete_takes_the_events_along(self, store: FullStore, second: FullStore) -> None:
        """A session that is made anew has none of the old events, and its numbers begin again."""
        await talked(store, 3)
        await second.delete(**WHO, session_id="s")
        with pytest.raises(NotFoundError):
            await got(store)
        assert await made(store) == await got(second)
        session = await store.append_event(await got(store), said("new"))
        assert (texts(await got(second)), session.rev) == (["new"], 1)

    async def test_delete_of_a_missing_session(self, store: FullStore) -> None:
        """Nothing happens, also the second time."""
        await made(store, "other")
        for _ in range(2):
            await store.delete(**WHO, session_id="s")
        assert (await got(store, "other")).id == "other"

    async def test_delete_leaves_what_is_shared(self, store: FullStore) -> None:
        """State of app and user outlives the session that set it."""
        await made(store, state={"app:a": 1, "user:u": 2, "k": 3})
        await store.delete(**WHO, session_id="s")
        assert (await made(store, "t")).state == {"app:a": 1, "user:u": 2}

    async def test_delete_is_of_one_session(self, store: FullStore) -> None:
        """Those of the same id, and those beside it, stay with their events."""
        await talked(store, 2, "t")
        await talked(store, 2, "s", user_id="bob")
        await made(store)
        await store.delete(**WHO, session_id="s")
        assert len((await got(store, "t")).events) == len((await store.get(**BOB, session_id="s")).events) == 2


class ListChecks(AdkChecks):
    """All sessions of a user, or of an app, the one that was changed last at the end."""

    async def test_list_of_a_user(self, store: FullStore) -> None:
        """Those of the user in the app, and no others."""
        for name in ("a", "b"):
            await made(store, name)
        await made(store, "c", user_id="bob")
        await made(store, "d", app_name="bar")
        assert {session.id for session in await store.list(**WHO)} == {"a", "b"}
        assert list(await store.list(app_name="shop", user_id="nobody")) == []

    async def test_list_of_an_app(self, store: FullStore) -> None:
        """Those of all users in it."""
        await made(store, "a")
        await made(store, "b", user_id="bob")
        await made(store, "c", app_name="bar")
        assert {session.key for session in await store.list(app_name="shop")} == {
            ("shop", "ann", "a"),
            ("shop", "bob", "b"),
        }

    async def test_list_is_in_the_order_of_updates(self, store: FullStore) -> None:
        """The session whose last event is the latest is the last one."""
        for name, at in (("b", 3), ("c", 1), ("a", 2)):
            await store.append_event(await made(store, name), said(at=at))
        assert [session.id for session in await store.list(**WHO)] == ["c", "a", "b"]

    async def test_list_shows_sessions_as_get_does(self, store: FullStore) -> None:
        """With their events and the merged state."""
        await made(store, "a", {"app:a": 1, "user:u": 2})
        await talked(store, 2, "b")
        assert list(await store.list(**WHO)) == [await got(store, session.id) for session in await store.list(**WHO)]

    async def test_list_without_events(self, store: FullStore) -> None:
        """They are left out when nobody asks for them; all else is there."""
        session = await talked(store, 2)
        (listed,) = await store.list(**WHO, events=False)
        assert (ids(listed), listed.state, listed.rev) == ([], session.state, 2)
