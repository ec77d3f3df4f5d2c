"""What makes a fare less: concessions, transfers, tiers, caps, promotions; and subsidies."""

from typing import Annotated, Literal

from msgspec import Meta, field

from fare_rules.language.conditions import Clause, LegConditions, LegFilter, Rule
from fare_rules.language.places import Weekday
from fare_rules.language.scalars import (
    Count,
    Id,
    Minutes,
    Moment,
    Money,
    Percent,
    Record,
    RoundTo,
    Zones,
    no_money,
    the_whole,
)

BORNE_BY = Meta(
    description="The sponsor that pays what the rule takes off. The operator forgoes it, if left "
    "out."
)


class PaysPercent(Record, frozen=True, kw_only=True, tag="percent", tag_field="kind"):
    """One percentage of the fare."""

    percent: Annotated[Percent, Meta(description="What the rider pays: 95 is 5 percent off.")]
    rounding: Annotated[RoundTo, Meta(description="Of what the rider pays.")]


class PercentBand(Record, frozen=True, kw_only=True):
    """The percentage of one part of the fare; the last part has no end."""

    percent: Annotated[Percent, Meta(description="What the rider pays of this part.")]
    up_to: Annotated[Money | None, Meta(description="End of the part; none for the last.")] = None


class PaysBands(Record, frozen=True, kw_only=True, tag="bands", tag_field="kind"):
    """A percentage of each part of the fare; the sum is rounded once."""

    bands: Annotated[tuple[PercentBand, ...], Meta(min_length=1, description="Low to high.")]
    rounding: Annotated[RoundTo, Meta(description="Of the sum.")]


class PaysAmount(Record, frozen=True, kw_only=True, tag="amount", tag_field="kind"):
    """A fixed amount, if the fare is more."""

    amount: Annotated[Money, Meta(description="What the rider pays at most.")]


class PaysLess(Record, frozen=True, kw_only=True, tag="less", tag_field="kind"):
    """A fixed amount less, never below zero."""

    amount: Annotated[Money, Meta(description="What is taken off.")]


class PaysFormula(Record, frozen=True, kw_only=True, tag="formula", tag_field="kind"):
    """The fare less an amount, a percentage of the rest, and an amount on top."""

    subtract: Annotated[Money, Meta(description="Taken off first; never below zero.")] = no_money()
    percent: Annotated[Percent, Meta(description="So much of the rest.")] = the_whole()
    add: Annotated[Money, Meta(description="Added last.")] = no_money()
    rounding: Annotated[RoundTo, Meta(description="Of the result.")]


class PaysProduct(Record, frozen=True, kw_only=True, tag="product", tag_field="kind"):
    """The full fare of another product for the same leg, or a percentage of it."""

    product: Annotated[Id, Meta(description="The other product.")]
    percent: Annotated[Percent, Meta(description="So much of it.")] = the_whole()
    rounding: Annotated[RoundTo, Meta(description="Of the result.")]


class PaysExtension(Record, frozen=True, kw_only=True, tag="extension", tag_field="kind"):
    """The full fare of the zones beyond those that are paid already; nothing where there is none.

    By zones or by their number, the parts of the way beyond are added up; by anything else, it is
    the whole fare.
    """

    zones: Annotated[
        tuple[Zones, ...],
        Meta(min_length=1, description="Those that are paid, each by itself or as a run."),
    ]
    product: Annotated[
        Id | None, Meta(description="By whose fare; by that of the leg's own product, if left out.")
    ] = None


class Free(Record, frozen=True, kw_only=True, tag="free", tag_field="kind"):
    """Nothing."""


class PaysDifference(Record, frozen=True, kw_only=True, tag="difference", tag_field="kind"):
    """What is not yet paid in this chain, surcharges outside caps apart: the dearest leg wins."""


Pays = (
    PaysPercent
    | PaysBands
    | PaysAmount
    | PaysLess
    | PaysFormula
    | PaysProduct
    | PaysExtension
    | Free
)
TransferPays = PaysPercent | PaysAmount | PaysLess | Free | PaysDifference
PromotionPays = PaysPercent | PaysAmount | PaysLess | PaysExtension | Free


