"""Agents, checkpoints, threads and conversations to test with: made up by Faker, and from one seed always the same.

    make = Factories(seed=7, jido=jido)
    agent = await make.agent.create(Shopper, messages=4, tools=1)
    make.thread.build(turns=3).to_list()

The fakes have a generator of their own, so that no other plugin shifts them; the same seed gives the same bytes.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from jido_tortoise import codec, seams
from jido_tortoise.agents.agent import Agent
from jido_tortoise.agents.keys import checkpoint_key
from jido_tortoise.agents.thread import Entry, Thread
from jido_tortoise.errors import InvalidInputError
from jido_tortoise.jido import Jido

if TYPE_CHECKING:
    from faker import Faker

T = TypeVar("T")
#: Makes the state of an agent of a class.
MakeState = Callable[["Factories"], Any]

#: When the made-up world begins: 2026-01-01.
EPOCH_MS = 1_767_225_600_000
_TOOLS = ("search", "get_weather", "add_to_cart", "send_mail", "read_file")


class FakeAgent(Agent[Any], agent_type="jido.FakeAgent"):
    """The agent that is made when no class is given."""


@dataclass(frozen=True, slots=True)
class FakeCheckpoint:
    """What `Storage.put_checkpoint` takes."""

    key: Any
    data: dict[str, Any]


class Factory(Generic[T]):
    """Makes values of one kind; what each takes is that of the method of `Factories` with its name."""

    def __init__(
        self,
        make: Callable[..., T],
        save: Callable[[T], Awaitable[object]],
        plain: Callable[[T], dict[str, Any]],
        world: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self._make, self._save, self._plain, self._world = make, save, plain, world

    def build(self, *args: Any, **options: Any) -> T:
        """Make one; nothing is stored."""
        with self._world():
            return self._make(*args, **options)

    def batch(self, count: int, *args: Any, **options: Any) -> list[T]:
        """Make several; nothing is stored."""
        return [self.build(*args, **options) for _ in range(count)]

    async def create(self, *args: Any, **options: Any) -> T:
        """Make one and store it."""
        made = self.build(*args, **options)
        await self._save(made)
        return made

    async def create_batch(self, count: int, *args: Any, **options: Any) -> list[T]:
        """Make several and store them."""
        return [await self.create(*args, **options) for _ in range(count)]

    def params(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Make one, as the plain fields that it is made of."""
        return self._plain(self.build(*args, **options))


