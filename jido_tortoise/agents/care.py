"""What is done with stored agents beside hibernate and thaw: schedule, deletion, compaction, forks, repair."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from jido_tortoise import checks, codec, seams, telemetry
from jido_tortoise.agents import callbacks
from jido_tortoise.agents.agent import AgentLike, normalise_schedule
from jido_tortoise.agents.backing import Backing
from jido_tortoise.agents.keys import checkpoint_key, thread_id_for
from jido_tortoise.agents.persist import hibernate
from jido_tortoise.agents.resolve import StorageLike, capabilities_of, resolve_storage
from jido_tortoise.agents.storage import (
    AtomicSave,
    Capability,
    Checkpoint,
    Copying,
    Repairing,
    Storage,
    ThreadHead,
    Trimming,
)
from jido_tortoise.agents.stored import Stored
from jido_tortoise.agents.thread import Thread
from jido_tortoise.attempts import repeated
from jido_tortoise.errors import (
    ConflictError,
    CorruptRowError,
    InvalidInputError,
    InvalidStorageError,
    NotFoundError,
    shown,
)

#: How often a change to a stored checkpoint is tried when others change it too.
_ROUNDS = 8


def need(storage: Storage, capability: Capability, what: str) -> None:
    """Refuse a storage that lacks what an operation needs.

    Raises:
        InvalidStorageError: It does not declare the capability: `missing_capability`.
    """
    if capability not in capabilities_of(storage):
        raise InvalidStorageError(
            f"{what} needs a storage with the capability {capability!r}; {type(storage).__name__} declares"
            f" {sorted(capabilities_of(storage))}",
            reason="missing_capability",
            capability=capability,
        )


async def persist_schedule(
    storage: StorageLike, agent: AgentLike, schedule: Mapping[str, Any], *, key: Any = None
) -> None:
    """Store the agent's scheduler manifest alone, over the one in its checkpoint; without a checkpoint, hibernate it.

    Args:
        storage: A storage, something with a `.storage`, or a spec.
        agent: The agent; its own state and thread are not stored when there is a checkpoint.
        schedule: job id -> {"cron_expression", "message", "timezone"}; empty removes it.
        key: Another key than the agent's own.

    Raises:
        CorruptRowError: The checkpoint is malformed; nothing was written.
    """
    callbacks.check_names(agent)
    if not isinstance(schedule, Mapping):
        raise InvalidInputError.at("schedule", "a mapping of job ids to jobs", schedule)
    callbacks.give(agent, "schedule", normalise_schedule(schedule))
    backing = Backing.of(storage)
    at = await _key_of(backing, agent) if key is None else key
    for _ in range(_ROUNDS):
        stored = await backing.storage.get_checkpoint(at)
        if stored is None:
            await hibernate(backing.storage, agent, key=at)
            return
        callbacks.check_checkpoint(stored)
        if await _patched(backing.storage, stored, agent):
            return
    raise ConflictError(f"checkpoint {shown(at)} kept changing while its schedule was stored", key=at)


async def _key_of(backing: Backing, agent: AgentLike) -> Any:
    known: Stored | None = getattr(agent, "_stored", None)
    if known is not None and known.storage == backing.storage:
        return known.key
    partition = getattr(agent, "partition", None)
    return checkpoint_key(await _stored_name(backing, type(agent), agent.id, partition), agent.id, partition)


async def _stored_name(backing: Backing, cls: type[AgentLike], id: Any, partition: str | None) -> str:
    """Answer under which of its class's names an agent is stored, before or after a renaming; the newest if it is not.

    A checkpoint goes before a journal: that is where thaw looks.
    """
    names: tuple[str, ...] = (cls.agent_type, *getattr(cls, "aliases", ()))
    if len(names) == 1:
        return names[0]
    for name in names:
        if await _has_checkpoint(backing.storage, checkpoint_key(name, id, partition)):
            return name
    for name in names:
        if await backing.head(thread_id_for(name, id, partition)) is not None:
            return name
    return names[0]


async def _has_checkpoint(storage: Storage, key: Any) -> bool:
    try:
        return await storage.get_checkpoint(key) is not None
    except CorruptRowError:
        return True


async def _patched(storage: Storage, stored: Checkpoint, agent: AgentLike) -> bool:
    data = {name: value for name, value in stored.data.items() if name != "schedule"}
    data["state"] = {name: value for name, value in (data.get("state") or {}).items() if name != "__thread__"}
    schedule: Mapping[str, Any] = agent.schedule  # type: ignore[attr-defined]
    if schedule:
        data["schedule"] = schedule
    guarded = "compare_and_set" in capabilities_of(storage)
    try:
        put = await storage.put_checkpoint(stored.key, data, expected_version=stored.version if guarded else None)
    except ConflictError:
        return False
    _follow(storage, agent, stored, put.version)
    return True


def _follow(storage: Storage, agent: AgentLike, before: Checkpoint, after: int) -> None:
    # The agent's own copy is still what is stored but for the schedule: it may go on without a conflict.
    known: Stored | None = getattr(agent, "_stored", None)
    if known is None or known.storage != storage or known.key != before.key:
        return
    if known.version == before.version or known.landed(before.version, before.data):
        callbacks.give(agent, "_stored", known.moved_to(after, known.rev))


async def delete_agent(
    storage: StorageLike, cls: type[AgentLike], id: Any, *, partition: str | None = None, key: Any = None
) -> None:
    """Delete the agent's checkpoint and its journal; nothing happens when there is neither."""
    callbacks.check_class(cls)
    backing = Backing.of(storage)
    names = (cls.agent_type, *getattr(cls, "aliases", ()))
    with telemetry.operation("delete_agent", agent_type=cls.agent_type, agent_id=id):
        for name in names:
            if key is None:
                await _delete(backing, checkpoint_key(name, id, partition), thread_id_for(name, id, partition))
    if key is not None:  # the journal by the agent's id may be that of another agent, under the key of its own
        await _delete(backing, key, None)


