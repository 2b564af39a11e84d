"""Entries: made with defaults, checked field by field, and never changed.

T1 to T4 are the entry cases of Jido's thread_test, EN1 to EN4 those of its entry_normalizer_test. EN4, an option for
another id generator, is the seam `new_id` here.
"""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from types import FrameType, MappingProxyType
from typing import Any

import pytest

from jido_tortoise import codec, seams
from jido_tortoise.agents import rules
from jido_tortoise.agents.rules import StoredEntry
from jido_tortoise.agents.thread import Entry, normalise_entries, numbered
from jido_tortoise.errors import InvalidEntryError


class Kind(StrEnum):
    MESSAGE = "message"


def test_T1_defaults() -> None:
    """An entry of nothing is a note of now with empty maps, number 0 and an id of its own."""
    before = seams.now_ms()
    entry = Entry()
    assert (entry.seq, entry.kind, entry.payload, entry.refs) == (0, "note", {}, {})
    assert entry.id.startswith("entry_")
    assert before <= entry.at_ms <= seams.now_ms()
    assert Entry().id != entry.id


def test_T2_keywords() -> None:
    """Each field has a keyword."""
    entry = Entry(kind="message", payload={"role": "user"}, refs={"r": 1}, id="e", seq=3, at=5)
    assert (entry.id, entry.seq, entry.at_ms, entry.kind, entry.payload, entry.refs) == (
        "e",
        3,
        5,
        "message",
        {"role": "user"},
        {"r": 1},
    )


def test_T3_all_attributes_of_a_mapping() -> None:
    """What `as_dict` answers makes the same entry again."""
    entry = Entry("message", {"a": 1}, {"b": 2}, id="e", seq=3, at=5)
    assert list(entry.as_dict()) == ["id", "seq", "at", "kind", "payload", "refs"]
    assert Entry.from_map(entry.as_dict()) == entry


def test_T4_string_keys() -> None:
    """A mapping with string keys is an entry, whatever kind of mapping it is."""
    entry = Entry.from_map(MappingProxyType({"kind": "message", "payload": MappingProxyType({"a": 1})}))
    assert (entry.kind, entry.payload) == ("message", {"a": 1})
    assert type(entry.payload) is dict


@pytest.mark.parametrize("nothing", [None, False])
def test_EN1_none_and_false_are_the_default(nothing: object) -> None:
    """None and False as a value stand for the default of each field."""
    entry = Entry.from_map(dict.fromkeys(("id", "seq", "at", "kind", "payload", "refs"), nothing))
    assert (entry.seq, entry.kind, entry.payload, entry.refs) == (0, "note", {}, {})
    assert entry.id.startswith("entry_")
    assert entry.at_ms > 0


def test_EN1_other_falsy_values_are_kept() -> None:
    """0 and {} are values, not a missing one."""
    entry = Entry.from_map({"at": 0, "payload": {}, "seq": 0})
    assert (entry.at_ms, entry.payload, entry.seq) == (0, {}, 0)


def test_EN2_string_keys_in_a_list() -> None:
    """Mappings and entries may stand in one list."""
    entries = normalise_entries([{"kind": "a"}, Entry("b")])
    assert [entry.kind for entry in entries] == ["a", "b"]


def test_EN3_numbers_follow_the_base() -> None:
    """Numbers are given from a base on, whatever the entries said."""
    entries = normalise_entries([Entry(seq=99), {"seq": 5}, {}])
    assert [entry.seq for entry in numbered(entries, 7)] == [7, 8, 9]


def test_EN4_ids_come_from_the_seam() -> None:
    """A test can say which ids entries get."""
    with seams.replaced(new_id=lambda prefix: f"{prefix}x"):
        assert Entry().id == Entry.from_map({}).id == "entry_x"


def test_lone_entry_is_a_list_of_one() -> None:
    """One entry or one mapping counts as a list of it."""
    entry = Entry()
    assert normalise_entries(entry) == [entry]
    assert [made.kind for made in normalise_entries({"kind": "a"})] == ["a"]
    assert normalise_entries([]) == normalise_entries(()) == []


@pytest.mark.parametrize("wrong", [None, "note", b"x", 7, {1, 2}, iter([{}]), object()])
def test_what_is_no_list_is_refused(wrong: Any) -> None:
    """Texts, iterators and single values are no list of entries."""
    with pytest.raises(InvalidEntryError, match=r"^entries: expected a list"):
        normalise_entries(wrong)


@pytest.mark.parametrize("wrong", [None, "note", 7, [{}], ("kind", "note")])
def test_what_is_no_entry_is_refused_by_its_place(wrong: Any) -> None:
    """The refusal says which of the entries it is."""
    with pytest.raises(InvalidEntryError) as caught:
        normalise_entries([{}, wrong])
    assert caught.value.path == "entries[1]"


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("kind", ""),
        ("kind", "a\0b"),
        ("kind", "x" * 256),
        ("kind", "\ud800"),
        ("kind", 7),
        ("id", ""),
        ("id", "a\0b"),
        ("id", "x" * 256),
        ("id", b"x"),
        ("seq", -1),
        ("seq", True),
        ("seq", 1.0),
        ("seq", 2**63),
        ("at", True),
        ("at", 1.5),
        ("at", 2**63),
        ("at", -(2**63) - 1),
        ("at", "2026-01-01"),
        ("at", datetime(2026, 1, 1)),
        ("payload", [1]),
        ("payload", 0),
        ("payload", {1: "x"}),
        ("payload", {Kind.MESSAGE: "x"}),
        ("refs", "x"),
        ("refs", {None: 1}),
    ],
)
def test_wrong_field_is_refused_by_its_path(field: str, wrong: object) -> None:
    """Each field is looked at, in a mapping and by keyword, and the path says which it was (H7)."""
    with pytest.raises(InvalidEntryError) as caught:
        normalise_entries([{}, {}, {}, {field: wrong}])
    assert caught.value.path == f"entries[3].{field}"
    assert caught.value.reason == "invalid_entry"
    keywords: dict[str, Any] = {field: wrong}
    with pytest.raises(InvalidEntryError, match=rf"^entry\.{field}: expected "):
        Entry(**keywords)


