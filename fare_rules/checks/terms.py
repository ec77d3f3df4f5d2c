"""Terms of networks that contradict themselves: exits at the stop of entry, time allowed."""

from collections.abc import Iterator, Sequence
from itertools import combinations

from fare_rules.checks.finding import Finding, not_rising
from fare_rules.checks.overlaps import City, city_of, holds_all
from fare_rules.faults import FaultCode
from fare_rules.language.conditions import LegConditions
from fare_rules.language.places import SameStopExit
from fare_rules.language.tariff import Tariff
from fare_rules.source import Place
from fare_rules.tables import Tables


def same_stop_exits(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """The bands of an exit at the stop of entry rise, end open, and have amounts where needed."""
    for index, network in enumerate(tariff.networks):
        if not network.same_stop_exit:
            continue
        place: Place = ("networks", index, "same_stop_exit")
        yield from _ends_of_bands(place, network.same_stop_exit)
        for at, band in enumerate(network.same_stop_exit):
            if (band.amount is not None) != (band.charge == "amount"):
                is_needed = band.charge == "amount"
                message = "charge: amount lacks its amount" if is_needed else "The amount is unused"
                remedy = "Add amount" if is_needed else "Write charge: amount, or take amount out"
                yield Finding((*place, at), FaultCode.NEEDS_ANOTHER_KEY, message, remedy)
            if band.charge == "ride" and band.cancelled_by_entry_minutes is not None:
                message = "A ride is never taken back"
                remedy = "Take it out, or write another charge"
                here = (*place, at, "cancelled_by_entry_minutes")
                yield Finding(here, FaultCode.NEVER_ACTS, message, remedy)
            if band.cancelled_at == "any_stop" and band.cancelled_by_entry_minutes is None:
                message = "cancelled_at needs the time in which one must enter again"
                remedy = "Add cancelled_by_entry_minutes"
                here = (*place, at, "cancelled_at")
                yield Finding(here, FaultCode.NEEDS_ANOTHER_KEY, message, remedy)


def _ends_of_bands(place: Place, bands: Sequence[SameStopExit]) -> Iterator[Finding]:
    # A band for some riders stands before what is for all the others.
    for_all = [band for band in bands if not _has_conditions(band)]
    *parts, last = [band.up_to_minutes for band in for_all] or [0]
    if last is not None and len(for_all) < len(bands):
        until = f" after {last} minutes" if for_all else ""
        message = f"An exit that fits no band's conditions has no band{until}"
        remedy = "Add a last band without up_to_minutes and without conditions"
        yield Finding(place, FaultCode.BANDS_NOT_CLOSED, message, remedy)
    elif last is not None or None in parts:
        message = "Every band but the last needs an end, and the last has none"
        remedy = "Write up_to_minutes at all bands but the last"
        yield Finding(place, FaultCode.BANDS_NOT_CLOSED, message, remedy)
    remedy = "Order the bands from short to long"
    yield from not_rising(place, "up_to_minutes", parts, remedy)


def _has_conditions(band: SameStopExit) -> bool:
    return any(getattr(band, key) for key in LegConditions.__struct_fields__)


def covered_bands(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """No band of an exit at the stop of entry is for what an earlier one is for."""
    city = city_of(tariff, tables)
    for index, network in enumerate(tariff.networks):
        for (_, earlier), (at, band) in combinations(enumerate(network.same_stop_exit), 2):
            # Bands for all riders are compared by their ends alone.
            if _has_conditions(band) and _covers(earlier, band, city):
                message = "An earlier band is for every exit that this one is for"
                remedy = "Put the narrower band first"
                place = ("networks", index, "same_stop_exit", at)
                yield Finding(place, FaultCode.NEVER_ACTS, message, remedy)


def _covers(earlier: SameStopExit, band: SameStopExit, city: City) -> bool:
    end = earlier.up_to_minutes
    lasts = end is None or (band.up_to_minutes is not None and band.up_to_minutes <= end)
    return lasts and holds_all(earlier, band, city)


def times_allowed(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Times by fare rise, and each longer time has hours of its own."""
    for index, network in enumerate(tariff.networks):
        time = network.journey_time
        if time is None:
            continue
        place: Place = ("networks", index, "journey_time")
        fares = [each.up_to for each in time.by_fare]
        remedy = "Order the fares from low to high; the first that reaches a fare counts"
        yield from not_rising((*place, "by_fare"), "up_to", fares, remedy)
        taken: set[str] = set()
        for at, longer in enumerate(time.longer):
            if taken.issuperset(longer.timeframes):
                message = "An earlier one is for all of these timeframes"
                here = (*place, "longer", at)
                yield Finding(here, FaultCode.NEVER_ACTS, message, "Name other timeframes")
            taken.update(longer.timeframes)


def never_out(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """What is said of exits is said where there are some."""
    for index, network in enumerate(tariff.networks):
        for key in ("same_stop_exit", "completion", "journey_time", "hold_at_entry"):
            if network.taps == "board" and getattr(network, key):
                message = f"Nobody taps out of '{network.id}'"
                remedy = "Take it out, or write taps: board_alight"
                yield Finding(("networks", index, key), FaultCode.NEVER_ACTS, message, remedy)


CHECKS = (same_stop_exits, times_allowed, never_out)
COMPARISONS = (covered_bands,)
