"""Pages of sessions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jido_tortoise.errors import InvalidInputError
from jido_tortoise_testing.adk_contract.base import T0, AdkChecks, FullStore, made, needs, said, talked


async def _filled(store: FullStore) -> list[str]:
    """Make s0 to s5, updated a minute apart, of ann and bob in turn."""
    for n in range(6):
        who = {"user_id": "ann" if n % 2 == 0 else "bob"}
        await store.append_event(await made(store, f"s{n}", {"n": n, "even": n % 2 == 0}, **who), said(at=n))
    return [f"s{n}" for n in range(6)]


async def _walked(store: FullStore, limit: int = 2, **filters: Any) -> list[str]:
    names, after = [], None
    for _ in range(20):
        page = await store.page_sessions(app_name="shop", limit=limit, after=after, **filters)
        names += [session.id for session in page.items]
        assert len(page.items) == limit or page.next is None, "a page that is not full, and not the last"
        after = page.next
        if after is None:
            return names
    raise AssertionError("the pages have no end")


class PageChecks(AdkChecks):
    """Sessions by pages, in the order of their last updates."""

    @needs("pages")
    async def test_pages_hold_each_session_once(self, store: FullStore) -> None:
        """In both orders, whatever their size; the last page has no next."""
        names = await _filled(store)
        await made(store, "other", app_name="bar")
        for limit in (1, 2, 3, 6, 7):
            assert await _walked(store, limit) == names[::-1]
            assert await _walked(store, limit, newest_first=False) == names

    @needs("pages")
    async def test_pages_of_a_user(self, store: FullStore) -> None:
        """Those of the user alone."""
        names = await _filled(store)
        assert await _walked(store, user_id="bob") == names[::-2]

    @needs("pages")
    async def test_pages_between_two_moments(self, store: FullStore) -> None:
        """Updated after the one and before the other; not at them."""
        names = await _filled(store)
        moments: dict[str, Any] = {
            "updated_after": T0 + timedelta(minutes=1),
            "updated_before": T0 + timedelta(minutes=4),
        }
        assert await _walked(store, **moments) == names[3:1:-1]

    @needs("pages")
    async def test_pages_where_the_state_says_so(self, store: FullStore) -> None:
        """All conditions hold; a key that is not there has no value, None neither."""
        await _filled(store)
        assert await _walked(store, where={"even": True}) == ["s4", "s2", "s0"]
        assert await _walked(store, where={"even": True, "n": 2}) == ["s2"]
        assert await _walked(store, where={"nothing": None}) == []

    @needs("pages")
    async def test_pages_show_state_without_events(self, store: FullStore) -> None:
        """As `list` does without events; the state may be left out."""
        await talked(store, 2)
        page = await store.page_sessions(app_name="shop")
        assert list(page.items) == list(await store.list(app_name="shop", events=False))
        (bare,) = (await store.page_sessions(app_name="shop", with_state=False)).items
        assert (bare.state, bare.rev, bare.key) == ({}, 2, ("shop", "ann", "s"))

    @needs("pages")
    async def test_a_session_that_moves_is_not_missed(self, store: FullStore) -> None:
        """With the oldest first, one that is updated meanwhile comes at the end."""
        names = await _filled(store)
        page = await store.page_sessions(app_name="shop", limit=2, newest_first=False)
        await store.append_event(page.items[0], said(at=99))
        rest = await store.page_sessions(app_name="shop", limit=9, newest_first=False, after=page.next)
        assert [session.id for session in rest.items] == [*names[2:], names[0]]

    @needs("pages")
    async def test_a_cursor_is_of_its_list(self, store: FullStore) -> None:
        """With another filter or order it is refused, and so is what is none."""
        await _filled(store)
        cursor = (await store.page_sessions(app_name="shop", limit=2)).next
        assert cursor is not None
        others: list[dict[str, Any]] = [
            {"app_name": "bar"},
            {"user_id": "ann"},
            {"newest_first": False},
            {"where": {"even": True}},
            {"updated_after": T0},
        ]
        for other in others:
            with pytest.raises(InvalidInputError):
                await store.page_sessions(**{"app_name": "shop", "after": cursor, **other})
        with pytest.raises(InvalidInputError):
            await store.page_sessions(app_name="shop", after="nonsense")
