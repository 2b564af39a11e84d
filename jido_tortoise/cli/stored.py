"""Stored agents as they are in the database: JSON with our tags, so that no class of the host is needed."""

from __future__ import annotations

import importlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from jido_tortoise import codec, journal, seams
from jido_tortoise.agents import callbacks, keys
from jido_tortoise.agents.agent import Agent, find_agent_type
from jido_tortoise.agents.models import JidoCheckpoint
from jido_tortoise.agents.statements import THREADS
from jido_tortoise.agents.storage import CheckpointInfo
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.database import Db, resolve
from jido_tortoise.errors import ConfigError, CorruptRowError, InvalidInputError, NotFoundError, said

#: How many checkpoints a walk reads at once.
_PAGE = 500


@dataclass(frozen=True, slots=True)
class StoredAgent:
    """A checkpoint, undecoded."""

    key: Any
    version: int
    data: Any

    @property
    def thread_id(self) -> str | None:
        """The journal that it points at."""
        pointer = keys.pointer_of(self.data)
        return None if pointer is None else pointer[0]

    @property
    def shown_key(self) -> str:
        """Its key for people."""
        return self.key.text if type(self.key) is keys.Unreadable else repr(self.key)

    def as_json(self) -> dict[str, Any]:
        """Answer it for `json.dumps`."""
        return {"key": key_as_json(self.key), "version": self.version, "data": self.data}


def key_as_json(key: Any) -> Any:
    """Answer a key for `json.dumps`; one that is no JSON in the database as the text that it is."""
    text = keys.encode_key(key)[1]
    try:
        return codec.loads_raw(text)
    except CorruptRowError:
        return text


def key_of(name: Sequence[str], partition: str | None) -> Any:
    """Answer the key that is meant by its one word (JSON of the codec, else a text), or by an agent's type and id."""
    if len(name) == 2:
        return keys.checkpoint_key(name[0], keys.id_of(name[1]), partition or None)
    if len(name) > 2 or partition:
        raise InvalidInputError.at("name", "KEY alone, or TYPE ID with an optional --partition", said(" ".join(name)))
    try:
        return codec.loads(name[0])
    except CorruptRowError:
        return name[0]


async def named(storage: TortoiseStorage, name: Sequence[str], partition: str | None) -> Any:
    """Answer the key that is meant, as `key_of` does; what cannot be read here is found by what a list shows of it.

    Raises:
        NotFoundError: The id cannot be read, and none is listed with it.
    """
    key, why = None, None
    try:
        key = key_of(name, partition)
        if await storage.read_raw_checkpoint(key) is not None:
            return key
    except CorruptRowError as error:  # an id of a class that is not imported here
        why = error
    async for item in listed(storage, name[0] if len(name) == 2 else None, partition or "" if len(name) == 2 else None):
        if _is_shown_as(item, name[-1], by_key=len(name) == 1):
            return item.key
    if why is None:
        return key  # `find` says what that means
    raise NotFoundError(f"no checkpoint is listed as {' '.join(name)}: {why}", key=tuple(name)) from why


def _is_shown_as(item: CheckpointInfo, word: str, *, by_key: bool) -> bool:
    if by_key:
        return type(item.key) is keys.Unreadable and _same_json(item.key.text, word)
    if type(item.agent_id) is keys.Unreadable:
        return _same_json(item.agent_id.text.removeprefix("="), word.removeprefix("="))
    return type(item.key) is keys.Unreadable and item.agent_id is not None and keys.id_text(item.agent_id) == word


def _same_json(one: str, other: str) -> bool:
    try:
        return one == other or _sorted(one) == _sorted(other)
    except CorruptRowError:
        return False


def _sorted(text: str) -> str:
    return json.dumps(codec.loads_raw(text), sort_keys=True)


async def listed(
    storage: TortoiseStorage, agent_type: str | None, partition: str | None
) -> AsyncIterator[CheckpointInfo]:
    """Walk all checkpoints of a type and partition, page by page."""
    after: str | None = None
    while True:
        page = await storage.list_checkpoints(agent_type=agent_type, partition=partition, limit=_PAGE, after=after)
        for item in page.items:
            yield item
        after = page.next
        if after is None:
            return


