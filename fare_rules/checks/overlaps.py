"""Rules that can fit one leg together: ties, and rules that never get their turn.

Two rules are said to overlap unless their conditions rule that out.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, permutations
from typing import Any, NamedTuple

from fare_rules.checks.finding import Finding
from fare_rules.checks.weeks import frames_overlap
from fare_rules.faults import FaultCode
from fare_rules.language.conditions import LegConditions
from fare_rules.language.scalars import Zones
from fare_rules.language.tariff import Tariff
from fare_rules.tables import Tables

# The lists of which a leg has one value each.
_SINGLE = (
    "networks",
    "operators",
    "routes",
    "carriage_classes",
    "rider_categories",
    "fare_media",
    "issuers",
    "products",
)
_ENDS = (("from_stops", "from_areas"), ("to_stops", "to_areas"))
_LISTS = (
    *_SINGLE,
    *(key for end in _ENDS for key in end),
    "between_stops",
    "via_stops",
    "from_timeframes",
    "to_timeframes",
)
_TIES = (
    "fare_leg_rules",
    "incomplete_leg_rules",
    "concessions",
    "fare_leg_join_rules",
    "fare_transfer_rules",
    "fare_tiers",
    "promotions",
)
# Of these, the one with the highest priority acts whenever it fits.
_FIRST_ACTS = ("fare_leg_rules", "incomplete_leg_rules", "concessions")
# Those that may leave legs out.
_EXCEPTING = (
    "surcharges",
    "concessions",
    "fare_tiers",
    "fare_caps",
    "promotions",
    "subsidies",
    "purses",
)


class City(NamedTuple):
    """What conditions are compared by."""

    tariff: Tariff
    stops_of_area: dict[str, set[str]]
    zones: list[str]

    def stops(self, conditions: LegConditions, keys: tuple[str, str]) -> set[str] | None:
        """Find the stops at one end; None if any will do."""
        stops, areas = (getattr(conditions, key) for key in keys)
        in_areas = {stop for area in areas for stop in self.stops_of_area.get(area, ())}
        if stops and areas:
            return set(stops) & in_areas
        return set(stops) if stops else in_areas if areas else None

    def run(self, zones: Zones) -> tuple[int, int]:
        first, last = zones.ends
        return self.zones.index(first), self.zones.index(last)


def city_of(tariff: Tariff, tables: Tables) -> City:
    stops_of_area = {area.id: set(area.stops) for area in tariff.areas}
    for stop in tables.stops:
        for area in stop.areas:
            stops_of_area.setdefault(area, set()).add(stop.id)
    return City(tariff, stops_of_area, list(map(str, tariff.zones)))


def ties(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Of the rules that fit a leg, one has the highest priority."""
    city = city_of(tariff, tables)
    for section in _TIES:
        for (_, first), (index, second) in combinations(enumerate(getattr(tariff, section)), 2):
            is_tie = getattr(first, "priority", 0) == getattr(second, "priority", 0)
            if is_tie and rules_overlap(first, second, city):
                message = f"'{first.id}' and '{second.id}' can fit one leg, with equal priority"
                remedy = "Give the one that must win a higher priority"
                yield Finding((section, index), FaultCode.RULES_TIE, message, remedy)


