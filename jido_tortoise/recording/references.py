"""What may be given where a store is wanted."""

from __future__ import annotations

from typing import Any

from jido_tortoise.errors import InvalidInputError, InvalidStorageError
from jido_tortoise.recording.store import SessionStore

#: What a store must have, for us to use it as one.
_NEEDED = ("append_events", "flush", "get_events", "get_run", "get_session", "save_run", "save_session")


def resolve_store(reference: Any = None) -> Any:
    """Answer the store that is meant.

    Args:
        reference: A store; something with a `.store`; the class of a store, or a tuple of the class and the alias of a
            connection, or a dict of its arguments: `(SessionStore, "default")`; None: `SessionStore()`.

    Raises:
        InvalidStorageError: It is none of these; `expected` says what is.
    """
    words = "a session store, its class, (class, connection alias), or something with a .store"
    try:
        found = _meant(SessionStore() if reference is None else reference)
    except (TypeError, InvalidInputError) as error:  # the class takes no such arguments
        raise InvalidStorageError.at("store", words, reference) from error
    if not _is_store(found):
        raise InvalidStorageError.at("store", words, reference)
    return found


def _meant(reference: Any) -> Any:
    if isinstance(reference, tuple):
        cls, how = reference if len(reference) == 2 else (None, None)
        return _made(cls, how) if isinstance(cls, type) else None
    if isinstance(reference, type):
        return _made(reference, None)
    return reference if _is_store(reference) else getattr(reference, "store", None)


def _made(cls: type[Any], how: Any) -> Any:
    if how is None:
        return cls()
    if isinstance(how, dict):
        return cls(**how)
    return cls(how)


def _is_store(value: Any) -> bool:
    return not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in _NEEDED)
