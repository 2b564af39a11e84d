"""Sessions, runs, events and artifacts of agents in the host's database."""

from jido_tortoise.recording.buffer import Buffering
from jido_tortoise.recording.entities import Artifact, Event, Run, Session
from jido_tortoise.recording.execution import RunResult
from jido_tortoise.recording.importing import import_sessions
from jido_tortoise.recording.manager import SessionManager
from jido_tortoise.recording.memory import InMemorySessionStore
from jido_tortoise.recording.policies import Policy
from jido_tortoise.recording.port import Flushed, SessionStoreLike
from jido_tortoise.recording.pricing import LIST_PRICES, Pricing
from jido_tortoise.recording.queries import QueryAPI
from jido_tortoise.recording.redaction import Redactor
from jido_tortoise.recording.statuses import EVENT_TYPES, RUN_STATUSES, SESSION_STATUSES
from jido_tortoise.recording.store import SessionStore

__all__ = [
    "EVENT_TYPES",
    "LIST_PRICES",
    "RUN_STATUSES",
    "SESSION_STATUSES",
    "Artifact",
    "Buffering",
    "Event",
    "Flushed",
    "InMemorySessionStore",
    "Policy",
    "Pricing",
    "QueryAPI",
    "Redactor",
    "Run",
    "RunResult",
    "Session",
    "SessionManager",
    "SessionStore",
    "SessionStoreLike",
    "import_sessions",
]
