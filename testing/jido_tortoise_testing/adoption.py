"""While a sandbox is open, the service's own Tortoise.init gives the sandbox, and nobody reaches another database.

`Tortoise.init()` inside an active context points that context at the service's real database: a test would write there.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet

from tortoise import Tortoise, context
from tortoise.backends.base.config_generator import expand_db_url
from tortoise.config import TortoiseConfig
from tortoise.context import TortoiseContext

from jido_tortoise_testing.failures import JidoSandboxError
from jido_tortoise_testing.settings import starred

#: How the toolkit names the databases that it makes.
OUR_DATABASES = re.compile(r"jido_test_\w+")
_VARIABLES = ("USE_TZ", "TIMEZONE")
#: Contexts that the toolkit itself makes.
_ours: WeakSet[TortoiseContext] = WeakSet()


def own_context() -> TortoiseContext:
    """Make a context that may be initialised on any database."""
    made = TortoiseContext()
    _ours.add(made)
    return made


@contextmanager
def adopted(sandbox: TortoiseContext, place: str) -> Iterator[None]:
    """Give the sandbox's context to whoever initialises Tortoise, in any task and thread, for the block.

    Args:
        sandbox: Its context, initialised.
        place: Its URL, for messages.
    """
    before, variables = context._global_context, {name: os.environ.get(name) for name in _VARIABLES}
    replaced = {
        (Tortoise, "init"): classmethod(_init_of(sandbox)),
        (Tortoise, "generate_schemas"): classmethod(_nothing),
        (Tortoise, "close_connections"): classmethod(_nothing),
        (Tortoise, "_drop_databases"): classmethod(_nothing),
        (TortoiseContext, "init"): _guarded(TortoiseContext.init, place),
    }
    originals = [(owner, name, owner.__dict__[name]) for owner, name in replaced]
    context._global_context = sandbox
    for (owner, name), value in replaced.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in originals:
            setattr(owner, name, value)
        context._global_context = before
        _restore(variables)


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


def _guarded(original: Callable[..., Any], place: str) -> Callable[..., Any]:
    async def init(self: TortoiseContext, config: Any = None, **options: Any) -> None:
        if self not in _ours:
            for url in _places(config, options):
                _refuse_real(url, place)
        await original(self, config, **options)

    return init


def _places(config: Any, options: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the kind and the place of each database that a config would open."""
    found = TortoiseConfig.resolve_args(
        config, options.get("config_file"), options.get("db_url"), options.get("modules")
    ).to_dict()
    for connection in found["connections"].values():
        expanded = expand_db_url(connection) if isinstance(connection, str) else connection
        credentials = expanded.get("credentials", {})
        if "sqlite" in expanded["engine"] or "file_path" in credentials:
            yield "sqlite", str(credentials.get("file_path"))
        else:
            host = credentials.get("host") or "localhost"
            yield "server", f"{host}/{credentials.get('database')}"


def _refuse_real(found: tuple[str, str], place: str) -> None:
    kind, where = found
    if kind == "sqlite" and (where == ":memory:" or _is_temporary(Path(where))):
        return
    if kind == "server" and OUR_DATABASES.fullmatch(where.rpartition("/")[2]):
        return
    raise JidoSandboxError(
        f"this test would open {starred(where)}, while its sandbox is {starred(place)}: call Tortoise.init(), which"
        " gives the sandbox, or use a database in memory or in a temporary folder"
    )


def _is_temporary(path: Path) -> bool:
    return path.resolve().is_relative_to(Path(tempfile.gettempdir()).resolve())
