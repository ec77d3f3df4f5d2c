"""A network made ready: how it is tapped, how long a ride may take, how far two stops are apart."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import pairwise

from fare_rules.language.places import Network
from fare_rules.money import WHOLE
from fare_rules.paths import Paths
from fare_rules.timeframes import Timeframes
from fare_rules.zones import ByZones, Span, ZoneMap

RouteStops = Mapping[str, Mapping[str, tuple[int, int | None]]]


class NetworkRules:
    """One network of one tariff."""

    def __init__(
        self,
        network: Network,
        *,
        paths: Paths | None,
        distances: Mapping[tuple[str, str], int],
        route_stops: RouteStops,
        zones: ZoneMap,
        timeframes: Timeframes,
    ) -> None:
        self.id = network.id
        self.taps = network.taps
        self.reference = network.reference
        self.minimum_balance_fen = int(network.minimum_balance)
        self.no_minimum_balance = frozenset(network.no_minimum_balance)
        self.hold_fen = int(network.hold_at_entry)
        self.pass_back = timedelta(seconds=network.pass_back_seconds)
        self.journey_time = network.journey_time
        self.same_stop_exit = network.same_stop_exit
        self.completion = network.completion
        self.same_stop_id = f"{network.id}_same_stop"
        self.completion_id = f"{network.id}_completion"
        self.distance_max_m = network.distance_max_km
        self._paths = paths
        self._counts_path = network.zones_travelled == "path"
        self._distances = distances
        self._route_stops = route_stops
        self._timeframes = timeframes
        time = network.journey_time
        self._by_zones = ByZones(
            (zones.span(each.zones), each.minutes) for each in (time.by_zones if time else ())
        )
        self._longer = tuple(
            (timeframes.bits_of(longer.timeframes), int(longer.percent))
            for longer in (time.longer if time else ())
        )
        self.longest = timedelta(minutes=self._longest_minutes())
        # How long a rider may stay, where that is the same for all; else None.
        self.always_allowed: timedelta | None = None
        if time is None:
            self.always_allowed = timedelta.max
        elif not (time.by_zones or time.by_fare or time.longer):
            self.always_allowed = timedelta(minutes=time.minutes)

    @property
    def has_links(self) -> bool:
        return self._paths is not None

    @property
    def knows_distances(self) -> bool:
        return bool(self._paths or self._distances or self._route_stops)

    @property
    def first_route(self) -> str | None:
        """A route whose stops are known, if there is one."""
        return min(self._route_stops, default=None)

    @property
    def stops(self) -> frozenset[str]:
        """The stops that its tables know."""
        ends = {stop for pair in self._distances for stop in pair}
        on_routes = {stop for stops in self._route_stops.values() for stop in stops}
        return frozenset(ends | on_routes | (self._paths.stops if self._paths else frozenset()))

    def time_allowed(
        self, span: Span | None, entry_frames: int, fare_fen: int | None = None
    ) -> timedelta:
        """Find how long a rider may stay, by zones travelled, full fare and hour of entry."""
        time = self.journey_time
        if time is None:
            return timedelta(0)
        minutes = self._by_zones.of(span)
        if minutes is None and fare_fen is not None:
            minutes = next((by.minutes for by in time.by_fare if fare_fen <= by.up_to), None)
        if minutes is None:
            minutes = time.minutes
        for bits, percent in self._longer:
            if bits & entry_frames:
                minutes = self._lengthened(minutes, percent)
                break
        return timedelta(minutes=minutes)

    def distance_between(
        self, route: str | None, from_stop: str | None, to_stop: str | None
    ) -> int | None:
        """Find the distance of two stops: of the table, along the route, or over the links."""
        if from_stop is None or to_stop is None:
            return None
        if from_stop == to_stop:
            return 0
        known = self._distances.get((from_stop, to_stop))
        if known is not None:
            return known
        ends = self._ends_on_route(route, from_stop, to_stop)
        if ends and ends[0][1] is not None and ends[1][1] is not None:
            return abs(ends[1][1] - ends[0][1])
        path = self._paths.between(from_stop, to_stop) if self._paths else None
        return path.distance_m if path else None

    def stops_count_between(
        self, route: str | None, from_stop: str | None, to_stop: str | None
    ) -> int | None:
        """Count the stops ridden: along the route, or over the links of the shortest path."""
        if from_stop is None or to_stop is None:
            return None
        ends = self._ends_on_route(route, from_stop, to_stop)
        if ends:
            return abs(ends[1][0] - ends[0][0])
        path = self._paths.between(from_stop, to_stop) if self._paths else None
        return path.links_count if path else None

    def stops_travelled(self, stops: tuple[str, ...]) -> tuple[str, ...]:
        """List the stops of which a leg counts the zones: those said, or all on the way."""
        if not self._counts_path:
            return stops
        ways = [self.stops_between(*pair) or pair for pair in pairwise(stops)]
        return tuple(dict.fromkeys(stop for way in ways for stop in way)) or stops

    def path_over(self, stops: Sequence[str]) -> tuple[str, ...]:
        """List all stops on the way from stop to stop; none where the links do not tell it."""
        ways = [self.stops_between(*pair) for pair in pairwise(stops)]
        return tuple(stop for way in ways for stop in way) if all(ways) else ()

    def stops_between(self, from_stop: str, to_stop: str) -> tuple[str, ...]:
        return self._paths.stops_on(from_stop, to_stop) if self._paths else ()

    def stops_of_route(self, route: str | None) -> frozenset[str]:
        return frozenset(self._route_stops.get(route or "", {}))

    def _ends_on_route(
        self, route: str | None, from_stop: str, to_stop: str
    ) -> tuple[tuple[int, int | None], tuple[int, int | None]] | None:
        stops = self._route_stops.get(route or "", {})
        if from_stop in stops and to_stop in stops:
            return stops[from_stop], stops[to_stop]
        return None

    def _lengthened(self, minutes: int, percent: int) -> int:
        assert self.journey_time is not None
        step = self.journey_time.round_up_to_minutes
        return -(-minutes * (WHOLE + percent) // (WHOLE * step)) * step

    def _longest_minutes(self) -> int:
        time = self.journey_time
        if time is None:
            return 0
        by_zones = [each.minutes for each in time.by_zones]
        by_fare = [each.minutes for each in time.by_fare]
        longest = max(time.minutes, *by_zones, *by_fare, 0)
        percent = max((percent for _, percent in self._longer), default=0)
        return self._lengthened(longest, percent)
