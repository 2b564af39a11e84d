"""The tables of ADK sessions, version 1; no label of an app stands here, so that the host may choose it."""

from tortoise import fields, migrations

from jido_tortoise.fields import CodecField
from jido_tortoise.migrations.operations import CreateTable, guards


class Migration(migrations.Migration):
    """Make the tables and their guards."""

    initial = True

    operations = [  # noqa: RUF012 - as Tortoise declares it
        CreateTable(
            name="AdkSession",
            fields=[
                ("pk_id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("app_name", fields.CharField(max_length=255)),
                ("user_id", fields.CharField(max_length=255)),
                ("id", fields.CharField(max_length=255)),
                ("state", CodecField()),
                ("rev", fields.BigIntField()),
                ("first_seq", fields.BigIntField()),
                ("extra", CodecField()),
                ("inserted_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("updated_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "adk_sessions",
                "pk_attr": "pk_id",
                "unique_together": (("app_name", "user_id", "id"),),
                "indexes": [("app_name", "updated_at", "pk_id"), ("user_id", "updated_at", "pk_id")],
            },
            bases=["Model"],
        ),
        CreateTable(
            name="AdkEvent",
            fields=[
                ("pk_id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("app_name", fields.CharField(max_length=255)),
                ("user_id", fields.CharField(max_length=255)),
                ("session_id", fields.CharField(max_length=255)),
                ("seq", fields.BigIntField()),
                ("id", fields.CharField(max_length=255)),
                ("invocation_id", fields.CharField(null=True, max_length=255)),
                ("author", fields.CharField(null=True, max_length=255)),
                ("branch", fields.TextField(null=True, unique=False)),
                ("error_code", fields.TextField(null=True, unique=False)),
                ("error_message", fields.TextField(null=True, unique=False)),
                ("content", CodecField(null=True)),
                ("actions", CodecField()),
                ("custom_metadata", CodecField(null=True)),
                ("usage_metadata", CodecField(null=True)),
                ("citation_metadata", CodecField(null=True)),
                ("grounding_metadata", CodecField(null=True)),
                ("partial", fields.BooleanField()),
                ("turn_complete", fields.BooleanField()),
                ("interrupted", fields.BooleanField()),
                ("long_running_tool_ids", CodecField()),
                ("timestamp", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("extra", CodecField()),
            ],
            options={
                "table": "adk_events",
                "pk_attr": "pk_id",
                "unique_together": (
                    ("app_name", "user_id", "session_id", "seq"),
                    ("app_name", "user_id", "session_id", "id"),
                ),
                "indexes": [("invocation_id",)],
            },
            bases=["Model"],
        ),
        CreateTable(
            name="AdkAppState",
            fields=[
                ("app_name", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=255)),
                ("state", CodecField()),
                ("updated_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={"table": "adk_app_states", "pk_attr": "app_name"},
            bases=["Model"],
        ),
        CreateTable(
            name="AdkUserState",
            fields=[
                ("pk_id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("app_name", fields.CharField(max_length=255)),
                ("user_id", fields.CharField(max_length=255)),
                ("state", CodecField()),
                ("updated_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={"table": "adk_user_states", "pk_attr": "pk_id", "unique_together": (("app_name", "user_id"),)},
            bases=["Model"],
        ),
        guards("adk", version=1),
    ]
