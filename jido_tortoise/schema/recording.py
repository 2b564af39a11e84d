"""The steps of the tables of recording. What is released never changes; a change is a new step of a new version.

The statements are those that Tortoise's `generate_schemas` makes of the models of that version, with the same names of
indexes and constraints, so that either way leads to the same schema. `docs/upgrading/` has a page for each version.
"""

from __future__ import annotations

from jido_tortoise.database import Dialect
from jido_tortoise.schema.guards import (
    append_only,
    postgres_trigger,
    sqlite_trigger,
    without_postgres_trigger,
    without_sqlite_trigger,
)
from jido_tortoise.schema.steps import Family, Guard, Step, all_of

_STATE_1 = (
    "eJztXF1v2zYU/SuCXtYBXlG4S9OtT07qth7SpEi8tWhRELR0bXGWKJek8rGu/32kPmxRkgVJ8WIl4VtyeQ8lnyNTvOdK/m7/TdwQMXBC5hK6eDri"
    "wYgJMseOsH+3vtsUByD/qEsbWDZercpJakDgmR/jMQ8QThE8hsy4YMlR5tjnIEMucIeRlSAhlVEa+b4Kho5MVNPJWT56WFiEW0saXlErnFvCA2s9"
    "7SvLBR8EuNYVEZ4aI8ziwLmc8Kk6ZkTJtwiQCBcgB5mc8ctXGSbUhWvg6t8v9hJubBn8YqdARFwFdRhgOTPC8eeVsTinOsqiGPVVzb1aojkB39XI"
    "TKaM40jcrOLYsYfZmzhTfegZckI/Cugme3UjPHk2WbrkREUXQIGpU8jRqIhLac9CyQeXAcEiWH9idxNwYY4jX+Ron6FNzEbo9GyKLsZThOwmQqUh"
    "J6RKZEIFjz9/gK+RD3QhPPnv8ODgR3KgDRFJmjriX6Pz43ej8ycy62d1yFBeK8mVdJoODZOxH/EkWOBkmljFDdO6iE0Z11GdmE95XROfpWyY31z1"
    "95n6DdXpVd+C5g3CUNyIYrU2teA3Td/NyvHw2ZVHFEBFQlQLmos4czE3ont2IwBx8k8F10dkMaGimm0NVqBanv19vLQX6iR++W04fP78cPjs+YuX"
    "B78eHh68fPZS5sZnXB46rNHjaPJ2cjrVlVCBwtXugbPkUYC4h4cHL1pd8GWoWWOaXfRcyMQFoBl2lkDbbUrKUMN6O9YZzMuMT+F6y1JTgD0ItmvI"
    "nY4/xatGwPk3P8/pk/ejTzHdwU06cnJ2+jZLz2lwfHJ2VKA+AIHV7rziSg9dcKqJz4MKrLvEEda/lk/4fVzqa9j/4+LstJ79ItGKnJCLBYtniSeI"
    "gxJPBKwVLSz7WsWqK/JajggSwJZVX0MWZUmhT7M/HpY408n78cV09P6DptDr0XSsRobadyOLPnlRUG09ifVxMn1nqX+tz2en46KQ67zpZ1udE45E"
    "iGh4hbCb5yQLZyFN5tQI6SCzjtyBzD3b2d53lZWpNF/mzA4VUHuCK8xcVBoJh+G23PJQMAyKEUzlHdBN2VTnWTYCx5ey+rHrzcIkZ9DUKQSV3t0m"
    "nHpgJVMojxD7fuYC8oF15RHHszADi1AOTLmFmLqZcziwZpGwqAQzK1qpq9zt4ioW3UMOMoM6gGgUzGTK15LtqOdnpWQJl7MXK4YHOWcyZAx8LLaf"
    "Qy55xcJL4iaxmrRtZ1WRotYGLnCw0garglsmM97p3r3Ttj7IrfyPvm0G7qAq0b4ObW7RGtBsxHp3i9ZKz301IPomqulAPASKK+7Wza3bCrAxcDsb"
    "uK1dFeOo/C+OinG4+qUHdzwIMJIVnLqFtlyhSlizQHVeoPJVZdMbch5jbskN29bFSr9547qINJRvpbx/vtt5RO16101lDJp6bnIvfDvHTU1Q9Nt2"
    "8khewUsTWES86hk9OcLKT+Ol+VvHNfNr2wyFqHGn9u5OmcL6Lvvn2Veo+cMKGcJw3IxjQldRRbOupoZYI25VQPTs7r3/+iGMRFslNhAjxS6lAMbC"
    "qvJhuxJrhBHCeBwPVw8RMSqZjmjFOlXnb+g442109jZEuASKIi6LtFbfiQLOfC12a/1phVqblqqOND3VXvdUQVLYReQ8zjzY1meFjXV8JzVnRhnq"
    "tL+rRJs72m4f15YIuV2o8Lje+CHessvLgwp6zBXq/n0XaoR4ffbn0cnY+nA+Pp5cTFJR1otZPKizfD4enRQfHIFL0r5ZmEeZrXTnrbQPmMvb8qzV"
    "q60ayKz2jVb7lDNZ/BG/7dapiDXbp75tn/rXn7xIei12fY8yyxo07VNmrcUY0bVXmU3SvAe5bmikrwUUeoSSDSrStlJ1RnW0+hdEci/hJD1KzNT0"
    "ue6VaUHuvwWZ17wp33mMaY2Z9mNfOC6vMC3orgSbXVkj4k1rpW8VNxVw3a7/m8MYNXbb6MKLqoW/psGSAowO5mcD9i7OvSgc8zLrNUobmXWkkbnX"
    "Mptfh3gMKhtX+45d7d5acBfpi5d2IytunT1oacmh7AXP23lz8fNJwNSrBIAdL/PqfuLpb3q8sgLsQv5XO5KXC4jgLV8t2Oqh9efh8sfmqfmYi/V1"
    "1G7lKkHN8tW5KTcnrLMOZawR4hYvUUYUKlahOgE2GEN8Z+JNxfsoNsmm4n0UMs9D3w+vuj79UEabyrdvau+1+PrxH9w1PS4="
)

