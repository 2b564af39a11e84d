"""Whatever breaks in the middle of an order, it happened or it did not; whoever writes beside it."""

import asyncio
from contextlib import suppress
from decimal import Decimal

import pytest

import jido_tortoise as jt
from jido_tortoise_testing.faults import cancel_everywhere, crash_everywhere
from jido_tortoise_testing.history import History
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
async def test_an_order_is_whole_whatever_breaks():
    report = await crash_everywhere(order, seen, prepare=with_tea)
    assert report.before == (1, ["added"], [])
    assert report.after == (0, ["added", "bought"], [Decimal("2.50")])
    assert report.sound == len(report.points) > 20


async def test_an_order_is_whole_wherever_it_is_cancelled(jido):
    await cancel_everywhere(order, seen, prepare=with_tea)


async def test_five_writers_lose_nothing(jido_storage):
    history = History()

    async def write(storage):
        for _ in range(5):
            thread = await storage.load_thread("notes")
            with suppress(jt.ConflictError):
                await storage.append_thread("notes", {"kind": "note"}, expected_rev=0 if thread is None else thread.rev)

    async with asyncio.timeout(30):
        await asyncio.gather(*(write(history.wrap(jido_storage, f"p{n}")) for n in range(5)))
    await history.check(jido_storage)
    assert len(history.operations) == 50
