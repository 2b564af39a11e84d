"""The shape of a journal: a head row with a counter, and numbered rows beneath it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Column:
    """A column, or a value that a statement takes."""

    name: str
    #: Its PostgreSQL type; SQLite does not ask.
    type: str


@dataclass(frozen=True, slots=True)
class Touch:
    """A head column that every append changes."""

    column: Column
    #: SQL by dialect for the new value; `t` is the head as it was, `:name` the given value.
    update: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Sibling:
    """One more row that is written in the same step as the head.

    Its SQL takes values as `:name` and names tables as `{schema}table`. Its row is locked before the head is, always,
    so that all writers take the two locks in one order.
    """

    name: str
    #: The values it takes, beside those of the journal.
    params: tuple[Column, ...]
    #: A SELECT that finds its row, known as `lc` afterwards; PostgreSQL locks it.
    lock: str
    #: A condition on `lc` without which nothing is written.
    guard: str
    #: SQL by dialect that writes it and returns something; `h` is the head after the append, `h.counter` its counter.
    write: Mapping[str, str]
    #: SQL that is tried first on SQLite: it writes less, and nothing where that would not do.
    sqlite_first: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Follower:
    """One more row that is written in the same step, after the head and only when that has moved.

    Several are written, and their rows locked, in the order in which they are given. Who always gives them in one order
    cannot deadlock with itself: PostgreSQL would else run them in the reverse of that order.
    """

    name: str
    #: The values it takes, beside those of the journal.
    params: tuple[Column, ...]
    #: SQL by dialect; `h` is the head after the append, and `{after}` a condition that must stand in its WHERE. Returns
    #: something.
    write: Mapping[str, str]
    #: Whether it writes nothing, but calls a function.
    only_reads: bool = False
    #: Whether it has a column `answer`, of one row at most, that is told to whoever appends.
    answers: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class JournalTable:
    """Where a family keeps its journal. Compared by identity, so that statements are built once for each.

    The counter is the number of rows ever appended. A row's number is `first` for the first row and one more for each
    after it; numbers are never given twice, also when rows are trimmed.
    """

    head: str
    rows: str
    #: What names one journal: the columns of the head, and of the rows unless `row_key` says their names there.
    key: tuple[Column, ...]
    #: What a row holds beside key and number; the first of them is the row's id, unique within its journal.
    row: tuple[Column, ...]
    #: Head columns that are stored when the head is made, and kept from then on.
    kept: tuple[Column, ...] = ()
    #: Head columns that every append changes.
    touched: tuple[Touch, ...] = ()
    counter: str = "rev"
    number: str = "seq"
    #: The head's column that holds the number of the oldest row that is still there.
    oldest: str = "first_seq"
    created_at: Column = Column("created_at_ms", "bigint")
    updated_at: Column = Column("updated_at_ms", "bigint")
    #: The first number: 0 or 1.
    first: int = 0
    #: More head columns that `h` has, for followers on PostgreSQL.
    told: tuple[str, ...] = ()
    #: The head's column with a generated number that no other head ever had, where there is one.
    identity: str | None = None
    #: The names of the key's columns in the rows, where they differ.
    row_key: tuple[str, ...] = ()
    #: Whether the time of the last change never goes back, since two clocks may disagree.
    monotonic: bool = True
    #: What its SQL calls on SQLite: functions by name, with the number of their arguments.
    functions: Mapping[str, tuple[int, Callable[..., Any]]] = field(default_factory=dict)

    @property
    def key_in_rows(self) -> tuple[str, ...]:
        """The names of the key's columns in the rows."""
        return self.row_key or tuple(column.name for column in self.key)

    @property
    def head_columns(self) -> tuple[str, ...]:
        """What a read of the head answers, in this order."""
        return (
            self.counter,
            self.oldest,
            *(column.name for column in self.kept),
            *(touch.column.name for touch in self.touched),
            self.created_at.name,
            self.updated_at.name,
        )

    @property
    def row_columns(self) -> tuple[str, ...]:
        """What a read of rows answers, in this order."""
        return (self.number, *(column.name for column in self.row))


@dataclass(slots=True, kw_only=True)  # not frozen: every append makes one, which would take three times as long
class Append:
    """One append to one journal."""

    #: The values of the key columns.
    key: tuple[Any, ...]
    #: One sequence for each of the row columns, all of one length.
    columns: Sequence[Sequence[Any]]
    #: What the time columns get.
    now: Any
    #: The counter that the journal must be at; 0 means that it has no rows yet; None takes what is there.
    expected: int | None = None
    #: With an expected counter: the number of the head that is meant, not one that was made under its key later.
    identity: int | None = None
    #: Values by name: of the kept and touched columns, and of the sibling's params.
    values: Mapping[str, Any] = field(default_factory=dict)
    #: Whether the head must be there already.
    must_exist: bool = False
    #: Whether there must be no head yet.
    must_be_new: bool = False
    #: Whether the head is only checked: for an append without rows that is to leave it as it is, or absent.
    check_only: bool = False

    @property
    def count(self) -> int:
        """How many rows."""
        return len(self.columns[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A head as it was read."""

    counter: int
    oldest: int
    #: The kept columns, then the touched ones.
    values: tuple[Any, ...]
    created_at: Any
    updated_at: Any


@dataclass(slots=True, kw_only=True)  # not frozen, as above
class Written:
    """What an append that happened answers."""

    counter: int
    oldest: int
    created_at: Any
    updated_at: Any
    #: What the sibling's write answered.
    sibling: tuple[Any, ...] = ()
    #: What the followers answered, those that do; None of one without a row.
    answers: tuple[Any, ...] = ()


class Refused(Exception):
    """An append that did not happen: the head is not where it was expected, or a row's id is stored already.

    Internal: each family looks at what is stored and says which of its errors that is.
    """

    def __init__(
        self, head: Head | None, found: Sequence[tuple[Any, ...]], lock: tuple[Any, ...] | None = None
    ) -> None:
        super().__init__("append refused")
        #: The head as it is now; None when there is none.
        self.head = head
        #: Those of the given rows that are stored already, by their ids, in the order of their numbers.
        self.found = found
        #: The sibling's row as it is now.
        self.lock = lock
