"""All single rides that two tariffs may price differently: where from and to, by whom, and when.

Rides and riders that no rule of the two tariffs tells apart are one here, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from msgspec import Struct

from fare_rules.base_fare import Trip
from fare_rules.compiled import CompiledTariff
from fare_rules.language.conditions import LegConditions
from fare_rules.language.discounts import PaysBands, PaysExtension, PaysProduct
from fare_rules.language.places import Network
from fare_rules.language.products import (
    BestOf,
    DistanceBands,
    Formula,
    GateNames,
    Matrix,
    PerKm,
    StopBands,
    TimeBands,
    ZoneCount,
    ZoneFares,
)
from fare_rules.language.scalars import moment_on
from fare_rules.legs import LegFacts

# What a rule may ask of a ride besides its places: the list of the condition, and its name here.
DIMENSIONS = {
    "rider_categories": "rider",
    "fare_media": "media",
    "carriage_classes": "carriage",
    "operators": "operator",
    "routes": "route",
    "issuers": "issuer",
    "from_timeframes": "hours",
}
# The sections whose rules act on a single ride.
_SECTIONS = ("fare_leg_rules", "surcharges", "concessions", "fare_tiers", "fare_caps")
_PLACES = (
    "from_stops", "to_stops", "between_stops", "from_areas", "to_areas", "via_stops",
    "within_zones",
)  # fmt: skip
_BY_PLACE = (Matrix, ZoneFares, ZoneCount, StopBands)
_BY_DISTANCE = (DistanceBands, PerKm)
# Farther than any city's lines; an endless tariff has to be cut somewhere.
_METRES_MAX = 100_000
_BEYOND_STEPS_MAX = 12
# Where a fare rises with every metre, some are looked at.
_KM_SAMPLES = (1, 2, 3, 5, 8, 10, 15, 20, 30, 40, 50)
_GATE_FARES = range(1, 21)
_OTHER = "any other"


class Ride(NamedTuple):
    """Where a ride goes, or how far, or what the gate says that it costs."""

    route: str | None = None
    from_stop: str | None = None
    to_stop: str | None = None
    distance_m: int | None = None
    gate_fare_fen: int | None = None
    minutes: int | None = None

    @property
    def measure(self) -> int:
        """The metres, the minutes, or the fare that the gate names."""
        return self.distance_m or self.minutes or self.gate_fare_fen or 0


class Rides(Struct):
    """Rides of one network, each standing for some that are priced alike."""

    network: str
    unit: str
    counted: list[tuple[Ride, int]]


class Choice(Struct, frozen=True):
    """One value of a dimension, and the names of all values that it stands for."""

    value: Any
    names: tuple[str, ...]


Tariffs = tuple[CompiledTariff, CompiledTariff]


def rides_of(network: str, tariffs: Tariffs) -> Iterator[Rides]:
    """List what there is to ride on one network: stop pairs, distances, times, gates' fares."""
    pricings = [pricing for tariff in tariffs for pricing in _pricings(network, tariff)]
    has_tables = any(
        tariff.networks[network].stops for tariff in tariffs if network in tariff.networks
    )
    by_distance = any(isinstance(pricing, _BY_DISTANCE) for pricing in pricings)
    has_fares_by_place = any(isinstance(pricing, _BY_PLACE) for pricing in pricings)
    by_place = has_fares_by_place or any(
        getattr(condition, key)
        for tariff in tariffs
        for condition in _conditions(network, tariff)
        for key in _PLACES
    )
    by_place = by_place or any(
        isinstance(rule.pays, PaysExtension)
        for tariff in tariffs
        for rule in tariff.file.concessions
    )
    placed: list[tuple[Ride, int]] = []
    if by_place or (by_distance and has_tables):
        rides = _PlacedRides(network, tariffs).rides()
        placed = rides.counted
        if placed:
            yield rides
    # What is measured is measured from each place to each that rules tell apart.
    places = [Ride()] if has_fares_by_place or not placed else [ride for ride, _ in placed]
    is_measured = False
    if by_distance and not has_tables:
        is_measured = True
        points = sorted(set(_metres(pricings, _added_metres(tariffs))))
        counted = [(place._replace(distance_m=each), 1) for each in points for place in places]
        yield Rides(network, "distances", counted)
    minutes = sorted(set(_minutes(pricings)))
    if minutes and not _is_board(network, tariffs):
        is_measured = True
        counted = [(place._replace(minutes=each), 1) for each in minutes for place in places]
        yield Rides(network, "minutes", counted)
    if any(isinstance(pricing, GateNames) for pricing in pricings):
        is_measured = True
        fares = sorted(set(_gate_fares(tariffs)))
        counted = [(place._replace(gate_fare_fen=each), 1) for each in fares for place in places]
        yield Rides(network, "gate fares", counted)
    if not placed and not is_measured:
        yield Rides(network, "rides", [(Ride(), 1)])


