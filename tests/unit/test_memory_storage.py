"""The storage in memory: what it promises beyond the contract, which tests/contract runs on it.

E27 (tables are isolated) and E29, E30 (tables outlive who made them) are here, because only this storage is made of
tables that a test can hold. ST and JA are the cases of Jido's older Thread.Store (store_test, journal adapter) that the
contract does not have under another name. Of ST7, its list of thread ids, the list of checkpoints is what is left.
"""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from jido_tortoise import codec
from jido_tortoise.agents.memory import InMemoryStorage, MemoryTables
from jido_tortoise.agents.storage import AtomicSave, Copying, Heads, Listing, Repairing, Storage, ThreadWrite, Trimming
from jido_tortoise.agents.thread import Entry
from jido_tortoise.errors import ConflictError, CorruptRowError, DuplicateEntryError, InvalidInputError


@pytest.fixture
def storage() -> InMemoryStorage:
    return InMemoryStorage()


def test_it_has_all_capabilities() -> None:
    """The protocols are kept with their signatures; mypy compares the types, this the names and defaults."""
    protocols = (Storage, AtomicSave, Heads, Listing, Trimming, Copying, Repairing)
    names = {
        (protocol, name)
        for protocol in protocols
        for name in vars(protocol)
        if not name.startswith("_") and callable(getattr(protocol, name))
    }
    assert len(names) == 18
    for protocol, name in names:
        wanted = inspect.signature(getattr(protocol, name)).parameters
        got = inspect.signature(getattr(InMemoryStorage, name)).parameters
        assert [(p.name, p.kind, p.default) for p in got.values()] == [
            (p.name, p.kind, p.default) for p in wanted.values()
        ], name


async def test_E27_tables_are_isolated() -> None:
    """Two storages with nothing in common share nothing."""
    one, two = InMemoryStorage(), InMemoryStorage()
    await one.put_checkpoint("k", 1)
    await one.append_thread("t", {})
    assert await two.get_checkpoint("k") is None
    assert await two.load_thread("t") is None


async def test_E29_E30_tables_outlive_their_first_user() -> None:
    """Tables stay as long as somebody holds them."""
    tables = MemoryTables()
    await InMemoryStorage(tables).append_thread("t", {})
    gc.collect()
    assert await InMemoryStorage(tables).load_thread("t") is not None


async def test_ST7_JA_threads_are_independent(storage: InMemoryStorage) -> None:
    """A write to one thread shows in no other, and kinds of any name come back."""
    for thread_id in ("a", "b"):
        await storage.append_thread(thread_id, [{"kind": kind} for kind in (thread_id, "unheard-of")])
    for thread_id in ("a", "b"):
        thread = await storage.load_thread(thread_id)
        assert thread is not None
        assert [entry.kind for entry in thread] == [thread_id, "unheard-of"]


def test_equality_is_that_of_the_tables() -> None:
    """Two handles on one data are the same storage: an agent stored by one is guarded with the other."""
    tables = MemoryTables()
    assert InMemoryStorage(tables) == InMemoryStorage(tables) != InMemoryStorage()
    assert hash(InMemoryStorage(tables)) == hash(InMemoryStorage(tables))
    assert copy.copy(InMemoryStorage(tables)) == InMemoryStorage(tables)


async def test_repr_counts(storage: InMemoryStorage) -> None:
    """It says how much it holds, and nothing of it."""
    await storage.put_checkpoint("secret", "secret")
    assert repr(storage) == "<InMemoryStorage: 1 checkpoints, 0 journals>"


async def test_it_stores_text(storage: InMemoryStorage) -> None:
    """What is kept is JSON, so that a value which only memory could hold is refused here too."""
    data: dict[str, Any] = {"state": {"a": [1]}}
    await storage.put_checkpoint("k", data)
    data["state"]["a"].append(2)
    checkpoint = await storage.get_checkpoint("k")
    assert checkpoint is not None
    assert checkpoint.data == {"state": {"a": [1]}}
    checkpoint.data["state"]["a"].append(3)
    assert await storage.read_raw_checkpoint("k") == ('{"state":{"a":[1]}}', 1)
    assert await storage.read_raw_checkpoint("other") is None


