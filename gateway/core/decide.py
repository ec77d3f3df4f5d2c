"""THE decision: what these taps come to, given what was loaded. Read this after `taps.py`.

`decide` goes through the taps in the order they arrived. For each it asks, in the order of
`TapOutcome`: seen before? ours to answer? who is it? may they pass? what does their day cost now?
Whatever the day costs more or less than was charged becomes journal entries; nothing is ever
edited.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from uuid import UUID, uuid5

from msgspec import Struct, structs

from fare_rules import Charge, NetworkRules, RideTap, TariffBook
from fare_rules.amounts import said
from gateway.core.days import (
    FoldedDays,
    WalletDay,
    fold_days,
    fold_one_more,
    ride_tap,
    with_tap,
)
from gateway.core.ledger import Change, JournalEntry, Posting, changes, rider_postings
from gateway.core.registry import Registry
from gateway.core.taps import (
    Action,
    Payer,
    Tap,
    TapOutcome,
    TapResult,
    differing_field,
    looks_like_card_number,
)
from gateway.core.wallets import Media, Wallet, WalletStatus


class Limits(Struct, frozen=True):
    """How far a gate's clock may be off, and how late a tap may come, before a person must look."""

    tap_ahead_max: timedelta
    # None: as many days as the tariff says that a late tap re-prices.
    tap_age_max: timedelta | None = None


class KeptTap(Struct, frozen=True):
    """A tap with its answer, as the tap log keeps it for ever."""

    tap: Tap
    result: TapResult
    received_at: datetime
    wallet_id: UUID | None = None
    wallet_version: int | None = None
    service_day: date | None = None
    facts: RideTap | None = None


class Snapshot(Struct, frozen=True):
    """All that was loaded for one tap batch.

    If a decision needs one more fact, it becomes a field here.
    """

    received_at: datetime
    registry: Registry
    kept: dict[UUID, KeptTap] = {}
    sequences: dict[tuple[str, int], UUID] = {}
    media: dict[str, Media] = {}
    wallets: dict[UUID, Wallet] = {}
    # Of wallets with a late tap: the days before their newest, from the one that it concerns on.
    earlier_days: dict[UUID, tuple[WalletDay, ...]] = {}
    closed_through: date | None = None


class Plan(Struct, frozen=True):
    """All that is to be saved, and what each tap is answered, in the order the taps came."""

    results: tuple[TapResult, ...]
    repeats: tuple[int, ...]
    kept: tuple[KeptTap, ...]
    entries: tuple[JournalEntry, ...]
    wallets: tuple[Wallet, ...]
    # Days before a wallet's newest whose openings are not as they were loaded.
    openings: tuple[tuple[UUID, WalletDay], ...] = ()


def decide(taps: Sequence[Tap], snapshot: Snapshot, book: TariffBook, limits: Limits) -> Plan:
    """Answer a tap batch and say what follows from it.

    Shape:  one result per tap, in order. Two copies of a tap are one tap. A batch decides what its
            taps would decide one by one.
    Source: DESIGN.md §2 and §3; tests/properties/test_any_order.py.
    """
    batch = _Batch(snapshot, book, limits)
    results = [batch.answer(tap) for tap in taps]
    return Plan(
        results=tuple(results),
        repeats=tuple(batch.repeats),
        kept=tuple(batch.kept.values()),
        entries=tuple(batch.entries),
        wallets=tuple(batch.wallets[wallet_id] for wallet_id in batch.changed),
        openings=batch.openings(),
    )


