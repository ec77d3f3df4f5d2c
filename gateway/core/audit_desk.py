"""What an entry of the desk must be: made again from what was asked, wherever that is kept.

A top-up and a transfer are taken as posted, for other rows say who asked for them
(shell/audit_store.py); so is the amount of a rider's own top-up rule, which may be another by now.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from msgspec import structs

from fare_rules import TariffBook
from gateway.core.audit_books import Break, KeptCorrection, WalletBooks
from gateway.core.correction_wishes import CorrectionKind
from gateway.core.corrections import move_money
from gateway.core.decide import KeptTap
from gateway.core.ledger import BANK, JournalEntry, Posting
from gateway.core.purse_desk import Books, grant_money, return_purse
from gateway.core.rides import top_up_first
from gateway.core.wallet_classes import NO_CLASSES, AutoTopUp, Terms
from gateway.core.wallet_desk import payout_id
from gateway.core.wallets import Wallet


class Due(NamedTuple):
    """An entry as it must be, and when it was written, if that is known."""

    entry: JournalEntry
    written_at: datetime | None


class OwnTopUp(NamedTuple):
    """What a rider's own rule may pay in: before which tap, with the first version that the tap
    made, and when it did last.
    """

    before: KeptTap | None = None
    version: int = 0
    last_day: date | None = None


def due_entry(
    posted: JournalEntry,
    wallet: Wallet,
    books: WalletBooks,
    book: TariffBook,
    top_up: OwnTopUp,
) -> Due | None:
    """The entry that a wallet must have where one is posted; None where nothing asked for it."""
    wallet = structs.replace(wallet, version=posted.wallet_version - 1)
    now = posted.recorded_at or posted.effective_at
    closed_through = closed_before([posted])
    desk = Books(now, book.service_day_of(now), closed_through)
    if posted.kind == "grant":
        known = books.grants.get(posted.cause_id)
        if known is None:
            return None
        at = known.granted_at
        desk = Books(at, book.service_day_of(at), closed_through)
        return Due(grant_money(wallet, known, desk)[1], at)
    if posted.kind == "grant_return":
        return _return(posted, wallet, desk)
    if posted.kind == "auto_top_up":
        return _auto_top_up(posted, wallet, book, top_up)
    if posted.kind in ("refund", "goodwill"):
        return _money(posted, wallet, books, book)
    if posted.kind not in ("top_up", "transfer", "payout"):
        return None
    cause_id, amount_fen = posted.cause_id, posted.main_fen
    if posted.kind == "payout":
        cause_id, amount_fen = payout_id(wallet), -wallet.net_fen
    moved, paid = wallet.moved(amount_fen), (Posting(BANK, -amount_fen),)
    return Due(desk.entry(posted.kind, cause_id, wallet, moved, paid), now)


def _return(posted: JournalEntry, wallet: Wallet, desk: Books) -> Due | None:
    """At the end of a grant, or whenever the desk asked for it."""
    purse = next((one for one in wallet.purses if one.grant_id in posted.grants_fen), None)
    if purse is None:
        return None
    until = purse.valid_until
    ended_at = until if until and until <= desk.now and posted.effective_at != desk.now else None
    entry = return_purse(wallet, purse, desk, ended_at)[1]
    return None if entry is None else Due(entry, desk.now)


def _auto_top_up(
    posted: JournalEntry, wallet: Wallet, book: TariffBook, top_up: OwnTopUp
) -> Due | None:
    """Once a day, just before a tap that opens; the rule itself may be another by now."""
    kept = top_up.before
    if kept is None or posted.main_fen <= 0 or posted.wallet_version + 1 != top_up.version:
        return None
    rule = AutoTopUp(wallet.net_fen + 1, posted.main_fen)
    terms = Terms(auto_top_up=rule, topped_up_on=top_up.last_day)
    day = book.service_day_of(kept.tap.tapped_at)
    _, entries = top_up_first(
        structs.replace(wallet, terms=terms), kept.tap, day, NO_CLASSES, closed_before([posted])
    )
    return Due(entries[0], kept.received_at) if entries else None


def _money(
    posted: JournalEntry, wallet: Wallet, books: WalletBooks, book: TariffBook
) -> Due | None:
    kept = books.corrections.get(posted.cause_id)
    if kept is None or not kept.is_booked or kept.wallet_version != posted.wallet_version:
        return None
    wish, before = kept.wish, posted.wallet_version
    amount_fen, operator_id = wish.amount_fen, None
    if wish.kind is CorrectionKind.TOP_UP_VOID:
        top_up = next((one for one in books.entries if one.cause_id == wish.top_up_id), None)
        amount_fen = -top_up.main_fen if top_up else None
    elif wish.kind is CorrectionKind.REFUND and wish.sponsor_id is None:
        operator_id = max(
            [
                entry.operator_id
                for entry in books.entries
                if entry.tap_id == wish.tap_id
                and entry.kind in ("fare", "correction")
                and entry.operator_id
                and entry.wallet_version < before
            ],
            default=None,
        )
    if amount_fen is None or kept.decided_at is None:
        return None
    _, entry = move_money(
        wish,
        wallet,
        amount_fen=amount_fen,
        operator_id=operator_id,
        now=kept.decided_at,
        closed_through=closed_before([posted]),
        book=book,
    )
    return Due(entry, kept.decided_at)


def correction_breaks(books: WalletBooks, _book: TariffBook) -> list[Break]:
    """The row of what the desk was asked must say what the wish itself says."""
    return [
        Break("correction_differs", f"{kept.kind} {kept.correction_id}", fault)
        for kept in books.corrections.values()
        for fault in _row_faults(kept)
    ]


def _row_faults(kept: KeptCorrection) -> Iterable[str]:
    wish = kept.wish
    for field in ("correction_id", "wallet_id", "kind", "reason", "note", "by_rider", "subject"):
        said, asked = getattr(kept, field), getattr(wish, field)
        # Of a ride whose day is unlinked the wish no longer says its end, and so not its last tap.
        is_forgotten = field == "subject" and kept.subject in _rides(kept)
        if said != asked and not is_forgotten:
            yield f"{field}: {said}, but {asked} was asked"
    if wish.amount_fen is not None and wish.amount_fen != kept.amount_fen:
        yield f"amount_fen: {kept.amount_fen}, but {wish.amount_fen} was asked"
    # What needs no second person is booked as it is asked.
    at = kept.decided_at
    if at and (at < kept.proposed_at or (kept.checker is None and at != kept.proposed_at)):
        by = kept.checker or "nobody else"
        yield f"decided at {at} by {by}, but proposed at {kept.proposed_at}"


def _rides(kept: KeptCorrection) -> tuple[UUID, ...]:
    wish = kept.wish
    if wish.kind is not CorrectionKind.MISSING_RIDE:
        return ()
    return structs.replace(wish, until=kept.proposed_at).ride


def grant_breaks(books: WalletBooks, _book: TariffBook) -> list[Break]:
    """A grant has ended when what was left of it went back, and not while money is in it."""
    held_fen = {purse.grant_id: purse.held_fen for purse in books.wallet.purses}
    newest: dict[UUID, JournalEntry] = {}
    for entry in sorted(books.entries, key=lambda entry: entry.wallet_version):
        newest |= dict.fromkeys(entry.grants_fen, entry)
    breaks = []
    for grant_id, known in books.grants.items():
        last = newest.get(grant_id)
        fault = None
        if held_fen.get(grant_id) and known.ended_at:
            fault = f"ended at {known.ended_at}, but holds {held_fen[grant_id]}"
        elif last and last.kind == "grant_return" and last.recorded_at != known.ended_at:
            fault = f"ended at {known.ended_at}, but its rest went back at {last.recorded_at}"
        if fault:
            breaks.append(Break("grant_differs", f"grant {grant_id}", fault))
    return breaks


def issuer_breaks(books: WalletBooks, _book: TariffBook) -> list[Break]:
    """Whose wallet it is never changes, and each tap says it too."""
    issuer_id = books.wallet.issuer_id
    return [
        Break(
            "issuer_differs",
            f"wallet {books.wallet.wallet_id}",
            f"issued by {issuer_id}, but tap {kept.tap.tap_id} by {kept.facts.issuer_id}",
        )
        for kept in books.taps
        if kept.facts is not None and kept.facts.issuer_id != issuer_id
    ][:1]


def closed_before(entries: Sequence[JournalEntry]) -> date | None:
    """Through which day the books were closed when some entries were posted, if they tell."""
    late = [entry for entry in entries if entry.settlement_day > entry.service_day]
    if not late:
        return None
    return date.fromordinal(late[0].settlement_day.toordinal() - 1)
