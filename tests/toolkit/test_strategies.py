"""The strategies make what can be stored, and the machine finds broken storages and none of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.stateful import run_state_machine_as_test

from jido_tortoise import codec
from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise.agents.thread import Entry
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise_testing.contract.exact import difference
from jido_tortoise_testing.strategies import Step, entries, json_states, op_sequences, states, storage_machine
from tests.conftest import opened

pytestmark = pytest.mark.usefixtures("unmeasured")

_FEW = settings(
    max_examples=15, stateful_step_count=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@settings(max_examples=50, deadline=None)
@given(states(), json_states(), entries())
def test_what_is_drawn_can_be_stored(state: dict[str, Any], plain: dict[str, Any], entry: Entry) -> None:
    """All of it comes back from the codec as it was."""
    for value in (state, plain, entry.payload, entry.refs):
        assert difference(codec.loads(codec.dumps(value)), value) is None


@settings(max_examples=30, deadline=None)
@given(op_sequences(max_size=8))
def test_programs_are_values(program: list[Step]) -> None:
    """A program is printed and replayed as it is."""
    assert len(program) <= 8
    assert all(isinstance(step.given, list) for step in program if step.action == "append")


@asynccontextmanager
async def _memory() -> AsyncIterator[Sequence[Any]]:
    tables = InMemoryStorage.Tables()
    yield [InMemoryStorage(tables), InMemoryStorage(tables)]


def test_machine_in_memory() -> None:
    """The storage in memory."""
    run_state_machine_as_test(storage_machine(_memory), settings=_FEW)


def test_machine_on_databases(db_url: str, backend: str) -> None:
    """SQLite in memory and in a file, and PostgreSQL; examples share a database unless it is in memory."""
    made: list[bool] = []

    @asynccontextmanager
    async def open_storage() -> AsyncIterator[Sequence[Any]]:
        async with opened(db_url, backend=backend, tables=not made or "memory" in backend):
            made.append(True)
            yield [TortoiseStorage(), TortoiseStorage(timeout=10)]

    run_state_machine_as_test(storage_machine(open_storage), settings=_FEW)


class _LosesTheSecond(InMemoryStorage):
    async def append_thread(self, thread_id: str, entries: Any, **options: Any) -> Any:
        return await super().append_thread(thread_id, entries[:2], **options)


class _IgnoresTheRevision(InMemoryStorage):
    async def append_thread(self, thread_id: str, entries: Any, *, expected_rev: Any = None, **options: Any) -> Any:
        return await super().append_thread(thread_id, entries, **options)


class _MakesListsOfTuples(InMemoryStorage):
    async def get_checkpoint(self, key: Any) -> Any:
        found = await super().get_checkpoint(key)
        if found is None:
            return None
        data = {name: list(value) if isinstance(value, tuple) else value for name, value in found.data.items()}
        return type(found)(
            key=key, data=data, version=found.version, created_at=found.created_at, updated_at=found.updated_at
        )


class _TrimsOneTooFew(InMemoryStorage):
    async def trim_thread(self, thread_id: str, *, before: int) -> int:
        return await super().trim_thread(thread_id, before=max(0, before - 1))


@pytest.mark.parametrize("broken", [_LosesTheSecond, _IgnoresTheRevision, _MakesListsOfTuples, _TrimsOneTooFew])
def test_a_broken_storage_is_found(broken: type[InMemoryStorage]) -> None:
    """The machine can fail: lost entries, ignored revisions, lost types and numbers that are off by one."""

    @asynccontextmanager
    async def open_storage() -> AsyncIterator[Sequence[Any]]:
        tables = InMemoryStorage.Tables()
        yield [broken(tables), InMemoryStorage(tables)]

    more = settings(
        _FEW,
        # Each is found in some 40 examples. What Hypothesis draws depends on the modules that were imported before,
        # also when derandomized: there must be many more than that.
        max_examples=1000,
        stateful_step_count=20,
        database=None,
        print_blob=False,
        phases=[Phase.generate],
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(storage_machine(open_storage), settings=more)
