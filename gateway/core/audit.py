"""The auditor's re-computation: the same fold over the tap log, held against what was posted.

For one wallet it replays every tap that was let through, in the order in which the wallet took
them, and all that was done at the desk in between (audit_replay.py); each answer, each entry and
the wallet's row must come out as they are kept.

Where days are unlinked, both begin at the wallet's base (unlinking.py); of what came before it the
entries are all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

from msgspec import structs

from fare_rules import Charge, TariffBook
from fare_rules.explain import explain_charge
from fare_rules.quotes import sponsored_by
from gateway.core.audit_books import BROKEN, Break, WalletBooks
from gateway.core.audit_desk import correction_breaks, grant_breaks, issuer_breaks
from gateway.core.audit_replay import priced_amendments, replay_breaks
from gateway.core.days import FoldedDays, fold_days
from gateway.core.ledger import DEBT, GRANT, OPERATOR, PURSE, SPONSOR, JournalEntry, is_riders
from gateway.core.unlinking import days_from, rides_of


class _Posted(NamedTuple):
    """What one tap was charged as one product; by account, who is due it and which sponsors pay."""

    rider_fen: int
    ride_count: int
    others_fen: dict[str, int]

    def __str__(self) -> str:
        return ", ".join(f"{name} {fen}" for name, fen in sorted(self.others_fen.items())) or "0"


_NOTHING = _Posted(0, 0, {})


def audit_wallet(
    books: WalletBooks, book: TariffBook, shared_since: datetime | None = None
) -> list[Break]:
    """Find everything in one wallet's books that the pure functions would have done otherwise.

    `shared_since` is from when on each ride must say how it is shared, where fares are.

    What the pure functions assert of their arguments may be untrue of books that were changed: then
    the books are broken, not the audit.
    """
    breaks = list(books.unreadable)
    # Folded afresh and replayed, most taps come after the same memory: then they cost the same.
    book = structs.replace(book, steps={})
    replayed: _Invariant = partial(replay_breaks, shared_since=shared_since)
    for name, is_right in (*_INVARIANTS, ("replay", replayed)):
        try:
            breaks += is_right(books, book)
        except BROKEN as error:
            fault = f"{name}: {type(error).__name__} {error}"
            breaks.append(Break("books_broken", f"wallet {books.wallet.wallet_id}", fault))
    return breaks


def _audit_balance(books: WalletBooks, _book: TariffBook) -> list[Break]:
    """The wallet's row must hold what its postings come to."""
    wallet = books.wallet
    purse_fen = debt_fen = 0
    for entry in books.entries:
        for posting in entry.postings:
            if posting.account == PURSE:
                purse_fen += posting.amount_fen
            elif posting.account == DEBT:
                debt_fen += posting.amount_fen
    if (purse_fen, -debt_fen) == (wallet.balance_fen, wallet.owed_fen):
        return []
    fault = (
        f"holds {wallet.balance_fen} and owes {wallet.owed_fen}, "
        f"but its postings say {purse_fen} and {-debt_fen}"
    )
    return [Break("balance_differs", f"wallet {wallet.wallet_id}", fault)]


def _audit_purses(books: WalletBooks, _book: TariffBook) -> list[Break]:
    """Each purse bound to a purpose must hold what its postings come to."""
    held_fen = {purse.grant_id: purse.held_fen for purse in books.wallet.purses}
    posted_fen: dict[UUID, int] = {}
    for entry in books.entries:
        for posting in entry.postings:
            if posting.account.startswith(GRANT):
                grant_id = UUID(posting.account.removeprefix(GRANT))
                posted_fen[grant_id] = posted_fen.get(grant_id, 0) + posting.amount_fen
    return [
        Break("purse_differs", f"grant {grant_id}", f"holds {held}, but its postings say {said}")
        for grant_id in sorted(held_fen.keys() | posted_fen.keys())
        for held, said in [(held_fen.get(grant_id, 0), posted_fen.get(grant_id, 0))]
        if held != said
    ]


