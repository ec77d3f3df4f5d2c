"""What of a tariff GTFS has no words for: rules that are left out, and keys of the others."""

from collections.abc import Container, Iterator

import msgspec
from msgspec import Struct

from fare_rules.gtfs.text import default_of
from fare_rules.language.conditions import LegConditions, Named, Rule
from fare_rules.language.discounts import Concession, FareTransferRule
from fare_rules.language.journeys import FareLegJoinRule, StopPair
from fare_rules.language.places import Area, HolidayCalendar, Network, Timeframe
from fare_rules.language.products import FareLegRule, FareProduct, Surcharge
from fare_rules.language.tariff import STEPS, RiderCategory, Tariff

# Sections of which GTFS has nothing, and what to call it.
_SECTIONS = {
    "incomplete_leg_rules": "what a missing tap costs",
    "fare_tiers": "rates by what was spent or ridden before",
    "fare_caps": "limits in a period",
    "promotions": "promotions and passes of sponsors",
    "subsidies": "money given back after a period",
    "disruptions": "hours of trouble",
    "purses": "what money bound to a purpose may pay for",
}
# Sections that are written, and whose own keys may be lacking.
_WRITTEN = (
    *("networks", "areas", "timeframes", "rider_categories", "fare_media"),
    *("fare_products", "fare_leg_rules"),
)
_NAMED = ("id", "name", "reference")
# The keys of each record that the export looks at: it writes them, needs them to find prices, or
# has a remark of its own. Whatever else is said is named in the remarks, so that no key is dropped
# in silence; a new key belongs here once it is written.
_LOOKED_AT: dict[type[Struct], tuple[str, ...]] = {
    Tariff: (
        *("tariff", "effective_from", "timezone", "service_day_starts", "currency"),
        *("rider_categories", "fare_media", "networks", "areas", "stops", "zones"),
        *("fare_products", "fare_leg_rules", "surcharges", "concessions"),
        *("fare_transfer_rules", "fare_leg_join_rules", "timeframes", "holidays"),
        *(
            "carriage_classes",
            "operators",
            "issuers",
            "sponsors",
            *_SECTIONS,
            "order",
            "purse_order",
        ),
    ),
    RiderCategory: ("default",),
    Named: (),
    Area: ("stops",),
    HolidayCalendar: ("country", "subdivision", "also", "never", "workdays"),
    Timeframe: ("periods", "holidays", "first_day", "last_day", "day"),
    Network: ("taps", "links", "distances", "route_stops"),
    FareProduct: ("pricing", "gate_may_name_fare"),
    FareLegRule: (*LegConditions.__struct_fields__, "product", "priority"),
    Surcharge: (
        *Rule.__struct_fields__,
        *("amount", "percent", "add_km", "over_time", "maximum", "with_concessions"),
    ),
    Concession: (*Rule.__struct_fields__, "pays", "layer"),
    FareTransferRule: (
        *("from_", "to", "pays", "window_minutes", "window_from", "window_to"),
        *("transfers_max", "different_network", "priority"),
    ),
    FareLegJoinRule: ("from_", "to", "pairs", "between", "same_stop", "priority"),
    StopPair: ("from_stop", "to_stop"),
}


def left_out(tariff: Tariff, products: Container[str]) -> Iterator[str]:
    """Name every rule that is left out whole, and what is left out of others.

    Shape:  products are those that are written; the others have their remark already.
    """
    for section, what in _SECTIONS.items():
        for rule in getattr(tariff, section):
            yield f"{section} {rule.id}: GTFS cannot say {what}; left out"
    for section in _WRITTEN:
        for record in getattr(tariff, section):
            is_written = section != "fare_products" or record.id in products
            if is_written and (keys := unsaid(record)):
                yield f"{section} {record.id}: GTFS cannot say {', '.join(keys)}"
    for media in tariff.fare_media:
        yield f"fare_media {media.id}: Its fare_media_type is taken to be 2, a transit card"
    if tariff.holidays and (keys := unsaid(tariff.holidays)):
        yield f"holidays: GTFS cannot say {', '.join(keys)}"
    if tariff.order != STEPS:
        yield f"order: GTFS cannot say the order of steps ({', '.join(tariff.order)})"
    for key in unsaid(tariff):
        yield f"{key}: GTFS cannot say it ({getattr(tariff, key)})"


def unsaid(record: Struct) -> list[str]:
    """List the keys of a record that are said, and that the export does not look at."""
    kinds = (kind for kind in type(record).__mro__ if kind in _LOOKED_AT)
    looked_at = (*_NAMED, *_LOOKED_AT[next(kinds)])
    return [
        field.encode_name
        for field in msgspec.structs.fields(record)
        if field.name not in looked_at and getattr(record, field.name) != default_of(field)
    ]
