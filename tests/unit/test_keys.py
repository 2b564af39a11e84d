"""Keys, thread ids and columns: two agents never meet under one name, and one agent is always found under its own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jido_tortoise.agents.keys import (
    Columns,
    check_agent_id,
    check_partition,
    checkpoint_key,
    columns_of,
    id_of,
    id_text,
    key_hash,
    pointer_of,
    thread_id_for,
)
from jido_tortoise.errors import InvalidAgentError, InvalidInputError, UnstorableError

texts = st.text(max_size=90)
ids = st.one_of(texts, st.integers(), st.booleans(), st.floats(allow_nan=False), st.binary(), st.tuples(texts, texts))
names = st.tuples(texts.filter(bool), ids, st.none() | texts.filter(bool))


def test_checkpoint_key() -> None:
    """The key is type and id; a partition is wrapped around the id, a scope stands for the type (P1, P24)."""
    assert checkpoint_key("shopper", "u") == ("shopper", "u")
    assert checkpoint_key("shopper", "u", "blue") == ("shopper", ("partition", "blue", "u"))
    assert checkpoint_key("shopper", "u", scope="pool") == (("scope", "pool"), "u")
    assert checkpoint_key("shopper", "u", "blue", "pool") == (("scope", "pool"), ("partition", "blue", "u"))


def test_thread_id_is_readable() -> None:
    """An agent's thread says whose it is, and separators inside of names are escaped."""
    assert thread_id_for("shopper", "user-123") == "shopper::user-123"
    assert thread_id_for("shopper", "user-123", "tenant 7") == "shopper:tenant%207:user-123"
    assert thread_id_for("a:b", "c/d") == "a%3Ab::c%2Fd"
    assert thread_id_for("shopper", 7) == "shopper::=7"
    assert thread_id_for("shopper", "=7") == "shopper::%3D7"


def test_long_thread_id_is_cut_and_told_apart() -> None:
    """A name that is too long for a column keeps its beginning, and its end counts."""
    one, two = (thread_id_for("shopper", "x" * 250 + end) for end in "ab")
    assert one != two
    assert one.startswith("shopper::xxx")
    assert len(one) <= 200
    # Where the cut begins is part of the names that are stored.
    assert thread_id_for("shopper", "x" * 191) == "shopper::" + "x" * 191
    assert "#" in thread_id_for("shopper", "x" * 192)


@pytest.mark.parametrize("odd", ["a\0b", "\ud800", "🛒", "%", "#", ""])
def test_thread_id_of_odd_names(odd: str) -> None:
    """Characters that no database takes are escaped, so that the thread's id can be stored."""
    assert thread_id_for("shopper", odd).isascii()
    assert "\0" not in thread_id_for("shopper", odd)
    assert thread_id_for("shopper", odd) != thread_id_for("shopper", "?")


@given(names, names)
def test_thread_ids_are_as_different_as_the_names(one: Any, two: Any) -> None:
    """Two agents have one thread only when type, partition and id are the same."""
    same = key_hash(checkpoint_key(*one)) == key_hash(checkpoint_key(*two))
    assert (thread_id_for(*one) == thread_id_for(*two)) is same
    assert 0 < len(thread_id_for(*one)) <= 200


def test_key_hash_tells_types_apart() -> None:
    """1, 1.0, True and "1" are four keys, also inside of one (H11)."""
    keys = [1, 1.0, True, "1", ("n", 1), ("n", 1.0), ["n", 1], None, "None"]
    assert len({key_hash(key) for key in keys}) == len(keys)


def test_key_hash_ignores_the_order_of_dicts() -> None:
    """A dict is the same key in whatever order it stands, also inside of a key (H11)."""
    assert key_hash(("k", {"a": 1, "b": {"c": 2, "d": 3}})) == key_hash(("k", {"b": {"d": 3, "c": 2}, "a": 1}))
    assert len(key_hash("k")) == 64


