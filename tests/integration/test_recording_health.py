"""What health_check finds, and what repair rights (W7, W8, W19 to W21)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jido_tortoise import telemetry
from jido_tortoise.errors import CorruptRowError, InvalidInputError
from jido_tortoise.recording import Artifact, ArtifactRegistry, Event, FileArtifactStore, Maintenance, Run, SessionStore
from jido_tortoise.recording.recovery import recover_runs
from tests.conftest import Database
from tests.integration.kept import ago, ids, kept, numbers, told


async def broken(database: Database, sql: str) -> None:
    """Do what no API of ours does, with the guards of the database off."""
    if database.dialect == "postgres":
        await database.client.execute_script(f"BEGIN; SET LOCAL session_replication_role = replica; {sql}; COMMIT")
        return
    guards = await database.client.execute_query_dict("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    script = "".join(f"DROP TRIGGER {guard['name']};" for guard in guards)
    await database.client.execute_script(f"{script}{sql};{';'.join(guard['sql'] for guard in guards)}")


async def reasons() -> dict[str, int]:
    """Give what the health check tells, with its counts."""
    return {issue.reason: issue.count for issue in await Maintenance().health_check()}


async def test_what_lost_its_session_is_found_and_removed(recording_db: Database, tmp_path: Path) -> None:
    """W8: events, runs, counters and artifacts, each kind told; after the repair nothing is left, content included."""
    files = FileArtifactStore(tmp_path / "content")
    registry = ArtifactRegistry(files)
    await kept("gone")
    await kept("s")
    await told("gone", *["message_sent"] * 3)
    await told("s", "message_sent")
    await SessionStore().save_run(Run(session_id="gone", id="r"))
    await registry.put("notes", b"text", session_id="gone")
    await broken(recording_db, "DELETE FROM asm_sessions WHERE id = 'gone'")
    found = await reasons()
    assert found == {"orphaned_events": 3, "orphaned_runs": 1, "orphaned_artifacts": 1, "orphaned_sequences": 1}
    left = await Maintenance().repair()  # without the store of its content
    assert [issue.reason for issue in left.left] == ["orphaned_artifacts"]
    assert "1 artifacts reference non-existent sessions" in str(left.left[0])
    assert {issue.reason for issue in left.repaired} == found.keys() - {"orphaned_artifacts"}
    assert (await Maintenance(artifacts=files).repair()).left == []
    assert [*files.root.iterdir()] == []
    assert await reasons() == {}
    assert await numbers("s") == [1]


async def test_counters_are_held_against_the_events(recording_db: Database) -> None:
    """W20: a counter that is missing or behind, and gaps; repaired, the next event gets a number that nobody had."""
    for name in ("bare", "behind", "gap", "fine"):
        await kept(name)
        await told(name, *["message_sent"] * 5)
    await broken(
        recording_db,
        "DELETE FROM asm_session_sequences WHERE session_id = 'bare';"
        " UPDATE asm_session_sequences SET last_sequence = 3 WHERE session_id = 'behind';"
        " DELETE FROM asm_events WHERE session_id = 'gap' AND sequence_number IN (2, 3)",
    )
    found = {issue.session_id: issue for issue in await Maintenance().health_check()}
    wanted = {"bare": ("missing_counter", 5), "behind": ("counter_behind", 1), "gap": ("missing_events", 2)}
    assert {name: (issue.reason, issue.count) for name, issue in found.items()} == wanted
    assert str(found["behind"]) == "Sequence mismatch for behind: counter=3, max_sequence=5"
    report = await Maintenance().repair()
    assert ({issue.session_id for issue in report.repaired}, report.left) == (set(wanted), [])
    for name in wanted:
        event = await SessionStore().append_event(Event(type="message_sent", session_id=name))
        assert event.sequence_number == 6
    assert await reasons() == {}


async def test_uncounted_events_can_be_appended_to_after_the_repair(recording_db: Database) -> None:
    """W8: what an append refuses, naming the repair, it takes after it."""
    await kept("s")
    await told("s", *["message_sent"] * 3)
    await broken(recording_db, "UPDATE asm_session_sequences SET last_sequence = 1 WHERE session_id = 's'")
    event = Event(type="message_sent", session_id="s")
    with pytest.raises(CorruptRowError, match="repair"):
        await SessionStore().append_event(event)
    await Maintenance().repair()
    assert (await SessionStore().append_event(event)).sequence_number == 4


async def test_runs_that_nobody_executes(recording_db: Database) -> None:
    """W7: a lease that has run out is found and ended by the repair; without a lease it is told after a day."""
    store = SessionStore()
    await kept("s", status="active")
    for name, days in {"lost": 3.0, "leased": 2.0, "bare": 2.0, "young": 0.0}.items():
        await store.save_run(Run(id=name, session_id="s", status="running", started_at=ago(days)), concurrent=True)
    assert await store.lease_run("leased", "me", 1e300)
    with pytest.raises(InvalidInputError, match="seconds: expected"):
        await store.lease_run("leased", "me", 10**400)
    await store.lease_run("lost", "dead", 1000)
    await broken(recording_db, "UPDATE asm_runs SET leased_until = started_at WHERE id = 'lost'")
    told_ = await Maintenance().health_check()
    assert {(issue.reason, issue.message.split("'")[1]) for issue in told_} == {
        ("stuck_run", "lost"),
        ("stuck_run", "bare"),
    }
    assert [run.id for run in await Maintenance().recover_runs()] == ["lost"]
    assert (await store.get_run("lost")).error == {
        "code": "run_lost",
        "message": "the process that executed it gave no sign of life",
    }
    assert [issue.message.split("'")[1] for issue in await Maintenance().health_check()] == ["bare"]
    assert await ids() == {"s"}


async def test_what_names_a_run_that_is_not_there(recording_db: Database) -> None:
    """W20: events and artifacts without their run are told, and left: nobody knows what would be right."""
    await kept("s")
    event = Event(type="message_sent", session_id="s", run_id="nowhere")
    await SessionStore().append_events([event, replace(event, id="e2")])
    await ArtifactRegistry().register(artifact_of("s", "nowhere"))
    assert await reasons() == {"events_without_run": 2, "artifacts_without_run": 1}
    assert len((await Maintenance().repair()).left) == 2


def artifact_of(session_id: str, run_id: str) -> Artifact:
    """Make what is known of an artifact whose content is elsewhere."""
    return Artifact(
        key="k",
        byte_size=1,
        checksum_sha256="0" * 64,
        storage_backend="elsewhere",
        storage_ref="r",
        session_id=session_id,
        run_id=run_id,
    )


async def test_content_is_held_against_its_row(recording_db: Database, tmp_path: Path) -> None:
    """W20, W21: content that is gone or shorter is told at once, content that was changed when it is read."""
    store = FileArtifactStore(tmp_path)
    registry, maintenance = ArtifactRegistry(store), Maintenance(artifacts=store)
    made = {name: await registry.put(name, b"0123456789") for name in ("gone", "short", "changed", "fine")}
    await store.delete(made["gone"].storage_ref)
    await store.put(made["short"].storage_ref, b"0123")
    await store.put(made["changed"].storage_ref, b"012345678x")
    quick = {issue.message.split("'")[1]: issue.reason for issue in await maintenance.health_check()}
    assert quick == {"gone": "missing_content", "short": "wrong_content"}
    full = {issue.message.split("'")[1]: issue.reason for issue in await maintenance.health_check(contents=True)}
    assert full == {**quick, "changed": "wrong_content"}


async def test_a_run_without_its_session_keeps_no_other_from_being_recovered(recording_db: Database) -> None:
    """W7, W8: an orphan is no lost run of anybody's; the repair removes it, and recovery passes it by."""
    store = SessionStore()
    for name in ("a", "gone", "z"):
        await kept(name, status="active")
        await store.save_run(Run(id=f"r-{name}", session_id=name, status="running"))
        await store.lease_run(f"r-{name}", "dead", 1000)
    await broken(
        recording_db, "UPDATE asm_runs SET leased_until = started_at; DELETE FROM asm_sessions WHERE id = 'gone'"
    )
    assert {run.id for run in await Maintenance().recover_runs()} == {"r-a", "r-z"}