class _Batch:
    """The working state of one call of `decide`: what earlier taps of the batch have changed."""

    def __init__(self, snapshot: Snapshot, book: TariffBook, limits: Limits) -> None:
        self.snapshot = snapshot
        self.book = book
        self.limits = limits
        self.wallets = dict(snapshot.wallets)
        self.earlier_days = {
            wallet_id: {each.day: each for each in days}
            for wallet_id, days in snapshot.earlier_days.items()
        }
        self.sequences = dict(snapshot.sequences)
        self.folded: dict[UUID, FoldedDays] = {}
        self.kept: dict[UUID, KeptTap] = {}
        self.entries: list[JournalEntry] = []
        self.changed: dict[UUID, None] = {}
        self.repeats: list[int] = []
        self._answered_count = 0

    def answer(self, tap: Tap) -> TapResult:
        position = self._answered_count
        self._answered_count += 1
        first = self.kept.get(tap.tap_id) or self.snapshot.kept.get(tap.tap_id)
        if first is None:
            kept = self._judge(tap)
            if kept.result.outcome.is_kept:
                self.kept[tap.tap_id] = kept
                if kept.result.outcome is not TapOutcome.SEQUENCE_REUSED:
                    self.sequences[tap.gate_id, tap.sequence] = tap.tap_id
            return kept.result
        if field := differing_field(first.tap, tap):
            return refusal(tap, TapOutcome.TAP_ID_REUSED, fault=field)
        self.repeats.append(position)
        return first.result

    def _judge(self, tap: Tap) -> KeptTap:
        refused = self._refuse_unknown(tap)
        if refused:
            return KeptTap(tap, refusal(tap, refused), self.snapshot.received_at)
        gate = self.snapshot.registry.gates[tap.gate_id]
        media = self.snapshot.media[tap.media_token]
        assert media.wallet_id is not None
        wallet = self.wallets[media.wallet_id]
        facts = ride_tap(
            tap,
            network=gate.network,
            operator_id=gate.operator_id,
            rider_category=media.rider_category,
            fare_media=media.fare_media,
            issuer_id=wallet.issuer_id,
            coupons=media.coupons,
        )
        day = self.book.service_day_of(tap.tapped_at)
        earlier = self.earlier_days.get(wallet.wallet_id, {})
        days = days_for(wallet, [earlier[each] for each in sorted(earlier)], day)
        ride = take_ride(
            wallet,
            facts,
            days,
            book=self.book,
            day=day,
            closed_through=self.snapshot.closed_through,
            folded_before=self._folded(wallet.wallet_id, days),
        )
        outcome = _verdict(tap, wallet, ride, _network(self.book, facts))
        if not outcome.is_let_through:
            result = refusal(tap, outcome, wallet=wallet)
            return KeptTap(
                tap, result, self.snapshot.received_at, wallet.wallet_id, wallet.version, day, facts
            )
        self._take(wallet, ride)
        result = ride_result(tap, outcome, ride)
        return KeptTap(
            tap,
            result,
            self.snapshot.received_at,
            wallet.wallet_id,
            ride.wallet.version,
            day,
            facts,
        )

    def _refuse_unknown(self, tap: Tap) -> TapOutcome | None:
        registry, media = self.snapshot.registry, self.snapshot.media.get(tap.media_token)
        gate = registry.gates.get(tap.gate_id)
        if gate is None:
            return TapOutcome.UNKNOWN_GATE
        if looks_like_card_number(tap.media_token):
            return TapOutcome.CARD_NUMBER
        if (tap.gate_id, tap.sequence) in self.sequences:
            return TapOutcome.SEQUENCE_REUSED
        if tap.tapped_at > self.snapshot.received_at + self.limits.tap_ahead_max:
            return TapOutcome.CLOCK_AHEAD
        tariff = self.book.tariff_at(tap.tapped_at)
        age_max = self.limits.tap_age_max
        if age_max is None:
            age_max = timedelta(days=(tariff or self.book.tariffs[0]).late_taps_days)
        if tap.tapped_at < self.snapshot.received_at - age_max:
            return TapOutcome.TOO_OLD
        if tariff is None:
            return TapOutcome.NO_TARIFF
        network = tariff.network(gate.network)
        if network is None:
            return TapOutcome.NO_TARIFF
        if tap.action not in _ACTIONS[network.taps]:
            return TapOutcome.WRONG_ACTION
        if tap.stop_id is not None and tap.stop_id not in registry.stops:
            return TapOutcome.UNKNOWN_STOP
        if tap.route_id is not None and tap.route_id not in registry.routes:
            return TapOutcome.UNKNOWN_ROUTE
        if media is None or media.wallet_id is None:
            return TapOutcome.UNKNOWN_MEDIA
        if tap.offline or not tap.action.opens:
            return None  # The rider is already inside: what follows is a matter of money only.
        if media.is_blocked:
            return TapOutcome.MEDIA_BLOCKED
        return _STATUS_REFUSALS.get(self.wallets[media.wallet_id].status)

    def _folded(self, wallet_id: UUID, days: tuple[WalletDay, ...]) -> FoldedDays | None:
        """What these days came to when the wallet's last tap was taken, if they are the same."""
        folded = self.folded.get(wallet_id)
        return folded if folded is not None and folded.days == days else None

    def _take(self, wallet: Wallet, ride: Ride) -> None:
        wallet_id = wallet.wallet_id
        for each in ride.earlier_days:
            self.earlier_days.setdefault(wallet_id, {})[each.day] = each
        self.folded[wallet_id] = ride.folded
        self.wallets[wallet_id] = ride.wallet
        self.changed[wallet_id] = None
        self.entries.extend(ride.entries)

    def openings(self) -> tuple[tuple[UUID, WalletDay], ...]:
        """The openings of days before the newest that are not as they were loaded."""
        loaded = {
            (wallet_id, each.day): each.opening
            for wallet_id, days in self.snapshot.earlier_days.items()
            for each in days
        }
        return tuple(
            (wallet_id, each)
            for wallet_id in self.changed
            for each in self.earlier_days.get(wallet_id, {}).values()
            if each.opening != loaded.get((wallet_id, each.day), {})
        )


