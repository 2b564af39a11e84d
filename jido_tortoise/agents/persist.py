"""Hibernate and thaw: how an agent goes into a storage and comes out of it.

The law: a checkpoint points at its journal by id and revision, and never holds an entry; journal and checkpoint change
together or not at all; nobody's write is lost without a ConflictError or a `force`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast

from jido_tortoise import telemetry
from jido_tortoise.agents import callbacks
from jido_tortoise.agents.agent import AgentLike
from jido_tortoise.agents.backing import Backing
from jido_tortoise.agents.keys import checkpoint_key
from jido_tortoise.agents.resolve import StorageLike
from jido_tortoise.agents.storage import Checkpoint, Saved, Storage, ThreadHead, ThreadWrite
from jido_tortoise.agents.stored import Attempt, Stored
from jido_tortoise.agents.thread import Entry, Thread
from jido_tortoise.errors import (
    ConflictError,
    InvalidAgentError,
    InvalidInputError,
    MissingThreadError,
    NotFoundError,
    ThreadMismatchError,
    shown,
)

A = TypeVar("A", bound=AgentLike)
Journal = Literal["latest", "pinned", "exact"]

_POLICIES = ("latest", "pinned", "exact")
#: How often hibernate and thaw look again when what is stored turns out to be their own, or moved while they read.
_ROUNDS = 4


Look = Callable[[dict[str, Any]], object]


def _do_not_look(_: dict[str, Any]) -> None:
    pass


# -- hibernate ----------------------------------------------------------------------------------------------------


async def hibernate(storage: StorageLike, agent: AgentLike, *, key: Any = None, force: bool = False) -> None:
    """Store the agent's state and what its journal lacks, in one step, as they are at one moment.

    An agent that was thawed or stored before is guarded: when another writer has changed its checkpoint or its journal
    since, nothing is written. One that never met this storage overwrites the checkpoint.

    Args:
        storage: A storage, something with a `.storage`, or a spec.
        agent: Any object with an id, a state and an agent_type.
        key: Another key than the agent's own.
        force: Overwrite whatever is there; entries of others stay in the journal, ours follow them.

    Raises:
        ConflictError: Another writer was there first.
        InvalidAgentError: `invalid_agent`, or `missing_agent_id`.
        CallbackError: The agent's `checkpoint` raised or returned no map: `checkpoint_callback_failed`.
        UnstorableError: Something in state or entries cannot be stored; nothing was written.
        StorageUnavailableError: The database was not there; call it again, nothing is written twice.
    """
    await write(storage, agent, key=key, force=force)


async def write(storage: StorageLike, agent: AgentLike, *, key: Any, force: bool, look: Look = _do_not_look) -> None:
    """Hibernate; `look` is shown the checkpoint's data at the moment of which all that is written is."""
    callbacks.check_names(agent)
    backing = Backing.of(storage)
    stored = _known(agent, backing, key)
    at = key if key is not None else stored.key if stored else _key_of(agent)
    with telemetry.operation("hibernate", agent_type=agent.agent_type, agent_id=agent.id, force=force) as span:
        if force:
            saved = await _overwrite(backing, agent, at, look)
        else:
            saved = await _save(backing, agent, at, stored, look)
        span.set(version=saved.version, rev=saved.rev, provisional=saved.provisional)


def _key_of(agent: AgentLike) -> Any:
    return checkpoint_key(agent.agent_type, agent.id, getattr(agent, "partition", None))


def _known(agent: AgentLike, backing: Backing, key: Any) -> Stored | None:
    stored: Stored | None = getattr(agent, "_stored", None)
    if stored is None or stored.storage != backing.storage or (key is not None and stored.key != key):
        return None
    return stored


async def _save(backing: Backing, agent: AgentLike, key: Any, stored: Stored | None, look: Look) -> Saved:
    stored = stored or Stored(storage=backing.storage, key=key)
    if stored.unsure:  # our last write may have been undone with the host's transaction, or may never have arrived
        stored = await _reconciled(backing, agent, stored) or stored
    for _ in range(_ROUNDS):
        try:
            return await _try_save(backing, agent, stored, look)
        except ConflictError as conflict:
            ours = await _reconciled(backing, agent, stored)
            if ours is None or ours.same_place(stored):
                raise _explained(conflict, agent, key) from conflict
            stored = ours
    raise ConflictError(f"agent {shown(agent.id)}: its checkpoint kept changing while it was stored", key=key)


