"""Operations that may find their work done: by `upgrade`, by Aerich or by `generate_schemas`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tortoise.migrations import operations
from tortoise.migrations.schema_editor.base import BaseSchemaEditor
from tortoise.migrations.schema_generator.state import State

from jido_tortoise.probe import compare_columns, read_columns, refuse
from jido_tortoise.schema.ddl import placed
from jido_tortoise.schema.execute import db_of, run_all
from jido_tortoise.schema.families import family_named
from jido_tortoise.schema.steps import Guard, Statements


class CreateTable(operations.CreateModel):
    """CreateModel for a table that may be there; it is left as it is, or refused when it is not ours."""

    async def database_forward(
        self, app_label: str, old_state: State, new_state: State, state_editor: BaseSchemaEditor | None = None
    ) -> None:
        """Make the table unless it is there."""
        if state_editor is None:
            return
        if state_editor.collect_sql or not await self._is_there(state_editor):
            await super().database_forward(app_label, old_state, new_state, state_editor)

    async def _is_there(self, state_editor: BaseSchemaEditor) -> bool:
        meta = self.model._meta
        columns = {meta.db_table: dict.fromkeys(meta.fields_db_projection.values(), 1)}
        db = db_of(state_editor.client.connection_name)
        found = await read_columns(db, columns)
        if found:
            refuse(db, compare_columns(columns, found))
        return bool(found)

    async def database_backward(
        self, app_label: str, old_state: State, new_state: State, state_editor: BaseSchemaEditor | None = None
    ) -> None:
        """Drop the table; not what the host built on it, as Tortoise's CASCADE would."""
        if state_editor is not None:
            await state_editor._run_sql(f'DROP TABLE IF EXISTS "{self.model._meta.db_table}"')


class AddTableField(operations.AddField):
    """AddField for a column that may be there."""

    async def database_forward(
        self, app_label: str, old_state: State, new_state: State, state_editor: BaseSchemaEditor | None = None
    ) -> None:
        """Add the column unless it is there."""
        if state_editor is None:
            return
        if state_editor.collect_sql or not await self._is_there(app_label, new_state, state_editor):
            await super().database_forward(app_label, old_state, new_state, state_editor)

    async def _is_there(self, app_label: str, state: State, state_editor: BaseSchemaEditor) -> bool:
        meta = state.apps.get_model(f"{app_label}.{self.model_name}")._meta
        columns = await read_columns(db_of(state_editor.client.connection_name), [meta.db_table])
        return meta.fields_db_projection[self.name] in {column.name for column in columns.get(meta.db_table, ())}


def guards(family: str, version: int) -> operations.RunPython:
    """Make the guards that came with a version of a family; back, drop them."""
    new = [guard for guard in family_named(family).guards if guard.version == version]
    return operations.RunPython(_running(new, lambda guard: guard.up), _running(new, lambda guard: guard.down))


def _running(
    new: list[Guard], wished: Callable[[Guard], Statements]
) -> Callable[[Any, BaseSchemaEditor], Awaitable[None]]:
    async def run(apps: Any, editor: BaseSchemaEditor) -> None:
        # Not by the editor, which would cut a trigger in two at its semicolon.
        db = db_of(editor.client.connection_name)
        for guard in new:
            await run_all(db, placed(wished(guard)[db.dialect], db.dialect))

    return run