def finished(call: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that must not wait for anything, by hand."""
    try:
        call.send(None)
    except StopIteration as stop:
        return stop.value
    call.close()
    pytest.fail("it gave control away")


CALLS: dict[str, Callable[[InMemoryStorage], Coroutine[Any, Any, Any]]] = {
    "put_checkpoint": lambda s: s.put_checkpoint("k", 1),
    "get_checkpoint": lambda s: s.get_checkpoint("k"),
    "delete_checkpoint": lambda s: s.delete_checkpoint("k"),
    "append_thread": lambda s: s.append_thread("t", {}),
    "load_thread": lambda s: s.load_thread("t"),
    "delete_thread": lambda s: s.delete_thread("t"),
    "save": lambda s: s.save("k", {}, thread=ThreadWrite(id="t", entries=[{}])),
    "save without a journal": lambda s: s.save("k", {}),
    "fetch": lambda s: s.fetch("k"),
    "delete_agent": lambda s: s.delete_agent("k"),
    "get_thread_head": lambda s: s.get_thread_head("t"),
    "trim_thread": lambda s: s.trim_thread("t", before=1),
    "copy_thread": lambda s: s.copy_thread("source", "target"),
    "list_checkpoints": lambda s: s.list_checkpoints(),
    "count_checkpoints": lambda s: s.count_checkpoints(),
    "repair_thread": lambda s: s.repair_thread("t"),
}


@pytest.mark.parametrize("name", CALLS)
def test_each_call_is_one_step(name: str, storage: InMemoryStorage) -> None:
    """No method gives control away, so no other task, and no cancellation, comes in between."""
    finished(storage.append_thread("source", {}))
    finished(CALLS[name](storage))


async def test_refused_save_changes_nothing(storage: InMemoryStorage) -> None:
    """Whichever part of a save is refused, the other is not written either."""
    await storage.save("k", {"n": 1}, thread=ThreadWrite(id="t", entries=[Entry(id="e", at=1)]))
    before = copy.deepcopy(storage.tables)
    entries = [Entry(id="new")]
    writes: list[tuple[Any, dict[str, Any], int]] = [
        ({}, {"entries": [{"kind": ""}]}, 1),
        ({"n": object()}, {"entries": entries}, 1),
        ({}, {"entries": entries, "metadata": {"a": object()}}, 1),
        ({}, {"entries": entries}, 7),
        ({}, {"entries": entries, "expected_rev": 7}, 1),
        ({}, {"entries": [Entry(id="e")]}, 1),
        ({}, {"expected_rev": 0}, 1),
    ]
    for data, thread, version in writes:
        with pytest.raises((InvalidInputError, ConflictError)):
            await storage.save("k", data, expected_version=version, thread=ThreadWrite(id="t", **thread))
        assert storage.tables._checkpoints == before._checkpoints
        assert storage.tables._journals == before._journals


async def test_repeat_among_many(storage: InMemoryStorage) -> None:
    """A repeat is found by the ids of its entries, wherever in a long journal they stand, and counts as it did then."""
    await storage.append_thread("t", [{"id": f"old {n}"} for n in range(1_000)])
    first = await storage.append_thread("t", [{"id": "a"}, {"id": "b"}], expected_rev=1_000)
    await storage.append_thread("t", [{"id": f"new {n}"} for n in range(10)])
    assert await storage.append_thread("t", [{"id": "a"}, {"id": "b"}]) == first
    assert await storage.append_thread("t", [{"id": "a"}, {"id": "b"}], expected_rev=1_000) == first
    with pytest.raises(ConflictError):
        await storage.append_thread("t", [{"id": "a"}, {"id": "b"}], expected_rev=999)
    with pytest.raises(DuplicateEntryError):
        await storage.append_thread("t", [{"id": "a"}, {"id": "new 3"}])
    head = await storage.get_thread_head("t")
    assert head is not None
    assert head.rev == 1_012


async def test_trimmed_ids_are_forgotten(storage: InMemoryStorage) -> None:
    """An id that was trimmed away can come again, as in a table whose row is gone."""
    await storage.append_thread("t", [{"id": "a"}, {"id": "b"}])
    await storage.trim_thread("t", before=1)
    assert storage.tables._journals["t"].numbers == {"b": 1}
    assert (await storage.append_thread("t", {"id": "a"})).rev == 3
    with pytest.raises(DuplicateEntryError):
        await storage.append_thread("t", {"id": "b", "kind": "other"})


async def test_read_at_a_head(storage: InMemoryStorage) -> None:
    """A journal is read as it was at a head, whatever was appended since; None when that is gone."""
    await storage.append_thread("t", [{}, {}, {}], metadata={"a": 1})
    head = await storage.get_thread_head("t")
    assert head is not None
    whole = await storage.load_thread("t")
    await storage.append_thread("t", {})
    assert await storage.read_thread("t", head) == whole
    await storage.trim_thread("t", before=1)
    assert await storage.read_thread("t", head) is None
    await storage.delete_thread("t")
    assert await storage.read_thread("t", head) is None
    await storage.append_thread("t", {})
    assert await storage.read_thread("t", head) is None


async def test_walk_ends_with_a_deleted_journal(storage: InMemoryStorage) -> None:
    """A walk does not go on in a journal that was deleted, nor in another one of its name."""
    await storage.append_thread("t", [{}, {}, {}, {}])
    met = []
    async for entry in storage.iter_entries("t", page=2):
        met.append(entry.seq)
        await storage.delete_thread("t")
        await storage.append_thread("t", [{}] * 9)
    assert met == [0, 1]


async def test_listed_ids_are_values(storage: InMemoryStorage) -> None:
    """A list answers agent ids as they are, not as their column shows them."""
    ids: list[Any] = ["u", 7, ("a", 1), "=7"]
    for id in ids:
        await storage.put_checkpoint(("shopper", id), {"agent_type": "shopper", "id": id})
    page = await storage.list_checkpoints(agent_type="shopper")
    assert {repr(item.agent_id) for item in page.items} == {repr(id) for id in ids}
    assert {item.key for item in page.items} == {("shopper", id) for id in ids}


async def test_malformed_rows_are_named_and_the_rest_is_readable(storage: InMemoryStorage) -> None:
    """One row that cannot be read is an error that names it; those beside it are read."""
    await storage.append_thread("t", [{}, {}, {}])
    for key in ("good", "bad"):
        await storage.put_checkpoint(key, 1)
    journal = storage.tables._journals["t"]
    journal.rows[1] = journal.rows[1]._replace(payload='{"$jido:type":"gone"}')
    row = storage.tables._checkpoints.pop(
        next(k for k, v in storage.tables._checkpoints.items() if v.checkpoint.key == '"bad"')
    )
    spoiled = row.checkpoint._replace(data="{")
    storage.tables._checkpoints[spoiled.key_hash] = type(row)(spoiled, 1, 1, 1)
    with pytest.raises(CorruptRowError, match="entry 1 of thread 't'"):
        await storage.load_thread("t")
    tail = await storage.load_thread("t", tail=1)
    assert tail is not None
    assert [entry.seq for entry in tail] == [2]
    with pytest.raises(CorruptRowError, match="'bad'") as caught:
        await storage.get_checkpoint("bad")
    assert (caught.value.table, caught.value.key) == ("jido_checkpoints", "bad")
    assert await storage.get_checkpoint("good") is not None
    assert (await storage.list_checkpoints()).items[0].key in ("good", "bad")


async def test_head_and_entries_never_disagree(storage: InMemoryStorage) -> None:
    """There is nothing to repair, whatever happened to a journal."""
    await storage.append_thread("t", [{}, {}])
    await storage.trim_thread("t", before=1)
    assert await storage.repair_thread("t") is None
    with pytest.raises(InvalidInputError):
        await storage.repair_thread("")


async def test_delete_agent_takes_both_journals(storage: InMemoryStorage) -> None:
    """The journal that the checkpoint points at goes, and the one that is named."""
    for thread_id in ("pointed", "named", "other"):
        await storage.append_thread(thread_id, {})
    await storage.save("k", {}, thread=ThreadWrite(id="pointed"))
    await storage.delete_agent("k", "named")
    assert [await storage.load_thread(name) is None for name in ("pointed", "named", "other")] == [True, True, False]
    assert await storage.get_checkpoint("k") is None


async def test_big_append(storage: InMemoryStorage) -> None:
    """20,000 entries in one append (H10)."""
    appended = await storage.append_thread("t", [{"payload": {"n": n}} for n in range(20_000)])
    assert (appended.rev, appended.entries[-1].seq, appended.entries[-1].payload) == (20_000, 19_999, {"n": 19_999})


async def test_many_writers(storage: InMemoryStorage) -> None:
    """Forty writers at once, without an expected revision, leave gapless numbers (E25)."""

    async def write(name: int) -> None:
        await asyncio.sleep(0)
        await storage.append_thread("t", {"payload": {"n": name}})

    await asyncio.gather(*(write(n) for n in range(40)))
    thread = await storage.load_thread("t")
    assert thread is not None
    assert [entry.seq for entry in thread] == list(range(40))


async def test_keys_of_any_value(storage: InMemoryStorage) -> None:
    """A key is hashed by its canonical form, as in the databases."""
    await storage.put_checkpoint({"b": 1, "a": {2}}, "found")
    assert list(storage.tables._checkpoints) != []
    checkpoint = await storage.get_checkpoint({"a": {2}, "b": 1})
    assert checkpoint is not None
    assert checkpoint.data == "found"
    assert codec.loads(next(iter(storage.tables._checkpoints.values())).checkpoint.key) == {"a": {2}, "b": 1}
