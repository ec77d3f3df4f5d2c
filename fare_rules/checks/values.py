"""Values that do not follow each other, and keys that need or exclude each other."""

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from typing import Any
from zoneinfo import ZoneInfo

from fare_rules.checks.finding import Finding, Said, everything
from fare_rules.faults import FaultCode
from fare_rules.language.conditions import LegConditions
from fare_rules.language.discounts import (
    FareCap,
    PaysBands,
    PaysPercent,
    PercentBand,
    Promotion,
    Rolling,
    Subsidy,
    TierStep,
)
from fare_rules.language.journeys import FareLegJoinRule
from fare_rules.language.places import SameStopExit, Timeframe, TimeframePeriod
from fare_rules.language.products import (
    BeyondKm,
    DistanceBands,
    PerKm,
    StopBands,
    Surcharge,
    ZoneCount,
)
from fare_rules.language.scalars import Kilometres, Percent, RoundTo
from fare_rules.language.tariff import STEPS, Tariff
from fare_rules.money import WHOLE
from fare_rules.source import Place
from fare_rules.tables import Tables

_BAND_KEYS: dict[type, str] = {
    DistanceBands: "up_to_km",
    StopBands: "up_to_stops",
    ZoneCount: "up_to_zones",
}
_EXACTLY_ONE: dict[type, tuple[str, ...]] = {
    FareCap: ("amount", "by_zones", "rides"),
    Surcharge: ("amount", "percent", "add_km"),
    TierStep: ("from", "above", "after_rides"),
    Subsidy: ("percent", "steps"),
}
_TIER_KEYS = {"from_": "from", "above": "above", "after_rides": "after_rides"}


