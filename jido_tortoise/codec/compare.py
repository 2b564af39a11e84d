"""Whether two texts of the codec are one value, however each of them is written."""

from __future__ import annotations

from jido_tortoise.codec.decode import loads
from jido_tortoise.codec.encode import canonical
from jido_tortoise.errors import CorruptRowError


def same(one: str | None, other: str | None) -> bool:
    """Tell whether two texts, or two absent ones, are the same value with the same types; jsonb calls 1 and 1.0 one."""
    if one == other or one is None or other is None:
        return one == other
    try:
        return canonical(loads(one)) == canonical(loads(other))
    except CorruptRowError:
        return False
