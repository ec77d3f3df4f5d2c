"""Where a feed's legs begin and end: stops, their areas and zones, and the stops of each line."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise

from msgspec import Struct, field

from fare_rules.gtfs.files import Feed, FeedStop, StopTime
from fare_rules.language.scalars import ZoneId

_AREA_ID_LENGTH_MAX = 70
_EARTH_RADIUS_M = 6_371_000
# Feet, metres, kilometres and miles: GTFS leaves the unit of distances to each feed.
_UNITS_M = (0.3048, 1.0, 1000.0, 1609.344)


class Places(Struct):
    """Stops with what they belong to; rules may add areas of their own."""

    names: dict[str, str]
    zones_of: dict[str, str]
    areas_of: dict[str, set[str]]
    area_names: dict[str, str]
    # A station's platforms, itself among them.
    parts_of: dict[str, tuple[str, ...]]
    _stops_of: dict[str, frozenset[str]] = field(default_factory=dict)
    _outside: dict[frozenset[str], str] = field(default_factory=dict)

    def stops_of(self, area_id: str) -> frozenset[str]:
        if area_id not in self._stops_of:
            self._stops_of[area_id] = frozenset(
                stop for stop, areas in self.areas_of.items() if area_id in areas
            )
        return self._stops_of[area_id]

    def area_of_all_but(self, listed: Iterable[str]) -> str:
        """Name the area of the stops that are in none of these."""
        excluded = frozenset(listed)
        if excluded in self._outside:
            return self._outside[excluded]
        area_id = "outside_" + "_".join(sorted(excluded))
        if len(area_id) > _AREA_ID_LENGTH_MAX:
            area_id = f"outside_{len(excluded)}_areas"
        while area_id in self.area_names:
            area_id += "_"
        self._outside[excluded] = area_id
        self.area_names[area_id] = "Stops outside of " + ", ".join(sorted(excluded))
        for areas in self.areas_of.values():
            if areas.isdisjoint(excluded):
                areas.add(area_id)
        return area_id


def read_places(feed: Feed, remarks: list[str]) -> Places:
    """Read the stops that riders tap at, with their areas.

    A platform is in the areas of its station, unless it is given its own; a station that is given
    none is in those that all its platforms share, since its gates may send either name.
    """
    own: dict[str, set[str]] = defaultdict(set)
    for row in feed.stop_areas:
        own[row.stop_id].add(row.area_id)
    stops = [stop for stop in feed.stops if stop.location_type in (0, 1)]
    if skipped := len(feed.stops) - len(stops):
        remarks.append(f"stops.txt:1: {skipped} entrances, nodes and boarding areas are left out")
    if not feed.stops:
        named = {join.from_stop_id for join in feed.fare_leg_join_rules}
        named |= {join.to_stop_id for join in feed.fare_leg_join_rules}
        stops = [FeedStop(row=0, stop_id=each) for each in sorted({*own, *named} - {""})]
        if stops:
            remarks.append("stops.txt:1: Not there; the stops are those that fares name")
    platforms: dict[str, list[str]] = defaultdict(list)
    for stop in stops:
        if stop.parent_station and stop.location_type == 0:
            platforms[stop.parent_station].append(stop.stop_id)
        if stop.stop_timezone and stop.stop_timezone != feed.agency[0].agency_timezone:
            remarks.append(f"stops.txt:{stop.row}: Its time zone is not that of the agency")
    areas_of: dict[str, set[str]] = {}
    for stop in stops:
        areas = own[stop.stop_id] or own[stop.parent_station if not stop.location_type else ""]
        children = [own[child] for child in platforms[stop.stop_id]]
        if not areas and children:
            areas = set.intersection(*children)
            if any(child != areas for child in children):
                remarks.append(
                    f"stops.txt:{stop.row}: The platforms of '{stop.stop_id}' are in different "
                    "areas; gates that send the station are in what all of them share"
                )
        areas_of[stop.stop_id] = set(areas)
    return Places(
        names={stop.stop_id: stop.stop_name for stop in stops},
        zones_of={stop.stop_id: stop.zone_id for stop in stops if _usable_zone(stop, remarks)},
        areas_of=areas_of,
        area_names={area.area_id: area.area_name for area in feed.areas},
        parts_of={stop.stop_id: (stop.stop_id, *platforms[stop.stop_id]) for stop in stops},
    )


def zones_in_order(places: Places, remarks: list[str]) -> tuple[ZoneId, ...]:
    """List the zones of stops.txt: as numbers where all are numbers, else by the alphabet."""
    zones = set(places.zones_of.values())
    if zones:
        remarks.append("stops.txt:1: zone_id is kept, in the order of its names; no fare is by it")
    by_number = all(zone.isdecimal() for zone in zones)
    return tuple(ZoneId(zone) for zone in sorted(zones, key=int if by_number else str))


def _usable_zone(stop: FeedStop, remarks: list[str]) -> bool:
    zone = stop.zone_id
    if not zone:
        return False
    if "-" in zone or len(zone) > 20 or any(letter.isspace() for letter in zone):
        remarks.append(f"stops.txt:{stop.row}: zone_id '{zone}' cannot be a zone's name here")
        return False
    return True


class RouteStop(Struct, frozen=True):
    """A stop along a line."""

    route_id: str
    stop_id: str
    sequence: int
    distance_m: int | None


def read_route_stops(feed: Feed, remarks: list[str]) -> list[RouteStop]:
    """List the stops of each line along its longest trip: the one with the most stops."""
    calls: dict[str, list[StopTime]] = defaultdict(list)
    for call in feed.stop_times:
        if call.stop_id:
            calls[call.trip_id].append(call)
    trips_of: dict[str, list[list[StopTime]]] = defaultdict(list)
    for trip in feed.trips:
        if trip.trip_id in calls:
            trips_of[trip.route_id].append(sorted(calls[trip.trip_id], key=_sequence))
    at = {
        stop.stop_id: (stop.stop_lat, stop.stop_lon)
        for stop in feed.stops
        if stop.stop_lat is not None and stop.stop_lon is not None
    }
    found: list[RouteStop] = []
    for route in feed.routes:
        trips = sorted(trips_of[route.route_id], key=lambda trip: (-len(trip), trip[0].trip_id))
        if not trips:
            continue
        longest = trips[0]
        distances = _distances_m(longest, at)
        if distances is None:
            place = f"stop_times.txt:{longest[0].row}"
            remarks.append(f"{place}: Neither distances nor places, so '{route.route_id}' has none")
        seen: set[str] = set()
        for index, call in enumerate(longest):
            if call.stop_id in seen:
                place = f"stop_times.txt:{call.row}"
                remarks.append(f"{place}: '{call.stop_id}' a second time; only the first counts")
                continue
            seen.add(call.stop_id)
            distance = None if distances is None else distances[index]
            found.append(RouteStop(route.route_id, call.stop_id, len(seen), distance))
        if others := {call.stop_id for trip in trips for call in trip} - seen:
            remarks.append(
                f"routes.txt:{route.row}: {len(others)} stops of other trips of "
                f"'{route.route_id}' are not along its longest, {longest[0].trip_id}"
            )
    return found


def _sequence(call: StopTime) -> int:
    return call.stop_sequence


def _distances_m(calls: list[StopTime], at: Mapping[str, tuple[float, float]]) -> list[int] | None:
    """Say how far each call is from the first, by the feed's distances or over the ground."""
    ground: list[float] | None = None
    if all(call.stop_id in at for call in calls):
        ground = [0.0]
        for one, other in pairwise(calls):
            ground.append(ground[-1] + _apart_m(at[one.stop_id], at[other.stop_id]))
    along = [call.shape_dist_traveled for call in calls]
    known = [each for each in along if each is not None]
    if len(known) == len(along) and known == sorted(known) and known[-1] > known[0]:
        length = known[-1] - known[0]
        unit = 1.0
        if ground and ground[-1] > 0:
            ratio = ground[-1] / length
            unit = min(_UNITS_M, key=lambda each: abs(math.log(each / ratio)))
        return [round((each - known[0]) * unit) for each in known]
    return None if ground is None else [round(each) for each in ground]


def _apart_m(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Measure the great circle between two places on the ground."""
    (lat, lon), (other_lat, other_lon) = (
        (math.radians(place[0]), math.radians(place[1])) for place in (one, other)
    )
    half = (
        math.sin((other_lat - lat) / 2) ** 2
        + math.cos(lat) * math.cos(other_lat) * math.sin((other_lon - lon) / 2) ** 2
    )
    return 2 * _EARTH_RADIUS_M * math.asin(math.sqrt(half))