class Concession(Rule, frozen=True, kw_only=True):
    """Who pays less than the full fare. In each layer, one at most acts."""

    pays: Annotated[Pays, Meta(description="What the rider pays of the fare.")]
    layer: Annotated[
        int,
        Meta(
            ge=1,
            le=9,
            description="Concessions of a second layer act on what those of the first have left.",
        ),
    ] = 1
    first_leg: Annotated[
        bool,
        Meta(
            description="Only for the first leg of a journey; what it took off stays off when "
            "further legs are joined."
        ),
    ] = False
    borne_by: Annotated[Id | None, BORNE_BY] = None


class ExceptedChange(Record, frozen=True, kw_only=True):
    """A change that a rule is not for, such as between two routes that run side by side."""

    from_: Annotated[LegConditions, Meta(description="The leg before.")] = field(
        name="from", default=LegConditions()
    )
    to: Annotated[LegConditions, Meta(description="The leg after it.")] = LegConditions()


class FareTransferRule(Clause, frozen=True, kw_only=True):
    """What a change of vehicles takes off the next leg (GTFS fare_transfer_rules).

    A chain is a leg that continues no other, and every leg that continues one of it, by whichever
    transfer or join rules.
    """

    from_: Annotated[LegFilter, Meta(description="Which legs may come before.")] = field(
        name="from", default=LegFilter()
    )
    to: Annotated[LegFilter, Meta(description="Which legs are cheaper after it.")] = LegFilter()
    first: Annotated[
        LegConditions, Meta(description="Which legs the chain may have begun with.")
    ] = LegConditions()
    pays: Annotated[TransferPays, Meta(description="What the rider pays of the leg's fare.")]
    window_minutes: Annotated[Minutes, Meta(description="Time for the change, end included.")]
    window_from: Annotated[
        Literal["previous_boarding", "previous_last_tap", "first_boarding", "first_last_tap"],
        Meta(
            description="What starts the window: a tap of the leg before, or of the first leg of "
            "the chain. The last tap is the exit, or the boarding where nobody taps out."
        ),
    ] = "previous_last_tap"
    chain: Annotated[
        Literal["any", "own"],
        Meta(
            description="Where the chain's first leg is said: of the whole chain, whichever rules "
            "continued it; or own, the first leg in it that this rule's `from` fits."
        ),
    ] = "any"
    window_starts: Annotated[
        Literal["at_once", "next_full_hour"],
        Meta(description="At that tap, or when the next full hour strikes."),
    ] = "at_once"
    window_to: Annotated[
        Literal["boarding", "last_tap"], Meta(description="What must come before it ends.")
    ] = "boarding"
    same_service_day: Annotated[
        bool,
        Meta(
            description="The window ends with the service day that it starts on, if not before; "
            "the leg must board on that day."
        ),
    ] = False
    transfers_max: Annotated[
        Count | None,
        Meta(description="Transfers in one chain, by whichever rules; any number if left out."),
    ] = None
    different_route: Annotated[
        bool, Meta(description="On one network, both routes must be known and differ.")
    ] = False
    different_network: Annotated[bool, Meta(description="The two networks must differ.")] = False
    not_back: Annotated[
        bool,
        Meta(description="The leg must not end where the one before began; both must tap out."),
    ] = False
    for_companions: Annotated[
        bool, Meta(description="All riders of the leg have it; otherwise the card's holder alone.")
    ] = False
    no_route_twice: Annotated[
        bool, Meta(description="A route that was ridden in the chain already ends it.")
    ] = False
    others_between: Annotated[
        bool,
        Meta(
            description="Legs that `from` does not fit may lie between; otherwise the leg just "
            "before must fit."
        ),
    ] = False
    except_: Annotated[
        tuple[ExceptedChange, ...], Meta(description="Changes that the rule is not for.")
    ] = field(name="except", default=())
    proven: Annotated[
        bool,
        Meta(description="A card that proves the ride before has it whatever the log says."),
    ] = False
    priority: Annotated[
        int, Meta(ge=0, description="Of the rules that fit, the one with the highest acts.")
    ] = 0
    borne_by: Annotated[Id | None, BORNE_BY] = None


