"""Writes the Fares v2 files of a tariff, with a page of what GTFS has no words for.

The files are to be laid beside those of the operator's own feed, which has the stops and routes.
"""

from collections.abc import Iterator
from itertools import product as pairs_of
from pathlib import Path

from msgspec import Struct, field

from fare_rules.amounts import said
from fare_rules.currency import currency_digits
from fare_rules.gtfs.columns import (
    Columns,
    Combo,
    LegKind,
    areas_at,
    covers,
    unsayable,
    zones_within,
)
from fare_rules.gtfs.feed import UnusableFeed
from fare_rules.gtfs.grids import (
    ANYWHERE,
    PREFIXES,
    Grid,
    NotInGtfs,
    fare_of,
    grid_of,
    zones_of_areas,
)
from fare_rules.gtfs.leftovers import left_out, unsaid
from fare_rules.gtfs.sheets import FareSheets, transfer_rows
from fare_rules.gtfs.text import page, table
from fare_rules.gtfs.weeks import calendar_rows
from fare_rules.language.products import FareLegRule
from fare_rules.language.tariff import Tariff
from fare_rules.tables import Tables

REMARKS_FILE = "NOT_IN_GTFS.md"
_ABOUT = (
    "What the tariff says and these files do not, by section and rule. Lay the files beside those "
    "of the operator's own feed, keep its agency.txt, and give its routes these networks."
)
_HEADERS = {
    "agency": "agency_id,agency_name,agency_url,agency_timezone",
    "networks": "network_id,network_name",
    "areas": "area_id,area_name",
    "stop_areas": "area_id,stop_id",
    "calendar": "service_id,monday,tuesday,wednesday,thursday,friday,saturday,sunday,"
    "start_date,end_date",
    "calendar_dates": "service_id,date,exception_type",
    "timeframes": "timeframe_group_id,start_time,end_time,service_id",
    "rider_categories": "rider_category_id,rider_category_name,is_default_fare_category",
    "fare_media": "fare_media_id,fare_media_name,fare_media_type",
    "fare_products": "fare_product_id,fare_product_name,rider_category_id,fare_media_id,amount,"
    "currency",
    "fare_leg_rules": "leg_group_id,network_id,from_area_id,to_area_id,from_timeframe_group_id,"
    "to_timeframe_group_id,fare_product_id,rule_priority",
    "fare_leg_join_rules": "from_network_id,to_network_id,from_stop_id,to_stop_id",
    "fare_transfer_rules": "from_leg_group_id,to_leg_group_id,transfer_count,duration_limit,"
    "duration_limit_type,fare_transfer_type,fare_product_id",
}
# A transit card: our tariffs do not say what a media is made of, and GTFS must.
_MEDIA_TYPE = 2
Cells = tuple[object, ...]


class _Row(Struct):
    """A row of fare_leg_rules to be."""

    kind: LegKind
    rule: FareLegRule
    priority: int
    prices: dict[Combo, int] = field(default_factory=dict)
    products: dict[Combo, str] = field(default_factory=dict)


