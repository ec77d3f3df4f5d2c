"""The demo's real processes: a gateway of two workers, commands, an SFTP server, a bank."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import asyncssh
import msgspec

from gateway.demo.city import Ride
from gateway.shell.signatures import KEY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign

_BATCH_TAPS = 200
_PATIENCE_SECONDS = 60


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Stack:
    """Starts what the story needs, and ends it again."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("FAREGATE_")},
            "FAREGATE_DATABASE_URL": dsn,
            "FAREGATE_DATA_DIR": str(folder / "data"),
            "FAREGATE_TARIFFS_DIR": str(folder / "tariffs"),
            "FAREGATE_GATE_MASTER_KEY": "cd" * 32,
            "FAREGATE_PORT": str(self.port),
            "FAREGATE_REGISTRY_POLL_MS": "100",
            "FAREGATE_DELIVERY_SECRETS_DIR": str(folder / "secrets"),
            "FAREGATE_LOG_LEVEL": "warning",
        }
        self._serving: subprocess.Popen[bytes] | None = None

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gateway", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    async def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The same, while the loop goes on."""
        return await asyncio.to_thread(self.command, *words)

    def serve(self) -> None:
        log = (self.folder / "gateway.log").open("ab")
        self._serving = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--workers", "2"],
            env=self.environment,
            stdout=log,
            stderr=log,
        )
        until = time.monotonic() + 60
        while not self._is_ready():
            if time.monotonic() > until or self._serving.poll() is not None:
                raise RuntimeError((self.folder / "gateway.log").read_text())
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/readyz", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill_a_worker(self) -> int:
        """End one worker as a power cut would; the supervisor starts another."""
        assert self._serving
        pid = self._serving.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        workers = [
            int(child)
            for child in children
            if b"\0worker\0" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]
        os.kill(workers[0], signal.SIGKILL)
        return workers[0]

    def stop(self) -> None:
        if self._serving and self._serving.poll() is None:
            self._serving.send_signal(signal.SIGTERM)
            self._serving.wait(60)


class Office:
    """The back office and the gates, over HTTP."""

    def __init__(self, session: aiohttp.ClientSession, address: str, token: str) -> None:
        self._session = session
        self._address = address
        self.token = token
        self.keys: dict[str, tuple[str, bytes]] = {}

    async def ask(self, method: str, path: str, message: Any = None, *, raw: bytes = b"") -> Any:
        body = raw or (b"" if message is None else msgspec.json.encode(message))
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        async with self._session.request(
            method, self._address + path, data=body, headers=headers
        ) as answer:
            content = await answer.read()
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {answer.status} {content.decode()}")
            is_json = answer.content_type == "application/json"
            return msgspec.json.decode(content) if is_json else content

    async def send(self, rides: Sequence[Ride], *, at_once: int = 8) -> list[dict[str, Any]]:
        """Send taps as their concentrators do, again until they are answered."""
        batches: list[tuple[str, list[dict[str, Any]]]] = []
        by_hub: dict[str, list[dict[str, Any]]] = {}
        for ride in rides:
            by_hub.setdefault(ride.hub, []).append(ride.tap)
        for hub, taps in by_hub.items():
            for start in range(0, len(taps), _BATCH_TAPS):
                batches.append((hub, taps[start : start + _BATCH_TAPS]))
        limit = asyncio.Semaphore(at_once)

        async def one(hub: str, taps: list[dict[str, Any]]) -> list[dict[str, Any]]:
            async with limit:
                return await self._send_batch(hub, taps)

        answers = await asyncio.gather(*(one(hub, taps) for hub, taps in batches))
        return [answer for some in answers for answer in some]

    async def _send_batch(self, hub: str, taps: list[dict[str, Any]]) -> list[dict[str, Any]]:
        body = msgspec.json.encode(taps)
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            key_id, secret = self.keys[hub]
            timestamp = str(int(time.time()))
            headers = {
                KEY_HEADER: key_id,
                TIMESTAMP_HEADER: timestamp,
                SIGNATURE_HEADER: sign(secret, "POST", "/v1/taps", timestamp, body),
                "Content-Type": "application/json",
            }
            try:
                async with self._session.post(
                    f"{self._address}/v1/taps", data=body, headers=headers
                ) as answer:
                    content = await answer.read()
                    if answer.status == 200:
                        found: list[dict[str, Any]] = msgspec.json.decode(content)
                        return found
                    if answer.status not in (429, 503):
                        raise RuntimeError(f"{answer.status} {content.decode()}")
            except (aiohttp.ClientError, TimeoutError):
                pass
            if time.monotonic() > until:
                raise RuntimeError(f"the taps of {hub} were not answered")
            await asyncio.sleep(0.2)


class SftpServer:
    """Where operators' files arrive: one server, a folder for each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.client_key = asyncssh.generate_private_key("ssh-ed25519")
        self.port = 0
        self._acceptor: asyncssh.SSHAcceptor | None = None

    async def start(self) -> None:
        root = str(self.root).encode()

        class Files(asyncssh.SFTPServer):
            def __init__(self, channel: asyncssh.SSHServerChannel[bytes]) -> None:
                super().__init__(channel, chroot=root)

        self._acceptor = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[self.host_key],
            authorized_client_keys=asyncssh.import_authorized_keys(
                self.client_key.export_public_key().decode()
            ),
            sftp_factory=Files,
        )
        self.port = self._acceptor.get_port()

    async def stop(self) -> None:
        if self._acceptor:
            self._acceptor.close()
            await self._acceptor.wait_closed()
