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

from fare_rules import NetworkRules, TariffBook
from gateway.core.days import Charge, Day, DayTap, day_tap, fold_day
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
    tap_age_max: timedelta


class KeptTap(Struct, frozen=True):
    """A tap with its answer, as the tap log keeps it for ever."""

    tap: Tap
    result: TapResult
    received_at: datetime
    wallet_id: UUID | None = None
    wallet_version: int | None = None
    service_day: date | None = None
    facts: DayTap | None = None


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
    earlier_days: dict[tuple[UUID, date], tuple[DayTap, ...]] = {}
    closed_through: date | None = None


class Plan(Struct, frozen=True):
    """All that is to be saved, and what each tap is answered, in the order the taps came."""

    results: tuple[TapResult, ...]
    repeats: tuple[int, ...]
    kept: tuple[KeptTap, ...]
    entries: tuple[JournalEntry, ...]
    wallets: tuple[Wallet, ...]


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
    )


class _Batch:
    """The working state of one call of `decide`: what earlier taps of the batch have changed."""

    def __init__(self, snapshot: Snapshot, book: TariffBook, limits: Limits) -> None:
        self.snapshot = snapshot
        self.book = book
        self.limits = limits
        self.wallets = dict(snapshot.wallets)
        self.earlier_days = dict(snapshot.earlier_days)
        self.sequences = dict(snapshot.sequences)
        self.folded: dict[UUID, tuple[date, Day]] = {}
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
        facts = day_tap(
            tap,
            network=gate.network,
            operator_id=gate.operator_id,
            rider_category=media.rider_category,
            fare_media=media.fare_media,
        )
        day = self.book.service_day_of(tap.tapped_at)
        ride = take_ride(
            wallet,
            facts,
            self._taps_of(wallet, day),
            book=self.book,
            day=day,
            closed_through=self.snapshot.closed_through,
            folded_before=self._folded(wallet.wallet_id, day),
        )
        outcome = _verdict(tap, wallet, ride, _network(self.book, facts))
        if not outcome.is_let_through:
            result = refusal(tap, outcome, wallet=wallet)
            return KeptTap(
                tap, result, self.snapshot.received_at, wallet.wallet_id, wallet.version, day, facts
            )
        self._take(wallet, ride, day)
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
        if tap.tapped_at < self.snapshot.received_at - self.limits.tap_age_max:
            return TapOutcome.TOO_OLD
        tariff = self.book.tariff_at(tap.tapped_at)
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

    def _taps_of(self, wallet: Wallet, day: date) -> tuple[DayTap, ...]:
        if day == wallet.day:
            return wallet.day_taps
        return self.earlier_days.get((wallet.wallet_id, day), ())

    def _folded(self, wallet_id: UUID, day: date) -> Day | None:
        last_day, folded = self.folded.get(wallet_id, (None, None))
        return folded if last_day == day else None

    def _take(self, wallet: Wallet, ride: Ride, day: date) -> None:
        if wallet.day is not None and day > wallet.day:
            self.earlier_days[wallet.wallet_id, wallet.day] = wallet.day_taps
        elif wallet.day is not None and day < wallet.day:
            self.earlier_days[wallet.wallet_id, day] = ride.day_taps
        # Only the day of the wallet's last tap: since an earlier one was folded it may have ended.
        self.folded[wallet.wallet_id] = (day, ride.folded)
        self.wallets[wallet.wallet_id] = ride.wallet
        self.changed[wallet.wallet_id] = None
        self.entries.extend(ride.entries)


_ACTIONS = {
    "enter_exit": frozenset({Action.ENTER, Action.EXIT}),
    "board": frozenset({Action.BOARD}),
    "board_alight": frozenset({Action.BOARD, Action.ALIGHT}),
}
_STATUS_REFUSALS = {
    WalletStatus.BLOCKED: TapOutcome.WALLET_BLOCKED,
    WalletStatus.CLOSED: TapOutcome.WALLET_CLOSED,
}


class Ride(Struct, frozen=True):
    """One tap folded into its rider's day: the wallet it leads to, and the entries in between."""

    wallet: Wallet
    day_taps: tuple[DayTap, ...]
    folded: Day
    entries: tuple[JournalEntry, ...]
    tap_id: UUID


