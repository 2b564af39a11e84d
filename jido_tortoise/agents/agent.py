"""An agent: an id, a state and a thread, and how they become a checkpoint and come back from one."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Awaitable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import (
    Any,
    ClassVar,
    Generic,
    Protocol,
    Self,
    TypeVar,
    get_args,
    get_origin,
    is_typeddict,
    runtime_checkable,
)

from jido_tortoise import checks, codec
from jido_tortoise.agents import agent_types, keys, tracking
from jido_tortoise.agents.agent_types import find_agent_type
from jido_tortoise.agents.schedule import normalise_schedule
from jido_tortoise.agents.thread import Thread
from jido_tortoise.errors import CallbackError, CorruptRowError, InvalidInputError, ThawError, said

__all__ = ["Agent", "AgentLike", "find_agent_type", "normalise_schedule"]

S = TypeVar("S")


@runtime_checkable
class AgentLike(Protocol):
    """What a class of somebody else needs to hibernate and thaw; it may have `thread`, `partition` and `schedule`."""

    state: Any
    #: The name that its checkpoints hold; of the class, although a protocol cannot say so without asking for ClassVar.
    agent_type: str

    @property
    def id(self) -> Any:
        """Any storable value but None."""
        ...

    @classmethod
    def restore(cls, data: dict[str, Any]) -> Any:
        """Make the agent of a checkpoint's data."""
        ...


