"""The whole gateway behind HTTP against pgbench, which has none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

from loadtest.bench.engine_race import WARM_SECONDS, assert_all_taken, cost_lines
from loadtest.bench.gateway_process import GatewayProcess, serving
from loadtest.bench.peers import Peer
from loadtest.bench.processes import Runner, family_cpu_seconds
from loadtest.bench.rounds import Contender, Run, costs, race, ratios
from loadtest.bench.stage import Stage
from loadtest.bench.table import Measured


class Form(NamedTuple):
    """How taps come in: the runner of the gates, its row, and its place in the row of CPU costs."""

    row_id: str
    client: str
    cost_position: int | None


_HTTP = "loadtest.bench.http_client"
FORMS = {
    "batch": Form("P3", _HTTP, 1),
    "single": Form("P4", _HTTP, 2),
    "stream": Form("P5", "loadtest.bench.stream_client", None),
}


async def race_http(
    stage: Stage, peer: Peer, form: str, rounds_count: int, seconds: float
) -> AsyncIterator[Measured | str]:
    """P3, P4 or P5, and what a tap cost, which P10 says of those two over HTTP."""
    row_id, client, position = FORMS[form]
    async with serving(stage) as gateway:
        facts = stage.city_facts(port=gateway.port, form=form, keys=str(stage.keys_path))
        async with Runner(client, **facts) as gates:
            await gates.order(loop="closed", seconds=WARM_SECONDS)
            rounds = await race(
                {
                    form: http_turn(stage, gateway, gates, seconds),
                    "A": peer.turn(stage, seconds),
                },
                rounds_count,
            )
    for line in cost_lines(rounds):
        yield line
    yield Measured(row_id, 0, ratios(rounds, form, "A"))
    if position is not None:
        cpu = costs(rounds, form, "gateway_cpu_seconds", scale=1e6)
        yield Measured("P10", position, cpu)


def http_turn(stage: Stage, gateway: GatewayProcess, gates: Runner, seconds: float) -> Contender:
    async def turn() -> Run:
        before, gateway_before = await stage.meter(), family_cpu_seconds(gateway.pid)
        answer = await gates.order(loop="closed", seconds=seconds)
        used = (await stage.meter()).since(before)
        assert_all_taken(answer["outcomes"])
        return Run(
            answer["taps_count"],
            answer["taps_per_second"],
            gateway_cpu_seconds=family_cpu_seconds(gateway.pid) - gateway_before,
            postgres_cpu_seconds=used.cpu_seconds,
            generator_cpu_seconds=answer["cpu_seconds"],
            wal_bytes=used.wal_bytes,
        )

    return turn
