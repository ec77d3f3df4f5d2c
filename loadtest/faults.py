"""Kill -9 at random moments under load, again and again; nothing may be lost, nothing doubled.

python -m loadtest.faults --cycles 50 [--seed N]

Each cycle kills one of: a gateway worker, the gateway's supervisor, a PostgreSQL backend, the
postmaster, a settlement close in the middle. Whatever does not start again by itself is started
again, and the next cycle waits until taps are answered. Clients send each tap until it is answered,
some twice, some hours late. At the end every answer is compared with the database, the days are
closed twice, and `faregate audit` computes everything again. The last line says how it went.

Only processes that it started are killed; it is bounded in time and stops by itself.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import aiohttp
import psutil

from loadtest.audit import audit
from loadtest.gate_signature import GateKey, signature_headers
from loadtest.records import TAP, TOP_UP, Recorder
from loadtest.stack import faregate, own_environment

KINDS = ("worker", "supervisor", "backend", "postmaster", "close")
CLIENTS_COUNT, RIDERS_COUNT, GATES_COUNT = 6, 300, 24
CYCLE_SECONDS_MAX = 60
_RETRY_SECONDS = 0.05


class Faults:
    """One stack, its load, and what breaks it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.draw = random.Random(seed)
        self.breaks: list[str] = []
        self.acknowledged = 0
        self.killed: Counter[str] = Counter()
        self.stopping = False
        self.recorder = Recorder(folder / "records", "clients")
        self.now = datetime.now(UTC)
        self.closed_days = 0
        self.days_back = 6
        self._postgres: subprocess.Popen[str] | None = None
        self._gateway: subprocess.Popen[bytes] | None = None
        self._postmaster = 0
        self.dsn = ""
        self.port = 0
        self.keys: dict[str, GateKey] = {}
        self.token = ""

    # Processes.

    def start_postgres(self) -> None:
        self._postgres = subprocess.Popen(
            [sys.executable, "-m", "loadtest.bench.inside.postgres", str(self.folder / "pg")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._postgres.stdout
        self.dsn, pid = self._postgres.stdout.readline().split()
        self._postmaster = int(pid)

    def stop_postgres(self) -> None:
        if self._postgres and self._postgres.poll() is None:
            assert self._postgres.stdin
            self._postgres.stdin.close()
            try:
                self._postgres.wait(30)
            except subprocess.TimeoutExpired:
                self._postgres.kill()
                self._postgres.wait()

    def environment(self) -> dict[str, str]:
        return own_environment(
            FAREGATE_DATABASE_URL=self.dsn,
            FAREGATE_DATA_DIR=str(self.folder / "data"),
            FAREGATE_GATE_MASTER_KEY="ef" * 32,
            FAREGATE_PORT=str(self.port),
            FAREGATE_TAP_AGE_DAYS_MAX="30",
            FAREGATE_RETENTION_DAYS="400",
            FAREGATE_LOG_LEVEL="error",
            FAREGATE_REGISTRY_POLL_MS="100",
        )

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [faregate(), *words],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def start_gateway(self) -> None:
        with (self.folder / "gateway.log").open("ab") as log:
            self._gateway = subprocess.Popen(
                [faregate(), "serve", "--workers", "2"],
                env=self.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop_gateway(self) -> None:
        if self._gateway and self._gateway.poll() is None:
            self._gateway.send_signal(signal.SIGTERM)
            try:
                self._gateway.wait(60)
            except subprocess.TimeoutExpired:
                self.breaks.append("the gateway did not stop within 60 s")
                self._gateway.kill()
                self._gateway.wait()

    # The city.

    async def open_city(self, session: aiohttp.ClientSession) -> None:
        gates = [f"gate-{number}" for number in range(GATES_COUNT)]
        await self.ask(session, "/v1/registry", {
            "operators": [
                {"operator_id": name, "name": name, "bank_account": f"CN{number:014d}"}
                for number, name in enumerate(("east", "west"), 1)
            ],
            "routes": [{"route_id": gate, "network": "bus"} for gate in gates],
            "gates": [
                {"gate_id": gate, "operator_id": ("east", "west")[n % 2], "network": "bus"}
                for n, gate in enumerate(gates)
            ],
        })  # fmt: skip
        issued = await self.ask(session, "/v1/gate-keys", {"gate_ids": gates})
        for key in issued["keys"]:
            self.keys[key["gate_id"]] = GateKey(key["key_id"], bytes.fromhex(key["secret"]))
        await self.ask(session, "/v1/wallets", [
            {
                "wallet_id": str(wallet_id(number)),
                "media": [{"media_token": f"rider-{number}"}],
                "top_up": {
                    "top_up_id": str(uuid5(wallet_id(number), "first")), "amount_fen": 1_000_000
                },
            }
            for number in range(RIDERS_COUNT)
        ])  # fmt: skip

    async def ask(self, session: aiohttp.ClientSession, path: str, message: Any) -> Any:
        """Ask until it is answered."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        while True:
            try:
                async with session.post(
                    self.address + path, data=json.dumps(message), headers=headers
                ) as answer:
                    if answer.status < 300:
                        return await answer.json()
                    if answer.status not in (429, 500, 503):
                        raise RuntimeError(f"{path}: {answer.status} {await answer.text()}")
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            await asyncio.sleep(_RETRY_SECONDS)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # The load.

    async def client(self, number: int, session: aiohttp.ClientSession) -> None:
        """Gates of one client tap in turn; each tap is sent until it is answered."""
        draw = random.Random(number)
        gates = [f"gate-{n}" for n in range(number, GATES_COUNT, CLIENTS_COUNT)]
        sequences: Counter[str] = Counter()
        while not self.stopping:
            gate = draw.choice(gates)
            taps = []
            for _ in range(draw.choice((1, 1, 1, 5, 20))):
                sequences[gate] += 1
                back = draw.choice((0, 0, 0, *range(self.days_back)))
                at = datetime.now(UTC) - timedelta(days=back, minutes=draw.randrange(600))
                taps.append({
                    "tap_id": str(uuid5(NAMESPACE_URL, f"{gate} {sequences[gate]}")),
                    "gate_id": gate,
                    "sequence": sequences[gate],
                    "tapped_at": at.isoformat(),
                    "media_token": f"rider-{draw.randrange(RIDERS_COUNT)}",
                    "action": "board",
                    "route_id": gate,
                    "full_fare": draw.choice((200, 300, 450)),
                    "offline": True,
                })  # fmt: skip
            first = await self.send(session, gate, taps)
            if draw.random() < 0.1:
                again = await self.send(session, gate, taps)
                if first != again and first is not None and again is not None:
                    self.breaks.append(f"{gate} {sequences[gate]}: answered otherwise again")
            if draw.random() < 0.05:
                await self.top_up(session, draw)

    async def send(
        self, session: aiohttp.ClientSession, gate: str, taps: list[dict[str, Any]]
    ) -> list[Any] | None:
        body = json.dumps(taps).encode()
        while not self.stopping:
            headers = signature_headers(
                self.keys[gate], "POST", "/v1/taps", body, unix_seconds=int(time.time())
            )
            headers["Content-Type"] = "application/json"
            try:
                async with session.post(
                    self.address + "/v1/taps", data=body, headers=headers
                ) as answer:
                    if answer.status == 200:
                        found: list[Any] = await answer.json()
                        for one in found:
                            self.recorder.write(TAP, one["tap_id"], one["outcome"])
                        self.acknowledged += len(found)
                        return found
                    if answer.status not in (429, 500, 503):
                        self.breaks.append(f"{gate}: {answer.status} {await answer.text()}")
                        return None
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            await asyncio.sleep(_RETRY_SECONDS)
        return None

    async def top_up(self, session: aiohttp.ClientSession, draw: random.Random) -> None:
        number = draw.randrange(RIDERS_COUNT)
        top_up_id = uuid5(NAMESPACE_URL, f"top-up {draw.random()}")
        path = f"/v1/wallets/{wallet_id(number)}/top-ups"
        message = {"top_up_id": str(top_up_id), "amount_fen": 1_000}
        with contextlib.suppress(RuntimeError):
            await self.ask(session, path, message)
            self.recorder.write(TOP_UP, top_up_id, 1_000, wallet_id(number))

    # The faults.

    async def cycle(self, kind: str) -> None:
        """Kill something at a random moment, mend it, and wait until taps are answered again."""
        await asyncio.sleep(self.draw.uniform(0.1, 0.6))
        self.killed[kind] += 1
        await getattr(self, f"_kill_{kind}")()
        before, until = self.acknowledged, time.monotonic() + CYCLE_SECONDS_MAX
        while self.acknowledged < before + 50:
            if self._gateway and self._gateway.poll() is not None:
                self.start_gateway()
            if time.monotonic() > until:
                self.breaks.append(f"after {kind}: no tap was answered for {CYCLE_SECONDS_MAX} s")
                return
            await asyncio.sleep(0.05)

    async def _kill_worker(self) -> None:
        assert self._gateway
        with contextlib.suppress(psutil.Error, IndexError):
            workers = psutil.Process(self._gateway.pid).children()
            self.draw.choice(workers).kill()

    async def _kill_supervisor(self) -> None:
        assert self._gateway
        self._gateway.kill()
        self._gateway.wait()
        # Its workers end by themselves; the port is free once they have.
        await asyncio.sleep(0.5)
        self.start_gateway()

    async def _kill_backend(self) -> None:
        with contextlib.suppress(psutil.Error, IndexError):
            backends = [
                child
                for child in psutil.Process(self._postmaster).children()
                if "postgres" in " ".join(child.cmdline()[:1]) and "[local]" in str(child.cmdline())
            ]
            self.draw.choice(backends).kill()

    async def _kill_postmaster(self) -> None:
        os.kill(self._postmaster, signal.SIGKILL)
        assert self._postgres
        self._postgres.kill()
        self._postgres.wait()
        await asyncio.sleep(0.2)
        await asyncio.to_thread(self.start_postgres)

    async def _kill_close(self) -> None:
        """Kill a close in the middle; the next one finishes what it began."""
        if self.closed_days >= self.days_back - 1:
            await self._kill_worker()
            return
        day = self.day(self.days_back - 1 - self.closed_days)
        closing = await asyncio.create_subprocess_exec(
            *(faregate(), "settle", "close", "--service-day", str(day)),
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        await asyncio.sleep(self.draw.uniform(0.2, 1.2))
        with contextlib.suppress(ProcessLookupError):
            closing.kill()
        await closing.wait()
        self.closed_days += 1

    def day(self, back: int) -> date:
        return (self.now + timedelta(hours=4) - timedelta(days=back)).date()

    # The end.

    async def check(self) -> None:
        """Close what was begun, twice; compare every answer; compute everything again."""
        for closed in range(self.closed_days):
            day = self.day(self.days_back - 1 - closed)
            words = ("settle", "close", "--service-day", str(day))
            first, second = [await asyncio.to_thread(self.command, *words) for _ in range(2)]
            if first.returncode or first.stdout != second.stdout:
                self.breaks.append(f"close of {day}: {first.stdout}{first.stderr}{second.stderr}")
        self.recorder.close()
        os.environ |= {k: v for k, v in self.environment().items() if k.startswith("FAREGATE_")}
        for one in await audit(self.dsn, self.folder / "records", None):
            if not one.is_passed:
                self.breaks.append(str(one))


def wallet_id(number: int) -> Any:
    return uuid5(NAMESPACE_URL, f"faults rider {number}")


async def run(folder: Path, cycles: int, seed: int) -> tuple[int, int]:
    """So many cycles; how many taps were acknowledged, and how many breaks were found."""
    faults = Faults(folder, seed)
    kinds = [KINDS[number % len(KINDS)] for number in range(cycles)]
    faults.draw.shuffle(kinds)
    faults.port = _free_port()
    try:
        faults.start_postgres()
        upgraded = faults.command("db", "upgrade")
        if upgraded.returncode:
            raise RuntimeError(upgraded.stdout + upgraded.stderr)
        faults.token = faults.command("token", "create", "faults", "--role", "admin").stdout.strip()
        faults.start_gateway()
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await faults.open_city(session)
            await asyncio.sleep(0.3)
            clients = [
                asyncio.create_task(faults.client(number, session))
                for number in range(CLIENTS_COUNT)
            ]
            for number, kind in enumerate(kinds, 1):
                await faults.cycle(kind)
                print(f"  {number:>4} {kind:<11} {faults.acknowledged:>9,} taps", flush=True)
            faults.stopping = True
            for result in await asyncio.gather(*clients, return_exceptions=True):
                if isinstance(result, BaseException):
                    faults.breaks.append(f"a client: {result!r}")
        faults.stop_gateway()
        await faults.check()
    finally:
        faults.stop_gateway()
        faults.stop_postgres()
    for one in faults.breaks:
        print(f"BREAK {one}")
    print("killed: " + ", ".join(f"{kind} {count}" for kind, count in faults.killed.items()))
    return faults.acknowledged, len(faults.breaks)


def _free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtest.faults", description=__doc__)
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="faregate-faults-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        taps, breaks = asyncio.run(run(folder, options.cycles, options.seed))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{options.cycles} cycles, {taps} taps, {breaks} breaks")
    return 1 if breaks else 0


if __name__ == "__main__":
    sys.exit(main())
