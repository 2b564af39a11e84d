"""Stored JSON with every value replaced: structure, types, names and sizes stay, and nothing that anybody has written.

What stays is what code writes: the names of fields, classes and Enum members, the keys that look like names, booleans,
None, 0 and what is empty. All else becomes something of the same type and size; equal values become equal ones, so that
a reference still leads to what it refers to. What comes out depends on the order of values and on nothing in them.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, ClassVar
from uuid import UUID
from zoneinfo import ZoneInfo

from jido_tortoise import codec
from jido_tortoise.codec import MARK, text
from jido_tortoise.codec.shapes import BESIDE_FIELDS, FIELDS_SET

#: What a program would call a field; people's names look like it too, and are hidden by `hide`.
_NAME = re.compile(r"[^\W\d](?!(?:\w*\d){5})\w{0,39}", re.ASCII)
_KEY, _TYPE, _ENUM = MARK + "key:", MARK + "type", MARK + "enum"
_CONTAINERS = frozenset(MARK + name for name in ("tuple", "set", "frozenset", "map"))
_YEAR_2000 = datetime(2000, 1, 1)
_MANTISSAS = 8192


class Anonymiser:
    """Replaces the values of one agent.

    Args:
        keep: Paths, such as `state.status` or `payload.*`, whose values stay as they are.
        hide: Paths of dicts whose keys are values too, whatever they look like.
    """

    def __init__(self, keep: Iterable[str] = (), hide: Iterable[str] = ()) -> None:
        self._keep, self._hide = tuple(keep), tuple(hide)
        #: By kind of value: the number of each distinct one, in the order of their first appearance.
        self._seen: dict[Any, dict[Any, int]] = defaultdict(dict)

    def __call__(self, tree: Any, path: str) -> Any:
        """Answer JSON with our tags anew; `path` is what it is called in `keep` and `hide`, without numbers."""
        if _matches(path, self._keep):
            return tree
        if isinstance(tree, dict):
            return self._object(tree, path)
        if isinstance(tree, list):
            return [self(item, path) for item in tree]
        return self._scalar(tree)

    def _object(self, tree: dict[str, Any], path: str) -> Any:
        tag = next(iter(tree), "")
        if tag == _ENUM:
            return tree
        if tag in _CONTAINERS:
            return {tag: [self(item, path) for item in tree[tag]]}
        if tag.startswith(MARK) and not tag.startswith(_KEY) and _TYPE not in tree:
            return codec.loads_raw(codec.dumps(self._scalar(codec.loads(codec_text(tree)))))
        # In one order, since a database may have another.
        return {self._key(key, tree, path): self._field(key, tree[key], path) for key in sorted(tree)}

    def _field(self, key: str, value: Any, path: str) -> Any:
        as_it_is = key == _TYPE or (key == FIELDS_SET and _are_names(value))
        return value if as_it_is else self(value, f"{path}.{key}")

    def _key(self, key: str, tree: dict[str, Any], path: str) -> str:
        if key.startswith(_KEY):
            return f"{_KEY}{MARK}{self.text_like(key)}"
        if _TYPE in tree or key in BESIDE_FIELDS:
            return key
        return self.text_like(key) if _matches(path, self._hide) or not _NAME.fullmatch(key) else key

    # -- single values ------------------------------------------------------------------------------------------------

    def _scalar(self, value: Any) -> Any:
        replace = self._replacements.get(type(value))
        return value if replace is None or not value else replace(self, value)

    def _number(self, kind: Any, value: Any) -> int:
        return self._seen[kind].setdefault(value, len(self._seen[kind]))

    def text_like(self, value: str) -> str:
        """Answer a text of the same length."""
        ending = next((char for char in value if char == "\0" or "\ud800" <= char <= "\udfff"), "")
        number = str(self._number(str, value))
        return number.rjust(len(value) - len(ending), "x") + ending

    def _int(self, value: int) -> int:
        size = len(_digits(abs(value)))
        least: int = 10 ** (size - 1)
        number = least + self._number((int, size), abs(value)) % (9 * least)
        return number if value > 0 else -number

    def _float(self, value: float) -> float:
        if not math.isfinite(value):
            return value
        exponent = math.floor(math.log10(abs(value)))
        number = self._number((float, exponent), value) % _MANTISSAS
        mantissa = 1 + number % 9 if value.is_integer() and exponent == 0 else 1 + (number + 1) / 1024
        return math.copysign(min(mantissa, 1.5 if exponent == 308 else mantissa) * 10.0**exponent, value)

    def _decimal(self, value: Decimal) -> Decimal:
        sign, digits, exponent = value.as_tuple()
        if not isinstance(exponent, int):  # an infinity or a nan
            return value
        number = self._int(int("".join(map(str, digits))))
        return Decimal((sign, tuple(map(int, str(number).rjust(len(digits), "0"))), exponent))

    def _bytes(self, value: bytes) -> bytes:
        return str(self._number(bytes, bytes(value))).rjust(len(value), "x").encode()[-len(value) :]

    def _moment(self, value: datetime) -> datetime:
        made = _YEAR_2000 + timedelta(
            seconds=self._number(datetime, str(value)), microseconds=min(value.microsecond, 1)
        )
        return made.replace(tzinfo=_zone(value.tzinfo))

    def _time(self, value: time) -> time:
        made = _YEAR_2000 + timedelta(seconds=self._number(time, str(value)), microseconds=min(value.microsecond, 1))
        return made.time().replace(tzinfo=_zone(value.tzinfo))

    def _date(self, value: date) -> date:
        return _YEAR_2000.date() + timedelta(days=self._number(date, value))

    def _timedelta(self, value: timedelta) -> timedelta:
        days, seconds, microseconds = (self._scalar(part) for part in (value.days, value.seconds, value.microseconds))
        return timedelta(days, seconds % 86400, microseconds)

    def _uuid(self, value: UUID) -> UUID:
        return UUID(int=self._number(UUID, value) + 1, version=value.version if value.version in range(1, 6) else None)

    _replacements: ClassVar[dict[type, Callable[[Any, Any], Any]]] = {
        str: text_like,
        int: _int,
        float: _float,
        complex: lambda self, value: complex(self._scalar(value.real), self._scalar(value.imag)),
        Decimal: _decimal,
        bytes: _bytes,
        bytearray: lambda self, value: bytearray(self._bytes(value)),
        datetime: _moment,
        date: _date,
        time: _time,
        timedelta: _timedelta,
        UUID: _uuid,
    }


def codec_text(tree: Any) -> str:
    """Answer JSON with our tags as the codec reads it."""
    return text.write(tree)


def _digits(value: int) -> str:
    return str(value) if value < 10**4000 else "9" * 4000  # Python refuses to spell longer ones


def _zone(zone: Any) -> Any:
    """Answer a time zone of the same kind, which tells of no place."""
    return ZoneInfo("Etc/UTC") if isinstance(zone, ZoneInfo) else zone and UTC


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and _NAME.fullmatch(one) for one in value)


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)
