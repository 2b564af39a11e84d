"""Durable agents for the async Python stack: hibernate, thaw and an append-only journal on Tortoise ORM.

A name is imported when it is first used: `import jido_tortoise` costs next to nothing, and a host that only lists our
apps in its settings imports no model before Tortoise asks for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jido_tortoise.exports import lazily

if TYPE_CHECKING:
    from jido_tortoise import schema
    from jido_tortoise.agents.agent import Agent, AgentLike
    from jido_tortoise.agents.care import Repair, compact, delete_agent, fork_thread, persist_schedule, repair
    from jido_tortoise.agents.manager import AgentManager
    from jido_tortoise.agents.memory import InMemoryStorage
    from jido_tortoise.agents.persist import hibernate, thaw
    from jido_tortoise.agents.storage import Appended, Checkpoint, CheckpointInfo, Page, Storage, ThreadHead
    from jido_tortoise.agents.thread import Entry, Thread
    from jido_tortoise.agents.tortoise import TortoiseStorage
    from jido_tortoise.agents.tracking import tracked
    from jido_tortoise.codec import register
    from jido_tortoise.errors import (
        AlreadyExistsError,
        AmbiguousConnectionError,
        AppNotRegisteredError,
        CallbackError,
        ConfigError,
        ConflictError,
        ConnectionsClosedError,
        CorruptContentError,
        CorruptRowError,
        DuplicateEntryError,
        InvalidAgentError,
        InvalidEntryError,
        InvalidInputError,
        InvalidRecordError,
        InvalidStorageError,
        InvalidTransitionError,
        JidoError,
        MissingThreadError,
        NotFoundError,
        NotInitialisedError,
        ProviderError,
        ProviderUnavailableError,
        RunStoppedError,
        SchemaError,
        StorageBusyError,
        StorageError,
        StorageTimeoutError,
        StorageUnavailableError,
        ThawError,
        ThreadMismatchError,
        TransactionError,
        UnstorableError,
        UnsupportedDatabaseError,
    )
    from jido_tortoise.jido import Jido
    from jido_tortoise.schema.apps import apps
    from jido_tortoise.schema.upgrade import upgrade
    from jido_tortoise.schema.verify import verify
    from jido_tortoise.transactions import transaction

    __version__: str

__all__ = [
    "Agent",
    "AgentLike",
    "AgentManager",
    "AlreadyExistsError",
    "AmbiguousConnectionError",
    "AppNotRegisteredError",
    "Appended",
    "CallbackError",
    "Checkpoint",
    "CheckpointInfo",
    "ConfigError",
    "ConflictError",
    "ConnectionsClosedError",
    "CorruptContentError",
    "CorruptRowError",
    "DuplicateEntryError",
    "Entry",
    "InMemoryStorage",
    "InvalidAgentError",
    "InvalidEntryError",
    "InvalidInputError",
    "InvalidRecordError",
    "InvalidStorageError",
    "InvalidTransitionError",
    "Jido",
    "JidoError",
    "MissingThreadError",
    "NotFoundError",
    "NotInitialisedError",
    "Page",
    "ProviderError",
    "ProviderUnavailableError",
    "Repair",
    "RunStoppedError",
    "SchemaError",
    "Storage",
    "StorageBusyError",
    "StorageError",
    "StorageTimeoutError",
    "StorageUnavailableError",
    "ThawError",
    "Thread",
    "ThreadHead",
    "ThreadMismatchError",
    "TortoiseStorage",
    "TransactionError",
    "UnstorableError",
    "UnsupportedDatabaseError",
    "__version__",
    "apps",
    "compact",
    "delete_agent",
    "fork_thread",
    "hibernate",
    "persist_schedule",
    "register",
    "repair",
    "schema",
    "thaw",
    "tracked",
    "transaction",
    "upgrade",
    "verify",
]

#: Where each name stands; those of errors stand in `errors`.
_NAMES = {
    "agents.agent": ("Agent", "AgentLike"),
    "agents.care": ("Repair", "compact", "delete_agent", "fork_thread", "persist_schedule", "repair"),
    "agents.manager": ("AgentManager",),
    "agents.memory": ("InMemoryStorage",),
    "agents.persist": ("hibernate", "thaw"),
    "agents.storage": ("Appended", "Checkpoint", "CheckpointInfo", "Page", "Storage", "ThreadHead"),
    "agents.thread": ("Entry", "Thread"),
    "agents.tortoise": ("TortoiseStorage",),
    "agents.tracking": ("tracked",),
    "codec": ("register",),
    "jido": ("Jido",),
    "schema": ("apps", "upgrade", "verify"),
    "transactions": ("transaction",),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}


def _find(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("jido-tortoise")
    if name == "schema":
        return import_module(f"{__name__}.schema")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)


if not TYPE_CHECKING:  # type checkers would take every misspelt name for one that it finds
    __getattr__, __dir__ = lazily(globals(), _find)
