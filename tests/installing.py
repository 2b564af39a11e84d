"""Both wheels, built once a run, and environments that they are installed in: a clean one, and that of a service.

One worker of pytest-xdist runs the tests that use them (tests/scheduling.py), so that the same is not built twice.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DISTRIBUTIONS = {"jido_tortoise": ROOT, "jido_tortoise_testing": ROOT / "testing"}

_PRIVATE = ("PYTHON", "COVERAGE", "PG_", "JIDO_", "PYTEST_")


def run_clean(
    *command: str | Path, cwd: Path, check: bool = True, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a program that neither the checkout nor a setting of this run may reach."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_PRIVATE)} | variables
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def build(name: str, target: str, to: Path) -> Path:
    """Build a distribution as a wheel or an sdist, into a folder that holds no other of its name."""
    to.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", to]
    run_clean(*command, cwd=DISTRIBUTIONS[name])
    (built,) = to.glob(f"{name}-*")
    return built


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build both wheels from the checkout."""
    return {name: build(name, "wheel", tmp_path_factory.mktemp("wheels")) for name in DISTRIBUTIONS}


@pytest.fixture(scope="session")
def bin_folder(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install both wheels, and what they require, into an environment that holds nothing else."""
    folder = tmp_path_factory.mktemp("clean")
    run_clean(sys.executable, "-m", "venv", "--without-pip", "env", cwd=folder)
    python = folder / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    # Half of what comes along is never imported here; the rest is compiled when it is.
    run_clean(*pip, "install", "--quiet", "--no-compile", *wheels.values(), cwd=folder)
    return python.parent


@pytest.fixture(scope="session")
def service_bin_folder(bin_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an environment with what `bin_folder` holds, and with what else a service uses: FastAPI, pytest, asyncpg.

    The latter is borrowed from the environment that runs us, since installing it again would take longer than all of
    its tests. A path in a .pth file is searched, but the .pth files in it are not read: those lead to our checkout.
    """
    folder = tmp_path_factory.mktemp("service")
    run_clean(sys.executable, "-m", "venv", "--without-pip", "env", cwd=folder)
    python = folder / "env" / bin_folder.name / "python"
    (ours,) = {Path(path) for path in _packages(bin_folder / "python")}
    (service,) = {Path(path) for path in _packages(python)}
    (service / "borrowed.pth").write_text(f"{ours}\n{sysconfig.get_path('purelib')}\n")
    return python.parent


def _packages(python: Path) -> list[str]:
    program = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return run_clean(python, "-c", program, cwd=python.parent).stdout.split()
