"""Rules for changes of vehicles, transfers and joins, that contradict themselves."""

from collections.abc import Iterator
from typing import Any

from fare_rules.checks.finding import Finding, not_rising
from fare_rules.checks.overlaps import city_of, holds_all
from fare_rules.faults import FaultCode
from fare_rules.language.discounts import PaysDifference
from fare_rules.language.journeys import FareLegJoinRule
from fare_rules.language.tariff import Tariff
from fare_rules.source import Place
from fare_rules.tables import Tables

_TRANSFERS = "fare_transfer_rules"
_SECTIONS = (_TRANSFERS, "fare_leg_join_rules")


def never_back(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Where a rule asks how far back a leg leads, riders tap out."""
    board_only = {network.id for network in tariff.networks if network.taps == "board"}
    for section in _SECTIONS:
        for index, rule in enumerate(getattr(tariff, section)):
            networks = set(rule.to.networks) or {network.id for network in tariff.networks}
            if rule.not_back and networks & board_only:
                names = ", ".join(sorted(networks & board_only))
                message = f"Nobody taps out of {names}, so not_back never holds there"
                instead = "Write no_route_twice, or l" if section == _TRANSFERS else "L"
                remedy = f"{instead}eave the network out of `to`"
                yield Finding((section, index), FaultCode.NEEDS_ANOTHER_KEY, message, remedy)


def transfer_windows(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """A rule that says whose chain it asks for the first leg of asks for a first leg."""
    for index, rule in enumerate(tariff.fare_transfer_rules):
        if rule.chain == "own" and not rule.window_from.startswith("first"):
            message = f"chain is where the first leg is, but the window is from {rule.window_from}"
            remedy = "Write window_from: first_boarding or first_last_tap, or take chain out"
            place = ("fare_transfer_rules", index, "chain")
            yield Finding(place, FaultCode.NEEDS_ANOTHER_KEY, message, remedy)


def companions_credit(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """What was paid in a chain is known of the card's holder alone."""
    for index, rule in enumerate(tariff.fare_transfer_rules):
        if rule.for_companions and isinstance(rule.pays, PaysDifference):
            message = "What companions have paid is not known, so they get no difference"
            remedy = "Take for_companions out, or write another pays"
            place = (_TRANSFERS, index, "for_companions")
            yield Finding(place, FaultCode.NEVER_ACTS, message, remedy)


def changes_left_out(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """A transfer rule is for some change that it does not leave out."""
    city = city_of(tariff, tables)
    for index, rule in enumerate(tariff.fare_transfer_rules):
        place: Place = ("fare_transfer_rules", index)
        before, after = set(rule.from_.networks), set(rule.to.networks)
        if rule.different_network and len(before) == 1 and before == after:
            message = f"from and to are {before.pop()} only, which does not differ from itself"
            remedy = "Take different_network out, or name other networks"
            yield Finding((*place, "different_network"), FaultCode.NEVER_ACTS, message, remedy)
        for at, change in enumerate(rule.except_):
            if holds_all(change.from_, rule.from_, city) and holds_all(change.to, rule.to, city):
                message = f"This leaves out every change that '{rule.id}' is for"
                remedy = "Name fewer changes, or take the rule out"
                yield Finding((*place, "except", at), FaultCode.NEVER_ACTS, message, remedy)


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
        if rule.same_stop and rule.different_stop:
            message = "No stop is the same and a different one"
            remedy = "Write same_stop or different_stop"
            yield Finding(place, FaultCode.NOT_EXACTLY_ONE, message, remedy)
        yield from _pairs(rule, place)


def _pairs(rule: FareLegJoinRule, place: Place) -> Iterator[Finding]:
    seen: set[tuple[str, str]] = set()
    for at, pair in enumerate(rule.pairs):
        ends = (pair.from_stop, pair.to_stop)
        message = ""
        if ends in seen:
            message = f"From '{ends[0]}' to '{ends[1]}' is said above; the first counts"
        elif rule.different_stop and ends[0] == ends[1]:
            message = "With different_stop, nobody enters at the stop just left"
        if message:
            here = (*place, "pairs", at)
            yield Finding(here, FaultCode.NEVER_ACTS, message, "Take the pair out")
        seen.add(ends)


def never_joined(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """A join rule joins legs, and each of its keys does something."""
    for index, rule in enumerate(tariff.fare_leg_join_rules):
        for key, code, message, remedy in _contradictions(rule):
            yield Finding(("fare_leg_join_rules", index, key), code, message, remedy)


def _contradictions(rule: FareLegJoinRule) -> Iterator[tuple[str, FaultCode, str, str]]:
    never, needs = FaultCode.NEVER_ACTS, FaultCode.NEEDS_ANOTHER_KEY
    minutes: list[Any] = [rule.window_minutes, *(pair.minutes for pair in rule.pairs)]
    if not any(minutes):
        message = "There is no time for the change"
        yield "id", needs, message, "Add window_minutes"
    if rule.legs_max == 1:
        message = "A journey of one leg joins none"
        yield "legs_max", never, message, "Write 2 or more, or take the rule out"
    if rule.price_as == "sum" and rule.distance == "direct":
        message = "With price_as: sum, each leg is priced for its own way"
        yield "distance", never, message, "Take distance out, or write another price_as"
    if rule.journey_minutes_by_zones and rule.journey_minutes_max is not None:
        message = "The time of the journey is said twice"
        yield "journey_minutes_max", FaultCode.NOT_EXACTLY_ONE, message, "Take one of the two out"
    if rule.at_most_alone and rule.leg_by_leg:
        message = "With leg_by_leg, a leg adds what it costs itself; at_most_alone does nothing"
        yield "at_most_alone", never, message, "Take one of the two out"


def times_by_zones(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Times by zones rise, and the stops have zones."""
    for index, rule in enumerate(tariff.fare_leg_join_rules):
        bands = rule.journey_minutes_by_zones
        place: Place = ("fare_leg_join_rules", index, "journey_minutes_by_zones")
        remedy = "Order them from few zones to many; a longer way never has less time"
        yield from not_rising(place, "up_to_zones", [band.up_to_zones for band in bands], remedy)
        minutes = [band.minutes for band in bands]
        yield from not_rising(place, "minutes", minutes, remedy, equal=True)
        if bands and not any(stop.zones for stop in tables.stops):
            message, remedy = "No stop has a zone", "Write zones at the stops"
            yield Finding(place, FaultCode.NEVER_ACTS, message, remedy)


CHECKS = (never_back, transfer_windows, companions_credit, join_places, never_joined)
LOOK_UPS = (times_by_zones,)
COMPARISONS = (changes_left_out,)
