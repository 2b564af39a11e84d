"""What a sweep found: over how many points it proved what, or what was wrong at which of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

_SHOWN = 8
_WIDTH = 100


class CrashSafetyError(AssertionError):
    """An operation left something behind that it must not leave, at one fault at least."""

    def __init__(self, message: str, report: CrashReport) -> None:
        super().__init__(message)
        #: All that the sweep found.
        self.report = report


@dataclass(frozen=True, slots=True)
class Violation:
    """What was wrong after one fault."""

    #: The fault, in words.
    fault: str
    #: What was wrong.
    what: str


@dataclass
class CrashReport:
    """Over how many points something was proved; `str()` of it tells all."""

    #: The operation, as messages call it.
    operation: str
    #: Where it ran.
    place: str
    #: What it sends when nothing goes wrong; empty in a sweep over awaits.
    statements: list[str] = field(default_factory=list)
    #: The faults that happened, in words.
    points: list[str] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    #: What can be seen when the operation has not happened, and when it has.
    before: object = None
    after: object = None
    #: What could not be tried, and why.
    untried: list[str] = field(default_factory=list)
    #: What may be the cause of the violations.
    hint: str = ""

    @property
    def sound(self) -> int:
        """How many points held."""
        return len(self.points) - len({violation.fault for violation in self.violations})

    def __str__(self) -> str:
        lines = [f"{self.operation}: proved over {self.sound} of {len(self.points)} points on {self.place}"]
        lines += [f"  not tried: {reason}" for reason in self.untried]
        lines += [f"{number:>4} {shortened(sql)}" for number, sql in enumerate(self.statements)]
        return "\n".join(lines)

    def refuse_nothing(self, found: Sequence[str], what: str) -> None:
        """Refuse an operation that gave no point to strike at.

        Raises:
            AssertionError: There is none in `found`.
        """
        __tracebackhide__ = True
        if not found:
            untried = "".join(f"; not tried: {reason}" for reason in self.untried)
            raise AssertionError(f"{self.operation} {what} on {self.place}: nothing was proved{untried}")

    def raise_for_violations(self) -> None:
        """Raise what was found.

        Raises:
            CrashSafetyError: Something was.
        """
        __tracebackhide__ = True
        if self.violations:
            raise CrashSafetyError(self._words(self.violations), self)

    def _words(self, violations: Sequence[Violation]) -> str:
        shown = [f"{self.operation} on {self.place}: when {one.fault}:\n  {one.what}" for one in violations[:_SHOWN]]
        more = len(violations) - _SHOWN
        tail = [self.hint, f"+{more} more in the report" if more > 0 else "", f"{self.sound} other fault points: ok"]
        return "\n".join([*shown, *filter(None, tail)])


def shortened(sql: str) -> str:
    """Cut a statement to what fits on a line."""
    return sql if len(sql) <= _WIDTH else f"{sql[: _WIDTH - 4]} ..."
