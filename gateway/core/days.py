"""A wallet's service days, folded: which charges the taps of all its media come to.

The pricing itself is fare_rules' (fold.py); here the days of a wallet follow one another, each
beginning with what is remembered of each media when it began.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    charges: dict[tuple[UUID, str], Charge] = {}
    journeys: dict[UUID, UUID] = {}
    double_beeps: set[UUID] = set()
    refused: dict[UUID, FareRefusal] = {}
    folded: list[WalletDay] = []
    states: Opening = dict(days[0].opening) if days else {}
    for index, each in enumerate(days):
        if index:
            states = _opening(states, book, each.day)
            each = structs.replace(each, opening=states)
            states = dict(states)
        folded.append(each)
        for token, taps in _by_media(each.taps).items():
            folding = RiderFold(book, states.get(token, NOTHING_REMEMBERED))
            for tap in taps:
                folding.take(tap)
            result = folding.result()
            charges |= result.charges
            journeys |= result.journeys
            double_beeps |= result.double_beeps
            refused |= result.refused
            states[token] = result.state
    open_until: datetime | None = None
    for state in states.values():
        if state.open_tap is None:
            continue
        ending = RiderFold(book, state)
        if swept_until is not None:
            ending.sweep(swept_until)
        result = ending.result()
        charges |= result.charges
        if result.open_until is not None:
            open_until = min(open_until or result.open_until, result.open_until)
    return FoldedDays(
        tuple(folded), charges, journeys, frozenset(double_beeps), refused, open_until
    )


def _opening(states: Opening, book: TariffBook, day: date) -> Opening:
    starts_at = book.starts_at(day)
    found = {token: carried(state, book, starts_at) for token, state in sorted(states.items())}
    return {token: state for token, state in found.items() if state != NOTHING_REMEMBERED}


def _by_media(taps: Iterable[RideTap]) -> dict[str, list[RideTap]]:
    found: dict[str, list[RideTap]] = {}
    for tap in sorted(taps, key=lambda tap: tap.order):
        found.setdefault(tap.media_token, []).append(tap)
    return found
