"""A rider's service day, folded from its taps: which legs they make, and what each tap is charged.

The fold looks at the taps in event-time order, whatever order they arrived in, so the same taps
always cost the same. Each charge hangs on one tap, and that tap's operator is paid it:

    enter, exit          one leg, charged at the exit
    board                one leg, charged at the boarding (networks that tap on only)
    board, alight        one leg, charged at the alighting
    exit alone           a leg without its entry, charged at the exit
    enter alone          open until another ride begins or the day is over; then charged at entry
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID, uuid5

from msgspec import Struct

from fare_rules import FareRefusal, Fen, Leg, Quote, TariffBook, quote
from gateway.core.taps import Action, Tap


class DayTap(Struct, frozen=True, array_like=True):
    """A tap that was let through: what the gate said, and what the registry knew at that moment."""

    tap_id: UUID
    gate_id: str
    sequence: int
    tapped_at: datetime
    media_token: str
    action: Action
    network: str
    operator_id: str
    rider_category: str
    fare_media: str
    stop_id: str | None
    route_id: str | None
    vehicle_id: str | None
    full_fare: int | None
    transfer_proven: bool
    carriage_class: str
    riders_count: int

    @property
    def order(self) -> tuple[datetime, int, UUID]:
        return (self.tapped_at, self.sequence, self.tap_id)

    @property
    def place(self) -> tuple[str | None, ...]:
        """Where a second beep would be the same beep: the stop or vehicle, else the very gate."""
        known = (self.network, self.stop_id, self.vehicle_id)
        return known if self.stop_id or self.vehicle_id else (*known, self.gate_id)


def day_tap(
    tap: Tap, *, network: str, operator_id: str, rider_category: str, fare_media: str
) -> DayTap:
    return DayTap(
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
    )


class Charge(Struct, frozen=True):
    """What one tap costs its rider, as one product of one operator."""

    tap_id: UUID
    operator_id: str
    effective_at: datetime
    quote: Quote

    @property
    def key(self) -> tuple[UUID, str]:
        return (self.tap_id, self.quote.product_id)

    @property
    def fare_fen(self) -> Fen:
        return self.quote.fare_fen


class Day(Struct, frozen=True):
    """A folded day. `refused` holds the taps that no rule can price, with the tariff's reason."""

    charges: dict[tuple[UUID, str], Charge]
    journeys: dict[UUID, UUID]
    double_beeps: frozenset[UUID]
    refused: dict[UUID, FareRefusal]
    has_open_leg: bool


def fold_day(taps: Iterable[DayTap], book: TariffBook, *, day_is_over: bool = False) -> Day:
    """Price a wallet's day from its taps.

    Shape:  each fare media is a rider of its own: taps pair, and rides transfer, only within one.
    """
    by_media: dict[str, list[DayTap]] = {}
    for tap in sorted(taps, key=lambda tap: tap.order):
        by_media.setdefault(tap.media_token, []).append(tap)
    charges: dict[tuple[UUID, str], Charge] = {}
    journeys: dict[UUID, UUID] = {}
    double_beeps: set[UUID] = set()
    refused: dict[UUID, FareRefusal] = {}
    has_open_leg = False
    for media_taps in by_media.values():
        previous: Leg | None = None
        previous_journey: UUID | None = None
        for ride in _pair(media_taps, book):
            if ride.is_double_beep:
                double_beeps.add(ride.charged.tap_id)
                continue
            own_journey = uuid5(ride.opening.tap_id, "journey")
            if ride.is_open and not day_is_over:
                has_open_leg = True
                journeys[ride.opening.tap_id] = own_journey
                continue
            leg = ride.leg()
            tariff = book.tariff_at(leg.boarded_at)
            price = (
                quote(leg, tariff, previous=previous) if tariff else FareRefusal.NO_FARE_RULE
            )
            if isinstance(price, FareRefusal):
                refused[ride.charged.tap_id] = price
                continue
            charged = ride.charged
            charge = Charge(charged.tap_id, charged.operator_id, charged.tapped_at, price)
            # A leg never closed that costs nothing is no sale; a free ride is one.
            if charge.fare_fen or leg.missing != "exit":
                charges[charge.key] = charge
            if previous_journey is None or not price.is_transfer:
                previous_journey = own_journey
            journeys[ride.opening.tap_id] = journeys[charged.tap_id] = previous_journey
            # A leg never closed has no known end, so nothing can be shown to follow it in time.
            previous = None if leg.missing == "exit" else leg
    return Day(charges, journeys, frozenset(double_beeps), refused, has_open_leg)


