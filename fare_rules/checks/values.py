"""Values that do not follow each other, and keys that need or exclude each other."""

from collections.abc import Iterator
from itertools import combinations
from zoneinfo import ZoneInfo

from fare_rules.checks.finding import Finding, Said, everything, not_rising
from fare_rules.faults import FaultCode
from fare_rules.language.discounts import (
    CountingApart,
    FareCap,
    PaysBands,
    PaysFormula,
    PaysPercent,
    PaysProduct,
    PercentBand,
    Promotion,
    Rolling,
    Subsidy,
    SubsidyStep,
    TierStep,
    Trailing,
)
from fare_rules.language.journeys import FareLegJoinRule
from fare_rules.language.places import Timeframe, TimeframePeriod
from fare_rules.language.products import (
    BeyondKm,
    DistanceBands,
    Formula,
    PerKm,
    StopBands,
    Surcharge,
    TimeBands,
    ZoneCount,
)
from fare_rules.language.scalars import Kilometres, Percent, RoundTo
from fare_rules.language.tariff import STEPS, Tariff
from fare_rules.money import ONE_PERCENT, WHOLE
from fare_rules.quotes import CHANGE_SPONSORS_MAX
from fare_rules.source import Place
from fare_rules.tables import Tables

_BAND_KEYS: dict[type, str] = {
    DistanceBands: "up_to_km",
    StopBands: "up_to_stops",
    TimeBands: "up_to_minutes",
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
    if len(set(tariff.purse_order)) < len(tariff.purse_order):
        message, remedy = "The order says something twice", "Say each of the three once at most"
        yield Finding(("purse_order",), FaultCode.ORDER_INCOMPLETE, message, remedy)


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
            yield from not_rising(said.place, key, ends, remedy)
            yield from not_rising(said.place, "amount", fares, remedy, equal=True)


def _percent_bands(said: Said) -> Iterator[Finding]:
    *parts, last = [band.up_to for band in said.value]
    if last is not None or None in parts:
        message = "Every band but the last needs an end, and the last has none"
        remedy = "Write up_to at all bands but the last"
        yield Finding(said.place, FaultCode.BANDS_NOT_CLOSED, message, remedy)
    remedy = "Order the bands from low to high"
    yield from not_rising(said.place, "up_to", parts, remedy)


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
            yield from not_rising(place, _TIER_KEYS[key], starts, remedy)


def subsidy_steps(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """The steps of a subsidy rise."""
    for index, subsidy in enumerate(tariff.subsidies):
        place: Place = ("subsidies", index, "steps")
        rides = [step.after_rides for step in subsidy.steps]
        remedy = "Order the steps from few rides to many; the last one reached counts"
        yield from not_rising(place, "after_rides", rides, remedy)


def surcharges(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """The keys of a surcharge go together."""
    for index, rule in enumerate(tariff.surcharges):
        for key, code, message, remedy in _surcharge(rule):
            yield Finding(("surcharges", index, key), code, message, remedy)


def _surcharge(rule: Surcharge) -> Iterator[tuple[str, FaultCode, str, str]]:
    needs, never = FaultCode.NEEDS_ANOTHER_KEY, FaultCode.NEVER_ACTS
    if rule.every_minutes is not None and not rule.over_time:
        message, remedy = "every_minutes counts the time over", "Add over_time: true"
        yield "every_minutes", needs, message, remedy
    if rule.with_concessions and not rule.in_caps:
        message = "What is added after all steps is after concessions, too"
        yield "with_concessions", never, message, "Take one of the two keys out"
    elif rule.with_concessions and rule.over_time:
        message = "What is due for time over is added after concessions"
        yield "with_concessions", never, message, "Take it out"
    if rule.add_km is not None and rule.over_time:
        message = "A distance is added to the fare, which does not depend on the time over"
        yield "add_km", never, message, "Write amount or percent"
    if rule.maximum is not None and rule.add_km is not None:
        message = "A distance that is added has no most"
        yield "maximum", never, message, "Write the maximum at the product, or take it out"
    if rule.maximum is not None and rule.amount is not None and rule.maximum < rule.amount:
        message = "The maximum is less than the amount"
        remedy = "Write a maximum that is not below the amount"
        yield "maximum", FaultCode.BANDS_NOT_RISING, message, remedy


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


def periods(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """A rolling period has a length, told in one way; what is given back waits for an end."""
    for index, subsidy in enumerate(tariff.subsidies):
        if isinstance(subsidy.period, Trailing):
            message = "A period that trails behind each ride never ends, and nothing is given back"
            remedy = "Write a week, a month or a rolling period"
            yield Finding(("subsidies", index, "period"), FaultCode.NEVER_ACTS, message, remedy)
    for said in everything(tariff):
        period = said.value
        if isinstance(period, Rolling):
            has_time = bool(period.days or period.minutes)
            if has_time == bool(period.service_days):
                both = "two lengths" if has_time else "no length"
                message = f"The rolling period has {both}"
                remedy = "Write days and minutes, or service_days"
                yield Finding(said.place, FaultCode.NOT_EXACTLY_ONE, message, remedy)


def counted_apart(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Where legs are counted by their two stops, somebody taps out."""
    for section in ("fare_tiers", "subsidies"):
        rules: tuple[CountingApart, ...] = getattr(tariff, section)
        for index, rule in enumerate(rules):
            fitting = [n for n in tariff.networks if not rule.networks or n.id in rule.networks]
            if rule.for_each == "stops" and all(each.taps == "board" for each in fitting):
                message = "Nobody taps out of its networks, so two stops are never known"
                remedy = "Write for_each: route, or name a network where riders tap out"
                yield Finding((section, index, "for_each"), FaultCode.NEVER_ACTS, message, remedy)


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
        kinds = (PaysPercent, PercentBand, TierStep, Subsidy, SubsidyStep)
        is_share = isinstance(said.value, Percent) and isinstance(said.record, kinds)
        if is_share and said.value > WHOLE:
            message = "This is more than the whole"
            remedy = "Write 100 or less; what costs extra is a surcharge"
            yield Finding(said.place, FaultCode.OVER_THE_FARE, message, remedy)


def percent_as_fraction(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Who writes 0.6 means 60 percent; nobody sells a ride for less than a hundredth of it."""
    kinds = (PaysPercent, PercentBand, PaysFormula, PaysProduct, TierStep, Formula)
    for said in everything(tariff):
        is_share = isinstance(said.value, Percent) and isinstance(said.record, kinds)
        if is_share and 0 < said.value < ONE_PERCENT:
            message = "This is less than one percent of the fare"
            remedy = "Write 60 for 60 percent; who pays nothing, 0"
            yield Finding(said.place, FaultCode.PERCENT_AS_FRACTION, message, remedy)


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


def sponsors_of_one_change(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """All who may pay for one leg fit into one entry of the ledger.

    Any number of rules may act on a leg, but one promotion at most; where a late tap puts another
    in its place, both are in the change.
    """
    others = {
        *(rule.borne_by for rule in tariff.concessions),
        *(rule.borne_by for rule in tariff.fare_transfer_rules),
        *(rule.borne_by for rule in tariff.fare_tiers),
        *(rule.borne_by for rule in tariff.fare_caps),
    } - {None}
    of_promotions = {rule.borne_by for rule in tariff.promotions} - {None} - others
    count = len(others) + min(len(of_promotions), 2)
    if count > CHANGE_SPONSORS_MAX:
        message = f"A ride may need {count} sponsors, {CHANGE_SPONSORS_MAX} at most can share it"
        remedy = "Let fewer sponsors bear concessions, transfers, tiers and caps"
        yield Finding(("sponsors",), FaultCode.OUT_OF_RANGE, message, remedy)


def uses(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """A limit of uses is not above another that is always reached before it."""
    for index, rule in enumerate(tariff.promotions):
        of_coupon = rule.coupon.uses if rule.coupon else None
        for keys, count in (
            (("coupon", "uses"), of_coupon),
            (("uses_per_day",), rule.uses_per_day),
        ):
            if count is not None and rule.uses_max is not None and count > rule.uses_max:
                message = f"A rider has {rule.uses_max} uses in the whole campaign, never {count}"
                remedy = "Write a higher uses_max, or take one of the two out"
                place = ("promotions", index, *keys)
                yield Finding(place, FaultCode.NEVER_ACTS, message, remedy)


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
        if frame.first_day and frame.last_day and frame.first_day > frame.last_day:
            message = f"The last day, {frame.last_day}, is before the first, {frame.first_day}"
            code = FaultCode.ENDS_BEFORE_IT_BEGINS
            yield Finding((*place, "last_day"), code, message, "Write a later day")
        yield from _hours(place, frame, tariff.service_day_starts)


def _hours(place: Place, frame: Timeframe, day_starts: str) -> Iterator[Finding]:
    day_ends = f"{int(day_starts[:2]) + 24}{day_starts[2:]}"
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
        elif frame.day == "service" and (period.start < day_starts or period.end > day_ends):
            message = (
                f"The service day is from {day_starts} to {day_ends}, "
                f"not from {period.start} to {period.end}"
            )
            remedy = "Write start and end within it; both, for the whole of it"
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
    if calendar is None:
        return
    for at, day in enumerate(calendar.never):
        if day in calendar.also:
            message, remedy = (
                f"{day} is a holiday, since it is in also",
                "Name it in one of the two",
            )
            yield Finding(("holidays", "never", at), FaultCode.NEVER_ACTS, message, remedy)
    if calendar.country is None and calendar.subdivision is None:
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
    exactly_one,
    subsidy_steps,
    surcharges,
    periods,
    counted_apart,
    nothing_to_divide_by,
    over_the_fare,
    percent_as_fraction,
    least_and_most,
    sponsors,
    sponsors_of_one_change,
    uses,
    campaigns,
    timeframes,
    holidays,
)
