"""Redaction: secrets are taken out of what is recorded before anybody else sees it.

It is opt-in. A manager that has a redactor gives it everything first: what is stored, what callbacks and telemetry are
told, and what a run keeps as its input, output and error. Only texts are looked at, never keys, numbers or bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jido_tortoise import checks
from jido_tortoise.errors import InvalidInputError
from jido_tortoise.recording.secrets import DEFAULT_PATTERNS, Pattern, find

#: Types of events that carry ids, states and counts, and no text of anybody's.
UNSCANNED_TYPES = frozenset(
    {
        "session_created",
        "session_started",
        "session_resumed",
        "session_completed",
        "run_started",
        "token_usage_updated",
        "turn_completed",
        "workspace_snapshot_taken",
        "workspace_diff_computed",
        "error_recovered",
    }
)

#: Where texts are known to stand, which is all that is looked at without a deep scan.
KNOWN_FIELDS: Mapping[str, tuple[str, ...]] = {
    "message_sent": ("content",),
    "message_received": ("content",),
    "message_streamed": ("content", "delta"),
    "tool_call_started": ("tool_input",),
    "tool_call_completed": ("tool_input", "tool_output"),
    "tool_call_failed": ("tool_input", "tool_output"),
    "error_occurred": ("error_message",),
    "run_failed": ("error_message",),
    "run_cancelled": ("reason",),
    "run_timeout": ("error_message",),
    "session_failed": ("error_message",),
    "session_paused": ("reason",),
    "session_cancelled": ("reason",),
    "policy_violation": ("details",),
}

PatternLike = Pattern | re.Pattern[str] | tuple[str, re.Pattern[str]]


@dataclass(frozen=True, slots=True)
class Redacted:
    """What is left of a value."""

    value: Any
    #: How many secrets were taken out.
    count: int = 0
    #: The keys, of the outermost map only, whose values have changed.
    fields: tuple[str, ...] = ()


class Redactor:
    """Takes secrets out of events, maps and texts; a cheap value that knows nothing of what it saw.

    Args:
        patterns: Kinds of secrets beside the default ones: a `Pattern`, a compiled expression (its category is
            "custom"), or a pair of category and expression.
        defaults: Whether the 22 default patterns apply too.
        replacement: What stands in the place of a secret.
        categorised: Whether the replacement names the kind instead: `[REDACTED:github_pat]`.
        deep_scan: Whether all of an event's data is looked at, or only the fields that its type is known to have.
        max_depth: How many maps and lists deep is looked; what lies deeper stays as it is. None: all.
        scan_metadata: Whether an event's metadata is looked at too.
    """

    def __init__(
        self,
        patterns: Iterable[PatternLike] = (),
        *,
        defaults: bool = True,
        replacement: str = "[REDACTED]",
        categorised: bool = False,
        deep_scan: bool = True,
        max_depth: int | None = 10,
        scan_metadata: bool = False,
    ) -> None:
        flags = {
            "defaults": defaults,
            "categorised": categorised,
            "deep_scan": deep_scan,
            "scan_metadata": scan_metadata,
        }
        for name, flag in flags.items():
            checks.flag(flag, name)
        own = tuple(_pattern(pattern, f"patterns[{at}]") for at, pattern in enumerate(patterns))
        self.patterns = (*DEFAULT_PATTERNS, *own) if defaults else own
        self._replacement = None if categorised else replacement
        self._deep = deep_scan
        self._most = max_depth
        self._metadata = scan_metadata

    def text(self, text: str) -> Redacted:
        """Take the secrets out of a text."""
        spans = find(text, self.patterns)
        if not spans:
            return Redacted(text)
        parts: list[str] = []
        at = 0
        for span in spans:
            parts += (text[at : span.start], self.mark(span.category))
            at = span.end
        return Redacted("".join((*parts, text[at:])), len(spans))

    def mark(self, category: str) -> str:
        """Answer what stands in the place of a secret."""
        return f"[REDACTED:{category}]" if self._replacement is None else self._replacement

    def map(self, values: Mapping[str, Any]) -> Redacted:
        """Take the secrets out of all texts in a map, which is not changed itself."""
        return self._fields(values, lambda _: True)

    def data(self, event_type: str, data: Mapping[str, Any]) -> Redacted:
        """Take the secrets out of the data of an event; those of `UNSCANNED_TYPES` are left as they are."""
        if event_type in UNSCANNED_TYPES:
            return Redacted(data)
        known = KNOWN_FIELDS.get(event_type, ())
        return self._fields(data, lambda key: self._deep or key in known)

    def event(self, event_type: str, data: Mapping[str, Any], metadata: Mapping[str, Any]) -> tuple[Redacted, Redacted]:
        """Take the secrets out of an event's data and, where that was asked for, its metadata."""
        if event_type in UNSCANNED_TYPES or not self._metadata:
            return self.data(event_type, data), Redacted(metadata)
        return self.data(event_type, data), self.map(metadata)

    def _fields(self, values: Mapping[str, Any], wished: Callable[[str], bool]) -> Redacted:
        result = dict(values)
        count = 0
        fields: list[str] = []
        for key, value in values.items():
            found = self._value(value, 1) if wished(key) else Redacted(value)
            if found.count:
                result[key] = found.value
                count += found.count
                fields.append(str(key))
        return Redacted(result, count, tuple(fields)) if count else Redacted(values)

    def _value(self, value: Any, depth: int) -> Redacted:
        if isinstance(value, str):
            return self.text(value)
        kind = type(value)
        if kind not in _CONTAINERS or (self._most is not None and depth > self._most):
            return Redacted(value)
        if kind is dict:
            found = [self._value(item, depth + 1) for item in value.values()]
            return _rebuilt(value, found, lambda items: dict(zip(value, items, strict=True)))
        return _rebuilt(value, [self._value(item, depth + 1) for item in value], kind)


_CONTAINERS = (dict, list, tuple, set, frozenset)


def _rebuilt(value: Any, found: Sequence[Redacted], build: Callable[[list[Any]], Any]) -> Redacted:
    count = sum(item.count for item in found)
    return Redacted(build([item.value for item in found]), count) if count else Redacted(value)


def _pattern(given: PatternLike, path: str) -> Pattern:
    pattern: Any = given
    if isinstance(given, re.Pattern):
        pattern = Pattern("custom", given)
    elif isinstance(given, tuple) and len(given) == 2:
        pattern = Pattern(*given)
    if isinstance(pattern, Pattern) and isinstance(getattr(pattern.regex, "pattern", None), str):
        return pattern
    raise InvalidInputError.at(path, "a Pattern, a compiled expression for str, or (category, expression)", given)
