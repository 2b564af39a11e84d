"""Assertions that say which value changed, why, and how to see it again."""

from __future__ import annotations

import asyncio
import base64
import copy
import dataclasses
import inspect
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from typing import Any, Literal

from tortoise.context import require_context

from jido_tortoise import codec
from jido_tortoise.agents.agent import Agent
from jido_tortoise.agents.thread import Entry, Thread
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.errors import ConflictError, InvalidInputError
from jido_tortoise.jido import Jido
from jido_tortoise_testing.contract.exact import difference
from jido_tortoise_testing.faults.places import Place
from jido_tortoise_testing.settings import either

Via = Literal["same", "second-connection", "new-process"]

_SHOWN = 8
_PROCESS_SECONDS = 60.0
#: Tortoise's engines, by those of the sandboxes.
_ENGINES = {
    "jido_tortoise_testing.engine_sqlite": "tortoise.backends.sqlite",
    "jido_tortoise_testing.engine_postgres": "tortoise.backends.asyncpg",
}
_WHY: dict[tuple[type, type], str] = {
    (tuple, list): "tuple became list: JSON has no tuples; store it by the codec, or use a list",
    (set, list): "set became list: JSON has no sets; store it by the codec, or use a list",
    (bytes, str): "bytes became str: JSON has no bytes; store them by the codec",
    (Decimal, float): "Decimal became float: JSON has no decimals; store it by the codec",
    (Decimal, str): "Decimal became str: JSON has no decimals; store it by the codec",
}


#: The fields of an entry.
_FIELDS = ("seq", "id", "at", "kind", "payload", "refs")


class AgentRoundTripError(AssertionError):
    """An agent came back as another one."""


# -- differences --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not what it was."""

    path: str
    stored: Any
    loaded: Any

    def __str__(self) -> str:
        why = _WHY.get((type(self.stored), type(self.loaded)))
        there = _MISSING not in (self.stored, self.loaded)
        if why is None and there and type(self.stored) is not type(self.loaded):
            why = f"{type(self.stored).__name__} became {type(self.loaded).__name__}"
        return f"  {self.path}: {self.stored!r:.80} -> {self.loaded!r:.80}{'     ' + why if why else ''}"


class _Missing:
    def __repr__(self) -> str:
        return "(nothing)"


_MISSING = _Missing()


def differences(stored: Any, loaded: Any, path: str) -> tuple[list[Difference], int]:
    """Answer every place where two values differ in value or type, and how many places there are."""
    pairs = _pairs(stored, loaded)
    if pairs is None:
        same = difference(loaded, stored) is None
        return ([] if same else [Difference(path, stored, loaded)]), 1
    found: list[Difference] = []
    count = 0
    for name, was, became in pairs:
        inner, fields = differences(was, became, f"{path}{name}")
        found += inner
        count += fields
    return found, max(count, 1)


def _pairs(stored: Any, loaded: Any) -> list[tuple[str, Any, Any]] | None:
    if type(stored) is not type(loaded):
        return None
    if isinstance(stored, dict):
        keys = [*stored, *(key for key in loaded if key not in stored)]
        return [(_key(key), stored.get(key, _MISSING), loaded.get(key, _MISSING)) for key in keys]
    if dataclasses.is_dataclass(stored) or hasattr(type(stored), "model_fields"):
        was, became = codec.to_fields(stored, path="value"), codec.to_fields(loaded, path="value")
        return [(f".{name}", value, became[name]) for name, value in was.items()]
    if isinstance(stored, list | tuple):
        return [(f"[{n}]", _at(stored, n), _at(loaded, n)) for n in range(max(len(stored), len(loaded)))]
    return None


def _key(key: Any) -> str:
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]"


def _at(values: Sequence[Any], n: int) -> Any:
    return values[n] if n < len(values) else _MISSING


# -- agents -------------------------------------------------------------------------------------------------------


async def assert_roundtrip(
    jido: Jido, agent: Agent[Any], *, via: Sequence[Via] = ("same", "second-connection", "new-process"), times: int = 1
) -> None:
    """Hibernate the agent and thaw it in each of these ways; all that it holds must be the same.

    That is its state, the thread and the thread's metadata, its partition and its schedule.

    Args:
        jido: Where it is stored.
        agent: The agent; its class must be importable for a thaw in a new process.
        via: "same" thaws as it is; "second-connection" on a connection of its own; "new-process" in a new Python. The
            bytes of a database in memory are handed over.
        times: How often it is stored and thawed in a row, each time what was thawed last.

    Raises:
        AgentRoundTripError: A line for each difference, with its path.
    """
    __tracebackhide__ = True
    for way in via:
        if way not in _WAYS:
            raise InvalidInputError.at("via", either(tuple(_WAYS)), way)
    wanted = value_of(agent)
    for _ in range(times):
        await jido.hibernate(agent)
        for way in via:
            refuse_differences(type(agent), agent.id, way, wanted, await _WAYS[way](jido, agent))
        agent = await jido.thaw(type(agent), agent.id) if times > 1 else agent


