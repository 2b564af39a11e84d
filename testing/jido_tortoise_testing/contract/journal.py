"""The journal: entries are appended all or none, numbered without gaps, and never change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from jido_tortoise import seams
from jido_tortoise.agents.thread import Entry, Thread
from jido_tortoise.errors import ConflictError, InvalidInputError
from jido_tortoise_testing.contract.base import Checks, FullStorage, loaded, needs, note, notes, numbers, seqs
from jido_tortoise_testing.contract.checkpoints import soon_after
from jido_tortoise_testing.contract.exact import assert_same

STRANGE_IDS = [
    *(
        "a/b",
        "a\\b",
        ".",
        "..",
        "../../etc/passwd",
        "/tmp/x",
        "C:\\x",
        "a b",
        " a",
        "a ",
        "a\tb",
        "a\nb",
        "%",
        "_",
        "a%",
    ),
    *("A", "a", "🛒", "é", "e\u0301", "'; DROP TABLE x; --", '"', "thread_1", "null", "1", "x" * 255, "ü" * 255),
]


class AppendChecks(Checks):
    """An append makes the journal, or continues it."""

    async def test_missing_thread_is_none(self, storage: FullStorage) -> None:
        """A journal that was never made is None (E9, F7, Redis 9, N3)."""
        assert await storage.load_thread("missing") is None

    async def test_append_creates(self, storage: FullStorage, second: FullStorage) -> None:
        """The first append makes the journal, at revision 1 with its entry (E10, F8, Redis 10, Redis 13, N4)."""
        await storage.append_thread("t", {"kind": "message", "payload": {"text": "hi"}, "refs": {"agent_id": "a"}})
        thread = await loaded(second, "t")
        assert isinstance(thread, Thread)
        assert (thread.id, thread.rev, thread.first_seq, len(thread)) == ("t", 1, 0, 1)
        entry = thread.entries[0]
        assert (entry.seq, entry.kind, entry.payload, entry.refs) == (0, "message", {"text": "hi"}, {"agent_id": "a"})

    async def test_append_continues(self, storage: FullStorage, second: FullStorage) -> None:
        """A later append, by whichever handle, comes after what is there (E11, F9, Redis 15)."""
        await storage.append_thread("t", note("first"))
        await second.append_thread("t", note("second"))
        await storage.append_thread("t", note("third"))
        assert numbers(await storage.load_thread("t")) == ["first", "second", "third"]

    async def test_numbers_run_on_across_appends(self, storage: FullStorage) -> None:
        """Numbers begin with 0 and have no gap, also between appends (E17, F15, Redis 19, Redis 20, J7)."""
        await storage.append_thread("t", notes(3))
        appended = await storage.append_thread("t", notes(2, start=3))
        assert seqs(appended.entries) == [3, 4]
        thread = await loaded(storage, "t")
        assert seqs(thread) == numbers(thread) == [0, 1, 2, 3, 4]

    async def test_revision_counts_the_entries(self, storage: FullStorage) -> None:
        """The revision is the number of entries ever appended (E18)."""
        revs = [(await storage.append_thread("t", notes(count))).rev for count in (1, 1, 2)]
        assert revs == [1, 2, 4]
        assert (await loaded(storage, "t")).rev == 4

    async def test_given_numbers_are_ignored(self, storage: FullStorage) -> None:
        """The storage numbers the entries, whatever number they bring (F12, jido Thread rule)."""
        await storage.append_thread("t", [note(n, seq=seq) for n, seq in enumerate([0, 0, 99])])
        await storage.append_thread("t", Entry("note", {"n": 3}, seq=1))
        assert seqs(await loaded(storage, "t")) == [0, 1, 2, 3]

    async def test_hundred_entries_in_one_append(self, storage: FullStorage) -> None:
        """A hundred entries in one append keep their order (F25)."""
        assert (await storage.append_thread("t", notes(100))).rev == 100
        thread = await loaded(storage, "t")
        assert seqs(thread) == numbers(thread) == list(range(100))

    async def test_twenty_thousand_entries_in_one_append(self, storage: FullStorage, second: FullStorage) -> None:
        """One append takes 20,000 entries, as the first hibernate of a long thread brings them (H10)."""
        appended = await storage.append_thread("t", notes(20_000))
        assert (appended.rev, len(appended.entries)) == (20_000, 20_000)
        thread = await loaded(second, "t")
        assert seqs(thread) == numbers(thread) == list(range(20_000))

    async def test_many_appends_to_one_thread(self, storage: FullStorage) -> None:
        """A journal that grew entry by entry is read back whole."""
        for n in range(120):
            assert (await storage.append_thread("t", note(n))).rev == n + 1
        thread = await loaded(storage, "t")
        assert seqs(thread) == numbers(thread) == list(range(120))

    async def test_answer_is_what_is_stored(self, storage: FullStorage, second: FullStorage) -> None:
        """An append answers the entries as a later load answers them, with id, number and time."""
        await storage.append_thread("t", notes(2))
        appended = await storage.append_thread("t", [note(2, refs={"x": (1,)}), {"kind": "error"}, Entry("message")])
        assert (appended.thread_id, appended.rev, len(appended.entries)) == ("t", 5, 3)
        assert_same(list(appended.entries), (await loaded(second, "t")).to_list()[2:], "entries")

    async def test_load_answers_a_whole_thread(self, storage: FullStorage) -> None:
        """A loaded thread has the entries in order as Entry objects, and counts them (E14, E24, F12)."""
        kinds = ["message", "tool_call", "tool_result"]
        await storage.append_thread("t", [{"kind": kind} for kind in kinds])
        thread = await loaded(storage, "t")
        assert [entry.kind for entry in thread] == kinds
        assert all(isinstance(entry, Entry) for entry in thread)
        assert thread.rev == thread.entry_count() == thread.stats["entry_count"] == 3

    async def test_entries_and_mappings_may_be_mixed(self, storage: FullStorage) -> None:
        """An append takes Entry objects and mappings, in a list or a tuple (E23)."""
        await storage.append_thread("t", (Entry("message", {"n": 0}), note(1)))
        await storage.append_thread("t", [note(2), Entry("message", {"n": 3})])
        thread = await loaded(storage, "t")
        assert [(entry.kind, entry.payload["n"]) for entry in thread] == [
            ("message", 0),
            ("note", 1),
            ("note", 2),
            ("message", 3),
        ]

    async def test_lone_mapping_is_one_entry(self, storage: FullStorage) -> None:
        """A mapping that is not in a list counts as one entry."""
        appended = await storage.append_thread("t", {"kind": "message", "payload": {"n": 1}})
        assert (appended.rev, numbers(appended.entries)) == (1, [1])
        assert [entry.kind for entry in await loaded(storage, "t")] == ["message"]

    async def test_lone_entry_is_one_entry(self, storage: FullStorage) -> None:
        """An Entry that is not in a list counts as one."""
        await storage.append_thread("t", Entry("message", {"n": 1}))
        assert numbers(await storage.load_thread("t")) == [1]

    async def test_empty_mapping_is_an_entry(self, storage: FullStorage) -> None:
        """An empty mapping is an entry of defaults, unlike an empty list."""
        await storage.append_thread("t", {})
        await storage.append_thread("t", [{}])
        assert [(entry.kind, entry.payload, entry.refs) for entry in await loaded(storage, "t")] == [
            ("note", {}, {})
        ] * 2

    async def test_threads_are_apart(self, storage: FullStorage) -> None:
        """What is appended to one journal does not show in another, nor move its numbers (F26)."""
        for n in range(3):
            for name in ("t", "t2", "T"):
                await storage.append_thread(name, note((name, n)))
        for name in ("t", "t2", "T"):
            thread = await loaded(storage, name)
            assert thread.rev == 3
            assert numbers(thread) == [(name, n) for n in range(3)]

    async def test_two_threads_may_share_an_entry_id(self, storage: FullStorage) -> None:
        """The same entry id may stand in two journals."""
        for name in ("a", "b"):
            await storage.append_thread(name, note(name, id="shared"))
        assert [numbers(await storage.load_thread(name)) for name in ("a", "b")] == [["a"], ["b"]]

    async def test_strange_thread_ids_are_apart(self, storage: FullStorage) -> None:
        """Slashes, dots, wildcards, blanks, capitals and emoji in a thread id are characters like any other (F14)."""
        for number, thread_id in enumerate(STRANGE_IDS):
            await storage.append_thread(thread_id, note(number))
        for number, thread_id in enumerate(STRANGE_IDS):
            thread = await loaded(storage, thread_id)
            assert (thread.id, thread.rev, numbers(thread)) == (thread_id, 1, [number])

    async def test_second_handle_sees_each_append(self, storage: FullStorage, second: FullStorage) -> None:
        """Another handle sees an append, and a delete, as soon as each is done."""
        for n in range(3):
            await storage.append_thread("t", note(n))
            assert numbers(await second.load_thread("t")) == list(range(n + 1))
        await storage.delete_thread("t")
        assert await second.load_thread("t") is None


class EntryChecks(Checks):
    """What an entry holds is kept; what it does not give has a default."""

    async def test_fields_have_defaults(self, storage: FullStorage) -> None:
        """An entry that gives nothing is a note with empty maps, a new id and the time of now (E20, normalizer 1)."""
        before = seams.now_ms()
        await storage.append_thread("t", {})
        entry = (await loaded(storage, "t")).entries[0]
        assert (entry.kind, entry.payload, entry.refs) == ("note", {}, {})
        assert soon_after(entry.at, before)

    async def test_new_ids_are_unique(self, storage: FullStorage) -> None:
        """Entries without an id get one that begins with entry_, and no two the same (E19)."""
        await storage.append_thread("t", notes(50))
        await storage.append_thread("t", notes(50))
        ids = [entry.id for entry in await loaded(storage, "t")]
        assert all(entry_id.startswith("entry_") for entry_id in ids)
        assert len(set(ids)) == 100

    async def test_none_and_false_stand_for_the_default(self, storage: FullStorage) -> None:
        """None or False as a field's value means its default (normalizer 1)."""
        for nothing in (None, False):
            await storage.append_thread("t", dict.fromkeys(("id", "seq", "at", "kind", "payload", "refs"), nothing))
        for entry in await loaded(storage, "t"):
            assert (entry.kind, entry.payload, entry.refs) == ("note", {}, {})
            assert entry.id.startswith("entry_")
            assert entry.at_ms > 0

    async def test_zero_is_a_time(self, storage: FullStorage) -> None:
        """The time 0 is kept, and so are times before it."""
        await storage.append_thread("t", [{"at": 0}, {"at": -1}, {"at": 253_402_300_799_999}])
        entries = (await loaded(storage, "t")).entries
        assert [entry.at_ms for entry in entries] == [0, -1, 253_402_300_799_999]
        assert entries[0].at == datetime(1970, 1, 1, tzinfo=UTC)

    async def test_given_id_and_time_are_kept(self, storage: FullStorage) -> None:
        """An id and a time that are given are stored as they are."""
        moment = datetime(2026, 1, 1, 12, 0, 0, 123_000, tzinfo=timezone(timedelta(hours=2)))
        await storage.append_thread("t", [note(0, id="mine", at=1_234), note(1, id="Mine ", at=moment)])
        entries = (await loaded(storage, "t")).entries
        assert [entry.id for entry in entries] == ["mine", "Mine "]
        assert [entry.at for entry in entries] == [seams.to_datetime(1_234), moment]

    async def test_entry_objects_keep_all_fields(self, storage: FullStorage, second: FullStorage) -> None:
        """An Entry is stored as it is, but for its number."""
        entry = Entry("tool_call", {"args": (1, 2)}, {"instruction_id": "i"}, id="mine", at=5, seq=0)
        await storage.append_thread("t", entry)
        assert_same((await loaded(second, "t")).entries[0], entry, "entry")

    async def test_kinds_are_an_open_set(self, storage: FullStorage) -> None:
        """A kind is any text, not one of a list (strategy and journal-backed cases of Jido's suite)."""
        kinds = ["message", "instruction_start", "my own kind", "🛒", "a/b", "k" * 255, "Note", "note"]
        await storage.append_thread("t", [{"kind": kind} for kind in kinds])
        assert [entry.kind for entry in await loaded(storage, "t")] == kinds

    async def test_longest_ids(self, storage: FullStorage) -> None:
        """An entry id may have 255 characters, whatever number of bytes they take."""
        ids = ["x" * 255, "ü" * 255, "🛒" * 255, "x" * 254]
        await storage.append_thread("t", [note(0, id=entry_id) for entry_id in ids])
        assert [entry.id for entry in await loaded(storage, "t")] == ids