def choices_of(network: str, tariffs: Tariffs) -> list[list[Choice]]:
    """List the riders and hours that rules tell apart, one list for each of DIMENSIONS."""
    old, new = tariffs
    conditions = [[*_conditions(network, tariff)] for tariff in tariffs]
    everyone = {
        "rider_categories": [*_ids(new.file.rider_categories), *_ids(old.file.rider_categories)],
        "fare_media": [*_ids(new.file.fare_media), *_ids(old.file.fare_media)],
        "carriage_classes": [*_ids(new.file.carriage_classes), *_ids(old.file.carriage_classes)],
    }
    found = []
    for key in DIMENSIONS:
        if key == "from_timeframes":
            found.append(_hours(tariffs, conditions))
            continue
        named = [name for group in conditions for one in group for name in getattr(one, key)]
        alike: dict[object, list[str]] = {}
        for name in dict.fromkeys(everyone.get(key, named)):
            says = tuple(tuple(name in getattr(one, key) for one in group) for group in conditions)
            is_known = tuple(name in _known(key, tariff) for tariff in tariffs)
            alike.setdefault((says, is_known), []).append(name)
        choices = [Choice(names[0], tuple(names)) for names in alike.values()]
        if key not in everyone:
            choices.append(Choice("" if key == "operators" else None, (_OTHER,)))
        found.append(choices)
    return found


def _known(key: str, tariff: CompiledTariff) -> frozenset[str]:
    """The names without which a tariff refuses a leg."""
    if key == "rider_categories":
        return tariff.rider_categories
    return tariff.fare_media if key == "fare_media" else frozenset()


def _ids(records: Iterable[Any]) -> list[str]:
    return [record.id for record in records]


def _conditions(network: str, tariff: CompiledTariff) -> Iterator[LegConditions]:
    """Every condition that is asked of a single ride on a network."""
    for section in _SECTIONS:
        for rule in getattr(tariff.file, section):
            if not rule.networks or network in rule.networks:
                yield rule
                yield from getattr(rule, "except_", ())


def _pricings(network: str, tariff: CompiledTariff) -> Iterator[object]:
    """How fares are found on a network, in all the products that they may come from."""
    return (tariff.products[name].pricing for name in _products(network, tariff))


def _products(network: str, tariff: CompiledTariff) -> list[str]:
    waiting = [
        rule.product
        for rule in tariff.file.fare_leg_rules
        if not rule.networks or network in rule.networks
    ]
    pays = (rule.pays for rule in tariff.file.concessions)
    named = [each.product for each in pays if isinstance(each, (PaysProduct, PaysExtension))]
    waiting += [name for name in named if name is not None]
    found: dict[str, None] = {}
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = None
        match tariff.products[name].pricing:
            case Formula(of_product=other):
                waiting.append(other)
            case BestOf(of_products=others):
                waiting += others
    return sorted(found)


