"""The steps of the ADK sessions' tables. What is released never changes; a change is a new step of a new version.

The statements are those that Tortoise's `generate_schemas` makes of the models of that version, with the same names of
indexes and constraints, so that either way leads to the same schema. `docs/upgrading/` has a page for each version.
"""

from __future__ import annotations

from jido_tortoise.schema.guards import append_only, uncompressed
from jido_tortoise.schema.steps import Family, Step, all_of

_STATE_1 = (
    "eJztW21v2zYQ/iuEP6WAF3TO0mT7Zqde6yGxh1jdigaBQEu0xUUiFYnKC7r89x0pWe92JMdJ3IxfDOt4D0k9p+ORp9P3zj/U5ia2r/b79lXf"
    "96cCC9L5DX3vMOzJP/UKXdTBvp9vliKBZ67CwLUJ7WYolUOlPQtFgC0BrXPshgRENgmtgPqCcgZSFrmuFHILFClbyG4MhyDVBRIOFgi7LgpJ"
    "GAIgRHyOMEMwCAodHJB9OUjE6HVETMEXRDgkgC4uLkFMmU3uYBrJpX9lzilx7cJdytmq/6CgWk1x76uWE+j+d6UvpzczLe5GHitj/HvhcJaC"
    "4B6kdEEYCWD+du625Y0mPC1F8bxBIIKIpBO2M4FN5jhyRY6mmZnJOqY5nhjmdGiYZqcJsYnIAh7BKJSJUHHh4TvTJWwhHLjsHR4+xANldMRq"
    "csS/+ucnn/vne6D1Tg7Jwbax6cdJUy9ue1CdYIHjbpQRMtbD5cNUopzbxKrnPEWUCLepJdC/yKWh2IT4pSBjPntKX4D6NUz/MZ2MZc9eGF67"
    "eYL3zvpfy9yfnE4GihweikWgelEdKCHgqfLtjjH8aijLZJaIfFvSZWJRNcdHaBHUI/UWKSLLZkmg+8s/b8s4xuhsODX6Z38WLPSxbwxlS09J"
    "70vSvQ8lq6WdoL9HxmckL9G3yXhYNmSqZ3zryDnhSHCT8VtYffOcLMVL0YNc8+ZXOf+Tghm2rm5xYJuVFt7jq3SrTV7PK0swwwtlJMmmnGc+"
    "gAxvCBMrw0vc2iC2EKn4tLgSd6HCSC6sdNGtQy0HQURBlIUkgKcU4oyNbOIS+N9Fs0ggBuAAJQ/+qshzUYgPEfRlUuU9yVjp1XUHeGuoDb+X"
    "pZB2ARc33MIi0bpcGeNAGPdSdO8BXYyYqHfuFFLya8oqy2wSqnY3vC3kFH76tdc7ODjqvT/4cHz4y9HR4fH7Y9BV8602Ha3x/cHo02hsFF1Z"
    "CtZHvN3YZ7zyivpsO41cPMs8qCnNOYhmuRnLxcWpKdFFlOa6KdfX7dbuBPD4yv0j8PuCi3dGebvHWj/ObR7n4qalDc1l4EaMJzuP/xHhcC5w"
    "eNBq35EiNMWNKJ4FmFlOlWKD3K1YozPEW6B43UlZphy669IY6UH5dDL+tFQv5zaKfJMg4AGwaddsp1dzXkRp3jfl3YNtHBz121OfA2r227MP"
    "w4skT9I4bZrDPClx+uNQ/0J5U2zJOYetjJHD6Cz2Vq1hRaHgHiwwAssMTDsXqWK1q2z1FYNc9DezTRWqTbNVv6EiPlFt5jl1aG2gbRpoEfCI"
    "2TDHzSxUD9cm2qaJfBwIit2aHB3nLsFsxQuWDFUyxwxgb2sTMJhMTguGGIzK290vZ4Ph+d7P74psVzNzIgoYsOj58q1cS8orWE18c+JhNDjE"
    "Rb6kpR3tJaQmvTnpLoeVO4gYkyu4AKZMarc7cqzsQR9AthoEZIlLKLDnV62zvoqmANRFNDtXRFNIf93BjbVyvxSh3e3J7rZL5UzT+E12Z1VB"
    "07K9+3hJ07ICSeluXCybljERbDlIgMgh2JZVTlSESc1T64Kl2qKjgm6xBFDVDKmaplwntTq6VOnV33brUqXXfmuoS5VepN5A13I8X2mSLuPf"
    "kfNHQG7aRc0EoIvENi4Sm9MgFGbr6rwCTNO/Mf36MLYra8/ye4kNviEqQXX+Y6fzH/pbsTdr5l1KrnyBNWH958iZRvfxBIs6Mz3zB8lIDoIo"
    "a/Rpcn2+pZxp0SmSV99s6BTJax8wdYpEH+N3Iojrr/F32Dh6h/XYDuvhPyQzNLs="
)

