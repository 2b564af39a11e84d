"""The service."""

from contextlib import asynccontextmanager
from decimal import Decimal

from fastapi import FastAPI
from tortoise.contrib.fastapi import RegisterTortoise

import jido_tortoise as jt
from settings import TORTOISE_ORM
from shop.agents import Item, Shopper, buy
from shop.models import Customer


@asynccontextmanager
async def lifespan(app):
    """Open Tortoise, and keep the agents in memory that requests are using."""
    async with (
        RegisterTortoise(app, config=TORTOISE_ORM),
        jt.AgentManager(jt.Jido(), Shopper, idle_timeout=900, checkpoint_on_exit=True) as shoppers,
    ):
        app.state.shoppers = shoppers
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/customers/{name}")
async def register(name: str) -> int:
    """Make a customer."""
    return (await Customer.create(name=name)).id


@app.post("/customers/{customer_id}/items")
async def add(customer_id: int, item: Item) -> Decimal:
    """Put something into a customer's cart; requests for one customer take turns."""
    async with app.state.shoppers.checkout(customer_id, exclusive=True) as shopper:
        shopper.add(item)
        return shopper.state.total


@app.post("/customers/{customer_id}/orders")
async def order(customer_id: int) -> Decimal:
    """Buy what is in the cart."""
    await app.state.shoppers.discard(customer_id)
    return (await buy(jt.Jido(), customer_id)).total