def export_gtfs(tariff: Tariff, tables: Tables, target: Path) -> list[str]:
    """Write the Fares v2 files of a tariff into a folder.

    Shape:  returns the remarks, which are also a page of the folder; each names section and rule.
    Raises: UnusableFeed when the folder has one of the files already, before anything is written.
    """
    names = [*(f"{name}.txt" for name in _HEADERS), REMARKS_FILE]
    if taken := [name for name in names if (target / name).exists()]:
        raise UnusableFeed(f"{name}:1: The folder has this file already" for name in taken)
    remarks: list[str] = []
    grids = _grids(tariff, tables, remarks)
    zones = zones_of_areas(tariff, tables)
    columns = Columns(tariff, grids, zones)
    rows = list(_rows(tariff, grids, zones, columns, remarks))
    digits = currency_digits(tariff.currency)
    sheets = FareSheets(tariff, digits)
    leg_rules: list[Cells] = []
    for row in rows:
        pair = (row.kind.from_area, row.kind.to_area)
        full = fare_of(grids[row.rule.product], pair, zones)
        name = row.rule.product
        if ANYWHERE not in grids[name] and full is not None:
            name = f"{name} {said(full, digits)}"
        group = sheets.leg_group(row.kind, row.rule.product, name, row.products, row.prices)
        leg_rules.append((group.id, *row.kind, group.product_id, row.priority))
    transfers = transfer_rows(tariff, sheets, remarks)
    remarks += columns.not_applied()
    remarks += left_out(tariff, grids)
    timeframes, calendar, dates = calendar_rows(tariff, remarks)
    files: dict[str, list[Cells]] = {
        "agency": [(tariff.tariff, tariff.tariff, "", tariff.timezone)],
        "networks": [(each.id, each.name) for each in tariff.networks],
        "areas": _areas(tariff, leg_rules),
        "stop_areas": list(_stop_areas(tariff, tables, leg_rules)),
        "calendar": calendar,
        "calendar_dates": dates,
        "timeframes": timeframes,
        "rider_categories": [
            (each.id, each.name, int(each.default)) for each in tariff.rider_categories
        ],
        "fare_media": [(each.id, each.name, _MEDIA_TYPE) for each in tariff.fare_media],
        "fare_products": sheets.product_rows(),
        "fare_leg_rules": leg_rules,
        "fare_leg_join_rules": _joins(tariff, remarks),
        "fare_transfer_rules": transfers,
    }
    target.mkdir(parents=True, exist_ok=True)
    for name, cells in files.items():
        if cells:
            text = table(_HEADERS[name].split(","), cells)
            (target / f"{name}.txt").write_text(text, encoding="utf-8", newline="\n")
    remarks = list(dict.fromkeys(remarks))
    text = page("Not in GTFS", _ABOUT, remarks)
    (target / REMARKS_FILE).write_text(text, encoding="utf-8", newline="\n")
    return remarks


def _grids(tariff: Tariff, tables: Tables, remarks: list[str]) -> dict[str, Grid]:
    grids: dict[str, Grid] = {}
    for product in tariff.fare_products:
        try:
            grids[product.id] = grid_of(product, tariff, tables)
        except NotInGtfs as what:
            remarks.append(f"fare_products {product.id}: GTFS cannot say {what}; left out")
    return grids


def _rows(
    tariff: Tariff,
    grids: dict[str, Grid],
    zones: dict[str, str],
    columns: Columns,
    remarks: list[str],
) -> Iterator[_Row]:
    """List the kinds of leg the rules tell apart, each with the price of every rider and media.

    GTFS chooses a row by the leg alone, so a row says what all rules that fit its legs come to, and
    has the highest of their priorities.
    """
    rows: dict[LegKind, _Row] = {}
    for rule in tariff.fare_leg_rules:
        if missing := unsayable(rule):
            remarks.append(
                f"fare_leg_rules {rule.id}: GTFS cannot say {', '.join(missing)}; left out"
            )
            continue
        if rule.product not in grids:
            remarks.append(f"fare_leg_rules {rule.id}: Left out with its product '{rule.product}'")
            continue
        try:
            kinds = list(_kinds(rule, tariff, grids[rule.product], zones))
        except NotInGtfs as what:
            remarks.append(f"fare_leg_rules {rule.id}: GTFS cannot say {what}; left out")
            continue
        for kind in kinds:
            known = rows.get(kind)
            if known is None:
                rows[kind] = _Row(kind, rule, rule.priority)
            elif rule.priority > known.rule.priority:
                known.rule = rule
    for row in rows.values():
        priorities: set[int] = set()
        for combo in columns.combos:
            rule_for = columns.rule_for(row.kind, combo)
            price = columns.price(rule_for, row.kind, combo) if rule_for else None
            if rule_for and price is not None:
                row.prices[combo] = price
                row.products[combo] = rule_for.product
                row.priority = max(row.priority, rule_for.priority)
                priorities.add(rule_for.priority)
        if len(priorities) > 1:
            remarks.append(
                f"fare_leg_rules {row.rule.id}: GTFS chooses a rule by the leg alone, so its legs "
                f"have the highest priority that any rider's rule has ({row.priority}); where "
                "they are also those of a rule with a priority between, check the price"
            )
        is_finer = _is_finer(row, tariff)
        row.priority = 2 * row.priority + is_finer
        if row.prices:
            yield row


def _is_finer(row: _Row, tariff: Tariff) -> bool:
    return bool(row.kind.from_timeframe) and not row.rule.from_timeframes


def _kinds(
    rule: FareLegRule, tariff: Tariff, grid: Grid, zones: dict[str, str]
) -> Iterator[LegKind]:
    networks = rule.networks or tuple(network.id for network in tariff.networks)
    frames = rule.from_timeframes or ("", *_frames_of_discounts(rule, tariff))
    for (one, other), network, start, end in pairs_of(
        _pairs(rule, tariff, grid, zones), networks, frames, rule.to_timeframes or ("",)
    ):
        yield LegKind(network, one, other, start, end)


