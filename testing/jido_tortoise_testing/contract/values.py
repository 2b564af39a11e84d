"""Values: what goes in comes out, with the same types all the way down, and nobody's later change gets in."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from jido_tortoise import codec
from jido_tortoise.agents.storage import ThreadWrite
from jido_tortoise.errors import UnstorableError
from jido_tortoise_testing.contract.base import Checks, FullStorage, loaded, needs, note, numbers
from jido_tortoise_testing.contract.checkpoints import data_of
from jido_tortoise_testing.contract.exact import assert_same


@codec.register(name="jido_contract_colour")
class Colour(Enum):
    """An enum that the checks store."""

    RED = "red"
    BLUE = (0, 0, 255)


@codec.register(name="jido_contract_access")
class Access(Flag):
    """A flag that the checks store."""

    READ = 1
    WRITE = 2


@codec.register(name="jido_contract_line")
@dataclass
class Line:
    """A class that the checks store."""

    sku: str
    price: Decimal
    tags: tuple[str, ...] = ()


@codec.register(name="jido_contract_cart")
@dataclass
class Cart:
    """A class with another one inside."""

    lines: list[Line] = field(default_factory=list)
    colour: Colour | None = None


_BERLIN = ZoneInfo("Europe/Berlin")

#: Values by kind: each must come back the same, wherever it was stored.
VALUES: dict[str, list[Any]] = {
    "constants": [None, True, False],
    "integers": [0, -1, 2**31, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)],
    "big_integers": [2**63, -(2**63) - 1, 2**64, 2**70, -(2**70), 10**100, 2**20_000],
    "floats": [0.1, 1.0, 100.0, -2.5, 1e15, 1e16, 1e22, 1e300, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, 1e-7],
    "odd_floats": [math.nan, math.inf, -math.inf, -0.0, 0.0],
    "texts": [
        "",
        "ä",
        "日本語",
        "🛒👩‍👩‍👧",
        "e\u0301",
        "\u202eabc",
        "\u2028\u2029",
        "\x7f\x01",
        'a"b\\c/d',
        "a\nb\r\tc",
        "\ufeff",
    ],
    "texts_like_values": ["null", "true", "1", "1.0", "{}", "[]", '"', "2026-01-01", "NaN", "$1", ":name", "%s", "?"],
    "nul_and_surrogates": ["\0", "a\0b", "\ud800", "a\udfffb", "\udc00\ud800", "\\u0000", "\\ud800"],
    "bytes": [b"", b"\0\xff", bytes(range(256)), bytearray(b"\0ab")],
    "datetimes": [
        datetime(2026, 1, 1),
        datetime(2026, 1, 1, 12, 30, 15, 1, tzinfo=UTC),
        datetime(2026, 7, 1, tzinfo=_BERLIN),
        datetime(2026, 10, 25, 2, 30, tzinfo=_BERLIN),
        datetime(2026, 10, 25, 2, 30, tzinfo=_BERLIN, fold=1),
        datetime(1900, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        datetime.min,
        datetime.max,
    ],
    "dates_and_times": [date(2026, 2, 28), date.min, date.max, time(1, 2, 3, 4), time(23, 59, tzinfo=UTC), time.min],
    "durations": [
        timedelta(0),
        timedelta(microseconds=-1),
        timedelta(days=-3, seconds=5),
        timedelta.max,
        timedelta.min,
    ],
    "uuids": [UUID(int=0), UUID("12345678-1234-5678-1234-567812345678")],
    "decimals": [Decimal("1.50"), Decimal("1.5"), Decimal("-0"), Decimal("1E+30"), Decimal("Infinity"), Decimal("NaN")],
    "complex": [1 + 2j, complex(-0.0, math.inf)],
    "lists_and_tuples": [[], (), [1, (2, [3, (4,)])], ((),), [[[]]], (1,), [None, [None]]],
    "sets": [set(), {1, 2}, frozenset(), {"a", 1, None, (1, 2)}, {frozenset({1}), frozenset()}],
    "maps": [{}, {"": 0}, {"a": {"b": [{"c": None}]}}, {"a.b": 1, "$x": 2, "ключ": 3}, {"key with \0 and \ud800": 1}],
    "maps_with_other_keys": [
        {1: "a"},
        {(1, 2): {None: "x"}},
        {True: 1, "1": 2},
        {1.5: 1, "1.5": 2},
        {b"k": UUID(int=1)},
    ],
    "maps_that_look_like_ours": [
        {"$jido:bytes": "AAAA"},
        {"$jido:type": "jido_contract_line", "sku": 1},
        {"$jido:": None},
        {"$jido:tuple": [1], "more": 2},
        {"$jido:key:a": 1},
        {"a": [{"$jido:set": [1]}]},
    ],
    "enums": [Colour.RED, Colour.BLUE, Access.READ, Access.READ | Access.WRITE],
    "objects": [Line("milk", Decimal("1.50"), ("cold", "white")), Cart([Line("x", Decimal(0))], Colour.RED), Cart()],
}


def torture() -> dict[str, Any]:
    """Make one map of everything that can be stored."""
    return copy.deepcopy({"values": VALUES, "deep": nested(60), "none": {"in": [None, {"x": None}, [None]]}})


def nested(depth: int) -> Any:
    """Make a list in a map in a list, and so on."""
    value: Any = "bottom"
    for level in range(depth):
        value = [value] if level % 2 else {"d": value}
    return value


async def assert_kept(storage: FullStorage, second: FullStorage, kind: str) -> None:
    """Store each value of a kind, alone and inside of others, and read it through another handle."""
    for number, value in enumerate(VALUES[kind]):
        await storage.put_checkpoint((kind, number), value)
        assert_same(await data_of(second, (kind, number)), value, f"{kind}[{number}]")
    inside = {"list": VALUES[kind], "tuple": tuple(VALUES[kind]), "map": {"x": {"y": VALUES[kind]}}}
    await storage.put_checkpoint((kind, "inside"), inside)
    assert_same(await data_of(second, (kind, "inside")), inside, kind)


class ValueChecks(Checks):
    """Data comes back equal and of the same types, through another handle (F6, Redis 4, J1)."""

    async def test_constants_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """None, True and False stay what they are, also inside of lists and maps (F27)."""
        await assert_kept(storage, second, "constants")

    async def test_integers_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """Whole numbers of 64 bits lose no digit."""
        await assert_kept(storage, second, "integers")

    async def test_big_integers_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """Whole numbers have no largest one."""
        await assert_kept(storage, second, "big_integers")

    async def test_floats_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """Floats come back to the last bit, and 1.0 stays a float."""
        await assert_kept(storage, second, "floats")

    async def test_odd_floats_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """nan, the infinities and -0.0 stay what they are."""
        await assert_kept(storage, second, "odd_floats")

    async def test_texts_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """Text comes back character by character, neither folded nor trimmed."""
        await assert_kept(storage, second, "texts")

    async def test_texts_like_values_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """Text that looks like another value, or like a placeholder, stays text."""
        await assert_kept(storage, second, "texts_like_values")

    async def test_nul_and_surrogates_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """Text with NUL or a lone surrogate, which a database refuses, comes back."""
        await assert_kept(storage, second, "nul_and_surrogates")

    async def test_bytes_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """bytes and bytearray come back as what they were."""
        await assert_kept(storage, second, "bytes")

    async def test_datetimes_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """A datetime keeps its microseconds, its zone and its fold, or stays without a zone."""
        await assert_kept(storage, second, "datetimes")

    async def test_dates_and_times_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """A date stays a date and a time a time."""
        await assert_kept(storage, second, "dates_and_times")

    async def test_durations_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """A timedelta comes back exactly."""
        await assert_kept(storage, second, "durations")

    async def test_uuids_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """A UUID does not become its text."""
        await assert_kept(storage, second, "uuids")

    async def test_decimals_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """A Decimal keeps its trailing zeros and its sign, and does not become a float."""
        await assert_kept(storage, second, "decimals")

    async def test_complex_numbers_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """Both parts of a complex number come back."""
        await assert_kept(storage, second, "complex")

    async def test_lists_and_tuples_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """A tuple does not become a list."""
        await assert_kept(storage, second, "lists_and_tuples")

    async def test_sets_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """A set stays a set and a frozenset a frozenset."""
        await assert_kept(storage, second, "sets")

    async def test_maps_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """A map keeps every one of its string keys."""
        await assert_kept(storage, second, "maps")

    async def test_maps_with_other_keys_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """A key that is no string does not become one, and stays apart from the string that looks like it."""
        await assert_kept(storage, second, "maps_with_other_keys")

    async def test_maps_that_look_like_ours_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """A map of the caller's that looks like the storage's own encoding stays the caller's."""
        await assert_kept(storage, second, "maps_that_look_like_ours")

    async def test_enums_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """A member of a registered enum comes back as that member."""
        await assert_kept(storage, second, "enums")

    async def test_objects_are_kept(self, storage: FullStorage, second: FullStorage) -> None:
        """An object of a registered class comes back as one, with what is inside of it."""
        await assert_kept(storage, second, "objects")

    async def test_everything_in_a_payload(self, storage: FullStorage, second: FullStorage) -> None:
        """An entry's payload holds whatever a checkpoint holds."""
        await storage.append_thread("t", {"kind": "message", "payload": torture()})
        assert_same((await loaded(second, "t")).entries[0].payload, torture(), "payload")

    async def test_everything_in_refs(self, storage: FullStorage, second: FullStorage) -> None:
        """An entry's refs hold whatever a checkpoint holds."""
        await storage.append_thread("t", {"kind": "message", "refs": torture()})
        assert_same((await loaded(second, "t")).entries[0].refs, torture(), "refs")

    async def test_everything_in_metadata(self, storage: FullStorage, second: FullStorage) -> None:
        """A journal's metadata hold whatever a checkpoint holds."""
        await storage.append_thread("t", note(1), metadata=torture())
        assert_same((await loaded(second, "t")).metadata, torture(), "metadata")

    @needs("atomic_save")
    async def test_everything_in_a_save(self, storage: FullStorage, second: FullStorage) -> None:
        """An atomic save loses as little as the separate writes do."""
        entry = {"kind": "message", "payload": torture(), "refs": torture()}
        await storage.save("k", {"state": torture()}, thread=ThreadWrite(id="t", entries=[entry], metadata=torture()))
        thread = await loaded(second, "t")
        assert_same((await data_of(second, "k"))["state"], torture(), "state")
        assert_same((thread.entries[0].payload, thread.entries[0].refs), (torture(), torture()), "entry")
        assert_same(thread.metadata, torture(), "metadata")

    async def test_large_values(self, storage: FullStorage, second: FullStorage) -> None:
        """A blob of 1 MB and a list of 10,000 items come back (F24)."""
        data = {"blob": bytes(range(256)) * 4096, "items": [{"i": i, "t": (i,)} for i in range(10_000)]}
        await storage.put_checkpoint("k", data)
        stored = await data_of(second, "k")
        assert stored["blob"] == data["blob"]
        assert stored["items"] == data["items"]

    async def test_payloads_of_all_sizes(self, storage: FullStorage, second: FullStorage) -> None:
        """Payloads of 1 B, 1 kB, 100 kB and 1 MB stand beside each other in one append (F16)."""
        texts = ["ü" * size for size in (1, 1_000, 100_000, 1_000_000)]
        await storage.append_thread("t", [{"payload": {"text": text}} for text in texts])
        assert [entry.payload["text"] for entry in await loaded(second, "t")] == texts

    async def test_many_fields(self, storage: FullStorage, second: FullStorage) -> None:
        """A map of 5,000 keys comes back whole."""
        data = {f"field {n}": n for n in range(5_000)}
        await storage.put_checkpoint("k", data)
        assert await data_of(second, "k") == data