def take_ride(
    wallet: Wallet,
    tap: DayTap,
    day_taps: tuple[DayTap, ...],
    *,
    book: TariffBook,
    day: date,
    closed_through: date | None,
    folded_before: Day | None = None,
) -> Ride:
    """Fold one more tap into a day and post the difference.

    `folded_before` is the day as folded without this tap, where the caller has it already.

    The live gate, the late tap and the auditor all come through here.
    """
    moved = wallet
    ended: tuple[JournalEntry, ...] = ()
    if wallet.day is not None and day > wallet.day:
        moved, ended = end_day(wallet, tap.tap_id, book, closed_through)
    is_over = wallet.day is not None and (
        day < wallet.day or (day == wallet.day and wallet.day_is_over)
    )
    taps = (*day_taps, tap)
    folded = fold_day(taps, book, day_is_over=is_over)
    before = folded_before or fold_day(day_taps, book, day_is_over=is_over)
    moved, entries = post(
        moved,
        changes(before.charges, folded.charges),
        cause_id=tap.tap_id,
        day=day,
        closed_through=closed_through,
    )
    if moved.version == wallet.version:
        moved = moved.moved(0)
    if wallet.day is None or day >= wallet.day:
        moved = structs.replace(
            moved,
            day=day,
            day_taps=taps,
            day_is_over=is_over,
            open_leg_day=day if folded.has_open_leg else None,
        )
    return Ride(moved, taps, folded, ended + entries, tap.tap_id)


def end_day(
    wallet: Wallet, cause_id: UUID, book: TariffBook, closed_through: date | None
) -> tuple[Wallet, tuple[JournalEntry, ...]]:
    """Charge the legs that nobody can close any more, because the wallet's newest day is over."""
    if wallet.open_leg_day is None:
        return structs.replace(wallet, day_is_over=True), ()
    before = fold_day(wallet.day_taps, book)
    over = fold_day(wallet.day_taps, book, day_is_over=True)
    moved, entries = post(
        wallet,
        changes(before.charges, over.charges),
        cause_id=cause_id,
        day=wallet.open_leg_day,
        closed_through=closed_through,
    )
    if moved.version == wallet.version:
        moved = moved.moved(0)
    # An end that charges nothing leaves no entry to tell the auditor of it, so the day goes on.
    return structs.replace(moved, day_is_over=bool(entries), open_leg_day=None), entries


def post(
    wallet: Wallet,
    found: Sequence[Change],
    *,
    cause_id: UUID,
    day: date,
    closed_through: date | None,
) -> tuple[Wallet, tuple[JournalEntry, ...]]:
    """Turn changed charges into entries, one a change, and the wallet they leave."""
    entries: list[JournalEntry] = []
    for change in found:
        moved = wallet.moved(-change.difference_fen)
        charge = change.charge
        operator = Posting(f"operator:{charge.operator_id}", change.difference_fen)
        entries.append(
            JournalEntry(
                entry_id=uuid5(cause_id, f"{charge.tap_id} {charge.quote.product_id}"),
                kind="fare" if charge.tap_id == cause_id else "correction",
                cause_id=cause_id,
                wallet_id=wallet.wallet_id,
                wallet_version=moved.version,
                effective_at=charge.effective_at,
                service_day=day,
                settlement_day=settlement_day(day, closed_through),
                postings=(*rider_postings(wallet, moved), operator),
                tap_id=charge.tap_id,
                operator_id=charge.operator_id,
                product_id=charge.quote.product_id,
                ride_count=change.ride_count,
            )
        )
        wallet = moved
    return wallet, tuple(entries)


def settlement_day(service_day: date, closed_through: date | None) -> date:
    """The settlement period an entry belongs to: its own day, or the first one still open."""
    if closed_through is None or service_day > closed_through:
        return service_day
    return closed_through + timedelta(days=1)


def _network(book: TariffBook, tap: DayTap) -> NetworkRules:
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
        cannot_begin = wallet.net_fen < max(network.minimum_balance_fen, wallet.floor_fen)
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
        display_text=_display_text(outcome, fare_fen, ride.wallet),
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


def _display_text(outcome: TapOutcome, fare_fen: int, wallet: Wallet) -> str:
    if outcome is TapOutcome.RIDE_OWED:
        return f"Fare {_yuan(fare_fen)} Owed {_yuan(wallet.owed_fen)}"
    if outcome is TapOutcome.RIDE_CHARGED:
        return f"Fare {_yuan(fare_fen)} Left {_yuan(wallet.balance_fen)}"
    return f"Balance {_yuan(wallet.balance_fen)}"


def _yuan(amount_fen: int) -> str:
    sign = "-" if amount_fen < 0 else ""
    return f"{sign}{abs(amount_fen) // 100}.{abs(amount_fen) % 100:02d}"
