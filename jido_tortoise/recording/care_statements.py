"""The SQL of retention, health and repair, for both dialects.

Whatever looks for something to delete takes a bounded number of rows behind a place, so that a pass over a table of any
size is many short statements. What a pass found is decided once more, under the session's lock, where it is deleted.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from jido_tortoise.database import Dialect
from jido_tortoise.journal import Column
from jido_tortoise.journal.statements import Statement, compiled, qualified, shown
from jido_tortoise.recording.statements import ARTIFACT, EVENT_COLUMNS, EVENTS, frequent, one_of

_PARAMETERS = (
    *ARTIFACT.columns,
    Column("exempt_statuses", "text[]"),
    Column("exempt_tags", "text[]"),
    Column("types", "text[]"),
    Column("ids", "text[]"),
    Column("numbers", "bigint[]"),
    Column("keys", "text[]"),
    Column("before", "timestamptz"),
    Column("changed_since", "timestamptz"),
    Column("now", "timestamptz"),
    Column("place", "timestamptz"),
    Column("place_id", "varchar"),
    Column("after", "bigint"),
    Column("most", "bigint"),
    Column("count", "bigint"),
    Column("batch", "bigint"),
)

#: Whether events of these types are looked for, or of all others.
Which = Literal["these", "others"]


def _finished(sql: str, schema: str | None, dialect: Dialect) -> Statement:
    sql = sql.replace("{schema}", qualified(schema))
    return compiled(sql, _PARAMETERS) if dialect == "postgres" else Statement(sql, ())


def _not_exempt(dialect: Dialect) -> str:
    """Say that the session `s` is not left alone; one whose tags cannot be read is."""
    if dialect == "postgres":
        return "NOT s.status = ANY(:exempt_statuses) AND NOT s.tags ?| :exempt_tags"
    return (
        "NOT s.status IN (SELECT value FROM json_each(:exempt_statuses)) AND CASE WHEN json_valid(s.tags) THEN NOT"
        " EXISTS (SELECT 1 FROM json_each(s.tags) AS g WHERE g.value IN (SELECT value FROM json_each(:exempt_tags)))"
        " ELSE 0 END"
    )


# -- sessions -----------------------------------------------------------------------------------------------------


def _expired(column: str, dialect: Dialect) -> str:
    # A session that is old in both ways is met once: by its last change.
    twice = " AND s.updated_at >= :changed_since" if column == "created_at" else ""
    return f"s.deleted_at IS NULL AND s.{column} < :before{twice} AND {_not_exempt(dialect)}"


@lru_cache(maxsize=16)
def soft_delete(column: str, schema: str | None, dialect: Dialect) -> Statement:
    """Delete softly some of the sessions whose time is over, but none that others are just writing."""
    lock = " FOR UPDATE SKIP LOCKED" if dialect == "postgres" else ""
    sql = (
        f"WITH x AS (SELECT s.id FROM {{schema}}asm_sessions AS s WHERE {_expired(column, dialect)}"
        f" ORDER BY s.{column}, s.id LIMIT :batch{lock}) UPDATE {{schema}}asm_sessions AS t"
        " SET deleted_at = :now, revision = t.revision + 1 WHERE t.id IN (SELECT id FROM x) RETURNING id"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def expired(column: str, schema: str | None, dialect: Dialect) -> Statement:
    """Read some of the sessions that would be deleted softly, behind a place."""
    sql = (
        f"SELECT s.id, s.{column} FROM {{schema}}asm_sessions AS s WHERE {_expired(column, dialect)}"
        f" AND (s.{column}, s.id) > (:place, :place_id) ORDER BY s.{column}, s.id LIMIT :batch"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def deleted(schema: str | None, dialect: Dialect) -> Statement:
    """Read some of the sessions that were deleted softly before a time, behind a place, each with its events."""
    sql = (
        "SELECT s.id, s.deleted_at, coalesce(q.last_sequence - q.pruned, 0) FROM {schema}asm_sessions AS s"
        f" LEFT JOIN {{schema}}{EVENTS.head} AS q ON q.session_id = s.id WHERE s.deleted_at < :before AND"
        f" {_not_exempt(dialect)} AND (s.deleted_at, s.id) > (:place, :place_id)"
        " ORDER BY s.deleted_at, s.id LIMIT :batch"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def lock_belongings(table: str, key: str, schema: str | None, dialect: Dialect) -> Statement:
    """Keep others from writing what a table has of a session, until the transaction ends; SQLite has one writer."""
    lock = " FOR UPDATE" if dialect == "postgres" else ""
    sql = (
        f"WITH x AS (SELECT 1 FROM {{schema}}{table} WHERE session_id = :session_id ORDER BY {key}{lock})"
        " SELECT count(*) FROM x"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def abandon_artifacts(schema: str | None, dialect: Dialect) -> Statement:
    """Take a session's artifacts from it, deleted softly: their rows outlive it until their content is gone."""
    sql = (
        "UPDATE {schema}asm_artifacts AS t SET deleted_at = coalesce(t.deleted_at, :now), session_id = NULL,"
        f" run_id = NULL WHERE t.session_id = :session_id RETURNING {shown(ARTIFACT.columns, dialect)}"
    )
    return _finished(sql, schema, dialect)


