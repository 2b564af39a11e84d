"""Hypothesis: strategies for what agents store, and a machine that puts any storage through random programs.

    TestMyStorage = storage_machine(open_storage).TestCase

`open_storage()` is an async context manager that gives handles on one set of data, as several processes would have
them. Hypothesis then looks for a program of calls after which they do not answer what a plain dict would, and prints
the shortest.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Literal, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jido_tortoise.agents.storage import ThreadWrite
from jido_tortoise.agents.thread import Entry
from jido_tortoise.errors import AlreadyExistsError, ConflictError, NotFoundError
from jido_tortoise_testing.contract.base import FullStorage
from jido_tortoise_testing.contract.exact import assert_same

T = TypeVar("T")
OpenStorage = Callable[[], AbstractAsyncContextManager[Sequence[FullStorage]]]

# -- values -------------------------------------------------------------------------------------------------------

_THREADS = 3
_KEYS = 3


def json_values() -> st.SearchStrategy[Any]:
    """Values that JSON has, the awkward ones among them."""
    leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text()
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | _maps(inner), max_leaves=10)


def python_values() -> st.SearchStrategy[Any]:
    """Values that the codec stores beyond those of JSON: bytes, times, decimals, tuples, sets, any int and float."""
    leaves = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text()
        | st.binary(max_size=20)
        | st.uuids()
        | st.decimals(allow_nan=False)
        | st.datetimes(timezones=st.just(UTC) | st.none())
        | st.dates()
        | st.timedeltas()
    )
    hashable = st.integers() | st.text() | st.binary(max_size=5)
    return st.recursive(
        leaves | st.frozensets(hashable, max_size=3) | st.sets(hashable, max_size=3),
        lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | _maps(inner),
        max_leaves=10,
    )


def _maps(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.text(max_size=10), values, max_size=4)


def json_states() -> st.SearchStrategy[dict[str, Any]]:
    """States of agents that have a dict, with JSON values only."""
    return _maps(json_values())


def states() -> st.SearchStrategy[dict[str, Any]]:
    """States of agents that have a dict, with all values that can be stored."""
    return _maps(python_values())


def kinds() -> st.SearchStrategy[str]:
    """Kinds of entries, those of agents and any other text."""
    known = st.sampled_from(["note", "message", "tool_call", "tool_result", "error", "instruction_start"])
    return known | st.text(
        st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=30
    )


def entries(values: st.SearchStrategy[Any] | None = None) -> st.SearchStrategy[Entry]:
    """Entries with new ids; payload and refs hold these values, all that can be stored when None."""
    maps = _maps(python_values() if values is None else values)
    return st.builds(Entry, kinds(), maps, maps, at=st.integers(0, 2**41))


# -- programs -----------------------------------------------------------------------------------------------------

Action = Literal["append", "load", "put", "get", "delete", "delete_thread", "trim"]


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a program, on the thread or key with this number."""

    action: Action
    #: Which thread or key.
    on: int
    #: Entries of an append, data of a put, the first number that a trim keeps.
    given: Any = None


def op_sequences(*, max_size: int = 20) -> st.SearchStrategy[list[Step]]:
    """Programs for a storage, as values; `StorageMachine` is for those that depend on answers."""
    given: dict[Action, st.SearchStrategy[Any]] = {
        "append": st.lists(entries(json_values()), min_size=1, max_size=3),
        "put": json_states(),
        "trim": st.integers(0, 10),
    }
    actions: list[Action] = ["append", "load", "put", "get", "delete", "delete_thread", "trim"]
    steps = [st.builds(Step, st.just(a), st.integers(0, _KEYS - 1), given.get(a, st.none())) for a in actions]
    return st.lists(st.one_of(steps), max_size=max_size)


# -- the machine --------------------------------------------------------------------------------------------------


@dataclass
class _Thread:
    """What a journal must hold."""

    rev: int = 0
    first: int = 0
    entries: list[Entry] = field(default_factory=list)

    def append(self, added: Sequence[Entry]) -> None:
        self.entries += added
        self.rev += len(added)

    def copy(self) -> _Thread:
        return _Thread(self.rev, self.first, list(self.entries))


@dataclass
class _Checkpoint:
    version: int
    data: Any


_handles = st.integers(0, 1)
_numbers = st.integers(0, _THREADS - 1)
_batches = st.lists(entries(), min_size=1, max_size=3)
#: How far off a revision or a version is that must conflict.
_wrong = st.sampled_from([-1, 1])


def _able(*capabilities: str) -> Callable[[Any], Any]:
    def declared(machine: Any) -> bool:
        return set(capabilities) <= set(machine.handles[0].capabilities)

    return precondition(declared)