class OwnershipChecks(Checks):
    """What is stored belongs to the storage: no later change of the caller's objects gets in, or out."""

    async def test_later_change_of_given_data(self, storage: FullStorage) -> None:
        """Changing what was put does not change what is stored."""
        data: dict[str, Any] = {"cart": ["milk"]}
        await storage.put_checkpoint("k", data)
        data["cart"].append("bread")
        data["more"] = 1
        assert await data_of(storage, "k") == {"cart": ["milk"]}

    async def test_later_change_of_read_data(self, storage: FullStorage) -> None:
        """Changing what a read answered does not change what is stored."""
        await storage.put_checkpoint("k", {"cart": ["milk"]})
        (await data_of(storage, "k"))["cart"].append("bread")
        assert await data_of(storage, "k") == {"cart": ["milk"]}

    async def test_later_change_of_answered_data(self, storage: FullStorage) -> None:
        """Changing what a put answered does not change what is stored."""
        checkpoint = await storage.put_checkpoint("k", {"cart": ["milk"]})
        checkpoint.data["cart"].append("bread")
        assert await data_of(storage, "k") == {"cart": ["milk"]}

    async def test_later_change_of_a_key(self, storage: FullStorage) -> None:
        """Changing a key that was used does not move what is stored under it."""
        key: list[Any] = ["shop", {"n": 1}]
        await storage.put_checkpoint(key, "here")
        key[1]["n"] = 2
        assert await storage.get_checkpoint(key) is None
        checkpoint = await storage.get_checkpoint(["shop", {"n": 1}])
        assert checkpoint is not None
        assert checkpoint.key == ["shop", {"n": 1}]

    async def test_later_change_of_given_entries(self, storage: FullStorage) -> None:
        """Changing a payload, refs or list that was appended does not change the journal."""
        payload, refs = {"n": 1, "words": ["a"]}, {"ids": ["x"]}
        entries = [{"payload": payload, "refs": refs}]
        await storage.append_thread("t", entries)
        payload["words"] = ["changed"]
        refs["ids"].append("y")
        entries.append(note(2))
        thread = await loaded(storage, "t")
        assert [(entry.payload, entry.refs) for entry in thread] == [({"n": 1, "words": ["a"]}, {"ids": ["x"]})]

    async def test_later_change_of_nested_payload(self, storage: FullStorage) -> None:
        """Changing what is deep inside of an appended payload does not change the journal."""
        payload: dict[str, Any] = {"call": {"arguments": ["a"]}}
        await storage.append_thread("t", {"payload": payload})
        payload["call"]["arguments"].append("b")
        assert (await loaded(storage, "t")).entries[0].payload == {"call": {"arguments": ["a"]}}

    async def test_later_change_of_a_loaded_thread(self, storage: FullStorage) -> None:
        """Changing a loaded thread, or appending to it, does not change the journal."""
        await storage.append_thread("t", {"payload": {"n": 1, "words": ["a"]}}, metadata={"tags": ["x"]})
        thread = await loaded(storage, "t")
        thread.entries[0].payload["words"].append("b")
        thread.metadata["tags"].append("y")
        thread.append("note", {"n": 2})
        again = await loaded(storage, "t")
        assert [entry.payload for entry in again] == [{"n": 1, "words": ["a"]}]
        assert again.metadata == {"tags": ["x"]}

    async def test_later_change_of_answered_entries(self, storage: FullStorage) -> None:
        """Changing what an append answered does not change the journal."""
        appended = await storage.append_thread("t", {"payload": {"words": ["a"]}})
        appended.entries[0].payload["words"].append("b")
        assert (await loaded(storage, "t")).entries[0].payload == {"words": ["a"]}

    async def test_later_change_of_given_metadata(self, storage: FullStorage) -> None:
        """Changing metadata that were given does not change the journal's."""
        metadata: dict[str, Any] = {"tags": ["x"]}
        await storage.append_thread("t", note(1), metadata=metadata)
        metadata["tags"].append("y")
        assert (await loaded(storage, "t")).metadata == {"tags": ["x"]}

    @needs("atomic_save")
    async def test_save_leaves_the_callers_data(self, storage: FullStorage) -> None:
        """An atomic save adds the pointer to what it stores, not to the caller's map."""
        data: dict[str, Any] = {"state": {"cart": ["milk"]}}
        await storage.save("k", data, thread=ThreadWrite(id="t", entries=[note(1)]))
        assert data == {"state": {"cart": ["milk"]}}
        data["state"]["cart"].append("bread")
        assert (await data_of(storage, "k"))["state"] == {"cart": ["milk"]}


