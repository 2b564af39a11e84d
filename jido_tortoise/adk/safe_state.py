"""What an agent puts into its state is stored, whatever it is, and on both databases alike.

A value that the codec knows is stored exactly: bytes, NaN, a text with NUL, a tuple. Any other becomes what pydantic
makes of it as JSON (a model its fields, an unregistered Enum its value), and what pydantic does not know either, such
as a function, its repr. Only the value itself is changed, not what stands around it, and the log says so.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

from jido_tortoise import codec
from jido_tortoise.errors import UnstorableError

_log = logging.getLogger("jido_tortoise")

#: Of containers within a value of the state: an event has it in its delta, and that in its actions.
_LEVELS = codec.MAX_DEPTH - 2


def safe_state(state: Mapping[str, Any], why: UnstorableError) -> dict[str, Any]:
    """Answer a state that the codec stores, for one that it refused.

    Args:
        state: Any state or delta.
        why: What the codec said of it.
    """
    _log.warning("a value of the state is stored in another form: %s", why)
    return {key: _safe(value, _LEVELS) for key, value in state.items()}


def described(value: object) -> str:
    """Answer what stands for a value that nothing can store."""
    try:
        return repr(value)
    except Exception:  # a __repr__ of the host's that fails
        return f"<{type(value).__name__}>"


def _safe(value: Any, levels: int) -> Any:
    if _is_storable(value, levels):
        return value
    if levels <= 0:
        return described(value)
    if isinstance(value, Mapping):
        return {_safe_key(key, levels - 1): _safe(item, levels - 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [_safe(item, levels - 1) for item in value]
        return tuple(items) if type(value) is tuple else items
    return _as_json(value, levels)


def _is_storable(value: Any, levels: int) -> bool:
    try:
        codec.dumps(value, max_depth=levels)
    except UnstorableError:
        return False
    return True


def _safe_key(key: Any, levels: int) -> Any:
    return key if _is_storable(key, levels) else described(key)


def _as_json(value: object, levels: int) -> Any:
    try:
        made = to_jsonable_python(value, bytes_mode="base64", inf_nan_mode="constants", fallback=described)
    except (PydanticSerializationError, ValueError, RecursionError):
        made = _safe(dict(value), levels) if isinstance(value, BaseModel) else None
    return made if made is not None and _is_storable(made, levels) else described(value)