# -- events -------------------------------------------------------------------------------------------------------


#: That the session `s` is not to be deleted as a whole.
_STAYS = "(s.deleted_at IS NULL OR s.deleted_at >= :before)"


@lru_cache(maxsize=16)
def full_sessions(schema: str | None, dialect: Dialect) -> Statement:
    """Read some of the sessions with more events than a number, behind a place, by their counters alone."""
    sql = (
        f"SELECT q.session_id FROM {{schema}}{EVENTS.head} AS q JOIN {{schema}}asm_sessions AS s ON s.id = q.session_id"
        f" WHERE q.last_sequence - q.pruned > :most AND {_not_exempt(dialect)} AND {_STAYS}"
        " AND q.session_id > :place_id ORDER BY q.session_id LIMIT :batch"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def events_by_type(schema: str | None, dialect: Dialect) -> Statement:
    """Count a session's events by type."""
    sql = "SELECT type, count(*) FROM {schema}asm_events WHERE session_id = :session_id GROUP BY type"
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def total_events(schema: str | None, dialect: Dialect) -> Statement:
    """Count all events, by the counters."""
    sql = f"SELECT coalesce(sum(last_sequence - pruned), 0) FROM {{schema}}{EVENTS.head}"
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def prunable_events(which: Which, schema: str | None, dialect: Dialect) -> Statement:
    """Count the events of these types, or of all others, in the sessions that are not left alone, by session."""
    sql = (
        "SELECT e.session_id, count(*) FROM {schema}asm_events AS e JOIN {schema}asm_sessions AS s"
        f" ON s.id = e.session_id WHERE {_of(which, dialect)} AND {_not_exempt(dialect)} AND {_STAYS}"
        " AND e.session_id > :place_id GROUP BY e.session_id ORDER BY e.session_id LIMIT :batch"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def oldest_of_session(which: Which, schema: str | None, dialect: Dialect) -> Statement:
    """Read a session's first events of these types, or of all others, behind a number."""
    sql = (
        f"SELECT {shown(EVENT_COLUMNS, dialect, 'e.')} FROM {{schema}}asm_events AS e"
        f" WHERE e.session_id = :session_id AND e.sequence_number > :after AND {_of(which, dialect)}"
        " ORDER BY e.sequence_number LIMIT :batch"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def oldest_of_all(which: Which, schema: str | None, dialect: Dialect) -> Statement:
    """Read the oldest events of these types, or of all others, of sessions not left alone, behind a place."""
    sql = (
        f"SELECT {shown(EVENT_COLUMNS, dialect, 'e.')} FROM {{schema}}asm_events AS e JOIN {{schema}}asm_sessions AS s"
        f" ON s.id = e.session_id WHERE {_of(which, dialect)} AND {_not_exempt(dialect)}"
        " AND (e.timestamp, e.id) > (:place, :place_id) ORDER BY e.timestamp, e.id LIMIT :batch"
    )
    return _finished(sql, schema, dialect)


def _of(which: Which, dialect: Dialect) -> str:
    these = one_of("e.type", "types", dialect)
    return frequent(these, dialect) if which == "these" else f"NOT {these}"


@lru_cache(maxsize=16)
def delete_events(schema: str | None, dialect: Dialect) -> Statement:
    """Delete events of a session by their numbers; answer their ids."""
    sql = (
        "DELETE FROM {schema}asm_events WHERE session_id = :session_id"
        f" AND {one_of('sequence_number', 'numbers', dialect)} RETURNING id"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def count_pruned(schema: str | None, dialect: Dialect) -> Statement:
    """Count events that were deleted as pruned; the number of the next event stays what it is."""
    sql = (
        f"UPDATE {{schema}}{EVENTS.head} SET pruned = pruned + :count, updated_at = :now, first_sequence ="
        " coalesce((SELECT min(e.sequence_number) FROM {schema}asm_events AS e WHERE e.session_id = :session_id),"
        " last_sequence + 1) WHERE session_id = :session_id"
    )
    return _finished(sql, schema, dialect)


# -- what is left over --------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def left_artifacts(schema: str | None, dialect: Dialect) -> Statement:
    """Read artifacts that were deleted softly before a time, or whose session is gone, behind a place."""
    sql = (
        f"SELECT {shown(ARTIFACT.columns, dialect, 't.')} FROM {{schema}}asm_artifacts AS t WHERE t.id > :place_id"
        f" AND (t.deleted_at < :before OR ({_WITHOUT_SESSION})) ORDER BY t.id LIMIT :batch"
    )
    return _finished(sql, schema, dialect)


_WITHOUT_SESSION = (
    "t.session_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {schema}asm_sessions AS s WHERE s.id = t.session_id)"
)
_WITHOUT_RUN = "t.run_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {schema}asm_runs AS r WHERE r.id = t.run_id)"


@lru_cache(maxsize=16)
def delete_artifacts(schema: str | None, dialect: Dialect) -> Statement:
    """Delete rows of artifacts that are not live."""
    sql = (
        f"DELETE FROM {{schema}}asm_artifacts AS t WHERE {one_of('t.id', 'ids', dialect)}"
        f" AND (t.deleted_at IS NOT NULL OR ({_WITHOUT_SESSION})) RETURNING id"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def delete_orphans(table: str, key: str, schema: str | None, dialect: Dialect) -> Statement:
    """Delete some of the rows of a table whose session is gone."""
    sql = (
        f"DELETE FROM {{schema}}{table} WHERE {key} IN (SELECT t.{key} FROM {{schema}}{table} AS t"
        f" WHERE {_WITHOUT_SESSION} LIMIT :batch) RETURNING 1"
    )
    return _finished(sql, schema, dialect)


# -- health -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def orphans(table: str, schema: str | None, dialect: Dialect) -> Statement:
    """Count the rows of a table whose session is gone."""
    return _finished(f"SELECT count(*) FROM {{schema}}{table} AS t WHERE {_WITHOUT_SESSION}", schema, dialect)


@lru_cache(maxsize=16)
def without_run(table: str, schema: str | None, dialect: Dialect) -> Statement:
    """Count the rows of a table that name a run which is not there, by session."""
    sql = (
        f"SELECT t.session_id, count(*) FROM {{schema}}{table} AS t WHERE {_WITHOUT_RUN} GROUP BY t.session_id"
        " ORDER BY t.session_id LIMIT :batch"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def counters(schema: str | None, dialect: Dialect) -> Statement:
    """Read some sessions behind a place: their counters (NULL without one), how many events they have, and the last."""
    sql = (
        "SELECT x.id, q.last_sequence, q.pruned, (SELECT count(*) FROM {schema}asm_events AS e"
        " WHERE e.session_id = x.id), (SELECT max(e.sequence_number) FROM {schema}asm_events AS e"
        " WHERE e.session_id = x.id) FROM (SELECT s.id FROM {schema}asm_sessions AS s WHERE s.id > :place_id"
        f" ORDER BY s.id LIMIT :batch) AS x LEFT JOIN {{schema}}{EVENTS.head} AS q ON q.session_id = x.id ORDER BY x.id"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def right_counter(schema: str | None, dialect: Dialect) -> Statement:
    """Let a counter say what is there: not behind the last event, and events that are missing counted as pruned."""
    greatest = "greatest" if dialect == "postgres" else "max"
    last = (
        f"{greatest}(last_sequence, coalesce((SELECT max(e.sequence_number) FROM {{schema}}asm_events AS e"
        " WHERE e.session_id = :session_id), 0))"
    )
    sql = (
        f"UPDATE {{schema}}{EVENTS.head} SET last_sequence = {last}, pruned = {last} - (SELECT count(*)"
        " FROM {schema}asm_events AS e WHERE e.session_id = :session_id), first_sequence = coalesce((SELECT"
        " min(e.sequence_number) FROM {schema}asm_events AS e WHERE e.session_id = :session_id), last_sequence + 1),"
        " updated_at = :now WHERE session_id = :session_id"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def stuck_runs(schema: str | None, dialect: Dialect) -> Statement:
    """Read running runs whose lease has run out, and old ones without a lease, and which."""
    sql = (
        "SELECT t.id, t.session_id, t.leased_until IS NULL FROM {schema}asm_runs AS t WHERE t.status = 'running'"
        " AND (t.leased_until < :now OR (t.leased_until IS NULL AND t.started_at < :before))"
        " ORDER BY t.started_at, t.id LIMIT :batch"
    )
    return _finished(sql, schema, dialect)


# -- artifacts ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def register(schema: str | None, dialect: Dialect) -> Statement:
    """Insert an artifact."""
    names = [c.name for c in ARTIFACT.columns]
    sql = f"INSERT INTO {{schema}}asm_artifacts ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def live_artifacts(by: Literal["keys", "session_id", "ids", "all"], schema: str | None, dialect: Dialect) -> Statement:
    """Read the artifacts that are not deleted: by key, of a session the oldest first, by id, or all behind a place."""
    wheres = {
        "keys": one_of("t.key", "keys", dialect),
        "ids": one_of("t.id", "ids", dialect),
        "session_id": "t.session_id = :session_id",
        "all": "t.id > :place_id",
    }
    order = "t.id LIMIT :batch" if by == "all" else "t.created_at, t.id"
    sql = (
        f"SELECT {shown(ARTIFACT.columns, dialect, 't.')} FROM {{schema}}asm_artifacts AS t"
        f" WHERE {wheres[by]} AND t.deleted_at IS NULL ORDER BY {order}"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def soft_delete_artifact(schema: str | None, dialect: Dialect) -> Statement:
    """Delete softly the live artifact of a key."""
    sql = (
        "UPDATE {schema}asm_artifacts AS t SET deleted_at = :now WHERE t.key = :key AND t.deleted_at IS NULL"
        f" RETURNING {shown(ARTIFACT.columns, dialect)}"
    )
    return _finished(sql, schema, dialect)


@lru_cache(maxsize=16)
def artifact_stats(schema: str | None, dialect: Dialect) -> Statement:
    """Count and sum up the live artifacts of a session."""
    sql = (
        "SELECT count(*), coalesce(sum(byte_size), 0) FROM {schema}asm_artifacts"
        " WHERE session_id = :session_id AND deleted_at IS NULL"
    )
    return _finished(sql, schema, dialect)
