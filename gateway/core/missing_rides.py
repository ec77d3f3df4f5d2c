"""A ride that no gate saw: a gate was broken, a reader dead, and the rider shows it.

The desk says it as the gate would have: one tap, or two where riders tap out. They are priced in
their place of the rider's day as late taps are, and lie in the log beside those of gates, so that
whatever follows from taps follows from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

from fare_rules import Action, NetworkRules, RideTap, TariffBook
from fare_rules.taps import ENDS
from gateway.core.amendments import amended
from gateway.core.answers import outcome_of, ride_result
from gateway.core.campaigns import NOTHING_LEFT, usage_of, without
from gateway.core.correction_wishes import CorrectionRefusal, CorrectionSnapshot, CorrectionWish
from gateway.core.days import LoadedDays
from gateway.core.decide import KeptTap, facts_of
from gateway.core.ledger import JournalEntry
from gateway.core.registry import Registry
from gateway.core.rides import take_ride
from gateway.core.taps import Tap
from gateway.core.wallets import Wallet

# The gate of taps that a person made. Its numbers are drawn from the taps' ids: nobody counts them.
DESK = "desk"


class TakenRide(Struct, frozen=True):
    """A wallet and its days with one more ride."""

    wallet: Wallet
    days: LoadedDays
    entries: tuple[JournalEntry, ...]
    kept: tuple[KeptTap, ...]


def take_missing_ride(
    wish: CorrectionWish, wallet: Wallet, snapshot: CorrectionSnapshot, book: TariffBook
) -> TakenRide | CorrectionRefusal:
    """Take the taps of a ride one after the other, or say why there can be no such ride."""
    media, days, network = snapshot.media, snapshot.days, _network(wish, snapshot.registry, book)
    if network is None:
        return CorrectionRefusal.NO_FARE
    assert wish.gate_id is not None
    assert media is not None
    assert days is not None
    gate, taps = snapshot.registry.gates[wish.gate_id], _taps(wish, network)
    rides = [facts_of(tap, gate, media, wallet) for tap in taps]
    if not _has_room(rides, days, network, book):
        return CorrectionRefusal.WRONG_TIME
    while True:
        taken = _take(taps, rides, wallet, snapshot, book)
        if isinstance(taken, CorrectionRefusal):
            return taken
        spent = _spent_out(taken, snapshot)
        if spent is None:
            return taken
        spared = without(rides[0], spent, taken.entries, own=wish.ride)
        if spared is None:
            return CorrectionRefusal.NO_FARE
        rides[0] = spared


def _take(
    taps: Sequence[Tap],
    rides: Sequence[RideTap],
    wallet: Wallet,
    snapshot: CorrectionSnapshot,
    book: TariffBook,
) -> TakenRide | CorrectionRefusal:
    entries: tuple[JournalEntry, ...] = ()
    kept: list[KeptTap] = []
    days, ride = snapshot.days, None
    assert days is not None
    for tap, facts in zip(taps, rides, strict=True):
        day = book.service_day_of(facts.tapped_at)
        ride = take_ride(
            wallet,
            facts,
            days,
            book=book,
            day=day,
            closed_through=snapshot.closed_through,
            is_offline=tap.offline,
        )
        assert ride is not None
        days = days.after(ride.moved, facts, ride.paid)
        wallet, entries = ride.wallet, (*entries, *ride.entries)
        result = ride_result(tap, outcome_of(ride), ride)
        kept.append(
            KeptTap(tap, result, snapshot.now, day, wallet.wallet_id, wallet.version, facts)
        )
    assert ride is not None
    if ride.moved.refused:
        return CorrectionRefusal.NO_FARE
    if ride.moved.double_beeps & {tap.tap_id for tap in taps}:
        return CorrectionRefusal.WRONG_TIME
    return TakenRide(wallet, days, entries, tuple(kept))


def _spent_out(taken: TakenRide, snapshot: CorrectionSnapshot) -> str | None:
    """The account of a campaign that has not the money for the ride."""
    for account, usage in usage_of(taken.entries).items():
        if usage.takes and not snapshot.left.get(account, NOTHING_LEFT).allows(usage):
            return account
    return None


def tells_its_ends(wish: CorrectionWish, registry: Registry, book: TariffBook) -> bool:
    """Whether a wish tells of both ends of a ride where riders tap out, and of one elsewhere."""
    network = _network(wish, registry, book)
    is_two = wish.until is not None
    if (wish.exit_stop_id is not None) is not is_two:
        return False
    return network is None or is_two is (len(ENDS[network.taps]) == 2)


def _network(wish: CorrectionWish, registry: Registry, book: TariffBook) -> NetworkRules | None:
    gate = registry.gates.get(wish.gate_id or "")
    tariff = book.tariff_at(wish.since) if wish.since else None
    return tariff.network(gate.network) if gate and tariff else None


def _taps(wish: CorrectionWish, network: NetworkRules) -> list[Tap]:
    """The taps that the gate would have made."""
    instants, stops = (wish.since, wish.until), (wish.stop_id, wish.exit_stop_id)
    ends = zip(wish.ride, ENDS[network.taps], instants, stops, strict=False)
    return [
        Tap(
            tap_id,
            DESK,
            tap_id.int >> 65,
            _utc(instant),
            wish.media_token or "",
            action,
            stop_id=stop_id,
            route_id=wish.route_id,
            full_fare=wish.full_fare_fen,
            offline=True,
        )
        for tap_id, action, instant, stop_id in ends
    ]


def _utc(instant: datetime | None) -> datetime:
    assert instant is not None
    return instant.astimezone(UTC)


def _has_room(
    rides: list[RideTap], loaded: LoadedDays, network: NetworkRules, book: TariffBook
) -> bool:
    """Whether a ride fits between those that gates saw: in none of them, and none in it."""
    first, last = rides[0], rides[-1]
    day = book.service_day_of(first.tapped_at)
    if len(rides) > 1 and not first.tapped_at < last.tapped_at <= first.tapped_at + network.longest:
        return False
    if book.service_day_of(last.tapped_at) != day:
        return False
    known = next((each.taps for each in loaded.days if each.day == day), ())
    others = sorted(
        (
            tap
            for tap in amended(known, loaded.amendments)
            if tap.media_token == first.media_token and tap.action is not Action.TOUCH
        ),
        key=lambda tap: tap.order,
    )
    if any(first.tapped_at <= tap.tapped_at <= last.tapped_at for tap in others):
        return False
    before = [tap for tap in others if tap.tapped_at < first.tapped_at]
    after = [tap for tap in others if tap.tapped_at > last.tapped_at]
    return not (before and after and before[-1].action.opens and not after[0].action.opens)
