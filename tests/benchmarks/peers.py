"""What ours is compared with: the floors under any write or read, and two usual designs, written by us."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
from tortoise.transactions import in_transaction

from tests.benchmarks.measure import Call, Prepared
from tests.benchmarks.models import Head, Keyed, Row, Snapshot
from tests.benchmarks.places import Place, on_disk

_COLUMNS = "thread_id, seq, entry_id, at_ms, kind, payload, refs"


# -- floors -------------------------------------------------------------------------------------------------------


def insert(place: Place, payload: dict[str, Any]) -> Call:
    """The floor: a bare one-row autocommit INSERT of an encoded payload through the host's connection."""
    sql, text = f"INSERT INTO bench_bare (payload) VALUES ({place.place(1)})", json.dumps(payload)
    return lambda: place.client.execute_query(sql, [text])


def upsert(place: Place, data: dict[str, Any]) -> Call:
    """A bare autocommit upsert of one encoded row, with another turn each time, through the host's connection."""
    sql = (
        f"INSERT INTO bench_keyed (key, data) VALUES ({place.place(1)}, {place.place(2)})"
        " ON CONFLICT (key) DO UPDATE SET data = excluded.data"
    )
    before, after = json.dumps(data).split('"turn": 0', 1)
    turn = 0

    async def call() -> None:
        nonlocal turn
        turn += 1  # SQLite does not write what has not changed
        await place.client.execute_query(sql, [str(len(after)), f'{before}"turn": {turn}{after}'])

    return call


def insert_in_three_hops(place: Place, payload: dict[str, Any]) -> Call:
    """BEGIN IMMEDIATE, INSERT, COMMIT through aiosqlite, on the host's connection."""
    text = json.dumps(payload)

    async def call() -> None:
        async with place.client.acquire_connection() as connection:
            await connection.execute("BEGIN IMMEDIATE")
            await connection.execute("INSERT INTO bench_bare (payload) VALUES (?)", (text,))
            await connection.commit()

    return call


def insert_many(place: Place, table: str, payloads: list[dict[str, Any]]) -> Prepared:
    """The same rows, made before, by one raw statement: INSERT ... SELECT unnest, on SQLite an executemany."""
    texts = [(json.dumps(payload), json.dumps({"request_id": "req_00000000"})) for payload in payloads]
    ready: list[Any] = []
    made = 0

    def before() -> None:
        nonlocal made
        rows = _bare_rows(made, texts)
        columns = [list(column) for column in zip(*rows, strict=True)]
        ready[:] = ["raw", *columns] if place.dialect == "postgres" else [("raw", *row) for row in rows]
        made += len(rows)

    async def call() -> None:
        if place.dialect == "postgres":
            await place.client.execute_query(_UNNEST.format(table=table), ready)
        else:
            await place.client.execute_many(f"INSERT INTO {table} ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", ready)

    return Prepared(call, before)


_UNNEST = (
    f"INSERT INTO {{table}} ({_COLUMNS}) SELECT $1, x.seq, x.entry_id, x.at_ms, x.kind, x.payload::jsonb, x.refs::jsonb"
    " FROM unnest($2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[])"
    " AS x (seq, entry_id, at_ms, kind, payload, refs)"
)


def _bare_rows(first: int, rows: list[tuple[str, str]]) -> list[tuple[Any, ...]]:
    return [
        (first + number, f"entry_{first + number:036d}", 1_715_000_000_000, "message", payload, refs)
        for number, (payload, refs) in enumerate(rows)
    ]


