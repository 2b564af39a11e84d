"""Hibernate and thaw: the cases of the contract (P1-P32, A1, A2) and those that Jido itself fails (H1-H16)."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

import pytest
from tortoise.transactions import in_transaction

from jido_tortoise import codec, journal
from jido_tortoise.agents import care
from jido_tortoise.agents.agent import Agent
from jido_tortoise.agents.keys import Unreadable
from jido_tortoise.agents.manager import AgentManager
from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise.agents.persist import hibernate, thaw
from jido_tortoise.agents.resolve import resolve_storage
from jido_tortoise.agents.storage import ThreadWrite
from jido_tortoise.agents.thread import Entry, Thread
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.errors import (
    CallbackError,
    ConflictError,
    CorruptRowError,
    InvalidAgentError,
    InvalidInputError,
    InvalidStorageError,
    MissingThreadError,
    NotFoundError,
    StorageError,
    StorageTimeoutError,
    ThawError,
    ThreadMismatchError,
    UnstorableError,
)
from jido_tortoise.jido import Jido
from tests.conftest import opened
from tests.integration.managing import FaultyStorage, until

STORAGES = ("memory", "in-steps", "sqlite-memory", "sqlite-file", "postgres")


class InSteps(InMemoryStorage):
    """Cannot save in one step, as most storages of others."""

    capabilities = InMemoryStorage.capabilities - {"atomic_save"}


@pytest.fixture(params=STORAGES)
async def storage(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[Any]:
    """Give each of the storages, empty."""
    if request.param in ("memory", "in-steps"):
        yield InMemoryStorage() if request.param == "memory" else InSteps()
        return
    urls = {"sqlite-memory": "sqlite://:memory:", "sqlite-file": f"sqlite://{tmp_path / 'a.db'}"}
    url = urls.get(request.param) or request.getfixturevalue("pg_url")
    async with opened(url, backend=request.param):
        yield TortoiseStorage()


class Bare(Agent, agent_type="bare"):  # type: ignore[type-arg]
    """State is a dict."""


@dataclass
class Trolley:
    items: list[str] = field(default_factory=list)
    total: float = 0.0


class Shopper(Agent[Trolley], agent_type="persist.shopper"):
    """State is a dataclass."""


KEY = ("bare", "a")


def bare(**state: Any) -> Bare:
    return Bare("a", state)


async def note(storage: Any, thread_id: str, *texts: str) -> None:
    await storage.append_thread(thread_id, [{"kind": "note", "payload": {"text": text}} for text in texts])


async def raw(storage: Any, key: Any = KEY) -> dict[str, Any]:
    stored = await storage.get_checkpoint(key)
    assert stored is not None
    return dict(stored.data)


# -- the contract: hibernate --------------------------------------------------------------------------------------


async def test_P1_without_entries(storage: Any) -> None:
    """The checkpoint holds id, type and state; its pointer names a journal that has no entries."""
    await hibernate(storage, bare(n=1))
    data = await raw(storage)
    assert (data["id"], data["agent_type"], data["state"]) == ("a", "bare", {"n": 1})
    assert data["thread"] == {"id": "bare::a", "rev": 0}


async def test_P2_P8_with_entries(storage: Any) -> None:
    """The journal holds the entries; the pointer is exactly id and revision."""
    agent = bare()
    agent.thread.extend([{"kind": "note"}] * 3)
    await hibernate(storage, agent)
    assert (await raw(storage))["thread"] == {"id": agent.thread.id, "rev": 3}
    assert len(await storage.load_thread(agent.thread.id)) == 3


class Custom(Agent, agent_type="custom"):  # type: ignore[type-arg]
    """Its callbacks answer what the test wants."""

    made: Any = None

    def checkpoint(self) -> Any:
        return self.made(self) if callable(self.made) else self.made


async def test_P3_own_checkpoint(storage: Any) -> None:
    """What the callback adds is stored, also keys that nobody knows."""
    agent = Custom("a", {"n": 1})
    agent.made = {"state": {"only": "this"}, "marker": [1, (2, 3)]}  # type: ignore[assignment]
    await hibernate(storage, agent)
    data = await raw(storage, ("custom", "a"))
    assert data["state"] == {"only": "this"}
    assert data["marker"] == [1, (2, 3)]


async def test_P4_P31_P32_enforced(storage: Any) -> None:
    """Whatever the callback answers: the agent's schedule, the real pointer, no thread in the state."""
    agent = Custom("a")
    agent.thread.append("note")
    agent.schedule = {"job": {"cron_expression": "* * * * *", "message": False}}
    thread = agent.thread
    agent.made = lambda _: {  # type: ignore[assignment]
        "state": {"__thread__": thread, "x": 1},
        "thread": {"id": "other", "rev": 9},
        "schedule": {"foreign": 1},
        "id": "other",
    }
    await hibernate(storage, agent)
    data = await raw(storage, ("custom", "a"))
    assert data["state"] == {"x": 1}
    assert data["thread"] == {"id": thread.id, "rev": 1}
    assert data["schedule"] == {"job": {"cron_expression": "* * * * *", "message": False, "timezone": "Etc/UTC"}}
    assert data["id"] == "a"
    agent.schedule = {}
    agent.made = lambda _: {"state": {}, "schedule": {"foreign": 1}, "partition": "foreign"}  # type: ignore[assignment]
    await hibernate(storage, agent)
    assert (await raw(storage, ("custom", "a"))).keys().isdisjoint({"schedule", "partition"})


@pytest.mark.parametrize("force", [False, True])
async def test_P4_without_a_thread_no_pointer_is_taken(storage: Any, force: bool) -> None:
    """What the callback of an agent without a thread gives as a pointer is not stored: it is not the agent's."""
    agent: Any = Foreign("a", {})
    agent.checkpoint = lambda: {"state": {"n": 1}, "thread": {"id": "somebody's", "rev": 0}}
    await hibernate(storage, agent, force=force)
    assert (await raw(storage, ("persist.foreign", "a"))).get("thread") is None
    assert getattr(await thaw(storage, Foreign, "a"), "thread", None) is None


def boom(_: Any) -> Any:
    raise RuntimeError("checkpoint boom")


@pytest.mark.parametrize(
    ("made", "error", "reason"),
    [
        (boom, CallbackError, "checkpoint_callback_failed"),
        ([1], CallbackError, "checkpoint_callback_failed"),
        ({"state": []}, InvalidInputError, "invalid_checkpoint"),
        ({"state": {"x": object()}}, UnstorableError, "unstorable"),
        ({"state": {"deep": {"thread": Thread("t")}}}, UnstorableError, "unstorable"),
    ],
    ids=["P5-raises", "P5-no-map", "P6-state", "H7-value", "P7-hidden-thread"],
)
async def test_P5_P6_H2_nothing_is_written(storage: Any, made: Any, error: type[Exception], reason: str) -> None:
    """When the callback fails, or answers what cannot be stored, neither journal nor checkpoint has changed."""
    agent = Custom("a")
    agent.made = {"state": {"good": 1}}  # type: ignore[assignment]
    agent.thread.append("note")
    await hibernate(storage, agent)
    agent.thread.append("note")
    agent.made = made
    with pytest.raises(error) as caught:
        await hibernate(storage, agent)
    assert caught.value.reason == reason  # type: ignore[attr-defined]
    assert (await raw(storage, ("custom", "a")))["state"] == {"good": 1}
    assert len(await storage.load_thread(agent.thread.id)) == 1
    agent.made = {"state": {"good": 2}}  # type: ignore[assignment]
    await hibernate(storage, agent)
    assert len(await storage.load_thread(agent.thread.id)) == 2


async def test_error_of_ours_passes_bare(storage: Any) -> None:
    """An error of ours that a callback raises is not wrapped: the host has said which it is."""
    agent = Custom("a")

    def refuse(_: Any) -> Any:
        raise ConflictError("busy now", reason="my_reason")

    agent.made = refuse  # type: ignore[assignment]
    with pytest.raises(ConflictError) as caught:
        await hibernate(storage, agent)
    assert caught.value.reason == "my_reason"


