"""The second version."""

from typing import Any

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

from jido_tortoise.migrations.operations import AddTableField, guards


async def fill(apps: Any, editor: Any) -> None:
    """Give the old rows their value."""
    await editor.client.execute_query('UPDATE "jido_threads" SET "cost" = "rev" WHERE "cost" IS NULL')


async def index(apps: Any, editor: Any) -> None:
    """Make the index, which may be there."""
    await editor.client.execute_query(
        'CREATE INDEX IF NOT EXISTS "idx_jido_thread_cost_ce028d" ON "jido_threads" ("cost")'
    )


async def drop_index(apps: Any, editor: Any) -> None:
    """Drop it before its column."""
    await editor.client.execute_query('DROP INDEX IF EXISTS "idx_jido_thread_cost_ce028d"')


class Migration(migrations.Migration):
    """Add the column, its values, its index, and the guard that came with it."""

    dependencies = [("jido_agents", "0001_initial")]  # noqa: RUF012
    operations = [  # noqa: RUF012
        AddTableField("JidoThread", "cost", fields.BigIntField(null=True)),
        ops.RunPython(fill, ops.RunPython.noop),
        ops.RunPython(index, drop_index),
        guards("agents", version=2),
    ]
