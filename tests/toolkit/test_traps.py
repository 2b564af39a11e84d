"""The traps that Tortoise and its drivers set for tests and for agents, each by its number.

A new version of theirs that fixes one, or sets it in another way, is seen here.

    T1   Tortoise.init() inside a test leads to the service's real database     test_sandboxes.py
    T2   a BEGIN that fails or is cancelled keeps a lock or a connection        here, test_seams_of_tortoise.py
    T3   nobody rolls back when COMMIT fails                                    test_faults.py, test_transactions.py
    T4   cancelled during COMMIT: cancelled, and yet committed                  here
    T5   rolling back for isolation: concurrent transactions lose their writes  test_sandboxes.py
    T6   rolling back for isolation: a conflict aborts the transaction          test_sandboxes.py
    T7   a connection of another event loop: the data is gone, no exit          here, test_sandboxes.py
    T8   globals of the process: one database's statements on the other         test_sandboxes.py
    T9   Tortoise's JSON loses types, and which depends on orjson               here, test_codec_jsonb.py
    T10  the database's clock goes on                                           here
    T11  deadlocks and lost connections are raised as asyncpg's own errors      here, test_seams_of_tortoise.py
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tortoise.fields.data import JSON_DUMPS, JSON_LOADS
from tortoise.transactions import in_transaction

import jido_tortoise as jt
from jido_tortoise.agents.models import JidoCheckpoint
from jido_tortoise.database import fetch, resolve, transaction
from jido_tortoise.errors import StorageBusyError
from jido_tortoise_testing.clocks import START, VirtualClock
from jido_tortoise_testing.faults import Fault, Injector
from jido_tortoise_testing.sandboxes import Sandbox, Workshop
from tests.conftest import Database, opened

_CONFIG: dict[str, Any] = {
    "connections": {"default": "sqlite://REAL.db"},
    "apps": {"shop": {"models": ["tests.toolkit.shop_models"], "default_connection": "default"}},
}


class Trapped(jt.Agent, agent_type="trapped"):
    """An agent with a journal."""


@pytest.fixture
def sandbox(pg_server: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Open a sandbox on SQLite, or what the test's parameter names."""
    made = Workshop(_CONFIG, server=lambda: pg_server, folder=tmp_path)
    with made.open(getattr(request, "param", "sqlite")) as opened_one:
        yield opened_one
    made.close()


@pytest.mark.parametrize("whose", ["Tortoise's", "ours"])
async def test_T2_a_begin_that_fails_costs_a_connection_of_the_pool(pg_url: str, whose: str) -> None:
    """After as many faults as the pool has connections Tortoise's is dead; ours has given each of them back."""
    async with opened(f"{pg_url}{'&' if '?' in pg_url else '?'}maxsize=2") as database:

        async def begin() -> None:
            async with in_transaction() if whose == "Tortoise's" else transaction(resolve(None, JidoCheckpoint)):
                pass

        for _ in range(2):
            task = asyncio.ensure_future(begin())  # Tortoise's would also leave its wrapper in our task's context
            with Injector(Fault("fail", "before", 0)).armed(task), pytest.raises(Exception, match="injected"):
                await task
        alive = asyncio.wait_for(database.client.execute_query("SELECT 1"), 0.3)
        if whose == "ours":
            await alive
            return
        with pytest.raises(TimeoutError):
            await alive
        for holder in database.client._pool._holders:  # or the pool's end would wait for them
            await holder.release(None)


