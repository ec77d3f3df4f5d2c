"""Legs that belong together, and days on which nothing ran as it should."""

from typing import Annotated, Literal

from msgspec import Meta, field

from fare_rules.language.conditions import Clause, Ids, LegFilter
from fare_rules.language.scalars import Count, Id, Minutes, Moment, Money, Record, no_money


class StopPair(Record, frozen=True, kw_only=True):
    """From one stop to another, that way round only."""

    from_stop: Annotated[Id, Meta(description="Where the rider left.")]
    to_stop: Annotated[Id, Meta(description="Where the rider enters again.")]
    minutes: Annotated[
        Minutes | None, Meta(description="Time for this pair, if not the rule's own.")
    ] = None


class ZoneCountMinutes(Record, frozen=True, kw_only=True):
    """The time for a way of so many zones."""

    up_to_zones: Annotated[Count, Meta(description="Zones, the first and the last included.")]
    minutes: Annotated[Minutes, Meta(description="Time for it.")]


class FareLegJoinRule(Clause, frozen=True, kw_only=True):
    """Two legs priced as one (GTFS fare_leg_join_rules): interchanges, through distance.

    A leg and all that are joined to it are a journey.
    """

    from_: Annotated[LegFilter, Meta(description="Which legs may come before.")] = field(
        name="from", default=LegFilter()
    )
    to: Annotated[LegFilter, Meta(description="Which legs may follow.")] = LegFilter()
    pairs: Annotated[
        tuple[StopPair, ...],
        Meta(description="Only between these stops, each one way. Any two stops, if left out."),
    ] = ()
    between: Annotated[
        Ids, Meta(description="Only from one to any other of these stops, in any direction.")
    ] = ()
    same_stop: Annotated[
        bool, Meta(description="Only where the rider enters at the stop just left.")
    ] = False
    different_stop: Annotated[
        bool, Meta(description="Not where the rider enters at the stop just left.")
    ] = False
    window_minutes: Annotated[
        Minutes,
        Meta(description="From the last tap of the one leg to the first of the next, included."),
    ] = 0
    different_route: Annotated[
        bool,
        Meta(
            description="On one network, both routes must be known and differ, so where gates send "
            "none, no leg follows another; of two networks, any change counts."
        ),
    ] = False
    not_back: Annotated[bool, Meta(description="The leg must not end where the journey began.")] = (
        False
    )
    less: Annotated[
        Money, Meta(description="Taken off the whole for each change, before concessions.")
    ] = no_money()
    legs_max: Annotated[Count | None, Meta(description="Legs of one journey.")] = None
    times_max: Annotated[
        Count | None, Meta(description="Times that the rule acts in one journey.")
    ] = None
    journey_minutes_max: Annotated[
        Minutes | None, Meta(description="From the first tap of the journey to this boarding.")
    ] = None
    journey_minutes_by_zones: Annotated[
        tuple[ZoneCountMinutes, ...],
        Meta(
            description="The same by the number of zones of the whole way with this leg: along "
            "the shortest paths over links from stop to stop, or else by their order. Few to many; "
            "the last has no end."
        ),
    ] = ()
    price_as: Annotated[
        Literal["last", "first", "highest", "sum"],
        Meta(
            description="Whose product prices the whole, as if that leg alone had gone all the "
            "way: the last leg's, the first's, or whichever costs most; of two as dear, the first. "
            "sum adds up what each leg's own product costs for its own way."
        ),
    ] = "last"
    leg_by_leg: Annotated[
        bool,
        Meta(
            description="Surcharges and concessions are those of each leg alone, and act on what "
            "it adds to the full fare, so a bus surcharge is due on each bus; otherwise they are "
            "those of the whole, and act on all of it."
        ),
    ] = False
    at_most_alone: Annotated[
        bool, Meta(description="A joined leg never adds more than it would cost alone.")
    ] = False
    distance: Annotated[
        Literal["sum", "direct"],
        Meta(description="The legs' distances added up, or that of the first and the last stop."),
    ] = "sum"
    begins: Annotated[Moment | None, Meta(description="First moment, local.")] = None
    ends: Annotated[Moment | None, Meta(description="First moment after it, local.")] = None
    priority: Annotated[
        int, Meta(ge=0, description="Of the rules that fit, the one with the highest acts.")
    ] = 0


class Disruption(Clause, frozen=True, kw_only=True):
    """Some hours at some stops in which riders could not tap, or travel, as they should."""

    stops: Annotated[Ids, Meta(description="Where; everywhere, if left out.")] = ()
    networks: Annotated[Ids, Meta(description="On which networks; all, if left out.")] = ()
    begins: Annotated[Moment, Meta(description="First moment, local.")]
    ends: Annotated[Moment, Meta(description="First moment after it, local.")]
    incomplete_legs_pay: Annotated[
        Money | None,
        Meta(description="What a leg without entry or exit costs; as ever, if left out."),
    ] = None
    waives_journey_time: Annotated[
        bool, Meta(description="A leg that touches it may take any time.")
    ] = True
