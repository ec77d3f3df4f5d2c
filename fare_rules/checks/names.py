"""Ids that are taken twice, and names that lead nowhere."""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from fare_rules.checks.finding import ON_LINES, Finding, Said, everything
from fare_rules.faults import FaultCode
from fare_rules.language.conditions import LegConditions
from fare_rules.language.products import Matrix
from fare_rules.language.scalars import Zones
from fare_rules.language.tariff import Tariff
from fare_rules.shape import remedy_for_name
from fare_rules.source import Place
from fare_rules.tables import Tables

_SECTIONS = (
    "rider_categories",
    "fare_media",
    "carriage_classes",
    "operators",
    "issuers",
    "sponsors",
    "networks",
    "areas",
    "timeframes",
    "fare_leg_rules",
    "purses",
)
# The section that a key names records of.
_NAMED_IN = {
    "through": "fare_products",
    "networks": "networks",
    "operators": "operators",
    "carriage_classes": "carriage_classes",
    "rider_categories": "rider_categories",
    "fare_media": "fare_media",
    "no_minimum_balance": "fare_media",
    "issuers": "issuers",
    "borne_by": "sponsors",
    "product": "fare_products",
    "products": "fare_products",
    "of_product": "fare_products",
    "of_products": "fare_products",
    "timeframes": "timeframes",
    "from_timeframes": "timeframes",
    "to_timeframes": "timeframes",
}
_AREAS = ("from_areas", "to_areas", "areas")
_STOPS = (
    "from_stops",
    "to_stops",
    "between_stops",
    "via_stops",
    "stops",
    "between",
    "from_stop",
    "to_stop",
)


def duplicate_ids(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """No id is taken twice in its section, nor among all that a quote line can name."""
    on_lines = {
        f"{network.id}_{line}"
        for network in tariff.networks
        for line in ("same_stop", "completion")
    }
    for section in (*_SECTIONS, *ON_LINES):
        taken = on_lines if section in ON_LINES else set()
        records = getattr(tariff, section)
        yield from _taken([((section, i, "id"), each.id) for i, each in enumerate(records)], taken)
    zones = [(("zones", index), str(zone)) for index, zone in enumerate(tariff.zones)]
    yield from _taken(zones, set())
    if not isinstance(tariff.stops, str):
        stops = [(("stops", index, "id"), stop.id) for index, stop in enumerate(tariff.stops)]
        yield from _taken(stops, set())


def _taken(ids: Iterable[tuple[Any, str]], taken: set[str]) -> Iterator[Finding]:
    for place, name in ids:
        if name in taken:
            message = f"The id '{name}' is already taken"
            yield Finding(place, FaultCode.DUPLICATE_ID, message, "Choose another id")
        taken.add(name)


def unknown_names(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Whatever a key names is in the file, or in its tables."""
    known = {target: {each.id for each in getattr(tariff, target)} for target in _targets()}
    listed = {area.id for area in tariff.areas}
    areas = listed | {area for stop in tables.stops for area in stop.areas}
    stops_of = cache(lambda networks: known_stops(tariff, tables, networks))
    for said in everything(tariff):
        # A section itself is not the name of something in it.
        if len(said.place) == 1 or not said.value:
            continue
        if said.key in _NAMED_IN:
            target = _NAMED_IN[said.key]
            yield from _unknown(said, known[target], f"is not in {target}")
        elif said.key in _AREAS:
            # Stops may make areas of their own, unless the file lists them.
            allowed = listed if said.key == "areas" and listed else areas
            yield from _unknown(said, allowed, "is not in areas")
        elif said.key in _STOPS:
            stops = stops_of(_networks_of(said))
            if stops is not None:
                yield from _unknown(said, stops, "is not a stop of this tariff")


def _targets() -> set[str]:
    return set(_NAMED_IN.values())


def _networks_of(said: Said) -> tuple[str, ...]:
    return said.record.networks if isinstance(said.record, LegConditions) else ()


def _unknown(said: Said, known: Iterable[str], what: str) -> Iterator[Finding]:
    is_one = isinstance(said.value, str)
    for index, name in enumerate([said.value] if is_one else said.value):
        if name not in known:
            place = said.place if is_one else (*said.place, index)
            message = f"'{name}' {what}"
            yield Finding(place, FaultCode.UNKNOWN_NAME, message, remedy_for_name(name, known))


def known_stops(
    tariff: Tariff, tables: Tables, networks: tuple[str, ...], *, with_matrices: bool = True
) -> set[str] | None:
    """Find the stops that some networks can have; None where the tariff does not tell them all."""
    chosen = [network for network in tariff.networks if network.id in networks or not networks]
    found: set[str] = {stop.id for stop in tables.stops}
    for network in chosen:
        of_network = stops_in_tables(tables, network)
        if not of_network and not tables.stops:
            return None
        found |= of_network
    for product in tariff.fare_products if with_matrices else ():
        if isinstance(product.pricing, Matrix) and product.pricing.by == "stops":
            pairs = tables.matrices[product.pricing.table][product.pricing.column]
            found |= {stop for pair in pairs for stop in pair}
    return found


def stops_in_tables(tables: Tables, network: Any) -> set[str]:
    """Find the stops in a network's own tables."""
    pairs = [*tables.links.get(network.links, ()), *tables.distances.get(network.distances, ())]
    routes = tables.route_stops.get(network.route_stops, {}).values()
    return {stop for pair in pairs for stop in pair} | {stop for stops in routes for stop in stops}


def runs_of_zones(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Zones are in the list of zones, and runs of them lead outward in its order."""
    zones = list(map(str, tariff.zones))
    for said in everything(tariff):
        runs = said.value if isinstance(said.value, tuple) else (said.value,)
        for index, run in enumerate(runs):
            place = said.place if runs is not said.value else (*said.place, index)
            if isinstance(run, Zones):
                yield from _bad_run(place, run, zones)
    written = not isinstance(tariff.stops, str)
    for index, stop in enumerate(tables.stops):
        for at, zone in enumerate(stop.zones):
            if zone not in zones:
                place = ("stops", index, "zones", at) if written else ("stops",)
                message = f"'{zone}', where '{stop.id}' lies, is not in zones"
                remedy = remedy_for_name(zone, zones)
                yield Finding(place, FaultCode.BAD_RUN_OF_ZONES, message, remedy)


def _bad_run(place: Place, run: Zones, zones: list[str]) -> Iterator[Finding]:
    code = FaultCode.BAD_RUN_OF_ZONES
    first, last = run.ends
    unknown = [zone for zone in dict.fromkeys((first, last)) if zone not in zones]
    for zone in unknown:
        message = f"'{zone}' is not in zones"
        yield Finding(place, code, message, remedy_for_name(zone, zones))
    if not unknown and zones.index(first) > zones.index(last):
        message = f"The run '{run}' leads backward"
        yield Finding(place, code, message, f"Write {last}-{first}")