async def test_P7_the_raw_row_holds_no_entry(pg_url: str) -> None:
    """In the table itself: only the pointer, whatever the thread holds."""
    async with opened(pg_url) as database:
        agent = Bare("a", {"n": 1})
        agent.thread.append("message", {"secret": "words"})
        await hibernate(TortoiseStorage(), agent)
        (row,) = await database.client.execute_query_dict(
            "SELECT data::text, thread_id, thread_rev FROM jido_checkpoints"
        )
    assert "words" not in row["data"]
    assert codec.loads(row["data"])["thread"] == {"id": "bare::a", "rev": 1}
    assert (row["thread_id"], row["thread_rev"]) == ("bare::a", 1)


async def test_the_columns_follow_the_data(storage: Any) -> None:
    """Also when a guarded save under the same key is the first with another type: lists must find it there."""
    thread = ThreadWrite(id="moving", entries=[Entry("note")], expected_rev=None)
    first = await storage.save("key", {"agent_type": "before", "id": "a"}, thread=thread)
    for agent_type in ("before", "after"):  # the same columns, and others
        thread = ThreadWrite(id="moving", entries=[Entry("note")], expected_rev=None)
        data = {"agent_type": agent_type, "id": "a", "partition": agent_type}
        first = await storage.save("key", data, expected_version=first.version, thread=thread)
        (item,) = (await storage.list_checkpoints(agent_type=agent_type, partition=agent_type)).items
        assert (item.version, item.thread_rev) == (first.version, first.rev)
    assert not (await storage.list_checkpoints(agent_type="before")).items


async def test_P9_explicit_key(storage: Any) -> None:
    """An agent may be stored under any key, and keeps its own id."""
    await hibernate(storage, bare(n=5), key=("pool", "user_123"))
    agent = await thaw(storage, Bare, None, key=("pool", "user_123"))
    assert (agent.id, agent.state) == ("a", {"n": 5})
    with pytest.raises(NotFoundError):
        await thaw(storage, Bare, "a")


@pytest.mark.parametrize(
    ("agent", "reason"),
    [(object(), "invalid_agent"), (Bare, "invalid_agent"), (None, "invalid_agent")],
)
async def test_identity_first(agent: Any, reason: str) -> None:
    """What is no agent is refused before any storage is asked."""
    with pytest.raises(InvalidAgentError) as caught:
        await hibernate(InMemoryStorage(), agent)
    assert caught.value.reason == reason


async def test_missing_id() -> None:
    """An agent without an id has its own reason."""

    class Foreign:
        id, state, agent_type = None, {}, "foreign"

    with pytest.raises(InvalidAgentError) as caught:
        await hibernate(InMemoryStorage(), Foreign())  # type: ignore[arg-type]
    assert caught.value.reason == "missing_agent_id"


class Foreign:
    """A class that is not ours, and checks nothing itself."""

    agent_type: Any = "persist.foreign"
    partition: Any = None

    def __init__(self, id: Any, state: Any) -> None:
        self.id, self.state = id, state

    @classmethod
    def restore(cls, data: dict[str, Any]) -> Foreign:
        return cls(data["id"], data["state"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("id", id) for id in ("", "a" * 256, "a\0", ("a" * 255,))),
        *((name, value) for name in ("agent_type", "partition") for value in ("", 1)),
    ],
)
async def test_names_of_classes_that_are_not_ours(name: str, value: Any) -> None:
    """Empty, too long or with NUL: refused before a write, as our own classes do, since no list would show them."""
    storage, agent = InMemoryStorage(), Foreign("a", {})
    setattr(agent, name, value)
    for call in (hibernate(storage, agent), care.persist_schedule(storage, agent, {})):
        with pytest.raises(InvalidInputError, match=name):
            await call
    assert await storage.count_checkpoints() == 0


@pytest.mark.parametrize("state", [[], 1, "text"])
async def test_P6_a_state_that_is_none(state: Any) -> None:
    """Without a callback, too, a state that is no map is `invalid_checkpoint`, of our classes and of others."""
    ours, storage = bare(), InMemoryStorage()
    ours.state = state
    for agent in (ours, Foreign("a", state)):
        with pytest.raises(InvalidInputError, match=r"^state: ") as caught:
            await hibernate(storage, agent)
        assert (caught.value.reason, caught.value.path) == ("invalid_checkpoint", "state")
    assert await storage.count_checkpoints() == 0


@dataclass(frozen=True)
class Frozen(Foreign):
    """Its thread can only be set past its own lock."""

    id: str
    state: dict[str, Any]
    agent_type: ClassVar[str] = "persist.frozen"
    thread: Thread = field(default_factory=lambda: Thread("frozen"))
    partition: str | None = None

    @classmethod
    def new(cls, id: Any, *, partition: str | None = None) -> Frozen:
        return cls(id, {}, partition=partition)


@dataclass(slots=True)
class Slotted:
    """Nowhere to note in it where it is stored."""

    id: str
    state: dict[str, Any]
    agent_type: ClassVar[str] = "persist.slotted"
    restore: ClassVar[Any] = classmethod(lambda cls, data: cls(data["id"], data["state"]))


async def test_classes_that_let_nobody_set_an_attribute(storage: Any) -> None:
    """A frozen one gets its thread all the same; one with slots is refused, before the write and after the read."""
    agent = Frozen("a", {})
    agent.thread.append("note")
    await hibernate(storage, agent)
    assert (await thaw(storage, Frozen, "a")).thread.rev == 1
    jido = Jido(storage, partition="blue")
    await jido.hibernate(Frozen("a", {"n": 1}))
    assert (await jido.thaw(Frozen, "a")).state == {"n": 1}
    manager = AgentManager(jido, Frozen, scope="pool")
    async with manager, manager.checkout("a", initial_state={"n": 2}) as pooled:
        assert (pooled.state, pooled.partition) == ({"n": 2}, "blue")
    with pytest.raises(InvalidAgentError, match="'_stored' can be set"):
        await hibernate(storage, Slotted("a", {}))
    assert await storage.get_checkpoint(("persist.slotted", "a")) is None
    await storage.put_checkpoint(("persist.slotted", "a"), {"id": "a", "state": {}})
    with pytest.raises(InvalidAgentError, match="__slots__"):
        await thaw(storage, Slotted, "a")


@pytest.mark.parametrize("cls", [None, object, "bare", Bare("a")])
async def test_a_class_of_no_agents(cls: Any) -> None:
    """Is refused by all that take a class, before any storage is asked."""
    for call in (thaw, care.repair, care.delete_agent):
        with pytest.raises(InvalidAgentError, match=r"^cls: expected a class") as caught:
            await call(None, cls, "a")
        assert caught.value.reason == "invalid_agent"


@pytest.mark.parametrize(
    "given",
    [
        *(None, 1, "x", object(), InMemoryStorage, ("nowhere:Class", {}), ("a",), {}),
        *((InMemoryStorage, {"table": 1}), ("jido_tortoise:InMemoryStorage", {"table": 1})),
    ],
)
async def test_invalid_storage(given: Any) -> None:
    """What is no storage, has none and makes none is refused by name."""
    with pytest.raises(InvalidStorageError) as caught:
        await hibernate(given, bare())
    assert caught.value.reason == "invalid_storage"


def test_a_url_or_a_config_is_no_storage() -> None:
    """Who gives one to `Jido` is told what takes it, and no password is printed."""
    with pytest.raises(InvalidStorageError, match=r"got a URL, which Jido\.connect takes") as caught:
        Jido("postgres://ann:secret@db/shop")
    assert "secret" not in str(caught.value)
    with pytest.raises(InvalidStorageError, match=r"got a Tortoise config, which Jido\.lifespan takes"):
        Jido({"connections": {"default": "sqlite://app.db"}, "apps": {}})


@pytest.mark.parametrize("storage", [name for name in STORAGES if name != "in-steps"], indirect=True)
async def test_C1_capabilities(storage: Any) -> None:
    """Each of our storages declares all that there is beyond the six methods."""
    assert storage.capabilities == {"compare_and_set", "atomic_save", "head", "list", "trim", "copy", "repair"}


async def test_E1_E2_specs() -> None:
    """A class with options, by itself or by its name, makes a storage; a storage is taken as it is."""
    tables = InMemoryStorage.Tables()
    await hibernate((InMemoryStorage, {"tables": tables}), bare(n=1))
    spec = ("jido_tortoise.agents.memory:InMemoryStorage", {"tables": tables})
    assert (await thaw(spec, Bare, "a")).state == {"n": 1}
    storage = InMemoryStorage(tables)
    assert resolve_storage(storage) is storage


