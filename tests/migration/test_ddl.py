"""The DDL of a version: complete, frozen, harmless when repeated, and ours alone."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from jido_tortoise.errors import InvalidInputError
from jido_tortoise.schema import ddl, latest, statements, verify
from jido_tortoise.schema.families import FAMILIES
from tests.conftest import opened
from tests.migration.catalog import snapshot
from tests.migration.hosts import Place

#: Of each released version, for ever. A failure here means: undo that change, and make a new version.
FROZEN = {
    ("agents", "sqlite", 1): "bc70015697a2fe3f",
    ("agents", "postgres", 1): "eeb41c346d4bad4b",
    ("adk", "sqlite", 1): "ad2fbdf15a309bb9",
    ("adk", "postgres", 1): "0f7d73f093e23b0f",
    ("recording", "sqlite", 1): "ad55bcd56fa64983",
    ("recording", "postgres", 1): "7d116a01ef5d8d1c",
}

OURS = {"jido_checkpoints", "jido_threads", "jido_thread_entries"}


@pytest.mark.parametrize(("family", "dialect", "version"), FROZEN)
def test_a_version_never_changes(family: str, dialect: Any, version: int) -> None:
    """A migration that a host wrote last year does the same today."""
    both = ddl(family, dialect, version=version) + ddl(family, dialect, version=version, down=True)
    assert sha256(both.encode()).hexdigest()[:16] == FROZEN[family, dialect, version]


def test_every_version_is_frozen() -> None:
    """A new version is entered in the list above."""
    for name in FAMILIES:
        assert {version for family, _, version in FROZEN if family == name} == set(range(1, latest(name) + 1))


async def test_the_script_makes_what_verify_expects(place: Place) -> None:
    """What the text says is what the library needs."""
    async with opened(place.url, tables=False) as db:
        await db.client.execute_script(ddl("agents", place.dialect, version=1))
        await verify()
    assert place.tables() >= OURS


async def test_statements_do_the_same_one_by_one(place: Place, tmp_path: Any) -> None:
    """A tool that takes no scripts gets the same tables."""
    async with opened(place.url, tables=False) as db:
        for sql in statements("agents", place.dialect, version=1):
            await db.client.execute_query(sql)
        await verify()


async def test_repeating_does_no_harm(place: Place) -> None:
    """Both directions are idempotent, and rows survive a repeated up."""
    async with opened(place.url) as db:
        place.rows("INSERT INTO jido_threads VALUES ('t', 0, 0, '{}', 1, 1)")
        before = snapshot(place)
        await db.client.execute_script(ddl("agents", place.dialect, version=1))
        assert snapshot(place) == before
        assert place.rows("SELECT thread_id FROM jido_threads") == [("t",)]
        for _ in range(2):
            await db.client.execute_script(ddl("agents", place.dialect, version=1, down=True))


async def test_going_down_leaves_the_host_alone(place: Place) -> None:
    """Only our tables, triggers and functions are dropped, never a table or function of the host."""
    async with opened(place.url) as db:
        place.rows("CREATE TABLE shop_products (id INT)")
        await db.client.execute_script(ddl("agents", place.dialect, version=1, down=True))
        assert place.tables() == {"shop_products"}
        assert not any(snapshot(place).values())


async def test_m3_m5_a_schema_of_its_own(pg_place: Place) -> None:
    """M3, M5: the schema is made with its quotes doubled, every name in it is qualified, and going down keeps it."""
    sql = ddl("agents", "postgres", version=1, schema='jido"tenant')
    assert sql.startswith('CREATE SCHEMA IF NOT EXISTS "jido""tenant";')
    async with opened(pg_place.url, tables=False) as db:
        await db.client.execute_script(sql)
        await verify(schema='jido"tenant')
        count = "SELECT count(*) FROM pg_tables WHERE schemaname = 'jido\"tenant'"
        assert pg_place.rows(count) == [(3,)]
        assert pg_place.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
        await db.client.execute_script(ddl("agents", "postgres", version=1, schema='jido"tenant', down=True))
        assert pg_place.rows(count) == [(0,)]
        assert pg_place.rows("SELECT count(*) FROM pg_namespace WHERE nspname = 'jido\"tenant'") == [(1,)]


def test_m1_the_version_is_required() -> None:
    """M1: a migration must say which version it means."""
    with pytest.raises(TypeError, match="version"):
        ddl("agents", "postgres")  # type: ignore[call-arg]


@pytest.mark.parametrize("version", [99, 0, -1, True, "1", None, 1.0])
def test_m2_an_unknown_version_is_refused(version: Any) -> None:
    """M2: the message names the versions that there are."""
    with pytest.raises(InvalidInputError, match="version: expected one of 1, got"):
        ddl("agents", "postgres", version=version)


def test_m4_sqlite_has_no_schemas() -> None:
    """M4: a schema on SQLite is refused rather than forgotten (Ecto's adapter ignores it)."""
    with pytest.raises(InvalidInputError, match="schema: expected None on SQLite"):
        ddl("agents", "sqlite", version=1, schema="jido")


@pytest.mark.parametrize("given", [{"family": "asm"}, {"family": None}, {"dialect": "mysql"}, {"dialect": None}])
def test_what_is_not_known_is_refused(given: dict[str, Any]) -> None:
    """A wrong name is an error that lists the right ones."""
    with pytest.raises(InvalidInputError, match=r"agents|sqlite or postgres"):
        ddl(**{"family": "agents", "dialect": "sqlite", "version": 1, **given})


@pytest.mark.parametrize("schema", ["", "a\0b", "s" * 64, "ä" * 32, 7])
def test_a_schema_that_postgres_would_not_take_as_it_is(schema: Any) -> None:
    """PostgreSQL cuts a long name silently, and then nobody finds the tables."""
    with pytest.raises(InvalidInputError, match="schema"):
        ddl("agents", "postgres", version=1, schema=schema)
