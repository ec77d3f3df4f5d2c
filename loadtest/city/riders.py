"""Who rider n is. Everything follows from the seed and n, so no rider is ever stored."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from loadtest.city.places import STATIONS

# Journeys of 100 by each way, and riders of 1000 by category and fare media. In the city's open
# data (set 29200_00403601) 51 of 100 rides are by metro, one bus ride in five is a change, and of
# 100 cards 6 are students' and 2 to 4 free. That sample has no QR codes: their part is assumed.
WAYS = {"metro": 44, "bus": 38, "bus_and_metro": 14, "two_buses": 4}
FARES = {
    ("adult", "card"): 800,
    ("adult", "qr"): 100,
    ("student", "card"): 60,
    ("senior", "card"): 30,
    ("free", "card"): 10,
}
_MASK = (1 << 64) - 1

Item = TypeVar("Item")


class Rider(NamedTuple):
    """Where a rider lives and works (as station numbers), and how they get there."""

    home: int
    work: int
    way: str
    route: int
    other_route: int


def scramble(number: int) -> int:
    """Turn a number into 64 bits that look random; never two numbers into the same.

    Source: the finalizer of SplitMix64 (Steele, Lea, Flood 2014).
    """
    number &= _MASK
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    number = (number ^ number >> 27) * 0x94D049BB133111EB & _MASK
    return number ^ number >> 31


class Riders:
    def __init__(self, seed: int, routes_count: int) -> None:
        self._seed = scramble(seed + 1)
        self._routes_count = routes_count
        self._homes = _table([(number, home) for number, (_, home, _) in enumerate(STATIONS)])
        self._works = _table([(number, work) for number, (_, _, work) in enumerate(STATIONS)])
        self._ways = _table(list(WAYS.items()))
        self._fares = _table(list(FARES.items()))

    def rider(self, number: int) -> Rider:
        bits = scramble(self._seed + number)
        home = self._homes[bits & 1023]
        work = self._works[bits >> 10 & 1023]
        route = (bits >> 30 & 4095) % self._routes_count
        other_route = (route + 1 + (bits >> 42) % (self._routes_count - 1)) % self._routes_count
        return Rider(
            home,
            work if work != home else (work + 1) % len(STATIONS),
            self._ways[bits >> 20 & 1023],
            route,
            other_route,
        )

    def fare(self, number: int) -> tuple[str, str]:
        """A rider's category and fare media."""
        return self._fares[scramble(self._seed + number) >> 54]


def _table(shares: Sequence[tuple[Item, int]]) -> list[Item]:
    """Spread items over 1024 slots by their shares, so that ten random bits draw one."""
    total = sum(share for _, share in shares)
    slots: list[Item] = []
    begun = 0
    for item, share in shares:
        begun += share
        slots += [item] * (round(1024 * begun / total) - len(slots))
    return slots
