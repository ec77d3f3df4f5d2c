"""The city itself: what to register, whose wallets to open, and its taps as they happen."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from itertools import count
from math import gcd
from random import Random
from typing import Any
from uuid import UUID

from loadtest.city import ids
from loadtest.city.days import DAY_MS, EPOCH, SERVICE_DAY_STARTS_MS, ZONE_MS, Beeps, CityTap, play
from loadtest.city.hours import departures
from loadtest.city.journeys import JOURNEY_MINUTES_MAX, Journeys, taps_per_journey
from loadtest.city.places import BUS_OPERATORS_MAX, Places
from loadtest.city.riders import Riders

RIDERS_MAX = 10_000_000
_ASKED_MAX = 50
# In a stream, a rider's turn comes again after four times the longest journey, or later.
_TURN_PER_JOURNEY = 4


class City:
    """A city made from a seed, or a part of it.

    Parts of one city have no rider and no gate in common, so several processes can play it at once.
    With a `zipf` above 0 the rider of rank r sets out in proportion to r to the power -`zipf`; with
    0, everyone in turn. Whoever is under way does not set out again before arriving.
    """

    def __init__(
        self,
        seed: int = 1,
        *,
        riders_count: int = 300_000,
        bus_operators_count: int = 7,
        zipf: float = 0.0,
        gates_per_line: int = 4,
        part: int = 0,
        parts_count: int = 1,
        top_up_fen: int = 100_000,
        offline_buses_per_1000: int = 50,
    ) -> None:
        _check("seed", seed, 0, 2**32 - 1)
        _check("riders_count", riders_count, 1, RIDERS_MAX)
        _check("bus_operators_count", bus_operators_count, 1, BUS_OPERATORS_MAX)
        _check("gates_per_line", gates_per_line, 1, 100)
        _check("parts_count", parts_count, 1, min(gates_per_line, riders_count))
        _check("part", part, 0, parts_count - 1)
        _check("zipf", zipf, 0, 4)
        _check("offline_buses_per_1000", offline_buses_per_1000, 0, 1000)
        self.seed = seed
        self.riders_count = riders_count
        self.places = Places(bus_operators_count, gates_per_line)
        self._riders = Riders(seed, len(self.places.routes))
        self._zipf = zipf
        self._top_up_fen = top_up_fen
        self._offline_buses_per_1000 = offline_buses_per_1000
        self.own_riders = range(part, riders_count, parts_count)
        self._own_lanes = range(part, gates_per_line, parts_count)
        self._own_buses = range(part, self.places.buses_per_route, parts_count)
        # Steps of about the golden section visit everyone once, far from one another.
        self._step = max(int(len(self.own_riders) * 0.618), 1)
        while gcd(self._step, len(self.own_riders)) != 1:
            self._step += 1

    # What a gateway must know first.

    def registry(self) -> dict[str, list[dict[str, Any]]]:
        """The body of POST /v1/registry."""
        return self.places.registry()

    def wallets(self, start: int = 0, count: int | None = None) -> Iterator[dict[str, Any]]:
        """The elements of POST /v1/wallets' body: for each rider, one wallet with one card."""
        end = self.riders_count if count is None else min(start + count, self.riders_count)
        for number in range(start, end):
            rider_category, fare_media = self._riders.fare(number)
            media = {
                "media_token": self.media_token(number),
                "rider_category": rider_category,
                "fare_media": fare_media,
            }
            top_up_id = str(ids.top_up_id(self.seed, number))
            yield {
                "wallet_id": str(self.wallet_id(number)),
                "media": [media],
                "top_up": {"top_up_id": top_up_id, "amount_fen": self._top_up_fen},
            }

    def wallet_id(self, number: int) -> UUID:
        return ids.wallet_id(self.seed, number)

    def media_token(self, number: int) -> str:
        return f"c{self.seed}-{number:07d}"

    # What happens in it.

    def day(self, day: date, *, taps_count: int | None = None) -> Iterator[CityTap]:
        """One weekday's taps in the order they happen, the last of them after midnight.

        Shape:  about `taps_count` taps, for every journey is whole; by default each rider goes to
                work and comes home. Half of a rider's journeys, the earlier ones, are to work.
        """
        draw = Random(f"{self.seed} {day} {self.own_riders.start}")
        journeys_count = 2 * len(self.own_riders)
        if taps_count is not None:
            journeys_count = round(taps_count / taps_per_journey())
        midnight_ms = (day - date(1970, 1, 1)).days * DAY_MS - ZONE_MS
        begins = (
            (midnight_ms + at_ms, self._is_way_back(number))
            for number, at_ms in enumerate(departures(journeys_count, draw))
        )
        return self._play(begins, draw, midnight_ms + SERVICE_DAY_STARTS_MS)

    def stream(self, start: datetime, taps_per_second: float) -> Iterator[CityTap]:
        """Endless taps at a steady pace: tap n happens at `start` + n / `taps_per_second`.

        Rides are shortened as much as it takes for riders to have arrived long before it is their
        turn again.
        """
        draw = Random(f"{self.seed} {start.isoformat()} {self.own_riders.start}")
        gap_ms = 1000 * taps_per_journey() / taps_per_second
        turn_ms = gap_ms * len(self.own_riders)
        pace = min(turn_ms / _TURN_PER_JOURNEY / (JOURNEY_MINUTES_MAX * 60_000), 1.0)
        start_ms = (start - EPOCH) // timedelta(milliseconds=1)
        begins = (
            (start_ms + int(number * gap_ms), self._is_way_back(number)) for number in count()
        )
        for number, tap in enumerate(self._play(begins, draw, start_ms, pace)):
            tap.tapped_at = start + timedelta(seconds=number / taps_per_second)
            yield tap

    def _is_way_back(self, journey_number: int) -> bool:
        return journey_number // len(self.own_riders) % 2 == 1

    def _play(
        self, begins: Iterator[tuple[int, bool]], draw: Random, first_ms: int, pace: float = 1.0
    ) -> Iterator[CityTap]:
        # A gate numbers a thousand taps per millisecond at most, so no two runs share a number
        # unless they play the same time.
        beeps = Beeps(self.seed, self.places.gates, first_ms * 1000, self._offline_buses_per_1000)
        journeys = Journeys(self.places, self._riders, draw, self._own_lanes, self._own_buses, pace)
        chooser = self._zipf_chooser(draw) if self._zipf else self._turns(draw)
        return play(begins, chooser, journeys, beeps, self.media_token)

    def _turns(self, draw: Random) -> Callable[[set[int]], int | None]:
        """Everyone in turn, beginning anywhere; whoever is under way is passed over."""
        own, step = self.own_riders, self._step
        size = len(own)
        position = draw.randrange(size)

        def choose(under_way: set[int]) -> int | None:
            nonlocal position
            for _ in range(_ASKED_MAX):
                position = (position + step) % size
                rider = own[position]
                if rider not in under_way:
                    return rider
            return None

        return choose

    def _zipf_chooser(self, draw: Random) -> Callable[[set[int]], int | None]:
        """A rank by the inverse of the continuous Zipf distribution; ranks lie scattered."""
        own, step, random = self.own_riders, self._step, draw.random
        size = len(own)
        power = 1.0 - self._zipf
        whole = (size + 1.0) ** power - 1.0

        def choose(under_way: set[int]) -> int | None:
            for _ in range(_ASKED_MAX):
                if power:
                    rank = (random() * whole + 1.0) ** (1.0 / power)
                else:
                    rank = (size + 1.0) ** random()
                rider = own[int(rank) * step % size]
                if rider not in under_way:
                    return rider
            return None

        return choose


def _check(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name} is {value}, not {least} to {most}")
