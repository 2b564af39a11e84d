"""From values to JSON text: what cannot be stored is refused here, by its path, before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum, Flag
from typing import Any

from jido_tortoise.codec import registry, text
from jido_tortoise.codec.paths import TooDeep, Unfit, step_to
from jido_tortoise.codec.refusals import describe
from jido_tortoise.codec.scalars import ENCODERS, is_plain_float, tag
from jido_tortoise.codec.shapes import BESIDE_FIELDS, shape_of
from jido_tortoise.codec.text import MARK
from jido_tortoise.errors import InvalidInputError, UnstorableError, said

#: Containers within each other. What our tags make of them, both databases and both JSON libraries can read.
MAX_DEPTH = 100
#: Bytes of JSON; far below what either database takes.
MAX_BYTES = 64 * 1024 * 1024
#: Integers that both databases and both JSON libraries keep.
_LEAST, _MOST = -(2**63), 2**63 - 1


def dumps(value: object, *, path: str = "value", max_depth: int = MAX_DEPTH, max_bytes: int = MAX_BYTES) -> str:
    """Write any storable value as JSON text, which `loads` turns into the same value of the same types.

    Args:
        value: Any nesting of the supported types.
        path: What the value is called in an error.
        max_depth: Most levels of containers.
        max_bytes: Most bytes of JSON.

    Raises:
        UnstorableError: With the path of what cannot be stored.
    """
    written = text.write_if_plain(value) if _is_plain(value, max_depth) else None
    if written is None:
        written = text.write(_tree(value, path, max_depth))
    return _sized(written, path, max_bytes)


def dump_map(value: object, *, path: str = "value", max_depth: int = MAX_DEPTH, max_bytes: int = MAX_BYTES) -> str:
    """Write a dict with string keys; whatever it holds, the text is a JSON object with these keys.

    Raises:
        InvalidInputError: It is no such dict.
        UnstorableError: With the path of what cannot be stored.
    """
    if type(value) is not dict:
        raise InvalidInputError.at(path, "a dict with string keys", said(describe(value)))
    written = text.write_if_plain(value) if _is_plain(value, max_depth) else None
    if written is None:
        _check_keys(value, path)
        written = text.write(_tree(value, path, max_depth))
    return _sized(written, path, max_bytes)


def dump_maps(values: list[Any]) -> list[str]:
    """Write many dicts as `dump_map` does, in half the time when all of them are plain.

    Raises:
        InvalidInputError, UnstorableError: Of the first that cannot be written; its path begins with `value`.
    """
    if {*map(type, values)} == {dict} and _is_plain(values, MAX_DEPTH + 1):
        written = text.write_each_if_plain(values)
        if written is not None and max(map(len, written)) <= MAX_BYTES // 4:  # a character has at most four bytes
            return written
    return [dump_map(value) for value in values]


def canonical(value: object, *, path: str = "key", max_depth: int = MAX_DEPTH, max_bytes: int = MAX_BYTES) -> str:
    """Write a value as one text, the same in every process and whatever a dict's order; 1, 1.0, True and "1" differ."""
    return _sized(text.ordered(_settled(_tree(value, path, max_depth))), path, max_bytes)


def to_fields(value: Any, *, path: str = "value") -> dict[str, Any]:
    """Answer the fields of a dataclass, a pydantic model or a NamedTuple by name, as they are.

    Of a model also what stands beside its fields: `__fields_set__`, `__extra__` and `__private__`, each when needed.

    Raises:
        InvalidInputError: It is an object of none of these.
        UnstorableError: It has an attribute that is no field, or lacks one.
    """
    known = registry.registered(type(value))
    shape = known.shape if known else shape_of(type(value))
    if shape is None:
        raise InvalidInputError.at(
            path, "an object of a dataclass, pydantic model or NamedTuple", said(describe(value))
        )
    try:
        return shape.read(value)
    except Unfit as unfit:
        raise _refusal(unfit, path) from None


def _sized(written: str, path: str, most: int) -> str:
    if len(written) > most // 4:  # a character has at most four bytes
        size = len(written.encode())
        if size > most:
            raise UnstorableError.at(path, f"at most {most} bytes of JSON", said(f"{size}"))
    return written


def _check_keys(value: dict[Any, Any], path: str) -> None:
    for key in value:
        if type(key) is not str:
            raise InvalidInputError.at(path, "a dict with string keys", said(f"a key of type {type(key).__name__}"))


def _is_plain(value: Any, levels: int) -> bool:
    """Tell whether a value may be JSON as it is; its strings are looked at in the text, its keys by what writes it.

    Written for speed, level by level and without a call for each item: most values are plain, and this is all that
    they need.
    """
    level = [value]
    if type(value) is not dict and type(value) is not list:
        level, levels = [level], 1
    for _ in range(levels):
        below = []
        for container in level:
            for item in container.values() if type(container) is dict else container:
                kind = type(item)
                if (
                    kind is str
                    or (kind is int and _LEAST <= item <= _MOST)
                    # Of nearly all floats the first asks as much, without a call.
                    or (kind is float and ((item and -1e16 < item < 1e16) or is_plain_float(item)))
                    or kind is bool
                    or item is None
                ):
                    continue
                if kind is not dict and kind is not list:
                    return False
                below.append(item)
        if not below:
            return True
        level = below
    return False


