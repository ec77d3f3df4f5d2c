"""A long run at seven tenths of the peak: does anything grow that should stay as it is?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from statistics import mean
from typing import Any, NamedTuple

from loadtest.bench.gateway_process import serving
from loadtest.bench.latency_race import Door, gates_of, peak_of, run_open
from loadtest.bench.processes import family_memory_bytes
from loadtest.bench.requests import TAPS_A_REQUEST
from loadtest.bench.stage import Stage
from loadtest.bench.table import Measured

BATCHES = Door("loadtest.bench.http_client", "batch", "K")
SOAK_SECONDS = 600.0
# At least as many slices as make three thirds.
_SLICE_SECONDS_MAX, _SLICES_MIN = 30.0, 6
_SHARE = 0.7
_PEAK_SECONDS = 5.0
# Requests of a hundred taps; each station has a connection, so there are more than are under way.
_CONNECTIONS = 128
# A copied database counts its live rows anew, so the planner's number is taken.
_TABLE_FACTS = """
SELECT pg_table_size(oid) AS wallet_bytes, n_dead_tup / greatest(reltuples, 1) AS dead,
    autovacuum_count, n_tup_hot_upd::float / greatest(n_tup_upd, 1) AS hot
FROM pg_stat_user_tables JOIN pg_class ON oid = relid WHERE pg_class.relname = 'wallet'
"""


class _Slice(NamedTuple):
    report: dict[str, Any]
    memory_mb: float
    table: dict[str, Any]


async def race_soak(stage: Stage, seconds: float = SOAK_SECONDS) -> AsyncIterator[Measured | str]:
    """Slices of half a minute or less; after each, what the gateway and the wallets' table hold."""
    slices: list[_Slice] = []
    async with serving(stage) as gateway, gates_of(stage, gateway, BATCHES) as gates:
        peak = await peak_of(gates, _PEAK_SECONDS)
        requests_per_second = peak * _SHARE / TAPS_A_REQUEST
        slice_seconds = min(_SLICE_SECONDS_MAX, seconds / _SLICES_MIN)
        yield f"    soak: the peak is {peak:,.0f} taps/s; {_SHARE:.0%} of it for {seconds:.0f} s"
        for number in range(int(seconds / slice_seconds)):
            planned = [(requests_per_second, slice_seconds)]
            report = (await run_open(gates, planned, _CONNECTIONS))[0]
            async with stage.connected() as connection:
                table = dict(await connection.fetchrow(_TABLE_FACTS))
            slices.append(_Slice(report, family_memory_bytes(gateway.pid) / 2**20, table))
            yield _line((number + 1) * slice_seconds, slices[-1])
    third = len(slices) // 3
    first, last = slices[:third], slices[-third:]
    yield Measured("K memory", 0, [last[-1].memory_mb - first[-1].memory_mb])
    yield Measured(
        "K p99",
        0,
        [mean(s.report["p99_ms"] for s in last) / mean(s.report["p99_ms"] for s in first)],
    )
    yield Measured(
        "K table",
        0,
        [last[-1].table["wallet_bytes"] / first[-1].table["wallet_bytes"]],
    )


def _line(after_seconds: float, one: _Slice) -> str:
    report, table = one.report, one.table
    return (
        f"    {after_seconds:4.0f} s: {report['taken_per_second'] * TAPS_A_REQUEST:,.0f} "
        f"taps/s; p50 {report['p50_ms']:.1f}, p99 {report['p99_ms']:.1f} ms; gateway "
        f"{one.memory_mb:.0f} MB; wallets {table['wallet_bytes'] / 2**20:.0f} MB, dead "
        f"{table['dead']:.0%}, HOT {table['hot']:.0%}, vacuumed {table['autovacuum_count']} times"
    )
