"""The outcome of a back-test: what two tariffs come to for the same taps."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from itertools import accumulate
from zoneinfo import ZoneInfo

from msgspec import Struct

from fare_rules.backtest.sides import Side
from fare_rules.backtest.tally import Tally

QUANTILES = (1, 5, 25, 50, 75, 95, 99)
# So many bars on either side of zero.
BINS_MAX = 12
_NICE_STEPS = (1, 2, 5)


class Bin(Struct, frozen=True):
    """Riders whose difference lies between two amounts, both included."""

    low_fen: int
    high_fen: int
    riders_count: int


class Comparison(Struct, frozen=True):
    """Two tariffs over the same taps. Differences are what the new one is more than the old."""

    old: Side
    new: Side
    currency: str
    currency_digits: int
    timezone: ZoneInfo
    # The service days that are reported, as the old tariff has them; None where there is no tap.
    first_day: date | None
    last_day: date | None
    # What a reader has to know that no figure says.
    notes: tuple[str, ...]
    tally: Tally

    @property
    def riders_count(self) -> int:
        return sum(self.tally.differences.values()) + self.tally.incomparable_count

    @property
    def better_count(self) -> int:
        return sum(count for fen, count in self.tally.differences.items() if fen < 0)

    @property
    def worse_count(self) -> int:
        return sum(count for fen, count in self.tally.differences.items() if fen > 0)

    @property
    def same_count(self) -> int:
        return self.tally.differences.get(0, 0)

    @property
    def quantiles(self) -> dict[int, int]:
        """For some percentages, the difference that so many riders do not exceed."""
        return quantiles(self.tally.differences)

    @property
    def histogram(self) -> list[Bin]:
        return histogram(self.tally.differences)


def quantiles(differences: Mapping[int, int]) -> dict[int, int]:
    """Find the nearest ranks: each is a difference that some rider has. Empty without riders."""
    amounts = sorted(differences)
    if not amounts:
        return {}
    reached = list(accumulate(differences[fen] for fen in amounts))
    found = {}
    for percent in QUANTILES:
        rank = max(-(-percent * reached[-1] // 100), 1)
        found[percent] = next(
            fen for fen, count in zip(amounts, reached, strict=True) if count >= rank
        )
    return found


def histogram(differences: Mapping[int, int]) -> list[Bin]:
    """Part the differences into bars of equal width, with no difference as a bar of its own.

    Shape:  from the lowest to the highest, empty bars included. The width is the least of 1, 2, 5,
            10, 20... minor units with which 98 riders of 100 find room in BINS_MAX bars on either
            side of zero; the outermost bars hold all that lies beyond them.
    """
    if not differences:
        return []
    found = quantiles(differences)
    width = _width(max(abs(found[1]), abs(found[99]), 1))
    counts: dict[int, int] = {}
    for fen, count in differences.items():
        place = min(-(-abs(fen) // width), BINS_MAX) * (1 if fen > 0 else -1)
        counts[place] = counts.get(place, 0) + count
    lowest, highest = min(0, *counts), max(0, *counts)
    return [
        _bin(place, width, differences, counts.get(place, 0))
        for place in range(lowest, highest + 1)
    ]


def _width(widest_fen: int) -> int:
    power = 1
    while True:
        for step in _NICE_STEPS:
            if step * power * BINS_MAX >= widest_fen:
                return step * power
        power *= 10


def _bin(place: int, width: int, differences: Mapping[int, int], count: int) -> Bin:
    if place == 0:
        return Bin(0, 0, count)
    near_fen, far_fen = (abs(place) - 1) * width + 1, abs(place) * width
    if place > 0:
        beyond_fen = max(differences) if place == BINS_MAX else far_fen
        return Bin(near_fen, max(far_fen, beyond_fen), count)
    beyond_fen = min(differences) if place == -BINS_MAX else -far_fen
    return Bin(min(-far_fen, beyond_fen), -near_fen, count)
