"""Content of artifacts as files of one folder: each is there as a whole, or not at all, also after a power cut."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from jido_tortoise import checks, seams
from jido_tortoise.database import to_the_end
from jido_tortoise.errors import InvalidInputError, StorageError
from jido_tortoise.recording.artifact_stores import (
    CHUNK,
    Content,
    Stored,
    Sum,
    content_of,
    missing_content,
    parts_of,
)

T = TypeVar("T")

#: What of a key may stand in the name of a file, for people; the digest behind it tells keys apart.
_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")
_READABLE = 32


class FileArtifactStore:
    """Content by key as files of one folder; several processes may use it at once.

    Args:
        root: The folder; made with the first content.

    Raises:
        InvalidInputError: It is no path.
    """

    backend = "file"

    def __init__(self, root: str | os.PathLike[str]) -> None:
        try:
            self.root = Path(root)
        except TypeError as error:
            raise InvalidInputError.at("root", "a folder", root, reason="validation_error") from error

    def __repr__(self) -> str:
        return f"FileArtifactStore({str(self.root)!r})"

    def path(self, key: str) -> Path:
        """Answer where the content of a key is, or would be."""
        name = checks.text(key, "key")
        digest = hashlib.sha256(name.encode()).hexdigest()[:_READABLE]
        return self.root / f"{_PLAIN.sub('_', name)[:_READABLE].lstrip('.')}_{digest}"

    async def put(self, key: str, content: Content) -> Stored:
        """Store content in the place of what is there: all of it, or nothing.

        Raises:
            InvalidInputError: It is no content.
            StorageError: The folder cannot be written to, or is full.
        """
        passed, scratch = Sum(), _Scratch(self.root)
        path = self.path(key)
        try:
            await _in_thread(scratch.open)
            async for part in parts_of(content):
                await _in_thread(partial(scratch.write, passed.add(part)))
            await _in_thread(partial(scratch.settle, path))
        finally:
            await to_the_end(_in_thread(scratch.clear))
        return passed.total

    async def open(self, key: str) -> AsyncIterator[bytes]:
        """Answer the content part by part.

        Raises:
            NotFoundError: There is none.
        """
        path = self.path(key)
        try:
            file = await _in_thread(lambda: path.open("rb"), may_be_missing=True)
        except FileNotFoundError as error:
            raise missing_content(key) from error
        try:
            while part := await _in_thread(lambda: file.read(CHUNK)):
                yield part
        finally:
            file.close()

    async def get(self, key: str) -> bytes:
        """Answer the content as a whole, as `open` does."""
        return await content_of(self.open(key))

    async def size(self, key: str) -> int | None:
        """Answer how many bytes the content has; None when there is none."""
        path = self.path(key)
        try:
            return (await _in_thread(path.stat, may_be_missing=True)).st_size
        except FileNotFoundError:
            return None

    async def delete(self, key: str) -> None:
        """Remove the content; nothing happens when there is none."""
        path = self.path(key)
        await _in_thread(lambda: path.unlink(missing_ok=True))


async def _in_thread(work: Callable[[], T], *, may_be_missing: bool = False) -> T:
    # Waited for also when cancelled: the file must not be closed under what still writes to it.
    try:
        return await to_the_end(asyncio.to_thread(work))
    except OSError as error:
        if may_be_missing and isinstance(error, FileNotFoundError):
            raise
        raise StorageError(f"the folder of artifacts: {error}", reason="io_error") from error


class _Scratch:
    """A file that gets its name when it is whole; each method runs in a thread."""

    def __init__(self, root: Path) -> None:
        self._path = root / f".put-{seams.new_id('')}"
        self._file: BinaryIO | None = None

    def open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("xb")

    def write(self, part: bytes) -> None:
        assert self._file is not None
        self._file.write(part)

    def settle(self, path: Path) -> None:
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._path, path)
        _sync_folder(path.parent)

    def clear(self) -> None:
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # Or a power cut could lose the name of what is safely written. Windows knows no such thing.
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
