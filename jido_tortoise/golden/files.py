"""The golden files themselves: JSON, one agent a file, written once and then only read."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from jido_tortoise import codec, seams
from jido_tortoise.agents import keys, persist
from jido_tortoise.agents.agent import AgentLike
from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise.agents.storage import ThreadHead
from jido_tortoise.agents.thread import Entry
from jido_tortoise.errors import InvalidInputError, said
from jido_tortoise.golden.anonymise import Anonymiser, codec_text

#: Of the file, and of the JSON in it with its tags; a file of a later format is refused.
FORMAT = 1
CODEC = 1

#: Under what a file's agent is stored to be thawed.
KEY = "golden"
#: When golden time begins: 2000-01-01, in milliseconds.
_BEGIN_MS = 946_684_800_000


@dataclass(frozen=True)
class Golden:
    """One agent as it was stored, with its values replaced."""

    agent_type: str
    #: The version of its class's state when it was stored.
    state_version: int
    #: The checkpoint's data, JSON with our tags.
    checkpoint: dict[str, Any]
    #: Revision, first number, metadata and entries of its journal; None when it had none.
    journal: dict[str, Any] | None
    format: int = FORMAT
    codec: int = CODEC
    #: Where it was read from.
    path: Path | None = field(default=None, compare=False)

    def text(self) -> str:
        """Answer it as the file's text."""
        fields = asdict(self)
        del fields["path"]
        return json.dumps(fields, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


# -- writing ----------------------------------------------------------------------------------------------------------


def kind_of(data: Any) -> tuple[str, int] | None:
    """Answer the type and state version of a checkpoint's data; None when they are no agent's."""
    agent_type = keys.columns_of(data).agent_type
    return None if agent_type is None else (agent_type, data.get("version") or 1)


async def anonymised(
    data: dict[str, Any], head: ThreadHead | None, entries: AsyncIterator[dict[str, Any]], replace: Anonymiser
) -> Golden:
    """Make the golden file of a stored agent.

    Args:
        data: The checkpoint's, as JSON with our tags.
        head: Of its journal.
        entries: Of its journal: dicts with the fields of an entry, as JSON with our tags.
        replace: What replaces the values.
    """
    made = {name: replace(data[name], name) for name in sorted(data) if name not in ("agent_type", "version", "thread")}
    pointer = keys.pointer_of(data)
    checkpoint = made | {"thread": pointer and {"id": replace.text_like(pointer[0]), "rev": pointer[1]}}
    for name in ("agent_type", "version"):
        checkpoint |= {name: data[name]} if name in data else {}
    journal = None if head is None else await _journal(head, entries, replace)
    return Golden(data["agent_type"], data.get("version") or 1, checkpoint, journal)


async def _journal(head: ThreadHead, entries: AsyncIterator[dict[str, Any]], replace: Anonymiser) -> dict[str, Any]:
    metadata = replace(codec.loads_raw(codec.dumps(head.metadata)), "metadata")
    made = [_entry(entry, replace) async for entry in entries]
    return {"rev": head.rev, "first_seq": head.first_seq, "metadata": metadata, "entries": made}


def _entry(entry: Mapping[str, Any], replace: Anonymiser) -> dict[str, Any]:
    return {
        "seq": entry["seq"],
        "id": replace.text_like(entry["id"]),
        "at": seams.to_datetime(_BEGIN_MS + 1000 * entry["seq"]).isoformat(),
        "kind": entry["kind"],
        "payload": replace(entry["payload"], "payload"),
        "refs": replace(entry["refs"], "refs"),
    }


def write(golden: Golden, folder: Path) -> Path | None:
    """Write a new file; None when one with the same content is there. Files that are there never change."""
    stem = f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', golden.agent_type)}-v{golden.state_version}"
    text, number = golden.text(), 1
    while (path := folder / f"{stem}-{number:04d}.json").exists():
        if path.read_text("utf-8") == text:
            return None
        number += 1
    path.write_text(text, "utf-8")
    return path


# -- reading ----------------------------------------------------------------------------------------------------------


def read(path: Path) -> Golden:
    """Read a golden file.

    Raises:
        InvalidInputError: It is none, or one of a later format.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        golden = Golden(**found | {"path": path})
    except (OSError, TypeError, ValueError) as error:
        raise InvalidInputError.at(str(path), "a golden file", said(str(error))) from error
    if (golden.format, golden.codec) > (FORMAT, CODEC):
        what = f"format {golden.format} with codec {golden.codec}"
        raise InvalidInputError.at(str(path), f"a golden file of format {FORMAT}, codec {CODEC} at most", said(what))
    return golden


async def in_memory(golden: Golden) -> InMemoryStorage:
    """Answer a storage that holds the agent as it was stored, under `KEY`.

    Raises:
        CorruptRowError: Something in it cannot be decoded, such as an object of a class that is not registered.
    """
    storage = InMemoryStorage()
    await storage.put_checkpoint(KEY, codec.loads(codec_text(golden.checkpoint), path="checkpoint"))
    pointer = keys.pointer_of(golden.checkpoint)
    if golden.journal is not None and pointer is not None:
        await _fill(storage, pointer[0], golden.journal)
    return storage


async def _fill(storage: InMemoryStorage, thread_id: str, journal: Mapping[str, Any]) -> None:
    metadata = codec.loads(codec_text(journal["metadata"]), path="metadata")
    trimmed = [Entry("trimmed") for _ in range(journal["first_seq"])]
    await storage.append_thread(thread_id, [*trimmed, *map(_read_entry, journal["entries"])], metadata=metadata)
    if trimmed:
        await storage.trim_thread(thread_id, before=len(trimmed))


def _read_entry(found: Mapping[str, Any]) -> Entry:
    path = f"entries[{found['seq']}]"
    payload, refs = (codec.loads(codec_text(found[name]), path=f"{path}.{name}") for name in ("payload", "refs"))
    return Entry(found["kind"], payload, refs, id=found["id"], at=datetime.fromisoformat(found["at"]))


async def thaw(storage: InMemoryStorage, cls: type[Any]) -> AgentLike:
    """Thaw what `in_memory` has put there as an agent of this class, with today's code.

    Raises:
        CorruptRowError, ThawError, CallbackError: Today's code cannot.
    """
    checkpoint = await storage.get_checkpoint(KEY)
    id = checkpoint.data.get("id") if checkpoint and isinstance(checkpoint.data, dict) else None
    agent: AgentLike = await persist.thaw(storage, cls, id, key=KEY)
    return agent
