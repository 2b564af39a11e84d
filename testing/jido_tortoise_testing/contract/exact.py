"""Equality that looks at types: 1 is not True, a tuple is no list, -0.0 is not 0.0, and nan is nan."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection
from datetime import datetime, time
from decimal import Decimal
from typing import Any

from jido_tortoise.agents.thread import Entry

Difference = Callable[[Any, Any, str], str | None]


def assert_same(got: object, wanted: object, where: str = "value") -> None:
    """Fail with the first place where the two differ in value or type."""
    __tracebackhide__ = True
    found = difference(got, wanted, where)
    assert found is None, found


def difference(got: object, wanted: object, where: str = "value") -> str | None:
    """Say where two values first differ; None when they are the same all the way down."""
    if type(got) is not type(wanted):
        return f"{where}: {_shown(wanted)} ({type(wanted).__name__}) became {_shown(got)} ({type(got).__name__})"
    compare = next((compare for kinds, compare in _COMPARE if isinstance(wanted, kinds)), _plain)
    return compare(got, wanted, where)


def _shown(value: object) -> str:
    try:
        return f"{value!r:.200}"
    except ValueError:  # an int of more digits than Python prints
        return f"a {type(value).__name__} too long to print"


def _plain(got: Any, wanted: Any, where: str) -> str | None:
    if dataclasses.is_dataclass(wanted):
        return _fields(got, wanted, where)
    return None if got == wanted else f"{where}: {_shown(wanted)} became {_shown(got)}"


def _float(got: Any, wanted: Any, where: str) -> str | None:
    both_nan = math.isnan(got) and math.isnan(wanted)
    if both_nan or (got == wanted and math.copysign(1, got) == math.copysign(1, wanted)):
        return None
    return f"{where}: {wanted!r} became {got!r}"


def _complex(got: Any, wanted: Any, where: str) -> str | None:
    return _float(got.real, wanted.real, f"{where}.real") or _float(got.imag, wanted.imag, f"{where}.imag")


def _by_text(got: Any, wanted: Any, where: str) -> str | None:
    # Decimal("1.5") == Decimal("1.50"), and two datetimes of one moment are equal whatever their zones.
    return None if repr(got) == repr(wanted) else f"{where}: {wanted!r} became {got!r}"


def _list(got: Any, wanted: Any, where: str) -> str | None:
    if len(got) != len(wanted):
        return f"{where}: {len(wanted)} elements became {len(got)}"
    found = (difference(g, w, f"{where}[{i}]") for i, (g, w) in enumerate(zip(got, wanted, strict=True)))
    return next((text for text in found if text is not None), None)


def _set(got: Any, wanted: Any, where: str) -> str | None:
    lost = [element for element in wanted if not _holds(got, element)]
    return f"{where}: {_shown(wanted)} became {_shown(got)}" if lost or len(got) != len(wanted) else None


def _holds(elements: Collection[object], wanted: object) -> bool:
    return any(difference(element, wanted) is None for element in elements)


def _map(got: Any, wanted: Any, where: str) -> str | None:
    keys = _set(set(got), set(wanted), f"{where} (keys)")
    if keys is not None:
        return keys
    found = (difference(got[key], value, f"{where}[{key!r}]") for key, value in wanted.items())
    return next((text for text in found if text is not None), None)


def _fields(got: Any, wanted: Any, where: str) -> str | None:
    names = [field.name for field in dataclasses.fields(wanted)]
    found = (difference(getattr(got, name), getattr(wanted, name), f"{where}.{name}") for name in names)
    return next((text for text in found if text is not None), None)


def _entry(got: Any, wanted: Any, where: str) -> str | None:
    return _map(got.as_dict(), wanted.as_dict(), where)


_COMPARE: tuple[tuple[tuple[type, ...], Difference], ...] = (
    ((Entry,), _entry),
    ((float,), _float),
    ((complex,), _complex),
    ((Decimal, datetime, time), _by_text),
    ((list, tuple), _list),
    ((set, frozenset), _set),
    ((dict,), _map),
)
