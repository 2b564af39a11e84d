"""Reading transcripts: one conversation a line, in the chat format of OpenAI, in bounded memory."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from jido_tortoise import codec
from jido_tortoise.errors import InvalidInputError, JidoError, said


@dataclass(frozen=True, slots=True)
class Conversation:
    """One line of the file."""

    line: int
    messages: list[dict[str, Any]]
    #: Bytes of each message as JSON.
    sizes: list[int]
    #: The line's other keys.
    metadata: dict[str, Any]
    #: Where in the file the line ends, in bytes.
    end: int


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no conversation, and why."""

    line: int
    reason: str
    end: int


def check_file(path: Path) -> int:
    """Answer the size of a transcript file in bytes; refuse what cannot be read three times.

    Raises:
        InvalidInputError: There is nothing, a directory, no file, or nothing in it.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise InvalidInputError.at("--transcripts", "a file", said(f"{path}: {error.strerror}")) from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file, and it is read three times"
        raise InvalidInputError.at("--transcripts", "a file", said(f"{path}, which is {kind}"))
    if status.st_size == 0:
        raise InvalidInputError.at("--transcripts", "one conversation a line", said(f"{path}, which is empty"))
    return status.st_size


def read(path: Path, limit: int | None = None) -> Iterator[Conversation | BadLine]:
    """Read conversations, at most `limit` of them, and the bad lines between them; empty lines are passed over."""
    found = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(_lines(file), 1):
                if limit is not None and found >= limit:
                    return
                if line is not None and not line.strip():
                    continue
                one = _parse(line, number, file.tell())
                found += isinstance(one, Conversation)
                yield one
    except OSError as error:
        raise InvalidInputError.at("--transcripts", "a file", said(f"{path}: {error.strerror}")) from error


def _lines(file: IO[bytes]) -> Iterator[bytes | None]:
    """Answer the lines; None for one that is too long to be stored, of which only a piece is held at a time."""
    while line := file.readline(codec.MAX_BYTES):
        whole = line
        while len(line) == codec.MAX_BYTES and not line.endswith(b"\n"):
            whole, line = b"", file.readline(codec.MAX_BYTES)
        yield whole.removeprefix(b"\xef\xbb\xbf") or None


def _parse(line: bytes | None, number: int, end: int) -> Conversation | BadLine:
    if line is None:
        return BadLine(number, f"longer than {codec.MAX_BYTES >> 20} MiB", end)
    try:
        conversation = json.loads(line.decode())  # bytes would be taken for UTF-16 now and then
    except RecursionError:
        return BadLine(number, "nested too deeply", end)
    except ValueError as error:  # no JSON, or not even UTF-8
        return BadLine(number, f"not JSON: {error}", end)
    try:
        return _checked(conversation, number, end)
    except JidoError as error:
        return BadLine(number, str(error), end)


def _checked(conversation: Any, number: int, end: int) -> Conversation:
    if not isinstance(conversation, dict):
        raise InvalidInputError.at("line", '{"messages": [...]}', said(f"a {type(conversation).__name__}"))
    metadata = dict(conversation)
    messages = metadata.pop("messages", None)
    if not isinstance(messages, list):
        got = f"a {type(messages).__name__}" if "messages" in conversation else "nothing"
        raise InvalidInputError.at("messages", "a list", said(got))
    codec.dump_map(metadata, path="line")
    sizes = [_size(message, f"messages[{index}]") for index, message in enumerate(messages)]
    return Conversation(number, messages, sizes, metadata, end)


def _size(message: Any, path: str) -> int:
    if not isinstance(message, dict):
        raise InvalidInputError.at(path, "an object", said(f"a {type(message).__name__}"))
    return len(codec.dump_map(message, path=path).encode())
