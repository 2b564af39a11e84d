"""`verify` and the storage's first look: what is wrong is named, with what cures it, and nothing is touched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tortoise.context import TortoiseContext
from tortoise.transactions import in_transaction

from jido_tortoise import probe
from jido_tortoise.agents.models import COLUMNS, JidoCheckpoint, JidoThread
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.database import resolve
from jido_tortoise.errors import AppNotRegisteredError, ConfigError, NotInitialisedError, SchemaError
from jido_tortoise.schema import ddl, verify
from tests.conftest import Database, opened
from tests.migration.hosts import Place

UPGRADE = r"run `jido-tortoise upgrade -c your\.settings\.TORTOISE_ORM`"


@pytest.fixture
async def empty(place: Place) -> AsyncIterator[Database]:
    """Initialise Tortoise on an empty database."""
    async with opened(place.url, tables=False) as database:
        yield database


@pytest.fixture
async def right(place: Place) -> AsyncIterator[Database]:
    """Initialise Tortoise on a database that has our tables."""
    async with opened(place.url) as database:
        yield database


async def look(schema: str | None = None) -> None:
    """Do what the storage does before its first statement."""
    await probe.check(resolve(None, JidoCheckpoint, schema=schema), COLUMNS)


async def refusal(check: Any = verify, **arguments: Any) -> SchemaError:
    """Answer the error that a check raises."""
    with pytest.raises(SchemaError) as caught:
        await check(**arguments)
    return caught.value


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [verify, look])
@pytest.mark.usefixtures("empty")
async def test_missing_tables(check: Any) -> None:
    """All of them are named, and the command that makes them."""
    error = await refusal(check)
    assert (error.reason, error.tables) == ("schema_missing", sorted(COLUMNS))
    for table in COLUMNS:
        assert f"there is no table {table}" in str(error)
    assert "connection 'default'" in str(error)
    with pytest.raises(SchemaError, match=UPGRADE):
        await check()


@pytest.mark.parametrize("check", [verify, look])
async def test_one_missing_table(right: Database, check: Any) -> None:
    """Only that one is named."""
    await right.client.execute_query("DROP TABLE jido_threads")
    assert (await refusal(check)).tables == ["jido_threads"]


@pytest.mark.parametrize("check", [verify, look])
@pytest.mark.parametrize("kind", ["table", "view"])
async def test_a_foreign_table_is_named_and_not_used(right: Database, check: Any, kind: str) -> None:
    """A `jido_threads` of somebody else, with the columns that it has; the cure is another place, not an upgrade."""
    await right.client.execute_query("DROP TABLE jido_threads")
    made = (
        "TABLE jido_threads (id INT, title TEXT)"
        if kind == "table"
        else "VIEW jido_threads AS SELECT 1 AS id, 2 AS title"
    )
    await right.client.execute_query(f"CREATE {made}")
    error = await refusal(check)
    assert (error.reason, error.tables) == ("schema_foreign", ["jido_threads"])
    assert "table jido_threads is not ours: it has no thread_id, rev" in str(error)
    assert "only id, title" in str(error)
    assert "rename that table" in str(error)
    assert "upgrade -c your.settings.TORTOISE_ORM`" not in str(error)
    with pytest.raises(SchemaError):
        await TortoiseStorage().append_thread("t", {"kind": "note"})


@pytest.mark.parametrize("check", [verify, look])
async def test_a_column_that_our_inserts_do_not_fill(right: Database, check: Any) -> None:
    """A column of somebody else's that refuses NULL stops every insert: better said at the start."""
    await right.client.execute_query("DROP TABLE jido_threads")
    made = next(sql for sql in ddl("agents", right.dialect, version=1).split(";") if '"jido_threads"' in sql)  # type: ignore[arg-type]
    await right.client.execute_query(made.replace('"rev"', '"tenant" INT NOT NULL, "rev"'))
    error = await refusal(check)
    assert error.reason == "schema_foreign"
    assert "jido_threads demands values that we do not know of: tenant" in str(error)


@pytest.mark.parametrize("check", [verify, look])
async def test_columns_that_do_no_harm(right: Database, check: Any) -> None:
    """A newer release's columns, or the host's own, are no reason to refuse."""
    await right.client.execute_query("ALTER TABLE jido_threads ADD COLUMN later INT")
    await right.client.execute_query("ALTER TABLE jido_threads ADD COLUMN counted INT NOT NULL DEFAULT 0")
    await check()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"rev" BIGINT', '"rev" TEXT', "jido_threads.rev is text, not BIGINT"),
        ('"rev" BIGINT NOT NULL', '"rev" BIGINT', "jido_threads.rev takes NULL"),
        ('"metadata" {json}', '"metadata" JSON', "jido_threads.metadata is json, not {json}"),
    ],
)
async def test_columns_of_another_kind(right: Database, old: str, new: str, told: str) -> None:
    """A text for a number sorts wrong, and SQLite's type JSON turns the text 1.0 into a number."""
    json = "JSONB" if right.dialect == "postgres" else "TEXT"
    made = next(sql for sql in ddl("agents", right.dialect, version=1).split(";") if '"jido_threads"' in sql)  # type: ignore[arg-type]
    await right.client.execute_query("DROP TABLE jido_threads")
    assert old.format(json=json) in made
    await right.client.execute_query(made.replace(old.format(json=json), new))
    error = await refusal()
    assert error.reason == "schema_foreign"
    assert told.format(json=json).lower() in str(error).lower()


