"""What a wish of the desk says of a rider's taps: the amendment that it asks for, or why not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

from msgspec import structs

from fare_rules import Action, RideTap, TariffBook
from fare_rules.taps import ENDS
from gateway.core.amendments import Amendment, AmendmentKind, next_tap, previous_tap
from gateway.core.correction_wishes import (
    CorrectionKind,
    CorrectionRefusal,
    CorrectionSnapshot,
    CorrectionTerms,
    CorrectionWish,
)
from gateway.core.days import priced_taps
from gateway.core.decide import KeptTap
from gateway.core.missing_rides import DESK

# What closes what opens, and the other way round.
_OTHER_END = {one: other for ends in ENDS.values() for one, other in permutations(ends, 2)}


def wished_amendment(
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
    if kind is AmendmentKind.FREE_RIDE:
        return _free_ride(one, wish, tap, book)
    if kind is AmendmentKind.CLEARANCE:
        return _clearance(one, tap, snapshot, book, terms)
    return _missing_end(one, wish, tap, snapshot, book)


def _free_ride(
    one: Amendment, wish: CorrectionWish, tap: RideTap, book: TariffBook
) -> Amendment | CorrectionRefusal:
    if tap.action is Action.TOUCH:
        return CorrectionRefusal.WRONG_ACTION
    if tap.action.opens:
        until = max(tap.tapped_at, (wish.until or tap.tapped_at).astimezone(UTC))
        return structs.replace(one, until=until + _longest(tap, book))
    return structs.replace(one, since=tap.tapped_at - _longest(tap, book))


def _longest(tap: RideTap, book: TariffBook) -> timedelta:
    """How long the ride of a tap may take."""
    tariff = book.tariff_at(tap.tapped_at)
    network = tariff.network(tap.network) if tariff else None
    return network.longest if network else timedelta(0)


def begins_at(
    wish: CorrectionWish, tap: KeptTap | None, undone: Amendment | None, book: TariffBook
) -> datetime | None:
    """The first moment that a correction is about, from whose day on taps must be known."""
    if undone is not None:
        return undone.since
    is_free = wish.kind is CorrectionKind.FREE_RIDE
    if is_free and tap and tap.facts and not tap.facts.action.opens:
        return tap.facts.tapped_at - _longest(tap.facts, book)
    return wish.since or (tap.tap.tapped_at if tap else None)


def _clearance(
    one: Amendment,
    tap: RideTap,
    snapshot: CorrectionSnapshot,
    book: TariffBook,
    terms: CorrectionTerms,
) -> Amendment | CorrectionRefusal:
    if tap.action is not Action.ENTER:
        return CorrectionRefusal.WRONG_ACTION
    assert snapshot.days is not None
    after = next_tap(priced_taps(snapshot.days), tap)
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
    assert snapshot.days is not None
    at, taps = wish.at.astimezone(UTC), priced_taps(snapshot.days)
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
        gate_id=DESK,
        sequence=0,
        tapped_at=at,
        action=action,
        stop_id=wish.stop_id,
        distance_m=None,
        full_fare=None,
    )
    if is_exit:
        return structs.replace(one, added=added, until=tap.tapped_at + network.longest)
    return structs.replace(one, added=added, since=tap.tapped_at - network.longest)
