"""What it costs to record a streamed answer, token by token, through the manager's write-behind buffer."""

from __future__ import annotations

from jido_tortoise.recording import Event, Session, SessionManager, SessionStore
from jido_tortoise.recording.execution import RunResult
from jido_tortoise.recording.providers import Answer, Said, ScriptedProvider
from jido_tortoise_testing.leases import is_frame, is_plumbing
from tests.benchmarks import recording_peers
from tests.benchmarks.measure import Line, Prepared, compared, counted, interleaved
from tests.benchmarks.places import Place
from tests.benchmarks.setting import Size

#: At any scale: the promise is about so many.
_TOKENS = 1_000
_MOST_STATEMENTS = 30


class Streams:
    """Runs of one session, each a streamed answer of so many tokens."""

    def __init__(self, place: Place, session: Session, manager: SessionManager) -> None:
        self._place = place
        self._session = session
        self._manager = manager
        self._run_id = ""
        #: What the last run answered.
        self.result: RunResult | None = None

    async def before(self) -> None:
        """Begin a run."""
        self._run_id = (await self._manager.start_run(self._session.id, "Which flights are there?")).id

    async def call(self) -> None:
        """Execute it: from the run that waits to the run that has ended, with everything stored."""
        tokens = [Said("message_streamed", {"content": f"token {number} "}) for number in range(_TOKENS)]
        self.result = await self._manager.execute_run(self._run_id, ScriptedProvider([*tokens, Answer(output={})]))

    async def statements(self) -> list[str]:
        """Answer the statements of one run, on PostgreSQL also each BEGIN and SAVEPOINT: there it is a round trip."""
        await self.before()
        seen = await self._place.statements(self.call)
        if self._place.dialect == "postgres":
            return [sql for sql in seen if not is_plumbing(sql)]
        seen = [sql for sql in seen if not is_frame(sql)]
        # SQLite tells of each row of one prepared statement.
        return [sql for sql, last in zip(seen, ["", *seen], strict=False) if sql[:22] != last[:22]]


async def stream(place: Place, size: Size) -> list[Line]:
    """1,000 tokens of one run: statements, tokens lost, and time beside an append for each."""
    store = SessionStore()
    manager = SessionManager(store)
    session = await manager.start_session("bench")
    await manager.activate_session(session.id)
    streams = Streams(place, session, manager)
    contenders = {
        "ours": Prepared(streams.call, streams.before),
        "each": _each(store, session.id),
        "original": recording_peers.original(place, session.id),
    }
    timed = await interleaved(contenders, size.times(50))
    samples = timed | {"ours": [took / _TOKENS for took in timed["ours"]]}
    sent = len(await streams.statements())
    lost = await _lost(store, streams.result)
    work = f"{_TOKENS:,} tokens streamed"
    return [
        counted(f"{work}, statements", place.name, sent, _MOST_STATEMENTS),
        counted(f"{work}, acknowledged and not stored", place.name, lost, 0),
        compared("  (each token, against an append of its own)", place.name, samples, "ours", "each"),
        compared("  (each token, against the original's way)", place.name, samples, "ours", "original"),
    ]


def _each(store: SessionStore, session_id: str) -> Prepared:
    async def call() -> None:
        await store.append_event(Event(type="message_streamed", session_id=session_id, data={"content": "token "}))

    return Prepared(call, lambda: None)


async def _lost(store: SessionStore, result: RunResult | None) -> int:
    """Count the events that a run has answered and the store does not have just so, and the tokens that are missing."""
    if result is None:
        raise RuntimeError("no run has ended")
    stored = {event.id: event for event in await store.get_events(result.session_id, run_id=result.run_id)}
    told = sum(event.type == "message_streamed" for event in stored.values())
    return sum(stored.get(event.id) != event for event in result.events) + abs(_TOKENS - told)
