"""What each of the demo's three processes does: begin, finish, compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jido_tortoise import codec
from jido_tortoise.demo.agent import Heard, Listener
from jido_tortoise.demo.measure import Tally
from jido_tortoise.demo.transcripts import BadLine, Conversation, read
from jido_tortoise.errors import CallbackError, CorruptRowError, NotFoundError, ThawError
from jido_tortoise.jido import Jido

#: Told what happens, by a name and its facts.
Tell = Callable[..., object]

#: What says that an agent is not as it was stored, rather than that the database is not there.
_LOSSES = (CallbackError, CorruptRowError, NotFoundError, ThawError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a process is told to do."""

    stage: str
    url: str
    transcripts: str
    #: The partition of this run's agents.
    run: str
    schema: str | None = None
    limit: int | None = None
    #: Hibernate after so many messages.
    every: int = 5


async def run_stage(task: Task, tell: Tell) -> Tally:
    """Do one process's part; `tell` hears of bad lines, differences and progress.

    Raises:
        JidoError: Something but a difference stands in the way.
    """
    work = _STAGES[task.stage]
    tally = Tally()
    async with Jido.connect(task.url, schema=task.schema, partition=task.run) as jido:
        for line in read(Path(task.transcripts), task.limit):
            if isinstance(line, BadLine):
                tally.skipped += 1
                tell("skipped", line=line.line, reason=line.reason)
            else:
                await work(jido, line, task, tally, tell)
            tell("progress", agents=tally.agents, end=line.end)
        if task.stage == "compare":
            await _compare_count(jido, tally, tell)
    return tally


async def _begin(jido: Jido, conversation: Conversation, task: Task, tally: Tally, tell: Tell) -> None:
    """Make an agent, let it hear the first half, and leave it hibernated."""
    agent = Listener(_id(conversation), partition=task.run)
    agent.thread.metadata = conversation.metadata
    await _hear(jido, agent, conversation, (len(conversation.messages) + 1) // 2, task, tally)


async def _finish(jido: Jido, conversation: Conversation, task: Task, tally: Tally, tell: Tell) -> None:
    """Thaw the agent and let it hear what it has not heard yet."""
    with tally.timed("thaw"):
        agent = await jido.thaw(Listener, _id(conversation))
    await _hear(jido, agent, conversation, len(conversation.messages), task, tally)


def _id(conversation: Conversation) -> str:
    return f"line-{conversation.line}"


async def _hear(jido: Jido, agent: Listener, conversation: Conversation, upto: int, task: Task, tally: Tally) -> None:
    first = agent.state.messages
    for index in range(first, upto):
        with tally.timed("append"):
            agent.hear(conversation.messages[index])
        tally.entries += 1
        tally.bytes += conversation.sizes[index]
        if (index + 1) % task.every == 0 or index + 1 == upto:
            await _hibernate(jido, agent, tally)
    if first >= upto:
        await _hibernate(jido, agent, tally)
    tally.agents += 1


async def _hibernate(jido: Jido, agent: Listener, tally: Tally) -> None:
    with tally.timed("hibernate"):
        await jido.hibernate(agent)


# -- compare ------------------------------------------------------------------------------------------------------


async def _compare(jido: Jido, conversation: Conversation, task: Task, tally: Tally, tell: Tell) -> None:
    """Thaw the agent and compare every entry, the metadata and the state with the line."""
    tally.agents += 1
    difference = await _difference(jido, conversation, tally)
    if difference is not None:
        tally.differing += 1
        tell("difference", line=conversation.line, text=difference)


async def _difference(jido: Jido, conversation: Conversation, tally: Tally) -> str | None:
    try:
        with tally.timed("thaw"):
            agent = await jido.thaw(Listener, _id(conversation))
    except _LOSSES as error:
        return f"{type(error).__name__}: {error}"
    tally.entries += len(agent.thread)
    tally.bytes += sum(conversation.sizes)
    return _differs(agent, conversation)


def _differs(agent: Listener, conversation: Conversation) -> str | None:
    """Say what the first difference is; None when there is none."""
    stored, expected = agent.thread.to_list(), conversation.messages
    if len(stored) != len(expected):
        return f"{len(stored)} entries are stored of {len(expected)} messages"
    for index, (entry, message) in enumerate(zip(stored, expected, strict=True)):
        if (entry.seq, entry.kind) != (index, "message") or not _same(entry.payload, message):
            return (
                f"message {index} is stored as {_shown(entry.kind, entry.payload)}, and is {_shown('message', message)}"
            )
    if not _same(agent.thread.metadata, conversation.metadata):
        return "the metadata differ from the line's other keys"
    if agent.state != Heard.of(expected):
        return f"the state is {agent.state}, and should be {Heard.of(expected)}"
    return None


def _same(stored: dict[str, Any], expected: dict[str, Any]) -> bool:
    # Not ==, which takes 1, 1.0 and True for one another.
    return codec.canonical(stored) == codec.canonical(expected)


def _shown(kind: str, payload: dict[str, Any]) -> str:
    text = codec.canonical(payload)
    return f"{kind} {text[:100]}{'...' if len(text) > 100 else ''}"


async def _compare_count(jido: Jido, tally: Tally, tell: Tell) -> None:
    stored = await jido.count(Listener)
    if stored != tally.agents:
        tally.differing += 1
        tell("difference", line=None, text=f"{stored} agents are stored of {tally.agents} conversations in the file")


_STAGES = {"begin": _begin, "finish": _finish, "compare": _compare}
STAGES = tuple(_STAGES)
