"""Shoppers that nobody had to think of: the same for the same seed."""

from decimal import Decimal

import pytest

from jido_tortoise_testing.roundtrip import assert_journal, assert_roundtrip
from shop.agents import Cart, Item, Shopper


@pytest.fixture
def make(jido_factories):
    """The factories, told how a cart is filled."""

    def cart(make):
        prices = [make.random.randrange(1, 10_000) for _ in range(3)]
        return Cart(items=[Item(name=make.fake.word(), price=Decimal(price) / 100) for price in prices])

    jido_factories.register(Shopper, cart)
    return jido_factories


async def test_any_shopper_survives(jido, make):
    for shopper in make.agent.batch(3, Shopper, messages=4, tools=1):
        await assert_roundtrip(jido, shopper, via=["same", "second-connection"])


async def test_a_conversation_is_stored_as_it_went(jido, make):
    shopper = await make.agent.create(Shopper, messages=2, tools=1)
    thawed = await jido.thaw(Shopper, shopper.id)
    assert len(thawed.state.items) == 3
    assert_journal(
        thawed, ["message", "tool_call", "tool_result", {"kind": "message", "payload": {"role": "assistant"}}]
    )


@pytest.mark.jido_seed(42)
def test_the_seed_decides(make):
    assert make.agent.build(Shopper).state.total == Decimal("234.67")
