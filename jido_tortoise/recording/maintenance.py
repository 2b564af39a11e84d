"""Care for recorded sessions: retention by a policy, health and repair.

Nothing runs by itself: call `execute` from a timer of the host, or `jido-tortoise recording prune` from cron.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from jido_tortoise import checks, seams, telemetry
from jido_tortoise.errors import InvalidInputError
from jido_tortoise.recording import health
from jido_tortoise.recording.artifact_stores import ArtifactStore
from jido_tortoise.recording.artifacts import ArtifactRegistry
from jido_tortoise.recording.entities import Run
from jido_tortoise.recording.health import HealthIssue, RepairReport
from jido_tortoise.recording.port import OnCorrupt
from jido_tortoise.recording.pricing import Pricing
from jido_tortoise.recording.recovery import recover_runs
from jido_tortoise.recording.retention import RetentionPolicy
from jido_tortoise.recording.retention_pass import MaintenanceReport, Pass, Step
from jido_tortoise.recording.store import SessionStore

_COUNTS = ("sessions_soft_deleted", "sessions_hard_deleted", "events_pruned", "artifacts_cleaned")


class Maintenance:
    """Retention, health and repair of recorded sessions; a cheap value, as `SessionStore` is.

    Args:
        connection: An alias of the host's Tortoise config; None takes the one that our app is registered with.
        schema: The PostgreSQL schema of our tables; None leaves it to the search path.
        timeout: Seconds for each statement, waiting for a connection included; 30 when None.
        artifacts: The stores of the artifacts' content, which goes with the sessions; artifacts in other stores keep
            their rows, marked as deleted, until somebody brings the store.
    """

    def __init__(
        self,
        connection: str | None = None,
        schema: str | None = None,
        timeout: float | None = None,
        *,
        artifacts: ArtifactStore | Iterable[ArtifactStore] = (),
    ) -> None:
        self._store = SessionStore(connection, schema, timeout)
        self._artifacts = ArtifactRegistry(artifacts, connection=connection, schema=schema, timeout=timeout)

    def __repr__(self) -> str:
        store = self._store
        return f"Maintenance(connection={store.connection!r}, schema={store.schema!r}, timeout={store.timeout!r})"

    async def execute(
        self, policy: RetentionPolicy, *, dry_run: bool = False, on_step: Callable[[Step], object] | None = None
    ) -> MaintenanceReport:
        """Do all that a policy says: soft deletion, hard deletion, pruning, and what is left over of earlier passes.

        Args:
            policy: What to delete, and what to leave alone.
            dry_run: Whether nothing is written, and the report says what would be.
            on_step: Called with each step as it is done, or would be.

        Raises:
            InvalidInputError: What was given is no policy, or neither a dry run nor none.
        """
        started, one = seams.monotonic(), self._pass(policy, checks.flag(dry_run, "dry_run"), on_step)
        with telemetry.operation("recording_maintenance", dry_run=dry_run) as span:
            await self._store.connected()
            for step in (one.soft_delete, one.hard_delete, one.prune_sessions, one.prune_total, one.clean):
                await one.guarded(step.__name__, step)
            report = one.report
            report.duration_ms = round((seams.monotonic() - started) * 1000)
            span.set(**{name: getattr(report, name) for name in _COUNTS}, errors=len(report.errors))
        return report

    async def soft_delete_expired_sessions(self, policy: RetentionPolicy) -> int:
        """Mark the sessions as deleted that are too old, or were not changed for too long; answer how many."""
        one = self._pass(policy)
        await one.soft_delete()
        return one.report.sessions_soft_deleted

    async def hard_delete_expired_sessions(self, policy: RetentionPolicy) -> int:
        """Delete the sessions for good that were marked long enough ago, each as a whole; answer how many.

        Raises:
            JidoError: That of the first session that could not be deleted, when the others have been.
        """
        one = self._pass(policy, raising=True)
        await one.hard_delete()
        return one.report.sessions_hard_deleted

    async def prune_session_events(self, session_id: str, policy: RetentionPolicy) -> int:
        """Delete the events that a session has too many; answer how many."""
        one = self._pass(policy, raising=True)
        await one.prune_session(checks.text(session_id, "session_id"))
        return one.report.events_pruned

    async def prune_total_events(self, policy: RetentionPolicy) -> int:
        """Delete the events that all sessions together have too many, the oldest first; answer how many."""
        one = self._pass(policy)
        await one.prune_total()
        return one.report.events_pruned

    async def clean_orphaned_artifacts(self, policy: RetentionPolicy | None = None) -> int:
        """Delete artifacts, rows and content, whose sessions are gone or that were deleted long enough ago."""
        one = self._pass(policy or RetentionPolicy())
        await one.clean_artifacts()
        return one.report.artifacts_cleaned

    async def health_check(self, *, contents: bool = False, stuck_after: float = 86_400) -> list[HealthIssue]:
        """Look for what should not be; an empty list is a healthy database.

        Args:
            contents: Whether the content of every artifact is read, and its checksum compared.
            stuck_after: Seconds after its start from which a running run without a lease is taken for stuck.
        """
        with telemetry.operation("recording_health_check") as span:
            checks.flag(contents, "contents")
            db = await self._store.connected()
            issues = await health.check(db, self._artifacts, contents, checks.seconds(stuck_after, "stuck_after"))
            span.set(issues=len(issues))
        return issues

    async def repair(self) -> RepairReport:
        """Right what can be righted without guessing: orphans, counters, and runs whose process is gone."""
        with telemetry.operation("recording_repair") as span:
            db = await self._store.connected()
            report = await health.repair(db, self._store, self._artifacts)
            span.set(repaired=len(report.repaired), left=len(report.left))
        return report

    async def recover_runs(
        self, *, pricing: Pricing | None = None, on_corrupt: OnCorrupt | None = None
    ) -> Sequence[Run]:
        """End all running runs whose process gives no sign of life any more; see `recovery.recover_runs`."""
        return await recover_runs(self._store, pricing=pricing, limit=checks.MOST, on_corrupt=on_corrupt)

    def _pass(
        self,
        policy: RetentionPolicy,
        dry_run: bool = False,
        on_step: Callable[[Step], object] | None = None,
        raising: bool = False,
    ) -> Pass:
        if not isinstance(policy, RetentionPolicy):
            raise InvalidInputError.at("policy", "a RetentionPolicy", policy, reason="validation_error")
        return Pass(self._store, self._artifacts, policy, MaintenanceReport(dry_run), on_step, raising)