def _tree(value: object, path: str, max_depth: int) -> Any:
    """Make the tree of plain JSON values and tags."""
    try:
        return _encode(value, max_depth)
    except TooDeep as deep:
        deep.expected = f"at most {max_depth} levels of nesting"
        raise _refusal(deep, path) from None
    except Unfit as unfit:
        raise _refusal(unfit, path) from unfit.__cause__
    except RecursionError as error:
        raise UnstorableError.at(path, "less nesting", said("one beyond Python's recursion limit here")) from error


def _refusal(unfit: Unfit, root: str) -> UnstorableError:
    path = unfit.path(root)
    error = UnstorableError.at(path, unfit.expected, said(unfit.text))
    assert isinstance(error, UnstorableError)
    return error


def _encode(value: Any, levels: int) -> Any:
    scalar = ENCODERS.get(type(value))
    if scalar is not None:
        return scalar(value)
    container = _CONTAINERS.get(type(value))
    if container is not None:
        return container(value, _deeper(levels))
    return _encode_object(value, levels)


def _deeper(levels: int) -> int:
    if levels <= 0:
        raise TooDeep
    return levels - 1


def _encode_dict(value: dict[Any, Any], levels: int) -> Any:
    if all(type(key) is str for key in value):
        return _encode_fields(value, levels, step_to)
    return tag("map", _encode_pairs(value, levels))


def _encode_fields(
    value: dict[str, Any], levels: int, step: Callable[[str], str], owner: object = None
) -> dict[str, Any]:
    tree, key = {}, ""
    try:
        for key, item in value.items():
            tree[_escaped(key)] = _encode(item, levels)
    except Unfit as unfit:
        unfit.within(step(key), value if owner is None else owner)
        raise
    return tree


def _escaped(key: str) -> str:
    if key.startswith(MARK) or not text.is_clean(key):
        return f"{MARK}key:{text.escape(key)}"
    return key


def _encode_pairs(value: dict[Any, Any], levels: int) -> list[list[Any]]:
    pairs: list[list[Any]] = []
    for key, item in value.items():
        first = _encode_at(f".keys()[{len(pairs)}]", key, levels, value)
        pairs.append([first, _encode_at(step_to(key), item, levels, value)])
    return pairs


def _encode_at(step: str, item: Any, levels: int, owner: object) -> Any:
    try:
        return _encode(item, levels)
    except Unfit as unfit:
        unfit.within(step, owner)
        raise


def _encode_items(value: Iterable[Any], levels: int) -> list[Any]:
    tree: list[Any] = []
    try:
        for item in value:
            tree.append(_encode(item, levels))
    except Unfit as unfit:
        unfit.within(f"[{len(tree)}]", value)
        raise
    return tree


def _encode_set(value: Iterable[Any], levels: int) -> list[Any]:
    tree: list[Any] = []
    for item in value:
        tree.append(_encode_at(f"{{{type(item).__name__}}}", item, levels, value))
    return sorted(tree, key=text.ordered)


_CONTAINERS: dict[type, Callable[[Any, int], Any]] = {
    dict: _encode_dict,
    list: _encode_items,
    tuple: lambda value, levels: tag("tuple", _encode_items(value, levels)),
    set: lambda value, levels: tag("set", _encode_set(value, levels)),
    frozenset: lambda value, levels: tag("frozenset", _encode_set(value, levels)),
}


def _encode_object(value: Any, levels: int) -> dict[str, Any]:
    known = registry.registered(type(value)) or registry.find_type(type(value))
    if known is None:
        raise Unfit(describe(value))
    if known.shape is None:
        return tag("enum", [known.name, _encode_member(value, levels)])
    fields = known.shape.read(value)
    return {MARK + "type": known.name, **_encode_fields(fields, _deeper(levels), _step_to_field, value)}


def _encode_member(value: Enum, levels: int) -> Any:
    if isinstance(value, Flag):  # most combinations have no name
        return _encode(value._value_, levels)
    if type(value).__members__.get(value._name_) is not value:
        raise Unfit("a member that its Enum does not list")
    return value._name_


def _step_to_field(name: str) -> str:
    return "" if name in BESIDE_FIELDS else f".{name}"


def _settled(tree: Any) -> Any:
    """Bring the pairs of maps, and then the elements of sets, into an order of their own, in place."""
    if type(tree) is list:
        for item in tree:
            _settled(item)
    elif type(tree) is dict:
        for key, item in tree.items():
            _settled(item)
            if key in _UNORDERED:
                item.sort(key=text.ordered)
    return tree


#: Tags whose elements have no order; a user's key never looks like one.
_UNORDERED = frozenset(MARK + name for name in ("map", "set", "frozenset"))
