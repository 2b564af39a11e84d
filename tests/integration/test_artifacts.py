"""Artifacts: rows and content together, also when something fails between the two (W21)."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from tortoise.transactions import in_transaction

from jido_tortoise.database import Db, transaction
from jido_tortoise.errors import (
    AlreadyExistsError,
    CorruptContentError,
    CorruptRowError,
    InvalidInputError,
    NotFoundError,
    StorageError,
    UnstorableError,
)
from jido_tortoise.recording import ArtifactRegistry, FileArtifactStore, Maintenance, RetentionPolicy, SessionStore
from tests.conftest import Database
from tests.integration.kept import ago, kept

PART = b"0123456789abcdef" * 4096


@pytest.fixture
def files(tmp_path: Path) -> FileArtifactStore:
    """Give a store of content in a folder of its own."""
    return FileArtifactStore(tmp_path / "content")


def there(files: FileArtifactStore) -> int:
    """Count the files, unfinished ones included."""
    return len([*files.root.iterdir()]) if files.root.exists() else 0


async def parts(count: int, fails: bool = False) -> AsyncIterator[bytes]:
    """Give content part by part, and fail at its end when that is wished."""
    for _ in range(count):
        yield PART
    if fails:
        raise ZeroDivisionError


async def test_content_is_stored_with_what_is_known_of_it(recording_db: Database, files: FileArtifactStore) -> None:
    """Rows and content, by key and by session; what is deleted is not found, and its key may be used again."""
    registry = ArtifactRegistry(files)
    await kept("s")
    made = await registry.put("notes", parts(20), session_id="s", content_type="text/plain", metadata={"at": ago(1)})
    assert (made.byte_size, made.checksum_sha256) == (20 * len(PART), hashlib.sha256(PART * 20).hexdigest())
    assert (made.storage_backend, made.id[:4]) == ("file", "art_")
    assert await registry.get_by_key("notes") == made
    assert await registry.get("notes") == PART * 20
    empty = await registry.put("empty", b"", session_id="s")
    assert await registry.get("empty") == b""
    assert await registry.list_by_session("s") == [made, empty]
    stats = await registry.session_stats("s")
    assert (stats.artifact_count, stats.total_bytes) == (2, 20 * len(PART))
    with pytest.raises(AlreadyExistsError):
        await registry.put("notes", b"other", session_id="s")
    assert there(files) == 2
    deleted = await registry.delete("notes")
    assert deleted is not None
    assert (deleted.id, deleted.is_deleted) == (made.id, True)
    assert await registry.delete("notes") is None
    assert (await registry.get_by_key("notes"), there(files)) == (None, 1)
    with pytest.raises(NotFoundError) as missing:
        await registry.get("notes")
    assert missing.value.reason == "artifact_not_found"
    again = await registry.put("notes", [b"a", memoryview(b"b")], session_id="s")
    assert await registry.get("notes") == b"ab"
    await registry.put("notes", memoryview(b"a-b-")[::2], session_id="s", overwrite=True)
    assert await registry.get("notes") == b"ab"
    other = await registry.put("notes", bytearray(b"c"), session_id="s", overwrite=True)
    assert (await registry.get("notes"), there(files)) == (b"c", 2)
    assert again.id != other.id
    assert await registry.list_by_session("s") == [empty, other]


async def test_what_cannot_be_stored_leaves_nothing(recording_db: Database, files: FileArtifactStore) -> None:
    """Bad content, a missing session, metadata without a form, content that breaks off: no row and no file."""
    registry = ArtifactRegistry(files)
    bad: list[tuple[type[Exception], dict[str, Any]]] = [
        (NotFoundError, {"content": b"x", "session_id": "nobody"}),
        (InvalidInputError, {"content": "text"}),
        (InvalidInputError, {"content": [b"x", "text"]}),
        (InvalidInputError, {"content": 3}),
        (InvalidInputError, {"content": b"x", "key": "k" * 300}),
        (InvalidInputError, {"content": b"x", "overwrite": "no"}),
        (UnstorableError, {"content": b"x", "metadata": {"a": object()}}),
        (ZeroDivisionError, {"content": parts(3, fails=True)}),
    ]
    for error, given in bad:
        with pytest.raises(error):
            await registry.put(**{"key": "k", **given})
    assert (there(files), await registry.get_by_key("k")) == (0, None)
    with pytest.raises(InvalidInputError, match="a store for the content"):
        await ArtifactRegistry().put("k", b"x")
    for stores in ("text", [3], [files, files]):
        with pytest.raises(InvalidInputError, match="stores"):
            ArtifactRegistry(stores)  # type: ignore[arg-type]


async def test_content_is_verified_when_it_is_read(recording_db: Database, files: FileArtifactStore) -> None:
    """Nobody gets all of what is not what was stored; what is gone says so (W21)."""
    registry = ArtifactRegistry(files)
    made = await registry.put("k", parts(20))
    path = files.path(made.storage_ref)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    got = b""
    with pytest.raises(CorruptContentError) as caught:
        async for part in registry.open("k"):
            got += part
    assert len(got) < made.byte_size
    assert (caught.value.key, caught.value.expected) == ("k", made.checksum_sha256)
    path.unlink()
    with pytest.raises(NotFoundError, match="no content"):
        await registry.get("k")
    with pytest.raises(InvalidInputError, match="one of the backend 'file'"):
        await ArtifactRegistry().get("k")


async def test_what_nobody_can_read_can_be_deleted(recording_db: Database, files: FileArtifactStore) -> None:
    """An artifact whose metadata needs a class that is not there goes all the same, alone or with its session."""
    registry = ArtifactRegistry(files)
    await kept("s")
    for key in "ab":
        await registry.put(key, b"x", session_id="s")
    await recording_db.client.execute_query("""UPDATE asm_artifacts SET metadata = '{"$jido:?": 1}'""")
    with pytest.raises(CorruptRowError):
        await registry.get_by_key("a")
    deleted = await registry.delete("a")
    assert deleted is not None
    assert (deleted.key, deleted.metadata, there(files)) == ("a", {"$jido:?": 1}, 1)
    gone = await SessionStore().delete_session("s")
    assert {one.key for one in gone} == {"a", "b"}
    await registry.discard(gone)
    assert there(files) == 0


def hosts_own(database: Database) -> AbstractAsyncContextManager[Any]:
    """Give Tortoise's own transaction."""
    return in_transaction()


