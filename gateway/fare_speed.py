"""How many taps a second one core prices: a working day of a city, made from its tariff."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from msgspec import Struct

from fare_rules import Action, NetworkRules, RideTap, TariffBook, fold, load_book
from fare_rules.taps import ENDS

_SEED = 20_180_901
_GATE_FARE_FEN = 300
# When the legs of a rider's day begin, in minutes after the day's first hour of service.
_LEGS_AT = (60, 85, 300, 325, 600, 632, 660)
_LEG_MINUTES = 22


class Speed(Struct, frozen=True):
    """What was priced, and how fast; the best of some rounds."""

    city: str
    taps_count: int
    refused_count: int
    taps_per_second: float


def measure_speed(folder: Path, *, riders_count: int = 3000, rounds_count: int = 5) -> Speed:
    """Price a day of a city's riders over and over, on the core that this runs on.

    Raises: TariffFaults when the folder's tariffs are faulty.
    """
    book = load_book(folder)
    riders = list(make_riders(book, riders_count))
    taps_count = sum(len(taps) for taps in riders)
    refused_count = sum(len(fold(taps, book).refused) for taps in riders)
    seconds = min(_seconds_of_round(riders, book) for _ in range(rounds_count))
    return Speed(book.tariffs[-1].name, taps_count, refused_count, taps_count / seconds)


def _seconds_of_round(riders: list[list[RideTap]], book: TariffBook) -> float:
    started = time.perf_counter()
    for taps in riders:
        fold(taps, book)
    return time.perf_counter() - started


def make_riders(book: TariffBook, count: int) -> Iterator[list[RideTap]]:
    """Make a working day for some riders: seven legs each, over all networks, seeded."""
    tariff = book.tariffs[-1]
    dice = random.Random(_SEED)
    day = tariff.effective_from + timedelta(days=2)
    starts_at = book.starts_at(day) + timedelta(hours=2)
    networks = [tariff.networks[network_id] for network_id in sorted(tariff.networks)]
    known_stops = sorted(stop.id for stop in tariff.stops)
    for rider in range(count):
        taps: list[RideTap] = []
        home = dice.randrange(1_000_000)
        for index, minute in enumerate(_LEGS_AT):
            network = networks[(index + rider) % len(networks)]
            stops = sorted(network.stops) or known_stops or [f"stop {n}" for n in range(20)]
            trip = random.Random(home + index % 3)
            from_stop, to_stop = trip.choice(stops), trip.choice(stops)
            at = starts_at + timedelta(minutes=minute + dice.randrange(5))
            number = rider * 100 + index * 2
            taps += _leg(network, number, rider, at, (from_stop, to_stop), book)
        yield taps


def _leg(
    network: NetworkRules,
    number: int,
    rider: int,
    at: datetime,
    ends: tuple[str, str],
    book: TariffBook,
) -> list[RideTap]:
    tariff = book.tariffs[-1]

    def tap(action: Action, offset: int, stop: str) -> RideTap:
        return RideTap(
            tap_id=UUID(int=number + offset),
            gate_id=f"gate {stop}",
            sequence=number + offset,
            tapped_at=at + timedelta(minutes=offset * _LEG_MINUTES),
            media_token=f"rider {rider}",
            action=action,
            network=network.id,
            operator_id="operator",
            rider_category=tariff.default_rider_category,
            fare_media=tariff.default_fare_media,
            stop_id=None if network.taps == "board" else stop,
            route_id=network.first_route or f"route {number % 40}",
            full_fare=_GATE_FARE_FEN,
            distance_m=None if network.knows_distances else 7_300,
        )

    actions = zip(ENDS[network.taps], ends, strict=False)
    return [tap(action, offset, stop) for offset, (action, stop) in enumerate(actions)]
