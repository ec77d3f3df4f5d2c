"""One rider's one way: at which gates they beep, and when."""

from random import Random

from loadtest.city.places import Places
from loadtest.city.riders import WAYS, Rider, Riders

LOST_EXITS_PER_1000 = 15
DOUBLE_BEEPS_PER_1000 = 10  # of turnstile taps; on a bus a second beep would pay for a companion
JOURNEY_MINUTES_MAX = 110
_METRO_MINUTES = (8, 50)
_BUS_MINUTES = (10, 45)
_CHANGE_MINUTES = (2, 14)

# Milliseconds after the departure, and a gate.
Beep = tuple[int, int]


class Journeys:
    """Ways through a city, at those gates that belong to one part of it.

    Units: all rides take `pace` of their time, from 0 to 1.
    """

    def __init__(
        self,
        places: Places,
        riders: Riders,
        draw: Random,
        lanes: range,
        buses: range,
        pace: float = 1.0,
    ) -> None:
        self._places = places
        self._riders = riders
        self._random = draw.random
        self._lanes = lanes
        self._buses = buses
        self._minute_ms = 60_000 * pace

    def beeps(self, rider_number: int, is_way_back: bool) -> list[Beep]:
        """All beeps of one way, in order. The way back is the way there, turned around."""
        rider = self._riders.rider(rider_number)
        way = rider.way
        if way == "bus":
            return [(0, self._bus(rider.route))]
        if way == "metro":
            return self._metro(rider, is_way_back, 0)
        if way == "two_buses":
            routes = (rider.route, rider.other_route)
            first, second = routes[::-1] if is_way_back else routes
            return [(0, self._bus(first)), (self._minutes(_BUS_MINUTES), self._bus(second))]
        if is_way_back:
            beeps = self._metro(rider, is_way_back, 0)
            leaves_at = beeps[-1][0] + self._minutes(_CHANGE_MINUTES)
            return [*beeps, (leaves_at, self._bus(rider.route))]
        arrives_at = self._minutes(_BUS_MINUTES)
        return [(0, self._bus(rider.route)), *self._metro(rider, is_way_back, arrives_at)]

    def _metro(self, rider: Rider, is_way_back: bool, at: int) -> list[Beep]:
        origin, goal = (rider.work, rider.home) if is_way_back else (rider.home, rider.work)
        ride_ms = self._minutes(_METRO_MINUTES)
        beeps = [(at, self._turnstile(origin, False))]
        luck = self._random() * 1000
        if luck < DOUBLE_BEEPS_PER_1000:
            beeps.append((at + min(ride_ms // 4, 2000), beeps[0][1]))
        if luck > 1000 - LOST_EXITS_PER_1000:
            return beeps
        out = (at + ride_ms, self._turnstile(goal, True))
        beeps.append(out)
        if DOUBLE_BEEPS_PER_1000 <= luck < 2 * DOUBLE_BEEPS_PER_1000:
            beeps.append((out[0] + min(ride_ms // 4, 2000), out[1]))
        return beeps

    def _minutes(self, bounds: tuple[int, int]) -> int:
        shortest, longest = bounds
        return int((shortest + (longest - shortest) * self._random()) * self._minute_ms)

    def _turnstile(self, station: int, is_exit: bool) -> int:
        lanes = self._lanes
        return self._places.turnstile(station, is_exit, lanes[int(self._random() * len(lanes))])

    def _bus(self, route: int) -> int:
        buses = self._buses
        return self._places.bus(route, buses[int(self._random() * len(buses))])


def taps_per_journey() -> float:
    """How many taps a journey has, on average over all ways."""
    metro = 2 - LOST_EXITS_PER_1000 / 1000 + 2 * DOUBLE_BEEPS_PER_1000 / 1000
    taps = {"metro": metro, "bus": 1.0, "bus_and_metro": metro + 1, "two_buses": 2.0}
    return sum(taps[way] * share for way, share in WAYS.items()) / sum(WAYS.values())