class EmptyAppendChecks(Checks):
    """An append without entries makes the journal's head, or bumps the time of its last change."""

    async def test_empty_append_of_a_new_thread(self, storage: FullStorage) -> None:
        """It answers revision 0, and a journal without entries loads as None (J9)."""
        appended = await storage.append_thread("t", [])
        assert (appended.thread_id, appended.rev, appended.entries) == ("t", 0, ())
        assert await storage.load_thread("t") is None

    @needs("head")
    async def test_empty_append_makes_a_head(self, storage: FullStorage) -> None:
        """The journal has a head from then on, although it loads as None (J9)."""
        await storage.append_thread("t", [], metadata={"title": "empty"})
        head = await storage.get_thread_head("t")
        assert head is not None
        assert (head.rev, head.first_seq, head.metadata) == (0, 0, {"title": "empty"})

    async def test_empty_append_leaves_the_entries(self, storage: FullStorage) -> None:
        """It changes neither revision nor entries (F23)."""
        await storage.append_thread("t", note(1))
        appended = await storage.append_thread("t", [])
        assert (appended.rev, appended.entries) == (1, ())
        thread = await loaded(storage, "t")
        assert (thread.rev, numbers(thread)) == (1, [1])

    async def test_empty_append_bumps_the_time(self, storage: FullStorage) -> None:
        """It moves the time of the last change."""
        with seams.replaced(now_ms=lambda: 1_000):
            await storage.append_thread("t", note(1))
        with seams.replaced(now_ms=lambda: 5_000):
            await storage.append_thread("t", ())
        thread = await loaded(storage, "t")
        assert (thread.created_at, thread.updated_at) == (seams.to_datetime(1_000), seams.to_datetime(5_000))

    async def test_first_entries_after_an_empty_append(self, storage: FullStorage) -> None:
        """The first entries get the numbers from 0 on, and the head keeps its time of creation."""
        with seams.replaced(now_ms=lambda: 1_000):
            await storage.append_thread("t", [])
        with seams.replaced(now_ms=lambda: 5_000):
            appended = await storage.append_thread("t", notes(2), expected_rev=0)
        assert (appended.rev, seqs(appended.entries)) == (2, [0, 1])
        assert (await loaded(storage, "t")).created_at == seams.to_datetime(1_000)

    async def test_empty_append_checks_the_revision(self, storage: FullStorage) -> None:
        """An expected revision is checked also when there is nothing to append."""
        await storage.append_thread("t", note(1))
        assert (await storage.append_thread("t", [], expected_rev=1)).rev == 1
        for expected in (0, 2):
            with pytest.raises(ConflictError):
                await storage.append_thread("t", [], expected_rev=expected)


