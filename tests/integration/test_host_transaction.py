"""`jido_tortoise.transaction()`: the host's own models and all of ours in one, whatever is cancelled or fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tortoise.backends.base.executor import EXECUTOR_CACHE
from tortoise.connection import get_connection
from tortoise.context import TortoiseContext
from tortoise.exceptions import IntegrityError
from tortoise.transactions import in_transaction

import jido_tortoise as jt
from jido_tortoise.adk import AdkSessionStore
from jido_tortoise.adk.models import AdkSession
from jido_tortoise_testing.adk_contract.base import got, made, said
from jido_tortoise_testing.faults import Trial
from jido_tortoise_testing.faults.sweeping import cancel_everywhere, crash_everywhere
from tests.conftest import make_tables, opened, our_apps
from tests.toolkit.shop_models import Customer

_FAMILIES = ("agents", "adk")
_SHOP = {"shop": {"models": ["tests.toolkit.shop_models"], "default_connection": "default"}}
store = AdkSessionStore()


class Buyer(jt.Agent, agent_type="buyer-of-a-transaction"):  # type: ignore[type-arg]
    """An agent of the shop."""


@pytest.fixture
async def shop(db_url: str) -> AsyncIterator[jt.Jido]:
    """Open a service with its own models and two families of ours on one connection."""
    async with opened(db_url, tables=False, apps={**_SHOP, **our_apps(_FAMILIES)}) as found:
        await make_tables(found, _FAMILIES)
        await found.client.execute_script("CREATE TABLE customer (id int PRIMARY KEY, name varchar(50) NOT NULL)")
        yield jt.Jido()


async def seen(_: object = None) -> tuple[int, int, int]:
    """Count customers, agents and sessions, by the connection as another task of the host sees it."""
    agents = (await jt.TortoiseStorage().list_checkpoints()).items
    return await Customer.all().count(), len(agents), len(await store.list(app_name="shop", events=False))


async def write(jido: jt.Jido, name: str, number: int, *, fail: bool = False) -> jt.Agent[Any]:
    """Write a row of the host's, an agent and an ADK session."""
    buyer = Buyer(name, {"n": number})
    buyer.thread.append("note", {"n": number})
    async with jt.transaction() as client:
        await Customer.create(id=number, name=name)
        await jido.hibernate(buyer)
        async with jt.transaction():
            session = await made(store, name, {"app:last": number})
            await store.append_event(session, said(id=name))
        await client.execute_query(f"UPDATE customer SET name = 'bought' WHERE id = {number}")
        if fail:
            raise ZeroDivisionError
    return buyer


async def test_all_of_it_or_nothing(shop: jt.Jido) -> None:
    """Own rows, agents and sessions are there together; a failure undoes all, and the agent can be stored again."""
    await write(shop, "ann", 1)
    assert await seen() == (1, 1, 1)
    assert (await Customer.get(id=1)).name == "bought"
    with pytest.raises(ZeroDivisionError):
        await write(shop, "bob", 2, fail=True)
    assert await seen() == (1, 1, 1)
    assert (await got(store, "ann")).state == {"app:last": 1}
    await write(shop, "bob", 2)
    assert await seen() == (2, 2, 2)


async def test_an_agent_that_was_rolled_back_is_stored_again(shop: jt.Jido) -> None:
    """Its next hibernate notices that nothing is there."""
    buyer = Buyer("ann", {"n": 1})
    buyer.thread.append("note", {})
    with pytest.raises(ZeroDivisionError):
        async with jt.transaction():
            await shop.hibernate(buyer)
            raise ZeroDivisionError
    await shop.hibernate(buyer)
    assert (await shop.thaw(Buyer, "ann")).thread.rev == 1


async def test_nested_is_undone_alone(shop: jt.Jido) -> None:
    """In ours and in Tortoise's; what is around it goes on, and may be rolled back as a whole."""
    for outer in (jt.transaction, in_transaction):
        with pytest.raises(ZeroDivisionError):
            async with outer("default"):
                await Customer.create(id=1, name="stays for now")
                with pytest.raises(ZeroDivisionError):
                    await write(shop, "ann", 2, fail=True)
                await write(shop, "bob", 3)
                assert await seen() == (2, 1, 1)
                raise ZeroDivisionError
        assert await seen() == (0, 0, 0)


