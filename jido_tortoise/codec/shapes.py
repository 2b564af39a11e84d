"""How an object falls apart into named fields, and comes back from them without running its constructor."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Protocol

from jido_tortoise.codec.paths import Malformed, Unfit

#: What a pydantic object holds beside its fields. (No field of pydantic's can begin with an underscore.)
FIELDS_SET, EXTRA, PRIVATE = "__fields_set__", "__extra__", "__private__"
BESIDE_FIELDS = frozenset({FIELDS_SET, EXTRA, PRIVATE})

#: What typing leaves in an object of a generic class; it says nothing that the class does not say.
_BOOKKEEPING = frozenset({"__orig_class__"})


class Shape(Protocol):
    """How the objects of one class are taken apart and rebuilt."""

    #: The names whose annotations say which other classes belong to this one.
    names: tuple[str, ...]

    def read(self, value: Any) -> dict[str, Any]:
        """Answer the fields of the object; Unfit when it holds something that is no field."""
        ...

    def build(self, fields: Mapping[str, Any]) -> Any:
        """Make the object that `read` answered this for; Malformed when it cannot be."""
        ...


def shape_of(cls: type) -> Shape | None:
    """Answer how the objects of a class are taken apart; None when they cannot be."""
    if dataclasses.is_dataclass(cls):
        return DataclassShape(cls)
    if _is_model(cls):
        return ModelShape(cls)
    if issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple):
        return NamedTupleShape(cls)
    return None


def why_not(cls: type) -> str | None:
    """Say why the objects of a dataclass cannot be rebuilt exactly; None when they can."""
    if not dataclasses.is_dataclass(cls):
        return None
    for base in cls.__mro__:
        if base.__module__ == "builtins" and base is not object:
            return f"a dataclass that is also a {base.__name__}"
    for name, field in cls.__dataclass_fields__.items():
        if field._field_type is dataclasses._FIELD_INITVAR:  # type: ignore[attr-defined]
            return f"a dataclass whose {name!r} is an InitVar, which no object keeps"
    return None


class DataclassShape:
    """A dataclass: frozen, with slots, with fields that are not in its constructor."""

    def __init__(self, cls: type) -> None:
        self._cls = cls
        fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(cls)
        self._fields = {field.name: field for field in fields}
        self.names = tuple(self._fields)
        self._slots = _slots(cls) - set(self.names)

    def read(self, value: Any) -> dict[str, Any]:
        """Answer all the fields, and refuse to lose an attribute that is none."""
        _refuse_strangers(value, self._fields, self._slots)
        return {name: _attribute(value, name) for name in self.names}

    def build(self, fields: Mapping[str, Any]) -> Any:
        """Set the fields as they are, past the constructor, a frozen class's guard and __post_init__."""
        _refuse_unknown(fields, self._fields)
        made: Any = object.__new__(self._cls)
        for name, field in self._fields.items():
            object.__setattr__(made, name, fields[name] if name in fields else _default(field))
        return made


class NamedTupleShape:
    """A typing.NamedTuple, or a collections.namedtuple."""

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self.names: tuple[str, ...] = cls._fields
        self._defaults: dict[str, Any] = cls._field_defaults

    def read(self, value: Any) -> dict[str, Any]:
        """Answer the elements by name."""
        _refuse_strangers(value)
        return dict(zip(self.names, value, strict=True))

    def build(self, fields: Mapping[str, Any]) -> Any:
        """Make the tuple of all its elements."""
        _refuse_unknown(fields, self.names)
        return tuple.__new__(self._cls, [self._element(fields, name) for name in self.names])

    def _element(self, fields: Mapping[str, Any], name: str) -> Any:
        if name in fields:
            return fields[name]
        if name in self._defaults:
            return self._defaults[name]
        raise _missing(name)


def _is_model(cls: type) -> bool:
    """Tell whether a class is a pydantic model, without importing pydantic: whoever has one has imported it."""
    base = getattr(sys.modules.get("pydantic.main"), "BaseModel", None)
    return base is not None and issubclass(cls, base) and cls is not base and hasattr(cls, "model_fields")


