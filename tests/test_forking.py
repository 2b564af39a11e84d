"""A fork is what a new interpreter would be, so that a test may take either."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import forking
from tests.toolkit.conftest import PLUGIN

_TELL = (
    "import os, sys; print(sys.argv, sys.path, os.getcwd(), sys.stdin.read(), sys.stdout.encoding, sys.flags, __name__,"
    " sys.modules['__main__'].__dict__.get('__file__'), sorted(os.environ.items()), sys.stdout.isatty())\n"
)
_PROGRAMS: dict[str, tuple[str, ...]] = {
    "code": ("-c", _TELL, "a", "-b"),
    "module": ("-m", "told", "a", "-b"),
    "an end of its own": ("-c", "import atexit; atexit.register(print, 'bye'); print('hello'); raise SystemExit(7)"),
    "a text at the end": ("-c", "raise SystemExit('no')"),
    "an error": ("-c", "print('hello'); raise LookupError('none')"),
    "interrupted": ("-c", "import os; os.kill(os.getpid(), 2)"),
    "killed": ("-c", "import os; os.kill(os.getpid(), 9)"),
    **{tool: ("-m", tool, "--help") for tool in ("aerich", "tortoise", "jido_tortoise")},
}


@pytest.mark.parametrize("arguments", _PROGRAMS.values(), ids=_PROGRAMS)
def test_a_fork_does_what_a_new_interpreter_does(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Arguments, import path, folder, environment, output and end; a traceback has other lines above its last."""
    (tmp_path / "told.py").write_text(_TELL)
    path = [str(tmp_path / "more"), "relative", *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "ONLY": "here"}
    forked = forking.run(*arguments, cwd=tmp_path, env=environment)
    line, nothing = [sys.executable, *arguments], subprocess.DEVNULL
    new = subprocess.run(line, cwd=tmp_path, env=environment, stdin=nothing, capture_output=True, text=True)
    assert (forked.returncode, forked.stdout) == (new.returncode, new.stdout)
    assert forked.stderr.splitlines()[-1:] == new.stderr.splitlines()[-1:]


#: Fails, as it should, so that both sides are shown, by what pytest made of the assert.
_TESTS = """
import sys
from jido_tortoise_testing.contract import run_check

def test_it():
    assert sorted(name for name in sys.modules if name.split(".")[0] in ("aerich", "hypothesis", "tests")) == ["none"]
"""


def test_a_forked_run_of_pytest_does_what_a_new_one_does(tmp_path: Path) -> None:
    """It has our plugin and warnings for errors; that what was imported before cannot be rewritten would be one."""
    (tmp_path / "test_it.py").write_text(_TESTS)
    arguments = ("-m", "pytest", *PLUGIN, "-p", "no:cacheprovider", "-W", "error", "--jido-seed=1", "--rootdir=.")
    arguments += ("-o", "asyncio_default_fixture_loop_scope=function")
    forked = forking.run(*arguments, cwd=tmp_path)
    new = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert "1 failed in " in new.stdout
    assert (forked.returncode, _timeless(forked.stdout), forked.stderr) == (1, _timeless(new.stdout), new.stderr)


def _timeless(printed: str) -> str:
    return re.sub(r" in [0-9.]+s ", " ", printed)


_MEET = """
import os, sys, time
me, other = sys.argv[1:]
open(me, "w").close()
while not os.path.exists(other):
    time.sleep(0.01)
print(me)
raise SystemExit(int(me))
"""


@pytest.mark.parametrize("more", [{}, {"PYTHONIOENCODING": ""}], ids=["forked", "new"])
def test_several_run_at_once(more: dict[str, str], tmp_path: Path) -> None:
    """Each of the two waits for the other, and says and ends what it would by itself."""
    done = forking.together(("-c", _MEET, 3, 4), ("-c", _MEET, 4, 3), cwd=tmp_path, env={**os.environ, **more})
    assert [(one.stdout, one.stderr, one.returncode) for one in done] == [("3\n", "", 3), ("4\n", "", 4)]


def test_what_was_written_keeps_its_order() -> None:
    """Errors between what else is printed, where a test wants both in one."""
    code = "import sys; print(1, flush=True); print(2, file=sys.stderr, flush=True); print(3)"
    assert forking.run("-c", code, stderr=subprocess.STDOUT).stdout == "1\n2\n3\n"


@pytest.mark.parametrize("more", [{}, {"PYTHONIOENCODING": ""}], ids=["forked", "new"])
def test_a_program_that_hangs_is_killed(more: dict[str, str]) -> None:
    """A fork by the kernel's clock, which needs nobody who waits."""
    with pytest.raises(subprocess.TimeoutExpired):
        forking.run("-c", "import signal; signal.pause()", env={**os.environ, **more}, timeout=1)


_PARENT = ("-c", "import os; print(os.getppid())")


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
def test_nothing_runs_beside_what_is_forked(tmp_path: Path) -> None:
    """A fork has but one of the threads, whatever the others held; runs of pytest are forks of another process."""
    (tmp_path / "test_it.py").write_text("def test_it():\n    import os; print('of', os.getppid())\n")
    printed = forking.run("-m", "pytest", "-s", "-p", "no:cacheprovider", "--rootdir=.", cwd=tmp_path).stdout
    parents = {int(forking.run(*_PARENT).stdout), int(printed.partition("of ")[2].split()[0])}
    assert len(parents - {os.getpid()}) == 2
    assert [len(os.listdir(f"/proc/{parent}/task")) for parent in parents] == [1, 1]


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
def test_what_an_interpreter_reads_at_its_start_takes_a_new_one() -> None:
    """Coverage, encodings and the like cannot be set afterwards."""
    parent = int(forking.run(*_PARENT).stdout)
    assert parent == int(forking.run(*_PARENT).stdout) != os.getpid()
    for name in ("PYTHONIOENCODING", "COVERAGE_PROCESS_CONFIG", "LC_ALL"):
        assert int(forking.run(*_PARENT, env={**os.environ, name: ""}).stdout) == os.getpid()


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
def test_nothing_is_left_behind_by_who_is_killed() -> None:
    """What is forked ends with the process that started it, whatever its end."""
    code = (
        f"import os; from tests import forking; print(forking.run(*{_PARENT}).stdout, flush=True);"
        "os.kill(os.getpid(), 9)"
    )
    root = Path(__file__).parents[1]
    left = int(subprocess.run([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True).stdout)
    deadline = time.monotonic() + 10
    while (status := Path(f"/proc/{left}/stat")).exists() and status.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)
