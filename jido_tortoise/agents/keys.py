"""The names under which an agent is stored: its checkpoint's key, its thread's id, and the columns to look for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from jido_tortoise import checks, codec
from jido_tortoise.errors import CorruptRowError, InvalidAgentError, InvalidInputError, UnstorableError

#: Thread ids that would be longer are cut and end in a hash.
_MOST_READABLE: Final = 200
_READABLE_PREFIX: Final = 120


class Columns(NamedTuple):
    """What a checkpoint's row shows beside its data."""

    agent_type: str | None
    partition: str | None
    #: See `id_text`.
    agent_id: str | None
    thread_id: str | None
    thread_rev: int | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A stored key or id that cannot be decoded here: it is malformed, or no class of this process has its name.

    As a key it finds its own row, so that one such row keeps nobody from a list, or from what it holds.
    """

    #: As it is stored.
    text: str
    #: Why it cannot be read.
    error: str
    #: The primary key of a checkpoint's row; of an id "".
    key_hash: str = ""


def checkpoint_key(agent_type: str, id: Any, partition: str | None = None, scope: str | None = None) -> tuple[Any, ...]:
    """Answer the key of an agent's checkpoint; a scope (a manager's name) takes the place of the type."""
    front = agent_type if scope is None else ("scope", scope)
    return (front, id if partition is None else ("partition", partition, id))


def thread_id_for(agent_type: str, id: Any, partition: str | None = None) -> str:
    """Answer the id of an agent's own thread: readable, and another one for every type, partition and id."""
    name = _quoted(id) if isinstance(id, str) else "=" + _quoted(codec.canonical(id, path="id"))
    text = f"{_quoted(agent_type)}:{_quoted(partition or '')}:{name}"
    if len(text) <= _MOST_READABLE:
        return text
    # quote() leaves no "#", so a cut id never equals one that was not cut.
    return f"{text[:_READABLE_PREFIX]}#{sha256(text.encode()).hexdigest()}"


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")


def key_hash(key: Any) -> str:
    """Answer the primary key of a checkpoint: the same for equal keys, whatever the order in their dicts."""
    return encode_key(key)[0]


def encode_key(key: Any) -> tuple[str, str]:
    """Answer the hash of a checkpoint's key, and the key as JSON."""
    # Most keys are a type and an id. Of anything but texts a cache would take 1, 1.0 and True for one key.
    if type(key) is tuple and {*map(type, key)} == {str}:
        return _encode_texts(key)
    return (key.key_hash, key.text) if type(key) is Unreadable else _encode(key)


def decode_key(text: str, key_hash: str) -> Any:
    """Answer the key that a row holds, or what stands for it when it cannot be read."""
    try:
        return codec.loads(text)
    except CorruptRowError as error:
        return Unreadable(text, str(error), key_hash)


def _encode(key: Any) -> tuple[str, str]:
    return sha256(codec.canonical(key, path="key").encode()).hexdigest(), codec.dumps(key, path="key")


@lru_cache(maxsize=1024)
def _encode_texts(key: tuple[str, ...]) -> tuple[str, str]:
    return _encode(key)


def check_agent_id(id: Any) -> Any:
    """Answer the id when an agent can have it: a text, or any other value of the codec that is short as JSON.

    Raises:
        InvalidAgentError: It is None (`missing_agent_id`), or no column can show it.
    """
    if id is None:
        raise InvalidAgentError("id: an agent needs an id, got None", reason="missing_agent_id", path="id")
    if isinstance(id, str):
        id = checks.text(id, "id", InvalidAgentError)
    if id_text(id) is None:
        raise InvalidAgentError.at("id", f"an id of at most {checks.MOST_CHARACTERS} characters as JSON", id)
    return id


def id_text(id: Any) -> str | None:
    """Answer an agent's id as its column shows it: a text as it is, all else as "=" and its JSON; None if too long."""
    as_it_is = isinstance(id, str) and not id.startswith("=")
    text = id if as_it_is else "=" + codec.dumps(id, path="id")
    return text if checks.is_text(text) else None


def id_of(text: str | None) -> Any:
    """Answer the id that `id_text` made this text of.

    Raises:
        CorruptRowError: It made none like this, or no class here has the name of what it holds.
    """
    if text is None or not text.startswith("="):
        return text
    return codec.loads(text[1:])


def shown_id(text: str | None) -> Any:
    """Answer the id that a row shows, or what stands for it when it cannot be read."""
    try:
        return id_of(text)
    except CorruptRowError as error:
        return Unreadable(text or "", str(error))


def columns_of(data: Any) -> Columns:
    """Read the columns from a checkpoint's data; None where it is not an agent's, or names no thread."""
    if not isinstance(data, Mapping):
        return Columns(None, None, None, None, None)
    thread_id, thread_rev = pointer_of(data) or (None, None)
    agent_type, partition = data.get("agent_type"), data.get("partition")
    if not checks.is_text(agent_type):
        return Columns(None, None, None, thread_id, thread_rev)
    return Columns(
        agent_type, partition if checks.is_text(partition) else None, _shown_id(data.get("id")), thread_id, thread_rev
    )


def _shown_id(id: Any) -> str | None:
    try:
        return None if id is None else id_text(id)
    except UnstorableError:
        return None


def pointer_of(data: Any) -> tuple[str, int] | None:
    """Answer id and revision of the journal that a checkpoint's data points at; None when it has no such pointer."""
    pointer = data.get("thread") if isinstance(data, Mapping) else None
    if not isinstance(pointer, Mapping):
        return None
    id, rev = pointer.get("id"), pointer.get("rev")
    return (id, rev) if checks.is_text(id) and checks.is_whole(rev) else None


def check_partition(partition: Any) -> str | None:
    """Answer the partition, or None; "" is refused, so that a missing tenant never means everybody's agents."""
    return None if partition is None else checks.text(partition, "partition", InvalidInputError)
