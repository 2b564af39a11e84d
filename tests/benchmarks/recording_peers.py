"""What recording is compared with: its rows written bare, and the original's way to append, written by us."""

from __future__ import annotations

from typing import Any

from tortoise.transactions import in_transaction

from jido_tortoise.recording import Event, rows
from jido_tortoise.recording.statements import EVENT_COLUMNS
from tests.benchmarks.measure import Prepared
from tests.benchmarks.places import Place
from tests.benchmarks.samples import message

_NAMES = [column.name for column in EVENT_COLUMNS]
_COUNTED = """
INSERT INTO asm_session_sequences AS t (session_id, last_sequence, first_sequence, pruned, created_at, updated_at)
VALUES ({}, 1, 1, 0, {}, {})
ON CONFLICT (session_id) DO UPDATE SET last_sequence = t.last_sequence + 1, updated_at = excluded.updated_at
RETURNING last_sequence
"""


def event(session_id: str, number: int = 0, sequence_number: int | None = None) -> Event:
    """Answer a message of about 300 bytes of JSON, as it is recorded of a run."""
    return Event(
        type="message_received",
        session_id=session_id,
        run_id=f"run_{session_id}",
        data=message(number % 100),
        sequence_number=sequence_number,
        provider="anthropic",
        correlation_id=f"run_{session_id}",
    )


def _row(place: Place, number: int) -> list[Any]:
    made = event("raw", number, number)
    return list(rows.encode(made, EVENT_COLUMNS, "event", place.dialect).values())


def _insert_into(place: Place, table: str) -> str:
    values = ", ".join(place.place(number) for number in range(1, len(_NAMES) + 1))
    return f"INSERT INTO {table} ({', '.join(_NAMES)}) VALUES ({values})"


def insert(place: Place, table: str) -> Prepared:
    """The floor: a bare one-row autocommit INSERT of an encoded event through the host's connection."""
    sql, made, ready = _insert_into(place, table), 0, list[Any]()

    def before() -> None:
        nonlocal made
        made += 1
        ready[:] = _row(place, made)

    async def call() -> None:
        await place.client.execute_query(sql, ready)

    return Prepared(call, before)


def insert_many(place: Place, table: str, count: int) -> Prepared:
    """Encoded events by one raw statement: INSERT ... SELECT unnest, on SQLite an executemany."""
    made, ready = 1_000_000, list[Any]()  # above what `insert` gets to

    def before() -> None:
        nonlocal made
        new = [_row(place, made + number) for number in range(count)]
        made += count
        ready[:] = [list(column) for column in zip(*new, strict=True)] if place.dialect == "postgres" else new

    async def call() -> None:
        if place.dialect == "postgres":
            await place.client.execute_query(_unnest(table), ready)
        else:
            await place.client.execute_many(_insert_into(place, table), ready)

    return Prepared(call, before)


def _unnest(table: str) -> str:
    # As texts: a list of jsonb is encoded by the driver value by value.
    kinds = ["text" if column.type == "jsonb" else column.type for column in EVENT_COLUMNS]
    given = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(kinds, 1))
    read = ", ".join(f"x.{column.name}::{column.type}" for column in EVENT_COLUMNS)
    names = ", ".join(_NAMES)
    return f"INSERT INTO {table} ({names}) SELECT {read} FROM unnest({given}) AS x ({names})"


def original(place: Place, session_id: str) -> Prepared:
    """Append as agent_session_manager does: BEGIN, look for the id, count the session on, INSERT, COMMIT."""
    look = f"SELECT * FROM asm_events WHERE id = {place.place(1)}"
    count = _COUNTED.format(place.place(1), place.place(2), place.place(3))
    write, made, ready = _insert_into(place, "asm_events"), 0, dict[str, Any]()

    def before() -> None:
        nonlocal made
        made += 1
        ready.update(rows.encode(event(session_id, made), EVENT_COLUMNS, "event", place.dialect))

    async def call() -> None:
        async with in_transaction("default") as own:
            await own.execute_query(look, [ready["id"]])
            (head,) = await own.execute_query_dict(count, [session_id, *[ready["timestamp"]] * 2])
            ready["sequence_number"] = head["last_sequence"]
            await own.execute_query(write, list(ready.values()))

    return Prepared(call, before)
