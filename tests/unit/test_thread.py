"""Threads in memory: appended in place, numbered without gaps, read without surprise.

T5 to T34 are the cases of Jido's thread_test. T25 (no thread has no entries of a kind) has no meaning where a method is
called on a thread; T26 (a thread that is none) is a kind that is none; T34 (append leaves the original alone) is a copy
that goes its own way, since append works in place here.
"""

from __future__ import annotations

import copy
import pickle
import timeit
from datetime import UTC, datetime
from typing import Any

import pytest

from jido_tortoise import seams
from jido_tortoise.agents.thread import Entry, Thread
from jido_tortoise.errors import DuplicateEntryError, InvalidEntryError, InvalidInputError


def filled(*kinds: str) -> Thread:
    """Make a thread with an entry of each kind."""
    thread = Thread("t")
    for kind in kinds:
        thread.append(kind)
    return thread


def loaded(first: int, count: int, rev: int) -> Thread:
    """Make a thread as a storage does that has trimmed, or was asked for a range."""
    entries = [Entry(id=f"e{seq}", seq=seq, at=seq) for seq in range(first, first + count)]
    return Thread._loaded("t", rev, 0, {}, 1, 1, entries)


def test_T5_defaults() -> None:
    """A new thread has an id of its own, revision 0, no entries and no metadata."""
    thread = Thread()
    assert thread.id.startswith("thread_")
    assert (thread.rev, thread.first_seq, thread.to_list(), thread.metadata) == (0, 0, [], {})
    assert thread.stats == {"entry_count": 0}
    assert thread.created_at == thread.updated_at
    assert Thread().id != thread.id


def test_T6_id() -> None:
    """A given id is the id."""
    assert Thread("order/7").id == "order/7"


@pytest.mark.parametrize("wrong", ["", "a\0", "x" * 256, 7, b"x"])
def test_T6_id_that_no_storage_takes(wrong: Any) -> None:
    """An id that cannot be stored is refused when the thread is made, not when it is stored."""
    with pytest.raises(InvalidInputError, match=r"^thread\.id"):
        Thread(wrong)


def test_T7_metadata() -> None:
    """Metadata are a dict of the thread's own."""
    given = {"title": "x"}
    thread = Thread(metadata=given)
    given["title"] = "y"
    assert thread.metadata == {"title": "x"}
    wrong: Any = [("a", 1)]
    with pytest.raises(InvalidInputError, match=r"^thread\.metadata"):
        Thread(metadata=wrong)


def test_T8_now() -> None:
    """The time of the making can be given, in milliseconds or as a moment."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert Thread(now=moment).created_at == Thread(now=seams.to_ms(moment)).updated_at == moment


def test_T9_append_a_mapping() -> None:
    """A mapping with an entry's fields is appended as an entry."""
    entry = Thread().append({"kind": "message", "payload": {"a": 1}, "refs": {"r": 1}})
    assert (entry.kind, entry.payload, entry.refs, entry.seq) == ("message", {"a": 1}, {"r": 1}, 0)


def test_T10_append_an_entry() -> None:
    """An Entry is appended as it is, but for its number."""
    given = Entry("message", {"a": 1}, id="mine", at=5, seq=77)
    entry = filled("note").append(given)
    assert (entry.id, entry.at_ms, entry.kind, entry.seq) == ("mine", 5, "message", 1)
    assert given.seq == 77


def test_T10_append_a_kind_and_its_payload() -> None:
    """The usual way: kind, payload, refs, and id and time by keyword."""
    entry = Thread().append("message", {"a": 1}, {"r": 1}, id="mine", at=5)
    assert entry == Entry("message", {"a": 1}, {"r": 1}, id="mine", at=5, seq=0)


def test_T11_append_a_list() -> None:
    """Several entries are appended by extend, which answers them with their numbers."""
    thread = filled("a")
    entries = thread.extend([{"kind": "b"}, Entry("c")])
    assert [(entry.seq, entry.kind) for entry in entries] == [(1, "b"), (2, "c")]
    assert [entry.kind for entry in thread] == ["a", "b", "c"]
    assert [entry.kind for entry in thread.extend({"kind": "d"})] == ["d"]


def test_T12_numbers_follow_each_other() -> None:
    """Entries are numbered from 0 without gaps, however they come."""
    thread = filled("a", "b")
    thread.extend([{"seq": 50}, {}])
    thread.append("e")
    assert [entry.seq for entry in thread] == [0, 1, 2, 3, 4]


def test_T13_revision_counts_entries() -> None:
    """The revision grows by the number of entries."""
    thread = filled("a")
    assert thread.rev == 1
    thread.extend([{}, {}, {}])
    assert thread.rev == 4


def test_T14_time_of_change() -> None:
    """An append moves updated_at, also one without entries, and never back; created_at stays."""
    thread = Thread(now=1_000)
    times = []
    steps: list[tuple[int, list[dict[str, Any]]]] = [(2_000, [{}]), (3_000, []), (500, [{}])]
    for now, entries in steps:
        with seams.replaced(now_ms=lambda now=now: now):
            thread.extend(entries)
        times.append(seams.to_ms(thread.updated_at))
    assert times == [2_000, 3_000, 3_000]
    assert thread.rev == 2
    assert seams.to_ms(thread.created_at) == 1_000