async def test_J15_entries_come_back_as_entries(storage: Any) -> None:
    """What was appended as plain maps is read as Entry."""
    await storage.append_thread("t", [{"kind": "note", "payload": {"n": 1}}])
    (entry,) = await storage.load_thread("t")
    assert type(entry) is Entry


async def test_P25_P26_anything_with_a_storage() -> None:
    """A storage, something with a `.storage`, one behind another, or a spec with options."""

    class Holder:
        def __init__(self, storage: Any) -> None:
            self.storage = storage

    storage = InMemoryStorage()
    await hibernate(Holder(Holder(storage)), bare(n=1))
    assert (await thaw(storage, Bare, "a")).state == {"n": 1}
    with pytest.raises(NotFoundError):
        await thaw(("jido_tortoise.agents.memory:InMemoryStorage", {}), Bare, "a")


# -- the contract: thaw -------------------------------------------------------------------------------------------


async def test_P10_missing(storage: Any) -> None:
    """Nothing stored is a LookupError with the contract's name."""
    with pytest.raises(LookupError) as caught:
        await thaw(storage, Bare, "nobody")
    assert caught.value.reason == "not_found"  # type: ignore[attr-defined]


async def test_P11_P12_P20_P21_P22_round_trip(storage: Any) -> None:
    """The same agent comes back: type, id, state with its types, entries in order."""
    agent = Shopper("u-1", Trolley(["a", "b"], 1.5))
    for number in range(4):
        agent.thread.append("message", {"n": number, "pair": (number, b"x")}, {"action": "buy"})
    await hibernate(storage, agent)
    thawed = await thaw(storage, Shopper, "u-1")
    assert thawed == agent
    assert isinstance(thawed.state, Trolley)
    assert thawed.thread.id == agent.thread.id
    assert [entry.payload for entry in thawed.thread] == [entry.payload for entry in agent.thread]


class Lenient(Agent, agent_type="lenient"):  # type: ignore[type-arg]
    """Counts how often its restore is asked."""

    asked = 0

    @classmethod
    def restore(cls, data: dict[str, Any]) -> Any:
        cls.asked += 1
        if data["state"].get("boom"):
            raise RuntimeError("restore boom")
        if data["state"].get("nonsense"):
            return {"no": "agent"}
        if another := data["state"].get("another"):
            return Bare(data["id"]) if another == "type" else cls(another)
        agent = cls(data["id"], data["state"])
        agent.state["restored_by"] = "custom"
        return agent


async def test_P13_own_restore(storage: Any) -> None:
    """The class's own restore makes the agent; its thread is attached to it."""
    agent = Lenient("a", {"n": 1})
    agent.thread.append("note")
    await hibernate(storage, agent)
    thawed = await thaw(storage, Lenient, "a")
    assert thawed.state == {"n": 1, "restored_by": "custom"}
    assert len(thawed.thread) == 1


@pytest.mark.parametrize("how", ["boom", "nonsense"])
async def test_P14_restore_fails(storage: Any, how: str) -> None:
    """A restore that raises, or answers no agent, is a named error, and what is stored stays."""
    await hibernate(storage, Lenient("a", {how: True}))
    with pytest.raises(CallbackError) as caught:
        await thaw(storage, Lenient, "a")
    assert caught.value.reason == "restore_callback_failed"
    assert (await raw(storage, ("lenient", "a")))["state"] == {how: True}


@pytest.mark.parametrize(("id", "another"), [("a", "type"), ("a", "b"), (1, True), (1, "1")])
async def test_restore_answers_the_agent_that_was_asked_for(storage: Any, id: Any, another: Any) -> None:
    """One of another type or id would be stored in its place by the next hibernate; it is refused by name."""
    await hibernate(storage, Lenient(id, {"another": another}))
    with pytest.raises(CallbackError, match="expected") as caught:
        await thaw(storage, Lenient, id)
    assert caught.value.reason == "restore_callback_failed"
    assert caught.value.facts["kind"] == ("another_type" if another == "type" else "another_id")
    assert (await raw(storage, ("lenient", id)))["id"] == id


@pytest.mark.parametrize(
    "data",
    [
        [],
        None,
        {"state": [], "id": "a"},
        {"state": {}},
        {"id": "a", "state": {}, "thread": {"id": "t"}},
        {"id": "a", "state": {}, "thread": {"rev": 1}},
        {"id": "a", "state": {}, "thread": {"id": "t", "rev": "1"}},
        {"id": "a", "state": {}, "thread": [1]},
        {"id": "a", "state": {}, "thread": {"id": "", "rev": 0}},
        {"id": "a", "state": {}, "thread": {"id": "t\0", "rev": 1}},
        {"id": "a", "state": {}, "thread": {"id": "t" * 256, "rev": 1}},
        {"id": "a", "state": {}, "thread": {"id": "t", "rev": 2**63}},
        {"id": "", "state": {}},
    ],
    ids=[
        *("list", "none", "state", "no-id", "no-rev", "no-thread-id", "text-rev", "list-pointer"),
        *("empty-thread-id", "nul", "long-thread-id", "huge-rev", "empty-id"),
    ],
)
async def test_P15_H16_malformed_checkpoint(storage: Any, data: Any) -> None:
    """A malformed checkpoint is a named error that says where, and a lenient restore is never asked."""
    await storage.put_checkpoint(("lenient", "a"), data)
    before = Lenient.asked
    with pytest.raises(CorruptRowError) as caught:
        await thaw(storage, Lenient, "a")
    assert caught.value.reason == "invalid_checkpoint"
    assert caught.value.path.startswith("data")
    assert Lenient.asked == before
    assert await care.repair(storage, Lenient, "a")
    assert (await thaw(storage, Lenient, "a")).id == "a"


@pytest.mark.parametrize("wrong", [{"version": "1"}, {"partition": 1}])
async def test_malformed_for_its_class(storage: Any, wrong: dict[str, Any]) -> None:
    """What only the class finds malformed is named by its row too."""
    await storage.put_checkpoint(KEY, {"id": "a", "state": {}, **wrong})
    with pytest.raises(CorruptRowError, match=r"^checkpoint \('bare', 'a'\): ") as caught:
        await thaw(storage, Bare, "a")
    assert (caught.value.reason, caught.value.key, caught.value.path) == ("invalid_checkpoint", KEY, *wrong)


async def test_checkpoint_without_a_state_thaws(storage: Any) -> None:
    """Every `restore`, of whatever class, is given a dict."""
    await storage.put_checkpoint(("lenient", "a"), {"id": "a", "state": None})
    assert (await thaw(storage, Lenient, "a")).state == {"restored_by": "custom"}


async def test_checkpoint_without_a_pointer_thaws(storage: Any) -> None:
    """H16: a checkpoint without the key `thread` is an agent without a stored journal, not a crash."""
    await storage.put_checkpoint(KEY, {"id": "a", "state": {"n": 1}})
    agent = await thaw(storage, Bare, "a")
    assert (agent.state, len(agent.thread)) == ({"n": 1}, 0)


async def test_P16_P17_schedule_keeps_its_values(storage: Any) -> None:
    """Falsy messages and rich ones come back as they were."""
    agent = bare()
    agent.schedule = {
        "f": {"cron_expression": "@daily", "message": False},
        "e": {
            "cron_expression": "@daily",
            "message": Entry("note", {"not": "an entry"}).as_dict(),
            "timezone": "Europe/Rome",
        },
    }
    await hibernate(storage, agent)
    schedule = (await thaw(storage, Bare, "a")).schedule
    assert schedule["f"]["message"] is False
    assert schedule["e"] == {**agent.schedule["e"]}


async def test_P18_journal_gone(storage: Any) -> None:
    """A pointer to a journal that is gone is named."""
    agent = bare()
    agent.thread.append("note")
    await hibernate(storage, agent)
    await storage.delete_thread(agent.thread.id)
    with pytest.raises(MissingThreadError) as caught:
        await thaw(storage, Bare, "a")
    assert caught.value.reason == "missing_thread"


