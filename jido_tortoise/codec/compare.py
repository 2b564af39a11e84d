"""Whether two texts of the codec are one value, however each of them is written."""

from __future__ import annotations

from jido_tortoise.codec.decode import loads
from jido_tortoise.codec.encode import canonical
from jido_tortoise.errors import CorruptRowError


def same(one: object, other: object) -> bool:
    """Tell whether two texts are the same value, with the same types; what is no text is compared as it is.

    PostgreSQL calls the jsonb 1 and 1.0 one.
    """
    if one == other or not isinstance(one, str) or not isinstance(other, str):
        return one == other
    try:
        return canonical(loads(one)) == canonical(loads(other))
    except CorruptRowError:
        return False
