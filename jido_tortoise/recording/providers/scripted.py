"""A provider that says what it was told to: for tests and demonstrations, without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from jido_tortoise import seams
from jido_tortoise.errors import InvalidInputError
from jido_tortoise.recording.providers.base import Answer, Request, Said

#: A step: something said, the answer, seconds to wait, or an error to raise.
Step = Said | Answer | float | BaseException


class ScriptedProvider:
    """Each call follows the next script; what it was asked stands in `requests`.

    Args:
        scripts: One for each call.
        provider: The name that it is recorded by.
        native: Whether it goes on with a conversation of its own.
    """

    def __init__(self, *scripts: Iterable[Step], provider: str = "scripted", native: bool = False) -> None:
        self.provider = provider
        self.native = native
        self.requests: list[Request] = []
        self._scripts: Sequence[tuple[Step, ...]] = tuple(tuple(script) for script in scripts)

    @classmethod
    def saying(cls, *texts: str, provider: str = "scripted", model: str = "scripted-1") -> ScriptedProvider:
        """Answer a provider that streams each text word by word, one text a call, and counts words as tokens."""
        return cls(*(_streamed(text, model) for text in texts), provider=provider)

    async def __call__(self, request: Request) -> AsyncIterator[Said | Answer]:
        """Follow the next script.

        Raises:
            InvalidInputError: There is none left.
        """
        if len(self.requests) >= len(self._scripts):
            raise InvalidInputError.at("scripts", f"a script for call {len(self.requests) + 1}", len(self._scripts))
        self.requests.append(request)
        for step in self._scripts[len(self.requests) - 1]:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, int | float):
                await seams.sleep(step)
            else:
                yield step


def _streamed(text: str, model: str) -> list[Step]:
    words = text.split(" ")
    pieces = [word if at == 0 else f" {word}" for at, word in enumerate(words)]
    usage = {"input_tokens": len(words), "output_tokens": len(words), "total_tokens": 2 * len(words)}
    return [
        *(Said("message_streamed", {"content": piece}) for piece in pieces),
        Said("message_received", {"content": text, "role": "assistant"}),
        Said("token_usage_updated", {**usage, "model": model}),
        Answer(output={"content": text}, model=model),
    ]