def ours(database: Database) -> AbstractAsyncContextManager[Any]:
    """Give ours."""
    return transaction(Db(database.client, database.dialect))  # type: ignore[arg-type]


@pytest.mark.parametrize("begin", [hosts_own, ours])
async def test_content_goes_with_the_hosts_commit(recording_db: Database, files: FileArtifactStore, begin: Any) -> None:
    """Not before it, not after a rollback, and not what a savepoint has brought back."""
    registry = ArtifactRegistry(files)
    for name in ("a", "b"):
        await registry.put(name, b"text")
    with pytest.raises(ZeroDivisionError):
        async with begin(recording_db):
            await registry.delete("a")
            await registry.put("new", b"text")
            assert there(files) == 3
            raise ZeroDivisionError
    assert (there(files), await registry.get("a")) == (2, b"text")
    async with begin(recording_db):
        await registry.delete("a")
        with pytest.raises(ZeroDivisionError):
            async with begin(recording_db):
                await registry.delete("b")
                await registry.put("lost", b"text")
                raise ZeroDivisionError
        with pytest.raises(AlreadyExistsError):
            await registry.put("b", b"text")
        await registry.put("new", b"new")
        assert there(files) == 4
    assert (there(files), await registry.get("b"), await registry.get("new")) == (2, b"text", b"new")
    with pytest.raises(ZeroDivisionError):
        async with begin(recording_db):
            async with begin(recording_db):  # a savepoint that is released is no commit
                await registry.delete("b")
            raise ZeroDivisionError
    assert (there(files), await registry.get("b")) == (2, b"text")
    async with begin(recording_db), begin(recording_db):
        await registry.delete("b")
    assert there(files) == 1


async def test_retention_takes_the_content_along(recording_db: Database, files: FileArtifactStore) -> None:
    """W21: with the session, after its commit; what failed is done by the next pass; other stores' rows stay."""
    registry, maintenance = ArtifactRegistry(files), Maintenance(artifacts=files)
    await kept("gone", deleted_at=ago(40))
    await kept("later", deleted_at=ago(40))
    await registry.put("a", b"text", session_id="gone")
    await registry.put("b", b"text", session_id="later")
    files.root.rename(files.root.with_name("away"))
    files.root.touch()  # so that every deletion fails
    report = await maintenance.execute(RetentionPolicy(hard_delete_after_days=30))
    assert (report.sessions_hard_deleted, report.artifacts_cleaned, len(report.errors)) == (2, 0, 2)
    assert await SessionStore().list_sessions() == []  # their rows are gone, and the content is known
    files.root.unlink()
    files.root.with_name("away").rename(files.root)
    without = await Maintenance().execute(RetentionPolicy(hard_delete_after_days=1))
    assert (without.artifacts_cleaned, there(files)) == (0, 2)
    assert (await Maintenance().execute(RetentionPolicy(), dry_run=True)).artifacts_left == 0, "not old enough"
    await age_artifacts(recording_db)
    assert await Maintenance().clean_orphaned_artifacts() == 0
    assert (await Maintenance().execute(RetentionPolicy())).artifacts_left == 2
    planned = await maintenance.execute(RetentionPolicy(), dry_run=True)
    assert (planned.artifacts_cleaned, there(files)) == (2, 2)
    assert await maintenance.clean_orphaned_artifacts() == 2
    assert (there(files), await maintenance.clean_orphaned_artifacts()) == (0, 0)
    assert await recording_db.client.execute_query_dict("SELECT * FROM asm_artifacts") == []


