"""Plain trees and JSON text: by orjson where the host has it, else by the standard library, to the same effect."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_orjson: Any = None
with suppress(ImportError):  # it is an extra
    import orjson as _orjson

#: What a key begins with that is no key of the user's.
MARK = "$jido:"
#: How such a key begins in JSON.
_MARKED = f'"{MARK}'
#: How NUL stands in JSON; PostgreSQL's jsonb refuses it. (Also found in a harmless backslash before "u0000".)
_NUL = r"\u0000"

_ESCAPED = re.compile("[\\\\\0\ud800-\udfff]")
_ESCAPE = re.compile(r"\\u([0-9a-f]{4})")

_INT64 = range(-(2**63), 2**64)

_compact = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"))
_sorted = json.JSONEncoder(check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class Backend:
    """What reads and writes JSON."""

    #: From dicts with string keys, lists, strings, numbers, booleans and None; TypeError or ValueError for all else.
    dump: Callable[[Any], bytes]
    #: ValueError or RecursionError when it is no JSON.
    read: Callable[[str], Any]


def _integer(digits: str) -> int | float:
    if len(digits) < 19:
        return int(digits)
    if len(digits) < 22 and (number := int(digits)) in _INT64:
        return number
    return _finite(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("a number that is too large")
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_reader = json.JSONDecoder(parse_int=_integer, parse_float=_finite, parse_constant=_no_constant)


def _dump(tree: Any) -> bytes:
    _refuse_keys(tree)
    return _compact.encode(tree).encode()  # which refuses a lone surrogate


def _refuse_keys(tree: Any) -> None:
    """Refuse a key that is no string, as orjson does; the encoder would make strings of some."""
    if type(tree) is dict:
        for key in tree:
            if type(key) is not str:
                raise TypeError("a key that is no string")
    if type(tree) is dict or type(tree) is list:
        for item in tree.values() if type(tree) is dict else tree:
            _refuse_keys(item)


def _read(text: str) -> Any:
    """Read as strictly as orjson does: numbers beyond 64 bits are floats, infinite ones and lone surrogates refused."""
    if not text.isascii():
        text.encode()
    value = _reader.decode(text)
    if r"\ud" in text or r"\uD" in text:
        _dump(value)
    return value


STDLIB = Backend(_dump, _read)
ORJSON = None if _orjson is None else Backend(_orjson.dumps, _orjson.loads)


def use(backend: Backend) -> None:
    """Read and write with this backend from now on; for tests."""
    global dump, read
    dump, read = backend.dump, backend.read


dump, read = (ORJSON or STDLIB).dump, (ORJSON or STDLIB).read


def write(tree: Any) -> str:
    """Write a tree that is known to be fit for both databases."""
    try:
        return dump(tree).decode()
    except TypeError:
        # 100 levels of maps with keys that are no strings are 300 of JSON, and orjson stops at 254.
        return _dump(tree).decode()


def write_if_plain(value: Any) -> str | None:
    """Write a value of plain types; None when one of its strings or keys needs a tag.

    Looking at the whole text once is cheaper than looking at each string.
    """
    try:
        text = dump(value).decode()
    except (TypeError, UnicodeEncodeError):  # a lone surrogate
        return None
    return None if ("\\" in text and _NUL in text) or is_marked(text) else text


def write_each_if_plain(values: list[Any]) -> list[str] | None:
    """Write many values of plain types; None when a string or key of one of them needs a tag."""
    try:
        texts = [dump(value).decode() for value in values]
    except (TypeError, UnicodeEncodeError):
        return None
    for text in texts:
        if ("\\" in text and _NUL in text) or is_marked(text):
            return None
    return texts


def is_marked(text: str) -> bool:
    """Tell whether the text can hold a tag at all, that is a key with our mark."""
    return "$" in text and text.rfind(_MARKED) >= 0  # from the end it is found four times as fast


def ordered(tree: Any) -> str:
    """Write a tree as one text, whatever the order of its keys and whichever backend is in use."""
    return _sorted.encode(tree)


def escape(text: str) -> str:
    """Spell a string without NUL and surrogates; not as JSON does, which would join two lone surrogates into a pair."""
    return _ESCAPED.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def unescape(text: str) -> str:
    """Read what `escape` wrote; ValueError when it is not that."""
    plain = _ESCAPE.sub(lambda found: chr(int(found.group(1), 16)), text)
    if escape(plain) != text:
        raise ValueError("not escaped as ours are")
    return plain


def is_clean(text: str) -> bool:
    """Tell whether both databases keep the string as it is: no NUL, no lone surrogate."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
