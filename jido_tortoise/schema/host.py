"""The host's own apps, upgraded by the tool that each has migrations for."""

from __future__ import annotations

import tomllib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aerich import Command
from aerich.migrate import Migrate
from tortoise import Tortoise
from tortoise.context import TortoiseContext
from tortoise.migrations.api import migrate

from jido_tortoise.driver_errors import translate
from jido_tortoise.errors import JidoError, StorageError
from jido_tortoise.schema.apps import alias_of, is_aerich, models_of
from jido_tortoise.schema.execute import db_of
from jido_tortoise.schema.locks import one_at_a_time
from jido_tortoise.schema.upgrade import AppUpgrade, Progress

#: Where Aerich keeps its files when pyproject.toml does not say.
_USUAL_LOCATION = "./migrations"


async def upgrade_host(
    settings: Mapping[str, Any], ours: list[str], location: str | None, tell: Callable[[Progress], object]
) -> list[AppUpgrade]:
    """Upgrade all apps that hold no models of ours, or others beside them, in the order of the config.

    An app with files of Aerich is upgraded by Aerich, else one with a "migrations" module by Tortoise; others are left.
    """
    whole = _with_aerich(settings)
    place = location or _location()
    done = []
    for label in settings["apps"]:
        has_files = Migrate.get_migration_dir(place, label).is_dir()
        if label in ours and not has_files:
            continue
        if has_files or settings["apps"][label].get("migrations"):
            done.append(await _upgrade_app(whole, label, place if has_files else None, tell))
    return done


async def _upgrade_app(
    settings: dict[str, Any], label: str, location: str | None, tell: Callable[[Progress], object]
) -> AppUpgrade:
    alias = alias_of(settings["apps"][label])
    # Both tools keep state in globals and close what is current: each app gets a context of its own.
    async with TortoiseContext():
        await Tortoise.init(config=settings)
        async with one_at_a_time(db_of(alias), lambda: tell(Progress(label, "waiting"))):
            run = _by_aerich(settings, label, location) if location else _by_tortoise(settings, label)
            applied = await _run(label, run)
    for step in applied:
        tell(Progress(label, "applied", step))
    return AppUpgrade(app=label, connection=alias, applied=tuple(applied))


async def _run(label: str, run: Awaitable[list[str]]) -> list[str]:
    try:
        return await run
    except Exception as error:
        meant = translate(error)
        if meant is error or not isinstance(meant, JidoError) or meant.retryable:
            raise
        # Not what it would mean of ours: a missing table is one of the host's.
        raise StorageError(
            f"a migration of the app {label!r} failed: {error}", reason="migration", app=label
        ) from error


async def _by_aerich(settings: dict[str, Any], label: str, location: str) -> list[str]:
    command = Command(settings, app=label, location=location)
    await command.init()
    return [file.removesuffix(".py") for file in await command.upgrade()]


async def _by_tortoise(settings: dict[str, Any], label: str) -> list[str]:
    applied: list[str] = []

    def note(event: str, _: str, name: str) -> None:
        if event == "apply_done":
            applied.append(name)

    await migrate(config=settings, app_labels=[label], progress=note)
    return applied


def _with_aerich(settings: Mapping[str, Any]) -> dict[str, Any]:
    apps = dict(settings["apps"])
    if not any(is_aerich(model) for app in apps.values() for model in models_of(app["models"])):
        first = next(iter(apps.values()))
        apps["aerich"] = {"models": ["aerich.models"], "default_connection": alias_of(first)}
    return {**settings, "apps": apps}


def _location() -> str:
    """Read Aerich's location as Aerich does."""
    path = Path("pyproject.toml")
    tool = tomllib.loads(path.read_text("utf-8")).get("tool", {}) if path.is_file() else {}
    return str((tool.get("aerich") or tool.get("tortoise") or {}).get("location", _USUAL_LOCATION))
