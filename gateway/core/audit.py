"""The auditor's re-computation: the same fold over the tap log, held against what was posted.

For one wallet it replays every tap that was let through, in the order in which the wallet took
them, and every top-up in between; each answer, each entry and the wallet's row must come out as
they are kept.

Where days are unlinked, both begin at the wallet's base (unlinking.py); of what came before it the
entries are all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct, structs

from fare_rules import Charge, RideTap, TariffBook
from fare_rules.explain import explain_charge
from fare_rules.quotes import sponsored_by
from gateway.core.amendments import Amendment
from gateway.core.answers import ride_result
from gateway.core.audit_start import start
from gateway.core.corrections import amend, amended_days
from gateway.core.days import FoldedDays, LoadedDays, fold_days
from gateway.core.decide import KeptTap
from gateway.core.ledger import DEBT, GRANT, OPERATOR, PURSE, SPONSOR, JournalEntry, is_riders
from gateway.core.purse_desk import KnownGrant
from gateway.core.purses import Paid, with_purse
from gateway.core.rides import sweep, take_ride
from gateway.core.unlinking import Base, days_from, last_day_of, rides_of, unlinked
from gateway.core.wallets import Wallet


class Break(Struct, frozen=True):
    """One thing that is not as it should be."""

    kind: str
    subject: str
    fault: str


class WalletBooks(Struct, frozen=True):
    """All that is kept of one wallet."""

    wallet: Wallet
    taps: tuple[KeptTap, ...]
    entries: tuple[JournalEntry, ...]
    grants: Mapping[UUID, KnownGrant] = {}
    # What was put right, with the wallet's version then.
    amendments: tuple[tuple[int, Amendment], ...] = ()
    # Rows of it that could not be read, and are left out of the above.
    unreadable: tuple[Break, ...] = ()
    # Where its decisions begin, if some of its days are unlinked.
    base: Base | None = None


class _Posted(NamedTuple):
    """What one tap was charged as one product; by account, who is due it and which sponsors pay."""

    rider_fen: int
    ride_count: int
    others_fen: dict[str, int]

    def __str__(self) -> str:
        return ", ".join(f"{name} {fen}" for name, fen in sorted(self.others_fen.items())) or "0"


_NOTHING = _Posted(0, 0, {})


class _Step(NamedTuple):
    version: int
    tap: KeptTap | None
    entries: tuple[JournalEntry, ...]
    amendment: Amendment | None = None


def audit_wallet(books: WalletBooks, book: TariffBook) -> list[Break]:
    """Find everything in one wallet's books that the pure functions would have done otherwise.

    What the pure functions assert of their arguments may be untrue of books that were changed: then
    the books are broken, not the audit.
    """
    breaks = list(books.unreadable)
    # Folded afresh and replayed, most taps come after the same memory: then they cost the same.
    book = structs.replace(book, steps={})
    for is_right in _INVARIANTS:
        try:
            breaks += is_right(books, book)
        except (AssertionError, LookupError, ValueError) as error:
            fault = f"{is_right.__name__.strip('_')}: {type(error).__name__} {error}"
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


def _let_through(books: WalletBooks) -> list[KeptTap]:
    return [kept for kept in books.taps if kept.result.outcome.is_let_through]


def _facts(kept: KeptTap) -> RideTap:
    assert kept.facts is not None
    return kept.facts


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
    amendments = [one for _, one in _amendments(books, book)]
    return fold_days(days, book, swept_until=books.wallet.swept_until, amendments=amendments)


def _amendments(books: WalletBooks, book: TariffBook) -> list[tuple[int, Amendment]]:
    """Those of rides that are computed again."""
    first = books.base.day if books.base else date.min
    return [(version, one) for version, one in books.amendments if last_day_of(one, book) >= first]


def _why(folded: FoldedDays, tap_id: UUID, product_id: str, book: TariffBook) -> str:
    """The fare as the rider's receipt tells it."""
    charge = folded.charges.get((tap_id, product_id))
    return f" ({'; '.join(explain_charge(charge, book))})" if charge else ""


