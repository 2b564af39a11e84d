"""Where the agents of one manager are stored, and how they are fetched from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from jido_tortoise import checks, codec
from jido_tortoise.agents import callbacks, care, persist
from jido_tortoise.agents.agent import Agent, AgentLike
from jido_tortoise.agents.keys import check_agent_id, checkpoint_key, thread_id_for
from jido_tortoise.agents.live import Live
from jido_tortoise.agents.persist import Journal
from jido_tortoise.agents.storage import Storage
from jido_tortoise.agents.thread import Thread
from jido_tortoise.errors import InvalidAgentError, InvalidInputError, NotFoundError

A = TypeVar("A", bound=AgentLike)

#: A scope is part of thread ids, and their column ends.
_LONGEST_SCOPE = 50


@dataclass(frozen=True, slots=True)
class Home(Generic[A]):
    """The agents of a class in one partition, and in one scope when there is one."""

    storage: Storage
    cls: type[A]
    partition: str | None
    scope: str | None
    journal: Journal

    def name(self, id: Any) -> str:
        """Answer what tells an agent from others: 1, 1.0 and True are one key of a dict, and three agents.

        Raises:
            InvalidAgentError: No agent can have this id.
        """
        return codec.canonical(check_agent_id(id), path="key")

    def key(self, id: Any) -> Any:
        """Answer the key of its checkpoint; None when that is the agent's own."""
        return None if self.scope is None else checkpoint_key(self.cls.agent_type, id, self.partition, self.scope)

    async def fetch(self, id: Any, state: Any) -> Live[A]:
        """Answer the stored agent; a new one, with that state, when nothing is stored.

        Raises:
            JidoError: What is stored cannot be thawed.
        """
        key = self.key(id)
        try:
            agent = await persist.thaw(
                self.storage, self.cls, id, partition=self.partition, key=key, journal=self.journal
            )
        except NotFoundError:
            return Live(self.name(id), self._new(id, key, state), key)
        live = Live(self.name(id), agent, key)
        await live.thawed()
        return live

    def _new(self, id: Any, key: Any, state: Any) -> A:
        agent = fresh(self.cls, id, self.partition, state)
        if self.scope is not None:
            callbacks.give(agent, "thread", Thread(self._thread_id(self.scope, id)))
        persist.remember_absent(self.storage, agent, key)
        return agent

    def _thread_id(self, scope: str, id: Any) -> str:
        # No other thread has a "/" in its id: there it is quoted.
        return f"{quote(scope, safe='')}/{thread_id_for(self.cls.agent_type, id, self.partition)}"

    async def delete(self, id: Any) -> None:
        """Delete the agent's checkpoint and journal."""
        await care.delete_agent(self.storage, self.cls, id, partition=self.partition, key=self.key(id))


def check_scope(scope: Any) -> str | None:
    """Answer the scope, when it is a name that fits into a thread's id."""
    if scope is not None and len(quote(checks.text(scope, "scope"), safe="")) > _LONGEST_SCOPE:
        raise InvalidInputError.at("scope", f"a name that is at most {_LONGEST_SCOPE} characters in a URL", scope)
    return None if scope is None else str(scope)


def fresh(cls: type[A], id: Any, partition: str | None, state: Any) -> A:
    """Make an agent that was never stored, with this state, or its own first one when that is None."""
    new: Any = getattr(cls, "new", None)
    if new is None:
        raise InvalidAgentError.at("cls", "a class with new(id, *, partition), since nothing is stored", cls)
    if state is not None and getattr(new, "__func__", None) is Agent.new.__func__:  # type: ignore[attr-defined]
        return cls(id, state, partition=partition)  # type: ignore[call-arg]
    agent: A = new(id, partition=partition)
    if state is not None:
        callbacks.give(agent, "state", state)
    return agent
