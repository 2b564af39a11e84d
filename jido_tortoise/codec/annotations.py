"""Which other classes the annotations of a class lead to."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from enum import Enum
from types import SimpleNamespace
from typing import Any, get_args, get_origin, get_type_hints


def annotations_of(cls: type, names: Iterable[str]) -> tuple[list[Any], bool]:
    """Resolve the annotations of some names, one by one, so that one bad name spoils no other.

    Returns:
        What could be resolved, and whether that is all: a class may be further down in its module.
    """
    # pydantic has resolved its fields already, also those that name a class of a function's body.
    known = getattr(cls, "__pydantic_fields__", {})
    found, complete = [], True
    for name in names:
        try:
            found.append(known[name].annotation if name in known else _resolve(cls, name))
        except Exception:  # whatever the host's annotation raises when it is evaluated
            complete = False
    return found, complete


def classes_in(hint: Any) -> Iterator[type]:
    """Find the classes in an annotation: through Optional, list, Annotated, Literal, type aliases and the like."""
    yield from _classes_in(hint, set())


def _resolve(cls: type, name: str) -> Any:
    base, written = _written(cls, name)
    parameters = {parameter.__name__: parameter for parameter in getattr(base, "__type_params__", ())}
    module = getattr(sys.modules.get(base.__module__), "__dict__", {})
    there = {**module, **parameters, cls.__name__: cls, base.__name__: base}
    return get_type_hints(SimpleNamespace(__annotations__={name: written}), there, include_extras=True)[name]


def _written(cls: type, name: str) -> tuple[type, Any]:
    for base in cls.__mro__:
        annotations = inspect.get_annotations(base)
        if name in annotations:
            return base, annotations[name]
    return cls, Any


def _classes_in(hint: Any, seen: set[int]) -> Iterator[type]:
    if id(hint) in seen:  # a type alias may name itself
        return
    seen.add(id(hint))
    if isinstance(hint, Enum):
        yield type(hint)
    elif isinstance(hint, type) and get_origin(hint) is None:
        yield hint
    for part in _parts(hint):
        yield from _classes_in(part, seen)


def _parts(hint: Any) -> tuple[Any, ...]:
    if isinstance(hint, list):  # the parameters of a Callable
        return tuple(hint)
    inner = getattr(hint, "__value__", None) or getattr(hint, "__supertype__", None)  # `type X = ...`, NewType
    return (get_origin(hint), *get_args(hint), inner)
