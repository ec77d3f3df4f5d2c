"""What two tariffs come to for some riders: sums that can be added up in any order."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct, field

from fare_rules.taps import RideTap

# So many of the earliest taps without a price are named for each reason.
REFUSED_NAMED_MAX = 5


class Sums(Struct, array_like=True):
    """What some charges come to. Of a sponsor, its own part only, and the rides it helps with."""

    rides_count: int = 0
    # What operators are due, whoever pays it.
    fare_fen: int = 0
    rider_fen: int = 0

    def add(self, rides_count: int, fare_fen: int, rider_fen: int) -> None:
        self.rides_count += rides_count
        self.fare_fen += fare_fen
        self.rider_fen += rider_fen

    @property
    def sponsor_fen(self) -> int:
        return self.fare_fen - self.rider_fen


class Revenue(Struct, array_like=True):
    """The same rides under either tariff."""

    old: Sums = field(default_factory=Sums)
    new: Sums = field(default_factory=Sums)

    def add(self, other: Revenue) -> None:
        for mine, others in ((self.old, other.old), (self.new, other.new)):
            mine.add(others.rides_count, others.fare_fen, others.rider_fen)


class Refused(Struct, array_like=True):
    """Taps that have no price for one reason, the earliest of them by name."""

    count: int = 0
    earliest: list[tuple[datetime, UUID]] = []

    def add(self, count: int, earliest: list[tuple[datetime, UUID]]) -> None:
        self.count += count
        self.earliest = sorted([*self.earliest, *earliest])[:REFUSED_NAMED_MAX]


class Unpriced(Struct, array_like=True):
    """What has no price under either tariff."""

    old: Refused = field(default_factory=Refused)
    new: Refused = field(default_factory=Refused)

    def add(self, other: Unpriced) -> None:
        self.old.add(other.old.count, other.old.earliest)
        self.new.add(other.new.count, other.new.earliest)


class TapPrices(Struct, array_like=True):
    """One tap, and what either tariff says of it, line by line."""

    tap: RideTap
    old: list[str]
    new: list[str]


class Extreme(Struct, array_like=True):
    """A rider for whom much changes, and the taps that it comes from."""

    media_token: str
    old_fen: int
    new_fen: int
    # The taps that are charged otherwise, with the other taps of their journeys.
    taps: list[TapPrices]
    # The rider's other taps, which are charged alike or left out for length.
    others_count: int

    @property
    def difference_fen(self) -> int:
        return self.new_fen - self.old_fen


class Tally(Struct):
    """The result of a back-test so far. Riders are media tokens; differences are new less old."""

    # Taps of the days that are reported; the others only lead in or out.
    taps_count: int = 0
    outside_count: int = 0
    # Rows with the id of a tap that was there before.
    repeated_count: int = 0
    double_beeps_old_count: int = 0
    double_beeps_new_count: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    total: Revenue = field(default_factory=Revenue)
    by_operator: dict[str, Revenue] = {}
    by_product: dict[str, Revenue] = {}
    by_category: dict[str, Revenue] = {}
    by_sponsor: dict[str, Revenue] = {}
    unpriced: dict[str, Unpriced] = {}
    # How many riders pay so much more.
    differences: dict[int, int] = {}
    # Riders with a tap that only one of the tariffs can price: no difference is said of them.
    incomparable_count: int = 0
    better: list[Extreme] = []
    worse: list[Extreme] = []

    def add(self, other: Tally, extremes_count: int) -> None:
        self.taps_count += other.taps_count
        self.outside_count += other.outside_count
        self.repeated_count += other.repeated_count
        self.double_beeps_old_count += other.double_beeps_old_count
        self.double_beeps_new_count += other.double_beeps_new_count
        self.see(other.first_at, other.last_at)
        self.total.add(other.total)
        for mine, others in (
            (self.by_operator, other.by_operator),
            (self.by_product, other.by_product),
            (self.by_category, other.by_category),
            (self.by_sponsor, other.by_sponsor),
        ):
            for name, revenue in others.items():
                mine.setdefault(name, Revenue()).add(revenue)
        for reason, unpriced in other.unpriced.items():
            self.unpriced.setdefault(reason, Unpriced()).add(unpriced)
        for difference_fen, count in other.differences.items():
            self.differences[difference_fen] = self.differences.get(difference_fen, 0) + count
        self.incomparable_count += other.incomparable_count
        self.better = sorted([*self.better, *other.better], key=_best_first)[:extremes_count]
        self.worse = sorted([*self.worse, *other.worse], key=_worst_first)[:extremes_count]

    def see(self, first_at: datetime | None, last_at: datetime | None) -> None:
        """Widen the time that the taps are from."""
        if first_at is not None and (self.first_at is None or first_at < self.first_at):
            self.first_at = first_at
        if last_at is not None and (self.last_at is None or last_at > self.last_at):
            self.last_at = last_at


def _best_first(extreme: Extreme) -> tuple[int, str]:
    return (extreme.difference_fen, extreme.media_token)


def _worst_first(extreme: Extreme) -> tuple[int, str]:
    return (-extreme.difference_fen, extreme.media_token)


_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_decoder = msgspec.msgpack.Decoder(Tally)


def packed(tally: Tally) -> bytes:
    return _encoder.encode(tally)


def unpacked(message: bytes) -> Tally:
    return _decoder.decode(message)
