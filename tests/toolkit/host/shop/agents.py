"""The agent that serves a customer."""

from datetime import datetime
from decimal import Decimal

from pydantic import BaseModel

import jido_tortoise as jt
from jido_tortoise.database import resolve, transaction
from shop.models import Order


class Item(BaseModel):
    """A line of a cart."""

    name: str
    price: Decimal
    sizes: tuple[int, ...] = ()


class Cart(BaseModel):
    """What an agent remembers of its customer."""

    items: list[Item] = []
    since: datetime | None = None

    @property
    def total(self) -> Decimal:
        """What it costs."""
        return sum((item.price for item in self.items), Decimal("0.00"))


class Shopper(jt.Agent[Cart], agent_type="shopper"):
    """Fills a cart, and buys what is in it."""

    def add(self, item: Item) -> None:
        """Put something into the cart."""
        entry = self.thread.append("added", {"name": item.name})
        self.state.since = self.state.since or entry.at
        self.state.items.append(item)


async def buy(jido: jt.Jido, customer_id: int) -> Order:
    """Turn a cart into an order: both change, or neither.

    Not by Tortoise's `in_transaction`, which a cancelled BEGIN leaves open for ever: see twins/test_twins.py.
    """
    async with transaction(resolve(None, Order)):
        shopper = await jido.thaw(Shopper, customer_id)
        order = await Order.create(customer_id=customer_id, total=shopper.state.total)
        shopper.thread.append("bought", {"total": shopper.state.total})
        shopper.state = Cart()
        await jido.hibernate(shopper)
    return order
