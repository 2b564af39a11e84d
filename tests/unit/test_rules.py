"""The rules that every storage of ours shares: what is refused, what a repeat is, what a cursor may be."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest

from jido_tortoise.agents import rules
from jido_tortoise.agents.keys import key_hash
from jido_tortoise.agents.rules import EncodedEntry, StoredEntry, UndatedEntry
from jido_tortoise.agents.thread import Entry
from jido_tortoise.errors import (
    AlreadyExistsError,
    ConflictError,
    CorruptRowError,
    DuplicateEntryError,
    InvalidEntryError,
    InvalidInputError,
    UnstorableError,
)


def stored(rows: Sequence[EncodedEntry], first: int) -> list[StoredEntry]:
    """Answer rows as a database gives them back: PostgreSQL's jsonb writes other spaces and another order."""
    spaced = [row._replace(payload=json.dumps(json.loads(row.payload), sort_keys=True)) for row in rows]
    return [StoredEntry(first + index, *row) for index, row in enumerate(spaced)]


def made(*ids: str, **fields: Any) -> list[EncodedEntry]:
    """Encode entries with these ids."""
    return rules.encode_entries([{"id": id, "at": 1, "payload": {"b": 1, "a": id}, **fields} for id in ids])


def test_encoded_entries_are_rows() -> None:
    """A row has what the columns take; payload and refs are JSON with the caller's order of keys."""
    row = rules.encode_entries(Entry("note", {"b": 1, "a": (1,)}, id="e", at=5))[0]
    assert row == ("e", 5, "note", '{"b":1,"a":{"$jido:tuple":[1]}}', "{}")
    assert rules.decode_entry(StoredEntry(3, *row), "t") == Entry("note", {"b": 1, "a": (1,)}, id="e", at=5, seq=3)


def test_refusals_of_entries_name_the_place() -> None:
    """The path leads to the value, in a list and in a lone entry."""
    with pytest.raises(UnstorableError) as caught:
        rules.encode_entries([{}, {"payload": {"cart": [1, object()]}}])
    assert caught.value.path == "entries[1].payload.cart[1]"
    with pytest.raises(UnstorableError) as caught:
        rules.encode_entries({"refs": {"a": object()}})
    assert caught.value.path == "entries[0].refs.a"
    entry = Entry()
    spoiled: Any = entry.payload
    spoiled[7] = 1
    with pytest.raises(InvalidEntryError) as refused:
        rules.encode_entries([entry])
    assert refused.value.path == "entries[0].payload"


def test_one_id_twice_is_refused() -> None:
    """Two entries of one id in one append are refused, equal or not."""
    with pytest.raises(DuplicateEntryError, match=r"^entries\[2\]\.id") as caught:
        rules.encode_entries([{"id": "a"}, {"id": "b"}, {"id": "a"}])
    assert caught.value.entry_id == "a"


def test_repeat_is_found_by_ids_and_content() -> None:
    """The same entries, stored one after another, are a repeat, whatever the database made of their JSON."""
    rows = made("a", "b")
    assert rules.repeated_at(rows, stored(rows, 5), None) == 5
    assert rules.repeated_at(rows, stored(rows, 5), 5) == 5
    assert rules.repeated_at(rows, stored(rows, 0), 0) == 0


def test_what_is_no_repeat() -> None:
    """A part, a gap, another order, another place and another content are none; nor is nothing."""
    rows = made("a", "b")
    assert rules.repeated_at([], [], None) is None
    assert rules.repeated_at(rows, [], None) is None
    assert rules.repeated_at(rows, stored(rows, 5), 4) is None
    assert rules.repeated_at(rows, stored(rows[:1], 5), None) is None
    assert rules.repeated_at(rows, stored(rows[::-1], 5), None) is None
    assert rules.repeated_at(rows, [stored(rows, 5)[0], stored(rows, 6)[1]], None) is None
    for changes in ({"kind": "x"}, {"at": 2}, {"refs": {"a": 1}}, {"payload": {"b": True, "a": "a"}}):
        assert rules.repeated_at(made("a", **changes), stored(made("a"), 5), None) is None


