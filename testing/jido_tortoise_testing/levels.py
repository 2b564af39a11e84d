"""How far a storage's checks bear: their levels, which a run tells when a whole contract has run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal

import pytest

Level = Literal["CORE", "CONCURRENT", "CRASH-SAFE"]

#: Each stands on those before it.
LEVELS: tuple[Level, ...] = ("CORE", "CONCURRENT", "CRASH-SAFE")
#: What a level beyond the first cannot do without; that of other capabilities may be missing.
_ESSENTIAL = {"compare_and_set", "atomic_save"}
#: What may become of a check, the worst first; of its variants the worst counts.
_OUTCOMES = ("failed", "expected to fail", "skipped", "not declared", "passed")
_NAMED = 3


def level_of(contract: type[Any], name: str) -> Level:
    """Answer the level of a check: that of the group which has it first, also when a subclass overrides it."""
    first: Any = [group for group in contract.__mro__ if name in vars(group)][-1]
    level: Level = first.level
    return level


def check_names(contract: type[Any]) -> list[str]:
    """Answer the names of all the checks of a contract, group by group."""
    return list(dict.fromkeys(name for cls in reversed(contract.__mro__) for name in vars(cls) if name[:5] == "test_"))


def refuse_unknown(contract: type[Any], name: str, path: str) -> None:
    """Refuse a name that no check of a contract has, with the nearest that one has.

    Raises:
        InvalidInputError: There is no such check.
    """
    names = check_names(contract)
    if name not in names:
        from jido_tortoise.errors import InvalidInputError  # who does not use the plugin pays for no import of ours

        near = " or ".join(get_close_matches(name, names, 2)) or "the name of a check"
        raise InvalidInputError.at(path, near, name)


@cache
def sizes_of(contract: type[Any]) -> dict[str, int]:
    """Answer how many checks a contract has of each level."""
    return dict(Counter(level_of(contract, name) for name in check_names(contract)))


def describe(item: pytest.Item, missing: list[str]) -> dict[str, Any]:
    """Tell the process that reports which check of which contract a test is, in plain values.

    Args:
        item: The test.
        missing: The capabilities which the check needs and the storage does not declare.
    """
    contract, name = item.cls, item.function.__name__  # type: ignore[attr-defined]
    place = item.nodeid.rpartition("::")[0]
    return {
        "contract": place,
        "name": name,
        "level": level_of(contract, name),
        "sizes": sizes_of(contract),
        "missing": missing,
    }


@dataclass
class Grade:
    """What became of the checks of one storage."""

    sizes: dict[str, int]
    levels: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)
    missing: dict[str, list[str]] = field(default_factory=dict)

    def take(self, check: dict[str, Any], outcome: str) -> None:
        """Note what became of a check."""
        name = check["name"]
        worst = min(outcome, self.outcomes.get(name, "passed"), key=_OUTCOMES.index)
        self.levels[name], self.outcomes[name] = check["level"], worst
        self.missing.setdefault(name, check["missing"])

    def obstacles(self, level: str) -> list[str]:
        """Say which checks keep a storage from a level, each with the reason."""
        names = [name for name in self.outcomes if self.levels[name] == level]
        found = [f"{name} ({self._why(name)})" for name in names if self._hinders(name)]
        unseen = self.sizes[level] - len(names)
        more = [f"{len(found) - _NAMED} more"] if len(found) > _NAMED else []
        return found[:_NAMED] + more + ([f"{unseen} not run"] if unseen else [])

    def _hinders(self, name: str) -> bool:
        if self.outcomes[name] != "not declared":
            return self.outcomes[name] != "passed"
        return self.levels[name] != LEVELS[0] and not _ESSENTIAL.isdisjoint(self.missing[name])

    def _why(self, name: str) -> str:
        told = self.outcomes[name]
        return f"{', '.join(self.missing[name])} {told}" if told == "not declared" else told

    def lines(self, contract: str) -> list[str]:
        """Tell the level, what keeps the storage from the next one, and what it does not declare."""
        reached, hindrance = "no level", []
        for level in (level for level in LEVELS if self.sizes.get(level)):
            if obstacles := self.obstacles(level):
                hindrance = [f"    not {level}: {', '.join(obstacles)}"]
                break
            reached = level
        skipped = {name for name, outcome in self.outcomes.items() if outcome == "not declared"}
        missing = sorted({one for name in skipped for one in self.missing[name]})
        undeclared = [f"    not declared: {', '.join(missing)}"] if missing else []
        return [f"{contract}: {reached}, {self._passed()}", *hindrance, *undeclared]

    def _passed(self) -> str:
        passed, count = list(self.outcomes.values()).count("passed"), sum(self.sizes.values())
        return f"all {count} checks passed" if passed == count else f"{passed} of {count} checks passed"


class Levels:
    """Gathers what became of the checks of a run's contracts, to tell the levels at its end."""

    def __init__(self) -> None:
        self.grades: dict[str, Grade] = {}

    def take(self, report: pytest.TestReport, check: object) -> None:
        """Note what a report says of a check, when it is one's."""
        if isinstance(check, dict) and (report.when == "call" or report.outcome != "passed"):
            grade = self.grades.setdefault(check["contract"], Grade(check["sizes"]))
            grade.take(check, _outcome(report, check))

    def lines(self) -> list[str]:
        """Tell all of them."""
        return [line for contract, grade in self.grades.items() for line in grade.lines(contract)]


def _outcome(report: pytest.TestReport, check: dict[str, Any]) -> str:
    if report.skipped:
        return "expected to fail" if hasattr(report, "wasxfail") else "not declared" if check["missing"] else "skipped"
    return report.outcome
