"""What is stored: chat messages and agents' states of the size that real ones have, the same in every run."""

from __future__ import annotations

import json
from random import Random
from typing import Any

_TALK = (
    "the reservation flight Tuesday please change economy passenger bag refund gift card number cabin from to with your"
    " policy cannot upgrade Boston Denver 2024-05-17 confirm yes total $183 insurance membership silver I see two"
)
_WORDS = _TALK.split()
#: Characters of a message's content.
_CONTENT = 240


def message(number: int = 0) -> dict[str, Any]:
    """Answer a chat message of about 300 bytes of JSON."""
    return {"role": "assistant" if number % 2 else "user", "content": _text(Random(number), _CONTENT), "turn": number}


def entry(number: int = 0) -> dict[str, Any]:
    """Answer a message as an entry, the way a caller gives it: without an id."""
    return {"kind": "message", "payload": message(number), "refs": {"request_id": f"req_{number:08d}"}}


def state(size: int) -> dict[str, Any]:
    """Answer an agent's state of at least so many bytes of JSON."""
    random = Random(size)
    made: dict[str, Any] = {"turn": 0, "customer": "mia_li_3668", "orders": []}
    length = len(json.dumps(made))
    while length < size:
        order = _order(random)
        made["orders"].append(order)
        length += len(json.dumps(order)) + 2
    return made


def _order(random: Random) -> dict[str, Any]:
    return {
        "id": f"{random.getrandbits(32):08X}",
        "placed_at_ms": 1_715_000_000_000 + random.randrange(10**9),
        "paid": random.random() < 0.5,
        "total": round(random.uniform(1, 900), 2),
        "note": _text(random, 200),
        "items": [{"sku": random.getrandbits(40), "count": random.randrange(1, 9)} for _ in range(3)],
    }


def _text(random: Random, length: int) -> str:
    words: list[str] = []
    while sum(map(len, words)) + len(words) < length:
        words.append(random.choice(_WORDS))
    return " ".join(words)[:length]
