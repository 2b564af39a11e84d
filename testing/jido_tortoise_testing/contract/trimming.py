"""Trimming and copying: old entries may go and a journal may be forked; numbers never change their meaning."""

from __future__ import annotations

import pytest

from jido_tortoise import seams
from jido_tortoise.errors import AlreadyExistsError, ConflictError, NotFoundError
from jido_tortoise_testing.contract.base import Checks, FullStorage, loaded, needs, note, notes, numbers, seqs
from jido_tortoise_testing.contract.exact import assert_same
from jido_tortoise_testing.contract.reading import walked
from jido_tortoise_testing.contract.repeats import made


class TrimChecks(Checks):
    """With `trim` the oldest entries can be dropped (H13, H14)."""

    @needs("trim")
    async def test_trim_drops_what_is_below(self, storage: FullStorage, second: FullStorage) -> None:
        """The entries below the border are gone, and the trim answers how many they were."""
        await storage.append_thread("t", notes(10))
        assert await storage.trim_thread("t", before=4) == 4
        thread = await loaded(second, "t")
        assert seqs(thread) == numbers(thread) == [4, 5, 6, 7, 8, 9]

    @needs("trim")
    async def test_trim_keeps_revision_and_numbers(self, storage: FullStorage) -> None:
        """The revision stays, and the first number is that of the oldest entry left (H14)."""
        await storage.append_thread("t", notes(10), metadata={"title": "x"})
        await storage.trim_thread("t", before=4)
        thread = await loaded(storage, "t")
        assert (thread.rev, thread.first_seq, thread.metadata) == (10, 4, {"title": "x"})

    @needs("trim")
    async def test_append_after_a_trim(self, storage: FullStorage) -> None:
        """What is appended later is numbered as if nothing had been dropped (H14)."""
        await storage.append_thread("t", notes(3))
        await storage.trim_thread("t", before=2)
        appended = await storage.append_thread("t", note(3), expected_rev=3)
        assert (appended.rev, seqs(appended.entries)) == (4, [3])
        assert seqs(await loaded(storage, "t")) == [2, 3]

    @needs("trim")
    async def test_trim_of_all(self, storage: FullStorage) -> None:
        """A border beyond the end drops all entries, and the next one is still numbered on."""
        await storage.append_thread("t", notes(3))
        assert await storage.trim_thread("t", before=99) == 3
        assert await storage.load_thread("t") is None
        appended = await storage.append_thread("t", note(3))
        assert (appended.rev, seqs(appended.entries)) == (4, [3])
        thread = await loaded(storage, "t")
        assert (thread.rev, thread.first_seq, seqs(thread)) == (4, 3, [3])

    @needs("trim", "head")
    async def test_head_after_a_trim_of_all(self, storage: FullStorage) -> None:
        """A journal whose entries are all gone keeps its head and its revision."""
        await storage.append_thread("t", notes(3), metadata={"title": "x"})
        await storage.trim_thread("t", before=3)
        head = await storage.get_thread_head("t")
        assert head is not None
        assert (head.rev, head.first_seq, head.metadata) == (3, 3, {"title": "x"})

    @needs("trim")
    async def test_trim_again(self, storage: FullStorage) -> None:
        """A border that lies below the first number drops nothing and moves nothing back."""
        await storage.append_thread("t", notes(5))
        dropped = [await storage.trim_thread("t", before=before) for before in (0, 3, 3, 1, 4)]
        assert dropped == [0, 3, 0, 0, 1]
        thread = await loaded(storage, "t")
        assert (thread.first_seq, seqs(thread)) == (4, [4])

    @needs("trim")
    async def test_trim_of_a_missing_thread(self, storage: FullStorage) -> None:
        """A trim of a journal that is not there drops nothing and makes none."""
        assert await storage.trim_thread("missing", before=3) == 0
        assert (await storage.append_thread("missing", note(0), expected_rev=0)).rev == 1

    @needs("trim")
    async def test_trim_leaves_the_others(self, storage: FullStorage) -> None:
        """A trim drops entries of one journal only."""
        for name in ("t", "t2", "%"):
            await storage.append_thread(name, notes(3))
        await storage.trim_thread("%", before=2)
        assert [seqs(await loaded(storage, name)) for name in ("t", "t2", "%")] == [[0, 1, 2], [0, 1, 2], [2]]

    @needs("trim")
    async def test_ranges_after_a_trim(self, storage: FullStorage) -> None:
        """A range that begins below the first number begins at it, and a tail counts from the end."""
        await storage.append_thread("t", notes(10))
        await storage.trim_thread("t", before=4)
        assert seqs(await loaded(storage, "t", from_seq=1)) == [4, 5, 6, 7, 8, 9]
        assert seqs(await loaded(storage, "t", from_seq=2, limit=2)) == [4, 5]
        assert seqs(await loaded(storage, "t", limit=2)) == [4, 5]
        assert seqs(await loaded(storage, "t", tail=2)) == [8, 9]
        assert seqs(await loaded(storage, "t", tail=8)) == [4, 5, 6, 7, 8, 9]

    @needs("trim", "list")
    async def test_walk_after_a_trim(self, storage: FullStorage) -> None:
        """A walk begins at the oldest entry left."""
        await storage.append_thread("t", notes(10))
        await storage.trim_thread("t", before=4)
        assert await walked(storage, "t", page=4) == [4, 5, 6, 7, 8, 9]
        assert await walked(storage, "t", from_seq=1, upto=6, page=4) == [4, 5]

    @needs("trim")
    async def test_guard_after_a_trim(self, storage: FullStorage) -> None:
        """An expected revision is compared with the revision, not with the number of entries left."""
        await storage.append_thread("t", notes(5))
        await storage.trim_thread("t", before=3)
        with pytest.raises(ConflictError):
            await storage.append_thread("t", note(9), expected_rev=2)
        await storage.trim_thread("t", before=5)
        with pytest.raises(ConflictError):
            await storage.append_thread("t", note(9), expected_rev=0)
        assert (await storage.append_thread("t", note(5), expected_rev=5)).rev == 6

    @needs("trim")
    async def test_repeat_after_a_trim(self, storage: FullStorage) -> None:
        """A repeat of entries that are still there is known after older ones were dropped."""
        await storage.append_thread("t", made(3))
        await storage.append_thread("t", made(2, start=3))
        await storage.trim_thread("t", before=3)
        assert seqs((await storage.append_thread("t", made(2, start=3))).entries) == [3, 4]
        assert seqs(await loaded(storage, "t")) == [3, 4]


