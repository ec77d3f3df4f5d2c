"""What the desk may put right, why it may be refused, and what follows in money.

A ride is put right by an amendment: one more fact that the fold takes, so that the difference is
posted as a late tap's is, and caps, coupons and quotas come out as if it had been so at once. Money
that is no ride is an entry of its own.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct, structs

from fare_rules import Action, RideTap, TariffBook
from gateway.core.amendments import Amendment, AmendmentKind, amended, next_tap, previous_tap
from gateway.core.days import LoadedDays, Moved, open_until, refold_amended
from gateway.core.decide import KeptTap
from gateway.core.ledger import BANK, JournalEntry, Posting, changes, rider_postings
from gateway.core.posting import post, settlement_day
from gateway.core.purse_desk import Amount
from gateway.core.purses import Paid
from gateway.core.taps import Name, looks_like_card_number
from gateway.core.wallets import Wallet, WalletStatus


class CorrectionKind(StrEnum):
    """The first ones are facts about taps, the last ones money alone."""

    VOID = "void"
    MISSING_EXIT = "missing_exit"
    MISSING_ENTRY = "missing_entry"
    RECLASS = "reclass"
    CLEARANCE = "clearance"
    REVERSAL = "reversal"
    REFUND = "refund"
    GOODWILL = "goodwill"
    TOP_UP_VOID = "top_up_void"


class Reason(StrEnum):
    DUPLICATE = "duplicate"
    GATE_FAULT = "gate_fault"
    FORGOTTEN_TAP = "forgotten_tap"
    WRONG_CLASS = "wrong_class"
    NOT_TRAVELLED = "not_travelled"
    DISRUPTION = "disruption"
    STAFF_ERROR = "staff_error"
    PAID_BY_MISTAKE = "paid_by_mistake"
    COMPLAINT = "complaint"


class CorrectionRefusal(StrEnum):
    """Why a correction is refused. Ordered by precedence; it then has no effect."""

    CORRECTION_ID_REUSED = "correction_id_reused"
    UNKNOWN_CORRECTION = "unknown_correction"
    ALREADY_DECIDED = "already_decided"
    SAME_PERSON = "same_person"
    FIELDS_DIFFER = "fields_differ"
    CARD_NUMBER = "card_number"
    NOT_SELF_SERVICE = "not_self_service"
    UNKNOWN_WALLET = "unknown_wallet"
    WALLET_CLOSED = "wallet_closed"
    UNKNOWN_TAP = "unknown_tap"
    UNKNOWN_TOP_UP = "unknown_top_up"
    UNKNOWN_STOP = "unknown_stop"
    UNKNOWN_RIDER_CATEGORY = "unknown_rider_category"
    UNKNOWN_SPONSOR = "unknown_sponsor"
    TOO_OLD = "too_old"
    NOT_YET = "not_yet"
    ALREADY_CORRECTED = "already_corrected"
    WRONG_ACTION = "wrong_action"
    NOT_INCOMPLETE = "not_incomplete"
    WRONG_TIME = "wrong_time"
    MORE_THAN_CHARGED = "more_than_charged"
    NO_FARE = "no_fare"
    TOO_MANY_SELF_SERVICE = "too_many_self_service"


class CorrectionWish(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something to put right. The caller chooses the id, so sending twice is asking once.

    void, clearance: tap_id. missing_exit, missing_entry: tap_id is the end that is known; stop_id
    and at are the other's. reclass: media_token, rider_category, since, until. reversal: reverses.
    refund: tap_id, amount_fen, and sponsor_id unless the operator bears it. goodwill: amount_fen,
    sponsor_id. top_up_void: top_up_id.
    """

    correction_id: UUID
    wallet_id: UUID
    kind: CorrectionKind
    reason: Reason
    note: Annotated[
        Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")]
        | None,
        Meta(description="in words; nothing that names a person"),
    ] = None
    by_rider: Annotated[bool, Meta(description="the rider asked for it, without a person")] = False
    tap_id: UUID | None = None
    stop_id: Name | None = None
    at: Annotated[datetime, Meta(tz=True)] | None = None
    media_token: Name | None = None
    rider_category: Name | None = None
    since: Annotated[datetime, Meta(tz=True)] | None = None
    until: Annotated[datetime, Meta(tz=True, description="included")] | None = None
    reverses: UUID | None = None
    amount_fen: Amount | None = None
    sponsor_id: Name | None = None
    top_up_id: UUID | None = None

    @property
    def subject(self) -> UUID | None:
        return self.tap_id or self.top_up_id or self.reverses


