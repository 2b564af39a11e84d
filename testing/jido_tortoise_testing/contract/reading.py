"""Reading: the whole journal, a range of it, its head alone, or entry by entry."""

from __future__ import annotations

from jido_tortoise import seams
from jido_tortoise_testing.contract.base import Checks, FullStorage, loaded, needs, note, notes, numbers, seqs
from jido_tortoise_testing.contract.exact import assert_same


async def walked(storage: FullStorage, thread_id: str, **range_: int) -> list[int]:
    """Walk a journal and answer the numbers of what was met."""
    return [entry.seq async for entry in storage.iter_entries(thread_id, **range_)]


class RangeChecks(Checks):
    """A load may ask for a part of the journal; the thread it answers knows the whole one's revision."""

    async def test_from_a_number_on(self, storage: FullStorage) -> None:
        """A first number leaves out what is before it."""
        await storage.append_thread("t", notes(10))
        for first in (0, 1, 7, 9):
            assert seqs(await loaded(storage, "t", from_seq=first)) == list(range(first, 10))

    async def test_limit(self, storage: FullStorage) -> None:
        """A limit answers the oldest so many entries."""
        await storage.append_thread("t", notes(10))
        for limit in (1, 3, 10, 50):
            assert seqs(await loaded(storage, "t", limit=limit)) == list(range(min(10, limit)))

    async def test_from_a_number_on_with_a_limit(self, storage: FullStorage) -> None:
        """A first number and a limit answer so many entries from that number on."""
        await storage.append_thread("t", notes(10))
        assert seqs(await loaded(storage, "t", from_seq=4, limit=3)) == [4, 5, 6]
        assert seqs(await loaded(storage, "t", from_seq=8, limit=5)) == [8, 9]

    async def test_tail(self, storage: FullStorage) -> None:
        """A tail answers the newest so many entries, oldest first."""
        await storage.append_thread("t", notes(10))
        for tail in (1, 3, 10, 50):
            assert seqs(await loaded(storage, "t", tail=tail)) == list(range(max(0, 10 - tail), 10))

    async def test_range_without_entries(self, storage: FullStorage) -> None:
        """A range in which no entry lies answers a thread without entries, not None: the journal is there."""
        await storage.append_thread("t", notes(3))
        for range_ in ({"from_seq": 3}, {"from_seq": 99}, {"limit": 0}, {"tail": 0}):
            thread = await loaded(storage, "t", **range_)
            assert (thread.rev, seqs(thread)) == (3, [])

    async def test_range_of_a_missing_thread(self, storage: FullStorage) -> None:
        """A range of a journal that is not there, or has no entries, is None."""
        await storage.append_thread("empty", [])
        for name in ("missing", "empty"):
            for range_ in ({"from_seq": 1}, {"limit": 1}, {"tail": 1}):
                assert await storage.load_thread(name, **range_) is None

    async def test_range_knows_the_whole(self, storage: FullStorage) -> None:
        """A thread that was loaded by range has the journal's revision, metadata and times."""
        await storage.append_thread("t", notes(5), metadata={"title": "x"})
        whole = await loaded(storage, "t")
        for range_ in ({"from_seq": 3}, {"limit": 2}, {"tail": 2}):
            part = await loaded(storage, "t", **range_)
            assert (part.rev, part.first_seq, part.metadata) == (5, 0, {"title": "x"})
            assert (part.created_at, part.updated_at) == (whole.created_at, whole.updated_at)

    async def test_range_answers_the_same_entries(self, storage: FullStorage, second: FullStorage) -> None:
        """The entries of a range are those of the whole journal, in every field."""
        await storage.append_thread("t", [note(n, refs={"r": (n,)}) for n in range(5)])
        whole = (await loaded(storage, "t")).to_list()
        assert_same((await loaded(second, "t", from_seq=2, limit=2)).to_list(), whole[2:4], "range")
        assert_same((await loaded(second, "t", tail=2)).to_list(), whole[3:], "tail")

    async def test_pages_cover_the_journal(self, storage: FullStorage) -> None:
        """Pages by number and limit, one after another, meet each entry once."""
        await storage.append_thread("t", notes(23))
        met: list[int] = []
        for _ in range(6):
            met += seqs(await loaded(storage, "t", from_seq=len(met), limit=5))
        assert met == list(range(23))

    async def test_append_to_a_partial_thread(self, storage: FullStorage) -> None:
        """What is appended to a thread that was loaded by range is numbered from the journal's revision on."""
        await storage.append_thread("t", notes(5))
        thread = await loaded(storage, "t", tail=1)
        entry = thread.append("note", {"n": 5})
        assert entry.seq == 5
        appended = await storage.append_thread("t", entry, expected_rev=5)
        assert seqs(appended.entries) == [5]


