"""What the codec's tests share: classes to store, strategies for every supported value, and a merciless equality."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum, auto
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, PrivateAttr, RootModel

from jido_tortoise import codec
from jido_tortoise.codec import text

BACKENDS = {"stdlib": text.STDLIB} | ({"orjson": text.ORJSON} if text.ORJSON else {})


@contextmanager
def using(name: str) -> Iterator[None]:
    """Run a block with one JSON library."""
    before = text.Backend(text.dump, text.read)
    text.use(BACKENDS[name])
    try:
        yield
    finally:
        text.use(before)


class Colour(Enum):
    RED = "red"
    BLUE = (0, 0, 255)
    CRIMSON = "red"  # an alias of RED


class Access(Flag):
    READ = auto()
    WRITE = auto()
    RUN = auto()


class Mask(IntFlag):
    LOW = 1
    HIGH = 2**70


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Mood(StrEnum):
    GOOD = "good"
    BAD = "bad"


class Point(NamedTuple):
    x: Any
    y: Any = 0


@dataclass
class Line:
    sku: Any
    price: Any = Decimal("0")


@dataclass(frozen=True, slots=True)
class Frozen:
    content: Any
    derived: Any = field(init=False, compare=False, default=None)


class Order(BaseModel):
    number: Any
    lines: list[Any] = []
    note: str | None = None


class Open(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    number: Any = 0
    _token: Any = PrivateAttr(default="none yet")
    _unset: Any = PrivateAttr()


class Names(RootModel[list[Any]]):
    pass


CLASSES = (Colour, Access, Mask, Size, Mood, Point, Line, Frozen, Order, Open, Names)
for cls in CLASSES:
    codec.register(cls, name=f"codec_tests_{cls.__name__.lower()}")


def exact(value: Any, *, ordered: bool = True) -> Any:
    """Spell a value and all of its types, so that two spellings are equal only when nothing at all differs."""
    kind = type(value)
    if kind in _SPELLED:
        return kind, _SPELLED[kind](value)
    if kind is dict:
        pairs = [(exact(key, ordered=ordered), exact(item, ordered=ordered)) for key, item in value.items()]
        is_map = ordered or not all(type(key) is str for key in value)
        return kind, pairs if is_map else sorted(pairs, key=repr)
    if kind in (set, frozenset):
        return kind, sorted((exact(item, ordered=ordered) for item in value), key=repr)
    if isinstance(value, Enum):
        return kind, value._name_, id(value)
    if isinstance(value, list | tuple):
        return kind, [exact(item, ordered=ordered) for item in value]
    return kind, exact(_state(value), ordered=ordered)


def _state(value: Any) -> Any:
    if isinstance(value, BaseModel):
        state = value.__getstate__()
        return {**state, "__pydantic_fields_set__": set(state["__pydantic_fields_set__"])}
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _moment(value: datetime | time) -> Any:
    zone = value.tzinfo
    return value.replace(tzinfo=None).isoformat(), value.fold, type(zone), str(zone), zone and zone.tzname(None)


_SPELLED: dict[type, Any] = {
    float: repr,
    complex: lambda value: (repr(value.real), repr(value.imag)),
    Decimal: lambda value: value.as_tuple(),
    datetime: _moment,
    time: _moment,
    int: hex,
} | {kind: (lambda value: value) for kind in (str, bool, bytes, type(None), date, timedelta, UUID)}
_SPELLED[bytearray] = bytes

# Strategies

ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Monrovia")

texts = st.text(st.characters(), max_size=20) | st.text('\0\ud800\udfff$jido:é😀\\"u0', max_size=12)
keys = texts | st.sampled_from(["$jido:", "$jido:type", "$jido:key:a", "$jido:bytes", "\0", "__extra__", "a b", ""])
integers = st.integers() | st.integers(2**62, 2**66) | st.integers(-(2**66), -(2**62)) | st.builds(lambda: 2**14_000)
floats = st.floats() | st.sampled_from([-0.0, 1e15, 1e16, 9999999999999998.0, 1e22, 5e-324, 1.7976931348623157e308])
offsets = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59))
zones = (
    st.none()
    | st.just(UTC)
    | offsets.map(timezone)
    | st.builds(timezone, offsets, st.text(st.characters(), max_size=5))
    | st.sampled_from(ZONES).map(ZoneInfo)
)
folds = st.sampled_from([0, 1])
datetimes = st.builds(lambda at, zone, fold: at.replace(tzinfo=zone, fold=fold), st.datetimes(), zones, folds)
#: Hours that a zone has twice, or not at all.
odd_hours = st.builds(
    lambda at, minutes, fold: (at + timedelta(minutes=minutes)).replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=fold),
    st.sampled_from([datetime(2026, 3, 29, 1, 30), datetime(2026, 10, 25, 1, 30)]),
    st.integers(0, 120),
    folds,
)
times = st.builds(lambda at, zone, fold: at.replace(tzinfo=zone, fold=fold), st.times(), zones, folds)
members = (
    st.sampled_from([*Colour, *Size, *Mood]) | st.integers(0, 7).map(Access) | st.sampled_from([0, 1, 2**70]).map(Mask)
)

hashable_leaves = (
    st.none()
    | st.booleans()
    | integers
    | floats
    | texts
    | st.binary(max_size=20)
    | st.complex_numbers()
    | st.decimals().filter(lambda number: not number.is_snan())  # which cannot be hashed
    | st.uuids()
    | datetimes
    | odd_hours
    | times
    | st.dates()
    | st.timedeltas()
    | members
)
hashables = st.recursive(
    hashable_leaves,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.frozensets(inner, max_size=3)
        | st.builds(Frozen, inner)
        | st.builds(Point, inner, inner)
    ),
    max_leaves=4,
)
leaves = hashable_leaves | st.binary(max_size=20).map(bytearray) | st.just(Decimal("sNaN12"))


def _with_private(model: Open, token: Any) -> Open:
    model._token = token
    return model


def _containers(inner: Any) -> Any:
    return (
        st.lists(inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(hashables, inner, max_size=3)
        | st.sets(hashables, max_size=3)
        | st.builds(Line, inner)
        | st.builds(Order, number=inner, lines=st.lists(inner, max_size=2))
        | st.builds(
            lambda number, token, extra: _with_private(Open.model_construct(number=number, **extra), token),
            inner,
            inner,
            _extra,
        )
        | st.lists(inner, max_size=2).map(Names)
    )


_extra = st.dictionaries(
    texts.filter(lambda key: key not in ("number", "cls", "_fields_set")), st.integers(), max_size=2
)

#: Any value that the codec stores.
values = st.recursive(leaves, _containers, max_leaves=12)
#: Any value that is JSON already.
plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
