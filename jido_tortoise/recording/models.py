"""The tables of recording as Tortoise models, for the host's own queries; the stores themselves write SQL.

Read through them as you like. What is saved through them is checked as the values of `entities` are; numbers of events
come from the store alone.
"""

from __future__ import annotations

from typing import Any, ClassVar

from tortoise import fields
from tortoise.models import Model

from jido_tortoise.fields import CodecField
from jido_tortoise.recording import entities


class _Checked(Model):
    """Whose rows are refused by `save` and `create` when they are none of ours."""

    # Tortoise would make database comments of what is written here for readers, and each rewording a schema change.
    _no_comments = True
    #: The value that a row is.
    _entity: ClassVar[type[Any]]
    #: The columns that the value does not have.
    _beside: ClassVar[frozenset[str]] = frozenset()

    async def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the row.

        Raises:
            InvalidRecordError: It is not what it must be; `path` says where.
        """
        names = self._meta.fields_map.keys() - self._beside
        values = {name: getattr(self, name) for name in names}
        # What a newer version stored may be saved again, but nobody makes an unknown status.
        if not self._saved_in_db and "revision" in values:
            values["revision"] = 0
        self._entity(**values)
        await super().save(*args, **kwargs)

    class Meta:
        abstract = True


class AsmSession(_Checked):
    """The sessions."""

    _no_comments = True
    _entity = entities.Session

    id = fields.CharField(max_length=255, primary_key=True)
    agent_id = fields.CharField(max_length=255)
    status = fields.CharField(max_length=255)
    parent_session_id = fields.CharField(max_length=255, null=True)
    metadata = CodecField()
    context = CodecField()
    #: A JSON array of texts.
    tags = CodecField()
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()
    #: When it was deleted softly.
    deleted_at = fields.DatetimeField(null=True)
    #: 1 after the first write, one more after each.
    revision = fields.BigIntField()

    class Meta:
        table = "asm_sessions"
        indexes = (
            ("status", "updated_at", "id"),
            ("agent_id", "updated_at", "id"),
            ("updated_at", "id"),
            ("created_at", "id"),
            ("deleted_at",),
            ("parent_session_id",),
        )


class AsmRun(_Checked):
    """The runs of all sessions; deleted with their session."""

    _no_comments = True
    _entity = entities.Run
    _beside = frozenset({"leased_by", "leased_until"})

    id = fields.CharField(max_length=255, primary_key=True)
    session_id = fields.CharField(max_length=255)
    status = fields.CharField(max_length=255)
    input = CodecField(null=True)
    output = CodecField(null=True)
    error = CodecField(null=True)
    metadata = CodecField()
    turn_count = fields.BigIntField()
    #: Numbers by name.
    token_usage = CodecField()
    started_at = fields.DatetimeField()
    ended_at = fields.DatetimeField(null=True)
    provider = fields.CharField(max_length=255, null=True)
    provider_metadata = CodecField()
    #: US dollars.
    cost_usd = fields.FloatField(null=True)
    #: 1 after the first write, one more after each.
    revision = fields.BigIntField()
    #: Who executes it, and until when that is believed without another sign of life.
    leased_by = fields.CharField(max_length=255, null=True)
    leased_until = fields.DatetimeField(null=True)

    class Meta:
        table = "asm_runs"
        indexes = (
            ("session_id", "status"),
            ("session_id", "started_at", "id"),
            ("status", "started_at", "id"),
            ("provider", "started_at", "id"),
            ("started_at", "id"),
        )


class AsmEvent(_Checked):
    """The events of all sessions, which are inserted and deleted, but never updated; deleted with their session."""

    _no_comments = True
    _entity = entities.Event

    #: Unique among the events of all sessions.
    id = fields.CharField(max_length=255, primary_key=True)
    type = fields.CharField(max_length=255)
    timestamp = fields.DatetimeField()
    session_id = fields.CharField(max_length=255)
    run_id = fields.CharField(max_length=255, null=True)
    #: Its number in the session, from 1; only pruning leaves gaps.
    sequence_number = fields.BigIntField()
    data = CodecField()
    metadata = CodecField()
    schema_version = fields.BigIntField()
    provider = fields.CharField(max_length=255, null=True)
    correlation_id = fields.CharField(max_length=255, null=True)

    class Meta:
        table = "asm_events"
        unique_together = (("session_id", "sequence_number"),)
        indexes = (
            ("session_id", "type", "sequence_number"),
            # A run is of one session: who knows the run needs no session to find its events.
            ("run_id", "sequence_number", "id"),
            ("correlation_id", "sequence_number", "id"),
            ("provider", "sequence_number", "id"),
            # In both orders, since a type that is rare over all sessions is found in neither of the two below.
            ("type", "sequence_number", "id"),
            ("type", "timestamp", "id"),
            ("timestamp", "id"),
            ("sequence_number", "id"),
        )


class AsmSessionSequence(Model):
    """The counter of each session's events; made and deleted with its session."""

    _no_comments = True

    session_id = fields.CharField(max_length=255, primary_key=True)
    #: The number of the event that was appended last; never lowered.
    last_sequence = fields.BigIntField()
    #: The number of the first event that was not trimmed away.
    first_sequence = fields.BigIntField()
    #: How many events were pruned.
    pruned = fields.BigIntField()
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()
    #: Until when appends are to notify those who follow.
    followed_until = fields.DatetimeField(null=True)

    class Meta:
        table = "asm_session_sequences"


class AsmArtifact(_Checked):
    """What is known of the artifacts; deleted with their session."""

    _no_comments = True
    _entity = entities.Artifact

    id = fields.CharField(max_length=255, primary_key=True)
    session_id = fields.CharField(max_length=255, null=True)
    run_id = fields.CharField(max_length=255, null=True)
    #: Unique among those that are not deleted softly.
    key = fields.CharField(max_length=255)
    content_type = fields.CharField(max_length=255, null=True)
    byte_size = fields.BigIntField()
    checksum_sha256 = fields.CharField(max_length=255)
    storage_backend = fields.CharField(max_length=255)
    storage_ref = fields.TextField()
    metadata = CodecField()
    created_at = fields.DatetimeField()
    deleted_at = fields.DatetimeField(null=True)

    class Meta:
        table = "asm_artifacts"
        indexes = (("key",), ("session_id", "created_at", "id"), ("created_at", "id"), ("run_id",))


MODELS: tuple[type[Model], ...] = (AsmSession, AsmRun, AsmEvent, AsmSessionSequence, AsmArtifact)

for _model in MODELS:
    _model._meta.table_description = ""  # it came from the docstring: see `_no_comments`

#: By table, its columns and the version of the schema that each came with.
COLUMNS: dict[str, dict[str, int]] = {
    model._meta.db_table: dict.fromkeys(model._meta.fields_db_projection.values(), 1) for model in MODELS
}
