"""The tables of agents, version 1; no label of an app stands here, so that the host may choose it."""

from tortoise import fields, migrations

from jido_tortoise.fields import CodecField
from jido_tortoise.migrations.operations import CreateTable, guards


class Migration(migrations.Migration):
    """Make the tables and their guards."""

    initial = True

    operations = [  # noqa: RUF012 - as Tortoise declares it
        CreateTable(
            name="JidoCheckpoint",
            fields=[
                ("key_hash", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=64)),
                ("key", CodecField()),
                ("agent_type", fields.CharField(null=True, max_length=255)),
                ("partition", fields.CharField(null=True, max_length=255)),
                ("agent_id", fields.CharField(null=True, max_length=255)),
                ("thread_id", fields.CharField(null=True, max_length=255)),
                ("thread_rev", fields.BigIntField(null=True)),
                ("data", CodecField()),
                ("version", fields.BigIntField()),
                ("created_at_ms", fields.BigIntField()),
                ("updated_at_ms", fields.BigIntField()),
            ],
            options={
                "table": "jido_checkpoints",
                "pk_attr": "key_hash",
                "indexes": [
                    ("agent_type", "partition", "created_at_ms", "key_hash"),
                    ("created_at_ms", "key_hash"),
                    ("thread_id",),
                ],
            },
            bases=["Model"],
        ),
        CreateTable(
            name="JidoThread",
            fields=[
                ("thread_id", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=255)),
                ("rev", fields.BigIntField()),
                ("first_seq", fields.BigIntField()),
                ("metadata", CodecField()),
                ("created_at_ms", fields.BigIntField()),
                ("updated_at_ms", fields.BigIntField()),
            ],
            options={"table": "jido_threads", "pk_attr": "thread_id"},
            bases=["Model"],
        ),
        CreateTable(
            name="JidoThreadEntry",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("thread_id", fields.CharField(max_length=255)),
                ("seq", fields.BigIntField()),
                ("entry_id", fields.CharField(max_length=255)),
                ("at_ms", fields.BigIntField()),
                ("kind", fields.CharField(max_length=255)),
                ("payload", CodecField()),
                ("refs", CodecField()),
            ],
            options={
                "table": "jido_thread_entries",
                "pk_attr": "id",
                "unique_together": (("thread_id", "seq"), ("thread_id", "entry_id")),
            },
            bases=["Model"],
        ),
        guards("agents", version=1),
    ]