async def test_T4_cancelled_during_commit_and_yet_committed(db: Database) -> None:
    """The outcome is unknown to the caller; the same append again answers what is stored, and writes nothing twice."""
    entry = jt.Entry("note", {"text": "once"})
    storage = jt.TortoiseStorage()

    async def append() -> Any:
        async with transaction(resolve(None, JidoCheckpoint)):
            return await storage.append_thread("t", [entry])

    for _ in range(2):  # the first also looks whether our tables are there
        statements, task = Injector(), asyncio.ensure_future(append())
        with statements.armed(task):
            await task
        await storage.delete_thread("t")
    commit = [number for number, sql in enumerate(statements.log) if sql.startswith("COMMIT")][-1]
    task = asyncio.ensure_future(append())
    with Injector(Fault("cancel", "after", commit)).armed(task), pytest.raises(asyncio.CancelledError):
        await task
    assert (await storage.get_thread_head("t")).rev == 1  # type: ignore[union-attr]
    assert (await append()).rev == 1


def test_T7_a_process_that_used_many_loops_ends(tmp_path: Path) -> None:
    """aiosqlite's thread is no daemon: a connection that nobody closed keeps the process for ever."""
    program = f"""
import asyncio
from pathlib import Path
from jido_tortoise_testing.sandboxes import Workshop
from tests.toolkit.shop_models import Customer
async def names():
    return await Customer.all().values_list("name", flat=True)
workshop = Workshop({_CONFIG!r}, server=lambda: "", folder=Path({str(tmp_path)!r}))
with workshop.open():
    for name in "ab":
        asyncio.run(Customer.create(name=name))
    print(len(asyncio.run(names())))
workshop.close()
"""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=20)
    assert done.stdout + done.stderr == "2\n"


def test_T9_the_json_of_tortoise_loses_types() -> None:
    """What our own codec is for; with and without orjson in the host's environment something is lost."""
    assert JSON_LOADS(JSON_DUMPS({"a": (1, 2)})) == {"a": [1, 2]}
    for value in ({1, 2}, b"x", 2**64 + 0j):
        with pytest.raises(TypeError):
            JSON_DUMPS({"a": value})


@pytest.mark.parametrize("sandbox", ["sqlite", "postgres"], indirect=True)
async def test_T10_all_that_is_stored_takes_its_time_from_our_clock(sandbox: Sandbox) -> None:
    """A clock that a test replaces does not reach the database's now(): no column of ours may come from it."""
    with VirtualClock().installed():
        agent = Trapped("u", {})
        agent.thread.append("note")
        await sandbox.jido.hibernate(agent)
        await sandbox.storage.append_thread("t", {"kind": "note"})
        await sandbox.storage.put_checkpoint("k", {})
    rows = [row for table, rows in (await sandbox.dump()).items() if table.startswith("jido_") for row in rows]
    times = [value for row in rows for name, value in row.items() if name.endswith("_ms")]
    assert set(times) == {int(START.timestamp() * 1000)}
    assert len(times) == 2 * 2 + 2 * 2 + 2


async def test_T11_our_errors_are_ours(pg_db: Database) -> None:
    """A deadlock comes out of Tortoise as asyncpg's own error, and out of ours as one that says what to do."""
    sql = "DO $$ BEGIN RAISE EXCEPTION 'a deadlock' USING ERRCODE = '40P01'; END $$"
    with pytest.raises(Exception, match="deadlock") as raw:
        await pg_db.client.execute_query(sql)
    assert type(raw.value).__module__.startswith("asyncpg")
    with pytest.raises(StorageBusyError) as ours:
        await fetch(resolve(None, JidoCheckpoint), sql)
    assert ours.value.outcome == "not_applied"


def test_every_trap_is_tested() -> None:
    """By its number, in the name or the docstring of a test where the list above says."""
    listed = re.findall(r"^    (T\d+) .*?((?:here|test_\w+\.py)(?:, test_\w+\.py)*)$", __doc__ or "", re.MULTILINE)
    assert [name for name, _ in listed] == [f"T{number}" for number in range(1, 12)]
    folder = Path(__file__).parents[1]
    for name, places in listed:
        for place in places.split(", "):
            files = folder.rglob("test_traps.py" if place == "here" else place)
            text = "".join(path.read_text("utf-8") for path in files)
            assert re.search(rf'def test_{name}_|"""[^"]*\b{name}\b', text), (name, place)
