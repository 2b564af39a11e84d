"""Between an agent and its checkpoint: the host's callbacks are called, and nothing malformed passes either way."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

from jido_tortoise import checks, codec
from jido_tortoise.agents import keys
from jido_tortoise.agents.agent import Agent, AgentLike, normalise_schedule
from jido_tortoise.agents.storage import Checkpoint
from jido_tortoise.agents.thread import Thread
from jido_tortoise.errors import (
    CallbackError,
    CorruptRowError,
    InvalidAgentError,
    InvalidInputError,
    JidoError,
    NotFoundError,
    ThawError,
    UnstorableError,
    said,
    shown,
)

A = TypeVar("A", bound=AgentLike)


def check_identity(agent: object) -> None:
    """Refuse what is no agent, and an agent without an id, before any storage is asked.

    Raises:
        InvalidAgentError: `invalid_agent` or `missing_agent_id`.
    """
    if isinstance(agent, type) or not all(hasattr(agent, name) for name in ("id", "state", "agent_type")):
        raise InvalidAgentError.at("agent", "an object with an id, a state and an agent_type", agent)
    if agent.id is None:  # type: ignore[attr-defined]
        raise InvalidAgentError("an agent without an id cannot be stored", reason="missing_agent_id", agent=agent)


def check_names(agent: AgentLike) -> None:
    """Refuse an agent whose id, type or partition no column can show: a class that is not ours checks none of them.

    Raises:
        InvalidAgentError: `invalid_agent`, or `missing_agent_id`.
        InvalidInputError: Its partition is none.
    """
    check_identity(agent)
    if isinstance(agent, Agent):
        return  # it has checked them when they were given, once and not at every hibernate
    keys.check_agent_id(agent.id)
    checks.text(agent.agent_type, "agent.agent_type", InvalidAgentError)
    keys.check_partition(getattr(agent, "partition", None))


def check_class(cls: object) -> None:
    """Refuse what is no class of agents.

    Raises:
        InvalidAgentError: It is none.
    """
    if not isinstance(cls, type) or not all(hasattr(cls, name) for name in ("agent_type", "restore")):
        raise InvalidAgentError.at("cls", "a class with an agent_type and restore(data)", cls)


# -- to the storage -----------------------------------------------------------------------------------------------


async def checkpoint(agent: AgentLike) -> dict[str, Any]:
    """Answer the map that is stored for the agent, without its pointer.

    Whatever the agent's own `checkpoint` answers: identity and schedule are the agent's, and no thread is in it.

    Raises:
        CallbackError: It raised, or answered no map: `checkpoint_callback_failed`.
        InvalidInputError: Its state is no map: `invalid_checkpoint`.
    """
    made = await _called(getattr(agent, "checkpoint", None) or (lambda: _default_checkpoint(agent)), "checkpoint")
    if not isinstance(made, Mapping):
        raise _failed("checkpoint", "invalid_return", f"expected a dict, got {type(made).__name__}", value=made)
    return _enforced(dict(made), agent)


def _default_checkpoint(agent: AgentLike) -> dict[str, Any]:
    if isinstance(agent.state, Mapping) or agent.state is None:
        return {"version": 1, "state": agent.state}
    try:
        return {"version": 1, "state": codec.to_fields(agent.state, path="state")}
    except UnstorableError:
        raise
    except InvalidInputError as error:
        raise InvalidInputError(str(error), reason="invalid_checkpoint", **error.facts) from error


def _enforced(data: dict[str, Any], agent: AgentLike) -> dict[str, Any]:
    data |= {"agent_type": agent.agent_type, "id": agent.id, "state": _state_of(data)}
    partition = getattr(agent, "partition", None)
    schedule = normalise_schedule(getattr(agent, "schedule", None) or {})
    for name, value in (("partition", partition), ("schedule", schedule)):
        data.pop(name, None)
        if value:
            data[name] = value
    data.pop("thread", None)
    return {"version": 1} | data


def _state_of(data: Mapping[str, Any]) -> dict[str, Any]:
    state = data.get("state")
    if state is None:
        return {}
    if not isinstance(state, Mapping):
        raise InvalidInputError.at("state", "a dict", state, reason="invalid_checkpoint")
    return {name: value for name, value in state.items() if name != "__thread__"}


# -- from the storage ---------------------------------------------------------------------------------------------


def check_checkpoint(checkpoint: Checkpoint) -> None:
    """Refuse a stored checkpoint that no agent can come from.

    Raises:
        CorruptRowError: `invalid_checkpoint`; `path` says where.
    """
    data = checkpoint.data
    if not isinstance(data, dict):
        raise _malformed(checkpoint, "data", "a dict", data)
    if not isinstance(data.get("state"), dict | None):
        raise _malformed(checkpoint, "data.state", "a dict", data["state"])
    try:
        keys.check_agent_id(data.get("id"))
    except InvalidAgentError as error:
        raise _malformed(checkpoint, "data.id", "the agent's id", data.get("id")) from error
    pointer_of(checkpoint)


def pointer_of(checkpoint: Checkpoint) -> tuple[str, int] | None:
    """Answer the thread's id and revision that a checkpoint points at; None when it points at none."""
    pointer = checkpoint.data.get("thread")
    found = keys.pointer_of(checkpoint.data)
    if found is None and pointer is not None:
        raise _malformed(checkpoint, "data.thread", 'None or {"id": text, "rev": number}', pointer)
    return found


