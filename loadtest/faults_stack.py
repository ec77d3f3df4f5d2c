"""What `loadtest.faults` breaks: a PostgreSQL and a gateway of two workers in one folder."""

import contextlib
import hashlib
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import asyncpg
import psutil

from loadtest.stack import faregate, free_port, own_environment

WORKERS_COUNT = 2
_COMMAND_SECONDS_MAX, _STOP_SECONDS_MAX = 300, 60
# A close connects under its own name, so that its backend can be told from the gateway's.
_CLOSER = "closer"


class FaultStack:
    def __init__(self, folder: Path) -> None:
        # PostgreSQL runs as another user when we are root, and must be able to enter.
        folder.chmod(0o755)
        self.folder = folder
        self.port = free_port()
        self.dsn = ""
        self.postmaster = 0
        self._postgres: subprocess.Popen[str] | None = None
        self._gateway: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> str:
        """Start PostgreSQL and make the tables; a token for the desk."""
        self.start_postgres()
        self._must("db", "upgrade")
        token = self._must("token", "create", "faults", "--role", "admin")
        self.start_gateway()
        return token.strip()

    async def add_closer(self) -> None:
        connection = await asyncpg.connect(self.dsn)
        await connection.execute(f"CREATE ROLE {_CLOSER} LOGIN SUPERUSER")
        await connection.close()

    def start_postgres(self) -> None:
        self._postgres = subprocess.Popen(
            [sys.executable, "-m", "loadtest.bench.inside.postgres", str(self.folder / "pg")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._postgres.stdout
        said = self._postgres.stdout.readline().split()
        if len(said) != 2:
            raise RuntimeError("PostgreSQL did not start")
        self.dsn, self.postmaster = said[0], int(said[1])

    def kill_postgres(self) -> None:
        """The postmaster, and with it the process that would stop it in order."""
        assert self._postgres
        psutil.Process(self.postmaster).kill()
        self._postgres.kill()
        self._postgres.wait()

    def start_gateway(self) -> None:
        with (self.folder / "gateway.log").open("ab") as log:
            self._gateway = subprocess.Popen(
                [faregate(), "serve", "--workers", str(WORKERS_COUNT)],
                env=self._environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_gateway_again_if_it_ended(self) -> None:
        if self._gateway and self._gateway.poll() is not None:
            self.start_gateway()

    def kill_supervisor(self) -> list[psutil.Process]:
        """Kill it alone; the workers that it leaves."""
        assert self._gateway
        left = self.workers()
        self._gateway.kill()
        self._gateway.wait()
        return left

    def workers(self) -> list[psutil.Process]:
        assert self._gateway
        return _children(self._gateway.pid, " worker ")

    def backends(self) -> list[psutil.Process]:
        """PostgreSQL's processes that serve the gateway."""
        return _children(self.postmaster, "postgres: postgres postgres [local]")

    def is_a_close_connected(self) -> bool:
        return bool(_children(self.postmaster, f"postgres: {_CLOSER} "))

    def close_command(
        self, day: date, folder: str = "settlement"
    ) -> tuple[list[str], dict[str, str]]:
        """Close a day into a folder of the data folder: the words and the environment."""
        environment = self._environment(
            FAREGATE_DATABASE_URL=self.dsn.replace("//postgres@", f"//{_CLOSER}@"),
            FAREGATE_SETTLEMENT_DIR=folder,
        )
        return [faregate(), "settle", "close", "--service-day", str(day)], environment

    def close(self, day: date, folder: str = "settlement") -> str | dict[str, str]:
        """Close a day: its files by name with their hashes, or why there are none."""
        words, environment = self.close_command(day, folder)
        ended = _run(words, environment)
        if ended.returncode:
            return f"exit {ended.returncode}: {(ended.stdout + ended.stderr)[-500:]}"
        written = self.folder / "data" / folder / str(day)
        return {
            str(path.relative_to(written)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(written.rglob("*"))
            # What a kill left half-written has a name of its own, and is never sent.
            if path.is_file() and not path.name.startswith(".partial-")
        }

    def stop(self) -> list[str]:
        """End everything; what did not end by itself."""
        late = []
        if self._gateway and self._gateway.poll() is None:
            self._gateway.send_signal(signal.SIGTERM)
            if not _has_ended(self._gateway):
                late.append("the gateway")
        if self._postgres and self._postgres.poll() is None:
            assert self._postgres.stdin
            self._postgres.stdin.close()
            if not _has_ended(self._postgres):
                late.append("PostgreSQL")
        return [f"{what} did not stop within {_STOP_SECONDS_MAX} s" for what in late]

    def _must(self, *words: str) -> str:
        ended = _run([faregate(), *words], self._environment())
        if ended.returncode:
            raise RuntimeError(f"faregate {' '.join(words)}: {ended.stdout}{ended.stderr}")
        return ended.stdout

    def _environment(self, **more: str) -> dict[str, str]:
        return own_environment(
            **{
                "FAREGATE_DATABASE_URL": self.dsn,
                "FAREGATE_DATA_DIR": str(self.folder / "data"),
                "FAREGATE_GATE_MASTER_KEY": "ef" * 32,
                "FAREGATE_PORT": str(self.port),
                "FAREGATE_TAP_AGE_DAYS_MAX": "60",
                "FAREGATE_RETENTION_DAYS": "400",
                "FAREGATE_LOG_LEVEL": "error",
                "FAREGATE_REGISTRY_POLL_MS": "100",
                **more,
            }
        )


def runs(process: psutil.Process) -> bool:
    """One that has ended but that nobody has asked after yet does not run."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _run(words: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS_MAX,
        check=False,
    )


def _children(pid: int, words: str) -> list[psutil.Process]:
    """Those whose command has the words; nothing is no fault, for processes end meanwhile."""
    found = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children():
            with contextlib.suppress(psutil.Error):
                if words in " ".join(child.cmdline()):
                    found.append(child)
    return found


def _has_ended(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True
