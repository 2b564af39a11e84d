"""What a database says of our tables, read without the library, so that routes can be compared with one another."""

from __future__ import annotations

import re
from typing import Any

from tests.migration.hosts import Place

_POSTGRES = {
    "columns": """
        SELECT table_name::text, column_name::text, ordinal_position::int, data_type::text,
            character_maximum_length::int, is_nullable::text, column_default::text
        FROM information_schema.columns WHERE table_schema = '{schema}' AND table_name LIKE '{prefix}%'
        ORDER BY 1, 3""",
    "storage": """
        SELECT c.relname::text, a.attname::text, a.attstorage::text
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
        WHERE c.relname LIKE '{prefix}%' AND c.relkind = 'r' AND c.relnamespace = '"{schema}"'::regnamespace
        AND a.attstorage <> t.typstorage ORDER BY 1, 2""",
    "constraints": """
        SELECT conname::text, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = '"{schema}"'::regnamespace AND conrelid::regclass::text LIKE '%{prefix}%'
        AND contype <> 'n' ORDER BY 1""",
    "indexes": """
        SELECT indexname::text, indexdef FROM pg_indexes WHERE schemaname = '{schema}' AND tablename LIKE '{prefix}%'
        ORDER BY 1""",
    "triggers": """
        SELECT t.tgname::text, pg_get_triggerdef(t.oid), t.tgenabled::text
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE c.relname LIKE '{prefix}%' AND c.relnamespace = '"{schema}"'::regnamespace AND NOT t.tgisinternal
        ORDER BY 1""",
    "functions": """
        SELECT proname::text, prosrc FROM pg_proc
        WHERE proname LIKE '{prefix}%' AND pronamespace = '"{schema}"'::regnamespace ORDER BY 1""",
}
_SQLITE = {
    "columns": """
        SELECT m.name, x.name, x.cid, x.type, x."notnull", x.dflt_value, x.pk, m.sql LIKE '%AUTOINCREMENT%'
        FROM sqlite_master m JOIN pragma_table_xinfo(m.name) x WHERE m.type = 'table' AND m.name LIKE '{prefix}%'
        ORDER BY 1, 3""",
    "indexes": """
        SELECT m.name, l.name LIKE 'sqlite_%', l."unique", l.partial,
            (SELECT group_concat(i.name) FROM pragma_index_info(l.name) i)
        FROM sqlite_master m JOIN pragma_index_list(m.name) l WHERE m.name LIKE '{prefix}%' ORDER BY 1, 5""",
    "index names": """
        SELECT name FROM sqlite_master
        WHERE type = 'index' AND tbl_name LIKE '{prefix}%' AND sql IS NOT NULL ORDER BY 1""",
    "triggers": "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name LIKE '{prefix}%' ORDER BY 1",
}


def snapshot(place: Place, schema: str = "public", prefix: str = "jido") -> dict[str, Any]:
    """Read all of it, of the tables that begin with the prefix; two databases that are alike give the same."""
    queries = _POSTGRES if place.dialect == "postgres" else _SQLITE
    named = {name: sql.replace("{schema}", schema).replace("{prefix}", prefix) for name, sql in queries.items()}
    return {name: _told(place, sql, schema) for name, sql in named.items()}


def _told(place: Place, sql: str, schema: str) -> list[tuple[Any, ...]]:
    return [tuple(_bare(value, schema) for value in row) for row in place.rows(sql)]


def _bare(value: Any, schema: str) -> Any:
    if not isinstance(value, str):
        return value
    return re.sub(r"\s+", " ", value.replace(f"{schema}.", "")).replace("IF NOT EXISTS ", "")
