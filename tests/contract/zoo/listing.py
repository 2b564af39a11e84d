"""Storages that list what is not there, or not what is there, or page it wrongly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jido_tortoise.agents.storage import CheckpointInfo, Page
from jido_tortoise.errors import CorruptRowError, InvalidInputError

from .cage import Broken, Method, answering, caught_by, instead, replace


async def all_items(storage: Broken, **filters: Any) -> list[CheckpointInfo]:
    """Answer all that is listed, by pages that are sound."""
    found: list[CheckpointInfo] = []
    page = await storage.inner.list_checkpoints(**filters)
    while True:
        found += page.items
        if page.next is None:
            return found
        page = await storage.inner.list_checkpoints(after=page.next, **filters)


def offset_of(after: str | None) -> int:
    """Answer the place that a cursor of our own says."""
    try:
        return int(after.removeprefix("at ")) if after else 0
    except ValueError:
        raise InvalidInputError.at("after", "a cursor", after) from None


def sliced(items: list[CheckpointInfo], limit: int, after: str | None) -> Page:
    """Answer a page by places."""
    start = offset_of(after)
    more = len(items) > start + limit
    return Page(items=tuple(items[start : start + limit]), next=f"at {start + limit}" if more else None)


def listing(name: str, checks: str, change: Callable[[list[CheckpointInfo]], list[CheckpointInfo]]) -> None:
    """Put a storage into the zoo that lists other items, or in another order."""

    async def listed(storage: Broken, real: Method, *, limit: int = 100, after: Any = None, **filters: Any) -> Any:
        return sliced(change(await all_items(storage, **filters)), limit, after)

    instead(name, "list_checkpoints", checks, listed)


def each(name: str, checks: str, **changes: Callable[[CheckpointInfo], Any]) -> None:
    """Put a storage into the zoo that shows something else of each item."""

    def shown(page: Page) -> Page:
        items = (replace(item, **{field: change(item) for field, change in changes.items()}) for item in page.items)
        return replace(page, items=tuple(items))

    answering(name, "list_checkpoints", checks, shown)


listing("ListsNewestFirst", "list_is_oldest_first overwrite_keeps_the_place", lambda items: items[::-1])
listing(
    "ListsByTheLastChange",
    "overwrite_keeps_the_place",
    lambda items: sorted(items, key=lambda item: (item.updated_at, repr(item.key))),
)
listing(
    "ListsByKey",
    "list_is_oldest_first pages_beside_writers",
    lambda items: sorted(items, key=lambda item: str(item.key), reverse=True),
)
listing("HidesWhatIsNoAgent", "data_that_is_no_agent", lambda items: [item for item in items if item.agent_type])
listing("PagesByPlace", "pages_beside_writers", lambda items: items)
each("ShowsTheFirstVersion", "item_shows_all_but_the_data", version=lambda _: 1)
each("ShowsAnotherTime", "item_shows_all_but_the_data", updated_at=lambda item: item.created_at.replace(year=1999))
each("ShowsThePointerAsItWas", "item_shows_all_but_the_data", thread_rev=lambda item: 7 if item.thread_rev else None)
each("ShowsKeysAsText", "item_shows_all_but_the_data data_that_is_no_agent", key=lambda item: str(item.key))
each(
    "ShowsIdsAsText", "ids_keep_their_type", agent_id=lambda item: None if item.agent_id is None else str(item.agent_id)
)
each("ShowsNoPartition", "item_shows_all_but_the_data", partition=lambda _: None)
each("ShowsEmptyForNone", "data_that_is_no_agent", partition=lambda item: item.partition or "")


async def _next_of_nothing(_: Broken, real: Method, **more: Any) -> Any:
    page = await real(**more)
    return page if page.items else replace(page, next="more")


async def _next_of_full(_: Broken, real: Method, *, limit: int = 100, **more: Any) -> Any:
    page = await real(limit=limit, **more)
    return replace(page, next="more") if len(page.items) == limit and page.next is None else page


async def _fails_on_others(storage: Broken, real: Method, **more: Any) -> Any:
    page = await real(**more)
    if any(item.agent_type is None for item in page.items):
        raise CorruptRowError("this is no agent")
    return page


async def _any_capitals(storage: Broken, real: Method, *, agent_type: Any = None, **more: Any) -> Any:
    items = await all_items(storage)
    if not agent_type:
        return await real(**more)
    names = {item.agent_type or "" for item in items}
    pages = [await real(agent_type=name, **more) for name in sorted(names) if name.lower() == agent_type.lower()]
    return Page(items=tuple(item for page in pages for item in page.items), next=None)


async def _by_pattern(_: Broken, real: Method, *, agent_type: Any = None, **more: Any) -> Any:
    return await real(agent_type=None if agent_type == "%" else agent_type, **more)


async def _empty_is_all(_: Broken, real: Method, *, partition: Any = None, **more: Any) -> Any:
    return await real(partition=partition or None, **more)


async def _type_only(_: Broken, real: Method, *, agent_type: Any = None, partition: Any = None, **more: Any) -> Any:
    return await real(agent_type=agent_type, partition=None if agent_type else partition, **more)


async def _partition_only(
    _: Broken, real: Method, *, agent_type: Any = None, partition: Any = None, **more: Any
) -> Any:
    return await real(agent_type=None if partition is not None else agent_type, partition=partition, **more)


async def _filters_late(storage: Broken, real: Method, *, limit: int = 100, after: Any = None, **filters: Any) -> Any:
    page = sliced(await all_items(storage), limit, after)
    wished = {name: value for name, value in filters.items() if value is not None}
    kept = tuple(item for item in page.items if all(getattr(item, n) == (v or None) for n, v in wished.items()))
    return replace(page, items=kept)


async def _by_time_only(storage: Broken, real: Method, *, limit: int = 100, after: Any = None, **filters: Any) -> Any:
    items = [i for i in await all_items(storage, **filters) if after is None or _minute(i) > after]
    more = len(items) > limit
    return Page(items=tuple(items[:limit]), next=_minute(items[limit - 1]) if more else None)


def _minute(item: Any) -> str:
    # Of milliseconds each checkpoint would have its own on a slow machine, and nothing would be wrong with it.
    return str(item.created_at.strftime("%Y-%m-%d %H:%M"))


async def _border_twice(storage: Broken, real: Method, *, limit: int = 100, after: Any = None, **filters: Any) -> Any:
    items = await all_items(storage, **filters)
    page = sliced(items, limit, after)
    start = offset_of(after)
    return replace(page, items=tuple(items[start - 1 : start]) + page.items) if start else page


async def _unbound(storage: Broken, real: Method, *, limit: int = 100, after: Any = None, **filters: Any) -> Any:
    try:
        return await real(limit=limit, after=after, **filters)
    except InvalidInputError:
        if isinstance(after, str) and len(after) > 40:
            return Page(items=(), next=None)
        raise


async def _from_the_beginning(_: Broken, real: Method, *, after: Any = None, **more: Any) -> Any:
    try:
        return await real(after=after, **more)
    except InvalidInputError:
        if isinstance(after, str) and len(after) > 40:
            raise
        return await real(**more)


async def _fifty(_: Broken, real: Method, *, limit: int = 50, **more: Any) -> Any:
    return await real(limit=limit, **more)


async def _without_end(_: Broken, real: Method, *, limit: int = 100, **more: Any) -> Any:
    return await real(limit=10_000 if limit == 100 else limit, **more)


async def _counts_all(_: Broken, real: Method, **filters: Any) -> Any:
    return await real()


async def _counts_the_page(_: Broken, real: Method, **filters: Any) -> Any:
    return min(1, await real(**filters))


_TYPE, _PARTITION, _BOTH = "filter_by_agent_type", "filter_by_partition", "filter_by_both"
instead("HasAPageAfterNothing", "list_checkpoints", "list_of_nothing", _next_of_nothing)
instead("HasAPageAfterAFullOne", "list_checkpoints", "last_page_has_no_next", _next_of_full)
instead("CannotListWhatIsNoAgent", "list_checkpoints", "data_that_is_no_agent", _fails_on_others)
instead("FoldsTypes", "list_checkpoints", _TYPE, _any_capitals)
instead("FiltersByPattern", "list_checkpoints", _TYPE, _by_pattern)
instead("TakesNoPartitionForAll", "list_checkpoints", f"{_PARTITION} {_BOTH}", _empty_is_all)
instead("FiltersByTypeOnly", "list_checkpoints", _BOTH, _type_only)
instead("FiltersByPartitionOnly", "list_checkpoints", _BOTH, _partition_only)
instead("FiltersAfterTheLimit", "list_checkpoints", "pages_of_a_filter", _filters_late)
instead("PagesByTimeOnly", "list_checkpoints", "pages_cover_the_list hundred_on_a_page", _by_time_only)
instead("ListsBordersTwice", "list_checkpoints", "pages_cover_the_list pages_of_a_filter", _border_twice)
instead("TakesCursorsOfOtherFilters", "list_checkpoints", "cursor_is_bound_to_its_filters", _unbound)
instead("BeginsAnewWithoutACursor", "list_checkpoints", "cursor_that_is_none", _from_the_beginning)
instead("ListsFifty", "list_checkpoints", "hundred_on_a_page", _fifty)
instead("ListsAll", "list_checkpoints", "hundred_on_a_page", _without_end)
instead("CountsAll", "count_checkpoints", f"{_TYPE} {_PARTITION} {_BOTH}", _counts_all)
instead("CountsToOne", "count_checkpoints", f"overwrite_keeps_the_place {_PARTITION}", _counts_the_page)


@caught_by("deleted_checkpoint_is_not_listed pages_beside_writers")
class ListsTheDeleted(Broken):
    """What was deleted is still listed, and counted."""

    async def delete_checkpoint(self, key: Any) -> None:
        self.remembered("deleted")[repr(key)] = [i for i in await all_items(self) if i.key == key]
        await self.inner.delete_checkpoint(key)

    async def list_checkpoints(self, *, limit: int = 100, after: Any = None, **filters: Any) -> Page:
        deleted = [item for items in self.remembered("deleted").values() for item in items]
        items = sorted([*await all_items(self, **filters), *deleted], key=lambda item: item.created_at)
        return sliced(items, limit, after)
