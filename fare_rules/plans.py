"""All rules that price legs of the same facts, and what such legs have come to."""

from msgspec import Struct

from fare_rules.base_fare import FareRefusal
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
from fare_rules.legs import LegFacts
from fare_rules.money import Fen
from fare_rules.networks import NetworkRules
from fare_rules.quotes import Fare
from fare_rules.zones import Span


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
    # The joins and transfers whose `from` fits these legs.
    leads_to: frozenset[str]
    # Whether what the rider rode before may count for these legs, or they for later ones.
    is_counted: bool
    # Those worked out already, by all that they depend on besides the facts.
    fares: dict[tuple[object, ...], Fare]
