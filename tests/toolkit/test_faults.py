"""The fault sweep itself: operations that are broken in a known way are found out, and the report says where."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import Any

import aiosqlite
import pytest
from tortoise.transactions import in_transaction

from jido_tortoise.agents.models import JidoCheckpoint, JidoThread
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.database import resolve, transaction
from jido_tortoise_testing.faults import (
    CrashReport,
    CrashSafetyError,
    Injector,
    Trial,
    cancel_everywhere,
    cancelled,
    crash_everywhere,
    watching,
)
from jido_tortoise_testing.faults.report import Violation
from tests.conftest import Database

storage = TortoiseStorage()


async def _seen(trial: Trial) -> Any:
    checkpoint, thread = await storage.get_checkpoint(trial.name), await storage.load_thread(trial.name)
    return checkpoint is not None, 0 if thread is None else len(thread)


async def _torn(trial: Trial) -> None:
    """Do two things without a transaction."""
    await storage.append_thread(trial.name, [{"kind": "a"}, {"kind": "b"}])
    await storage.put_checkpoint(trial.name, {})


async def _whole(trial: Trial) -> None:
    async with transaction(resolve(None, JidoCheckpoint)):
        await _torn(trial)


async def _found(operation: Any, invariant: Any = _seen, **options: Any) -> CrashReport:
    with pytest.raises(CrashSafetyError) as caught:
        await crash_everywhere(operation, invariant, **options)
    return caught.value.report


def _what(report: CrashReport) -> str:
    return "\n".join(violation.what for violation in report.violations)


# -- what it must find --------------------------------------------------------------------------------------------


async def test_a_torn_operation_is_found_at_the_second_statement(db: Database) -> None:
    """Two writes without a transaction: half of it is seen after a fault between them."""
    report = await _found(_torn)
    assert (report.before, report.after) == ((False, 0), (True, 2))
    assert "legal states: before ((False, 0)) | after ((True, 2))     found: (False, 2)" in _what(report)
    if db.backend == "sqlite-file":
        assert any(violation.fault.startswith("the process died before") for violation in report.violations)


async def test_a_state_in_between_can_be_made_legal(db: Database) -> None:
    """The host of an operation of two steps says so, and the rest is proved."""
    report = await crash_everywhere(_torn, _seen, also=[(False, 2)], kinds=["cancel"], tell=lambda _: None)
    assert report.violations == []


async def test_the_same_in_one_transaction_is_sound(db: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """The good operation is blamed for nothing, and the report names its statements, BEGIN and COMMIT included."""
    report = await crash_everywhere(_whole, _seen)
    printed = capsys.readouterr().out
    assert printed == f"{report}\n"
    assert f"_whole(): proved over {len(report.points)} of {len(report.points)} points" in printed
    assert any(sql.startswith("BEGIN") for sql in report.statements)
    assert any(sql.startswith("COMMIT") for sql in report.statements)
    kinds = 2 if db.backend == "sqlite-memory" else 3
    images = len(report.statements) + 1 if db.backend == "sqlite-file" else 0
    assert len(report.points) == 2 * kinds * len(report.statements) + images


async def test_an_acknowledged_write_that_is_not_there_is_found(db: Database) -> None:
    """An operation that swallows the error of its write has lied."""

    async def swallows(trial: Trial) -> None:
        with contextlib.suppress(Exception):
            await storage.put_checkpoint(trial.name, {})

    report = await _found(swallows, kinds=["fail"])
    assert "it was acknowledged, and is not there" in _what(report)


async def test_an_error_that_denies_what_happened_is_found(db: Database) -> None:
    """An error may not say `not_applied` when it was applied."""

    class DenialError(Exception):
        outcome = "not_applied"

    async def denies(trial: Trial) -> None:
        try:
            await storage.put_checkpoint(trial.name, {})
        except Exception as error:
            raise DenialError from error

    report = await _found(denies, kinds=["fail"])
    assert "its error says that nothing was applied" in _what(report)


async def test_an_open_transaction_is_found_by_the_second_connection(sqlite_db: Database) -> None:
    """T3: nobody rolls back after a COMMIT that failed, and later writes are acknowledged into the same transaction."""

    async def leaves_open(trial: Trial) -> None:
        connection = sqlite_db.client._connection
        await connection.execute("BEGIN")
        await connection.execute("INSERT INTO jido_threads VALUES (?, 0, 0, '{}', 0, 0)", [trial.name])
        await connection.commit()

    async def seen(trial: Trial) -> bool:
        return await storage.get_thread_head(trial.name) is not None

    report = await _found(leaves_open, seen, kinds=["fail"])
    assert "a transaction is still open on the connection" in _what(report)


async def test_the_zombie_of_tortoise_is_found(sqlite_db: Database) -> None:
    """T3 with Tortoise's own in_transaction(), which our own code therefore never uses."""

    async def theirs(trial: Trial) -> None:
        async with in_transaction("default"):
            await JidoThread.create(
                thread_id=trial.name, rev=0, first_seq=0, metadata={}, created_at_ms=0, updated_at_ms=0
            )

    async def seen(trial: Trial) -> bool:
        return await JidoThread.filter(thread_id=trial.name).exists()

    report = await _found(theirs, seen, patience=0.3)
    assert "a transaction is still open on the connection" in _what(report)