async def find(storage: TortoiseStorage, key: Any) -> StoredAgent:
    """Answer the checkpoint under a key.

    Raises:
        NotFoundError: There is none.
        CorruptRowError: It is no JSON.
    """
    found = await storage.read_raw_checkpoint(key)
    if found is None:
        cure = (
            "an agent is named by TYPE ID"
            if isinstance(key, str)
            else "when its journal is there, `agents repair` helps"
        )
        raise NotFoundError(f"no checkpoint under {key!r}; {cure}", key=key)
    text, version = found
    return StoredAgent(key, version, codec.loads_raw(text, path=f"checkpoint {key!r}: data"))


async def last_entries(storage: TortoiseStorage, agent: StoredAgent, count: int) -> list[dict[str, Any]]:
    """Answer the last entries of the agent's journal."""
    if agent.thread_id is None or count == 0:
        return []
    loaded = await journal.load(_db(storage), THREADS, (agent.thread_id,), tail=count)
    return [] if loaded is None else [_entry(row) for row in loaded[1]]


async def all_entries(storage: TortoiseStorage, agent: StoredAgent) -> AsyncIterator[dict[str, Any]]:
    """Walk the agent's journal in bounded memory."""
    if agent.thread_id is not None:
        async for row in journal.walk(_db(storage), THREADS, (agent.thread_id,)):
            yield _entry(row)


def _db(storage: TortoiseStorage) -> Db:
    return resolve(storage.connection, JidoCheckpoint, schema=storage.schema)


def _entry(row: Sequence[Any]) -> dict[str, Any]:
    seq, id, at_ms, kind, payload, refs = row
    return {
        "seq": seq,
        "id": id,
        "at": _moment(at_ms),
        "kind": kind,
        "payload": _readable(payload),
        "refs": _readable(refs),
    }


def _moment(at_ms: int) -> str | int:
    """Answer a time as a text; beyond the year 9999, which a journal takes and Python has not, in milliseconds."""
    try:
        return seams.to_datetime(at_ms).isoformat(timespec="milliseconds")
    except OverflowError:
        return at_ms


def _readable(text: str) -> Any:
    try:
        return codec.loads_raw(text)
    except CorruptRowError as error:
        return {"unreadable": text, "error": str(error)}


# -- repair -------------------------------------------------------------------------------------------------------


def import_agent(name: str, agent_type: str) -> type[Agent[Any]]:
    """Import an agent's class, named "package.module:Class".

    Raises:
        ConfigError: It cannot be imported, or is of another type.
    """
    module, _, attribute = name.partition(":")
    try:
        cls = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"--class: cannot import {name!r} (package.module:Class): {error}") from error
    if agent_type not in (getattr(cls, "agent_type", None), *getattr(cls, "aliases", ())):
        raise ConfigError(
            f"--class: {name} is of the agent type {getattr(cls, 'agent_type', None)!r}, not {agent_type!r}"
        )
    found: type[Agent[Any]] = cls
    return found


def class_of(agent_type: str) -> type[Agent[Any]] | None:
    """Answer the class that declares this type when the config has imported it."""
    found: Any = find_agent_type(agent_type)
    return found  # type: ignore[no-any-return]


def stand_in(agent_type: str) -> type[Agent[Any]]:
    """Make a class for an agent whose own is not at hand; it does for all but rebuilding a checkpoint."""
    return type("StandIn", (Agent,), {}, agent_type=agent_type)


async def refuse_unknown_classes(storage: TortoiseStorage, key: Any) -> None:
    """Keep a repair from taking a checkpoint for unreadable whose classes are only not imported here.

    Raises:
        ConfigError: It holds objects of such classes.
    """
    found = await storage.read_raw_checkpoint(key)
    if found is None:
        return
    try:
        codec.loads_raw(found[0])
    except CorruptRowError:
        return  # really unreadable
    try:
        codec.loads(found[0])
    except CorruptRowError as error:
        raise ConfigError(
            f"the checkpoint holds what cannot be read here ({error}); when its classes are only not imported, name the"
            " agent's own by --class package.module:Class"
        ) from error


async def refuse_lost_checkpoint(storage: TortoiseStorage, key: Any) -> None:
    """Keep a repair without the agent's class from rebuilding a checkpoint.

    Raises:
        ConfigError: There is none, or it is malformed.
    """
    try:
        stored = await storage.get_checkpoint(key)
        if stored is not None:
            callbacks.check_checkpoint(stored)
            return
        what = "is not there"
    except CorruptRowError as error:
        what = f"is malformed ({error})"
    raise ConfigError(
        f"the checkpoint under {key!r} {what}: to rebuild it, name its class by --class package.module:Class"
    )
