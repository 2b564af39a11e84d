"""Equality that looks at types: 1 is not True, a tuple is no list, -0.0 is not 0.0, and nan is nan."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from jido_tortoise.agents.thread import Entry


def assert_same(got: object, wanted: object, where: str = "value") -> None:
    """Fail with the first place where the two differ in value or type."""
    __tracebackhide__ = True
    found = difference(got, wanted, where)
    assert found is None, found


def difference(got: object, wanted: object, where: str = "value") -> str | None:
    """Say where two values first differ; None when they are the same all the way down."""
    if type(got) is not type(wanted):
        return f"{where}: {wanted!r:.200} ({type(wanted).__name__}) became {got!r:.200} ({type(got).__name__})"
    for kind, compare in _COMPARE:
        if isinstance(wanted, kind):
            return compare(got, wanted, where)
    return _plain(got, wanted, where)


def _plain(got: object, wanted: object, where: str) -> str | None:
    return None if got == wanted else f"{where}: {wanted!r:.200} became {got!r:.200}"


def _float(got: Any, wanted: Any, where: str) -> str | None:
    both_nan = math.isnan(got) and math.isnan(wanted)
    if both_nan or (got == wanted and math.copysign(1, got) == math.copysign(1, wanted)):
        return None
    return f"{where}: {wanted!r} became {got!r}"


def _complex(got: Any, wanted: Any, where: str) -> str | None:
    return _float(got.real, wanted.real, f"{where}.real") or _float(got.imag, wanted.imag, f"{where}.imag")


def _by_text(got: object, wanted: object, where: str) -> str | None:
    # Decimal("1.5") == Decimal("1.50"), and two datetimes of one moment are equal whatever their zones.
    shown_got, shown_wanted = (f"{value!r} fold={getattr(value, 'fold', 0)}" for value in (got, wanted))
    return None if shown_got == shown_wanted else f"{where}: {shown_wanted} became {shown_got}"


def _list(got: Any, wanted: Any, where: str) -> str | None:
    if len(got) != len(wanted):
        return f"{where}: {len(wanted)} elements became {len(got)}"
    found = (difference(g, w, f"{where}[{i}]") for i, (g, w) in enumerate(zip(got, wanted, strict=True)))
    return next((text for text in found if text is not None), None)


def _set(got: Any, wanted: Any, where: str) -> str | None:
    lost = [element for element in wanted if not _holds(got, element)]
    if lost or len(got) != len(wanted):
        return f"{where}: {wanted!r:.200} became {got!r:.200}"
    return None


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
    return difference(fields_of(got), fields_of(wanted), where)


def fields_of(entry: Entry) -> dict[str, Any]:
    """Answer all six fields of an entry."""
    return {"id": entry.id, "seq": entry.seq, "at_ms": entry.at_ms, "kind": entry.kind} | {
        "payload": entry.payload,
        "refs": entry.refs,
    }


def _is_dataclass(value: object) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)
