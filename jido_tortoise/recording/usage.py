"""What a run has used: added up from what its provider says on the way, so that a run that fails has it too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jido_tortoise.recording.entities import Run
from jido_tortoise.recording.policies import total_of
from jido_tortoise.recording.pricing import Pricing, tokens


class Usage:
    """The tokens of one run, and the model that they were used with."""

    def __init__(self) -> None:
        self.model: str | None = None
        self.turns = 0
        self._tokens: dict[str, int] = {}

    def add(self, event_type: str, data: Mapping[str, Any]) -> None:
        """Take an event into account; only `token_usage_updated` and `turn_completed` count."""
        if event_type == "turn_completed":
            self.turns += 1
        elif event_type == "token_usage_updated":
            if isinstance(data.get("model"), str):
                self.model = data["model"]
            used = {name: tokens(value) for name, value in data.items() if name.endswith("_tokens")}
            used["total_tokens"] = total_of(used)
            for name, count in used.items():
                self._tokens[name] = self._tokens.get(name, 0) + count

    def tokens(self, answered: Mapping[str, Any] | None) -> dict[str, Any]:
        """Answer the sum, or what the provider has said at the end; {} when nobody has said anything."""
        if answered is None:
            return dict(self._tokens)
        return {**answered, "total_tokens": total_of(answered)} if answered else {}


def cost_of(run: Run, said: float | None, pricing: Pricing | None, model: str | None) -> float | None:
    """Answer what a run cost in US dollars: as the provider says, else by the tokens; None when nobody knows."""
    if said is not None and said > 0:
        return float(said)
    if pricing is None or not run.token_usage:
        return None
    return pricing.cost(run.token_usage, run.provider, model)
