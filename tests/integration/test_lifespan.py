"""`Jido.lifespan`: Tortoise opened from a service's config, found by the tasks of its requests, closed at the end."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from tortoise.context import get_current_context

import jido_tortoise as jt
from tests import forking
from tests.integration.managing import Counter


def config(url: str) -> dict[str, Any]:
    return {"connections": {"default": url}, "apps": jt.apps()}


@asynccontextmanager
async def served(lifespan: Callable[[Any], AbstractAsyncContextManager[Any]], app: Any) -> AsyncIterator[AsyncClient]:
    """Run an app as a server does: its lifespan in a task, and a context, that the requests know nothing of."""
    started, ended = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with lifespan(app):
            started.set()
            await ended.wait()

    task = asyncio.create_task(live(), context=contextvars.Context())
    await asyncio.wait([task, asyncio.create_task(started.wait())], return_when=asyncio.FIRST_COMPLETED)
    try:
        if not task.done():
            async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
                yield client
    finally:
        ended.set()
        await task


def counting_app(url: str) -> FastAPI:
    """Make the app of docs/how-to/fastapi.md, on this database."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            jt.Jido.lifespan(config(url), upgrade=True) as jido,
            jt.AgentManager(jido, Counter, idle_timeout=900, checkpoint_on_exit=True) as counters,
        ):
            app.state.counters = counters
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/counters/{name}")
    async def count(name: str) -> dict[str, int]:
        async with app.state.counters.checkout(name, exclusive=True) as counter:
            counter.step()
            return {"value": counter.state.n}

    return app


@pytest.mark.parametrize("backend", ["sqlite-memory", "sqlite-file", "postgres"])
async def test_fastapi(db_url: str, backend: str) -> None:
    """Requests in tasks of their own use the agents, at once; a service that starts again goes on where it was."""
    for start in range(1 if backend == "sqlite-memory" else 2):
        app = counting_app(db_url)
        async with served(app.router.lifespan_context, app) as client:
            assert get_current_context() is not None
            answers = await asyncio.gather(*(client.post("/counters/a") for _ in range(20)))
            assert sorted(answer.json()["value"] for answer in answers) == list(range(20 * start + 1, 20 * start + 21))
        assert get_current_context() is None


async def test_starlette(sqlite_url: str) -> None:
    """The same in Starlette, with the state that its lifespan hands to the requests."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with jt.Jido.lifespan(config(sqlite_url), upgrade=True, partition="blue") as jido:
            yield {"jido": jido}

    async def count(request: Request) -> JSONResponse:
        counter = await app.state.jido.thaw_or_new(Counter, "a")
        counter.step()
        await app.state.jido.hibernate(counter)
        return JSONResponse({"value": counter.state.n, "partition": counter.partition})

    app = Starlette(routes=[Route("/", count, methods=["POST"])], lifespan=lifespan)

    @asynccontextmanager
    async def as_a_server_does(app: Starlette) -> AsyncIterator[None]:
        async with app.router.lifespan_context(app) as state:
            app.state.jido = state["jido"]
            yield

    async with served(as_a_server_does, app) as client:
        await client.post("/")
        assert (await client.post("/")).json() == {"value": 2, "partition": "blue"}


async def test_it_verifies_unless_told_to_upgrade(sqlite_url: str) -> None:
    """A service does not start on tables that are not there; the error names the cure, and nothing stays open."""
    with pytest.raises(jt.SchemaError, match="upgrade"):
        async with jt.Jido.lifespan(config(sqlite_url)):
            pass
    assert get_current_context() is None
    async with jt.Jido.lifespan(config(sqlite_url), upgrade=True):
        pass
    async with jt.Jido.lifespan(config(sqlite_url)) as jido:
        assert await jido.count() == 0


def test_several_workers_upgrade_at_once(pg_url: str) -> None:
    """Workers that start together on an empty database all start."""
    code = (
        "import asyncio, sys, jido_tortoise as jt\n"
        "async def main():\n"
        "    config = {'connections': {'default': sys.argv[1]}, 'apps': jt.apps()}\n"
        "    async with jt.Jido.lifespan(config, upgrade=True) as jido: print(await jido.count())\n"
        "asyncio.run(main())\n"
    )
    workers = forking.together(*[("-c", code, pg_url)] * 3)
    assert [(done.stdout, done.stderr) for done in workers] == [("0\n", "")] * 3


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"connections": {}, "apps": {}},
        "nowhere.CONFIG",
        {"connections": {"default": "sqlite://:memory:"}, "apps": {}},
    ],
    ids=["empty", "nothing", "no module", "no app"],
)
async def test_a_bad_config_is_named(bad: Any) -> None:
    """What is wrong with the config comes out as an error of ours, and no context stays behind."""
    with pytest.raises(jt.ConfigError):
        async with jt.Jido.lifespan(bad):
            pass
    assert get_current_context() is None


async def test_one_at_a_time(sqlite_url: str) -> None:
    """Two services in one process would answer each other's requests; the second is refused, the first goes on."""
    async with jt.Jido.lifespan(config(sqlite_url), upgrade=True) as jido:
        with pytest.raises(jt.ConfigError, match="global"):
            async with jt.Jido.lifespan(config("sqlite://:memory:"), upgrade=True):
                pass
        assert await jido.count() == 0


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
async def test_it_closes_whatever_ends_it(sqlite_url: str, error: type[BaseException]) -> None:
    """An error or a cancellation comes out as it is, and everything is closed."""
    with pytest.raises(error):
        async with jt.Jido.lifespan(config(sqlite_url), upgrade=True):
            raise error
    assert get_current_context() is None