_ACTIONS = {
    "enter_exit": frozenset({Action.ENTER, Action.EXIT, Action.TOUCH}),
    "board": frozenset({Action.BOARD}),
    "board_alight": frozenset({Action.BOARD, Action.ALIGHT}),
}
_STATUS_REFUSALS = {
    WalletStatus.BLOCKED: TapOutcome.WALLET_BLOCKED,
    WalletStatus.CLOSED: TapOutcome.WALLET_CLOSED,
}


class Ride(Struct, frozen=True):
    """One tap folded into its rider's days: the wallet it leads to, and the entries in between.

    `folded` has the tap's day, or the one before it, and all days since.
    """

    wallet: Wallet
    folded: FoldedDays
    entries: tuple[JournalEntry, ...]
    tap_id: UUID
    fare_media: str
    currency_digits: int

    @property
    def earlier_days(self) -> tuple[WalletDay, ...]:
        """The days before the newest, with their openings as they are now."""
        return tuple(day for day in self.folded.days if day.day != self.wallet.day)


def take_ride(
    wallet: Wallet,
    tap: RideTap,
    days: Sequence[WalletDay],
    *,
    book: TariffBook,
    day: date,
    closed_through: date | None,
    folded_before: FoldedDays | None = None,
) -> Ride:
    """Fold one more tap into a wallet's days and post the difference.

    Shape:  `days` are those that the tap concerns (`days_for`); `folded_before` is what they come
            to without it, where the caller has it already.

    The live gate, the late tap and the auditor all come through here.
    """
    before = folded_before or fold_days(days, book, swept_until=wallet.swept_until)
    folded = fold_one_more(before, day, tap, book, swept_until=wallet.swept_until)
    if folded is None:
        folded = fold_days(with_tap(days, day, tap), book, swept_until=wallet.swept_until)
    moved, entries = post(
        wallet,
        changes(before.charges, folded.charges),
        cause_id=tap.tap_id,
        closed_through=closed_through,
    )
    newest = folded.days[-1]
    moved = structs.replace(
        moved,
        day=newest.day,
        day_taps=newest.taps,
        opening=newest.opening,
        open_until=folded.open_until,
    )
    return Ride(
        moved, folded, entries, tap.tap_id, tap.fare_media, book.tariffs[-1].currency_digits
    )


