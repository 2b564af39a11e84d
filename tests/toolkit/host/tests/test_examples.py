"""For any cart that Hypothesis thinks of, each in a sandbox of its own."""

import asyncio
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from shop.agents import Cart, Item, Shopper

prices = st.decimals(0, 1000, places=2)
items = st.builds(
    Item, name=st.sampled_from(["tea", "boots", "\0", "🤖"]), price=prices, sizes=st.lists(st.integers()).map(tuple)
)


@given(items=st.lists(items, max_size=4))
@settings(max_examples=10, deadline=None, database=None)
def test_any_cart_survives(jido_sandbox, items):
    async def there_and_back():
        async with jido_sandbox() as db:
            assert await db.jido.count() == 0
            await db.jido.hibernate(Shopper(1, Cart(items=items)))
            assert (await db.jido.thaw(Shopper, 1)).state.total == sum((one.price for one in items), Decimal(0))

    asyncio.run(there_and_back())
