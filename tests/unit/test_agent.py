"""Agents: their types, their state, their thread, and the way to a checkpoint and back.

AG1 to AG17 are the cases of Jido's Thread.Agent tests. There the thread is one key of the state and may be missing;
here an agent always has one, beside the state. So these have no meaning of their own: AG2 and AG3 (get of a missing
thread, and with a default), AG8 (update gives None when it is missing), AG16 (has_thread? is false). What they guard,
that code gets something it can append to, is AG9 here.
"""

from __future__ import annotations

import copy
import gc
import logging
from dataclasses import dataclass, field
from typing import Any, Generic, TypedDict, TypeVar

import pytest
from pydantic import BaseModel

from jido_tortoise import codec
from jido_tortoise.agents.agent import Agent, AgentLike, find_agent_type, normalise_schedule
from jido_tortoise.agents.keys import thread_id_for
from jido_tortoise.agents.thread import Entry, Thread
from jido_tortoise.errors import (
    CallbackError,
    CorruptRowError,
    InvalidAgentError,
    InvalidInputError,
    ThawError,
    UnstorableError,
)

S = TypeVar("S")


@dataclass
class Item:
    name: str
    price: float = 0.0


@dataclass
class Basket:
    items: list[Item] = field(default_factory=list)
    coupon: str | None = None


class Profile(BaseModel):
    name: str = "nobody"
    tags: set[str] = set()


@dataclass
class Account:
    owner: str
    balance: int = 0


class Notes(Agent[Any], agent_type="test.notes"):
    pass


class Shopper(Agent[Basket], agent_type="test.shopper", aliases=("test.buyer",)):
    pass


class Person(Agent[Profile], agent_type="test.person"):
    pass


class Holder(Agent[Account], agent_type="test.holder"):
    pass


def stored(agent: Agent[Any]) -> dict[str, Any]:
    """Answer an agent's checkpoint as a storage gives it back."""
    data: dict[str, Any] = codec.loads(codec.dump_map(agent.default_checkpoint()))
    return data


# -- the thread -------------------------------------------------------------------------------------------------------


def test_AG1_thread_is_no_part_of_the_state() -> None:
    """The thread stands beside the state: nothing in the state is reserved for it."""
    agent = Notes("u")
    agent.thread.append("note")
    assert agent.state == {}


def test_AG4_AG5_thread_can_be_put() -> None:
    """A thread that is assigned is the agent's thread."""
    agent, thread = Notes("u"), Thread("mine")
    agent.thread = thread
    assert agent.thread is thread
    assert Notes("u", thread=thread).thread is thread


@pytest.mark.parametrize("wrong", [None, [], "t", {"id": "t", "rev": 0}])
def test_AG5_what_is_no_thread_is_refused(wrong: Any) -> None:
    """There is always a thread; nothing else can be put in its place."""
    agent = Notes("u")
    with pytest.raises(InvalidInputError, match=r"^thread"):
        agent.thread = wrong
    assert isinstance(agent.thread, Thread)


def test_AG6_putting_a_thread_keeps_the_state() -> None:
    """The state is not touched by another thread."""
    agent = Notes("u", {"a": 1})
    agent.thread = Thread()
    assert agent.state == {"a": 1}


def test_AG7_thread_can_be_updated() -> None:
    """A thread can be replaced by what a function makes of it."""
    agent = Notes("u")
    copied = copy.copy(agent.thread)
    copied.append("note")
    agent.thread = copied
    assert len(agent.thread) == 1


def test_AG9_thread_is_there_from_the_start() -> None:
    """A new agent has an empty thread, named after it, so that two that start at once meet in one journal."""
    one, two = Notes("u"), Notes("u")
    assert (one.thread.rev, len(one.thread)) == (0, 0)
    assert one.thread.id == two.thread.id == thread_id_for("test.notes", "u") == "test.notes::u"
    assert Notes("u", partition="blue").thread.id == "test.notes:blue:u"


