"""What is sold: fare products, how their full fare is found, and which legs need which."""

from typing import Annotated, Literal

from msgspec import Meta

from fare_rules.language.conditions import Clause, Ids, LegConditions, Rule
from fare_rules.language.scalars import (
    Count,
    CsvName,
    Id,
    Kilometres,
    Money,
    Percent,
    Rate,
    Record,
    RoundTo,
    Zones,
    no_money,
    the_whole,
)


class _Pricing(Record, frozen=True, kw_only=True, tag_field="kind"):
    """How a full fare is found."""


class Flat(_Pricing, frozen=True, kw_only=True, tag="flat"):
    """One fare, however far."""

    amount: Annotated[Money, Meta(description="The fare.")]


class DistanceBand(Record, frozen=True, kw_only=True):
    """The fare up to a distance."""

    up_to_km: Annotated[
        Kilometres,
        Meta(
            description="End of the band: of 7 to 11 km, each kilometre begun counting, it is 11."
        ),
    ]
    amount: Annotated[Money, Meta(description="The fare in it.")]

    @property
    def end(self) -> int:
        return self.up_to_km


class BeyondKm(Record, frozen=True, kw_only=True):
    """What is added past the last band."""

    every_km: Annotated[Kilometres, Meta(description="Each such distance, begun or whole, adds.")]
    add: Annotated[Money, Meta(description="What it adds.")]

    @property
    def step(self) -> int:
        return self.every_km


class DistanceBands(_Pricing, frozen=True, kw_only=True, tag="distance_bands"):
    """A fare that rises with the distance."""

    bands: Annotated[tuple[DistanceBand, ...], Meta(min_length=1, description="From near to far.")]
    beyond: Annotated[
        BeyondKm | None,
        Meta(description="Past the last band; if left out, the last band has no end."),
    ] = None
    maximum: Annotated[Money | None, Meta(description="The fare never exceeds this.")] = None
    ends: Annotated[
        Literal["inclusive", "exclusive"],
        Meta(description="Whether a distance of exactly 4 km is in the band up to 4 km."),
    ] = "inclusive"


class PerKm(_Pricing, frozen=True, kw_only=True, tag="per_km"):
    """A fare for every kilometre."""

    rate: Annotated[Rate, Meta(description="For each kilometre, in proportion.")]
    start: Annotated[Money, Meta(description="Charged before the first metre.")] = no_money()
    minimum: Annotated[Money, Meta(description="The fare is never less.")] = no_money()
    maximum: Annotated[Money | None, Meta(description="The fare never exceeds this.")] = None
    rounding: Annotated[RoundTo, Meta(description="Of the sum.")]


class StopBand(Record, frozen=True, kw_only=True):
    """The fare up to a number of stops."""

    up_to_stops: Annotated[Count, Meta(description="Stops ridden, the last included.")]
    amount: Annotated[Money, Meta(description="The fare.")]

    @property
    def end(self) -> int:
        return self.up_to_stops


class BeyondStops(Record, frozen=True, kw_only=True):
    """What is added past the last band."""

    every_stops: Annotated[Count, Meta(description="So many stops, begun or whole, add.")]
    add: Annotated[Money, Meta(description="What they add.")]

    @property
    def step(self) -> int:
        return self.every_stops


class StopBands(_Pricing, frozen=True, kw_only=True, tag="stop_bands"):
    """A fare by the number of stops ridden: along the route, or over the fewest links."""

    bands: Annotated[tuple[StopBand, ...], Meta(min_length=1, description="From near to far.")]
    beyond: Annotated[
        BeyondStops | None,
        Meta(description="Past the last band; if left out, the last band has no end."),
    ] = None


class TimeBand(Record, frozen=True, kw_only=True):
    """The fare up to a time."""

    up_to_minutes: Annotated[
        Count, Meta(description="Minutes begun, from the first tap to the last.")
    ]
    amount: Annotated[Money, Meta(description="The fare.")]

    @property
    def end(self) -> int:
        return self.up_to_minutes


class BeyondMinutes(Record, frozen=True, kw_only=True):
    """What is added past the last band."""

    every_minutes: Annotated[Count, Meta(description="So many minutes, begun or whole, add.")]
    add: Annotated[Money, Meta(description="What they add.")]

    @property
    def step(self) -> int:
        return self.every_minutes


class TimeBands(_Pricing, frozen=True, kw_only=True, tag="time_bands"):
    """A fare by the time ridden: of the leg, or of the whole journey that it is joined to."""

    bands: Annotated[tuple[TimeBand, ...], Meta(min_length=1, description="From short to long.")]
    beyond: Annotated[
        BeyondMinutes | None,
        Meta(description="Past the last band; if left out, the last band has no end."),
    ] = None
    maximum: Annotated[Money | None, Meta(description="The fare never exceeds this.")] = None


class ZoneFare(Record, frozen=True, kw_only=True):
    """The fare within a run of zones."""

    zones: Annotated[Zones, Meta(description="Such as 1 or 1-3.")]
    amount: Annotated[Money, Meta(description="The fare.")]


class ZoneFares(_Pricing, frozen=True, kw_only=True, tag="zones"):
    """A fare by the zones travelled: the narrowest run that holds them; of two, the cheaper."""

    fares: Annotated[
        tuple[ZoneFare, ...],
        Meta(min_length=1, description="In any order; of two runs as narrow, the cheaper counts."),
    ]


class ZoneCountFare(Record, frozen=True, kw_only=True):
    """The fare up to a number of zones."""

    up_to_zones: Annotated[Count, Meta(description="Zones, the first and the last included.")]
    amount: Annotated[Money, Meta(description="The fare.")]