async def test_a_missing_index(right: Database) -> None:
    """Lists would crawl without it."""
    await right.client.execute_query("DROP INDEX idx_jido_checkp_created_fab894")
    error = await refusal()
    assert error.reason == "schema_old"
    assert "table jido_checkpoints has no index on (created_at_ms, key_hash)" in str(error)
    with pytest.raises(SchemaError, match=UPGRADE):
        await verify()


async def test_indexes_that_are_less_than_ours(right: Database) -> None:
    """One of some rows, one with columns only beside its key, one that could not be built; but a unique one is more."""
    make = "CREATE INDEX idx ON jido_checkpoints (created_at_ms"
    weaker = [f"{make}, key_hash) WHERE partition IS NULL"]
    if right.dialect == "postgres":
        invalid = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx'::regclass"
        weaker += [f"{make}) INCLUDE (key_hash)", f"{make}, key_hash); {invalid}"]
    await right.client.execute_query("DROP INDEX idx_jido_checkp_created_fab894")
    for script in weaker:
        await right.client.execute_script(script)
        assert "has no index on (created_at_ms, key_hash)" in str(await refusal())
        await right.client.execute_query("DROP INDEX idx")
    await right.client.execute_query("CREATE UNIQUE INDEX idx ON jido_checkpoints (created_at_ms, key_hash)")
    await verify()


async def test_a_missing_unique_constraint(pg_db: Database) -> None:
    """Appends rely on it: two of them would get one number."""
    await pg_db.client.execute_query('ALTER TABLE jido_thread_entries DROP CONSTRAINT "uid_jido_thread_thread__f82f5a"')
    assert "table jido_thread_entries has no unique index on (thread_id, seq)" in str(await refusal())
    partial = "CREATE UNIQUE INDEX ON jido_thread_entries (thread_id, seq) WHERE kind = 'note'"
    await pg_db.client.execute_query(partial)
    assert "has no unique index on (thread_id, seq)" in str(await refusal())
    await pg_db.client.execute_query("CREATE UNIQUE INDEX ON jido_thread_entries (thread_id, seq)")
    await verify()


async def test_a_trigger_that_is_switched_off(pg_db: Database) -> None:
    """A guard that does not guard is a missing one."""
    await pg_db.client.execute_query("ALTER TABLE jido_thread_entries DISABLE TRIGGER ALL")
    assert "jido_thread_entries has no trigger jido_thread_entries_never_change" in str(await refusal())


# -- where it looks -----------------------------------------------------------------------------------------------


async def test_a_schema_of_its_own(pg_db: Database) -> None:
    """What is in the search path does not count for another schema, and the cure names it."""
    error = await refusal(schema="it's")
    assert error.reason == "schema_missing"
    assert 'schema "it\'s"' in str(error)
    assert """upgrade -c your.settings.TORTOISE_ORM --schema 'it'"'"'s'`""" in str(error)
    await pg_db.client.execute_script(ddl("agents", "postgres", version=1, schema="it's"))
    await verify(schema="it's")
    await pg_db.client.execute_query("DROP TABLE public.jido_threads")
    await verify(schema="it's")
    assert (await refusal()).tables == ["jido_threads"]


async def test_the_first_in_the_search_path_counts(pg_place: Place) -> None:
    """Tables of ours in a schema that is hidden by a foreign one do not help."""
    async with opened(pg_place.url):
        pass
    pg_place.rows("CREATE SCHEMA first")
    pg_place.rows("CREATE TABLE first.jido_threads (id INT)")
    url = f"{pg_place.url}{'&' if '?' in pg_place.url else '?'}schema=first,public"
    async with opened(url, tables=False):
        assert (await refusal()).reason == "schema_foreign"


async def test_a_named_connection(right: Database) -> None:
    """By its alias; one that the config does not have is an error that lists those that it has."""
    await verify("default")
    with pytest.raises(ConfigError, match="default"):
        await verify("other")


async def test_within_a_transaction(pg_place: Place) -> None:
    """A refused look leaves the host's transaction as it was: only the catalog is read."""
    async with opened(pg_place.url, tables=False) as database:
        async with in_transaction() as connection:
            await connection.execute_query("CREATE TABLE shop_products (id INT)")
            await refusal()
            await refusal(look)
            await connection.execute_query("INSERT INTO shop_products VALUES (1)")
        assert (await database.client.execute_query_dict("SELECT id FROM shop_products")) == [{"id": 1}]


async def test_without_tortoise() -> None:
    """The error says what to call."""
    async with TortoiseContext():
        with pytest.raises(NotInitialisedError, match=r"Tortoise\.init"):
            await verify()


async def test_without_our_app(sqlite_url: str) -> None:
    """The error names the line to add."""
    default = JidoThread._meta.default_connection, JidoCheckpoint._meta.default_connection
    JidoCheckpoint._meta.default_connection = None  # as in a process that never had our app
    try:
        async with TortoiseContext() as context:
            apps = {"aerich": {"models": ["aerich.models"]}}
            await context.init(config={"connections": {"default": sqlite_url}, "apps": apps})
            with pytest.raises(AppNotRegisteredError, match=r"jido_tortoise\.apps\(\)"):
                await verify()
    finally:
        JidoThread._meta.default_connection, JidoCheckpoint._meta.default_connection = default


# -- how cheap it is ----------------------------------------------------------------------------------------------


async def test_the_storage_looks_once_by_one_statement(pg_db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for a connection and schema, however many storages are made on it."""
    looks: list[str] = []
    real = probe.fetch

    async def counted(db: Any, sql: str, *rest: Any) -> Any:
        looks.append(sql)
        return await real(db, sql, *rest)

    monkeypatch.setattr(probe, "fetch", counted)
    for _ in range(3):
        await TortoiseStorage().append_thread("t", {"kind": "note"})
    assert len(looks) == 1