def _audit_answers(books: WalletBooks, book: TariffBook) -> list[Break]:
    """Replayed in the order the wallet took them, the taps must be answered as they were."""
    by_tap: dict[UUID, tuple[JournalEntry, ...]] = {}
    for entry in sorted(books.entries, key=lambda entry: entry.wallet_version):
        by_tap[entry.cause_id] = (*by_tap.get(entry.cause_id, ()), entry)
    taken = {kept.tap.tap_id for kept in books.taps}
    steps = [_Step(kept.wallet_version or 0, kept, ()) for kept in _let_through(books)]
    amendments = _amendments(books, book)
    for version, one in amendments:
        steps.append(_Step(version, None, by_tap.get(one.correction_id, ()), one))
        taken.add(one.correction_id)
    steps += [
        _Step(entries[-1].wallet_version, None, entries)
        for cause_id, entries in by_tap.items()
        if cause_id not in taken
    ]
    breaks: list[Break] = []
    wallet = Wallet(books.wallet.wallet_id, floor_fen=books.wallet.floor_fen)
    days = LoadedDays(date.min, ())
    if books.base is not None:
        # What was posted together was taken together.
        through = books.base.version
        begun = [found for found in by_tap.values() if found[0].wallet_version <= through]
        through = max([through, *(found[-1].wallet_version for found in begun)])
        wallet, days = start(
            wallet,
            structs.replace(books.base, version=through),
            swept_until=books.wallet.swept_until,
            taps=_let_through(books),
            entries=books.entries,
            grants=books.grants,
            amendments=amendments,
            book=book,
        )
        steps = [step for step in steps if step.version > through]
    for step in sorted(steps, key=lambda step: step.version):
        if step.amendment is not None:
            if not days.days:
                fault = "no tap was there to put right"
                breaks.append(Break("correction_differs", _named(step.amendment), fault))
                continue
            booking = amend(
                wallet,
                days,
                step.amendment,
                book=book,
                closed_through=_closed_through(step.entries),
            )
            breaks += _amendment_breaks(step, booking.entries)
            days = amended_days(days, booking)
            wallet = structs.replace(booking.wallet, version=step.version)
            continue
        if step.tap is None:
            wallet, paid, found_breaks = _take_entries(
                wallet, step.entries, book, books.grants, days.paid
            )
            days = structs.replace(days, paid=paid)
            breaks += found_breaks
            continue
        kept, facts = step.tap, _facts(step.tap)
        day = book.service_day_of(facts.tapped_at)
        found = by_tap.get(kept.tap.tap_id, ())
        closed_through = _closed_through(found)
        ride = take_ride(
            wallet,
            facts,
            days,
            book=book,
            day=day,
            closed_through=closed_through,
            is_offline=kept.tap.offline,
        )
        assert ride is not None
        days = days.after(ride.moved, facts, ride.paid)
        answer = ride_result(kept.tap, kept.result.outcome, ride)
        if answer != kept.result:
            field = next(
                name
                for name in answer.__struct_fields__
                if getattr(answer, name) != getattr(kept.result, name)
            )
            fault = f"{field}: answered {getattr(kept.result, field)}, due {getattr(answer, field)}"
            breaks.append(Break("answer_differs", f"tap {kept.tap.tap_id}", fault))
        wallet = ride.wallet
        if wallet.version != step.version:
            wallet = structs.replace(wallet, version=step.version)
    row = books.wallet
    if books.base is not None:
        row, wallet = _newer(row, books.base, book), _newer(wallet, books.base, book)
    for field in ("day", "riders", "opening", "purses", "amended_until"):
        if getattr(wallet, field) != getattr(row, field):
            fault = f"{field}: remembers something else than its taps come to"
            breaks.append(Break("memory_differs", f"wallet {wallet.wallet_id}", fault))
    return breaks


