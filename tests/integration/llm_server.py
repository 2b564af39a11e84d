"""A real HTTP server on loopback that speaks as a provider does, also when it fails: cut streams, noise, refusals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

#: A part of an answer: bytes as they are, a dict as a server-sent event, seconds to wait, or what ends it.
Part = bytes | dict[str, Any] | float | str
#: The connection breaks off in the middle of a chunk.
CUT = "cut"


@dataclass
class LlmServer:
    """What it was asked, and what it answers next."""

    url: str = ""
    answers: list[tuple[int, dict[str, str], Sequence[Part]]] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    #: Set when a client has gone away before the answer was complete.
    left: asyncio.Event = field(default_factory=asyncio.Event)
    #: Set when all of an answer is sent but what it waits with.
    waiting: asyncio.Event = field(default_factory=asyncio.Event)

    def answer(self, *parts: Part, status: int = 200, **headers: str) -> None:
        """Say what the next request is answered."""
        self.answers.append((status, headers, parts))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        exact = {line.split(": ", 1)[0].lower(): line.split(": ", 1)[1] for line in head[1:] if ": " in line}
        body = json.loads(await reader.readexactly(int(exact["content-length"])))
        self.requests.append((head[0].split(" ")[1], exact, body))
        status, more, parts = self.answers.pop(0)
        lines = [f"HTTP/1.1 {status} Said", "Transfer-Encoding: chunked", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        try:
            await self._write(reader, writer, parts)
        except ConnectionError:
            self.left.set()
        finally:
            writer.close()

    async def _write(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, parts: Sequence[Part]) -> None:
        gone = asyncio.ensure_future(reader.read())
        try:
            for part in parts:
                if part == CUT:
                    writer.write(b"ff\r\nhalf")
                    return
                if isinstance(part, float):
                    self.waiting.set()
                    await asyncio.wait([gone], timeout=part)
                    if gone.done():
                        raise ConnectionResetError
                    continue
                sent = part if isinstance(part, bytes) else f"data: {json.dumps(part)}\n\n".encode()
                writer.write(f"{len(sent):x}\r\n".encode() + sent + b"\r\n")
                await writer.drain()
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        finally:
            gone.cancel()


@asynccontextmanager
async def llm_server() -> AsyncIterator[LlmServer]:
    """Serve on a free port of loopback for the block."""
    server = LlmServer()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
        await listening.wait_closed()


def anthropic_answer(
    *texts: str, model: str = "claude-haiku-4-5-20251001", input_tokens: int = 10, output_tokens: int = 4
) -> list[Part]:
    """Answer the events of a whole message of text."""
    usage = {"input_tokens": input_tokens, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2}
    return [
        {"type": "message_start", "message": {"model": model, "usage": {**usage, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}} for text in texts),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": output_tokens}},
        {"type": "message_stop"},
    ]


def openai_answer(*texts: str, model: str = "gpt-4o-mini-2024-07-18", usage: bool = True) -> list[Part]:
    """Answer the chunks of a whole completion of text."""
    used = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}
    details = {"prompt_tokens_details": {"cached_tokens": 6}}
    return [
        {"model": model, "choices": [{"delta": {"role": "assistant", "content": ""}, "finish_reason": None}]},
        *({"model": model, "choices": [{"delta": {"content": text}, "finish_reason": None}]} for text in texts),
        {"model": model, "choices": [{"delta": {}, "finish_reason": "stop"}]},
        *([{"model": model, "choices": [], "usage": {**used, **details}}] if usage else []),
        b"data: [DONE]\n\n",
    ]
