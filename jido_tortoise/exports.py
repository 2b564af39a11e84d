"""A package's names that are imported when they are first used: each process of a host would pay for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def lazily(package: dict[str, Any], find: Callable[[str], Any]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Answer the `__getattr__` and the `__dir__` of a package, which offers what its `__all__` names.

    Args:
        package: The package's `globals()`, where a name stays once it was found.
        find: Imports one of the names.
    """

    def get(name: str) -> Any:
        if name not in package["__all__"]:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        value = package[name] = find(name)
        return value

    return get, lambda: sorted({*package, *package["__all__"]})
