"""What a family of tables is made of: steps, guards, models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module

from tortoise.models import Model

from jido_tortoise.database import Dialect


@dataclass(frozen=True, slots=True)
class AddColumn:
    """A column that a later step adds. SQLite cannot say IF NOT EXISTS here, so our tools look first."""

    table: str
    column: str
    #: Its type and what follows it.
    definition: str


#: Statements by dialect; `{schema}` stands before every name that lives in a PostgreSQL schema.
Statements = Mapping[Dialect, tuple[str | AddColumn, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """A rule that the models cannot express: `generate_schemas` does not make it, both migration tools do."""

    table: str
    #: Of the trigger, foreign key or index that enforces it. None for what only makes the table faster: a table without
    #: it works as well.
    name: str | None
    #: Empty for a dialect that does without it.
    up: Statements
    down: Statements
    #: What it is in each dialect.
    kind: Mapping[Dialect, str] = field(default_factory=lambda: {"sqlite": "trigger", "postgres": "trigger"})
    #: The version of the schema that it came with.
    version: int = 1


def all_of(guards: tuple[Guard, ...], *, down: bool = False) -> Statements:
    """Give the statements that make, or drop, these guards."""
    dialects: tuple[Dialect, ...] = ("sqlite", "postgres")
    return {
        dialect: tuple(sql for guard in guards for sql in (guard.down if down else guard.up)[dialect])
        for dialect in dialects
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a schema: frozen once it is released, and harmless when it is repeated."""

    #: The name of its file in aerich_migrations, without ".py".
    name: str
    #: The version of the schema that it belongs to.
    version: int
    up: Statements
    #: Drops what `up` made, and nothing else.
    down: Statements
    #: Aerich's description of the models after it, in Aerich's form, under the family's own label.
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Tables that belong together and are upgraded together."""

    name: str
    #: The module of its models.
    models: str
    steps: tuple[Step, ...]
    guards: tuple[Guard, ...]

    @property
    def label(self) -> str:
        """The label of its app unless the host chose another; also the folder of its steps."""
        return f"jido_{self.name}"

    @property
    def migrations(self) -> str:
        """The module of its migrations for Tortoise's own tool."""
        return f"jido_tortoise.migrations.{self.label}"

    @property
    def version(self) -> int:
        """The newest version of the schema."""
        return self.steps[-1].version

    def model_classes(self) -> tuple[type[Model], ...]:
        """Answer the models, importing them."""
        classes: tuple[type[Model], ...] = import_module(self.models).MODELS
        return classes

    def columns(self) -> dict[str, dict[str, int]]:
        """Answer the tables with their columns, and the version that each column came with."""
        columns: dict[str, dict[str, int]] = import_module(self.models).COLUMNS
        return columns
