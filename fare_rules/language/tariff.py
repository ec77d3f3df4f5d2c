"""The file: one price list of one operator or city."""

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta

from fare_rules.language.conditions import Named
from fare_rules.language.discounts import (
    Concession,
    FareCap,
    FareTier,
    FareTransferRule,
    Promotion,
    Subsidy,
)
from fare_rules.language.journeys import Disruption, FareLegJoinRule
from fare_rules.language.places import Area, HolidayCalendar, Network, Stop, Timeframe
from fare_rules.language.products import FareLegRule, FareProduct, IncompleteLegRule, Surcharge
from fare_rules.language.purses import SPENT_BY, PurseRule, SpentBy
from fare_rules.language.scalars import CsvName, CurrencyCode, Id, Record, TimeOfDay, ZoneId

Step = Literal["concessions", "transfers", "tiers", "caps", "promotions"]
STEPS: tuple[Step, ...] = ("concessions", "transfers", "tiers", "caps", "promotions")


class RiderCategory(Named, frozen=True, kw_only=True):
    """A kind of rider (GTFS rider_categories)."""

    default: Annotated[bool, Meta(description="True at exactly one.")] = False


class Tariff(Record, frozen=True, kw_only=True):
    """One price list, from one service day on."""

    tariff: Annotated[Id, Meta(description="Its name, the same in all files of a folder.")]
    effective_from: Annotated[
        date, Meta(description="The service day from whose start it is in force.")
    ]
    reference: Annotated[str, Meta(description="The official notice that it is taken from.")]
    timezone: Annotated[str, Meta(description="IANA name, such as Asia/Shanghai.")]
    service_day_starts: Annotated[
        TimeOfDay,
        Meta(
            description="Local time; what happens before it belongs to the day before. Where "
            "clocks skip it, the day starts as much later; where it comes twice, at the first."
        ),
    ]
    currency: Annotated[CurrencyCode, Meta(description="ISO 4217 code; it sets the decimals.")]

    rider_categories: Annotated[
        tuple[RiderCategory, ...], Meta(min_length=1, description="Kinds of rider.")
    ]
    fare_media: Annotated[
        tuple[Named, ...], Meta(min_length=1, description="Kinds of card, phone or ticket.")
    ]
    networks: Annotated[
        tuple[Network, ...], Meta(min_length=1, description="How each network is tapped.")
    ]
    fare_products: Annotated[
        tuple[FareProduct, ...], Meta(min_length=1, description="What is sold.")
    ]
    fare_leg_rules: Annotated[
        tuple[FareLegRule, ...], Meta(min_length=1, description="Which leg needs which product.")
    ]
    incomplete_leg_rules: Annotated[
        tuple[IncompleteLegRule, ...], Meta(description="What a leg without entry or exit costs.")
    ] = ()
    surcharges: Annotated[tuple[Surcharge, ...], Meta(description="What costs extra.")] = ()
    concessions: Annotated[tuple[Concession, ...], Meta(description="Who pays less.")] = ()
    fare_leg_join_rules: Annotated[
        tuple[FareLegJoinRule, ...], Meta(description="Legs that are priced as one.")
    ] = ()
    fare_transfer_rules: Annotated[
        tuple[FareTransferRule, ...], Meta(description="What a change of vehicles takes off.")
    ] = ()
    fare_tiers: Annotated[
        tuple[FareTier, ...], Meta(description="Rates by what was spent or ridden before.")
    ] = ()
    fare_caps: Annotated[
        tuple[FareCap, ...], Meta(description="Limits in a period, in the order they act.")
    ] = ()
    promotions: Annotated[tuple[Promotion, ...], Meta(description="What sponsors pay.")] = ()
    subsidies: Annotated[
        tuple[Subsidy, ...], Meta(description="What is given back after a period.")
    ] = ()
    disruptions: Annotated[
        tuple[Disruption, ...], Meta(description="Declared hours of trouble.")
    ] = ()
    purses: Annotated[
        tuple[PurseRule, ...], Meta(description="What money bound to a purpose may pay for.")
    ] = ()

    carriage_classes: Annotated[tuple[Named, ...], Meta(description="Classes of carriage.")] = (
        Named(id="ordinary"),
    )
    operators: Annotated[tuple[Named, ...], Meta(description="Those that a rule names.")] = ()
    issuers: Annotated[
        tuple[Named, ...],
        Meta(description="Operating institutions of wallets that rules name."),
    ] = ()
    sponsors: Annotated[
        tuple[Named, ...],
        Meta(description="Who bears what a rule takes off. Thirteen at most can share one ride."),
    ] = ()
    zones: Annotated[
        tuple[ZoneId, ...], Meta(description="All zones in their order, from the centre out.")
    ] = ()
    stops: Annotated[
        CsvName | tuple[Stop, ...],
        Meta(
            description="A list, or a CSV with the columns stop_id and any of stop_name, zones and "
            "areas (several are parted by spaces)."
        ),
    ] = ()
    areas: Annotated[tuple[Area, ...], Meta(description="Groups of stops.")] = ()
    timeframes: Annotated[tuple[Timeframe, ...], Meta(description="Named hours.")] = ()
    holidays: Annotated[
        HolidayCalendar | None, Meta(description="Which days are public holidays.")
    ] = None

    order: Annotated[
        tuple[Step, ...],
        Meta(description="The order in which the steps act on a fare; each of the five once."),
    ] = STEPS
    purse_order: Annotated[
        tuple[SpentBy, ...],
        Meta(
            description="Of several purses that may pay, which is spent first. expiry: what "
            "expires first. restriction: what has the most conditions. kind: red_envelope, coupon, "
            "purpose_bound, prepaid. What is said first decides; the main purse is always last."
        ),
    ] = SPENT_BY
    journeys_under_way: Annotated[
        Literal["old", "new", "cheaper"],
        Meta(description="By which tariff a leg is priced that this one's start falls into."),
    ] = "old"
    never_dearer_than: Annotated[
        date | None,
        Meta(
            description="The day of an earlier file of the folder; where its full fare of a leg is "
            "lower, that is charged."
        ),
    ] = None
    late_taps_days: Annotated[
        int,
        Meta(
            ge=0,
            le=400,
            description="A tap that arrives so many days late re-prices its own time and all "
            "since; a later one waits for a person.",
        ),
    ] = 7