class StorageMachine(RuleBasedStateMachine):
    """Random programs on a storage, each call on one of its handles, beside what a dict would answer."""

    @staticmethod
    def open_storage() -> AbstractAsyncContextManager[Sequence[FullStorage]]:
        """Give handles on one set of data; `storage_machine` overrides it."""
        raise NotImplementedError("make the machine by storage_machine(open_storage)")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.context = type(self).open_storage()
        self.handles: Sequence[FullStorage] = self.run(self.context.__aenter__())
        # Another name in each example: what an earlier one left need not be cleaned.
        self.prefix = secrets.token_hex(4)
        self.ids = itertools.count()
        self.threads: dict[int, _Thread] = {}
        self.checkpoints: dict[int, _Checkpoint] = {}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a call to its end."""
        return self.runner.run(work)

    def teardown(self) -> None:
        """Close what the example has opened."""
        try:
            self.run(self.context.__aexit__(None, None, None))
        finally:
            self.runner.close()

    def handle(self, number: int) -> FullStorage:
        """Answer one of the handles."""
        return self.handles[number % len(self.handles)]

    def name(self, number: int) -> str:
        """Answer what the thread or key with this number is called."""
        return f"{self.prefix}-{number}"

    def fresh(self, drawn: Sequence[Entry]) -> list[Entry]:
        """Answer the entries with ids that no other has: Hypothesis draws the same twice."""
        return [Entry(one.kind, one.payload, one.refs, id=f"e{next(self.ids)}", at=one.at_ms) for one in drawn]

    # -- journals -----------------------------------------------------------------------------------------------------

    @rule(by=_handles, number=_numbers, drawn=_batches)
    def append(self, by: int, number: int, drawn: list[Entry]) -> None:
        """Append to whatever is there."""
        self._append(by, number, drawn, None)

    @rule(by=_handles, number=_numbers, drawn=_batches)
    def append_at(self, by: int, number: int, drawn: list[Entry]) -> None:
        """Append at the right revision."""
        self._append(by, number, drawn, self.threads.get(number, _Thread()).rev)

    @rule(by=_handles, number=_numbers, off=_wrong)
    def append_beside(self, by: int, number: int, off: int) -> None:
        """Append at a revision that was, or is yet to come: both must conflict."""
        number = self._written(number)
        self._append(by, number, [Entry("note")], _beside(self.threads.get(number, _Thread()).rev, off))

    def _append(self, by: int, number: int, drawn: list[Entry], expected: int | None) -> None:
        added = self.fresh(drawn)
        model = self.threads.get(number, _Thread())
        work = self.handle(by).append_thread(self.name(number), added, expected_rev=expected)
        if expected not in (None, model.rev):
            _must_raise(ConflictError, lambda: self.run(work))
            return
        model.append(added)
        self.threads[number] = model
        answer = self.run(work)
        assert answer.rev == model.rev, f"the append answered revision {answer.rev}, it must be {model.rev}"

    @rule(by=_handles, number=_numbers)
    def delete_thread(self, by: int, number: int) -> None:
        """Delete a journal; a new one begins at 0."""
        self.run(self.handle(by).delete_thread(self.name(number)))
        self.threads.pop(number, None)

    @rule(by=_handles, number=_numbers, first=st.integers(0, 6), limit=st.none() | st.integers(1, 3))
    def load_range(self, by: int, number: int, first: int, limit: int | None) -> None:
        """Load a part."""
        found = self.run(self.handle(by).load_thread(self.name(number), from_seq=first, limit=limit))
        model = self.threads.get(number, _Thread())
        skipped = max(0, first - model.first)
        wanted = model.entries[skipped:] if limit is None else model.entries[skipped : skipped + limit]
        assert [entry.id for entry in found or ()] == [entry.id for entry in wanted]

    @_able("trim")
    @rule(by=_handles, number=_numbers, kept=st.integers(-1, 2))
    def trim(self, by: int, number: int, kept: int) -> None:
        """Drop all but the last entries, or aim past the end; revision and numbers stay."""
        number = self._written(number)
        model = self.threads.get(number, _Thread())
        before = max(0, model.rev - kept)
        dropped = self.run(self.handle(by).trim_thread(self.name(number), before=before))
        wanted = max(0, min(before, model.rev) - model.first)
        assert dropped == wanted, f"the trim answered {dropped}, it must be {wanted}"
        model.first += wanted
        del model.entries[:wanted]

    def _written(self, number: int) -> int:
        """Answer a thread that is there, if there is one: a call on nothing seldom shows a fault."""
        return _of_those(self.threads, number)

    @_able("copy")
    @rule(by=_handles, source=_numbers, into=_numbers)
    def copy(self, by: int, source: int, into: int) -> None:
        """Copy a journal to where none is."""
        work = self.handle(by).copy_thread(self.name(source), self.name(into))
        if into in self.threads:
            _must_raise((AlreadyExistsError, NotFoundError), lambda: self.run(work))
        elif source not in self.threads:
            _must_raise(NotFoundError, lambda: self.run(work))
        else:
            self.run(work)
            self.threads[into] = self.threads[source].copy()

    # -- checkpoints --------------------------------------------------------------------------------------------------

    @rule(by=_handles, number=_numbers, data=states())
    def put(self, by: int, number: int, data: dict[str, Any]) -> None:
        """Put over whatever is there."""
        self._put(by, number, data, None)

    @_able("compare_and_set")
    @rule(by=_handles, number=_numbers, data=states())
    def put_over(self, by: int, number: int, data: dict[str, Any]) -> None:
        """Put over the right version."""
        self._put(by, number, data, self._version(number))

    @_able("compare_and_set")
    @rule(by=_handles, number=_numbers, off=_wrong)
    def put_beside(self, by: int, number: int, off: int) -> None:
        """Put over a version that was, or is yet to come: both must conflict."""
        number = _of_those(self.checkpoints, number)
        self._put(by, number, {"n": 0}, _beside(self._version(number), off))

    def _version(self, number: int) -> int:
        return self.checkpoints[number].version if number in self.checkpoints else 0

    def _put(self, by: int, number: int, data: dict[str, Any], expected: int | None) -> None:
        options = {} if expected is None else {"expected_version": expected}
        work = self.handle(by).put_checkpoint(self.name(number), data, **options)
        if expected not in (None, self._version(number)):
            _must_raise(ConflictError, lambda: self.run(work))
            return
        version = self._version(number) + 1
        assert self.run(work).version == version
        self.checkpoints[number] = _Checkpoint(version, data)

    @rule(by=_handles, number=_numbers)
    def delete(self, by: int, number: int) -> None:
        """Delete a checkpoint."""
        self.run(self.handle(by).delete_checkpoint(self.name(number)))
        self.checkpoints.pop(number, None)

    @_able("atomic_save")
    @rule(by=_handles, number=_numbers, drawn=_batches, off=st.sampled_from([0, 0, 1]))
    def save(self, by: int, number: int, drawn: list[Entry], off: int) -> None:
        """Write checkpoint and journal together, or neither."""
        number = self._written(number) if off else number
        added, model = self.fresh(drawn), self.threads.get(number, _Thread())
        thread = ThreadWrite(id=self.name(number), entries=added, expected_rev=model.rev + off)
        work = self.handle(by).save(self.name(number), {"n": 1}, expected_version=self._version(number), thread=thread)
        if off:
            _must_raise(ConflictError, lambda: self.run(work))
            return
        self.run(work)
        model.append(added)
        self.threads[number] = model
        pointer = {"id": self.name(number), "rev": model.rev}
        self.checkpoints[number] = _Checkpoint(self._version(number) + 1, {"n": 1, "thread": pointer})

    # -- what must always hold ----------------------------------------------------------------------------------------

    @invariant()
    def everything_is_there(self) -> None:
        """Each handle answers exactly what was stored, whichever has stored it."""
        for handle in self.handles:
            for number in range(_THREADS):
                self._compare_thread(handle, number)
                self._compare_checkpoint(handle, number)

    def _compare_thread(self, handle: FullStorage, number: int) -> None:
        found = self.run(handle.load_thread(self.name(number)))
        model = self.threads.get(number, _Thread())
        if found is None or not model.entries:
            assert found is None and not model.entries, f"thread {number}: {found} where {model} must be"  # noqa: PT018
            return
        assert (found.rev, found.first_seq) == (model.rev, model.first)
        for seq, (got, wanted) in enumerate(zip(found, model.entries, strict=True), model.first):
            assert_same(got.as_dict(), wanted.as_dict() | {"seq": seq}, f"threads[{number}][{seq}]")

    def _compare_checkpoint(self, handle: FullStorage, number: int) -> None:
        found = self.run(handle.get_checkpoint(self.name(number)))
        model = self.checkpoints.get(number)
        seen = None if found is None else (found.version, found.data)
        wanted = None if model is None else (model.version, model.data)
        assert_same(seen, wanted, f"checkpoints[{number}]")


def _of_those(there: Mapping[int, object], number: int) -> int:
    """Answer one of those that are there, if there are any."""
    numbers = sorted(there)
    return numbers[number % len(numbers)] if numbers else number


def _beside(right: int, off: int) -> int:
    # Where nothing is there was nothing before.
    return right + off if right + off >= 0 else right + 1


def _must_raise(errors: type[Exception] | tuple[type[Exception], ...], call: Callable[[], object]) -> None:
    try:
        call()
    except errors:
        return
    raise AssertionError(f"it must raise {errors}")


def storage_machine(open_storage: OpenStorage, *, name: str = "Machine") -> type[StorageMachine]:
    """Make the machine for a storage.

    Args:
        open_storage: An async context manager that gives one or two handles on the same data.
        name: What the class is called in messages.
    """
    return type(name, (StorageMachine,), {"open_storage": staticmethod(open_storage)})
