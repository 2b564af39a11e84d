"""Recorded sessions, runs and events to test with: made up, and from one seed always the same.

make = RecordingFactories(seed=7, recording=SessionStore())
recorded = await make.recorded.create(runs=2, tools=1)
make.event.build(session_id="s", type="run_started")
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

from jido_tortoise.recording import Event, Run, Session, SessionStoreLike
from jido_tortoise_testing.factories import Factories, Factory

_PROVIDERS = ("anthropic", "openai")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A session with its runs and all its events, in order."""

    session: Session
    runs: tuple[Run, ...]
    events: tuple[Event, ...]


@dataclass
class RecordingFactories(Factories):
    """The factories of one test for recorded sessions, beside those for agents.

    Args:
        seed: A number or a text, such as the id of the test.
        jido: Where agents are stored.
        recording: Where `create` stores sessions, runs and events; needed by it alone.
    """

    recording: SessionStoreLike | None = None
    session: Factory[Session] = field(init=False)
    run: Factory[Run] = field(init=False)
    event: Factory[Event] = field(init=False)
    recorded: Factory[Recorded] = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.session = Factory(self._session, lambda made: self._store().save_session(made), _plain, self._world)
        self.run = Factory(self._run, lambda made: self._store().save_run(made), _plain, self._world)
        self.event = Factory(self._event, lambda made: self._store().append_event(made), _plain, self._world)
        self.recorded = Factory(self._recorded, self._save_recorded, _plain, self._world)

    def _session(self, agent_id: str = "assistant", **more: Any) -> Session:
        """Make a session; `more` are its other fields."""
        more.setdefault("metadata", {"customer": self.fake.name()})
        return Session(agent_id=agent_id, **more)

    def _run(self, session_id: str = "ses_made_up", **more: Any) -> Run:
        """Make a run; `more` are its other fields."""
        more.setdefault("provider", self.random.choice(_PROVIDERS))
        more.setdefault("input", {"messages": [{"role": "user", "content": self.fake.sentence()}]})
        return Run(session_id=session_id, **more)

    def _event(self, session_id: str = "ses_made_up", type: str = "message_received", **more: Any) -> Event:
        """Make an event; `more` are its other fields."""
        more.setdefault("data", {"role": "assistant", "content": self.fake.sentence()})
        return Event(type=type, session_id=session_id, **more)

    def _recorded(self, *, agent_id: str = "assistant", runs: int = 1, tools: int = 0, **more: Any) -> Recorded:
        """Make a session that has ended, with completed runs, usage, and `tools` calls with their results in each run.

        `more` are other fields of the session.
        """
        session = self._session(agent_id, status="completed", **more)
        made: list[Run] = []
        told = [
            self._event(session.id, "session_created", data={}),
            self._event(session.id, "session_started", data={}),
        ]
        for _ in range(runs):
            run = self._ended_run(session.id)
            made.append(run)
            told += self._told_of(run, tools)
        told.append(self._event(session.id, "session_completed", data={}))
        numbered = [replace(event, sequence_number=at) for at, event in enumerate(told, 1)]
        return Recorded(session, tuple(made), tuple(numbered))

    def _ended_run(self, session_id: str) -> Run:
        tokens = [self.random.randrange(10, 2000) for _ in range(2)]
        usage = {"input_tokens": tokens[0], "output_tokens": tokens[1], "total_tokens": sum(tokens)}
        running = self._run(session_id).with_status("running").with_usage(usage).with_turn()
        return replace(running.with_output({"content": self.fake.sentence()}), cost_usd=sum(tokens) / 1e6)

    def _told_of(self, run: Run, tools: int) -> Iterator[Event]:
        known: dict[str, Any] = {"session_id": run.session_id, "run_id": run.id, "provider": run.provider}
        asked, answer = (run.input or {})["messages"][0], run.output or {}
        yield self._event(type="run_started", data={}, **known)
        yield self._event(type="message_sent", data=asked, **known)
        for _ in range(tools):
            call = {"tool_call_id": self._id("call_"), "tool_name": "search"}
            yield self._event(type="tool_call_started", data={**call, "input": {"query": self.fake.word()}}, **known)
            yield self._event(type="tool_call_completed", data={**call, "output": self.fake.words(2)}, **known)
        yield self._event(data={"role": "assistant", **answer}, **known)
        yield self._event(type="token_usage_updated", data=dict(run.token_usage), **known)
        yield self._event(type="run_completed", data={"stop_reason": "end_turn"}, **known)

    def _store(self) -> SessionStoreLike:
        if self.recording is None:
            raise ValueError("RecordingFactories(recording=...) is needed to create; build() stores nothing")
        return self.recording

    async def _save_recorded(self, made: Recorded) -> None:
        flushed = await self._store().flush(session=made.session, events=made.events)
        for run in made.runs:
            await self._store().flush(session=flushed.session, run=run)


def _plain(made: Session | Run | Event | Recorded) -> dict[str, Any]:
    return {one.name: getattr(made, one.name) for one in fields(made)}
