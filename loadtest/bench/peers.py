"""The peers: pgbench, a C program with no HTTP, no signature, no fare rules and no journeys.

Racing it is unfair to the gateway on purpose.
"""

from __future__ import annotations

import asyncio
import re
import resource
from pathlib import Path
from typing import NamedTuple

from loadtest.bench.rounds import Contender, Run
from loadtest.bench.stage import Stage

# What the table calls them, and their scripts.
PEERS = {"A": "five_statements", "B": "one_function"}
SCRIPTS = Path(__file__).parent / "peers"
CLIENTS = (16, 32, 64)
_BALANCE = 100_000_000


class Peer(NamedTuple):
    """One script of pgbench, with the number of clients at which it is fastest here."""

    script: Path
    clients_count: int

    def turn(self, stage: Stage, seconds: float) -> Contender:
        async def turn() -> Run:
            return await _run_pgbench(stage, self.script, self.clients_count, seconds)

        return turn


async def load_peers(stage: Stage, wallets_count: int) -> None:
    async with stage.connected() as connection:
        await connection.execute((SCRIPTS / "schema.sql").read_text())
        await connection.execute(
            "INSERT INTO peer.wallet SELECT n, $1::bigint FROM generate_series(1, $2) AS n",
            _BALANCE,
            wallets_count,
        )
        await connection.execute("VACUUM ANALYZE peer.wallet")


async def calibrated(stage: Stage, name: str, seconds: float) -> Peer:
    """A peer at its best: each number of clients is tried, which warms it, too."""
    script = SCRIPTS / f"{name}.pgbench"
    rates = {
        clients: (await _run_pgbench(stage, script, clients, seconds)).taps_per_second
        for clients in CLIENTS
    }
    return Peer(script, max(rates, key=rates.__getitem__))


async def _run_pgbench(stage: Stage, script: Path, clients: int, seconds: float) -> Run:
    before, client_before = await stage.meter(), _children_cpu_seconds()
    process = await asyncio.create_subprocess_exec(
        stage.bin_folder / "pgbench",
        *("-n", "-M", "prepared", "-f", str(script), "-c", str(clients), "-j", "2"),
        *("-T", str(max(1, round(seconds))), "-D", f"wallets={stage.wallets_count}", stage.dsn),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, faults = await process.communicate()
    said = out.decode()
    taps_per_second = re.search(r"tps = ([0-9.]+) \(without", said)
    taps_count = re.search(r"actually processed: (\d+)", said)
    if process.returncode or not taps_per_second or not taps_count:
        raise RuntimeError(f"pgbench failed: {faults.decode()[-1000:]}")
    used = (await stage.meter()).since(before)
    return Run(
        int(taps_count.group(1)),
        float(taps_per_second.group(1)),
        postgres_cpu_seconds=used.cpu_seconds,
        generator_cpu_seconds=_children_cpu_seconds() - client_before,
        wal_bytes=used.wal_bytes,
    )


def _children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