def test_AG10_thread_options() -> None:
    """A thread with options is given as one."""
    agent = Notes("u", thread=Thread("t", metadata={"title": "x"}))
    assert (agent.thread.id, agent.thread.metadata) == ("t", {"title": "x"})


def test_AG11_thread_is_never_replaced_by_a_look() -> None:
    """The thread stays the same object, and keeps what was appended."""
    agent = Notes("u")
    first = agent.thread
    first.append("note")
    assert agent.thread is first
    assert len(agent.thread) == 1


def test_AG12_AG13_AG14_AG15_append() -> None:
    """The first entry, the next ones, several, and with options."""
    agent = Notes("u")
    agent.thread.append("a")
    agent.thread.append("b")
    agent.thread.extend([{"kind": "c"}, Entry("d")])
    agent.thread.append("e", id="mine", at=5)
    assert [(entry.seq, entry.kind) for entry in agent.thread] == list(enumerate("abcde"))
    last = agent.thread.last()
    assert last is not None
    assert (last.id, last.at_ms) == ("mine", 5)


def test_AG17_an_empty_thread_is_a_thread() -> None:
    """`if agent.thread` is true, empty or not (H1)."""
    assert Notes("u").thread


# -- identity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "reason"), [(None, "missing_agent_id"), ("", "invalid_agent"), ("a\0", "invalid_agent")]
)
def test_id_is_checked_at_once(wrong: Any, reason: str) -> None:
    """An agent that could not be stored is not made."""
    with pytest.raises(InvalidAgentError) as caught:
        Notes(wrong)
    assert caught.value.reason == reason


def test_id_never_changes() -> None:
    """An agent is stored under its id."""
    agent: Any = Notes("u")
    with pytest.raises(AttributeError):
        agent.id = "v"


def test_partition_moves_the_own_thread_along() -> None:
    """Two tenants with one agent id never share a journal, also when the partition is given later."""
    agent = Notes("u")
    agent.thread.append("note")
    agent.partition = "blue"
    assert agent.thread.id == "test.notes:blue:u"
    assert len(agent.thread) == 1
    own = Notes("u", thread=Thread("mine"))
    own.partition = "blue"
    assert own.thread.id == "mine"


def test_partition_of_a_stored_agent_stays() -> None:
    """An agent that was stored would leave its stored self behind."""
    agent = Notes("u", partition="blue")
    agent._stored = object()
    agent.partition = "blue"
    with pytest.raises(InvalidInputError, match=r"^partition"):
        agent.partition = "green"
    assert agent.thread.id == "test.notes:blue:u"


@pytest.mark.parametrize("wrong", ["", 7, "a\0"])
def test_wrong_partition(wrong: Any) -> None:
    """The empty partition is a mistake, not everybody's; a refused one changes nothing."""
    with pytest.raises(InvalidInputError, match=r"^partition"):
        Notes("u", partition=wrong)
    agent = Notes("u")
    with pytest.raises(InvalidInputError, match=r"^partition"):
        agent.partition = wrong
    assert (agent.partition, agent.thread.id) == (None, "test.notes::u")


# -- types ------------------------------------------------------------------------------------------------------------


def test_types_are_found_by_name_and_alias() -> None:
    """A checkpoint's agent_type leads to the class, also by a name from before a renaming."""
    assert find_agent_type("test.shopper") is find_agent_type("test.buyer") is Shopper
    assert find_agent_type("no such type") is None
    assert find_agent_type("jido.Agent") is Agent


def test_type_is_the_name_of_the_class() -> None:
    """Without agent_type the class's name is stored, never its module; a base's type is not inherited."""

    class Plain(Shopper):
        pass

    assert (Plain.agent_type, Plain.aliases, Plain.version) == ("Plain", (), 1)
    assert Plain.state_type is Basket


def test_two_live_classes_with_one_type_are_refused() -> None:
    """The message names both; the name stays with the first, and a refused class takes none of its other names."""
    with pytest.raises(InvalidInputError, match=r"Impostor.*Shopper"):

        class Impostor(Agent[Any], agent_type="test.free", aliases=("test.buyer",)):
            pass

    assert find_agent_type("test.buyer") is Shopper
    assert find_agent_type("test.free") is None


