"""What a store of artifacts must do, and how content is handed to it and read from it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jido_tortoise.errors import CorruptContentError, InvalidInputError, NotFoundError

#: What can be stored: all of it, or its parts one after another.
Content = bytes | bytearray | memoryview | Iterable[bytes] | AsyncIterable[bytes]

#: Bytes that are in memory at a time.
CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store has taken."""

    #: Of the content, in bytes.
    byte_size: int
    #: Of the content, as 64 hexadecimal digits.
    checksum_sha256: str


@runtime_checkable
class ArtifactStore(Protocol):
    """Bytes by key."""

    @property
    def backend(self) -> str:
        """The kind of store, as rows of artifacts name it."""
        ...

    async def put(self, key: str, content: Content) -> Stored:
        """Store content in the place of what is there: all of it, or nothing."""
        ...

    def open(self, key: str) -> AsyncIterator[bytes]:
        """Answer the content part by part.

        Raises:
            NotFoundError: There is none; when the first part is asked for.
        """
        ...

    async def size(self, key: str) -> int | None:
        """Answer how many bytes the content has; None when there is none."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the content; nothing happens when there is none."""
        ...


async def content_of(parts: AsyncIterable[bytes]) -> bytes:
    """Answer content as a whole."""
    return b"".join([part async for part in parts])


async def parts_of(content: Content) -> AsyncIterator[bytes]:
    """Answer content in parts, none of which is longer than `CHUNK`.

    Raises:
        InvalidInputError: It is no content.
    """
    if isinstance(content, bytes | bytearray | memoryview):
        for part in _cut(_bytes(content)):
            yield part
    elif isinstance(content, AsyncIterable):
        async for given in content:
            for part in _cut(_bytes(given)):
                yield part
    else:
        for one in _iterable(content):
            for part in _cut(_bytes(one)):
                yield part


def _iterable(content: object) -> Iterable[object]:
    if isinstance(content, str) or not isinstance(content, Iterable):
        raise InvalidInputError.at("content", "bytes, or an iterable of bytes", content)
    return content


def _bytes(given: object) -> memoryview:
    if not isinstance(given, bytes | bytearray | memoryview):
        raise InvalidInputError.at("content", "bytes, or an iterable of bytes", given)
    view = memoryview(given)
    return (view if view.c_contiguous else memoryview(view.tobytes())).cast("B")


def _cut(view: memoryview) -> Iterable[bytes]:
    for at in range(0, len(view), CHUNK):
        yield bytes(view[at : at + CHUNK])


class Sum:
    """Adds up content while it passes."""

    def __init__(self) -> None:
        self._digest, self._size = hashlib.sha256(), 0

    def add(self, part: bytes) -> bytes:
        """Count a part, and answer it."""
        self._digest.update(part)
        self._size += len(part)
        return part

    @property
    def total(self) -> Stored:
        """What has passed."""
        return Stored(self._size, self._digest.hexdigest())


async def verified(parts: AsyncIterable[bytes], expected: Stored, key: str) -> AsyncIterator[bytes]:
    """Answer content part by part; the last part comes only when the whole is what it must be.

    Raises:
        CorruptContentError: It is not.
    """
    passed, held = Sum(), b""
    async for part in parts:
        if held:
            yield held
        held = passed.add(part)
    if passed.total != expected:
        raise CorruptContentError(
            f"the content of {key!r} is not what was stored: {passed.total.byte_size} bytes with the checksum"
            f" {passed.total.checksum_sha256}, expected were {expected.byte_size} with {expected.checksum_sha256}",
            key=key,
            expected=expected.checksum_sha256,
            actual=passed.total.checksum_sha256,
        )
    if held:
        yield held


def missing_content(key: str) -> NotFoundError:
    """Say that there is no content under a key."""
    return NotFoundError(f"there is no content under {key!r}", key=key)