class CorrectionTerms(Struct, frozen=True):
    """How far the desk may go."""

    unchecked_fen_max: int
    self_count_max: int
    self_window: timedelta
    self_age: timedelta
    clearance: timedelta


class CorrectionSnapshot(Struct, frozen=True):
    """All that was loaded for one correction."""

    now: datetime
    closed_through: date | None
    stops: frozenset[str]
    wallet: Wallet | None = None
    tap: KeptTap | None = None
    days: LoadedDays | None = None
    # What the tap has cost the rider by now; and the operator that was paid.
    charged_fen: int = 0
    operator_id: str | None = None
    # What was given back of the same tap or top-up, or is proposed to be.
    refunded_fen: int = 0
    # What the wallet was given as goodwill within the window, or is to be.
    goodwill_fen: int = 0
    is_corrected: bool = False
    top_up: tuple[UUID, int] | None = None
    reversed: Amendment | None = None
    self_count: int = 0
    # The taps of this day, and of all before it, are in the archive, where no fold sees them.
    archived_through: date | None = None


class Booking(Struct, frozen=True):
    """What a correction comes to: the wallet it leads to, and the entries in between."""

    wallet: Wallet
    entries: tuple[JournalEntry, ...]
    amendment: Amendment | None = None
    moved: Moved | None = None
    # What purses have paid by now.
    paid: Paid = {}

    @property
    def amount_fen(self) -> int:
        """The money that it moves for the rider, whichever way."""
        return abs(sum(entry.rider_fen for entry in self.entries))


# How far back goodwill to one wallet is taken together.
GOODWILL_WINDOW = timedelta(days=30)
# What stands for a product in the entries that give money of a ride back.
REFUND = "refund"
_FIELDS: dict[CorrectionKind, frozenset[str]] = {
    CorrectionKind.VOID: frozenset({"tap_id"}),
    CorrectionKind.CLEARANCE: frozenset({"tap_id"}),
    CorrectionKind.MISSING_EXIT: frozenset({"tap_id", "stop_id", "at"}),
    CorrectionKind.MISSING_ENTRY: frozenset({"tap_id", "stop_id", "at"}),
    CorrectionKind.RECLASS: frozenset({"media_token", "rider_category", "since", "until"}),
    CorrectionKind.REVERSAL: frozenset({"reverses"}),
    CorrectionKind.REFUND: frozenset({"tap_id", "amount_fen"}),
    CorrectionKind.GOODWILL: frozenset({"amount_fen", "sponsor_id"}),
    CorrectionKind.TOP_UP_VOID: frozenset({"top_up_id"}),
}
_ALL_FIELDS = frozenset[str]().union(*_FIELDS.values())
_MISSING = (CorrectionKind.MISSING_EXIT, CorrectionKind.MISSING_ENTRY)
# What closes what opens, and the other way round.
_OTHER_END = {
    Action.ENTER: Action.EXIT,
    Action.EXIT: Action.ENTER,
    Action.BOARD: Action.ALIGHT,
    Action.ALIGHT: Action.BOARD,
}
_NEEDS_TAP = (CorrectionKind.VOID, CorrectionKind.CLEARANCE, CorrectionKind.REFUND, *_MISSING)


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
    if wish.kind in (CorrectionKind.REFUND, CorrectionKind.GOODWILL, CorrectionKind.TOP_UP_VOID):
        return _move(wish, wallet, snapshot, book)
    amendment = _amendment(wish, snapshot, book, terms)
    if isinstance(amendment, CorrectionRefusal):
        return amendment
    return book_amendment(amendment, snapshot, book)