class _PlacedRides:
    """Rides from stop to stop, those that cost the same under any rule counted as one."""

    def __init__(self, network: str, tariffs: Tariffs) -> None:
        self._network = network
        self._tariffs = tariffs
        # A tariff that may not be dearer than an earlier one has that one's fares, too.
        floors = [each.never_dearer_than for each in tariffs]
        self._all = [*tariffs, *(floor for floor in floors if floor is not None)]
        self._products = [_products(network, tariff) for tariff in self._all]
        # Zones and areas tell all of a stop, unless its own id is looked up in a table.
        self._by_stop = any(
            isinstance(pricing, (*_BY_DISTANCE, StopBands, ZoneCount))
            or (isinstance(pricing, Matrix) and pricing.by == "stops")
            for tariff in self._all
            for pricing in _pricings(network, tariff)
        )
        conditions = [one for tariff in self._all for one in _conditions(network, tariff)]
        self._named = {
            stop for one in conditions for stop in (*one.from_stops, *one.to_stops, *one.via_stops)
        }
        self._routes = [one.routes for one in conditions]
        self._adds_metres = bool(_added_metres(tariffs))
        self._areas = [_areas_of(tariff) for tariff in self._all]
        self._kinds: dict[object, int] = {}
        self._found: dict[object, tuple[Ride, int]] = {}

    def rides(self) -> Rides:
        is_board = _is_board(self._network, self._tariffs)
        routes: dict[str, set[str]] = {}
        for tariff in self._tariffs:
            for route, stops in _route_stops(self._network, tariff).items():
                routes.setdefault(route, set()).update(stops)
        if routes and not is_board:
            for route, route_stops in routes.items():
                self._add_pairs(sorted(route_stops), route)
        elif is_board:
            for stop in sorted(self._stops()):
                self._add(Ride(from_stop=stop), 1)
        else:
            self._add_pairs(sorted(self._stops()), None)
        return Rides(self._network, "stops" if is_board else "pairs", [*self._found.values()])

    def _stops(self) -> set[str]:
        known = [each.networks.get(self._network) for each in self._tariffs]
        of_tables = {stop for each in known if each for stop in each.stops}
        if of_tables:
            return of_tables
        listed = {stop.id for tariff in self._tariffs for stop in tariff.stops}
        return listed | {stop for tariff in self._tariffs for stop in _matrix_stops(tariff)}

    def _add_pairs(self, stops: list[str], route: str | None) -> None:
        classes: dict[object, list[str]] = {}
        for stop in stops:
            classes.setdefault(stop if self._by_stop else self._kind(stop), []).append(stop)
        for some in classes.values():
            for others in classes.values():
                same = some is others
                count = len(some) * (len(others) - same)
                if count:
                    self._add(Ride(route, some[0], others[-1]), count)

    def _add(self, ride: Ride, count: int) -> None:
        key = (
            self._kind(ride.from_stop),
            self._kind(ride.to_stop),
            tuple(ride.route in routes for routes in self._routes),
            *(self._fares(tariff, names, ride) for tariff, names in self._priced_by()),
        )
        first, known = self._found.get(key, (ride, 0))
        self._found[key] = (first, known + count)

    def _priced_by(self) -> Iterable[tuple[CompiledTariff, list[str]]]:
        return zip(self._all, self._products, strict=True)

    def _kind(self, stop: str | None) -> int:
        """A number for all stops that rules and zones do not tell apart."""
        says = (
            stop if stop in self._named else None,
            *(areas.get(stop or "", frozenset()) for areas in self._areas),
            *(tariff.zones.zone_of(stop) for tariff in self._all),
        )
        return self._kinds.setdefault(says, len(self._kinds))

    def _fares(self, tariff: CompiledTariff, names: list[str], ride: Ride) -> tuple[object, ...]:
        network = tariff.networks.get(self._network)
        if network is None:
            return ()
        span = tariff.zones.span_of((ride.from_stop, ride.to_stop))
        facts = LegFacts(
            self._network, "", ride.route, "", ride.from_stop, ride.to_stop, (), "", "", None, 0, 0,
            None,
        )  # fmt: skip
        trip = Trip(facts, network, span)
        metres = None
        if self._adds_metres:
            metres = network.distance_between(ride.route, ride.from_stop, ride.to_stop)
        return (span, metres, *(tariff.base_fares.full_fare(name, trip) for name in names))


def _file_network(network: str, tariff: CompiledTariff) -> Network | None:
    return next((each for each in tariff.file.networks if each.id == network), None)


def _route_stops(network: str, tariff: CompiledTariff) -> Mapping[str, Iterable[str]]:
    said = _file_network(network, tariff)
    return tariff.tables.route_stops[said.route_stops] if said and said.route_stops else {}


def _matrix_stops(tariff: CompiledTariff) -> Iterator[str]:
    for each in tariff.products.values():
        if isinstance(each.pricing, Matrix) and each.pricing.by == "stops":
            for pair in tariff.tables.matrices[each.pricing.table][each.pricing.column]:
                yield from pair


def _areas_of(tariff: CompiledTariff) -> dict[str, frozenset[str]]:
    found = {stop.id: frozenset(stop.areas) for stop in tariff.stops}
    for area in tariff.file.areas:
        for stop in area.stops:
            found[stop] = found.get(stop, frozenset()) | {area.id}
    return found


