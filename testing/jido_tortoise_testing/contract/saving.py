"""Atomic save: checkpoint and journal become visible together, or neither does."""

from __future__ import annotations

from typing import Any

import pytest

from jido_tortoise import seams
from jido_tortoise.agents.storage import Checkpoint, ThreadHead, ThreadWrite
from jido_tortoise.errors import AlreadyExistsError, ConflictError
from jido_tortoise_testing.contract.base import Checks, FullStorage, loaded, needs, note, notes, numbers, seqs
from jido_tortoise_testing.contract.checkpoints import data_of

#: What a key and its journal hold: the checkpoint, the journal's entries.
State = tuple[Checkpoint | None, list[Any]]


async def state(storage: FullStorage) -> State:
    """Answer what stands under "k" and in "t"."""
    return await storage.get_checkpoint("k"), numbers(await storage.load_thread("t"))


async def fetched(storage: FullStorage, key: Any = "k") -> tuple[Checkpoint, ThreadHead | None]:
    """Fetch a checkpoint that must be there."""
    found = await storage.fetch(key)
    assert found is not None, f"nothing is stored under {key!r}"
    return found


def write(*names: object, expected: int | None = None, **fields: Any) -> ThreadWrite:
    """Make the journal's part of a save to "t"."""
    return ThreadWrite(id="t", entries=[note(name) for name in names], expected_rev=expected, **fields)


