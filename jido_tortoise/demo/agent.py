"""The agent of the demo: it hears a conversation, message by message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jido_tortoise.agents.agent import Agent


@dataclass
class Heard:
    """What the agent knows of what it has heard."""

    messages: int = 0
    tool_calls: int = 0
    #: How many messages of each role.
    roles: dict[str, int] = field(default_factory=dict)

    def note(self, message: Mapping[str, Any]) -> None:
        """Count one message."""
        role, calls = message.get("role"), message.get("tool_calls")
        name = role if isinstance(role, str) else "unknown"
        self.messages += 1
        self.tool_calls += len(calls) if isinstance(calls, list) else 0
        self.roles[name] = self.roles.get(name, 0) + 1

    @classmethod
    def of(cls, messages: Iterable[Mapping[str, Any]]) -> Heard:
        """Answer what an agent knows that has heard all these."""
        heard = cls()
        for message in messages:
            heard.note(message)
        return heard


class Listener(Agent[Heard], agent_type="jido-demo"):
    """One conversation of the demo."""

    def hear(self, message: dict[str, Any]) -> None:
        """Take in one message."""
        self.thread.append("message", message)
        self.state.note(message)
