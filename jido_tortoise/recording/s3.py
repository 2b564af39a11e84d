"""Content of artifacts in a bucket of S3, or of what speaks its language; needs the extra `s3`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from importlib import import_module
from typing import Any

from jido_tortoise import checks
from jido_tortoise.database import to_the_end
from jido_tortoise.errors import ConfigError, StorageUnavailableError
from jido_tortoise.recording.artifact_stores import (
    CHUNK,
    Content,
    Stored,
    Sum,
    content_of,
    missing_content,
    parts_of,
)

#: Bytes of one part of an upload; S3 takes no smaller ones but the last, and 10,000 of them.
_PART = 8 << 20
_GONE = ("404", "NoSuchKey", "NotFound")


class S3ArtifactStore:
    """Content by key as objects of a bucket. What is longer than 8 MiB goes up in parts, of which one is in memory.

    A cheap value: each call opens a client of its own and closes it.

    Args:
        bucket: Its name; it must be there.
        prefix: What stands before each key.
        client: What `aiobotocore`'s `create_client` takes: endpoint_url, region_name, aws_access_key_id, ...; what is
            missing comes from the environment, as ever with AWS.

    Raises:
        ConfigError: `missing_driver`: `aiobotocore` is not installed.
    """

    backend = "s3"

    def __init__(self, bucket: str, prefix: str = "", *, client: Mapping[str, Any] | None = None) -> None:
        self.bucket, self.prefix = checks.text(bucket, "bucket"), prefix
        self._client = dict(client or {})
        self._session = _session()  # which remembers how S3 speaks; it holds no connection

    def __repr__(self) -> str:
        return f"S3ArtifactStore({self.bucket!r}, {self.prefix!r})"  # never the client's keys

    async def put(self, key: str, content: Content) -> Stored:
        """Store content in the place of what is there: all of it, or nothing.

        Raises:
            InvalidInputError: It is no content.
            StorageUnavailableError: S3 is not there, or refused.
        """
        passed, held = Sum(), bytearray()
        async with self._opened() as s3:
            upload = _Upload(s3, self._place(key))
            try:
                async for part in parts_of(content):
                    held += passed.add(part)
                    if len(held) >= _PART:
                        await upload.add(bytes(held))
                        held.clear()
                await upload.end(bytes(held))
            except BaseException:
                await upload.abandon()
                raise
        return passed.total

    async def open(self, key: str) -> AsyncIterator[bytes]:
        """Answer the content part by part.

        Raises:
            NotFoundError: There is none.
            StorageUnavailableError: S3 is not there, or refused.
        """
        async with self._opened(key) as s3:
            answer = await s3.get_object(**self._place(key))
            async with answer["Body"] as body:
                while part := await body.read(CHUNK):
                    yield part

    async def get(self, key: str) -> bytes:
        """Answer the content as a whole, as `open` does."""
        return await content_of(self.open(key))

    async def size(self, key: str) -> int | None:
        """Answer how many bytes the content has; None when there is none."""
        try:
            async with self._opened(key) as s3:
                return int((await s3.head_object(**self._place(key)))["ContentLength"])
        except LookupError:
            return None

    async def delete(self, key: str) -> None:
        """Remove the content; nothing happens when there is none."""
        async with self._opened() as s3:
            await s3.delete_object(**self._place(key))

    def _place(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + checks.text(key, "key")}

    def _opened(self, key: str | None = None) -> AbstractAsyncContextManager[Any]:
        return _Client(self._session.create_client("s3", **self._client), key)


class _Upload:
    """One upload: a single request when there is only one part."""

    def __init__(self, s3: Any, place: dict[str, str]) -> None:
        self._s3, self._place = s3, place
        self._id: str | None = None
        self._parts: list[dict[str, Any]] = []

    async def add(self, part: bytes) -> None:
        if self._id is None:
            self._id = (await self._s3.create_multipart_upload(**self._place))["UploadId"]
        number = len(self._parts) + 1
        done = await self._s3.upload_part(**self._place, UploadId=self._id, PartNumber=number, Body=part)
        self._parts.append({"ETag": done["ETag"], "PartNumber": number})

    async def end(self, last: bytes) -> None:
        if self._id is None:
            await self._s3.put_object(**self._place, Body=last)
            return
        if last:
            await self.add(last)
        parts = {"Parts": self._parts}
        await self._s3.complete_multipart_upload(**self._place, UploadId=self._id, MultipartUpload=parts)

    async def abandon(self) -> None:
        """Let go of parts that are paid for by the hour; what fails here is left to the bucket's own rules."""
        if self._id is not None:
            with suppress(Exception):
                await to_the_end(self._s3.abort_multipart_upload(**self._place, UploadId=self._id))


class _Client:
    """A client for the block, whose errors become ours."""

    def __init__(self, opening: Any, key: str | None) -> None:
        self._opening, self._key = opening, key

    async def __aenter__(self) -> Any:
        return await self._opening.__aenter__()

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> None:
        errors = import_module("botocore.exceptions")
        await self._opening.__aexit__(kind, error, traceback)
        code = error.response.get("Error", {}).get("Code") if isinstance(error, errors.ClientError) else None
        if self._key is not None and code in _GONE:
            raise missing_content(self._key) from error
        if isinstance(error, errors.BotoCoreError | errors.ClientError):
            raise StorageUnavailableError(f"S3: {error}", reason="s3", outcome="unknown") from error


def _session() -> Any:
    try:
        return import_module("aiobotocore.session").get_session()
    except ImportError as error:
        raise ConfigError(
            'aiobotocore is not installed: pip install "jido-tortoise[s3]"', reason="missing_driver", driver=error.name
        ) from error
