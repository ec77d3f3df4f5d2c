"""What one tap costs, and what must be known of it to pay for it and to share it."""

from datetime import date, datetime
from uuid import UUID

from msgspec import Struct

from fare_rules.base_fare import FareRefusal, Trip, distance_m
from fare_rules.compiled import CompiledTariff
from fare_rules.full_fares import FullFares
from fare_rules.legs import Leg
from fare_rules.money import Fen
from fare_rules.plans import PurseTerms
from fare_rules.quotes import Quote


class SharedLeg(Struct, frozen=True, gc=False):
    """What operators that share fares must know of a leg: its journey, and what it is by itself.

    Units:  fen before concessions; metres, 0 where they are not known; what a change took off.
    """

    journey_id: UUID
    own_fen: Fen
    distance_m: int
    change_fen: Fen


class Charge(Struct, frozen=True, gc=False):
    """What one tap costs, as one product of one operator."""

    tap_id: UUID
    operator_id: str
    effective_at: datetime
    service_day: date
    quote: Quote
    # By which rules money bound to a purpose may pay for it.
    purses: tuple[PurseTerms, ...] = ()
    # Where operators share fares.
    shared: SharedLeg | None = None

    @property
    def key(self) -> tuple[UUID, str]:
        return (self.tap_id, self.quote.product_id)

    @property
    def fare_fen(self) -> Fen:
        """What the operator is due."""
        return self.quote.fare_fen

    @property
    def rider_fen(self) -> Fen:
        return self.quote.rider_fen


def shared_leg(leg: Leg, tariff: CompiledTariff, journey_id: UUID, quote: Quote) -> SharedLeg:
    """Say of a leg what operators that share its fare must know."""
    plan = tariff.plan_of(leg)
    fares = FullFares(leg, plan, tariff)
    own = fares.full_fare(plan, fares.trip(plan.facts, plan, None, None))
    far = distance_m(Trip(plan.facts, plan.network, None, distance_m=leg.distance_m))
    change_fen = -sum(
        line.amount_fen
        for line in quote.lines
        if line.rule_id in tariff.change_ids and line.borne_by is None
    )
    return SharedLeg(
        journey_id,
        Fen(0) if isinstance(own, FareRefusal) else Fen(own * leg.riders_count),
        far or 0,
        Fen(change_fen),
    )
