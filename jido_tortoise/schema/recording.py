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
    "eJztXFtv2zYU/iuCXpYBXlG4S9OtT07qth7SpIi9tWgQELR0bHGWKJekclmX/z5SF1s3C5LixXLCN/vwfJT8HYrk+Q7lH+bfxPYRA8tnNqHzFwPu"
    "DZggM2wJ83fjh0mxB/JDlVvPMPFyWXRSDQJP3RCPuYdwjOAhZMoFi64ywy4HabKBW4wsBfGptNLAdZXRt6Sj6k728sXBwiDcWFD/hhr+zBAOGKtu"
    "3xo2uCDANm6IcFQbYQYHzmWHL9Q1A0q+B4CEPwfZyGSPl1fSTKgNt8DV10tzAXemNF6aMRARW0EtBlj2jHD4e6Ut9Cm3siBEXam+lws0I+DaGTKj"
    "LkM7EnfL0HbiYPY+9FQ/eoos3w08uvZe3glH3k3iLjlR1jlQYOoWUjQq4mLaE1P0w6VBsABWv9heG2yY4cAVKdqnaG0zETo7n6DxcIKQWSdQscny"
    "qQoyoYKHv9/Dt8gFOheO/No/PLyPLrQmInJTV/xrcHHycXBxIL1+Vpf05ViJRtJZ3NSP2u7DTrDAUTdhFNdMZ4NYl/EsqhXzMa8r4hOXNfPrUb/P"
    "1K+pjkd9A5rXCE1xLYrV3NSA39h9OzPH02dXXlEAFRFRDWjO4/RgrkX39E4A4uSfEq6PyXxERTnbGViOann3+zi05+omfvmt33/16qj/8tXrN4e/"
    "Hh0dvnn5RvqGd1xsOqqIx/How+hsko2EMuRGuwPWggce4g7uH75uNOCLUD3H1Bv0XEjHOaApthZAm21KilDNejPWGcyKjE/gdsNUk4M9CbYryJ0M"
    "v4azhsf5dzfN6cGnwdeQbu8ubjk9P/uQuKdicHJ6fpyj3gOB1e68ZKT7NljlxKdBOdZtYgnjX8MlfB+n+gr2/xifn1WznydakeNzMWdhL2EHoVHi"
    "iYBVRHPTfiZjzUbknWwRxIMNs34GmQ9LDH2RfHhawZmMPg3Hk8Gnz5kIvRtMhqqln3k2EuvB61zUVp0YX0aTj4b6anw7PxvmA7nym3wz1T3hQPiI"
    "+jcI22lOEnNiyoQ5FkJahDmL3EKYO7az3fcoK1FptkiJHcqg9gQ3mNmo0OL3/U2+xSav7+UtmMoV0I7ZVPdZFAKH1zL7MavFwsinV1cpBOXeXiac"
    "OGBEXSiNELtuogLynnHjEMsxMAODUA5MqYWY2oly2DOmgTCoBDMjWKpRbrdRFfPqIQfpQS1ANPCm0uWqIDtm/ZNUsoBLyYslzb2UMukzBi4Wm+8h"
    "5bxk/jWxI1uFm3rgucDeMm3c4K+1z51rn011jAfpF11bzB8hq8g8Dk2W2AxQb6Q6t8RmUsddFRC6FlRdQXgKFJes1vWl1xKwFmBbC7CNVRGtiPwv"
    "iohWqLoVD2454GEkMzC1hDacoQpYPUG1nqDSWWHdBTmN0UtyzbJzPlOvX3jOIzXlGynvnm52EVCzWjVTHr26mpncCz9MMVMd5PWyrRypy2lhAouA"
    "l52xky2seJou9t/YnhGvNvWQs2p1aufqlE6sH7P+nTxC9Q8bJAjNcT2OCV0GJcW2ihxihXhQAtGx1Xv3+YMfiKaRWEN0KLYZCmDML0sfNkdihdCB"
    "0BrH042HCBiVTAe0ZJ6q0jeyOK1ttNY2hL8AigIuk7RGz0QOpx+L7Up/mUStSUk1i9Q11U7XVEFS2CbIaZw+mNblCGvp+FFyzoQy1Gp/V4rWK9p2"
    "j1tLhNwulGhc710fb9jlpUG5eMwUav+ehYpAvDv/8/h0aHy+GJ6MxqM4KKvJLGzMsnwxHJzmD47ANWleLEyj9Fa69VbaBczlsjxt9GpqBqRn+1qz"
    "fcyZTP6I23TrlMfq7VPXtk/dq0+Oo1qLWV2jTLx6deuUSWkxRLStVSad1K9Brgoa8bH+XI1QskFFXFYq9yi3lv8DSOolmqhGiZnqPlW90iXI3Zcg"
    "0zGvy3cao0tjuvzYFY6LM0wDukvBeldWi3hdWulaxk0F3Dar/6YwOhrbLXThednEX1FgiQE6Dvq1/50HZy8Sx3SYszlKkzBnkTrMnQ6z/neH5xBl"
    "rWo/sqrdWQluHL94adaS4lbevYaSHEpe8HyYNheeTwKmXiUAbDmJVvcTj/+T463hYRvS/7oRvVxABG/4asFGDa07h8ufm6bmYi5W46jZzFWA6umr"
    "dVFuRljrOBSxOhAPeIkyoFAyC1UFYI3RxLcmXme8z2KTrDPeZxHmme+6/k3b0w9FtM58uxbtnSZf9/8Bk8spKw=="
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
