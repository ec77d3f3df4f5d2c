"""The full fare of a leg: what its product costs before anybody pays less."""

from enum import StrEnum

from msgspec import Struct, structs

from fare_rules.language.products import (
    BestOf,
    DistanceBands,
    FareProduct,
    Flat,
    Formula,
    GateNames,
    Matrix,
    PerKm,
    StopBands,
    TimeBands,
    ZoneCount,
    ZoneFares,
)
from fare_rules.language.scalars import RoundTo
from fare_rules.legs import LegFacts
from fare_rules.money import Fen, Rounding, round_parts, share_of
from fare_rules.networks import NetworkRules
from fare_rules.zones import ByZones, Span, ZoneMap

_METRES_IN_KM = 1000


class FareRefusal(StrEnum):
    """Why a leg has no price. Ordered by precedence: of two that apply, the earlier is reported."""

    NO_TARIFF = "no_tariff"
    UNKNOWN_NETWORK = "unknown_network"
    UNKNOWN_RIDER_CATEGORY = "unknown_rider_category"
    UNKNOWN_FARE_MEDIA = "unknown_fare_media"
    NO_FARE_RULE = "no_fare_rule"
    NO_GATE_FARE = "no_gate_fare"
    NO_DISTANCE = "no_distance"
    NO_ZONE = "no_zone"
    NO_PAIR = "no_pair"
    NO_TIME = "no_time"


class Trip(Struct, frozen=True, gc=False):
    """What a full fare may depend on."""

    facts: LegFacts
    network: NetworkRules
    span: Span | None
    # Where a gate measured it, or legs were joined.
    distance_m: int | None = None
    added_m: int = 0
    gate_fare_fen: int | None = None
    # How long it took, where a product asks for it.
    minutes: int | None = None
    # The places of zones that are paid already.
    paid: frozenset[int] = frozenset()

    @property
    def lacks_a_stop(self) -> bool:
        """Whether a gate at one end of a ride did not say where it was."""
        facts = self.facts
        is_ride = facts.missing is None and not facts.is_joined and self.network.taps != "board"
        return is_ride and None in (facts.from_stop, facts.to_stop)


class BaseFares:
    """The products of one tariff and the tables they look into."""

    def __init__(
        self,
        products: dict[str, FareProduct],
        matrices: dict[str, dict[str, dict[tuple[str, str], int]]],
        stops_areas: dict[str, tuple[str, ...]],
        zones: ZoneMap,
        currency_unit: int,
    ) -> None:
        self._products = products
        self._matrices = matrices
        self._areas_of = stops_areas
        self._zones = zones
        # Minor units in one main unit.
        self._unit = currency_unit
        self._zone_fares = {
            product.id: ByZones((zones.span(fare.zones), fare.amount) for fare in pricing.fares)
            for product in products.values()
            if isinstance(pricing := product.pricing, ZoneFares)
        }

    def full_fare(self, product_id: str, trip: Trip) -> Fen | FareRefusal:
        """Find what one rider pays of a product without any discount."""
        product = self._products[product_id]
        pricing = product.pricing
        if trip.gate_fare_fen is not None and (
            product.gate_may_name_fare or isinstance(pricing, GateNames)
        ):
            return Fen(trip.gate_fare_fen)
        match pricing:
            case Flat():
                return Fen(pricing.amount)
            case DistanceBands():
                metres = distance_m(trip)
                return FareRefusal.NO_DISTANCE if metres is None else _by_distance(pricing, metres)
            case PerKm():
                metres = distance_m(trip)
                return FareRefusal.NO_DISTANCE if metres is None else self._per_km(pricing, metres)
            case StopBands():
                return _by_stops(pricing, trip)
            case TimeBands():
                if trip.minutes is None:
                    return FareRefusal.NO_TIME
                return _by_time(pricing, trip.minutes)
            case ZoneFares():
                # The zone of one end alone would be the cheapest way there is.
                if trip.span is None or trip.lacks_a_stop:
                    return FareRefusal.NO_ZONE
                return self._by_zones(product_id, trip)
            case ZoneCount():
                count = self._zones_count(trip)
                return FareRefusal.NO_ZONE if count is None else zone_count_fen(pricing, count)
            case Matrix():
                return self._by_pair(pricing, trip.facts)
            case Formula():
                fare = self.full_fare(pricing.of_product, trip)
                return fare if isinstance(fare, FareRefusal) else formula_fen(pricing, fare)
            case BestOf():
                return self._best_of(pricing, trip)
            case GateNames():
                return FareRefusal.NO_GATE_FARE

    def _per_km(self, pricing: PerKm, metres: int) -> Fen:
        # A rate is in millionths of the main unit for a kilometre.
        parts_in_fen = 1_000_000 * _METRES_IN_KM // self._unit
        parts = pricing.start * parts_in_fen + pricing.rate * metres
        fare_fen = _rounded(parts, parts_in_fen, pricing.rounding)
        fare_fen = max(fare_fen, pricing.minimum)
        return Fen(fare_fen if pricing.maximum is None else min(fare_fen, pricing.maximum))

    def extension(self, product_id: str, trip: Trip, paid: frozenset[int]) -> Fen | FareRefusal:
        """Find what the zones of a trip cost that are not paid already."""
        # What a gate names is the fare of the whole.
        beyond = structs.replace(trip, gate_fare_fen=None, paid=paid)
        count = self._zones_count(beyond)
        if count is None:
            return FareRefusal.NO_ZONE
        return self.full_fare(product_id, beyond) if count else Fen(0)

    def _by_zones(self, product_id: str, trip: Trip) -> Fen | FareRefusal:
        found = [self._zone_fares[product_id].of(run) for run in self._runs(trip) or ()]
        known = [fare_fen for fare_fen in found if fare_fen is not None]
        return Fen(sum(known)) if len(known) == len(found) else FareRefusal.NO_PAIR

    def _zones_count(self, trip: Trip) -> int | None:
        from_stop, to_stop = trip.facts.from_stop, trip.facts.to_stop
        if from_stop and to_stop and trip.network.has_links:
            path = trip.network.stops_between(from_stop, to_stop)
            count = self._zones.zones_count(path, trip.paid) if path else None
            if count is not None:
                return count
        runs = None if trip.lacks_a_stop else self._runs(trip)
        return None if runs is None else sum(run.high - run.low + 1 for run in runs)

    def _runs(self, trip: Trip) -> tuple[Span, ...] | None:
        """The zones of a trip that are not paid already."""
        if not trip.paid or trip.span is None:
            return trip.span and (trip.span,)
        facts = trip.facts
        stops = (facts.from_stop, *facts.via_stops, facts.to_stop)
        known = tuple(stop for stop in stops if stop is not None)
        return self._zones.runs_beyond(trip.network.stops_travelled(known), trip.paid)

    def _by_pair(self, pricing: Matrix, facts: LegFacts) -> Fen | FareRefusal:
        fares = self._matrices[pricing.table][pricing.column]
        pairs = [
            (one, other)
            for one in self._places_of(facts.from_stop, pricing.by)
            for other in self._places_of(facts.to_stop, pricing.by)
        ]
        found = [fares[pair] for pair in pairs if pair in fares]
        if not found and pricing.both_ways:
            found = [fares[other, one] for one, other in pairs if (other, one) in fares]
        return Fen(min(found)) if found else FareRefusal.NO_PAIR

    def _places_of(self, stop: str | None, by: str) -> tuple[str, ...]:
        if stop is None:
            return ()
        if by == "stops":
            return (stop,)
        return self._zones.zone_of(stop) if by == "zones" else self._areas_of.get(stop, ())

    def _best_of(self, pricing: BestOf, trip: Trip) -> Fen | FareRefusal:
        fares = [self.full_fare(product_id, trip) for product_id in pricing.of_products]
        known = [fare for fare in fares if not isinstance(fare, FareRefusal)]
        if (pricing.take == "sum" and len(known) < len(fares)) or not known:
            return next(fare for fare in fares if isinstance(fare, FareRefusal))
        match pricing.take:
            case "lowest":
                return min(known)
            case "highest":
                return max(known)
            case "sum":
                return Fen(sum(known))


