"""Sessions, runs, events and artifacts of agents in the host's database."""

from jido_tortoise.recording.entities import Artifact, Event, Run, Session
from jido_tortoise.recording.memory import InMemorySessionStore
from jido_tortoise.recording.port import Flushed, SessionStoreLike
from jido_tortoise.recording.statuses import EVENT_TYPES, RUN_STATUSES, SESSION_STATUSES
from jido_tortoise.recording.store import SessionStore

__all__ = [
    "EVENT_TYPES",
    "RUN_STATUSES",
    "SESSION_STATUSES",
    "Artifact",
    "Event",
    "Flushed",
    "InMemorySessionStore",
    "Run",
    "Session",
    "SessionStore",
    "SessionStoreLike",
]
