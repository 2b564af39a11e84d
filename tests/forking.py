"""New Python processes that need not import Tortoise, Aerich and us again: forks of one that has done so.

`run` is `subprocess.run` for a new interpreter, at a tenth of its price; `together` runs several at once. Each is a
process of its own, with its own arguments, folder, environment, import path, output and end. Who tests how an
interpreter starts, what a program imports, terminals or signals starts `sys.executable` instead; so does `run` where
coverage is to be measured, where another encoding is asked for, and elsewhere than on Linux. A run of pytest is forked
from a process that has imported pytest, its plugins and Tortoise, but nothing of ours: it is to find, import and
rewrite that by itself.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import IO, Any

#: What the tests' programs import; that opens no connection and starts no thread, which a fork would not survive.
_OF_PROGRAMS = (
    *(
        "aerich.cli",
        "aerich.ddl.postgres",
        "aerich.ddl.sqlite",
        "aerich.inspectdb.postgres",
        "anyio._backends._asyncio",
    ),
    *("aiosqlite", "asyncpg", "tortoise.backends.asyncpg", "tortoise.backends.sqlite", "tortoise.cli.cli"),
    *("tortoise.migrations.schema_editor.asyncpg", "tortoise.migrations.schema_editor.sqlite"),
    *(f"jido_tortoise.{family}.models" for family in ("adk", "agents", "recording")),
    *(f"jido_tortoise.cli.{name}" for name in ("adk", "agents", "doctor", "migrations", "program", "recording")),
    *("jido_tortoise.agents.tortoise", "jido_tortoise.demo.run", "jido_tortoise.migrations.operations"),
    "jido_tortoise.schema",
)
#: What the tests that pytest runs import of others. Not Hypothesis, which remembers the folder where it is imported.
_OF_PYTEST = (
    *("aiosqlite", "anyio._backends._asyncio", "asyncpg", "pydantic", "tortoise.context", "tortoise.models"),
    *("tortoise.backends.asyncpg", "tortoise.backends.sqlite", "tortoise.migrations.executor"),
)
#: Variables that have coverage measure a new process begin so.
_MEASURE = "COVERAGE_PROCESS_"
#: Variables that an interpreter reads when it starts begin so; PYTHONPATH alone can be obeyed later.
_READ_AT_START = (_MEASURE, "LANG", "LC_", "PYTHON")
#: Files of a request, two for a program.
_MOST = 64
#: Held from a request to its answer: a test may ask in a thread of its own.
_asking = threading.Lock()


def run(
    *arguments: object,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stderr: int = subprocess.PIPE,
    timeout: int = 60,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m MODULE ...` or `python -c CODE ...` to its end.

    Args:
        arguments: Of the interpreter, from -m or -c on.
        cwd: The folder to run in; else the current one.
        env: The whole environment; else the current one.
        stderr: `subprocess.STDOUT` to have it in stdout, where it was written.
        timeout: Seconds until it is killed.

    Returns:
        What it printed and its exit code, that of a signal negative.

    Raises:
        subprocess.TimeoutExpired: It was killed.
    """
    return together(arguments, cwd=cwd, env=env, stderr=stderr, timeout=timeout)[0]


def together(
    *lines: Sequence[object],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stderr: int = subprocess.PIPE,
    timeout: int = 60,
) -> list[subprocess.CompletedProcess[str]]:
    """Run several such programs at once, as `run` does one; give what each did when all have ended."""
    programs = [[str(argument) for argument in line] for line in lines]
    environment = dict(os.environ if env is None else env)
    is_forked = sys.platform == "linux" and _at_start(environment) == _at_start(_environment())
    place = {"cwd": str(cwd or Path.cwd()), "environment": environment, "timeout": timeout}
    with ExitStack() as files:
        printed = [[files.enter_context(tempfile.TemporaryFile()) for _ in range(2)] for _ in programs]
        written = [(out.fileno(), (out if stderr == subprocess.STDOUT else errors).fileno()) for out, errors in printed]
        codes = (_forked if is_forked else _started)(programs, place, written)
        if -signal.SIGALRM in codes:
            raise subprocess.TimeoutExpired(programs[codes.index(-signal.SIGALRM)], timeout)
        texts = [[_text_of(file) for file in two] for two in printed]
    ended = zip(programs, codes, texts, strict=True)
    return [subprocess.CompletedProcess(program, code, *text) for program, code, text in ended]


def _text_of(file: IO[bytes]) -> str:
    # The place where it is read next is its writers', too.
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()


