"""The tables of recording under the host's own hands: what belongs together stays together, and events never change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from tortoise.exceptions import IntegrityError

from jido_tortoise.errors import InvalidRecordError, SchemaError
from jido_tortoise.recording.models import AsmArtifact, AsmEvent, AsmRun, AsmSession, AsmSessionSequence
from jido_tortoise.schema import verify
from jido_tortoise.schema.families import FAMILIES
from tests.conftest import Database

NOW = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


async def session(name: str = "s", **columns: Any) -> AsmSession:
    """Make a row of a session, and its counter."""
    times = {"created_at": NOW, "updated_at": NOW}
    given = {"agent_id": "a", "status": "active", "metadata": {}, "context": {}, "tags": ["x"], "revision": 1, **times}
    made = await AsmSession.create(**{"id": name, **given, **columns})
    await AsmSessionSequence.create(session_id=name, last_sequence=1, first_sequence=1, pruned=0, **times)
    return made


async def run(**columns: Any) -> AsmRun:
    """Make a row of a run."""
    maps: dict[str, Any] = {"metadata": {}, "token_usage": {}, "provider_metadata": {}}
    given = {"id": "r", "session_id": "s", "status": "running", "turn_count": 0, "started_at": NOW, "revision": 1}
    return await AsmRun.create(**{**given, **maps, **columns})


async def event(**columns: Any) -> AsmEvent:
    """Make a row of an event."""
    given = {"id": "e", "type": "run_started", "timestamp": NOW, "session_id": "s", "sequence_number": 1}
    return await AsmEvent.create(**{**given, "data": {}, "metadata": {}, "schema_version": 1, **columns})


async def artifact(**columns: Any) -> AsmArtifact:
    """Make a row of an artifact."""
    content = {"byte_size": 1, "checksum_sha256": "0" * 64, "storage_backend": "file", "storage_ref": "x" * 3000}
    given = {"id": "art", "session_id": "s", "key": "k", "metadata": {}, "created_at": NOW}
    return await AsmArtifact.create(**{**given, **content, **columns})


async def test_w8_nothing_is_there_without_its_session(recording_db: Database) -> None:
    """Neither a run nor an artifact can be inserted for a session that is not there; appends see to events."""
    makers: list[Callable[..., Awaitable[Any]]] = [run, artifact]
    for make in makers:
        with pytest.raises(IntegrityError):
            await make(session_id="nowhere")
    assert await artifact(session_id=None)


async def test_w8_a_deleted_session_takes_all_along(recording_db: Database) -> None:
    """Raw SQL too leaves no orphan, and what is of another session stays."""
    for name in ("s", "other"):
        await session(name)
        await run(id=name, session_id=name)
        await event(id=name, session_id=name)
        await artifact(id=name, session_id=name, key=name)
    await recording_db.client.execute_query("DELETE FROM asm_sessions WHERE id = 's'")
    for model in (AsmRun, AsmEvent, AsmArtifact, AsmSessionSequence):
        assert [row.session_id for row in await model.all()] == ["other"]


@pytest.mark.parametrize("sql", ["UPDATE asm_events SET data = '{}'", "UPDATE asm_events SET sequence_number = 7"])
async def test_events_never_change(recording_db: Database, sql: str) -> None:
    """Both databases refuse it, whoever asks; deleting is allowed."""
    await session()
    await event()
    with pytest.raises(Exception, match="events are never updated"):
        await recording_db.client.execute_query(sql)
    assert await AsmEvent.all().delete() == 1


async def test_w21_a_key_is_free_again_after_a_soft_delete(recording_db: Database) -> None:
    """Two live artifacts cannot have one key, a live and any number of deleted ones can."""
    await session()
    for number in range(3):
        await artifact(id=f"a{number}", deleted_at=NOW if number else None)
    with pytest.raises(IntegrityError):
        await artifact(id="a3")


async def test_rows_are_checked_when_they_are_saved(recording_db: Database) -> None:
    """By the rules of the values, before the database is asked; what is there may have a newer version's status."""
    refused: list[tuple[dict[str, Any], str]] = [
        ({"status": "done"}, "session.status"),
        ({"tags": [1]}, "session.tags[0]"),
        ({"id": ""}, "session.id"),
    ]
    for bad, path in refused:
        with pytest.raises(InvalidRecordError) as caught:
            await session(**bad)
        assert caught.value.path == path
    made = await session()
    await recording_db.client.execute_query("UPDATE asm_sessions SET status = 'archived'")
    await made.refresh_from_db()
    made.tags = ["kept"]
    await made.save()
    assert (made.status, (await AsmSession.get(id="s")).tags) == ("archived", ["kept"])
    made.metadata = None
    with pytest.raises(InvalidRecordError, match=r"session\.metadata"):
        await made.save()


async def test_verify_misses_every_guard(recording_db: Database) -> None:
    """Each trigger, foreign key and index of the list, by its name, when it is gone."""
    dialect: Any = recording_db.dialect
    await verify()
    for guard in FAMILIES["recording"].guards:
        if not guard.up[dialect]:
            continue
        for sql in guard.down[dialect]:
            await recording_db.client.execute_query(str(sql).replace("{schema}", ""))
        with pytest.raises(SchemaError, match=f"has no {guard.kind[dialect]} {guard.name}"):
            await verify()
        for sql in guard.up[dialect]:
            await recording_db.client.execute_query(str(sql).replace("{schema}", ""))
    await verify()
