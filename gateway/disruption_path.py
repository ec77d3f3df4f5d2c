"""Putting right what a disruption did to rides, one correction a ride, however often it is run."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import asyncpg
from msgspec import Struct

from fare_rules import TariffBook
from gateway.core.correction_wishes import CorrectionRefusal, CorrectionTerms
from gateway.core.disruptions import affected
from gateway.core.registry import Registry
from gateway.correction_path import run_correction
from gateway.shell.disruption_store import Declared, list_disruptions, load_riders_of
from gateway.shell.registry_store import load_registry

_WALLETS_AT_ONCE = 500
_DISRUPTIONS_MAX = 1000
# Two people have agreed to the disruption as a whole.
_TERMS = CorrectionTerms(2**62, 0, timedelta(0), timedelta(0), timedelta(0))


class Applied(Struct, frozen=True):
    """How many disruptions were looked at, and what became of the rides in them."""

    disruptions_count: int = 0
    corrected_count: int = 0
    # Rides that cannot be put right so; each may be by hand.
    refused_count: int = 0


async def run_disruptions(pool: asyncpg.Pool, book: TariffBook, now: datetime) -> Applied:
    """Apply every disruption that was agreed to, has ended, and can still be priced again."""
    late = timedelta(days=max(tariff.late_taps_days for tariff in book.tariffs))
    due = [
        one
        for one in await list_disruptions(pool, _DISRUPTIONS_MAX)
        if one.checker is not None and now - late < one.disruption.ends <= now
    ]
    registry = await load_registry(pool) if due else None
    corrected = refused = 0
    for one in due:
        assert registry is not None
        done = await _apply(pool, one, registry, book, now)
        corrected, refused = corrected + done[0], refused + done[1]
    return Applied(len(due), corrected, refused)


async def _apply(
    pool: asyncpg.Pool, declared: Declared, registry: Registry, book: TariffBook, now: datetime
) -> tuple[int, int]:
    disruption = declared.disruption
    first, last = (book.service_day_of(at) for at in (disruption.begins, disruption.ends))
    days = [date.fromordinal(day) for day in range(first.toordinal(), last.toordinal() + 1)]
    corrected = refused = 0
    after = None
    while riders := await load_riders_of(pool, days, after, _WALLETS_AT_ONCE):
        for wallet_id, loaded in riders:
            for wish in affected(disruption, wallet_id, loaded, book, now):
                found = await run_correction(
                    pool,
                    wish,
                    maker=declared.maker,
                    registry=registry,
                    book=book,
                    terms=_TERMS,
                    now=now,
                )
                is_refused = isinstance(found, CorrectionRefusal)
                corrected, refused = corrected + (not is_refused), refused + is_refused
        after = riders[-1][0]
    return corrected, refused