class SaveChecks(Checks):
    """With `atomic_save` one call writes the journal's entries and the checkpoint that points at them."""

    @needs("atomic_save")
    async def test_save_writes_both(self, storage: FullStorage, second: FullStorage) -> None:
        """After a save, checkpoint and journal are there for every handle."""
        saved = await storage.save("k", {"n": 1}, thread=write("a", "b"))
        assert (saved.version, saved.rev, saved.provisional) == (1, 2, False)
        assert (await data_of(second, "k"))["n"] == 1
        thread = await loaded(second, "t")
        assert (thread.rev, seqs(thread), numbers(thread)) == (2, [0, 1], ["a", "b"])

    @needs("atomic_save")
    async def test_save_writes_the_pointer(self, storage: FullStorage) -> None:
        """The stored checkpoint points at the journal's revision after the save, with id and rev and nothing else."""
        await storage.append_thread("t", note("other"))
        await storage.save("k", {"n": 1, "thread": None}, thread=write("a"))
        assert await data_of(storage, "k") == {"n": 1, "thread": {"id": "t", "rev": 2}}

    @needs("atomic_save")
    async def test_save_overrides_a_pointer(self, storage: FullStorage) -> None:
        """A pointer that the data bring is replaced by the real one."""
        for bogus in ({"id": "elsewhere", "rev": 99}, {"id": "t", "rev": 0, "more": 1}, "nonsense", {}):
            saved = await storage.save("k", {"thread": bogus}, thread=write("a"))
            assert await data_of(storage, "k") == {"thread": {"id": "t", "rev": saved.rev}}

    @needs("atomic_save")
    async def test_save_without_a_journal(self, storage: FullStorage) -> None:
        """A save that names no journal stores the data as they are, and touches none."""
        await storage.save("k", {"n": 1}, thread=write("a"))
        for data in ({"n": 2, "thread": None}, {"n": 3, "thread": {"id": "t", "rev": 1}}):
            saved = await storage.save("k", data)
            assert saved.rev is None
            assert await data_of(storage, "k") == data
        assert numbers(await storage.load_thread("t")) == ["a"]

    @needs("atomic_save")
    async def test_save_counts_versions_and_revisions(self, storage: FullStorage) -> None:
        """Each save is one version more, and as many revisions as it brought entries."""
        answers = [await storage.save("k", {}, thread=write(*names)) for names in (["a"], [], ["b", "c"])]
        assert [(saved.version, saved.rev) for saved in answers] == [(1, 1), (2, 1), (3, 3)]
        assert (await fetched(storage))[0].version == 3

    @needs("atomic_save")
    async def test_save_overwrites(self, storage: FullStorage) -> None:
        """A save without an expected version replaces what was put, whole, and its times go on."""
        with seams.replaced(now_ms=lambda: 1_000):
            await storage.put_checkpoint("k", {"old": 1})
        with seams.replaced(now_ms=lambda: 5_000):
            assert (await storage.save("k", {"new": 2}, thread=write("a"))).version == 2
        checkpoint = (await fetched(storage))[0]
        assert checkpoint.data == {"new": 2, "thread": {"id": "t", "rev": 1}}
        assert (checkpoint.created_at, checkpoint.updated_at) == (seams.to_datetime(1_000), seams.to_datetime(5_000))

    @needs("atomic_save")
    async def test_save_continues_a_journal(self, storage: FullStorage, second: FullStorage) -> None:
        """A save without an expected revision appends to whatever is there."""
        await second.append_thread("t", note("other"))
        assert (await storage.save("k", {}, thread=write("a"))).rev == 2
        assert numbers(await storage.load_thread("t")) == ["other", "a"]

    @needs("atomic_save")
    async def test_save_takes_a_matching_revision(self, storage: FullStorage) -> None:
        """A save that expects the revision that is there is done, from 0 on."""
        assert (await storage.save("k", {}, thread=write("a", expected=0))).rev == 1
        assert (await storage.save("k", {}, thread=write("b", expected=1))).rev == 2

    @needs("atomic_save")
    async def test_stale_revision_changes_neither(self, storage: FullStorage, second: FullStorage) -> None:
        """A save that expects another revision is refused, and the checkpoint stays too (H2, H3)."""
        await storage.save("k", {"n": 1}, thread=write("a"))
        await second.append_thread("t", note("other"))
        before = await state(storage)
        for expected in (0, 1, 3):
            with pytest.raises(ConflictError) as caught:
                await storage.save("k", {"n": 2}, thread=write("b", expected=expected))
            assert caught.value.facts.items() >= {"thread_id": "t", "expected": expected, "actual": 2}.items()
        assert await state(second) == before

    @needs("atomic_save")
    async def test_revision_is_checked_without_entries(self, storage: FullStorage, second: FullStorage) -> None:
        """A save that brings no entries still checks the revision that it expects (H4)."""
        await storage.save("k", {"n": 1}, thread=write("a", expected=0))
        await second.append_thread("t", note("other"))
        before = await state(storage)
        for expected in (0, 1, 3):
            with pytest.raises(ConflictError):
                await storage.save("k", {"n": 2}, thread=write(expected=expected))
        assert await state(second) == before
        assert (await storage.save("k", {"n": 3}, thread=write(expected=2))).rev == 2

    @needs("atomic_save")
    async def test_revision_of_a_missing_journal(self, storage: FullStorage) -> None:
        """A save that expects a revision above 0 where there is no journal is refused, with entries and without."""
        for names in (["a"], []):
            with pytest.raises(ConflictError):
                await storage.save("k", {}, thread=write(*names, expected=1))
        assert await state(storage) == (None, [])
        assert (await storage.append_thread("t", note(0), expected_rev=0)).rev == 1

    @needs("atomic_save")
    async def test_stale_version_changes_neither(self, storage: FullStorage, second: FullStorage) -> None:
        """A save that expects another version is refused, and the journal stays too (H12)."""
        await storage.save("k", {"n": 1}, thread=write("a"))
        await second.save("k", {"n": 2}, thread=write())
        before = await state(storage)
        for version in (1, 3):
            with pytest.raises(ConflictError) as caught:
                await storage.save("k", {"n": 3}, expected_version=version, thread=write("b"))
            assert caught.value.facts.items() >= {"key": "k", "expected": version, "actual": 2}.items()
        assert await state(second) == before

    @needs("atomic_save")
    async def test_version_zero_means_nothing_there(self, storage: FullStorage) -> None:
        """A save that expects version 0 makes the checkpoint, and is refused as AlreadyExistsError where one is."""
        assert (await storage.save("k", {"n": 1}, expected_version=0, thread=write("a"))).version == 1
        before = await state(storage)
        with pytest.raises(AlreadyExistsError):
            await storage.save("k", {"n": 2}, expected_version=0, thread=write("b"))
        with pytest.raises(AlreadyExistsError):
            await storage.save("k", {"n": 2}, expected_version=0)
        assert await state(storage) == before

    @needs("atomic_save")
    async def test_version_of_nothing(self, storage: FullStorage) -> None:
        """A save that expects a version where no checkpoint is makes neither checkpoint nor journal."""
        for thread in (write("a"), write(), None):
            with pytest.raises(ConflictError):
                await storage.save("k", {}, expected_version=1, thread=thread)
        assert await state(storage) == (None, [])

    @needs("atomic_save")
    async def test_matching_guards(self, storage: FullStorage) -> None:
        """A save whose two guards match is done, and a clock that is behind moves no time of change back."""
        with seams.replaced(now_ms=lambda: 5_000):
            await storage.save("k", {"n": 1}, expected_version=0, thread=write("a", expected=0))
        with seams.replaced(now_ms=lambda: 1_000):
            saved = await storage.save("k", {"n": 2}, expected_version=1, thread=write("b", expected=1))
            await storage.save("k", {"n": 3}, expected_version=2)
        assert (saved.version, saved.rev) == (2, 2)
        times = ((await fetched(storage))[0].updated_at, (await loaded(storage, "t")).updated_at)
        assert times == (seams.to_datetime(5_000),) * 2

    @needs("atomic_save")
    async def test_save_is_usable_after_a_conflict(self, storage: FullStorage) -> None:
        """After a refused save the next one is done, and numbered as if there had been none."""
        await storage.save("k", {"n": 1}, thread=write("a"))
        with pytest.raises(ConflictError):
            await storage.save("k", {"n": 2}, thread=write("b", "c", expected=0))
        with pytest.raises(ConflictError):
            await storage.save("k", {"n": 2}, expected_version=9, thread=write("b", "c"))
        saved = await storage.save("k", {"n": 2}, expected_version=1, thread=write("d", expected=1))
        assert (saved.version, saved.rev) == (2, 2)
        assert numbers(await storage.load_thread("t")) == ["a", "d"]

    @needs("atomic_save")
    async def test_metadata_of_a_save(self, storage: FullStorage) -> None:
        """Metadata are stored when the save makes the journal, and ignored later."""
        await storage.save("k", {}, thread=write("a", metadata={"title": "x"}))
        await storage.save("k", {}, thread=write("b", metadata={"title": "y"}))
        assert (await loaded(storage, "t")).metadata == {"title": "x"}

    @needs("atomic_save")
    async def test_save_of_an_empty_journal(self, storage: FullStorage) -> None:
        """A pointer at revision 0 is stored for a journal without entries, which may come later (H1)."""
        assert (await storage.save("k", {}, thread=write(expected=0))).rev == 0
        assert (await data_of(storage, "k"))["thread"] == {"id": "t", "rev": 0}
        assert await storage.load_thread("t") is None
        assert (await storage.save("k", {}, expected_version=1, thread=write("a", expected=0))).rev == 1

    @needs("atomic_save", "head")
    async def test_save_of_an_empty_journal_with_metadata(self, storage: FullStorage) -> None:
        """A save without entries makes a head only when it brings metadata to keep, and leaves one that is there."""
        await storage.save("k", {}, thread=write(expected=0))
        assert await storage.get_thread_head("t") is None
        await storage.save("k", {}, thread=write(expected=0, metadata={"title": "x"}))
        head = await storage.get_thread_head("t")
        assert head is not None
        assert (head.rev, head.metadata) == (0, {"title": "x"})
        assert (await storage.save("k", {}, thread=write(expected=0))).rev == 0
        assert await storage.get_thread_head("t") == head

    @needs("atomic_save")
    async def test_save_of_many_entries(self, storage: FullStorage, second: FullStorage) -> None:
        """A save brings as many entries as an append (H10)."""
        saved = await storage.save("k", {}, thread=ThreadWrite(id="t", entries=notes(3_000), expected_rev=0))
        assert saved.rev == 3_000
        assert seqs(await loaded(second, "t")) == list(range(3_000))


