"""Which leg a leg follows: by a join, priced with it as one; or by a transfer, cheaper after it."""

from datetime import datetime, timedelta

from msgspec import Struct

from fare_rules.compiled import CompiledTariff, LegPlan
from fare_rules.language.discounts import FareTransferRule
from fare_rules.language.journeys import FareLegJoinRule
from fare_rules.legs import Leg, LegFacts
from fare_rules.states import Journey, PastLeg, RiderState


class Following(Struct, frozen=True):
    """A leg, and all that came before it."""

    leg: Leg
    facts: LegFacts
    plan: LegPlan
    tariff: CompiledTariff
    state: RiderState

    def join_rule(self) -> FareLegJoinRule | None:
        """The rule that joins this leg to the journey before it."""
        journey, trail = self.state.journey, self.state.trail
        if journey is None or not trail or self.leg.missing is not None:
            return None
        if journey.riders_count != self.leg.riders_count:
            return None
        before = trail[-1]
        for rule in self.plan.joins:
            if (
                rule.id in self.tariff.leads_to(before)
                and self.tariff.campaigns[rule.id].holds(self.leg.boarded_at)
                and (rule.legs_max is None or len(journey.legs) < rule.legs_max)
                and self._within(rule, before, journey)
                and (not rule.different_route or _is_other_route(before.facts, self.facts))
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
        whole = rule.journey_minutes_max
        return _lies_within(before.last_tap_at, self.leg.boarded_at, minutes) and (
            whole is None or _lies_within(journey.boarded_at, self.leg.boarded_at, whole)
        )

    def leg_before(self, rule: FareTransferRule) -> PastLeg | None:
        """The leg that a transfer rule lets this one continue."""
        if self.leg.missing == "entry":
            return None
        for before in reversed(self.state.trail):
            if rule.id in self.tariff.leads_to(before):
                return before if self._continues(rule, before) else None
            if not rule.others_between:
                return None
        return None

    def _continues(self, rule: FareTransferRule, before: PastLeg) -> bool:
        in_chain = before.chain_rule == rule.id
        if rule.transfers_max is not None and in_chain and before.chain_count >= rule.transfers_max:
            return False
        starts = before.last_tap_at
        match rule.window_from:
            case "previous_boarding":
                starts = before.boarded_at
            case "first_boarding":
                starts = (before.chain_boarded_at if in_chain else None) or before.boarded_at
            case "first_last_tap":
                starts = (before.chain_last_tap_at if in_chain else None) or before.last_tap_at
        ends = self.leg.boarded_at if rule.window_to == "boarding" else self.leg.last_tap_at
        return (
            _lies_within(starts, ends, rule.window_minutes)
            and (not rule.different_route or _is_other_route(before.facts, self.facts))
            and (not rule.different_network or before.facts.network != self.facts.network)
            and (not rule.not_back or self._goes_on(before))
            and not (rule.no_route_twice and self._rode_already(before, in_chain))
            and not self.tariff.is_excepted(rule, before.facts, self.facts)
        )

    def _rode_already(self, before: PastLeg, in_chain: bool) -> bool:
        ridden = before.chain_routes if in_chain else (before.route,)
        return (self.facts.network, self.facts.route_id) in ridden

    def _goes_on(self, before: PastLeg) -> bool:
        start, end = before.facts.from_stop, self.facts.to_stop
        return start is None or end is None or start != end


def _is_other_route(before: LegFacts, now: LegFacts) -> bool:
    if before.network != now.network:
        return True
    # A route that is not known is not known to differ.
    return None not in (before.route_id, now.route_id) and before.route_id != now.route_id


def _lies_within(start: datetime, end: datetime, minutes: int) -> bool:
    # Instants are in UTC, so their difference is the time that passed.
    return timedelta(0) <= end - start <= timedelta(minutes=minutes)
