"""The steps of the ADK sessions' tables. What is released never changes; a change is a new step of a new version.

The statements are those that Tortoise's `generate_schemas` makes of the models of that version, with the same names of
indexes and constraints, so that either way leads to the same schema. `docs/upgrading/` has a page for each version.
"""

from __future__ import annotations

from jido_tortoise.schema.steps import Family, Guard, Step, all_of, uncompressed

_STATE_1 = (
    "eJztW21v2zYQ/iuEP6WAF3TO0mT7Zqde6yGxh1jdigaBQEu0xUWiFJHKC7r89x0pWa+2IzlOomb8YljHe0jqOR2PPJ2+d/6htm9i+2q/b1/1"
    "g2AqsCCd39D3DsOe/LNaoYs6OAjyzVIk8MxVGLg2od3kUpkr7RkXIbYEtM6xywmIbMKtkAaC+gykLHJdKfQtUKRsIbsxHIJUF0g4WCDsuogT"
    "zgHAkT9HmCEYBHEHh2RfDhIxeh0RU/gLIhwSQhcXlyCmzCZ3MI3kMrgy55S4duEu5WzVf1BQraa4D1TLCXT/u9KX05uZlu9GHitjgnvh+CwF"
    "wT1I6YIwEsL87dxtyxtNeFqK4nmDQIQRSSdsZwKbzHHkihxNMzOTdUxzPDHM6dAwzU4dYhORBTyCUSgTXHHh4TvTJWwhHLjsHR4+xANldMRq"
    "csS/+ucnn/vne6D1Tg7pg21j04+Tpl7c9qA6wQLH3SgjZKzz5cNUoty3ibWa8xRRItymlkD/IpdysQ3xS0HGfPaUvgD1G5j+YzoZy549zq/d"
    "PMF7Z/2vZe5PTicDRY7PxSJUvagOlBDwVPl2xxh+NZRlMktEgS3pMrGomuMjtAjqkdUWKSLLZkmg+8s/b8s4xuhsODX6Z38WLPSxbwxlS09J"
    "70vSvQ8lq6WdoL9HxmckL9G3yXhYNmSqZ3zryDnhSPgm829h9c1zshQvRQ9yzZtf5fxPCmbYurrFoW1WWvyev0632uT1vLIEM7xQRpJsynnm"
    "A8jwhjCxNrzErTViC5GKT4srcRcqjOTCShfdOtRyEEQURBknITylEGdsZBOXwP8umkUCMQCHKHnw10Wei0J8iKAvkyrvScZKr647wFtNbfi9"
    "LIW0C7i48S0sEq3LtTEOhHEvRfce0MWIidXOnUJKfk1ZZZlNQlV7w9tCTuGnX3u9g4Oj3vuDD8eHvxwdHR6/PwZdNd9q09EG3x+MPo3GRtGV"
    "pWBzxGvHPuOVV9Rn22nk4lnmQXVpzkE0y/VYLi5OdYkuojTXdbm+brZ2J4DHV+4fgd8XXLwzyps91vpxbvI4FzctTWguA7diPNl5/I8Ih3OB"
    "44eN9h0pQlNci+JZiJnlVCk2yN2aNTpDvAWKN52UZcqhuymNkR6UTyfjT0v1cm6jyDcJQz8ENu0V2+n1nBdRmvdtefdgGwdH/ebU54Ca/ebs"
    "w/AiyZPUTpvmME9KnP441L9Q3hRbcs68kTFyGJ3F3qk1rIgL34MFRmCZgWnmIlWsdpWdvmKQi/52tqlCtWl26jdUxCeq7TxnFVobaJcGWoR+"
    "xGyY43YWWg3XJtqliQIcCordFTk633cJZmtesGSokjlmAHtbm4DBZHJaMMRgVN7ufjkbDM/3fn5XZLuamRNRyIBFL5Bv5RpSXsFq4usTD6PB"
    "IS4KJC3NaC8hNen1SXd9WLnDiDG5ggtgyqR2syPH2h70AWSnQUCWuHCBvaBqnc1VNAWgLqJpXRFNIf11BzfWyP1ShHa3J7tbm8qZpvGb7M66"
    "gqZle/fxkqZlBZLS3bpYNi1jIthykACRQ7Atq5yo4EnNU+OCpRVFR7rG6NVfU+sao9d+3adrjF6kUEAXYTxfTZGuv2/JwSEkN82iZgLQ1V1b"
    "V3fNaciF2bisrgDT9G9Nvz5FtWXtWX7osMXHPyWoTly0OnGhP/J6s2ZuU1bkC6wJm78jzjS6j2dG1Jnpmb8kRnIQRFmtb4pXJ0p0iqR1mw2d"
    "InntA6ZOkehjfCuCuP6MvsXG0Tusx3ZYD/8Biecdxw=="
)

_INDEX = 'CREATE INDEX IF NOT EXISTS "idx_adk_events_invocat_e8469d" ON {schema}"adk_events" ("invocation_id")'

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

#: Events are deleted with their session, but never changed.
_NEVER_CHANGE = Guard(
    table="adk_events",
    name="adk_events_never_change",
    up={
        "sqlite": (
            """CREATE TRIGGER IF NOT EXISTS "adk_events_never_change" BEFORE UPDATE ON "adk_events"
BEGIN
    SELECT RAISE(ABORT, 'adk_events: events are never updated; append another one');
END""",
        ),
        "postgres": (
            """CREATE OR REPLACE FUNCTION {schema}"adk_events_never_change"() RETURNS trigger
LANGUAGE plpgsql AS $jido$
BEGIN
    RAISE EXCEPTION 'adk_events: events are never updated; append another one';
END
$jido$""",
            # CREATE OR REPLACE TRIGGER would need PostgreSQL 14.
            'DROP TRIGGER IF EXISTS "adk_events_never_change" ON {schema}"adk_events"',
            'CREATE TRIGGER "adk_events_never_change" BEFORE UPDATE ON {schema}"adk_events"'
            ' FOR EACH ROW EXECUTE FUNCTION {schema}"adk_events_never_change"()',
        ),
    },
    down={
        "sqlite": ('DROP TRIGGER IF EXISTS "adk_events_never_change"',),
        "postgres": (
            'DROP TRIGGER IF EXISTS "adk_events_never_change" ON {schema}"adk_events"',
            'DROP FUNCTION IF EXISTS {schema}"adk_events_never_change"()',
        ),
    },
)

_GUARDS = (
    _NEVER_CHANGE,
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
