"""While a sandbox is open, the service's own Tortoise.init gives the sandbox, and nobody reaches another database.

`Tortoise.init()` inside an active context points that context at the service's real database: a test would write there.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from tortoise import Tortoise, context
from tortoise.backends.base.config_generator import expand_db_url
from tortoise.connection import ConnectionHandler
from tortoise.context import TortoiseContext

from jido_tortoise_testing.failures import CURE, JidoSandboxError
from jido_tortoise_testing.settings import starred

upgrading: Any = import_module("jido_tortoise.schema.upgrade")  # the package has a function of that name
#: How the toolkit names the databases that it makes.
OUR_DATABASES = re.compile(r"jido_test_\w+")
_VARIABLES = ("USE_TZ", "TIMEZONE")
#: The kind and the place of a database.
Spot = tuple[str, str]


@contextmanager
def adopted(sandbox: TortoiseContext, place: str, service: Mapping[str, Any]) -> Iterator[None]:
    """Give the sandbox's context to whoever initialises Tortoise, in any task and thread, for the block.

    Args:
        sandbox: Its context, initialised.
        place: Its URL, for messages.
        service: The connections of the service's own config.
    """
    forbidden = _spots(service)
    before, variables = context._global_context, {name: os.environ.get(name) for name in _VARIABLES}
    replaced = {
        (Tortoise, "init"): classmethod(_init_of(sandbox)),
        (Tortoise, "generate_schemas"): classmethod(_nothing),
        (Tortoise, "close_connections"): classmethod(_nothing),
        (Tortoise, "_drop_databases"): classmethod(_nothing),
        (ConnectionHandler, "_create_connection"): _guarded(lambda spot: _refuse_real(spot, place, forbidden)),
        (upgrading, "bring_up"): _bring_up_others(upgrading.bring_up, forbidden),
    }
    context._global_context = sandbox
    try:
        with _replaced(replaced):
            yield
    finally:
        context._global_context = before
        _restore(variables)


@contextmanager
def _replaced(values: Mapping[tuple[Any, str], Any]) -> Iterator[None]:
    originals = [(owner, name, owner.__dict__[name]) for owner, name in values]
    for (owner, name), value in values.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in originals:
            setattr(owner, name, value)


@contextmanager
def suspended() -> Iterator[None]:
    """Give Tortoise back to itself for the block, in which the toolkit makes databases."""
    with _replaced({key: value for key, value in _ORIGINALS.items() if key[0].__dict__[key[1]] is not value}):
        yield


def _restore(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _init_of(sandbox: TortoiseContext) -> Callable[..., Any]:
    async def init(cls: type[Tortoise], *_: Any, **__: Any) -> TortoiseContext:
        current = context._current_context.get()
        if current is not None and current is not sandbox and not current.inited:
            _share(sandbox, current)
            return current
        return sandbox

    return init


def _share(sandbox: TortoiseContext, other: TortoiseContext) -> None:
    """Let a context that the service made itself see the sandbox; its end must not close it."""
    other._connections = sandbox._connections
    other._apps = sandbox._apps
    other._default_connection = sandbox._default_connection
    other._inited = True

    async def close_connections() -> None:
        other._connections = None

    other.close_connections = close_connections  # type: ignore[method-assign]


async def _nothing(cls: type[Tortoise], *_: Any, **__: Any) -> None:
    pass


def _bring_up_others(original: Callable[..., Any], forbidden: set[Spot]) -> Callable[..., Any]:
    """Let an upgrade of the service's real database do nothing: the sandbox has its tables."""

    async def bring_up(settings: Mapping[str, Any], **options: Any) -> Any:
        if any(_is_real(spot) or _absolute(spot) in forbidden for spot in _places(settings["connections"])):
            return upgrading.UpgradeReport(())
        return await original(settings, **options)

    return bring_up


def _guarded(refuse: Callable[[Spot], None]) -> Callable[..., Any]:
    original = ConnectionHandler._create_connection

    def create(self: ConnectionHandler, alias: str) -> Any:
        for spot in _places({alias: self._get_db_info(alias)}):
            refuse(spot)
        return original(self, alias)

    return create


@contextmanager
def forbidden(config: Callable[[], Mapping[str, Any]]) -> Iterator[None]:
    """Refuse the databases of a service's config for the block, where no sandbox stands in for them."""
    known: list[set[Spot]] = []

    def refuse(spot: Spot) -> None:
        if not known:
            known.append(_spots(config()["connections"]))
        if _absolute(spot) in known[0]:
            raise JidoSandboxError(
                f"database access outside of a sandbox: this test would open {starred(spot[1])}, which your Tortoise"
                f" config names. {CURE}"
            )

    with _replaced({(ConnectionHandler, "_create_connection"): _guarded(refuse)}):
        yield


def _spots(connections: Mapping[str, Any]) -> set[Spot]:
    """Give the databases of a config that a test could reach; one in memory is never the service's."""
    return {_absolute(spot) for spot in _places(connections) if spot != ("sqlite", ":memory:")}


def _absolute(spot: Spot) -> Spot:
    return (spot[0], str(Path(spot[1]).resolve())) if spot[0] == "sqlite" else spot


def _places(connections: Mapping[str, Any]) -> Iterator[Spot]:
    """Give the kind and the place of each database that a config's connections would open, but for our own."""
    for connection in connections.values():
        expanded = expand_db_url(connection) if isinstance(connection, str) else connection
        credentials = expanded.get("credentials", {})
        if "lease" in credentials:
            continue
        if "sqlite" in expanded["engine"] or "file_path" in credentials:
            yield "sqlite", str(credentials.get("file_path"))
        else:
            host = credentials.get("host") or "localhost"
            yield "server", f"{host}/{credentials.get('database')}"


def _is_real(spot: Spot) -> bool:
    kind, where = spot
    if kind == "sqlite":
        return where != ":memory:" and not _is_temporary(Path(where))
    return not OUR_DATABASES.fullmatch(where.rpartition("/")[2])


def _refuse_real(spot: Spot, place: str, forbidden: set[Spot]) -> None:
    if _is_real(spot) or _absolute(spot) in forbidden:
        raise JidoSandboxError(
            f"this test would open {starred(spot[1])}, while its sandbox is {starred(place)}: call Tortoise.init(),"
            " which gives the sandbox, or use a database in memory or in a temporary folder"
        )


def _is_temporary(path: Path) -> bool:
    return path.resolve().is_relative_to(Path(tempfile.gettempdir()).resolve())


#: What an open sandbox replaces.
_ORIGINALS = {
    (owner, name): owner.__dict__[name]
    for owner, name in (
        (Tortoise, "init"),
        (Tortoise, "generate_schemas"),
        (Tortoise, "close_connections"),
        (Tortoise, "_drop_databases"),
        (upgrading, "bring_up"),
    )
}