async def test_the_wedge_of_tortoise_is_found(sqlite_db: Database) -> None:
    """T2: cancelled at BEGIN, Tortoise keeps its lock for ever; the sweep says so, and goes on with the next fault."""

    async def theirs(trial: Trial) -> None:
        async with in_transaction("default") as inner:
            await inner.execute_query("SELECT 1")

    async def nothing(trial: Trial) -> None:
        pass

    with pytest.raises(CrashSafetyError) as caught:
        await cancel_everywhere(theirs, nothing, patience=0.2)
    assert "the next write on the connection did not end within 0.2 s" in str(caught.value)
    assert caught.value.report.sound > 0


async def test_connections_that_are_not_given_back_are_found(pg_db: Database) -> None:
    """A pool that loses a connection at each fault is dead after a few."""

    async def leaks(trial: Trial) -> None:
        raw = await pg_db.client._pool.acquire()
        await raw.execute("SELECT 1")
        await pg_db.client._pool.release(raw)

    async def nothing(trial: Trial) -> None:
        pass

    report = await _found(leaks, nothing, kinds=["fail"], patience=0.1)
    assert "1 connections were never given back to the pool" in _what(report)


async def test_an_operation_that_hangs_is_found(db: Database) -> None:
    """An operation that waits for ever after a fault does not make the sweep wait for ever."""

    async def hangs(trial: Trial) -> None:
        try:
            await storage.put_checkpoint(trial.name, {})
        except Exception:
            await asyncio.Event().wait()

    report = await _found(hangs, kinds=["fail"], patience=0.2)
    assert "it did not end within 0.2 s" in _what(report)


async def test_an_invariant_that_raises_is_a_violation(db: Database) -> None:
    """An assertion in the invariant is told with the fault, and any other error too."""

    async def put(trial: Trial) -> None:
        await storage.put_checkpoint(trial.name, {})

    async def never(trial: Trial) -> None:
        if trial.fault is not None:
            assert trial.acknowledged, "it must be acknowledged"
            raise LookupError("gone")

    report = await _found(put, never, kinds=["cancel", "fail"])
    assert "the invariant does not hold: it must be acknowledged" in _what(report)
    if db.backend == "sqlite-file":
        assert "the invariant raised LookupError('gone')" in _what(report)


async def test_a_swallowed_cancellation_is_found(db: Database) -> None:
    """A call that goes on after its cancellation makes timeouts and task groups useless."""

    async def swallows(trial: Trial) -> None:
        for _ in range(3):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.001)

    async def nothing(trial: Trial) -> None:
        pass

    with pytest.raises(CrashSafetyError, match="the cancellation was swallowed"):
        await cancel_everywhere(swallows, nothing)


