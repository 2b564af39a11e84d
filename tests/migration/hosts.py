"""A scratch host: a project of its own, with its own app and models, that drives the tools as its developer would."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jido_tortoise.schema import verify
from jido_tortoise_testing.postgres import run_sql
from tests import forking
from tests.conftest import opened

REPOSITORY = Path(__file__).parents[2]

MODELS = """
from tortoise import fields
from tortoise.models import Model


class Product(Model):
    id = fields.IntField(primary_key=True)
    name = fields.CharField(max_length=50)

    class Meta:
        table = "shop_products"
"""

PYPROJECT = """
[tool.aerich]
tortoise_orm = "settings.TORTOISE_ORM"
location = "./migrations"
"""


@dataclass(frozen=True)
class Place:
    """An empty database."""

    dialect: Any
    url: str

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one statement in a connection of its own."""
        if self.dialect == "postgres":
            return [tuple(row) for row in run_sql(self.url, sql)]
        connection = sqlite3.connect(self.url.removeprefix("sqlite://"))
        try:
            with connection:
                return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def tables(self) -> set[str]:
        """Name all tables."""
        if self.dialect == "postgres":
            sql = "SELECT tablename::text FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        else:
            sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        return {name for (name,) in self.rows(sql)}

    def listed(self, app: str) -> list[str]:
        """Name the steps that Aerich's table lists for an app."""
        return [version for (version,) in self.rows(f"SELECT version FROM aerich WHERE app = '{app}' ORDER BY id")]


@dataclass(frozen=True)
class Host:
    """The project's folder."""

    folder: Path
    place: Place

    def write(self, path: str, text: str) -> None:
        """Write a file of the project."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")

    def settings(self, apps: str, connections: str = "") -> None:
        """Write settings.py with these apps, Python source in which `jt` is our schema module."""
        self.write(
            "settings.py",
            "from jido_tortoise import schema as jt\n"
            f"TORTOISE_ORM = {{'connections': {{'default': {self.place.url!r}, {connections}}}, 'apps': {apps}}}\n",
        )

    def python(self, *arguments: str, check: bool = True) -> str:
        """Run Python in the project's folder and answer what it said."""
        done = forking.run(*arguments, cwd=self.folder, env=self.environment(), stderr=subprocess.STDOUT)
        if check:
            assert done.returncode == 0, done.stdout
        return done.stdout

    def together(self, *lines: tuple[str, ...]) -> list[str]:
        """Run several such programs at once, and answer what they said; none may fail."""
        done = forking.together(*lines, cwd=self.folder, env=self.environment(), stderr=subprocess.STDOUT)
        assert [one.returncode for one in done] == [0] * len(lines), [one.stdout for one in done]
        return [one.stdout for one in done]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a new interpreter in the project's folder."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def environment(self) -> dict[str, str]:
        """Give the environment of the project's processes."""
        paths = [str(self.folder), str(REPOSITORY), str(REPOSITORY / "testing")]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "AERICH_NO_TORTOISE_V1_WARNING": "1"}

    def aerich(self, *arguments: str, check: bool = True) -> str:
        """Run plain Aerich."""
        return self.python("-m", "aerich", *arguments, check=check)

    def tortoise(self, *arguments: str, check: bool = True) -> str:
        """Run Tortoise's own tool."""
        return self.python("-m", "tortoise", "-c", "settings.TORTOISE_ORM", *arguments, check=check)

    def upgrade(self, arguments: str = "", *, check: bool = True) -> str:
        """Run our upgrade, and answer the steps that it told of."""
        code = (
            "import asyncio; from jido_tortoise import schema;"
            "tell = lambda p: print(p.app, p.what, p.step);"
            f"asyncio.run(schema.upgrade('settings.TORTOISE_ORM', progress=tell, {arguments}))"
        )
        return self.python("-c", code, check=check)

    def verify(self) -> None:
        """Check our tables as the running service would."""
        if USUAL_APPS in (self.folder / "settings.py").read_text("utf-8"):
            asyncio.run(_verify(self.place))  # the usual labels may be looked at from here
            return
        self.python(
            "-c",
            "import asyncio, settings; from tortoise.context import TortoiseContext; from jido_tortoise import schema\n"
            "async def main():\n"
            "    async with TortoiseContext() as context:\n"
            "        await context.init(config=settings.TORTOISE_ORM)\n"
            "        await schema.verify()\n"
            "asyncio.run(main())",
        )


async def _verify(place: Place) -> None:
    async with opened(place.url, tables=False):
        await verify()


#: The host's own app with Aerich's, and ours.
USUAL_APPS = "{'shop': {'models': ['shop.models', 'aerich.models']}, **jt.apps()}"


def make_host(folder: Path, place: Place, apps: str = USUAL_APPS) -> Host:
    """Write a project that has its own app and ours in its config."""
    host = Host(folder, place)
    host.write("shop/__init__.py", "")
    host.write("shop/models.py", MODELS)
    host.write("pyproject.toml", PYPROJECT)
    host.settings(apps)
    return host
