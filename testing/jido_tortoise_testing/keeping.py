"""The database of a failed test, kept for whoever looks into it."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from jido_tortoise_testing.sandboxes import Sandbox
from jido_tortoise_testing.settings import case_of


def keep(item: pytest.Item, sandbox: Sandbox) -> str:
    """Copy a sandbox's databases to files before they are gone, and tell how to open them."""
    cache = getattr(item.config, "cache", None)
    folder = Path(cache.mkdir("jido-failed")) if cache else Path(tempfile.mkdtemp(prefix="jido-failed-"))
    stem = re.sub(r"\W+", "-", f"{case_of(item)}-{sandbox.backend}").strip("-")[-100:]
    return "\n    ".join(_keep(sandbox, alias, folder / f"{stem}-{alias}") for alias in sandbox.places)


def _keep(sandbox: Sandbox, alias: str, path: Path) -> str:
    if sandbox.backend == "sqlite":
        return _keep_sqlite(sandbox, alias, path.with_suffix(".db"))
    return _keep_postgres(sandbox, alias, path.with_suffix(".sql"))


def _keep_sqlite(sandbox: Sandbox, alias: str, path: Path) -> str:
    lease = sandbox.places[alias].lease
    opened = [client for client in lease.clients if client._connection]
    content = opened[-1].call(lambda connection: connection.serialize()) if opened else lease.template
    path.write_bytes(content)
    return f"{path}: jido-tortoise agents list --db sqlite://{path}"


def _keep_postgres(sandbox: Sandbox, alias: str, path: Path) -> str:
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
        return f"could not be kept, pg_dump says: {error.strip()}"
    return f"{path}: createdb failed && psql -q -f {path} failed"
