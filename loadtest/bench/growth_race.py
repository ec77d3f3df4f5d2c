"""What a tap costs as a city grows: with more wallets, and with more taps stored.

One engine, so that its Python can be told. There is no row to reach; the figures are drawn.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from loadtest.bench.engine_race import RUNNER, WARM_SECONDS, engine_turn
from loadtest.bench.faregate_command import faregate
from loadtest.bench.growth_chart import chart
from loadtest.bench.history import copy_day, count_taps, forget
from loadtest.bench.more_wallets import add_wallets
from loadtest.bench.processes import Runner
from loadtest.bench.rounds import Turn
from loadtest.bench.stage import HISTORY_DAYS, Stage
from loadtest.bench.table import Measured

WALLETS = (10_000, 100_000, 300_000, 1_000_000, 3_000_000)
TAPS = (0, 1_000_000, 5_000_000, 20_000_000)
# Taps are stored by a city of this size, or by the largest step below it.
_CITY_WALLETS = 300_000
RESULTS = Path(__file__).parent.parent / "results"


class Point(NamedTuple):
    """A tap's cost at one size."""

    what: str
    size: int
    taps_per_second: float
    python_us: float
    postgres_us: float
    wal_bytes: float

    def text(self) -> str:
        return (
            f"    {self.size:>10,} {self.what}: {self.taps_per_second:,.0f} taps/s; a tap costs "
            f"Python {self.python_us:.0f} µs, PostgreSQL {self.postgres_us:.0f} µs, "
            f"WAL {self.wal_bytes:,.0f} B"
        )


async def race_growth(
    stage: Stage, wallets: Sequence[int], taps: Sequence[int], rounds_count: int, seconds: float
) -> AsyncIterator[Measured | str]:
    """Every point is printed as it is measured; then all are written to `loadtest/results/`."""
    points: list[Point] = []
    for size in wallets:
        async with _city_of(stage, size) as city:
            points.append(await _measure(city, "wallets", size, rounds_count, seconds))
        yield points[-1].text()
    fitting = max((size for size in wallets if size <= _CITY_WALLETS), default=min(wallets))
    async with _city_of(stage, fitting) as city:
        history = await _History.begin(city, seconds)
        for size in taps:
            await history.grow_to(size)
            points.append(await _measure(city, "taps stored", size, rounds_count, seconds))
            yield points[-1].text()
        await history.forget()
    RESULTS.mkdir(exist_ok=True)
    rows = [",".join(Point._fields), *(",".join(map(_cell, point)) for point in points)]
    (RESULTS / "growth.csv").write_text("\n".join(rows) + "\n")
    (RESULTS / "growth.svg").write_text(chart([point._asdict() for point in points]))


@asynccontextmanager
async def _city_of(stage: Stage, wallets_count: int) -> AsyncIterator[Stage]:
    """A database of its own, dropped when it has been measured."""
    name = "growth"
    city = await stage.on_copy(name)
    try:
        if wallets_count > city.wallets_count:
            await add_wallets(city, wallets_count)
        yield city
        # It walks through every wallet, and more of the same would tell nothing new.
        if wallets_count <= _CITY_WALLETS:
            said, is_passed = await faregate(city, "audit")
            assert is_passed, said
    finally:
        await stage.databases.drop(name)


async def _measure(stage: Stage, what: str, size: int, rounds_count: int, seconds: float) -> Point:
    async with Runner(RUNNER, **stage.city_facts()) as engine:
        await engine.order(seconds=WARM_SECONDS)
        turn = engine_turn(stage, engine, seconds)
        turns = Turn(tuple([await turn() for _ in range(rounds_count)]))
    # The taps of a small city, played this fast, may reach into the following day.
    stage.next_day()
    return Point(
        what,
        size,
        turns.taps_per_second,
        turns.each_tap("gateway_cpu_seconds") * 1e6,
        turns.each_tap("postgres_cpu_seconds") * 1e6,
        turns.each_tap("wal_bytes"),
    )


class _History:
    """Earlier days, filled with copies of one short day."""

    def __init__(self, stage: Stage, taps_count: int) -> None:
        self._stage = stage
        self._first = stage.first_day.date() + timedelta(days=stage.days_used)
        self._taps_count = taps_count
        self._copied = 0
        self._days = [self._first - timedelta(days=n) for n in range(1, HISTORY_DAYS + 1)]

    @classmethod
    async def begin(cls, stage: Stage, seconds: float) -> _History:
        async with Runner(RUNNER, **stage.city_facts()) as engine:
            await engine.order(seconds=seconds)
        day = stage.first_day.date() + timedelta(days=stage.days_used)
        return cls(stage, await count_taps(stage.dsn, day))

    async def grow_to(self, taps_count: int) -> None:
        wished = -(-taps_count // self._taps_count)
        if wished > self._copied:
            numbers = range(self._copied + 1, wished + 1)
            copies = {number: self._days[number % HISTORY_DAYS] for number in numbers}
            await copy_day(self._stage.dsn, self._first, copies)
            self._copied = wished

    async def forget(self) -> None:
        """The copies' wallets were never opened, which the audit would say."""
        numbers = range(1, self._copied + 1)
        days = {self._days[number % HISTORY_DAYS] for number in numbers}
        await forget(self._stage.dsn, sorted(days))


def _cell(value: str | float) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
