"""Time, ids and what is made up are in the test's hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

import jido_tortoise as jt
from jido_tortoise_testing.roundtrip import eventually
from shop.agents import Item, Shopper

TEA = Item(name="tea", price=Decimal("2.50"))


async def test_a_cart_is_as_old_as_its_first_item(jido, jido_clock):
    shopper = Shopper(1)
    shopper.add(TEA)
    await jido_clock.sleep(timedelta(days=30))
    shopper.add(TEA)
    await jido.hibernate(shopper)
    assert (await jido.thaw(Shopper, 1)).state.since == datetime(2026, 1, 1, tzinfo=UTC)
    assert jido_clock.now() == datetime(2026, 1, 31, tzinfo=UTC)


async def test_who_was_idle_is_stored(jido, jido_clock):
    async with jt.AgentManager(jido, Shopper, idle_timeout=900) as shoppers:
        async with shoppers.checkout(1) as shopper:
            shopper.add(TEA)
        assert await jido.count(Shopper) == 0
        await jido_clock.sleep(901)
        await eventually(lambda: not shoppers.stats().keys)
        assert await jido.count(Shopper) == 1


@pytest.mark.jido_seed(42)
def test_ids_come_from_the_seed(jido_ids, jido_seed):
    shopper = Shopper(1)
    shopper.add(TEA)
    assert jido_seed == 826500024
    assert shopper.thread.last().id == jido_ids.made[-1] == "entry_019b76da-a800-73a9-bc3b-602e25caeb39"
