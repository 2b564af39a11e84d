"""Keys of checkpoints: any value that can be stored is one, and two values are one key only when they are the same."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Any

import pytest

from jido_tortoise.errors import InvalidInputError
from jido_tortoise_testing.contract.base import Checks, FullStorage
from jido_tortoise_testing.contract.checkpoints import data_of
from jido_tortoise_testing.contract.exact import assert_same


async def assert_distinct(storage: FullStorage, keys: list[Any]) -> None:
    """Store something under each of the keys, then find each of it, and each key, as it was given."""
    for number, key in enumerate(keys):
        await storage.put_checkpoint(key, number)
    for number, key in enumerate(keys):
        checkpoint = await storage.get_checkpoint(key)
        assert checkpoint is not None, f"nothing is stored under {key!r}"
        assert checkpoint.data == number, f"{key!r} and {keys[checkpoint.data]!r} are one key"
        assert checkpoint.version == 1
        assert_same(checkpoint.key, key, "key")


class KeyChecks(Checks):
    """A checkpoint is found under the value that it was stored under, and under no other."""

    async def test_numbers_and_their_text_are_four_keys(self, storage: FullStorage) -> None:
        """1, 1.0, True and "1" are four keys (H11)."""
        await assert_distinct(storage, [1, 1.0, True, "1"])

    async def test_types_count_inside_a_key(self, storage: FullStorage) -> None:
        """("n", 1), ("n", 1.0), ("n", True) and ("n", "1") are four keys."""
        await assert_distinct(storage, [("n", 1), ("n", 1.0), ("n", True), ("n", "1")])

    async def test_keys_of_many_types(self, storage: FullStorage) -> None:
        """Strings, tuples, lists, bytes, numbers, None, dicts and moments are keys, each its own (E8)."""
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        keys = ["a", ("a",), ["a"], b"a", {"a": None}, frozenset(["a"]), None, "None", 7, moment, moment.isoformat()]
        await assert_distinct(storage, keys)

    async def test_empty_keys(self, storage: FullStorage) -> None:
        """All the values that are falsy are keys, each its own."""
        await assert_distinct(storage, ["", (), [], {}, 0, 0.0, False, None, b"", "null", frozenset()])

    async def test_unusual_strings(self, storage: FullStorage) -> None:
        """Spaces, slashes, colons, tabs, emoji, quotes and wildcards in a key are characters like any other (F22)."""
        strings = [
            "a b",
            "a/b",
            "a:b",
            "a\tb",
            "a\\b",
            "../a",
            "🛒",
            "a'b",
            'a"b',
            "%",
            "_",
            "a\nb",
            "A",
            "a",
            "a ",
            " a",
        ]
        await assert_distinct(storage, [*strings, ("tuple", "key"), ["list", "key"]])

    async def test_composed_characters_are_not_folded(self, storage: FullStorage) -> None:
        """Two spellings of one visible text are two keys."""
        await assert_distinct(storage, [unicodedata.normalize(form, "Café Å") for form in ("NFC", "NFD")])

    async def test_characters_that_databases_refuse(self, storage: FullStorage) -> None:
        """NUL and lone surrogates may stand in a key."""
        await assert_distinct(storage, ["a\0b", "ab", "a\\u0000b", "a\ud800b", "a\udc00b", "a?b"])

    async def test_long_keys(self, storage: FullStorage) -> None:
        """A key may be long, and its last character counts."""
        long = "x" * 20_000
        await assert_distinct(storage, [long, long + "y", (long, 1), (long, 2)])

    async def test_order_of_a_dict_does_not_count(self, storage: FullStorage, second: FullStorage) -> None:
        """A dict is the same key in whatever order its keys stand (H11)."""
        await storage.put_checkpoint({"a": 1, "b": 2, "c": 3}, "found")
        assert await data_of(second, {"c": 3, "a": 1, "b": 2}) == "found"
        assert (await second.put_checkpoint({"b": 2, "c": 3, "a": 1}, "again")).version == 2

    async def test_order_of_a_nested_dict_does_not_count(self, storage: FullStorage, second: FullStorage) -> None:
        """A dict inside of a key may stand in another order too; a list may not (H11)."""
        await storage.put_checkpoint(("shop", [{"x": {"a": 1, "b": 2}, "y": 0}]), "found")
        assert await data_of(second, ("shop", [{"y": 0, "x": {"b": 2, "a": 1}}])) == "found"
        await assert_distinct(storage, [("list", [1, 2]), ("list", [2, 1])])

    async def test_delete_takes_the_same_key(self, storage: FullStorage) -> None:
        """A delete finds a key just as a read does: 1.0 does not take 1 away, another order of a dict does."""
        for key in (1, {"a": 1, "b": 2}):
            await storage.put_checkpoint(key, "here")
        await storage.delete_checkpoint(1.0)
        await storage.delete_checkpoint({"b": 2, "a": 1})
        assert await data_of(storage, 1) == "here"
        assert await storage.get_checkpoint({"a": 1, "b": 2}) is None

    async def test_key_that_cannot_be_stored(self, storage: FullStorage) -> None:
        """A key that cannot be stored is refused by put, get and delete, as bad input."""
        for key in (object(), ("shop", {"x": print})):
            with pytest.raises(InvalidInputError):
                await storage.put_checkpoint(key, 1)
            with pytest.raises(InvalidInputError):
                await storage.get_checkpoint(key)
            with pytest.raises(InvalidInputError):
                await storage.delete_checkpoint(key)