def test_T15_generated_id() -> None:
    """An entry without an id gets one that begins with entry_."""
    ids = [entry.id for entry in filled(*["a"] * 20)]
    assert all(entry_id.startswith("entry_") for entry_id in ids)
    assert len(set(ids)) == 20


def test_T16_given_id_is_kept() -> None:
    """An id that was given is kept."""
    assert Thread().append({"id": "mine"}).id == "mine"


def test_T17_T18_entry_count() -> None:
    """The count is that of the entries that the thread holds."""
    assert (Thread().entry_count(), filled("a", "b").entry_count(), len(filled("a"))) == (0, 2, 1)
    assert filled("a", "b").stats == {"entry_count": 2}


def test_T19_T20_last() -> None:
    """The last entry, or None."""
    assert Thread().last() is None
    last = filled("a", "b").last()
    assert last is not None
    assert last.kind == "b"


def test_T21_T22_get_entry() -> None:
    """An entry by its number, or None where there is none; numbers are not indexes from the end."""
    thread = filled("a", "b")
    found = thread.get_entry(1)
    assert found is not None
    assert found.kind == "b"
    assert thread.get_entry(2) is thread.get_entry(-1) is None


def test_T23_T24_to_list() -> None:
    """A new list of the entries, oldest first."""
    assert Thread().to_list() == []
    thread = filled("a", "b")
    listed = thread.to_list()
    assert [entry.kind for entry in listed] == ["a", "b"]
    listed.clear()
    assert len(thread) == 2


@pytest.mark.parametrize("wrong", [None, 7])
def test_T26_kind_that_is_none(wrong: Any) -> None:
    """What is neither a kind nor several is refused."""
    with pytest.raises(InvalidInputError, match=r"^kinds"):
        filled("a").filter_by_kind(wrong)


def test_T27_T28_T29_filter_by_kind() -> None:
    """Entries of no, one or several kinds, in their order."""
    thread = filled("a", "b", "a", "c")
    assert thread.filter_by_kind("x") == thread.filter_by_kind([]) == []
    assert [entry.seq for entry in thread.filter_by_kind("a")] == [0, 2]
    assert [entry.seq for entry in thread.filter_by_kind(["c", "a"])] == [0, 2, 3]
    assert [entry.seq for entry in thread.filter_by_kind(kind for kind in "bc")] == [1, 3]


@pytest.mark.parametrize(
    ("first", "last", "wanted"),
    [(0, 2, [0, 1, 2]), (1, 1, [1]), (2, 99, [2, 3]), (-5, 0, [0]), (4, 9, []), (3, 1, [])],
)
def test_T30_T31_T32_T33_slice(first: int, last: int, wanted: list[int]) -> None:
    """A slice includes both ends, and what lies outside is left out."""
    assert [entry.seq for entry in filled("a", "b", "c", "d").slice(first, last)] == wanted
    assert Thread().slice(first, last) == []


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda thread: pickle.loads(pickle.dumps(thread))])
def test_T34_copies_go_their_own_way(copied: Any) -> None:
    """A copy is equal at first; what is appended to one does not show in the other."""
    thread = Thread("t", metadata={"a": 1})
    thread.append("a")
    again = copied(thread)
    assert again == thread
    again.append("b")
    again.metadata["a"] = 2
    thread.append("c")
    assert [entry.kind for entry in thread] == ["a", "c"]
    assert [entry.kind for entry in again] == ["a", "b"]
    assert thread.metadata == {"a": 1}


def test_entries_can_be_looked_at_and_not_changed() -> None:
    """`entries` is a sequence that shows the thread, and has no way to change it."""
    thread = filled("a", "b", "c")
    entries: Any = thread.entries
    assert (len(entries), entries[0].kind, entries[-1].kind) == (3, "a", "c")
    assert [entry.kind for entry in entries[1:]] == ["b", "c"]
    assert entries == thread.to_list() == list(entries)
    assert entries[0] in entries
    thread.append("d")
    assert len(entries) == 4
    with pytest.raises(TypeError):
        entries[0] = Entry()
    for name in ("append", "clear", "pop", "extend", "sort"):
        assert not hasattr(entries, name)


@pytest.mark.parametrize("name", ["id", "rev", "first_seq", "entries", "created_at", "stats"])
def test_what_append_alone_changes_cannot_be_set(name: str) -> None:
    """Revision, numbers and id are not assigned to by accident, nor is a misspelt attribute."""
    thread = filled("a")
    with pytest.raises(AttributeError):
        setattr(thread, name, 7)
    with pytest.raises(AttributeError):
        setattr(thread, "metdata", {})  # noqa: B010


def test_empty_thread_is_true() -> None:
    """`if agent.thread:` asks whether there is a thread."""
    assert Thread()
    assert len(Thread()) == 0


