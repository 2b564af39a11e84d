"""Listing: which checkpoints there are, by agent type and partition, a page at a time."""

from __future__ import annotations

from typing import Any

import pytest

from jido_tortoise import seams
from jido_tortoise.agents.storage import CheckpointInfo, Page
from jido_tortoise.errors import InvalidInputError
from jido_tortoise_testing.contract.base import Checks, FullStorage, needs
from jido_tortoise_testing.contract.exact import assert_same


async def put_agent(
    storage: FullStorage, id: Any, *, type: str = "shopper", partition: str | None = None, **more: Any
) -> Any:
    """Store the checkpoint of an agent, and answer its key."""
    data: dict[str, Any] = {"version": 1, "agent_type": type, "id": id, "state": {"id": id}, "thread": None, **more}
    if partition is not None:
        data["partition"] = partition
    key = (type, id) if partition is None else (type, ("partition", partition, id))
    await storage.put_checkpoint(key, data)
    return key


def ids(page: Page) -> list[Any]:
    """Answer the ids of the agents on a page."""
    return [item.agent_id for item in page.items]


async def pages(storage: FullStorage, limit: int, **filters: str | None) -> list[list[CheckpointInfo]]:
    """Answer all pages of a list, one after another."""
    found: list[list[CheckpointInfo]] = []
    after: str | None = None
    while True:
        page = await storage.list_checkpoints(limit=limit, after=after, **filters)
        found.append(list(page.items))
        after = page.next
        if after is None:
            return found
        assert len(found) < 1_000, "the list does not end"


async def all_ids(storage: FullStorage, limit: int = 100, **filters: str | None) -> list[Any]:
    """Answer the ids of all agents of a list, in its order."""
    return [item.agent_id for page in await pages(storage, limit, **filters) for item in page]