def book_amendment(
    amendment: Amendment, snapshot: CorrectionSnapshot, book: TariffBook
) -> Booking | CorrectionRefusal:
    """Fold one amendment in, unless taps would then have no price."""
    assert snapshot.wallet is not None
    assert snapshot.days is not None
    booking = amend(
        snapshot.wallet, snapshot.days, amendment, book=book, closed_through=snapshot.closed_through
    )
    assert booking.moved is not None
    return CorrectionRefusal.NO_FARE if booking.moved.refused else booking


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
    first_day = book.service_day_of(amendment.since)
    moved = refold_amended(loaded, amendment, first_day, book, swept_until=until)
    charged, entries, paid = post(
        wallet,
        changes(moved.before, moved.after),
        cause_id=amendment.correction_id,
        closed_through=closed_through,
        paid=loaded.paid,
    )
    spent = charged.spent
    for entry in entries if spent else ():
        assert spent is not None
        spent = spent.after(entry.service_day, -entry.rider_fen)
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
    optional = {"sponsor_id"} if wish.kind is CorrectionKind.REFUND else set()
    if said - optional != _FIELDS[wish.kind]:
        return CorrectionRefusal.FIELDS_DIFFER
    if looks_like_card_number(wish.note or ""):
        return CorrectionRefusal.CARD_NUMBER
    if wish.by_rider and wish.kind not in _MISSING:
        return CorrectionRefusal.NOT_SELF_SERVICE
    if snapshot.wallet is None:
        return CorrectionRefusal.UNKNOWN_WALLET
    if snapshot.wallet.status is WalletStatus.CLOSED:
        return CorrectionRefusal.WALLET_CLOSED
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
    if wish.stop_id is not None and wish.stop_id not in snapshot.stops:
        return CorrectionRefusal.UNKNOWN_STOP
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
    since = wish.since or (tap.tap.tapped_at if tap else None)
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


def _amendment(
    wish: CorrectionWish, snapshot: CorrectionSnapshot, book: TariffBook, terms: CorrectionTerms
) -> Amendment | CorrectionRefusal:
    kind = AmendmentKind(wish.kind)
    if kind is AmendmentKind.REVERSAL:
        undone = snapshot.reversed
        assert undone is not None
        return Amendment(
            wish.correction_id,
            kind,
            undone.media_token,
            undone.since,
            undone.until,
            reverses=wish.reverses,
        )
    if kind is AmendmentKind.RECLASS:
        assert wish.media_token is not None
        assert wish.since is not None
        assert wish.until is not None
        since, until = wish.since.astimezone(UTC), wish.until.astimezone(UTC)
        # Days are loaded back to the last one with taps, unless that is in the archive.
        is_tapped = snapshot.days is not None and any(
            tap.media_token == wish.media_token and since <= tap.tapped_at <= until
            for day in snapshot.days.days
            for tap in day.taps
        )
        if until < since:
            return CorrectionRefusal.WRONG_TIME
        if not is_tapped:
            return CorrectionRefusal.UNKNOWN_TAP
        return Amendment(
            wish.correction_id,
            kind,
            wish.media_token,
            since,
            until,
            rider_category=wish.rider_category,
        )
    assert snapshot.tap is not None
    tap = snapshot.tap.facts
    assert tap is not None
    one = Amendment(
        wish.correction_id, kind, tap.media_token, tap.tapped_at, tap.tapped_at, tap.tap_id
    )
    if kind is AmendmentKind.VOID:
        return one
    if kind is AmendmentKind.CLEARANCE:
        return _clearance(one, tap, snapshot, book, terms)
    return _missing_end(one, wish, tap, snapshot, book)


def _clearance(
    one: Amendment,
    tap: RideTap,
    snapshot: CorrectionSnapshot,
    book: TariffBook,
    terms: CorrectionTerms,
) -> Amendment | CorrectionRefusal:
    if tap.action is not Action.ENTER:
        return CorrectionRefusal.WRONG_ACTION
    after = next_tap(_effective(tap, snapshot, book), tap)
    until = tap.tapped_at + terms.clearance
    left_at = after.tapped_at if after and not after.action.opens else snapshot.now
    is_elsewhere = after is not None and not after.action.opens and after.stop_id != tap.stop_id
    if left_at > until or is_elsewhere:
        return CorrectionRefusal.WRONG_TIME
    return structs.replace(one, until=until)


