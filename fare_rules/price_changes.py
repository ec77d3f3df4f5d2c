"""What a single ride costs under two tariffs, for every kind of rider, place and hour.

Rides that no rule of either tariff can tell apart are priced once and counted: stop pairs by their
full fares, zones and the rules that name them; riders by the rules that name them; hours by the
timeframes that hold them. Riders have no earlier rides, so what caps, tiers and transfers do to
later ones is not here; nor are promotions, which are for a few rides. The map: rides.py lists the
rides; this module prices and counts them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import groupby, product
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import Struct

from fare_rules.amounts import said
from fare_rules.compiled import CompiledTariff
from fare_rules.legs import Leg
from fare_rules.money import Fen
from fare_rules.price import Priced, price_leg
from fare_rules.rides import DIMENSIONS, Choice, Ride, Rides, Tariffs, choices_of, rides_of
from fare_rules.service_day import service_day_of
from fare_rules.states import NOTHING

_NOBODY = UUID(int=0)
# What is counted by measure, so that neighbours with the same prices make a range.
_MEASURED = ("distances", "minutes", "gate fares")
_ROUTE = list(DIMENSIONS).index("routes")
_CHANGES_A_LINE = 6
# Which choices a row of results is for, one set of names for each of DIMENSIONS.
_Kinds = tuple[frozenset[str], ...]
_Price = tuple[str, int] | None


class AmountCount(Struct, frozen=True):
    """How many rides became dearer by an amount; cheaper, if it is below zero."""

    change_fen: int
    count: int


class FareRange(Struct, frozen=True):
    """A run of distances, times or fares of a gate, with one price under each tariff."""

    first: int
    last: int
    old_fen: int
    new_fen: int


class _Counted(NamedTuple):
    """What is counted of one product and some riders; the last fields of a FareChange."""

    changes: tuple[AmountCount, ...]
    cheaper_count: int
    dearer_count: int
    equal_count: int
    new_count: int
    gone_count: int
    max_old_fen: int | None
    max_new_fen: int | None
    ranges: tuple[FareRange, ...]


class FareChange(Struct, frozen=True):
    """What single rides of some riders cost under either tariff, on one network by one product."""

    network: str
    old_product: str
    new_product: str
    # What is counted: pairs of stops, stops, distances, minutes, gate fares, rides.
    unit: str
    # The riders and hours that it is for; a dimension that makes no difference is not said.
    riders: dict[str, tuple[str, ...]]
    changes: tuple[AmountCount, ...]
    cheaper_count: int
    dearer_count: int
    equal_count: int
    # Rides that have a price under one tariff only.
    new_count: int
    gone_count: int
    max_old_fen: int | None
    max_new_fen: int | None
    ranges: tuple[FareRange, ...] = ()

    @property
    def differs(self) -> bool:
        return bool(self.changes or self.new_count or self.gone_count)

    def lines(self, digits: int) -> Iterator[str]:
        """Tell it to people."""
        products = dict.fromkeys((self.old_product, self.new_product))
        who = "; ".join(f"{name} {', '.join(names)}" for name, names in self.riders.items())
        whose = f"{self.network}, {' -> '.join(filter(None, products))}: {who or 'every rider'}"
        dearest = f"{_said(self.max_old_fen, digits)} -> {_said(self.max_new_fen, digits)}"
        if not self.differs:
            what = "" if self.unit == "rides" else f"{self.equal_count:,} {self.unit} "
            yield f"{whose}: {what}equal, at most {_said(self.max_new_fen, digits)}"
            return
        if self.unit == "rides":
            yield f"{whose}: {dearest}"
            return
        yield whose
        counts = {
            f"{self.unit} cheaper": self.cheaper_count,
            f"{self.unit} dearer": self.dearer_count,
            f"{self.unit} equal": self.equal_count,
            f"{self.unit} priced only now": self.new_count,
            f"{self.unit} priced no more": self.gone_count,
        }
        yield "  " + ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        each = [
            f"{one.count:,} {self.unit} {_signed(one.change_fen, digits)}" for one in self.changes
        ]
        for first in range(0, len(each), _CHANGES_A_LINE):
            yield "  " + ", ".join(each[first : first + _CHANGES_A_LINE])
        for one in self.ranges:
            if one.old_fen != one.new_fen:
                yield f"  {self._range_said(one, digits)}"
        yield f"  dearest {dearest}"

    def _range_said(self, one: FareRange, digits: int) -> str:
        if self.unit == "distances":
            ends = f"{one.first / 1000:g} to {one.last / 1000:g} km"
        elif self.unit == "minutes":
            ends = f"{one.first} to {one.last} minutes"
        else:
            ends = " to ".join(dict.fromkeys(said(end, digits) for end in (one.first, one.last)))
            ends = f"gate names {ends}"
        change = _signed(one.new_fen - one.old_fen, digits)
        return f"{ends}: {said(one.old_fen, digits)} -> {said(one.new_fen, digits)} ({change})"


def fare_changes(old: CompiledTariff, new: CompiledTariff) -> tuple[FareChange, ...]:
    """Price every kind of single ride under both tariffs.

    Shape:  the networks of the new tariff, then those that only the old one has; for each network
            what is sold on it, and for whom.
    """
    tariffs = (old, new)
    found: list[FareChange] = []
    for network in dict.fromkeys((*new.networks, *old.networks)):
        for rides in rides_of(network, tariffs):
            found += _network_changes(rides, tariffs)
    return tuple(found)


class _Tally:
    """The counts of one product's rides under way."""

    def __init__(self) -> None:
        self._changes: Counter[int] = Counter()
        self._known: list[tuple[Ride, int, int]] = []
        self._new_count = 0
        self._gone_count = 0
        self._old: list[int] = []
        self._new: list[int] = []

    def add(self, ride: Ride, count: int, old: _Price, new: _Price) -> None:
        if old is not None:
            self._old.append(old[1])
        if new is not None:
            self._new.append(new[1])
        if old is None:
            self._new_count += count
        elif new is None:
            self._gone_count += count
        else:
            self._changes[new[1] - old[1]] += count
            self._known.append((ride, old[1], new[1]))

    def counted(self, unit: str) -> _Counted:
        changes = tuple(AmountCount(*each) for each in sorted(self._changes.items()) if each[0])
        return _Counted(
            changes,
            sum(each.count for each in changes if each.change_fen < 0),
            sum(each.count for each in changes if each.change_fen > 0),
            self._changes[0],
            self._new_count,
            self._gone_count,
            max(self._old, default=None),
            max(self._new, default=None),
            tuple(self._ranges()) if unit in _MEASURED else (),
        )

    def _ranges(self) -> Iterator[FareRange]:
        for (old_fen, new_fen), group in groupby(self._known, key=lambda each: each[1:]):
            measures = [ride.measure for ride, _, _ in group]
            yield FareRange(measures[0], measures[-1], old_fen, new_fen)