class FetchChecks(Checks):
    """A fetch answers a checkpoint and the head that it points at, of one moment."""

    @needs("atomic_save")
    async def test_fetch_of_nothing(self, storage: FullStorage) -> None:
        """A fetch of what is not there is None."""
        assert await storage.fetch("missing") is None

    @needs("atomic_save")
    async def test_fetch_answers_both(self, storage: FullStorage, second: FullStorage) -> None:
        """A fetch answers the checkpoint as a get does, and the head of the journal as it is now."""
        await storage.save("k", {"n": 1}, thread=write("a", metadata={"title": "x"}))
        await second.append_thread("t", note("other"))
        checkpoint, head = await fetched(second)
        assert checkpoint == await storage.get_checkpoint("k")
        assert checkpoint.data["thread"] == {"id": "t", "rev": 1}
        thread = await loaded(storage, "t")
        assert head is not None
        assert (head.rev, head.first_seq, head.metadata) == (2, 0, {"title": "x"})
        assert (head.created_at, head.updated_at) == (thread.created_at, thread.updated_at)

    @needs("atomic_save")
    async def test_fetch_of_a_put(self, storage: FullStorage) -> None:
        """A checkpoint that was put with a pointer in it is fetched with that head."""
        await storage.append_thread("t", notes(3))
        await storage.put_checkpoint("k", {"thread": {"id": "t", "rev": 3}})
        head = (await fetched(storage))[1]
        assert head is not None
        assert head.rev == 3

    @needs("atomic_save")
    async def test_fetch_without_a_journal(self, storage: FullStorage) -> None:
        """Where the checkpoint points nowhere, or at a journal that is not there, there is no head."""
        await storage.append_thread("None", note(1))
        for data in ({}, {"thread": None}, {"thread": {"id": "gone", "rev": 1}}, None, [1], "text"):
            await storage.put_checkpoint("k", data)
            checkpoint, head = await fetched(storage)
            assert checkpoint.data == data
            assert head is None

    @needs("atomic_save")
    async def test_fetch_of_a_malformed_pointer(self, storage: FullStorage) -> None:
        """A pointer that is none is answered as it stands, and has no head (H16)."""
        malformed: list[Any] = [7, "t", [], {}, {"id": 7, "rev": 1}, {"id": "x" * 256}, {"id": "\0"}, {"rev": 1}]
        await storage.append_thread("t", note(1))
        for pointer in malformed:
            await storage.put_checkpoint("k", {"thread": pointer})
            checkpoint, head = await fetched(storage)
            assert (checkpoint.data, head) == ({"thread": pointer}, None)

    @needs("atomic_save")
    async def test_read_at_a_head(self, storage: FullStorage, second: FullStorage) -> None:
        """A journal can be read as it was at a head that was fetched, whoever appended since."""
        await storage.save("k", {}, thread=write("a", "b", metadata={"title": "x"}))
        head = (await fetched(storage))[1]
        assert head is not None
        before = await loaded(storage, "t")
        await second.append_thread("t", note("other"))
        assert await storage.read_thread("t", head) == before

    @needs("atomic_save")
    async def test_read_of_an_empty_journal_at_its_head(self, storage: FullStorage) -> None:
        """At a head without entries a journal is a thread without entries, not None."""
        await storage.save("k", {}, thread=write(metadata={"title": "x"}))
        head = (await fetched(storage))[1]
        assert head is not None
        thread = await storage.read_thread("t", head)
        assert thread is not None
        assert (thread.rev, len(thread), thread.metadata) == (0, 0, {"title": "x"})

    @needs("atomic_save", "trim")
    async def test_read_at_a_head_that_was_trimmed(self, storage: FullStorage, second: FullStorage) -> None:
        """A journal that was trimmed since its head was read is None: read the head again."""
        await storage.save("k", {}, thread=write("a", "b"))
        head = (await fetched(storage))[1]
        assert head is not None
        await second.trim_thread("t", before=1)
        assert await storage.read_thread("t", head) is None


