"""Riders set out one after another, and what they do becomes taps in the order of time."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from heapq import heappop, heappush
from random import Random
from uuid import UUID

import msgspec

from loadtest.city.ids import tap_id
from loadtest.city.journeys import Journeys
from loadtest.city.places import Gate

ZONE = timezone(timedelta(hours=8))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC).astimezone(ZONE)
DAY_MS = 86_400_000
ZONE_MS = 8 * 3_600_000
SERVICE_DAY_STARTS_MS = 4 * 3_600_000

# When somebody sets out, in milliseconds from 1970, and whether it is their way back.
Departure = tuple[int, bool]


class CityTap(msgspec.Struct, omit_defaults=True, gc=False):
    """A tap, in the words of POST /v1/taps."""

    tap_id: UUID
    gate_id: str
    sequence: int
    tapped_at: datetime
    media_token: str
    action: str
    stop_id: str | None = None
    route_id: str | None = None
    vehicle_id: str | None = None
    full_fare: int | None = None
    offline: bool = False


class Beeps:
    """Beeps at gates that become taps: each gate counts its own, and some buses are offline."""

    def __init__(
        self, seed: int, gates: list[Gate], first_sequence: int, offline_buses_per_1000: int
    ) -> None:
        self._seed = seed
        self._gates = gates
        self._sequences = [first_sequence - 1] * len(gates)
        self._offline_buses_per_1000 = offline_buses_per_1000
        self._offline: list[bool] = []
        self._day_ends_ms = 0

    def tap(self, at_ms: int, gate_number: int, media_token: str) -> CityTap:
        if at_ms >= self._day_ends_ms:
            self._begin_day(at_ms)
        gate = self._gates[gate_number]
        self._sequences[gate_number] = sequence = self._sequences[gate_number] + 1
        return CityTap(
            tap_id(self._seed, gate_number, sequence, at_ms),
            gate.gate_id,
            sequence,
            EPOCH + timedelta(0, 0, 0, at_ms),
            media_token,
            gate.action,
            gate.stop_id,
            gate.route_id,
            gate.vehicle_id,
            gate.full_fare,
            self._offline[gate_number],
        )

    def _begin_day(self, at_ms: int) -> None:
        """Draw the buses that this service day has no radio."""
        day = (at_ms + ZONE_MS - SERVICE_DAY_STARTS_MS) // DAY_MS
        draw = Random(f"{self._seed} offline {day}")
        self._offline = [
            gate.action == "board" and draw.random() * 1000 < self._offline_buses_per_1000
            for gate in self._gates
        ]
        self._day_ends_ms = (day + 1) * DAY_MS - ZONE_MS + SERVICE_DAY_STARTS_MS


def play(
    departures: Iterable[Departure],
    choose_rider: Callable[[set[int]], int | None],
    journeys: Journeys,
    beeps: Beeps,
    media_token: Callable[[int], str],
) -> Iterator[CityTap]:
    """Let a rider set out at each departure, and give all taps in the order of time.

    `choose_rider` is told who is under way, for they cannot set out; None: nobody does.
    """
    under_way: set[int] = set()
    # When, in which order if at once, at which gate, who, and whether they have arrived with it.
    waiting: list[tuple[int, int, int, int, bool]] = []
    count = 0

    def next_tap() -> CityTap:
        at_ms, _, gate_number, rider, has_arrived = heappop(waiting)
        if has_arrived:
            under_way.discard(rider)
        return beeps.tap(at_ms, gate_number, media_token(rider))

    for set_out_ms, is_way_back in departures:
        while waiting and waiting[0][0] <= set_out_ms:
            yield next_tap()
        rider = choose_rider(under_way)
        if rider is None:
            continue
        way = journeys.beeps(rider, is_way_back)
        if len(way) > 1:
            under_way.add(rider)
        last = len(way) - 1
        for number, (after_ms, gate_number) in enumerate(way):
            count += 1
            heappush(waiting, (set_out_ms + after_ms, count, gate_number, rider, number == last))
    while waiting:
        yield next_tap()