class HeadChecks(Checks):
    """With `head` a journal's head is read without its entries."""

    @needs("head")
    async def test_head_of_a_missing_thread(self, storage: FullStorage) -> None:
        """A journal that is not there has no head."""
        assert await storage.get_thread_head("missing") is None

    @needs("head")
    async def test_head_says_what_the_thread_says(self, storage: FullStorage, second: FullStorage) -> None:
        """The head has the revision, the first number, the metadata and the times that a load answers."""
        for now in (1_000, 5_000):
            with seams.replaced(now_ms=lambda now=now: now):
                await storage.append_thread("t", notes(2), metadata={"title": "x"})
        head = await second.get_thread_head("t")
        assert head is not None
        thread = await loaded(second, "t")
        for name in ("rev", "first_seq", "metadata", "created_at", "updated_at"):
            assert getattr(head, name) == getattr(thread, name), name
        assert (head.rev, head.metadata) == (4, {"title": "x"})

    @needs("head")
    async def test_head_moves_with_each_append(self, storage: FullStorage) -> None:
        """The head's revision is that of the last append, also of a refused one: unmoved."""
        for rev in (1, 2, 3):
            await storage.append_thread("t", note(rev))
            head = await storage.get_thread_head("t")
            assert head is not None
            assert head.rev == rev


class WalkChecks(Checks):
    """With `list` a journal is walked entry by entry, a page at a time."""

    @needs("list")
    async def test_walk_meets_each_entry_once(self, storage: FullStorage) -> None:
        """A walk meets all the entries in order, whatever the size of its pages."""
        await storage.append_thread("t", notes(10))
        for page in (1, 3, 5, 10, 11, 500):
            assert await walked(storage, "t", page=page) == list(range(10))

    @needs("list")
    async def test_walk_answers_whole_entries(self, storage: FullStorage, second: FullStorage) -> None:
        """A walk answers the same entries as a load."""
        await storage.append_thread("t", [note(n, refs={"r": (n,)}) for n in range(5)])
        met = [entry async for entry in second.iter_entries("t", page=2)]
        assert_same(met, (await loaded(storage, "t")).to_list(), "entries")

    @needs("list")
    async def test_walk_of_a_range(self, storage: FullStorage) -> None:
        """A walk may begin at a number, and end before another one."""
        await storage.append_thread("t", notes(10))
        assert await walked(storage, "t", from_seq=7, page=2) == [7, 8, 9]
        assert await walked(storage, "t", upto=3, page=2) == [0, 1, 2]
        assert await walked(storage, "t", from_seq=2, upto=5, page=2) == [2, 3, 4]
        assert await walked(storage, "t", from_seq=5, upto=5) == await walked(storage, "t", from_seq=99) == []

    @needs("list")
    async def test_walk_of_nothing(self, storage: FullStorage) -> None:
        """A walk of a journal that is not there, or has no entries, meets nothing."""
        await storage.append_thread("empty", [])
        assert await walked(storage, "missing") == await walked(storage, "empty") == []

    @needs("list")
    async def test_walk_can_be_left(self, storage: FullStorage) -> None:
        """A walk that is left half way leaves the storage usable."""
        await storage.append_thread("t", notes(10))
        walk = storage.iter_entries("t", page=2)
        async for entry in walk:
            if entry.seq == 4:
                break
        await storage.append_thread("t", note(10))
        assert await walked(storage, "t", page=4) == list(range(11))

    @needs("list")
    async def test_walk_beside_a_writer(self, storage: FullStorage, second: FullStorage) -> None:
        """Entries appended during a walk make no gap and no repetition in it."""
        await storage.append_thread("t", notes(6))
        met: list[int] = []
        async for entry in storage.iter_entries("t", page=2):
            met.append(entry.seq)
            if entry.seq < 6:
                await second.append_thread("t", note("more"))
        assert met == list(range(len(met)))
        assert len(met) >= 6
        assert numbers(await storage.load_thread("t"))[6:] == ["more"] * 6
