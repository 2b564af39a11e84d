"""What is written between the archiving of something and its deletion: nothing goes that the archive does not hold."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tortoise.transactions import in_transaction

from jido_tortoise.recording import (
    Artifact,
    ArtifactRegistry,
    Event,
    FileArtifactStore,
    Maintenance,
    RetentionPolicy,
    Run,
    Session,
    SessionStore,
    retention_pass,
)
from tests.conftest import Database, opened
from tests.integration.kept import ago, kept, numbers, told

#: Seconds that who writes in the gap holds on to what it has written before it commits.
_HELD = 0.1


class Interrupted(FileArtifactStore):
    """A store in whose first archive, when it is whole, something happens before anybody hears that it is."""

    def __init__(self, root: Path, meanwhile: Callable[[], Awaitable[object]]) -> None:
        super().__init__(root)
        self.meanwhile: Callable[[], Awaitable[object]] | None = meanwhile

    async def put(self, key: str, content: Any) -> Any:
        stored = await super().put(key, content)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return stored


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give the folder of the archive."""
    return tmp_path / "archive"


@pytest.fixture(params=["sqlite-file", "postgres"])
async def two(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """Give a database with two connections, `default` and `second`."""
    url = request.getfixturevalue("pg_url" if request.param == "postgres" else "sqlite_url")
    connections = {"default": url, "second": url}
    async with opened(url, backend=request.param, families=("recording",), connections=connections) as database:
        yield database


def policy(archive: FileArtifactStore, **fields: Any) -> RetentionPolicy:
    """Make a policy that deletes what was deleted softly, and archives it before."""
    given = {"max_completed_session_age_days": None, "hard_delete_after_days": 30, "batch_size": 2}
    return RetentionPolicy(**{**given, **fields}, archive_before_prune=True, archive_store=archive)


def archived(root: Path) -> list[dict[str, Any]]:
    """Read all that the archives hold."""
    return [json.loads(line) for file in root.iterdir() for line in file.read_text("utf-8").splitlines()]


async def event(store: SessionStore) -> None:
    """Append an event."""
    await store.append_event(Event(id="late", type="message_sent", session_id="s"))


async def run(store: SessionStore) -> None:
    """Save a run."""
    await store.save_run(Run(id="late", session_id="s"))


async def change_of_a_run(store: SessionStore) -> None:
    """Change a run that was archived."""
    await store.save_run(replace(await store.get_run("r"), metadata={"late": True}))


async def change_of_the_session(store: SessionStore) -> None:
    """Change the session."""
    await store.save_session((await store.get_session("s")).changed(metadata={"late": True}))


async def artifact(store: SessionStore) -> None:
    """Register an artifact."""
    fields = {"byte_size": 1, "checksum_sha256": "0" * 64, "storage_backend": "elsewhere", "storage_ref": "r"}
    await ArtifactRegistry(connection=store.connection).register(
        Artifact(id="late", key="k", session_id="s", **fields)  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize("write", [event, run, change_of_a_run, change_of_the_session, artifact])
async def test_what_is_written_after_the_archive_is_archived_too(
    two: Database, root: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[..., Any], large: bool
) -> None:
    """W18: by another connection, whose transaction is open while the session is looked at once more."""
    if large:
        monkeypatch.setattr(retention_pass, "LARGE", 1)
    await kept("s", deleted_at=ago(40))
    await told("s", "run_started", "message_sent", "message_sent")
    await SessionStore().save_run(Run(id="r", session_id="s"))
    writers: list[asyncio.Task[None]] = []

    async def meanwhile() -> None:
        written = asyncio.Event()

        async def held() -> None:
            async with in_transaction("second"):
                await write(SessionStore("second"))
                written.set()
                await asyncio.sleep(_HELD)

        writers.append(asyncio.create_task(held()))
        await written.wait()

    report = await Maintenance().execute(policy(Interrupted(root, meanwhile)))
    await writers[0]
    assert (report.sessions_hard_deleted, report.errors) == (1, [])
    assert await SessionStore().list_sessions() == []
    lines = archived(root)
    late = [one for one in lines if one.get("id") == "late" or (one.get("metadata") or {}).get("late")]
    assert [one["record"] for one in late] == [write.__name__.split("_")[-1]]
    assert {one["sequence_number"] for one in lines if one["record"] == "event"} >= {1, 2, 3}


@pytest.mark.parametrize("spare", [lambda s: s.changed(tags=["pinned"]), lambda s: s.with_status("active")])
@pytest.mark.parametrize("rule", [{}, {"max_events_per_session": 1}, {"max_total_events": 1}], ids=str)
async def test_what_is_exempt_since_it_was_found_stays(
    two: Database, root: Path, rule: dict[str, int], spare: Callable[[Session], Session]
) -> None:
    """W18: pinned or resumed after the pass has found it, before it is deleted."""
    await kept("s", deleted_at=None if rule else ago(40))
    await told("s", *["message_sent"] * 3)

    async def meanwhile() -> None:
        store = SessionStore("second")
        await store.save_session(spare(await store.get_session("s")))

    report = await Maintenance().execute(policy(Interrupted(root, meanwhile), **rule))
    assert (report.sessions_hard_deleted, report.events_pruned, report.errors) == (0, 0, [])
    assert await numbers("s") == [1, 2, 3]


@pytest.mark.parametrize("archiving", [True, False], ids=["archived", "not archived"])
async def test_a_large_session_that_comes_back_keeps_its_events(
    two: Database, root: Path, monkeypatch: pytest.MonkeyPatch, archiving: bool
) -> None:
    """W18: it is looked at under its lock with each batch of its events, not only before it goes itself."""
    monkeypatch.setattr(retention_pass, "LARGE", 1)
    await kept("s", deleted_at=ago(40))
    await told("s", *["message_sent"] * 5)

    async def meanwhile() -> None:
        store = SessionStore("second")
        await store.save_session((await store.get_session("s")).changed(deleted_at=None))

    wished = policy(Interrupted(root, meanwhile))
    if not archiving:
        wished = RetentionPolicy(max_completed_session_age_days=None, batch_size=2)
        empty = retention_pass.Pass._empty

        async def slow(self: Any, *given: Any) -> Any:
            await meanwhile()
            return await empty(self, *given)

        monkeypatch.setattr(retention_pass.Pass, "_empty", slow)
    report = await Maintenance().execute(wished)
    assert (report.sessions_hard_deleted, report.errors) == (0, [])
    assert await numbers("s") == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("rule", [{"max_events_per_session": 1}, {"max_total_events": 1}])
async def test_events_of_a_session_that_was_made_anew_stay(two: Database, root: Path, rule: dict[str, int]) -> None:
    """W18: they have the numbers of those that were archived, and are others."""
    await kept("s")
    await told("s", *["message_sent"] * 3)

    async def meanwhile() -> None:
        store = SessionStore("second")
        await store.delete_session("s")
        await store.save_session(Session(id="s", agent_id="clerk"))
        await store.append_events([Event(id=f"new-{n}", type="message_sent", session_id="s") for n in range(3)])

    report = await Maintenance().execute(policy(Interrupted(root, meanwhile), **rule))
    assert report.errors == []
    assert [one.id for one in await SessionStore().get_events("s")] == ["new-0", "new-1", "new-2"]
    assert await Maintenance().health_check() == []


async def test_a_large_session_that_was_made_anew_keeps_its_events(
    two: Database, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W18: not even when it was deleted softly as long ago as the one that was archived."""
    monkeypatch.setattr(retention_pass, "LARGE", 1)
    session = await kept("s", deleted_at=ago(40))
    await told("s", *["message_sent"] * 3)

    async def meanwhile() -> None:
        store = SessionStore("second")
        await store.delete_session("s")
        await store.save_session(replace(session, revision=0, created_at=ago(41)))
        await store.append_events([Event(id=f"new-{n}", type="message_sent", session_id="s") for n in range(3)])

    report = await Maintenance().execute(policy(Interrupted(root, meanwhile)))
    assert (report.sessions_hard_deleted, report.errors) == (1, [])
    assert {one["id"] for one in archived(root) if one["record"] == "event"} >= {"new-0", "new-1", "new-2"}


async def test_a_session_that_changes_all_the_time_stays(two: Database, root: Path) -> None:
    """W18: it is archived again some times, then left for the next pass, and the report says so."""
    await kept("s", deleted_at=ago(40))
    count = 0

    class Restless(FileArtifactStore):
        async def put(self, key: str, content: Any) -> Any:
            nonlocal count
            count += 1
            stored = await super().put(key, content)
            await SessionStore("second").save_run(Run(id=f"r{count}", session_id="s"))
            return stored

    report = await Maintenance().execute(policy(Restless(root)))
    assert report.sessions_hard_deleted == 0
    assert [error for error in report.errors if "all the time" in error] == report.errors != []
    assert len(await SessionStore().list_runs("s")) == count
    assert (await Maintenance().execute(policy(FileArtifactStore(root)))).sessions_hard_deleted == 1


async def test_the_archive_of_a_session_outlives_another_of_its_id(two: Database, root: Path) -> None:
    """W18: what was deleted is in its archive alone, which that of a session made anew must not replace."""
    archive = FileArtifactStore(root)
    for turn in ("first", "second"):
        for _ in range(2):  # a repeat takes the key that it had
            await SessionStore().delete_session("s")
            await kept("s", metadata={"turn": turn}, created=100 if turn == "first" else 90)
            events = [Event(id=f"{turn}-{n}", type="message_sent", session_id="s") for n in range(4)]
            await SessionStore().append_events(events)
            report = await Maintenance().execute(policy(archive, max_events_per_session=2, batch_size=1))
            assert (report.events_pruned, report.errors) == (2, [])
        session = await SessionStore().get_session("s")
        await SessionStore().save_session(replace(session, deleted_at=ago(40)))
        report = await Maintenance().execute(policy(archive))
        assert (report.sessions_hard_deleted, report.errors) == (1, [])
    found = archived(root)
    assert sorted(one["id"] for one in found if one["record"] == "event") == [
        f"{turn}-{n}" for turn in ("first", "second") for n in range(4)
    ]
    assert [one["metadata"]["turn"] for one in found if one["record"] == "session"].count("first") == 1


async def test_two_passes_prune_no_more_than_is_too_much(two: Database, root: Path) -> None:
    """W18: what another pass deletes meanwhile is not too much any more; it is counted anew with each batch."""
    await kept("s")
    await told("s", *["message_sent"] * 2, *["message_streamed"] * 10, *["message_sent"] * 28)

    async def meanwhile() -> None:
        other = RetentionPolicy(max_completed_session_age_days=None, max_events_per_session=30)
        assert (await Maintenance("second").execute(other)).events_pruned == 10

    wished = policy(Interrupted(root, meanwhile), max_events_per_session=12, prune_event_types_first=(), batch_size=3)
    report = await Maintenance().execute(wished)
    assert (report.events_pruned, report.errors) == (18, [])
    assert await numbers("s") == [*range(29, 41)]
