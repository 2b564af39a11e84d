"""Every way to write a test: synchronous, on anyio, in unittest; on the one database, the other, or both."""

import asyncio
import unittest

import pytest

import jido_tortoise as jt
from shop.agents import Shopper
from shop.models import Customer


async def use():
    """Write as the service does, and as its agents do."""
    assert await Customer.all().count() == 0
    customer = await Customer.create(name="Ada")
    await jt.Jido().hibernate(Shopper(customer.id))
    return await jt.Jido().count(Shopper)


@pytest.fixture
def anyio_backend():
    """Tortoise needs asyncio."""
    return "asyncio"


def test_synchronous(jido_db):
    assert asyncio.run(use()) == 1
    assert asyncio.run(jt.Jido().count(Shopper)) == 1


@pytest.mark.anyio
async def test_on_anyio(jido_db):
    assert await use() == 1


async def test_in_a_thread(jido_db):
    assert await asyncio.to_thread(asyncio.run, use()) == 1


@pytest.mark.jido_db
class TestInUnittest(unittest.IsolatedAsyncioTestCase):
    async def test_it(self):
        assert await use() == 1


@pytest.mark.jido_db(backend="both")
async def test_on_both(jido_backend, jido_db):
    assert jido_db.backend == jido_backend
    assert await use() == 1


@pytest.mark.jido_db(storage="clone", backend="postgres")
async def test_on_a_copy_of_its_own(jido_db):
    assert jido_db.kind == "clone"
    assert await use() == 1