def test_key_hash_refuses_what_cannot_be_stored() -> None:
    """A key that has no form is refused by its path."""
    with pytest.raises(UnstorableError, match=r"^key\[1\]"):
        key_hash(("k", object()))


@pytest.mark.parametrize("fine", ["u", "x" * 255, 7, 0, False, ("a", 1), b"x", "=7", {"a": 1}])
def test_agent_ids(fine: Any) -> None:
    """Any value but None is an id, as long as the column for ids can show it, and it is read back as it was."""
    assert check_agent_id(fine) == fine
    assert id_of(id_text(fine)) == fine
    assert type(id_of(id_text(fine))) is type(fine)


def test_texts_are_shown_as_they_are() -> None:
    """Whoever looks with SQL finds `agent_id = 'user-123'`."""
    assert id_text("user-123") == "user-123"
    assert id_text(7) == "=7"
    assert id_text("=7") == '="=7"'
    assert id_of(None) is None


def test_missing_agent_id() -> None:
    """None is no id, and says so by the contract's name."""
    with pytest.raises(InvalidAgentError) as caught:
        check_agent_id(None)
    assert caught.value.reason == "missing_agent_id"


@pytest.mark.parametrize("wrong", ["", "a\0b", "\ud800", "x" * 256, "=" + "x" * 253, ["x" * 300], b"x" * 300])
def test_wrong_agent_id(wrong: Any) -> None:
    """An id that is empty, too long or unprintable is refused when the agent is made."""
    with pytest.raises(InvalidAgentError) as caught:
        check_agent_id(wrong)
    assert (caught.value.reason, caught.value.path) == ("invalid_agent", "id")


def test_agent_id_that_cannot_be_stored() -> None:
    """An id that has no form is refused by the codec."""
    with pytest.raises(UnstorableError, match=r"^id"):
        check_agent_id(object())


def test_partition() -> None:
    """No partition is None; an empty text is a mistake, not everybody's."""
    assert check_partition(None) is None
    assert check_partition("blue") == "blue"
    for wrong in ("", "a\0b", 7, "x" * 256):
        with pytest.raises(InvalidInputError, match=r"^partition"):
            check_partition(wrong)


def test_columns_of_an_agent() -> None:
    """The columns show what the checkpoint's data says."""
    data = {"agent_type": "shopper", "id": "u", "partition": "blue", "thread": {"id": "t", "rev": 3}, "state": {}}
    assert columns_of(data) == Columns("shopper", "blue", "u", "t", 3)
    assert columns_of({"agent_type": "shopper", "id": 7, "thread": None}) == Columns("shopper", None, "=7", None, None)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "text",
        {},
        {"id": "u"},
        {"agent_type": 7, "id": "u", "partition": "blue"},
        {"agent_type": "x" * 256, "id": "u"},
        {"agent_type": "", "id": "u"},
    ],
)
def test_columns_of_other_data(data: Any) -> None:
    """Data that is not an agent's shows nothing, and is no error."""
    assert columns_of(data) == Columns(None, None, None, None, None)


def test_columns_show_what_they_can() -> None:
    """One part that does not fit leaves the others."""
    data = {"agent_type": "shopper", "id": object(), "partition": "", "thread": {"id": "t", "rev": 1}}
    assert columns_of(data) == Columns("shopper", None, None, "t", 1)
    assert columns_of({"thread": {"id": "t", "rev": 1}}) == Columns(None, None, None, "t", 1)
    assert columns_of({"agent_type": "shopper", "id": "x" * 256}).agent_id is None


@pytest.mark.parametrize(
    "pointer",
    [None, "t", {}, {"id": "t"}, {"rev": 1}, {"id": 7, "rev": 1}, {"id": "t", "rev": True}, {"id": "t", "rev": -1}],
)
def test_what_is_no_pointer(pointer: Any) -> None:
    """A pointer has an id and a revision (H16)."""
    assert pointer_of({"thread": pointer}) is None
    assert pointer_of({"thread": {"id": "t", "rev": 0}}) == ("t", 0)
