"""Retention: the 16 maintenance cases of the contract (M1 to M16), and the weaknesses of its original (W18 to W23)."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tortoise.transactions import in_transaction

from jido_tortoise.errors import InvalidInputError, JidoError
from jido_tortoise.recording import (
    FileArtifactStore,
    Maintenance,
    MaintenanceReport,
    RetentionPolicy,
    SessionStore,
    import_sessions,
)
from jido_tortoise.recording.archiving import events_key, session_key
from jido_tortoise.recording.retention_pass import Step
from tests.conftest import Database, opened
from tests.integration import pruning_worker
from tests.integration.kept import ago, ids, kept, numbers, refuse_deletes, told
from tests.integration.test_costs import sent


def policy(**fields: Any) -> RetentionPolicy:
    """Make a policy that does nothing but what is said."""
    off = {"max_completed_session_age_days": None, "hard_delete_after_days": None}
    return RetentionPolicy(**{**off, **fields})


def same_counts(report: MaintenanceReport, **counts: int) -> None:
    """Check all numbers of a report."""
    names = [name for name in MaintenanceReport.__slots__ if name not in ("duration_ms", "dry_run", "errors")]  # type: ignore[attr-defined]
    assert {name: getattr(report, name) for name in names} == {**dict.fromkeys(names, 0), **counts}, report


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"batch_size": 0}, "policy.batch_size"),  # M2
        ({"max_session_age_days": 0}, "policy.max_session_age_days"),
        ({"max_completed_session_age_days": True}, "policy.max_completed_session_age_days"),
        ({"hard_delete_after_days": 1.5}, "policy.hard_delete_after_days"),
        ({"max_total_events": "many"}, "policy.max_total_events"),
        ({"exempt_statuses": ["activ"]}, "policy.exempt_statuses[0]"),
        ({"exempt_tags": 3}, "policy.exempt_tags"),
        ({"prune_event_types_first": None}, "policy.prune_event_types_first"),
        ({"archive_before_prune": "no"}, "policy.archive_before_prune"),
        ({"archive_before_prune": True}, "policy.archive_store"),
        ({"archive_before_prune": True, "archive_store": "/tmp/archive"}, "policy.archive_store"),
    ],
)
def test_a_policy_that_is_none_is_refused(fields: dict[str, Any], path: str) -> None:
    """M2: nothing is deleted by a policy that does not say what it means."""
    with pytest.raises(InvalidInputError) as caught:
        RetentionPolicy(**fields)
    assert (caught.value.path, caught.value.reason) == (path, "validation_error")


def test_no_limit_may_be_said_as_infinity() -> None:
    """The document's `infinity` is None, or the number."""
    assert RetentionPolicy(max_total_events=float("inf"), hard_delete_after_days=None).max_total_events is None  # type: ignore[arg-type]


async def test_old_sessions_are_deleted_softly(recording_db: Database) -> None:
    """M3 to M7, W23: by their last change or their making; exempt ones stay; batch by batch."""
    await kept("old", status="completed")
    await kept("abandoned", status="pending")
    await kept("touched", status="completed", updated=10)
    await kept("live", status="active")
    await kept("pinned", status="failed", tags=["x", "pinned"])
    await kept("young", created=80, status="completed")
    maintenance = Maintenance()
    assert await maintenance.soft_delete_expired_sessions(policy()) == 0  # M6
    assert await maintenance.soft_delete_expired_sessions(policy(max_completed_session_age_days=90, batch_size=1)) == 2
    assert await ids() == {"touched", "live", "pinned", "young"}  # M3, M4, M5, M7
    old = await SessionStore().get_session("old")
    assert old.revision == 2
    assert old.deleted_at is not None
    assert old.updated_at < old.deleted_at
    steps: list[Step] = []
    aged = policy(max_session_age_days=90, max_completed_session_age_days=79, exempt_tags=(), exempt_statuses=())
    planned = await maintenance.execute(aged, dry_run=True, on_step=steps.append)
    assert {step.session_id for step in steps} == {"touched", "live", "pinned", "young"}
    same_counts(planned, sessions_soft_deleted=4)
    same_counts(await maintenance.execute(aged), sessions_soft_deleted=4)  # W18: max_session_age_days
    same_counts(await maintenance.execute(aged))