def _define(type_name: str) -> type[Agent[Any]]:
    class Defined(Agent[Any], agent_type=type_name):
        pass

    return Defined


def test_same_class_defined_again_replaces() -> None:
    """A module that is reloaded, or a notebook cell that is run again, defines the class anew."""
    first = _define("test.again")
    second = _define("test.again")
    assert find_agent_type("test.again") is second is not first


def test_dropped_class_gives_its_name_back() -> None:
    """A class that nothing refers to does not hold its name, although it may wait for the garbage collector."""
    gc.disable()
    try:
        _define("test.dropped")

        class Successor(Agent[Any], agent_type="test.dropped"):
            pass

    finally:
        gc.enable()
    assert find_agent_type("test.dropped") is Successor


@pytest.mark.parametrize(
    "keywords",
    [
        {"agent_type": ""},
        {"agent_type": 7},
        {"agent_type": "x" * 256},
        {"aliases": "old"},
        {"aliases": 7},
        {"aliases": ("",)},
        {"version": 0},
        {"version": "1"},
        {"version": True},
    ],
)
def test_wrong_keywords_of_a_class(keywords: Any) -> None:
    """What cannot be stored is refused where the class is written; one alias is not a list of letters."""
    with pytest.raises(InvalidInputError, match="Wrong"):
        type("Wrong", (Agent,), {}, **keywords)


# -- state ------------------------------------------------------------------------------------------------------------


def test_fresh_states() -> None:
    """A state that is not given is a fresh one of the declared type, shared with nobody."""
    assert Notes("u").state == Agent("u").state == {}
    assert Shopper("u").state == Basket()
    assert Person("u").state == Profile()
    assert Shopper("u").state.items is not Shopper("u").state.items


def test_given_state_is_the_state() -> None:
    """The object that is given is the state, not a copy of it."""
    basket, notes = Basket([Item("milk")]), {"a": 1}
    assert Shopper("u", basket).state is basket
    assert Notes("u", notes).state is notes


def test_state_that_must_be_given() -> None:
    """A state type that needs arguments is named when none was given."""
    assert Holder("u", Account("me")).state.owner == "me"
    with pytest.raises(
        InvalidInputError, match=r"^state: expected an object of Account, which cannot be made without arguments"
    ):
        Holder("u")


@pytest.mark.parametrize("wrong", [{}, Profile(), "state", [], 0])
def test_state_of_another_type(wrong: Any) -> None:
    """A state of another type is refused when the agent is made, and when it is stored."""
    with pytest.raises(InvalidInputError, match=r"^state: expected an object of Basket"):
        Shopper("u", wrong)
    agent: Any = Shopper("u")
    agent.state = wrong
    with pytest.raises(InvalidInputError, match=r"^state: expected an object of Basket"):
        agent.checkpoint()


def test_declared_types_are_registered_with_what_is_in_them() -> None:
    """A declared state needs no registration, nor do the classes in its annotations."""
    assert codec.loads(codec.dumps([Basket([Item("milk", 1.5)]), Profile()])) == [
        Basket([Item("milk", 1.5)]),
        Profile(),
    ]


def test_state_type_through_a_generic_base() -> None:
    """A host's own generic base class may stand between."""

    class Base(Agent[S], Generic[S], agent_type="test.base"):
        pass

    class Middle(Base[Basket], agent_type="test.middle"):
        pass

    assert Middle.state_type is Basket
    assert Base("u").state == {}
    assert Middle("u").state == Basket()


def test_dicts_by_many_names() -> None:
    """A TypedDict, dict[...] and Any are dicts."""

    class Draft(TypedDict):
        text: str

    class Typed(Agent[Draft], agent_type="test.typed"):
        pass

    class Strings(Agent[dict[str, str]], agent_type="test.strings"):
        pass

    assert Typed("u").state == Strings("u").state == {}