class MetadataChecks(Checks):
    """Metadata and the times of a journal: given when it is made, kept from then on."""

    async def test_metadata_of_the_first_append(self, storage: FullStorage, second: FullStorage) -> None:
        """What is given with the append that makes the journal is stored (E21, Redis 21, J7)."""
        await storage.append_thread("t", note(1), metadata={"title": "x", "tags": ["a"]})
        assert (await loaded(second, "t")).metadata == {"title": "x", "tags": ["a"]}

    async def test_no_metadata_is_an_empty_map(self, storage: FullStorage) -> None:
        """Metadata that were not given, or given as None, are an empty map."""
        await storage.append_thread("t", note(1))
        await storage.append_thread("none", note(1), metadata=None)
        assert (await loaded(storage, "t")).metadata == (await loaded(storage, "none")).metadata == {}

    async def test_later_metadata_are_ignored(self, storage: FullStorage) -> None:
        """Metadata given with a later append replace nothing and add nothing (J7)."""
        await storage.append_thread("t", note(1), metadata={"title": "x"})
        await storage.append_thread("t", note(2), metadata={"title": "y", "more": 1})
        await storage.append_thread("t", note(3))
        assert (await loaded(storage, "t")).metadata == {"title": "x"}

    async def test_metadata_of_an_empty_append(self, storage: FullStorage) -> None:
        """Metadata given with an empty append that makes the journal are kept when entries come."""
        await storage.append_thread("t", [], metadata={"title": "x"})
        await storage.append_thread("t", note(1))
        assert (await loaded(storage, "t")).metadata == {"title": "x"}

    async def test_metadata_after_an_empty_append(self, storage: FullStorage) -> None:
        """Metadata given with the first entries do not replace those of an empty append before it."""
        await storage.append_thread("t", [], metadata={"title": "x"})
        await storage.append_thread("t", note(1), metadata={"title": "y"})
        await storage.append_thread("bare", [])
        await storage.append_thread("bare", note(1), metadata={"title": "y"})
        assert (await loaded(storage, "t")).metadata == {"title": "x"}
        assert (await loaded(storage, "bare")).metadata == {}

    async def test_times_of_a_thread(self, storage: FullStorage) -> None:
        """A new journal's times are now, aware and in UTC (E20)."""
        before = seams.now_ms()
        await storage.append_thread("t", note(1))
        thread = await loaded(storage, "t")
        assert thread.created_at.tzinfo is thread.updated_at.tzinfo is UTC
        assert soon_after(thread.created_at, before)
        assert soon_after(thread.updated_at, before)

    async def test_append_moves_only_updated_at(self, storage: FullStorage) -> None:
        """An append keeps the time of creation and moves the time of change (E22)."""
        for now in (1_000, 5_000):
            with seams.replaced(now_ms=lambda now=now: now):
                await storage.append_thread("t", note(now))
        thread = await loaded(storage, "t")
        assert (thread.created_at, thread.updated_at) == (seams.to_datetime(1_000), seams.to_datetime(5_000))

    async def test_thread_time_never_goes_back(self, storage: FullStorage) -> None:
        """A writer whose clock is behind does not move the time of change back (E22)."""
        for now in (5_000, 1_000):
            with seams.replaced(now_ms=lambda now=now: now):
                await storage.append_thread("t", note(now))
        assert (await loaded(storage, "t")).updated_at == seams.to_datetime(5_000)