def _frames_of_discounts(rule: FareLegRule, tariff: Tariff) -> list[str]:
    """List the hours at which a concession or surcharge makes another price of a rule's product."""
    found = [
        name
        for other in (*tariff.concessions, *tariff.surcharges)
        if not other.products or rule.product in other.products
        for name in other.from_timeframes
    ]
    return list(dict.fromkeys(found))


def _pairs(
    rule: FareLegRule, tariff: Tariff, grid: Grid, zones: dict[str, str]
) -> list[tuple[str, str]]:
    starts, ends = areas_at(rule, "from"), areas_at(rule, "to")
    run = zones_within(rule, tariff)
    if run and (starts or ends):
        raise NotInGtfs("a run of zones and areas at once")
    if ANYWHERE in grid:
        return list(pairs_of(starts or run or ("",), ends or run or ("",)))
    known = [dict.fromkeys(pair[end] for pair in sorted(grid)) for end in (0, 1)]
    accepted = (starts or tuple(run) or tuple(known[0]), ends or tuple(run) or tuple(known[1]))
    for names, names_known in zip(accepted, known, strict=True):
        if any(not {name, zones.get(name, name)} & names_known.keys() for name in names):
            raise NotInGtfs("places of one kind with a table of another")
    return [pair for pair in pairs_of(*accepted) if fare_of(grid, pair, zones) is not None]


def _areas(tariff: Tariff, leg_rules: list[Cells]) -> list[Cells]:
    names = {area.id: area.name for area in tariff.areas}
    used = dict.fromkeys(str(area) for row in leg_rules for area in row[2:4] if area)
    return [(area, names.get(area, "")) for area in used]


def _stop_areas(tariff: Tariff, tables: Tables, leg_rules: list[Cells]) -> Iterator[Cells]:
    used = {area for row in leg_rules for area in row[2:4]}
    own = {area.id: area.stops for area in tariff.areas}
    for stop in tables.stops:
        areas = [*stop.areas, *(PREFIXES["zones"] + zone for zone in stop.zones)]
        areas += [area for area, stops in own.items() if stop.id in stops]
        areas.append(PREFIXES["stops"] + stop.id)
        for area in dict.fromkeys(areas):
            if area in used:
                yield area, stop.id
    known = {stop.id for stop in tables.stops}
    for area, stops in own.items():
        yield from ((area, stop) for stop in stops if area in used and stop not in known)
    for area in sorted(map(str, used)):
        stop_id = area.removeprefix(PREFIXES["stops"])
        if area.startswith(PREFIXES["stops"]) and stop_id not in known:
            yield area, stop_id


def _joins(tariff: Tariff, remarks: list[str]) -> list[Cells]:
    rows: dict[Cells, None] = {}
    every = tuple(network.id for network in tariff.networks)
    combo = (tariff.rider_categories[0].id, tariff.fare_media[0].id)
    for rule in tariff.fare_leg_join_rules:
        said = f"fare_leg_join_rules {rule.id}"
        before = [n for n in every if covers(rule.from_, _leg_on(n), combo, "", tariff)]
        after = [n for n in every if covers(rule.to, _leg_on(n), combo, "", tariff)]
        if not before or not after:
            remarks.append(f"{said}: GTFS can say networks and stops only; left out")
            continue
        if rule.same_stop:
            remarks.append(f"{said}: GTFS cannot say same_stop; left out")
            continue
        if rule.price_as == "sum":
            remarks.append(f"{said}: GTFS makes one leg of two, and cannot add them up; left out")
            continue
        keys = [*unsaid(rule), *(f"{key} of pairs" for pair in rule.pairs for key in unsaid(pair))]
        if keys:
            names = ", ".join(dict.fromkeys(keys))
            remarks.append(f"{said}: GTFS cannot say {names}; the legs are joined without it")
        pairs = [(pair.from_stop, pair.to_stop) for pair in rule.pairs]
        pairs += [(a, b) for a, b in pairs_of(rule.between, repeat=2) if a != b]
        for one, other, (start, end) in pairs_of(before, after, pairs or [("", "")]):
            rows[one, other, start, end] = None
    return list(rows)


def _leg_on(network: str) -> LegKind:
    return LegKind(network, "", "", "", "")
