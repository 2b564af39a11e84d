"""The SQL of checkpoints, for both dialects; the journal's stands in journal/statements.py.

Values stand in it as `:name`; see there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from jido_tortoise.database import Dialect
from jido_tortoise.journal import Column, JournalTable, Sibling
from jido_tortoise.journal.postgres import RAISE
from jido_tortoise.journal.statements import Statement, compiled, qualified

#: The tables of threads as a journal.
THREADS = JournalTable(
    head="jido_threads",
    rows="jido_thread_entries",
    key=(Column("thread_id", "varchar"),),
    row=(
        Column("entry_id", "varchar"),
        Column("at_ms", "bigint"),
        Column("kind", "varchar"),
        Column("payload", "jsonb"),
        Column("refs", "jsonb"),
    ),
    kept=(Column("metadata", "jsonb"),),
)

#: What a write asks of the checkpoint: to be anything, at a version, absent.
Guard = Literal["any", "version", "absent"]

_COLUMNS = (
    Column("key_hash", "varchar"),
    Column("key", "jsonb"),
    Column("agent_type", "varchar"),
    Column("partition", "varchar"),
    Column("agent_id", "varchar"),
    Column("thread_id", "varchar"),
    Column("thread_rev", "bigint"),
    Column("data", "jsonb"),
)
_PARAMETERS = (
    *_COLUMNS,
    Column("now", "bigint"),
    Column("expected_version", "bigint"),
    Column("limit", "bigint"),
    Column("after_ms", "bigint"),
    Column("after_hash", "varchar"),
)
#: By which checkpoints are found; the next one under the same key nearly always has the same.
_SEARCHED = ("agent_type", "partition", "agent_id", "thread_id")
_NAMES = ", ".join(c.name for c in _COLUMNS)
_SET = ", ".join(f"{c.name} = {{new}}{c.name}" for c in _COLUMNS if c.name != "key_hash")
_GREATEST = {"postgres": "greatest", "sqlite": "max"}
_BARE = "SELECT version FROM {schema}jido_checkpoints WHERE key_hash = :key_hash"
_GUARDS: dict[Guard, str] = {
    "any": "(SELECT count(*) FROM lc) >= 0",  # always true, but makes the head wait for the lock
    "version": "EXISTS (SELECT 1 FROM lc WHERE version = :expected_version)",
    "absent": "NOT EXISTS (SELECT 1 FROM lc)",
}


def guard_of(expected_version: int | None) -> Guard:
    """Answer what an expected version asks of the checkpoint."""
    return "any" if expected_version is None else "version" if expected_version else "absent"


@lru_cache(maxsize=64)
def put(guard: Guard, schema: str | None, dialect: Dialect) -> Statement:
    """Put a checkpoint; no row comes back when it is not what was asked."""
    if guard == "version":
        sql = _update(dialect, {c.name: f":{c.name}" for c in _COLUMNS}, "") + " AND c.version = :expected_version"
    else:
        values = ", ".join(f":{c.name}" for c in _COLUMNS)
        conflict = "DO NOTHING" if guard == "absent" else _overwrite(dialect, "c.version + 1")
        sql = f"{_insert(f'VALUES ({values}, 1, :now, :now)')} ON CONFLICT (key_hash) {conflict}"
    return _finished(f"{sql} RETURNING version, created_at_ms, updated_at_ms", schema, dialect)


@lru_cache(maxsize=64)
def sibling(guard: Guard, pointer_known: bool) -> Sibling:
    """Put a checkpoint in the same step as its journal's head; the pointer's revision is the head's."""
    return Sibling(
        name="checkpoint",
        params=_PARAMETERS,
        lock=_BARE,
        guard=_GUARDS[guard],
        write={
            "postgres": _put_beside(guard, pointer_known, "postgres"),
            "sqlite": _put_beside(guard, pointer_known, "sqlite"),
        },
        # SQLite writes every index anew that has a column in SET, the same value or not.
        sqlite_first=_put_beside(guard, pointer_known, "sqlite", _SEARCHED) if guard == "version" else None,
    )


