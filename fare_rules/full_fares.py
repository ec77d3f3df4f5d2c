"""The full fare of a leg, or of a whole journey when the leg is joined to others."""

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct, structs

from fare_rules.base_fare import FareRefusal, Trip, distance_m
from fare_rules.compiled import CompiledTariff
from fare_rules.language.journeys import FareLegJoinRule
from fare_rules.legs import Leg, LegFacts, minutes_begun
from fare_rules.money import Fen
from fare_rules.plans import LegPlan
from fare_rules.states import JoinedLeg, Journey


class FullFares(Struct, frozen=True, gc=False):
    """One leg under one tariff."""

    leg: Leg
    plan: LegPlan
    tariff: CompiledTariff

    def gate_fare_fen(self) -> int | None:
        product = self.plan.product
        if product is None:
            return None
        may_name = (
            product.gate_may_name_fare or product.pricing.__struct_config__.tag == "gate_names"
        )
        return self.leg.gate_fare_fen if may_name else None

    def trip(
        self,
        facts: LegFacts,
        plan: LegPlan,
        join: FareLegJoinRule | None,
        journey: Journey | None,
    ) -> Trip:
        leg = self.leg
        metres = leg.distance_m
        if join is not None and join.price_as == "sum":
            return Trip(
                self.plan.facts,
                self.plan.network,
                self.plan.span,
                metres,
                self.plan.added_m,
                self.gate_fare_fen(),
                self.minutes(leg.boarded_at),
            )
        if join is not None and join.distance == "direct":
            metres = None
        elif journey is not None:
            own = Trip(self.plan.facts, self.plan.network, None, distance_m=leg.distance_m)
            parts = [distance_m(own), *(each.distance_m for each in journey.legs)]
            metres = None if None in parts else sum(part for part in parts if part is not None)
        # A gate names the fare of its own leg alone.
        gate_fare_fen = self.gate_fare_fen() if journey is None else None
        trip = Trip(facts, plan.network, plan.span, metres, plan.added_m, gate_fare_fen)
        if not self.tariff.times_rides:
            return trip
        began_at = journey.boarded_at if journey else leg.boarded_at
        return structs.replace(trip, minutes=self.minutes(began_at))

    def minutes(self, since: datetime, until: datetime | None = None) -> int | None:
        """The time ridden, of the leg or from its journey's first tap, where a product asks."""
        if not self.tariff.times_rides or self.leg.missing is not None:
            return None
        return minutes_begun((until or self.leg.last_tap_at) - since)

    def trip_before(
        self, trip: Trip, rule: FareLegJoinRule, journey: Journey, last_tap_at: datetime
    ) -> Trip:
        """The way of the legs before, to be priced as the whole trip is."""
        legs = journey.legs
        facts = trip.facts._replace(
            from_stop=legs[0].facts.from_stop,
            to_stop=legs[-1].facts.to_stop,
            via_stops=_stops_touched(legs),
        )
        parts = [None] if rule.distance == "direct" else [each.distance_m for each in legs]
        return structs.replace(
            trip,
            facts=facts,
            span=self.tariff.span_of(trip.network, facts.from_stop, facts.via_stops, facts.to_stop),
            distance_m=None if None in parts else sum(part for part in parts if part is not None),
            minutes=self.minutes(journey.boarded_at, last_tap_at),
        )

    def full_fare(self, plan: LegPlan, trip: Trip) -> Fen | FareRefusal:
        if plan.product is None:
            return FareRefusal.NO_FARE_RULE
        if trip.distance_m is None and trip.gate_fare_fen is None and trip.minutes is None:
            return plan.full_fare
        return self.tariff.base_fares.full_fare(plan.product.id, trip)

    def earlier_fen(self, trip: Trip, boarded_at: datetime) -> Fen | None:
        """The full fare by the earlier tariff that must not be exceeded, if there is one."""
        earlier = self.tariff.never_dearer_than
        if earlier is None or trip.gate_fare_fen is not None:
            return None
        if earlier.network(trip.facts.network) is None:
            return None
        old_facts = trip.facts._replace(
            from_frames=earlier.timeframes.at(boarded_at),
            to_frames=earlier.timeframes.at(self.leg.last_tap_at),
        )
        old_plan = earlier.plan(old_facts)
        old_fen: Fen | FareRefusal = old_plan.full_fare
        has_own = trip.distance_m is not None or trip.minutes is not None
        if has_own and old_plan.product is not None:
            old_trip = structs.replace(
                trip,
                facts=old_facts,
                network=old_plan.network,
                span=old_plan.span,
                added_m=old_plan.added_m,
            )
            old_fen = earlier.base_fares.full_fare(old_plan.product.id, old_trip)
        return None if isinstance(old_fen, FareRefusal) else old_fen

    def through(self, rule: FareLegJoinRule, journey: Journey) -> tuple[LegFacts, LegPlan]:
        """The whole journey as one leg, by the product that the rule says."""
        own = self.tariff.facts_of(self.leg, journey.boarded_at)
        legs = [*journey.legs, JoinedLeg(own, None)]
        first = legs[0].facts
        if rule.price_as == "sum":
            return self.plan.facts, self.plan
        candidates = {"last": [own], "first": [first]}.get(
            rule.price_as, [joined.facts for joined in legs]
        )
        way = whole_way(own, journey)
        wholes = [
            facts._replace(
                from_stop=way.from_stop,
                to_stop=way.to_stop,
                via_stops=way.via_stops,
                from_frames=way.from_frames,
                to_frames=way.to_frames,
                is_joined=True,
            )
            for facts in candidates
        ]
        plans = [(facts, self.tariff.plan(facts)) for facts in wholes]
        return max(plans, key=lambda found: self._comparable(found[0], found[1], rule, journey))

    def _comparable(
        self, facts: LegFacts, plan: LegPlan, rule: FareLegJoinRule, journey: Journey
    ) -> int:
        if plan.product is None:
            return -1
        fare = self.full_fare(plan, self.trip(facts, plan, rule, journey))
        return -1 if isinstance(fare, FareRefusal) else fare


def whole_way(own: LegFacts, journey: Journey) -> LegFacts:
    """The way of a journey and a leg that is joined to it, as if that leg had gone all of it."""
    legs = (*journey.legs, JoinedLeg(own, None))
    return own._replace(
        from_stop=legs[0].facts.from_stop, via_stops=_stops_touched(legs), is_joined=True
    )


def _stops_touched(legs: Iterable[JoinedLeg]) -> tuple[str, ...]:
    stops = [
        stop
        for leg in legs
        for stop in (leg.facts.from_stop, leg.facts.to_stop, *leg.facts.via_stops)
        if stop is not None
    ]
    return tuple(dict.fromkeys(stops))
