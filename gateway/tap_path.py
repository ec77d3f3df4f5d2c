"""THE page: one batch of taps, from the gate to the answer.

Everything that waits is in `load_` and `save_`; everything that thinks is in `decide`. One tap is a
batch of one. If the answer to COMMIT is lost, the same batch is simply run again: what was saved is
found by its tap ids, and answered as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

import asyncpg

from fare_rules import TariffBook
from gateway.core.decide import Deciding, Limits, Plan, log_day
from gateway.core.registry import Registry
from gateway.core.taps import Tap
from gateway.shell.campaign_store import POOL, Budgets, LaneBudget, left_after
from gateway.shell.log_days import LogDays
from gateway.shell.tap_store import tap_work

# About half a millisecond of thinking.
_TAPS_AT_ONCE = 16


async def run_tap_batch(
    connection: asyncpg.Connection,
    taps: Sequence[Tap],
    *,
    registry: Registry,
    book: TariffBook,
    limits: Limits,
    received_at: datetime,
    log_days: LogDays | None = None,
    is_locking: bool = False,
    budgets: Budgets | None = None,
) -> Plan:
    """Answer a tap batch. When this returns, everything in the plan is durable.

    Raises: RACES when another process was first, OUTAGES when the database is away.
            Both are answered by running the batch again, locking after a race.
    """
    days = [log_day(tap.tapped_at, received_at, book, limits) for tap in taps]
    await (log_days or LogDays()).open(connection, days)
    # Without a slot of its own, a lane spends from the pool.
    lane = await budgets.lane(connection) if budgets and book.campaigns else LaneBudget(POOL)
    with lane.spending():
        async with tap_work(connection) as work:
            snapshot = await work.load_snapshot(
                taps, registry, received_at, days, is_locking=is_locking, left=lane.left
            )
            deciding = Deciding(taps, snapshot, book, limits)
            await _decide(deciding)
            while deciding.lacks or deciding.short:
                snapshot = await work.load_days(snapshot, deciding.lacks)
                snapshot = await work.draw_budgets(snapshot, deciding.short, lane.slot)
                deciding.again(snapshot)
                await _decide(deciding)
            plan = deciding.plan()
            await work.save_plan(plan, snapshot, slot=lane.slot)
    lane.keep(left_after(snapshot.left, plan.usage))
    return plan


async def _decide(deciding: Deciding) -> None:
    """`decide`, while others of this process have their turn: a long batch holds nobody up."""
    for number, position in enumerate(deciding.to_answer, 1):
        deciding.answer(position)
        if number % _TAPS_AT_ONCE == 0:
            await asyncio.sleep(0)
