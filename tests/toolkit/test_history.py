"""The history checker: a zoo of anomalies is found, sound histories are blamed for nothing, our storages are sound."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.errors import ConflictError
from jido_tortoise_testing.faults.places import beside
from jido_tortoise_testing.history import History, HistoryError, Operation, find_anomalies
from tests import forking
from tests.conftest import Database, opened
from tests.toolkit.histories import Final, simulated
from tests.toolkit.history_worker import work


def _one(operations: list[Operation], wanted: Callable[[Operation], bool], at: float = 0.5) -> int:
    found = [index for index, one in enumerate(operations) if wanted(one)]
    return found[int(len(found) * at)]


def _acknowledged(one: Operation) -> bool:
    return one.action == "append" and one.outcome == "ok"


def _lost(operations: list[Operation], final: Final) -> None:
    one = operations[_one(operations, _acknowledged)]
    for entry in one.ids:
        final[one.key].remove(entry)


def _torn(operations: list[Operation], final: Final) -> None:
    one = operations[_one(operations, lambda one: _acknowledged(one) and len(one.ids) > 1)]
    final[one.key].remove(one.ids[-1])


def _torn_unknown(operations: list[Operation], final: Final) -> None:
    one = operations[_one(operations, lambda one: one.outcome == "unknown" and len(one.ids) > 1)]
    final[one.key].remove(one.ids[0])


def _interleaved(operations: list[Operation], final: Final) -> None:
    one = operations[_one(operations, lambda one: _acknowledged(one) and len(one.ids) > 1)]
    log = final[one.key]
    log.remove(one.ids[0])
    log.insert(max(0, log.index(one.ids[-1]) - 3), one.ids[0])


def _doubled(operations: list[Operation], final: Final) -> None:
    one = operations[_one(operations, _acknowledged)]
    final[one.key].append(one.ids[0])


def _from_nowhere(operations: list[Operation], final: Final) -> None:
    final["t0"].append("stranger")


def _reordered(operations: list[Operation], final: Final) -> None:
    one = operations[_one(operations, _acknowledged, at=0.2)]
    log = final[one.key]
    for entry in one.ids:
        log.remove(entry)
    log.extend(one.ids)


def _stale(operations: list[Operation], final: Final) -> None:
    index = _one(operations, lambda one: one.action == "read" and len(one.ids) > 30)
    operations[index] = replace(operations[index], ids=operations[index].ids[:-25])


def _reordered_read(operations: list[Operation], final: Final) -> None:
    index = _one(operations, lambda one: one.action == "read" and len(one.ids) > 3)
    ids = operations[index].ids
    operations[index] = replace(operations[index], ids=(*ids[:-2], ids[-1], ids[-2]))


def _future(operations: list[Operation], final: Final) -> None:
    index = _one(operations, lambda one: one.action == "read", at=0.3)
    operations[index] = replace(operations[index], ids=tuple(final[operations[index].key]))


def _wrong_rev(operations: list[Operation], final: Final) -> None:
    index = _one(operations, _acknowledged)
    operations[index] = replace(operations[index], rev=(operations[index].rev or 0) + 1)


def _ignored(operations: list[Operation], final: Final) -> None:
    index = _one(operations, lambda one: one.outcome == "ok" and one.expected is not None)
    operations[index] = replace(operations[index], expected=(operations[index].expected or 0) + 1)


def _lost_update(operations: list[Operation], final: Final) -> None:
    first = _one(operations, lambda one: one.outcome == "ok" and one.expected is not None)
    last = _one(
        operations,
        lambda one: one.outcome == "ok" and one.expected is not None and one.key == operations[first].key,
        at=0.99,
    )
    operations[last] = replace(operations[last], expected=operations[first].expected)


def _refused_but_written(operations: list[Operation], final: Final) -> None:
    index = _one(operations, _acknowledged)
    operations[index] = replace(operations[index], outcome="failed", rev=None)


def _refused_without_reason(operations: list[Operation], final: Final) -> None:
    now = max(one.returned or 0 for one in operations) + 1000
    facts: dict[str, Any] = {"process": "p8", "action": "append", "key": "t0"}
    last = Operation(invoked=now - 2, returned=now - 1, outcome="ok", ids=("last",), rev=len(final["t0"]) + 1, **facts)
    operations.append(last)
    final["t0"].append("last")
    expected = len(final["t0"])
    late = {"process": "p9", "action": "append", "key": "t0", "ids": ("x",), "expected": expected}
    operations.append(Operation(invoked=now, returned=now + 1, outcome="failed", **late))  # type: ignore[arg-type]


_ZOO: dict[str, tuple[Callable[[list[Operation], Final], None], str]] = {
    "lost": (_lost, "lost append"),
    "torn": (_torn, "torn append"),
    "torn-unknown": (_torn_unknown, "torn append"),
    "interleaved": (_interleaved, "torn append"),
    "doubled": (_doubled, "duplicated entry"),
    "from-nowhere": (_from_nowhere, "entry from nowhere"),
    "reordered": (_reordered, "reordered appends"),
    "stale": (_stale, "stale read"),
    "reordered-read": (_reordered_read, "reordered read"),
    "future": (_future, "read from the future"),
    "wrong-rev": (_wrong_rev, "wrong revision answered"),
    "ignored": (_ignored, "expected revision ignored"),
    "lost-update": (_lost_update, "lost update"),
    "refused-but-written": (_refused_but_written, "refused but written"),
    "refused-without-reason": (_refused_without_reason, "refused without reason"),
}


@pytest.mark.usefixtures("unmeasured")
def test_sound_histories_are_blamed_for_nothing() -> None:
    """No false alarm in 200 histories with overlapping calls, refusals and unknown outcomes."""
    found = [anomaly for seed in range(200) for anomaly in find_anomalies(*simulated(seed, 300))]
    assert found == []


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("animal", _ZOO)
def test_a_seeded_anomaly_is_found_by_its_name(animal: str) -> None:
    """Each kind is found in each of 30 histories into which one was planted."""
    plant, kind = _ZOO[animal]
    for seed in range(30):
        operations, final = simulated(seed, 300)
        plant(operations, final)
        assert kind in {anomaly.kind for anomaly in find_anomalies(operations, final)}, f"seed {seed}"


def test_ten_thousand_operations_take_less_than_two_seconds() -> None:
    """The check stays usable on long runs."""
    operations, final = simulated(1, 10_000)
    began = time.perf_counter()
    assert find_anomalies(operations, final) == []
    assert time.perf_counter() - began < 2


def test_an_unknown_append_may_be_there_or_not() -> None:
    """A lost answer is no anomaly, whichever way it went; half of it is one."""
    one = Operation(
        process="p", action="append", key="t", invoked=1, returned=None, outcome="unknown", ids=("a", "b"), expected=0
    )
    assert find_anomalies([one], {"t": ["a", "b"]}) == find_anomalies([one], {"t": []}) == []
    assert [anomaly.kind for anomaly in find_anomalies([one], {"t": ["a"]})] == ["torn append"]


def test_a_repeated_append_is_one_append() -> None:
    """The same entries again answer what is stored; that is neither a double nor out of order."""
    first = Operation(
        process="p", action="append", key="t", invoked=1, returned=None, outcome="unknown", ids=("a",), expected=0
    )
    other = replace(first, invoked=2, returned=3, outcome="ok", ids=("b",), expected=None, rev=2)
    again = replace(first, invoked=4, returned=5, outcome="ok", rev=1)
    assert find_anomalies([first, other, again], {"t": ["a", "b"]}) == []


def test_the_witness_reads_like_a_proof() -> None:
    """Each operation has a name, and the sentence says why they cannot all be true."""
    facts: dict[str, Any] = {"action": "append", "key": "t-1", "outcome": "ok", "expected": 4}
    lines = [
        Operation(process="p2", ids=("e9",), rev=5, invoked=31, returned=34, **facts),
        Operation(process="p5", ids=("e11", "e12"), rev=6, invoked=32, returned=36, **facts),
    ]
    with pytest.raises(HistoryError) as caught:
        raise HistoryError(find_anomalies(lines, {"t-1": [*"abcd", "e11", "e12"]}), 2)
    assert (
        "lost update in thread 't-1'\n"
        "  Let A = p2 append [e9] expected=4 -> ok rev=5 (31..34)\n"
        "  Let B = p5 append [e11, e12] expected=4 -> ok rev=6 (32..36)\n"
        "  Then: both were acknowledged at expected_rev=4, and both cannot start there: a contradiction!"
    ) in str(caught.value)


# -- our own storages ---------------------------------------------------------------------------------------------


async def _check(history: History, storage: Any, least: int) -> None:
    await history.check(storage)
    assert len(history.operations) >= least
    assert {one.outcome for one in history.operations} >= {"ok", "failed"}


async def test_concurrent_tasks_in_memory() -> None:
    """The storage in memory, by many tasks."""
    tables, history = InMemoryStorage.Tables(), History()

    class Yielding(InMemoryStorage):
        async def append_thread(self, *args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            return await super().append_thread(*args, **kwargs)

    await asyncio.gather(*(work(history.wrap(Yielding(tables), f"p{n}"), 20, 1 + n % 3) for n in range(5)))
    await _check(history, InMemoryStorage(tables), 200)


async def test_concurrent_connections(db: Database) -> None:
    """Five writers, each on a connection of its own where there can be several; some are cancelled in between."""
    history = History()

    async def writer(n: int) -> None:
        storage = history.wrap(TortoiseStorage(connection="default"), f"p{n}")
        if db.backend == "sqlite-memory":
            await work(storage, 12, 1 + n % 3)
            return
        context = beside(db.context)
        with context:
            await work(storage, 12, 1 + n % 3)
            task = asyncio.ensure_future(work(storage, 5, 2))
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])
        await context.close_connections()

    await asyncio.gather(*(writer(n) for n in range(5)))
    await _check(history, TortoiseStorage(), 120)


@pytest.mark.parametrize("kind", ["sqlite", "pg"])
async def test_concurrent_processes(kind: str, request: pytest.FixtureRequest) -> None:
    """Three processes write at once; their histories together are sound."""
    url = request.getfixturevalue(f"{kind}_url")
    async with opened(url):
        history, worker = History(), ("-m", "tests.toolkit.history_worker", url)
        lines = [(*worker, f"process-{n}") for n in range(3)]
        for done in await asyncio.to_thread(partial(forking.together, *lines, cwd=Path(__file__).parents[2])):
            assert (done.returncode, done.stderr) == (0, "")
            history.load(done.stdout)
        await history.check(TortoiseStorage())
        assert len({one.process for one in history.operations}) == 3


async def test_a_racy_storage_is_caught() -> None:
    """The naive way to append - look, check, write - is caught by the same test that ours pass."""

    class Racy(InMemoryStorage):
        async def append_thread(self, thread_id: str, entries: Any, **options: Any) -> Any:
            expected, head = options.pop("expected_rev", None), await self.get_thread_head(thread_id)
            if expected is not None and expected != (head.rev if head else 0):
                raise ConflictError("conflict")
            await asyncio.sleep(0)
            return await super().append_thread(thread_id, entries)

    history, tables = History(), InMemoryStorage.Tables()
    await asyncio.gather(*(work(history.wrap(Racy(tables), f"p{n}"), 20, 1) for n in range(5)))
    with pytest.raises(HistoryError, match="lost update"):
        await history.check(InMemoryStorage(tables))
