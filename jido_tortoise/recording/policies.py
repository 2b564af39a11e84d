"""Policies: how many tokens, tool calls, seconds and dollars a run may take, and which tools it may call.

A policy is a frozen value; a `Watch` follows one run. A limit is broken by more than it, each limit once a run; a tool
that is not allowed each time that it is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from jido_tortoise import checks, seams
from jido_tortoise.errors import InvalidInputError
from jido_tortoise.recording.pricing import Pricing, tokens

OnViolation = Literal["cancel", "warn", "request_approval"]
_ACTIONS = ("cancel", "warn", "request_approval")
_LIMITS = ("max_total_tokens", "max_duration_ms", "max_tool_calls", "max_cost_usd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a run may do; None is no limit."""

    name: str = "default"
    max_total_tokens: int | None = None
    max_duration_ms: int | None = None
    max_tool_calls: int | None = None
    #: US dollars; it has no effect on a run whose model has no price.
    max_cost_usd: float | None = None
    #: The only tools that it may call; None: all.
    allow_tools: Sequence[str] | None = None
    deny_tools: Sequence[str] = ()
    #: "cancel" ends the run, "request_approval" ends it and asks, "warn" only records.
    on_violation: OnViolation = "cancel"
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checks.text(self.name, "policy.name")
        for name in _LIMITS:
            _check_limit(getattr(self, name), f"policy.{name}", whole=name != "max_cost_usd")
        if self.on_violation not in _ACTIONS:
            raise InvalidInputError.at("policy.on_violation", f"one of {', '.join(_ACTIONS)}", self.on_violation)
        for name in ("allow_tools", "deny_tools"):
            object.__setattr__(self, name, _tools(getattr(self, name), f"policy.{name}"))


def check_policies(policies: Any) -> tuple[Policy, ...]:
    """Answer policies that are all such.

    Raises:
        InvalidInputError: `path` says which is none.
    """
    if isinstance(policies, str | Mapping) or not isinstance(policies, Iterable):
        raise InvalidInputError.at("policies", "a list of Policy", policies)
    given = tuple(policies)
    for at, policy in enumerate(given):
        if not isinstance(policy, Policy):
            raise InvalidInputError.at(f"policies[{at}]", "a Policy", policy)
    return given


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that a run did and may not do."""

    policy: str
    #: "tool_denied" or "budget_exceeded".
    kind: str
    action: OnViolation
    details: Mapping[str, Any]

    def data(self) -> dict[str, Any]:
        """Answer it as the data of a `policy_violation`."""
        return {"policy": self.policy, "kind": self.kind, "action": self.action, "details": dict(self.details)}


class Watch:
    """What one run has used, seen by its policies.

    Args:
        policies: Each is looked at for itself.
        pricing: What tokens cost; None when nobody knows.
        provider: Who is asked, for the prices.
    """

    def __init__(self, policies: Iterable[Policy], pricing: Pricing | None, provider: str) -> None:
        self.policies = tuple(policies)
        self.violations: list[Violation] = []
        self._pricing = pricing
        self._provider = provider
        self._model: str | None = None
        self._started = seams.monotonic()
        self._tokens = self._tool_calls = 0
        self._cost: Decimal | None = None
        self._told: set[tuple[str, str]] = set()

    def observe(self, event_type: str, data: Mapping[str, Any]) -> tuple[Violation, ...]:
        """Take an event of the run into account, and answer what it breaks."""
        if not self.policies:
            return ()
        self._count(event_type, data)
        tool = data.get("tool_name") if event_type == "tool_call_started" else None
        found = [violation for policy in self.policies for violation in self._broken(policy, tool)]
        self.violations += found
        return tuple(found)

    def tick(self) -> tuple[Violation, ...]:
        """Answer what is broken by the time that has passed."""
        return self.observe("", {})

    def time_left(self) -> float | None:
        """Answer the seconds until the first limit of time; None when there is none that is not broken yet."""
        # A millisecond more, because a limit is broken by more than it.
        limits = [
            (policy.max_duration_ms + 1) / 1000
            for policy in self.policies
            if policy.max_duration_ms is not None and (policy.name, "duration_ms") not in self._told
        ]
        return max(0.0, min(limits) - self._elapsed()) if limits else None

    def _elapsed(self) -> float:
        return seams.monotonic() - self._started

    def _count(self, event_type: str, data: Mapping[str, Any]) -> None:
        if isinstance(data.get("model"), str):
            self._model = data["model"]
        if event_type == "tool_call_started":
            self._tool_calls += 1
        elif event_type == "token_usage_updated":
            self._tokens += total_of(data)
            cost = None if self._pricing is None else self._pricing.exact_cost(data, self._provider, self._model)
            if cost is not None:
                self._cost = cost + (self._cost or 0)

    def _broken(self, policy: Policy, tool: object) -> Iterable[Violation]:
        if isinstance(tool, str):
            yield from _broken_by_tool(policy, tool)
        used: dict[str, Any] = {
            "total_tokens": self._tokens,
            "duration_ms": int(self._elapsed() * 1000),
            "tool_calls": self._tool_calls,
            "cost_usd": self._cost,
        }
        for metric, actual in used.items():
            limit = getattr(policy, f"max_{metric}")
            if limit is None or actual is None or (policy.name, metric) in self._told or actual <= Decimal(str(limit)):
                continue
            self._told.add((policy.name, metric))
            details = {"metric": metric, "actual": float(actual) if metric == "cost_usd" else actual, "limit": limit}
            yield Violation(policy.name, "budget_exceeded", policy.on_violation, details)


def total_of(usage: Mapping[str, Any]) -> int:
    """Answer all tokens of a usage: as it says, else input and output."""
    total = tokens(usage.get("total_tokens"))
    return total or tokens(usage.get("input_tokens")) + tokens(usage.get("output_tokens"))


def _broken_by_tool(policy: Policy, tool: str) -> Iterable[Violation]:
    for rule, broken in (
        ("deny", tool in policy.deny_tools),
        ("allow", policy.allow_tools is not None and tool not in policy.allow_tools),
    ):
        if broken:
            yield Violation(policy.name, "tool_denied", policy.on_violation, {"tool_name": tool, "rule": rule})


def _check_limit(value: object, path: str, *, whole: bool) -> None:
    if value is None:
        return
    if whole:
        checks.whole(value, path)
    elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise InvalidInputError.at(path, "US dollars from 0 on", value)


def _tools(given: Any, path: str) -> tuple[str, ...] | None:
    if given is None:
        return None
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InvalidInputError.at(path, "a list of names of tools", given)
    return tuple(checks.text(name, f"{path}[{at}]") for at, name in enumerate(given))