def days_for(wallet: Wallet, earlier_days: Sequence[WalletDay], day: date) -> tuple[WalletDay, ...]:
    """Find the days that a tap of a day concerns: from the one whose end it begins with, on.

    Shape:  `earlier_days` are days of the wallet before its newest, in their order: all of them, or
            those from the last one before `day` on.
    """
    newest = wallet.newest_day
    if newest is None:
        return ()
    if day >= newest.day:
        return (newest,)
    days = (*(each for each in earlier_days if each.day < newest.day), newest)
    first = max((each.day for each in days if each.day <= day), default=days[0].day)
    return tuple(each for each in days if each.day >= first)


def sweep(
    wallet: Wallet, cause_id: UUID, now: datetime, book: TariffBook, closed_through: date | None
) -> tuple[Wallet, tuple[JournalEntry, ...]]:
    """Charge the legs that nobody can close any more."""
    assert wallet.newest_day is not None
    days = (wallet.newest_day,)
    before = fold_days(days, book, swept_until=wallet.swept_until)
    over = fold_days(days, book, swept_until=now)
    moved, entries = post(
        wallet,
        changes(before.charges, over.charges),
        cause_id=cause_id,
        closed_through=closed_through,
    )
    # A sweep that charges nothing leaves no entry to tell the auditor of it, so none is noted.
    swept_until = now if entries else wallet.swept_until
    return structs.replace(moved, swept_until=swept_until, open_until=over.open_until), entries


def post(
    wallet: Wallet,
    found: Sequence[Change],
    *,
    cause_id: UUID,
    closed_through: date | None,
) -> tuple[Wallet, tuple[JournalEntry, ...]]:
    """Turn changed charges into entries, one a change, and the wallet they leave.

    Rider, sponsors and operator stand in one entry, so they are paid together or not at all. The
    wallet has a new version even where nothing is charged, for something was done to it.
    """
    entries: list[JournalEntry] = []
    for change in found:
        moved = wallet.moved(-change.rider_fen)
        charge = change.charge
        sponsors = tuple(
            Posting(f"sponsor:{sponsor}", -amount_fen)
            for sponsor, amount_fen in change.sponsors_fen.items()
            if amount_fen
        )
        operator = Posting(f"operator:{charge.operator_id}", change.operator_fen)
        entries.append(
            JournalEntry(
                entry_id=uuid5(cause_id, f"{charge.tap_id} {charge.quote.product_id}"),
                kind="fare" if charge.tap_id == cause_id else "correction",
                cause_id=cause_id,
                wallet_id=wallet.wallet_id,
                wallet_version=moved.version,
                effective_at=charge.effective_at,
                service_day=charge.service_day,
                settlement_day=settlement_day(charge.service_day, closed_through),
                postings=(*rider_postings(wallet, moved), *sponsors, operator),
                tap_id=charge.tap_id,
                operator_id=charge.operator_id,
                product_id=charge.quote.product_id,
                ride_count=change.ride_count,
            )
        )
        wallet = moved
    return wallet if entries else wallet.moved(0), tuple(entries)


def settlement_day(service_day: date, closed_through: date | None) -> date:
    """The settlement period an entry belongs to: its own day, or the first one still open."""
    if closed_through is None or service_day > closed_through:
        return service_day
    return closed_through + timedelta(days=1)


def _network(book: TariffBook, tap: RideTap) -> NetworkRules:
    tariff = book.tariff_at(tap.tapped_at)
    assert tariff is not None
    network = tariff.network(tap.network)
    assert network is not None
    return network


