#!/usr/bin/env python3
"""Everything that a checkout needs, with nothing but Python: `python3 dev.py demo|test|check|bench|clean [arguments]`.

    demo    run the main job on a SQLite file; arguments go to `jido-tortoise demo`
    test    run all tests, measuring coverage; with arguments, run pytest with those and measure nothing
    check   format, lint, import layers, types, coverage of the last test run, documentation
    bench   run the benchmarks; arguments go to them
    clean   remove .venv and everything that was built

Each command makes .venv and installs what it needs there, by uv when there is one, and only when pyproject.toml has
changed since.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
COVERAGE = ROOT / ".coverage"
LEAVINGS = (".venv", "build", "dist", "site", ".coverage", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache")
PACKAGES = ("jido_tortoise", "testing", "tests")


def main(arguments: list[str]) -> int:
    """Run one command and give its exit code."""
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs an older Python must be told
        print(f"dev.py needs Python 3.11 or newer, this is {sys.version.split()[0]}", file=sys.stderr)
        return 2
    commands = {"demo": demo, "test": test, "check": check, "bench": bench, "clean": clean}
    if not arguments or arguments[0] not in commands:
        print(__doc__)
        return 0 if arguments[:1] in (["help"], ["-h"], ["--help"]) else 2
    return commands[arguments[0]](arguments[1:])


def demo(arguments: list[str]) -> int:
    install("demo")
    return run("-m", "jido_tortoise", "demo", *arguments)


def test(arguments: list[str]) -> int:
    install("test")
    if arguments:
        return run("-m", "pytest", *arguments)
    run("-m", "coverage", "erase")
    # A worker more than there are cores in the smallest machine of ours: many a test waits for a process.
    failed = run("-m", "coverage", "run", "-m", "pytest", "-n", "3")
    run("-m", "coverage", "combine", "--quiet")
    return failed


def check(arguments: list[str]) -> int:
    steps = {
        "format": lambda: run("-m", "ruff", "format", "--check", "."),
        "lint": lambda: run("-m", "ruff", "check", "."),
        "layers": lambda: run_program("lint-imports"),
        "mypy": lambda: run("-m", "mypy"),
        "pyright": lambda: run("-m", "pyright", "--pythonpath", str(PYTHON)),
        "coverage": coverage,
        "docs": lambda: run("-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", "site"),
    }
    unknown = set(arguments) - set(steps)
    if unknown:
        print(f"check: expected some of {', '.join(steps)}, got {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    install("test", "check", "docs")
    failed = [name for name in arguments or steps if announced(name) and steps[name]()]
    print(f"\ncheck: {', '.join(failed)} failed" if failed else "\ncheck: all is well")
    return 1 if failed else 0


def bench(arguments: list[str]) -> int:
    install("test")
    return run("-m", "tests.benchmarks", *arguments)


def clean(_: list[str]) -> int:
    for name in LEAVINGS:
        path = ROOT / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return 0


def coverage() -> int:
    """Report the coverage of the last whole test run; without one, or when the code is newer, run the tests first."""
    sources = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    if not COVERAGE.exists() or max(path.stat().st_mtime for path in sources) > COVERAGE.stat().st_mtime:
        failed = test([])
        if failed:
            return failed
    return run("-m", "coverage", "report")


def install(*groups: str) -> None:
    """Install both distributions, editable, and these dependency groups, unless that is done already."""
    make_venv()
    wanted = needs()
    stamp = VENV / f".installed-{'-'.join(groups)}"
    state = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == state:
        return
    print(f"Installing what {groups[-1]} needs into .venv ...", flush=True)
    requirements = [requirement for group in groups for requirement in wanted["groups"][group]]
    # The distributions go by path, in one step: the index need not know either of them.
    pip("install", "--quiet", "--editable", ".", "--editable", "./testing", *requirements)
    stamp.write_text(state)


def needs() -> dict:
    """Read what both pyproject.toml say about dependencies."""
    import tomllib

    files = [tomllib.loads((ROOT / path).read_text("utf-8")) for path in ("pyproject.toml", "testing/pyproject.toml")]
    return {"projects": [file["project"] for file in files], "groups": files[0]["dependency-groups"]}


def make_venv() -> None:
    if PYTHON.exists():
        return
    uv = shutil.which("uv")
    # `--seed` because the packaging tests build wheels with pip.
    command = [uv, "venv", "--quiet", "--seed", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
    subprocess.run([*command, str(VENV)], cwd=ROOT, check=True)


def pip(*arguments: str) -> None:
    uv = shutil.which("uv")
    command = [uv, "pip"] if uv else [str(PYTHON), "-m", "pip", "--disable-pip-version-check"]
    chosen = ["--python", str(PYTHON)] if uv else []
    subprocess.run([*command, *arguments, *chosen], cwd=ROOT, check=True)


def run(*arguments: str) -> int:
    """Run the Python of .venv and give its exit code."""
    return run_program(PYTHON.name, *arguments)


def run_program(name: str, *arguments: str) -> int:
    # pyright would otherwise say that there is a newer version.
    environment = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    # The tests start hundreds of processes: what these import is compiled once, and no folder is littered with it.
    environment["PYTHONPYCACHEPREFIX"] = str(VENV / "pycache")
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.run([str(BIN / name), *arguments], cwd=ROOT, env=environment).returncode


def announced(step: str) -> bool:
    print(f"\n== {step}", flush=True)
    return True


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        sys.exit(f"dev.py: {' '.join(map(str, error.cmd))} failed")
    except KeyboardInterrupt:
        sys.exit(130)
