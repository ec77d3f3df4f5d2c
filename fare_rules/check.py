"""What a tariff of the right shape can still get wrong: names that lead nowhere, rules that tie.

Each check looks for one kind of fault; find_faults runs them all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from fare_rules.faults import FaultCode
from fare_rules.links import Links
from fare_rules.model import DistanceBands, Multiple, PaysBands, Tariff
from fare_rules.price import UNCLOSED_LEG, UNMATCHED_EXIT
from fare_rules.shape import remedy_for_name
from fare_rules.source import Place


class Finding(NamedTuple):
    """A fault before it has a line: where in the data, what, and what to do."""

    place: Place
    code: FaultCode
    message: str
    remedy: str


# One condition of a rule: the names that it accepts.
Condition = str | tuple[str, ...] | None

_ON_LINES = ("fare_products", "concessions", "fare_transfer_rules")
_SECTIONS = (
    "rider_categories",
    "fare_media",
    "operators",
    "carriage_classes",
    "networks",
    "fare_leg_rules",
    *_ON_LINES,
)
_NAMED_IN = {
    "fare_leg_rules": {
        "product": "fare_products",
        "network": "networks",
        "operator": "operators",
        "carriage_class": "carriage_classes",
    },
    "concessions": {
        "products": "fare_products",
        "rider_categories": "rider_categories",
        "fare_media": "fare_media",
    },
    "fare_transfer_rules": {
        "from_networks": "networks",
        "to_network": "networks",
        "products": "fare_products",
        "rider_categories": "rider_categories",
        "fare_media": "fare_media",
    },
}
# The conditions by which rules of a section choose their legs; an empty one accepts any.
_CONDITIONS = {
    "fare_leg_rules": ("network", "operator", "route", "carriage_class", "from_stop", "to_stop"),
    "concessions": ("products", "rider_categories", "fare_media"),
    "fare_transfer_rules": (
        "from_networks",
        "to_network",
        "products",
        "rider_categories",
        "fare_media",
    ),
}


def find_faults(tariff: Tariff, links: Mapping[str, Links]) -> Iterator[Finding]:
    """List what is wrong with a tariff, check by check; links are those of each CSV it names."""
    for check in CHECKS:
        yield from check(tariff)
    yield from _unknown_stops(tariff, links)


def _timezone(tariff: Tariff) -> Iterator[Finding]:
    try:
        ZoneInfo(tariff.timezone)
    except (KeyError, OSError, ValueError):
        message = f"'{tariff.timezone}' is not a time zone"
        remedy = "Write a name of the IANA database, such as Asia/Shanghai"
        yield Finding(("timezone",), FaultCode.UNKNOWN_TIMEZONE, message, remedy)


def _default_category(tariff: Tariff) -> Iterator[Finding]:
    defaults = [category.id for category in tariff.rider_categories if category.default]
    if len(defaults) != 1:
        message = f"The default rider categories are: {', '.join(defaults) or 'none'}"
        remedy = "Write default: true at exactly one"
        yield Finding(("rider_categories",), FaultCode.DEFAULT_CATEGORY, message, remedy)


def _duplicate_ids(tariff: Tariff) -> Iterator[Finding]:
    # What a quote line can name shares one set of ids, as the line tells rules apart by id alone.
    on_lines = {UNCLOSED_LEG, UNMATCHED_EXIT}
    for section in _SECTIONS:
        taken = on_lines if section in _ON_LINES else set()
        for index, record in enumerate(getattr(tariff, section)):
            if record.id in taken:
                message = f"The id '{record.id}' is already taken"
                remedy = "Choose another id"
                yield Finding((section, index, "id"), FaultCode.DUPLICATE_ID, message, remedy)
            taken.add(record.id)


def _unknown_names(tariff: Tariff) -> Iterator[Finding]:
    for section, names in _NAMED_IN.items():
        for index, rule in enumerate(getattr(tariff, section)):
            for key, target in names.items():
                yield from _unknown(getattr(rule, key), (section, index, key), target, tariff)
    for index, product in enumerate(tariff.fare_products):
        if isinstance(product.pricing, Multiple):
            place = ("fare_products", index, "pricing", "of_product")
            yield from _unknown(product.pricing.of_product, place, "fare_products", tariff)


def _unknown(named: Condition, place: Place, target: str, tariff: Tariff) -> Iterator[Finding]:
    known = {record.id for record in getattr(tariff, target)}
    for index, name in enumerate(_accepted(named)):
        if name not in known:
            where = (*place, index) if isinstance(named, tuple) else place
            message = f"'{name}' is not in {target}"
            yield Finding(where, FaultCode.UNKNOWN_NAME, message, remedy_for_name(name, known))


def _multiples(tariff: Tariff) -> Iterator[Finding]:
    multiples = {p.id for p in tariff.fare_products if isinstance(p.pricing, Multiple)}
    for index, product in enumerate(tariff.fare_products):
        if isinstance(product.pricing, Multiple) and product.pricing.of_product in multiples:
            place = ("fare_products", index, "pricing", "of_product")
            message = f"'{product.pricing.of_product}' is itself a multiple"
            remedy = "Name the product at the bottom, and multiply the times"
            yield Finding(place, FaultCode.MULTIPLE_OF_MULTIPLE, message, remedy)


def _bands(tariff: Tariff) -> Iterator[Finding]:
    for index, product in enumerate(tariff.fare_products):
        if isinstance(product.pricing, DistanceBands):
            place: Place = ("fare_products", index, "pricing", "bands")
            ends = [band.up_to_m for band in product.pricing.bands]
            fares = [band.amount_fen for band in product.pricing.bands]
            yield from _not_rising(place, "up_to_m", ends, at_least=1)
            yield from _not_rising(place, "amount_fen", fares, at_least=0)
    for index, concession in enumerate(tariff.concessions):
        if isinstance(concession.pays, PaysBands):
            place = ("concessions", index, "pays", "bands")
            yield from _not_closed(place, [band.up_to_fen for band in concession.pays.bands])


def _not_rising(
    place: Place, key: str, values: Sequence[int], *, at_least: int
) -> Iterator[Finding]:
    for index, (lower, upper) in enumerate(pairwise(values), start=1):
        if upper < lower + at_least:
            message = f"{upper} does not follow {lower}"
            remedy = "Order the bands from near to far; a longer ride is never cheaper"
            yield Finding((*place, index, key), FaultCode.BANDS_NOT_RISING, message, remedy)


def _not_closed(place: Place, ends: Sequence[int | None]) -> Iterator[Finding]:
    *parts, last = ends
    if last is not None or None in parts:
        message = "Every band but the last needs an end, and the last has none"
        remedy = "Write up_to_fen at all bands but the last"
        yield Finding(place, FaultCode.BANDS_NOT_CLOSED, message, remedy)
    yield from _not_rising(place, "up_to_fen", [e for e in parts if e is not None], at_least=1)


def _exit_terms(tariff: Tariff) -> Iterator[Finding]:
    for index, network in enumerate(tariff.networks):
        for key in ("journey_minutes_max", "unclosed_leg_fen", "unmatched_exit_fen"):
            if network.taps != "board" and getattr(network, key) is None:
                message = f"Riders tap out of '{network.id}', but {key} is not said"
                remedy = "Add it: taps go missing wherever there are two"
                yield Finding(("networks", index), FaultCode.NO_EXIT_TERMS, message, remedy)


def _networks_without_rule(tariff: Tariff) -> Iterator[Finding]:
    with_rule = {rule.network for rule in tariff.fare_leg_rules}
    for index, network in enumerate(tariff.networks):
        if network.id not in with_rule:
            message = f"No fare_leg_rule prices the legs of '{network.id}'"
            remedy = "Add one, or take the network out"
            yield Finding(("networks", index, "id"), FaultCode.NO_FARE_LEG_RULE, message, remedy)


def _ties(tariff: Tariff) -> Iterator[Finding]:
    for section, conditions in _CONDITIONS.items():
        for (_, first), (index, second) in combinations(enumerate(getattr(tariff, section)), 2):
            if first.priority == second.priority and _both_fit(first, second, conditions):
                message = f"'{first.id}' and '{second.id}' can fit one leg, with equal priority"
                remedy = "Give the one that must win a higher priority"
                yield Finding((section, index), FaultCode.RULES_TIE, message, remedy)


def _both_fit(first: Any, second: Any, conditions: Sequence[str]) -> bool:
    for key in conditions:
        if key == "from_networks" and first.proven and second.proven:
            continue  # The card proves that there was a ride, not where.
        one, other = _accepted(getattr(first, key)), _accepted(getattr(second, key))
        if one and other and set(one).isdisjoint(other):
            return False
    return True


def _accepted(condition: Condition) -> Sequence[str]:
    if condition is None:
        return ()
    return (condition,) if isinstance(condition, str) else condition


def _unknown_stops(tariff: Tariff, links: Mapping[str, Links]) -> Iterator[Finding]:
    stops = {
        network.id: {stop for link in links[network.links] for stop in link}
        for network in tariff.networks
        if network.links
    }
    for index, rule in enumerate(tariff.fare_leg_rules):
        known = stops.get(rule.network)
        for key in ("from_stop", "to_stop"):
            stop = getattr(rule, key)
            if known and stop and stop not in known:
                place = ("fare_leg_rules", index, key)
                message = f"'{stop}' is not a stop of the links of '{rule.network}'"
                yield Finding(place, FaultCode.UNKNOWN_NAME, message, remedy_for_name(stop, known))


CHECKS: tuple[Callable[[Tariff], Iterator[Finding]], ...] = (
    _timezone,
    _default_category,
    _duplicate_ids,
    _unknown_names,
    _multiples,
    _bands,
    _exit_terms,
    _networks_without_rule,
    _ties,
)