async def _delete(backing: Backing, key: Any, thread_id: str | None) -> None:
    if "atomic_save" in capabilities_of(backing.storage):
        await cast(AtomicSave, backing.storage).delete_agent(key, thread_id)
        return
    stored = await backing.storage.get_checkpoint(key)
    pointer = callbacks.pointer_of(stored) if stored is not None and isinstance(stored.data, dict) else None
    await backing.storage.delete_checkpoint(key)
    for name in {name for name in (thread_id, pointer[0] if pointer else None) if name is not None}:
        await backing.storage.delete_thread(name)


async def compact(storage: StorageLike, thread_id: str, *, keep: int) -> int:
    """Drop all but the last `keep` entries of a journal, and answer how many went; revision and numbers stay.

    Raises:
        NotFoundError: There is no such journal.
    """
    checks.whole(keep, "keep")
    backing = Backing.of(storage)
    need(backing.storage, "trim", "compaction")
    head = await backing.head(thread_id)
    if head is None:
        raise NotFoundError(f"no thread {thread_id!r}", thread_id=thread_id)
    return await cast(Trimming, backing.storage).trim_thread(thread_id, before=max(0, head.rev - keep))


async def compact_agent(
    storage: StorageLike, cls: type[AgentLike], id: Any, *, partition: str | None = None, keep: int
) -> int:
    """Drop all but the last `keep` entries of the journal that an agent's checkpoint points at; see `compact`.

    Raises:
        NotFoundError: There is no such journal.
        CorruptRowError: The checkpoint is malformed.
    """
    callbacks.check_class(cls)
    backing = Backing.of(storage)
    name = await _stored_name(backing, cls, id, partition)
    stored = await backing.storage.get_checkpoint(checkpoint_key(name, id, partition))
    if stored is not None:
        callbacks.check_checkpoint(stored)
    pointer = None if stored is None else callbacks.pointer_of(stored)
    return await compact(backing.storage, pointer[0] if pointer else thread_id_for(name, id, partition), keep=keep)


async def fork_thread(storage: StorageLike, source: str, target: str, *, upto: int | None = None) -> ThreadHead:
    """Copy a journal, or its entries below `upto`, under a new id; both go on independently.

    Raises:
        NotFoundError: There is no source.
        AlreadyExistsError: The target exists.
    """
    found = resolve_storage(storage)
    need(found, "copy", "a fork")
    return await cast(Copying, found).copy_thread(source, target, upto=upto)


# -- repair -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What a repair found and did."""

    key: Any
    #: One sentence for each thing that was done; empty when nothing was wrong.
    done: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.done)


async def repair(
    storage: StorageLike, cls: type[AgentLike], id: Any, *, partition: str | None = None, key: Any = None
) -> Repair:
    """Make an agent thaw again with all that can be read of it, and say what was done.

    A head is rebuilt from its entries, a pointer from the head. A checkpoint that is missing or cannot be read is
    rebuilt as a fresh agent with the journal that is there; the unreadable text is kept under the key
    ("unreadable", key, time). What somebody else writes meanwhile is not overwritten: it is looked at in its place.

    Raises:
        NotFoundError: There is neither a checkpoint nor a journal.
        CorruptRowError: The journal has a gap; nothing can tell what stood there.
        ConflictError: Checkpoint or journal changed all the time.
    """
    callbacks.check_class(cls)
    backing = Backing.of(storage)
    with telemetry.operation("repair", agent_type=cls.agent_type, agent_id=id) as span:
        found = await repeated(lambda: _repaired(backing, cls, id, partition, key), ConflictError)
        span.set(repaired=len(found.done))
    return found