_SESSIONS_INDEXES = (
    'CREATE INDEX IF NOT EXISTS "idx_asm_session_status_dcfc33"'
    ' ON {schema}"asm_sessions" ("status", "updated_at", "id")',
    'CREATE INDEX IF NOT EXISTS "idx_asm_session_agent_i_e8d8f9"'
    ' ON {schema}"asm_sessions" ("agent_id", "updated_at", "id")',
    'CREATE INDEX IF NOT EXISTS "idx_asm_session_updated_39cf25" ON {schema}"asm_sessions" ("updated_at", "id")',
    'CREATE INDEX IF NOT EXISTS "idx_asm_session_created_a72afe" ON {schema}"asm_sessions" ("created_at", "id")',
    'CREATE INDEX IF NOT EXISTS "idx_asm_session_deleted_bf28d7" ON {schema}"asm_sessions" ("deleted_at")',
    'CREATE INDEX IF NOT EXISTS "idx_asm_session_parent__f41a8b" ON {schema}"asm_sessions" ("parent_session_id")',
)

_RUNS_INDEXES = (
    'CREATE INDEX IF NOT EXISTS "idx_asm_runs_session_b2d292" ON {schema}"asm_runs" ("session_id", "status")',
    'CREATE INDEX IF NOT EXISTS "idx_asm_runs_session_fe2365" ON {schema}"asm_runs" ("session_id", "started_at", "id")',
    'CREATE INDEX IF NOT EXISTS "idx_asm_runs_status_4c2f6b" ON {schema}"asm_runs" ("status", "started_at", "id")',
    'CREATE INDEX IF NOT EXISTS "idx_asm_runs_provide_3340be" ON {schema}"asm_runs" ("provider", "started_at", "id")',
    'CREATE INDEX IF NOT EXISTS "idx_asm_runs_started_e4535b" ON {schema}"asm_runs" ("started_at", "id")',
)

_EVENTS_INDEXES = (
    'CREATE INDEX IF NOT EXISTS "idx_asm_events_session_b88a4f"'
    ' ON {schema}"asm_events" ("session_id", "type", "sequence_number")',
    'CREATE INDEX IF NOT EXISTS "idx_asm_events_run_id_7173bf"'
    ' ON {schema}"asm_events" ("run_id", "sequence_number", "id")',
    'CREATE INDEX IF NOT EXISTS "idx_asm_events_correla_637f38"'
    ' ON {schema}"asm_events" ("correlation_id", "sequence_number", "id")',
    'CREATE INDEX IF NOT EXISTS "idx_asm_events_provide_56e24c"'
    ' ON {schema}"asm_events" ("provider", "sequence_number", "id")',
    'CREATE INDEX IF NOT EXISTS "idx_asm_events_type_acd02a" ON {schema}"asm_events" ("type", "sequence_number", "id")',
    'CREATE INDEX IF NOT EXISTS "idx_asm_events_type_0493fd" ON {schema}"asm_events" ("type", "timestamp", "id")',
    'CREATE INDEX IF NOT EXISTS "idx_asm_events_timesta_f3ead5" ON {schema}"asm_events" ("timestamp", "id")',
    'CREATE INDEX IF NOT EXISTS "idx_asm_events_sequenc_b7b94d" ON {schema}"asm_events" ("sequence_number", "id")',
)