def _malformed(checkpoint: Checkpoint, path: str, expected: str, got: object) -> CorruptRowError:
    return CorruptRowError(
        f"checkpoint {shown(checkpoint.key)}: {path}: expected {expected}, got {shown(got)};"
        " `repair` says what can be done",
        reason="invalid_checkpoint",
        table="jido_checkpoints",
        key=checkpoint.key,
        path=path,
        expected=expected,
        got=got,
    )


async def restore(cls: type[A], checkpoint: Checkpoint, thread: Thread | None) -> A:
    """Answer the agent that the class makes of a checkpoint, with its schedule and thread.

    Raises:
        CallbackError: `restore` raised, or answered no agent, or another one: `restore_callback_failed`.
        ThawError: The checkpoint is another type's: `agent_type_mismatch`.
    """
    data = dict(checkpoint.data)
    _check_type(cls, checkpoint)
    data["state"] = data.get("state") or {}
    try:
        agent = await _called(lambda: cls.restore(data), "restore")
    except CorruptRowError as error:  # the class does not know which row it was given
        raise _named(error, checkpoint) from error
    try:
        check_identity(agent)
    except InvalidAgentError as error:
        raise _failed(
            "restore", "invalid_return", f"expected an agent, got {type(agent).__name__}", value=agent
        ) from error
    _check_same(cls, agent, data["id"])
    if thread is not None:
        give(agent, "thread", thread)
    if data.get("schedule"):
        give(agent, "schedule", normalise_schedule(data["schedule"]))
    return agent  # type: ignore[no-any-return]


def _check_same(cls: type[AgentLike], agent: AgentLike, id: Any) -> None:
    # The next hibernate would put that other agent into this one's row, which then thaws for nobody, or as two.
    if agent.id is not id and codec.canonical(agent.id, path="id") != codec.canonical(id, path="id"):
        words = f"expected the agent {shown(id)}, got {shown(agent.id)}"
        raise _failed("restore", "another_id", words, expected=id, got=agent.id)
    if agent.agent_type not in (cls.agent_type, *getattr(cls, "aliases", ())):
        words = f"expected an agent of the type {cls.agent_type!r}, got one of {shown(agent.agent_type)}"
        raise _failed("restore", "another_type", words, expected=cls.agent_type, got=agent.agent_type)


def give(agent: AgentLike, name: str, value: object) -> None:
    """Set an attribute of an agent, also of a frozen dataclass or model that is not ours.

    Raises:
        InvalidAgentError: Its class has no room for it.
    """
    try:
        object.__setattr__(agent, name, value)
    except AttributeError as error:
        cls = type(agent).__name__
        cure = f"{cls} keeps it out: it has __slots__ without {name!r}, or a property that cannot be set"
        raise InvalidAgentError.at("agent", f"an object whose {name!r} can be set", said(cure)) from error


def _named(error: CorruptRowError, checkpoint: Checkpoint) -> CorruptRowError:
    if "key" in error.facts:
        return error
    facts = error.facts | {"table": "jido_checkpoints", "key": checkpoint.key}
    return CorruptRowError(f"checkpoint {shown(checkpoint.key)}: {error}", reason=error.reason, **facts)


def _check_type(cls: type[AgentLike], checkpoint: Checkpoint) -> None:
    stored = checkpoint.data.get("agent_type")
    if stored is not None and stored not in (cls.agent_type, *getattr(cls, "aliases", ())):
        raise ThawError(
            f"checkpoint {shown(checkpoint.key)} is of the agent type {stored!r}, not {cls.agent_type!r};"
            f' when the type was renamed, say `aliases=("{stored}",)` in the class',
            reason="agent_type_mismatch",
            key=checkpoint.key,
            expected=cls.agent_type,
            actual=stored,
        )


async def _called(callback: Any, which: str) -> Any:
    try:
        made = callback()
        return made if type(made) is dict or not inspect.isawaitable(made) else await made
    except Exception as error:
        # The host may say which of our errors it is; but "not found" would make a new agent in place of this one.
        if isinstance(error, JidoError) and not isinstance(error, NotFoundError):
            raise
        raise _failed(which, "raised", f"{type(error).__name__}: {error}", error=type(error).__name__) from error


def _failed(which: str, kind: str, words: str, **facts: Any) -> CallbackError:
    return CallbackError(
        f"the agent's {which}() failed: {said(words)}", reason=f"{which}_callback_failed", kind=kind, **facts
    )