async def _repaired(backing: Backing, cls: type[AgentLike], id: Any, partition: str | None, key: Any) -> Repair:
    name = cls.agent_type if key is not None else await _stored_name(backing, cls, id, partition)
    at = checkpoint_key(name, id, partition) if key is None else key
    found = Repair(key=at)
    stored, version = await _readable(backing.storage, at, found)
    pointer = callbacks.pointer_of(stored) if stored is not None else None
    thread_id = pointer[0] if pointer else thread_id_for(name, id, partition)
    head = await _sound_head(backing, thread_id, found)
    if stored is None:
        agent = await _fresh(backing, lambda thread: cls.rebuild(id, partition, thread), thread_id, head, found)  # type: ignore[attr-defined]
        await _store_over(backing, agent, at, version, head)
        found.done.append(f"the checkpoint was rebuilt over {thread_id!r} at revision {head.rev if head else 0}")
    elif pointer is not None:
        await _repoint(backing, stored, pointer, head, found)
    return found


async def _readable(storage: Storage, key: Any, found: Repair) -> tuple[Checkpoint | None, int]:
    """Answer the checkpoint, or None when it is missing or was set aside; and its version, 0 when it is missing."""
    try:
        return await _sound(storage, key)
    except CorruptRowError:
        need(storage, "repair", "keeping an unreadable checkpoint")
    raw = await cast(Repairing, storage).read_raw_checkpoint(key)
    try:
        return await _sound(storage, key)  # the text that was read is that of this version, or of one before it
    except CorruptRowError as error:
        aside = ("unreadable", codec.canonical(key), seams.now_ms())
        await storage.put_checkpoint(aside, {"text": raw[0] if raw else None, "error": str(error)})
        found.done.append(f"the checkpoint could not be read ({error}); its text is kept under {aside!r}")
        return None, raw[1] if raw else 0


async def _sound(storage: Storage, key: Any) -> tuple[Checkpoint | None, int]:
    stored = await storage.get_checkpoint(key)
    if stored is None:
        return None, 0
    callbacks.check_checkpoint(stored)
    return stored, stored.version


async def _sound_head(backing: Backing, thread_id: str, found: Repair) -> ThreadHead | None:
    if "repair" in capabilities_of(backing.storage):
        done = await cast(Repairing, backing.storage).repair_thread(thread_id)
        if done:
            found.done.append(done)
    return await backing.head(thread_id)


async def _fresh(
    backing: Backing,
    rebuild: Callable[[Thread], AgentLike],
    thread_id: str,
    head: ThreadHead | None,
    found: Repair,
) -> AgentLike:
    if head is None and not found.done:
        raise NotFoundError(
            f"neither a checkpoint under {shown(found.key)} nor a journal {thread_id!r}",
            key=found.key,
            thread_id=thread_id,
        )
    thread = await backing.read_thread(thread_id, head, head.rev) if head is not None else None
    return rebuild(thread or Thread(thread_id))


async def _store_over(backing: Backing, agent: AgentLike, key: Any, version: int, head: ThreadHead | None) -> None:
    """Store an agent over what was found, and nothing else."""
    # A storage that saves in steps would read the checkpoint, to compare it.
    guarded = "atomic_save" in capabilities_of(backing.storage)
    if guarded:
        callbacks.give(agent, "_stored", Stored(backing.storage, key, version, head.rev if head is not None else 0))
    try:
        await hibernate(backing.storage, agent, key=key, force=not guarded)
    except CorruptRowError as error:  # it was refused, and looked at the checkpoint to know why
        raise ConflictError(f"the journal of {shown(agent.id)} moved while it was repaired", key=key) from error


async def _repoint(
    backing: Backing, stored: Checkpoint, pointer: tuple[str, int], head: ThreadHead | None, found: Repair
) -> None:
    thread_id, rev = pointer
    there = head.rev if head is not None else 0
    if there == rev:
        return
    data = stored.data | {"thread": {"id": thread_id, "rev": there}}
    guarded = "compare_and_set" in capabilities_of(backing.storage)
    await backing.storage.put_checkpoint(stored.key, data, expected_version=stored.version if guarded else None)
    lost = f"; the {rev - there} entries behind it are gone" if there < rev else ""
    found.done.append(f"the pointer to {thread_id!r} was moved from revision {rev} to {there}{lost}")
