"""Putting things right: proposed by one, agreed to by another where it is much, booked once.

A correction is booked in the transaction that proposes it, or in the one that agrees to it: then it
is decided again, for the rider may have travelled on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from fare_rules import TariffBook
from gateway.core.correction_wishes import CorrectionRefusal, CorrectionTerms, CorrectionWish
from gateway.core.corrections import needs_checker, propose
from gateway.core.registry import Registry
from gateway.shell.correction_store import Correction, CorrectionWork, correction_work
from gateway.shell.settings import Settings
from gateway.shell.transactions import until_first


def correction_terms(settings: Settings) -> CorrectionTerms:
    return CorrectionTerms(
        unchecked_fen_max=settings.correction_unchecked_fen_max,
        self_count_max=settings.correction_self_count_max,
        self_window=timedelta(days=settings.correction_self_window_days),
        self_age=timedelta(days=settings.correction_self_age_days_max),
        clearance=timedelta(minutes=settings.clearance_minutes_max),
    )


async def run_correction(
    pool: asyncpg.Pool,
    wish: CorrectionWish,
    *,
    maker: str,
    registry: Registry,
    book: TariffBook,
    terms: CorrectionTerms,
    now: datetime,
) -> Correction | CorrectionRefusal:
    """Take a correction; it is booked at once unless it needs a second person."""

    async def take(work: CorrectionWork) -> CorrectionRefusal | None:
        known = await work.find(wish.correction_id)
        if known is not None:
            return None if known.wish == wish else CorrectionRefusal.CORRECTION_ID_REUSED
        snapshot = await work.load_snapshot(
            wish, now=now, registry=registry, book=book, terms=terms
        )
        booking = propose(wish, snapshot, book, terms)
        if isinstance(booking, CorrectionRefusal):
            return booking
        await work.save_proposal(wish, booking, maker=maker, now=now)
        if not needs_checker(wish, booking, snapshot, terms):
            await work.save_booking(wish.correction_id, booking, snapshot, checker=None)
        return None

    return await _decided(pool, wish.correction_id, take)


async def run_decision(
    pool: asyncpg.Pool,
    correction_id: UUID,
    *,
    is_approved: bool,
    checker: str,
    registry: Registry,
    book: TariffBook,
    terms: CorrectionTerms,
    now: datetime,
) -> Correction | CorrectionRefusal:
    """Agree to a proposed correction, or reject it. Doing the same again changes nothing."""

    async def take(work: CorrectionWork) -> CorrectionRefusal | None:
        known = await work.find(correction_id)
        if known is None:
            return CorrectionRefusal.UNKNOWN_CORRECTION
        if known.state != "proposed":
            is_same = known.state == ("booked" if is_approved else "rejected")
            is_same = is_same and known.checker == checker
            return None if is_same else CorrectionRefusal.ALREADY_DECIDED
        if not is_approved:
            await work.save_decision(correction_id, "rejected", checker, now)
            return None
        if known.maker == checker:
            return CorrectionRefusal.SAME_PERSON
        snapshot = await work.load_snapshot(
            known.wish, now=now, registry=registry, book=book, terms=terms
        )
        booking = propose(known.wish, snapshot, book, terms)
        if isinstance(booking, CorrectionRefusal):
            return booking
        await work.save_booking(correction_id, booking, snapshot, checker=checker)
        return None

    return await _decided(pool, correction_id, take)


async def _decided(
    pool: asyncpg.Pool,
    correction_id: UUID,
    take: Callable[[CorrectionWork], Awaitable[CorrectionRefusal | None]],
) -> Correction | CorrectionRefusal:
    async def transact() -> Correction | CorrectionRefusal:
        async with correction_work(pool) as work:
            refusal = await take(work)
            found = await work.find(correction_id)
        if refusal is not None:
            return refusal
        assert found is not None
        return found

    return await until_first(transact)
