"""THE decision: what these taps come to, given what was loaded. Read this after `taps.py`.

`decide` goes through the taps in the order they arrived. For each it asks, in the order of
`TapOutcome`: seen before? ours to answer? who is it? may they pass? what does their day cost now?
Whatever the day costs more or less than was charged becomes journal entries; nothing is ever
edited.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

from msgspec import Struct, structs

from fare_rules import Charge, CompiledTariff, NetworkRules, RideTap, TariffBook
from fare_rules.amounts import said
from gateway.core.days import (
    LoadedDays,
    Moved,
    Opening,
    open_until,
    refold,
    ride_tap,
    swept,
    take_one,
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
    # The day of the log that it is kept on.
    service_day: date
    wallet_id: UUID | None = None
    wallet_version: int | None = None
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
    # Of wallets with a late tap: their days, from the one that it concerns to the newest.
    days: dict[UUID, LoadedDays] = {}
    closed_through: date | None = None


class Plan(Struct, frozen=True):
    """All that is to be saved, and what each tap is answered, in the order the taps came."""

    results: tuple[TapResult, ...]
    repeats: tuple[int, ...]
    kept: tuple[KeptTap, ...]
    entries: tuple[JournalEntry, ...]
    wallets: tuple[Wallet, ...]
    # What was remembered when a day before a wallet's newest began, where it was not so loaded.
    openings: dict[tuple[UUID, date], Opening] = {}
    # Wallets of which days must be loaded first, from the one given on. Then nothing else counts.
    lacks: dict[UUID, date] = {}


def decide(taps: Sequence[Tap], snapshot: Snapshot, book: TariffBook, limits: Limits) -> Plan:
    """Answer a tap batch and say what follows from it.

    Shape:  one result per tap, in order. Two copies of a tap are one tap. A batch decides what its
            taps would decide one by one.
    Source: DESIGN.md §2 and §3; tests/properties/test_any_order.py.
    """
    batch = _Batch(snapshot, book, limits)
    results = [batch.answer(position, tap) for position, tap in enumerate(taps)]
    return Plan(
        results=tuple(results),
        repeats=tuple(batch.repeats),
        kept=tuple(batch.kept.values()),
        entries=tuple(batch.entries),
        wallets=tuple(batch.changed.values()),
        openings=batch.openings,
        lacks=batch.lacks,
    )


class _Batch:
    """The working state of one call of `decide`: what earlier taps of the batch have changed."""

    def __init__(self, snapshot: Snapshot, book: TariffBook, limits: Limits) -> None:
        self.snapshot = snapshot
        self.book = book
        self.limits = limits
        self.days = dict(snapshot.days)
        self.sequences = dict(snapshot.sequences)
        self.kept: dict[UUID, KeptTap] = {}
        self.entries: list[JournalEntry] = []
        self.changed: dict[UUID, Wallet] = {}
        self.openings: dict[tuple[UUID, date], Opening] = {}
        self.repeats: list[int] = []
        self.lacks: dict[UUID, date] = {}
        self.latest = snapshot.received_at + limits.tap_ahead_max

    def answer(self, position: int, tap: Tap) -> TapResult:
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
        received_at = self.snapshot.received_at
        refused = self._refuse_unknown(tap)
        if refused:
            day = log_day(tap.tapped_at, received_at, self.book, self.limits)
            return KeptTap(tap, refusal(tap, refused), received_at, day)
        gate = self.snapshot.registry.gates[tap.gate_id]
        media = self.snapshot.media[tap.media_token]
        assert media.wallet_id is not None
        wallet = self._wallet(media.wallet_id)
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
        ride = take_ride(
            wallet,
            facts,
            self.days.get(wallet.wallet_id),
            book=self.book,
            day=day,
            closed_through=self.snapshot.closed_through,
        )
        if ride is None:
            self.lacks[wallet.wallet_id] = min(day, self.lacks.get(wallet.wallet_id, day))
            result = refusal(tap, TapOutcome.NO_FARE)
            return KeptTap(tap, result, received_at, day)
        outcome = _verdict(tap, wallet, ride, self.book)
        if outcome.is_let_through:
            self._take(wallet, ride, facts)
            result, version = ride_result(tap, outcome, ride), ride.wallet.version
        else:
            result, version = refusal(tap, outcome, wallet=wallet), wallet.version
        return KeptTap(tap, result, received_at, day, wallet.wallet_id, version, facts)

    def _wallet(self, wallet_id: UUID) -> Wallet:
        return self.changed.get(wallet_id) or self.snapshot.wallets[wallet_id]

    def _refuse_unknown(self, tap: Tap) -> TapOutcome | None:
        registry, media = self.snapshot.registry, self.snapshot.media.get(tap.media_token)
        gate = registry.gates.get(tap.gate_id)
        if gate is None:
            return TapOutcome.UNKNOWN_GATE
        if looks_like_card_number(tap.media_token):
            return TapOutcome.CARD_NUMBER
        if (tap.gate_id, tap.sequence) in self.sequences:
            return TapOutcome.SEQUENCE_REUSED
        if tap.tapped_at > self.latest:
            return TapOutcome.CLOCK_AHEAD
        tariff = self.book.tariff_at(tap.tapped_at)
        if tap.tapped_at < self.snapshot.received_at - _age_max(tariff, self.book, self.limits):
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
        return _STATUS_REFUSALS.get(self._wallet(media.wallet_id).status)

    def _take(self, wallet: Wallet, ride: Ride, facts: RideTap) -> None:
        wallet_id = wallet.wallet_id
        moved = ride.moved
        if moved.day != wallet.day and wallet.day is not None and wallet.opening:
            self.openings[wallet_id, wallet.day] = wallet.opening
        loaded = self.days.get(wallet_id)
        if loaded is not None:
            self.days[wallet_id] = loaded.after(moved, facts)
            known = {each.day: each.opening for each in loaded.days}
            for each in moved.days[:-1]:
                if each.opening != known.get(each.day, {}):
                    self.openings[wallet_id, each.day] = each.opening
        self.changed[wallet_id] = ride.wallet
        self.entries.extend(ride.entries)


def log_day(tapped_at: datetime, received_at: datetime, book: TariffBook, limits: Limits) -> date:
    """The day of the log that a tap is kept on: its own, unless it is too old or ahead of time."""
    age_max = _age_max(book.tariff_at(tapped_at), book, limits)
    is_of_its_day = received_at - age_max <= tapped_at <= received_at + limits.tap_ahead_max
    return book.service_day_of(tapped_at if is_of_its_day else received_at)


def _age_max(tariff: CompiledTariff | None, book: TariffBook, limits: Limits) -> timedelta:
    if limits.tap_age_max is not None:
        return limits.tap_age_max
    return timedelta(days=(tariff or book.tariffs[0]).late_taps_days)


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
    """One tap folded into its rider's days: the wallet it leads to, and the entries in between."""

    wallet: Wallet
    moved: Moved
    entries: tuple[JournalEntry, ...]
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
) -> Ride | None:
    """Fold one more tap into a wallet's days and post the difference.

    Shape:  None when days of the wallet are needed that were not loaded.

    The live gate, the late tap and the auditor all come through here.
    """
    until = wallet.swept_until
    moved = take_one(wallet.day, wallet.riders, wallet.opening, tap, day, book, swept_until=until)
    if moved is None:
        if days is None or day < days.since:
            return None
        moved = refold(days.days, tap, day, book, swept_until=until)
    charged, entries = post(
        wallet,
        changes(moved.before, moved.after),
        cause_id=tap.tap_id,
        closed_through=closed_through,
    )
    charged = structs.replace(
        charged,
        day=moved.day,
        riders=moved.riders,
        opening=moved.opening,
        open_until=open_until(moved.riders, until),
    )
    own = [charge for charge in moved.after.values() if charge.tap_id == tap.tap_id]
    digits = book.tariffs[-1].currency_digits
    return Ride(charged, moved, entries, tap, own[0] if own else None, digits)


