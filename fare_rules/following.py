"""Which leg a leg follows: by a join, priced with it as one; or by a transfer, cheaper after it."""

from datetime import datetime, timedelta
from functools import lru_cache

from msgspec import Struct

from fare_rules.compiled import CompiledTariff
from fare_rules.full_fares import whole_way
from fare_rules.language.discounts import FareTransferRule
from fare_rules.language.journeys import FareLegJoinRule
from fare_rules.legs import Leg, LegFacts
from fare_rules.plans import LegPlan
from fare_rules.states import Chain, ChainLeg, Journey, PastLeg, RiderState


class Following(Struct, frozen=True, gc=False):
    """A leg, and all that came before it."""

    leg: Leg
    plan: LegPlan
    tariff: CompiledTariff
    state: RiderState

    def join_rule(self) -> FareLegJoinRule | None:
        """The rule that joins this leg to the journey before it."""
        journey, trail = self.state.journey, self.state.trail
        if journey is None or not trail or self.leg.missing is not None:
            return None
        if self.leg.riders_count > journey.riders_count:
            return None
        before = trail[-1]
        for rule in self.plan.joins:
            if (
                rule.id in self.tariff.leads_to(before, before.tariff_id)
                and self.tariff.campaigns[rule.id].holds(self.leg.boarded_at)
                and (rule.times_max is None or journey.rules.count(rule.id) < rule.times_max)
                and (rule.legs_max is None or len(journey.legs) < rule.legs_max)
                and self._within(rule, before, journey)
                and (not rule.different_route or _is_other_route(before.facts, self.plan.facts))
            ):
                return rule
        return None

    def _within(self, rule: FareLegJoinRule, before: PastLeg, journey: Journey) -> bool:
        left, entered = before.facts.to_stop or before.facts.from_stop, self.leg.from_stop
        minutes = rule.window_minutes
        if rule.pairs:
            pair = next(
                (p for p in rule.pairs if (p.from_stop, p.to_stop) == (left, entered)), None
            )
            if pair is None:
                return False
            minutes = minutes if pair.minutes is None else pair.minutes
        if rule.between and (
            left == entered or left not in rule.between or entered not in rule.between
        ):
            return False
        if rule.same_stop and (left is None or left != entered):
            return False
        if rule.different_stop and left is not None and left == entered:
            return False
        if rule.not_back and self.leg.to_stop is not None:
            started = journey.legs[0].facts.from_stop
            if started == self.leg.to_stop:
                return False
        if not _lies_within(before.last_tap_at, self.leg.boarded_at, minutes):
            return False
        whole = rule.journey_minutes_max
        if rule.journey_minutes_by_zones:
            whole = self._minutes_by_zones(rule, journey)
            if whole is None:
                return False
        return whole is None or _lies_within(journey.boarded_at, self.leg.boarded_at, whole)

    def _minutes_by_zones(self, rule: FareLegJoinRule, journey: Journey) -> int | None:
        """The time for the whole way with this leg; None where its zones are not known."""
        own, network, zones = self.plan.facts, self.plan.network, self.tariff.zones
        if own.from_stop is None or (own.to_stop is None and network.taps != "board"):
            return None
        way = whole_way(own, journey)
        stops = [s for s in (way.from_stop, *way.via_stops, way.to_stop) if s is not None]
        path = network.path_over(stops)
        count = zones.zones_count(path) if path else None
        if count is None:
            span = zones.span_of(stops)
            if span is None:
                return None
            count = span.high - span.low + 1
        bands = rule.journey_minutes_by_zones
        return next((b.minutes for b in bands if count <= b.up_to_zones), bands[-1].minutes)

    def transfer(self) -> tuple[FareTransferRule | None, PastLeg | None]:
        """The rule by which this leg continues a chain, and its newest leg where it is known."""
        for rule in self.plan.transfers:
            before = self._leg_before(rule)
            if before is not None or (rule.proven and self.leg.transfer_proven):
                return rule, before
        return None, None

    def _leg_before(self, rule: FareTransferRule) -> PastLeg | None:
        if self.leg.missing == "entry":
            return None
        for before in reversed(self.state.trail):
            if rule.id in self.tariff.leads_to(before, before.tariff_id):
                # What continued it already is part of its chain, too.
                newest = self._newest_of_chain(before)
                return newest if self._continues(rule, before, newest.chain) else None
            if not rule.others_between:
                return None
        return None

    def _newest_of_chain(self, leg: PastLeg) -> PastLeg:
        return next(
            each for each in reversed(self.state.trail) if each.journey_id == leg.journey_id
        )

    def _continues(self, rule: FareTransferRule, before: PastLeg, chain: Chain) -> bool:
        facts = before.facts
        if rule.transfers_max is not None and chain.transfers_count >= rule.transfers_max:
            return False
        match rule.window_from:
            case "previous_boarding":
                starts = before.boarded_at
            case "previous_last_tap":
                starts = before.last_tap_at
            case "first_boarding":
                starts = self._first_of(rule, before).boarded_at
            case "first_last_tap":
                starts = self._first_of(rule, before).last_tap_at
        day_of = self.tariff.service_day_of
        if rule.same_service_day and day_of(starts) != day_of(self.leg.boarded_at):
            return False
        if rule.window_starts == "next_full_hour":
            starts = self.tariff.next_full_hour(starts)
        ends = self.leg.boarded_at if rule.window_to == "boarding" else self.leg.last_tap_at
        return (
            # A window that starts later holds what comes before it, too.
            ends >= before.last_tap_at
            and ends - starts <= _minutes(rule.window_minutes)
            and self.tariff.begins_with(rule, chain.legs[0].facts)
            and (not rule.different_route or _is_other_route(facts, self.plan.facts))
            and (not rule.different_network or facts.network != self.plan.facts.network)
            and (not rule.not_back or self._goes_on(before))
            and not (rule.no_route_twice and chain.has_ridden(self.plan.facts))
            and not (rule.except_ and self.tariff.is_excepted(rule, facts, self.plan.facts))
        )

    def _first_of(self, rule: FareTransferRule, before: PastLeg) -> ChainLeg:
        """The leg that the chain begins with, as far as the rule is concerned."""
        if rule.chain == "any":
            return before.chain.legs[0]
        return next(
            leg
            for leg in before.chain.legs
            if rule.id in self.tariff.leads_to(leg, before.tariff_id)
        )

    def _goes_on(self, before: PastLeg) -> bool:
        start, end = before.facts.from_stop, self.plan.facts.to_stop
        return start is None or end is None or start != end


def _is_other_route(before: LegFacts, now: LegFacts) -> bool:
    if before.network != now.network:
        return True
    # A route that is not known is not known to differ.
    return None not in (before.route_id, now.route_id) and before.route_id != now.route_id


def _lies_within(start: datetime, end: datetime, minutes: int) -> bool:
    # Instants are in UTC, so their difference is the time that passed.
    return _minutes(0) <= end - start <= _minutes(minutes)


@lru_cache(maxsize=256)
def _minutes(count: int) -> timedelta:
    # The same few windows are asked about all the time.
    return timedelta(minutes=count)
