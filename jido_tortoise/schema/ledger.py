"""Aerich's own table, which lists the applied steps: we read and write it as Aerich does, so that either may go on."""

from __future__ import annotations

import base64
import json
import zlib

from jido_tortoise.database import Db
from jido_tortoise.journal.statements import qualified
from jido_tortoise.probe import Columns, compare_columns, read_columns, refuse
from jido_tortoise.schema.ddl import placed
from jido_tortoise.schema.execute import run, run_all
from jido_tortoise.schema.steps import Family, Statements, Step

_COLUMNS: Columns = {"aerich": dict.fromkeys(("version", "app", "content"), 1)}

MAKE: Statements = {
    "sqlite": (
        """CREATE TABLE IF NOT EXISTS "aerich" (
    "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "version" VARCHAR(255) NOT NULL,
    "app" VARCHAR(100) NOT NULL,
    "content" JSON NOT NULL
)""",
    ),
    "postgres": (
        """CREATE TABLE IF NOT EXISTS {schema}"aerich" (
    "id" SERIAL NOT NULL PRIMARY KEY,
    "version" VARCHAR(255) NOT NULL,
    "app" VARCHAR(100) NOT NULL,
    "content" JSONB NOT NULL
)""",
    ),
}


async def applied(db: Db, app: str) -> set[str]:
    """Answer the names of the steps that are listed for an app."""
    if not await _is_there(db):
        return set()
    rows = await run(db, f'SELECT "version" FROM {qualified(db.schema)}"aerich" WHERE "app" = $1', [app])
    return {version.removesuffix(".py") for (version,) in rows}


async def enlist(db: Db, app: str, family: Family, steps: list[Step]) -> None:
    """List steps as applied; the table is made when it is not there."""
    if not steps:
        return
    if not await _is_there(db):
        await run_all(db, placed(MAKE[db.dialect], db.dialect, db.schema))
    content = "$3::text::jsonb" if db.dialect == "postgres" else "$3"
    sql = f'INSERT INTO {qualified(db.schema)}"aerich" ("version", "app", "content") VALUES ($1, $2, {content})'
    for step in steps:
        await run(db, sql, [f"{step.name}.py", app, describe(family, step, app)])


async def _is_there(db: Db) -> bool:
    found = await read_columns(db, _COLUMNS)
    if found:
        refuse(db, compare_columns(_COLUMNS, found))
    return bool(found)


def describe(family: Family, step: Step, app: str) -> str:
    """Give Aerich's description of the models after a step, as JSON, for the label that the host chose."""
    models = json.loads(zlib.decompress(base64.b64decode(step.state)))
    named = {name.replace(family.label, app, 1): {**model, "app": app} for name, model in models.items()}
    return json.dumps({name: {**model, "name": name} for name, model in named.items()})


def packed(description: str) -> str:
    """Put a description into the form that Aerich's files have it in."""
    return base64.b64encode(zlib.compress(description.encode())).decode()
