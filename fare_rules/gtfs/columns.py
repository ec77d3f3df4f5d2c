"""What a leg of one kind costs each kind of rider with each media, concessions and extras included.

A kind of leg is what a row of fare_leg_rules can say: a network, two areas, two timeframes. A rule
that asks for more than that cannot be said in GTFS, and is not applied; the remarks name it.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import product as pairs_of
from typing import Any, NamedTuple

import msgspec

from fare_rules.base_fare import percent_of
from fare_rules.gtfs.grids import PREFIXES, Grid, fare_of
from fare_rules.gtfs.hours import minutes_of
from fare_rules.gtfs.leftovers import unsaid
from fare_rules.language.conditions import LegConditions, LegFilter, Rule
from fare_rules.language.discounts import Concession, PaysExtension, PaysProduct
from fare_rules.language.products import FareLegRule, Surcharge
from fare_rules.language.tariff import Tariff
from fare_rules.paying import payable_fen, surcharge_fen

Combo = tuple[str, str]
# The conditions that GTFS has columns for, of a leg rule or of the price in it.
_SAYABLE = (
    *("networks", "from_stops", "to_stops", "from_areas", "to_areas", "within_zones"),
    *("rider_categories", "fare_media", "products", "from_timeframes", "to_timeframes"),
)


class LegKind(NamedTuple):
    """Legs as one row of fare_leg_rules tells them apart; an empty name is any."""

    network: str
    from_area: str
    to_area: str
    from_timeframe: str
    to_timeframe: str


def unsayable(conditions: LegConditions) -> list[str]:
    """List the conditions of a rule that GTFS has no columns for."""
    kind = LegFilter if isinstance(conditions, LegFilter) else LegConditions
    names = (name for name in kind.__struct_fields__ if name not in _SAYABLE)
    return [name for name in names if getattr(conditions, name)]


def areas_at(conditions: LegConditions, end: str) -> tuple[str, ...]:
    """Name the areas, and the stops as areas, in which a leg begins ("from") or ends ("to")."""
    stops = (PREFIXES["stops"] + stop for stop in getattr(conditions, f"{end}_stops"))
    return (*getattr(conditions, f"{end}_areas"), *stops)


def zones_within(conditions: LegConditions, tariff: Tariff) -> list[str]:
    """List the zones of a run, as areas; none if the rule says no run."""
    if conditions.within_zones is None:
        return []
    zones = [str(zone) for zone in tariff.zones]
    low, high = sorted(zones.index(end) for end in conditions.within_zones.ends)
    return [PREFIXES["zones"] + zone for zone in zones[low : high + 1]]


def covers(
    conditions: LegConditions, kind: LegKind, combo: Combo, product_id: str, tariff: Tariff
) -> bool | None:
    """Say whether a rule is for all legs of a kind; None when it is for some of them only."""
    answers: list[bool | None] = [None if unsayable(conditions) else True]
    category, media = combo
    exact = (
        (conditions.networks, kind.network),
        (conditions.rider_categories, category),
        (conditions.fare_media, media),
        (getattr(conditions, "products", ()), product_id),
    )
    answers += [not accepted or value in accepted for accepted, value in exact]
    run = zones_within(conditions, tariff)
    for accepted, value in (
        (areas_at(conditions, "from"), kind.from_area),
        (areas_at(conditions, "to"), kind.to_area),
        (run, kind.from_area),
        (run, kind.to_area),
    ):
        if accepted and value not in accepted:
            # Two areas may share stops, unless both are of one kind that never does.
            apart = value and all(_never_meet(value, each) for each in accepted)
            answers.append(False if apart else None)
    for accepted, value in (
        (conditions.from_timeframes, kind.from_timeframe),
        (conditions.to_timeframes, kind.to_timeframe),
    ):
        if accepted and value not in accepted:
            answers.append(_in_time(accepted, value, tariff))
    if isinstance(conditions, Rule):
        for other in conditions.except_:
            inner = covers(other, kind, combo, product_id, tariff)
            answers.append(None if inner is None else not inner)
    if False in answers:
        return False
    return None if None in answers else True


def _in_time(accepted: tuple[str, ...], value: str, tariff: Tariff) -> bool | None:
    """Say whether a timeframe lies in others."""
    frames = {frame.id: frame for frame in tariff.timeframes}
    if not value or len({frame.day for frame in tariff.timeframes}) > 1:
        return None
    minutes, (first, last) = minutes_of(frames[value]), frames[value].season
    at_times = always = 0
    for name in accepted:
        begins, ends = frames[name].season
        if begins <= last and first <= ends:
            at_times |= minutes_of(frames[name])
        if begins <= first and last <= ends:
            always |= minutes_of(frames[name])
    if not minutes & at_times:
        return False
    return None if minutes & ~always else True


def _never_meet(one: str, other: str) -> bool:
    return any(
        one.startswith(prefix) and other.startswith(prefix)
        for prefix in (PREFIXES["zones"], PREFIXES["stops"])
    )


class Columns:
    """Prices of legs by kind, from one tariff."""

    def __init__(self, tariff: Tariff, grids: dict[str, Grid], zones: dict[str, str]) -> None:
        self._tariff = tariff
        self._grids = grids
        self._zones = zones
        # By the areas that a rule names, none being any: a city's table has thousands of rules.
        self._rules: dict[tuple[str, str], list[FareLegRule]] = defaultdict(list)
        for rule in sorted(tariff.fare_leg_rules, key=lambda rule: -rule.priority):
            if not unsayable(rule):
                run = zones_within(rule, tariff)
                starts = areas_at(rule, "from") or run or ("",)
                for pair in pairs_of(starts, areas_at(rule, "to") or run or ("",)):
                    self._rules[pair].append(rule)
        self.combos: tuple[Combo, ...] = tuple(
            (category.id, media.id)
            for category in tariff.rider_categories
            for media in tariff.fare_media
        )
        # Rules that some row needed and could not say, and why; and those that some row says.
        self._left_out: dict[str, str] = {}
        self._applied: set[str] = set()

    def rule_for(self, kind: LegKind, combo: Combo) -> FareLegRule | None:
        """Find the leg rule that acts on all legs of a kind."""
        best: FareLegRule | None = None
        for pair in dict.fromkeys(pairs_of((kind.from_area, ""), (kind.to_area, ""))):
            for rule in self._rules.get(pair, ()):
                if best is not None and rule.priority <= best.priority:
                    break
                if covers(rule, kind, combo, rule.product, self._tariff):
                    best = rule
        return best

    def price(self, rule: FareLegRule, kind: LegKind, combo: Combo) -> int | None:
        """Price a leg by a rule; None where its table has no such pair."""
        full = self._full(rule.product, kind)
        if full is None:
            return None
        extra = list(self._surcharges(rule.product, kind, combo))
        due = full + sum(surcharge_fen(one, full) for one in extra if one.with_concessions)
        for concession in self._concessions(rule.product, kind, combo):
            due = min(self._pays(concession.pays, due, kind), due)
        return due + sum(surcharge_fen(one, full) for one in extra if not one.with_concessions)

    def _full(self, product_id: str, kind: LegKind) -> int | None:
        grid = self._grids.get(product_id, {})
        return fare_of(grid, (kind.from_area, kind.to_area), self._zones)

    def _pays(self, pays: Any, due: int, kind: LegKind) -> int:
        if isinstance(pays, PaysProduct):
            other = self._full(pays.product, kind)
            return due if other is None else percent_of(other, pays.percent, pays.rounding)
        return payable_fen(pays, due)

    def _surcharges(self, product_id: str, kind: LegKind, combo: Combo) -> Iterator[Surcharge]:
        for rule in self._tariff.surcharges:
            if rule.add_km is not None:
                self._left_out[f"surcharges {rule.id}"] = "it adds a distance"
            elif rule.over_time:
                self._left_out[f"surcharges {rule.id}"] = "it is for the time over"
            elif self._fits("surcharges", rule, product_id, kind, combo):
                yield rule

    def _concessions(self, product_id: str, kind: LegKind, combo: Combo) -> Iterator[Concession]:
        chosen: dict[int, Concession] = {}
        for rule in sorted(self._tariff.concessions, key=lambda rule: -rule.priority):
            if isinstance(rule.pays, PaysExtension):
                self._left_out[f"concessions {rule.id}"] = "it asks which zones are paid already"
            elif rule.layer not in chosen and self._fits(
                "concessions", rule, product_id, kind, combo
            ):
                chosen[rule.layer] = rule
        return (chosen[layer] for layer in sorted(chosen))

    def _fits(self, section: str, rule: Rule, product_id: str, kind: LegKind, combo: Combo) -> bool:
        answer = covers(rule, kind, combo, product_id, self._tariff)
        if answer is None and not self._is_said_finer(rule, product_id, kind, combo):
            said = [
                field.encode_name
                for field in msgspec.structs.fields(LegConditions)
                if getattr(rule, field.name)
            ]
            self._left_out[f"{section} {rule.id}"] = (
                "it is for a part of the legs of a fare_leg_rule only (" + ", ".join(said) + ")"
            )
        if answer:
            self._applied.add(rule.id)
        return bool(answer)

    def not_applied(self) -> Iterator[str]:
        """Name the concessions and surcharges that are in no price, and why."""
        for section in ("surcharges", "concessions"):
            for rule in getattr(self._tariff, section):
                said = f"{section} {rule.id}"
                if said in self._left_out:
                    where = "Not in all prices" if rule.id in self._applied else "In no price"
                    yield f"{said}: {where}, since {self._left_out[said]}"
                elif rule.id not in self._applied:
                    yield f"{said}: In no price, since GTFS has none of its legs; left out"
                if rule.id in self._applied and (keys := unsaid(rule)):
                    yield f"{said}: GTFS cannot say {', '.join(keys)}; its price is without it"

    def _is_said_finer(self, rule: Rule, product_id: str, kind: LegKind, combo: Combo) -> bool:
        """Say whether rows for the hours of a rule, which there are then, answer for it."""
        if kind.from_timeframe or not rule.from_timeframes:
            return False
        finer = (kind._replace(from_timeframe=name) for name in rule.from_timeframes)
        return all(
            covers(rule, each, combo, product_id, self._tariff) is not None for each in finer
        )