def never_first(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """No rule with a higher priority fits whenever a rule does."""
    city = city_of(tariff, tables)
    for section in _FIRST_ACTS:
        rules = getattr(tariff, section)
        for index, rule in enumerate(rules):
            for other in rules:
                if other.priority > rule.priority and _always_before(other, rule, city):
                    message = f"'{other.id}' fits whenever '{rule.id}' does, and goes before it"
                    remedy = "Give the narrower rule the higher priority, or take it out"
                    yield Finding((section, index), FaultCode.NEVER_ACTS, message, remedy)
                    break


def never_fits(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Some network sells one of the products that a rule is for."""
    for section in ("surcharges", "concessions", "fare_tiers", "fare_caps", "promotions"):
        for index, rule in enumerate(getattr(tariff, section)):
            yield from _unsold((section, index), rule, tariff)
    for section in ("fare_transfer_rules", "fare_leg_join_rules"):
        for index, rule in enumerate(getattr(tariff, section)):
            yield from _unsold((section, index, "from"), rule.from_, tariff)
            yield from _unsold((section, index, "to"), rule.to, tariff)
    for index, subsidy in enumerate(tariff.subsidies):
        yield from _unsold(("subsidies", index), subsidy, tariff)


def never_left(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """What a rule leaves out is not all that it is for."""
    city = city_of(tariff, tables)
    for section in _EXCEPTING:
        for index, rule in enumerate(getattr(tariff, section)):
            for at, legs in enumerate(rule.except_):
                if holds_all(legs, rule, city):
                    message = f"This leaves out every leg that '{rule.id}' is for"
                    remedy = "Name fewer legs, or take the rule out"
                    place = (section, index, "except", at)
                    yield Finding(place, FaultCode.NEVER_ACTS, message, remedy)


def _unsold(place: tuple[str | int, ...], rule: Any, tariff: Tariff) -> Iterator[Finding]:
    if rule.products and not any(
        sold.product in rule.products and _may_share(sold.networks, rule.networks)
        for sold in tariff.fare_leg_rules
    ):
        where = f" on {', '.join(rule.networks)}" if rule.networks else ""
        message = f"No fare_leg_rule needs {', '.join(rule.products)}{where}"
        remedy = "Name products that legs there need"
        yield Finding((*place, "products"), FaultCode.NEVER_ACTS, message, remedy)


def never_late(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Where a surcharge for rides over time is due, a ride can be over time."""
    for index, surcharge in enumerate(tariff.surcharges):
        if surcharge.over_time and not any(
            network.journey_time and network.journey_time.over == "ride"
            for network in tariff.networks
            if _may_share((network.id,), surcharge.networks)
        ):
            message = "On none of its networks is a longer stay a ride"
            remedy = "Write over: ride in the journey_time of one"
            place = ("surcharges", index, "over_time")
            yield Finding(place, FaultCode.NEVER_ACTS, message, remedy)


def _begin_alike(first: Any, second: Any, city: City) -> bool:
    """Whether the chains that two transfer rules continue may have begun with the same leg."""
    if not hasattr(first, "first"):
        return True
    return filters_overlap(first.first, second.first, city)


def rules_overlap(first: Any, second: Any, city: City) -> bool:
    """Whether there may be a leg that both rules fit."""
    if hasattr(first, "from_"):
        # A card that proves its last ride does not say where that was.
        are_proven = getattr(first, "proven", False) and getattr(second, "proven", False)
        return (
            (are_proven or filters_overlap(first.from_, second.from_, city))
            and filters_overlap(first.to, second.to, city)
            and _begin_alike(first, second, city)
            and _campaigns_overlap(first, second)
            and _networks_can_differ(first, second)
            and _meeting_places_overlap(first, second)
        )
    return (
        filters_overlap(first, second, city)
        and getattr(first, "layer", 1) == getattr(second, "layer", 1)
        and _missing_overlaps(first, second)
        and _campaigns_overlap(first, second)
        and not _is_excepted(first, second, city)
        and not _is_excepted(second, first, city)
    )


def filters_overlap(first: LegConditions, second: LegConditions, city: City) -> bool:
    """Whether there may be a leg that both sets of conditions fit."""
    for key in _SINGLE:
        one, other = getattr(first, key, ()), getattr(second, key, ())
        if one and other and set(one).isdisjoint(other):
            return False
    for keys in _ENDS:
        these, those = city.stops(first, keys), city.stops(second, keys)
        if these is not None and those is not None and these.isdisjoint(those):
            return False
    if first.within_zones and second.within_zones:
        one_run, other_run = city.run(first.within_zones), city.run(second.within_zones)
        if max(one_run[0], other_run[0]) > min(one_run[1], other_run[1]):
            return False
    return all(
        frames_overlap(city.tariff, getattr(first, key), getattr(second, key))
        for key in ("from_timeframes", "to_timeframes")
    )


def holds_all(wide: LegConditions, narrow: LegConditions, city: City) -> bool:
    """Whether every leg that the narrow conditions fit is one for the wide ones."""
    return _implied(wide, (narrow,), city)


def _implied(wide: LegConditions, said: Sequence[LegConditions], city: City) -> bool:
    """Whether conditions hold for certain where all others do."""
    for key in _LISTS:
        accepted = getattr(wide, key, ())
        narrower = [set(getattr(one, key, ())) for one in said]
        if accepted and not any(names and names <= set(accepted) for names in narrower):
            return False
    if wide.within_zones is None:
        return True
    low, high = city.run(wide.within_zones)
    runs = [city.run(one.within_zones) for one in said if one.within_zones]
    return any(low <= start and end <= high for start, end in runs)


def _always_before(wide: Any, narrow: Any, city: City) -> bool:
    if getattr(wide, "except_", ()) or getattr(wide, "layer", 1) != getattr(narrow, "layer", 1):
        return False
    if getattr(wide, "missing", "either") not in ("either", getattr(narrow, "missing", "either")):
        return False
    return holds_all(wide, narrow, city)


def _is_excepted(rule: Any, other: Any, city: City) -> bool:
    """Whether a rule leaves out all the legs that another is for."""
    return any(_implied(legs, (rule, other), city) for legs in getattr(rule, "except_", ()))


def _may_share(one: Sequence[str], other: Sequence[str]) -> bool:
    return not one or not other or not set(one).isdisjoint(other)


def _missing_overlaps(first: Any, second: Any) -> bool:
    ends = {getattr(first, "missing", "either"), getattr(second, "missing", "either")}
    return len(ends) == 1 or "either" in ends


def _campaigns_overlap(first: Any, second: Any) -> bool:
    """Whether there is a moment for both; moments are written year first, and compare as text."""
    begins = max(getattr(first, "begins", None) or "", getattr(second, "begins", None) or "")
    ends = [getattr(rule, "ends", None) for rule in (first, second)]
    return all(end is None or begins < end for end in ends)


def _networks_can_differ(first: Any, second: Any) -> bool:
    if not any(getattr(rule, "different_network", False) for rule in (first, second)):
        return True
    before, after = (
        [set(side.networks) for side in sides if side.networks]
        for sides in ((first.from_, second.from_), (first.to, second.to))
    )
    if not before or not after:
        return True
    left, entered = set.intersection(*before), set.intersection(*after)
    return not (len(left) == 1 and left == entered)


def _meeting_places_overlap(first: Any, second: Any) -> bool:
    one, other = _meeting_places(first), _meeting_places(second)
    return one is None or other is None or not one.isdisjoint(other)


def _meeting_places(rule: Any) -> set[Any] | None:
    """From which stop to which legs may be joined; None if any will do."""
    if getattr(rule, "pairs", ()):
        return {
            "the same" if pair.from_stop == pair.to_stop else (pair.from_stop, pair.to_stop)
            for pair in rule.pairs
        }
    if getattr(rule, "between", ()):
        return set(permutations(rule.between, 2))
    return {"the same"} if getattr(rule, "same_stop", False) else None


CHECKS = (ties, never_first, never_fits, never_left, never_late)
