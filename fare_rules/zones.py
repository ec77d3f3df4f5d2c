"""Zones in their order, and which of them a journey spans."""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Generic, NamedTuple, TypeVar

from fare_rules.language.places import Stop
from fare_rules.language.scalars import Zones

Value = TypeVar("Value", bound=int)


class Span(NamedTuple):
    """A run of zones, as places in their order, both ends included."""

    low: int
    high: int

    def holds(self, other: "Span") -> bool:
        return self.low <= other.low and other.high <= self.high

    def with_(self, other: "Span | None") -> "Span":
        if other is None:
            return self
        return Span(min(self.low, other.low), max(self.high, other.high))


class ZoneMap:
    """The zones of one tariff and its stops."""

    def __init__(self, zones: Sequence[str], stops: Iterable[Stop]) -> None:
        self._places = {zone: place for place, zone in enumerate(zones)}
        self._of_stop = {
            stop.id: tuple(self._places[zone] for zone in stop.zones)
            for stop in stops
            if stop.zones
        }

    def span(self, zones: Zones) -> Span:
        first, last = zones.ends
        return Span(self._places[first], self._places[last])

    def span_of(self, stops: Iterable[str | None]) -> Span | None:
        """Find the zones that some stops span; at a boundary, those that make the run short."""
        choices = [self._of_stop.get(stop) for stop in stops if stop is not None]
        if not choices or None in choices:
            return None
        spans = (Span(min(chosen), max(chosen)) for chosen in product(*(c for c in choices if c)))
        return min(spans, key=lambda span: (span.high - span.low, -span.low))

    def places(self, runs: Iterable[Zones]) -> frozenset[int]:
        """Find the places of all zones of some runs."""
        spans = map(self.span, runs)
        return frozenset(place for span in spans for place in range(span.low, span.high + 1))

    def runs_beyond(
        self, stops: Iterable[str | None], paid: frozenset[int]
    ) -> tuple[Span, ...] | None:
        """Find the runs of zones that some stops span beyond those paid; the fewest zones."""
        choices = [self._of_stop.get(stop) for stop in stops if stop is not None]
        if not choices or None in choices:
            return None
        ways = (
            _runs(frozenset(range(min(chosen), max(chosen) + 1)) - paid)
            for chosen in product(*(c for c in choices if c))
        )
        return min(ways, key=lambda runs: (sum(run.high - run.low + 1 for run in runs), runs))

    def zones_count(self, stops: Iterable[str], paid: frozenset[int] = frozenset()) -> int | None:
        """Count the zones that a path goes through, but for those paid.

        A boundary stop adds none of its own.
        """
        choices = [self._of_stop.get(stop) for stop in stops]
        crossed = set(paid)
        # What lies in one zone alone is sure; a boundary then belongs to what is crossed anyway.
        for zones in sorted((choice or () for choice in choices), key=len):
            if not zones:
                return None
            if crossed.isdisjoint(zones):
                crossed.add(zones[0])
        return len(crossed) - len(paid)

    def zone_of(self, stop: str | None) -> tuple[str, ...]:
        names = list(self._places)
        return tuple(names[place] for place in self._of_stop.get(stop or "", ()))


def _runs(places: frozenset[int]) -> tuple[Span, ...]:
    """The runs that some places make."""
    lows = sorted(place for place in places if place - 1 not in places)
    highs = sorted(place for place in places if place + 1 not in places)
    return tuple(map(Span, lows, highs))


class ByZones(Generic[Value]):
    """Amounts or minutes for runs of zones: of the narrowest that holds what is spanned.

    Of two as narrow, the lower counts.
    """

    def __init__(self, values: Iterable[tuple[Span, Value]]) -> None:
        self._values = sorted(values, key=lambda pair: (pair[0].high - pair[0].low, pair[1]))
        self._found: dict[Span, Value | None] = {}

    def __bool__(self) -> bool:
        return bool(self._values)

    def of(self, span: Span | None) -> Value | None:
        if span is None:
            return None
        if span not in self._found:
            holding = (value for run, value in self._values if run.holds(span))
            self._found[span] = next(holding, None)
        return self._found[span]
