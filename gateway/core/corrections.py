"""What the desk may put right, why it may be refused, and what follows in money.

A ride is put right by an amendment: one more fact that the fold takes, so that the difference is
posted as a late tap's is, and caps, coupons and quotas come out as if it had been so at once. Money
that is no ride is an entry of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from uuid import UUID

from msgspec import Struct, structs

from fare_rules import TariffBook
from gateway.core.amendments import Amendment, AmendmentKind
from gateway.core.campaigns import usage_of
from gateway.core.correction_wishes import (
    CorrectionKind,
    CorrectionRefusal,
    CorrectionSnapshot,
    CorrectionTerms,
    CorrectionWish,
)
from gateway.core.days import LoadedDays, Moved, open_until, refold_amended
from gateway.core.decide import KeptTap
from gateway.core.ledger import (
    BANK,
    OPERATOR,
    SPONSOR,
    JournalEntry,
    Posting,
    changes,
    rider_postings,
    spent_after,
)
from gateway.core.missing_rides import take_missing_ride, tells_its_ends
from gateway.core.posting import post, settlement_day
from gateway.core.purses import Paid
from gateway.core.taps import looks_like_card_number
from gateway.core.wallets import Wallet, WalletStatus
from gateway.core.wished_amendments import wished_amendment


class Booking(Struct, frozen=True):
    """What a correction comes to: the wallet it leads to, and the entries in between."""

    wallet: Wallet
    entries: tuple[JournalEntry, ...]
    amendment: Amendment | None = None
    moved: Moved | None = None
    # What purses have paid by now.
    paid: Paid = {}
    # The taps of a ride that no gate saw.
    kept: tuple[KeptTap, ...] = ()

    @property
    def gained_fen(self) -> int:
        """What the rider gains by it; below zero, pays."""
        return sum(entry.rider_fen for entry in self.entries)

    @property
    def amount_fen(self) -> int:
        """The money that it moves for the rider, whichever way."""
        return abs(self.gained_fen)


# How far back goodwill to one wallet is taken together.
GOODWILL_WINDOW = timedelta(days=30)
# What stands for a product in the entries that give money of a ride back.
REFUND = "refund"
_FIELDS: dict[CorrectionKind, frozenset[str]] = {
    CorrectionKind.VOID: frozenset({"tap_id"}),
    CorrectionKind.FREE_RIDE: frozenset({"tap_id"}),
    CorrectionKind.CLEARANCE: frozenset({"tap_id"}),
    CorrectionKind.MISSING_EXIT: frozenset({"tap_id", "stop_id", "at"}),
    CorrectionKind.MISSING_ENTRY: frozenset({"tap_id", "stop_id", "at"}),
    CorrectionKind.MISSING_RIDE: frozenset({"media_token", "gate_id", "since"}),
    CorrectionKind.RECLASS: frozenset({"media_token", "rider_category", "since", "until"}),
    CorrectionKind.REVERSAL: frozenset({"reverses"}),
    CorrectionKind.REFUND: frozenset({"tap_id", "amount_fen"}),
    CorrectionKind.GOODWILL: frozenset({"amount_fen", "sponsor_id"}),
    CorrectionKind.TOP_UP_VOID: frozenset({"top_up_id"}),
}
_OPTIONAL: dict[CorrectionKind, frozenset[str]] = {
    CorrectionKind.FREE_RIDE: frozenset({"until"}),
    CorrectionKind.REFUND: frozenset({"sponsor_id"}),
    CorrectionKind.MISSING_RIDE: frozenset(
        {"stop_id", "route_id", "until", "exit_stop_id", "full_fare_fen"}
    ),
}
_ALL_FIELDS = frozenset[str]().union(*_FIELDS.values(), *_OPTIONAL.values())
_MISSING = (CorrectionKind.MISSING_EXIT, CorrectionKind.MISSING_ENTRY)
_NEEDS_TAP = (
    CorrectionKind.VOID,
    CorrectionKind.FREE_RIDE,
    CorrectionKind.CLEARANCE,
    CorrectionKind.REFUND,
    *_MISSING,
)


def needs_checker(
    wish: CorrectionWish, booking: Booking, snapshot: CorrectionSnapshot, terms: CorrectionTerms
) -> bool:
    """Whether a second person must agree; what riders may do themselves needs none.

    What was refunded of the same ride before counts, too, and the wallet's newest goodwill: much in
    small parts is much.
    """
    before_fen = {
        CorrectionKind.REFUND: snapshot.refunded_fen,
        CorrectionKind.GOODWILL: snapshot.goodwill_fen,
    }.get(wish.kind, 0)
    return not wish.by_rider and before_fen + booking.amount_fen > terms.unchecked_fen_max


def propose(
    wish: CorrectionWish, snapshot: CorrectionSnapshot, book: TariffBook, terms: CorrectionTerms
) -> Booking | CorrectionRefusal:
    """Say what a correction would come to, or why it is refused."""
    if refusal := _refuse(wish, snapshot, book, terms):
        return refusal
    wallet = snapshot.wallet
    assert wallet is not None
    booking = _book(wish, wallet, snapshot, book, terms)
    if isinstance(booking, CorrectionRefusal):
        return booking
    if _is_given_twice(booking, snapshot.left_fen):
        return CorrectionRefusal.REFUNDED
    # What is its rider's it takes, as of a late tap; nobody is there to pay more.
    is_closed = wallet.status is WalletStatus.CLOSED
    return CorrectionRefusal.WALLET_CLOSED if is_closed and booking.gained_fen < 0 else booking


def _is_given_twice(booking: Booking, left_fen: Mapping[UUID, int]) -> bool:
    """Whether a ride would cost less than what was refunded of it: then its rider is ahead."""
    back_fen = Counter[UUID]()
    for entry in booking.entries:
        if entry.tap_id is not None and entry.tap_id in left_fen and entry.kind != "refund":
            back_fen[entry.tap_id] += entry.main_fen
    return any(0 < fen > left_fen[tap_id] for tap_id, fen in back_fen.items())


def _book(
    wish: CorrectionWish,
    wallet: Wallet,
    snapshot: CorrectionSnapshot,
    book: TariffBook,
    terms: CorrectionTerms,
) -> Booking | CorrectionRefusal:
    if wish.kind in (CorrectionKind.REFUND, CorrectionKind.GOODWILL, CorrectionKind.TOP_UP_VOID):
        return _move(wish, wallet, snapshot, book)
    if wish.kind is CorrectionKind.MISSING_RIDE:
        return _missing_ride(wish, wallet, snapshot, book)
    amendment = wished_amendment(wish, snapshot, book, terms)
    if isinstance(amendment, CorrectionRefusal):
        return amendment
    return book_amendment(amendment, snapshot, book)


def _missing_ride(
    wish: CorrectionWish, wallet: Wallet, snapshot: CorrectionSnapshot, book: TariffBook
) -> Booking | CorrectionRefusal:
    """Its taps go into the log; the amendment says whose they are, so that it can be undone."""
    taken = take_missing_ride(wish, wallet, snapshot, book)
    if isinstance(taken, CorrectionRefusal):
        return taken
    first, last = taken.kept[0].facts, taken.kept[-1].facts
    assert first is not None
    assert last is not None
    amendment = Amendment(
        wish.correction_id,
        AmendmentKind.MISSING_RIDE,
        first.media_token,
        first.tapped_at,
        last.tapped_at,
        ride=tuple(kept.tap.tap_id for kept in taken.kept),
    )
    booking = amend(
        taken.wallet, taken.days, amendment, book=book, closed_through=snapshot.closed_through
    )
    return structs.replace(booking, entries=taken.entries, kept=taken.kept)


def book_amendment(
    amendment: Amendment, snapshot: CorrectionSnapshot, book: TariffBook
) -> Booking | CorrectionRefusal:
    """Fold one amendment in, unless taps would then have no price, or a campaign not the money."""
    assert snapshot.wallet is not None
    assert snapshot.days is not None
    booking = amend(
        snapshot.wallet, snapshot.days, amendment, book=book, closed_through=snapshot.closed_through
    )
    assert booking.moved is not None
    is_unpaid = any(
        one.takes and account in snapshot.left and not snapshot.left[account].allows(one)
        for account, one in usage_of(booking.entries).items()
    )
    return CorrectionRefusal.NO_FARE if booking.moved.refused or is_unpaid else booking


def amend(
    wallet: Wallet,
    loaded: LoadedDays,
    amendment: Amendment,
    *,
    book: TariffBook,
    closed_through: date | None,
) -> Booking:
    """Take one more amendment and post the difference, as `take_ride` does with one more tap."""
    until = wallet.swept_until
    moved = refold_amended(loaded, amendment, book, swept_until=until)
    charged, entries, paid = post(
        wallet,
        changes(moved.before, moved.after),
        cause_id=amendment.correction_id,
        closed_through=closed_through,
        paid=loaded.paid,
    )
    spent = spent_after(charged.spent, entries) if charged.spent else None
    amended_until = max(amendment.until, wallet.amended_until or amendment.until)
    charged = structs.replace(
        charged,
        day=moved.day,
        riders=moved.riders,
        opening=moved.opening,
        open_until=open_until(moved.riders, until),
        spent=spent,
        amended_until=amended_until,
    )
    return Booking(charged, entries, amendment, moved, paid)


def amended_days(loaded: LoadedDays, booking: Booking) -> LoadedDays:
    """The days with one more amendment, for what is taken after it."""
    assert booking.moved is not None
    assert booking.amendment is not None
    days = {each.day: each for each in (*loaded.days, *booking.moved.days)}
    return structs.replace(
        loaded,
        days=tuple(days[day] for day in sorted(days)),
        paid=booking.paid,
        amendments=(*loaded.amendments, booking.amendment),
    )


def _refuse(
    wish: CorrectionWish, snapshot: CorrectionSnapshot, book: TariffBook, terms: CorrectionTerms
) -> CorrectionRefusal | None:
    tariff = book.tariff_at(snapshot.now) or book.tariffs[-1]
    said = {name for name in _ALL_FIELDS if getattr(wish, name) is not None}
    if said - _OPTIONAL.get(wish.kind, frozenset()) != _FIELDS[wish.kind]:
        return CorrectionRefusal.FIELDS_DIFFER
    is_ride = wish.kind is CorrectionKind.MISSING_RIDE
    if is_ride and not tells_its_ends(wish, snapshot.registry, book):
        return CorrectionRefusal.FIELDS_DIFFER
    if looks_like_card_number(wish.note or ""):
        return CorrectionRefusal.CARD_NUMBER
    if wish.by_rider and wish.kind not in _MISSING:
        return CorrectionRefusal.NOT_SELF_SERVICE
    if snapshot.wallet is None:
        return CorrectionRefusal.UNKNOWN_WALLET
    tap = snapshot.tap
    if wish.kind in _NEEDS_TAP and (
        tap is None
        or tap.wallet_id != wish.wallet_id
        or tap.facts is None
        or not tap.result.outcome.is_let_through
    ):
        return CorrectionRefusal.UNKNOWN_TAP
    if wish.kind is CorrectionKind.TOP_UP_VOID and (
        snapshot.top_up is None or snapshot.top_up[0] != wish.wallet_id
    ):
        return CorrectionRefusal.UNKNOWN_TOP_UP
    if is_ride and wish.gate_id not in snapshot.registry.gates:
        return CorrectionRefusal.UNKNOWN_GATE
    media = snapshot.media
    if is_ride and (media is None or media.wallet_id != wish.wallet_id):
        return CorrectionRefusal.UNKNOWN_MEDIA
    if {wish.stop_id, wish.exit_stop_id} - {None} - snapshot.registry.stops.keys():
        return CorrectionRefusal.UNKNOWN_STOP
    if wish.route_id is not None and wish.route_id not in snapshot.registry.routes:
        return CorrectionRefusal.UNKNOWN_ROUTE
    if wish.rider_category is not None and wish.rider_category not in tariff.rider_categories:
        return CorrectionRefusal.UNKNOWN_RIDER_CATEGORY
    if wish.sponsor_id is not None and wish.sponsor_id not in tariff.sponsors:
        return CorrectionRefusal.UNKNOWN_SPONSOR
    if wish.kind is CorrectionKind.REVERSAL and snapshot.reversed is None:
        return CorrectionRefusal.UNKNOWN_CORRECTION
    if wish.by_rider and snapshot.self_count >= terms.self_count_max:
        return CorrectionRefusal.TOO_MANY_SELF_SERVICE
    return _refuse_time(wish, snapshot, book, terms)


def _refuse_time(
    wish: CorrectionWish, snapshot: CorrectionSnapshot, book: TariffBook, terms: CorrectionTerms
) -> CorrectionRefusal | None:
    if wish.kind in (CorrectionKind.GOODWILL, CorrectionKind.TOP_UP_VOID):
        return CorrectionRefusal.ALREADY_CORRECTED if snapshot.is_corrected else None
    now, tap = snapshot.now, snapshot.tap
    since = tap.tap.tapped_at if tap else wish.since
    if snapshot.reversed is not None:
        since = snapshot.reversed.since
    assert since is not None
    tariff = book.tariff_at(since) or book.tariffs[0]
    age = timedelta(days=tariff.late_taps_days)
    if wish.kind is not CorrectionKind.REFUND:
        if since < now - (min(age, terms.self_age) if wish.by_rider else age):
            return CorrectionRefusal.TOO_OLD
        archived = snapshot.archived_through
        if archived is not None and book.service_day_of(since) <= archived:
            return CorrectionRefusal.TOO_OLD
        if max(wish.until or since, wish.at or since) > now:
            return CorrectionRefusal.NOT_YET
        return CorrectionRefusal.ALREADY_CORRECTED if snapshot.is_corrected else None
    left_fen = snapshot.charged_fen - snapshot.refunded_fen
    assert wish.amount_fen is not None
    return CorrectionRefusal.MORE_THAN_CHARGED if wish.amount_fen > left_fen else None


def _move(
    wish: CorrectionWish, wallet: Wallet, snapshot: CorrectionSnapshot, book: TariffBook
) -> Booking:
    amount_fen = wish.amount_fen
    if wish.kind is CorrectionKind.TOP_UP_VOID:
        assert snapshot.top_up is not None
        amount_fen = -snapshot.top_up[1]
    assert amount_fen is not None
    moved, entry = move_money(
        wish,
        wallet,
        amount_fen=amount_fen,
        operator_id=snapshot.operator_id,
        now=snapshot.now,
        closed_through=snapshot.closed_through,
        book=book,
    )
    return Booking(moved, (entry,))


def move_money(
    wish: CorrectionWish,
    wallet: Wallet,
    *,
    amount_fen: int,
    operator_id: str | None,
    now: datetime,
    closed_through: date | None,
    book: TariffBook,
) -> tuple[Wallet, JournalEntry]:
    """Give a wallet money that is no ride, from who bears it: a sponsor, the bank for a top-up that
    was void, or else the operator that was paid for the ride.
    """
    if wish.kind is CorrectionKind.TOP_UP_VOID:
        operator_id, bearer = None, BANK
    elif wish.sponsor_id is not None:
        operator_id, bearer = None, f"{SPONSOR}{wish.sponsor_id}"
    else:
        bearer = f"{OPERATOR}{operator_id}"
    moved = wallet.moved(amount_fen)
    day = book.service_day_of(now)
    return moved, JournalEntry(
        kind="goodwill" if wish.kind is CorrectionKind.GOODWILL else "refund",
        cause_id=wish.correction_id,
        wallet_id=wallet.wallet_id,
        wallet_version=moved.version,
        effective_at=now,
        service_day=day,
        settlement_day=settlement_day(day, closed_through),
        postings=(*rider_postings(wallet, moved), Posting(bearer, -amount_fen)),
        tap_id=wish.tap_id,
        operator_id=operator_id,
        product_id=REFUND if wish.tap_id else None,
    )
