"""The steps of the agents' tables. What is released here is never changed; a change is a new step of a new version.

The statements are those that Tortoise's `generate_schemas` makes of the models of that version, with the same names of
indexes and constraints, so that either way leads to the same schema. `docs/upgrading/` has a page for each version.
"""

from __future__ import annotations

from jido_tortoise.schema.guards import append_only, uncompressed
from jido_tortoise.schema.steps import Family, Step, all_of

_STATE_1 = (
    "eJztWltv0zAU/itWnkAaE+rWdfC2TQM2wSZBBUgVstz4tDFN7Mx2Nqqx/47tpG3SG0k7WBF+a87NzneO7c8nvQ++MyowGQLXav/S/D6LIBylgn"
    "EdvEb3AScJmB/rzPZQQNJ0zshKNenHM+dw6uGUpK+0JKEdZUBiBUZEQYWSpZoJbqQ8i2MrFKExZHxoA32JiEZ3RCGlhQSKYqI0yjgFiYCEERrB"
    "eN8Gzzi7yQBrMQQdgTSuvW9GzIzlD1D2sRe4eWI9TsF6pERq5kY2D6EEooFionHiJmvi4oioKDBRer9T68joKWY0+GYHTUd4wCCmFTinHsbAaf"
    "OJGM1ZROQbZ29fvo9DEWcJn/dJxzoSfOpkELJS80Yg7dRKoFoYizxMRDk6RqBlBlNY6ExAYUCyWJeS0MczWYDx1XUXfzrvYhzUSVshCgW3KXcF"
    "YLFIyA8cAx/qyDweHT7k48zQyK3sgJ9PPp69O/n47OjwuR1QmLrJC+uq0LSc6sGFIJrkQVyeK5AvQVtQCFfCvQRpykKNfqKYKb0J4hPBDPJZ8f"
    "8FzNdgfPnp+spGTpS6icvYPvtw8nUe9rP316cOHKH0ULooLoATGn+mnV33/GvXZWWWheqqq1v6c2t1k+IvSntXMlGt/la7XaP8jdXK+ne6KtSV"
    "La0u0hUnD3QtoPPqZLR5Rec+HuZaMM/O1QY4V5w80E2AlnC7iPQpG15wvRbrwm8O7IIp/mNgD+0kXrxqtQ4OOq2XB0fH7cNOp3388tjYugkvqj"
    "prEnJ68fbiqltNhRVU8bcUphFVmTh4rvKoXOUWpFp6fK5bBCWnjVbArqXhaZbAwhWrfgIWXH0aNk5DltJN07Dg6tPQKA22dTAYlW6yVtAn4eiO"
    "SIoXNKIlVtkuqpJWMi8h3DBSWry3nfB8w6frDvdgXU+oMNmr1w/K2cLmvaBuBCgyEZAY5M2f7yKTnMQ1G0ArWzNPRDN3uTnziCxzdX+mMd3chm"
    "f+v/tKeXsfMKk0VnDTDPiKm4d/Y/gT0KQx1y87eb7/qHzfk86dWBaedHrSWWGU51zLcQ3mmds1op/YKCWD7VhoEcMSURLHEx6q9tBdxAwvJRIQ"
    "4wqkKbg9w+JYkgBFhFNEIQYn7GcacbgFiYoKXkVie1Wmac/guW+ORmrnM55+f6zDeZeR3XXrbCnPXbK4Csq6uzT3L25wq5nvrtw4nnqb+/Od7c"
    "ZU15PcbU/z6WbUoLbLPr60a36EbM6WPEvavrxH5m2blPbE3pd13T8xjGNBlkG8+opc8vE35Ee9IUsYLNlj1qRi4uDzsHUenvRu9vALk3tMtg=="
)

_INDEXES = (
    'CREATE INDEX IF NOT EXISTS "idx_jido_checkp_agent_t_c2f489" ON {schema}"jido_checkpoints"'
    ' ("agent_type", "partition", "created_at_ms", "key_hash")',
    'CREATE INDEX IF NOT EXISTS "idx_jido_checkp_created_fab894" ON {schema}"jido_checkpoints"'
    ' ("created_at_ms", "key_hash")',
    'CREATE INDEX IF NOT EXISTS "idx_jido_checkp_thread__ed3cb6" ON {schema}"jido_checkpoints" ("thread_id")',
)

