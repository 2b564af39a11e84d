"""The steps of the agents' tables. What is released here is never changed; a change is a new step of a new version.

The statements are those that Tortoise's `generate_schemas` makes of the models of that version, with the same names of
indexes and constraints, so that either way leads to the same schema. `docs/upgrading/` has a page for each version.
"""

from __future__ import annotations

from jido_tortoise.schema.steps import Family, Guard, Step

_STATE_1 = (
    "eJztWttu2zgQ/RVCTy2QLQrn2r4lQdpNsZsArbFbICgIWhxbrCVSIamkRpt/L0nJtmTJiuQkjYvyzZqZw8uZIXVI+XvwlVGByQS4Vq8+mN+nEY"
    "TTVDCug7foe8BJAuZHW9gOCkiargRZqyajeAkOFwjnJCOlJQltL2MSKzAmCiqULNVMcIv6PyIa3RKFlBYSKIqJ0ijjFCQCEkZoCrNXtiUqQtMU"
    "45M+oIyz6wywFhPQEUgDvfpizMxEfgNlH68CNxOsZylYREqkZm5s5iGUQDRQTDRO3HRMuzgiKgpMK1f3uXVk/BQzGnyxnaZTPGYQ0wrhC4QJcN"
    "58IMZzGhH5zsXbyY9wKOIs4auYdKYjwRcgw5C1mhmBtEMr0c6zOC4yNTfl7BiDlhksaKFLA4UxyWKbPIvOx7G0BRhfXA7xp7MhxkEtsXNEKW2F"
    "KRTcFoUrEctFQr7hGPhER+bxYO8u72fJRh5lO/zv+OPp38cfXxzsvbQdClNZeeldFJ6Bc925JogmeSMuzxXKG9gWFMK1dDcwTVmo0Q8UM6U3YX"
    "xuWFK+XB6/gPMWjj98urywLSdKXcdlbl/8e/x5lfbTfy5PHDlC6Yl0rbgGnNHgmXZxw7PPQ5eVZRaqq65r6a+s1U2KvyjtbclEtfoH+/sdyt9E"
    "ra1/56tSXdnSujJdAXmiOxGdVyej/Ss6x3iaO9G8fK/24LkC8kT3IVrCTZ3pEzY557qV6wK3QnahJX8zsid2EH+9GQx2dw8Hr3cPjvb3Dg/3j1"
    "4fmVg34LrrsCUhJ+fvzy+G1VRYQ5V/K2F6SZU5wGuVR9UqNyBV4+uzbRGUQButgG1Lw/MsgdoRq3sCalCfho3TkKV00zTUoD4NvdJgrw7G09JJ"
    "1hpGJJzeEklxzSMGYl1s3ZUMklUL4UaR0mLedsCrV0JD93IP2m6NipCdbjdGuVroeFs0jABFJhyJcX7T81VkkpO4fkXUGnn/vdDaG5tnUp/bfG"
    "fziOJz/bVNbxX6EPn552435V1/zKTSWMF1P+IrME//xvQnoEnvI0AZ5I8Bj3oM8Fp0K5aF16Jei1aE5hnXctZBkOZxvVQpNk7JoIc4LQBWdZI4"
    "notOtYNuI2ZEKJGAGFcgTXXtGMnGkgQoIpwiCjE44yjTiMMNSFSUa7O2faqOGqTxVVW/2jf7ygdOY7XjmS0+dnZR0k0Sum31NqrnhiVbCOHtFc"
    "+/cNtcr6e35Rzz3Jvn01+j9xbQXjo/VCMsNqMetV3G+NLu+MWzvwbz2uvh5T01s+1T2vN4X9Zd/zExiwVponj9wbuE8efuRz13Sxg37DEtqZgD"
    "fB4enIdnPfHd/QSuin39"
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

#: A journal is append-only: entries are trimmed and deleted, but never changed.
_NEVER_CHANGE = Guard(
    table="jido_thread_entries",
    trigger="jido_thread_entries_never_change",
    up={
        "sqlite": (
            """CREATE TRIGGER IF NOT EXISTS "jido_thread_entries_never_change" BEFORE UPDATE ON "jido_thread_entries"
BEGIN
    SELECT RAISE(ABORT, 'jido_thread_entries: entries are never updated; append another one that refers to it');
END""",
        ),
        "postgres": (
            """CREATE OR REPLACE FUNCTION {schema}"jido_thread_entries_never_change"() RETURNS trigger
LANGUAGE plpgsql AS $jido$
BEGIN
    RAISE EXCEPTION 'jido_thread_entries: entries are never updated; append another one that refers to it';
END
$jido$""",
            # CREATE OR REPLACE TRIGGER would need PostgreSQL 14.
            'DROP TRIGGER IF EXISTS "jido_thread_entries_never_change" ON {schema}"jido_thread_entries"',
            'CREATE TRIGGER "jido_thread_entries_never_change" BEFORE UPDATE ON {schema}"jido_thread_entries"'
            ' FOR EACH ROW EXECUTE FUNCTION {schema}"jido_thread_entries_never_change"()',
        ),
    },
    down={
        "sqlite": ('DROP TRIGGER IF EXISTS "jido_thread_entries_never_change"',),
        "postgres": (
            'DROP TRIGGER IF EXISTS "jido_thread_entries_never_change" ON {schema}"jido_thread_entries"',
            'DROP FUNCTION IF EXISTS {schema}"jido_thread_entries_never_change"()',
        ),
    },
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
        Step(name="1_guards", version=1, up=_NEVER_CHANGE.up, down=_NEVER_CHANGE.down, state=_STATE_1),
    ),
    guards=(_NEVER_CHANGE,),
)
