"""The files of aerich_migrations: where they are, what they do when Aerich runs them, and stubs for a host's folder."""

from __future__ import annotations

import sys
from pathlib import Path

from tortoise.backends.base.client import BaseDBAsyncClient

from jido_tortoise.database import Dialect
from jido_tortoise.errors import ConfigError, InvalidInputError
from jido_tortoise.probe import compare_columns, read_columns, refuse
from jido_tortoise.schema.ddl import placed, script, step_statements
from jido_tortoise.schema.execute import db_of, needed
from jido_tortoise.schema.families import family_named
from jido_tortoise.schema.ledger import MAKE, describe, packed
from jido_tortoise.schema.locks import STEP_LOCK
from jido_tortoise.schema.steps import Family, Step

_STUB = '''"""Written by `jido-tortoise migrations vendor`: runs the step of this name that jido-tortoise ships."""

from runpy import run_path

from jido_tortoise.schema import migrations_location

_step = run_path(str(migrations_location() / {folder!r} / {file!r}))
RUN_IN_TRANSACTION, MODELS_STATE = _step["RUN_IN_TRANSACTION"], _step["MODELS_STATE"]
upgrade, downgrade = _step["upgrade"], _step["downgrade"]
'''


def migrations_location() -> Path:
    """Give the folder that holds a folder of Aerich's files for each family: Aerich's `location` for our apps."""
    package = Path(__file__).parent.parent
    for parent in (package, package.parent):  # the wheel has it inside; in a checkout it lies beside the package
        if (parent / "aerich_migrations").is_dir():
            return parent / "aerich_migrations"
    raise ConfigError("aerich_migrations is neither in jido_tortoise nor beside it: install jido-tortoise again")


def vendor(location: str | Path, *families: str, label: str | None = None) -> list[Path]:
    """Write a stub for each of our steps into a host's folder, for hosts that run plain `aerich` with one location.

    A stub holds no SQL: it runs the step that is installed. Writing again after an update of the library adds new ones.

    Args:
        location: Aerich's `location` in the host; the stubs go into a folder of it that is named as the app.
        families: Their names; "agents" when none is given.
        label: The app's label when the host chose another.

    Returns:
        The files that were written.

    Raises:
        InvalidInputError: A file that we did not write is in the way, or one label is to name several apps.
    """
    if label is not None and len(set(families)) > 1:
        raise InvalidInputError.at("label", "None for several families, each with an app of its own", label)
    wished: dict[Path, str] = {}
    for family in [family_named(name) for name in families or ("agents",)]:
        files = [f"{step.name}.py" for step in family.steps]
        folder = Path(location, label or family.label)
        wished |= {folder / file: _STUB.format(folder=family.label, file=file) for file in files}
    for path in wished:
        if path.exists() and not path.read_text("utf-8").startswith(_STUB.partition(":")[0]):
            raise InvalidInputError.at(str(path), "no file, or a stub that was written before", path.name)
    written = [path for path, text in wished.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in written:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wished[path], "utf-8")
    return written


# -- what the files call ------------------------------------------------------------------------------------------


def models_state(family: str, step: str) -> str:
    """Give Aerich's MODELS_STATE after a step, for the app that Aerich works on."""
    found = family_named(family)
    aerich = sys.modules.get("aerich.migrate")
    label = getattr(aerich.Migrate, "app", found.label) if aerich is not None else found.label
    return packed(describe(found, _step(found, step), label))


async def upgrade_script(client: BaseDBAsyncClient, family: str, step: str) -> str:
    """Give the script of a step for Aerich to run.

    Raises:
        SchemaError: A table of ours is somebody else's.
    """
    db = db_of(client.connection_name)
    found = family_named(family)
    columns = await read_columns(db, found.columns())
    refuse(db, [p for p in compare_columns(found.columns(), columns) if p.reason == "schema_foreign"])
    made = (*MAKE[db.dialect], *await needed(db, _step(found, step)))
    return _transactional(db.dialect, placed(made, db.dialect))


async def downgrade_script(client: BaseDBAsyncClient, family: str, step: str) -> str:
    """Give the script that takes a step back: it drops what is ours, never Aerich's table."""
    db = db_of(client.connection_name)
    return _transactional(db.dialect, step_statements(_step(family_named(family), step), db.dialect, down=True))


def _transactional(dialect: Dialect, sqls: tuple[str, ...]) -> str:
    # On SQLite a script commits Aerich's transaction before it begins, so it must bring one of its own.
    if dialect == "sqlite":
        return script(("BEGIN IMMEDIATE", *sqls, "COMMIT"))
    return script((f"SELECT pg_advisory_xact_lock({STEP_LOCK})", *sqls))


def _step(family: Family, name: str) -> Step:
    return next(step for step in family.steps if step.name == name)
