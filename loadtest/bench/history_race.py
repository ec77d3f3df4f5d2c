"""P8: neither a settlement close nor years of history slow the taps down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta

from loadtest.bench.engine_race import RUNNER, WARM_SECONDS, cost_lines, engine_turn
from loadtest.bench.faregate_command import faregate, start_close
from loadtest.bench.history import copy_day, count_taps, forget
from loadtest.bench.processes import Runner
from loadtest.bench.rounds import Run, race, ratios
from loadtest.bench.stage import HISTORY_DAYS, Stage
from loadtest.bench.table import Measured


async def race_history(
    stage: Stage, rounds_count: int, seconds: float
) -> AsyncIterator[Measured | str]:
    """One database with nothing before today, one with fifty days, each as long as a turn."""
    empty, full = await stage.on_copy("p8_empty"), await stage.on_copy("p8_full")
    first = full.next_day()
    async with Runner(RUNNER, **full.city_facts(starts_at=first.isoformat())) as engine:
        await engine.order(seconds=seconds)
    days = [first.date() - timedelta(days=n) for n in range(HISTORY_DAYS, 0, -1)]
    started_at = time.monotonic()
    await copy_day(full.dsn, first.date(), dict(enumerate(reversed(days), 1)))
    copied = await count_taps(full.dsn, first.date()) * HISTORY_DAYS
    yield f"    {copied:,} taps of history, copied in {time.monotonic() - started_at:.0f} s"
    today = full.next_day()
    async with (
        Runner(RUNNER, **empty.city_facts(starts_at=today.isoformat())) as without,
        Runner(RUNNER, **full.city_facts(starts_at=today.isoformat())) as engine,
    ):
        for runner in (without, engine):
            await runner.order(seconds=WARM_SECONDS)
        rounds = await race(
            {
                "empty": engine_turn(empty, without, seconds),
                "history": engine_turn(full, engine, seconds),
            },
            rounds_count,
        )
        for line in cost_lines(rounds):
            yield line
        yield Measured("P8", 1, ratios(rounds, "history", "empty"))
        closes = Closes(full, engine, seconds, days, today)
        closed = await race(
            {"quiet": engine_turn(full, engine, seconds), "closing": closes.turn}, rounds_count
        )
    for line in cost_lines(closed):
        yield line
    yield f"    a close took {closes.longest_seconds:.1f} s at the most"
    yield Measured("P8", 0, ratios(closed, "closing", "quiet"))
    await forget(full.dsn, days)
    for each in (empty, full):
        said, is_passed = await faregate(each, "audit")
        assert is_passed, said


class Closes:
    """Turns of the engine in which a settlement closes; each closes the next days of history."""

    def __init__(
        self, stage: Stage, engine: Runner, seconds: float, days: list[date], now: datetime
    ) -> None:
        self._now = now
        self._stage = stage
        self._engine = engine
        self._seconds = seconds
        self._days = iter(days)
        self.longest_seconds = 0.0

    async def turn(self) -> Run:
        """The rate while the close ran, not that of the time after."""
        await self._engine.order(prepares=True, seconds=self._seconds)
        running = asyncio.create_task(engine_turn(self._stage, self._engine, self._seconds)())
        started_at = time.monotonic()
        closing = await start_close(self._stage, next(self._days), self._now)
        said, _ = await closing.communicate()
        assert closing.returncode == 0, said.decode()
        took = time.monotonic() - started_at
        self.longest_seconds = max(self.longest_seconds, took)
        run = await running
        tenths = run.by_tenth_second[1 : max(2, round(took * 10))]
        return run._replace(taps_per_second=10 * sum(tenths) / len(tenths))