async def test_sessions_deleted_long_ago_are_deleted_for_good(recording_db: Database) -> None:
    """M8, M9, M16, W18, W19: pinned after all, they stay; one that cannot be is left whole, told, and the rest goes."""
    for name in ("a", "b", "c"):
        await kept(name, status="completed", deleted_at=ago(40))
        await told(name, "run_started", "message_sent")
    await kept("recent", status="completed", deleted_at=ago(20))
    await kept("pinned", status="completed", deleted_at=ago(40), tags=["pinned"])
    await kept("active", status="active", deleted_at=ago(40))
    maintenance = Maintenance()
    assert await maintenance.hard_delete_expired_sessions(policy()) == 0  # M16
    await refuse_deletes(recording_db, "asm_events", "OLD.session_id = 'b' AND OLD.sequence_number = 2")
    report = await maintenance.execute(policy(hard_delete_after_days=30, batch_size=1))
    same_counts(report, sessions_hard_deleted=2)
    assert len(report.errors) == 1
    assert "session 'b'" in report.errors[0]
    assert await numbers("b") == [1, 2]  # M9
    with pytest.raises(JidoError):
        await maintenance.hard_delete_expired_sessions(policy(hard_delete_after_days=30))
    left = {one.id for one in await SessionStore().list_sessions()}
    assert left == {"b", "recent", "pinned", "active"}  # M8


async def test_a_session_that_cannot_be_pruned_is_told(recording_db: Database) -> None:
    """W19: by its name, and the others are pruned all the same; asked to prune that one alone raises."""
    for name in ("a", "b", "c"):
        await kept(name)
        await told(name, *["message_sent"] * 4)
    await refuse_deletes(recording_db, "asm_events", "OLD.session_id = 'b'")
    few = policy(max_events_per_session=1, batch_size=2)
    report = await Maintenance().execute(few)
    same_counts(report, events_pruned=6)
    (error,) = report.errors
    assert error.startswith("prune: session 'b'")
    assert [len(await numbers(name)) for name in ("a", "b", "c")] == [1, 4, 1]
    with pytest.raises(JidoError):
        await Maintenance().prune_session_events("b", few)


async def test_events_are_pruned_in_their_order(recording_db: Database) -> None:
    """M10 to M13, M15, W18, W20: first the types that go first, then the oldest; what tells how it went stays."""
    types = ["session_created", "run_started", *["message_sent"] * 3, *["message_streamed"] * 2, "policy_violation"]
    await kept("s", status="completed")
    await told("s", *types, "run_completed", "message_streamed")
    maintenance = Maintenance()
    assert await maintenance.prune_session_events("s", policy()) == 0  # M12
    assert await maintenance.prune_session_events("s", policy(max_events_per_session=10)) == 0  # M11
    dry = await maintenance.execute(policy(max_events_per_session=5), dry_run=True)
    same_counts(dry, events_pruned=5)
    assert await maintenance.prune_session_events("s", policy(max_events_per_session=5, batch_size=2)) == 5  # M10
    assert await numbers("s") == [1, 2, 5, 8, 9]
    assert await maintenance.health_check() == []  # M14, M15
    assert (
        await SessionStore().get_latest_sequence("s") == 10
    )  # the newest event was pruned, its number is not used again
    same_counts(await maintenance.execute(policy(max_events_per_session=1), dry_run=True), events_pruned=1)
    same_counts(await maintenance.execute(policy(max_events_per_session=1)), events_pruned=1)
    assert await numbers("s") == [1, 2, 8, 9]  # M13
    named = policy(max_events_per_session=3, prune_event_types_first=["session_created"])
    assert await maintenance.prune_session_events("s", named) == 1
    await told_more("another")
    assert await numbers("s") == [2, 8, 9, 11]


async def test_exempt_sessions_keep_their_events(recording_db: Database) -> None:
    """W18: neither too many in a session nor too many in all prunes a live or pinned session."""
    for name, fields in {"live": {"status": "active"}, "pinned": {"tags": ["pinned"]}, "plain": {}}.items():
        await kept(name, **fields)
        await told(name, *["message_sent"] * 4)
    every = policy(max_events_per_session=1, max_total_events=1, batch_size=2)
    maintenance = Maintenance()
    assert await maintenance.prune_session_events("live", every) == 0
    same_counts(await maintenance.execute(every, dry_run=True), events_pruned=4)
    same_counts(await maintenance.execute(every), events_pruned=4)
    assert [len(await numbers(name)) for name in ("live", "pinned", "plain")] == [4, 4, 0]


