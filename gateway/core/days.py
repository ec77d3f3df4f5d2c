"""A wallet's service days, folded: which charges the taps of all its media come to.

The pricing itself is fare_rules' (fold.py); here the days of a wallet follow one another, each
beginning with what is remembered of each media when it began.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from uuid import UUID

from msgspec import Struct, structs

from fare_rules import Charge, FareRefusal, RiderFold, RiderState, RideTap, TariffBook, carried
from gateway.core.taps import Tap

# What is remembered of each media token when a day begins; if nothing is, it is left out.
Opening = dict[str, RiderState]
NOTHING_REMEMBERED = RiderState()


class WalletDay(Struct, frozen=True):
    """The taps of one wallet and service day that were let through, and what went before them."""

    day: date
    taps: tuple[RideTap, ...] = ()
    opening: Opening = {}


class FoldedDays(Struct, frozen=True):
    """Days that follow one another, priced. `days` has the openings as they came out."""

    days: tuple[WalletDay, ...]
    charges: dict[tuple[UUID, str], Charge]
    journeys: dict[UUID, UUID]
    double_beeps: frozenset[UUID]
    refused: dict[UUID, FareRefusal]
    # When the first of the legs that are open can no longer be closed.
    open_until: datetime | None
    # What came out before the newest day, and the folds of its media.
    before: dict[tuple[UUID, str], Charge]
    folds: dict[str, RiderFold]


def ride_tap(
    tap: Tap,
    *,
    network: str,
    operator_id: str,
    rider_category: str,
    fare_media: str,
    issuer_id: str | None = None,
    coupons: tuple[tuple[str, datetime], ...] = (),
) -> RideTap:
    """Join what the gate said and what the registry knew at that moment."""
    return RideTap(
        tap_id=tap.tap_id,
        gate_id=tap.gate_id,
        sequence=tap.sequence,
        tapped_at=tap.tapped_at.astimezone(UTC),
        media_token=tap.media_token,
        action=tap.action,
        network=network,
        operator_id=operator_id,
        rider_category=rider_category,
        fare_media=fare_media,
        stop_id=tap.stop_id,
        route_id=tap.route_id,
        vehicle_id=tap.vehicle_id,
        full_fare=tap.full_fare,
        transfer_proven=tap.transfer_proven,
        carriage_class=tap.carriage_class,
        riders_count=tap.riders_count,
        distance_m=tap.distance_m,
        issuer_id=issuer_id,
        coupons=coupons,
    )


def with_tap(days: Sequence[WalletDay], day: date, tap: RideTap) -> tuple[WalletDay, ...]:
    """Put one more tap into its day, which may be a new one."""
    if all(each.day != day for each in days):
        days = sorted((*days, WalletDay(day)), key=lambda each: each.day)
    return tuple(
        structs.replace(each, taps=(*each.taps, tap)) if each.day == day else each for each in days
    )


def fold_days(
    days: Sequence[WalletDay], book: TariffBook, *, swept_until: datetime | None = None
) -> FoldedDays:
    """Price some days of a wallet that follow one another, up to its newest.

    Shape:  days in their order; the first one's opening is taken as it is, the others' come from
            the day before. Each media is a rider of its own: taps pair, and rides transfer, only
            within one. Legs open at the end whose time had passed by `swept_until` are charged.
    """
    before: dict[tuple[UUID, str], Charge] = {}
    folded: list[WalletDay] = []
    folds: dict[str, RiderFold] = {}
    for each in days:
        opening = each.opening
        if folded:
            for fold in folds.values():
                before |= fold.result().charges
            states = {token: fold.result().state for token, fold in folds.items()}
            opening = _opening(states, book, each.day)
        folded.append(structs.replace(each, opening=opening))
        folds = {token: RiderFold(book, state) for token, state in opening.items()}
        for tap in sorted(each.taps, key=lambda tap: tap.order):
            if tap.media_token not in folds:
                folds[tap.media_token] = RiderFold(book)
            folds[tap.media_token].take(tap)
    return _folded(tuple(folded), before, folds, swept_until)


def fold_one_more(
    folded: FoldedDays, day: date, tap: RideTap, book: TariffBook, *, swept_until: datetime | None
) -> FoldedDays | None:
    """Price one more tap, where it is the newest of its card and on the newest day; else None.

    The same as folding everything afresh, without doing it.
    """
    if not folded.days or day != folded.days[-1].day:
        return None
    *earlier, newest = folded.days
    if any(
        known.media_token == tap.media_token and known.order > tap.order for known in newest.taps
    ):
        return None
    fold = folded.folds.get(tap.media_token)
    fold = fold.copy() if fold else RiderFold(book)
    fold.take(tap)
    newest = structs.replace(newest, taps=(*newest.taps, tap))
    folds = {**folded.folds, tap.media_token: fold}
    return _folded((*earlier, newest), folded.before, folds, swept_until)


def _folded(
    days: tuple[WalletDay, ...],
    before: dict[tuple[UUID, str], Charge],
    folds: dict[str, RiderFold],
    swept_until: datetime | None,
) -> FoldedDays:
    charges = dict(before)
    journeys: dict[UUID, UUID] = {}
    double_beeps: set[UUID] = set()
    refused: dict[UUID, FareRefusal] = {}
    open_until: datetime | None = None
    for fold in folds.values():
        ending = fold
        if swept_until is not None and fold.open_until is not None:
            ending = fold.copy()
            ending.sweep(swept_until)
        result = ending.result()
        charges |= result.charges
        journeys |= result.journeys
        double_beeps |= result.double_beeps
        refused |= result.refused
        if result.open_until is not None:
            open_until = min(open_until or result.open_until, result.open_until)
    return FoldedDays(
        days, charges, journeys, frozenset(double_beeps), refused, open_until, before, folds
    )


def _opening(states: Opening, book: TariffBook, day: date) -> Opening:
    starts_at = book.starts_at(day)
    found = {token: carried(state, book, starts_at) for token, state in sorted(states.items())}
    return {token: state for token, state in found.items() if state != NOTHING_REMEMBERED}
