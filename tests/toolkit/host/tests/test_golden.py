"""What an older version of this service has stored, without anybody's words in it."""

from decimal import Decimal

import pytest

from shop.agents import Cart, Item, Shopper


@pytest.mark.jido_golden("tests/golden")
def test_stored_shoppers_thaw(jido_golden):
    shopper = jido_golden.agent
    assert type(shopper) is Shopper
    assert type(shopper.state) is Cart
    assert [type(item) for item in shopper.state.items] == [Item, Item]
    assert shopper.state.total == Decimal("11.01")
