"""The database of a failed test, kept for whoever looks into it."""

from __future__ import annotations

import re
import shlex
import sqlite3
import subprocess
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from jido_tortoise_testing.sandboxes import Sandbox


#: What was kept of the running test.
KEPT = pytest.StashKey[list["Kept"]]()


@dataclass(frozen=True)
class Kept:
    """A database in a file."""

    #: None when it could not be kept.
    path: Path | None
    #: How to open it, for a shell.
    how: str

    def __str__(self) -> str:
        return f"{self.path}: {self.how}" if self.path else self.how


def keep(config: pytest.Config, test: str, sandbox: Sandbox) -> None:
    """Copy a sandbox's databases to files before they are gone; `settle` says whether they stay.

    Whether the test has failed is not known yet: another fixture may fail later.
    """
    cache = getattr(config, "cache", None)
    folder = Path(cache.mkdir("jido-failed")) if cache else Path(tempfile.mkdtemp(prefix="jido-failed-"))
    stem = re.sub(r"\W+", "-", f"{test}-{sandbox.backend}").strip("-")[-100:]
    kept = config.stash.setdefault(KEPT, [])
    kept += [_keep(sandbox, alias, folder / f"{stem}-{alias}") for alias in sandbox.places]


def settle(config: pytest.Config, *, failed: bool) -> str:
    """Forget what was kept of a test that has passed; of one that has failed, tell where it is and how to open it."""
    kept = config.stash.get(KEPT, [])
    config.stash[KEPT] = []
    for one in kept:
        if one.path and not failed:
            one.path.unlink(missing_ok=True)
    return "\n    ".join(dict.fromkeys(map(str, kept))) if failed else ""


def _keep(sandbox: Sandbox, alias: str, path: Path) -> Kept:
    if sandbox.backend == "sqlite":
        return _keep_sqlite(sandbox, alias, path.with_name(f"{path.name}.db"))
    return _keep_postgres(sandbox, alias, path.with_name(f"{path.name}.sql"))


def _keep_sqlite(sandbox: Sandbox, alias: str, path: Path) -> Kept:
    lease = sandbox.places[alias].lease
    opened = [client for client in lease.clients if client._connection]
    if opened:
        path.write_bytes(opened[-1].call(lambda connection: connection.serialize()))
    else:
        file = Path(sandbox.places[alias].url.removeprefix("sqlite://"))
        path.write_bytes(lease.template if sandbox.kind == "memory" else _image(file))
    return Kept(path, f"jido-tortoise agents list --db {shlex.quote(f'sqlite://{path}')}")


def _image(file: Path) -> bytes:
    with closing(sqlite3.connect(file)) as connection:  # with what its log holds yet
        return connection.serialize()


def _keep_postgres(sandbox: Sandbox, alias: str, path: Path) -> Kept:
    from jido_tortoise_testing.postgres import PostgresError, find_bin

    url = sandbox.places[alias].url
    try:
        program = str(find_bin() / "pg_dump")
        command = [program, "--no-owner", "--file", str(path), "postgresql" + url[url.index(":") :]]
        done = subprocess.run(command, capture_output=True, text=True)
        error = done.stderr if done.returncode else ""
    except (OSError, PostgresError) as missing:
        error = str(missing)
    if error:
        return Kept(None, f"could not be kept, pg_dump says: {error.strip()}")
    return Kept(path, f"createdb failed && psql -q -f {shlex.quote(str(path))} failed")
