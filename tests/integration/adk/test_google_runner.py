"""google-adk's own Runner, offline, on our service: what it stores, reads back, rewinds and compacts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.adk.agents import BaseAgent, LlmAgent, ParallelAgent, SequentialAgent
from google.adk.agents.invocation_context import InvocationContext
from google.adk.agents.live_request_queue import LiveRequestQueue
from google.adk.agents.run_config import RunConfig
from google.adk.apps import App
from google.adk.apps.app import EventsCompactionConfig
from google.adk.apps.llm_event_summarizer import LlmEventSummarizer
from google.adk.events import Event, EventActions
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.models.base_llm_connection import BaseLlmConnection
from google.adk.runners import Runner
from google.adk.sessions import BaseSessionService, Session
from google.adk.sessions.base_session_service import GetSessionConfig
from google.adk.tools import ToolContext
from google.genai import types

from jido_tortoise.adk import TortoiseSessionService


class Counter(BaseAgent):
    """Counts its turns in the state of session, app and user."""

    async def _run_async_impl(self, ctx: InvocationContext) -> AsyncGenerator[Event, None]:
        n = ctx.session.state.get("n", 0) + 1
        delta = {"n": n, "app:turns": n, "user:turns": n, "temp:t": n}
        common = {"invocation_id": ctx.invocation_id, "author": self.name, "branch": ctx.branch}
        yield Event(**common, partial=True, actions=EventActions(state_delta={"never": 1}))
        content = types.Content(role="model", parts=[types.Part(text=f"n={n}")])
        yield Event(**common, content=content, actions=EventActions(state_delta=delta))
        assert ctx.session.state["temp:t"] == n


class Calling(BaseLlm):
    """A model that calls the tool `bump` once in each turn, and then says what it answered."""

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        answer = (llm_request.contents[-1].parts or [types.Part()])[-1].function_response
        part = (
            types.Part(text=f"total {answer.response}")
            if answer
            else types.Part.from_function_call(name="bump", args={"by": 3})
        )
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


def bump(by: int, tool_context: ToolContext) -> dict[str, int]:
    """Add to the total."""
    tool_context.state["total"] = tool_context.state.get("total", 0) + by
    return {"total": tool_context.state["total"]}


class Saying(BaseLlm):
    """A model that says one thing."""

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        yield LlmResponse(content=types.Content(role="model", parts=[types.Part(text="said")]))


@asynccontextmanager
async def running(service: BaseSessionService, name: str, agent: BaseAgent, **more: Any) -> AsyncIterator[Runner]:
    app = App(name=name, root_agent=agent, **more)
    async with Runner(app=app, session_service=service, auto_create_session=True) as runner:
        yield runner


async def turn(runner: Runner, text: str = "hi", **more: Any) -> list[Event]:
    message = types.Content(role="user", parts=[types.Part(text=text)])
    return [e async for e in runner.run_async(user_id="u", session_id="s", new_message=message, **more)]


async def stored(service: TortoiseSessionService, app: str) -> Session:
    found = await service.get_session(app_name=app, user_id="u", session_id="s")
    assert found is not None
    return found


def authors(session: Session) -> list[str]:
    return [event.author for event in session.events]


async def test_an_agent_that_counts(service: TortoiseSessionService, app: str) -> None:
    """Two turns, each with the state of the one before; nothing partial and nothing temporary is stored."""
    async with running(service, app, Counter(name="c")) as runner:
        for _ in range(2):
            await turn(runner, state_delta={"given": 1})
    found = await stored(service, app)
    assert found.state == {"n": 2, "given": 1, "app:turns": 2, "user:turns": 2}
    assert authors(found) == ["user", "c", "user", "c"]
    assert await service.get_user_state(app_name=app, user_id="u") == {"turns": 2}


async def test_a_model_that_calls_a_tool(
    service: TortoiseSessionService, other: TortoiseSessionService, app: str
) -> None:
    """Four events a turn, the second turn by another process; the tool's state is there with its answer."""
    for each in (service, other):
        async with running(each, app, LlmAgent(name="l", model=Calling(model="stub"), tools=[bump])) as runner:
            events = await turn(runner)
    assert events[-1].content.parts[0].text == "total {'total': 6}"
    found = await stored(service, app)
    assert found.state == {"total": 6}
    assert authors(found) == ["user", "l", "l", "l"] * 2
    assert [bool(e.get_function_calls()) for e in found.events] == [False, True, False, False] * 2
    assert found.events[2].actions.state_delta == {"total": 3}


# Its successor, Workflow, gives its branches one session too.
@pytest.mark.filterwarnings("ignore:ParallelAgent is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:SequentialAgent is deprecated:DeprecationWarning")
async def test_branches_share_one_session(service: TortoiseSessionService, app: str) -> None:
    """Parallel agents append to one session object, and all of their events are stored."""
    agent = ParallelAgent(name="all", sub_agents=[Counter(name=f"c{n}") for n in range(5)])
    async with running(service, app, SequentialAgent(name="root", sub_agents=[agent])) as runner:
        await turn(runner)
    assert sorted(authors(await stored(service, app))) == [*(f"c{n}" for n in range(5)), "user"]