class DeleteAgentChecks(Checks):
    """A delete of an agent takes its checkpoint and its journal together."""

    @needs("atomic_save")
    async def test_delete_agent_takes_both(self, storage: FullStorage, second: FullStorage) -> None:
        """Neither the checkpoint nor the journal that it points at is there any more (H13)."""
        await storage.save("k", {}, thread=write("a"))
        await storage.delete_agent("k")
        assert await state(second) == (None, [])
        assert (await storage.append_thread("t", note(0), expected_rev=0)).rev == 1

    @needs("atomic_save")
    async def test_delete_agent_takes_a_named_journal_too(self, storage: FullStorage) -> None:
        """A journal that is named goes as well as the one that the checkpoint points at."""
        await storage.save("k", {}, thread=write("a"))
        await storage.append_thread("named", note(1))
        await storage.delete_agent("k", "named")
        assert await state(storage) == (None, [])
        assert await storage.load_thread("named") is None

    @needs("atomic_save")
    async def test_delete_agent_without_a_checkpoint(self, storage: FullStorage) -> None:
        """A named journal goes also where no checkpoint is; where nothing is, nothing happens."""
        await storage.append_thread("t", note(1))
        await storage.delete_agent("k", "t")
        assert await state(storage) == (None, [])
        await storage.delete_agent("k", "t")
        await storage.delete_agent("k")

    @needs("atomic_save")
    async def test_delete_agent_without_a_journal(self, storage: FullStorage) -> None:
        """A checkpoint that points nowhere, or is no agent's, goes all the same."""
        for data in ({"thread": None}, {"thread": {"id": "gone", "rev": 1}}, {"thread": 7}, None, [1]):
            await storage.put_checkpoint("k", data)
            await storage.delete_agent("k")
            assert await storage.get_checkpoint("k") is None

    @needs("atomic_save")
    async def test_delete_agent_leaves_the_others(self, storage: FullStorage) -> None:
        """Other agents keep their checkpoints and journals."""
        for key, thread_id in (("k", "t"), ("k2", "t2"), ("%", "%")):
            await storage.save(key, {"key": key}, thread=ThreadWrite(id=thread_id, entries=[note(key)]))
        await storage.delete_agent("%")
        await storage.delete_agent("k")
        assert (await data_of(storage, "k2"))["key"] == "k2"
        assert [numbers(await storage.load_thread(name)) for name in ("t", "t2", "%")] == [[], ["k2"], []]