@pytest.mark.parametrize("at", [{}, {"at": None}, {"at": False}])
def test_time_that_was_not_given_is_not_compared(at: dict[str, Any]) -> None:
    """A mapping without a time gets another one each time; with one, 0 included, the time counts."""
    row = rules.encode_entries({"id": "a", **at})
    assert isinstance(row[0], UndatedEntry)
    later = [row[0]._replace(at_ms=row[0].at_ms + 5)]
    assert rules.repeated_at(row, stored(later, 0), None) == 0
    dated = rules.encode_entries({"id": "a", "at": 0})
    assert rules.repeated_at(dated, stored(later, 0), None) is None
    assert not isinstance(rules.encode_entries(Entry(id="a"))[0], UndatedEntry)


def test_same_json() -> None:
    """Texts are the same value by type, not by Python's ==, and a malformed one is the same as nothing."""
    assert rules.same_json('{"a":1,"b":[1,2]}', '{"b": [1, 2], "a": 1}')
    for one, other in (("1", "1.0"), ("1", "true"), ('"1"', "1"), ("[1,2]", "[2,1]"), ("{}", "null")):
        assert not rules.same_json(one, other)
    assert not rules.same_json('{"$jido:unknown": 1}', '{"$jido:unknown":1}')


def test_malformed_row_is_named() -> None:
    """A row that cannot be read says which it is, and so does one among many."""
    rows = [StoredEntry(n, f"e{n}", 1, "note", "{}", "{}") for n in range(3)]
    assert [entry.seq for entry in rules.decode_entries(rows, "t")] == [0, 1, 2]
    spoils: list[dict[str, Any]] = [{"payload": "{"}, {"payload": "[]"}, {"payload": '{"$jido:no": 1}'}, {"refs": "7"}]
    for spoiled in spoils:
        for decode in (
            lambda row: rules.decode_entry(row, "t"),
            lambda row: rules.decode_entries([rows[0], row, rows[2]], "t"),
        ):
            with pytest.raises(CorruptRowError, match="entry 1 of thread 't'") as caught:
                decode(rows[1]._replace(**spoiled))
            facts = {"table": "jido_thread_entries", "thread_id": "t", "seq": 1}
            assert caught.value.facts.items() >= facts.items()


@pytest.mark.parametrize("wrong", ["", "a\0", "\ud800", "x" * 256, 7])
def test_a_wrong_kind_among_usual_entries(wrong: Any) -> None:
    """Entries that are encoded column by column are checked as any other."""
    usual = {"kind": "note", "payload": {}}
    with pytest.raises(InvalidEntryError, match=r"^entries\[1\]\.kind"):
        rules.encode_entries([usual, {**usual, "kind": wrong}])


def test_metadata() -> None:
    """None is an empty map; what is no map is refused, and named when it is stored."""
    assert rules.encode_metadata(None) == "{}"
    assert rules.decode_metadata(rules.encode_metadata({"a": (1,)}), "t") == {"a": (1,)}
    for wrong in ([("a", 1)], [], "", False):
        with pytest.raises(InvalidInputError, match=r"^metadata"):
            rules.encode_metadata(wrong)  # type: ignore[arg-type]
    with pytest.raises(UnstorableError, match=r"^metadata\.a"):
        rules.encode_metadata({"a": object()})
    for text in ("[]", "{", "null"):
        with pytest.raises(CorruptRowError) as caught:
            rules.decode_metadata(text, "t")
        assert (caught.value.reason, caught.value.thread_id) == ("invalid_thread_metadata", "t")


def test_checkpoint_row() -> None:
    """A checkpoint's row shows what an agent's data says, beside key and data as JSON."""
    data = rules.with_pointer({"agent_type": "shopper", "id": "u", "thread": "nonsense"}, "t", 3)
    row = rules.encode_checkpoint(("shopper", "u"), data)
    assert row.key_hash == key_hash(("shopper", "u"))
    assert row.key == '{"$jido:tuple":["shopper","u"]}'
    assert json.loads(row.data)["thread"] == {"id": "t", "rev": 3}
    assert row[3:] == ("shopper", None, "u", "t", 3)


