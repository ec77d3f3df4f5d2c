"""How long a settlement close takes by the taps of its day, with gates at rest and at work.

There is no row to reach: each figure is printed, and beside it what a tap of the day costs. All
operators share the fares of journeys of several legs by what each leg costs alone, and pay a fee:
no close is dearer.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from loadtest.bench.campaign_race import TARIFFS
from loadtest.bench.engine_race import RUNNER, WARM_SECONDS
from loadtest.bench.faregate_command import faregate, start_close
from loadtest.bench.history import copy_day, count_entries, count_taps, forget
from loadtest.bench.processes import Runner
from loadtest.bench.stage import Stage
from loadtest.bench.table import Measured

TAPS = (100_000, 500_000, 1_500_000)
_CLEARING = """
agreements: [{id: through, reference: race, by: own_fare}]
fees: [{id: clearing, reference: race, paid_to: shenzhen_metro, percent: 1}]
"""


class Closed(NamedTuple):
    """One close of a day."""

    taps_count: int
    lines_count: int
    seconds: float
    peak_bytes: int
    # Of the taps decided meanwhile.
    taps_per_second: float = 0

    def text(self) -> str:
        live = f", {self.taps_per_second:,.0f} taps/s meanwhile" if self.taps_per_second else ""
        return (
            f"    {self.taps_count:>10,} taps, {self.lines_count:,} lines closed in "
            f"{self.seconds:.1f} s, {self.seconds / self.taps_count * 1e6:.0f} µs a tap, "
            f"{self.peak_bytes / 2**20:,.0f} MB{live}"
        )


async def race_close(
    stage: Stage, sizes: Sequence[int], seconds: float
) -> AsyncIterator[Measured | str]:
    """Days filled with copies of one turn's taps, each size twice, closed one after the other."""
    city = await stage.on_copy("close")
    tariffs = _write_tariffs(stage.folder / "shared")
    first = city.next_day()
    async with Runner(
        RUNNER, **city.city_facts(starts_at=first.isoformat(), tariffs_dir=tariffs)
    ) as engine:
        await engine.order(seconds=seconds)
    made = await count_taps(city.dsn, first.date())
    days = [first.date() - timedelta(days=n) for n in range(2 * len(sizes), 0, -1)]
    number = 0
    for size, day in zip([size for size in sizes for _ in range(2)], days, strict=True):
        copies = range(number + 1, number + 1 + max(1, round(size / made)))
        await copy_day(city.dsn, first.date(), dict.fromkeys(copies, day))
        number = copies[-1]
    # As it was before anybody of these days could have been lost.
    closes = Closes(city, tariffs, first)
    starts_at = city.next_day().isoformat()
    async with Runner(
        RUNNER, **city.city_facts(starts_at=starts_at, tariffs_dir=tariffs)
    ) as engine:
        await engine.order(seconds=WARM_SECONDS)
        for quiet, busy in zip(days[::2], days[1::2], strict=True):
            yield (await closes.close(quiet)).text()
            yield (await closes.close_at_work(busy, engine, seconds)).text()
    await forget(city.dsn, days)
    said, is_passed = await faregate(city, "audit", tariffs_dir=tariffs)
    assert is_passed, said


class Closes(NamedTuple):
    """Closes of one city's days, all at one instant of its clock."""

    stage: Stage
    tariffs: str
    now: datetime

    async def close_at_work(self, day: date, engine: Runner, seconds: float) -> Closed:
        """Close while the engine decides as many taps as it can."""
        closing = asyncio.create_task(self.close(day))
        rates = []
        while not closing.done():
            rates.append((await engine.order(seconds=seconds))["taps_per_second"])
        return (await closing)._replace(taps_per_second=sum(rates) / len(rates))

    async def close(self, day: date) -> Closed:
        started_at = time.monotonic()
        process = await start_close(self.stage, day, self.now, tariffs_dir=self.tariffs)
        saying = asyncio.create_task(process.communicate())
        peak_bytes = 0
        while not saying.done():
            peak_bytes = max(peak_bytes, _peak_bytes(process.pid))
            await asyncio.wait([saying], timeout=0.2)
        took = time.monotonic() - started_at
        said, _ = await saying
        assert process.returncode == 0, said.decode()
        dsn = self.stage.dsn
        counts = await count_taps(dsn, day), await count_entries(dsn, day)
        return Closed(*counts, took, peak_bytes)


def _write_tariffs(folder: Path) -> str:
    """The city's tariff, and what its operators have agreed on."""
    shutil.copytree(TARIFFS, folder)
    (folder / "clearing.yaml").write_text(_CLEARING, encoding="utf-8")
    return str(folder)


def _peak_bytes(pid: int) -> int:
    """The most that a process has held in memory so far; 0 if it has ended."""
    try:
        said = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next(
        (int(line.split()[1]) * 1024 for line in said.splitlines() if line.startswith("VmHWM")), 0
    )
