"""The engine against both peers: taps handed to the batcher in-process, decided and saved."""

from __future__ import annotations

from collections.abc import AsyncIterator

from loadtest.bench.engines import ENGINES_COUNT, Engines
from loadtest.bench.peers import Peer
from loadtest.bench.processes import Runner
from loadtest.bench.rounds import Contender, Round, Run, costs, race, ratios
from loadtest.bench.stage import Stage
from loadtest.bench.table import Measured

RUNNER = "loadtest.bench.inside.engine"
WARM_SECONDS = 3.0


async def race_engine(
    stage: Stage, peers: dict[str, Peer], rounds_count: int, seconds: float
) -> AsyncIterator[Measured | str]:
    """P1 and P2 share their runs, which cost what P9 and P10 say."""
    async with Engines(RUNNER, **stage.city_facts()) as engine:
        await engine.order(seconds=WARM_SECONDS)
        turns: dict[str, Contender] = {"engine": engine_turn(stage, engine, seconds)}
        turns |= {name: peer.turn(stage, seconds) for name, peer in peers.items()}
        rounds = await race(turns, rounds_count)
    yield f"    engine: {ENGINES_COUNT} processes, each with its own batcher, on one database"
    for line in cost_lines(rounds):
        yield line
    for row_id, name in (("P1", "A"), ("P2", "B")):
        if name in peers:
            yield Measured(row_id, 0, ratios(rounds, "engine", name))
    yield Measured("P9", 0, costs(rounds, "engine", "wal_bytes", scale=1))
    yield Measured("P9", 1, costs(rounds, "engine", "postgres_cpu_seconds", scale=1e6))
    yield Measured("P10", 0, costs(rounds, "engine", "gateway_cpu_seconds", scale=1e6))


def engine_turn(
    stage: Stage, runner: Engines | Runner, seconds: float, **order: object
) -> Contender:
    async def turn() -> Run:
        before = await stage.meter()
        answer = await runner.order(seconds=seconds, **order)
        used = (await stage.meter()).since(before)
        assert_all_taken(answer["outcomes"])
        return Run(
            answer["taps_count"],
            answer["taps_per_second"],
            gateway_cpu_seconds=answer["cpu_seconds"],
            postgres_cpu_seconds=used.cpu_seconds,
            wal_bytes=used.wal_bytes,
            by_tenth_second=tuple(answer["by_tenth_second"]),
        )

    return turn


def assert_all_taken(outcomes: dict[str, int]) -> None:
    """A refused tap is cheaper: a race of refusals would prove nothing."""
    taken = sum(outcomes.get(name, 0) for name in ("leg_opened", "ride_charged", "double_beep"))
    assert taken >= 0.98 * sum(outcomes.values()), f"too many taps were refused: {outcomes}"


def cost_lines(rounds: list[Round]) -> list[str]:
    """What every contender did and cost, over all rounds."""
    lines = []
    for name in rounds[0]:
        runs = [run for one_round in rounds for run in one_round[name].runs]
        taps_count = sum(run.taps_count for run in runs)
        rate = sum(run.taps_per_second for run in runs) / len(runs)

        def each(cost: str, runs: list[Run] = runs, count: int = taps_count) -> float:
            return sum(getattr(run, cost) for run in runs) / count

        lines.append(
            f"    {name:<12}{rate:>8,.0f} taps/s   CPU a tap: "
            f"gateway {each('gateway_cpu_seconds') * 1e6:.0f} µs, "
            f"PostgreSQL {each('postgres_cpu_seconds') * 1e6:.0f} µs, "
            f"generator {each('generator_cpu_seconds') * 1e6:.0f} µs; "
            f"WAL {each('wal_bytes'):,.0f} B"
        )
    return lines
