"""What products of ours cost between areas, where a table can say it; GTFS has nothing else."""

from itertools import product as pairs_of

from fare_rules.base_fare import formula_fen, zone_count_fen
from fare_rules.language.places import Network
from fare_rules.language.products import (
    BestOf,
    FareProduct,
    Flat,
    Formula,
    Matrix,
    ZoneCount,
    ZoneFares,
)
from fare_rules.language.tariff import Tariff
from fare_rules.tables import Tables

# From one area to another; two empty names are anywhere.
Pair = tuple[str, str]
Grid = dict[Pair, int]
ANYWHERE: Pair = ("", "")
PREFIXES = {"areas": "", "zones": "zone_", "stops": "stop_"}
_PAIRS_MAX = 200_000


class NotInGtfs(Exception):
    """What GTFS has no words for, and why."""


def grid_of(product: FareProduct, tariff: Tariff, tables: Tables) -> Grid:
    """List what a product costs from each area to each other.

    Raises: NotInGtfs when the fare is by anything but areas.
    """
    if product.gate_may_name_fare:
        raise NotInGtfs("a full fare that the gate names (gate_may_name_fare)")
    pricing = product.pricing
    match pricing:
        case Flat():
            return {ANYWHERE: int(pricing.amount)}
        case Matrix():
            return _of_matrix(pricing, tables)
        case ZoneFares():
            return _of_zones(pricing, [str(zone) for zone in tariff.zones])
        case ZoneCount():
            if any(map(_has_links, tariff.networks)):
                raise NotInGtfs("a fare by the zones along the links (zone_count)")
            return _of_zone_count(pricing, [str(zone) for zone in tariff.zones])
        case Formula():
            base = grid_of(_named(pricing.of_product, tariff), tariff, tables)
            return {pair: formula_fen(pricing, fare) for pair, fare in base.items()}
        case BestOf():
            return _best_of(pricing, tariff, tables)
    kind = pricing.__struct_config__.tag
    raise NotInGtfs(f"a fare by anything but places ({kind})")


def zones_of_areas(tariff: Tariff, tables: Tables) -> dict[str, str]:
    """Find the zone, as an area, of each area and stop that lies in one zone as a whole."""
    stops_of = {area.id: set(area.stops) for area in tariff.areas}
    zones_of = {stop.id: stop.zones for stop in tables.stops}
    for stop in tables.stops:
        stops_of[PREFIXES["stops"] + stop.id] = {stop.id}
        for area in stop.areas:
            stops_of.setdefault(area, set()).add(stop.id)
    found: dict[str, str] = {}
    for area, stops in stops_of.items():
        zones = {zones_of.get(stop, ()) for stop in stops}
        if len(zones) == 1 and len(of_all := next(iter(zones))) == 1:
            found[area] = PREFIXES["zones"] + of_all[0]
    return found


def fare_of(grid: Grid, pair: Pair, zones: dict[str, str]) -> int | None:
    """Look a pair up, by the zones its areas lie in where the table is by zones."""
    one, other = pair
    for start in (one, zones.get(one, one)):
        for end in (other, zones.get(other, other)):
            if (start, end) in grid:
                return grid[start, end]
    return grid.get(ANYWHERE)


def _has_links(network: Network) -> bool:
    return network.links is not None


def _named(product_id: str, tariff: Tariff) -> FareProduct:
    return next(each for each in tariff.fare_products if each.id == product_id)


def _of_matrix(pricing: Matrix, tables: Tables) -> Grid:
    fares = tables.matrices[pricing.table][pricing.column]
    if len(fares) > _PAIRS_MAX:
        raise NotInGtfs(f"a table of more than {_PAIRS_MAX} pairs")
    prefix = PREFIXES[pricing.by]
    grid = {(prefix + one, prefix + other): int(fare) for (one, other), fare in fares.items()}
    if pricing.both_ways:
        for (one, other), fare in list(grid.items()):
            grid.setdefault((other, one), fare)
    return grid


def _of_zones(pricing: ZoneFares, zones: list[str]) -> Grid:
    runs: list[tuple[int, int, int]] = []
    for fare in pricing.fares:
        first, last = sorted(zones.index(end) for end in fare.zones.ends)
        runs.append((first, last, int(fare.amount)))
    grid: Grid = {}
    for one, other in pairs_of(range(len(zones)), repeat=2):
        low, high = min(one, other), max(one, other)
        holding = [run for run in runs if run[0] <= low and high <= run[1]]
        if holding:
            narrowest = min(holding, key=lambda run: run[1] - run[0])
            grid[_zone_pair(zones[one], zones[other])] = narrowest[2]
    return grid


def _of_zone_count(pricing: ZoneCount, zones: list[str]) -> Grid:
    grid: Grid = {}
    for one, other in pairs_of(range(len(zones)), repeat=2):
        count = abs(one - other) + 1
        grid[_zone_pair(zones[one], zones[other])] = zone_count_fen(pricing, count)
    return grid


def _zone_pair(one: str, other: str) -> Pair:
    return PREFIXES["zones"] + one, PREFIXES["zones"] + other


def _best_of(pricing: BestOf, tariff: Tariff, tables: Tables) -> Grid:
    grids = [grid_of(_named(each, tariff), tariff, tables) for each in pricing.of_products]
    keyed = [set(grid) for grid in grids if ANYWHERE not in grid]
    if any(keys != keyed[0] for keys in keyed):
        raise NotInGtfs("a comparison of tables with different pairs (best_of)")
    found: Grid = {}
    for pair in sorted(keyed[0]) if keyed else [ANYWHERE]:
        fares = [grid[pair] if pair in grid else grid[ANYWHERE] for grid in grids]
        match pricing.take:
            case "lowest":
                found[pair] = min(fares)
            case "highest":
                found[pair] = max(fares)
            case "sum":
                found[pair] = sum(fares)
    return found
