"""Content of artifacts in S3, on a server that speaks its language on this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from jido_tortoise.errors import ConfigError, NotFoundError, StorageUnavailableError
from jido_tortoise.recording import ArtifactRegistry, Maintenance, RetentionPolicy, S3ArtifactStore
from tests.conftest import Database
from tests.integration.kept import ago, kept

PART = b"0123456789abcdef" * 65536


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, Any]]:
    """Give what a client of a bucket needs, which is on a server of this module's own."""
    reason = "needs aiobotocore and moto's server"
    pytest.importorskip("aiobotocore", reason=reason)
    server = pytest.importorskip("moto.server", reason=reason).ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"}
    client |= {"aws_access_key_id": "ours", "aws_secret_access_key": "secret"}
    boto3 = pytest.importorskip("boto3")
    made = boto3.client("s3", **client)
    made.create_bucket(Bucket="artifacts")
    yield client
    made.close()
    server.stop()


async def parts(count: int, fails: bool = False) -> AsyncIterator[bytes]:
    """Give megabytes of content, and fail at its end when that is wished."""
    for _ in range(count):
        yield PART
    if fails:
        raise ZeroDivisionError


async def test_content_in_a_bucket(bucket: dict[str, Any]) -> None:
    """Short content goes up at once, long in parts; what breaks off leaves what was there."""
    store = S3ArtifactStore("artifacts", "ours/", client=bucket)
    assert (await store.put("k", b"short")).byte_size == 5
    assert (await store.get("k"), await store.size("k")) == (b"short", 5)
    with pytest.raises(ZeroDivisionError):
        await store.put("k", parts(9, fails=True))
    assert await store.get("k") == b"short"
    stored = await store.put("k", parts(9))
    assert stored.byte_size == await store.size("k") == 9 << 20
    assert sum([len(part) async for part in store.open("k")]) == 9 << 20
    other = S3ArtifactStore("artifacts", client=bucket)
    assert (await other.size("k"), await other.size("ours/k")) == (None, 9 << 20)
    await store.delete("k")
    await store.delete("k")
    with pytest.raises(NotFoundError, match="no content under 'k'"):
        await store.get("k")
    assert "secret" not in repr(store)


async def test_a_bucket_that_is_not_there(bucket: dict[str, Any]) -> None:
    """What S3 refuses, and a server that is away, are told as what they are."""
    with pytest.raises(StorageUnavailableError, match="NoSuchBucket"):
        await S3ArtifactStore("nowhere", client=bucket).put("k", b"x")
    once = pytest.importorskip("aiobotocore.config").AioConfig(retries={"total_max_attempts": 1})
    away = {**bucket, "endpoint_url": "http://127.0.0.1:9", "config": once}
    with pytest.raises(StorageUnavailableError):
        await S3ArtifactStore("artifacts", client=away).delete("k")


async def test_artifacts_of_sessions_in_a_bucket(recording_db: Database, bucket: dict[str, Any]) -> None:
    """Registry and retention work with it as with files."""
    store = S3ArtifactStore("artifacts", f"{recording_db.backend}/", client=bucket)
    registry = ArtifactRegistry(store)
    await kept("gone", deleted_at=ago(40))
    made = await registry.put("notes", b"text", session_id="gone")
    assert (made.storage_backend, await registry.get("notes")) == ("s3", b"text")
    report = await Maintenance(artifacts=store).execute(RetentionPolicy())
    assert (report.sessions_hard_deleted, report.artifacts_cleaned, report.errors) == (1, 1, [])
    assert await store.size(made.storage_ref) is None


def test_without_the_extra_it_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is imported without aiobotocore; only a store of S3 needs it."""
    import sys

    monkeypatch.setitem(sys.modules, "aiobotocore.session", None)
    with pytest.raises(ConfigError, match=r"jido-tortoise\[s3\]"):
        S3ArtifactStore("artifacts")