async def test_P19_journal_behind(storage: Any) -> None:
    """A pointer past the journal's end is a mismatch under every policy."""
    await note(storage, "t", "one", "two")
    await storage.put_checkpoint(KEY, {"id": "a", "state": {}, "thread": {"id": "t", "rev": 10}})
    for policy in ("latest", "pinned", "exact"):
        with pytest.raises(ThreadMismatchError) as caught:
            await thaw(storage, Bare, "a", journal=policy)  # type: ignore[arg-type]
        assert caught.value.reason == "thread_mismatch"


async def test_P23_A2_cycles(storage: Any) -> None:
    """Thaw, change, hibernate, thaw: only what the journal lacks is written, and the change is there."""
    agent = bare(count=1)
    agent.thread.extend([{"kind": "note", "payload": {"n": 1}}, {"kind": "note", "payload": {"n": 2}}])
    await hibernate(storage, agent)
    second = await thaw(storage, Bare, "a")
    second.state["count"] = 2
    second.thread.append("note", {"n": 3})
    await hibernate(storage, second)
    third = await thaw(storage, Bare, "a")
    assert third.state == {"count": 2}
    assert [entry.payload["n"] for entry in third.thread] == [1, 2, 3]
    assert third.thread.rev == 3


async def test_P24_partitions(storage: Any) -> None:
    """The same id in two partitions and in none are three agents, with three journals."""
    for partition in (None, "blue", "red"):
        agent = Bare("a", {"in": partition}, partition=partition)
        agent.thread.append("note", {"in": partition})
        await hibernate(storage, agent)
    for partition in (None, "blue", "red"):
        agent = await thaw(storage, Bare, "a", partition=partition)
        assert (agent.partition, agent.state) == (partition, {"in": partition})
        assert [entry.payload for entry in agent.thread] == [{"in": partition}]
    with pytest.raises(NotFoundError):
        await thaw(storage, Bare, "a", partition="green")


async def test_P27_schedule_alone(storage: Any) -> None:
    """A new schedule over a checkpoint leaves state and journal, and the agent at hand can go on."""
    agent = bare(n=1)
    await hibernate(storage, agent)
    agent.state["n"] = 99
    await care.persist_schedule(storage, agent, {"j": {"cron_expression": "@hourly", "message": 0}})
    assert (await raw(storage))["state"] == {"n": 1}
    assert (await thaw(storage, Bare, "a")).schedule["j"]["message"] == 0
    await hibernate(storage, agent)
    with pytest.raises(InvalidInputError, match=r"^schedule: expected a mapping"):
        await care.persist_schedule(storage, agent, ["j"])  # type: ignore[arg-type]
    assert "schedule" in await raw(storage)
    await care.persist_schedule(storage, agent, {})
    assert "schedule" not in await raw(storage)
    await storage.put_checkpoint(KEY, {"id": "a", "state": {"n": 1, "__thread__": []}})
    await care.persist_schedule(storage, agent, {})
    assert (await raw(storage))["state"] == {"n": 1}


async def test_P28_schedule_without_a_checkpoint(storage: Any) -> None:
    """Without a checkpoint the agent is hibernated whole; a malformed one is left as it is."""
    await care.persist_schedule(storage, bare(n=1), {"j": {"cron_expression": "@hourly", "message": 0}})
    thawed = await thaw(storage, Bare, "a")
    assert (thawed.state, list(thawed.schedule)) == ({"n": 1}, ["j"])
    await storage.put_checkpoint(KEY, {"state": []})
    with pytest.raises(CorruptRowError):
        await care.persist_schedule(storage, bare(), {})
    assert await raw(storage) == {"state": []}


async def test_P29_H1_empty_thread(storage: Any) -> None:
    """An agent with an empty thread is thawed with an empty thread; nothing stands in the journal's tables."""
    agent = bare(n=1)
    await hibernate(storage, agent)
    assert await storage.get_thread_head(agent.thread.id) is None
    thawed = await thaw(storage, Bare, "a")
    assert (thawed.thread.id, len(thawed.thread), thawed.thread.rev) == (agent.thread.id, 0, 0)
    thawed.thread.append("note")
    await hibernate(storage, thawed)
    assert len((await thaw(storage, Bare, "a")).thread) == 1


async def test_metadata_of_an_empty_thread(storage: Any) -> None:
    """Metadata are kept from the creation on, also when that was without entries, and never replaced."""
    agent = Bare("a", {}, thread=Thread("t", metadata={"topic": "first"}))
    await hibernate(storage, agent)
    thawed = await thaw(storage, Bare, "a")
    assert thawed.thread.metadata == {"topic": "first"}
    thawed.thread.metadata["topic"] = "second"
    thawed.thread.append("note")
    await hibernate(storage, thawed)
    assert (await thaw(storage, Bare, "a")).thread.metadata == {"topic": "first"}


async def test_P30_repeated(storage: Any) -> None:
    """Hibernating again duplicates nothing."""
    agent = bare()
    agent.thread.append("note")
    for _ in range(3):
        await hibernate(storage, agent)
    assert len((await thaw(storage, Bare, "a")).thread) == 1


# -- what Jido fails ----------------------------------------------------------------------------------------------


async def test_H2_checkpoint_write_fails(pg_url: str) -> None:
    """When the checkpoint cannot be written, the journal has not moved either, and what was stored thaws."""
    async with opened(pg_url) as database:
        storage = TortoiseStorage()
        agent = bare(n=1)
        agent.thread.append("note")
        await hibernate(storage, agent)
        await database.client.execute_script(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;"
            "CREATE TRIGGER no BEFORE UPDATE ON jido_checkpoints FOR EACH ROW EXECUTE FUNCTION no()"
        )
        agent.thread.append("note")
        with pytest.raises(StorageError):
            await hibernate(storage, agent)
        thawed = await thaw(storage, Bare, "a", journal="exact")
        assert (thawed.state, len(thawed.thread)) == ({"n": 1}, 1)
        await database.client.execute_script("DROP TRIGGER no ON jido_checkpoints")
        await hibernate(storage, agent)
        assert len((await thaw(storage, Bare, "a", journal="exact")).thread) == 2


async def test_H3_entries_of_others(storage: Any) -> None:
    """A journal that others appended to: latest takes them, pinned stops, exact refuses; the stale copy is refused."""
    agent = bare()
    agent.thread.append("note", {"n": 0})
    await hibernate(storage, agent)
    await note(storage, agent.thread.id, "theirs")
    assert (await thaw(storage, Bare, "a")).thread.rev == 2
    pinned = await thaw(storage, Bare, "a", journal="pinned")
    assert (pinned.thread.rev, [entry.payload for entry in pinned.thread]) == (1, [{"n": 0}])
    with pytest.raises(ThreadMismatchError, match="repair"):
        await thaw(storage, Bare, "a", journal="exact")
    agent.state["n"] = 1
    with pytest.raises(ConflictError):
        await hibernate(storage, agent)
    agent.thread.append("note", {"n": 1})
    with pytest.raises(ConflictError):
        await hibernate(storage, agent)
    fresh = await thaw(storage, Bare, "a")
    fresh.thread.append("note")
    await hibernate(storage, fresh)
    assert (await thaw(storage, Bare, "a", journal="exact")).thread.rev == 3


async def test_pinned_keeps_its_pointer(storage: Any) -> None:
    """A pinned copy may store its state, which leaves the pointer; with entries of its own it conflicts."""
    agent = bare()
    agent.thread.append("note")
    await hibernate(storage, agent)
    await note(storage, agent.thread.id, "theirs")
    pinned = await thaw(storage, Bare, "a", journal="pinned")
    for n in (0, 1):
        pinned.state["n"] = n
        await hibernate(storage, pinned)
    assert (await raw(storage))["thread"]["rev"] == 1
    pinned.thread.append("note")
    with pytest.raises(ConflictError):
        await hibernate(storage, pinned)


async def test_H4_copies_diverge_at_one_revision(storage: Any) -> None:
    """Two copies append each an entry of their own: the second is refused and no entry is lost."""
    await hibernate(storage, bare())
    one, two = await thaw(storage, Bare, "a"), await thaw(storage, Bare, "a")
    one.thread.append("note", {"by": 1})
    two.thread.append("note", {"by": 2})
    await hibernate(storage, one)
    with pytest.raises(ConflictError) as caught:
        await hibernate(storage, two)
    assert caught.value.reason == "conflict"
    assert [entry.payload for entry in two.thread] == [{"by": 2}], "the copy keeps what it has"
    assert [entry.payload for entry in (await thaw(storage, Bare, "a")).thread] == [{"by": 1}]


