"""Whatever breaks in the middle of an order, it happened or it did not; whoever writes beside it."""

import asyncio
from contextlib import suppress
from decimal import Decimal

import pytest

import jido_tortoise as jt
from jido_tortoise_testing.roundtrip import assert_unchanged
from shop.agents import Item, Shopper, buy
from shop.models import Customer, Order

TEA = Item(name="tea", price=Decimal("2.50"))


async def with_tea(trial):
    """Make a customer of this trial's own, with something in the cart."""
    customer = await Customer.create(name=trial.name)
    shopper = Shopper(customer.id)
    shopper.add(TEA)
    await jt.Jido().hibernate(shopper)
    return customer.id


async def order(trial):
    """What is struck."""
    await buy(jt.Jido(), trial.given)


async def seen(trial):
    """What another process sees of it."""
    shopper = await jt.Jido().thaw(Shopper, trial.given, journal="exact")
    orders = await Order.filter(customer_id=trial.given).values_list("total", flat=True)
    return len(shopper.state.items), [entry.kind for entry in shopper.thread], orders


@pytest.mark.jido_db(storage="file")
async def test_an_order_is_whole_whatever_breaks(jido_faults):
    report = await jido_faults.crash_everywhere(order, seen, prepare=with_tea)
    assert report.before == (1, ["added"], [])
    assert report.after == (0, ["added", "bought"], [Decimal("2.50")])
    assert report.sound == len(report.points) > 20


async def test_an_order_is_whole_wherever_it_is_cancelled(jido_faults):
    report = await jido_faults.cancel_everywhere(order, seen, prepare=with_tea)
    assert (report.before, report.after) == ((1, ["added"], []), (0, ["added", "bought"], [Decimal("2.50")]))
    assert report.sound == len(report.points) > 10


async def test_an_order_that_failed_can_be_made_again(jido, jido_factories, jido_faults):
    customer = await Customer.create(name="Ada")
    await jido_factories.agent.create(Shopper, id=customer.id)
    async with assert_unchanged():
        with jido_faults.fail(sql='INSERT INTO "order"'), pytest.raises(jt.JidoError, match="injected"):
            await buy(jido, customer.id)
    assert (await buy(jido, customer.id)).total == 0


async def test_five_writers_lose_nothing(jido_history):
    async def write(storage):
        for _ in range(5):
            thread = await storage.load_thread("notes")
            with suppress(jt.ConflictError):
                await storage.append_thread("notes", {"kind": "note"}, expected_rev=0 if thread is None else thread.rev)

    async with asyncio.timeout(30):
        await jido_history.race(*[write] * 5)
    assert len(jido_history.operations) == 50
