"""Bring our tables to the newest version: one process at a time, each app completely or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from tortoise.context import TortoiseContext

from jido_tortoise.database import Db, resolve, transaction
from jido_tortoise.errors import InvalidInputError
from jido_tortoise.host_config import Config, read_config
from jido_tortoise.journal.statements import qualified
from jido_tortoise.probe import Problem, refuse
from jido_tortoise.schema import ledger
from jido_tortoise.schema.apps import Home, find_homes, registered_families, registered_home
from jido_tortoise.schema.ddl import check_dialect, make_schema
from jido_tortoise.schema.execute import PATIENCE, db_of, run, run_all, run_step
from jido_tortoise.schema.locks import lock_file, one_at_a_time, take_step_lock
from jido_tortoise.schema.steps import Step
from jido_tortoise.schema.verify import diagnose


@dataclass(frozen=True, slots=True)
class Progress:
    """Something that an upgrade tells while it runs."""

    #: The label of the app.
    app: str
    #: "waiting" for another process that upgrades; of a step "running", and when all is committed "applied", "adopted"
    #: when its work was there already, or "faked".
    what: Literal["waiting", "running", "applied", "adopted", "faked"]
    #: The name of the step; None while waiting.
    step: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AppUpgrade:
    """What an upgrade did to one app; nothing when it was up to date."""

    app: str
    connection: str
    schema: str | None = None
    #: The steps that were run.
    applied: tuple[str, ...] = ()
    #: The steps that were only listed as applied: their work was there already, or `fake` was said.
    adopted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UpgradeReport:
    """What an upgrade did, app by app, in the order in which it was done."""

    apps: tuple[AppUpgrade, ...]

    @property
    def changed(self) -> bool:
        """Whether it did anything."""
        return any(app.applied or app.adopted for app in self.apps)


Tell = Callable[[Progress], object]


async def upgrade(
    config: Config,
    *,
    all: bool = False,
    schema: str | None = None,
    progress: Tell | None = None,
    fake: bool = False,
    location: str | None = None,
) -> UpgradeReport:
    """Bring our tables to the newest version; several processes may do so at once, and one does it.

    It opens connections of its own and leaves the host's alone. Tables that `generate_schemas`, `aerich init-db` or
    Tortoise's own migrations made already are adopted.

    Args:
        config: The host's Tortoise config: the dict, a TortoiseConfig, or "module.NAME".
        all: Whether to upgrade the host's apps too, after ours, each with the tool that it has migrations for.
        schema: The PostgreSQL schema for our tables; made when it is not there. None leaves it to the search path.
        progress: Called with each Progress.
        fake: Whether to list our steps as applied without running them.
        location: Where Aerich's files of the host's apps are; None reads it from pyproject.toml.

    Raises:
        SchemaError: A table of ours is somebody else's; nothing was changed.
        ConfigError: The config is none, or has no app with models of ours.
        InvalidInputError: The database is in memory: it would be gone with the connection (see `create`).
    """
    return await bring_up(
        read_config(config), all=all, schema=schema, tell=progress or _silent, fake=fake, location=location
    )


async def bring_up(
    settings: dict[str, Any], *, all: bool, schema: str | None, tell: Tell, fake: bool, location: str | None
) -> UpgradeReport:
    """Upgrade the databases of a config that was read; the toolkit keeps a test from the service's own here."""
    homes = find_homes(settings)
    done = []
    for home in homes:
        async with own_connections(settings, {home.alias, home.listed_on}):
            done.append(await _bring_up(home, _usable(home.alias, schema), tell, fake))
    if all:
        from jido_tortoise.schema.host import upgrade_host  # brings Aerich, which takes long to import

        done += await upgrade_host(settings, [home.label for home in homes], location, tell)
    return UpgradeReport(tuple(done))