class ExpectedRevisionChecks(Checks):
    """An append may say which revision it continues; if the journal is at another one, nothing happens."""

    async def test_matching_revision_appends(self, storage: FullStorage, second: FullStorage) -> None:
        """An append that expects the revision that is there is done (E12, F10, Redis 16)."""
        await storage.append_thread("t", note(1))
        assert (await second.append_thread("t", notes(2), expected_rev=1)).rev == 3

    async def test_other_revision_conflicts(self, storage: FullStorage) -> None:
        """A revision below or above the one that is there is refused (E13, F11, Redis 17)."""
        await storage.append_thread("t", notes(3))
        for expected in (0, 2, 4, 5):
            with pytest.raises(ConflictError):
                await storage.append_thread("t", note(9), expected_rev=expected)

    async def test_zero_makes_a_thread(self, storage: FullStorage) -> None:
        """Revision 0 is that of a journal that is not there (Redis 18)."""
        assert (await storage.append_thread("t", note(1), expected_rev=0)).rev == 1
        assert numbers(await storage.load_thread("t")) == [1]

    async def test_revision_of_a_missing_thread(self, storage: FullStorage) -> None:
        """A revision above 0 is refused where there is no journal, and none is made."""
        with pytest.raises(ConflictError):
            await storage.append_thread("t", note(1), expected_rev=1, metadata={"title": "x"})
        assert await storage.load_thread("t") is None
        await storage.append_thread("t", note(1))
        thread = await loaded(storage, "t")
        assert (thread.rev, thread.metadata) == (1, {})

    async def test_refused_append_changes_nothing(self, storage: FullStorage, second: FullStorage) -> None:
        """After a conflict the journal is what it was, its times included (J8)."""
        with seams.replaced(now_ms=lambda: 1_000):
            await storage.append_thread("t", note(1))
        before = await loaded(storage, "t")
        with pytest.raises(ConflictError):
            await storage.append_thread("t", notes(3), expected_rev=0)
        assert await loaded(second, "t") == before

    async def test_thread_is_usable_after_a_conflict(self, storage: FullStorage) -> None:
        """After a conflict the next append is numbered as if there had been none."""
        await storage.append_thread("t", note(0))
        with pytest.raises(ConflictError):
            await storage.append_thread("t", notes(2), expected_rev=0)
        assert seqs((await storage.append_thread("t", note(1), expected_rev=1)).entries) == [1]
        assert numbers(await storage.load_thread("t")) == [0, 1]

    async def test_revision_conflict_has_its_facts(self, storage: FullStorage) -> None:
        """A refused append says which journal it is, what was expected and where the journal is."""
        await storage.append_thread("t", notes(3))
        for thread_id, expected, actual in (("t", 1, 3), ("missing", 2, 0)):
            with pytest.raises(ConflictError) as caught:
                await storage.append_thread(thread_id, note(1), expected_rev=expected)
            facts = {"thread_id": thread_id, "expected": expected, "actual": actual}
            assert caught.value.reason == "conflict"
            assert caught.value.facts.items() >= facts.items()
            assert not caught.value.retryable

    async def test_wrong_revision_is_refused(self, storage: FullStorage) -> None:
        """An expected revision that is no whole number is refused as bad input, and nothing is written."""
        await storage.append_thread("t", note(1))
        wrong: list[Any] = ["1", 1.0, True, -1, b"1", [1]]
        for expected in wrong:
            with pytest.raises(InvalidInputError):
                await storage.append_thread("t", note(2), expected_rev=expected)
        assert numbers(await storage.load_thread("t")) == [1]