async def _try_save(backing: Backing, agent: AgentLike, stored: Stored, look: Look) -> Saved:
    data = await callbacks.checkpoint(agent)
    # No await from here until the storage has made JSON of it: other tasks may be changing the agent.
    look(data)
    thread = _thread_of(agent)
    write = None if thread is None or stored.keeps_pointer(thread) else _write_of(thread, stored)
    attempt = Attempt(data, stored.version)
    _remember(agent, stored.with_attempt(attempt))  # before the write: it may land and yet not be acknowledged
    try:
        saved = await backing.save(stored.key, data | {"thread": stored.pointer}, stored.version, write)
    except (ConflictError, InvalidInputError):
        _remember(agent, stored)
        raise
    except BaseException:
        _remember(agent, stored.with_attempt(attempt.frozen()))
        raise
    _remember(agent, stored.after(saved, attempt))
    return saved


def remember_absent(storage: Storage, agent: AgentLike, key: Any) -> None:
    """Let an agent know that nothing was stored under its key, so that its first hibernate is guarded too."""
    _remember(agent, Stored(storage=storage, key=_key_of(agent) if key is None else key, version=0))


def _remember(agent: AgentLike, stored: Stored) -> None:
    callbacks.give(agent, "_stored", stored)


def _write_of(thread: Thread, stored: Stored) -> ThreadWrite:
    known = stored.rev or 0
    pending = thread._since(known) if thread.rev > known else []
    # A copy that never met the storage and has nothing to append takes the journal as it is.
    expected = known if stored.met or pending else None
    return ThreadWrite(id=thread.id, entries=pending, expected_rev=expected, metadata=thread.metadata)


async def _overwrite(backing: Backing, agent: AgentLike, key: Any, look: Look) -> Saved:
    thread = _thread_of(agent)
    missing = None if thread is None else await _what_is_missing(backing, agent, thread)
    data = await callbacks.checkpoint(agent)
    look(data)
    write, taken = None, 0
    if thread is not None and missing is not None:
        write, taken = ThreadWrite(id=thread.id, entries=missing(), metadata=thread.metadata), thread.rev
    saved = await backing.save(key, data, None, write)
    if thread is not None and saved.rev is not None and saved.rev != taken:
        # Others' entries lie between: the numbers are no longer ours.
        callbacks.give(agent, "thread", await _joined(backing, thread, taken, saved.rev))
    _remember(agent, Stored(storage=backing.storage, key=key).after(saved, Attempt(data, None)))
    return saved


async def _what_is_missing(backing: Backing, agent: AgentLike, thread: Thread) -> Callable[[], list[Entry]]:
    """Answer what tells, at any later moment, which entries of the thread its journal lacks and has not dropped."""
    there = await backing.storage.load_thread(thread.id)
    head = await backing.head(thread.id) if there is None else there
    ids = {entry.id for entry in there or ()}
    stored: Stored | None = getattr(agent, "_stored", None)
    known = stored.rev or 0 if stored is not None and stored.storage == backing.storage else 0
    # What was stored and is older than the journal's oldest entry was dropped from it; a number alone does not tell.
    first = min(known, head.first_seq) if head is not None else 0
    return lambda: [entry for entry in thread if entry.id not in ids and entry.seq >= first]


async def _joined(backing: Backing, thread: Thread, taken: int, rev: int) -> Thread:
    """Answer the journal as it is stored at a revision, followed by what ours holds beyond what was `taken` of it."""
    for _ in range(_ROUNDS):
        head = await backing.head(thread.id)
        there = None if head is None else await backing.read_thread(thread.id, head, rev)
        if there is not None:
            there.extend(thread._since(taken))
            return there
    return thread


def _thread_of(agent: AgentLike) -> Thread | None:
    thread = getattr(agent, "thread", None)
    return thread if isinstance(thread, Thread) else None


def _explained(conflict: ConflictError, agent: AgentLike, key: Any) -> ConflictError:
    message = (
        f"agent {shown(agent.id)}: another writer has changed it since this copy was thawed or stored"
        f" ({conflict}); thaw it again, or hibernate(force=True) to overwrite"
    )
    return type(conflict)(message, reason=conflict.reason, **(conflict.facts | {"key": key}))


async def _reconciled(backing: Backing, agent: AgentLike, stored: Stored) -> Stored | None:
    """Answer what is stored, as our own last state of it; None when somebody else wrote there."""
    fetched = await backing.fetch(stored.key)
    version, data = (fetched[0].version, fetched[0].data) if fetched else (0, None)
    ours = stored.landed(version, data) or stored.knew(version)
    if not ours and not stored.may_be_unmet:
        return None
    thread = _thread_of(agent)
    rev = None if thread is None else await _common_rev(backing, thread)
    if thread is not None and rev is None:
        return None
    return stored.moved_to(version if ours else None, rev)


async def _common_rev(backing: Backing, thread: Thread) -> int | None:
    """Answer the journal's revision when all that it holds is the beginning of ours; else None."""
    head = await backing.head(thread.id)
    if head is None:
        return 0
    if head.rev > thread.rev:
        return None
    known = {entry.seq: entry.id for entry in thread}
    there = await backing.storage.load_thread(thread.id)
    same = there is None or all(known.get(entry.seq, entry.id) == entry.id for entry in there)
    return head.rev if same else None


