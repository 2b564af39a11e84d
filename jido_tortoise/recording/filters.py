"""What a search is narrowed by: checked before the database is asked, and part of what a cursor is bound to.

A filter of texts takes one or several, of which any will do; an empty list lets nothing pass, everywhere. None is no
filter.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any

from jido_tortoise import checks, times
from jido_tortoise.database import Dialect
from jido_tortoise.errors import InvalidInputError
from jido_tortoise.recording import port

#: The most rows of a page.
MOST_ROWS = 1000


class Filters:
    """The filters of one search, under the names of its conditions; each is added once."""

    __slots__ = ("_moments", "_others", "nothing")

    def __init__(self) -> None:
        #: Whether no row can pass.
        self.nothing = False
        self._moments: dict[str, datetime] = {}
        self._others: dict[str, Any] = {}

    def texts(self, name: str, value: Any, known: Collection[str] | None = None) -> Filters:
        """Add one text or several.

        Args:
            name: The filter's.
            value: As it was given.
            known: Those that there are; None for any.

        Raises:
            InvalidInputError: `validation_error`: it is neither, or one of them is unknown.
        """
        texts = _texts(value, name)
        if texts is None:
            return self
        for text in texts:
            if known is not None and text not in known:
                raise _refusal(name, f"one of {', '.join(sorted(known))}", text)
        self.nothing = self.nothing or not texts
        if len(texts) == 1:
            self._others[name] = texts[0]
        else:
            self._others[f"{name}_many"] = sorted(texts)
        return self

    def tags(self, value: Any) -> Filters:
        """Add tags, all of which must be there."""
        texts = _texts(value, "tags")
        if texts is not None:
            self.nothing = self.nothing or not texts
            self._others["tags"] = sorted(texts)
        return self

    def moments(self, **values: datetime | None) -> Filters:
        """Add times, which must have a time zone."""
        for name, value in values.items():
            if value is not None:
                self._moments[name] = _checked(times.check_moment, value, name)
        return self

    def whole(self, name: str, value: int | None) -> Filters:
        """Add a number from 0 on."""
        if value is not None:
            self._others[name] = _checked(checks.whole, value, name)
        return self

    def flag(self, name: str, is_wished: bool) -> Filters:
        """Add a condition that takes no value."""
        if is_wished:
            self._others[name] = True
        return self

    def several(self, name: str | None) -> int:
        """Answer how many texts a filter has; 0 when it has one, or is not there."""
        return len(self._others.get(f"{name}_many", ()))

    @property
    def wished(self) -> frozenset[str]:
        """The names of the conditions."""
        return frozenset((*self._moments, *self._others))

    @property
    def bound(self) -> dict[str, Any]:
        """The filters for `cursors`, the same for the same search."""
        return self._others | {name: str(times.stored_time(at, "sqlite")) for name, at in self._moments.items()}

    def values(self, dialect: Dialect) -> dict[str, Any]:
        """Answer the values as the statements take them."""
        others = {
            name: json.dumps(value) if type(value) is list and (dialect == "sqlite" or name == "tags") else value
            for name, value in self._others.items()
        }
        return others | {name: times.stored_time(at, dialect) for name, at in self._moments.items()}


def limit_of(limit: Any) -> int:
    """Check the size of a page.

    Raises:
        InvalidInputError: `validation_error`.
    """
    if not checks.is_whole(limit, 1) or limit > MOST_ROWS:
        raise _refusal("limit", f"an int from 1 to {MOST_ROWS}", limit)
    return int(limit)


def word_of(value: Any, known: Collection[str], path: str) -> str:
    """Check a word of ours, such as the name of an order.

    Raises:
        InvalidInputError: `validation_error`.
    """
    if not isinstance(value, str) or value not in known:
        raise _refusal(path, f"one of {', '.join(known)}", value)
    return str.__str__(value)


def flag_of(value: Any, path: str) -> bool:
    """Check an option that is wished or not.

    Raises:
        InvalidInputError: `validation_error`.
    """
    return _checked(checks.flag, value, path)  # type: ignore[no-any-return]


def _texts(value: Any, name: str) -> tuple[str, ...] | None:
    return _checked(port.texts, value, name)  # type: ignore[no-any-return]


def _checked(check: Any, value: Any, name: str) -> Any:
    """Check in the way of the library, and refuse under the name that the contract gives."""
    try:
        return check(value, name)
    except InvalidInputError as error:
        raise type(error)(str(error), **{**error.facts, "reason": "validation_error"}) from None


def _refusal(path: str, expected: str, got: object) -> InvalidInputError:
    return InvalidInputError.at(path, expected, got, reason="validation_error")
