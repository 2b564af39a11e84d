"""A version 2 of the agents' schema that only the tests have: a column with a value for old rows, an index, a guard.

It is entered where a real one would be, and nowhere else: the models, the frozen steps, a file for each tool.
"""

from __future__ import annotations

from dataclasses import replace

from tortoise import fields
from tortoise.models import Model

from jido_tortoise.agents.models import COLUMNS as COLUMNS_1
from jido_tortoise.agents.models import JidoCheckpoint, JidoThreadEntry
from jido_tortoise.fields import CodecField
from jido_tortoise.schema.agents import AGENTS
from jido_tortoise.schema.families import FAMILIES
from jido_tortoise.schema.steps import AddColumn, Family, Guard, Step


class JidoThread(Model):
    """The head of each journal, with what it cost."""

    _no_comments = True

    thread_id = fields.CharField(max_length=255, primary_key=True)
    rev = fields.BigIntField()
    first_seq = fields.BigIntField()
    metadata = CodecField()
    created_at_ms = fields.BigIntField()
    updated_at_ms = fields.BigIntField()
    #: Null or with a default, as every column must be that an older release does not write.
    cost = fields.BigIntField(null=True)

    class Meta:
        table = "jido_threads"
        indexes = (("cost",),)


JidoThread._meta.table_description = ""
MODELS = (JidoCheckpoint, JidoThread, JidoThreadEntry)
COLUMNS = {**COLUMNS_1, "jido_threads": {**COLUMNS_1["jido_threads"], "cost": 2}}

_INDEX = 'CREATE INDEX IF NOT EXISTS "idx_jido_thread_cost_ce028d" ON {schema}"jido_threads" ("cost")'
_COLUMN = AddColumn("jido_threads", "cost", "BIGINT")
_FILL = 'UPDATE {schema}"jido_threads" SET "cost" = "rev" WHERE "cost" IS NULL'

_NEVER_BACK = Guard(
    table="jido_threads",
    name="jido_threads_never_back",
    up={
        "sqlite": (
            'CREATE TRIGGER IF NOT EXISTS "jido_threads_never_back" BEFORE UPDATE ON "jido_threads"'
            " WHEN new.rev < old.rev BEGIN SELECT RAISE(ABORT, 'jido_threads: revisions never go back'); END",
        ),
        "postgres": (
            'CREATE OR REPLACE FUNCTION {schema}"jido_threads_never_back"() RETURNS trigger LANGUAGE plpgsql AS $jido$'
            " BEGIN IF new.rev < old.rev THEN RAISE EXCEPTION 'jido_threads: revisions never go back'; END IF;"
            " RETURN new; END $jido$",
            'DROP TRIGGER IF EXISTS "jido_threads_never_back" ON {schema}"jido_threads"',
            'CREATE TRIGGER "jido_threads_never_back" BEFORE UPDATE ON {schema}"jido_threads"'
            ' FOR EACH ROW EXECUTE FUNCTION {schema}"jido_threads_never_back"()',
        ),
    },
    down={
        "sqlite": ('DROP TRIGGER IF EXISTS "jido_threads_never_back"',),
        "postgres": (
            'DROP TRIGGER IF EXISTS "jido_threads_never_back" ON {schema}"jido_threads"',
            'DROP FUNCTION IF EXISTS {schema}"jido_threads_never_back"()',
        ),
    },
    version=2,
)

_DROP_COLUMN = (
    'DROP INDEX IF EXISTS {schema}"idx_jido_thread_cost_ce028d"',
    'ALTER TABLE {schema}"jido_threads" DROP COLUMN "cost"',
)

AGENTS_2: Family = replace(
    AGENTS,
    models="tests.migration.ext.two",
    steps=(
        *AGENTS.steps,
        Step(
            name="2_cost",
            version=2,
            up={
                dialect: (_COLUMN, _FILL, _INDEX, *_NEVER_BACK.up[dialect])
                for dialect in ("sqlite", "postgres")  # type: ignore[misc]
            },
            down={
                dialect: (*_NEVER_BACK.down[dialect], *_DROP_COLUMN)
                for dialect in ("sqlite", "postgres")  # type: ignore[misc]
            },
            state=AGENTS.steps[-1].state,
        ),
    ),
    guards=(*AGENTS.guards, _NEVER_BACK),
)


def install() -> None:
    """Make this process one of a release that has version 2."""
    FAMILIES["agents"] = AGENTS_2