async def test_the_oldest_events_of_all_go(recording_db: Database) -> None:
    """W18: max_total_events looks at all sessions, the types that go first first, and the oldest then."""
    for name, first in {"a": 50, "b": 40, "c": 45}.items():
        await kept(name, status="completed")
        await told(name, "run_started", "message_sent", "message_streamed", "message_sent", first=first)
    maintenance, total = Maintenance(), policy(max_total_events=7, batch_size=2)
    same_counts(await maintenance.execute(total, dry_run=True), events_pruned=5)
    assert await maintenance.prune_total_events(total) == 5
    assert [await numbers(name) for name in ("a", "b", "c")] == [[1], [1, 2, 4], [1, 2, 4]]
    same_counts(await maintenance.execute(total))
    assert await maintenance.health_check() == []


async def test_a_dry_run_says_what_the_run_then_does(recording_db: Database) -> None:
    """M1: every field of the report; steps do not count twice what another one takes."""
    await kept("gone", deleted_at=ago(40))
    await told("gone", *["message_streamed"] * 6)
    await kept("big", created=10)
    await told("big", "run_started", *["message_sent"] * 9)
    await kept("small", status="completed")
    await told("small", *["message_sent"] * 3)
    wished = RetentionPolicy(max_events_per_session=6, max_total_events=5, batch_size=2)
    maintenance, expected = Maintenance(), {"sessions_soft_deleted": 1, "sessions_hard_deleted": 1, "events_pruned": 8}
    planned = await maintenance.execute(wished, dry_run=True)
    same_counts(planned, **expected)
    assert planned.dry_run
    assert await ids() == {"big", "small"}
    done = await maintenance.execute(wished)
    same_counts(done, **expected)
    assert (done.dry_run, done.errors) == (False, [])
    assert done.duration_ms >= 0


async def test_what_is_deleted_is_archived_before(recording_db: Database, tmp_path: Path) -> None:
    """W18: events and sessions; the archive of a session can be imported; without its archive nothing is deleted."""
    archive = FileArtifactStore(tmp_path / "archive")
    await kept("s", status="completed")
    await told("s", "run_started", *["message_sent"] * 5)
    await kept("gone", deleted_at=ago(40), metadata={"at": ago(1)})
    await told("gone", "run_started", "message_sent")
    before = await SessionStore().get_session("gone"), await SessionStore().get_events("gone")
    wished = policy(
        max_events_per_session=2,
        hard_delete_after_days=30,
        archive_before_prune=True,
        archive_store=archive,
        batch_size=3,
    )
    same_counts(await Maintenance().execute(wished), sessions_hard_deleted=1, events_pruned=4)
    written = [await archive.get(key) for key in (events_key("s", 2, 4), events_key("s", 5, 5))]
    assert [json.loads(line)["sequence_number"] for part in written for line in part.splitlines()] == [2, 3, 4, 5]
    lines = (await archive.get(session_key("gone", 1))).decode().splitlines()
    assert (await import_sessions(lines)).events == 2
    assert (await SessionStore().get_session("gone"), await SessionStore().get_events("gone")) == before

    (tmp_path / "none").touch()
    broken = policy(
        hard_delete_after_days=30,
        max_events_per_session=1,
        archive_before_prune=True,
        archive_store=FileArtifactStore(tmp_path / "none"),
    )
    report = await Maintenance().execute(broken)
    same_counts(report)
    assert len(report.errors) == 2
    assert await numbers("s") == [1, 6]