def _added_metres(tariffs: Tariffs) -> list[int]:
    return [
        int(rule.add_km)
        for tariff in tariffs
        for rule in tariff.file.surcharges
        if rule.add_km is not None
    ]


def _metres(pricings: list[object], added: list[int]) -> Iterator[int]:
    """Distances at which a fare may change, and the metre before and after each."""
    yield 1
    for pricing in pricings:
        ends: Iterable[int] = ()
        if isinstance(pricing, DistanceBands):
            ends = _band_ends(pricing)
        elif isinstance(pricing, PerKm):
            ends = (1000 * km for km in _KM_SAMPLES)
        for end in ends:
            for shift in (0, *added):
                yield from (
                    metres
                    for metres in (end - shift - 1, end - shift, end - shift + 1)
                    if 0 < metres <= _METRES_MAX
                )


def _minutes(pricings: list[object]) -> Iterator[int]:
    """Times at which a fare may change, and the minute after each."""
    for pricing in pricings:
        if isinstance(pricing, TimeBands):
            yield from (minutes for end in _band_ends(pricing) for minutes in (end, end + 1))


def _band_ends(pricing: DistanceBands | TimeBands) -> Iterator[int]:
    yield from (band.end for band in pricing.bands)
    if pricing.beyond is not None:
        last, each = pricing.bands[-1].end, pricing.beyond.step
        yield from (last + step * each for step in range(1, _BEYOND_STEPS_MAX + 1))


def _is_board(network: str, tariffs: Tariffs) -> bool:
    """Whether riders of a network only tap on."""
    rules = [tariff.networks.get(network) for tariff in tariffs]
    return all(each is None or each.taps == "board" for each in rules)


def _gate_fares(tariffs: Tariffs) -> Iterator[int]:
    """Fares that a gate may name: round ones, and those where a percentage changes."""
    for tariff in tariffs:
        unit = 10**tariff.currency_digits if tariff.currency_digits else 100
        yield from (unit * times for times in _GATE_FARES)
        for rule in tariff.file.concessions:
            if isinstance(rule.pays, PaysBands):
                ends = (int(band.up_to) for band in rule.pays.bands if band.up_to is not None)
                yield from (fare for end in ends for fare in (end, end + 1))


def _hours(tariffs: Tariffs, conditions: list[list[LegConditions]]) -> list[Choice]:
    """One instant of each mixture of timeframes that rules ask for."""
    asked = [
        {name for one in group for name in (*one.from_timeframes, *one.to_timeframes)}
        for group in conditions
    ]
    found: dict[object, Choice] = {}
    for instant in _instants(tariffs):
        old, new = (
            _frames_at(instant, tariff, names) for tariff, names in zip(tariffs, asked, strict=True)
        )
        if (old, new) not in found:
            name = " and ".join(new) or _OTHER
            if old != new:
                name += f" (before: {' and '.join(old) or _OTHER})"
            found[old, new] = Choice(instant, (name,))
        if not any(asked):
            break
    return list(found.values())


def _frames_at(instant: datetime, tariff: CompiledTariff, asked: set[str]) -> tuple[str, ...]:
    bits = tariff.timeframes.at(instant)
    names = (frame.id for index, frame in enumerate(tariff.file.timeframes) if bits >> index & 1)
    return tuple(name for name in names if name in asked)


def _instants(tariffs: Tariffs) -> Iterator[datetime]:
    """Noons, then the first minutes of all timeframes, on a week's days and a year's holidays."""
    old, new = tariffs
    first = max(old.effective_from, new.effective_from)
    days = [first + timedelta(days=index) for index in range(366)]
    frames = [frame for tariff in tariffs for frame in tariff.file.timeframes]
    is_holiday = any(frame.holidays != "as_usual" for frame in frames)
    days = days[:7] + [
        day
        for day in days[7:]
        if is_holiday and any(tariff.timeframes.is_holiday(day) for tariff in tariffs)
    ]
    clocks = {
        clock for frame in frames for each in frame.periods for clock in (each.start, each.end)
    }
    clocks |= {tariff.file.service_day_starts for tariff in tariffs}
    for clock in ("12:00", *sorted(clocks)):
        for day in days:
            yield moment_on(day, clock, new.timezone)