async def test_a_malformed_run_keeps_no_other_from_being_recovered(
    recording_db: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W7, W13: malformed runs, sessions and events are told, each once, and starve nobody, whatever the limit is."""
    monkeypatch.setattr("jido_tortoise.recording.reading._LEAST", 1)
    store = SessionStore()
    # By the end of their leases: what cannot be read comes before what can.
    for days, name in enumerate(reversed(["bad-1", "bad-2", "bad-3", "bad-session", "bad-event", "a", "b", "c"]), 1):
        await kept(name, status="active")
        await store.save_run(Run(id=f"r-{name}", session_id=name, status="running", started_at=ago(days)))
        await store.lease_run(f"r-{name}", "dead", 1000)
    await store.append_event(Event(id="e", type="message_sent", session_id="bad-event", run_id="r-bad-event"))
    await broken(
        recording_db,
        "UPDATE asm_runs SET leased_until = started_at;"
        " UPDATE asm_runs SET input = '3' WHERE id IN ('r-bad-1', 'r-bad-2', 'r-bad-3');"
        " UPDATE asm_sessions SET metadata = '3' WHERE id = 'bad-session';"
        " UPDATE asm_events SET data = '3' WHERE id = 'e'",
    )
    with pytest.raises(CorruptRowError):
        await store.lost_runs(limit=1)
    assert [run.id for run in await store.lost_runs(limit=3, on_corrupt=[].append)] == [
        "r-bad-session",
        "r-bad-event",
        "r-a",
    ]
    told_: list[CorruptRowError] = []
    heard: list[dict[str, object]] = []
    with telemetry.add_hook(lambda event: heard.append(event.facts) if event.phase == "stop" else None):
        first = await recover_runs(store, limit=2, on_corrupt=told_.append)
    assert [run.id for run in first] == ["r-a", "r-b"]
    assert sorted(str(error.key) for error in told_) == ["bad-session", "e", "r-bad-1", "r-bad-2", "r-bad-3"]
    assert [(facts["count"], facts["malformed"]) for facts in heard if "malformed" in facts] == [(2, 5)]
    assert [run.id for run in await Maintenance().recover_runs()] == ["r-c"]
    assert [name for name in ("r-bad-1", "r-bad-2", "r-bad-3") if name not in caplog.text] == []
    left = {issue.message.split("'")[1] for issue in (await Maintenance().repair()).left}
    assert left == {"r-bad-1", "r-bad-2", "r-bad-3"}, "the other two are whose recovery was tried a moment ago"