def _missing_end(
    one: Amendment,
    wish: CorrectionWish,
    tap: RideTap,
    snapshot: CorrectionSnapshot,
    book: TariffBook,
) -> Amendment | CorrectionRefusal:
    is_exit = one.kind is AmendmentKind.MISSING_EXIT
    action = _OTHER_END.get(tap.action)
    tariff = book.tariff_at(tap.tapped_at)
    network = tariff.network(tap.network) if tariff else None
    if action is None or tap.action.opens is not is_exit or network is None:
        return CorrectionRefusal.WRONG_ACTION
    if network.taps == "board":
        return CorrectionRefusal.WRONG_ACTION
    assert wish.at is not None
    at, taps = wish.at.astimezone(UTC), _effective(tap, snapshot, book)
    bound = next_tap(taps, tap) if is_exit else previous_tap(taps, tap)
    if bound is not None and bound.action.opens is not is_exit:
        is_in_time = abs(bound.tapped_at - tap.tapped_at) <= network.longest
        if is_in_time:
            return CorrectionRefusal.NOT_INCOMPLETE
    first, last = (tap.tapped_at, at) if is_exit else (at, tap.tapped_at)
    is_between = bound is None or (bound.tapped_at > at if is_exit else bound.tapped_at < at)
    if (
        not first < last <= first + network.longest
        or not is_between
        or book.service_day_of(at) != book.service_day_of(tap.tapped_at)
    ):
        return CorrectionRefusal.WRONG_TIME
    added = structs.replace(
        tap,
        tap_id=one.correction_id,
        gate_id="desk",
        sequence=0,
        tapped_at=at,
        action=action,
        stop_id=wish.stop_id,
        distance_m=None,
        full_fare=None,
    )
    if is_exit:
        return structs.replace(one, added=added, until=tap.tapped_at + network.longest)
    begins_at = book.starts_at(book.service_day_of(tap.tapped_at))
    return structs.replace(one, added=added, since=max(tap.tapped_at - network.longest, begins_at))


def _effective(tap: RideTap, snapshot: CorrectionSnapshot, book: TariffBook) -> tuple[RideTap, ...]:
    """The taps of a tap's day as they are priced by now."""
    assert snapshot.days is not None
    day = book.service_day_of(tap.tapped_at)
    taps = next((each.taps for each in snapshot.days.days if each.day == day), ())
    return tuple(amended(taps, snapshot.days.amendments))


def _move(
    wish: CorrectionWish, wallet: Wallet, snapshot: CorrectionSnapshot, book: TariffBook
) -> Booking | CorrectionRefusal:
    now = snapshot.now
    operator_id = None
    if wish.kind is CorrectionKind.TOP_UP_VOID:
        assert snapshot.top_up is not None
        amount_fen, bearer = -snapshot.top_up[1], BANK
    else:
        assert wish.amount_fen is not None
        amount_fen, bearer = wish.amount_fen, f"sponsor:{wish.sponsor_id}"
        if wish.sponsor_id is None:
            operator_id, bearer = snapshot.operator_id, f"operator:{snapshot.operator_id}"
    moved = wallet.moved(amount_fen)
    day = book.service_day_of(now)
    entry = JournalEntry(
        kind="goodwill" if wish.kind is CorrectionKind.GOODWILL else "refund",
        cause_id=wish.correction_id,
        wallet_id=wallet.wallet_id,
        wallet_version=moved.version,
        effective_at=now,
        service_day=day,
        settlement_day=settlement_day(day, snapshot.closed_through),
        postings=(*rider_postings(wallet, moved), Posting(bearer, -amount_fen)),
        tap_id=wish.tap_id,
        operator_id=operator_id,
        product_id=REFUND if wish.tap_id else None,
    )
    return Booking(moved, (entry,))