_INDEX = 'CREATE INDEX IF NOT EXISTS "idx_adk_events_invocat_e8469d" ON {schema}"adk_events" ("invocation_id")'

_SESSION_INDEXES = (
    'CREATE INDEX IF NOT EXISTS "idx_adk_session_app_nam_3c7ddc"'
    ' ON {schema}"adk_sessions" ("app_name", "updated_at", "pk_id")',
    'CREATE INDEX IF NOT EXISTS "idx_adk_session_user_id_873814"'
    ' ON {schema}"adk_sessions" ("user_id", "updated_at", "pk_id")',
)

_TABLES_SQLITE = (
    """CREATE TABLE IF NOT EXISTS "adk_sessions" (
    "pk_id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "app_name" VARCHAR(255) NOT NULL,
    "user_id" VARCHAR(255) NOT NULL,
    "id" VARCHAR(255) NOT NULL,
    "state" TEXT NOT NULL,
    "rev" BIGINT NOT NULL,
    "first_seq" BIGINT NOT NULL,
    "extra" TEXT NOT NULL,
    "inserted_at" TIMESTAMP NOT NULL,
    "updated_at" TIMESTAMP NOT NULL,
    CONSTRAINT "uid_adk_session_app_nam_50ff43" UNIQUE ("app_name", "user_id", "id")
)""",
    *_SESSION_INDEXES,
    """CREATE TABLE IF NOT EXISTS "adk_events" (
    "pk_id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "app_name" VARCHAR(255) NOT NULL,
    "user_id" VARCHAR(255) NOT NULL,
    "session_id" VARCHAR(255) NOT NULL,
    "seq" BIGINT NOT NULL,
    "id" VARCHAR(255) NOT NULL,
    "invocation_id" VARCHAR(255),
    "author" VARCHAR(255),
    "branch" TEXT,
    "error_code" TEXT,
    "error_message" TEXT,
    "content" TEXT,
    "actions" TEXT NOT NULL,
    "custom_metadata" TEXT,
    "usage_metadata" TEXT,
    "citation_metadata" TEXT,
    "grounding_metadata" TEXT,
    "partial" INT NOT NULL,
    "turn_complete" INT NOT NULL,
    "interrupted" INT NOT NULL,
    "long_running_tool_ids" TEXT NOT NULL,
    "timestamp" TIMESTAMP NOT NULL,
    "extra" TEXT NOT NULL,
    CONSTRAINT "uid_adk_events_app_nam_9606a5" UNIQUE ("app_name", "user_id", "session_id", "seq"),
    CONSTRAINT "uid_adk_events_app_nam_6b8855" UNIQUE ("app_name", "user_id", "session_id", "id")
)""",
    _INDEX,
    """CREATE TABLE IF NOT EXISTS "adk_app_states" (
    "app_name" VARCHAR(255) NOT NULL PRIMARY KEY,
    "state" TEXT NOT NULL,
    "updated_at" TIMESTAMP NOT NULL
)""",
    """CREATE TABLE IF NOT EXISTS "adk_user_states" (
    "pk_id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "app_name" VARCHAR(255) NOT NULL,
    "user_id" VARCHAR(255) NOT NULL,
    "state" TEXT NOT NULL,
    "updated_at" TIMESTAMP NOT NULL,
    CONSTRAINT "uid_adk_user_st_app_nam_b4f25c" UNIQUE ("app_name", "user_id")
)""",
)

