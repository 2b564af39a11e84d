"""ADK sessions and events to test with: made up, and from one seed always the same.

make = AdkFactories(seed=7, adk=AdkSessionStore())
session = await make.session.create(app_name="shop", turns=3, tools=1)
make.event.build(author="user")
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from jido_tortoise import seams
from jido_tortoise.adk import (
    Actions,
    AdkSessionStore,
    Content,
    Event,
    FunctionCall,
    FunctionResponse,
    Part,
    Session,
    routing,
)
from jido_tortoise_testing.factories import Factories, Factory


@dataclass
class AdkFactories(Factories):
    """The factories of one test for ADK sessions, beside those for agents.

    Args:
        seed: A number or a text, such as the id of the test.
        jido: Where agents are stored.
        adk: Where `session.create` stores; needed by it alone.
    """

    adk: AdkSessionStore | None = None
    session: Factory[Session] = field(init=False)
    event: Factory[Event] = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.session = Factory(self._session, self._save_session, _plain, self._world)
        self.event = Factory(self._event, _refuse, _plain, self._world)

    def _event(self, author: str | None = None, **more: Any) -> Event:
        """Make an event that says something; `more` are its other fields."""
        chosen = author or self.random.choice(["user", "agent"])
        role = "user" if chosen == "user" else "model"
        more.setdefault("content", Content(role, [Part(self.fake.sentence())]))
        more.setdefault("invocation_id", self._id("e-"))
        return Event(author=chosen, **more)

    def _session(
        self,
        *,
        app_name: str = "app",
        user_id: str | None = None,
        id: str | None = None,
        state: dict[str, Any] | None = None,
        turns: int = 2,
        tools: int = 0,
    ) -> Session:
        """Make a session of well-formed turns: a question, `tools` calls in all with their answers, an answer.

        Each turn counts itself in the state, and sets the user's name.
        """
        begun = seams.to_datetime(seams.now_ms())
        calls = [n % turns for n in range(tools)] if turns else []
        events = [event for turn in range(turns) for event in self._turn_of_events(turn, calls.count(turn))]
        merged = routing.without_temp(state or {})
        for event in events:
            merged |= event.actions.state_delta
        return Session(
            app_name=app_name,
            user_id=user_id or self._id("user_"),
            id=id or self._id("session_"),
            state=merged,
            events=events,
            rev=len(events),
            created_at=begun,
            last_update_time=events[-1].timestamp if events else begun,
        )

    def _turn_of_events(self, turn: int, tools: int) -> Iterator[Event]:
        invocation = self._id("e-")
        yield self._event("user", invocation_id=invocation)
        for _ in range(tools):
            yield from self._tool_events(invocation)
        delta = {"turns": turn + 1, "user:name": self.fake.name()}
        yield self._event("agent", invocation_id=invocation, actions=Actions(delta), turn_complete=True)

    def _tool_events(self, invocation: str) -> Iterator[Event]:
        call, word = self._id("call_"), self.fake.word()
        asked = Part(function_call=FunctionCall("search", {"query": word}, call))
        yield self._event("agent", invocation_id=invocation, content=Content("model", [asked]))
        found = Part(function_response=FunctionResponse("search", {"found": self.fake.words(2)}, call))
        actions = Actions({"last_query": word})
        yield self._event("agent", invocation_id=invocation, content=Content("user", [found]), actions=actions)

    async def _save_session(self, made: Session) -> None:
        if self.adk is None:
            raise ValueError("AdkFactories(adk=...) is needed to create; build() stores nothing")
        changed = {key for event in made.events for key in event.actions.state_delta}
        begun = {key: value for key, value in made.state.items() if key not in changed}
        with seams.replaced(now_ms=lambda: seams.to_ms(made.created_at)):
            names = {"app_name": made.app_name, "user_id": made.user_id, "session_id": made.id}
            session = await self.adk.create(**names, state=begun)
        for event in made.events:
            session = await self.adk.append_event(session, event)


def _plain(made: Session | Event) -> dict[str, Any]:
    return {one.name: getattr(made, one.name) for one in fields(made)}


async def _refuse(_: Event) -> None:
    raise ValueError("an event is stored in a session: session.create()")