_ARTIFACTS_INDEXES = (
    'CREATE INDEX IF NOT EXISTS "idx_asm_artifac_key_2fee69" ON {schema}"asm_artifacts" ("key")',
    'CREATE INDEX IF NOT EXISTS "idx_asm_artifac_session_368dd9"'
    ' ON {schema}"asm_artifacts" ("session_id", "created_at", "id")',
    'CREATE INDEX IF NOT EXISTS "idx_asm_artifac_created_4fcfea" ON {schema}"asm_artifacts" ("created_at", "id")',
    'CREATE INDEX IF NOT EXISTS "idx_asm_artifac_run_id_ebcb3f" ON {schema}"asm_artifacts" ("run_id")',
)

_TABLES_SQLITE = (
    """CREATE TABLE IF NOT EXISTS "asm_sessions" (
    "id" VARCHAR(255) NOT NULL PRIMARY KEY,
    "agent_id" VARCHAR(255) NOT NULL,
    "status" VARCHAR(255) NOT NULL,
    "parent_session_id" VARCHAR(255),
    "metadata" TEXT NOT NULL,
    "context" TEXT NOT NULL,
    "tags" TEXT NOT NULL,
    "created_at" TIMESTAMP NOT NULL,
    "updated_at" TIMESTAMP NOT NULL,
    "deleted_at" TIMESTAMP,
    "revision" BIGINT NOT NULL
)""",
    *_SESSIONS_INDEXES,
    """CREATE TABLE IF NOT EXISTS "asm_session_sequences" (
    "session_id" VARCHAR(255) NOT NULL PRIMARY KEY,
    "last_sequence" BIGINT NOT NULL,
    "first_sequence" BIGINT NOT NULL,
    "pruned" BIGINT NOT NULL,
    "created_at" TIMESTAMP NOT NULL,
    "updated_at" TIMESTAMP NOT NULL,
    "followed_until" TIMESTAMP
)""",
    """CREATE TABLE IF NOT EXISTS "asm_runs" (
    "id" VARCHAR(255) NOT NULL PRIMARY KEY,
    "session_id" VARCHAR(255) NOT NULL,
    "status" VARCHAR(255) NOT NULL,
    "input" TEXT,
    "output" TEXT,
    "error" TEXT,
    "metadata" TEXT NOT NULL,
    "turn_count" BIGINT NOT NULL,
    "token_usage" TEXT NOT NULL,
    "started_at" TIMESTAMP NOT NULL,
    "ended_at" TIMESTAMP,
    "provider" VARCHAR(255),
    "provider_metadata" TEXT NOT NULL,
    "cost_usd" REAL,
    "revision" BIGINT NOT NULL,
    "leased_by" VARCHAR(255),
    "leased_until" TIMESTAMP
)""",
    *_RUNS_INDEXES,
    """CREATE TABLE IF NOT EXISTS "asm_events" (
    "id" VARCHAR(255) NOT NULL PRIMARY KEY,
    "type" VARCHAR(255) NOT NULL,
    "timestamp" TIMESTAMP NOT NULL,
    "session_id" VARCHAR(255) NOT NULL,
    "run_id" VARCHAR(255),
    "sequence_number" BIGINT NOT NULL,
    "data" TEXT NOT NULL,
    "metadata" TEXT NOT NULL,
    "schema_version" BIGINT NOT NULL,
    "provider" VARCHAR(255),
    "correlation_id" VARCHAR(255),
    CONSTRAINT "uid_asm_events_session_d680cf" UNIQUE ("session_id", "sequence_number")
)""",
    *_EVENTS_INDEXES,
    """CREATE TABLE IF NOT EXISTS "asm_artifacts" (
    "id" VARCHAR(255) NOT NULL PRIMARY KEY,
    "session_id" VARCHAR(255),
    "run_id" VARCHAR(255),
    "key" VARCHAR(255) NOT NULL,
    "content_type" VARCHAR(255),
    "byte_size" BIGINT NOT NULL,
    "checksum_sha256" VARCHAR(255) NOT NULL,
    "storage_backend" VARCHAR(255) NOT NULL,
    "storage_ref" TEXT NOT NULL,
    "metadata" TEXT NOT NULL,
    "created_at" TIMESTAMP NOT NULL,
    "deleted_at" TIMESTAMP
)""",
    *_ARTIFACTS_INDEXES,
)