class ZoneCount(_Pricing, frozen=True, kw_only=True, tag="zone_count"):
    """A fare by the number of zones: along the shortest path over links, or else by their order."""

    bands: Annotated[
        tuple[ZoneCountFare, ...],
        Meta(min_length=1, description="Few to many; the last has no end."),
    ]


class Matrix(_Pricing, frozen=True, kw_only=True, tag="matrix"):
    """A fare for each pair of stops, areas or zones, from a table."""

    table: Annotated[
        CsvName, Meta(description="CSV with the columns from, to and one or more of amounts.")
    ]
    column: Annotated[Id, Meta(description="The column of amounts.")] = "amount"
    by: Annotated[
        Literal["stops", "areas", "zones"], Meta(description="What from and to name.")
    ] = "stops"
    both_ways: Annotated[
        bool, Meta(description="A pair that has no row of its own way costs what the other does.")
    ] = True


class GateNames(_Pricing, frozen=True, kw_only=True, tag="gate_names"):
    """Only the gate knows the fare."""


class Formula(_Pricing, frozen=True, kw_only=True, tag="formula"):
    """Another product's fare: less `subtract`, times `times`, `percent` of it, plus `add`."""

    of_product: Annotated[Id, Meta(description="The product whose full fare is taken.")]
    subtract: Annotated[Money, Meta(description="Taken off first; never below zero.")] = no_money()
    times: Annotated[Annotated[int, Meta(ge=1, le=100)], Meta(description="Some times over.")] = 1
    percent: Annotated[Percent, Meta(description="Then so much of it.")] = the_whole()
    add: Annotated[Money, Meta(description="Added last.")] = no_money()
    rounding: Annotated[RoundTo | None, Meta(description="Half up to the minor unit.")] = None


class BestOf(_Pricing, frozen=True, kw_only=True, tag="best_of"):
    """The lowest or the highest fare of several products, or their sum."""

    take: Annotated[Literal["lowest", "highest", "sum"], Meta(description="Which fare is taken.")]
    of_products: Annotated[Ids, Meta(min_length=2, description="Products that are compared.")]


Pricing = (
    Flat
    | DistanceBands
    | PerKm
    | StopBands
    | TimeBands
    | ZoneFares
    | ZoneCount
    | Matrix
    | GateNames
    | Formula
    | BestOf
)


class FareProduct(Clause, frozen=True, kw_only=True):
    """What is sold, and its full fare."""

    name: Annotated[str, Meta(description="What people call it.")] = ""
    pricing: Annotated[Pricing, Meta(description="How the full fare is found.")]
    gate_may_name_fare: Annotated[
        bool,
        Meta(
            description="A full fare that the gate sends goes before `pricing`, but not of a "
            "joined leg."
        ),
    ] = False
    through: Annotated[
        Id | None,
        Meta(
            description="The product that prices it, instead, once a leg is joined with others; "
            "rules with `products` must name that one, too."
        ),
    ] = None


class FareLegRule(LegConditions, frozen=True, kw_only=True):
    """Which legs need which product (GTFS fare_leg_rules)."""

    id: Annotated[Id, Meta(description="A name of your own choice.")]
    product: Annotated[Id, Meta(description="The product that the leg needs.")]
    reference: Annotated[str, Meta(description="The clause of the notice, if it has one.")] = ""
    priority: Annotated[
        int, Meta(ge=0, description="Of the rules that fit, the one with the highest acts.")
    ] = 0


class FixedCharge(Record, frozen=True, kw_only=True, tag="amount", tag_field="kind"):
    """A fixed amount."""

    amount: Annotated[Money, Meta(description="The amount.")]


class DearestCharge(Record, frozen=True, kw_only=True, tag="dearest", tag_field="kind"):
    """The dearest fare between the stop that is known and any other, of the route if known."""


class ProductCharge(Record, frozen=True, kw_only=True, tag="product", tag_field="kind"):
    """A ride of a product, with all that makes it less: where riders need not tap out."""

    product: Annotated[Id, Meta(description="The product.")]


class IncompleteLegRule(LegConditions, frozen=True, kw_only=True):
    """What a leg costs that lacks its entry or its exit."""

    id: Annotated[
        Id, Meta(description="A name of your own choice; it stands on quotes and receipts.")
    ]
    reference: Annotated[str, Meta(description="The clause of the notice that the rule is from.")]
    missing: Annotated[
        Literal["entry", "exit", "either"], Meta(description="Which tap is not there.")
    ] = "either"
    charge: Annotated[
        FixedCharge | DearestCharge | ProductCharge,
        Meta(description="A fixed amount, the dearest fare, or a ride of a product."),
    ]
    priority: Annotated[
        int, Meta(ge=0, description="Of the rules that fit, the one with the highest acts.")
    ] = 0


class Surcharge(Rule, frozen=True, kw_only=True):
    """What some legs cost on top of the product's fare. Every surcharge that fits is added."""

    amount: Annotated[Money | None, Meta(description="Added to the fare.")] = None
    percent: Annotated[Percent | None, Meta(description="So much of the full fare.")] = None
    add_km: Annotated[
        Kilometres | None, Meta(description="Added to the distance before the fare is found.")
    ] = None
    over_time: Annotated[
        bool, Meta(description="Only for legs that took longer than journey_time allows.")
    ] = False
    every_minutes: Annotated[
        Count | None,
        Meta(description="With over_time: once for so many minutes too long, begun or whole."),
    ] = None
    maximum: Annotated[Money | None, Meta(description="It never exceeds this.")] = None
    with_concessions: Annotated[
        bool, Meta(description="Concessions reduce it with the fare; otherwise it is paid whole.")
    ] = False
    in_caps: Annotated[
        bool,
        Meta(
            description="It is added before transfers, tiers, caps and promotions, which act on "
            "it; otherwise after all of them."
        ),
    ] = True