async def test_only_the_last_events_are_read(service: TortoiseSessionService, app: str) -> None:
    """When the run's config says so; the appends go on from there."""
    config = RunConfig(get_session_config=GetSessionConfig(num_recent_events=1))
    async with running(service, app, Counter(name="c")) as runner:
        for _ in range(3):
            await turn(runner, run_config=config)
    assert (await stored(service, app)).state["n"] == 3


async def test_rewind(service: TortoiseSessionService, app: str) -> None:
    """The state is that of before, and the history goes on: the rewind is an event too."""
    async with running(service, app, LlmAgent(name="l", model=Calling(model="stub"), tools=[bump])) as runner:
        await turn(runner)
        second = (await turn(runner))[0].invocation_id
        assert (await stored(service, app)).state == {"total": 6}
        await runner.rewind_async(user_id="u", session_id="s", rewind_before_invocation_id=second)
        found = await stored(service, app)
        assert found.state == {"total": 3}
        assert found.events[-1].actions.rewind_before_invocation_id == second
        await turn(runner)
    found = await stored(service, app)
    assert (found.state, len(found.events)) == ({"total": 6}, 13)


@pytest.mark.filterwarnings(r"ignore:\[EXPERIMENTAL\] EventsCompactionConfig:UserWarning")
async def test_compaction(service: TortoiseSessionService, app: str) -> None:
    """The summary is an event that reads back as the model it was."""
    summarizer = LlmEventSummarizer(llm=Saying(model="stub"))
    config = EventsCompactionConfig(compaction_interval=2, overlap_size=1, summarizer=summarizer)
    agent = LlmAgent(name="l", model=Saying(model="stub"))
    async with running(service, app, agent, events_compaction_config=config) as runner:
        for _ in range(3):
            await turn(runner)
    found = await stored(service, app)
    (compaction,) = [event.actions.compaction for event in found.events if event.actions.compaction]
    assert compaction.compacted_content.parts[0].text == "said"
    assert compaction.start_timestamp == found.events[0].timestamp


async def test_an_agent_that_fails(service: TortoiseSessionService, app: str) -> None:
    """What it has said before that is stored, and the next turn goes on."""

    class Failing(Counter):
        async def _run_async_impl(self, ctx: InvocationContext) -> AsyncGenerator[Event, None]:
            async for event in super()._run_async_impl(ctx):
                yield event
            if ctx.session.state["n"] == 1:
                raise LookupError("no more")

    async with running(service, app, Failing(name="c")) as runner:
        with pytest.raises(LookupError, match="no more"):
            await turn(runner)
        await turn(runner)
    assert (await stored(service, app)).state["n"] == 2


class Connection(BaseLlmConnection):
    """A live connection that answers what it is sent with a transcription of it, in two pieces."""

    def __init__(self) -> None:
        self._asked: asyncio.Queue[types.Content | None] = asyncio.Queue()

    async def send_history(self, history: list[types.Content]) -> None:
        pass

    async def send_content(self, content: types.Content, **_: Any) -> None:
        await self._asked.put(content)

    async def _send_content(self, content: types.Content, **_: Any) -> None:
        await self._asked.put(content)

    async def send_realtime(self, blob: types.Blob) -> None:
        pass

    async def receive(self) -> AsyncGenerator[LlmResponse, None]:
        while (content := await self._asked.get()) is not None:
            text = content.parts[0].text
            yield LlmResponse(output_transcription=types.Transcription(text=text[:2]), partial=True)
            yield LlmResponse(output_transcription=types.Transcription(text=text, finished=True), partial=False)
            yield LlmResponse(turn_complete=True)

    async def close(self) -> None:
        await self._asked.put(None)


class Live(BaseLlm):
    """A model that is spoken with."""

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        raise NotImplementedError
        yield

    @asynccontextmanager
    async def connect(self, llm_request: LlmRequest) -> AsyncIterator[BaseLlmConnection]:
        connection = Connection()
        yield connection
        await connection.close()


async def test_a_live_conversation(service: TortoiseSessionService, app: str) -> None:
    """What the user says and the whole transcriptions are stored, their pieces are not."""
    await service.create_session(app_name=app, user_id="u", session_id="s")
    queue = LiveRequestQueue()
    async with running(service, app, LlmAgent(name="l", model=Live(model="stub"))) as runner:
        queue.send_content(types.Content(role="user", parts=[types.Part(text="hello")]))
        async with asyncio.timeout(20):
            async for event in runner.run_live(user_id="u", session_id="s", live_request_queue=queue):
                if event.turn_complete:
                    break
        queue.close()
    found = await stored(service, app)
    assert [e.output_transcription.text for e in found.events if e.output_transcription] == ["hello"]
    assert authors(found)[0] == "user"