async def test_H4_two_first_hibernates(storage: Any) -> None:
    """Two agents of one name that never met the storage meet in one journal: the second is refused."""
    one, two = bare(by=1), bare(by=2)
    one.thread.append("note", {"by": 1})
    two.thread.append("note", {"by": 2})
    await hibernate(storage, one)
    with pytest.raises(ConflictError):
        await hibernate(storage, two)
    assert (await thaw(storage, Bare, "a")).state == {"by": 1}


async def test_H5_conflict_with_a_longer_journal(storage: Any) -> None:
    """A conflict with a journal that is longer never ends in a checkpoint that cannot be thawed."""
    agent = bare()
    agent.thread.append("note")
    await hibernate(storage, agent)
    copy = await thaw(storage, Bare, "a")
    await note(storage, agent.thread.id, "x", "y", "z")
    copy.thread.append("note")
    with pytest.raises(ConflictError):
        await hibernate(storage, copy)
    assert (await thaw(storage, Bare, "a")).thread.rev == 4


async def test_state_only_copies(storage: Any) -> None:
    """H12: copies that differ in state alone: the stale one is refused; force overwrites."""
    await hibernate(storage, bare(n=0))
    one, two = await thaw(storage, Bare, "a"), await thaw(storage, Bare, "a")
    one.state["n"], two.state["n"] = 1, 2
    await hibernate(storage, one)
    with pytest.raises(ConflictError):
        await hibernate(storage, two)
    await hibernate(storage, two, force=True)
    assert (await thaw(storage, Bare, "a")).state == {"n": 2}
    two.state["n"] = 3
    await hibernate(storage, two)
    with pytest.raises(ConflictError):
        await hibernate(storage, one)


async def test_never_met_overwrites(storage: Any) -> None:
    """An agent that never met the storage overwrites the checkpoint; the journal that is there stays."""
    first = bare(n=1)
    first.thread.append("note", {"n": 1})
    await hibernate(storage, first)
    await hibernate(storage, bare(n=2))
    thawed = await thaw(storage, Bare, "a", journal="exact")
    assert thawed.state == {"n": 2}
    assert [entry.payload for entry in thawed.thread] == [{"n": 1}]


async def test_force_keeps_everybodys_entries(storage: Any) -> None:
    """Forced, a stale copy's entries follow those of others, and the copy goes on with the journal as it is."""
    await hibernate(storage, bare())
    mine = await thaw(storage, Bare, "a")
    await note(storage, mine.thread.id, "theirs")
    mine.thread.append("note", {"text": "mine"})
    await hibernate(storage, mine, force=True)
    assert [entry.payload["text"] for entry in mine.thread] == ["theirs", "mine"]
    mine.thread.append("note", {"text": "more"})
    await hibernate(storage, mine)
    assert (await thaw(storage, Bare, "a", journal="exact")).thread.rev == 3


async def test_force_brings_no_dropped_entry_back() -> None:
    """What a compaction has dropped stays dropped, also where nothing is left; what was never stored is stored."""
    storage = InMemoryStorage()
    agent = bare()
    for keep in (1, 0):
        agent.thread.extend([{"kind": "note"}] * 3)
        await hibernate(storage, agent)
        rev = agent.thread.rev
        await care.compact(storage, agent.thread.id, keep=keep)
        await hibernate(storage, agent, force=True)
        head = await storage.get_thread_head(agent.thread.id)
        assert head is not None
        assert (head.rev, head.first_seq) == (rev, rev - keep)
    mine = agent.thread.append("note", {"text": "mine"})
    await note(storage, agent.thread.id, "theirs", "theirs", "theirs")
    await care.compact(storage, agent.thread.id, keep=1)
    await hibernate(storage, agent, force=True)
    assert (await thaw(storage, Bare, "a", journal="exact")).thread.last().id == mine.id
    await note(storage, agent.thread.id, "theirs", "theirs")
    await care.compact(storage, agent.thread.id, keep=0)
    await hibernate(storage, agent, force=True)
    last = agent.thread.append("note", {"text": "mine"})
    await hibernate(storage, agent)
    assert (await thaw(storage, Bare, "a", journal="exact")).thread.last() == last


async def test_force_into_another_storage_stores_all_there() -> None:
    """What was stored in one storage says nothing of what another one's journal has dropped."""
    one, two, agent = InMemoryStorage(), InMemoryStorage(), bare()
    agent.thread.extend([{"kind": "note", "payload": {"n": n}} for n in range(3)])
    await hibernate(one, agent)
    await note(two, agent.thread.id, "theirs", "theirs", "theirs")
    await care.compact(two, agent.thread.id, keep=0)
    await hibernate(two, agent, force=True)
    thawed = await thaw(two, Bare, "a", journal="exact")
    assert [entry.payload for entry in thawed.thread] == [{"n": 0}, {"n": 1}, {"n": 2}]


async def test_another_storage_and_another_key_are_unmet() -> None:
    """What an agent knows of one place says nothing of another: it is stored there whole, and unguarded."""
    one, two = InMemoryStorage(), InMemoryStorage()
    agent = bare(n=1)
    agent.thread.append("note")
    await hibernate(one, agent)
    await hibernate(one, agent)
    await hibernate(two, agent)
    await hibernate(two, agent, key="copy")
    for place in ({"key": KEY}, {"key": "copy"}):
        assert (await thaw(two, Bare, "a", journal="exact", **place)).thread.rev == 1


async def test_H7_invalid_entry_value_names_its_path(storage: Any) -> None:
    """A value that cannot be stored is refused with its path before anything is written."""
    agent = bare()
    agent.thread.append("note")
    agent.thread.append("note", {"deep": [1, {"x": object()}]})
    with pytest.raises(UnstorableError) as caught:
        await hibernate(storage, agent)
    assert caught.value.path.endswith("payload.deep[1].x")
    assert await storage.load_thread(agent.thread.id) is None
    with pytest.raises(NotFoundError):
        await thaw(storage, Bare, "a")


async def test_repair_pointer_head_and_checkpoint(storage: Any) -> None:
    """Repair moves a pointer, rebuilds a checkpoint that is gone or malformed, and says what it did."""
    agent = bare(n=1)
    agent.thread.append("note")
    await hibernate(storage, agent)
    assert not (await care.repair(storage, Bare, "a")).done
    await note(storage, agent.thread.id, "theirs")
    assert "moved from revision 1 to 2" in (await care.repair(storage, Bare, "a")).done[0]
    assert (await thaw(storage, Bare, "a", journal="exact")).thread.rev == 2
    await storage.delete_checkpoint(KEY)
    assert "rebuilt" in (await care.repair(storage, Bare, "a")).done[0]
    assert (await thaw(storage, Bare, "a", journal="exact")).thread.rev == 2
    await storage.put_checkpoint(KEY, {"state": []})
    done = (await care.repair(storage, Bare, "a")).done
    assert "could not be read" in done[0]
    assert (await thaw(storage, Bare, "a", journal="exact")).thread.rev == 2
    with pytest.raises(NotFoundError):
        await care.repair(storage, Bare, "nobody")


def forgotten(value: str) -> Enum:
    """Give a member of a registered class that no one else holds."""
    kind = Enum("kind", {"ONE": value})
    codec.register(kind, name="persist.forgotten")
    return kind["ONE"]


async def test_H13_a_key_that_cannot_be_read_here(storage: Any) -> None:
    """One key, or id, of a class that this process lacks keeps nobody from the list, and its row can be reached."""
    member = forgotten("a")
    await storage.put_checkpoint((member, 1), {"n": 1})
    await hibernate(storage, Bare(member))
    await hibernate(storage, bare())
    del member
    gc.collect()
    items = {item.agent_id: item for item in (await storage.list_checkpoints()).items}
    assert await storage.count_checkpoints() == len(items) == 3
    assert items["a"].key == KEY
    key = items[None].key
    assert isinstance(key, Unreadable)
    assert (await storage.get_checkpoint(key)).data == {"n": 1}
    assert (await storage.put_checkpoint(key, {"n": 2}, expected_version=1)).version == 2
    (other,) = (item for id, item in items.items() if isinstance(id, Unreadable))
    assert "persist.forgotten" in other.agent_id.error
    with pytest.raises(CorruptRowError, match=r"^the checkpoint under .*persist\.forgotten"):
        await storage.get_checkpoint(other.key)
    await storage.delete_checkpoint(other.key)
    assert (await storage.get_checkpoint((forgotten("a"), 1))).data == {"n": 2}
    assert await storage.count_checkpoints() == 2