def _newer(wallet: Wallet, base: Base, book: TariffBook) -> Wallet:
    """A wallet with what it remembers since its base."""
    until, starts_at = wallet.amended_until, book.starts_at(base.day)
    return structs.replace(
        unlinked(wallet, book, base.day - timedelta(days=1)),
        amended_until=until if until is not None and until >= starts_at else None,
    )


def _amendment_breaks(step: _Step, due: Sequence[JournalEntry]) -> list[Break]:
    assert step.amendment is not None
    posted = {entry.entry_id: entry.postings for entry in step.entries}
    owed = {entry.entry_id: entry.postings for entry in due}
    return [
        Break(
            "correction_differs",
            _named(step.amendment),
            f"entry {i}: posted {posted.get(i)}, due {owed.get(i)}",
        )
        for i in sorted(posted.keys() | owed.keys(), key=str)
        if posted.get(i) != owed.get(i)
    ]


def _named(amendment: Amendment) -> str:
    return f"{amendment.kind} {amendment.correction_id}"


def _take_entries(
    wallet: Wallet,
    entries: Sequence[JournalEntry],
    book: TariffBook,
    grants: Mapping[UUID, KnownGrant],
    paid: Paid,
) -> tuple[Wallet, Paid, list[Break]]:
    """What was done at a desk is taken as posted; a sweep is done again."""
    last = entries[-1]
    if last.kind not in ("fare", "correction"):
        breaks = []
        for entry in entries:
            wallet = wallet.moved(entry.main_fen)
            wallet, found = _take_grants(wallet, entry, grants)
            breaks += found
        return wallet, paid, breaks
    if last.recorded_at is None or wallet.day is None:
        return wallet, paid, [Break("sweep_differs", f"entry {last.entry_id}", "nothing was open")]
    swept, due, more = sweep(
        wallet, last.cause_id, last.recorded_at, book, _closed_through(entries)
    )
    paid = {**paid, **more}
    posted = {entry.entry_id: entry.postings for entry in entries}
    breaks = [
        Break("sweep_differs", f"entry {entry_id}", "it is not what the open legs cost")
        for entry_id in sorted(posted.keys() ^ {entry.entry_id for entry in due}, key=str)
    ]
    breaks += [
        Break("sweep_differs", f"entry {entry.entry_id}", f"due {entry.postings}")
        for entry in due
        if entry.postings != posted.get(entry.entry_id, entry.postings)
    ]
    return structs.replace(swept, version=last.wallet_version), paid, breaks


def _take_grants(
    wallet: Wallet, entry: JournalEntry, grants: Mapping[UUID, KnownGrant]
) -> tuple[Wallet, list[Break]]:
    """Open or end the purses that an entry put money into, or gave back."""
    purses = {purse.grant_id: purse for purse in wallet.purses}
    for grant_id, gained_fen in entry.grants_fen.items():
        known, purse = grants.get(grant_id), purses.get(grant_id)
        is_right = (
            known is not None and purse is None and gained_fen == known.amount_fen
            if entry.kind == "grant"
            else purse is not None and gained_fen == -purse.held_fen
        )
        if not is_right:
            fault = f"{entry.kind} of {gained_fen}: not what was granted, or is left"
            return wallet, [Break("grant_differs", f"grant {grant_id}", fault)]
        if entry.kind == "grant" and known is not None:
            wallet = structs.replace(wallet, purses=with_purse(wallet.purses, known.purse))
        else:
            others = tuple(one for one in wallet.purses if one.grant_id != grant_id)
            wallet = structs.replace(wallet, purses=others)
    return wallet, []


def _closed_through(entries: Sequence[JournalEntry]) -> date | None:
    late = [entry for entry in entries if entry.settlement_day > entry.service_day]
    if not late:
        return None
    return date.fromordinal(late[0].settlement_day.toordinal() - 1)


# One function an invariant. Each looks at one wallet's books, and finds what breaks it.
_INVARIANTS: tuple[Callable[[WalletBooks, TariffBook], list[Break]], ...] = (
    _audit_balance,
    _audit_purses,
    _audit_charges,
    _audit_answers,
)
