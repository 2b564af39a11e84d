"""The assertions pass on what is right, and say of what is wrong which value it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from jido_tortoise import Agent, Entry, InMemoryStorage, Jido, Thread
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.errors import ConflictError
from jido_tortoise_testing.roundtrip import (
    AgentRoundTripError,
    Via,
    assert_conflict,
    assert_journal,
    assert_roundtrip,
    assert_unchanged,
    differences,
    eventually,
)
from tests.conftest import Database


@dataclass
class Luggage:
    items: list[Any] = field(default_factory=list)
    paid: Decimal = Decimal("1.50")


class Traveller(Agent[Luggage], agent_type="roundtrip-traveller"):
    """Survives everything."""


class Lossy(Agent, agent_type="roundtrip-lossy"):
    """Turns its tuples into lists on the way to the storage."""

    def checkpoint(self) -> dict[str, Any]:
        data = self.default_checkpoint()
        data["state"] = {name: list(v) if isinstance(v, tuple) else v for name, v in data["state"].items()}
        return data


def _traveller(name: str) -> Traveller:
    agent = Traveller(name, Luggage([1, (2, b"x"), {"a": None}]))
    agent.thread.append("note", {"n": Decimal("1.10")})
    return agent


@pytest.mark.usefixtures("measured")
async def test_an_agent_survives_in_all_ways(db: Database) -> None:
    """Same process, second connection and new process, on all three databases, the one in memory included."""
    await assert_roundtrip(Jido(TortoiseStorage()), _traveller("a"))
    await assert_roundtrip(Jido(TortoiseStorage()), _traveller("b"), via=["same"], times=3)


@pytest.mark.parametrize("via", ["same", "second-connection", "new-process"])
async def test_what_changed_is_told_with_path_cause_and_cure(sqlite_db: Database, via: Via) -> None:
    """One line for the difference, how much was equal, and how to run it again."""
    agent = Lossy("a-17", {"ok": 1, "tokens": (1, 2, 3)})
    with pytest.raises(AgentRoundTripError) as caught:
        await assert_roundtrip(Jido(TortoiseStorage()), agent, via=[via])
    lines = str(caught.value).splitlines()
    assert lines[0] == f"Lossy 'a-17' changed on hibernate -> thaw ({via}): 5 of 6 fields equal"
    assert lines[1].startswith("  state.tokens: (1, 2, 3) -> [1, 2, 3]     tuple became list: JSON has no tuples")
    assert lines[2].startswith("  reproduce: pytest tests/toolkit/test_roundtrip.py::test_what_changed")


async def test_what_cannot_be_tried_is_never_skipped() -> None:
    """A storage without connections, and a class that nobody can import, are refused with the cure."""
    with pytest.raises(AssertionError, match=r'via=\("same",\)'):
        await assert_roundtrip(Jido(InMemoryStorage()), _traveller("a"))
    await assert_roundtrip(Jido(InMemoryStorage()), _traveller("b"), via=("same",))


async def test_a_local_class_is_refused_for_a_new_process(sqlite_db: Database) -> None:
    """The message says where to define it."""

    class Local(Agent, agent_type="roundtrip-local"):
        pass

    with pytest.raises(AssertionError, match="define it at the top of a module"):
        await assert_roundtrip(Jido(TortoiseStorage()), Local("a"), via=["new-process"])


def test_differences_have_paths() -> None:
    """Missing and added keys and elements, types and values; and the number of places in all."""
    found, count = differences({"a": [1, 2], "b c": 1.0, "d": 1}, {"a": [1], "b c": 1, "e": 1}, "x")
    assert [one.path for one in found] == ["x.a[1]", "x['b c']", "x.d", "x.e"]
    assert count == 5
    assert "(nothing)" in str(found[0])
    assert "float became int" in str(found[1])


def test_assert_journal() -> None:
    """Kinds, parts of entries and whole entries; each difference is a line."""
    thread = Thread("t")
    thread.append("user", {"text": "hi", "n": 1})
    last = thread.append("tool_call", {"name": "search"})
    assert_journal(thread, ["user", "tool_call"])
    assert_journal(thread, [{"kind": "user", "payload": {"n": 1}}, last])
    assert_journal(None, [])
    with pytest.raises(AssertionError) as caught:
        assert_journal(thread, [{"payload": {"n": 2, "m": 3}}])
    text = str(caught.value)
    assert "the journal has 2 entries, 1 were expected" in text
    assert "[0].payload.n: 1, expected 2" in text
    assert "[0].payload.m: (nothing), expected 3" in text
    assert "[1]:" in text
    with pytest.raises(AssertionError, match="nothing is there, expected 'error'"):
        assert_journal(thread, ["user", "tool_call", "error"])
    with pytest.raises(AssertionError, match="payload"):
        assert_journal(thread, ["user", Entry("tool_call", id=last.id, seq=1, at=last.at_ms)])


async def test_assert_conflict() -> None:
    """A conflict passes, others and none do not, and its facts are compared."""
    storage = InMemoryStorage()
    with assert_conflict(expected=3):
        await storage.append_thread("t", {"kind": "note"}, expected_rev=3)
    with pytest.raises(AssertionError, match="nothing was raised"), assert_conflict():
        pass
    with pytest.raises(AssertionError, match="says expected=3, 4 was expected"), assert_conflict(expected=4):
        raise ConflictError("no", expected=3)


async def test_assert_unchanged(db: Database) -> None:
    """Reads change nothing; a row that came or changed is shown."""
    storage = TortoiseStorage()
    await storage.put_checkpoint("k", {"n": 1})
    async with assert_unchanged():
        await storage.get_checkpoint("k")
    with pytest.raises(AssertionError, match=r"the database has changed\n.*jido_checkpoints: - .*\n.*: \+ "):
        async with assert_unchanged():
            await storage.put_checkpoint("k", {"n": 2})


async def test_eventually() -> None:
    """It waits for a true answer, sync or async, and tells the last one when none comes."""
    seen: list[int] = []

    async def later() -> int | None:
        seen.append(1)
        assert len(seen) > 2, "too early"
        return len(seen) if len(seen) > 3 else None

    assert await eventually(later, pause=0) == 4
    assert await eventually(lambda: "now") == "now"
    with pytest.raises(AssertionError, match=r"within 0\.02 s; the last answer was: 0"):
        await eventually(lambda: 0, timeout=0.02)
    with pytest.raises(AssertionError, match="the last answer was: never"):
        await eventually(_never, timeout=0.01)


def _never() -> None:
    raise AssertionError("never")