class CopyChecks(Checks):
    """With `copy` a journal can be forked (H13)."""

    @needs("copy")
    async def test_copy_has_the_same_entries(self, storage: FullStorage, second: FullStorage) -> None:
        """The copy has the entries of the source in every field, its revision and its metadata."""
        await storage.append_thread("t", [note(n, refs={"r": (n,)}) for n in range(5)], metadata={"title": "x"})
        head = await storage.copy_thread("t", "copy")
        source, copy = await loaded(storage, "t"), await loaded(second, "copy")
        assert_same(copy.to_list(), source.to_list(), "copy")
        assert (
            (head.rev, head.first_seq, head.metadata)
            == (copy.rev, copy.first_seq, copy.metadata)
            == (5, 0, {"title": "x"})
        )

    @needs("copy")
    async def test_copy_up_to_a_number(self, storage: FullStorage) -> None:
        """A border leaves out the entries from it on, and the copy's revision is the border."""
        await storage.append_thread("t", notes(5))
        for upto, rev in ((1, 1), (3, 3), (5, 5), (99, 5)):
            head = await storage.copy_thread("t", f"copy {upto}", upto=upto)
            thread = await loaded(storage, f"copy {upto}")
            assert (head.rev, thread.rev, seqs(thread)) == (rev, rev, list(range(rev)))

    @needs("copy")
    async def test_copy_of_no_entries(self, storage: FullStorage) -> None:
        """A copy may be empty: of an empty journal, or up to number 0."""
        await storage.append_thread("empty", [], metadata={"title": "x"})
        await storage.append_thread("t", notes(2))
        assert (await storage.copy_thread("empty", "a")).rev == (await storage.copy_thread("t", "b", upto=0)).rev == 0
        for name in ("a", "b"):
            assert await storage.load_thread(name) is None
            assert (await storage.append_thread(name, note(0), expected_rev=0)).rev == 1

    @needs("copy")
    async def test_copy_goes_its_own_way(self, storage: FullStorage) -> None:
        """What is appended to one of the two does not show in the other."""
        await storage.append_thread("t", notes(2))
        await storage.copy_thread("t", "copy")
        assert seqs((await storage.append_thread("copy", note("copy"))).entries) == [2]
        await storage.append_thread("t", note("source"))
        await storage.delete_thread("t")
        assert numbers(await storage.load_thread("copy")) == [0, 1, "copy"]

    @needs("copy")
    async def test_copy_leaves_the_source(self, storage: FullStorage) -> None:
        """The source is what it was, its times included."""
        await storage.append_thread("t", notes(2))
        before = await loaded(storage, "t")
        with seams.replaced(now_ms=lambda: 10**13):
            await storage.copy_thread("t", "copy", upto=1)
        assert await loaded(storage, "t") == before

    @needs("copy")
    async def test_copy_over_a_thread(self, storage: FullStorage) -> None:
        """A target that exists is refused, also one without entries and the source itself, and stays as it is."""
        await storage.append_thread("t", notes(2))
        await storage.append_thread("there", note("there"))
        await storage.append_thread("empty", [])
        for target in ("there", "empty", "t"):
            with pytest.raises(AlreadyExistsError):
                await storage.copy_thread("t", target)
        assert numbers(await storage.load_thread("there")) == ["there"]
        assert await storage.load_thread("empty") is None
        assert numbers(await storage.load_thread("t")) == [0, 1]

    @needs("copy")
    async def test_copy_of_a_missing_thread(self, storage: FullStorage) -> None:
        """A source that is not there is a NotFoundError, and no journal is made."""
        with pytest.raises(NotFoundError) as caught:
            await storage.copy_thread("missing", "copy")
        assert caught.value.reason == "not_found"
        assert (await storage.append_thread("copy", note(0), expected_rev=0)).rev == 1

    @needs("copy", "trim")
    async def test_copy_of_a_trimmed_thread(self, storage: FullStorage) -> None:
        """The copy of a trimmed journal begins where the source begins, with the same numbers."""
        await storage.append_thread("t", notes(6))
        await storage.trim_thread("t", before=2)
        head = await storage.copy_thread("t", "copy", upto=5)
        thread = await loaded(storage, "copy")
        assert (head.rev, head.first_seq, thread.rev, thread.first_seq) == (5, 2, 5, 2)
        assert seqs(thread) == numbers(thread) == [2, 3, 4]