@pytest.mark.parametrize("wrong", [int, list, "Basket", list[int], int | None])
def test_wrong_state_type(wrong: Any) -> None:
    """What has no fields is no state type; the class is refused where it is written."""
    with pytest.raises(InvalidInputError, match=r"the state of Wrong"):

        class Wrong(Agent[wrong]):
            pass


# -- checkpoint and restore -------------------------------------------------------------------------------------------


def test_checkpoint_map() -> None:
    """A checkpoint has version, type, id, state and pointer, and no entry (P1, P8)."""
    agent = Shopper("u", Basket([Item("milk")]))
    agent.thread.append("note")
    assert agent.checkpoint() == {
        "version": 1,
        "agent_type": "test.shopper",
        "id": "u",
        "state": {"items": [Item("milk")], "coupon": None},
        "thread": {"id": "test.shopper::u", "rev": 1},
    }


def test_checkpoint_with_partition_and_schedule() -> None:
    """Partition and schedule are there when the agent has them."""
    agent = Notes("u", partition="blue")
    agent.schedule = {"daily": {"cron_expression": "0 9 * * *", "message": False}}
    data = agent.default_checkpoint()
    assert data["partition"] == "blue"
    assert data["schedule"] == {"daily": {"cron_expression": "0 9 * * *", "message": False, "timezone": "Etc/UTC"}}


@pytest.mark.parametrize(
    "agent",
    [
        Notes("u", {"a": (1, b"x"), 7: None}),
        Notes(("tuple", 1)),
        Notes("u", partition="blue"),
        Shopper("u", Basket([Item("milk", 1.5)], "HALF")),
        Person("u", Profile(name="Ada", tags={"a", "b"})),
        Holder("u", Account("me", 3)),
    ],
)
def test_restored_agent_is_equal(agent: Agent[Any]) -> None:
    """What a checkpoint holds comes back: id, partition, state, schedule and the thread's name (P20, P21)."""
    agent.schedule = {"daily": {"cron_expression": "0 9 * * *", "message": {"a": 1}, "timezone": "Europe/Berlin"}}
    again: Any = type(agent).restore(stored(agent))
    assert again == agent
    assert type(again.state) is type(agent.state)
    assert (again.schedule, again.partition, again.thread.id) == (agent.schedule, agent.partition, agent.thread.id)


def test_custom_thread_is_kept_by_name() -> None:
    """The pointer's id is the thread's id, also when it is not the agent's own."""
    agent = Notes("u", thread=Thread("mine"))
    assert Notes.default_restore(stored(agent)).thread.id == "mine"


def test_new_fields_get_their_defaults() -> None:
    """A checkpoint from before a field was added restores with the field's default."""
    data = stored(Shopper("u"))
    data["state"] = {"items": []}
    assert Shopper.default_restore(data).state == Basket()
    data["state"] = {}
    assert Shopper.default_restore(data).state == Basket()


def test_set_fields_of_a_model_come_back() -> None:
    """Which fields of a model were set is what was stored, not what is set in a fresh one."""
    for profile in (Profile(), Profile(name="Ada"), Profile(name="Ada", tags={"a"})):
        again = Person.default_restore(stored(Person("u", profile))).state
        assert again.model_fields_set == profile.model_fields_set


def test_fresh_state_of_the_host_is_the_default() -> None:
    """Stored state is laid over what the host's own `new` makes (thaw order 2)."""

    class Greeter(Agent[Any], agent_type="test.greeter"):
        def __init__(self, id: str, greeting: str, partition: str | None = None) -> None:
            super().__init__(id, {"greeting": greeting, "count": 0}, partition=partition)

        @classmethod
        def new(cls, id: Any, *, partition: str | None = None) -> Greeter:
            return cls(id, "hello", partition)

    again = Greeter.default_restore({"id": "u", "partition": "blue", "state": {"count": 3}})
    assert (again.state, again.partition) == ({"greeting": "hello", "count": 3}, "blue")


