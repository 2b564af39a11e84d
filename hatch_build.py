"""Put the migrations that lie beside the package into the wheel, inside the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class MigrationsHook(BuildHookInterface):  # type: ignore[type-arg]
    """Ship aerich_migrations/ as jido_tortoise/aerich_migrations/."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        # An editable install reads the folder where it lies; a copy in site-packages would go stale at once.
        if version != "editable":
            build_data["force_include"][str(Path(self.root, "aerich_migrations"))] = "jido_tortoise/aerich_migrations"
