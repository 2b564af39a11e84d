"""The service as it is deployed: its own start opens its own database, and gets the sandbox."""

import asyncio
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from httpx import ASGITransport, AsyncClient
from tortoise.context import TortoiseContext

from jido_tortoise_testing.failures import JidoSandboxError
from settings import TORTOISE_ORM
from shop.agents import Shopper
from shop.app import app
from shop.models import Customer, Order

TEA = {"name": "tea", "price": "2.50"}


@asynccontextmanager
async def running():
    """Start the service in this event loop, and stop it."""
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url="http://shop") as web,
    ):
        yield web


def test_an_order_by_requests(jido_db):
    with TestClient(app) as client:
        customer = client.post("/customers/Ada").json()
        assert client.post(f"/customers/{customer}/items", json=TEA).json() == "2.50"
        assert client.post(f"/customers/{customer}/items", json=TEA).json() == "5.00"
        assert client.post(f"/customers/{customer}/orders").json() == "5.00"
    assert not Path("production.db").exists()


async def test_requests_at_once_take_turns(jido):
    customer = await Customer.create(name="Ada")
    async with running() as web, asyncio.timeout(10):
        answers = await asyncio.gather(*(web.post(f"/customers/{customer.id}/items", json=TEA) for _ in range(8)))
    assert sorted(Decimal(answer.json()) for answer in answers) == [Decimal("2.50") * n for n in range(1, 9)]
    assert len((await jido.thaw(Shopper, customer.id)).thread) == 8
    assert await Order.all().count() == 0


async def test_the_next_start_finds_the_carts(jido_db):
    customer = await Customer.create(name="Ada")
    for expected in ("2.50", "5.00"):
        async with running() as web:
            assert (await web.post(f"/customers/{customer.id}/items", json=TEA)).json() == expected


async def test_another_database_is_out_of_reach(jido_db):
    real = {**TORTOISE_ORM, "connections": {"default": "sqlite:///srv/shop/production.db"}}
    with pytest.raises(JidoSandboxError, match=r"this test would open /srv/shop/production\.db, while its sandbox is"):
        await TortoiseContext().init(config=real)
