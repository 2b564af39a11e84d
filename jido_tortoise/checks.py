"""What a text, a number, a moment and a map must be before they come near a storage."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from math import isfinite
from typing import Any, TypeGuard

from jido_tortoise import seams
from jido_tortoise.errors import InvalidInputError

#: The largest number that a BIGINT column holds.
MOST = 2**63 - 1
#: The most characters that our VARCHAR columns hold.
MOST_CHARACTERS = 255

_TEXT = f"a text of 1 to {MOST_CHARACTERS} characters without NUL and lone surrogates"


def is_text(value: object) -> TypeGuard[str]:
    """Tell whether a column for names can hold the value, on both databases."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= MOST_CHARACTERS
        and "\0" not in value
        and (value.isascii() or _encodable(value))
    )


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def text(value: object, path: str, error: type[InvalidInputError] = InvalidInputError) -> str:
    """Answer the value as a plain str, so that a StrEnum's member is stored as what it says."""
    if not is_text(value):
        raise error.at(path, _TEXT, value)
    return value if type(value) is str else str.__str__(value)


def is_whole(value: object, least: int = 0) -> TypeGuard[int]:
    """Tell whether the value is an int (a bool is none) that a BIGINT column holds."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= MOST


def whole(value: object, path: str, *, least: int = 0, error: type[InvalidInputError] = InvalidInputError) -> int:
    """Answer the value when it is an int from `least` on."""
    if not is_whole(value, least):
        raise error.at(path, f"an int from {least} to {MOST}", value)
    return value if type(value) is int else int(value)


def flag(value: object, path: str, error: type[InvalidInputError] = InvalidInputError) -> bool:
    """Answer the value when it is True or False; "no", which counts as true elsewhere, is neither."""
    if not isinstance(value, bool):
        raise error.at(path, "True or False", value)
    return value


def number(value: object) -> float | None:
    """Answer a number (a bool is none) as a float; None when it is none, not finite, or too large for one."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):
            found = float(value)
            return found if isfinite(found) else None
    return None


def seconds(value: object, path: str, *, zero: bool = False) -> float:
    """Answer a duration: a number of seconds above 0, or from 0 on."""
    found = number(value)
    if found is not None and (found > 0 or (zero and found == 0)):
        return found
    raise InvalidInputError.at(path, f"seconds as a number {'from 0 on' if zero else 'above 0'}", value)


def moment(value: object, path: str, error: type[InvalidInputError] = InvalidInputError) -> int:
    """Answer the milliseconds since 1970 of an int or an aware datetime."""
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise error.at(path, "a datetime with a time zone, such as datetime.now(UTC)", value)
        return seams.to_ms(value)
    if not is_whole(value, -MOST - 1):
        raise error.at(path, "milliseconds since 1970 as an int, or an aware datetime", value)
    return value if type(value) is int else int(value)


def string_map(value: object, path: str, error: type[InvalidInputError] = InvalidInputError) -> dict[str, Any]:
    """Answer a new dict of what is in the mapping, whose keys must be strings."""
    if type(value) is not dict and not isinstance(value, Mapping):
        raise error.at(path, "a dict with string keys", value)
    for key in value:
        if type(key) is not str:
            raise error.at(path, "a dict with string keys", key, key=key)
    return dict(value)
