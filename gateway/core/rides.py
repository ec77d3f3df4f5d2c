"""One tap folded into its rider's days; and what becomes of legs that nobody closes.

The live gate, the late tap and the auditor all come through `take_ride`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID, uuid5

from msgspec import Struct, structs

from fare_rules import Charge, RideTap, TariffBook
from gateway.core.campaigns import Usage, usage_of
from gateway.core.days import LoadedDays, Moved, open_until, refold, swept, take_one
from gateway.core.ledger import BANK, JournalEntry, Posting, changes, rider_postings, spent_after
from gateway.core.posting import post, settlement_day
from gateway.core.purses import Paid
from gateway.core.taps import Tap
from gateway.core.wallet_classes import Spent, WalletClasses
from gateway.core.wallets import Wallet


class Ride(Struct, frozen=True):
    """One tap folded into its rider's days: the wallet it leads to, and the entries in between."""

    wallet: Wallet
    moved: Moved
    entries: tuple[JournalEntry, ...]
    # What purses have paid by now, where that was loaded or has changed.
    paid: Paid
    # What campaigns pay for it, or no longer do.
    usage: dict[str, Usage]
    tap: RideTap
    # What the tap itself is charged.
    charge: Charge | None
    currency_digits: int


def take_ride(
    wallet: Wallet,
    tap: RideTap,
    days: LoadedDays | None,
    *,
    book: TariffBook,
    day: date,
    closed_through: date | None,
    is_offline: bool = False,
) -> Ride | None:
    """Fold one more tap into a wallet's days and post the difference.

    Shape:  None when days of the wallet are needed that were not loaded.
    """
    until = wallet.swept_until
    moved = None
    if wallet.amended_until is None or tap.tapped_at > wallet.amended_until:
        moved = take_one(
            wallet.day, wallet.riders, wallet.opening, tap, day, book, swept_until=until
        )
    if moved is None:
        if days is None or day < days.since:
            return None
        moved = refold(days.days, tap, day, book, swept_until=until, amendments=days.amendments)
    charged, entries, paid = post(
        wallet,
        changes(moved.before, moved.after),
        cause_id=tap.tap_id,
        closed_through=closed_through,
        paid=days.paid if days else {},
    )
    charged = structs.replace(
        charged,
        day=moved.day,
        riders=moved.riders,
        opening=moved.opening,
        open_until=open_until(moved.riders, until),
        spent=_spent(charged, entries, tap.tapped_at, day, is_offline) if wallet.terms else None,
    )
    own = [charge for charge in moved.after.values() if charge.tap_id == tap.tap_id]
    digits = book.tariffs[-1].currency_digits
    usage = usage_of(entries)
    return Ride(charged, moved, entries, paid, usage, tap, own[0] if own else None, digits)


def _spent(
    wallet: Wallet,
    entries: Sequence[JournalEntry],
    tapped_at: datetime,
    day: date,
    is_offline: bool,
) -> Spent:
    spent = spent_after(wallet.spent or Spent(day), entries)
    is_paid = any(entry.kind == "fare" for entry in entries)
    return spent.seen(tapped_at, is_offline=is_offline, is_paid=is_paid)


def sweep_id(wallet_id: UUID, open_until: datetime | None) -> UUID:
    """Name a sweep by the first leg that it charges."""
    return uuid5(wallet_id, f"late at {open_until}")


def charged_until(wallet: Wallet, now: datetime, book: TariffBook) -> datetime | None:
    """When the first of the legs that a sweep charges could no longer be closed.

    One that costs nothing leaves no entry: nothing could tell when it was once its day is unlinked.
    """
    charged = {i: rider for i, rider in wallet.riders.items() if swept({i: rider}, book, now)}
    return open_until(charged, wallet.swept_until)


def sweep(
    wallet: Wallet, cause_id: UUID, now: datetime, book: TariffBook, closed_through: date | None
) -> tuple[Wallet, tuple[JournalEntry, ...], Paid]:
    """Charge the legs that nobody can close any more."""
    charged, entries, paid = post(
        wallet,
        changes(swept(wallet.riders, book, wallet.swept_until), swept(wallet.riders, book, now)),
        cause_id=cause_id,
        closed_through=closed_through,
    )
    # A sweep that charges nothing leaves no entry to tell the auditor of it, so none is noted.
    swept_until = now if entries else wallet.swept_until
    until = open_until(wallet.riders, now)
    spent = spent_after(wallet.spent, entries) if wallet.spent else None
    return (
        structs.replace(charged, swept_until=swept_until, open_until=until, spent=spent),
        entries,
        paid,
    )


def top_up_first(
    wallet: Wallet, tap: Tap, day: date, classes: WalletClasses, closed_through: date | None
) -> tuple[Wallet, tuple[JournalEntry, ...]]:
    """Pay in what a wallet's rule says, once a day, before a tap that opens; else leave it."""
    terms = wallet.terms
    if terms is None or terms.auto_top_up is None or tap.offline or not tap.action.opens:
        return wallet, ()
    rule, most_fen = terms.auto_top_up, classes.bounds(terms, day).balance_fen
    is_done = terms.topped_up_on is not None and terms.topped_up_on >= day
    is_over = most_fen is not None and wallet.held_fen + rule.amount_fen > most_fen
    if is_done or is_over or wallet.net_fen >= rule.below_fen:
        return wallet, ()
    moved = wallet.moved(rule.amount_fen)
    entry = JournalEntry(
        kind="auto_top_up",
        cause_id=auto_top_up_id(tap.tap_id),
        wallet_id=wallet.wallet_id,
        wallet_version=moved.version,
        effective_at=tap.tapped_at,
        service_day=day,
        settlement_day=settlement_day(day, closed_through),
        postings=(*rider_postings(wallet, moved), Posting(BANK, -rule.amount_fen)),
    )
    return structs.replace(moved, terms=structs.replace(terms, topped_up_on=day)), (entry,)


def auto_top_up_id(tap_id: UUID) -> UUID:
    """The cause of what is paid in before a tap."""
    return uuid5(tap_id, "auto top-up")
