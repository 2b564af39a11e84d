"""The other process of `assert_roundtrip`: reads a job from its input, thaws the agent, and prints its value."""

from __future__ import annotations

import asyncio
import base64
import importlib
import importlib.util
import json
import sys
from operator import attrgetter
from typing import Any

from tortoise.context import TortoiseContext

from jido_tortoise import codec
from jido_tortoise.agents.persist import thaw
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise_testing.roundtrip import value_of


async def _run(job: dict[str, Any]) -> str:
    cls = attrgetter(job["cls"])(_module(job["module"], job["file"]))
    async with TortoiseContext() as context:
        context.connections._init_config({job["alias"]: job["config"]})
        if job["image"] is not None:
            await _fill(context.connections.get(job["alias"]), base64.b64decode(job["image"]))
        storage = TortoiseStorage(connection=job["alias"], schema=job["schema"])
        agent = await thaw(storage, cls, codec.loads(job["id"]), partition=job["partition"])
    return codec.dumps(value_of(agent))


def _module(name: str, file: str | None) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        # pytest imports test files by their path, under names that only it knows.
        spec = importlib.util.spec_from_file_location(name, file) if file else None
        if spec is None or spec.loader is None:
            raise
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


async def _fill(client: Any, image: bytes) -> None:
    await client.create_connection(with_db=True)
    connection = client._connection
    await connection._execute(connection._conn.deserialize, image)


if __name__ == "__main__":
    given = json.loads(sys.stdin.buffer.read())
    sys.path[:] = given["path"]
    sys.stdout.write(asyncio.run(_run(given)))