_TABLES_POSTGRES = (
    """CREATE TABLE IF NOT EXISTS {schema}"adk_sessions" (
    "pk_id" BIGSERIAL NOT NULL PRIMARY KEY,
    "app_name" VARCHAR(255) NOT NULL,
    "user_id" VARCHAR(255) NOT NULL,
    "id" VARCHAR(255) NOT NULL,
    "state" JSONB NOT NULL,
    "rev" BIGINT NOT NULL,
    "first_seq" BIGINT NOT NULL,
    "extra" JSONB NOT NULL,
    "inserted_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    CONSTRAINT "uid_adk_session_app_nam_50ff43" UNIQUE ("app_name", "user_id", "id")
)""",
    *_SESSION_INDEXES,
    """CREATE TABLE IF NOT EXISTS {schema}"adk_events" (
    "pk_id" BIGSERIAL NOT NULL PRIMARY KEY,
    "app_name" VARCHAR(255) NOT NULL,
    "user_id" VARCHAR(255) NOT NULL,
    "session_id" VARCHAR(255) NOT NULL,
    "seq" BIGINT NOT NULL,
    "id" VARCHAR(255) NOT NULL,
    "invocation_id" VARCHAR(255),
    "author" VARCHAR(255),
    "branch" TEXT,
    "error_code" TEXT,
    "error_message" TEXT,
    "content" JSONB,
    "actions" JSONB NOT NULL,
    "custom_metadata" JSONB,
    "usage_metadata" JSONB,
    "citation_metadata" JSONB,
    "grounding_metadata" JSONB,
    "partial" BOOL NOT NULL,
    "turn_complete" BOOL NOT NULL,
    "interrupted" BOOL NOT NULL,
    "long_running_tool_ids" JSONB NOT NULL,
    "timestamp" TIMESTAMPTZ NOT NULL,
    "extra" JSONB NOT NULL,
    CONSTRAINT "uid_adk_events_app_nam_9606a5" UNIQUE ("app_name", "user_id", "session_id", "seq"),
    CONSTRAINT "uid_adk_events_app_nam_6b8855" UNIQUE ("app_name", "user_id", "session_id", "id")
)""",
    _INDEX,
    """CREATE TABLE IF NOT EXISTS {schema}"adk_app_states" (
    "app_name" VARCHAR(255) NOT NULL PRIMARY KEY,
    "state" JSONB NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL
)""",
    """CREATE TABLE IF NOT EXISTS {schema}"adk_user_states" (
    "pk_id" BIGSERIAL NOT NULL PRIMARY KEY,
    "app_name" VARCHAR(255) NOT NULL,
    "user_id" VARCHAR(255) NOT NULL,
    "state" JSONB NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    CONSTRAINT "uid_adk_user_st_app_nam_b4f25c" UNIQUE ("app_name", "user_id")
)""",
)

_DROP_TABLES = tuple(
    f'DROP TABLE IF EXISTS {{schema}}"{table}"'
    for table in ("adk_user_states", "adk_app_states", "adk_events", "adk_sessions")
)

_GUARDS = (
    append_only("adk_events", "events are never updated; append another one"),
    uncompressed("adk_sessions", "state"),
    uncompressed("adk_app_states", "state"),
    uncompressed("adk_user_states", "state"),
)

ADK = Family(
    name="adk",
    models="jido_tortoise.adk.models",
    steps=(
        Step(
            name="0_init",
            version=1,
            up={"sqlite": _TABLES_SQLITE, "postgres": _TABLES_POSTGRES},
            down={"sqlite": _DROP_TABLES, "postgres": _DROP_TABLES},
            state=_STATE_1,
        ),
        Step(name="1_guards", version=1, up=all_of(_GUARDS), down=all_of(_GUARDS, down=True), state=_STATE_1),
    ),
    guards=_GUARDS,
)