def test_fresh_typed_state_of_the_host_is_the_default() -> None:
    """The same for a typed state, also for one that cannot be made without arguments."""

    class Opened(Agent[Account], agent_type="test.opened"):
        @classmethod
        def new(cls, id: Any, *, partition: str | None = None) -> Opened:
            return cls(id, Account("the bank", 100), partition=partition)

    assert Opened.default_restore({"id": "u", "state": {"balance": 3}}).state == Account("the bank", 3)


def test_unknown_stored_field_is_named() -> None:
    """A field that the class has no more is not dropped in silence; migrate_state is the place for it."""
    with pytest.raises(CorruptRowError, match="colour"):
        Shopper.default_restore({"id": "u", "state": {"colour": "red"}})


def test_older_state_is_migrated() -> None:
    """A checkpoint of an older version passes migrate_state, with the version that stored it."""

    class Renamed(Agent[Account], agent_type="test.renamed", version=3):
        @classmethod
        def migrate_state(cls, state: dict[str, Any], version: int) -> dict[str, Any]:
            assert version in (1, 2)
            return {"owner": state.pop("name"), **state}

    data = {"id": "u", "state": {"name": "me", "balance": 2}}
    for version in (None, 1, 2):
        assert Renamed.default_restore({**data, "version": version}).state == Account("me", 2)
    assert data["state"] == {"name": "me", "balance": 2}
    current = Renamed("u", Account("me", 2))
    assert stored(current)["version"] == 3
    assert Renamed.default_restore(stored(current)) == current


def test_older_state_is_taken_as_it_is() -> None:
    """Without a migration of its own, a class of a later version takes what new defaults can complete."""

    class Later(Agent[Basket], agent_type="test.later", version=2):
        pass

    assert Later.default_restore({"id": "u", "version": 1, "state": {"coupon": "HALF"}}).state == Basket([], "HALF")


def test_newer_state_is_refused() -> None:
    """Old code does not guess at what newer code has stored."""
    with pytest.raises(ThawError) as caught:
        Shopper.default_restore({"id": "u", "version": 2, "state": {}})
    assert (caught.value.reason, caught.value.expected, caught.value.actual) == ("newer_version", 1, 2)


def test_migration_that_answers_nothing() -> None:
    """A migration that forgets its return is named."""

    class Forgetful(Agent[Any], agent_type="test.forgetful", version=2):
        @classmethod
        def migrate_state(cls, state: dict[str, Any], version: int) -> Any:
            state["a"] = 1

    with pytest.raises(CallbackError, match="migrate_state") as caught:
        Forgetful.default_restore({"id": "u", "state": {}})
    assert caught.value.reason == "restore_callback_failed"


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"state": {}}, "id"),
        ({"id": None}, "id"),
        ({"id": "u", "state": []}, "state"),
        ({"id": "u", "state": "x"}, "state"),
        ({"id": "u", "version": "1"}, "version"),
        ({"id": "u", "version": True}, "version"),
        ({"id": "u", "partition": 7}, "partition"),
    ],
)
def test_malformed_checkpoint(data: dict[str, Any], path: str) -> None:
    """A checkpoint that is no agent's is a named error, not a crash (H16)."""
    with pytest.raises(CorruptRowError) as caught:
        Notes.default_restore(data)
    assert (caught.value.reason, caught.value.path) == ("invalid_checkpoint", path)


def test_state_that_cannot_be_stored_is_named() -> None:
    """The path leads to the value in the state."""
    agent = Notes("u", {"cart": [1, {"price": object()}]})
    with pytest.raises(UnstorableError):
        codec.dump_map(agent.default_checkpoint(), path="data")


def test_rebuilt_agent() -> None:
    """What is left when a checkpoint is lost: a fresh agent with the journal that is there."""
    thread = Thread("t")
    thread.append("note")
    agent = Notes.rebuild("u", "blue", thread)
    assert (agent.id, agent.partition, agent.state, agent.thread) == ("u", "blue", {}, thread)


