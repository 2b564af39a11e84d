"""How a broken storage is made: a wrapper that passes every call to a sound one, but for the law it breaks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, TypeVar

from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise.agents.thread import Entry, Thread
from jido_tortoise.errors import ConflictError, InvalidInputError
from jido_tortoise_testing.contract import MakeStorage, StorageContract, check_names

C = TypeVar("C", bound="type[Broken]")


class DriverError(Exception):
    """What a driver raises; no storage may let it out."""


class Broken:
    """A handle on a storage that is sound but for what a subclass overrides."""

    def __init__(self, inner: InMemoryStorage, shared: SimpleNamespace) -> None:
        self.inner = inner
        #: What all handles on the same data have in common.
        self.shared = shared

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def rev(self, thread_id: str) -> int:
        """Answer a journal's revision; 0 when it is not there."""
        head = await self.inner.get_thread_head(thread_id)
        return head.rev if head is not None else 0

    def remembered(self, name: str) -> dict[Any, Any]:
        """Answer a dict that all handles on the same data share."""
        found: dict[Any, Any] = vars(self.shared).setdefault(name, {})
        return found


@dataclass(frozen=True)
class Animal:
    """A broken storage, and the checks that must fail on it."""

    name: str
    cls: type[Broken]
    caught_by: tuple[str, ...]

    def make_storage(self) -> MakeStorage:
        """Make a function that makes handles on new, empty data."""
        tables, shared = InMemoryStorage.Tables(), SimpleNamespace()
        make: Any = lambda: self.cls(InMemoryStorage(tables), shared)  # noqa: E731
        return make  # type: ignore[no-any-return]


ZOO: dict[str, Animal] = {}
CHECKS = frozenset(check_names(StorageContract))


def add(name: str, cls: type[Broken], checks: str) -> None:
    """Put a broken storage into the zoo, with the names of its checks, which are told without their `test_`."""
    caught_by = tuple(f"test_{check}" for check in checks.split())
    assert name not in ZOO, f"two broken storages are called {name}"
    assert set(caught_by) <= CHECKS, f"{name}: {sorted(set(caught_by) - CHECKS)} are no checks"
    ZOO[name] = Animal(name, cls, caught_by)


def caught_by(checks: str) -> Callable[[C], C]:
    """Put the class into the zoo under its name; its docstring says what it does wrong."""

    def register(cls: C) -> C:
        assert cls.__doc__, f"{cls.__name__} must say what it does wrong"
        add(cls.__name__, cls, checks)
        return cls

    return register


Method = Callable[..., Awaitable[Any]]


def instead(name: str, method: str, checks: str, function: Callable[..., Any]) -> None:
    """Put a storage into the zoo one method of which is replaced: `function(storage, real, *args, **kwargs)`."""

    async def replaced(self: Broken, *args: Any, **kwargs: Any) -> Any:
        return await function(self, getattr(self.inner, method), *args, **kwargs)

    add(name, type(name, (Broken,), {method: replaced}), checks)


def answering(name: str, method: str, checks: str, change: Callable[[Any], Any]) -> None:
    """Put a storage into the zoo that changes what a method answers, unless it answers None."""

    async def changed(_: Broken, real: Method, *args: Any, **kwargs: Any) -> Any:
        found = await real(*args, **kwargs)
        return None if found is None else change(found)

    instead(name, method, checks, changed)


def given(name: str, method: str, checks: str, **changes: Callable[[Any], Any]) -> None:
    """Put a storage into the zoo that changes the keyword arguments of a method that are given."""

    async def changed(_: Broken, real: Method, *args: Any, **kwargs: Any) -> Any:
        for key, change in changes.items():
            if key in kwargs:
                kwargs[key] = change(kwargs[key])
        return await real(*args, **kwargs)

    instead(name, method, checks, changed)


# -- words that many of them need -------------------------------------------------------------------------------------


def rebuilt(thread: Thread, **changes: Any) -> Thread:
    """Answer a loaded thread with other facts."""
    facts = {
        "id": thread.id,
        "rev": thread.rev,
        "first_seq": thread.first_seq,
        "metadata": thread.metadata,
        "created_ms": thread._created_ms,
        "updated_ms": thread._updated_ms,
        "entries": thread.to_list(),
    }
    return Thread._loaded(**{**facts, **changes})


def entry_with(entry: Entry, **changes: Any) -> Entry:
    """Answer an entry with other fields, unchecked."""
    fields = entry.as_dict() | changes
    return Entry._make(*(fields[name] for name in ("id", "seq", "at", "kind", "payload", "refs")))


def each_entry(change: Callable[[Entry], Entry]) -> Callable[[Thread], Thread]:
    """Answer what changes each entry of a loaded thread."""
    return lambda thread: rebuilt(thread, entries=[change(entry) for entry in thread])


def as_list(entries: Any) -> list[Any]:
    """Answer what is given to an append as a list."""
    return [entries] if isinstance(entries, Entry | Mapping) else list(entries)


def id_of(entry: Any) -> str | None:
    """Answer the id that an entry brings."""
    found: str | None = entry.id if isinstance(entry, Entry) else entry.get("id") or None
    return found


def fields_of(entry: Any) -> dict[str, Any]:
    """Answer the fields of an entry or of a mapping, as a new mapping."""
    return entry.as_dict() if isinstance(entry, Entry) else dict(entry)


def without_id(entry: Any) -> dict[str, Any]:
    """Answer an entry that will get a new id."""
    return {name: value for name, value in fields_of(entry).items() if name != "id"}


def conflict(**facts: Any) -> ConflictError:
    """Make a conflict that is as good as a real one."""
    return ConflictError("conflict", **facts)


def refusal() -> InvalidInputError:
    """Make a refusal that is as good as a real one."""
    return InvalidInputError.at("x", "something else", "this")


__all__ = [
    "CHECKS",
    "ZOO",
    "Animal",
    "Broken",
    "DriverError",
    "Method",
    "add",
    "answering",
    "as_list",
    "caught_by",
    "conflict",
    "each_entry",
    "entry_with",
    "fields_of",
    "given",
    "id_of",
    "instead",
    "rebuilt",
    "refusal",
    "replace",
    "without_id",
]
