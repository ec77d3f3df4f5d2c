"""Latency in an open loop, and what an overload does: `open_loop` says how it is counted."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from loadtest.bench.engine_race import WARM_SECONDS, assert_all_taken
from loadtest.bench.gateway_process import GatewayProcess, serving
from loadtest.bench.processes import Runner, family_memory_bytes
from loadtest.bench.stage import Stage
from loadtest.bench.table import Measured

# Each gate has a connection of its own, so there are more than can be under way.
CONNECTIONS = 512
OVERLOAD_CONNECTIONS = 4_000
_LONE_TAPS_PER_SECOND = 20.0
_CALM_SHARE, _BUSY_SHARE, _OVERLOAD_SHARE = 0.5, 0.7, 2.0
_RECOVERY_SECONDS = 5.0
_OVERLOAD_PHASES = ("before", "overload", "recovering", "after")
_REFUSED = ("429", "503")


class Door(NamedTuple):
    """How taps come in: the runner of its gates, what it is told, and the rows' first letter.

    `crowds` are multiples of its usual connections, of which the fastest has the peak.
    """

    client: str
    form: str
    letter: str
    crowds: tuple[int, ...] = (1,)


HTTP = Door("loadtest.bench.http_client", "single", "L", (1, 4, 8))
STREAM = Door("loadtest.bench.stream_client", "stream", "S")


async def race_latency(
    stage: Stage, door: Door, rounds_count: int, seconds: float
) -> AsyncIterator[Measured | str]:
    """Each round: the peak, a lone tap, then half and seven tenths of that peak."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    name = door.letter
    async with serving(stage) as gateway, gates_of(stage, gateway, door) as gates:
        for _ in range(rounds_count):
            peak = await peak_of(gates, seconds, door.crowds)
            yield f"    {name}: the peak is {peak:,.0f} taps/s"
            if door is HTTP:
                (lone,) = await run_open(gates, [(_LONE_TAPS_PER_SECOND, seconds)])
                yield _line("lone taps", lone)
                # With nothing else under way, the generator's timer is all that sending waits for.
                found["L1"].append(lone["p50_since_sent_ms"])
            (calm,) = await run_open(gates, [(peak * _CALM_SHARE, 2 * seconds)])
            yield _line("50 %", calm)
            checkpoint = asyncio.create_task(_checkpoint_after(stage, seconds))
            (busy,) = await run_open(gates, [(peak * _BUSY_SHARE, 4 * seconds)])
            yield _line(f"70 %, a checkpoint of {await checkpoint:.1f} s inside", busy)
            found[f"{name}50 p50"].append(calm["p50_ms"])
            found[f"{name}50 p99"].append(calm["p99_ms"])
            found[f"{name}70 p99"].append(busy["p99_ms"])
            found[f"{name}70 p99.9"].append(busy["p999_ms"])
    for row_id, values in found.items():
        yield Measured(row_id, 0, values)


async def race_overload(
    stage: Stage, rounds_count: int, seconds: float
) -> AsyncIterator[Measured | str]:
    """Twice the peak is offered: what is answered, how the rest is refused, and how it ends.

    The peak is measured before and after each round, for the machine may be another by then.
    """
    found: defaultdict[str, list[float]] = defaultdict(list)
    async with serving(stage) as gateway, gates_of(stage, gateway, HTTP) as gates:
        peak = await peak_of(gates, seconds, HTTP.crowds)
        for _ in range(rounds_count):
            yield f"    O: the peak is {peak:,.0f} taps/s"
            calm = peak * _CALM_SHARE
            before, watching = family_memory_bytes(gateway.pid), asyncio.Event()
            memory = asyncio.create_task(_most_memory(gateway.pid, watching))
            phases = [
                (calm, seconds),
                (peak * _OVERLOAD_SHARE, 2 * seconds),
                (calm, _RECOVERY_SECONDS),
                (calm, seconds),
            ]
            reports = await run_open(gates, phases, OVERLOAD_CONNECTIONS)
            watching.set()
            grown_mb = (await memory - before) / 2**20
            for name, report in zip(_OVERLOAD_PHASES, reports, strict=True):
                yield _line(name, report)
            _, overload, _, after = reports
            yield (
                f"    refused: {sum(overload['statuses'].get(each, 0) for each in _REFUSED):,}, "
                f"without Retry-After {overload['refused_without_retry_after']}"
            )
            peak_before, peak = peak, await peak_of(gates, seconds, HTTP.crowds)
            found["O goodput"].append(2 * overload["taken_per_second"] / (peak_before + peak))
            found["O refusal"].append(overload["refused_p99_ms"])
            found["O memory"].append(grown_mb)
            found["O after"].append(after["p99_ms"])
    for row_id, values in found.items():
        yield Measured(row_id, 0, values)


def gates_of(stage: Stage, gateway: GatewayProcess, door: Door) -> Runner:
    facts = stage.city_facts(port=gateway.port, form=door.form, keys=str(stage.keys_path))
    return Runner(door.client, **facts)


async def peak_of(gates: Runner, seconds: float, crowds: Sequence[int] = (1,)) -> float:
    """The best rate of several numbers of connections: too few wait for their own answers."""
    await gates.order(loop="closed", seconds=WARM_SECONDS)
    found = [await gates.order(loop="closed", seconds=seconds, crowd=crowd) for crowd in crowds]
    for one in found:
        assert_all_taken(one["outcomes"])
    return max(float(one["taps_per_second"]) for one in found)


async def run_open(
    gates: Runner, phases: list[tuple[float, float]], connections: int = CONNECTIONS
) -> list[dict[str, Any]]:
    said = await gates.order(loop="open", phases=phases, connections=connections)
    reports: list[dict[str, Any]] = said["phases"]
    return reports


async def _checkpoint_after(stage: Stage, seconds: float) -> float:
    """Where a checkpoint falls is chance; here it falls inside."""
    await asyncio.sleep(seconds)
    started_at = asyncio.get_running_loop().time()
    async with stage.connected() as connection:
        await connection.execute("CHECKPOINT")
    return asyncio.get_running_loop().time() - started_at


async def _most_memory(pid: int, until: asyncio.Event) -> int:
    most = 0
    while not until.is_set():
        most = max(most, family_memory_bytes(pid))
        await asyncio.sleep(0.2)
    return most


def _line(name: str, report: dict[str, Any]) -> str:
    return (
        f"    {name}: {report['per_second']:,.0f} offered, {report['taken_per_second']:,.0f} "
        f"answered a second; p50 {report['p50_ms']:.1f}, p99 {report['p99_ms']:.1f}, "
        f"p99.9 {report['p999_ms']:.1f} ms; the generator was late by "
        f"{report['send_lag_p99_ms']:.1f} ms at p99"
    )
