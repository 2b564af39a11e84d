"""Which class is which agent type: the name that a checkpoint holds, never an import path."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable

from jido_tortoise import checks
from jido_tortoise.errors import InvalidInputError, said

#: Weak: a class that its module has dropped gives its names back.
_types: dict[str, weakref.ref[type]] = {}


def find_agent_type(name: str) -> type | None:
    """Answer the class that has declared this agent type, or has it as an alias; None when no live class has."""
    found = _types.get(name)
    return None if found is None else found()


def check_names(cls: type, agent_type: object, aliases: object) -> tuple[str, tuple[str, ...]]:
    """Answer the names that a class declares, as they are stored."""
    if isinstance(aliases, str) or not isinstance(aliases, Iterable):
        raise InvalidInputError.at(f"{cls.__name__}.aliases", 'names, such as ("old_name",)', aliases)
    name = checks.text(cls.__name__ if agent_type is None else agent_type, f"{cls.__name__}.agent_type")
    return name, tuple(checks.text(alias, f"{cls.__name__}.aliases") for alias in aliases)


def claim(cls: type, names: Iterable[str]) -> None:
    """Give the names to the class, all or none; the same class defined anew (module and name) takes them over.

    Raises:
        InvalidInputError: Another live class has one of them.
    """
    wanted = list(names)
    for name in wanted:
        other = _holder(name, cls)
        if other is not None:
            taken = said(f"{name!r}, which {title(other)} has; give agent_type= to one of them")
            raise InvalidInputError.at(f"agent_type of {title(cls)}", "a name that no other agent has", taken)
    for name in wanted:
        _types[name] = weakref.ref(cls)


def _holder(name: str, cls: type) -> type | None:
    if not _is_taken(name, cls):
        return None
    gc.collect()  # a class is in a cycle with itself, so a dropped one may still be waiting here
    return find_agent_type(name) if _is_taken(name, cls) else None


def _is_taken(name: str, cls: type) -> bool:
    other = find_agent_type(name)
    return other is not None and title(other) != title(cls)


def title(cls: type) -> str:
    """Answer a class's full name."""
    return f"{cls.__module__}.{cls.__qualname__}"