def _network_changes(rides: Rides, tariffs: Tariffs) -> Iterator[FareChange]:
    choices = choices_of(rides.network, tariffs)
    if any(ride.route for ride, _ in rides.counted):
        # Then each ride has its own route.
        choices[_ROUTE] = [Choice(None, ("its own",))]
    rows: list[tuple[tuple[str, str], _Counted, _Kinds]] = []
    for chosen in product(*choices):
        kinds = tuple(frozenset(choice.names) for choice in chosen)
        rows += [
            (products, tally.counted(rides.unit), kinds)
            for products, tally in _tallies(rides, chosen, tariffs).items()
        ]
    everyone = [{name for choice in options for name in choice.names} for options in choices]
    names = list(DIMENSIONS.values())
    for (old_product, new_product), counted, kinds in _merged(rows, len(names)):
        riders = {
            name: tuple(sorted(kind))
            for name, kind, whole in zip(names, kinds, everyone, strict=True)
            if kind != whole
        }
        yield FareChange(rides.network, old_product, new_product, rides.unit, riders, *counted)


def _tallies(
    rides: Rides, chosen: tuple[Choice, ...], tariffs: Tariffs
) -> dict[tuple[str, str], _Tally]:
    tallies: dict[tuple[str, str], _Tally] = {}
    measured: set[tuple[int, _Price, _Price]] = set()
    for ride, count in rides.counted:
        old, new = (_price(tariff, rides.network, ride, chosen) for tariff in tariffs)
        if old is None and new is None:
            continue
        if rides.unit in _MEASURED:
            # From other places it may cost the same.
            if (ride.measure, old, new) in measured:
                continue
            measured.add((ride.measure, old, new))
        products = (old[0] if old else "", new[0] if new else "")
        tallies.setdefault(products, _Tally()).add(ride, count, old, new)
    return tallies


def _price(tariff: CompiledTariff, network: str, ride: Ride, chosen: tuple[Choice, ...]) -> _Price:
    """What a rider without earlier rides pays, and for what; None where there is no price."""
    rules = tariff.network(network)
    if rules is None:
        return None
    category, media, carriage, operator, route, issuer, hours = (each.value for each in chosen)
    leg = Leg(
        network=network,
        operator_id=operator,
        rider_category=category,
        fare_media=media,
        boarded_at=hours,
        alighted_at=None if rules.taps == "board" else hours + timedelta(minutes=ride.minutes or 0),
        from_stop=ride.from_stop,
        to_stop=ride.to_stop,
        route_id=ride.route or route,
        gate_fare_fen=None if ride.gate_fare_fen is None else Fen(ride.gate_fare_fen),
        distance_m=ride.distance_m,
        carriage_class=carriage,
        issuer_id=issuer,
    )
    day = service_day_of(hours, tariff.timezone, tariff.service_day_starts)
    priced = price_leg(leg, tariff, NOTHING, day=day, journey_id=_NOBODY)
    if not isinstance(priced, Priced):
        return None
    offers = {rule.id for rule in tariff.file.promotions}
    lines = priced.quote.lines
    return (
        priced.quote.product_id,
        sum(line.amount_fen for line in lines if line.rule_id not in offers),
    )


def _merged(
    rows: list[tuple[tuple[str, str], _Counted, _Kinds]], dimensions_count: int
) -> list[tuple[tuple[str, str], _Counted, _Kinds]]:
    """Put together the rows that differ in one dimension only and count the same."""
    for index in range(dimensions_count):
        found: dict[Any, frozenset[str]] = {}
        for products, counted, kinds in rows:
            key = (products, counted, kinds[:index], kinds[index + 1 :])
            found[key] = found.get(key, frozenset()) | kinds[index]
        rows = [
            (products, counted, (*before, kind, *after))
            for (products, counted, before, after), kind in found.items()
        ]
    return rows


def _said(amount_fen: int | None, digits: int) -> str:
    return "(none)" if amount_fen is None else said(amount_fen, digits)


def _signed(change_fen: int, digits: int) -> str:
    return f"{'+' if change_fen > 0 else ''}{said(change_fen, digits)}"