async def test_retention_in_the_hosts_transaction(recording_db: Database, files: FileArtifactStore) -> None:
    """W21: the content of a session goes with the host's commit, and stays after a rollback."""
    registry, maintenance = ArtifactRegistry(files), Maintenance(artifacts=files)
    await kept("gone", deleted_at=ago(40))
    await registry.put("a", b"text", session_id="gone")
    with pytest.raises(ZeroDivisionError):
        async with in_transaction():
            assert await maintenance.hard_delete_expired_sessions(RetentionPolicy()) == 1
            raise ZeroDivisionError
    assert await registry.get("a") == b"text"
    async with in_transaction():
        assert await maintenance.hard_delete_expired_sessions(RetentionPolicy()) == 1
        assert there(files) == 1
    assert (there(files), await registry.get_by_key("a")) == (0, None)


async def test_of_several_with_one_key_one_is_stored(recording_db: Database, files: FileArtifactStore) -> None:
    """The others are told, and leave no content."""
    registry = ArtifactRegistry(files)
    done = await asyncio.gather(*(registry.put("k", f"{n}".encode()) for n in range(8)), return_exceptions=True)
    assert [type(one) for one in done].count(AlreadyExistsError) == 7
    assert (there(files), len(await registry.get("k"))) == (1, 1)
    done = await asyncio.gather(
        *(registry.put("k", f"{n}".encode(), overwrite=True) for n in range(8)), return_exceptions=True
    )
    assert {type(one).__name__ for one in done} <= {"Artifact", "AlreadyExistsError"}
    assert (there(files), len(await registry.get("k"))) == (1, 1)


async def age_artifacts(database: Database) -> None:
    """Make all deleted artifacts old."""
    await database.client.execute_query("UPDATE asm_artifacts SET deleted_at = '2020-01-01 00:00:00.000000+00:00'")


async def test_a_put_that_is_cancelled_leaves_a_row_or_no_content(
    recording_db: Database, files: FileArtifactStore
) -> None:
    """At any await."""
    registry = ArtifactRegistry(files)
    for step in range(1, 60, 4):
        task = asyncio.ensure_future(registry.put(f"k{step}", parts(1)))
        for _ in range(step):
            await asyncio.sleep(0.0002)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        row = await registry.get_by_key(f"k{step}")
        assert there(files) == (row is not None)
        if row is not None:
            await registry.delete(row.key)


async def test_a_file_is_there_as_a_whole_or_not_at_all(files: FileArtifactStore) -> None:
    """A put that breaks off leaves what was there; no key leaves the folder; keys that look alike are not one (W21)."""
    await files.put("k", b"old")
    with pytest.raises(ZeroDivisionError):
        await files.put("k", parts(2, fails=True))
    assert (await files.get("k"), there(files)) == (b"old", 1)
    await files.put("k", b"new")
    assert (await files.get("k"), await files.size("k")) == (b"new", 3)
    for key in ("../k", "/etc/passwd", "a/b", "a_b", "ä" * 255, ".", "CON"):
        await files.put(key, key.encode())
    for key in ("../k", "a/b", "a_b", "ä" * 255):
        assert await files.get(key) == key.encode()
    assert there(files) == 8
    assert {path.parent for path in files.root.rglob("*")} == {files.root}
    await files.delete("k")
    await files.delete("k")
    assert await files.size("k") is None
    with pytest.raises(NotFoundError):
        await files.get("k")
    for folder in (files.path("a_b"), Path("/proc/there/is/none")):
        with pytest.raises(StorageError, match="the folder of artifacts"):
            await FileArtifactStore(folder).put("k", b"x")


async def test_content_is_never_in_memory_as_a_whole(recording_db: Database, files: FileArtifactStore) -> None:
    """64 MB in and out, verified on the way, take less than 4 MB (W21)."""
    registry = ArtifactRegistry(files)
    await registry.get_by_key("k")  # what is loaded once is no content

    def many() -> Iterator[bytes]:
        yield from (PART for _ in range(1024))

    tracemalloc.start()
    stored = await registry.put("k", many())
    read = sum([len(part) async for part in registry.open("k")])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stored.byte_size == read == 1024 * len(PART)
    assert peak < 4_000_000