async def test_H13_delete_agent(storage: Any) -> None:
    """Deleting an agent takes its journal along, and leaves its neighbours."""
    for name in ("a", "b"):
        agent = Bare(name)
        agent.thread.append("note")
        await hibernate(storage, agent)
    await care.delete_agent(storage, Bare, "a")
    await care.delete_agent(storage, Bare, "a")
    assert await storage.get_thread_head("bare::a") is None
    with pytest.raises(NotFoundError):
        await thaw(storage, Bare, "a")
    assert (await thaw(storage, Bare, "b")).thread.rev == 1
    fresh = bare()
    fresh.thread.append("note")
    await hibernate(storage, fresh)
    assert (await thaw(storage, Bare, "a")).thread.rev == 1
    copied = bare()
    copied.thread = Thread("elsewhere")
    copied.thread.append("note")
    await hibernate(storage, copied, key="copy")
    await care.delete_agent(storage, Bare, "a", key="copy")
    assert await storage.get_thread_head("elsewhere") is None
    assert (await thaw(storage, Bare, "a", journal="exact")).thread.rev == 1


async def test_H14_compaction(storage: Any) -> None:
    """After compaction revision and numbers stay; the agent at hand and thaw both go on."""
    agent = bare()
    agent.thread.extend([{"kind": "note", "payload": {"n": n}} for n in range(10)])
    await hibernate(storage, agent)
    assert await care.compact(storage, agent.thread.id, keep=3) == 7
    agent.thread.append("note", {"n": 10})
    await hibernate(storage, agent)
    thawed = await thaw(storage, Bare, "a", journal="exact")
    assert (thawed.thread.rev, thawed.thread.first_seq) == (11, 7)
    assert [entry.seq for entry in thawed.thread] == [7, 8, 9, 10]
    assert await care.compact(storage, agent.thread.id, keep=0) == 4
    empty = await thaw(storage, Bare, "a", journal="exact")
    assert (len(empty.thread), empty.thread.rev) == (0, 11)
    empty.thread.append("note")
    await hibernate(storage, empty)
    assert (await thaw(storage, Bare, "a")).thread.rev == 12
    for keep in (-1, True, "1"):
        with pytest.raises(InvalidInputError, match=r"^keep: "):
            await care.compact(storage, empty.thread.id, keep=keep)  # type: ignore[arg-type]
    assert (await thaw(storage, Bare, "a")).thread.first_seq == 11


async def test_H14_compaction_of_whatever_the_checkpoint_points_at(storage: Any) -> None:
    """An agent whose journal has another id than its own name says is compacted all the same."""
    agent = bare()
    agent.thread = Thread("elsewhere")
    agent.thread.extend([{"kind": "note"}] * 3)
    await hibernate(storage, agent)
    assert await care.compact_agent(storage, Bare, "a", keep=1) == 2
    assert (await thaw(storage, Bare, "a", journal="exact")).thread.first_seq == 2
    with pytest.raises(NotFoundError):
        await care.compact_agent(storage, Bare, "nobody", keep=1)
    await storage.put_checkpoint(KEY, [])
    with pytest.raises(CorruptRowError, match="data: expected a dict"):
        await care.compact_agent(storage, Bare, "a", keep=1)


async def test_fork_thread(storage: Any) -> None:
    """A fork has the entries below the border under their numbers; both go on by themselves."""
    await note(storage, "t", "a", "b", "c")
    assert (await care.fork_thread(storage, "t", "f", upto=2)).rev == 2
    await note(storage, "f", "other")
    assert [e.payload["text"] for e in await storage.load_thread("f")] == ["a", "b", "other"]
    assert [e.payload["text"] for e in await storage.load_thread("t")] == ["a", "b", "c"]
    await care.compact(storage, "t", keep=2)
    assert (await care.fork_thread(storage, "t", "below", upto=0)).rev == 1  # where the source's entries begin
    assert await storage.load_thread("below") is None


async def test_renamed_type_is_found_by_its_alias(storage: Any) -> None:
    """What was stored under a former name is thawed under the new one, and stays one agent."""
    await storage.put_checkpoint(("old_name", "a"), {"agent_type": "old_name", "id": "a", "state": {"n": 1}})

    class Renamed(Agent, agent_type="new_name", aliases=("old_name",)):  # type: ignore[type-arg]
        pass

    agent = await thaw(storage, Renamed, "a")
    agent.state["n"] = 2
    await hibernate(storage, agent)
    assert (await thaw(storage, Renamed, "a")).state == {"n": 2}
    with pytest.raises(ThawError) as caught:
        await thaw(storage, Bare, None, key=("old_name", "a"))
    assert caught.value.reason == "agent_type_mismatch"
    await care.delete_agent(storage, Renamed, "a")
    with pytest.raises(NotFoundError):
        await thaw(storage, Renamed, "a")


class After(Agent, agent_type="persist.after", aliases=("persist.former",)):  # type: ignore[type-arg]
    """As it is named now; see `former`."""


async def former(storage: Any, id: str) -> None:
    """Store an agent as if it had been stored before the renaming."""
    key, thread_id = ("persist.former", id), f"persist.former::{id}"
    await note(storage, thread_id, "a", "b")
    data = {"agent_type": "persist.former", "id": id, "state": {"n": 1}, "thread": {"id": thread_id, "rev": 1}}
    await storage.put_checkpoint(key, data)


async def test_renamed_type_is_cared_for_by_its_alias(storage: Any) -> None:
    """Schedule, compaction and repair find what thaw finds, and make no second agent under the new name."""
    jobs = {"j": {"cron_expression": "@hourly"}}
    for id in ("a", "b", "c"):
        await former(storage, id)
    await care.persist_schedule(storage, After("a"), jobs)
    thawed = await thaw(storage, After, "b")
    thawed.state["n"] = 99
    await care.persist_schedule(storage, thawed, jobs)
    for id in ("a", "b"):
        agent = await thaw(storage, After, id)
        assert (agent.state, list(agent.schedule)) == ({"n": 1}, ["j"])
    assert await care.compact_agent(storage, After, "a", keep=1) == 1
    assert "moved from revision 1 to 2" in (await care.repair(storage, After, "b")).done[0]
    await storage.delete_checkpoint(("persist.former", "c"))
    assert "rebuilt" in (await care.repair(storage, After, "c")).done[0]
    assert (await thaw(storage, After, "c", journal="exact")).thread.rev == 2
    await storage.put_checkpoint(("persist.former", "c"), [])
    assert (await care.repair(storage, After, "c")).key == ("persist.former", "c")
    await former(storage, "d")
    await storage.put_checkpoint(("persist.former", "d"), {"id": "d", "state": {"kind": forgotten("x")}})
    gc.collect()
    assert "could not be read" in (await care.repair(storage, After, "d")).done[0]
    assert (await thaw(storage, After, "d")).thread.rev > 0
    assert await storage.count_checkpoints(agent_type="persist.former") == 2
    assert await storage.get_checkpoint(("persist.after", "a")) is None
    await care.persist_schedule(storage, After("new"), jobs)
    assert await storage.get_checkpoint(("persist.after", "new")) is not None


ATOMIC = [name for name in STORAGES if name != "in-steps"]


def meanwhile(monkeypatch: pytest.MonkeyPatch, storage: Any, method: str, call: Callable[[], Awaitable[Any]]) -> None:
    """Let somebody else do something right after the storage's method was called for the first time."""
    cls, real, todo = type(storage), getattr(type(storage), method), [call]

    async def then(*arguments: Any, **options: Any) -> Any:
        answer = await real(*arguments, **options)
        while todo:
            await todo.pop()()
        return answer

    monkeypatch.setattr(cls, method, then)


