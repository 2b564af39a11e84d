"""Redaction of a text that comes in pieces: a secret that lies across several tokens is found all the same.

A piece is held back while what follows could still make a secret of its end: patterns look at a name, a sign and a
value, so the last words are held, and an open private key as a whole. Nothing is held for ever: see `MOST_HELD`.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from jido_tortoise.recording.redaction import Redactor
from jido_tortoise.recording.secrets import OPEN_VALUE, Span, find

P = TypeVar("P")

#: Characters that are held back at most; of a longer secret the end is not seen.
MOST_HELD = 16_384
#: Words that a secret may consist of: `password = hunter2`. A longer one of a host's own pattern may slip through.
_WORDS = 3


class RedactedStream(Generic[P]):
    """Pieces of one text on their way to somewhere, each with something that belongs to it."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held: deque[tuple[str, P]] = deque()
        self._text = ""

    def push(self, text: str, piece: P) -> list[tuple[str, int, P]]:
        """Take a piece, and answer those that are certain now: text that is left, number of secrets, piece."""
        self._held.append((text, piece))
        self._text += text
        return self._released(self._certain())

    def end(self) -> list[tuple[str, int, P]]:
        """Answer what is still held: nothing follows."""
        return self._released(len(self._text))

    def _certain(self) -> int:
        """Answer how many of the held characters no further piece can make a part of a secret."""
        text = self._text
        if len(text) > MOST_HELD:
            return len(text)
        at = _last_words(text)
        if (value := OPEN_VALUE.search(text)) is not None:
            at = min(at, value.start())
        return min(at, _open_key(text))

    def _released(self, certain: int) -> list[tuple[str, int, P]]:
        count, length = 0, 0
        for text, _ in self._held:
            if length + len(text) > certain:
                break
            count, length = count + 1, length + len(text)
        if not count:
            return []
        spans = find(self._text, self._redactor.patterns)
        # A secret across the border keeps the pieces that it begins in.
        while count < len(self._held) and any(span.start < length < span.end for span in spans):
            count -= 1
            length -= len(self._held[count][0])
        pieces = [self._held.popleft() for _ in range(count)]
        self._text = self._text[length:]
        return self._cut(pieces, spans)

    def _cut(self, pieces: list[tuple[str, P]], spans: list[Span]) -> list[tuple[str, int, P]]:
        result: list[tuple[str, int, P]] = []
        start = 0
        for text, piece in pieces:
            result.append((*self._without(text, start, spans), piece))
            start += len(text)
        return result

    def _without(self, text: str, start: int, spans: list[Span]) -> tuple[str, int]:
        """Answer a piece without its secrets; a secret's mark stands where it begins."""
        end = start + len(text)
        parts: list[str] = []
        at, count = start, 0
        for span in spans:
            if span.end <= start or span.start >= end:
                continue
            parts.append(text[at - start : max(at, span.start) - start])
            if span.start >= start:
                parts.append(self._redactor.mark(span.category))
                count += 1
            at = min(span.end, end)
        return "".join((*parts, text[at - start :])), count


def _last_words(text: str) -> int:
    """Answer where the last words begin."""
    parts = text.rsplit(None, _WORDS)
    return len(text) - len(text[len(parts[0]) :].lstrip()) if len(parts) > _WORDS else 0


def _open_key(text: str) -> int:
    """Answer where a private key begins that has not ended; the text's length when there is none."""
    begins = text.rfind("-----BEGIN ")
    if begins < 0:
        return len(text)
    ends = text.find("-----END ", begins)
    return len(text) if ends >= 0 and text.find("KEY-----", ends) >= 0 else begins
