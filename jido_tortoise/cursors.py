"""Places in ordered lists as texts that only we make sense of: each leads back to its place, in its own list alone.

A cursor holds what the last row of a page was ordered by, and a seal over that and whatever decides which list it is.
The seal tells a mistake (a text that was cut, other filters, another order), and keeps no secret: whoever forges one
gets no more than a page that begins elsewhere.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from jido_tortoise import checks
from jido_tortoise.errors import InvalidInputError

#: What a row is ordered by, and what we carry along beside it.
Place = Sequence[str | int | None]


def cursor_at(place: Place, bound: Any) -> str:
    """Answer the cursor of a place.

    Args:
        place: Texts, whole numbers or None.
        bound: Which list it is in, filters and order: what `json.dumps` takes.
    """
    return base64.urlsafe_b64encode(json.dumps([*place, _seal(place, bound)]).encode()).decode()


def place_of(cursor: object, bound: Any, *, path: str = "after") -> list[Any]:
    """Answer the place that a cursor of this list leads to.

    Raises:
        InvalidInputError: `invalid_cursor`: it is of another list, or no cursor of ours.
    """
    try:
        parts: list[Any] = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))  # type: ignore[arg-type]
        place = parts[:-1]
        # Made once more rather than compared in parts: two texts of base64 can stand for the same bytes.
        is_ours = all(map(_is_part, place)) and cursor_at(place, bound) == cursor
    except (TypeError, ValueError, LookupError, RecursionError) as error:
        raise _refusal(cursor, path) from error
    if not is_ours:
        raise _refusal(cursor, path)
    return place


def _is_part(value: object) -> bool:
    return value is None or checks.is_text(value) or checks.is_whole(value, -checks.MOST - 1)


def _seal(place: Place, bound: Any) -> str:
    return sha256(json.dumps([[*place], bound], sort_keys=True).encode()).hexdigest()[:16]


def _refusal(cursor: object, path: str) -> InvalidInputError:
    expected = "what a page with the same filters and order answered as its cursor"
    return InvalidInputError.at(path, expected, cursor, reason="invalid_cursor")
