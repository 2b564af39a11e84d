"""What a run is told: each setting is an option, an environment variable or ini, in this order of their weight."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

BACKENDS = ("sqlite", "postgres", "both")
STORAGES = ("memory", "file", "clone")
_YES = ("1", "true", "yes", "on")
_NO = ("", "0", "false", "no", "off")


@dataclass(frozen=True)
class Setting:
    """One thing to be told; its option, variable and ini have one name."""

    name: str
    help: str
    metavar: str = ""
    #: Another variable of the environment than the upper case of its name.
    named_variable: str = ""

    @property
    def option(self) -> str:
        """How the command line calls it."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """How the environment calls it."""
        return self.named_variable or self.name.upper()


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting("jido_db", "run the tests that use jido_db on sqlite (default), postgres or both", "BACKEND"),
        Setting(
            "jido_db_url",
            "a PostgreSQL server that runs already; tests make databases of their own on it",
            "URL",
            "JIDO_TEST_DB_URL",
        ),
        Setting("jido_seed", "the seed of ids, fakes and the like: a number, or last", "N|last"),
        Setting("jido_tortoise_orm", "the Tortoise config of the service, such as shop.settings.TORTOISE_ORM", "NAME"),
        Setting("jido_models", "modules with models, separated by spaces, where there is no such config", "MODULES"),
        Setting("jido_keep_failed", "keep the database of a test that fails, and say how to open it"),
        Setting("jido_migrations", "make the tables of the sandboxes by the migrations, not from the models"),
    )
}


@dataclass(frozen=True)
class Found:
    """A setting's text, and where it came from."""

    text: str
    source: str


def find(config: pytest.Config, name: str) -> Found | None:
    """Look a setting up; None when nobody has set it."""
    setting = SETTINGS[name]
    given = config.getoption(name, default=None)
    if given not in (None, False):
        return Found(str(given), setting.option)
    if setting.variable in os.environ:
        return Found(os.environ[setting.variable], f"{setting.variable} of the environment")
    if text := _ini(config, name):
        return Found(text, config.inipath.name if config.inipath else "-o")
    return None


def _ini(config: pytest.Config, name: str) -> str:
    try:
        value = config.getini(name)
    except (KeyError, ValueError):  # the plugin is switched off, and the fixtures were imported by hand
        return ""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value or "")


class Run:
    """The settings of a run, read once.

    Raises:
        pytest.UsageError: One of them, when it is read, is none of what it may be.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        #: What the controller of pytest-xdist told this worker; empty without it.
        self.told: dict[str, Any] = getattr(config, "workerinput", {})

    @cached_property
    def backend(self) -> Found:
        """Which database the tests run on."""
        found = find(self.config, "jido_db") or Found("sqlite", "")
        if found.text not in BACKENDS:
            raise pytest.UsageError(f"jido_db (from {found.source}): expected {either(BACKENDS)}, got {found.text!r}")
        return found

    @property
    def wants_postgres(self) -> bool:
        """Whether all tests need the server."""
        return self.backend.text != "sqlite"

    @cached_property
    def url(self) -> Found | None:
        """The URL of a PostgreSQL server that runs already."""
        if told := self.told.get("jido_db_url"):
            return Found(told, "the controller")
        found = find(self.config, "jido_db_url")
        if found and not found.text.startswith(("postgres://", "postgresql://", "asyncpg://")):
            raise pytest.UsageError(
                f"jido_db_url (from {found.source}): expected a URL that begins with postgresql://, got"
                f" {starred(found.text)!r}"
            )
        return found

    @cached_property
    def keep_failed(self) -> bool:
        """Whether the database of a failed test stays."""
        return self._flag("jido_keep_failed")

    @cached_property
    def migrations(self) -> bool:
        """Whether tables are made by migrations."""
        return self._flag("jido_migrations")

    def _flag(self, name: str) -> bool:
        found = find(self.config, name)
        if found is None or found.text.lower() in _NO:
            return False
        if found.text.lower() in _YES:
            return True
        raise pytest.UsageError(f"{name} (from {found.source}): expected true or false, got {found.text!r}")

    @cached_property
    def seed(self) -> int:
        """The one number that ids, fakes and the like are drawn from."""
        if "jido_seed" in self.told:
            return int(self.told["jido_seed"])
        found = find(self.config, "jido_seed")
        if found is None:
            return int.from_bytes(os.urandom(4), "big")
        if found.text == "last":
            return self._last(found)
        if found.text.isdecimal() and int(found.text) < 1 << 32:
            return int(found.text)
        raise pytest.UsageError(
            f"jido_seed (from {found.source}): expected a number below 2**32, or last, got {found.text!r}"
        )

    def _last(self, found: Found) -> int:
        cache = getattr(self.config, "cache", None)
        last = cache.get("jido/seed", None) if cache else None
        if last is None:
            raise pytest.UsageError(
                f"jido_seed (from {found.source}): there was no last run here (pytest keeps it in"
                " .pytest_cache); give a number"
            )
        return int(last)

    def remember_seed(self) -> None:
        """Keep the seed for `--jido-seed=last`."""
        cache = getattr(self.config, "cache", None)
        if cache and not self.told:
            cache.set("jido/seed", self.seed)

    def models(self) -> tuple[list[str], str]:
        """Give the host's model modules, and where they were named."""
        found = find(self.config, "jido_models")
        return (found.text.split(), found.source) if found else ([], "")

    def seed_for(self, item: pytest.Item) -> int:
        """Give a test its own seed, the same on both databases, whatever else runs."""
        start = own_seed_of(item)
        return ((self.seed if start is None else start) + zlib.crc32(case_of(item).encode())) & 0xFFFFFFFF