@pytest.mark.parametrize("storage", ATOMIC, indirect=True)
@pytest.mark.parametrize("method", ["get_checkpoint", "read_raw_checkpoint", "repair_thread", "put_checkpoint"])
async def test_what_is_mended_during_a_repair_stays(storage: Any, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever somebody else stores the agent anew while it is repaired, that is what is there in the end."""
    agent = bare(n=1)
    agent.thread.append("note")
    await hibernate(storage, agent)
    if method == "repair_thread":
        await storage.delete_checkpoint(KEY)
    else:
        await storage.put_checkpoint(KEY, [])
    meanwhile(monkeypatch, storage, method, lambda: hibernate(storage, bare(n=7), force=True))
    await care.repair(storage, Bare, "a")
    thawed = await thaw(storage, Bare, "a", journal="exact")
    assert (thawed.state, thawed.thread.rev) == ({"n": 7}, 1)


@pytest.mark.parametrize("storage", ATOMIC, indirect=True)
async def test_what_is_appended_during_a_repair_stays(storage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rebuilt checkpoint points at it, too."""
    agent = bare(n=1)
    agent.thread.append("note")
    await hibernate(storage, agent)
    await storage.put_checkpoint(KEY, [])
    meanwhile(monkeypatch, storage, "read_thread", lambda: note(storage, agent.thread.id, "theirs"))
    await care.repair(storage, Bare, "a")
    thawed = await thaw(storage, Bare, "a", journal="exact")
    assert (thawed.state, thawed.thread.rev) == ({}, 2)


async def test_what_cannot_be_read_needs_a_storage_that_keeps_it() -> None:
    """Without it the only copy of an unreadable checkpoint would be lost; the storage is named, and nothing is done."""

    class Forgetful(InMemoryStorage):
        capabilities = InMemoryStorage.capabilities - {"repair"}

    storage = Forgetful()
    await storage.put_checkpoint(KEY, [])
    with pytest.raises(InvalidStorageError) as caught:
        await care.repair(storage, Bare, "a")
    assert caught.value.reason == "missing_capability"
    assert await storage.get_checkpoint(KEY) is not None


# -- the host's transaction, cancellation, lost answers -----------------------------------------------------------


@pytest.fixture(params=["sqlite-file", "postgres"])
async def tortoise(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[TortoiseStorage]:
    url = f"sqlite://{tmp_path / 'a.db'}" if request.param == "sqlite-file" else request.getfixturevalue("pg_url")
    async with opened(url, backend=request.param):
        yield TortoiseStorage()


@pytest.mark.parametrize("known", [False, True], ids=["new", "stored"])
async def test_H9_rolled_back_with_the_host(tortoise: TortoiseStorage, known: bool) -> None:
    """After the host has rolled a hibernate back, the next one notices and writes it again, instead of conflicting."""
    agent = bare(n=0)
    if known:
        await hibernate(tortoise, agent)
    for _ in range(2):
        agent.thread.append("note")
        agent.state["n"] += 1
        with pytest.raises(ZeroDivisionError):
            async with in_transaction("default"):
                await hibernate(tortoise, agent)
                agent.thread.append("note")
                await hibernate(tortoise, agent)
                assert (await thaw(tortoise, Bare, "a")).thread.rev == agent.thread.rev
                raise ZeroDivisionError
    await hibernate(tortoise, agent)
    thawed = await thaw(tortoise, Bare, "a", journal="exact")
    assert thawed == agent
    assert thawed.thread.rev == 4


async def test_schedule_after_a_hibernate_within_the_hosts_transaction(tortoise: TortoiseStorage) -> None:
    """Whether that hibernate landed is not known to the agent yet; its schedule is stored over it, and it goes on."""
    agent = bare(n=1)
    await hibernate(tortoise, agent)
    async with in_transaction():
        agent.state["n"] = 2
        agent.thread.append("note")
        await hibernate(tortoise, agent)
    await care.persist_schedule(tortoise, agent, {"j": {"cron_expression": "@hourly"}})
    agent.state["n"] = 3
    await hibernate(tortoise, agent)
    thawed = await thaw(tortoise, Bare, "a", journal="exact")
    assert (thawed.state, thawed.thread.rev, list(thawed.schedule)) == ({"n": 3}, 1, ["j"])


async def test_schedule_under_another_key_leaves_the_guard_alone(tortoise: TortoiseStorage) -> None:
    """That row's version is not the one that the agent knows of its own."""
    agent = bare(n=1)
    await hibernate(tortoise, agent)
    await hibernate(tortoise, bare(n=7), key="copy")
    await care.persist_schedule(tortoise, agent, {"j": {"cron_expression": "@hourly"}}, key="copy")
    await hibernate(tortoise, bare(n=2))
    with pytest.raises(ConflictError):
        await hibernate(tortoise, agent)
    assert (await raw(tortoise))["state"] == {"n": 2}


async def test_rolled_back_and_overtaken(tortoise: TortoiseStorage) -> None:
    """After a rollback somebody else wrote the same version: their state is not overwritten."""
    mine = bare(n=0)
    await hibernate(tortoise, mine)
    theirs = await thaw(tortoise, Bare, "a")
    mine.state["n"] = 1
    with pytest.raises(ZeroDivisionError):
        async with in_transaction("default"):
            await hibernate(tortoise, mine)
            raise ZeroDivisionError
    theirs.state["n"] = 2
    await hibernate(tortoise, theirs)
    mine.state["n"] = 3
    with pytest.raises(ConflictError):
        await hibernate(tortoise, mine)
    assert (await thaw(tortoise, Bare, "a")).state == {"n": 2}


async def test_a_write_that_never_landed_and_anothers_like_it() -> None:
    """The checkpoint is equal to what was to be stored, but two versions on: it is another writer's, and stays."""
    storage = FaultyStorage()
    await hibernate(storage, bare(n=0))
    mine, theirs = await thaw(storage, Bare, "a"), await thaw(storage, Bare, "a")
    mine.state["n"] = 1
    lost = StorageTimeoutError("no answer", outcome="unknown")
    with storage.failing("save", lost), pytest.raises(StorageTimeoutError):
        await hibernate(storage, mine)
    for number in (7, 1):
        theirs.state["n"] = number
        await hibernate(storage, theirs)
    mine.state["n"] = 2
    with pytest.raises(ConflictError):
        await hibernate(storage, mine)
    assert (await raw(storage))["state"] == {"n": 1}


async def test_a_refused_write_is_no_attempt(storage: Any) -> None:
    """What was refused has not landed: neither is another's equal write taken for it, nor is it looked for."""
    await hibernate(storage, bare(n=0))
    mine, theirs = await thaw(storage, Bare, "a"), await thaw(storage, Bare, "a")
    mine.state["n"] = theirs.state["n"] = 1
    await hibernate(storage, theirs)
    for _ in range(2):
        with pytest.raises(ConflictError):
            await hibernate(storage, mine)
        mine.state["n"] += 1
    assert (await raw(storage))["state"] == {"n": 1}
    unmet = bare(n=object())
    with pytest.raises(UnstorableError):
        await hibernate(storage, unmet)
    unmet.state["n"] = 9
    await hibernate(storage, unmet)
    assert (await raw(storage))["state"] == {"n": 9}


async def test_what_refused_a_write_is_gone_when_it_is_looked_for(
    tortoise: TortoiseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that was deleted in between, say; that is no damage, and the write is made again."""
    real = journal.append

    async def refused(*_: Any) -> Any:
        monkeypatch.setattr(journal, "append", real)
        raise journal.Refused(None, [])

    monkeypatch.setattr(journal, "append", refused)
    assert (await tortoise.append_thread("t", {"kind": "note"})).rev == 1
    monkeypatch.setattr(journal, "append", refused)
    assert (await tortoise.save(KEY, {}, thread=ThreadWrite(id="t", entries=[{"kind": "note"}]))).rev == 2


async def test_conflict_leaves_the_hosts_transaction_usable(tortoise: TortoiseStorage) -> None:
    """A refused hibernate inside the host's transaction does not poison it."""
    await hibernate(tortoise, bare(n=0))
    one, two = await thaw(tortoise, Bare, "a"), await thaw(tortoise, Bare, "a")
    await hibernate(tortoise, one)
    async with in_transaction("default"):
        with pytest.raises(ConflictError):
            await hibernate(tortoise, two)
        await note(tortoise, "other", "works")
    assert len(await tortoise.load_thread("other") or []) == 1


@pytest.mark.parametrize("first", [True, False], ids=["first", "guarded"])
async def test_cancelled_at_every_step(tortoise: TortoiseStorage, first: bool) -> None:
    """Cancelled at any await: stored whole or not at all, and the same agent hibernates again without a conflict."""
    seen, ended = set(), 0
    for steps in range(200):
        agent = Bare(f"c{steps}", {"n": 0})
        if not first:
            agent.thread.append("note")
            await hibernate(tortoise, agent)
        agent.thread.append("note")
        agent.state["n"] = 1
        task = asyncio.ensure_future(hibernate(tortoise, agent))
        for _ in range(steps):
            await asyncio.sleep(0)
        ended += task.done()
        task.cancel()
        await asyncio.wait([task])
        seen.add(await _is_stored(tortoise, agent, first))
        agent.state["n"] = 2
        await hibernate(tortoise, agent)
        assert await thaw(tortoise, Bare, agent.id, journal="exact") == agent
        if ended > 3:
            break
    assert seen == {True, False}


async def _is_stored(storage: TortoiseStorage, agent: Bare, first: bool) -> bool:
    before = 0 if first else 1
    try:
        found = await thaw(storage, Bare, agent.id, journal="exact")
    except NotFoundError:
        assert await storage.get_thread_head(agent.thread.id) is None
        return False
    assert (found.state["n"], found.thread.rev) in ((0, before), (1, before + 1))
    return bool(found.state["n"])


class Moving(InMemoryStorage):
    """Is trimmed, or written to, right before something of it is read."""

    before: Any = None

    async def _moves(self) -> None:
        move, self.before = self.before, None
        if move is not None:
            await move()

    async def read_thread(self, *args: Any) -> Any:
        await self._moves()
        return await super().read_thread(*args)


class MovingInSteps(Moving):
    """The same, where journal and checkpoint are read and written one after the other."""

    capabilities = InSteps.capabilities
    lost = False

    async def load_thread(self, *args: Any, **options: Any) -> Any:
        lost, self.lost = self.lost, False
        return None if lost else await super().load_thread(*args, **options)

    async def append_thread(self, *args: Any, **options: Any) -> Any:
        await self._moves()
        return await super().append_thread(*args, **options)


async def test_a_journal_that_moves_while_it_is_read() -> None:
    """It is read again, from the checkpoint on: no entry is missed, and none is made up."""
    agent = bare()
    agent.thread.extend([{"kind": "note"}] * 2)
    trimmed, lost = Moving(), MovingInSteps()
    for one in (trimmed, lost):
        await hibernate(one, agent)
    trimmed.before, lost.lost = lambda: trimmed.trim_thread(agent.thread.id, before=1), True
    assert [entry.seq for entry in (await thaw(trimmed, Bare, "a")).thread] == [1]
    assert [entry.seq for entry in (await thaw(lost, Bare, "a")).thread] == [0, 1]


async def test_in_steps_a_stale_copy_writes_nothing() -> None:
    """Its checkpoint is looked at before its journal is written; who writes in between is not overwritten."""
    storage = MovingInSteps()
    await hibernate(storage, bare(n=0))
    mine, theirs = await thaw(storage, Bare, "a"), await thaw(storage, Bare, "a")
    mine.thread.append("note")
    theirs.state["n"] = 1
    await hibernate(storage, theirs)
    with pytest.raises(ConflictError):
        await hibernate(storage, mine)
    assert await storage.load_thread(mine.thread.id) is None
    mine = await thaw(storage, Bare, "a")
    mine.thread.append("note")
    theirs.state["n"] = 2
    storage.before = lambda: hibernate(storage, theirs)
    with pytest.raises(ConflictError):
        await hibernate(storage, mine)
    assert (await raw(storage))["state"] == {"n": 2}


async def test_thaw_beside_a_hibernating_writer(tortoise: TortoiseStorage) -> None:
    """Read while another task stores: always one moment's state and journal, under the strictest policy."""
    agent = bare(n=0)
    await hibernate(tortoise, agent)
    done = asyncio.Event()

    async def write() -> None:
        for number in range(1, 80):
            agent.state["n"] = number
            agent.thread.append("note", {"n": number})
            await hibernate(tortoise, agent)
        done.set()

    async def read() -> int:
        reads = 0
        while not done.is_set():
            found = await thaw(tortoise, Bare, "a", journal="exact")
            assert found.state["n"] == found.thread.rev
            reads += 1
        return reads

    _, *reads = await asyncio.gather(write(), read(), read())
    assert all(reads)


async def test_racing_guarded_hibernates(tortoise: TortoiseStorage) -> None:
    """Twenty copies of one agent store at once: one wins, the others conflict, and nothing is torn."""
    await hibernate(tortoise, bare(n=0))
    copies = [await thaw(tortoise, Bare, "a") for _ in range(20)]
    for number, copy in enumerate(copies):
        copy.state["n"] = number
        if number % 2:
            copy.thread.append("note", {"n": number})
    answers = await asyncio.gather(*(hibernate(tortoise, copy) for copy in copies), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["ConflictError"] * 19 + ["NoneType"]
    winner = answers.index(None)
    thawed = await thaw(tortoise, Bare, "a", journal="exact")
    assert thawed.state == {"n": winner}
    assert [entry.payload for entry in thawed.thread] == ([{"n": winner}] if winner % 2 else [])


async def test_force_keeps_what_is_appended_while_it_stores() -> None:
    """The agent gets the journal with the others' entries, and then its own newest, which the next hibernate stores."""
    storage, agent = FaultyStorage(), bare()
    agent.thread.append("note", {"n": 1})
    await hibernate(storage, agent)
    await note(storage, agent.thread.id, "theirs")
    agent.thread.append("note", {"n": 2})
    async with storage.waiting("save"):
        storing = asyncio.ensure_future(hibernate(storage, agent, force=True))
        await until(lambda: storage.calls["save"] == 2)
        agent.thread.append("note", {"n": 3})
    await storing
    mine = [entry.payload.get("n") for entry in agent.thread]
    assert (mine[0], mine[2:], agent.thread.rev) == (1, [2, 3], 4)
    await hibernate(storage, agent)
    assert await thaw(storage, Bare, "a", journal="exact") == agent


async def test_a_save_waits_for_the_checkpoint_and_not_only_for_its_journal(pg_url: str) -> None:
    """Two saves over one version, each with a journal of its own, the first not committed yet: one of them wins."""
    async with opened(pg_url):
        storage = TortoiseStorage()
        await storage.save("k", {}, thread=ThreadWrite(id="t0", entries=[]))

        async def save(thread_id: str) -> None:
            write = ThreadWrite(id=thread_id, entries=[{"kind": "note"}], expected_rev=0)
            await storage.save("k", {"by": thread_id}, expected_version=1, thread=write)

        late = asyncio.create_task(_after(0.05, lambda: save("t2")))
        async with in_transaction():
            await save("t1")
            await asyncio.sleep(0.2)
        with pytest.raises(ConflictError):
            await late
        assert (await raw(storage, "k"))["by"] == "t1"
        assert await storage.load_thread("t2") is None


async def _after(seconds: float, work: Any) -> None:
    await asyncio.sleep(seconds)
    await work()


async def test_schedule_in_another_storage_leaves_the_guard(storage: Any) -> None:
    """A checkpoint there may have the same key and version; it says nothing of the one here."""
    agent, elsewhere = bare(n=1), InMemoryStorage()
    await hibernate(elsewhere, bare(n=5))
    await hibernate(storage, agent)
    await care.persist_schedule(elsewhere, agent, {"j": {"cron_expression": "@hourly"}})
    await hibernate(storage, bare(n=2))
    with pytest.raises(ConflictError):
        await hibernate(storage, agent)
    assert (await raw(storage))["state"] == {"n": 2}


async def test_schedule_over_another_writers_checkpoint_leaves_the_guard(storage: Any) -> None:
    """A schedule goes over whatever is there; but a copy that was stale stays so, and loses nobody's state."""
    agent = bare(n=1)
    await hibernate(storage, agent)
    other = await thaw(storage, Bare, "a")
    other.state["n"] = 2
    await hibernate(storage, other)
    await care.persist_schedule(storage, agent, {"j": {"cron_expression": "@hourly"}})
    with pytest.raises(ConflictError):
        await hibernate(storage, agent)
    data = await raw(storage)
    assert (data["state"], list(data["schedule"])) == ({"n": 2}, ["j"])