def sweep(
    wallet: Wallet, cause_id: UUID, now: datetime, book: TariffBook, closed_through: date | None
) -> tuple[Wallet, tuple[JournalEntry, ...]]:
    """Charge the legs that nobody can close any more."""
    charged, entries = post(
        wallet,
        changes(swept(wallet.riders, book, wallet.swept_until), swept(wallet.riders, book, now)),
        cause_id=cause_id,
        closed_through=closed_through,
    )
    # A sweep that charges nothing leaves no entry to tell the auditor of it, so none is noted.
    swept_until = now if entries else wallet.swept_until
    until = open_until(wallet.riders, now)
    return structs.replace(charged, swept_until=swept_until, open_until=until), entries


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
            for sponsor, amount_fen in sorted(change.sponsors_fen.items())
            if amount_fen
        )
        operator = Posting(f"operator:{charge.operator_id}", change.operator_fen)
        entries.append(
            JournalEntry(
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


def _verdict(tap: Tap, wallet: Wallet, ride: Ride, book: TariffBook) -> TapOutcome:
    if ride.moved.refused:
        return TapOutcome.NO_FARE
    may_refuse = tap.action.opens and not tap.offline
    if tap.tap_id in ride.moved.double_beeps:
        return TapOutcome.PASSED_BACK if may_refuse else TapOutcome.DOUBLE_BEEP
    if may_refuse:
        network = _network(book, ride.tap)
        is_exempt = ride.tap.fare_media in network.no_minimum_balance
        needed_fen = wallet.floor_fen if is_exempt else network.minimum_balance_fen
        cannot_begin = wallet.net_fen < max(needed_fen, wallet.floor_fen)
        if cannot_begin or ride.wallet.owed_fen:
            return TapOutcome.BALANCE_TOO_LOW
    if ride.charge is None:
        return TapOutcome.LEG_OPENED
    return TapOutcome.RIDE_OWED if ride.wallet.owed_fen else TapOutcome.RIDE_CHARGED


def ride_result(tap: Tap, outcome: TapOutcome, ride: Ride) -> TapResult:
    """What the gate is told of a tap that was let through."""
    quote = ride.charge.quote if ride.charge else None
    return TapResult(
        tap_id=tap.tap_id,
        outcome=outcome,
        open=True,
        display_text=_display_text(outcome, quote.rider_fen if quote else 0, ride),
        fare_fen=quote.fare_fen if quote else 0,
        payers=_payers(ride),
        balance_fen=ride.wallet.balance_fen,
        owed_fen=ride.wallet.owed_fen,
        journey_id=ride.moved.journeys.get(tap.tap_id),
        incomplete=tap.is_incomplete,
    )


def _payers(ride: Ride) -> tuple[Payer, ...]:
    tap_id = ride.tap.tap_id
    return tuple(
        [
            Payer(posting.account, -posting.amount_fen)
            for entry in ride.entries
            if entry.tap_id == tap_id
            for posting in entry.postings
            if posting.amount_fen < 0
        ]
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
    wallet, digits = ride.wallet, ride.currency_digits
    left = said(wallet.balance_fen, digits)
    if outcome is TapOutcome.RIDE_CHARGED:
        return f"Fare {said(rider_fen, digits)} Left {left}"
    if outcome is TapOutcome.RIDE_OWED:
        return f"Fare {said(rider_fen, digits)} Owed {said(wallet.owed_fen, digits)}"
    return f"Balance {left}"