class Agent(Generic[S]):
    """What hibernates and thaws; make a class of your own for each kind of agent.

        @dataclass
        class Cart:
            items: list[str] = field(default_factory=list)

        class Shopper(Agent[Cart], agent_type="shopper"): ...

    The state is a dict in a bare `Agent`; else what stands in the brackets, a dataclass or a pydantic model, which is
    registered with the codec. Keywords of the class are `agent_type`, the name that checkpoints hold (the class's name
    when not given), `aliases`, its names from before a renaming, and the `version` of its state, 1 when not given.

    Args:
        id: Any storable value but None; a text has at most 255 characters.
        state: The state to begin with; a fresh one when None.
        partition: The tenant that it belongs to; None for none.
        thread: Its journal; an empty one under the agent's own name when None.
    """

    agent_type: str = "jido.Agent"
    aliases: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1
    state_type: ClassVar[Any] = Any
    _needs_state: ClassVar[bool] = False
    __hash__ = None  # type: ignore[assignment]  # it changes in place

    state: S
    #: The scheduler manifest, see `normalise_schedule`.
    schedule: dict[Any, Any]

    def __init_subclass__(
        cls, *, agent_type: str | None = None, aliases: Iterable[str] = (), version: int = 1, **others: Any
    ) -> None:
        super().__init_subclass__(**others)
        cls.agent_type, cls.aliases = agent_types.check_names(cls, agent_type, aliases)
        cls.version = checks.whole(version, f"{cls.__name__}.version", least=1)
        cls.state_type = _declared_state(cls)
        if not _is_dict(cls.state_type):
            codec.register(_checked_state_type(cls))
        cls._needs_state = not _is_dict(cls.state_type) and _needs_arguments(cls.state_type)
        agent_types.claim(cls, {cls.agent_type, *cls.aliases})

    def __init__(
        self, id: Any, state: S | None = None, *, partition: str | None = None, thread: Thread | None = None
    ) -> None:
        self._id = keys.check_agent_id(id)
        self._partition = keys.check_partition(partition)
        self.state = _fresh_state(type(self)) if state is None else _checked_state(type(self), state)
        self.thread = Thread(self._own_thread_id()) if thread is None else thread
        self.schedule = {}
        #: Where it was last stored; only agents/persist.py writes and reads it.
        self._stored: Any = None

    @property
    def id(self) -> Any:
        """What it is found by; it never changes."""
        return self._id

    @property
    def thread(self) -> Thread:
        """Its journal; there always is one."""
        return self._thread

    @thread.setter
    def thread(self, thread: Thread) -> None:
        if not isinstance(thread, Thread):
            raise InvalidInputError.at("thread", "a Thread", thread)
        self._thread = thread

    @property
    def partition(self) -> str | None:
        """The tenant that it belongs to; one that was never stored may still move, and its own thread moves along."""
        return self._partition

    @partition.setter
    def partition(self, partition: str | None) -> None:
        if partition == self._partition:
            return
        if self._stored is not None:
            raise InvalidInputError.at("partition", f"the one it is stored in, {self._partition!r}", partition)
        own = self._thread.id == self._own_thread_id()
        self._partition = keys.check_partition(partition)
        if own:
            self._thread._id = self._own_thread_id()

    def _own_thread_id(self) -> str:
        # Made of the name alone, so that two first hibernates of one agent meet in one journal.
        return keys.thread_id_for(self.agent_type, self._id, self._partition)

    def track(
        self, action: str, parameters: Mapping[str, Any] | Iterable[str] = ()
    ) -> AbstractAsyncContextManager[str]:
        """Append instruction_start and instruction_end around a block; see `tracking.track`."""
        return tracking.track(self, action, parameters)

    # -- to a checkpoint and back -------------------------------------------------------------------------------------

    def checkpoint(self) -> Mapping[str, Any] | Awaitable[Mapping[str, Any]]:
        """Answer what is stored; override it, with or without async, to add to or change `default_checkpoint()`."""
        return self.default_checkpoint()

    def default_checkpoint(self) -> dict[str, Any]:
        """Answer version, type, id, state and the pointer to the thread; partition and schedule when there are any."""
        data: dict[str, Any] = {
            "version": self.version,
            "agent_type": self.agent_type,
            "id": self._id,
            "state": _fields_of(_checked_state(type(self), self.state, reason="invalid_checkpoint")),
            "thread": {"id": self._thread.id, "rev": self._thread.rev},
        }
        extra = {"partition": self._partition, "schedule": normalise_schedule(self.schedule)}
        return data | {name: value for name, value in extra.items() if value}

    @classmethod
    def restore(cls, data: dict[str, Any]) -> Self | Awaitable[Self]:
        """Make the agent of what `checkpoint` answered; override it, with or without async, to change that."""
        return cls.default_restore(data)

    @classmethod
    def default_restore(cls, data: Mapping[str, Any]) -> Self:
        """Make an agent whose fresh state takes over what is stored, after `migrate_state` when that is older.

        Raises:
            CorruptRowError: The data are no agent's: `invalid_checkpoint`.
            ThawError: They were written by a later version of the class: `newer_version`.
        """
        state = _current(cls, _part(data, "state", Mapping, {}), _part(data, "version", int, 1))
        if data.get("id") is None:
            raise _malformed("id", "the agent's id", None)
        agent = _with_state(cls, data["id"], _part(data, "partition", str, None), state)
        agent.schedule = normalise_schedule(data.get("schedule"))
        pointer = keys.pointer_of(data)
        if pointer is not None:
            agent.thread = Thread(pointer[0])
        return agent

    @classmethod
    def migrate_state(cls, state: dict[str, Any], version: int) -> dict[str, Any]:
        """Answer the state as this version of the class has it; `version` is that of the class that stored it."""
        return state

    @classmethod
    def new(cls, id: Any, *, partition: str | None = None) -> Self:
        """Make an agent that was never stored; override it when `__init__` takes something else."""
        return cls(id, partition=partition)

    @classmethod
    def rebuild(cls, id: Any, partition: str | None, thread: Thread) -> Self:
        """Make an agent whose checkpoint is lost; override it to read its state from the thread."""
        agent = cls.new(id, partition=partition)
        agent.thread = thread
        return agent

    # -- as a value ---------------------------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Agent):
            return NotImplemented
        return (
            _identity(self) == _identity(other)
            and self.state == other.state
            and list(self.thread) == list(other.thread)
        )

    def __copy__(self) -> Self:
        """Answer an agent with the same state and a thread of its own."""
        copied = object.__new__(type(self))
        vars(copied).update(vars(self), _thread=copy.copy(self._thread))
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied = memo[id(self)] = object.__new__(type(self))
        # Where it is stored is a place, not a part of it: both copies were stored there.
        memo[id(self._stored)] = self._stored
        vars(copied).update(copy.deepcopy(vars(self), memo))
        return copied

    def __repr__(self) -> str:
        partition = f", partition={self._partition!r}" if self._partition is not None else ""
        return f"<{type(self).__name__} {self._id!r}{partition}, rev {self._thread.rev}>"


Agent.state_type = S  # what the brackets of a generic subclass stand for
agent_types.claim(Agent, [Agent.agent_type])


