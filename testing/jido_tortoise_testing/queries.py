"""How many statements a block of a test sends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from jido_tortoise_testing.leases import Statements, is_frame


class Queries:
    """What ran in a block."""

    def __init__(self) -> None:
        #: All statements, with what begins and ends transactions.
        self.all: list[str] = []

    @property
    def statements(self) -> list[str]:
        """Those that read and write."""
        return [sql for sql in self.all if not is_frame(sql)]

    def __len__(self) -> int:
        return len(self.statements)


def counting(statements: Statements) -> Callable[..., AbstractContextManager[Queries]]:
    """Make the function that `jido_queries` gives."""

    @contextmanager
    def jido_queries(max: int | None = None) -> Iterator[Queries]:
        """Count the statements of the block; BEGIN, COMMIT and savepoints do not count.

        Args:
            max: How many there may be.

        Raises:
            AssertionError: There were more.
        """
        __tracebackhide__ = True
        queries = Queries()
        statements.listeners.append(queries.all)
        try:
            yield queries
        finally:
            statements.listeners.remove(queries.all)
        if max is not None and len(queries) > max:
            listed = "\n".join(f"  {number}. {sql}" for number, sql in enumerate(queries.statements, 1))
            raise AssertionError(f"expected at most {max} statements, {len(queries)} ran:\n{listed}")

    return jido_queries
