"""The agent survives: in its state, its journal, beside others, and at the price we expect."""

from decimal import Decimal

from jido_tortoise_testing.roundtrip import assert_conflict, assert_journal, assert_roundtrip, assert_unchanged
from shop.agents import Cart, Item, Shopper

TEA = Item(name="tea", price=Decimal("2.50"))
BOOTS = Item(name="boots", price=Decimal("80.00"), sizes=(42, 43))


def filled(id=1):
    """Make a shopper with two things in its cart."""
    shopper = Shopper(id)
    shopper.add(TEA)
    shopper.add(BOOTS)
    return shopper


async def test_a_shopper_survives_in_every_way(jido):
    await assert_roundtrip(jido, filled())


async def test_the_journal_says_what_happened(jido):
    await jido.hibernate(filled())
    thawed = await jido.thaw(Shopper, 1)
    assert thawed.state == Cart(items=[TEA, BOOTS], since=thawed.thread.entries[0].at)
    assert_journal(thawed, [{"kind": "added", "payload": {"name": "tea"}}, "added"])


async def test_the_second_of_two_writers_is_told(jido):
    await jido.hibernate(filled())
    mine, theirs = [await jido.thaw(Shopper, 1) for _ in range(2)]
    theirs.add(TEA)
    await jido.hibernate(theirs)
    mine.state.items.clear()
    async with assert_unchanged():
        with assert_conflict(expected=1, actual=2):
            await jido.hibernate(mine)


async def test_looking_costs_two_statements_and_changes_nothing(jido, jido_queries):
    await jido.hibernate(filled())
    async with assert_unchanged():
        with jido_queries(max=2) as queries:
            await jido.thaw(Shopper, 1)
    assert ["jido_checkpoints" in sql for sql in queries.statements] == [True, False]


async def test_another_process_would_see_it(jido_db):
    await jido_db.jido.hibernate(filled())
    async with jido_db.second() as elsewhere:
        assert (await elsewhere.jido.thaw(Shopper, 1)).state.total == Decimal("82.50")
    assert {table: len(rows) for table, rows in (await jido_db.dump()).items() if rows} == {
        "jido_checkpoints": 1,
        "jido_thread_entries": 2,
        "jido_threads": 1,
    }
    await jido_db.clean("agents")
    assert await jido_db.jido.count(Shopper) == 0


async def test_a_storage_is_all_that_is_needed(jido_storage):
    await jido_storage.append_thread("notes", {"kind": "note"}, expected_rev=0)
    assert (await jido_storage.get_thread_head("notes")).rev == 1
