"""The real server, as root and as a plain user: it keeps rows, and it never outlives its parent."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from gateway.shell import embedded_postgres
from gateway.shell.embedded_postgres import (
    EmbeddedPostgres,
    PostgresCannotRun,
    cluster_folder,
    find_bin,
)

# A child Python that starts a server, says so, and waits to be killed.
HOLD_A_SERVER = """
import sys, time
from gateway.shell.embedded_postgres import EmbeddedPostgres
server = EmbeddedPostgres(sys.argv[1]).start()
print(server.pid, flush=True)
time.sleep(300)
"""

START_ALONE = """
import runpy, sys
module = runpy.run_path(sys.argv[1])
with module["EmbeddedPostgres"](sys.argv[2]):
    print("started")
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in /tmp itself: pytest's own are closed to the user who runs root's PostgreSQL."""
    path = Path(tempfile.mkdtemp(prefix="faregate-test-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


async def rows(server: EmbeddedPostgres) -> list[int]:
    connection = await asyncpg.connect(server.dsn)
    try:
        return [row["n"] for row in await connection.fetch("SELECT n FROM kept ORDER BY n")]
    finally:
        await connection.close()


async def keep_row(server: EmbeddedPostgres, n: int) -> None:
    connection = await asyncpg.connect(server.dsn)
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        await connection.execute("INSERT INTO kept VALUES ($1)", n)
    finally:
        await connection.close()


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)


async def test_a_restart_keeps_every_row(folder: Path):
    with EmbeddedPostgres(folder) as server:
        await keep_row(server, 1)
        first = server.pid
    assert first
    wait_until_gone(first)
    assert server.pid is None
    with EmbeddedPostgres(folder) as server:
        await keep_row(server, 2)
        assert await rows(server) == [1, 2]


async def test_it_is_durable_unless_a_test_says_otherwise(folder: Path):
    with EmbeddedPostgres(folder, settings={"fsync": "off"}) as server:
        connection = await asyncpg.connect(server.dsn)
        assert await connection.fetchval("SHOW fsync") == "off"
        assert await connection.fetchval("SHOW synchronous_commit") == "on"
        assert await connection.fetchval("SHOW full_page_writes") == "on"
        await connection.close()


async def test_a_port_opens_tcp_to_those_who_know_the_password(folder: Path, unused_tcp_port: int):
    with EmbeddedPostgres(folder, port=unused_tcp_port) as server:
        connection = await asyncpg.connect(server.dsn)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(f"postgresql://postgres:no@127.0.0.1:{unused_tcp_port}/postgres")


async def test_a_long_path_moves_only_the_socket(folder: Path):
    with EmbeddedPostgres(folder / ("long" * 25)) as server:
        await keep_row(server, 1)
        sockets = Path(server.dsn.partition("host=")[2])
        assert not sockets.is_relative_to(folder)
    assert not sockets.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
async def test_kill_9_of_python_leaves_no_server_and_the_next_start_waits_for_the_old(folder: Path):
    command = [sys.executable, "-c", HOLD_A_SERVER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        server_pid = int(holder.stdout.readline())
        holder.kill()
    with EmbeddedPostgres(folder) as server:
        assert server.pid != server_pid
        await keep_row(server, 1)
    wait_until_gone(server_pid)


async def test_kill_9_of_the_server_loses_nothing(folder: Path):
    server = EmbeddedPostgres(folder).start()
    await keep_row(server, 1)
    assert server.pid
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    with EmbeddedPostgres(folder) as server:
        assert await rows(server) == [1]


def test_a_second_owner_of_the_folder_is_refused(folder: Path):
    with EmbeddedPostgres(folder), pytest.raises(PostgresCannotRun, match="Another process"):
        EmbeddedPostgres(folder).start()


def test_the_servers_last_words_are_passed_on(folder: Path):
    with pytest.raises(PostgresCannotRun, match="no_such_setting"):
        EmbeddedPostgres(folder, settings={"no_such_setting": "1"}).start()
    # The refused start gave the folder back.
    with EmbeddedPostgres(folder):
        pass


def test_an_initdb_cut_short_is_done_again(folder: Path):
    (folder / "pg.unfinished").mkdir()
    (folder / "pg.unfinished" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(folder) as server:
        assert server.pid


@as_root
def test_root_does_not_open_its_own_folders(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """The binaries lie in a closed folder: they are copied, and the folder stays closed."""
    closed = folder / "closed"
    package = find_bin().parents[1]
    shutil.copytree(package / "pginstall", closed / package.name / "pginstall", symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, closed / libraries.name)
    closed.chmod(0o700)
    bin_folder = closed / package.name / "pginstall" / "bin"
    with EmbeddedPostgres(folder / "data", bin_folder=bin_folder) as server:
        assert server.pid
    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
def test_root_is_told_when_the_servers_user_cannot_reach_the_folder(folder: Path):
    (folder / "home").mkdir(mode=0o700)
    with pytest.raises(PostgresCannotRun, match="outside of root's home"):
        EmbeddedPostgres(folder / "home" / "data").start()


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_a_plain_user_needs_nothing_special(folder: Path):
    """Runs the module alone, perhaps by the system's Python: ours may be root's alone."""
    source = folder / "embedded_postgres.py"
    shutil.copy(embedded_postgres.__file__, source)
    data = folder / "data"
    data.mkdir()
    os.chown(data, 65534, 65534)
    pythons = (
        p for p in (sys.executable, "/usr/bin/python3") if _plain_user(p, "-c", "print(1)").stdout
    )
    python = next(pythons, None)
    if python is None:
        pytest.skip("no Python that a plain user can run")
    said = _plain_user(python, "-c", START_ALONE, source, data, FAREGATE_PG_BIN=_open_bin(folder))
    assert said.stdout.strip() == "started", said.stderr


def _plain_user(*command: str | Path, **environment: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command],
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": os.environ["PATH"], **environment},
    )


def _open_bin(folder: Path) -> Path:
    package = find_bin().parents[1]
    for part in (f"{package.name}/pginstall", f"{package.name}.libs"):
        if (package.parent / part).exists():
            shutil.copytree(package.parent / part, folder / part, symlinks=True)
    return folder / package.name / "pginstall" / "bin"


def test_a_data_folder_of_mktemp_can_hold_the_server():
    data = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        with EmbeddedPostgres(cluster_folder(data)) as postgres:
            assert postgres.folder.parent == data
            assert postgres.pid is not None
    finally:
        shutil.rmtree(data)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")
def test_below_a_folder_that_is_shut_the_server_lives_elsewhere_and_is_found_again():
    shut = Path(tempfile.mkdtemp(dir="/tmp"))
    data = shut / "data"
    data.mkdir(mode=0o700)
    elsewhere = cluster_folder(data)
    try:
        assert elsewhere == cluster_folder(data)
        with EmbeddedPostgres(elsewhere) as postgres:
            assert postgres.pid is not None
        assert shut.stat().st_mode & 0o777 == 0o700
    finally:
        shutil.rmtree(shut)
        shutil.rmtree(elsewhere)
