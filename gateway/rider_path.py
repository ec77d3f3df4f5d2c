"""What a rider is told: journeys, how far it is to free travel, and all that is kept of a wallet.

And what is forgotten: journeys older than FAREGATE_HISTORY_DAYS are told to nobody, and a wallet
that is erased keeps its entries, which say what was paid, but no card leads to it any more, and
nobody is told of its journeys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
from msgspec import Struct

from fare_rules import TariffBook
from fare_rules.amounts import said
from fare_rules.progress import CapProgress, cap_progress
from gateway.core.decide import KeptTap
from gateway.core.ledger import DEBT, OPERATOR, PURSE, JournalEntry
from gateway.core.purse_desk import KnownGrant
from gateway.core.wallets import Media, Wallet
from gateway.shell import rider_store as store
from gateway.shell.archived_books import ArchivedBooks
from gateway.shell.correction_store import Correction, list_corrections_of_wallet
from gateway.shell.kept_store import load_books_of
from gateway.shell.log_days import load_archived_days
from gateway.shell.transactions import reading


class Payment(Struct, frozen=True):
    """Who paid how much of a journey: the rider's main purse, a grant, a sponsor."""

    account: str
    amount_fen: int


class TapView(Struct, frozen=True, omit_defaults=True):
    """One tap of a journey. `fare_fen` is what it comes to by now, corrections included."""

    tap_id: UUID
    tapped_at: datetime
    action: str
    fare_fen: int
    stop_id: str | None = None
    route_id: str | None = None


class JourneyView(Struct, frozen=True):
    """One journey, its newest tap last."""

    journey_id: UUID
    taps: tuple[TapView, ...]
    fare_fen: int
    payments: tuple[Payment, ...]


class MediaProgress(Struct, frozen=True):
    """How far the rider with one card is from free travel, in words, too."""

    media_token: str
    caps: tuple[CapProgress, ...]
    text: tuple[str, ...]


class WalletExport(Struct, frozen=True):
    """All that is kept of one wallet, archived days included: of days where nobody was, what was
    paid.
    """

    wallet: Wallet
    media: tuple[Media, ...]
    taps: tuple[KeptTap, ...]
    entries: tuple[JournalEntry, ...]
    grants: tuple[KnownGrant, ...]
    corrections: tuple[Correction, ...]
    coupons_claimed: tuple[store.ClaimedCoupon, ...]
    # Campaigns of red envelopes that it registered for.
    registrations: tuple[str, ...]


async def run_journeys(
    pool: asyncpg.Pool, wallet_id: UUID, *, now: datetime, history_days: int, limit: int
) -> list[JourneyView]:
    """A wallet's newest journeys, the newest first."""
    since = now - timedelta(days=history_days)
    taps = await store.load_newest_taps(pool, wallet_id, since, limit)
    entries = await store.load_entries_of_taps(pool, wallet_id, [one.tap.tap_id for one in taps])
    by_tap: dict[UUID, list[JournalEntry]] = {}
    for entry in entries:
        assert entry.tap_id is not None
        by_tap.setdefault(entry.tap_id, []).append(entry)
    journeys: dict[UUID, list[KeptTap]] = {}
    for one in taps:
        if one.result.outcome.is_let_through:
            journeys.setdefault(one.result.journey_id or one.tap.tap_id, []).append(one)
    return [
        _journey(journey_id, sorted(kept, key=lambda one: one.tap.tapped_at), by_tap)
        for journey_id, kept in journeys.items()
    ]


def _journey(
    journey_id: UUID, kept: Sequence[KeptTap], by_tap: dict[UUID, list[JournalEntry]]
) -> JourneyView:
    paid: dict[str, int] = {}
    views = []
    for one in kept:
        own = by_tap.get(one.tap.tap_id, [])
        for entry in own:
            for posting in entry.postings:
                if not posting.account.startswith(OPERATOR):
                    name = PURSE if posting.account == DEBT else posting.account
                    paid[name] = paid.get(name, 0) - posting.amount_fen
        views.append(
            TapView(
                one.tap.tap_id,
                one.tap.tapped_at,
                str(one.tap.action),
                sum(entry.operator_fen for entry in own),
                one.tap.stop_id,
                one.tap.route_id,
            )
        )
    payments = tuple(Payment(name, fen) for name, fen in sorted(paid.items()) if fen)
    return JourneyView(journey_id, tuple(views), sum(view.fare_fen for view in views), payments)


def progress_of(wallet: Wallet, book: TariffBook, now: datetime) -> list[MediaProgress]:
    """How far each of a wallet's riders is from free travel."""
    tariff, day = book.tariff_at(now) or book.tariffs[-1], book.service_day_of(now)
    found = []
    for token, rider in sorted(wallet.riders.items()):
        caps = cap_progress(rider.state, tariff, day=day, instant=now)
        digits = tariff.currency_digits
        found.append(MediaProgress(token, caps, tuple(_words(cap, digits) for cap in caps)))
    return found


def _words(cap: CapProgress, digits: int) -> str:
    if cap.rides_left is not None:
        return f"{cap.rule_id}: {cap.rides_left} rides left until free travel"
    if cap.left_fen is None:
        return f"{cap.rule_id}: {said(cap.spent_fen, digits)} so far"
    return f"{cap.rule_id}: {said(cap.left_fen, digits)} left until free travel"


async def run_export(pool: asyncpg.Pool, wallet: Wallet, archive: Path) -> WalletExport:
    """Everything that is kept of a wallet, for the one it is about.

    Raises: ArchiveMissing when days are archived and cannot be read.
    """
    wallet_id = wallet.wallet_id
    async with reading(pool) as connection:
        days = await load_archived_days(connection)
        (books,) = await load_books_of(connection, [wallet_id])
        before = UUID(int=wallet_id.int - 1) if wallet_id.int else None
        archived = await asyncio.to_thread(ArchivedBooks, archive, days, before, wallet_id)
        books = await asyncio.to_thread(archived.joined_to, books)
    return WalletExport(
        books.wallet,
        tuple(await store.load_media_of(pool, wallet_id)),
        books.taps,
        books.entries,
        tuple(sorted(books.grants.values(), key=lambda grant: grant.granted_at)),
        tuple(await list_corrections_of_wallet(pool, wallet_id)),
        tuple(await store.load_claimed_coupons(pool, wallet_id)),
        tuple(await store.load_registrations(pool, wallet_id)),
    )
