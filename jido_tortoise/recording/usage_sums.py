"""What groups of runs have used and cost: the database adds up their tokens, and a price is linear in them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from jido_tortoise.recording.pricing import Pricing
from jido_tortoise.recording.query_results import (
    CostSummary,
    ModelCost,
    ProviderCost,
    ProviderUsage,
    UsageRow,
    UsageSummary,
)
from jido_tortoise.recording.query_statements import TOKENS

K = TypeVar("K", bound=Hashable)

#: What runs without a provider or a model are counted under.
UNKNOWN = "unknown"


class Group(NamedTuple):
    """The runs of one provider, model and day, as the database has added them up."""

    provider: str
    model: str | None
    day: str | None
    run_count: int
    #: How many of them have a cost of their own, and the sum of these.
    costed: int
    cost_usd: Decimal
    #: The tokens of all, and of those that have no cost.
    tokens: Mapping[str, int]
    uncosted: Mapping[str, int]


@dataclass(slots=True)
class _Sum:
    """Groups, added up."""

    run_count: int = 0
    mapped: int = 0
    cost: Decimal = Decimal(0)
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    #: Of the runs whose cost is known.
    mapped_input: int = 0
    mapped_output: int = 0


def group_of(row: Any) -> Group:
    """Make the group of a row of `query_statements.usage`."""
    provider, model, day, count, costed, cost, *sums = row
    # Of fewer kinds when they are not to be priced.
    tokens = dict(zip(TOKENS, map(int, sums[: len(TOKENS)]), strict=False))
    uncosted = dict(zip(TOKENS, map(int, sums[len(TOKENS) :]), strict=False))
    return Group(provider or UNKNOWN, model, day, count, costed, Decimal(str(cost)), tokens, uncosted)


def usage_summary(groups: Iterable[Group]) -> UsageSummary:
    """Add up tokens, in all and by provider."""
    groups = list(groups)
    total = _added(groups, lambda _: None).get(None, _Sum())
    by_provider = {
        name: ProviderUsage(one.input_tokens, one.output_tokens, one.total_tokens, one.run_count)
        for name, one in _added(groups, lambda group: group.provider).items()
    }
    return UsageSummary(total.input_tokens, total.output_tokens, total.total_tokens, total.run_count, by_provider)


def cost_summary(groups: Iterable[Group], pricing: Pricing) -> CostSummary:
    """Add up costs, in all, by provider and by model; runs whose cost nobody knows are only counted."""
    groups = list(groups)
    total = _added(groups, lambda _: None, pricing).get(None, _Sum())
    by_provider = _added(groups, lambda group: group.provider, pricing)
    by_model = _added(groups, lambda group: group.model or UNKNOWN, pricing)
    return CostSummary(
        total_cost_usd=float(total.cost),
        run_count=total.run_count,
        by_provider={
            name: ProviderCost(float(one.cost), one.mapped) for name, one in by_provider.items() if one.mapped
        },
        by_model={
            name: ModelCost(float(one.cost), one.mapped_input, one.mapped_output)
            for name, one in by_model.items()
            if one.mapped
        },
        unmapped_runs=total.run_count - total.mapped,
    )


def usage_rows(groups: Iterable[Group], by: frozenset[str], pricing: Pricing) -> list[UsageRow]:
    """Add up tokens and costs by provider, model and day, or some of these, in the order of day, provider, model."""

    def key(group: Group) -> tuple[str, ...]:
        return tuple((getattr(group, name) or UNKNOWN) if name in by else "" for name in ("day", "provider", "model"))

    return [_row(key, one) for key, one in sorted(_added(groups, key, pricing).items())]


def _row(key: tuple[str, ...], one: _Sum) -> UsageRow:
    day, provider, model = (part or None for part in key)
    return UsageRow(
        provider=provider,
        model=model,
        day=None if day is None else date.fromisoformat(day),
        run_count=one.run_count,
        input_tokens=one.input_tokens,
        output_tokens=one.output_tokens,
        total_tokens=one.total_tokens,
        cost_usd=float(one.cost),
        unmapped_runs=one.run_count - one.mapped,
    )


_NO_PRICES = Pricing({})


def _added(groups: Iterable[Group], key: Callable[[Group], K], pricing: Pricing = _NO_PRICES) -> dict[K, _Sum]:
    sums: dict[K, _Sum] = {}
    for group in groups:
        _add(sums.setdefault(key(group), _Sum()), group, pricing)
    return sums


def _add(one: _Sum, group: Group, pricing: Pricing) -> None:
    one.run_count += group.run_count
    one.input_tokens += group.tokens["input_tokens"]
    one.output_tokens += group.tokens["output_tokens"]
    one.total_tokens += group.tokens["total_tokens"]
    one.cost += group.cost_usd
    computed = None if pricing is _NO_PRICES else pricing.exact_cost(group.uncosted, group.provider, group.model)
    one.cost += computed or 0
    one.mapped += group.costed if computed is None else group.run_count
    unmapped = group.uncosted if computed is None else {}
    one.mapped_input += group.tokens["input_tokens"] - unmapped.get("input_tokens", 0)
    one.mapped_output += group.tokens["output_tokens"] - unmapped.get("output_tokens", 0)