# -- thaw ---------------------------------------------------------------------------------------------------------


async def thaw(
    storage: StorageLike,
    cls: type[A],
    id: Any,
    *,
    partition: str | None = None,
    key: Any = None,
    journal: Journal = "latest",
) -> A:
    """Answer the agent that was stored under this id, with its journal.

    Args:
        storage: A storage, something with a `.storage`, or a spec.
        cls: The agent's class; what was stored under one of its aliases is found too.
        id: The agent's id.
        partition: The partition it lives in.
        key: Another key than the agent's own.
        journal: "latest" attaches what the journal holds now; "pinned" what it held when the checkpoint was written;
            "exact" refuses when these differ.

    Raises:
        InvalidAgentError: `cls` is no class of agents.
        NotFoundError: Nothing is stored there.
        MissingThreadError: The checkpoint points at a journal that is gone.
        ThreadMismatchError: The journal is behind the checkpoint, or, under "exact", ahead of it.
        CorruptRowError: What is stored is malformed (`invalid_checkpoint`, `invalid_term`, ...).
        CallbackError: The class's `restore` raised, or returned no agent or another one (`restore_callback_failed`).
    """
    check_journal(journal)
    callbacks.check_class(cls)
    backing = Backing.of(storage)
    with telemetry.operation("thaw", agent_type=cls.agent_type, agent_id=id) as span:
        at, checkpoint, thread = await _read(backing, _keys_of(cls, id, partition, key), journal)
        agent = await callbacks.restore(cls, checkpoint, thread)
        _remember(agent, Stored.thawed(backing.storage, at, checkpoint, thread, pinned=journal == "pinned"))
        span.set(version=checkpoint.version, rev=thread.rev if thread is not None else None)
    return agent


def check_journal(policy: Any) -> Journal:
    """Answer the policy when it is one of those that `thaw` knows."""
    if policy not in _POLICIES:
        raise InvalidInputError.at("journal", f"one of {', '.join(_POLICIES)}", policy)
    return cast(Journal, policy)


def _keys_of(cls: type[AgentLike], id: Any, partition: str | None, key: Any) -> list[Any]:
    if key is not None:
        return [key]
    if id is None:
        raise InvalidAgentError("an agent without an id cannot be stored", reason="missing_agent_id")
    names = (cls.agent_type, *getattr(cls, "aliases", ()))
    return [checkpoint_key(name, id, partition) for name in names]


async def _read(backing: Backing, keys: list[Any], journal: Journal) -> tuple[Any, Checkpoint, Thread | None]:
    thread_id = ""
    for _ in range(_ROUNDS):
        at, checkpoint, head = await _first_found(backing, keys)
        pointer = callbacks.pointer_of(checkpoint)
        if pointer is None:
            return at, checkpoint, None
        thread_id = pointer[0]
        thread = await _read_thread(backing, pointer, head, _wished_rev(checkpoint, pointer, head, journal))
        if thread is not None:
            return at, checkpoint, thread
    await backing.storage.load_thread(thread_id)  # names rows that are missing for good
    raise ThreadMismatchError(f"{shown(keys[0])}: its journal kept changing while it was read", key=keys[0])


async def _first_found(backing: Backing, keys: list[Any]) -> tuple[Any, Checkpoint, ThreadHead | None]:
    for key in keys:
        fetched = await backing.fetch(key)
        if fetched is not None:
            callbacks.check_checkpoint(fetched[0])
            return key, *fetched
    raise NotFoundError(f"no checkpoint under {shown(keys[0])}", key=keys[0])


def _wished_rev(checkpoint: Checkpoint, pointer: tuple[str, int], head: ThreadHead | None, journal: Journal) -> int:
    thread_id, rev = pointer
    facts: dict[str, Any] = {
        "thread_id": thread_id,
        "key": checkpoint.key,
        "expected": rev,
        "actual": head.rev if head else None,
    }
    if head is None and rev > 0:
        raise MissingThreadError(
            f"thread {thread_id!r} at revision {rev} is gone; `repair` says what can be done", **facts
        )
    there = head.rev if head is not None else 0
    if there < rev or (journal == "exact" and there != rev):
        raise ThreadMismatchError(
            f"thread {thread_id!r}: the checkpoint points at revision {rev}, the journal is at {there};"
            " `repair` points it there",
            **facts,
        )
    return rev if journal == "pinned" else there


async def _read_thread(backing: Backing, pointer: tuple[str, int], head: ThreadHead | None, upto: int) -> Thread | None:
    if head is None:
        return Thread(pointer[0])
    return await backing.read_thread(pointer[0], head, upto)