class ServiceDay(Record, frozen=True, kw_only=True, tag="service_day", tag_field="kind"):
    """Each service day."""


class Week(Record, frozen=True, kw_only=True, tag="week", tag_field="kind"):
    """Each week of service days."""

    starts_on: Annotated[Weekday, Meta(description="Its first day.")] = "mon"


class Month(Record, frozen=True, kw_only=True, tag="month", tag_field="kind"):
    """Each calendar month of service days."""


class Rolling(Record, frozen=True, kw_only=True, tag="rolling", tag_field="kind"):
    """From the first counted tap on; one at the very end begins the next period already."""

    days: Annotated[int, Meta(ge=0, le=400, description="Times 24 hours.")] = 0
    minutes: Annotated[Minutes, Meta(description="And so many minutes.")] = 0
    service_days: Annotated[
        int,
        Meta(
            ge=0,
            le=400,
            description="Instead: so many service days, the first tap's own being the first.",
        ),
    ] = 0


class Trailing(Record, frozen=True, kw_only=True, tag="trailing", tag_field="kind"):
    """At each ride the service days that lie just behind it: with every day, one is forgotten."""

    days: Annotated[
        int, Meta(ge=1, le=92, description="So many, the day of the ride itself being the last.")
    ]


Period = ServiceDay | Week | Month | Rolling | Trailing

COUNTS = Meta(
    description="What a leg adds: what the rider paid for it after all steps (paid), what the "
    "sponsors paid, too (paid_by_all), its fare before caps (before_caps), or its full fare."
)
Counts = Literal["paid", "paid_by_all", "before_caps", "full_fare"]


class ZoneAmount(Record, frozen=True, kw_only=True):
    """The limit within a run of zones."""

    zones: Annotated[Zones, Meta(description="Such as 1-2.")]
    amount: Annotated[Money, Meta(description="The limit.")]


class Accumulating(Rule, frozen=True, kw_only=True):
    """A rule with a memory: what its legs have cost, and how many there were, in a period."""

    period: Annotated[Period, Meta(description="How long it remembers.")]
    counts: Annotated[Counts, COUNTS] = "paid"
    counts_transfers: Annotated[
        bool, Meta(description="A leg that continues another by transfer is one more ride.")
    ] = False
    counts_free: Annotated[bool, Meta(description="A leg that costs nothing is a ride, too.")] = (
        False
    )
    same_place_minutes: Annotated[
        Minutes,
        Meta(
            description="A leg begun at the same stop or vehicle within this of the last one there "
            "is charged, and does not count."
        ),
    ] = 0
    incomplete_legs: Annotated[
        bool, Meta(description="Legs without entry or exit belong to it, too.")
    ] = False


class CountingApart(Accumulating, frozen=True, kw_only=True):
    """A rule whose memory may be one for each route, or for each two stops."""

    for_each: Annotated[
        Literal["route", "stops"] | None,
        Meta(
            description="It counts apart: the legs of each route of a network, or those between "
            "each two stops, either way. Each leg counts for its own, joined or not; one of which "
            "the route or a stop is not known does not count."
        ),
    ] = None


class TierStep(Record, frozen=True, kw_only=True):
    """A rate from some point on."""

    from_: Annotated[Money | None, Meta(description="From this amount on, itself included.")] = (
        field(name="from", default=None)
    )
    above: Annotated[Money | None, Meta(description="Above this amount, itself not.")] = None
    after_rides: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="After so many rides of the period; 0 is from the first on."),
    ] = None
    percent: Annotated[Percent, Meta(description="What the rider pays of the fare.")]


