"""How long `faregate audit` takes: of so many taps, of nothing new, and of a second's taps more.

python -m loadtest.audit_speed --taps 1500000

It plays a city on a PostgreSQL of its own, audits it, adds its figures to RESULTS.md and ends. Exit
codes: 0 in time and passed, 1 too slow or a break, 2 usage.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from datetime import UTC, datetime
from typing import NamedTuple

from loadtest.bench.engine_race import RUNNER, assert_all_taken
from loadtest.bench.faregate_command import faregate
from loadtest.bench.inside.server import stage
from loadtest.bench.processes import Runner
from loadtest.bench.results import append_results, machine
from loadtest.bench.stage import Stage

# Of 1.5 million taps on two cores, as for as many more on as many more.
_SECONDS_MAX = 60 / 1_500_000
# Starting processes takes as long for a few.
_LEAST_SECONDS = 15.0
_TURN_SECONDS = 10.0
# Playing stops here, whatever was asked for: the days of the race would not hold more.
_TAPS_MAX = 5_000_000


class Wish(argparse.Namespace):
    """What the command line asks for."""

    taps: int
    wallets: int
    processes: int
    no_results: bool


class Audited(NamedTuple):
    """One run of the command."""

    what: str
    seconds: float
    postgres_cpu_seconds: float
    said: list[str]
    is_passed: bool

    def text(self) -> str:
        told = ("anew", "by its head", "took")
        lines = [f"    {line}" for line in self.said if line.startswith(told)]
        verdict = "passed" if self.is_passed else "FAILED"
        return "\n".join(
            [
                f"{self.what}: {self.seconds:.1f} s, {verdict}; "
                f"PostgreSQL's CPU {self.postgres_cpu_seconds:.1f} s",
                *lines,
            ]
        )


def _wish(arguments: list[str] | None) -> Wish:
    parser = argparse.ArgumentParser(prog="python -m loadtest.audit_speed", description=__doc__)
    parser.add_argument("--taps", type=int, default=1_500_000, help="to audit, at least")
    parser.add_argument("--wallets", type=int, default=300_000)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-results", action="store_true", help="leave RESULTS.md alone")
    return parser.parse_args(arguments, namespace=Wish())


async def _measure(wish: Wish) -> int:
    async with stage(wish.wallets) as made, Runner(RUNNER, **made.city_facts()) as engine:
        taps_count = 0
        while taps_count < min(wish.taps, _TAPS_MAX):
            taps_count += await _play(engine, _TURN_SECONDS)
        await _settle_down(made)
        load = os.getloadavg()[0]
        runs = [await _audit(made, wish, f"{taps_count:,} taps, in full", "--full")]
        runs.append(await _audit(made, wish, "nothing new"))
        more_count = await _play(engine, 1.0)
        runs.append(await _audit(made, wish, f"{more_count:,} taps more"))
        async with made.connected() as connection:
            version = await connection.fetchval("SHOW server_version")
    limit = max(_LEAST_SECONDS, _SECONDS_MAX * taps_count)
    is_in_time = runs[0].seconds <= limit
    lines = [
        f"{wish.processes} processes, {wish.wallets:,} wallets; load before: {load:.1f}",
        *(run.text() for run in runs),
        f"in full       at most {limit:.0f} s  {'ok' if is_in_time else 'MISSED'}",
    ]
    print("\n".join(lines))
    if not wish.no_results:
        command = " ".join(("python -m loadtest.audit_speed", *sys.argv[1:]))
        day = datetime.now(UTC).date()
        append_results(command, f"PostgreSQL {version}", lines, day=day)
    return 0 if is_in_time and all(run.is_passed for run in runs) else 1


async def _play(engine: Runner, seconds: float) -> int:
    answer = await engine.order(seconds=seconds)
    assert_all_taken(answer["outcomes"])
    return int(answer["taps_count"])


async def _settle_down(made: Stage) -> None:
    """What playing has left to be done is not the audit's."""
    async with made.connected() as connection:
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")


async def _audit(made: Stage, wish: Wish, what: str, *options: str) -> Audited:
    before, started_at = await made.meter(), time.perf_counter()
    said, is_passed = await faregate(made, "audit", "--processes", str(wish.processes), *options)
    seconds = time.perf_counter() - started_at
    used = (await made.meter()).since(before)
    if not is_passed:
        print(said)
    return Audited(what, seconds, used.cpu_seconds, said.splitlines(), is_passed)


if __name__ == "__main__":
    print(machine(), flush=True)
    sys.exit(asyncio.run(_measure(_wish(None))))