def _identity(agent: Agent[Any]) -> tuple[Any, ...]:
    return agent.agent_type, agent.id, agent.partition


# -- the type of the state --------------------------------------------------------------------------------------------


def _declared_state(cls: type[Agent[Any]]) -> Any:
    """Read what stands in the brackets of `Agent[...]`, also when a generic class of the host stands between."""
    for base in vars(cls).get("__orig_bases__", ()):
        origin = get_origin(base)
        if isinstance(origin, type) and issubclass(origin, Agent):
            arguments = dict(zip(origin.__parameters__, get_args(base), strict=False))  # type: ignore[attr-defined]
            declared = origin.state_type
            declared = arguments.get(declared, declared) if isinstance(declared, TypeVar) else declared
            return get_origin(declared) or declared
    return cls.state_type


def _is_dict(state_type: Any) -> bool:
    return state_type in (dict, Any, None, Mapping) or isinstance(state_type, TypeVar) or is_typeddict(state_type)


def _checked_state_type(cls: type[Agent[Any]]) -> type:
    found = cls.state_type
    if isinstance(found, type) and (dataclasses.is_dataclass(found) or hasattr(found, "model_fields")):
        return found
    raise InvalidInputError.at(f"the state of {cls.__name__}", "dict, a dataclass or a pydantic model", found)


def _needs_arguments(state_type: Any) -> bool:
    given = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(state_type).parameters.values()
    return any(one.default is inspect.Parameter.empty and one.kind not in given for one in parameters)


def _fresh_state(cls: type[Agent[Any]]) -> Any:
    if _is_dict(cls.state_type):
        return {}
    if cls._needs_state:
        name = cls.state_type.__name__
        raise InvalidInputError.at("state", f"an object of {name}, which cannot be made without arguments", None)
    return cls.state_type()


def _checked_state(cls: type[Agent[Any]], state: Any, **facts: Any) -> Any:
    expected = dict if _is_dict(cls.state_type) else cls.state_type
    if not isinstance(state, expected):
        got = said(f"one of {type(state).__name__}")
        raise InvalidInputError.at("state", f"an object of {expected.__name__}", got, **facts)
    return state


def _fields_of(state: Any) -> dict[str, Any]:
    return dict(state) if isinstance(state, dict) else codec.to_fields(state, path="state")


# -- from a checkpoint ------------------------------------------------------------------------------------------------


def _part(data: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    value = data.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _malformed(name, f"a {kind.__name__}", value)
    return value


def _malformed(path: str, expected: str, got: object) -> CorruptRowError:
    message = f"{path}: expected {expected}, got {type(got).__name__}"
    return CorruptRowError(message, reason="invalid_checkpoint", path=path, expected=expected, got=got)


def _current(cls: type[Agent[Any]], state: Mapping[str, Any], version: int) -> dict[str, Any]:
    if version > cls.version:
        message = f"{cls.__name__} is at version {cls.version}, the checkpoint at {version}: run the newer code"
        raise ThawError(message, reason="newer_version", expected=cls.version, actual=version)
    if version == cls.version:
        return dict(state)
    migrated: Any = cls.migrate_state(dict(state), version)
    if not isinstance(migrated, dict):
        message = f"{cls.__name__}.migrate_state() must answer a dict, it answered a {type(migrated).__name__}"
        raise CallbackError(message, reason="restore_callback_failed", kind="invalid_return")
    return migrated


A = TypeVar("A", bound=Agent[Any])


def _with_state(cls: type[A], id: Any, partition: str | None, stored: dict[str, Any]) -> A:
    if _is_dict(cls.state_type):
        agent = cls.new(id, partition=partition)
        agent.state = {**agent.state, **stored}
        return agent
    if cls._needs_state and cls.new.__func__ is Agent.new.__func__:  # type: ignore[attr-defined]
        return cls(id, codec.from_fields(cls.state_type, stored, path="state"), partition=partition)
    agent = cls.new(id, partition=partition)
    # What is about the fields (`__fields_set__` of a model) belongs to the stored ones alone.
    fresh = {name: value for name, value in _fields_of(agent.state).items() if not name.startswith("__")}
    agent.state = codec.from_fields(cls.state_type, {**fresh, **stored}, path="state")
    return agent
