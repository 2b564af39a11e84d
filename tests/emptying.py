"""How a test leaves a PostgreSQL database: as new, or with our tables and no rows when the next test wants those."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg

_END_OTHERS = """
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();"""
_DROP_ALL = """
    FOR found IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', found);
    END LOOP;
    CREATE SCHEMA public;
    EXECUTE format('ALTER DATABASE %I RESET ALL', current_database());"""

#: Makes a database what it was when it was new: to drop it and make another takes five times as long.
AS_NEW = f"DO $$ DECLARE found text; BEGIN {_END_OTHERS} {_DROP_ALL} END $$"

#: The first oid that a user's object can have.
_FIRST = 16384
_CATALOGS = {
    **dict.fromkeys(("pg_class", "pg_constraint", "pg_namespace", "pg_proc", "pg_type"), "oid"),
    **dict.fromkeys(("pg_attrdef", "pg_trigger"), "oid"),
    "pg_attribute": "attrelid",
    "pg_index": "indexrelid",
}
#: Another text after whatever changed an object of this database.
_SIGNATURE = "(SELECT concat_ws(' ', {}, (SELECT count(*) FROM pg_db_role_setting)))".format(
    ", ".join(
        f"(SELECT count(*) || '.' || coalesce(sum(xmin::text::bigint), 0) FROM {catalog} WHERE {oid} >= {_FIRST})"
        for catalog, oid in _CATALOGS.items()
    )
)
#: More pages of dead rows than this, and plans would be others than on a new table.
_BLOATED = 64
_GROWN = f"""
    EXISTS (SELECT FROM pg_class WHERE oid >= {_FIRST} AND relkind = 'r'
            AND pg_relation_size(oid) > {_BLOATED} * current_setting('block_size')::int)"""

#: Takes the rows away, and all the tables too when any of them is no longer as it was remembered.
EMPTIED = f"""
DO $$ DECLARE found text; BEGIN
    {_END_OTHERS}
    IF {_SIGNATURE} IS DISTINCT FROM
       split_part(obj_description('public'::regnamespace, 'pg_namespace'), '|', 2) OR {_GROWN} THEN
        {_DROP_ALL}
    ELSE
        -- Our tables that are only appended to refuse a DELETE.
        SET LOCAL session_replication_role = replica;
        FOR found IN SELECT oid::regclass FROM pg_class
            WHERE oid >= {_FIRST} AND relkind = 'r' AND pg_relation_size(oid) > 0 LOOP
            EXECUTE 'DELETE FROM ' || found;
        END LOOP;
        PERFORM setval(oid, 1, false) FROM pg_class WHERE oid >= {_FIRST} AND relkind = 'S';
    END IF;
END $$"""

#: Whose tables are remembered, and whether there are any at all.
FOUND = f"""
SELECT split_part(obj_description('public'::regnamespace, 'pg_namespace'), '|', 1) AS families,
       EXISTS (SELECT FROM pg_class WHERE oid >= {_FIRST}) AS any"""


def remember(families: str) -> str:
    """Give the statement that remembers the tables of these families, which were just made."""
    return f"DO $$ BEGIN EXECUTE format('COMMENT ON SCHEMA public IS %L', '{families}|' || {_SIGNATURE}); END $$"


class Connection:
    """A connection that outlives the event loops of the tests, in a thread that has one of its own."""

    def __init__(self, url: str) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._runner = asyncio.Runner()
        self._connection = self._run(asyncpg.connect("postgresql" + url[url.index(":") :]))

    def execute(self, sql: str) -> None:
        """Run a script."""
        self._run(self._connection.execute(sql))

    def close(self) -> None:
        """End the connection and its thread."""
        self._run(self._connection.close())
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._thread.submit(self._runner.run, work).result()
