"""The classes whose objects may be stored, by the names they are stored under. Nothing is ever imported by name."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Any, TypeVar, overload

from jido_tortoise.codec.annotations import annotations_of, classes_in
from jido_tortoise.codec.shapes import Shape, shape_of, why_not
from jido_tortoise.codec.text import MARK, is_clean
from jido_tortoise.errors import InvalidInputError, said

T = TypeVar("T")

#: Where a class carries its registration: the registry itself must not keep a class alive that its module has dropped.
_ATTRIBUTE = "__jido_registered__"

_lock = threading.RLock()
_names: dict[str, weakref.ref[type]] = {}
#: Classes with an annotation that named nothing yet.
_unresolved: weakref.WeakSet[type] = weakref.WeakSet()
#: A generic model with its parameters, as Box[int], is held by nobody else.
_kept: set[type] = set()


class Registered:
    """A class with its stored name."""

    __slots__ = ("cls", "name", "names", "shape")

    def __init__(self, cls: type, name: str, names: frozenset[str], shape: Shape | None) -> None:
        self.cls = cls
        #: What its objects are written under.
        self.name = name
        #: What they are read under.
        self.names = names
        #: None for an Enum.
        self.shape = shape


@overload
def register(cls: type[T], *, name: str | None = None, aliases: Iterable[str] = ()) -> type[T]: ...


@overload
def register(
    cls: None = None, *, name: str | None = None, aliases: Iterable[str] = ()
) -> Callable[[type[T]], type[T]]: ...


def register(cls: type[Any] | None = None, *, name: str | None = None, aliases: Iterable[str] = ()) -> Any:
    """Let the objects of a dataclass, a pydantic model, an Enum or a NamedTuple be stored and loaded.

    The classes in its annotations are registered with it, under their own names. A name belongs to one live class; the
    same class defined again (same module, same qualified name) takes it over. Registering again adds names, loses none.

    Args:
        cls: The class; without one this is a decorator: `@register(name="cart")`.
        name: What its objects are stored under; the class's own name when not given.
        aliases: Names from before a renaming, which are still read.

    Raises:
        InvalidInputError: The class cannot be stored, or another class has the name.
    """
    if cls is None:
        return lambda decorated: register(decorated, name=name, aliases=aliases)
    with _lock:
        _register(cls, name, _checked_aliases(cls, aliases))
    return cls


def registered(cls: type) -> Registered | None:
    """Answer the registration of exactly this class, its bases and later redefinitions apart."""
    found: Registered | None = cls.__dict__.get(_ATTRIBUTE)
    if found is None or _names[found.name]() is not cls:
        return None
    return found


def find_type(cls: type) -> Registered | None:
    """Answer the registration of a class that may be named by an annotation that could not be read before."""
    if registered(cls) is None:
        _retry()
    return registered(cls)


def find_name(name: str) -> Registered | None:
    """Answer what is stored under a name."""
    if _alive(name) is None:
        _retry()
    cls = _alive(name)
    return None if cls is None else registered(cls)


def is_superseded(cls: type) -> bool:
    """Tell whether a class was registered, and then defined again."""
    return _ATTRIBUTE in cls.__dict__ and registered(cls) is None


def is_registrable(cls: type) -> bool:
    """Tell whether `register` would take the class."""
    if issubclass(cls, Enum):
        return bool(cls.__members__)
    return shape_of(cls) is not None and why_not(cls) is None


def _register(cls: type, name: str | None, aliases: frozenset[str]) -> None:
    _check_class(cls)
    known = registered(cls)
    main = name or (known.name if known else cls.__name__)
    wanted = {_checked_name(cls, main), *aliases, *(known.names if known else ())}
    nested = _nested_in(cls)
    for text in wanted:
        _check_free(cls, text)
    for position, other in enumerate(nested):
        _check_free_for_nested(cls, other, nested[:position], wanted)
    _write(cls, main, frozenset(wanted))
    for other in nested:
        _write(other, other.__name__, frozenset({other.__name__}))


def _write(cls: type, name: str, names: frozenset[str]) -> None:
    shape = None if issubclass(cls, Enum) else shape_of(cls)
    setattr(cls, _ATTRIBUTE, Registered(cls, name, names, shape))
    for text in names:
        _names[text] = weakref.ref(cls)
    if getattr(cls, "__pydantic_generic_metadata__", {}).get("args"):
        _kept.add(cls)


def _check_class(cls: type) -> None:
    if not isinstance(cls, type):
        raise InvalidInputError.at("register", "a class", cls)
    if not is_registrable(cls):
        reason = why_not(cls) or f"{_title(cls)}, which is none of these"
        expected = "a dataclass, a pydantic model, a NamedTuple, or an Enum with members"
        raise InvalidInputError.at(f"register({cls.__name__})", expected, said(reason))


def _checked_aliases(cls: type, aliases: Iterable[str]) -> frozenset[str]:
    if isinstance(aliases, str):
        raise InvalidInputError.at("aliases", f'several names, as ("{aliases}",)', aliases)
    return frozenset(_checked_name(cls, alias) for alias in aliases)


def _checked_name(cls: type, name: str) -> str:
    if type(name) is not str or not name or not is_clean(name) or name.startswith(MARK):
        raise InvalidInputError.at(f"register({cls.__name__})", f"a name that is not empty and not {MARK}...", name)
    return name


def _check_free(cls: type, name: str) -> None:
    other = _holder(name, cls)
    if other is not None:
        holder = said(f"one that is taken by {_title(other)}; give another by register({cls.__name__}, name=...)")
        raise InvalidInputError.at(f"register({cls.__name__})", f"a free name for {_title(cls)}", holder, name=name)


def _check_free_for_nested(cls: type, nested: type, beside: list[type], wanted: set[str]) -> None:
    name = nested.__name__
    other = cls if name in wanted else next((one for one in beside if one.__name__ == name), None)
    other = other or _holder(name, nested)
    if other is not None:
        expected = f"a free name for {_title(nested)}, which its annotations name"
        taken = said(f"{name!r}, which is taken by {_title(other)}; call register({name}, name=...) first")
        raise InvalidInputError.at(f"register({cls.__name__})", expected, taken, name=name)


def _holder(name: str, cls: type) -> type | None:
    """Answer the other live class that has the name; a dead one may wait for the garbage collector."""
    if not _is_held(name, cls):
        return None
    gc.collect()
    return _alive(name) if _is_held(name, cls) else None


def _is_held(name: str, cls: type) -> bool:
    other = _alive(name)
    return other is not None and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__)


def _alive(name: str) -> type | None:
    reference = _names.get(name)
    return None if reference is None else reference()


def _title(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _retry() -> None:
    """Look again at annotations that named what was not there yet; a clash is left to an explicit `register`."""
    with _lock:
        for cls in list(_unresolved):
            _unresolved.discard(cls)
            known = registered(cls)
            if known is None:
                continue
            try:
                _register(cls, known.name, known.names)
            except InvalidInputError:
                continue


def _nested_in(cls: type) -> list[type]:
    """List the classes that the annotations of a class lead to, and that have no registration yet."""
    found: dict[type, None] = {}
    waiting = [cls]
    while waiting:
        for other in _named_by(waiting.pop()):
            if other is cls or other in found or registered(other) or not is_registrable(other):
                continue
            found[other] = None
            waiting.append(other)
    return list(found)


def _named_by(cls: type) -> Iterator[type]:
    shape = None if issubclass(cls, Enum) else shape_of(cls)
    if shape is None:
        return
    hints, complete = annotations_of(cls, shape.names)
    if not complete:
        _unresolved.add(cls)
    for hint in hints:
        yield from classes_in(hint)
