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
from pathlib import Path

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
        timeout=100,
        check=False,
    )


class Stack:
    """A `faregate demo-stack` that can be killed and started again on the same data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
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
        return run_faregate("audit", FAREGATE_DATA_DIR=str(self.folder))