@dataclass
class Factories:
    """All the factories of one test, with one seed.

    Args:
        seed: A number or a text, such as the id of the test.
        jido: Where `create` stores; needed by it alone.
    """

    seed: int | str = 0
    jido: Jido | None = None
    random: random.Random = field(init=False)
    _states: dict[type[Agent[Any]], MakeState] = field(init=False, default_factory=dict)
    _numbers: Iterator[int] = field(init=False, default_factory=itertools.count)
    _now: int = field(init=False, default=EPOCH_MS)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._fake_seed = self.random.getrandbits(64)
        self.agent = Factory(self._agent, self._save_agent, _agent_params, self._world)
        self.thread = Factory(self._thread, self._save_thread, _thread_params, self._world)
        self.entry = Factory(self._entry, _refuse, Entry.as_dict, self._world)
        self.checkpoint = Factory(self._checkpoint, self._save_checkpoint, lambda made: made.data, self._world)

    @cached_property
    def fake(self) -> Faker:
        """A Faker of these factories' own; made when it is first used, since that takes a while."""
        from faker import Faker

        fake = Faker("en_US", use_weighting=False)
        fake.seed_instance(self._fake_seed)
        return fake

    def register(self, cls: type[Agent[Any]], state: MakeState) -> None:
        """Say how the state of a class of the host is made; it is given these factories."""
        self._states[cls] = state

    def _world(self) -> AbstractContextManager[Any]:
        return seams.replaced(now_ms=self._tick, new_id=self._id)

    def _tick(self) -> int:
        self._now += self.random.randrange(1, 5000)
        return self._now

    def _id(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers):06d}-{self.random.getrandbits(32):08x}"

    # -- entries and threads ------------------------------------------------------------------------------------------

    def _entry(self, kind: str | None = None, **fields: Any) -> Entry:
        chosen = kind or self.random.choice(["message", "note", "error"])
        payload = fields.pop("payload", None) or {"text": self.fake.sentence()}
        return Entry(chosen, payload, **fields)

    def conversation(self, turns: int = 3, tools: int = 0) -> list[Entry]:
        """Make a well-formed conversation: each turn a question and an answer, and each tool call has its result.

        Args:
            turns: Questions of the user.
            tools: Tool calls in all, spread over the turns.
        """
        with self._world():
            calls = [n % turns for n in range(tools)] if turns else []
            return [entry for turn in range(turns) for entry in self._turn(calls.count(turn))]

    def _turn(self, tools: int) -> Iterator[Entry]:
        yield self._message("user", self.fake.sentence().rstrip(".") + "?")
        for _ in range(tools):
            yield from self._tool_use()
        yield self._message("assistant", self.fake.paragraph())

    def _message(self, role: str, text: str) -> Entry:
        return Entry("message", {"role": role, "content": text})

    def _tool_use(self) -> Iterator[Entry]:
        call, name = self._id("call_"), self.random.choice(_TOOLS)
        arguments = {"query": self.fake.word(), "limit": self.random.randrange(1, 20)}
        asked = Entry("tool_call", {"id": call, "name": name, "arguments": arguments})
        yield asked
        answer = {"id": call, "name": name, "result": {"found": self.fake.words(2)}}
        yield Entry("tool_result", answer, {"entry_id": asked.id})

    def _thread(
        self, id: str | None = None, *, turns: int = 2, tools: int = 0, metadata: dict[str, Any] | None = None
    ) -> Thread:
        thread = Thread(id, metadata=metadata)
        thread.extend(self.conversation(turns, tools))
        return thread

    # -- agents -------------------------------------------------------------------------------------------------------

    def _agent(
        self,
        cls: type[Agent[Any]] = FakeAgent,
        *,
        id: Any = None,
        state: Any = None,
        messages: int = 0,
        tools: int = 0,
        partition: str | None = None,
        torture: bool = False,
    ) -> Agent[Any]:
        """Make an agent; `messages` and `tools` fill its thread, `torture` its state with what stores lose."""
        _refuse_others(cls)
        agent = cls(self._id("agent_") if id is None else id, self._state(cls, state), partition=partition)
        if torture:
            self._twist(agent)
        turns = max((messages + 1) // 2, 1 if tools else 0)
        agent.thread.extend(self.conversation(turns, tools))
        return agent

    def _twist(self, agent: Agent[Any]) -> None:
        if not isinstance(agent.state, dict):
            raise InvalidInputError.at("torture", "an agent whose state is a dict", agent.state)
        agent.state |= self._torture()

    def _state(self, cls: type[Agent[Any]], state: Any) -> Any:
        if state is not None:
            return state
        if cls in self._states:
            return self._states[cls](self)
        plain = cls.state_type is Any or cls.state_type is dict or isinstance(cls.state_type, TypeVar)
        return {"name": self.fake.name(), "visits": self.random.randrange(100)} if plain else None

    def _torture(self) -> dict[str, Any]:
        return {
            "tuple": (1, (2,)),
            "keys": {1: "a", (2, 3): "b"},
            "bytes": self.random.randbytes(8),
            "big": 2**64 + self.random.randrange(100),
            "floats": [-0.0, float("inf"), 1e300],
            "decimal": Decimal("1.10"),
            "when": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.random.randrange(10**6)),
            "text": "NUL \0, lone \ud800, 🤖",
            "set": {1, 2},
        }

    def _checkpoint(self, cls: type[Agent[Any]] = FakeAgent, **options: Any) -> FakeCheckpoint:
        agent = self._agent(cls, **options)
        key = checkpoint_key(agent.agent_type, agent.id, agent.partition)
        return FakeCheckpoint(key, agent.default_checkpoint())

    # -- storing ------------------------------------------------------------------------------------------------------

    def _needed(self) -> Jido:
        if self.jido is None:
            raise ValueError("Factories(jido=...) is needed to create; build() stores nothing")
        return self.jido

    async def _save_agent(self, agent: Agent[Any]) -> None:
        await self._needed().hibernate(agent)

    async def _save_thread(self, thread: Thread) -> None:
        await self._needed().storage.append_thread(thread.id, thread.to_list(), metadata=thread.metadata)

    async def _save_checkpoint(self, made: FakeCheckpoint) -> None:
        await self._needed().storage.put_checkpoint(made.key, made.data)


def _refuse_others(cls: object) -> None:
    if not (isinstance(cls, type) and issubclass(cls, Agent)):
        raise InvalidInputError.at("cls", "a subclass of Agent", cls)


async def _refuse(_: Entry) -> None:
    raise ValueError("an entry is stored in a thread: thread.create()")


def _agent_params(agent: Agent[Any]) -> dict[str, Any]:
    state = agent.state if isinstance(agent.state, dict) else codec.to_fields(agent.state, path="state")
    return {"id": agent.id, "state": state, "partition": agent.partition}


def _thread_params(thread: Thread) -> dict[str, Any]:
    return {"id": thread.id, "metadata": thread.metadata, "entries": [entry.as_dict() for entry in thread]}