def timezone(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    try:
        ZoneInfo(tariff.timezone)
    except (KeyError, OSError, ValueError):
        message = f"'{tariff.timezone}' is not a time zone"
        remedy = "Write a name of the IANA database, such as Asia/Shanghai"
        yield Finding(("timezone",), FaultCode.UNKNOWN_TIMEZONE, message, remedy)


def default_category(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    defaults = [category.id for category in tariff.rider_categories if category.default]
    if len(defaults) != 1:
        message = f"The default rider categories are: {', '.join(defaults) or 'none'}"
        remedy = "Write default: true at exactly one"
        yield Finding(("rider_categories",), FaultCode.DEFAULT_CATEGORY, message, remedy)


def order(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    if sorted(tariff.order) != sorted(STEPS):
        message = "The order does not have each of the five steps once"
        remedy = f"Write {', '.join(STEPS)} in the order of the notice"
        yield Finding(("order",), FaultCode.ORDER_INCOMPLETE, message, remedy)


def bands(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Bands rise, in where they end and in what they cost."""
    remedy = "Order the bands from near to far; a longer ride is never cheaper"
    for said in everything(tariff):
        if said.key != "bands":
            continue
        if isinstance(said.record, PaysBands):
            yield from _percent_bands(said)
        elif type(said.record) in _BAND_KEYS:
            key = _BAND_KEYS[type(said.record)]
            ends = [getattr(band, key) for band in said.value]
            fares = [band.amount for band in said.value]
            yield from _not_rising(said.place, key, ends, remedy)
            yield from _not_rising(said.place, "amount", fares, remedy, equal=True)


def _percent_bands(said: Said) -> Iterator[Finding]:
    *parts, last = [band.up_to for band in said.value]
    if last is not None or None in parts:
        message = "Every band but the last needs an end, and the last has none"
        remedy = "Write up_to at all bands but the last"
        yield Finding(said.place, FaultCode.BANDS_NOT_CLOSED, message, remedy)
    remedy = "Order the bands from low to high"
    yield from _not_rising(said.place, "up_to", parts, remedy)


def tier_steps(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """The steps of a tier are of one sort, and rise."""
    for index, tier in enumerate(tariff.fare_tiers):
        place = ("fare_tiers", index, "steps")
        sorts = [[k for k in _TIER_KEYS if getattr(step, k) is not None] for step in tier.steps]
        used = {key for sort in sorts for key in sort}
        if len(used) > 1 and all(len(sort) == 1 for sort in sorts):
            message = (
                f"The steps are told by {' and by '.join(_TIER_KEYS[k] for k in sorted(used))}"
            )
            remedy = "Use the same key in all of them"
            yield Finding(place, FaultCode.NOT_EXACTLY_ONE, message, remedy)
        for key in sorted(used):
            starts = [getattr(step, key) for step in tier.steps]
            remedy = "Order the steps from low to high"
            yield from _not_rising(place, _TIER_KEYS[key], starts, remedy)


def same_stop_exits(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """The bands of an exit at the stop of entry rise, end open, and have amounts where needed."""
    for index, network in enumerate(tariff.networks):
        if not network.same_stop_exit:
            continue
        place: Place = ("networks", index, "same_stop_exit")
        # A band for some riders stands before what is for all the others.
        for_all = [band for band in network.same_stop_exit if not _has_conditions(band)]
        *parts, last = [band.up_to_minutes for band in for_all] or [0]
        if last is not None or None in parts:
            message = "Every band but the last needs an end, and the last has none"
            remedy = "Write up_to_minutes at all bands but the last"
            yield Finding(place, FaultCode.BANDS_NOT_CLOSED, message, remedy)
        yield from _not_rising(place, "up_to_minutes", parts, "Order the bands from short to long")
        for at, band in enumerate(network.same_stop_exit):
            if (band.amount is not None) != (band.charge == "amount"):
                is_needed = band.charge == "amount"
                message = "charge: amount lacks its amount" if is_needed else "The amount is unused"
                remedy = "Add amount" if is_needed else "Write charge: amount, or take amount out"
                yield Finding((*place, at), FaultCode.NEEDS_ANOTHER_KEY, message, remedy)


def _has_conditions(band: SameStopExit) -> bool:
    return any(getattr(band, key) for key in LegConditions.__struct_fields__)


def never_back(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Where a rule asks how far back a leg leads, riders tap out."""
    board_only = {network.id for network in tariff.networks if network.taps == "board"}
    for section in ("fare_transfer_rules", "fare_leg_join_rules"):
        for index, rule in enumerate(getattr(tariff, section)):
            networks = set(rule.to.networks) or {network.id for network in tariff.networks}
            if rule.not_back and networks & board_only:
                names = ", ".join(sorted(networks & board_only))
                message = f"Nobody taps out of {names}, so not_back never holds there"
                remedy = "Write no_route_twice, or leave the network out of `to`"
                yield Finding((section, index), FaultCode.NEEDS_ANOTHER_KEY, message, remedy)


def over_time(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """What is due for each begun part of the time over has a time over."""
    for index, rule in enumerate(tariff.surcharges):
        if rule.every_minutes is not None and not rule.over_time:
            message, remedy = "every_minutes counts the time over", "Add over_time: true"
            place = ("surcharges", index, "every_minutes")
            yield Finding(place, FaultCode.NEEDS_ANOTHER_KEY, message, remedy)


def _not_rising(
    place: Place, key: str, values: Sequence[Any], remedy: str, *, equal: bool = False
) -> Iterator[Finding]:
    said = [(index, value) for index, value in enumerate(values) if value is not None]
    for (_, lower), (index, upper) in pairwise(said):
        if upper < lower or (upper == lower and not equal):
            message = f"The {key} of this one does not follow that of the one before"
            yield Finding((*place, index, key), FaultCode.BANDS_NOT_RISING, message, remedy)


def exactly_one(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Of some keys, one is said and no more."""
    seen: set[Place] = set()
    for said in everything(tariff):
        keys = _EXACTLY_ONE.get(type(said.record))
        place = said.place[:-1]
        if keys is None or place in seen:
            continue
        seen.add(place)
        values = [getattr(said.record, "from_" if key == "from" else key) for key in keys]
        said_keys = [k for k, v in zip(keys, values, strict=True) if v is not None and v != ()]
        if len(said_keys) != 1:
            message = f"Of {', '.join(keys)}, this has {' and '.join(said_keys) or 'none'}"
            yield Finding(place, FaultCode.NOT_EXACTLY_ONE, message, "Write exactly one of them")


def join_places(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """A join rule says in one way where the legs meet."""
    for index, rule in enumerate(tariff.fare_leg_join_rules):
        place: Place = ("fare_leg_join_rules", index)
        said = [key for key in ("pairs", "between", "same_stop") if getattr(rule, key)]
        if len(said) > 1:
            message = f"Of pairs, between, same_stop, this has {' and '.join(said)}"
            remedy = "Write one of them at most"
            yield Finding(place, FaultCode.NOT_EXACTLY_ONE, message, remedy)
        if len(rule.between) == 1:
            message, remedy = "One stop has no other to go to", "Write two or more, or same_stop"
            yield Finding((*place, "between"), FaultCode.NOT_EXACTLY_ONE, message, remedy)


def periods(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """A rolling period has a length, told in one way."""
    for said in everything(tariff):
        period = said.value
        if isinstance(period, Rolling):
            has_time = bool(period.days or period.minutes)
            if has_time == bool(period.service_days):
                both = "two lengths" if has_time else "no length"
                message = f"The rolling period has {both}"
                remedy = "Write days and minutes, or service_days"
                yield Finding(said.place, FaultCode.NOT_EXACTLY_ONE, message, remedy)


def nothing_to_divide_by(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """A step, and a distance that is paid again and again, is more than zero."""
    for said in everything(tariff):
        is_step = (said.key == "step" and isinstance(said.record, RoundTo)) or (
            isinstance(said.record, BeyondKm) and isinstance(said.value, Kilometres)
        )
        if is_step and said.value == 0:
            message, remedy = f"{said.key} is zero", "Write more than zero, or take it out"
            yield Finding(said.place, FaultCode.ZERO_STEP, message, remedy)


def over_the_fare(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """What makes a fare less never makes it more."""
    for said in everything(tariff):
        kinds = (PaysPercent, PercentBand, TierStep, Subsidy)
        is_share = isinstance(said.value, Percent) and isinstance(said.record, kinds)
        if is_share and said.value > WHOLE:
            message = "This is more than the whole"
            remedy = "Write 100 or less; what costs extra is a surcharge"
            yield Finding(said.place, FaultCode.OVER_THE_FARE, message, remedy)


def least_and_most(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """The least fare is not more than the most."""
    for index, product in enumerate(tariff.fare_products):
        pricing = product.pricing
        if not isinstance(pricing, PerKm) or pricing.maximum is None:
            continue
        if pricing.minimum > pricing.maximum:
            place = ("fare_products", index, "pricing", "maximum")
            message = "The maximum is less than the minimum"
            remedy = "Write a maximum that is not below the minimum"
            yield Finding(place, FaultCode.BANDS_NOT_RISING, message, remedy)


def sponsors(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """What a sponsor pays at most needs a sponsor."""
    for index, promotion in enumerate(tariff.promotions):
        if promotion.sponsor_pays_max is not None and promotion.borne_by is None:
            message = "sponsor_pays_max needs a sponsor"
            place = ("promotions", index)
            yield Finding(place, FaultCode.NEEDS_ANOTHER_KEY, message, "Add borne_by")


def campaigns(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """What begins ends later."""
    for section in ("promotions", "fare_leg_join_rules", "disruptions"):
        rules: tuple[Promotion | FareLegJoinRule, ...] = getattr(tariff, section)
        for index, rule in enumerate(rules):
            # Both are written year first, so that they compare as text.
            if rule.begins and rule.ends and rule.begins >= rule.ends:
                message = f"The end, {rule.ends}, is not after the beginning, {rule.begins}"
                place = (section, index, "ends")
                code = FaultCode.ENDS_BEFORE_IT_BEGINS
                yield Finding(place, code, message, "Write a later moment")


def timeframes(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """The hours of a timeframe are not empty, and none is said twice."""
    for index, frame in enumerate(tariff.timeframes):
        place: Place = ("timeframes", index)
        if frame.holidays != "as_usual" and tariff.holidays is None:
            message = f"holidays: {frame.holidays} needs to know which days are holidays"
            remedy = "Add the section holidays"
            yield Finding((*place, "holidays"), FaultCode.NEEDS_ANOTHER_KEY, message, remedy)
        yield from _hours(place, frame)


def _hours(place: Place, frame: Timeframe) -> Iterator[Finding]:
    for at, period in enumerate(frame.periods):
        here = (*place, "periods", at)
        if period.start >= period.end:
            message = f"From {period.start} to {period.end} there is no minute"
            remedy = "Write two periods if it goes over midnight: to 24:00 and from 00:00"
            yield Finding(here, FaultCode.ENDS_BEFORE_IT_BEGINS, message, remedy)
        elif frame.day == "calendar" and period.end > "24:00":
            message = f"The calendar's day ends at 24:00, not at {period.end}"
            remedy = "Write day: service at the timeframe, or a second period from 00:00"
            yield Finding(here, FaultCode.NEVER_ACTS, message, remedy)
    for (_, first), (at, second) in combinations(enumerate(frame.periods), 2):
        if _periods_overlap(first, second):
            message = f"{second.start} to {second.end} overlaps {first.start} to {first.end}"
            remedy = "Say each hour once"
            here = (*place, "periods", at)
            yield Finding(here, FaultCode.TIMEFRAME_OVERLAPS, message, remedy)


def _periods_overlap(first: TimeframePeriod, second: TimeframePeriod) -> bool:
    same_day = not first.days or not second.days or not set(first.days).isdisjoint(second.days)
    return same_day and max(first.start, second.start) < min(first.end, second.end)


def holidays(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """The library knows the country, and the part of it, whose holidays are asked for."""
    calendar = tariff.holidays
    if calendar is None or (calendar.country is None and calendar.subdivision is None):
        return
    place = ("holidays", "country")
    if calendar.country is None:
        message, remedy = "A subdivision needs its country", "Add country"
        yield Finding(("holidays",), FaultCode.NEEDS_ANOTHER_KEY, message, remedy)
        return
    # Loaded only for a tariff that needs it: it takes a third of a second.
    from holidays import list_supported_countries

    known = list_supported_countries()
    if calendar.country not in known:
        message = f"The holidays of '{calendar.country}' are not known"
        remedy = "Write an ISO 3166 code such as GB, or list the days in also"
        yield Finding(place, FaultCode.UNKNOWN_HOLIDAYS, message, remedy)
    elif calendar.subdivision and calendar.subdivision not in known[calendar.country]:
        message = f"'{calendar.country}' has no part '{calendar.subdivision}' with own holidays"
        parts = ", ".join(known[calendar.country])
        remedy = f"Use one of: {parts}" if parts else "Take it out"
        place = ("holidays", "subdivision")
        yield Finding(place, FaultCode.UNKNOWN_HOLIDAYS, message, remedy)


CHECKS = (
    timezone,
    default_category,
    order,
    bands,
    tier_steps,
    same_stop_exits,
    exactly_one,
    join_places,
    never_back,
    over_time,
    periods,
    nothing_to_divide_by,
    over_the_fare,
    least_and_most,
    sponsors,
    campaigns,
    timeframes,
    holidays,
)
