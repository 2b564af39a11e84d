"""Sessions, runs, events and artifacts of agents in the host's database."""

from jido_tortoise.recording.entities import Artifact, Event, Run, Session
from jido_tortoise.recording.statuses import EVENT_TYPES, RUN_STATUSES, SESSION_STATUSES

__all__ = [
    "EVENT_TYPES",
    "RUN_STATUSES",
    "SESSION_STATUSES",
    "Artifact",
    "Event",
    "Run",
    "Session",
]