def _audit_charges(books: WalletBooks, book: TariffBook) -> list[Break]:
    """All taps, folded afresh, must cost exactly what has been posted for them."""
    first = books.base.day if books.base else date.min
    return charge_breaks(books, folded_afresh(books, book), book, first, date.max)


def charge_breaks(
    books: WalletBooks, folded: FoldedDays, book: TariffBook, since: date, through: date
) -> list[Break]:
    """The taps of some service days that cost something else than has been posted for them."""
    posted = _posted([one for one in books.entries if since <= one.service_day <= through])
    due = {
        key: _Posted(charge.rider_fen, 1, _others_due(charge))
        for key, charge in folded.charges.items()
        if since <= charge.service_day <= through
    }
    differing = [
        key
        for key in posted.keys() | due.keys()
        if posted.get(key, _NOTHING) != due.get(key, _NOTHING)
    ]
    return [
        Break(
            "charge_differs",
            f"tap {tap_id}",
            f"{product_id}: posted {posted.get((tap_id, product_id), _NOTHING)}, "
            f"due {due.get((tap_id, product_id), _NOTHING)}"
            f"{_why(folded, tap_id, product_id, book)}",
        )
        for tap_id, product_id in sorted(differing, key=str)
    ]


def _others_due(charge: Charge) -> dict[str, int]:
    others_fen = {f"{OPERATOR}{charge.operator_id}": int(charge.fare_fen)}
    for account, fen in charge.quote.sponsored.items():
        name = _named_account(f"{SPONSOR}{account}")
        others_fen[name] = others_fen.get(name, 0) - fen
    return _who_counts(others_fen, 1)


def _who_counts(others_fen: Mapping[str, int], ride_count: int) -> dict[str, int]:
    """Whoever pays or is paid; of a ride also the operator that is paid nothing for it."""
    return {
        name: fen
        for name, fen in others_fen.items()
        if fen or (ride_count and name.startswith(OPERATOR))
    }


def _named_account(account: str) -> str:
    """All campaigns of a sponsor are one account: a promotion may move from one to another."""
    return sponsored_by(account)[0] if account.startswith(SPONSOR) else account


def _posted(entries: Sequence[JournalEntry]) -> dict[tuple[UUID, str], _Posted]:
    """What each tap has been charged as each product, all entries taken together."""
    posted: dict[tuple[UUID, str], _Posted] = {}
    for entry in entries:
        if entry.tap_id and entry.product_id and entry.kind != "refund":
            key = (entry.tap_id, entry.product_id)
            rider_fen, ride_count, others_fen = posted.get(key) or _Posted(0, 0, {})
            for posting in entry.postings:
                if is_riders(posting.account):
                    rider_fen -= posting.amount_fen
                else:
                    name = _named_account(posting.account)
                    others_fen[name] = others_fen.get(name, 0) + posting.amount_fen
            posted[key] = _Posted(rider_fen, ride_count + entry.ride_count, others_fen)
    return {
        key: one._replace(others_fen=_who_counts(one.others_fen, one.ride_count))
        for key, one in posted.items()
    }


def folded_afresh(books: WalletBooks, book: TariffBook) -> FoldedDays:
    """What all taps of a wallet come to, from its base on, whatever was posted for them."""
    days = days_from(books.base, rides_of(books.taps))
    amendments = [one for _, one in priced_amendments(books, book)]
    return fold_days(days, book, swept_until=books.wallet.swept_until, amendments=amendments)


def _why(folded: FoldedDays, tap_id: UUID, product_id: str, book: TariffBook) -> str:
    """The fare as the rider's receipt tells it."""
    charge = folded.charges.get((tap_id, product_id))
    return f" ({'; '.join(explain_charge(charge, book))})" if charge else ""


# One function an invariant. Each looks at one wallet's books, and finds what breaks it.
_Invariant = Callable[[WalletBooks, TariffBook], list[Break]]
_INVARIANTS: tuple[tuple[str, _Invariant], ...] = (
    ("balance", _audit_balance),
    ("purses", _audit_purses),
    ("charges", _audit_charges),
    ("corrections", correction_breaks),
    ("grants", grant_breaks),
    ("issuer", issuer_breaks),
)