class Subclass(OrderedDict[str, int]):
    """A dict that is not registered: stored as a plain one it would come back as something else."""


def _cycle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


#: Values that cannot be stored without losing something.
UNSTORABLE: Mapping[str, Callable[[], Any]] = {
    "object": object,
    "function": lambda: print,
    "class": lambda: int,
    "iterator": lambda: iter(()),
    "module": lambda: math,
    "unregistered_subclass": lambda: Subclass(a=1),
    "cycle": _cycle,
    "too_deep": lambda: nested(200),
}


class UnstorableChecks(Checks):
    """What cannot be stored is refused before anything is written, with the path to it (H7)."""

    async def test_unstorable_data(self, storage: FullStorage) -> None:
        """A put of data that cannot be stored is refused, and what was there stays."""
        stored = await storage.put_checkpoint("k", 1)
        for make in UNSTORABLE.values():
            with pytest.raises(UnstorableError):
                await storage.put_checkpoint("k", {"x": make()})
            with pytest.raises(UnstorableError):
                await storage.put_checkpoint("new", {"x": make()})
        assert await storage.get_checkpoint("k") == stored
        assert await storage.get_checkpoint("new") is None

    async def test_unstorable_payload(self, storage: FullStorage) -> None:
        """An append with a payload that cannot be stored writes nothing, not even the entries before it (H7)."""
        await storage.append_thread("t", note(1))
        for make in UNSTORABLE.values():
            with pytest.raises(UnstorableError):
                await storage.append_thread("t", [note(2), note(make())])
            with pytest.raises(UnstorableError):
                await storage.append_thread("new", [note(2), note(make())])
        assert numbers(await storage.load_thread("t")) == [1]
        assert await storage.load_thread("new") is None

    async def test_unstorable_refs(self, storage: FullStorage) -> None:
        """An append with refs that cannot be stored writes nothing (H7)."""
        await storage.append_thread("t", note(1))
        for make in UNSTORABLE.values():
            with pytest.raises(UnstorableError):
                await storage.append_thread("t", [note(2), note(3, refs={"x": make()})])
        assert numbers(await storage.load_thread("t")) == [1]

    async def test_unstorable_metadata(self, storage: FullStorage) -> None:
        """An append with metadata that cannot be stored makes no journal (H7)."""
        for make in UNSTORABLE.values():
            with pytest.raises(UnstorableError):
                await storage.append_thread("t", note(1), metadata={"x": make()})
        assert await storage.load_thread("t") is None
        assert (await storage.append_thread("t", note(1))).rev == 1

    @needs("atomic_save")
    async def test_unstorable_save(self, storage: FullStorage) -> None:
        """A save with data or an entry that cannot be stored changes neither checkpoint nor journal (H2, H7)."""
        await storage.save("k", {"n": 1}, thread=ThreadWrite(id="t", entries=[note(1)]))
        stored = await storage.get_checkpoint("k")
        for make in UNSTORABLE.values():
            for data, payload in ((make(), 2), (2, make())):
                with pytest.raises(UnstorableError):
                    await storage.save("k", {"n": data}, thread=ThreadWrite(id="t", entries=[note(payload)]))
        assert await storage.get_checkpoint("k") == stored
        assert numbers(await storage.load_thread("t")) == [1]

    async def test_path_to_what_is_unstorable(self, storage: FullStorage) -> None:
        """The refusal names the place, as the caller would write it."""
        bad = {"cart": [{"price": 1}, {"price": object()}]}
        with pytest.raises(UnstorableError, match=r"cart\[1\]\.price") as data:
            await storage.put_checkpoint("k", bad)
        assert data.value.path.endswith("cart[1].price")
        with pytest.raises(UnstorableError) as payload:
            await storage.append_thread("t", [note(1), {"payload": bad}])
        assert payload.value.path.endswith("[1].payload.cart[1].price")
        assert payload.value.reason == data.value.reason == "unstorable"
