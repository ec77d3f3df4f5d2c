"""A gateway of one's own: `faregate demo-stack` in a folder that goes away with it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psutil

_READY_SECONDS_MAX = 60
_STOP_SECONDS_MAX = 60


class Stack:
    def __init__(self, folder: Path | None = None) -> None:
        # PostgreSQL runs as another user when we are root, and must be able to enter.
        self.folder = folder or Path(tempfile.mkdtemp(prefix="faregate-loadtest-", dir="/tmp"))
        self.folder.chmod(0o755)
        self._is_temporary = folder is None
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def token_file(self) -> Path:
        return self.folder / "admin.token"

    @property
    def log(self) -> Path:
        return self.folder / "gateway.log"

    @property
    def dsn(self) -> str:
        sockets = [path for path in self.folder.rglob(".s.PGSQL.*") if path.suffix != ".lock"]
        return f"postgresql://postgres@/postgres?host={quote(str(sockets[0].parent))}"

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [faregate(), "demo-stack", "--data", str(self.folder), "--port", str(self.port)],
                stdout=log,
                stderr=log,
                env=own_environment(),
                # Ctrl-C is for the load test, which then stops the gateway in order.
                start_new_session=True,
            )
        until = time.monotonic() + _READY_SECONDS_MAX
        while not (self.token_file.exists() and self._is_ready()):
            if self._process.poll() is not None or time.monotonic() > until:
                said = self.log.read_text(errors="replace")[-2000:]
                self.__exit__()
                raise RuntimeError(f"the gateway did not start; it said:\n{said}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._is_temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def exit_code(self) -> int | None:
        """Of a gateway that is no more; negative for the signal that ended it."""
        return self._process.poll() if self._process else None

    def cpu_seconds(self) -> tuple[float, float]:
        """What the gateway, and the PostgreSQL that it started, have used of the processors."""
        assert self._process
        gateway = psutil.Process(self._process.pid)
        seconds = {True: 0.0, False: _used(gateway)}
        for process in gateway.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                seconds[process.name() == "postgres"] += _used(process)
        return seconds[False], seconds[True]

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/readyz", timeout=1) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def faregate() -> str:
    """The command that was installed beside this Python."""
    return str(Path(sys.executable).parent / "faregate")


def own_environment(**more: str) -> dict[str, str]:
    """This environment without settings of somebody else's gateway."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("FAREGATE_")}
    return {**kept, **more}


def _used(process: psutil.Process) -> float:
    """Of a process and of those of its children that have ended."""
    times = process.cpu_times()
    return times.user + times.system + times.children_user + times.children_system