def refuse_differences(cls: type[Any], id: Any, way: str, wanted: Any, got: Any) -> None:
    __tracebackhide__ = True
    lines = _told(f"{cls.__name__} {id!r} changed on hibernate -> thaw ({way})", wanted, got)
    if lines:
        raise AgentRoundTripError("\n".join([*lines, *_reproduce()]))


def _told(head: str, wanted: Mapping[str, Any], got: Mapping[str, Any]) -> list[str]:
    """Tell how much was equal, and each difference; nothing when there is none."""
    found: list[Difference] = []
    fields = 0
    for part, value in wanted.items():
        inner, count = differences(value, got[part], part)
        found, fields = found + inner, fields + count
    more = [f"  +{len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    told = [f"{head}: {fields - len(found)} of {fields} fields equal", *map(str, found[:_SHOWN]), *more]
    return told if found else []


def compared(left: Agent[Any] | Thread, right: Any) -> list[str] | None:
    """Tell where two agents or two threads differ, for pytest's words on `==`; None when only their ids may."""
    parts = _parts if isinstance(left, Agent) else _entries
    return _told(f"{left!r} == {right!r}", parts(left), parts(right)) or None


def _reproduce() -> list[str]:
    test = os.environ.get("PYTEST_CURRENT_TEST", "").removesuffix(" (call)")
    return [f"  reproduce: pytest {test}"] if test else []


def value_of(agent: Agent[Any]) -> dict[str, Any]:
    """Answer what must survive, taken apart, and a copy: the agent may go on changing."""
    return copy.deepcopy(_parts(agent))


def _parts(agent: Any) -> dict[str, Any]:
    state = dict(agent.state) if isinstance(agent.state, dict) else codec.to_fields(agent.state, path="state")
    return {"state": state, **_entries(agent.thread), "partition": agent.partition, "schedule": agent.schedule}


def _entries(thread: Any) -> dict[str, Any]:
    return {"thread": [entry.as_dict() for entry in thread], "metadata": thread.metadata}


async def _same(jido: Jido, agent: Agent[Any]) -> dict[str, Any]:
    return value_of(await jido.thaw(type(agent), agent.id))


async def _second_connection(jido: Jido, agent: Agent[Any]) -> dict[str, Any]:
    async with _place(jido).elsewhere() as elsewhere, elsewhere():
        return await _same(jido, agent)


def _place(jido: Jido) -> Place:
    if not isinstance(jido.storage, TortoiseStorage):
        name = type(jido.storage).__name__
        raise AssertionError(f'{name} has no second connection: say assert_roundtrip(..., via=("same",))')
    return Place.current(jido.storage.connection)


async def _new_process(jido: Jido, agent: Agent[Any]) -> dict[str, Any]:
    place, cls = _place(jido), type(agent)
    if "<locals>" in cls.__qualname__ or cls.__module__ == "__main__":
        raise AssertionError(f"a new process cannot import {cls.__qualname__}: define it at the top of a module")
    job = {
        "module": cls.__module__,
        "file": inspect.getsourcefile(cls),
        "cls": cls.__qualname__,
        "id": codec.dumps(agent.id),
        "partition": agent.partition,
        "alias": place.alias,
        "config": _plain(require_context().connections.db_config[place.alias]),
        "schema": getattr(jido.storage, "schema", None),
        "image": await _image(place),
        "path": sys.path,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "jido_tortoise_testing.thawing", stdin=-1, stdout=-1, stderr=-1, env=_environment()
    )
    async with asyncio.timeout(_PROCESS_SECONDS):
        answer, errors = await process.communicate(json.dumps(job).encode())
    if process.returncode:
        raise AgentRoundTripError(f"{cls.__name__} {agent.id!r} did not thaw in a new process:\n{errors.decode()}")
    loaded: dict[str, Any] = codec.loads(answer)
    return loaded


def _plain(connection: Any) -> Any:
    """Give a connection's config as another process can use it: a sandbox's lease is of this one alone."""
    if not isinstance(connection, dict) or connection.get("engine") not in _ENGINES:
        return connection
    credentials = {name: value for name, value in connection["credentials"].items() if name != "lease"}
    return {**connection, "engine": _ENGINES[connection["engine"]], "credentials": credentials}


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


async def _image(place: Place) -> str | None:
    if not place.in_memory:
        return None
    connection = place.client._connection
    return base64.b64encode(await connection._execute(connection._conn.serialize)).decode()


_WAYS: dict[Via, Callable[[Jido, Agent[Any]], Any]] = {
    "same": _same,
    "second-connection": _second_connection,
    "new-process": _new_process,
}


# -- journals and conflicts ---------------------------------------------------------------------------------------


def assert_journal(thread: Thread | Agent[Any] | None, expected: Sequence[str | Mapping[str, Any] | Entry]) -> None:
    """Compare a journal with what is expected of each entry: its kind, some of its fields, or all of it.

    Args:
        thread: A thread, or an agent.
        expected: For each entry its kind, a mapping with fields of it (in payload and refs only the named keys are
            compared; a value may be anything with `==`), or an Entry.

    Raises:
        AssertionError: A line for each entry that differs.
    """
    __tracebackhide__ = True
    held = thread.thread if isinstance(thread, Agent) else thread
    entries = [] if held is None else list(held)
    wrong = [line for n, wanted in enumerate(expected) for line in _unlike(_at(entries, n), wanted, n)]
    wrong += [f"  [{n}]: {entries[n]!r} is one too many" for n in range(len(expected), len(entries))]
    if wrong:
        head = f"the journal has {len(entries)} entries, {len(expected)} were expected"
        raise AssertionError("\n".join([head, *wrong[:_SHOWN], *_reproduce()]))


def _unlike(entry: Any, wanted: str | Mapping[str, Any] | Entry, n: int) -> Iterator[str]:
    if entry is _MISSING:
        yield f"  [{n}]: nothing is there, expected {wanted!r}"
        return
    for name, value in _fields(wanted, n).items():
        yield from _unlike_field(entry.as_dict()[name], value, f"[{n}].{name}", whole=isinstance(wanted, Entry))


def _fields(wanted: Any, n: int) -> Mapping[str, Any]:
    if isinstance(wanted, str):
        return {"kind": wanted}
    if isinstance(wanted, Entry):
        return wanted.as_dict()
    if not isinstance(wanted, Mapping):
        raise InvalidInputError.at(f"expected[{n}]", "a kind, a mapping or an Entry", wanted)
    for name in wanted:
        if name not in _FIELDS:
            raise InvalidInputError.at(f"expected[{n}]", f"fields out of {', '.join(_FIELDS)}", name)
    return wanted


def _unlike_field(got: Any, wanted: Any, path: str, *, whole: bool) -> Iterator[str]:
    if isinstance(wanted, Mapping) and isinstance(got, dict) and not whole:
        for key, value in wanted.items():
            yield from _unlike_field(got.get(key, _MISSING), value, f"{path}{_key(key)}", whole=False)
    elif not wanted == got:  # noqa: SIM201 - the expected side may define == and nothing else
        yield f"  {path}: {got!r}, expected {wanted!r}"


@contextmanager
def assert_conflict(*, expected: int | None = None, actual: int | None = None) -> Iterator[None]:
    """Demand that the block ends in a ConflictError, with these facts when they are given.

    Raises:
        AssertionError: It did not, or the facts are others.
    """
    __tracebackhide__ = True
    try:
        yield
    except ConflictError as error:
        for name, wanted in (("expected", expected), ("actual", actual)):
            got = error.facts.get(name)
            if wanted is not None and got != wanted:
                raise AssertionError(f"the conflict says {name}={got}, {wanted} was expected: {error}") from error
    else:
        raise AssertionError("a ConflictError was expected, and nothing was raised")


# -- the database -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def assert_unchanged(connection: str | None = None) -> AsyncIterator[None]:
    """Demand that no row of any table is another one after the block.

    Args:
        connection: An alias of the host's Tortoise config; None takes the one of our models.

    Raises:
        AssertionError: A line for each row that came, went or changed.
    """
    __tracebackhide__ = True
    place = Place.current(connection)
    before = await _rows(place)
    yield
    after = await _rows(place)
    lines = [f"  {table}: - {row:.100}" for table, row in sorted(before - after)]
    lines += [f"  {table}: + {row:.100}" for table, row in sorted(after - before)]
    if lines:
        more = [f"  +{len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
        raise AssertionError("\n".join(["the database has changed", *lines[:_SHOWN], *more, *_reproduce()]))


_TABLES = {
    "sqlite": "SELECT name, '\"' || replace(name, '\"', '\"\"') || '\"' AS quoted FROM sqlite_master"
    " WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    "postgres": "SELECT schemaname || '.' || tablename AS name, format('%I.%I', schemaname, tablename) AS quoted"
    " FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
}


async def _rows(place: Place) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for table in await place.client.execute_query_dict(_TABLES[place.dialect]):
        for row in await place.client.execute_query_dict(f"SELECT * FROM {table['quoted']}"):
            found.add((table["name"], repr(dict(row))))
    return found


async def eventually(
    condition: Callable[[], Any],
    *,
    timeout: float = 1.0,  # noqa: ASYNC109 - the last answer is told, which asyncio.timeout cannot
    pause: float = 0.01,
) -> Any:
    """Ask again and again until the condition holds, and answer what it answered.

    Args:
        condition: Sync or async; it holds when it answers something true, and does not while it raises AssertionError.
        timeout: Seconds.
        pause: Seconds between two looks.

    Raises:
        AssertionError: It did not hold in time; the last answer or assertion is told.
    """
    __tracebackhide__ = True
    ends, last = time.monotonic() + timeout, "nothing"
    while True:
        try:
            answer = condition()
            answer = await answer if inspect.isawaitable(answer) else answer
            if answer:
                return answer
            last = repr(answer)
        except AssertionError as error:
            last = str(error)
        if time.monotonic() >= ends:
            raise AssertionError(f"it did not come about within {timeout:g} s; the last answer was: {last}")
        await asyncio.sleep(pause)