class DeleteThreadChecks(Checks):
    """A delete takes the journal with its head."""

    async def test_delete_removes_the_thread(self, storage: FullStorage) -> None:
        """A deleted journal is not there any more (E15, F13, Redis 28, J10)."""
        await storage.append_thread("t", notes(3))
        assert await storage.load_thread("t") is not None
        await storage.delete_thread("t")
        assert await storage.load_thread("t") is None

    @needs("head")
    async def test_delete_removes_the_head(self, storage: FullStorage) -> None:
        """The head goes too, also that of a journal without entries (J10)."""
        for entries in (notes(2), []):
            await storage.append_thread("t", entries)
            await storage.delete_thread("t")
            assert await storage.get_thread_head("t") is None

    async def test_deleting_no_thread_is_no_error(self, storage: FullStorage) -> None:
        """A delete of a journal that is not there does nothing (E16, Redis 27)."""
        await storage.delete_thread("missing")
        await storage.delete_thread("missing")

    async def test_deleted_id_starts_anew(self, storage: FullStorage) -> None:
        """A journal under a deleted id begins at 0, with its own metadata and times."""
        with seams.replaced(now_ms=lambda: 1_000):
            await storage.append_thread("t", notes(3), metadata={"title": "old"})
        await storage.delete_thread("t")
        with seams.replaced(now_ms=lambda: 5_000):
            appended = await storage.append_thread("t", note(9), metadata={"title": "new"})
        thread = await loaded(storage, "t")
        assert (appended.rev, thread.rev, seqs(thread), numbers(thread)) == (1, 1, [0], [9])
        assert (thread.metadata, thread.created_at) == ({"title": "new"}, seams.to_datetime(5_000))

    async def test_deleted_thread_is_at_zero(self, storage: FullStorage) -> None:
        """After a delete, revision 0 is expected rightly and the old one wrongly."""
        await storage.append_thread("t", notes(3))
        await storage.delete_thread("t")
        with pytest.raises(ConflictError):
            await storage.append_thread("t", note(3), expected_rev=3)
        assert (await storage.append_thread("t", note(0), expected_rev=0)).rev == 1

    async def test_deleted_entry_ids_are_free(self, storage: FullStorage) -> None:
        """The ids of deleted entries may be used again."""
        await storage.append_thread("t", note(1, id="mine"))
        await storage.delete_thread("t")
        await storage.append_thread("t", note(2, id="mine"))
        assert numbers(await storage.load_thread("t")) == [2]

    async def test_delete_of_a_thread_leaves_the_others(self, storage: FullStorage) -> None:
        """A delete takes one journal, not its neighbours."""
        names = ["t", "t2", "T", "%", "_", "t/"]
        for name in names:
            await storage.append_thread(name, note(name))
        for name in ("%", "_", "t"):
            await storage.delete_thread(name)
        assert [numbers(await storage.load_thread(name)) for name in names] == [[], ["t2"], ["T"], [], [], ["t/"]]
