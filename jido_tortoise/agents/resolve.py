"""What counts as a storage: one itself, anything that has one, or a spec to make one from."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias, cast

from jido_tortoise.agents.storage import Storage
from jido_tortoise.errors import InvalidStorageError, said

#: A Storage, anything with a `.storage`, or ("package.module:Class", {options}).
StorageLike: TypeAlias = Any

_METHODS = (
    "put_checkpoint",
    "get_checkpoint",
    "delete_checkpoint",
    "append_thread",
    "load_thread",
    "delete_thread",
)
_EXPECTED = 'a storage (the six methods), something with a .storage, or ("package.module:Class", {options})'
#: How many `.storage` may lie behind each other, so that a ring of them ends.
_DEPTH = 16


def resolve_storage(given: StorageLike) -> Storage:
    """Answer the storage that was meant.

    Raises:
        InvalidStorageError: There is none in what was given; `invalid_storage`.
    """
    found = given
    for _ in range(_DEPTH):
        if is_storage(found):
            return cast(Storage, found)
        if isinstance(found, tuple):
            found = _from_spec(found)
        elif getattr(found, "storage", None) is not None:
            found = found.storage
        else:
            break
    raise InvalidStorageError.at("storage", _EXPECTED, _told_where(given))


def _told_where(given: object) -> object:
    if isinstance(given, str) and "://" in given:  # not printed: it may hold a password
        return said("a URL, which Jido.connect takes")
    if isinstance(given, Mapping) and "connections" in given:
        return said("a Tortoise config, which Jido.lifespan takes")
    return given


def is_storage(value: object) -> bool:
    """Tell whether the value is an object with the six methods (a class is none yet)."""
    if isinstance(value, type):
        return False
    return _makes_storages(type(value)) or _has_methods(value)  # type: ignore[arg-type]  # a class has a hash


@lru_cache(maxsize=64)  # every hibernate and thaw asks
def _makes_storages(cls: type) -> bool:
    return _has_methods(cls)


def _has_methods(value: object) -> bool:
    return all(callable(getattr(value, name, None)) for name in _METHODS)


def capabilities_of(storage: Storage) -> frozenset[str]:
    """Answer what a storage declares beyond the six methods; nothing when it declares nothing."""
    return frozenset(getattr(storage, "capabilities", ()))


def _from_spec(spec: tuple[Any, ...]) -> Any:
    match spec:
        case (str() as name, dict() as options):
            return _made(_imported(name), options)
        case (type() as cls, dict() as options):
            return _made(cls, options)
    raise InvalidStorageError.at("storage", _EXPECTED, spec)


def _made(maker: Callable[..., Any], options: dict[str, Any]) -> Any:
    try:
        return maker(**options)
    except TypeError as error:  # an option that it does not have, or lacks
        raise InvalidStorageError(f"storage: these options make none: {error}", options=sorted(options)) from error


def _imported(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidStorageError(f"storage: cannot import {name!r}: {error}", name=name) from error
    return cast(Callable[..., Any], found)