class ListChecks(Checks):
    """With `list` checkpoints are listed and counted without their data (H13)."""

    @needs("list")
    async def test_list_of_nothing(self, storage: FullStorage) -> None:
        """An empty storage has one page without items."""
        page = await storage.list_checkpoints()
        assert (page.items, page.next) == ((), None)
        assert await storage.count_checkpoints() == 0

    @needs("list")
    async def test_list_is_oldest_first(self, storage: FullStorage) -> None:
        """The list goes by the time of creation."""
        for now in (3_000, 1_000, 2_000):
            with seams.replaced(now_ms=lambda now=now: now):
                await put_agent(storage, now)
        assert await all_ids(storage) == [1_000, 2_000, 3_000]

    @needs("list")
    async def test_overwrite_keeps_the_place(self, storage: FullStorage) -> None:
        """An overwritten checkpoint keeps its place, and is listed once."""
        for now, id in ((1_000, "a"), (2_000, "b"), (3_000, "a")):
            with seams.replaced(now_ms=lambda now=now: now):
                await put_agent(storage, id)
        assert await all_ids(storage) == ["a", "b"]
        assert await storage.count_checkpoints() == 2

    @needs("list")
    async def test_item_shows_all_but_the_data(self, storage: FullStorage, second: FullStorage) -> None:
        """An item has key, agent type, partition, id, pointer, version and times of its checkpoint."""
        key = await put_agent(storage, "u1", partition="blue", thread={"id": "t-1", "rev": 7})
        await put_agent(storage, "u1", partition="blue", thread={"id": "t-1", "rev": 9})
        stored = await storage.get_checkpoint(key)
        assert stored is not None
        (item,) = (await second.list_checkpoints()).items
        assert_same(item.key, key, "key")
        assert (item.agent_type, item.partition, item.agent_id) == ("shopper", "blue", "u1")
        assert (item.thread_id, item.thread_rev) == ("t-1", 9)
        assert (item.version, item.created_at, item.updated_at) == (2, stored.created_at, stored.updated_at)

    @needs("list")
    async def test_ids_keep_their_type(self, storage: FullStorage) -> None:
        """An agent's id comes back as what it was, not as its text."""
        stored: list[Any] = [7, "7", ("a", 1), None, "=7", "=", "ü", 7.0, True]
        for now, id in enumerate(stored):
            with seams.replaced(now_ms=lambda now=now: now):
                await put_agent(storage, id)
        assert_same(await all_ids(storage), stored, "ids")

    @needs("list")
    async def test_data_that_is_no_agent(self, storage: FullStorage) -> None:
        """Checkpoints of other data are listed too, with None for what they lack."""
        others: list[Any] = [
            None,
            [1],
            "text",
            {},
            {"agent_type": 7, "partition": [], "thread": "t"},
            {"thread": {"id": 1}},
        ]
        for number, data in enumerate(others):
            await storage.put_checkpoint(("other", number), data)
        items = [item for page in await pages(storage, 100) for item in page]
        assert {item.key for item in items} == {("other", number) for number in range(len(others))}
        shown = {(i.agent_type, i.partition, i.agent_id, i.thread_id, i.thread_rev) for i in items}
        assert shown == {(None, None, None, None, None)}

    @needs("list")
    async def test_deleted_checkpoint_is_not_listed(self, storage: FullStorage) -> None:
        """What was deleted is neither listed nor counted."""
        key = await put_agent(storage, "a")
        await put_agent(storage, "b")
        await storage.delete_checkpoint(key)
        assert await all_ids(storage) == ["b"]
        assert await storage.count_checkpoints() == 1

    @needs("list")
    async def test_filter_by_agent_type(self, storage: FullStorage) -> None:
        """A type lists the agents of just that type, also in capitals or with a wildcard."""
        for type in ("shopper", "Shopper", "shopper2", "%"):
            await put_agent(storage, f"one {type}", type=type)
        for type in ("shopper", "%", "Shopper"):
            assert await all_ids(storage, agent_type=type) == [f"one {type}"]
            assert await storage.count_checkpoints(agent_type=type) == 1
        assert await all_ids(storage, agent_type="unknown") == []

    @needs("list")
    async def test_filter_by_partition(self, storage: FullStorage) -> None:
        """A partition lists the agents in it, "" those in none, and None all."""
        for partition in (None, "blue", "green"):
            await put_agent(storage, f"in {partition}", partition=partition)
        assert await all_ids(storage, partition="blue") == ["in blue"]
        assert await all_ids(storage, partition="") == ["in None"]
        assert len(await all_ids(storage, partition=None)) == 3
        counts = [await storage.count_checkpoints(partition=partition) for partition in ("blue", "", "red", None)]
        assert counts == [1, 1, 0, 3]

    @needs("list")
    async def test_filter_by_both(self, storage: FullStorage) -> None:
        """A type and a partition list what is of both."""
        for type in ("shopper", "clerk"):
            for partition in (None, "blue"):
                await put_agent(storage, (type, partition), type=type, partition=partition)
        assert await all_ids(storage, agent_type="clerk", partition="blue") == [("clerk", "blue")]
        assert await all_ids(storage, agent_type="clerk", partition="") == [("clerk", None)]
        assert await storage.count_checkpoints(agent_type="clerk", partition="blue") == 1

    @needs("list")
    async def test_pages_cover_the_list(self, storage: FullStorage) -> None:
        """Pages of whatever size meet each checkpoint once, also those of one millisecond."""
        with seams.replaced(now_ms=lambda: 1_000):
            for id in range(12):
                await put_agent(storage, id)
        whole = await all_ids(storage)
        assert sorted(whole) == list(range(12))
        for limit in (1, 5, 6, 12, 100):
            assert await all_ids(storage, limit=limit) == whole
        assert [len(page) for page in await pages(storage, 5)] == [5, 5, 2]

    @needs("list")
    async def test_pages_of_a_filter(self, storage: FullStorage) -> None:
        """Pages of a filtered list meet what passes the filter, and fill up."""
        for id in range(9):
            await put_agent(storage, id, type="even" if id % 2 == 0 else "odd", partition="blue")
        found = await pages(storage, 2, agent_type="even", partition="blue")
        assert [len(page) for page in found][:2] == [2, 2]
        assert sorted(item.agent_id for page in found for item in page) == [0, 2, 4, 6, 8]

    @needs("list")
    async def test_last_page_has_no_next(self, storage: FullStorage) -> None:
        """A page that ends with the last checkpoint has no next one, also when it is full."""
        for id in range(4):
            await put_agent(storage, id)
        first = await storage.list_checkpoints(limit=2)
        assert first.next is not None
        last = await storage.list_checkpoints(limit=2, after=first.next)
        assert (len(last.items), last.next) == (2, None)
        assert (await storage.list_checkpoints(limit=4)).next is None

    @needs("list")
    async def test_pages_beside_writers(self, storage: FullStorage, second: FullStorage) -> None:
        """What is deleted or added between two pages makes no gap and no repetition among the others."""
        keys = []
        for now in range(6):
            with seams.replaced(now_ms=lambda now=now: 1_000 + now):
                keys.append(await put_agent(storage, now))
        first = await storage.list_checkpoints(limit=3)
        for key in (keys[0], keys[2]):
            await second.delete_checkpoint(key)
        with seams.replaced(now_ms=lambda: 500):
            await put_agent(second, "older")
        rest = await storage.list_checkpoints(limit=3, after=first.next)
        assert (ids(first), ids(rest)) == ([0, 1, 2], [3, 4, 5])

    @needs("list")
    async def test_cursor_is_bound_to_its_filters(self, storage: FullStorage) -> None:
        """A cursor that is used with other filters than it was made with is refused."""
        for id in range(3):
            await put_agent(storage, id, partition="blue")
        after = (await storage.list_checkpoints(limit=1, agent_type="shopper")).next
        assert after is not None
        others: list[dict[str, Any]] = [{}, {"agent_type": "clerk"}, {"agent_type": "shopper", "partition": "blue"}]
        for filters in others:
            with pytest.raises(InvalidInputError):
                await storage.list_checkpoints(after=after, **filters)
        assert len((await storage.list_checkpoints(after=after, agent_type="shopper")).items) == 2

    @needs("list")
    async def test_cursor_that_is_none(self, storage: FullStorage) -> None:
        """What is no cursor is refused as bad input."""
        await put_agent(storage, 1)
        bad: list[Any] = ["", "nonsense", "e30=", "1", 7, b"x", "\0", "ü", "[1000]"]
        for after in bad:
            with pytest.raises(InvalidInputError):
                await storage.list_checkpoints(after=after)

    @needs("list")
    async def test_hundred_on_a_page(self, storage: FullStorage) -> None:
        """A page holds 100 checkpoints when nothing else is said."""
        for id in range(101):
            await put_agent(storage, id)
        page = await storage.list_checkpoints()
        assert len(page.items) == 100
        assert page.next is not None
        assert len((await storage.list_checkpoints(after=page.next)).items) == 1
