"""The tables of recording, version 1; no label of an app stands here, so that the host may choose it."""

from tortoise import fields, migrations

from jido_tortoise.fields import CodecField
from jido_tortoise.migrations.operations import CreateTable, guards


class Migration(migrations.Migration):
    """Make the tables and their guards."""

    initial = True

    operations = [  # noqa: RUF012 - as Tortoise declares it
        CreateTable(
            name="AsmSession",
            fields=[
                ("id", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=255)),
                ("agent_id", fields.CharField(max_length=255)),
                ("status", fields.CharField(max_length=255)),
                ("parent_session_id", fields.CharField(null=True, max_length=255)),
                ("metadata", CodecField()),
                ("context", CodecField()),
                ("tags", CodecField()),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("updated_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("deleted_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("revision", fields.BigIntField()),
            ],
            options={
                "table": "asm_sessions",
                "pk_attr": "id",
                "indexes": [
                    ("status", "updated_at", "id"),
                    ("agent_id", "updated_at", "id"),
                    ("updated_at", "id"),
                    ("created_at", "id"),
                    ("deleted_at",),
                    ("parent_session_id",),
                ],
            },
            bases=["Model"],
        ),
        CreateTable(
            name="AsmSessionSequence",
            fields=[
                ("session_id", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=255)),
                ("last_sequence", fields.BigIntField()),
                ("first_sequence", fields.BigIntField()),
                ("pruned", fields.BigIntField()),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("updated_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("followed_until", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={"table": "asm_session_sequences", "pk_attr": "session_id"},
            bases=["Model"],
        ),
        CreateTable(
            name="AsmRun",
            fields=[
                ("id", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=255)),
                ("session_id", fields.CharField(max_length=255)),
                ("status", fields.CharField(max_length=255)),
                ("input", CodecField(null=True)),
                ("output", CodecField(null=True)),
                ("error", CodecField(null=True)),
                ("metadata", CodecField()),
                ("turn_count", fields.BigIntField()),
                ("token_usage", CodecField()),
                ("started_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("ended_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("provider", fields.CharField(null=True, max_length=255)),
                ("provider_metadata", CodecField()),
                ("cost_usd", fields.FloatField(null=True)),
                ("revision", fields.BigIntField()),
                ("leased_by", fields.CharField(null=True, max_length=255)),
                ("leased_until", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "asm_runs",
                "pk_attr": "id",
                "indexes": [
                    ("session_id", "status"),
                    ("session_id", "started_at", "id"),
                    ("status", "started_at", "id"),
                    ("provider", "started_at", "id"),
                    ("started_at", "id"),
                ],
            },
            bases=["Model"],
        ),
        CreateTable(
            name="AsmEvent",
            fields=[
                ("id", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=255)),
                ("type", fields.CharField(max_length=255)),
                ("timestamp", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("session_id", fields.CharField(max_length=255)),
                ("run_id", fields.CharField(null=True, max_length=255)),
                ("sequence_number", fields.BigIntField()),
                ("data", CodecField()),
                ("metadata", CodecField()),
                ("schema_version", fields.BigIntField()),
                ("provider", fields.CharField(null=True, max_length=255)),
                ("correlation_id", fields.CharField(null=True, max_length=255)),
            ],
            options={
                "table": "asm_events",
                "pk_attr": "id",
                "unique_together": (("session_id", "sequence_number"),),
                "indexes": [
                    ("session_id", "type", "sequence_number"),
                    ("run_id", "sequence_number", "id"),
                    ("correlation_id", "sequence_number", "id"),
                    ("provider", "sequence_number", "id"),
                    ("type", "sequence_number", "id"),
                    ("type", "timestamp", "id"),
                    ("timestamp", "id"),
                    ("sequence_number", "id"),
                ],
            },
            bases=["Model"],
        ),
        CreateTable(
            name="AsmArtifact",
            fields=[
                ("id", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=255)),
                ("session_id", fields.CharField(null=True, max_length=255)),
                ("run_id", fields.CharField(null=True, max_length=255)),
                ("key", fields.CharField(max_length=255)),
                ("content_type", fields.CharField(null=True, max_length=255)),
                ("byte_size", fields.BigIntField()),
                ("checksum_sha256", fields.CharField(max_length=255)),
                ("storage_backend", fields.CharField(max_length=255)),
                ("storage_ref", fields.TextField(unique=False)),
                ("metadata", CodecField()),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("deleted_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "asm_artifacts",
                "pk_attr": "id",
                "indexes": [("key",), ("session_id", "created_at", "id"), ("created_at", "id"), ("run_id",)],
            },
            bases=["Model"],
        ),
        guards("recording", version=1),
    ]
