"""ADK sessions in the host's database: events, and the state that a session, a user and an app keep.

A name is imported when it is first used: Tortoise wants the models alone, and each process of a host would pay for all.
`TortoiseSessionService` needs google-adk, the extra `adk`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jido_tortoise.exports import lazily

if TYPE_CHECKING:
    from jido_tortoise.adk.google_adk import TortoiseSessionService
    from jido_tortoise.adk.pages import SessionPage
    from jido_tortoise.adk.pruning import Pruned
    from jido_tortoise.adk.store import AdkSessionStore
    from jido_tortoise.adk.values import (
        Actions,
        Blob,
        Content,
        Event,
        FunctionCall,
        FunctionResponse,
        Part,
        Session,
    )

__all__ = [
    "Actions",
    "AdkSessionStore",
    "Blob",
    "Content",
    "Event",
    "FunctionCall",
    "FunctionResponse",
    "Part",
    "Pruned",
    "Session",
    "SessionPage",
    "TortoiseSessionService",
]


#: Where each name stands.
_NAMES = {
    "google_adk": ("TortoiseSessionService",),
    "pages": ("SessionPage",),
    "pruning": ("Pruned",),
    "store": ("AdkSessionStore",),
    "values": ("Actions", "Blob", "Content", "Event", "FunctionCall", "FunctionResponse", "Part", "Session"),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}


def _find(name: str) -> Any:
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "google":
            raise
        from jido_tortoise.errors import ConfigError

        raise ConfigError(
            f'{name} needs google-adk from version 2 on: pip install "jido-tortoise[adk]"',
            reason="missing_extra",
            extra="adk",
        ) from error


if not TYPE_CHECKING:  # type checkers would take every misspelt name for one that it finds
    __getattr__, __dir__ = lazily(globals(), _find)