def test_naive_time_is_refused_with_a_hint() -> None:
    """A datetime without a zone could mean any moment; the message says how to give one."""
    with pytest.raises(InvalidEntryError, match="time zone"):
        Entry(at=datetime(2026, 1, 1))


def test_unknown_key_is_refused() -> None:
    """A chat message does not become an empty note; the message says where it belongs."""
    with pytest.raises(InvalidEntryError, match="goes into the payload") as caught:
        Entry.from_map({"role": "user", "content": "hi"}, path="entries[3]")
    assert (caught.value.path, caught.value.key) == ("entries[3]", "role")


def test_limits_of_texts_and_times() -> None:
    """The longest texts and the outermost times that BIGINT holds are entries."""
    entry = Entry("k" * 255, id="🛒" * 255, at=2**63 - 1)
    assert (entry.kind, entry.id, entry.at_ms) == ("k" * 255, "🛒" * 255, 2**63 - 1)
    with pytest.raises(OverflowError):
        _ = entry.at


def test_time_is_given_and_answered() -> None:
    """A moment is kept to the millisecond, and answered in UTC."""
    moment = datetime(2026, 1, 1, 12, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=2)))
    entry = Entry(at=moment)
    assert entry.at == datetime(2026, 1, 1, 10, 0, 0, 123_000, tzinfo=UTC)
    assert entry.at.tzinfo is UTC
    assert Entry(at=-1).at == datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)


def test_kind_of_a_str_enum_is_its_text() -> None:
    """A StrEnum's member is stored as what it says, as a plain str."""
    assert type(Entry(Kind.MESSAGE).kind) is str
    assert Entry(Kind.MESSAGE).kind == "message"


def test_entry_never_changes() -> None:
    """No attribute can be set, deleted or added."""
    entry = Entry("note", id="e")
    for name in ("kind", "id", "at_ms", "payload", "refs", "seq", "other", "at"):
        with pytest.raises(AttributeError):
            setattr(entry, name, 1)
    with pytest.raises(AttributeError):
        del entry.kind
    assert not hasattr(entry, "__dict__")


def test_entry_keeps_its_own_maps() -> None:
    """A dict that is changed after it was given does not change the entry."""
    payload, refs = {"a": 1}, {"r": 1}
    entry = Entry("note", payload, refs)
    payload["a"], refs["r"] = 2, 2
    assert (entry.payload, entry.refs) == ({"a": 1}, {"r": 1})


@pytest.mark.parametrize("field", ["id", "seq", "at", "kind", "payload", "refs"])
def test_equality_compares_all_six(field: str) -> None:
    """Entries are equal when all the fields are."""
    entry = Entry("note", {"a": 1}, {"b": 1}, id="e", seq=1, at=1)
    other = {"id": "f", "seq": 2, "at": 2, "kind": "other", "payload": {"a": 2}, "refs": {}}
    assert entry == Entry.from_map(entry.as_dict())
    assert entry != Entry.from_map(entry.as_dict() | {field: other[field]})
    assert entry != entry.as_dict()


def test_entry_is_not_hashable() -> None:
    """Its payload is a dict."""
    with pytest.raises(TypeError, match="unhashable"):
        hash(Entry())


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda entry: pickle.loads(pickle.dumps(entry))])
def test_copies_are_entries(copied: Any) -> None:
    """Copies and pickles are equal, and as unchangeable."""
    entry = Entry("note", {"a": [1]}, {"b": 1}, id="e", seq=4, at=1)
    again = copied(entry)
    assert type(again) is Entry
    assert again == entry
    with pytest.raises(AttributeError):
        again.kind = "x"


def test_deep_copy_shares_nothing() -> None:
    """A deep copy's payload is its own."""
    entry = Entry("note", {"a": [1]})
    copy.deepcopy(entry).payload["a"].append(2)
    assert entry.payload == {"a": [1]}


def test_repr_is_short() -> None:
    """A megabyte in the payload is no megabyte in the log."""
    entry = Entry("message", {"content": "x" * 1_000_000, "role": "user"}, id="e", seq=7)
    assert len(repr(entry)) < 200
    assert repr(entry).startswith("Entry(7, 'message', {'content': 'xxx")
    assert "refs" not in repr(entry)
    assert "refs={'r': 1}" in repr(Entry(refs={"r": 1}))


def test_making_of_read_entries_is_cheap() -> None:
    """A row becomes an entry by two calls beside the parse of its JSON: nothing is checked again on the hot path."""
    texts = [codec.dumps({"n": n}) for n in range(100)]
    rows = [StoredEntry(n, f"entry_{n}", 1, "message", text, "{}") for n, text in enumerate(texts)]
    parse = calls(lambda: [codec.loads(text) for text in texts])
    decode = calls(lambda: rules.decode_entries(rows, "t"))
    assert decode - parse <= 2 * len(rows) + 10


def calls(function: Callable[[], object]) -> int:
    """Count the Python functions that a call enters; unlike its seconds, they are the same on every machine."""
    counted = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal counted
        counted += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return counted