_TABLES_POSTGRES = (
    """CREATE TABLE IF NOT EXISTS {schema}"asm_sessions" (
    "id" VARCHAR(255) NOT NULL PRIMARY KEY,
    "agent_id" VARCHAR(255) NOT NULL,
    "status" VARCHAR(255) NOT NULL,
    "parent_session_id" VARCHAR(255),
    "metadata" JSONB NOT NULL,
    "context" JSONB NOT NULL,
    "tags" JSONB NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    "deleted_at" TIMESTAMPTZ,
    "revision" BIGINT NOT NULL
)""",
    *_SESSIONS_INDEXES,
    """CREATE TABLE IF NOT EXISTS {schema}"asm_session_sequences" (
    "session_id" VARCHAR(255) NOT NULL PRIMARY KEY,
    "last_sequence" BIGINT NOT NULL,
    "first_sequence" BIGINT NOT NULL,
    "pruned" BIGINT NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    "followed_until" TIMESTAMPTZ
)""",
    """CREATE TABLE IF NOT EXISTS {schema}"asm_runs" (
    "id" VARCHAR(255) NOT NULL PRIMARY KEY,
    "session_id" VARCHAR(255) NOT NULL,
    "status" VARCHAR(255) NOT NULL,
    "input" JSONB,
    "output" JSONB,
    "error" JSONB,
    "metadata" JSONB NOT NULL,
    "turn_count" BIGINT NOT NULL,
    "token_usage" JSONB NOT NULL,
    "started_at" TIMESTAMPTZ NOT NULL,
    "ended_at" TIMESTAMPTZ,
    "provider" VARCHAR(255),
    "provider_metadata" JSONB NOT NULL,
    "cost_usd" DOUBLE PRECISION,
    "revision" BIGINT NOT NULL,
    "leased_by" VARCHAR(255),
    "leased_until" TIMESTAMPTZ
)""",
    *_RUNS_INDEXES,
    """CREATE TABLE IF NOT EXISTS {schema}"asm_events" (
    "id" VARCHAR(255) NOT NULL PRIMARY KEY,
    "type" VARCHAR(255) NOT NULL,
    "timestamp" TIMESTAMPTZ NOT NULL,
    "session_id" VARCHAR(255) NOT NULL,
    "run_id" VARCHAR(255),
    "sequence_number" BIGINT NOT NULL,
    "data" JSONB NOT NULL,
    "metadata" JSONB NOT NULL,
    "schema_version" BIGINT NOT NULL,
    "provider" VARCHAR(255),
    "correlation_id" VARCHAR(255),
    CONSTRAINT "uid_asm_events_session_d680cf" UNIQUE ("session_id", "sequence_number")
)""",
    *_EVENTS_INDEXES,
    """CREATE TABLE IF NOT EXISTS {schema}"asm_artifacts" (
    "id" VARCHAR(255) NOT NULL PRIMARY KEY,
    "session_id" VARCHAR(255),
    "run_id" VARCHAR(255),
    "key" VARCHAR(255) NOT NULL,
    "content_type" VARCHAR(255),
    "byte_size" BIGINT NOT NULL,
    "checksum_sha256" VARCHAR(255) NOT NULL,
    "storage_backend" VARCHAR(255) NOT NULL,
    "storage_ref" TEXT NOT NULL,
    "metadata" JSONB NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "deleted_at" TIMESTAMPTZ
)""",
    *_ARTIFACTS_INDEXES,
)

_DROP_TABLES = tuple(
    f'DROP TABLE IF EXISTS {{schema}}"{table}"'
    for table in ("asm_artifacts", "asm_events", "asm_runs", "asm_session_sequences", "asm_sessions")
)


# -- what the models cannot express -------------------------------------------------------------------------------


