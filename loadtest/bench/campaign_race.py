"""P11: a sponsor's campaign, exact to the fen, does not slow the taps down."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from loadtest.bench.engine_race import RUNNER, WARM_SECONDS, cost_lines, engine_turn
from loadtest.bench.engines import Engines
from loadtest.bench.faregate_command import faregate
from loadtest.bench.rounds import race, ratios
from loadtest.bench.stage import Stage
from loadtest.bench.table import Measured

TARIFFS = Path(__file__).parents[2] / "fare_rules" / "tariffs" / "shenzhen"
# Every ride is sponsored, so that every batch spends.
_PROMOTION = """
sponsors: [{id: icbc}]
promotions:
  - id: one_cent
    networks: [metro, bus]
    pays: {kind: amount, amount: 0.01}
    borne_by: icbc
    sponsor_pays_max: 9.99
    reference: race
"""
_CAMPAIGN = """
campaigns:
  - id: race
    sponsor: icbc
    promotions: [one_cent]
    budget: 50000000.00
    uses: 100000000
    reference: race
"""


async def race_campaign(
    stage: Stage, rounds_count: int, seconds: float
) -> AsyncIterator[Measured | str]:
    """The same taps on two databases, one of them with a bank that pays for all but a cent."""
    sponsored = await stage.on_copy("campaign")
    tariffs = _write_tariffs(stage.folder / "campaign")
    async with (
        Engines(RUNNER, **stage.city_facts()) as without,
        Engines(RUNNER, **sponsored.city_facts(tariffs_dir=str(tariffs))) as engine,
    ):
        for engines in (without, engine):
            await engines.order(seconds=WARM_SECONDS)
        rounds = await race(
            {
                "without": engine_turn(stage, without, seconds),
                "campaign": engine_turn(sponsored, engine, seconds),
            },
            rounds_count,
        )
    for line in cost_lines(rounds):
        yield line
    yield Measured("P11", 0, ratios(rounds, "campaign", "without"))
    said, is_passed = await faregate(sponsored, "audit", tariffs_dir=tariffs)
    assert is_passed, said


def _write_tariffs(folder: Path) -> Path:
    """The city's tariff, with the campaign added."""
    shutil.copytree(TARIFFS, folder)
    (tariff,) = folder.glob("[0-9]*.yaml")
    with tariff.open("a", encoding="utf-8") as file:
        file.write(_PROMOTION)
    (folder / "campaigns.yaml").write_text(_CAMPAIGN, encoding="utf-8")
    return folder
