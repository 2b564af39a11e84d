"""What tokens cost: exactly, and only when somebody has said so."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from jido_tortoise.errors import InvalidInputError
from jido_tortoise.recording.entities import Run
from jido_tortoise.recording.pricing import LIST_PRICES, Pricing, tokens
from jido_tortoise.recording.usage import cost_of

_TABLE = {
    "a": {
        "default": {"input": 1, "output": 2},
        "models": {
            "m": {"input": "0.1", "output": "0.2"},
            "m-large": {"input": 0.1, "output": 0.2, "cache_read": "0.01", "cache_creation": "0.125"},
        },
    },
    "b": {"models": {"m": {"input": 0, "output": 0}}},
    "flat": {"input": "0.5", "output": "1"},
}


def test_the_sum_is_exact_and_then_the_float_next_to_it() -> None:
    """Ten times a tenth is one, as it is not with floats; the four kinds of tokens each have their rate."""
    pricing = Pricing(_TABLE)
    usage = {"input_tokens": 3, "output_tokens": 0}
    assert pricing.exact_cost(usage, "a", "m") == Decimal("0.3")
    assert 3 * 0.1 != 0.3, "floats would have been good enough"
    assert pricing.cost(usage, "a", "m") == 0.3
    every = {"input_tokens": 1, "output_tokens": 10, "cache_read_tokens": 100, "cache_creation_tokens": 1000}
    assert pricing.exact_cost(every, "a", "m-large-2025") == Decimal("0.1") + 2 + 1 + 125
    assert pricing.exact_cost(every, "a", "m") == Decimal("0.1") + 2 + 10 + 100, "cached tokens cost what input does"


@pytest.mark.parametrize(
    ("provider", "model", "rate"),
    [
        ("a", "m", "0.1"),
        ("a", "m-small", "0.1"),
        ("b", "m-small", "0"),
        ("b", "mo", None),
        ("b", "m2", None),
        ("b", "m.1", None),
        ("b", "M", None),
        ("a", "m-large", "0.1"),
        ("a", "other", "1"),
        ("a", None, "1"),
        ("flat", "any", "0.5"),
        ("b", "m", "0"),
        ("b", "other", None),
        ("b", None, None),
        ("nobody", "m", None),
        (None, "m", None),
    ],
)
def test_where_a_rate_comes_from(provider: str | None, model: str | None, rate: str | None) -> None:
    """The name, the longest name that it begins with as words, the provider's default; nothing is guessed."""
    found = Pricing(_TABLE).rates(provider, model)
    assert (None if found is None else found.input) == (None if rate is None else Decimal(rate))


def test_list_prices_are_of_the_models_they_name() -> None:
    """A date may follow a name, another model's name may not: there is no price for what is not in the list."""
    million = {"input_tokens": 1_000_000, "output_tokens": 1_000_000}
    assert LIST_PRICES.cost(million, "anthropic", "claude-sonnet-4-5-20250929") == 18.0
    assert LIST_PRICES.cost(million, "openai", "gpt-4o-mini-2024-07-18") == 0.75
    assert LIST_PRICES.cost(million, "openai", "gpt-5-pro") is None
    assert LIST_PRICES.cost(million, "openai", "gpt-5-20250807-x") is None
    assert LIST_PRICES.cost(million, "scripted", "scripted-1") is None


@pytest.mark.parametrize(
    "rest", ["-pro", "-codex", "-chat-latest", "o", ".1", "-1", "-thinking", "-2025", "-mini-x", " ", "-latest-x"]
)
def test_a_model_that_is_not_listed_has_no_price(rest: str) -> None:
    """However its name begins, and whatever of it is listed: it is counted as unmapped, not priced as another one."""
    named = [(provider, model) for provider, models in LIST_PRICES._models.items() for model in models]
    assert len(named) > 10
    others = [(provider, model + rest) for provider, model in named if (provider, model + rest) not in named]
    assert [one for one in others if LIST_PRICES.rates(*one) is not None] == []
    assert LIST_PRICES.rates("openai", "gpt") is LIST_PRICES.rates("openai", "gpt-4") is None
    assert LIST_PRICES.rates("anthropic", "gpt-5") is LIST_PRICES.rates("anthropic", None) is None


@pytest.mark.parametrize(
    "table",
    [
        [],
        {"a": 1},
        {"a": {"default": {"input": 1}}},
        {"a": {"default": {"input": 1, "output": -1}}},
        {"a": {"models": {"m": {"input": "free", "output": 1}}}},
        {"a": {"models": {"m": {"input": float("nan"), "output": 1}}}},
        {"a": {"models": {"m": {"input": True, "output": 1}}}},
    ],
)
def test_a_table_that_is_none_is_refused_when_it_is_made(table: Any) -> None:
    """Not when the first run ends."""
    with pytest.raises(InvalidInputError, match=r"^table"):
        Pricing(table)


@pytest.mark.parametrize(
    ("value", "count"), [(7, 7), (7.9, 7), (0, 0), (-1, 0), (True, 0), (None, 0), ("7", 0), (float("inf"), 0)]
)
def test_what_counts_as_tokens(value: object, count: int) -> None:
    """Whatever a provider has sent: a number from 0 on, else none."""
    assert tokens(value) == count


@pytest.mark.parametrize(("said", "cost"), [(None, 0.007), (0, 0.007), (0.0, 0.007), (0.5, 0.5)])
def test_what_a_provider_says_goes_before_the_table(said: float | None, cost: float) -> None:
    """But nothing costs nothing: 0 is what says that nobody has counted."""
    prices = Pricing({"p": {"input": "0.001", "output": "0.002"}})
    run = Run(session_id="s", provider="p", token_usage={"input_tokens": 3, "output_tokens": 2})
    assert cost_of(run, said, prices, None) == cost
    assert cost_of(run, said, None, None) == (said or None)