def distance_m(trip: Trip) -> int | None:
    """The distance that counts: measured, or from the network's tables, and what is added to it."""
    metres = trip.distance_m
    if metres is None:
        metres = trip.network.distance_between(
            trip.facts.route_id, trip.facts.from_stop, trip.facts.to_stop
        )
    if metres is None:
        return None
    # What is joined was cut leg by leg.
    longest_m = None if trip.facts.is_joined else trip.network.distance_max_m
    return (metres if longest_m is None else min(metres, longest_m)) + trip.added_m


def _by_distance(pricing: DistanceBands, metres: int) -> Fen:
    # Bands that end exclusively are those of one metre more that end inclusively.
    fare_fen = _of_bands(pricing, metres if pricing.ends == "inclusive" else metres + 1)
    return _at_most(pricing.maximum, fare_fen)


def _by_stops(pricing: StopBands, trip: Trip) -> Fen | FareRefusal:
    count = trip.network.stops_count_between(
        trip.facts.route_id, trip.facts.from_stop, trip.facts.to_stop
    )
    return FareRefusal.NO_DISTANCE if count is None else Fen(_of_bands(pricing, count))


def _by_time(pricing: TimeBands, minutes: int) -> Fen:
    return _at_most(pricing.maximum, _of_bands(pricing, minutes))


def _of_bands(pricing: DistanceBands | StopBands | TimeBands, measure: int) -> int:
    for band in pricing.bands:
        if measure <= band.end:
            return band.amount
    last = pricing.bands[-1]
    if pricing.beyond is None:
        return last.amount
    steps_begun = -(-(measure - last.end) // pricing.beyond.step)
    return last.amount + steps_begun * pricing.beyond.add


def _at_most(maximum: int | None, fare_fen: int) -> Fen:
    return Fen(fare_fen if maximum is None else min(fare_fen, maximum))


def zone_count_fen(pricing: ZoneCount, count: int) -> Fen:
    """The fare for so many zones; the last band has no end."""
    for band in pricing.bands:
        if count <= band.up_to_zones:
            return Fen(band.amount)
    return Fen(pricing.bands[-1].amount)


def formula_fen(pricing: Formula, fare_fen: int) -> Fen:
    """The fare that a formula makes of another product's."""
    reduced_fen = max(fare_fen - pricing.subtract, 0) * pricing.times
    return Fen(percent_of(reduced_fen, pricing.percent, pricing.rounding) + pricing.add)


def percent_of(amount_fen: int, percent: int, rounding: RoundTo | None) -> Fen:
    """Take a percentage, rounded as a rule says: half up to the minor unit, if it does not."""
    if rounding is None:
        return share_of(amount_fen, percent, Rounding.HALF_UP)
    return share_of(amount_fen, percent, rounding.mode, rounding.step or 1)


def _rounded(parts: int, parts_in_fen: int, rounding: RoundTo) -> int:
    step_fen = rounding.step or 1
    return round_parts(parts, parts_in_fen * step_fen, rounding.mode) * step_fen
