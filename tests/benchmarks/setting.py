"""How large a run is, and what is put into the database before anything is timed."""

from __future__ import annotations

from dataclasses import dataclass

from tests.benchmarks.places import Place

_HEAD = """
INSERT INTO jido_threads (thread_id, rev, first_seq, metadata, created_at_ms, updated_at_ms)
VALUES ({thread}, {length}, 0, '{{}}', 1715000000000, 1715000000000)
"""
_ROWS = """
INSERT INTO jido_thread_entries (thread_id, seq, entry_id, at_ms, kind, payload, refs)
"""
_ON_POSTGRES = """
SELECT $1::text, i, 'entry_' || lpad(i::text, 36, '0'), 1715000000000 + i, 'message',
    jsonb_build_object('role', 'user', 'content', repeat(md5(i::text), 7), 'turn', i),
    jsonb_build_object('request_id', 'req_' || i)
FROM generate_series(0, $2::bigint - 1) AS i
"""
_ON_SQLITE = """
WITH RECURSIVE numbers (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < :length)
SELECT :thread, i, printf('entry_%036d', i), 1715000000000 + i, 'message',
    json_object('role', 'user', 'content', hex(randomblob(112)), 'turn', i), json_object('request_id', 'req_' || i)
FROM numbers
"""
_SESSIONS = """
INSERT INTO adk_sessions (app_name, user_id, id, state, rev, first_seq, extra, inserted_at, updated_at)
"""
_SESSIONS_ON_POSTGRES = """
SELECT $1::text, 'user-' || i % 10, 'session-' || i, '{"turn": 7}', 0, 0, '{}', now(), now() - i * interval '1 minute'
FROM generate_series(1, $2::bigint) AS i
"""
_SESSIONS_ON_SQLITE = """
WITH RECURSIVE numbers (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < :length)
SELECT :app, 'user-' || i % 10, 'session-' || i, '{"turn": 7}', 0, 0, '{}', '2026-05-17 09:30:00.000000+00:00',
    strftime('%Y-%m-%d %H:%M:%f000+00:00', 1778999999 - i * 60, 'unixepoch')
FROM numbers
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How often and how large; the bounds are meant for a scale of 1."""

    rounds: int = 300
    scale: float = 1.0

    def of(self, number: int) -> int:
        """Answer a length or a count at this scale."""
        return max(10, round(number * self.scale))

    def times(self, rounds: int) -> int:
        """Answer how many rounds, where 300 would take long."""
        return max(1, round(rounds * self.rounds / 300))


async def fill(place: Place, thread_id: str, length: int) -> None:
    """Make a thread of messages by SQL, fast."""
    if place.dialect == "postgres":
        await place.run(_HEAD.format(thread="$1::text", length="$2::bigint"), thread_id, length)
        await place.run(_ROWS + _ON_POSTGRES, thread_id, length)
        return
    await place.run(_HEAD.format(thread="?", length="?"), thread_id, length)
    values = {"thread": thread_id, "length": length}
    async with place.client.acquire_connection() as raw:
        await raw.execute_fetchall(_ROWS + _ON_SQLITE, values)


async def fill_sessions(place: Place, app_name: str, count: int) -> None:
    """Make sessions of ten users by SQL, fast."""
    if place.dialect == "postgres":
        await place.run(_SESSIONS + _SESSIONS_ON_POSTGRES, app_name, count)
        return
    async with place.client.acquire_connection() as raw:
        await raw.execute_fetchall(_SESSIONS + _SESSIONS_ON_SQLITE, {"app": app_name, "length": count})