class FareTier(CountingApart, frozen=True, kw_only=True):
    """A rate that depends on what was spent, or on how often one rode, in a period."""

    reading: Annotated[
        Literal["per_trip", "split"],
        Meta(
            description="per_trip: one rate for the whole journey, by what was spent before it. "
            "split: each part of a leg's fare has the rate of the tier it falls in."
        ),
    ] = "per_trip"
    steps: Annotated[
        tuple[TierStep, ...],
        Meta(min_length=1, description="Low to high; below the first, the fare is full."),
    ]
    rounding: Annotated[RoundTo, Meta(description="Of what the rider pays.")]
    borne_by: Annotated[Id | None, BORNE_BY] = None


class FareCap(Accumulating, frozen=True, kw_only=True):
    """The most that a rider pays in a period. Every cap that fits holds, in the file's order."""

    amount: Annotated[Money | None, Meta(description="The limit.")] = None
    by_zones: Annotated[
        tuple[ZoneAmount, ...],
        Meta(
            description="The limit by the widest zones travelled in the period; the narrowest run "
            "that holds them counts."
        ),
    ] = ()
    rides: Annotated[Count | None, Meta(description="After so many rides the rest are free.")] = (
        None
    )
    borne_by: Annotated[Id | None, BORNE_BY] = None


class Coupon(Record, frozen=True, kw_only=True):
    """What a rider must have activated before."""

    days: Annotated[Count, Meta(description="Days that it lives after activation.")]
    counted: Annotated[
        Literal["hours", "calendar_days", "calendar_months"],
        Meta(
            description="hours: each day is 24 hours. calendar_days: it ends at midnight of the "
            "last day, the day of activation being the first. calendar_months: `days` counts "
            "months, that of activation being the first."
        ),
    ] = "hours"
    uses: Annotated[
        Count | None, Meta(description="Uses of one coupon; any number if left out.")
    ] = None


class Promotion(Rule, frozen=True, kw_only=True):
    """A ride that a sponsor helps to pay for, or a pass. One at most acts on a leg."""

    pays: Annotated[PromotionPays, Meta(description="What the rider pays of what is left.")]
    borne_by: Annotated[Id | None, BORNE_BY] = None
    sponsor_pays_max: Annotated[
        Money | None, Meta(description="The sponsor pays this for one leg at most.")
    ] = None
    begins: Annotated[Moment | None, Meta(description="First moment of the campaign, local.")] = (
        None
    )
    ends: Annotated[Moment | None, Meta(description="First moment after the campaign, local.")] = (
        None
    )
    coupon: Annotated[
        Coupon | None, Meta(description="The rider must have activated a coupon, and lately.")
    ] = None
    uses_max: Annotated[
        Count | None, Meta(description="Uses per rider in the whole campaign; any if left out.")
    ] = None
    uses_per_day: Annotated[
        Count | None, Meta(description="Uses per rider and service day; any if left out.")
    ] = None
    days_from_first_use: Annotated[
        Count | None,
        Meta(description="It ends so many times 24 hours after its first use, as a pass does."),
    ] = None
    either_or: Annotated[
        Id | None,
        Meta(description="Of all offers with this name, a rider may use one only."),
    ] = None


class SubsidyStep(Record, frozen=True, kw_only=True):
    """A rate for all of a period, from some number of rides on."""

    after_rides: Annotated[int, Meta(ge=0, description="More rides than this in the period.")]
    percent: Annotated[Percent, Meta(description="So much is given back of all that counts.")]


class Subsidy(CountingApart, frozen=True, kw_only=True):
    """Money that another payer gives back after the period, by what was spent in it.

    It is worked out for whoever pays it, and no more: no charge is less for it, the gateway books
    and pays nothing, and no settlement has it.
    """

    above: Annotated[Money, Meta(description="Of what was spent above this.")] = no_money()
    percent: Annotated[
        Percent | None, Meta(description="So much is given back, where no steps are said.")
    ] = None
    steps: Annotated[
        tuple[SubsidyStep, ...], Meta(description="Rates by rides; the last one reached counts.")
    ] = ()
    maximum: Annotated[Money | None, Meta(description="In one period at most.")] = None
    rounding: Annotated[RoundTo, Meta(description="Of what is given back.")]
    borne_by: Annotated[
        Id, Meta(description="The sponsor that gives it back; an operator may be one, too.")
    ]
