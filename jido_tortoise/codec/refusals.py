"""The words for a value that cannot be stored: what it is, and what to do about it."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Iterator
from enum import Enum
from types import ModuleType
from typing import Any

from jido_tortoise.codec import registry

_BUILTINS: tuple[type, ...] = (str, bytes, int, float, dict, list, tuple, set, frozenset)
_LOCKS = (type(threading.Lock()), type(threading.RLock()))


def describe(value: object) -> str:
    """Say what type a value has, and how it can become one that is stored. Never shows the value itself."""
    kind = type(value)
    return f"{title(kind)} ({_hint(value, kind)})"


def title(kind: type) -> str:
    """Name a class as its user knows it."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _hint(value: object, kind: type) -> str:
    if kind.__module__.partition(".")[0] == "numpy":
        return "a numpy value; convert it with .item() or .tolist()"
    if registry.is_superseded(kind):
        return "its class was defined again after this object was made; make the object again"
    if registry.is_registrable(kind):
        return f"register its class first: register({kind.__name__})"
    return _hint_for_builtin(kind) or _hint_for_resource(value)


def _hint_for_builtin(kind: type) -> str | None:
    for base in _BUILTINS:
        if kind is base:
            return "not allowed here"
        if issubclass(kind, base):
            return f"a {base.__name__} subclass; convert it with {base.__name__}(...)"
    return None


def _hint_for_resource(value: Any) -> str:
    if isinstance(value, type | ModuleType) or callable(value):
        return "code is never stored; store a name"
    if isinstance(value, (io.IOBase, *_LOCKS)):
        return "it belongs to this process; keep it out of the state"
    if isinstance(value, memoryview):
        return "convert it with bytes(...)"
    if isinstance(value, Iterator):
        return "it can be read only once; convert it with list(...)"
    if isinstance(value, Iterable) and not isinstance(value, Enum):
        return "convert it with list(...) or dict(...)"
    return "make it a dataclass or a pydantic model, and register that"
