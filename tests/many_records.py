"""Many recorded sessions by a few statements, for plans and benchmarks: quick to make, and each like a real one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

#: How many sessions have one tag, such as `rare-7`; the tag `all` is on all of them.
RARE = 20
#: A type that the last events have, so many of them, and no others.
LATE, LATEST = "policy_violation", 200

_COUNTED = {
    "postgres": "generate_series({first}, {last}) AS i",
    "sqlite": "(WITH RECURSIVE n (i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})"
    " SELECT i FROM n) AS n",
}
#: A time, a second later for each `i`.
_AT = {
    "postgres": "timestamptz '2026-01-01 00:00Z' + {seconds} * interval '1 second'",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S', 1767225600 + {seconds}, 'unixepoch') || '.000000+00:00'",
}
_JSON = {"postgres": "({text})::jsonb", "sqlite": "{text}"}

_SESSIONS = """
INSERT INTO {schema}asm_sessions (id, agent_id, status, metadata, context, tags, created_at, updated_at, revision)
SELECT 'ses_' || i, 'agent-' || (i % 100), CASE i % 50 WHEN 0 THEN 'active' ELSE 'completed' END, '{{}}', '{{}}',
    {tags}, {at}, {at}, 1
FROM {counted}
"""
_COUNTERS = """
INSERT INTO {schema}asm_session_sequences (session_id, last_sequence, first_sequence, pruned, created_at, updated_at)
SELECT 'ses_' || i, {events}, 1, 0, {at}, {at} FROM {counted}
"""
_RUNS = """
INSERT INTO {schema}asm_runs
    (id, session_id, status, metadata, turn_count, token_usage, started_at, provider, provider_metadata, cost_usd,
     revision)
SELECT 'run_' || i, 'ses_' || i, 'completed', '{{}}', 1, {usage}, {at}, 'provider-' || (i % 40), {model},
    CASE i % 2 WHEN 0 THEN 0.25 END, 1
FROM {counted}
"""
_EVENTS = """
INSERT INTO {schema}asm_events
    (id, type, timestamp, session_id, run_id, sequence_number, data, metadata, schema_version, provider, correlation_id)
SELECT 'evt_' || i,
    CASE WHEN i > {late} THEN '{type}' WHEN i % 20 = 0 THEN 'error_occurred' ELSE 'message_streamed' END, {at},
    'ses_' || ((i - 1) / {events} + 1), 'run_' || ((i - 1) / {events} + 1),
    (i - 1) % {events} + 1, {data}, '{{}}', 1, 'provider-' || (i % 3), 'request-' || (i / 10)
FROM {counted}
"""


async def store_many(
    run: Callable[[str], Awaitable[object]], dialect: str, sessions: int, events: int, schema: str = ""
) -> None:
    """Make sessions, each with a run and so many events.

    Args:
        run: Runs one statement.
        dialect: "sqlite" or "postgres".
        sessions: How many; the ids are `ses_1` and so on.
        events: Of each session.
        schema: What stands before a table's name, with its dot.
    """
    tags = f"'[\"all\", \"rare-' || (i / {RARE}) || '\"]'"
    usage = (
        "'{\"input_tokens\": ' || (i % 1000) || ', \"output_tokens\": 10, \"total_tokens\": ' || (i % 1000 + 10) || '}'"
    )
    texts = {"tags": tags, "usage": usage, "model": "'{\"model\": \"m-' || (i % 5) || '\"}'"}
    texts["data"] = "'{\"content\": \"' || i || ' is a token of some text\"}'"
    json = {name: _JSON[dialect].format(text=text) for name, text in texts.items()}
    for sql, count in ((_SESSIONS, sessions), (_COUNTERS, sessions), (_RUNS, sessions), (_EVENTS, sessions * events)):
        seconds = f"i / {events}" if sql is _EVENTS else "i"
        counted = _COUNTED[dialect].format(first=1, last=count)
        moment = _AT[dialect].format(seconds=seconds)
        given = {"schema": schema, "at": moment, "counted": counted, "events": events, "type": LATE, **json}
        given["late"] = count - min(LATEST, count // 20)
        await run(sql.format(**given))
