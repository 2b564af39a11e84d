"""What the tests of this service would say if its agents were broken: each of these fails."""

import asyncio
from decimal import Decimal

import pytest
from tortoise.transactions import in_transaction

import jido_tortoise as jt
from jido_tortoise_testing.roundtrip import assert_roundtrip
from shop.agents import Cart, Item, Shopper
from shop.models import Customer, Order

BOOTS = Item(name="boots", price=Decimal("80.00"), sizes=(42, 43))


class Forgetful(Shopper, agent_type="forgetful"):
    """Loses the last thing of its cart on the way back, and a type."""

    @classmethod
    def restore(cls, data):
        shopper = cls.default_restore(data)
        shopper.state.items.pop()
        shopper.state.items[0].sizes = [42, 43]
        return shopper


async def test_an_agent_that_forgets(jido):
    await assert_roundtrip(jido, Forgetful(1, Cart(items=[BOOTS, BOOTS])), via=["same"])


@pytest.mark.jido_db(storage="file")
async def test_an_order_in_two_steps(jido_faults):
    async def prepare(trial):
        return (await Customer.create(name=trial.name)).id

    async def buy(trial):
        await Order.create(customer_id=trial.given, total=80)
        await jt.Jido().hibernate(Shopper(trial.given))

    async def seen(trial):
        return await Order.filter(customer_id=trial.given).count(), await jt.Jido().storage.get_checkpoint(
            (Shopper.agent_type, trial.given)
        ) is not None

    await jido_faults.crash_everywhere(buy, seen, prepare=prepare, kinds=["fail"])


class Careless:
    """A storage that looks first and writes then."""

    def __init__(self, inner):
        self.inner = inner

    async def append_thread(self, thread_id, entries, *, expected_rev=None, metadata=None):
        head = await self.inner.get_thread_head(thread_id)
        await asyncio.sleep(0.01)
        if expected_rev != (head.rev if head else 0):
            raise jt.ConflictError("somebody else was first", expected=expected_rev, actual=head.rev)
        return await self.inner.append_thread(thread_id, entries)

    async def load_thread(self, thread_id, **range):
        return await self.inner.load_thread(thread_id, **range)


async def test_writers_that_look_before_they_write(jido_storage, jido_history):
    storages = [jido_history.history.wrap(Careless(jido_storage), f"p{n}") for n in range(2)]
    await asyncio.gather(*(each.append_thread("notes", {"kind": "note"}, expected_rev=0) for each in storages))
    await jido_history.check()


async def test_a_transaction_of_tortoise_that_is_cancelled(jido, jido_faults):
    async def buy(trial):
        async with in_transaction():
            await jido.hibernate(Shopper(trial.name))

    async def seen(trial):
        return await jido.storage.get_checkpoint((Shopper.agent_type, trial.name)) is not None

    await jido_faults.crash_everywhere(buy, seen, kinds=["cancel"], patience=0.3)
