"""The codec: what is stored how, what is refused and in which words, and what a registered class may do."""

from __future__ import annotations

import collections
import decimal
import gc
import importlib.resources
import io
import json
import re
import sys
import threading
import types
import zoneinfo
from collections.abc import Iterator
from dataclasses import InitVar, dataclass, field, make_dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import EJECT, Enum, Flag, IntEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, NewType, Optional, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import pydantic
import pytest

from jido_tortoise import codec
from jido_tortoise.codec import registry
from jido_tortoise.errors import CorruptRowError, InvalidInputError, UnstorableError
from tests.codec_values import (
    BACKENDS,
    Access,
    Colour,
    Frozen,
    Line,
    Mask,
    Mood,
    Open,
    Order,
    Point,
    Size,
    exact,
    using,
)

T = TypeVar("T")


@pytest.fixture(autouse=True, params=BACKENDS)
def _backend(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run every test with each JSON library."""
    with using(request.param):
        yield


# ------------------------------------------------------------------------------------------------- the stored form

FORMS: list[tuple[Any, str]] = [
    (b"hi", '{"$jido:bytes":"aGk="}'),
    (bytearray(b"hi"), '{"$jido:bytearray":"aGk="}'),
    (datetime(2026, 1, 2, 3, 4, 5, 6), '{"$jido:datetime":"2026-01-02T03:04:05.000006"}'),
    (datetime(2026, 1, 2, tzinfo=UTC), '{"$jido:datetime":"2026-01-02T00:00:00+00:00"}'),
    (
        datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")),
        '{"$jido:datetime":"2026-10-25T02:30:00+02:00[Europe/Berlin]"}',
    ),
    (
        datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
        '{"$jido:datetime":"2026-10-25T02:30:00+01:00[Europe/Berlin][_fold=1]"}',
    ),
    (
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=-5), "EST")),
        '{"$jido:datetime":["2026-01-01T00:00:00-05:00","EST"]}',
    ),
    (datetime(2026, 1, 2).date(), '{"$jido:date":"2026-01-02"}'),
    (datetime(2026, 1, 2, 3).time(), '{"$jido:time":"03:00:00"}'),
    (timedelta(days=-1, microseconds=5), '{"$jido:timedelta":[-1,0,5]}'),
    (UUID(int=1), '{"$jido:uuid":"00000000-0000-0000-0000-000000000001"}'),
    (Decimal("1.50"), '{"$jido:decimal":"1.50"}'),
    ((1, "a"), '{"$jido:tuple":[1,"a"]}'),
    ({2, 10, 1}, '{"$jido:set":[1,10,2]}'),
    (frozenset({"b", "a"}), '{"$jido:frozenset":["a","b"]}'),
    (1 - 2j, '{"$jido:complex":[1.0,-2.0]}'),
    (2**63, '{"$jido:int":"0x8000000000000000"}'),
    (-(2**63) - 1, '{"$jido:int":"-0x8000000000000001"}'),
    (float("nan"), '{"$jido:float":"nan"}'),
    (-0.0, '{"$jido:float":"-0.0"}'),
    (1e16, '{"$jido:float":"1e+16"}'),
    ("a\0\\b", r'{"$jido:str":"a\\u0000\\u005cb"}'),
    ("\ud800\udc00", r'{"$jido:str":"\\ud800\\udc00"}'),
    ({1: "a", "b": 2}, '{"$jido:map":[[1,"a"],["b",2]]}'),
    ({"$jido:type": 1, "a": 2}, '{"$jido:key:$jido:type":1,"a":2}'),
    ({"\0": 1}, r'{"$jido:key:\\u0000":1}'),
    (Colour.RED, '{"$jido:enum":["codec_tests_colour","RED"]}'),
    (Colour.CRIMSON, '{"$jido:enum":["codec_tests_colour","RED"]}'),
    (Size.LARGE, '{"$jido:enum":["codec_tests_size","LARGE"]}'),
    (Access.READ | Access.RUN, '{"$jido:enum":["codec_tests_access",5]}'),
    (Mask.HIGH, '{"$jido:enum":["codec_tests_mask",{"$jido:int":"0x400000000000000000"}]}'),
    (Point(1, 2), '{"$jido:type":"codec_tests_point","x":1,"y":2}'),
    (Line("a"), '{"$jido:type":"codec_tests_line","sku":"a","price":{"$jido:decimal":"0"}}'),
    ({Mood.BAD: 1}, '{"$jido:map":[[{"$jido:enum":["codec_tests_mood","BAD"]},1]]}'),
]


@pytest.mark.parametrize(("value", "written"), FORMS, ids=[written[:40] for _, written in FORMS])
def test_each_type_has_its_form(value: Any, written: str) -> None:
    """Rows outlive versions: a form may never change."""
    assert codec.dumps(value) == written
    assert exact(codec.loads(written)) == exact(value)


@pytest.mark.parametrize(
    "value", [{}, [], {"role": "user", "n": [1, 2.5, None, True]}, "$jido", "a$jido:b", 2**53, 9.9e15]
)
def test_json_is_stored_as_json(value: Any) -> None:
    """Ordinary values are readable by whatever reads JSON."""
    assert json.loads(codec.dumps(value)) == value
    assert exact(codec.loads(codec.dumps(value))) == exact(value)


def test_a_dict_keeps_its_order() -> None:
    """Our text keeps the order of keys; only jsonb loses it."""
    assert list(codec.loads(codec.dumps({"z": 1, "a": 2, "\0": 3, "b": b""}))) == ["z", "a", "\0", "b"]


def test_a_value_is_not_changed_by_being_stored() -> None:
    """Neither direction may touch what the host holds."""
    inner = {"tags": {1}, "at": (1, [b""])}
    codec.dumps({"a": inner, "b": inner})
    assert inner == {"tags": {1}, "at": (1, [b""])}


def test_huge_integers_have_no_digit_limit() -> None:
    """Python refuses decimal text of more than 4,300 digits; hex it does not."""
    assert codec.loads(codec.dumps({2**100_000: -(2**100_000)})) == {2**100_000: -(2**100_000)}


def test_many_nans_stay_many() -> None:
    """A set may hold several: each is only itself."""
    assert len(codec.loads(codec.dumps({float("nan"), float("nan")}))) == 2


def test_decimals_do_not_depend_on_the_host_s_context() -> None:
    """A host that computes with two digits and small letters stores what it has."""
    with decimal.localcontext(prec=2, capitals=0, traps=[]):
        value = Decimal("1.23456789E+50")
        assert codec.dumps(value) == '{"$jido:decimal":"1.23456789E+50"}'
        assert exact(codec.loads(codec.dumps(value))) == exact(value)
        with pytest.raises(CorruptRowError):
            codec.loads('{"$jido:decimal":"one"}')


# ------------------------------------------------------------------------------------------------------- refusals


class Strange:
    """No class that can be stored."""


class Text(str):
    """A subclass that nobody registered."""


class OddZone(tzinfo):
    """A time zone that cannot be named."""


class np_float64(float):
    """Stands in for numpy's, which is also a float."""


np_float64.__module__ = "numpy"

REFUSED: list[tuple[Any, str, str]] = [
    ({"cart": [1, 2, 3, {"price": Strange()}]}, "state.cart[3].price", "make it a dataclass"),
    ({"a b": {"c": Strange()}}, 'state["a b"].c', "Strange"),
    ({"": Strange()}, 'state[""]', "Strange"),
    ({1: [Strange()]}, "state[1][0]", "Strange"),
    ({2**70: Strange()}, "state[0x400000000000000000]", "Strange"),
    ({(1, 2): Strange()}, "state[tuple]", "Strange"),
    ({"k": {1: 2, Strange(): 3}}, "state.k.keys()[1]", "Strange"),
    ({"s": {Strange()}}, "state.s{Strange}", "Strange"),
    ({"s": frozenset({(1, Strange())})}, "state.s{tuple}[1]", "Strange"),
    ((1, Strange()), "state[1]", "Strange"),
    (Line("a", price=Strange()), "state.price", "Strange"),
    ([Line("a", price=[Strange()])], "state[0].price[0]", "Strange"),
    (Order(number=1, lines=[Strange()]), "state.lines[0]", "Strange"),
    (Open.model_construct(number=1, more=Strange()), "state.more", "Strange"),
    (Point(1, Strange()), "state.y", "Strange"),
    ({Text("a"): 1}, "state.keys()[0]", "a str subclass; convert it with str(...)"),
    ([Text("a")], "state[0]", "convert it with str(...)"),
    ([collections.OrderedDict()], "state[0]", "collections.OrderedDict (a dict subclass; convert it with dict(...))"),
    ([collections.Counter()], "state[0]", "convert it with dict(...)"),
    ([collections.deque()], "state[0]", "convert it with list(...)"),
    ([range(3)], "state[0]", "convert it with list(...)"),
    ([np_float64(1)], "state[0]", "a numpy value; convert it with .item()"),
    ([memoryview(b"")], "state[0]", "convert it with bytes(...)"),
    ([iter([])], "state[0]", "can be read only once"),
    ([(x for x in ())], "state[0]", "can be read only once"),
    ([print], "state[0]", "code is never stored"),
    ([lambda: None], "state[0]", "code is never stored"),
    ([Strange], "state[0]", "code is never stored"),
    ([json], "state[0]", "code is never stored"),
    ([threading.Lock()], "state[0]", "belongs to this process"),
    ([threading.RLock()], "state[0]", "belongs to this process"),
    ([io.StringIO()], "state[0]", "belongs to this process"),
    ([make_dataclass("Late", ["x"])(1)], "state[0]", "register its class first: register(Late)"),
    ([IntEnum("Level", "LOW").LOW], "state[0]", "register its class first: register(Level)"),  # type: ignore[attr-defined]
    ([collections.namedtuple("Pair", "x y")(1, 2)], "state[0]", "register(Pair)"),
    ([datetime(2026, 1, 1, tzinfo=OddZone())], "state[0]", "OddZone; use zoneinfo.ZoneInfo"),
    ([type("Stamp", (datetime,), {})(2026, 1, 1)], "state[0]", "Stamp"),
]


@pytest.mark.parametrize(
    ("value", "path", "words"), REFUSED, ids=[f"{n}-{path}" for n, (_, path, _) in enumerate(REFUSED)]
)
def test_what_cannot_be_stored_is_refused_by_its_path(value: Any, path: str, words: str) -> None:
    """The message says where it is, what it is, and what to do; nothing has been written yet."""
    with pytest.raises(UnstorableError, match=re.escape(words)) as caught:
        codec.dumps(value, path="state")
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: expected")
    with pytest.raises(UnstorableError):
        codec.canonical(value)


def test_a_refusal_never_shows_the_value() -> None:
    """Messages end in logs; what they hold is the host's secret."""
    with pytest.raises(UnstorableError) as caught:
        codec.dumps({"password": Text("hunter2")})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in str(caught.value.facts)


def test_a_zone_without_a_findable_name_is_refused() -> None:
    """A ZoneInfo made from a file cannot be made again from its key."""
    with Path(ZoneInfo("UTC").key) and open(_zone_file("Europe/Berlin"), "rb") as file:
        zone = ZoneInfo.from_file(file, key="Nowhere/Town")
    with pytest.raises(UnstorableError, match="cannot be found by its key"):
        codec.dumps(datetime(2026, 1, 1, tzinfo=zone))


def _zone_file(key: str) -> Any:
    found = [path for folder in zoneinfo.TZPATH if (path := Path(folder, key)).exists()]
    return found[0] if found else importlib.resources.files("tzdata.zoneinfo").joinpath(key)


@pytest.mark.parametrize("value", [[1], "a", None, Line("a"), (), 1])
def test_a_map_is_a_dict(value: Any) -> None:
    """Payloads and states are objects in the database, whatever else the codec could store."""
    with pytest.raises(InvalidInputError, match="payload: expected a dict with string keys, got"):
        codec.dump_map(value, path="payload")


@pytest.mark.parametrize("key", [1, None, (), Text("a"), Mood.GOOD])
def test_a_map_has_string_keys(key: Any) -> None:
    """A key of another type would need a tag, and the object would be none."""
    with pytest.raises(InvalidInputError, match=r"expected a dict with string keys, got a key of type"):
        codec.dump_map({"b": 1, key: 2}, path="payload")


# --------------------------------------------------------------------------------------------------------- limits


@codec.register(name="codec_tests_small")
class Small(pydantic.BaseModel):
    x: Any


def _nested(levels: int, wrap: Any) -> Any:
    value: Any = None
    for _ in range(levels):
        value = wrap(value)
    return value


WRAPS = {
    "list": lambda value: [value],
    "dict": lambda value: {"a": value},
    "tuple": lambda value: (value,),
    "map": lambda value: {1: value},
    "object": lambda value: Line(value),
    "model": lambda value: Small.model_construct(x=value),
    "frozenset": lambda value: frozenset([value]),
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_a_hundred_levels_are_stored_and_no_more(wrap: Any) -> None:
    """The limit is the same for every container, and both JSON libraries read what it lets pass."""
    deep = _nested(codec.MAX_DEPTH, wrap)
    assert codec.loads(codec.dumps(deep)) == deep
    assert codec.canonical(deep)
    with pytest.raises(UnstorableError, match="expected at most 100 levels of nesting, got more"):
        codec.dumps(wrap(deep))
    with pytest.raises(UnstorableError, match="at most 3 levels"):
        codec.dumps(deep, max_depth=3)


def test_a_value_that_contains_itself_is_refused_where_it_begins_again() -> None:
    """The path is the shortest that shows the cycle, not a hundred steps of it."""
    cart: dict[str, Any] = {"lines": [{}]}
    cart["lines"][0]["cart"] = cart
    with pytest.raises(UnstorableError, match=r"contains itself: it is state\.now again") as caught:
        codec.dumps({"now": cart}, path="state")
    assert caught.value.path == "state.now.lines[0].cart"


def test_an_object_that_contains_itself_is_refused() -> None:
    """Fields are looked at as any container is."""
    line = Line("a")
    line.price = {1: [line]}
    with pytest.raises(UnstorableError, match="it is value again") as caught:
        codec.dumps(line)
    assert caught.value.path == "value.price[1][0]"


def test_too_many_bytes_are_refused() -> None:
    """The size is that of the JSON in UTF-8, whichever way it was written."""
    for value, size in (("é" * 10, 22), (["é" * 10, (1,)], 44)):
        assert len(codec.dumps(value, max_bytes=size).encode()) == size
        with pytest.raises(UnstorableError, match=f"value: expected at most {size - 1} bytes of JSON, got {size}"):
            codec.dumps(value, max_bytes=size - 1)
    with pytest.raises(UnstorableError):
        codec.canonical("a" * 10, max_bytes=11)


def test_sixty_four_mebibytes_are_the_limit() -> None:
    """A runaway state is refused before it reaches the database."""
    assert codec.MAX_BYTES == 64 * 1024 * 1024
    with pytest.raises(UnstorableError):
        codec.dumps(b"\0" * (codec.MAX_BYTES * 3 // 4))
    assert len(codec.dumps("a" * (codec.MAX_BYTES - 2))) == codec.MAX_BYTES


def _deep_down(room: int, call: Any) -> Any:
    """Call a function with so many levels of Python's stack left to it."""
    if sys.getrecursionlimit() - _stack_depth() > room:
        return _deep_down(room, call)
    return call()


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_a_hundred_levels_fit_on_a_busy_stack(wrap: Any) -> None:
    """Beneath a web framework half of the stack may be taken."""
    deep = _nested(codec.MAX_DEPTH, wrap)
    written, key = _deep_down(500, lambda: (codec.dumps(deep), codec.canonical(deep)))
    assert _deep_down(500, lambda: codec.loads(written)) == deep
    assert key


def test_a_full_stack_is_named() -> None:
    """Deep in a host's own recursion there may be no room for a hundred levels."""
    deep = _nested(90, lambda value: (value,))
    written = codec.dumps(deep)
    with pytest.raises(UnstorableError, match="recursion limit"):
        _deep_down(60, lambda: codec.dumps(deep))
    with pytest.raises(CorruptRowError, match="nested too deeply"):
        _deep_down(60, lambda: codec.loads(written))


def _stack_depth() -> int:
    frame, depth = sys._getframe(), 0
    while frame.f_back:
        frame, depth = frame.f_back, depth + 1
    return depth


# ------------------------------------------------------------------------------------------------------ canonical


def test_keys_of_another_type_are_other_keys() -> None:
    """1, 1.0, True and "1" are four keys, and so are their kin."""
    keys: list[Any] = [1, 1.0, True, "1", (1,), [1], {1}, frozenset({1}), {"1": 1}, {1: 1}, b"1", Decimal("1"), 1 + 0j]
    keys += [0.0, -0.0, False, None, "", (), [], {}, set(), Decimal("1.0"), Size.SMALL, Access.READ, Line(1), Point(1)]
    assert len({codec.canonical(key) for key in keys}) == len(keys)


def test_a_dict_in_another_order_is_the_same_key() -> None:
    """Also beneath tags, where the pairs are a list."""
    assert codec.canonical({"a": 1, "b": {"c": 2, "d": 3}}) == codec.canonical({"b": {"d": 3, "c": 2}, "a": 1})
    assert codec.canonical(({1: 2, "a": {3: 4, 5: 6}},)) == codec.canonical(({"a": {5: 6, 3: 4}, 1: 2},))


def test_maps_within_a_set_have_an_order_before_the_set_has_one() -> None:
    """Else the order of a map's keys would show in that of the set's elements."""

    @codec.register(name="codec_test_bag")
    @dataclass(eq=False)
    class Bag:
        held: dict[int, str]

    one, turned = {1: "z", 2: "b"}, {2: "b", 1: "z"}
    texts = {codec.canonical({Bag(held), Bag({1: "zz"})}) for held in (one, turned)}
    assert len(texts) == 1


def test_canonical_text_never_changes() -> None:
    """It is hashed into primary keys: another text would lose every row."""
    key = ("shopper", {"id": 7, "é": [1e-7, 1e16, None]}, {2, 1}, datetime(2026, 1, 1, tzinfo=UTC))
    assert codec.canonical(key) == (
        r'{"$jido:tuple":["shopper",{"id":7,"\u00e9":[1e-07,{"$jido:float":"1e+16"},null]},{"$jido:set":[1,2]},'
        r'{"$jido:datetime":"2026-01-01T00:00:00+00:00"}]}'
    )


# ------------------------------------------------------------------------------------------------ broken rows

BROKEN = [
    ('{"a":[0,{"$jido:nothing":1}]}', "state.a[1]", "does not know"),
    ('{"a":{"$jido:bytes":"!"}}', "state.a", "tag $jido:bytes"),
    ('{"a":{"$jido:bytes":"aGk=","b":1}}', "state.a", "other keys beside the tag"),
    ('{"$jido:bytes":"aGk=","$jido:int":"0x1"}', "state", "other keys beside the tag"),
    ('{"$jido:type":"nobody","x":1}', "state", "no class is registered under 'nobody'"),
    ('{"a":{"$jido:type":"nobody"}}', "state.a", "aliases=('nobody',)"),
    ('{"$jido:type":["nobody"]}', "state", "no text"),
    ('{"$jido:type":"codec_tests_colour"}', "state", "is an Enum"),
    ('{"$jido:enum":["codec_tests_line","RED"]}', "state", "no Enum"),
    ('{"b":{"$jido:enum":["codec_tests_colour","GREEN"]}}', "state.b", "Colour has no member 'GREEN'"),
    ('{"$jido:enum":["codec_tests_access",64]}', "state", "tag $jido:enum"),
    ('{"$jido:type":"codec_tests_line"}', "state.sku", "no default"),
    ('{"$jido:type":"codec_tests_line","sku":1,"colour":2}', "state.colour", "no such field"),
    ('{"$jido:type":"codec_tests_line","sku":{"$jido:set":[[]]}}', "state.sku", "tag $jido:set"),
    ('{"$jido:type":"codec_tests_point"}', "state.x", "no default"),
    ('{"$jido:type":"codec_tests_order"}', "state.number", "no default"),
    ('{"$jido:type":"codec_tests_order","number":1,"x":1}', "state.x", "no such field"),
    ('{"$jido:type":"codec_tests_order","number":1,"__extra__":{"x":1}}', "state.x", "no such field"),
    ('{"$jido:type":"codec_tests_open","__extra__":[1]}', "state.__extra__", "map of names"),
    ('{"$jido:type":"codec_tests_open","__private__":{"_x":1}}', "state._x", "no such field"),
    ('{"$jido:type":"codec_tests_open","__fields_set__":1}', "state.__fields_set__", "list of names"),
    ('{"$jido:set":[1,1]}', "state", "the same element twice"),
    ('{"$jido:map":[[1,2],[1,3]]}', "state", "not pairs with different keys"),
    ('{"$jido:map":["ab"]}', "state", "not pairs with different keys"),
    ('{"$jido:map":[[{"a":{"$jido:set":[]}},2]]}', "state", "tag $jido:map"),
    ('{"$jido:tuple":{"a":1}}', "state", "no list in the tag"),
    ('{"$jido:key:a":1}', "state", "needs no escape"),
    (r'{"$jido:key:\\u00":1}', "state", "not escaped as ours"),
    (r'{"$jido:key:a\\u0000":1,"a\u0000":2}', "state", "the same key twice"),
    ('{"$jido:key:$jido:a":1,"$jido:int":"0x1"}', "state", "beside an escaped key"),
    ('{"$jido:int":"12"}', "state", "not the form"),
    ('{"$jido:float":"1_0"}', "state", "not the form"),
    ('{"$jido:float":"' + "1" * 41 + '"}', "state", "too long"),
    ('{"$jido:complex":[1.0,true]}', "state", "not a float"),
    ('{"$jido:timedelta":[1,2,true]}', "state", "three integers"),
    ('{"$jido:timedelta":[1000000000,0,0]}', "state", "OverflowError"),
    ('{"$jido:datetime":"2026-01-01T00:00:00[Mars/Base]"}', "state", "ZoneInfoNotFoundError"),
    ('{"$jido:datetime":"2026-01-01T00:00:00[../../etc/passwd]"}', "state", "tag $jido:datetime"),
    ('{"$jido:datetime":"2026-02-30T00:00:00"}', "state", "tag $jido:datetime"),
    ("", "state", "not JSON"),
    ("{", "state", "not JSON"),
    ("NaN", "state", "not JSON"),
    ("[" * 100_000, "state", "state: "),
    ('{"$jido:tuple":[' * 500 + "]}" * 500, "state", "state: "),
]


@pytest.mark.parametrize(
    ("written", "path", "words"), BROKEN, ids=[f"{n}-{row[0][:30]}" for n, row in enumerate(BROKEN)]
)
def test_a_broken_row_is_named(written: str, path: str, words: str) -> None:
    """One malformed row is one named error, with the place in it and the cure."""
    with pytest.raises(CorruptRowError, match=re.escape(words)) as caught:
        codec.loads(written, path="state")
    assert caught.value.path == path
    assert caught.value.reason == "invalid_term"


@pytest.mark.parametrize("written", [None, 1, 1.5, [], bytearray(b"1"), b"\xff"])
def test_what_is_no_text_is_a_broken_row(written: Any) -> None:
    """A column of another type, or bytes that are no UTF-8, are named likewise."""
    for load in (codec.loads, codec.loads_raw):
        with pytest.raises(CorruptRowError):
            load(written)


def test_tools_read_without_the_classes() -> None:
    """`loads_raw` shows the tags of rows whose classes are not there."""
    assert codec.loads_raw('{"$jido:type":"nobody","x":1}') == {"$jido:type": "nobody", "x": 1}


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1])
def test_large_integers_of_others_are_read_alike_by_both_libraries(number: int) -> None:
    """We write none beyond 63 bits; what an UPDATE in SQL writes is an integer up to where orjson's end."""
    wanted = number if -(2**63) <= number < 2**64 else float(number)
    assert exact(codec.loads(str(number))) == exact(wanted)


def test_nothing_is_imported_or_called_by_name() -> None:
    """A stored name is only ever looked up among the registered."""
    before = set(sys.modules)
    for name in ("os.system", "antigravity.fly", "builtins.eval", "__main__"):
        with pytest.raises(CorruptRowError):
            codec.loads(json.dumps({"$jido:type": name, "command": "exit 1"}))
    assert set(sys.modules) == before


# ------------------------------------------------------------------------------------------------------ register


def test_register_is_a_decorator_with_and_without_arguments() -> None:
    """All three ways answer the class."""

    @codec.register
    @dataclass
    class PlainlyNamed:
        x: int

    @codec.register(name="codec_test_named", aliases=("codec_test_older", "codec_test_oldest"))
    @dataclass
    class Named:
        x: int

    assert codec.dumps(PlainlyNamed(1)) == '{"$jido:type":"PlainlyNamed","x":1}'
    assert codec.dumps(Named(1)) == '{"$jido:type":"codec_test_named","x":1}'
    for name in ("codec_test_named", "codec_test_older", "codec_test_oldest"):
        assert codec.loads(f'{{"$jido:type":"{name}","x":1}}') == Named(1)
    assert codec.register(Named) is Named


def test_another_name_keeps_the_first_readable() -> None:
    """Rows under the name of yesterday stay readable in the process that renames the class."""

    @codec.register(name="codec_test_first")
    @dataclass
    class Renamed:
        x: int

    codec.register(Renamed, name="codec_test_second")
    assert codec.dumps(Renamed(1)) == '{"$jido:type":"codec_test_second","x":1}'
    assert codec.loads('{"$jido:type":"codec_test_first","x":1}') == Renamed(1)
    codec.register(Renamed)
    assert "codec_test_second" in codec.dumps(Renamed(1))


def _class(name: str, fields: list[Any], module: str) -> Any:
    made = make_dataclass(name, fields)
    made.__module__ = module
    return made


def test_two_live_classes_cannot_share_a_name() -> None:
    """Which of them a row meant could not be known."""
    one, other = _class("Shared", ["x"], "shop"), _class("Shared", ["y"], "bar")
    codec.register(one)
    with pytest.raises(InvalidInputError, match=r"shop\.Shared") as caught:
        codec.register(other)
    assert "bar.Shared" in str(caught.value)
    assert "register(Shared, name=...)" in str(caught.value)
    codec.register(other, name="codec_test_other_shared", aliases=["codec_test_shared_alias"])
    with pytest.raises(InvalidInputError):
        codec.register(make_dataclass("Third", ["z"]), aliases=["codec_test_shared_alias"])
    inner = _class("Shared", ["x"], "shop")
    inner.__qualname__ = "Inner.Shared"
    with pytest.raises(InvalidInputError, match=r"shop\.Inner\.Shared"):
        codec.register(inner)


def test_a_class_that_is_gone_gives_its_name_back() -> None:
    """The registry keeps no class alive."""
    codec.register(_class("Passing", ["x"], "shop"))
    again = codec.register(_class("Passing", ["y"], "bar"))
    assert codec.loads(codec.dumps(again(1))) == again(1)
    del again
    gc.collect()
    with pytest.raises(CorruptRowError):
        codec.loads('{"$jido:type":"Passing","y":1}')


def test_a_class_that_is_defined_again_takes_over() -> None:
    """A notebook's cell is run twice; an object of the first class says what to do."""
    first = codec.register(_class("Cell", ["x"], "notebook"))
    second = codec.register(_class("Cell", ["x"], "notebook"))
    assert type(codec.loads(codec.dumps(second(1)))) is second
    with pytest.raises(UnstorableError, match="defined again after this object was made"):
        codec.dumps(first(1))


@dataclass
class Child:
    x: int


class Kind(Enum):
    A = 1


class Leaf(pydantic.BaseModel):
    x: int = 0


class Spot(NamedTuple):
    x: int


Renamed = NewType("Renamed", Child)


@dataclass
class Parent:
    one: Optional[Child] = None  # noqa: UP045 (an older way to say so)
    more: dict[str, list[Leaf | None]] = field(default_factory=dict)
    kind: Annotated[Kind, "why"] = Kind.A
    later: Later | None = None
    spot: tuple[Spot, ...] = ()
    self_: list[Parent] = field(default_factory=list)
    shared: ClassVar[list[Strange]] = []
    lock: Strange | None = None
    nowhere: NoSuchName | None = None  # type: ignore[name-defined]  # noqa: F821


codec.register(Parent, name="codec_tests_parent")


@dataclass
class Later:
    """Not there yet when Parent is registered."""

    level: Literal[Level.LOW] | None = None


class Level(Enum):
    LOW = 1


def test_the_classes_in_annotations_are_registered_too() -> None:
    """A state is declared once: what it is made of comes with it, also what stands further down in the module."""
    value = Parent(Child(1), {"a": [Leaf(x=1), None]}, Kind.A, Later(Level.LOW), (Spot(1),), [Parent()])
    assert exact(codec.loads(codec.dumps(value))) == exact(value)
    assert '{"$jido:type":"Child","x":1}' in codec.dumps(value)


def test_annotations_are_those_of_the_module_that_they_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of the module of a class that inherits them; and of Box[int] both, the class and what it holds."""
    elsewhere = _module(monkeypatch, "@dataclass\nclass CodecTestPart:\n    n: int\n")
    exec("@dataclass\nclass Base:\n    part: CodecTestPart\n", vars(elsewhere))

    @dataclass
    class CodecTestBox(Generic[T]):
        held: T

    heir = make_dataclass("Heir", [("box", CodecTestBox[int])], bases=(elsewhere.Base,))
    codec.register(heir, name="codec_test_heir")
    value = heir(elsewhere.CodecTestPart(1), CodecTestBox(2))
    assert codec.loads(codec.dumps(value)) == value


def test_a_clash_of_a_class_that_came_later_is_nobody_elses_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told when that class is registered, and not to whoever reads another row in the meantime."""
    elsewhere = _module(monkeypatch, "@dataclass\nclass Waiting:\n    later: CodecTestLater\n")
    codec.register(elsewhere.Waiting, name="codec_test_waiting")
    taken = codec.register(_class("CodecTestLater", ["x"], "shop"))
    exec("@dataclass\nclass CodecTestLater:\n    n: int\n", vars(elsewhere))
    with pytest.raises(CorruptRowError, match="no class is registered"):
        codec.loads('{"$jido:type":"codec_test_nobody"}')
    assert taken


def _module(monkeypatch: pytest.MonkeyPatch, source: str) -> Any:
    made = types.ModuleType("codec_test_elsewhere")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    exec(f"from __future__ import annotations\nfrom dataclasses import dataclass\n{source}", vars(made))
    return made


def test_a_clash_among_annotations_names_both_classes() -> None:
    """The cure is to register the nested one first, under a name of its own."""
    taken = codec.register(_class("Nested", ["x"], "shop"))
    other = _class("Nested", ["x"], "bar")
    outer = _class("Outer", [("n", list[other])], "bar")  # type: ignore[valid-type]
    with pytest.raises(InvalidInputError) as caught:
        codec.register(outer)
    for words in ("bar.Nested", "shop.Nested", "register(Nested, name=...) first"):
        assert words in str(caught.value)
    with pytest.raises(UnstorableError):
        codec.dumps(outer([]))  # nothing of it was registered
    codec.register(other, name="codec_test_other_nested")
    codec.register(outer)
    assert codec.loads(codec.dumps(outer([other(1)]))) == outer([other(1)])
    assert taken


def test_a_nested_class_cannot_take_the_name_of_its_parent() -> None:
    """Two classes that are registered at once clash as any two do."""
    inner = _class("Twin", ["x"], "bar")
    outer = _class("Twin", [("n", inner)], "shop")
    with pytest.raises(InvalidInputError, match=r"free name for bar\.Twin"):
        codec.register(outer)


def test_what_cannot_be_rebuilt_is_refused_at_once() -> None:
    """Better at import than at the first thaw."""
    with_init_var = make_dataclass("WithInitVar", [("x", InitVar[int])])
    as_dict = make_dataclass("AsDict", ["x"], bases=(dict,))
    for cls, words in ((with_init_var, "'x' is an InitVar"), (as_dict, "also a dict"), (Strange, "none of these")):
        with pytest.raises(InvalidInputError, match=words):
            codec.register(cls)
    for cls in (Enum, int, pydantic.BaseModel, tuple):
        with pytest.raises(InvalidInputError):
            codec.register(cls)
    with pytest.raises(InvalidInputError, match="a class"):
        codec.register(Line("a"))  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["a\0", "$jido:x", 1, "\ud800"])
def test_odd_names_are_refused(name: Any) -> None:
    """A stored name is text that both databases keep."""
    with pytest.raises(InvalidInputError):
        codec.register(Line, name=name)
    with pytest.raises(InvalidInputError):
        codec.register(Line, aliases=[name])


def test_a_lone_alias_is_refused() -> None:
    """aliases="basket" would be six names of one letter."""
    with pytest.raises(InvalidInputError, match="basket"):
        codec.register(Line, aliases="basket")


# --------------------------------------------------------------------------------------------- objects, exactly


def test_fields_come_back_without_the_constructor() -> None:
    """Frozen, with slots, with a field that __init__ does not take, and with a __post_init__ that would spoil it."""
    calls = []

    @codec.register(name="codec_test_costly")
    @dataclass(frozen=True, slots=True)
    class Costly:
        x: int
        total: int = field(init=False)

        def __post_init__(self) -> None:
            calls.append(self.x)
            object.__setattr__(self, "total", self.x + len(calls))

    value = Costly(1)
    assert codec.loads(codec.dumps(value)) == value
    assert calls == [1]
    assert exact(codec.loads(codec.dumps(Frozen(1)))) == exact(Frozen(1))


def test_what_is_no_field_is_not_lost_silently() -> None:
    """An attribute that no field holds is refused; what is only cached is computed again."""

    @codec.register(name="codec_test_cached")
    @dataclass
    class Cached:
        x: int

        @cached_property
        def double(self) -> int:
            return self.x * 2

    value = Cached(2)
    assert value.double == 4
    assert "double" not in codec.dumps(value)
    value.note = "lost"  # type: ignore[attr-defined]
    with pytest.raises(UnstorableError, match="an attribute that is no field") as caught:
        codec.dumps({"c": value})
    assert caught.value.path == "value.c.note"


def test_a_field_without_a_value_is_refused() -> None:
    """It could not be told from one that is new in the class."""

    @codec.register(name="codec_test_unassigned")
    @dataclass(slots=True)
    class Unassigned:
        x: int = field(init=False)

    with pytest.raises(UnstorableError, match="never assigned") as caught:
        codec.dumps(Unassigned())
    assert caught.value.path == "value.x"


def test_a_slot_that_is_no_field_is_not_lost_silently() -> None:
    """The bases of a class may have slots of their own."""

    class Base:
        __slots__ = ("hidden",)

    @codec.register(name="codec_test_slotted")
    @dataclass(slots=True)
    class Slotted(Base):
        x: int

    value = Slotted(1)
    assert codec.loads(codec.dumps(value)) == value
    value.hidden = 1
    with pytest.raises(UnstorableError):
        codec.dumps(value)


def test_a_generic_dataclass_is_stored_without_typing_s_bookkeeping() -> None:
    """Box[int](1) carries an attribute of typing's."""

    @codec.register(name="codec_test_box")
    @dataclass
    class Box(Generic[T]):
        x: T

    assert codec.loads(codec.dumps(Box[int](1))) == Box(1)


def test_subclasses_are_registered_by_themselves() -> None:
    """A subclass under its parent's name would come back as the parent."""

    @dataclass
    class Special(Line):
        pass

    with pytest.raises(UnstorableError, match=r"register\(Special\)"):
        codec.dumps(Special("a"))


def test_a_model_keeps_what_its_validators_never_saw() -> None:
    """Fields set, extra, private: as they are, and no validator or default runs."""
    order = Order.model_construct(_fields_set={"number"}, number=[{1}], lines="not a list", note=None)
    private = Open(number=1, more={"a": 1})
    private._token = b"secret"
    for value in (order, private, Order(number=1), Order(number=1, lines=[], note="n"), Open()):
        back = codec.loads(codec.dumps(value))
        assert exact(back) == exact(value)
        assert back == value
        assert back.model_fields_set == value.model_fields_set
        assert repr(back) == repr(value)
    assert list(codec.loads('{"$jido:type":"codec_tests_order","note":"n","number":1}').model_dump()) == [
        "number",
        "lines",
        "note",
    ]


def test_what_is_no_field_of_a_model_is_not_lost_silently() -> None:
    """Somebody may have set it past pydantic."""

    @codec.register(name="codec_test_strange_model")
    class Strange(pydantic.BaseModel):
        x: int

    value = Strange(x=1)
    value.__dict__["note"] = "lost"
    with pytest.raises(UnstorableError, match="an attribute that is no field") as caught:
        codec.dumps(value)
    assert caught.value.path == "value.note"


def test_a_model_s_fields_are_readable() -> None:
    """In SQL a model is its fields; what else it holds stands beside them."""
    assert json.loads(codec.dumps(Order(number=1))) == {
        "$jido:type": "codec_tests_order",
        "number": 1,
        "lines": [],
        "note": None,
        "__fields_set__": ["number"],
    }
    assert json.loads(codec.dumps(Open(number=1, note="x"))) == {
        "$jido:type": "codec_tests_open",
        "number": 1,
        "__extra__": {"note": "x"},
        "__private__": {"_token": "none yet"},
    }


def test_a_generic_model_is_registered_with_its_parameters() -> None:
    """Pydantic makes a class of Box[int]; that one is stored."""

    class Box(pydantic.BaseModel, Generic[T]):
        x: T

    codec.register(Box[int], name="codec_test_box_of_int")
    gc.collect()
    assert type(codec.loads(codec.dumps(Box[int](x=1)))) is Box[int]
    with pytest.raises(UnstorableError):
        codec.dumps(Box[str](x="a"))


def test_a_pydantic_dataclass_is_a_dataclass() -> None:
    """Its validators do not run either."""

    @codec.register(name="codec_test_pydantic_dataclass")
    @pydantic.dataclasses.dataclass
    class Checked:
        x: int

    value = Checked(1)
    value.x = "no int"  # type: ignore[assignment]
    assert codec.loads(codec.dumps(value)).x == "no int"


def test_a_model_s_cached_property_is_computed_again() -> None:
    """It stands in the model's __dict__, and is no field."""

    @codec.register(name="codec_test_cached_model")
    class Cached(pydantic.BaseModel):
        x: int

        @cached_property
        def double(self) -> int:
            return self.x * 2

    value = Cached(x=2)
    assert value.double == 4
    assert codec.loads(codec.dumps(value)) == Cached(x=2)


def test_an_enum_s_member_must_be_listed() -> None:
    """A member that _missing_ makes up could not be found again."""

    class Made(Enum):
        KNOWN = 1

        @classmethod
        def _missing_(cls, value: object) -> Made:
            made = object.__new__(cls)
            made._name_, made._value_ = "MADE_UP", value
            return made

    codec.register(Made, name="codec_test_made")
    assert codec.loads(codec.dumps(Made.KNOWN)) is Made.KNOWN
    with pytest.raises(UnstorableError, match="does not list"):
        codec.dumps(Made(5))


def test_a_flag_with_unknown_bits_comes_back_or_is_named() -> None:
    """Bits that the class has lost since are an error of that row."""

    class Rights(Flag):
        READ = 1

    codec.register(Rights, name="codec_test_rights")
    assert codec.loads(codec.dumps(Rights(0))) is Rights(0)
    with pytest.raises(CorruptRowError, match="enum"):
        codec.loads('{"$jido:enum":["codec_test_rights",2]}')

    class Loose(Flag, boundary=EJECT):
        READ = 1

    codec.register(Loose, name="codec_test_loose")
    with pytest.raises(CorruptRowError, match="no member 2"):  # and no int, which is what Python makes of it
        codec.loads('{"$jido:enum":["codec_test_loose",2]}')


# ------------------------------------------------------------------------------------------------------- fields


def test_fields_are_values_of_python() -> None:
    """An agent's state is stored by its fields, and what is in them is still to be encoded."""
    at = datetime(2026, 1, 1)
    assert codec.to_fields(Line(at, {1})) == {"sku": at, "price": {1}}
    assert codec.to_fields(Point(1, at)) == {"x": 1, "y": at}
    assert codec.to_fields(Order(number=at)) == {"number": at, "lines": [], "note": None, "__fields_set__": ["number"]}


@pytest.mark.parametrize("value", [Line(1, [2]), Point(1), Order(number=1), Open(number=2, note="x"), Frozen(1)])
def test_fields_make_the_object_again(value: Any) -> None:
    """Also after the fields have been stored as a map."""
    fields = codec.loads(codec.dump_map(codec.to_fields(value)))
    assert exact(codec.from_fields(type(value), fields)) == exact(value)


def test_fields_need_no_registration() -> None:
    """A class that is only a state is named by its agent."""
    unregistered = make_dataclass("Unregistered", ["x"])
    assert codec.from_fields(unregistered, codec.to_fields(unregistered(1))) == unregistered(1)


def test_new_fields_get_their_defaults() -> None:
    """A class may grow: rows from before have what a new object has."""

    class Grown(pydantic.BaseModel):
        x: int
        tags: list[str] = []
        double: int = pydantic.Field(default_factory=lambda data: data["x"] * 2)
        _seen: int = pydantic.PrivateAttr(default=7)

    grown = make_dataclass("Grown", ["x", ("tags", list[str], field(default_factory=list)), ("n", int, 5)])
    assert codec.from_fields(grown, {"x": 1}) == grown(1)
    assert codec.from_fields(grown, {"x": 1}).tags is not codec.from_fields(grown, {"x": 1}).tags
    made = codec.from_fields(Grown, {"x": 1})
    assert (made.tags, made.double, made._seen, made.model_fields_set) == ([], 2, 7, {"x"})
    assert codec.from_fields(Point, {"x": 1}) == Point(1, 0)


def test_fields_that_do_not_fit_are_named() -> None:
    """Missing without a default, or unknown: the path, and both cures."""
    with pytest.raises(CorruptRowError, match=r"state\.sku: .* give the field a default, or add it in the restore"):
        codec.from_fields(Line, {}, path="state")
    with pytest.raises(
        CorruptRowError, match=r"state\.colour: .* give it back to the class, or drop it in the restore"
    ):
        codec.from_fields(Line, {"sku": 1, "colour": 2}, path="state")
    with pytest.raises(CorruptRowError):
        codec.from_fields(Line, [1])  # type: ignore[arg-type]


def test_a_default_that_fails_is_that_row_s_error() -> None:
    """Whatever the host's own code raises."""
    failing = make_dataclass("Failing", [("x", int, field(default_factory=lambda: 1 // 0))])
    with pytest.raises(CorruptRowError, match="ZeroDivisionError"):
        codec.from_fields(failing, {})


@pytest.mark.parametrize("value", [{}, 1, Colour.RED, Strange(), (1, 2)])
def test_only_objects_have_fields(value: Any) -> None:
    """Anything else is refused by name."""
    with pytest.raises(InvalidInputError, match="an object of a dataclass"):
        codec.to_fields(value)
    with pytest.raises(InvalidInputError):
        codec.from_fields(type(value), {})


def test_the_registry_answers_only_for_the_class_itself() -> None:
    """A subclass inherits attributes, not its registration."""

    class Sub(Line):
        pass

    assert registry.registered(Line)
    assert registry.registered(Sub) is None
