"""The engine against itself where the load is uneven: one operator, one wallet, few riders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count

from loadtest.bench.engine_race import RUNNER, WARM_SECONDS, cost_lines, engine_turn
from loadtest.bench.processes import Runner
from loadtest.bench.rounds import Run, race, ratios
from loadtest.bench.stage import COMPANIES_COUNT, Stage
from loadtest.bench.table import Measured

# Of ten taps one is the company's.
_OTHERS_SHARE = 0.9
# Of 300,000 riders a tenth makes eight of ten journeys; the first one alone, one in twenty.
_ZIPF = 1.0


async def race_one_operator(
    stage: Stage, rounds_count: int, seconds: float
) -> AsyncIterator[Measured | str]:
    """P6: an operator has no row of its own that its taps would queue for."""
    async with Runner(RUNNER, **stage.city_facts()) as engine:
        await engine.order(seconds=WARM_SECONDS)
        rounds = await race(
            {
                "8 operators": engine_turn(stage, engine, seconds),
                "1 operator": engine_turn(stage, engine, seconds, operators="one"),
            },
            rounds_count,
        )
    for line in cost_lines(rounds):
        yield line
    yield Measured("P6", 0, ratios(rounds, "1 operator", "8 operators"))


async def race_one_wallet(
    stage: Stage, rounds_count: int, seconds: float
) -> AsyncIterator[Measured | str]:
    """P7: a company's wallet gets one tap in ten, by a few cards; the others must not wait.

    Each turn has a company of its own, as each would have on a day of its own.
    """
    companies = count()
    async with Runner(RUNNER, **stage.city_facts()) as engine:
        await engine.order(seconds=WARM_SECONDS)

        async def with_company() -> Run:
            company = next(companies) % COMPANIES_COUNT
            return await engine_turn(stage, engine, seconds, company=company)()

        rounds = await race(
            {"even": engine_turn(stage, engine, seconds), "one wallet": with_company}, rounds_count
        )
    for line in cost_lines(rounds):
        yield line
    found = [_OTHERS_SHARE * ratio for ratio in ratios(rounds, "one wallet", "even")]
    yield Measured("P7", 0, found)


async def race_zipf(
    stage: Stage, rounds_count: int, seconds: float
) -> AsyncIterator[Measured | str]:
    """P12: a few riders ride all day, most of them hardly ever."""
    async with (
        Runner(RUNNER, **stage.city_facts()) as in_turn,
        Runner(RUNNER, **stage.city_facts(zipf=_ZIPF)) as zipf,
    ):
        for engine in (in_turn, zipf):
            await engine.order(seconds=WARM_SECONDS)
        rounds = await race(
            {
                "in turn": engine_turn(stage, in_turn, seconds),
                "Zipf": engine_turn(stage, zipf, seconds),
            },
            rounds_count,
        )
    for line in cost_lines(rounds):
        yield line
    yield Measured("P12", 0, ratios(rounds, "Zipf", "in turn"))
