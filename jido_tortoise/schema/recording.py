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
    "eJztXGtv2zYU/SuCvqwDvKBwl8fWT07qth7yKBJvLVoUBC1dW5wlyiWpPNb1v4/Uw3pakBQvVhJ+Sy7voeVzJIr3XMnfzb+J7SMGls9s"
    "Qhd7I+6NmCBzbAnzd+O7SbEH8o+6tIFh4tWqnKQGBJ65IR5zD+EYwUPIjAsWfcocuxxkyAZuMbISxKcySgPXVUHfkolqOjnLRwcLg3Bj"
    "Sf0bavhzQzhgrKd9bdjgggDbuCHCUWOEGRw4lxPuqc8MKPkWABL+AuQgkzN++SrDhNpwC1z9+8Vcwp0pg1/MGIiIraAWAyxnRjj8vjIW"
    "5lRHWRCivqq5V0s0J+DaOTKjKcM4EnerMHbiYPY2zFRfeoYs3w08mmav7oQjjyZJl5yo6AIoMHUIGRoVcTHtSSj64jIgWADrb2ynARvm"
    "OHBFhvYZSmMmQucXU3Q1niJkNhEqDlk+VSITKnj4/T18i1ygC+HIf4f7+z+iD0qJiNLUJ/41ujx5P7p8IbN+Vh/py3MlOpPO46FhNPYj"
    "nAQLHE0TqpgynRexKeN5VCfmY17XxCcpKfPpWf+YqU+pjs/6FjSnCE1xI4rV2tSC3zh9OyvH02dXfqIAKiKiWtBcxOmTuRHdszsBiJN/"
    "Krg+JosJFdVs52AFquXRP8ZTe6EO4pffhsNXrw6HL18dHO3/eni4f/TySOaGR1weOqzR43jybnI+zSuhAoWz3QFryQMPcQcP9w9anfBl"
    "qF5jmp30XMjEBaAZtpZA221KylDNejvWGczLjE/hdsNSU4A9CbZryJ2OP4Wrhsf5NzfL6Yuz0aeQbu8uHjm9OH+XpGc0ODm9OC5Q74HA"
    "andecab7NljVxGdBBdZtYgnjX8Ml/DEu9TXs/3F1cV7PfpFoRY7PxYKFs4QThEGJJwLWihaW/VzFmlfkjRwRxIMNq34OWZQlhu4lfzwt"
    "caaTs/HVdHT2IafQm9F0rEaGuWsjib44KKi2nsT4OJm+N9S/xueL83FRyHXe9LOpjgkHwkfUv0HYznKShJNQTubYCOkgcx65BZl7trN9"
    "7CorU2m+zJgdKqD2BDeY2ag04g/9TbnlIW/oFSOYyjugHbOpjrNsBI6vZfVj1puFUc6gqVMIKr27TTh1wIimUB4hdt3EBeQD48YhlmNg"
    "BgahHJhyCzG1E+dwYMwCYVAJZkawUme53cVVLLqHHGQGtQDRwJvJlK8l2zGfn5SSJVzZmExNlMpkyTADF4vNxzJIjcsV86+JHcVq0tSF"
    "zwX2Vtnghnztge7cA23rZ9zLx+jbTf0Bqovc5dDmVpsD6g1V7261uRJyV42EvomqOwlPgeKKu3VzC7YCrI3YzkZsa3dEOyP/izOinap+"
    "6cEtBzyMZCWmbqEtV6gSVi9QnReobFXY9IacxehbcsP2c7FSb96ALiI15Rsp759/dhlQs949UxmDpt6Z3AvfzzlTExR9s608WlfwxAQW"
    "Aa+ytOQIKz9VF+dvHM+ZV5tmKES1O7Vzd0oX1g/ZB08uoeYPHSQIzXEzjgldBRVNt5oaYo24VwHRs7v37usHPxBtlUghWoptSgGM+VXl"
    "w2Yl1ggthPY4nq4eImBUMh3QinWqzt/I47S30dnbEP4SKAq4LNJaXRMFnL4stmv95Qq1Ni3VPFL3VHvdUwVJYReRszj9gFqfFdbW8YPU"
    "nAllqNP+rhKt72jbfexaIuR2ocLjeuv6eMMuLwsq6DFXqMd3LdQI8ebiz+PTsfHhcnwyuZrEoqwXs3Awz/LleHRafHAErkn7ZmEWpbfS"
    "nbfSLmAub8uzVq+o5kB6tW+02secyeKPuG23TkWs3j71bfvUv/7kVdRrMet7lEnWoGmfMmkthoiuvcpkkuY9yHVDI368v9AjlGxQEbeV"
    "qjOqo9W/BJJ5mSbqUWKmps90r3QLcvctyKzmTfnOYnRrTLcf+8JxeYVpQXclWO/KGhGvWyt9q7ipgNt2/d8MRqux3UYXXlQt/DUNlhig"
    "ddCv/+9cnEdROGZlztcobWTOI7XMvZZZ/8rDc1BZu9oP7Gr31oK7il+8NBtZcevsQUtLDiUveN7PmwufTwKmXiUAbDmJV/cTj3+b47Xh"
    "YRuyv74RvVxABG/5asFGD60/D5c/N0/NxVysz6N2K1cJqpevzk25OWGddShjtRD3eIkyoFCxCtUJkGI08Z2J1xXvs9gk64r3Wcg8913X"
    "v+n69EMZrSvfvqm90+Lrx3/uaCyO"
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
    'CREATE INDEX IF NOT EXISTS "idx_asm_events_session_73a6e4"'
    ' ON {schema}"asm_events" ("session_id", "run_id", "sequence_number")',
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
