"""Entries are never updated: both databases refuse it, whoever asks."""

from __future__ import annotations

import pytest
from tortoise.exceptions import BaseORMException

from jido_tortoise.agents.models import JidoThreadEntry
from tests.conftest import Database

INSERT = "INSERT INTO jido_thread_entries (thread_id, seq, entry_id, at_ms, kind, payload, refs) VALUES "
ROW = INSERT + "('t', {}, 'e{}', 1, 'note', '{{}}', '{{}}')"


@pytest.fixture
async def rows(db: Database) -> Database:
    """Give a database with two entries."""
    for number in range(2):
        await db.client.execute_query(ROW.format(number, number))
    return db


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE jido_thread_entries SET payload = '{\"forged\": true}' WHERE seq = 0",
        "UPDATE jido_thread_entries SET seq = 7 WHERE seq = 0",
        "UPDATE jido_thread_entries SET kind = kind",
        INSERT + "('t', 0, 'e9', 1, 'forged', '{}', '{}') ON CONFLICT (thread_id, seq) DO UPDATE SET kind = 'forged'",
    ],
)
async def test_raw_sql_cannot_change_an_entry(rows: Database, sql: str) -> None:
    """Also through an upsert, and also when nothing would change."""
    with pytest.raises(Exception, match="entries are never updated") as caught:
        await rows.client.execute_query(sql)
    assert not isinstance(caught.value, AssertionError)
    assert await JidoThreadEntry.all().order_by("seq").values_list("seq", "kind") == [(0, "note"), (1, "note")]


async def test_the_orm_cannot_change_an_entry(rows: Database) -> None:
    """Neither by a query nor by saving an instance."""
    entry = await JidoThreadEntry.get(seq=0)
    entry.kind = "forged"
    with pytest.raises(Exception, match="entries are never updated"):
        await entry.save()
    with pytest.raises(Exception, match="entries are never updated"):
        await JidoThreadEntry.filter(seq=0).update(kind="forged")
    assert (await JidoThreadEntry.get(seq=0)).kind == "note"


async def test_entries_may_be_deleted(rows: Database) -> None:
    """Trimming and deleting a journal are allowed."""
    assert await JidoThreadEntry.filter(seq=0).delete() == 1
    await rows.client.execute_query("DELETE FROM jido_thread_entries WHERE seq = 1")
    assert await JidoThreadEntry.all().count() == 0


async def test_numbers_and_ids_are_unique_within_a_journal(rows: Database) -> None:
    """The same number or the same id twice is refused, in another journal it is not."""
    with pytest.raises(BaseORMException):
        await rows.client.execute_query(ROW.format(0, 5))
    with pytest.raises(BaseORMException):
        await rows.client.execute_query(ROW.format(5, 0))
    await rows.client.execute_query(ROW.replace("'t'", "'u'").format(0, 0))