def _belongs(table: str) -> Guard:
    """A row is inserted only under a session that is there, and deleted with it.

    SQLite cannot add a foreign key to a table, and enforces none where the host has switched that off: there it is a
    trigger here, and `_takes_along` is the other half.
    """
    name = f"{table}_of_session"
    missing = (
        f"SELECT RAISE(ABORT, '{name}') WHERE NEW.\"session_id\" IS NOT NULL"
        ' AND NOT EXISTS (SELECT 1 FROM "asm_sessions" WHERE "id" = NEW."session_id")'
    )
    foreign_key = f"""DO $jido$
BEGIN
    ALTER TABLE {{schema}}"{table}" ADD CONSTRAINT "{name}"
        FOREIGN KEY ("session_id") REFERENCES {{schema}}"asm_sessions" ("id") ON DELETE CASCADE;
EXCEPTION WHEN duplicate_object THEN NULL;
END
$jido$"""
    return Guard(
        table=table,
        name=name,
        kind={"sqlite": "trigger", "postgres": "foreign key"},
        up={"sqlite": (sqlite_trigger(name, table, "BEFORE INSERT", missing),), "postgres": (foreign_key,)},
        down={
            "sqlite": (without_sqlite_trigger(name),),
            "postgres": (f'ALTER TABLE IF EXISTS {{schema}}"{table}" DROP CONSTRAINT IF EXISTS "{name}"',),
        },
    )


def _takes_along(parent: str, key: str, *tables: str, everywhere: bool = False) -> Guard:
    """What belongs to a row is deleted with it; on PostgreSQL foreign keys do that, but for what is not `everywhere`.

    A foreign key would cost each append a tenth more. Events need none: an append holds the counter that it numbers
    them by, so that who deletes the counter waits for it, and then finds them.
    """
    name = f"{parent}_takes_along"
    deletes = [f'DELETE FROM {{schema}}"{table}" WHERE "session_id" = OLD."{key}"' for table in tables]
    body = ";\n    ".join(deletes)
    return Guard(
        table=parent,
        name=name,
        up={
            "sqlite": (sqlite_trigger(name, parent, "AFTER DELETE", body),),
            "postgres": postgres_trigger(name, parent, "AFTER DELETE", f"{body};\n    RETURN NULL")
            if everywhere
            else (),
        },
        down={
            "sqlite": (without_sqlite_trigger(name),),
            "postgres": without_postgres_trigger(name, parent) if everywhere else (),
        },
    )


def _index(table: str, name: str, sql: str, *dialects: Dialect) -> Guard:
    made, gone = (sql,), (f'DROP INDEX IF EXISTS {{schema}}"{name}"',)
    return Guard(
        table=table,
        name=name,
        kind={"sqlite": "index", "postgres": "index"},
        up={"sqlite": made if "sqlite" in dialects else (), "postgres": made if "postgres" in dialects else ()},
        down={"sqlite": gone if "sqlite" in dialects else (), "postgres": gone if "postgres" in dialects else ()},
    )


_GUARDS = (
    append_only("asm_events", "events are never updated; append another one"),
    _belongs("asm_session_sequences"),
    _belongs("asm_runs"),
    _belongs("asm_artifacts"),
    _takes_along("asm_sessions", "id", "asm_session_sequences", "asm_runs", "asm_artifacts"),
    _takes_along("asm_session_sequences", "session_id", "asm_events", everywhere=True),
    _index(
        "asm_artifacts",
        "asm_artifacts_live_key",
        'CREATE UNIQUE INDEX IF NOT EXISTS "asm_artifacts_live_key" ON {schema}"asm_artifacts" ("key")'
        ' WHERE "deleted_at" IS NULL',
        "sqlite",
        "postgres",
    ),
    _index(
        "asm_sessions",
        "asm_sessions_tags",
        'CREATE INDEX IF NOT EXISTS "asm_sessions_tags" ON {schema}"asm_sessions" USING gin ("tags")',
        "postgres",
    ),
)

RECORDING = Family(
    name="recording",
    models="jido_tortoise.recording.models",
    steps=(
        Step(
            name="0_init",
            version=1,
            up={"sqlite": _TABLES_SQLITE, "postgres": _TABLES_POSTGRES},
            down={"sqlite": _DROP_TABLES, "postgres": _DROP_TABLES},
            state=_STATE_1,
        ),
        Step(
            name="1_guards",
            version=1,
            up=all_of(_GUARDS),
            down=all_of(_GUARDS, down=True),
            state=_STATE_1,
        ),
    ),
    guards=_GUARDS,
)