def _put_beside(guard: Guard, pointer_known: bool, dialect: Dialect, unchanged: tuple[str, ...] = ()) -> str:
    values = {c.name: f":{c.name}" for c in _COLUMNS} | {"thread_rev": "h.counter"}
    if not pointer_known:
        values["data"] = {
            "postgres": "jsonb_set(:data, '{thread,rev}', to_jsonb(h.counter))",
            "sqlite": "json_set(:data, '$.thread.rev', h.counter)",
        }[dialect]
    if guard == "version":  # the lock holds the row, and the guard has seen its version
        mine = "c." if dialect == "postgres" else ""  # there `h` has times too; SQLite knows no alias here
        returned = ", ".join(f"{mine}{name}" for name in ("version", "created_at_ms", "updated_at_ms"))
        same = "".join(f" AND c.{name} IS {values.pop(name)}" for name in unchanged)
        return f"{_update(dialect, values, ' FROM h')}{same} RETURNING {returned}"
    # Where there is no row, there is nothing to lock: a row that came meanwhile must undo the journal's part too.
    collides = RAISE.format(column="c.version") if guard == "absent" and dialect == "postgres" else "c.version + 1"
    source = f"SELECT {', '.join(values.values())}, 1, :now, :now FROM h WHERE true"
    conflict = f"ON CONFLICT (key_hash) {_overwrite(dialect, collides)}"
    return f"{_insert(source)} {conflict} RETURNING version, created_at_ms, updated_at_ms"


def _insert(source: str) -> str:
    return f"INSERT INTO {{schema}}jido_checkpoints AS c ({_NAMES}, version, created_at_ms, updated_at_ms) {source}"


def _overwrite(dialect: Dialect, version: str) -> str:
    latest = f"{_GREATEST[dialect]}(c.updated_at_ms, excluded.updated_at_ms)"
    return f"DO UPDATE SET {_SET.format(new='excluded.')}, version = {version}, updated_at_ms = {latest}"


def _update(dialect: Dialect, values: dict[str, str], source: str) -> str:
    new = ", ".join(f"{name} = {value}" for name, value in values.items() if name != "key_hash")
    latest = f"{_GREATEST[dialect]}(c.updated_at_ms, :now)"
    return (
        f"UPDATE {{schema}}jido_checkpoints AS c SET {new}, version = c.version + 1, updated_at_ms = {latest}{source}"
        " WHERE c.key_hash = :key_hash"
    )


@lru_cache(maxsize=64)
def get(schema: str | None, dialect: Dialect) -> Statement:
    """Read a checkpoint."""
    text = "::text" if dialect == "postgres" else ""
    sql = (
        f"SELECT key{text}, data{text}, version, created_at_ms, updated_at_ms"
        " FROM {schema}jido_checkpoints WHERE key_hash = :key_hash"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=64)
def get_with_head(schema: str | None, dialect: Dialect) -> Statement:
    """Read a checkpoint and the head it points at, as they stand at one moment."""
    text = "::text" if dialect == "postgres" else ""
    sql = (
        f"SELECT c.key{text}, c.data{text}, c.version, c.created_at_ms, c.updated_at_ms,"
        f" t.rev, t.first_seq, t.metadata{text}, t.created_at_ms, t.updated_at_ms, t.thread_id"
        " FROM {schema}jido_checkpoints AS c"
        " LEFT JOIN {schema}jido_threads AS t ON t.thread_id = c.thread_id WHERE c.key_hash = :key_hash"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=64)
def version(schema: str | None, dialect: Dialect) -> Statement:
    """Read a checkpoint's version."""
    return _finished(_BARE, schema, dialect)


@lru_cache(maxsize=64)
def delete(schema: str | None, dialect: Dialect) -> Statement:
    """Delete a checkpoint, and answer the thread it pointed at."""
    sql = "DELETE FROM {schema}jido_checkpoints WHERE key_hash = :key_hash RETURNING thread_id"
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=64)
def page(filters: frozenset[str], after: bool, schema: str | None, dialect: Dialect) -> Statement:
    """Read a page of checkpoints without their data, oldest first."""
    text = "::text" if dialect == "postgres" else ""
    conditions = [*_conditions(filters)]
    if after:
        conditions.append("(created_at_ms, key_hash) > (:after_ms, :after_hash)")
    sql = (
        f"SELECT key{text}, agent_type, partition, agent_id, thread_id, thread_rev, version, created_at_ms,"
        f" updated_at_ms, key_hash FROM {{schema}}jido_checkpoints{_where(conditions)}"
        " ORDER BY created_at_ms, key_hash LIMIT :limit"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=64)
def count(filters: frozenset[str], schema: str | None, dialect: Dialect) -> Statement:
    """Count checkpoints."""
    sql = f"SELECT count(*) FROM {{schema}}jido_checkpoints{_where([*_conditions(filters)])}"
    return _finished(sql, schema, dialect)


def _conditions(filters: frozenset[str]) -> list[str]:
    known = {
        "agent_type": "agent_type = :agent_type",
        "partition": "partition = :partition",
        "bare": "partition IS NULL",
    }
    return [sql for name, sql in known.items() if name in filters]


def _where(conditions: list[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _finished(sql: str, schema: str | None, dialect: Dialect) -> Statement:
    sql = sql.replace("{schema}", qualified(schema))
    return compiled(sql, _PARAMETERS) if dialect == "postgres" else Statement(sql, ())
