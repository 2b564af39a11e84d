"""What an AgentManager is made with is checked when it is made, not when the first agent is needed."""

from __future__ import annotations

from typing import Any

import pytest

from jido_tortoise.agents.agent import Agent
from jido_tortoise.agents.keys import thread_id_for
from jido_tortoise.agents.manager import AgentManager
from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise.errors import InvalidInputError
from jido_tortoise.jido import Jido


class Optional(Agent, agent_type="managed_optional"):
    """Somebody."""


@pytest.mark.parametrize(
    ("option", "bad"),
    [
        ("idle_timeout", -1),
        ("idle_timeout", float("nan")),
        ("idle_timeout", "900"),
        ("idle_timeout", True),
        ("partition", ""),
        ("partition", 7),
        ("scope", ""),
        ("scope", 7),
        ("scope", "x" * 51),
        ("scope", "é" * 10),
        ("scope", "a\0b"),
    ],
)
def test_bad_options_are_refused(option: str, bad: Any) -> None:
    """The error names the option."""
    with pytest.raises(InvalidInputError, match=option):
        AgentManager(InMemoryStorage(), Optional, **{option: bad})


def test_the_partition_of_a_bound_jido_stands() -> None:
    """A manager never leaves the partition of the Jido it was given; to say the same twice is fine."""
    blue = Jido(InMemoryStorage()).bind(partition="blue")
    assert AgentManager(blue, Optional)._home.partition == "blue"
    assert AgentManager(blue, Optional, partition="blue")._home.partition == "blue"
    assert AgentManager(Jido(blue.storage), Optional, partition="green")._home.partition == "green"
    with pytest.raises(InvalidInputError, match="partition"):
        AgentManager(blue, Optional, partition="green")


async def test_threads_of_scopes_are_nobody_elses() -> None:
    """No two of type, partition, scope and id share a journal, whatever stands in them; ids fit their column."""
    seen = set()
    ids = ["a", "a/b", "b/a", "/", 1, "1", ("x",), "long" * 60]
    scopes = ["a", "a/b", "b", "é", "s" * 50]
    for partition in (None, "p", "a/p"):
        seen |= {thread_id_for(Optional.agent_type, id, partition) for id in ids}
        for scope in scopes:
            async with AgentManager(InMemoryStorage(), Optional, scope=scope, partition=partition) as manager:
                seen |= {(await manager.attach(id)).thread.id for id in ids}
    assert len(seen) == 3 * len(ids) * (1 + len(scopes))
    assert max(map(len, seen)) <= 255
