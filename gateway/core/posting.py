"""From what a wallet's rides cost now to entries: who pays the difference, and in which period."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from uuid import UUID

from msgspec import structs

from gateway.core.ledger import (
    GRANT,
    OPERATOR,
    SPONSOR,
    Change,
    JournalEntry,
    Posting,
    rider_postings,
)
from gateway.core.purses import Paid, Split, give_back, merged, pay
from gateway.core.wallets import Wallet

_NOTHING_PAID: Paid = {}


def post(
    wallet: Wallet,
    found: Sequence[Change],
    *,
    cause_id: UUID,
    closed_through: date | None,
    paid: Paid = _NOTHING_PAID,
) -> tuple[Wallet, tuple[JournalEntry, ...], Paid]:
    """Turn changed charges into entries, one a change; the wallet they leave, and who paid.

    Rider, sponsors and operator stand in one entry, so they are paid together or not at all. The
    wallet has a new version even where nothing is charged, for something was done to it.
    """
    entries: list[JournalEntry] = []
    for change in found:
        charge = change.charge
        split = _split(wallet, change, paid)
        if split is None:
            moved = wallet.moved(-change.rider_fen)
            purses: tuple[Posting, ...] = ()
        else:
            moved = structs.replace(wallet.moved(-split.main_fen), purses=split.purses)
            gained_fen = {grant_id: -fen for grant_id, fen in split.shares_fen.items()}
            known = {purse.grant_id: purse for purse in split.purses}
            paid = merged(paid, charge.key, charge.service_day, gained_fen, known)
            purses = tuple(Posting(f"{GRANT}{i}", fen) for i, fen in gained_fen.items())
        sponsors = [
            Posting(f"{SPONSOR}{sponsor}", -amount_fen)
            for sponsor, amount_fen in sorted(change.sponsors_fen.items())
            if amount_fen
        ]
        operator = Posting(f"{OPERATOR}{charge.operator_id}", change.operator_fen)
        entries.append(
            JournalEntry(
                kind="fare" if charge.tap_id == cause_id else "correction",
                cause_id=cause_id,
                wallet_id=wallet.wallet_id,
                wallet_version=moved.version,
                effective_at=charge.effective_at,
                service_day=charge.service_day,
                settlement_day=settlement_day(charge.service_day, closed_through),
                postings=(*rider_postings(wallet, moved), *purses, *sponsors, operator),
                tap_id=charge.tap_id,
                operator_id=charge.operator_id,
                product_id=charge.quote.product_id,
                ride_count=change.ride_count,
                shared=charge.shared,
                campaign_uses=change.campaign_uses,
            )
        )
        wallet = moved
    return wallet if entries else wallet.moved(0), tuple(entries), paid


def _split(wallet: Wallet, change: Change, paid: Paid) -> Split | None:
    """Which purses pay of a change, or get back; None where only the main one can."""
    charge, amount_fen = change.charge, change.rider_fen
    if amount_fen > 0 and wallet.purses and charge.purses:
        return pay(
            wallet.purses,
            amount_fen,
            charge.purses,
            instant=charge.effective_at,
            day=charge.service_day,
            tap=charge.key,
            paid=paid,
        )
    if amount_fen < 0 and charge.key in paid:
        left_fen = 0 if change.ride_count < 0 else charge.rider_fen
        return give_back(wallet.purses, -amount_fen, left_fen=left_fen, tap=charge.key, paid=paid)
    return None


def settlement_day(service_day: date, closed_through: date | None) -> date:
    """The settlement period an entry belongs to: its own day, or the first one still open."""
    if closed_through is None or service_day > closed_through:
        return service_day
    return closed_through + timedelta(days=1)