async def create(connection: str | None = None, schema: str | None = None) -> UpgradeReport:
    """Do the same on the connection of the current Tortoise context, which may be a database in memory.

    Args:
        connection: An alias of the host's config; None takes the one of the app that holds our models.
        schema: As in `upgrade`.

    Raises:
        SchemaError: A table of ours is somebody else's; nothing was changed.
        ConfigError: There is no connection to do it on.
    """
    done = []
    for family in registered_families():
        db = resolve(connection, family.model_classes()[0], schema=schema, timeout=PATIENCE)
        home = registered_home(family, db.client.connection_name)
        done.append(await _bring_up(home, db, _silent, fake=False))
    return UpgradeReport(tuple(done))


def _silent(_: Progress) -> None:
    pass


@asynccontextmanager
async def own_connections(settings: Mapping[str, Any], aliases: set[str]) -> AsyncIterator[None]:
    """Open a Tortoise context with connections only: initialising apps would change the models of the whole process."""
    async with TortoiseContext() as context:
        context.connections._init_config({alias: settings["connections"][alias] for alias in sorted(aliases)})
        yield


def _usable(alias: str, schema: str | None) -> Db:
    db = db_of(alias, schema)
    check_dialect(db.dialect, schema)
    if db.dialect == "sqlite" and lock_file(db.client.filename) is None:
        raise InvalidInputError.at(
            f"connections.{alias}",
            "a database that lasts: one in memory ends with its connection"
            " (after Tortoise.init(), `await jido_tortoise.schema.create()` makes the tables there)",
            db.client.filename,
        )
    return db


# -- one app ------------------------------------------------------------------------------------------------------


async def _bring_up(home: Home, db: Db, tell: Tell, fake: bool) -> AppUpgrade:
    # Before the transaction: Tortoise forgets, and never closes, what is opened within one on another connection.
    other = None if home.listed_on == home.alias or db.schema is not None else db_of(home.listed_on)
    async with one_at_a_time(db, lambda: tell(Progress(home.label, "waiting"))), transaction(db) as inner:
        await take_step_lock(inner)
        await _make_schema(inner)
        book = other or inner
        listed = await ledger.applied(book, home.listed_as)
        pending = [step for step in home.family.steps if step.name not in listed]
        ran = [] if fake else await _apply(inner, home, pending, tell)
        await ledger.enlist(book, home.listed_as, home.family, pending)
    return _told(home, db, tell, ran, [step for step in pending if step not in ran], fake)


def _told(home: Home, db: Db, tell: Tell, ran: list[Step], adopted: list[Step], fake: bool) -> AppUpgrade:
    for step in ran:
        tell(Progress(home.label, "applied", step.name))
    for step in adopted:
        tell(Progress(home.label, "faked" if fake else "adopted", step.name))
    return AppUpgrade(
        app=home.label,
        connection=home.alias,
        schema=db.schema,
        applied=tuple(step.name for step in ran),
        adopted=tuple(step.name for step in adopted),
    )


async def _apply(db: Db, home: Home, pending: list[Step], tell: Tell) -> list[Step]:
    """Run what is needed: nothing when all is there, else the pending steps, else all of them, which repairs."""
    problems = await diagnose(db, home.family)
    refuse(db, _foreign(problems))
    for steps in (pending, list(home.family.steps)):
        if not problems:
            return []
        for step in steps:
            tell(Progress(home.label, "running", step.name))
            await run_step(db, step)
        problems = await diagnose(db, home.family)
        if not problems:
            return steps
    refuse(db, problems)
    return []


def _foreign(problems: list[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.reason == "schema_foreign"]


async def _make_schema(db: Db) -> None:
    if db.dialect == "sqlite":
        return
    # Looked for first: CREATE SCHEMA IF NOT EXISTS asks for a right that it then does not need.
    if db.schema is not None:
        if not await run(db, "SELECT 1 FROM pg_namespace WHERE nspname = $1", [db.schema]):
            await run_all(db, make_schema(db.schema))
    elif (wished := db.root.schema) and await run(db, "SELECT current_schema()") == [(None,)]:
        await run(db, f"CREATE SCHEMA {qualified(wished)[:-1]}")