class _Ride(Struct, frozen=True):
    opening: DayTap
    closing: DayTap | None = None
    entry_is_missing: bool = False
    is_open: bool = False
    is_unclosed: bool = False
    is_double_beep: bool = False

    @property
    def charged(self) -> DayTap:
        return self.closing or self.opening

    def leg(self) -> Leg:
        first, last = self.opening, self.charged
        missing: Literal["entry", "exit"] | None = "entry" if self.entry_is_missing else None
        if self.is_unclosed or self.is_open:
            missing = "exit"
        named_fare = last.full_fare if last.full_fare is not None else first.full_fare
        return Leg(
            network=last.network,
            operator_id=last.operator_id,
            rider_category=last.rider_category,
            fare_media=last.fare_media,
            boarded_at=first.tapped_at,
            alighted_at=self.closing.tapped_at if self.closing else None,
            from_stop=None if self.entry_is_missing else first.stop_id,
            to_stop=last.stop_id if self.closing or self.entry_is_missing else None,
            route_id=last.route_id or first.route_id,
            gate_fare_fen=None if named_fare is None else Fen(named_fare),
            carriage_class=last.carriage_class,
            riders_count=last.riders_count,
            transfer_proven=last.transfer_proven or first.transfer_proven,
            missing=missing,
        )


def _pair(taps: list[DayTap], book: TariffBook) -> Iterator[_Ride]:
    open_tap: DayTap | None = None
    last_opening: DayTap | None = None
    for tap in taps:
        if tap.action.opens:
            if last_opening and _is_double_beep(last_opening, tap, book):
                yield _Ride(tap, is_double_beep=True)
                continue
            last_opening = tap
            if open_tap:
                yield _Ride(open_tap, is_unclosed=True)
            open_tap = tap if _stays_open(tap, book) else None
            if not open_tap:
                yield _Ride(tap)
            continue
        last_opening = None
        if open_tap and _closes(open_tap, tap, book):
            yield _Ride(open_tap, closing=tap)
        else:
            if open_tap:
                yield _Ride(open_tap, is_unclosed=True)
            yield _Ride(tap, entry_is_missing=True)
        open_tap = None
    if open_tap:
        yield _Ride(open_tap, is_open=True)


def _is_double_beep(first: DayTap, second: DayTap, book: TariffBook) -> bool:
    if first.action is not second.action or first.place != second.place:
        return False
    tariff = book.tariff_at(second.tapped_at)
    network = tariff.network(second.network) if tariff else None
    window = timedelta(seconds=network.pass_back_seconds if network else 0)
    return bool(window) and second.tapped_at - first.tapped_at <= window


def _stays_open(tap: DayTap, book: TariffBook) -> bool:
    tariff = book.tariff_at(tap.tapped_at)
    network = tariff.network(tap.network) if tariff else None
    return network is not None and network.taps != "board"


def _closes(opening: DayTap, closing: DayTap, book: TariffBook) -> bool:
    if opening.network != closing.network:
        return False
    vehicles = {opening.vehicle_id, closing.vehicle_id} - {None}
    if opening.action is Action.BOARD and len(vehicles) > 1:
        return False
    tariff = book.tariff_at(opening.tapped_at)
    network = tariff.network(opening.network) if tariff else None
    if network is None:
        return False
    longest = timedelta(minutes=network.journey_minutes_max)
    return closing.tapped_at - opening.tapped_at <= longest
