"""The frozen SQL of every version: what was once released never changes.

A new version is a new entry in `_STEPS`, and brings only what it adds. Every step may be run twice.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from jido_tortoise.database import Dialect
from jido_tortoise.errors import InvalidInputError
from jido_tortoise.journal.statements import qualified

Family = Literal["agents"]


class Step(NamedTuple):
    """What a version adds to the one before it, and how to take it away again."""

    up: dict[Dialect, str]
    down: dict[Dialect, str]


_AGENTS_1_SQLITE = """
CREATE TABLE IF NOT EXISTS "jido_checkpoints" (
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
);
CREATE INDEX IF NOT EXISTS "idx_jido_checkp_agent_t_c2f489"
    ON "jido_checkpoints" ("agent_type", "partition", "created_at_ms", "key_hash");
CREATE INDEX IF NOT EXISTS "idx_jido_checkp_created_fab894" ON "jido_checkpoints" ("created_at_ms", "key_hash");
CREATE INDEX IF NOT EXISTS "idx_jido_checkp_thread__ed3cb6" ON "jido_checkpoints" ("thread_id");
CREATE TABLE IF NOT EXISTS "jido_threads" (
    "thread_id" VARCHAR(255) NOT NULL PRIMARY KEY,
    "rev" BIGINT NOT NULL,
    "first_seq" BIGINT NOT NULL,
    "metadata" TEXT NOT NULL,
    "created_at_ms" BIGINT NOT NULL,
    "updated_at_ms" BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS "jido_thread_entries" (
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
);
CREATE TRIGGER IF NOT EXISTS "jido_thread_entries_never_change" BEFORE UPDATE ON "jido_thread_entries"
BEGIN
    SELECT RAISE(ABORT, 'jido_thread_entries: entries are never updated; append another one that refers to it');
END;
"""

_AGENTS_1_POSTGRES = """
CREATE TABLE IF NOT EXISTS {schema}"jido_checkpoints" (
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
);
CREATE INDEX IF NOT EXISTS "idx_jido_checkp_agent_t_c2f489"
    ON {schema}"jido_checkpoints" ("agent_type", "partition", "created_at_ms", "key_hash");
CREATE INDEX IF NOT EXISTS "idx_jido_checkp_created_fab894" ON {schema}"jido_checkpoints" ("created_at_ms", "key_hash");
CREATE INDEX IF NOT EXISTS "idx_jido_checkp_thread__ed3cb6" ON {schema}"jido_checkpoints" ("thread_id");
CREATE TABLE IF NOT EXISTS {schema}"jido_threads" (
    "thread_id" VARCHAR(255) NOT NULL PRIMARY KEY,
    "rev" BIGINT NOT NULL,
    "first_seq" BIGINT NOT NULL,
    "metadata" JSONB NOT NULL,
    "created_at_ms" BIGINT NOT NULL,
    "updated_at_ms" BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS {schema}"jido_thread_entries" (
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
);
CREATE OR REPLACE FUNCTION {schema}"jido_thread_entries_never_change"() RETURNS trigger LANGUAGE plpgsql AS $jido$
BEGIN
    RAISE EXCEPTION 'jido_thread_entries: entries are never updated; append another one that refers to it';
END
$jido$;
DROP TRIGGER IF EXISTS "jido_thread_entries_never_change" ON {schema}"jido_thread_entries";
CREATE TRIGGER "jido_thread_entries_never_change" BEFORE UPDATE ON {schema}"jido_thread_entries"
    FOR EACH ROW EXECUTE FUNCTION {schema}"jido_thread_entries_never_change"();
"""

_AGENTS_1_DOWN_SQLITE = """
DROP TABLE IF EXISTS "jido_thread_entries";
DROP TABLE IF EXISTS "jido_threads";
DROP TABLE IF EXISTS "jido_checkpoints";
"""

_AGENTS_1_DOWN_POSTGRES = """
DROP TABLE IF EXISTS {schema}"jido_thread_entries";
DROP FUNCTION IF EXISTS {schema}"jido_thread_entries_never_change"();
DROP TABLE IF EXISTS {schema}"jido_threads";
DROP TABLE IF EXISTS {schema}"jido_checkpoints";
"""

#: family -> its steps; version n is the n-th.
_STEPS: dict[str, tuple[Step, ...]] = {
    "agents": (
        Step(
            up={"sqlite": _AGENTS_1_SQLITE, "postgres": _AGENTS_1_POSTGRES},
            down={"sqlite": _AGENTS_1_DOWN_SQLITE, "postgres": _AGENTS_1_DOWN_POSTGRES},
        ),
    ),
}


def ddl(family: str, dialect: str, *, version: int, schema: str | None = None, down: bool = False) -> str:
    """Answer the SQL that makes a family's tables of that version from nothing, or takes them away; safe to run twice.

    For a host's own migration, which freezes the version in its history.

    Args:
        family: "agents".
        dialect: "sqlite" or "postgres".
        version: Required, so that a new release of this library never changes an old migration.
        schema: A PostgreSQL schema, made when it is not there (and never dropped).
        down: The SQL that takes them away.

    Raises:
        InvalidInputError: No such family, dialect or version; or a schema on SQLite.
    """
    steps = _steps(family)[:version] if _is_version(family, version) else ()
    if dialect not in ("sqlite", "postgres"):
        raise InvalidInputError.at("dialect", '"sqlite" or "postgres"', dialect)
    if schema is not None and dialect == "sqlite":
        raise InvalidInputError.at("schema", "None on SQLite, which has no schemas", schema)
    kind: Dialect = "sqlite" if dialect == "sqlite" else "postgres"
    parts = [step.down[kind] for step in reversed(steps)] if down else [step.up[kind] for step in steps]
    if schema is not None and not down:
        parts.insert(0, f"CREATE SCHEMA IF NOT EXISTS {qualified(schema)[:-1]};\n")
    return "".join(parts).replace("{schema}", qualified(schema))


def latest(family: str) -> int:
    """Answer the newest version of a family's tables."""
    return len(_steps(family))


def _steps(family: str) -> tuple[Step, ...]:
    if family not in _STEPS:
        raise InvalidInputError.at("family", f"one of {', '.join(sorted(_STEPS))}", family)
    return _STEPS[family]


def _is_version(family: str, version: object) -> bool:
    known = range(1, latest(family) + 1)
    if isinstance(version, bool) or version not in known:
        raise InvalidInputError.at("version", f"one of {', '.join(map(str, known))}", version)
    return True