def test_equality_is_by_value() -> None:
    """Threads are equal when everything that is stored of them is."""
    one, two = (Thread("t", metadata={"a": 1}, now=1) for _ in range(2))
    assert one == two
    entry = Entry(id="e", at=1)
    with seams.replaced(now_ms=lambda: 5):
        one.append(entry)
        assert one != two
        two.append(entry)
    assert one == two
    assert one != Thread("u", metadata={"a": 1}, now=1)
    assert one != one.to_list()
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_repr_shows_no_payload() -> None:
    """A thread in a log line says which and how long, not what."""
    thread = Thread("t")
    thread.append("message", {"content": "secret"})
    assert repr(thread) == "Thread('t', rev=1, 1 entries)"
    assert repr(thread.entries) == "<1 entries>"


@pytest.mark.parametrize(
    "call",
    [
        lambda thread: thread.append({"role": "user", "content": "hi"}),
        lambda thread: thread.append(""),
        lambda thread: thread.append(None),
        lambda thread: thread.append(7),
        lambda thread: thread.append([{}]),
        lambda thread: thread.append("message", "hi"),
        lambda thread: thread.append("message", {1: 2}),
        lambda thread: thread.append({"kind": "a"}, {"b": 1}),
        lambda thread: thread.append(Entry(), id="x"),
        lambda thread: thread.extend([{}, {"kind": ""}]),
        lambda thread: thread.extend(None),
        lambda thread: thread.extend("note"),
    ],
)
def test_refused_append_changes_nothing(call: Any) -> None:
    """What is no entry is refused whole; entries, revision and time stay (H7)."""
    thread = Thread("t", now=1)
    with pytest.raises(InvalidEntryError):
        call(thread)
    assert thread == Thread("t", now=1)


def test_append_of_a_list_says_what_takes_it() -> None:
    """The refusal names the method that was meant."""
    wrong: Any = [{}]
    with pytest.raises(InvalidEntryError, match="extend"):
        Thread().append(wrong)


@pytest.mark.parametrize(
    "call",
    [
        lambda thread: thread.append("note", id="a"),
        lambda thread: thread.append({"id": "generated"}),
        lambda thread: thread.append(Entry(id="a")),
        lambda thread: thread.extend([{"id": "x"}, {"id": "x"}]),
        lambda thread: thread.extend([{"id": "new"}, {"id": "a"}]),
    ],
)
def test_duplicate_id_is_refused(call: Any) -> None:
    """An id that the thread has, given or generated, and one that stands twice, are refused; nothing is appended."""
    thread = Thread("t")
    thread.append("note", id="a")
    with seams.replaced(new_id=lambda prefix: "generated"):
        thread.append("note")
    with pytest.raises(DuplicateEntryError) as caught:
        call(thread)
    assert caught.value.thread_id == "t"
    assert caught.value.entry_id in {"a", "generated", "x"}
    assert thread.rev == len(thread) == 2


def test_appending_stays_cheap_in_a_long_thread() -> None:
    """An append looks at what it appends, not at what is there: with ids of ours or of the caller's (O(appended))."""

    def seconds(length: int, **fields: Any) -> float:
        thread = Thread("t")
        thread.extend([{"id": f"old {n}"} for n in range(length)])
        ids = iter(range(10**6))

        def append() -> None:
            thread.append("note", id=f"new {next(ids)}" if fields else None)

        append()  # the index of ids is made once
        return min(timeit.repeat(append, number=50, repeat=20))

    for fields in ({}, {"id": True}):
        assert seconds(50_000, **fields) < 10 * seconds(50, **fields)


def test_trimmed_thread_is_read_by_number() -> None:
    """Where the oldest entries are gone, numbers still mean the same entries."""
    thread = loaded(4, 6, 10)
    assert thread.get_entry(3) is None
    found = thread.get_entry(4)
    assert found is not None
    assert found.id == "e4"
    assert [entry.seq for entry in thread.slice(0, 5)] == [4, 5]
    assert thread.append("note").seq == 10


def test_partial_thread_is_appended_at_the_revision() -> None:
    """A thread that holds the beginning of a journal is appended behind its end, and read by number across the gap."""
    thread = loaded(0, 2, 10)
    appended = thread.append("note")
    assert (appended.seq, thread.rev, len(thread)) == (10, 11, 3)
    assert thread.get_entry(10) is appended
    assert thread.get_entry(2) is None
    assert [entry.seq for entry in thread.slice(1, 10)] == [1, 10]


def test_empty_range_is_appended_at_the_revision() -> None:
    """A thread that was loaded without entries knows where to go on."""
    assert loaded(0, 0, 10).append("note").seq == 10


@pytest.mark.parametrize("rev", [3, 20])
@pytest.mark.parametrize("more", [0, 1, 4])
def test_what_is_pending_is_a_slice_to_the_end(rev: int, more: int) -> None:
    """Taken by its place, also of a thread that was loaded by range, where numbers are missing before what follows."""
    thread = Thread("t")
    thread.extend([{"kind": "note"}] * 3)
    thread = Thread._loaded("t", rev, 0, {}, 0, 0, thread.to_list())
    for _ in range(more):
        thread.append("note")
    for first in range(rev + more + 2):
        assert thread._since(first) == thread.slice(first, thread.rev - 1)
