"""Our own operations, crashed at every statement and cancelled at every await, on all three databases."""

from __future__ import annotations

from typing import Any

import pytest

from jido_tortoise import Agent, Jido
from jido_tortoise.agents.care import delete_agent
from jido_tortoise.agents.models import JidoCheckpoint
from jido_tortoise.agents.storage import ThreadWrite
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.database import resolve, transaction
from jido_tortoise.schema import create
from jido_tortoise_testing.faults import CrashReport, Trial, cancel_everywhere, crash_everywhere
from tests.conftest import Database

pytestmark = pytest.mark.usefixtures("unmeasured")

storage = TortoiseStorage()


class Walker(Agent, agent_type="crash-walker"):
    """Has a dict for its state."""


def _notes(trial: Trial, count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"id": f"{trial.name}-{n}", "kind": "note", "payload": {"n": n}} for n in range(start, start + count)]


async def _journal(trial: Trial) -> Any:
    """Look at head and entries."""
    head, thread = await storage.get_thread_head(trial.name), await storage.load_thread(trial.name)
    seqs = [entry.seq for entry in thread] if thread is not None else []
    return None if head is None else (head.rev, head.first_seq), seqs


async def _agent(trial: Trial) -> Any:
    """Look at checkpoint, pointer and journal; an agent that is there must thaw."""
    checkpoint = await storage.get_checkpoint((Walker.agent_type, trial.name))
    if checkpoint is None:
        return None, await _journal(_of_agent(trial))
    agent = await Jido(storage).thaw(Walker, trial.name, journal="exact")
    return checkpoint.version, agent.state, [entry.payload["n"] for entry in agent.thread]


def _of_agent(trial: Trial) -> Trial:
    return Trial(Walker(trial.name).thread.id)


async def _both(operation: Any, look: Any, prepare: Any = None, **options: Any) -> CrashReport:
    report = await crash_everywhere(operation, look, prepare=prepare, **options)
    await cancel_everywhere(operation, look, prepare=prepare, **options)
    return report


async def _stored_journal(trial: Trial) -> None:
    await storage.append_thread(trial.name, _notes(trial, 4))


async def _stored_agent(trial: Trial) -> Walker:
    agent = Walker(trial.name, {"n": 0})
    agent.thread.append("note", {"n": 0})
    await Jido(storage).hibernate(agent)
    agent.state["n"] = 1
    agent.thread.append("note", {"n": 1})
    return agent


async def test_first_append(db: Database) -> None:
    """An append that makes its journal."""

    async def append_thread(trial: Trial) -> None:
        await storage.append_thread(trial.name, _notes(trial, 3), expected_rev=0)

    report = await _both(append_thread, _journal)
    assert report.after == ((3, 0), [0, 1, 2])
    assert len(report.statements) >= 1


async def test_later_append(db: Database) -> None:
    """An append to a journal that is there."""

    async def append_thread(trial: Trial) -> None:
        await storage.append_thread(trial.name, _notes(trial, 2, 4), expected_rev=4)

    report = await _both(append_thread, _journal, _stored_journal)
    assert report.after == ((6, 0), [0, 1, 2, 3, 4, 5])


async def test_save(db: Database) -> None:
    """Checkpoint and journal in one step."""

    async def save(trial: Trial) -> None:
        write = ThreadWrite(id=_of_agent(trial).name, entries=_notes(trial, 2), expected_rev=0)
        await storage.save((Walker.agent_type, trial.name), {"id": trial.name}, expected_version=0, thread=write)

    async def look(trial: Trial) -> Any:
        fetched = await storage.fetch((Walker.agent_type, trial.name))
        return fetched and (fetched[0].version, fetched[1] and fetched[1].rev), await _journal(_of_agent(trial))

    report = await _both(save, look)
    assert report.after == ((1, 2), ((2, 0), [0, 1]))


async def test_first_hibernate(db: Database) -> None:
    """An agent that was never stored; the same agent may hibernate again after the fault."""

    async def hibernate(trial: Trial) -> None:
        trial.given = Walker(trial.name, {"n": 0})
        trial.given.thread.append("note", {"n": 0})
        await Jido(storage).hibernate(trial.given)

    await _both(hibernate, _agent)


async def test_guarded_hibernate(db: Database) -> None:
    """An agent that was stored before and has changed since."""

    async def hibernate(trial: Trial) -> None:
        await Jido(storage).hibernate(trial.given)

    report = await _both(hibernate, _agent, _stored_agent)
    assert report.before == (1, {"n": 0}, [0])
    assert report.after == (2, {"n": 1}, [0, 1])


