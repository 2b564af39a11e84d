"""The host's Tortoise config, in whichever form it is given."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from tortoise.config import TortoiseConfig
from tortoise.exceptions import ConfigurationError

from jido_tortoise.database import require_drivers
from jido_tortoise.errors import ConfigError

#: What a config may be given as: the dict, Tortoise's own class, or "module.NAME" of either.
Config = str | Mapping[str, Any] | TortoiseConfig


def read_config(config: Config) -> dict[str, Any]:
    """Answer a config as a dict of its own.

    Raises:
        ConfigError: It is none, or cannot be found.
    """
    value = _import(config) if isinstance(config, str) else config
    try:
        settings = value if isinstance(value, TortoiseConfig) else TortoiseConfig.from_dict(value)
    except ConfigurationError as error:
        ours = " (of ours: jido_tortoise.apps(connection=...))" if "unknown connection" in str(error) else ""
        raise ConfigError(f"not a Tortoise config: {error}{ours}") from error
    found = settings.to_dict()
    require_drivers(found["connections"])
    return found


def _import(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f'no Tortoise config at {path!r} ("module.NAME", importable from here): {error}') from error
