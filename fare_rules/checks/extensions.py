"""Tickets for some zones, with which a ride beyond them pays only the extension."""

from collections.abc import Iterator
from itertools import takewhile

from fare_rules.checks.finding import Finding
from fare_rules.faults import FaultCode
from fare_rules.language.discounts import PaysExtension
from fare_rules.language.tariff import Tariff
from fare_rules.source import Place
from fare_rules.tables import Tables


def extensions_of_journeys(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Of legs that are joined, it is the whole way that is extended."""
    of_the_whole = [rule for rule in tariff.fare_leg_join_rules if not rule.leg_by_leg]
    is_sum = any(rule.price_as == "sum" for rule in of_the_whole)
    is_late = "promotions" not in takewhile(lambda step: step != "concessions", tariff.order)
    for place in _extensions(tariff):
        if is_sum:
            message = "Legs that are added up have no whole way whose zones could be paid"
            remedy = "Write leg_by_leg: true at the join rule, or another price_as"
            yield Finding(place, FaultCode.NEEDS_ANOTHER_KEY, message, remedy)
        elif of_the_whole and is_late and place[0] == "promotions":
            message = "The extension is of the whole way, which concessions settle for joined legs"
            remedy = "Write promotions before concessions in order"
            yield Finding(place, FaultCode.NEEDS_ANOTHER_KEY, message, remedy)


def extensions_without_zones(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Where zones are paid, stops have some."""
    if any(stop.zones for stop in tables.stops):
        return
    for place in _extensions(tariff):
        message, remedy = "No stop has a zone", "Write zones at the stops"
        yield Finding(place, FaultCode.NEVER_ACTS, message, remedy)


def _extensions(tariff: Tariff) -> Iterator[Place]:
    for section in ("concessions", "promotions"):
        for index, rule in enumerate(getattr(tariff, section)):
            if isinstance(rule.pays, PaysExtension):
                yield (section, index, "pays")


CHECKS = (extensions_of_journeys,)
LOOK_UPS = (extensions_without_zones,)
