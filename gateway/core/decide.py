"""THE decision: what these taps come to, given what was loaded. Read this after `taps.py`.

`decide` goes through the taps in the order they arrived. For each it asks, in the order of
`TapOutcome`: seen before? ours to answer? who is it? may they pass? what does their day cost now?
Whatever the day costs more or less than was charged becomes journal entries; nothing is ever
edited.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from msgspec import Struct

from fare_rules import CompiledTariff, RideTap, TariffBook
from fare_rules.taps import ENDS
from gateway.core.answers import refusal, ride_result, verdict
from gateway.core.campaigns import NOTHING_LEFT, NOTHING_USED, Left, Usage, usage_of, without
from gateway.core.days import LoadedDays, Opening, ride_tap
from gateway.core.ledger import JournalEntry
from gateway.core.registry import Gate, Registry
from gateway.core.rides import Ride, take_ride, top_up_first
from gateway.core.taps import (
    Action,
    Tap,
    TapOutcome,
    TapResult,
    differing_field,
    looks_like_card_number,
)
from gateway.core.wallet_classes import NO_CLASSES, WalletClasses
from gateway.core.wallets import Media, Wallet, WalletStatus


class Limits(Struct, frozen=True):
    """How far a gate's clock may be off, and how late a tap may come, before a person must look."""

    tap_ahead_max: timedelta
    # None: as many days as the tariff says that a late tap re-prices.
    tap_age_max: timedelta | None = None
    classes: WalletClasses = NO_CLASSES
    # Who owes so much does not begin a ride; 0 where nothing but the purse decides.
    debt_block_fen: int = 0


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
    # What the lane may spend of campaigns' budgets, by their accounts.
    left: dict[str, Left] = {}


class Plan(Struct, frozen=True):
    """All that is to be saved, and what each tap is answered, in the order the taps came."""

    results: tuple[TapResult, ...]
    repeats: tuple[int, ...]
    kept: tuple[KeptTap, ...]
    entries: tuple[JournalEntry, ...]
    wallets: tuple[Wallet, ...]
    # What was remembered when a day before a wallet's newest began, where it was not so loaded.
    openings: dict[tuple[UUID, date], Opening] = {}
    # What campaigns pay for.
    usage: dict[str, Usage] = {}


def decide(taps: Sequence[Tap], snapshot: Snapshot, book: TariffBook, limits: Limits) -> Plan:
    """Answer a tap batch and say what follows from it, where all that it needs was loaded.

    Shape:  one result per tap, in order. Two copies of a tap are one tap. A batch decides what its
            taps would decide one by one.
    Source: DESIGN.md §2 and §3; tests/properties/test_any_order.py.
    """
    deciding = Deciding(taps, snapshot, book, limits)
    for position in deciding.to_answer:
        deciding.answer(position)
    return deciding.plan()


