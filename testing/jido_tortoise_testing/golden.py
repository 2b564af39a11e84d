"""The mark `jido_golden`: every golden file of a folder is thawed with today's code, a test each."""

from __future__ import annotations

import asyncio
import threading
import types
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from jido_tortoise import codec
from jido_tortoise.agents.agent import Agent, find_agent_type
from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise.agents.persist import hibernate
from jido_tortoise.codec.annotations import annotations_of
from jido_tortoise.errors import CorruptRowError, InvalidInputError, JidoError, ThawError
from jido_tortoise.golden.files import KEY, Golden, in_memory, read, thaw
from jido_tortoise_testing.roundtrip import AgentRoundTripError, refuse_differences, value_of

_SHOWN = 8
_CURE = "raise the `version` of the class and bring older states along in `migrate_state`"
_NOTHING = object()
_UNIONS = (Union, types.UnionType)


class GoldenError(AssertionError):
    """Today's code cannot do with what was stored once."""


class GoldenFile:
    """A golden file, and the agent that today's code makes of it.

    Args:
        path: The file.
        classes: Where the class is looked for before all that declare an agent type.
    """

    def __init__(self, path: Path, classes: Sequence[type[Any]] = ()) -> None:
        self.path = path
        self._classes = {name: cls for cls in classes for name in (cls.agent_type, *getattr(cls, "aliases", ()))}
        self._golden: Golden | None = None
        self._agent: Any = None

    @property
    def golden(self) -> Golden:
        """What is in the file."""
        if self._golden is None:
            try:
                self._golden = read(self.path)
            except InvalidInputError as error:
                raise GoldenError(str(error)) from error
        return self._golden

    @property
    def agent(self) -> Any:
        """The agent, thawed."""
        return self._agent

    def check(self) -> None:
        """Thaw it, see that its state is what its class declares, store it, and thaw that.

        Raises:
            GoldenError: One of these failed; the message begins with the file's path.
        """
        __tracebackhide__ = True
        golden = self.golden
        cls = self._classes.get(golden.agent_type) or find_agent_type(golden.agent_type)
        if cls is None:
            raise self._error(
                "no class has this agent type",
                "import the module with the class in the test, or name the type among the class's `aliases`",
            )
        _elsewhere(self._check(cls))

    async def _check(self, cls: Any) -> None:
        try:
            storage = await in_memory(self.golden)
            self._agent = await thaw(storage, cls)
        except (CorruptRowError, ThawError) as error:
            raise self._error(f"today's {cls.__name__} cannot take it: {error}") from error
        except Exception as error:
            raise self._error(f"restoring failed: {_told(error)}") from error
        self._refuse_misfits(cls)
        if isinstance(self._agent, Agent):
            await self._store_again(storage, cls)

    def _refuse_misfits(self, cls: Any) -> None:
        found = list(misfits(self._agent.state, getattr(cls, "state_type", Any), "state"))
        if found:
            more = [f"+{len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
            lines = "\n    ".join([*found[:_SHOWN], *more])
            raise self._error(f"its state is not what {cls.__name__} declares\n    {lines}")

    async def _store_again(self, storage: InMemoryStorage, cls: Any) -> None:
        wanted = value_of(self._agent)
        try:
            await hibernate(storage, self._agent, key=KEY, force=True)
            again: Any = await thaw(storage, cls)
            refuse_differences(cls, self._agent.id, "golden", wanted, value_of(again))
        except AgentRoundTripError as error:
            raise self._error(f"stored by today's {cls.__name__} it is another one: {error}") from error
        except JidoError as error:
            raise self._error(f"today's {cls.__name__} cannot store it: {error}") from error

    def _error(self, what: str, cure: str = _CURE) -> GoldenError:
        golden = self.golden
        head = f"{self.path}: agent type {golden.agent_type!r}, state version {golden.state_version}"
        return GoldenError(f"{head}: {what}\n  {cure}")


def _told(error: BaseException) -> str:
    causes = [repr(error)]
    while (cause := error.__cause__) is not None:
        causes.append(repr(cause))
        error = cause
    return ", from ".join(causes)


def _elsewhere(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on a loop of its own in a thread of its own: the test may have one, or none."""
    outcome: list[Any] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(asyncio.run(work))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


# -- types ------------------------------------------------------------------------------------------------------------


def misfits(value: Any, hint: Any, path: str) -> Iterator[str]:
    """Say where a value is of another type than its annotation, and the fields of the objects in it of theirs.

    The codec does not look: it gives back what was stored. What an annotation demands beyond the type is not looked at,
    since values are replaced; neither is an annotation of a kind that is not known here.
    """
    if not fits(value, hint):
        yield f"{path}: expected {_shown(hint)}, got {type(value).__name__}"
        return
    for step, item, inner in _parts(value, hint):
        yield from misfits(item, inner, f"{path}{step}")


def fits(value: Any, hint: Any) -> bool:
    """Tell whether a value itself is of the annotated type, whatever is in it."""
    hint = _bare(hint)
    origin = get_origin(hint)
    if origin in _UNIONS:
        return any(fits(value, one) for one in get_args(hint))
    if origin is Literal:
        return any(type(value) is type(one) for one in get_args(hint))
    plain = origin or hint
    if plain is None:
        return value is None
    # An int does for a float.
    return not isinstance(plain, type) or _is_instance(value, (plain, int) if plain is float else plain)


def _bare(hint: Any) -> Any:
    """Take off `Annotated`, NewType and type aliases."""
    for name in ("__supertype__", "__value__"):
        if hasattr(hint, name):
            return _bare(getattr(hint, name))
    return _bare(hint.__origin__) if hasattr(hint, "__metadata__") else hint


def _is_instance(value: Any, cls: Any) -> bool:
    try:
        return isinstance(value, cls)
    except TypeError:  # a protocol that cannot be asked
        return True


def _parts(value: Any, hint: Any) -> Iterator[tuple[str, Any, Any]]:
    """Give what is in a value, each with its step and its annotation."""
    arguments = _arguments(value, hint)
    if isinstance(value, Mapping):
        first, second = arguments if len(arguments) == 2 else (Any, Any)
        for key, item in value.items():
            yield f" key {key!r}", key, first
            yield f"[{key!r}]", item, second
    elif isinstance(value, tuple) and not hasattr(value, "_fields"):
        each = arguments[:1] * len(value) if ... in arguments else arguments
        if len(each) == len(value):
            yield from ((f"[{number}]", item, each[number]) for number, item in enumerate(value))
    elif isinstance(value, list | set | frozenset):
        inner = arguments[0] if arguments else Any
        yield from ((f"[{number}]", item, inner) for number, item in enumerate(value))
    else:
        yield from _fields(value)


def _arguments(value: Any, hint: Any) -> tuple[Any, ...]:
    """Give what stands in the brackets of the annotation that holds for this value."""
    hint = _bare(hint)
    if get_origin(hint) in _UNIONS:
        fitting = [one for one in get_args(hint) if fits(value, one)]
        return _arguments(value, fitting[0]) if len(fitting) == 1 else ()
    return () if get_origin(hint) is Literal else get_args(hint)


def _fields(value: Any) -> Iterator[tuple[str, Any, Any]]:
    try:
        fields = codec.to_fields(value)
    except JidoError:
        return  # a single value
    for name, item in fields.items():
        found, _ = annotations_of(type(value), [name])
        # `name: str = None` is written often enough, and says what it says.
        unset = item is None and _default(type(value), name) is None
        yield f".{name}", item, found[0] if found and not unset else Any


def _default(cls: Any, name: str) -> Any:
    model = getattr(cls, "model_fields", {})
    return model[name].default if name in model else getattr(cls, name, _NOTHING)


def _shown(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and get_origin(hint) is None else str(hint).replace("typing.", "")
