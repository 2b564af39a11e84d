"""What tokens cost: rates by provider and model, counted exactly.

A table is a plain mapping, as `agent_session_manager` has it; US dollars per token:

    {"anthropic": {"default": {"input": "0.000003", "output": "0.000015"},
                   "models": {"claude-haiku-4-5": {"input": "0.000001", "output": "0.000005",
                                                   "cache_read": "0.0000001", "cache_creation": "0.00000125"}}}}

A model is looked up by its name, then by the longest name in the table that it begins with, to the end of a word
(`gpt-4-turbo` begins with `gpt-4`; `gpt-4o` and `gpt-4.1` do not), then the provider's `default` applies; cached tokens
cost what input does where no rate says otherwise. What is in none of them has no price: nothing is guessed, and whoever
asks is told so by None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from jido_tortoise.errors import InvalidInputError

#: Which tokens a rate is for.
_KINDS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "cache_creation": "cache_creation_tokens",
}
#: What ends a word of a model's name.
_WORD_ENDS = re.compile(r"[^\w.]")
#: What may follow a model's name and leaves it the same model: a date, or "latest".
_SAME_MODEL = re.compile(r"[-@](?:\d{8}|\d{4}-\d{2}-\d{2}|latest)")


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars per token."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_creation: Decimal


class Pricing:
    """A pricing table that was checked; an immutable value.

    Args:
        table: Rates as above; strings, ints and Decimals are taken exactly, floats as they are printed.
        prefixes: Whether a model may be found by a name that it begins with. "dated": only when no more than a date or
            "latest" follows, so that a price of `gpt-5` is not taken for one of `gpt-5-pro`.

    Raises:
        InvalidInputError: Something in the table is no rate; `path` says where.
    """

    def __init__(self, table: Mapping[str, Any], *, prefixes: bool | str = True) -> None:
        if not isinstance(prefixes, bool) and prefixes != "dated":
            raise InvalidInputError.at("prefixes", "True, False or 'dated'", prefixes)
        self._prefixes = prefixes
        self._defaults: dict[str, Rates] = {}
        self._models: dict[str, dict[str, Rates]] = {}
        for provider, entry in _mapping(table, "table").items():
            self._add(provider, _mapping(entry, f"table[{provider!r}]"))

    def _add(self, provider: str, entry: Mapping[str, Any]) -> None:
        path = f"table[{provider!r}]"
        # The short form of a provider whose models all cost the same.
        default = entry if "input" in entry else entry.get("default")
        if default is not None:
            self._defaults[provider] = _rates(default, f"{path}['default']")
        models = _mapping(entry.get("models", {}), f"{path}['models']")
        self._models[provider] = {name: _rates(rates, f"{path}['models'][{name!r}]") for name, rates in models.items()}

    def rates(self, provider: str | None, model: str | None) -> Rates | None:
        """Answer the rates of a provider's model; None when the table does not tell."""
        models = self._models.get(provider or "")
        if models is None or provider is None:
            return None
        if model is not None:
            if model in models:
                return models[model]
            known = [name for name in models if self._begins(model, name)]
            if known:
                return models[max(known, key=len)]
        return self._defaults.get(provider)

    def _begins(self, model: str, name: str) -> bool:
        if not self._prefixes or not model.startswith(name):
            return False
        if self._prefixes is True:
            return _WORD_ENDS.match(model, len(name)) is not None
        return _SAME_MODEL.fullmatch(model, len(name)) is not None

    def exact_cost(self, usage: Mapping[str, Any], provider: str | None, model: str | None) -> Decimal | None:
        """Answer what the tokens cost in US dollars, to the last digit; None when nobody knows."""
        rates = self.rates(provider, model)
        if rates is None:
            return None
        return sum((tokens(usage.get(key)) * getattr(rates, kind) for kind, key in _KINDS.items()), Decimal(0))

    def cost(self, usage: Mapping[str, Any], provider: str | None, model: str | None) -> float | None:
        """Answer what the tokens cost in US dollars, as the float next to it; None when nobody knows."""
        exact = self.exact_cost(usage, provider, model)
        return None if exact is None else float(exact)


def tokens(value: object) -> int:
    """Answer a number of tokens as an int: fractions are cut off, what is no number from 0 on counts as 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        return 0
    return int(value)


def _mapping(value: object, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidInputError.at(path, "a dict with string keys", value)
    return value


def _rates(value: object, path: str) -> Rates:
    rates = _mapping(value, path)
    read = {kind: _rate(rates[kind], f"{path}[{kind!r}]") for kind in _KINDS if rates.get(kind) is not None}
    missing = {"input", "output"} - read.keys()
    if missing:
        raise InvalidInputError.at(path, "rates for input and output", value)
    return Rates(**{"cache_read": read["input"], "cache_creation": read["input"], **read})


def _rate(value: object, path: str) -> Decimal:
    try:
        # str() of a float is the shortest text that reads back as it: what a person has written.
        rate = None if isinstance(value, bool) else Decimal(str(value))
    except InvalidOperation:
        rate = None
    if rate is None or not rate.is_finite() or rate < 0:
        raise InvalidInputError.at(path, "US dollars per token, from 0 on", value)
    return rate


def _millions(**rates: str) -> dict[str, Decimal]:
    """Answer rates per token from those per million tokens, as price lists have them."""
    return {kind: Decimal(rate) / 1_000_000 for kind, rate in rates.items()}


def _claude(rate: str, output: str) -> dict[str, Decimal]:
    """Answer Anthropic's rates: reading its cache costs a tenth of input, writing it a quarter more."""
    base = Decimal(rate)
    return _millions(input=rate, output=output, cache_read=str(base / 10), cache_creation=str(base * 5 / 4))


#: What some models cost by the vendors' public lists at the end of 2025, without discounts and surcharges (for long
#: prompts, batches, regions, priority). Written down by hand and compared with no list since: an estimate to begin
#: with, not an authority. Where money depends on it give a manager a table of your own. A model that is not named here,
#: but for a date or "latest" after its name, has no price, and counts as unmapped.
LIST_PRICES = Pricing(
    {
        "anthropic": {
            "models": {
                "claude-opus-4-5": _claude("5", "25"),
                "claude-opus-4-1": _claude("15", "75"),
                "claude-sonnet-4-5": _claude("3", "15"),
                "claude-haiku-4-5": _claude("1", "5"),
                "claude-3-5-haiku": _claude("0.80", "4"),
            }
        },
        "openai": {
            "models": {
                "gpt-5": _millions(input="1.25", output="10", cache_read="0.125"),
                "gpt-5-mini": _millions(input="0.25", output="2", cache_read="0.025"),
                "gpt-5-nano": _millions(input="0.05", output="0.40", cache_read="0.005"),
                "gpt-4.1": _millions(input="2", output="8", cache_read="0.50"),
                "gpt-4.1-mini": _millions(input="0.40", output="1.60", cache_read="0.10"),
                "gpt-4.1-nano": _millions(input="0.10", output="0.40", cache_read="0.025"),
                "gpt-4o": _millions(input="2.50", output="10", cache_read="1.25"),
                "gpt-4o-mini": _millions(input="0.15", output="0.60", cache_read="0.075"),
            }
        },
    },
    prefixes="dated",
)
