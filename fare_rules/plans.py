"""All rules that price legs of the same facts, and what such legs have come to."""

from msgspec import Struct

from fare_rules.base_fare import FareRefusal
from fare_rules.language.conditions import LegFilter
from fare_rules.language.discounts import (
    Concession,
    FareCap,
    FareTier,
    FareTransferRule,
    Promotion,
    Subsidy,
)
from fare_rules.language.journeys import FareLegJoinRule
from fare_rules.language.products import FareProduct, IncompleteLegRule, Surcharge
from fare_rules.language.purses import KINDS, PurseRule
from fare_rules.legs import LegFacts
from fare_rules.money import Fen
from fare_rules.networks import NetworkRules
from fare_rules.quotes import Fare
from fare_rules.zones import Span

_CONDITIONS = (*LegFilter.__struct_fields__, "except_", "ride_max", "rides_per_day")


class PurseTerms(Struct, frozen=True):
    """What a purse of one rule may pay of a ride that its conditions fit."""

    rule_id: str
    ride_max: Fen | None
    rides_per_day: int | None
    # How many conditions it has, what place its kind has, and what decides first.
    restriction: int
    kind: int
    order: tuple[str, ...]
    priority: int


def purse_terms(rules: tuple[PurseRule, ...], order: tuple[str, ...]) -> tuple[PurseTerms, ...]:
    """What purses of some rules may pay."""
    return tuple(
        PurseTerms(
            rule.id,
            None if rule.ride_max is None else Fen(rule.ride_max),
            rule.rides_per_day,
            sum(bool(getattr(rule, condition)) for condition in _CONDITIONS),
            KINDS.index(rule.kind),
            order,
            rule.priority,
        )
        for rule in rules
    )


class LegPlan(Struct, frozen=True):
    """All rules that legs of the same facts are priced by."""

    facts: LegFacts
    product: FareProduct | None
    span: Span | None
    network: NetworkRules
    # What one rider pays where the gate names and measures nothing.
    full_fare: Fen | FareRefusal
    added_m: int
    incomplete: IncompleteLegRule | None
    surcharges: tuple[Surcharge, ...]
    concessions: tuple[Concession, ...]
    joins: tuple[FareLegJoinRule, ...]
    transfers: tuple[FareTransferRule, ...]
    tiers: tuple[FareTier, ...]
    caps: tuple[FareCap, ...]
    promotions: tuple[Promotion, ...]
    subsidies: tuple[Subsidy, ...]
    # By which rules money bound to a purpose may pay.
    purses: tuple[PurseTerms, ...]
    # The joins and transfers whose `from` fits these legs.
    leads_to: frozenset[str]
    # Whether tiers, caps or subsidies count these legs, so that what was ridden before matters.
    is_counted: bool
    # Those worked out already, by all that they depend on besides the facts.
    fares: dict[tuple[object, ...], Fare]