async def test_the_host_s_error_is_its_own(shop: jt.Jido) -> None:
    """As Tortoise raised it, so that the host's handlers around the block still match; ours stay ours."""
    await Customer.create(id=1, name="ann")
    with pytest.raises(IntegrityError) as caught:
        async with jt.transaction():
            await shop.hibernate(Buyer("ann", {}))
            await Customer.create(id=1, name="again")
    assert caught.value.__context__ is not caught.value
    with pytest.raises(jt.AlreadyExistsError):
        async with jt.transaction():
            await made(store, "s")
            await made(store, "s")
    assert await seen() == (1, 0, 0)


async def test_what_fails_at_the_end_is_ours(shop: jt.Jido, db_url: str) -> None:
    """A COMMIT that a constraint refuses: the error is translated, nothing is there, and the connection goes on."""
    client = get_connection("default")
    if db_url.startswith("sqlite"):
        await client.execute_query("PRAGMA foreign_keys = ON")
    async with jt.transaction() as inside:
        await inside.execute_query("CREATE TABLE known (n int PRIMARY KEY)")
        await inside.execute_query("CREATE TABLE late (n int REFERENCES known (n) DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(jt.StorageError, match="a constraint refused"):
        async with jt.transaction() as inside:
            await made(store, "s")
            await inside.execute_query("INSERT INTO late VALUES (1)")
    await write(shop, "ann", 1)
    assert await seen() == (1, 1, 1)


@pytest.mark.usefixtures("unmeasured")
async def test_cancelled_and_struck_anywhere(shop: jt.Jido) -> None:
    """At each await, and at each statement in three ways: all of it or nothing, and the next write is done."""

    def number(trial: Trial) -> int:
        return trial.given + int(trial.name.rpartition("-")[2])

    async def buy(trial: Trial) -> None:
        await write(shop, trial.name, number(trial))

    async def look(trial: Trial) -> tuple[bool, bool, bool]:
        agent = await shop.storage.get_checkpoint(("buyer-of-a-transaction", trial.name))
        is_bought = await Customer.filter(id=number(trial), name="bought").exists()
        return is_bought, agent is not None, await AdkSession.filter(id=trial.name, rev=1).exists()

    for sweep, base in ((cancel_everywhere, 1), (crash_everywhere, 100_000)):

        async def prepare(_: Trial, base: int = base) -> int:
            return base

        report = await sweep(buy, look, prepare=prepare, tell=lambda _: None)
        assert (report.before, report.after) == ((False,) * 3, (True,) * 3)
        assert report.sound == len(report.points) > 20


async def test_a_timeout_around_it(shop: jt.Jido) -> None:
    """Ends it, and nothing is there; a task beside it is not in it."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), jt.transaction():
            await write(shop, "ann", 1)
            await asyncio.sleep(10)
    assert await seen() == (0, 0, 0)


async def test_which_connection(tmp_path: Path) -> None:
    """Ours when it is one; several, none and an unknown one are told with what there is."""
    EXECUTOR_CACHE.clear()
    urls = {name: f"sqlite://{tmp_path / name}.db" for name in ("first", "other")}
    with pytest.raises(jt.NotInitialisedError):
        async with jt.transaction():
            pass
    apps = our_apps(_FAMILIES)
    apps["jido_agents"]["default_connection"], apps["jido_adk"]["default_connection"] = "first", "other"
    async with TortoiseContext() as context:
        await context.init(config={"connections": urls, "apps": apps})
        with pytest.raises(jt.AmbiguousConnectionError, match=r"\['first', 'other'\]") as caught:
            async with jt.transaction():
                pass
        assert caught.value.connections == ["first", "other"]
        with pytest.raises(jt.ConfigError, match="no connection 'third'"):
            async with jt.transaction("third"):
                pass
        async with jt.transaction("other") as client:
            assert client.connection_name == "other"
    apps.pop("jido_agents")
    async with TortoiseContext() as context:
        await context.init(config={"connections": urls, "apps": apps})
        async with jt.transaction() as client:
            assert client.connection_name == "other"
