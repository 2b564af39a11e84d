"""Repeats: an append whose outcome is unknown may be done again, and nothing is stored twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from jido_tortoise.agents.storage import ThreadWrite
from jido_tortoise.agents.thread import Entry
from jido_tortoise.errors import ConflictError, DuplicateEntryError, JidoError
from jido_tortoise_testing.contract.base import Checks, FullStorage, loaded, needs, note, numbers, seqs


def made(count: int, start: int = 0) -> list[Entry]:
    """Make entries with ids and times of their own, as a caller does who wants to be able to repeat."""
    return [Entry("note", {"n": n}, id=f"id-{n}", at=n) for n in range(start, start + count)]


async def refused(
    storage: FullStorage, entries: Sequence[Entry], *, kind: type[JidoError] = DuplicateEntryError
) -> None:
    """Append what must be refused, and find the journal as it was."""
    before = await storage.load_thread("t")
    with pytest.raises(kind):
        await storage.append_thread("t", entries)
    assert await storage.load_thread("t") == before


class RepeatChecks(Checks):
    """The ids of the entries tell a repeat from something new."""

    async def test_repeat_writes_nothing_twice(self, storage: FullStorage, second: FullStorage) -> None:
        """The same entries again, through whichever handle, are stored once."""
        await storage.append_thread("t", made(3))
        for handle in (storage, second, storage):
            await handle.append_thread("t", made(3))
        thread = await loaded(storage, "t")
        assert (thread.rev, numbers(thread)) == (3, [0, 1, 2])

    async def test_repeat_answers_what_is_stored(self, storage: FullStorage) -> None:
        """A repeat answers as the first time: the stored entries with their numbers."""
        await storage.append_thread("t", note("before"))
        first = await storage.append_thread("t", made(2))
        assert await storage.append_thread("t", made(2)) == first

    async def test_repeat_of_a_guarded_append(self, storage: FullStorage) -> None:
        """A repeat with the same expected revision is no conflict."""
        await storage.append_thread("t", made(2), expected_rev=0)
        appended = await storage.append_thread("t", made(2), expected_rev=0)
        assert (appended.rev, seqs(appended.entries)) == (2, [0, 1])
        await storage.append_thread("t", made(1, start=2), expected_rev=2)
        assert (await storage.append_thread("t", made(1, start=2), expected_rev=2)).rev == 3

    async def test_repeat_after_others_appended(self, storage: FullStorage, second: FullStorage) -> None:
        """A repeat answers with the numbers that its entries have, whoever appended since."""
        await storage.append_thread("t", made(2))
        await second.append_thread("t", note("other"))
        assert seqs((await storage.append_thread("t", made(2))).entries) == [0, 1]
        assert numbers(await storage.load_thread("t")) == [0, 1, "other"]

    async def test_repeat_of_a_mapping_without_time(self, storage: FullStorage) -> None:
        """A mapping with an id but no time can be repeated: the time of the first append stays."""
        first = await storage.append_thread("t", note(1, id="mine"))
        await asyncio.sleep(0.005)
        assert await storage.append_thread("t", note(1, id="mine")) == first

    async def test_same_id_with_another_payload(self, storage: FullStorage) -> None:
        """An id that is stored with another payload is refused, and nothing changes."""
        await storage.append_thread("t", made(2))
        await refused(storage, [Entry("note", {"n": 99}, id="id-1", at=1)])

    async def test_same_id_with_another_type_inside(self, storage: FullStorage) -> None:
        """1 and True, or a tuple and a list, are another content."""
        await storage.append_thread("t", Entry("note", {"n": 1, "t": (1,)}, id="a", at=1))
        await refused(storage, [Entry("note", {"n": True, "t": (1,)}, id="a", at=1)])
        await refused(storage, [Entry("note", {"n": 1, "t": [1]}, id="a", at=1)])

    async def test_same_id_with_another_kind_or_refs(self, storage: FullStorage) -> None:
        """An id that is stored with another kind or other refs is refused."""
        await storage.append_thread("t", made(1))
        await refused(storage, [Entry("error", {"n": 0}, id="id-0", at=0)])
        await refused(storage, [Entry("note", {"n": 0}, {"agent_id": "x"}, id="id-0", at=0)])

    async def test_new_entries_beside_stored_ones(self, storage: FullStorage) -> None:
        """An append of which only a part is stored is no repeat: it is refused, and nothing of it is stored."""
        await storage.append_thread("t", made(2))
        await refused(storage, made(3))
        await refused(storage, [*made(1, start=7), *made(1)])

    async def test_stored_entries_in_another_order(self, storage: FullStorage) -> None:
        """The same entries in another order are no repeat."""
        await storage.append_thread("t", made(2))
        await refused(storage, made(2)[::-1])

    async def test_same_id_twice_in_one_append(self, storage: FullStorage) -> None:
        """Two entries of one id in one append are refused, also when they are the same."""
        await storage.append_thread("t", note(0))
        await refused(storage, [*made(1), *made(1)])
        await refused(storage, [*made(1), Entry("note", {"n": 5}, id="id-0")])

    async def test_duplicate_has_its_facts(self, storage: FullStorage) -> None:
        """The refusal names the journal and the id, and is a conflict that no repetition cures."""
        await storage.append_thread("t", made(2))
        with pytest.raises(DuplicateEntryError) as caught:
            await storage.append_thread("t", Entry("note", {"n": 99}, id="id-1"))
        assert caught.value.reason == "duplicate_entry"
        assert caught.value.facts.items() >= {"thread_id": "t", "entry_id": "id-1"}.items()
        assert isinstance(caught.value, ConflictError)

    async def test_ids_are_compared_exactly(self, storage: FullStorage) -> None:
        """Ids that differ in case or in a blank are different ids."""
        for entry_id in ("a", "A", "a ", " a", "ä", "a\u0308"):
            await storage.append_thread("t", note(entry_id, id=entry_id))
        assert numbers(await storage.load_thread("t")) == ["a", "A", "a ", " a", "ä", "a\u0308"]

    async def test_concurrent_repeats(self, storage: FullStorage, second: FullStorage) -> None:
        """The same entries appended by many at once are stored once, and all are answered alike."""
        handles = [storage, second] * 8
        async with asyncio.timeout(self.patience):
            answers = await asyncio.gather(*(handle.append_thread("t", made(3)) for handle in handles))
        assert [seqs(answer.entries) for answer in answers] == [[0, 1, 2]] * 16
        assert numbers(await storage.load_thread("t")) == [0, 1, 2]

    @needs("atomic_save")
    async def test_repeat_of_a_save(self, storage: FullStorage) -> None:
        """A save that is repeated is refused as a conflict, guarded or not, and nothing is stored twice (H4)."""
        await storage.save("k", {"n": 1}, thread=ThreadWrite(id="t", entries=made(2), expected_rev=0))
        before = await storage.fetch("k")
        for expected in (0, None):
            with pytest.raises(ConflictError):
                await storage.save("k", {"n": 1}, thread=ThreadWrite(id="t", entries=made(2), expected_rev=expected))
        assert await storage.fetch("k") == before
        assert numbers(await storage.load_thread("t")) == [0, 1]