def _forked(programs: list[list[str]], place: dict[str, Any], written: list[tuple[int, int]]) -> list[int]:
    server = _server("pytest" if programs[0][:2] == ["-m", "pytest"] else "programs")
    request = json.dumps({"programs": programs, "place": place}).encode()
    with _asking:
        socket.send_fds(server, [request], [*chain(*written)])
        return list(map(int, server.recv(1000).split()))


def _started(programs: list[list[str]], place: dict[str, Any], written: list[tuple[int, int]]) -> list[int]:
    where: dict[str, Any] = {"cwd": place["cwd"], "env": place["environment"], "stdin": subprocess.DEVNULL}
    started = [
        subprocess.Popen([sys.executable, *program], stdout=out, stderr=errors, **where)
        for program, (out, errors) in zip(programs, written, strict=True)
    ]
    try:
        return [process.wait(place["timeout"]) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in environment.items() if name.startswith(_READ_AT_START) and name != "PYTHONPATH"
    }


@functools.cache
def _environment() -> dict[str, str]:
    """Give the environment of the process that is forked, which measures no coverage and finds us by its folder."""
    others = (_MEASURE, "PYTEST_", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if not name.startswith(others)}


@functools.cache
def _server(of: str) -> socket.socket:
    """Start the process that is forked for these; it ends when this one closes the socket, by whatever end."""
    # Of whole messages: one is a request, or the exit codes that answer it.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    root = Path(__file__).parents[1]
    with theirs:
        line, nothing = [sys.executable, "-m", "tests.forking", of], subprocess.DEVNULL
        process = subprocess.Popen(line, cwd=root, env=_environment(), stdin=theirs.fileno(), stdout=nothing)

    def stop() -> None:
        ours.close()
        process.wait()

    atexit.register(stop)
    return ours


# -- in the process that is forked --------------------------------------------------------------------------------


def _import(names: Iterable[str]) -> None:
    for name in names:
        importlib.import_module(name)


def _import_by_pytest() -> None:
    """Import the plugins of pytest and what tests import, in a run of no tests: asserts in some of it are rewritten."""
    import pytest

    class Imports:
        def pytest_configure(self) -> None:
            _import(_OF_PYTEST)

    without = ("-pno:cacheprovider", "-pno:hypothesispytest", "-pno:jido_tortoise", "--noconftest")
    options = ("-c", os.devnull, "-o", "asyncio_default_fixture_loop_scope=function")
    with tempfile.TemporaryDirectory() as folder:
        code = pytest.main([*without, *options, "--rootdir", folder, folder], plugins=[Imports()])
    assert code == pytest.ExitCode.NO_TESTS_COLLECTED


def _serve(requests: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork for each program of each request, and return it in the fork; exit when there are no more."""
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, _MOST)
        if not request:
            raise SystemExit
        asked, forks = json.loads(request), []
        for number, arguments in enumerate(asked["programs"]):
            if (fork := os.fork()) == 0:
                written = descriptors[2 * number : 2 * number + 2]
                _close(set(descriptors).difference(written))
                return {"arguments": arguments, **asked["place"]}, written
            forks.append(fork)
        _close(descriptors)
        codes = [os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) for fork in forks]
        requests.send(" ".join(map(str, codes)).encode())


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _become(arguments: list[str], cwd: str, environment: dict[str, str], timeout: int, descriptors: list[int]) -> None:
    """Be what a new interpreter would be that was started so; its end is that of this process."""
    for descriptor, known in zip((os.open(os.devnull, os.O_RDONLY), *descriptors), (0, 1, 2), strict=True):
        os.dup2(descriptor, known)
        os.close(descriptor)
    signal.alarm(timeout)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    kind, program, *sys.argv[1:] = arguments
    paths = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:0] = dict.fromkeys([cwd if kind == "-m" else "", *map(os.path.abspath, paths)])
    if kind == "-m":
        runpy.run_module(program, run_name="__main__", alter_sys=True)
        return
    sys.argv[0] = kind
    main = sys.modules["__main__"] = ModuleType("__main__")
    exec(compile(program, "<string>", "exec"), vars(main))


if __name__ == "__main__":
    _import_by_pytest() if sys.argv[1] == "pytest" else _import(_OF_PROGRAMS)
    sys.stdout.flush()  # or each fork would print it, too
    gc.freeze()  # or each fork would walk through all that was imported, and copy its pages, when it ends
    del sys.path[0], sys.modules["tests"]  # where this program was found
    interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the fork is interrupted, and tells of it
    with socket.socket(fileno=os.dup(0)) as connection:
        request, files = _serve(connection)
    signal.signal(signal.SIGINT, interrupted)
    _become(**request, descriptors=files)
