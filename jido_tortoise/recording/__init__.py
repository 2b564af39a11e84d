"""Sessions, runs, events and artifacts of agents in the host's database.

A name is imported when it is first used: Tortoise wants the models alone, and each process of a host would pay for all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jido_tortoise.exports import lazily

if TYPE_CHECKING:
    from jido_tortoise.recording.artifact_stores import ArtifactStore
    from jido_tortoise.recording.artifacts import ArtifactRegistry
    from jido_tortoise.recording.buffer import Buffering
    from jido_tortoise.recording.entities import Artifact, Event, Run, Session
    from jido_tortoise.recording.execution import RunResult
    from jido_tortoise.recording.files import FileArtifactStore
    from jido_tortoise.recording.health import HealthIssue
    from jido_tortoise.recording.importing import import_sessions
    from jido_tortoise.recording.maintenance import Maintenance
    from jido_tortoise.recording.manager import SessionManager
    from jido_tortoise.recording.memory import InMemorySessionStore
    from jido_tortoise.recording.policies import Policy
    from jido_tortoise.recording.port import Flushed, SessionStoreLike
    from jido_tortoise.recording.pricing import LIST_PRICES, Pricing
    from jido_tortoise.recording.queries import QueryAPI
    from jido_tortoise.recording.redaction import Redactor
    from jido_tortoise.recording.retention import RetentionPolicy
    from jido_tortoise.recording.retention_pass import MaintenanceReport
    from jido_tortoise.recording.s3 import S3ArtifactStore
    from jido_tortoise.recording.statuses import EVENT_TYPES, RUN_STATUSES, SESSION_STATUSES
    from jido_tortoise.recording.store import SessionStore

__all__ = [
    "EVENT_TYPES",
    "LIST_PRICES",
    "RUN_STATUSES",
    "SESSION_STATUSES",
    "Artifact",
    "ArtifactRegistry",
    "ArtifactStore",
    "Buffering",
    "Event",
    "FileArtifactStore",
    "Flushed",
    "HealthIssue",
    "InMemorySessionStore",
    "Maintenance",
    "MaintenanceReport",
    "Policy",
    "Pricing",
    "QueryAPI",
    "Redactor",
    "RetentionPolicy",
    "Run",
    "RunResult",
    "S3ArtifactStore",
    "Session",
    "SessionManager",
    "SessionStore",
    "SessionStoreLike",
    "import_sessions",
]

#: Where each name stands.
_NAMES = {
    "artifact_stores": ("ArtifactStore",),
    "artifacts": ("ArtifactRegistry",),
    "buffer": ("Buffering",),
    "entities": (
        "Artifact",
        "Event",
        "Run",
        "Session",
    ),
    "execution": ("RunResult",),
    "files": ("FileArtifactStore",),
    "health": ("HealthIssue",),
    "importing": ("import_sessions",),
    "maintenance": ("Maintenance",),
    "manager": ("SessionManager",),
    "memory": ("InMemorySessionStore",),
    "policies": ("Policy",),
    "port": (
        "Flushed",
        "SessionStoreLike",
    ),
    "pricing": (
        "LIST_PRICES",
        "Pricing",
    ),
    "queries": ("QueryAPI",),
    "redaction": ("Redactor",),
    "retention": ("RetentionPolicy",),
    "retention_pass": ("MaintenanceReport",),
    "s3": ("S3ArtifactStore",),
    "statuses": (
        "EVENT_TYPES",
        "RUN_STATUSES",
        "SESSION_STATUSES",
    ),
    "store": ("SessionStore",),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}


def _find(name: str) -> Any:
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


if not TYPE_CHECKING:  # type checkers would take every misspelt name for one that it finds
    __getattr__, __dir__ = lazily(globals(), _find)