# -- schedule ---------------------------------------------------------------------------------------------------------


def test_schedule_is_normalised() -> None:
    """A time zone is added where none is, and falsy messages are messages (P16)."""
    fine = {"cron_expression": "* * * * *", "message": False}
    assert normalise_schedule({"job": fine, 7: {**fine, "timezone": "Europe/Berlin", "more": 1}}) == {
        "job": {**fine, "timezone": "Etc/UTC"},
        7: {**fine, "timezone": "Europe/Berlin"},
    }
    assert normalise_schedule({"job": {"cron_expression": "x"}})["job"]["message"] is None
    # Which zones there are the scheduler knows; a text is never replaced by a zone in which the job would run unseen.
    assert normalise_schedule({"job": {**fine, "timezone": ""}})["job"]["timezone"] == ""


@pytest.mark.parametrize(
    "spec",
    [
        None,
        [],
        "* * * * *",
        {},
        {"cron_expression": 7},
        {"cron_expression": None},
        {"cron_expression": "x", "timezone": 7},
        {"cron_expression": "x", "message": object()},
        {"cron_expression": "x", "message": {"a": print}},
    ],
)
def test_malformed_jobs_are_dropped_and_named(spec: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A job that cannot run or cannot be stored is left out, and the log says which; the others stay."""
    fine = {"cron_expression": "x", "message": 1, "timezone": "Etc/UTC"}
    with caplog.at_level(logging.WARNING, "jido_tortoise"):
        assert normalise_schedule({"bad": spec, "good": fine}) == {"good": fine}
    assert "'bad'" in caplog.text


@pytest.mark.parametrize("wrong", [None, [], "x", 7])
def test_what_is_no_schedule_is_empty(wrong: Any) -> None:
    """A manifest that is no map is dropped."""
    assert normalise_schedule(wrong) == {}


# -- as a value -------------------------------------------------------------------------------------------------------


def test_equality() -> None:
    """Agents are equal by type, id, partition, state and entries; where they are stored does not count."""
    one, two = Notes("u", {"a": 1}), Notes("u", {"a": 1})
    two._stored = object()
    assert one == two
    entry = Entry(at=1)
    one.thread.append(entry)
    assert one != two
    two.thread.append(entry)
    assert one == two
    two.state["a"] = 2
    assert one != two
    others = [Notes("v"), Notes("u", partition="blue"), Shopper("u"), "u"]
    assert all(Notes("u") != other for other in others)
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_copies() -> None:
    """A copy has a thread of its own, a deep copy a state too; both know where they are stored."""
    agent = Notes("u", {"a": [1]})
    agent._stored = object()
    agent.state["self"] = agent
    shallow, deep = copy.copy(agent), copy.deepcopy(agent)
    agent.thread.append("note")
    agent.state["a"].append(2)
    assert len(shallow.thread) == len(deep.thread) == 0
    assert shallow.state is agent.state
    assert deep.state["a"] == [1]
    assert deep.state["self"] is deep
    assert shallow._stored is deep._stored is agent._stored
    assert type(deep) is Notes


def test_repr_shows_no_state() -> None:
    """An agent in a log line says who it is, not what it knows."""
    agent = Notes("u", {"password": "secret"}, partition="blue")
    agent.thread.append("note", {"password": "secret"})
    assert repr(agent) == "<Notes 'u', partition='blue', rev 1>"


def test_foreign_classes_are_agents_too() -> None:
    """A class of somebody else is an agent by what it has."""

    class Foreign:
        agent_type = "foreign"

        def __init__(self, id: str) -> None:
            self.id = id
            self.state: dict[str, Any] = {}

        @classmethod
        def restore(cls, data: dict[str, Any]) -> Foreign:
            return cls(data["id"])

    agent: AgentLike = Foreign("u")
    assert isinstance(agent, AgentLike)
    assert isinstance(Notes("u"), AgentLike)
    assert not isinstance(object(), AgentLike)