def _verdict(tap: Tap, wallet: Wallet, ride: Ride, network: NetworkRules) -> TapOutcome:
    if ride.folded.refused:
        return TapOutcome.NO_FARE
    is_double = tap.tap_id in ride.folded.double_beeps
    may_refuse = tap.action.opens and not tap.offline
    if is_double:
        return TapOutcome.PASSED_BACK if may_refuse else TapOutcome.DOUBLE_BEEP
    if may_refuse:
        is_exempt = ride.fare_media in network.no_minimum_balance
        needed_fen = wallet.floor_fen if is_exempt else network.minimum_balance_fen
        cannot_begin = wallet.net_fen < max(needed_fen, wallet.floor_fen)
        if cannot_begin or ride.wallet.owed_fen:
            return TapOutcome.BALANCE_TOO_LOW
    if _charge_of(ride) is None:
        return TapOutcome.LEG_OPENED
    return TapOutcome.RIDE_OWED if ride.wallet.owed_fen else TapOutcome.RIDE_CHARGED


def _charge_of(ride: Ride) -> Charge | None:
    return next(
        (charge for charge in ride.folded.charges.values() if charge.tap_id == ride.tap_id), None
    )


def ride_result(tap: Tap, outcome: TapOutcome, ride: Ride) -> TapResult:
    """What the gate is told of a tap that was let through."""
    charge = _charge_of(ride)
    fare_fen = charge.fare_fen if charge else 0
    return TapResult(
        tap_id=tap.tap_id,
        outcome=outcome,
        open=True,
        display_text=_display_text(outcome, charge.rider_fen if charge else 0, ride),
        fare_fen=fare_fen,
        payers=_payers(ride),
        balance_fen=ride.wallet.balance_fen,
        owed_fen=ride.wallet.owed_fen,
        journey_id=ride.folded.journeys.get(tap.tap_id),
        incomplete=tap.is_incomplete,
    )


def _payers(ride: Ride) -> tuple[Payer, ...]:
    return tuple(
        Payer(posting.account, -posting.amount_fen)
        for entry in ride.entries
        if entry.tap_id == ride.tap_id
        for posting in entry.postings
        if posting.amount_fen < 0
    )


def refusal(
    tap: Tap, outcome: TapOutcome, *, wallet: Wallet | None = None, fault: str | None = None
) -> TapResult:
    """What the gate is told of a tap that was not let through.

    A gate that lets riders out opens even for a tap that a person must look at: nobody is locked
    in.
    """
    result = TapResult(
        tap_id=tap.tap_id,
        outcome=outcome,
        open=outcome.is_quarantined and not tap.action.opens,
        display_text=_REFUSAL_TEXTS.get(outcome, "See staff"),
        balance_fen=wallet.balance_fen if wallet else None,
        owed_fen=wallet.owed_fen if wallet else 0,
        incomplete=tap.is_incomplete,
    )
    return structs.replace(result, fault=fault) if fault else result


_REFUSAL_TEXTS = {
    TapOutcome.UNKNOWN_MEDIA: "Card not known",
    TapOutcome.MEDIA_BLOCKED: "Card blocked",
    TapOutcome.WALLET_BLOCKED: "Card blocked",
    TapOutcome.WALLET_CLOSED: "Card closed",
    TapOutcome.PASSED_BACK: "Card just used",
    TapOutcome.BALANCE_TOO_LOW: "Please top up",
}


def _display_text(outcome: TapOutcome, rider_fen: int, ride: Ride) -> str:
    def shown(amount_fen: int) -> str:
        return said(amount_fen, ride.currency_digits)

    wallet = ride.wallet
    if outcome is TapOutcome.RIDE_OWED:
        return f"Fare {shown(rider_fen)} Owed {shown(wallet.owed_fen)}"
    if outcome is TapOutcome.RIDE_CHARGED:
        return f"Fare {shown(rider_fen)} Left {shown(wallet.balance_fen)}"
    return f"Balance {shown(wallet.balance_fen)}"