class Deciding:
    """A tap batch half decided: the answers so far, and what its taps have changed.

    `to_answer` are positions of taps. Once all of them are answered, `lacks` and `short` say what
    must be loaded or drawn first; `again` then forgets the taps that it is for, and they are
    answered once more. Other wallets' taps stay answered: they have nothing to do with those.
    """

    def __init__(
        self, taps: Sequence[Tap], snapshot: Snapshot, book: TariffBook, limits: Limits
    ) -> None:
        self.taps = taps
        self.to_answer: Sequence[int] = range(len(taps))
        self.snapshot = snapshot
        self.book = book
        self.limits = limits
        self.results: dict[int, TapResult] = {}
        self.days = dict(snapshot.days)
        self.sequences = dict(snapshot.sequences)
        self.kept: list[KeptTap] = []
        self.known = dict(snapshot.kept)
        self.entries: list[JournalEntry] = []
        self.changed: dict[UUID, Wallet] = {}
        self.openings: dict[tuple[UUID, date], Opening] = {}
        self.repeats: list[int] = []
        # Wallets of which days must be loaded first, from the one given on.
        self.lacks: dict[UUID, date] = {}
        self.usage: dict[str, Usage] = {}
        # What of campaigns' budgets must be drawn first, and for whom.
        self.short: dict[str, Usage] = {}
        self._short_of: set[UUID] = set()
        self.latest = snapshot.received_at + limits.tap_ahead_max

    def answer(self, position: int) -> None:
        """Answer the tap at a position."""
        self.results[position] = self._answer(position, self.taps[position])

    def again(self, snapshot: Snapshot) -> None:
        """Forget the taps of wallets for which something was missing, which is loaded now."""
        wallets = {*self.lacks, *self._short_of}
        tokens = {i for i, media in snapshot.media.items() if media.wallet_id in wallets}
        self.to_answer = [i for i, tap in enumerate(self.taps) if tap.media_token in tokens]
        for one in self.kept:
            if one.tap.media_token in tokens:
                del self.known[one.tap.tap_id]
                if one.result.outcome is not TapOutcome.SEQUENCE_REUSED:
                    del self.sequences[one.tap.gate_id, one.tap.sequence]
        self.kept = [one for one in self.kept if one.tap.media_token not in tokens]
        self.entries = [entry for entry in self.entries if entry.wallet_id not in wallets]
        self.changed = {i: wallet for i, wallet in self.changed.items() if i not in wallets}
        self.openings = {key: day for key, day in self.openings.items() if key[0] not in wallets}
        self.repeats = [i for i in self.repeats if self.taps[i].media_token not in tokens]
        self.days |= {i: snapshot.days[i] for i in wallets if i in snapshot.days}
        self.usage = usage_of(self.entries)
        self.lacks, self.short, self._short_of = {}, {}, set()
        self.snapshot = snapshot

    def plan(self) -> Plan:
        """What follows, once nothing is missing."""
        assert not self.lacks
        assert not self.short
        return Plan(
            results=tuple(self.results.values()),
            repeats=tuple(self.repeats),
            kept=tuple(self.kept),
            entries=tuple(self.entries),
            wallets=tuple(self.changed.values()),
            openings=self.openings,
            usage=self.usage,
        )

    def _answer(self, position: int, tap: Tap) -> TapResult:
        first = self.known.get(tap.tap_id)
        if first is None:
            kept = self._judge(tap)
            if kept.result.outcome.is_kept:
                self.known[tap.tap_id] = kept
                self.kept.append(kept)
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
        facts = facts_of(tap, gate, media, wallet)
        day = self.book.service_day_of(facts.tapped_at)
        closed_through = self.snapshot.closed_through
        topped_up, paid_in = top_up_first(wallet, tap, day, self.limits.classes, closed_through)
        while True:
            ride = take_ride(
                topped_up,
                facts,
                self.days.get(wallet.wallet_id),
                book=self.book,
                day=day,
                closed_through=closed_through,
                is_offline=tap.offline,
            )
            spent = self._spent_out(wallet, ride) if ride and ride.usage else None
            if spent is None:
                break
            assert ride is not None
            spared = without(facts, spent, ride.entries, own=(tap.tap_id,))
            if spared is None:
                result = refusal(tap, TapOutcome.NO_FARE)
                return KeptTap(tap, result, received_at, day, wallet.wallet_id, wallet.version)
            facts = spared
        if ride is None:
            self.lacks[wallet.wallet_id] = min(day, self.lacks.get(wallet.wallet_id, day))
            result = refusal(tap, TapOutcome.NO_FARE)
            return KeptTap(tap, result, received_at, day)
        outcome = verdict(
            tap,
            topped_up,
            ride,
            self.book,
            self.limits.classes,
            debt_block_fen=self.limits.debt_block_fen,
        )
        if outcome.is_let_through:
            self.entries.extend(paid_in)
            for account, usage in ride.usage.items():
                self.usage[account] = self.usage.get(account, NOTHING_USED).plus(usage)
            self._take(wallet, ride, facts)
            result, version = ride_result(tap, outcome, ride), ride.wallet.version
        else:
            result, version = refusal(tap, outcome, wallet=wallet), wallet.version
        return KeptTap(tap, result, received_at, day, wallet.wallet_id, version, facts)

    def _spent_out(self, wallet: Wallet, ride: Ride) -> str | None:
        """The account of a campaign that has not the money for a ride.

        What can still be drawn is noted.
        """
        for account, usage in ride.usage.items():
            whole = self.usage.get(account, NOTHING_USED).plus(usage)
            left = self.snapshot.left.get(account, NOTHING_LEFT)
            if usage.takes and not left.allows(whole):
                if left.is_all:
                    return account
                self.short[account] = Usage(max(whole.fen, 0), max(whole.uses, 0))
                self._short_of.add(wallet.wallet_id)
        return None

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
        # Instants of one zone compare ten times faster: the tap's own may be in any.
        tapped_at = tap.tapped_at.astimezone(UTC)
        if tapped_at > self.latest:
            return TapOutcome.CLOCK_AHEAD
        tariff = self.book.tariff_at(tapped_at)
        if tapped_at < self.snapshot.received_at - _age_max(tariff, self.book, self.limits):
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
            self.days[wallet_id] = loaded.after(moved, facts, ride.paid)
            known = {each.day: each.opening for each in loaded.days}
            for each in moved.days[:-1]:
                if each.opening != known.get(each.day, {}):
                    self.openings[wallet_id, each.day] = each.opening
        self.changed[wallet_id] = ride.wallet
        self.entries.extend(ride.entries)


def facts_of(tap: Tap, gate: Gate, media: Media, wallet: Wallet) -> RideTap:
    """A tap with what is known at its moment of its gate, its card and who pays."""
    return ride_tap(
        tap,
        network=gate.network,
        operator_id=gate.operator_id,
        rider_category=media.rider_category,
        fare_media=media.fare_media,
        issuer_id=wallet.issuer_id,
        coupons=media.coupons,
    )


def log_day(tapped_at: datetime, received_at: datetime, book: TariffBook, limits: Limits) -> date:
    """The day of the log that a tap is kept on: its own, unless it is too old or ahead of time."""
    tapped_at = tapped_at.astimezone(UTC)
    age_max = _age_max(book.tariff_at(tapped_at), book, limits)
    is_of_its_day = received_at - age_max <= tapped_at <= received_at + limits.tap_ahead_max
    return book.service_day_of(tapped_at if is_of_its_day else received_at)


def _age_max(tariff: CompiledTariff | None, book: TariffBook, limits: Limits) -> timedelta:
    if limits.tap_age_max is not None:
        return limits.tap_age_max
    return timedelta(days=(tariff or book.tariffs[0]).late_taps_days)


# Between gates, route validators may be touched on the way.
_ACTIONS = {taps: frozenset(ends) for taps, ends in ENDS.items()} | {
    "enter_exit": frozenset({*ENDS["enter_exit"], Action.TOUCH})
}
_STATUS_REFUSALS = {
    WalletStatus.BLOCKED: TapOutcome.WALLET_BLOCKED,
    WalletStatus.CLOSED: TapOutcome.WALLET_CLOSED,
}
