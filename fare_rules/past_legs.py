"""What a leg leaves behind once it is priced: all that a transfer or a join may ask of it later."""

from uuid import UUID

from fare_rules.base_fare import Trip, distance_m
from fare_rules.language.journeys import FareLegJoinRule
from fare_rules.legs import Leg
from fare_rules.plans import LegPlan
from fare_rules.quotes import Fare
from fare_rules.states import Chain, ChainLeg, JoinedLeg, Journey, PastLeg, borne_in_all


def past_leg(
    leg: Leg,
    own: LegPlan,
    fare: Fare,
    tariff_id: str,
    journey_id: UUID,
    before: PastLeg | None,
    *,
    is_joined: bool,
) -> PastLeg:
    """The leg as it is over; `before` is the one that it is joined to or continues."""
    newest = ChainLeg(own.facts, leg.boarded_at, leg.last_tap_at)
    if before is None:
        chain = Chain((newest,), fare.paid_fen, borne=fare.borne_of_leg)
        return PastLeg(journey_id, tariff_id, leg.place, chain)
    chain = before.chain.continued(newest, fare.paid_fen, fare.borne_of_leg, is_joined=is_joined)
    return PastLeg(before.journey_id, tariff_id, leg.place, chain)


def journey_with(
    leg: Leg,
    own: LegPlan,
    priced_by: LegPlan,
    fare: Fare,
    join: FareLegJoinRule | None,
    journey: Journey | None,
) -> Journey:
    """What a further leg may be joined to: the leg, and the journey that it is joined to itself."""
    way = Trip(own.facts, own.network, None, distance_m=leg.distance_m)
    joined = JoinedLeg(own.facts, distance_m(way))
    apart = tuple(rule.id for rule in priced_by.surcharges if not (rule.in_caps or rule.over_time))
    if join is None or journey is None:
        return Journey(
            leg.boarded_at,
            (joined,),
            fare.through_fen,
            fare.full_fen,
            leg.riders_count,
            apart,
            borne=fare.borne,
        )
    return Journey(
        journey.boarded_at,
        (*journey.legs, joined),
        fare.through_fen,
        fare.full_fen,
        leg.riders_count,
        (*journey.surcharges, *apart),
        (*journey.rules, join.id),
        borne_in_all(journey.borne, fare.borne, is_one=not join.leg_by_leg),
    )