class ModelShape:
    """A pydantic model: its fields, and what stands beside them, through pydantic's own state protocol."""

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self._private: Mapping[str, Any] = cls.__private_attributes__
        self.names = (*cls.model_fields, *self._private)

    def read(self, value: Any) -> dict[str, Any]:
        """Answer the fields; and which of them were given, the extra and the private ones, where that needs saying."""
        state, known = value.__getstate__(), self._cls.model_fields
        held, given = state["__dict__"], state["__pydantic_fields_set__"]
        _refuse_strange_names(self._cls, held.keys() - known.keys())
        fields = {name: held[name] if name in held else _unassigned(name) for name in known}
        extra = state.get("__pydantic_extra__") or {}
        private = state.get("__pydantic_private__") or {}
        given_as_usual = set(given) == {*fields, *extra}
        return {
            **fields,
            **({} if given_as_usual else {FIELDS_SET: sorted(given)}),
            **({EXTRA: extra} if extra else {}),
            **({PRIVATE: private} if private else {}),
        }

    def build(self, fields: Mapping[str, Any]) -> Any:
        """Restore the object's state without validating it again."""
        known = self._cls.model_fields
        _refuse_unknown(fields, known.keys() | BESIDE_FIELDS)
        held = {name: fields[name] for name in known if name in fields}
        extra = self._extra(_mapping(fields, EXTRA))
        given = _names(fields.get(FIELDS_SET, [*held, *(extra or ())]))
        private = self._privates(_mapping(fields, PRIVATE))
        made = self._cls.__new__(self._cls)
        made.__setstate__(
            {
                "__dict__": {name: _held(name, field, held) for name, field in known.items()},
                "__pydantic_extra__": extra,
                "__pydantic_fields_set__": given,
                "__pydantic_private__": private,
            }
        )
        return made

    def _extra(self, stored: dict[str, Any]) -> dict[str, Any] | None:
        if self._cls.model_config.get("extra") == "allow":
            return stored
        _refuse_unknown(stored, ())
        return None

    def _privates(self, stored: dict[str, Any]) -> dict[str, Any] | None:
        _refuse_unknown(stored, self._private)
        if not self._private:
            return None
        undefined = sys.modules["pydantic_core"].PydanticUndefined
        fresh = {name: attribute.get_default() for name, attribute in self._private.items() if name not in stored}
        return {name: value for name, value in fresh.items() if value is not undefined} | stored


def _mapping(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    content = fields.get(name, {})
    if type(content) is not dict or not all(type(key) is str for key in content):
        raise Malformed("not a map of names", f".{name}")
    return content


def _names(content: Any) -> set[str]:
    if type(content) is not list or not all(type(name) is str for name in content):
        raise Malformed("not a list of names", f".{FIELDS_SET}")
    return set(content)


def _held(name: str, field: Any, held: dict[str, Any]) -> Any:
    """Answer what a model's field holds: what was stored, or its default."""
    if name in held:
        return held[name]
    if field.is_required():
        raise _missing(name)
    if getattr(field, "default_factory_takes_validated_data", False):
        return field.get_default(call_default_factory=True, validated_data=held)
    return field.get_default(call_default_factory=True)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    raise _missing(field.name)


def _missing(name: str) -> Malformed:
    cure = "give the field a default, or add it in the restore callback"
    return Malformed(f"this field is not in what was stored, and it has no default; {cure}", f".{name}")


def _refuse_unknown(fields: Mapping[str, Any], known: Iterable[str]) -> None:
    for name in fields.keys() - known:
        cure = "give it back to the class, or drop it in the restore callback"
        raise Malformed(f"this field was stored, and the class has no such field; {cure}", f".{name}")


def _refuse_strangers(value: Any, known: Iterable[str] = (), slots: Iterable[str] = ()) -> None:
    attributes = getattr(value, "__dict__", None)
    if attributes:
        _refuse_strange_names(type(value), attributes.keys() - known)
    for name in slots:
        if hasattr(value, name):
            raise _stranger(name)


def _refuse_strange_names(cls: type, names: Iterable[str]) -> None:
    for name in names:
        # What is only cached is computed again.
        if name not in _BOOKKEEPING and not isinstance(getattr(cls, name, None), cached_property):
            raise _stranger(name)


def _stranger(name: str) -> Unfit:
    return Unfit("an attribute that is no field of its class and would be lost", f".{name}")


def _attribute(value: Any, name: str) -> Any:
    try:
        return getattr(value, name)
    except AttributeError:
        return _unassigned(name)


def _unassigned(name: str) -> Any:
    raise Unfit("a field that was never assigned", f".{name}")


def _slots(cls: type) -> frozenset[str]:
    found: set[str] = set()
    for base in cls.__mro__:
        slots = vars(base).get("__slots__", ())
        found.update([slots] if isinstance(slots, str) else slots)
    return frozenset(found - {"__dict__", "__weakref__"})