_TABLES_SQLITE = (
    """CREATE TABLE IF NOT EXISTS "jido_checkpoints" (
    "key_hash" VARCHAR(64) NOT NULL PRIMARY KEY,
    "key" TEXT NOT NULL,
    "agent_type" VARCHAR(255),
    "partition" VARCHAR(255),
    "agent_id" VARCHAR(255),
    "thread_id" VARCHAR(255),
    "thread_rev" BIGINT,
    "data" TEXT NOT NULL,
    "version" BIGINT NOT NULL,
    "created_at_ms" BIGINT NOT NULL,
    "updated_at_ms" BIGINT NOT NULL
)""",
    *_INDEXES,
    """CREATE TABLE IF NOT EXISTS "jido_threads" (
    "thread_id" VARCHAR(255) NOT NULL PRIMARY KEY,
    "rev" BIGINT NOT NULL,
    "first_seq" BIGINT NOT NULL,
    "metadata" TEXT NOT NULL,
    "created_at_ms" BIGINT NOT NULL,
    "updated_at_ms" BIGINT NOT NULL
)""",
    """CREATE TABLE IF NOT EXISTS "jido_thread_entries" (
    "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "thread_id" VARCHAR(255) NOT NULL,
    "seq" BIGINT NOT NULL,
    "entry_id" VARCHAR(255) NOT NULL,
    "at_ms" BIGINT NOT NULL,
    "kind" VARCHAR(255) NOT NULL,
    "payload" TEXT NOT NULL,
    "refs" TEXT NOT NULL,
    CONSTRAINT "uid_jido_thread_thread__f82f5a" UNIQUE ("thread_id", "seq"),
    CONSTRAINT "uid_jido_thread_thread__3a4654" UNIQUE ("thread_id", "entry_id")
)""",
)

_TABLES_POSTGRES = (
    """CREATE TABLE IF NOT EXISTS {schema}"jido_checkpoints" (
    "key_hash" VARCHAR(64) NOT NULL PRIMARY KEY,
    "key" JSONB NOT NULL,
    "agent_type" VARCHAR(255),
    "partition" VARCHAR(255),
    "agent_id" VARCHAR(255),
    "thread_id" VARCHAR(255),
    "thread_rev" BIGINT,
    "data" JSONB NOT NULL,
    "version" BIGINT NOT NULL,
    "created_at_ms" BIGINT NOT NULL,
    "updated_at_ms" BIGINT NOT NULL
)""",
    *_INDEXES,
    """CREATE TABLE IF NOT EXISTS {schema}"jido_threads" (
    "thread_id" VARCHAR(255) NOT NULL PRIMARY KEY,
    "rev" BIGINT NOT NULL,
    "first_seq" BIGINT NOT NULL,
    "metadata" JSONB NOT NULL,
    "created_at_ms" BIGINT NOT NULL,
    "updated_at_ms" BIGINT NOT NULL
)""",
    """CREATE TABLE IF NOT EXISTS {schema}"jido_thread_entries" (
    "id" BIGSERIAL NOT NULL PRIMARY KEY,
    "thread_id" VARCHAR(255) NOT NULL,
    "seq" BIGINT NOT NULL,
    "entry_id" VARCHAR(255) NOT NULL,
    "at_ms" BIGINT NOT NULL,
    "kind" VARCHAR(255) NOT NULL,
    "payload" JSONB NOT NULL,
    "refs" JSONB NOT NULL,
    CONSTRAINT "uid_jido_thread_thread__f82f5a" UNIQUE ("thread_id", "seq"),
    CONSTRAINT "uid_jido_thread_thread__3a4654" UNIQUE ("thread_id", "entry_id")
)""",
)

_DROP_TABLES = (
    'DROP TABLE IF EXISTS {schema}"jido_thread_entries"',
    'DROP TABLE IF EXISTS {schema}"jido_threads"',
    'DROP TABLE IF EXISTS {schema}"jido_checkpoints"',
)

_GUARDS = (
    append_only("jido_thread_entries", "entries are never updated; append another one that refers to it"),
    uncompressed("jido_checkpoints", "data"),
)

AGENTS = Family(
    name="agents",
    models="jido_tortoise.agents.models",
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
