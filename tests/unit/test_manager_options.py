"""What an AgentManager is made with is checked when it is made, not when the first agent is needed."""

from __future__ import annotations

from typing import Any

import pytest

from jido_tortoise.agents.agent import Agent
from jido_tortoise.agents.keys import thread_id_for
from jido_tortoise.agents.manager import AgentManager
from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.errors import InvalidInputError
from jido_tortoise.jido import Jido
from jido_tortoise.schema import apps


class Optional(Agent, agent_type="managed_optional"):
    """Somebody."""


@pytest.mark.parametrize(
    ("option", "bad"),
    [
        ("idle_timeout", -1),
        ("idle_timeout", float("nan")),
        ("idle_timeout", "900"),
        ("idle_timeout", True),
        pytest.param("idle_timeout", 10**400, id="idle_timeout-beyond-floats"),
        ("partition", ""),
        ("partition", 7),
        ("scope", ""),
        ("scope", 7),
        ("scope", "x" * 51),
        ("scope", "é" * 10),
        ("scope", "a\0b"),
        ("journal", "zz"),
        ("journal", None),
        ("journal", ["latest"]),
        ("checkpoint_on_exit", "no"),
        ("on_background_error", "log"),
    ],
)
def test_bad_options_are_refused(option: str, bad: Any) -> None:
    """The error names the option."""
    with pytest.raises(InvalidInputError, match=option):
        AgentManager(InMemoryStorage(), Optional, **{option: bad})


@pytest.mark.parametrize("bad", ["", 7, "a\0b", "x" * 256])
def test_a_front_door_is_made_with_what_it_can_use(bad: Any) -> None:
    """Partition, schema, connection and URL are looked at before anything is opened."""
    config = {"connections": {"default": "sqlite://:memory:"}, "apps": apps()}
    for path, make in {
        "partition": lambda: Jido(InMemoryStorage(), partition=bad),
        "partition ": lambda: Jido(InMemoryStorage()).bind(partition=bad),
        "partition  ": lambda: Jido.connect("sqlite://:memory:", partition=bad),
        "partition   ": lambda: Jido.lifespan(config, partition=bad),
        "schema": lambda: Jido.connect("sqlite://:memory:", schema=bad),
        "schema ": lambda: Jido.lifespan(config, schema=bad),
        "upgrade": lambda: Jido.lifespan(config, upgrade=bad),
        "connection": lambda: TortoiseStorage(bad),
    }.items():
        with pytest.raises(InvalidInputError) as caught:
            make()
        assert caught.value.path == path.strip()
    with pytest.raises(InvalidInputError, match="url"):
        Jido.connect(7)  # type: ignore[arg-type]


def test_storages_of_two_schemas_are_two() -> None:
    """An agent that was stored in one has never met the other; the timeout makes no difference."""
    assert TortoiseStorage(schema="a", timeout=1) == TortoiseStorage(schema="a")
    assert TortoiseStorage(schema="a") not in [TortoiseStorage(schema="b"), TortoiseStorage("a"), TortoiseStorage()]


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
