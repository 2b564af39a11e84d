"""One statement of recording, with its values as each driver takes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jido_tortoise.database import Db
from jido_tortoise.journal.run import run
from jido_tortoise.journal.statements import Statement


async def ask(db: Db, statement: Statement, values: Mapping[str, Any], *, write: bool = False) -> list[Any]:
    """Run a statement and answer its rows; values may be lists."""
    return await run(db, statement, as_given(db, values), write=write)


def as_given(db: Db, values: Mapping[str, Any]) -> dict[str, Any]:
    """Answer values as the driver takes them: SQLite has no lists."""
    lists = {name: list(value) for name, value in values.items() if isinstance(value, list | tuple)}
    if db.dialect == "sqlite":
        return {**values, **{name: json.dumps(value) for name, value in lists.items()}}
    return {**values, **lists}