_RUN = pytest.StashKey[Run]()


def run_of(config: pytest.Config) -> Run:
    """Give the settings of this run."""
    run = config.stash.get(_RUN, None)
    if run is None:
        run = config.stash[_RUN] = Run(config)
    return run


def case_of(item: pytest.Item) -> str:
    """Name a test without the database that it runs on."""
    spec = getattr(item, "callspec", None)
    if spec is None or "jido_backend" not in spec.params:
        return item.nodeid
    head, _, ids = item.nodeid.rpartition("[")
    parts = ids.removesuffix("]").split("-")
    parts.remove(spec.params["jido_backend"])
    return f"{head}[{'-'.join(parts)}]" if parts else head


@dataclass(frozen=True)
class Wish:
    """What the mark `jido_db` asks for."""

    storage: str | None = None
    backend: str | None = None


def wish_of(item: pytest.Item) -> Wish:
    """Read the mark of a test.

    Raises:
        pytest.UsageError: It says something that the mark does not know.
    """
    mark = item.get_closest_marker("jido_db")
    if mark is None:
        return Wish()
    known = {"storage": STORAGES, "backend": BACKENDS}
    where = f"{item.nodeid}: @pytest.mark.jido_db"
    if mark.args or set(mark.kwargs) - set(known):
        got = ", ".join([*map(repr, mark.args), *(f"{name}=" for name in mark.kwargs)])
        raise pytest.UsageError(f"{where} takes storage= and backend=, got {got}")
    for name, value in mark.kwargs.items():
        if value is not None and value not in known[name]:
            raise pytest.UsageError(f"{where}: {name}= is {either(known[name])}, got {value!r}")
    return Wish(**mark.kwargs)


def own_seed_of(item: pytest.Item) -> int | None:
    """Read the mark `jido_seed` of a test; None when it has none.

    Raises:
        pytest.UsageError: It says something other than one number.
    """
    mark = item.get_closest_marker("jido_seed")
    if mark is None:
        return None
    seed = mark.args[0] if len(mark.args) == 1 and not mark.kwargs else None
    if type(seed) is not int or not 0 <= seed < 1 << 32:
        got = ", ".join([*map(repr, mark.args), *(f"{name}=" for name in mark.kwargs)]) or "nothing"
        raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.jido_seed takes a number below 2**32, got {got}")
    return seed


def golden_of(item: pytest.Item) -> tuple[Path, Sequence[type[Any]]]:
    """Read the mark `jido_golden` of a test: the folder, from the root of the tests, and the classes.

    Raises:
        pytest.UsageError: It says something else, or there are no files.
    """
    mark = item.get_closest_marker("jido_golden")
    assert mark is not None
    where = f"{item.nodeid}: @pytest.mark.jido_golden"
    if len(mark.args) != 1 or set(mark.kwargs) - {"classes"}:
        got = ", ".join([*map(repr, mark.args), *(f"{name}=" for name in mark.kwargs)])
        raise pytest.UsageError(f'{where} takes a folder and classes=, as in jido_golden("tests/golden"), got {got}')
    folder = item.config.rootpath / mark.args[0]
    if not any(folder.glob("*.json")):
        raise pytest.UsageError(
            f"{where}: no golden files in {folder}: `jido-tortoise agents export --golden` writes some"
        )
    return folder, tuple(mark.kwargs.get("classes", ()))


def either(values: tuple[str, ...]) -> str:
    """Say the values that there are, for a message."""
    return f"{', '.join(values[:-1])} or {values[-1]}"


def starred(url: str) -> str:
    """Give a URL without its password."""
    head, at, tail = url.rpartition("@")
    scheme, slashes, user = head.partition("://")
    name, colon, _ = user.partition(":")
    return f"{scheme}{slashes}{name}{':***' if colon else ''}{at}{tail}"
