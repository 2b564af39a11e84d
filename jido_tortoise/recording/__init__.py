"""Sessions, runs, events and artifacts of agents in the host's database."""

from jido_tortoise.recording.entities import Artifact, Event, Run, Session
from jido_tortoise.recording.importing import import_sessions
from jido_tortoise.recording.memory import InMemorySessionStore
from jido_tortoise.recording.port import Flushed, SessionStoreLike
from jido_tortoise.recording.queries import QueryAPI
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
    "QueryAPI",
    "Run",
    "Session",
    "SessionStore",
    "SessionStoreLike",
    "import_sessions",
]