async def make_twins(place: Place, table: str) -> None:
    """Make `bench_twin`, with the columns and indexes of one of our tables, and `bench_twin_bare` without any index."""
    if place.dialect == "postgres":
        await place.run(f"CREATE TABLE bench_twin (LIKE {table} INCLUDING ALL)")
        await place.run(f"CREATE TABLE bench_twin_bare (LIKE {table} INCLUDING DEFAULTS)")
        return
    made = await place.run(
        "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND type IN ('table', 'index') AND sql IS NOT NULL"
        " ORDER BY type DESC",
        table,
    )
    for number, (sql,) in enumerate(made):
        named = re.sub('INDEX "[^"]+"', f'INDEX "bench_twin_{number}"', sql, count=1)
        await place.run(re.sub(rf'"?\b{table}\b"?', "bench_twin", named, count=1))
    await place.run(f"CREATE TABLE bench_twin_bare AS SELECT * FROM {table} WHERE false")


def fetch_and_parse(place: Place, thread_id: str) -> Call:
    """Fetch all columns of a thread's entries through the host's connection and parse their JSON."""
    text = "::text" if place.dialect == "postgres" else ""
    sql = (
        f"SELECT seq, entry_id, at_ms, kind, payload{text}, refs{text} FROM jido_thread_entries"
        f" WHERE thread_id = {place.place(1)} ORDER BY seq"
    )

    async def call() -> list[tuple[Any, ...]]:
        _, rows = await place.client.execute_query(sql, [thread_id])
        return [
            (seq, entry_id, at_ms, kind, orjson.loads(payload), orjson.loads(refs))
            for seq, entry_id, at_ms, kind, payload, refs in rows
        ]

    return call


@asynccontextmanager
async def raw_insert(place: Place, payload: dict[str, Any]) -> AsyncIterator[Call]:
    """The same INSERT without Tortoise: by asyncpg on a connection of its own, or by sqlite3 in a file of its own."""
    text = json.dumps(payload)
    if place.dialect == "postgres":
        waits = {} if place.durable else {"synchronous_commit": "off"}
        connection = await asyncpg.connect(place.url, server_settings=waits)
        yield lambda: connection.execute("INSERT INTO bench_bare (payload) VALUES ($1)", text)
        await connection.close()
        return
    with TemporaryDirectory(prefix="jido-bench-", dir=on_disk()) as folder:
        own = _raw_sqlite(place, Path(folder, "raw.db"))

        async def call() -> None:
            own.execute("INSERT INTO bench_bare (payload) VALUES (?)", (text,))

        yield call
        own.close()


def _raw_sqlite(place: Place, path: Path) -> sqlite3.Connection:
    own = sqlite3.connect(":memory:" if "memory" in place.name else path, isolation_level=None)
    own.execute("PRAGMA journal_mode = WAL")
    own.execute(f"PRAGMA synchronous = {'NORMAL' if 'NORMAL' in place.name else 'FULL'}")
    own.execute("CREATE TABLE bench_bare (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, payload JSON NOT NULL)")
    return own


# -- the usual designs --------------------------------------------------------------------------------------------


async def orm_append(thread_id: str, payloads: list[dict[str, Any]]) -> None:
    """Append as a host would write it with the ORM: a transaction, a locked head, a bulk_create."""
    async with in_transaction("default"):
        head = await Head.select_for_update().get(id=thread_id)
        rows = [
            Row(thread_id=thread_id, seq=head.rev + at, entry_id=str(uuid4()), kind="message", payload=payload, refs={})
            for at, payload in enumerate(payloads)
        ]
        await Row.bulk_create(rows)
        head.rev += len(rows)
        await head.save(update_fields=["rev", "updated_at"])


async def orm_hibernate(thread_id: str, payload: dict[str, Any], data: dict[str, Any]) -> None:
    """Append and put the checkpoint as a host would write it with the ORM."""
    async with in_transaction("default"):
        await orm_append(thread_id, [payload])
        await Keyed.update_or_create({"data": data}, key=thread_id)


async def snapshot_append(thread_id: str, payload: dict[str, Any]) -> None:
    """Append by reading the whole thread and writing it anew."""
    async with in_transaction("default"):
        snapshot = await Snapshot.select_for_update().get(id=thread_id)
        snapshot.entries.append({"id": str(uuid4()), "seq": snapshot.rev, "kind": "message", "payload": payload})
        snapshot.rev += 1
        await snapshot.save()
