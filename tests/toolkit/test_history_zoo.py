"""The history checker on live storages: it names what the broken ones did, and blames those whose journals are sound.

The broken storages are those of the contract's zoo. Most of them break laws that no history of appends and reads shows;
a checker that blamed one of these would raise false alarms.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any

import pytest

from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise_testing.contract import MakeStorage
from jido_tortoise_testing.history import History, HistoryError
from tests.contract.zoo import ZOO

pytestmark = pytest.mark.usefixtures("unmeasured")

#: What must be found, by the name of the storage that did it.
FOUND = {
    "RewritesTheWholeJournal": "lost append",
    "AppendsOneByOne": "torn append",
    "LooksBeforeItWrites": "lost update",
    "LooksBeforeItRewrites": "lost append",
    "HasOneCurrentThread": "entry from nowhere",
    "LooksForRepeatsBeforeItWrites": "lost append",
    "LocksWithinAProcess": "lost update",
    "GoesOnAfterACancellation": "refused but written",
    "WritesTheGoodEntriesFirst": "torn append",
    "ReplacesTheJournal": "lost append",
    "CountsAppends": "wrong revision answered",
    "SortsNumbersAsText": "reordered read",
    "LoadsNewestFirst": "reordered read",
    "GivesNewIds": "entry from nowhere",
    "RepeatsItsIds": "reordered read",
    "HasIdsWithoutAPrefix": "reordered read",
    "ConflictsForNothing": "refused without reason",
    "IgnoresTheRevision": "expected revision ignored",
    "HasNoRevisionZero": "refused without reason",
    "WritesBeforeItRefuses": "refused but written",
    "LosesTypesInPayloads": "lost update",
    "LosesTypesInRefs": "lost update",
    "CutsPayloads": "lost update",
    "GivesItsThreadsAway": "stale read",
    "WritesUntilItCannot": "lost update",
}


async def _work(storage: Any, chance: random.Random, rounds: int) -> None:
    """Read a journal and append to it, at the revision that was read or whatever it is by then."""
    for _ in range(rounds):
        thread_id = f"t{chance.randrange(2)}"
        with suppress(Exception):  # a broken storage raises what it likes
            thread = await storage.load_thread(thread_id)
            await asyncio.sleep(0)
            entries = [{"kind": "note"} for _ in range(chance.randint(1, 3))]
            expected = chance.choice([None, 0 if thread is None else len(thread)])
            await storage.append_thread(thread_id, entries, expected_rev=expected)


async def _kinds(make: MakeStorage, seed: int, rounds: int = 12) -> set[str]:
    """Let five processes work at once, and answer what the checker found."""
    history, chance = History(), random.Random(seed)
    handles: list[Any] = [make() for _ in range(5)]
    async with asyncio.timeout(10):
        await asyncio.gather(*(_work(history.wrap(one, f"p{n}"), chance, rounds) for n, one in enumerate(handles)))
    sound = getattr(handles[0], "inner", handles[0])
    try:
        await history.check(sound)
    except HistoryError as error:
        return {anomaly.kind for anomaly in error.anomalies}
    return set()


@pytest.mark.parametrize("name", FOUND)
async def test_a_broken_storage_is_named_by_what_it_did(name: str) -> None:
    """Each time, whatever the order in which its callers came."""
    for seed in range(3):
        assert FOUND[name] in await _kinds(ZOO[name].make_storage(), seed), f"seed {seed}"


async def test_nobody_else_is_blamed() -> None:
    """Neither the sound storage, nor those that break what a history does not show."""
    for seed in range(20):
        tables = InMemoryStorage.Tables()
        assert await _kinds(lambda tables=tables: InMemoryStorage(tables), seed) == set()
    others = {name: animal for name, animal in ZOO.items() if name not in FOUND}
    blamed = {name: await _kinds(animal.make_storage(), 0, rounds=4) for name, animal in others.items()}
    assert {name: kinds for name, kinds in blamed.items() if kinds} == {}


def test_there_are_enough_of_them() -> None:
    """At least 25, who did at least eight different things."""
    assert len(FOUND) >= 25
    assert len(set(FOUND.values())) >= 8
