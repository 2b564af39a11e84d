"""Sessions, runs, events and artifacts of agents in the host's database."""

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
