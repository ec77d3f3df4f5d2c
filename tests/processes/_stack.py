"""Whole processes: the command line as an operator runs it, with its own embedded PostgreSQL."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import asyncpg

ROOT = Path(__file__).parents[2]
FAREGATE = [sys.executable, "-m", "gateway"]
REPLAY = [sys.executable, str(ROOT / "loadtest" / "replay_shenzhen.py")]
COLUMNS = (
    "card_no", "deal_date", "deal_type", "deal_money", "deal_value", "equ_no", "company_name",
    "station", "car_no", "conn_mark", "close_date",
)  # fmt: skip


def environment(**more: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("FAREGATE_")}
    return {**kept, **more}


def run_faregate(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FAREGATE, *arguments],
        cwd=ROOT,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Gateway:
    """`faregate serve` on a database, in as many workers as it is told."""

    def __init__(self, folder: Path, dsn: str, *, workers: int = 1, **variables: str) -> None:
        self.port = free_port()
        self.dsn = dsn
        self.log = folder / f"{self.port}.log"
        self.workers_count = workers
        self.variables = {
            "FAREGATE_DATABASE_URL": dsn,
            "FAREGATE_GATE_MASTER_KEY": "ab" * 32,
            "FAREGATE_PORT": str(self.port),
            "FAREGATE_TAP_AGE_DAYS_MAX": "36500",
            "FAREGATE_RETENTION_DAYS": "40000",
            "FAREGATE_REGISTRY_POLL_MS": "50",
            "FAREGATE_METRICS_PUBLIC": "true",
            **variables,
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until every worker has said that it serves."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*FAREGATE, "serve", "--workers", str(self.workers_count)],
                cwd=ROOT,
                env={name: text for name, text in environment(**self.variables).items() if text},
                stdout=log,
                stderr=log,
            )
        process = self.process
        self.wait_until(
            lambda: process.poll() is not None or self.said('"serving"') >= self.workers_count
        )
        assert process.poll() is None, self.log.read_text()

    def wait_until(self, is_so: Callable[[], bool], seconds_max: float = 30) -> None:
        until = time.monotonic() + seconds_max
        while not is_so():
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)

    def said(self, text: str) -> int:
        """How often the log has it."""
        return self.log.read_text().count(text)

    def worker_pids(self) -> list[int]:
        return [pid for pid in self.child_pids() if b"\0worker\0" in _command_of(pid)]

    def child_pids(self) -> list[int]:
        assert self.process
        pid = self.process.pid
        try:
            named = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        except OSError:
            return []
        return [int(one) for one in named.split()]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(40)

    def admin_token(self) -> str:
        name = f"admin-{self.port}"
        made = run_faregate("token", "create", name, "--role", "admin", **self.variables)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def audit(self) -> subprocess.CompletedProcess[str]:
        return run_faregate("audit", "--full", **self.variables)


def is_running(pid: int) -> bool:
    """A process that has ended but that nobody has asked after yet does not run."""
    return b"\0" in _command_of(pid)


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


class Stack:
    """A `faregate demo-stack` that can be killed and started again on the same data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def socket_folder(self) -> Path:
        return next(
            path.parent for path in self.folder.rglob(".s.PGSQL.*") if path.suffix != ".lock"
        )

    @property
    def token_file(self) -> Path:
        return self.folder / "admin.token"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*FAREGATE, "demo-stack", "--data", str(self.folder), "--port", str(self.port)],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if self.token_file.exists() and self.is_ready():
                return
            time.sleep(0.05)
        raise AssertionError("the stack did not become ready in 30 s")

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/readyz", timeout=1) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self, number: signal.Signals) -> int:
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(40)

    def replay(self, path: Path, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *REPLAY,
                str(path),
                "--base-url",
                self.address,
                "--admin-token-file",
                str(self.token_file),
                *options,
            ],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def audit(self) -> subprocess.CompletedProcess[str]:
        return run_faregate("audit", "--full", FAREGATE_DATA_DIR=str(self.folder))


async def kept_ids(dsn: str) -> list[str]:
    connection = await asyncpg.connect(dsn)
    found = await connection.fetch("SELECT tap_id FROM tap")
    await connection.close()
    return sorted(str(row["tap_id"]) for row in found)
