"""The host's own queries through our models, as docs/how-to/query-the-tables.md shows them, on every database."""

from __future__ import annotations

import ast
import inspect
from decimal import Decimal
from typing import Any

import pytest

import jido_tortoise as jt
from jido_tortoise.agents.models import JidoCheckpoint, JidoThread, JidoThreadEntry
from tests.acceptance.snippets import ROOT, of
from tests.conftest import Database

PAGE = ROOT / "docs/how-to/query-the-tables.md"


async def test_the_example_of_the_page(db: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints the same on SQLite in memory, in a file, and on PostgreSQL."""
    namespace: dict[str, Any] = {"__name__": "page"}
    for snippet in of(PAGE, "runnable")[:-1]:  # the last one connects; here we are
        outcome = eval(compile(snippet.text, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), namespace)
        assert not inspect.iscoroutine(outcome)
    await namespace["store"](jt.Jido())
    await namespace["report"]()
    assert capsys.readouterr().out == of(PAGE, "output")[0].text


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True]},
        "text",
        "1.0",
        '{"not": "an object"}',
        7,
        1.0,
        None,
        b"\x00",
        Decimal("1.50"),
        ("t", {1}),
    ],
    ids=repr,
)
async def test_values_come_back_as_they_were_stored(db: Database, value: Any) -> None:
    """Through the models what the storage wrote, also a text that looks like JSON, and None."""
    await jt.TortoiseStorage().put_checkpoint("key", value)
    row = await JidoCheckpoint.get(version=1)
    assert (row.key, row.data) == ("key", value)
    assert type(row.data) is type(value)


async def test_all_columns_can_be_read(db: Database) -> None:
    """Every field is there under its documented name, and says what the storage says."""
    storage = jt.TortoiseStorage()
    await storage.append_thread(
        "t", [{"kind": "note", "payload": {"n": 1}, "refs": {"r": 2}, "id": "e", "at": 5}], metadata={"m": 1}
    )
    thread = await JidoThread.get(thread_id="t")
    head = await storage.get_thread_head("t")
    assert head is not None
    assert (
        (thread.rev, thread.first_seq, thread.metadata) == (head.rev, head.first_seq, head.metadata) == (1, 0, {"m": 1})
    )
    (entry,) = await JidoThreadEntry.all()
    assert (entry.thread_id, entry.seq, entry.entry_id, entry.at_ms) == ("t", 0, "e", 5)
    assert (entry.kind, entry.payload, entry.refs) == ("note", {"n": 1}, {"r": 2})


async def test_tortoises_json_filters_on_postgres(pg_db: Database) -> None:
    """They see our columns as JSONB, as the page says."""
    await jt.TortoiseStorage().append_thread(
        "t", [{"kind": "message", "payload": {"role": role, "n": n}} for n, role in enumerate(["user", "assistant"])]
    )
    for filters in ({"payload__filter": {"role": "user"}}, {"payload__contains": {"role": "user"}}):
        assert await JidoThreadEntry.filter(**filters).values_list("seq", flat=True) == [0]