async def test_a_large_session_goes_in_batches(
    recording_db: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Locks are held for a batch; when it is stopped half way, what is left and its archives say all there was."""
    monkeypatch.setattr("jido_tortoise.recording.retention_pass.LARGE", 5)
    archive = FileArtifactStore(tmp_path)
    await kept("s", deleted_at=ago(40))
    await told("s", *["run_started", "message_sent"] * 5)
    await refuse_deletes(recording_db, "asm_events", "OLD.sequence_number = 8")
    wished = policy(hard_delete_after_days=30, batch_size=3, archive_before_prune=True, archive_store=archive)
    report = await Maintenance().execute(wished)
    assert (report.sessions_hard_deleted, len(report.errors)) == (0, 1)
    assert await numbers("s") == [7, 8, 9, 10]
    assert await Maintenance().health_check() == []
    drop = "DROP TRIGGER no_deletes" + (" ON asm_events" if recording_db.dialect == "postgres" else "")
    await recording_db.client.execute_script(drop)
    same_counts(await Maintenance().execute(wished), sessions_hard_deleted=1)
    for first, count in ((1, 10), (7, 4)):
        assert (await archive.get(session_key("s", first))).count(b'"record":"event"') == count


async def test_a_pass_can_be_cancelled_anywhere(recording_db: Database) -> None:
    """Each batch is there or not; the pass is taken again, and all is well."""
    wished = policy(max_events_per_session=2, batch_size=2)
    for step in range(2, 60, 9):
        await kept(f"s{step}", status="completed")
        await told(f"s{step}", *["message_sent"] * 8)
        task = asyncio.ensure_future(Maintenance().execute(wished))
        for _ in range(step):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await Maintenance().health_check() == []
    await Maintenance().execute(wished)
    assert {len(await numbers(name)) for name in await ids()} == {2}


async def test_in_the_hosts_transaction_all_of_it_or_nothing(recording_db: Database) -> None:
    """A host that rolls back has its sessions and events."""
    await kept("gone", deleted_at=ago(40))
    await kept("s", status="completed")
    await told("s", *["message_sent"] * 5)
    wished = policy(max_events_per_session=2, hard_delete_after_days=30)
    with pytest.raises(ZeroDivisionError):
        async with in_transaction():
            same_counts(await Maintenance().execute(wished), sessions_hard_deleted=1, events_pruned=3)
            raise ZeroDivisionError
    assert (await SessionStore().get_session("gone")).id == "gone"
    assert len(await numbers("s")) == 5


async def test_pruned_beside_a_writer(sqlite_url: str, pg_url: str) -> None:
    """W1, W8: another connection appends all the while, and gets its numbers; nothing is lost but what is pruned."""
    for url in (sqlite_url, pg_url):
        async with opened(url, families=("recording",)):
            await kept("s", status="completed")
            await told("s", *["message_sent"] * 40)
            wished = policy(max_events_per_session=10, batch_size=3)

            async def write(prefix: str) -> None:
                for n in range(10):
                    await told_more(f"{prefix}{n}")

            await asyncio.gather(write("a"), Maintenance().execute(wished), write("b"), Maintenance().execute(wished))
            await Maintenance().execute(wished)
            assert await numbers("s") == [*range(51, 61)]
            assert await Maintenance().health_check() == []


async def test_a_killed_pass_is_taken_again(sqlite_url: str, pg_url: str) -> None:
    """Killed in earnest: what was deleted is counted, and the next pass does the rest."""
    for url in (sqlite_url, pg_url):
        async with opened(url, families=("recording",)):
            await kept("s", status="completed")
            await told("s", *["message_sent"] * 3000)
        command, pipe = (sys.executable, pruning_worker.__file__, url), asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        assert process.stdout is not None
        for _ in range(3):
            assert await process.stdout.readline() == b"10\n"
        process.kill()
        await process.communicate()
        async with opened(url, families=("recording",), tables=False):
            left = len(await numbers("s"))
            assert 2000 <= left <= 2970
            assert left % 10 == 0
            assert await Maintenance().health_check() == []
            assert (await Maintenance().execute(pruning_worker.POLICY)).events_pruned == left - 100
            assert await numbers("s") == [*range(2901, 3001)]


async def test_what_a_pass_sends(sqlite_url: str, pg_url: str) -> None:
    """W23: a statement for a batch of sessions; for one of events what finds, locks, counts and deletes them."""
    for url in (sqlite_url, f"{pg_url}&minsize=1&maxsize=1"):
        async with opened(url, families=("recording",)) as database:
            for n in range(30):
                await kept(f"s{n}", status="completed")
            old, few = policy(max_completed_session_age_days=90), policy(max_events_per_session=1, batch_size=20)
            seen = await sent(database, partial(Maintenance().soft_delete_expired_sessions, old))
            assert len([sql for sql in seen if "asm_sessions" in sql]) == 1
            await told("s1", *["message_sent"] * 41)
            seen = await sent(database, partial(Maintenance().prune_session_events, "s1", few))
            assert len([sql for sql in seen if "asm_" in sql]) == 1 + 1 + 2 * (1 + 4)
            assert max(len(sql) for sql in seen if "asm_" in sql) < 2000  # no list of ids in a statement


async def told_more(id: str) -> None:
    """Append one event to the session "s"."""
    from jido_tortoise.recording import Event

    await SessionStore().append_event(Event(id=id, type="message_sent", session_id="s"))


@pytest.mark.parametrize("call", [Maintenance().execute, Maintenance().soft_delete_expired_sessions])
async def test_what_is_no_policy_is_refused(recording_db: Database, call: Callable[..., Any]) -> None:
    """M2: before the first write."""
    with pytest.raises(InvalidInputError, match="a RetentionPolicy"):
        await call({"batch_size": 0})


@pytest.mark.parametrize("wrong", [None, 0, "no"], ids=repr)
async def test_what_is_no_dry_run_is_refused(recording_db: Database, wrong: Any) -> None:
    """Nothing is deleted where nobody has said so; and what shall be read of artifacts is said as clearly."""
    await kept("old")
    with pytest.raises(InvalidInputError, match="dry_run: expected True or False"):
        await Maintenance().execute(policy(max_session_age_days=30), dry_run=wrong)
    assert not (await SessionStore().get_session("old")).is_deleted
    with pytest.raises(InvalidInputError, match="contents: expected True or False"):
        await Maintenance().health_check(contents=wrong)


async def test_two_passes_at_once(recording_db: Database, tmp_path: Path) -> None:
    """W19: what another process has deleted just now is nothing that went wrong, and each session is counted once."""
    for n in range(12):
        await kept(f"s{n}", deleted_at=ago(40))
        await told(f"s{n}", "run_started", *["message_sent"] * 3)
    wished = policy(
        hard_delete_after_days=30, archive_before_prune=True, archive_store=FileArtifactStore(tmp_path / "archive")
    )
    reports = await asyncio.gather(*(Maintenance().execute(wished) for _ in range(3)))
    assert [report.errors for report in reports] == [[], [], []]
    assert sum(report.sessions_hard_deleted for report in reports) == 12


class Halting(FileArtifactStore):
    """Takes the first part of what it is to store, and the rest when it is told to."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def put(self, key: str, content: Any) -> Any:
        async def halting() -> AsyncIterator[bytes]:
            async for part in content:
                yield part
                self.begun.set()
                await self.go_on.wait()

        return await super().put(key, halting())


@pytest.mark.parametrize("meanwhile", ["deleted", "pruned"])
async def test_a_late_archive_replaces_no_whole_one(recording_db: Database, tmp_path: Path, meanwhile: str) -> None:
    """W18: who archives while another process deletes would else write what is left over all that there was."""
    await kept("s", deleted_at=ago(40))
    await told("s", "run_started", *["message_sent"] * 3)
    root = tmp_path / "archive"
    late, early = Halting(root), FileArtifactStore(root)
    wished = {"hard_delete_after_days": 30, "archive_before_prune": True}
    slow = asyncio.create_task(Maintenance().execute(policy(**wished, archive_store=late)))
    await late.begun.wait()
    if meanwhile == "pruned":
        wished = {"max_events_per_session": 2, "archive_before_prune": True}
        assert (await Maintenance().execute(policy(**wished, archive_store=early))).events_pruned == 2
    else:
        assert (await Maintenance().execute(policy(**wished, archive_store=early))).sessions_hard_deleted == 1
    late.go_on.set()
    report = await slow
    assert (report.errors, report.sessions_hard_deleted) == ([], int(meanwhile == "pruned"))
    archived = [json.loads(line) for file in root.iterdir() for line in file.read_text("utf-8").splitlines()]
    assert sorted(one["sequence_number"] for one in archived if one["record"] == "event") == [1, 2, 3, 4]
    assert [one["events"] for one in archived if one["record"] == "end"] == [2 if meanwhile == "pruned" else 4]