async def test_an_operation_that_fails_without_a_fault_says_so(db: Database) -> None:
    """A sweep of an operation that does not work at all proves nothing."""

    async def broken(trial: Trial) -> None:
        raise LookupError("always")

    with pytest.raises(LookupError, match="always"):
        await crash_everywhere(broken, _seen)


# -- words --------------------------------------------------------------------------------------------------------


async def test_the_words_of_a_failure(sqlite_db: Database) -> None:
    """The message names the operation, the fault with its statement, the legal states, and how much was sound."""
    report = await _found(_torn, kinds=["cancel"])
    with pytest.raises(CrashSafetyError) as caught:
        report.raise_for_violations()
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(
        "_torn() on a SQLite file: when statement 0 was about to run and the caller was cancelled"
    )
    assert lines[1].startswith("  legal states: before ((False, 0)) | after ((True, 2))     found: (False, 2)")
    assert lines[-1] == f"{report.sound} other fault points: ok"


def test_many_violations_are_counted() -> None:
    """A broken operation does not fill the screen."""
    report = CrashReport("save()", "PostgreSQL", violations=[Violation(f"fault {n}", "x") for n in range(11)])
    with pytest.raises(CrashSafetyError) as caught:
        report.raise_for_violations()
    assert "+3 more in the report" in str(caught.value)
    assert "fault 8" not in str(caught.value)


# -- the seam -----------------------------------------------------------------------------------------------------


async def test_the_seams_of_the_drivers_are_put_back(db: Database) -> None:
    """Nothing is left of a sweep in aiosqlite and asyncpg."""
    from asyncpg.connection import Connection

    before = (aiosqlite.Connection.__dict__["_conn"], Connection.fetch, Connection.execute)
    with watching(Injector()):
        await storage.append_thread("t", {"kind": "note"})
    assert (aiosqlite.Connection.__dict__["_conn"], Connection.fetch, Connection.execute) == before


async def test_each_way_to_run_a_statement_is_seen(db: Database) -> None:
    """The host's queries through Tortoise count as ours do: single, many, a script and a transaction."""
    injector = Injector()

    async def work() -> None:
        await db.client.execute_query("SELECT 1")
        await db.client.execute_query_dict("SELECT 2")
        await db.client.execute_script("SELECT 3")
        async with in_transaction("default") as inner:
            await inner.execute_query("SELECT 4")
        with pytest.raises(ZeroDivisionError):
            async with in_transaction("default"):
                raise ZeroDivisionError
        await db.client.execute_many(
            "DELETE FROM jido_threads WHERE rev = " + ("$1" if db.dialect == "postgres" else "?"), [[1], [2]]
        )

    task = asyncio.ensure_future(work())
    with injector.armed(task):
        await task
    log = " | ".join(injector.log)
    for part in ("SELECT 1", "SELECT 2", "SELECT 3", "SELECT 4", "BEGIN", "COMMIT", "ROLLBACK", "DELETE FROM"):
        assert part in log


async def test_a_call_that_hangs_when_cancelled_is_told() -> None:
    """The building block of both sweeps has a deadline."""

    async def deaf() -> None:
        loop = asyncio.get_running_loop()
        ends = loop.time() + 0.3
        while loop.time() < ends:
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue

    with pytest.raises(AssertionError, match=r"goes on 0\.1 s after it was cancelled"):
        await cancelled(deaf, 0, late=False, patience=0.1)
    await asyncio.sleep(0.3)


def test_sqlite_errors_carry_their_code() -> None:
    """An injected error is told from the others as a real one is."""
    from jido_tortoise_testing.faults.injecting import _sqlite_error

    assert _sqlite_error("x", sqlite3.SQLITE_IOERR).sqlite_errorcode == sqlite3.SQLITE_IOERR
