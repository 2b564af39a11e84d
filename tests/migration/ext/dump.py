"""How the old dumps were made: run by hand when a version is released, and never again for that version.

python -m tests.migration.ext.dump postgresql://postgres@/postgres?host=/tmp/pg
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tortoise.backends.base.executor import EXECUTOR_CACHE
from tortoise.context import TortoiseContext

from jido_tortoise import seams
from jido_tortoise.agents.storage import ThreadWrite
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.schema import apps, ddl, latest, upgrade
from jido_tortoise.schema.ddl import placed, script
from jido_tortoise.schema.ledger import MAKE
from jido_tortoise_testing.postgres import fresh_database

FOLDER = Path(__file__).parent
TABLES = ("jido_checkpoints", "jido_threads", "jido_thread_entries", "aerich")

#: What is stored, and what every later version must find.
KEY = ("shopper", "user-123")
STATE = {"cart": {"total": Decimal("19.90"), "since": datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)}, "raw": b"\x00\xff"}
PAYLOADS: list[Any] = [{"role": "user", "content": 'hi 🙂 "it\'s" \\ $jido$ ;'}, {"big": 2**70}, {"n": None}]
LONG = "long"


async def store() -> None:
    """Store it."""
    storage = TortoiseStorage()
    entries = [
        {"kind": "message", "payload": payload, "refs": {"n": n}, "id": f"e{n}"} for n, payload in enumerate(PAYLOADS)
    ]
    data = {
        "version": 1,
        "agent_type": "shopper",
        "id": "user-123",
        "state": STATE,
        "thread": {"id": "shopper:user-123", "rev": 3},
        "partition": "eu",
    }
    await storage.save(
        KEY, data, thread=ThreadWrite(id="shopper:user-123", entries=entries, metadata={"source": "shop"})
    )
    await storage.put_checkpoint({"any": ["key", 1.0]}, "plain")
    await storage.append_thread(LONG, [{"kind": "note", "payload": {"n": n}, "id": f"l{n}"} for n in range(20)])
    await storage.trim_thread(LONG, before=15)
    await storage.append_thread("empty", [], metadata={"kept": True})


async def dump(url: str, dialect: Any) -> None:
    """Make a database of the newest version, store, and write it down."""
    await upgrade({"connections": {"default": url}, "apps": apps()})
    async with TortoiseContext() as context:
        await context.init(config={"connections": {"default": url}, "apps": apps()})
        with seams.replaced(now_ms=lambda: 1_767_322_800_000):
            await store()
        client = context.connections.get("default")
        rows = {name: await client.execute_query_dict(f"SELECT * FROM {name}") for name in TABLES}
    version = latest("agents")
    made = ddl("agents", dialect, version=version)
    text = made + "\n".join(_insert(name, row) for name in TABLES for row in rows[name]) + "\n"
    if dialect == "postgres":
        text += "".join(
            f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), (SELECT max(id) FROM {name}));\n"
            for name in TABLES[2:]
        )
    aerich = script(placed(MAKE[dialect], dialect))
    (FOLDER / f"agents_{version}.{dialect}.sql").write_text(aerich + text, "utf-8")


def _insert(table: str, row: dict[str, Any]) -> str:
    values = ", ".join(_literal(value) for value in row.values())
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values});"


def _literal(value: Any) -> str:
    with closing(sqlite3.connect(":memory:")) as connection:
        quoted: str = connection.execute("SELECT quote(?)", (value,)).fetchone()[0]
    return quoted


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(dump(f"sqlite://{folder}/a.db", "sqlite"))
    EXECUTOR_CACHE.clear()
    with fresh_database(sys.argv[1]) as database:
        asyncio.run(dump(database, "postgres"))
