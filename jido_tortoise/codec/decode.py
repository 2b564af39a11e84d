"""From JSON text to values. Whatever the text is, the answer is a value or a CorruptRowError."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum, Flag
from typing import Any, TypeVar

from jido_tortoise.codec import registry, text
from jido_tortoise.codec.paths import Malformed, step_to
from jido_tortoise.codec.scalars import DECODERS
from jido_tortoise.codec.shapes import BESIDE_FIELDS, Shape, shape_of
from jido_tortoise.codec.text import MARK
from jido_tortoise.errors import CorruptRowError, InvalidInputError

T = TypeVar("T")

_KEY = MARK + "key:"
_TYPE = MARK + "type"
#: How many texts are read together: more are no faster, but take more memory.
_AT_ONCE = 64


def loads(written: str | bytes, *, path: str = "value") -> Any:
    """Read what `dumps` wrote, also after jsonb has reordered its keys and spelled its numbers anew.

    There is no limit of size: the database's answer is in memory already, and jsonb spells 1e-300 with 300 digits.

    Args:
        written: JSON text.
        path: What the value is called in an error.

    Raises:
        CorruptRowError: It is no JSON, or has a tag that is none of ours, or names a class that is not registered.
    """
    if type(written) is not str:
        written = _as_str(written, path)
    try:
        tree = text.read(written)
    except (ValueError, RecursionError) as error:
        raise _unreadable(error, path) from error
    # The walk costs as much as the parsing. A tag whose mark is spelled in escapes is no tag: we write none.
    return _value(tree, path) if text.is_marked(written) else tree


def loads_each(written: Sequence[str], *, path: str = "value") -> list[Any]:
    """Read many texts at once, which takes half as long as one after another.

    Raises:
        CorruptRowError: One of them cannot be read.
    """
    values: list[Any] = []
    for start in range(0, len(written), _AT_ONCE):
        some = written[start : start + _AT_ONCE]
        values += _plain_values(some) or [loads(one, path=path) for one in some]
    return values


def _plain_values(written: Sequence[str]) -> list[Any] | None:
    """Read texts as one list; None when one of them has a tag, or is not what it should be."""
    try:
        joined = ",".join(written)
        values = None if text.is_marked(joined) else text.read(f"[{joined}]")
    except (TypeError, ValueError, RecursionError):
        return None
    # A malformed text may hold more than one value, or less.
    return values if values is not None and len(values) == len(written) else None


def loads_raw(written: str | bytes, *, path: str = "value") -> Any:
    """Read JSON as it is, its tags left as objects; for tools that show rows whose classes they do not know.

    Raises:
        CorruptRowError: It is no JSON.
    """
    try:
        return text.read(_as_str(written, path))
    except (ValueError, RecursionError) as error:
        raise _unreadable(error, path) from error


def _as_str(written: object, path: str) -> str:
    if isinstance(written, str):
        return written
    if not isinstance(written, bytes):
        raise _corrupt(Malformed(f"expected JSON text, got {type(written).__name__}"), path)
    try:
        return written.decode()
    except UnicodeDecodeError as error:
        raise _unreadable(error, path) from error


def _unreadable(error: Exception, path: str) -> CorruptRowError:
    is_deep = isinstance(error, RecursionError)
    return _corrupt(Malformed("nested too deeply" if is_deep else f"not JSON: {error}"), path)


def from_fields(cls: type[T], fields: Mapping[str, Any], *, path: str = "value") -> T:
    """Make an object from what `to_fields` answered, without running its constructor or its validators.

    A field that is missing gets its default.

    Raises:
        CorruptRowError: A field is unknown, or missing without a default.
        InvalidInputError: The class is no dataclass, pydantic model or NamedTuple.
    """
    known = registry.registered(cls)
    shape = known.shape if known else shape_of(cls)
    if shape is None:
        raise InvalidInputError.at(path, "a dataclass, a pydantic model or a NamedTuple", cls)
    try:
        made: T = _build(cls, shape, fields)
    except Malformed as bad:
        raise _corrupt(bad, path) from bad.__cause__
    except RecursionError as error:
        raise _unreadable(error, path) from error
    return made


def _corrupt(bad: Malformed, root: str) -> CorruptRowError:
    path = bad.path(root)
    return CorruptRowError(f"{path}: {bad.text}", path=path)


def _value(tree: Any, path: str) -> Any:
    try:
        return _decode(tree)
    except Malformed as bad:
        raise _corrupt(bad, path) from bad.__cause__
    except RecursionError as error:
        raise _unreadable(error, path) from error


# One level of a value may take four calls at most: a hundred levels must fit on the stack of a busy host.


def _decode(tree: Any) -> Any:
    """Turn a tree into its value; the tree is ours alone, so what needs no change stays where it is."""
    if type(tree) is dict:
        return _decode_dict(tree)
    return _decode_list(tree) if type(tree) is list else tree


def _decode_dict(tree: dict[str, Any]) -> Any:
    for key in tree:
        if key.startswith(MARK):
            return _decode_tag(tree, key)
    return _decode_values(tree, step_to)


def _decode_values(tree: dict[str, Any], step: Callable[[str], str]) -> dict[str, Any]:
    key = ""
    try:
        for key, item in tree.items():
            if type(item) is dict:
                tree[key] = _decode_dict(item)
            elif type(item) is list:
                _decode_list(item)
    except Malformed as bad:
        bad.within(step(key))
        raise
    return tree


def _decode_list(tree: list[Any]) -> list[Any]:
    index = 0
    try:
        for index, item in enumerate(tree):
            if type(item) is dict:
                tree[index] = _decode_dict(item)
            elif type(item) is list:
                _decode_list(item)
    except Malformed as bad:
        bad.within(f"[{index}]")
        raise
    return tree


def _decode_tag(tree: dict[str, Any], name: str) -> Any:
    if name.startswith(_KEY):
        # What a key is once it is unescaped is never looked at as a tag.
        return _decode_values(_unescape_keys(tree), step_to)
    if name == _TYPE:
        return _decode_object(tree)
    if len(tree) > 1:
        raise Malformed(f"other keys beside the tag {_short(name)}")
    content, make = tree[name], _CONTAINERS.get(name)
    if make is None:
        return _guarded(name, _scalar(name), content)
    if type(content) is not list:
        raise Malformed(f"no list in the tag {name}")
    return _guarded(name, make, _decode_list(content))


def _scalar(name: str) -> Callable[[Any], Any]:
    if name not in DECODERS:
        raise Malformed(f"the tag {_short(name)}, which this version does not know")
    return DECODERS[name]


def _guarded(name: str, make: Callable[[Any], Any], content: Any) -> Any:
    try:
        return make(content)
    except (Malformed, MemoryError, RecursionError):
        raise
    except Exception as error:  # also what a host's __hash__ or __eq__ raises
        raise Malformed(f"not what belongs in the tag {name}: {type(error).__name__}") from error


def _unescape_keys(tree: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, item in tree.items():
        plain[_unescape_key(key) if key.startswith(MARK) else key] = item
    if len(plain) < len(tree):
        raise Malformed("the same key twice")
    return plain


def _unescape_key(key: str) -> str:
    if not key.startswith(_KEY):
        raise Malformed(f"the tag {_short(key)} beside an escaped key")
    try:
        plain = text.unescape(key[len(_KEY) :])
    except ValueError as error:
        raise Malformed(f"a key that is not escaped as ours are: {_short(key)}") from error
    if text.is_clean(plain) and not plain.startswith(MARK):
        raise Malformed(f"a key that needs no escape: {_short(key)}")
    return plain


def _to_set(items: list[Any]) -> set[Any]:
    found = set(items)
    if len(found) < len(items):
        raise Malformed("the same element twice")
    return found


def _to_map(pairs: list[Any]) -> dict[Any, Any]:
    found = dict(pairs)
    if len(found) < len(pairs) or not all(type(pair) is list for pair in pairs):
        raise Malformed("not pairs with different keys")
    return found


def _to_member(items: list[Any]) -> Enum:
    name, member = items
    known = _registered(name)
    cls: Any = known.cls
    if known.shape is not None:
        raise Malformed(f"{_short(name)}, which is registered for {cls.__qualname__}, and that is no Enum")
    found: Enum | None = cls(member) if issubclass(cls, Flag) else cls.__members__.get(member)
    if found is None or type(found) is not cls:
        raise Malformed(f"{cls.__qualname__} has no member {_short(member)}; give it back, if only as an alias")
    return found


_CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {
    MARK + "tuple": tuple,
    MARK + "set": _to_set,
    MARK + "frozenset": lambda items: frozenset(_to_set(items)),
    MARK + "map": _to_map,
    MARK + "enum": _to_member,
}


def _decode_object(tree: dict[str, Any]) -> Any:
    known = _registered(tree.pop(_TYPE))
    if known.shape is None:
        raise Malformed(f"an object, but {known.cls.__qualname__} is an Enum")
    for name in tree:
        if name.startswith(MARK):
            raise Malformed(f"the tag {_short(name)} beside {_TYPE}")
    return _build(known.cls, known.shape, _decode_values(tree, _step_to_field))


def _step_to_field(name: str) -> str:
    return "" if name in BESIDE_FIELDS else f".{name}"


def _build(cls: type, shape: Shape, fields: Mapping[str, Any]) -> Any:
    try:
        return shape.build(fields)
    except (Malformed, MemoryError, RecursionError):
        raise
    except Exception as error:  # a default factory of the host's, a property without a setter
        raise Malformed(f"{cls.__qualname__} cannot be rebuilt: {type(error).__name__}") from error


def _registered(name: Any) -> registry.Registered:
    if type(name) is not str:
        raise Malformed("a type name that is no text")
    known = registry.find_name(name)
    if known is None:
        shown = _short(name)
        cure = f"register the class before loading: register(cls, name={shown}), or aliases=({shown},) after a renaming"
        raise Malformed(f"no class is registered under {shown}; {cure}")
    return known


def _short(name: object) -> str:
    shown = repr(name)
    return shown if len(shown) <= 80 else f"{shown[:80]}..."