def test_unstorable_state_is_named_as_the_agent_names_it() -> None:
    """A place in the state is `state.cart[3].price`; elsewhere the path begins at the data."""
    for data, path in (
        ({"state": {"cart": [0, {"price": object()}]}}, "state.cart[1].price"),
        ({"marker": object()}, "data.marker"),
        ([object()], "data[0]"),
    ):
        with pytest.raises(UnstorableError) as caught:
            rules.encode_checkpoint("k", data)
        assert caught.value.path == path
        assert "object" in str(caught.value)
    with pytest.raises(UnstorableError, match=r"^key"):
        rules.encode_checkpoint(object(), {})


@pytest.mark.parametrize("data", [None, [1], "x", {1: 2}, [("a", 1)]])
def test_pointer_goes_into_a_map(data: Any) -> None:
    """Only a map can hold a pointer."""
    with pytest.raises(InvalidInputError, match=r"^data"):
        rules.with_pointer(data, "t", 0)


@pytest.mark.parametrize("wrong", ["1", 1.0, True, -1, 2**63])
def test_expected_numbers(wrong: Any) -> None:
    """An expected revision of a wrong type is bad input, not a conflict."""
    assert rules.check_expected("expected_rev", None) is None
    assert rules.check_expected("expected_rev", 0) == 0
    with pytest.raises(InvalidInputError, match=r"^expected_rev"):
        rules.check_expected("expected_rev", wrong)


def test_ranges() -> None:
    """A tail stands alone, and nothing is negative."""
    rules.check_range(0, None, None)
    rules.check_range(5, 0, None)
    rules.check_range(0, None, 0)
    for wrong in ((-1, None, None), (0, -1, None), (0, None, -1), (1, None, 1), (0, 0, 1), ("0", None, None)):
        with pytest.raises(InvalidInputError):
            rules.check_range(*wrong)


def test_conflicts_have_their_facts() -> None:
    """What is not there is at 0; a program can tell the cases apart by the type."""
    missing = rules.rev_conflict("t", 3, None)
    assert missing.facts == {"thread_id": "t", "expected": 3, "actual": 0}
    assert "does not exist" in str(missing)
    assert rules.rev_conflict("t", 0, 2).facts == {"thread_id": "t", "expected": 0, "actual": 2}
    assert type(rules.version_conflict("k", 0, 2)) is AlreadyExistsError
    gone = rules.version_conflict("k", 2, None)
    assert (type(gone), gone.facts) == (ConflictError, {"key": "k", "expected": 2, "actual": 0})
    duplicate = rules.duplicate_ids("t", ["b", "a"])
    assert (duplicate.entry_id, duplicate.entry_ids, duplicate.thread_id) == ("a", ["a", "b"], "t")


def test_cursor_serves_its_list_only() -> None:
    """A cursor leads back to its place, and to none under other filters or with another character in it."""
    cursor = rules.cursor_of(5, "ab", agent_type="shopper", partition=None)
    assert rules.parse_cursor(cursor, agent_type="shopper", partition=None) == (5, "ab")
    for filters in (("person", None), (None, None), ("shopper", ""), ("shopper", "None")):
        with pytest.raises(InvalidInputError, match=r"^after"):
            rules.parse_cursor(cursor, agent_type=filters[0], partition=filters[1])
    for place in range(len(cursor)):
        other = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        with pytest.raises(InvalidInputError, match=r"^after"):
            rules.parse_cursor(other, agent_type="shopper", partition=None)


@pytest.mark.parametrize(
    "wrong", ["", "x", "5.ab.00", None, 7, b"x", base64.b64encode(b"x.y.z").decode(), "ü", "a" * 99]
)
def test_what_is_no_cursor(wrong: Any) -> None:
    """Anything but a cursor of ours is bad input."""
    with pytest.raises(InvalidInputError, match=r"^after"):
        rules.parse_cursor(wrong, agent_type=None, partition=None)