async def test_hibernate_again(db: Database) -> None:
    """After a fault of whichever outcome, the same call of the same agent succeeds and writes nothing twice."""

    async def hibernate(trial: Trial) -> None:
        await Jido(storage).hibernate(trial.given)

    async def again(trial: Trial) -> Any:
        seen = await _agent(trial)
        if trial.fault is not None and not trial.fault.startswith("the process died"):
            await Jido(storage).hibernate(trial.given)
            version, *rest = await _agent(trial)
            assert rest == [{"n": 1}, [0, 1]], (version, rest)
        return seen

    await _both(hibernate, again, _stored_agent)


async def test_delete_agent(db: Database) -> None:
    """Checkpoint and journal go together."""

    async def delete(trial: Trial) -> None:
        await delete_agent(storage, Walker, trial.name)

    report = await _both(delete, _agent, _stored_agent)
    assert report.after == (None, (None, []))


async def test_delete_thread(db: Database) -> None:
    """Head and entries go together."""

    async def delete(trial: Trial) -> None:
        await storage.delete_thread(trial.name)

    await _both(delete, _journal, _stored_journal)


async def test_trim(db: Database) -> None:
    """The first number moves with what is dropped."""

    async def trim(trial: Trial) -> None:
        await storage.trim_thread(trial.name, before=3)

    report = await _both(trim, _journal, _stored_journal)
    assert report.after == ((4, 3), [3])


async def test_copy(db: Database) -> None:
    """The copy is there whole or not at all."""

    async def copy(trial: Trial) -> None:
        await storage.copy_thread(trial.name, f"{trial.name}-copy")

    async def look(trial: Trial) -> Any:
        return await _journal(Trial(f"{trial.name}-copy"))

    await _both(copy, look, _stored_journal)


async def test_transaction_of_the_host(db: Database) -> None:
    """Two agents and a journal in one transaction of ours around them."""

    async def together(trial: Trial) -> None:
        async with transaction(resolve(None, JidoCheckpoint)):
            await Jido(storage).hibernate(trial.given)
            await storage.append_thread(trial.name, _notes(trial, 2))

    async def look(trial: Trial) -> Any:
        return await _agent(trial), await _journal(trial)

    await _both(together, look, _stored_agent)


async def test_put_and_delete_checkpoint(db: Database) -> None:
    """A checkpoint alone."""

    async def put(trial: Trial) -> None:
        await storage.put_checkpoint(trial.name, {"n": 1}, expected_version=0)

    async def look(trial: Trial) -> Any:
        found = await storage.get_checkpoint(trial.name)
        return found and (found.version, found.data)

    async def delete(trial: Trial) -> None:
        await storage.delete_checkpoint(trial.name)

    await _both(put, look)
    await _both(delete, look, put)


async def test_upgrade_on_sqlite(sqlite_db: Database) -> None:
    """An upgrade makes all the tables with its note of that, or none."""

    async def drop(trial: Trial) -> None:
        rows = await sqlite_db.client.execute_query_dict("SELECT name FROM sqlite_master WHERE type = 'table'")
        for row in rows:
            if not row["name"].startswith(("jido_probe", "sqlite")):
                await sqlite_db.client.execute_script(f"DROP TABLE {row['name']}")

    async def upgrade(trial: Trial) -> None:
        await create()

    async def look(trial: Trial) -> list[str]:
        client = resolve(None, JidoCheckpoint).client
        rows = await client.execute_query_dict("SELECT type, name FROM sqlite_master ORDER BY type, name")
        return [f"{row['type']} {row['name']}" for row in rows if not row["name"].startswith(("jido_probe", "sqlite"))]

    report = await _both(upgrade, look, drop)
    assert report.before == []
    assert {"table jido_checkpoints", "table jido_threads", "table jido_thread_entries"} <= set(report.after)  # type: ignore[call-overload]


async def test_upgrade_on_postgres(pg_db: Database) -> None:
    """The same on PostgreSQL, in a schema of its own each time."""

    async def upgrade(trial: Trial) -> None:
        await create(schema=trial.name)

    async def look(trial: Trial) -> list[str]:
        sql = f"SELECT tablename FROM pg_tables WHERE schemaname = '{trial.name}' ORDER BY 1"
        return [row["tablename"] for row in await resolve(None, JidoCheckpoint).client.execute_query_dict(sql)]

    report = await _both(upgrade, look)
    assert report.before == []
    assert {"jido_checkpoints", "jido_threads", "jido_thread_entries"} <= set(report.after)  # type: ignore[call-overload]
