"""What every group of checks stands on: the two handles, the capabilities, and the words for entries."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

import pytest

from jido_tortoise.agents.storage import AtomicSave, Capability, Copying, Heads, Listing, Repairing, Storage, Trimming
from jido_tortoise.agents.thread import Entry, Thread
from jido_tortoise_testing.levels import Level, describe, refuse_unknown

Check = TypeVar("Check", bound=Callable[..., Any])


class FullStorage(Storage, AtomicSave, Heads, Trimming, Copying, Listing, Repairing, Protocol):
    """A storage with every capability; a check calls only what its storage declares."""


#: Makes a handle on the data of the running check, as another process would have one.
MakeStorage = Callable[[], FullStorage]


def needs(*capabilities: Capability) -> Callable[[Check], Check]:
    """Skip the check, visibly and with the reason, on a storage that does not declare all of these."""

    def mark(check: Check) -> Check:
        vars(check)["needs"] = needed(check) + capabilities
        return check

    return mark


def needed(check: Callable[..., Any]) -> tuple[Capability, ...]:
    """Answer the capabilities that a check was marked with."""
    return tuple(getattr(check, "needs", ()))


class Checks:
    """The fixtures of a group of checks; `make_storage` is the one that a subclass must give."""

    # Explicit, so that the suite also runs where pytest-asyncio is in strict mode.
    pytestmark: ClassVar[Any] = pytest.mark.asyncio

    #: Seconds after which a call counts as hung.
    patience: ClassVar[float] = 30.0
    #: Tasks that write at once.
    crowd: ClassVar[int] = 40
    #: What passing the checks of this group shows.
    level: ClassVar[Level] = "CORE"
    #: Whether these are all the checks of a contract, so that a run may tell the level.
    graded: ClassVar[bool] = False
    #: Names of checks that are known to fail, each with the reason; one that passes is a failure.
    expected_failures: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse an expectation that names no check: it would expect nothing."""
        super().__init_subclass__(**options)
        for name in cls.expected_failures:
            refuse_unknown(cls, name, f"{cls.__name__}.expected_failures")

    def capabilities_of(self, storage: Any) -> Collection[str]:
        """Answer what a storage can beyond what each must."""
        declared: Collection[str] = storage.capabilities
        return declared

    def missing_of(self, check: Callable[..., Any], storage: Any) -> list[str]:
        """Answer the capabilities that a check needs and the storage does not declare."""
        names = needed(check)
        return [name for name in names if name not in self.capabilities_of(storage)] if names else []

    def undeclared(self, check: Callable[..., Any], storage: Any) -> str | None:
        """Say why this storage cannot be asked to pass the check; None when it can."""
        missing = self.missing_of(check, storage)
        if not missing:
            return None
        has = ", ".join(sorted(self.capabilities_of(storage))) or "nothing"
        return f"the storage does not declare {', '.join(missing)}; it declares {has}"

    @pytest.fixture
    def make_storage(self) -> MakeStorage:
        """Give a function that makes a handle on the data of this check: the same data each time, empty at first."""
        raise NotImplementedError(f"{type(self).__name__} must define the fixture make_storage")

    @pytest.fixture
    def storage(self, make_storage: MakeStorage) -> FullStorage:
        """Give the first handle."""
        return make_storage()

    @pytest.fixture
    def second(self, make_storage: MakeStorage) -> FullStorage:
        """Give another handle on the same data, as another process would have one."""
        return make_storage()

    @pytest.fixture(autouse=True)
    def expected(self, request: pytest.FixtureRequest) -> None:
        """Expect the failures that are known."""
        reason = self.expected_failures.get(request.function.__name__)
        if reason is not None:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture(autouse=True)
    def declared(self, request: pytest.FixtureRequest, expected: None, storage: FullStorage) -> None:
        """Skip what the storage does not declare."""
        if self.graded:
            about = describe(request.node, self.missing_of(request.function, storage))
            request.node.user_properties.append(("jido_check", about))
        reason = self.undeclared(request.function, storage)
        if reason is not None:
            pytest.skip(reason)


class StoreFixtures(Checks):
    """The same, for a contract whose storages are called stores: a subclass must give `make_store`."""

    @pytest.fixture
    def make_store(self) -> Callable[[], Any]:
        """Give a function that makes a handle on the data of this check: the same data each time, empty at first."""
        raise NotImplementedError(f"{type(self).__name__} must define the fixture make_store")

    @pytest.fixture
    def make_storage(self, make_store: Any) -> Any:
        """Give it under the name that all contracts know."""
        return make_store

    @pytest.fixture
    def store(self, storage: Any) -> Any:
        """Give the first handle."""
        return storage


def note(n: object, **fields: Any) -> dict[str, Any]:
    """Make the mapping of an entry that is recognised by its number."""
    return {"kind": "note", "payload": {"n": n}, **fields}


def notes(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Make that many entries, numbered from `start`."""
    return [note(n) for n in range(start, start + count)]


def numbers(entries: Thread | Iterable[Entry] | None) -> list[Any]:
    """Answer the numbers that `note` wrote, in the order of the entries."""
    return [entry.payload["n"] for entry in entries_of(entries)]


def seqs(entries: Thread | Iterable[Entry] | None) -> list[int]:
    """Answer the sequence numbers of the entries."""
    return [entry.seq for entry in entries_of(entries)]


def entries_of(entries: Thread | Iterable[Entry] | None) -> Sequence[Entry]:
    """Answer the entries of a thread, or of what a load answered for one that is not there."""
    if entries is None:
        return ()
    return tuple(entries.entries if isinstance(entries, Thread) else entries)


async def loaded(storage: FullStorage, thread_id: str, **range_: Any) -> Thread:
    """Load a journal that must be there."""
    thread = await storage.load_thread(thread_id, **range_)
    assert thread is not None, f"the journal {thread_id!r} is not there"
    return thread
