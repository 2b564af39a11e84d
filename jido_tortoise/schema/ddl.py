"""The DDL of a version as text: for the host's own migrations, for psql, and for every tool of ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from jido_tortoise import checks
from jido_tortoise.database import Dialect
from jido_tortoise.errors import InvalidInputError
from jido_tortoise.journal.statements import qualified
from jido_tortoise.schema.families import family_named
from jido_tortoise.schema.steps import AddColumn, Family, Step

_LONGEST_NAME = 63


def ddl(family: str, dialect: Dialect, *, version: int, schema: str | None = None, down: bool = False) -> str:
    """Give the script that makes, or drops, all that a version of a family's schema consists of.

    It never changes for a version, and may be repeated (on SQLite, unless that version adds columns). Going down drops
    our triggers, functions and tables, never a schema.

    Args:
        family: "agents", "adk" or "recording".
        dialect: "sqlite" or "postgres".
        version: Of the schema; there is no default, so that a migration written today does the same tomorrow.
        schema: The PostgreSQL schema; made when it is not there. None leaves it to the search path.
        down: Whether to drop.

    Raises:
        InvalidInputError: There is no such family, dialect or version, or a schema is given for SQLite.
    """
    return script(statements(family, dialect, version=version, schema=schema, down=down))


def statements(
    family: str, dialect: Dialect, *, version: int, schema: str | None = None, down: bool = False
) -> tuple[str, ...]:
    """Give the same one statement at a time, for tools that do not take scripts."""
    found = family_named(family)
    check_dialect(dialect, schema)
    _check_version(version, found)
    steps = [step for step in found.steps if step.version <= version]
    if down:
        return tuple(sql for step in reversed(steps) for sql in step_statements(step, dialect, schema, down=True))
    made = make_schema(schema)
    return (*made, *(sql for step in steps for sql in step_statements(step, dialect, schema)))


def step_statements(step: Step, dialect: Dialect, schema: str | None = None, *, down: bool = False) -> tuple[str, ...]:
    """Give the statements of one step."""
    return placed((step.down if down else step.up)[dialect], dialect, schema)


def placed(templates: Iterable[str | AddColumn], dialect: Dialect, schema: str | None = None) -> tuple[str, ...]:
    """Put the schema before every name that lives in one."""
    return tuple(_text(template, dialect).replace("{schema}", qualified(schema)) for template in templates)


def _text(template: str | AddColumn, dialect: Dialect) -> str:
    if isinstance(template, str):
        return template
    add = "ADD COLUMN IF NOT EXISTS" if dialect == "postgres" else "ADD COLUMN"
    return f'ALTER TABLE {{schema}}"{template.table}" {add} "{template.column}" {template.definition}'


def make_schema(schema: str | None) -> tuple[str, ...]:
    """Give what makes the schema itself; nothing when none is named."""
    return () if schema is None else (f"CREATE SCHEMA IF NOT EXISTS {qualified(schema)[:-1]}",)


def script(sqls: tuple[str, ...]) -> str:
    """Write statements as one script."""
    return "".join(f"{sql};\n" for sql in sqls)


def check_dialect(dialect: str, schema: str | None) -> None:
    """Refuse a dialect that is not ours, and a schema where there are none."""
    if dialect not in get_args(Dialect):
        raise InvalidInputError.at("dialect", " or ".join(get_args(Dialect)), dialect)
    if dialect == "sqlite" and schema is not None:
        raise InvalidInputError.at("schema", "None on SQLite, which has no schemas", schema)
    if schema is not None and len(checks.text(schema, "schema").encode()) > _LONGEST_NAME:
        raise InvalidInputError.at("schema", f"at most {_LONGEST_NAME} bytes: PostgreSQL cuts longer names", schema)


def latest(family: str) -> int:
    """Give the newest version of a family's schema."""
    return family_named(family).version


def _check_version(version: int, family: Family) -> None:
    known = range(1, family.version + 1)
    if type(version) is not int or version not in known:
        raise InvalidInputError.at("version", f"one of {', '.join(map(str, known))}", version)
