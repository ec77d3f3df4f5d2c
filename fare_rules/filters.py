"""Conditions made ready to be asked: which legs a rule fits."""

from collections.abc import Mapping

from msgspec import Struct

from fare_rules.language.conditions import LegConditions, Rule
from fare_rules.legs import LegFacts
from fare_rules.timeframes import Timeframes
from fare_rules.zones import Span, ZoneMap

# Where each list of a LegConditions is found in a LegFacts.
_LISTS = {
    "networks": "network",
    "operators": "operator_id",
    "routes": "route_id",
    "carriage_classes": "carriage_class",
    "from_stops": "from_stop",
    "to_stops": "to_stop",
    "rider_categories": "rider_category",
    "fare_media": "fare_media",
    "issuers": "issuer_id",
}


class Filter(Struct, frozen=True):
    """One set of conditions; all must hold."""

    accepts: tuple[tuple[int, frozenset[str]], ...]
    via_stops: frozenset[str]
    between: frozenset[str]
    products: frozenset[str]
    within: Span | None
    from_frames: int
    to_frames: int
    unless: tuple["Filter", ...] = ()

    def fits(self, facts: LegFacts, product_id: str | None, span: Span | None) -> bool:
        for index, accepted in self.accepts:
            if facts[index] not in accepted:
                return False
        return (
            (not self.via_stops or not self.via_stops.isdisjoint(facts.via_stops))
            and (not self.between or self._joins_two(facts))
            and (not self.products or product_id in self.products)
            and (self.within is None or (span is not None and self.within.holds(span)))
            and (not self.from_frames or bool(self.from_frames & facts.from_frames))
            and (not self.to_frames or bool(self.to_frames & facts.to_frames))
            and not (self.unless and any(o.fits(facts, product_id, span) for o in self.unless))
        )

    def _joins_two(self, facts: LegFacts) -> bool:
        ends = {facts.from_stop, facts.to_stop}
        return len(ends) == 2 and ends <= self.between


def compile_filter(
    conditions: LegConditions,
    *,
    stops_of: Mapping[str, frozenset[str]],
    zones: ZoneMap,
    timeframes: Timeframes,
) -> Filter:
    """Turn conditions into look-ups. Areas become the stops in them."""
    accepts = [
        (LegFacts._fields.index(fact), frozenset(getattr(conditions, key)))
        for key, fact in _LISTS.items()
        if getattr(conditions, key)
    ]
    for key, fact in (("from_areas", "from_stop"), ("to_areas", "to_stop")):
        if areas := getattr(conditions, key):
            stops = frozenset[str]().union(*(stops_of[area] for area in areas))
            accepts.append((LegFacts._fields.index(fact), stops))
    unless = conditions.except_ if isinstance(conditions, Rule) else ()
    return Filter(
        accepts=tuple(accepts),
        via_stops=frozenset(conditions.via_stops),
        between=frozenset(conditions.between_stops),
        products=frozenset(getattr(conditions, "products", ())),
        within=zones.span(conditions.within_zones) if conditions.within_zones else None,
        from_frames=timeframes.bits_of(conditions.from_timeframes),
        to_frames=timeframes.bits_of(conditions.to_timeframes),
        unless=tuple(
            compile_filter(one, stops_of=stops_of, zones=zones, timeframes=timeframes)
            for one in unless
        ),
    )
