"""What queries across sessions answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from jido_tortoise.recording.entities import Event, Run, Session


@dataclass(frozen=True, slots=True)
class SessionPage:
    """One page of sessions."""

    sessions: tuple[Session, ...]
    #: Leads behind the last session of this page, also when nothing is there yet; None when the page is empty.
    cursor: str | None
    #: Whether there was something behind this page when it was read.
    has_more: bool
    #: How many sessions pass the filters on all pages, as of the first page; None when nobody asked.
    total_count: int | None = None


@dataclass(frozen=True, slots=True)
class RunPage:
    """One page of runs."""

    runs: tuple[Run, ...]
    #: Leads behind the last run of this page; None when the page is empty, or its order has no cursor.
    cursor: str | None
    #: Whether there was something behind this page when it was read.
    has_more: bool


@dataclass(frozen=True, slots=True)
class EventPage:
    """One page of events."""

    events: tuple[Event, ...]
    #: Leads behind the last event of this page, also when nothing is there yet; None when the page is empty.
    cursor: str | None
    #: Whether there was something behind this page when it was read.
    has_more: bool


@dataclass(frozen=True, slots=True)
class TokenTotals:
    """Tokens of several runs; what is no number of tokens counts as 0."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0


@dataclass(frozen=True, slots=True)
class SessionStats:
    """What a session holds."""

    event_count: int
    run_count: int
    token_totals: TokenTotals
    #: Each once, sorted.
    providers_used: tuple[str, ...]
    #: The earliest and the latest time that an event says; None without events.
    first_event_at: datetime | None
    last_event_at: datetime | None
    #: How many runs have each status; those that none has are not in it.
    status_counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ProviderUsage:
    """What the runs of one provider have used."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    run_count: int


@dataclass(frozen=True, slots=True)
class UsageSummary:
    """What runs have used."""

    total_input_tokens: int
    total_output_tokens: int
    total_tokens: int
    run_count: int
    #: Runs without a provider are under "unknown".
    by_provider: Mapping[str, ProviderUsage]


@dataclass(frozen=True, slots=True)
class ProviderCost:
    """What the runs of one provider have cost, as far as that is known."""

    #: US dollars.
    cost_usd: float
    #: How many runs that is.
    run_count: int


@dataclass(frozen=True, slots=True)
class ModelCost:
    """What the runs with one model have cost, as far as that is known, and their tokens."""

    #: US dollars.
    cost_usd: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class CostSummary:
    """What runs have cost."""

    #: US dollars; of the unmapped runs nothing.
    total_cost_usd: float
    #: All runs, the unmapped ones too.
    run_count: int
    #: Runs without a provider, or a model, are under "unknown".
    by_provider: Mapping[str, ProviderCost]
    by_model: Mapping[str, ModelCost]
    #: How many runs have neither a cost nor a price.
    unmapped_runs: int


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What the runs of one provider, model and day have used and cost; None for what was not asked to be told apart."""

    provider: str | None
    model: str | None
    #: Of their start, in UTC.
    day: date | None
    run_count: int
    input_tokens: int
    output_tokens: int
    total_tokens: int
    #: US dollars; of the unmapped runs nothing.
    cost_usd: float
    #: How many of the runs have neither a cost nor a price.
    unmapped_runs: int
