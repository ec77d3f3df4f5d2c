"""The taps of one process: those to send at once, and those that buses without radio keep."""

from collections import deque
from datetime import datetime
from uuid import UUID

from loadtest.city import City, CityTap
from loadtest.city.days import ZONE
from loadtest.city.places import centre_of

STORED_MAX = 10_000  # per depot; the oldest go first, as from a full memory


class Feed:
    """Taps happen when they are asked for: the city's order, the clock's time."""

    def __init__(self, city: City, taps_per_second: float) -> None:
        self.city = city
        self._taps = city.stream(datetime.now(ZONE), taps_per_second)
        self._operators = {gate.gate_id: gate.operator_id for gate in city.places.gates}
        self._stored: dict[str, deque[CityTap]] = {}
        self.last_tap_id: UUID | None = None

    def next_tap(self) -> CityTap:
        """The next tap of a gate that has a connection."""
        for tap in self._taps:
            tap.tapped_at = datetime.now(ZONE)
            if not tap.offline:
                self.last_tap_id = tap.tap_id
                return tap
            depot = centre_of(self._operators[tap.gate_id])
            self._stored.setdefault(depot, deque(maxlen=STORED_MAX)).append(tap)
        raise AssertionError("a stream has no end")

    def take_stored(self, count: int, *, is_night: bool) -> tuple[str, list[CityTap]] | None:
        """What the fullest depot has: so many taps; at night fewer, if there are no more."""
        if not self._stored:
            return None
        depot, taps = max(self._stored.items(), key=lambda item: len(item[1]))
        if not taps or (len(taps) < count and not is_night):
            return None
        return depot, [taps.popleft() for _ in range(min(count, len(taps)))]
