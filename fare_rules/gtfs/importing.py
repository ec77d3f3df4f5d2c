"""Makes a tariff folder of a GTFS feed, with a page of what could not be carried over."""

from datetime import date
from pathlib import Path

from fare_rules.currency import currency_digits
from fare_rules.gtfs.changes import read_joins, read_transfers
from fare_rules.gtfs.feed import UnusableFeed, read_feed
from fare_rules.gtfs.files import Feed
from fare_rules.gtfs.hours import read_hours
from fare_rules.gtfs.offers import NETWORK_OF_OTHERS
from fare_rules.gtfs.prices import Sold, read_prices
from fare_rules.gtfs.riders import read_riders
from fare_rules.gtfs.stops import (
    Places,
    RouteStop,
    read_places,
    read_route_stops,
    zones_in_order,
)
from fare_rules.gtfs.text import page, table, tariff_text
from fare_rules.language.places import Area, JourneyTime, Network, Taps
from fare_rules.language.products import DearestCharge, IncompleteLegRule
from fare_rules.language.tariff import Tariff

REMARKS_FILE = "NOT_FROM_GTFS.md"
STOPS_FILE = "stops.csv"
ROUTE_STOPS_FILE = "route_stops.csv"
# GTFS says nothing of a longest stay, so it is one that no ride reaches.
_JOURNEY_MINUTES = 1440
_ABOUT = (
    "What the feed says and this folder does not, or says more exactly, by file and row. GTFS has "
    "no caps, tiers, promotions or terms of gates: look at `networks` and `incomplete_leg_rules`, "
    "and add what the operator's notice says."
)


def import_gtfs(feed: Path, folder: Path, *, tariff_id: str, effective_from: date) -> list[str]:
    """Write a tariff, and the tables it names, from the Fares v2 of a feed: a zip or a folder.

    Shape:  returns the remarks, which are also a page of the folder.
    Raises: UnusableFeed, with every fault, before anything is written: those of the feed, or that
            the folder has a tariff of this day or other tables already.
    """
    read = read_feed(feed)
    remarks = list(read.notes)
    riders = read_riders(read, remarks)
    places = read_places(read, remarks)
    hours = read_hours(read, effective_from, remarks)
    sold = read_prices(read, riders, places, hours, remarks)
    zones = zones_in_order(places, remarks)
    route_stops = read_route_stops(read, remarks)
    networks = _networks(read, sold, route_stops, remarks)
    tap_out = tuple(network.id for network in networks if network.taps != "board")
    tariff = Tariff(
        tariff=tariff_id,
        effective_from=effective_from,
        reference=f"GTFS feed {feed.name}",
        timezone=read.agency[0].agency_timezone,
        service_day_starts="00:00",
        currency=read.fare_products[0].currency,
        rider_categories=riders.categories,
        fare_media=riders.media,
        networks=networks,
        fare_products=sold.products,
        fare_leg_rules=sold.leg_rules,
        incomplete_leg_rules=_incomplete(tap_out),
        fare_leg_join_rules=read_joins(read, places, sold.networks, remarks),
        fare_transfer_rules=read_transfers(read, riders, sold, remarks),
        zones=zones,
        stops=STOPS_FILE if places.names else (),
        areas=tuple(
            Area(id=area_id, name=name, stops=_stops_said_here(area_id, places))
            for area_id, name in places.area_names.items()
        ),
        timeframes=hours.frames,
        holidays=hours.holidays,
    )
    _remark_on_unused(read, remarks)
    remarks.sort(key=_by_place)
    digits = currency_digits(tariff.currency)
    files = {f"{effective_from}.yaml": tariff_text(tariff, digits), **sold.tables}
    if places.names:
        files[STOPS_FILE] = _stops_table(places)
    if route_stops:
        files[ROUTE_STOPS_FILE] = _route_stops_table(route_stops)
    files[REMARKS_FILE] = page("Not from GTFS", _ABOUT, remarks)
    if taken := [name for name in files if (folder / name).exists()]:
        raise UnusableFeed(f"{name}:1: The folder has this file already" for name in taken)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return remarks


def _stops_said_here(area_id: str, places: Places) -> tuple[str, ...]:
    # In the table blanks part the areas of a stop, so an area with a blank lists its stops itself.
    return tuple(sorted(places.stops_of(area_id))) if _has_blank(area_id) else ()


def _has_blank(area_id: str) -> bool:
    return len(area_id.split()) > 1


def _by_place(remark: str) -> tuple[str, int, str]:
    file, row, text = remark.split(":", 2)
    return file, int(row) if row.isdecimal() else 0, text


def _networks(
    feed: Feed, sold: Sold, route_stops: list[RouteStop], remarks: list[str]
) -> tuple[Network, ...]:
    network_of = {row.route_id: row.network_id for row in feed.route_networks}
    for route in feed.routes:
        network_of.setdefault(route.route_id, route.network_id or NETWORK_OF_OTHERS)
    types: dict[str, set[int]] = {}
    for route in feed.routes:
        types.setdefault(network_of[route.route_id], set()).add(route.route_type)
    joined = {row.from_network_id for row in feed.fare_leg_join_rules if row.from_stop_id}
    with_stops = {network_of[each.route_id] for each in route_stops}
    found: list[Network] = []
    for network_id, name in sold.networks.items():
        taps: Taps = "board"
        if network_id in sold.needs_exit | joined:
            on_the_road = all(map(_is_bus, types.get(network_id, {0})))
            taps = "board_alight" if on_the_road else "enter_exit"
            remarks.append(
                f"fare_leg_rules.txt:1: On '{network_id}' the exit decides the fare, so riders tap "
                f"out ({taps}). The feed does not say how long they may stay (here "
                f"{_JOURNEY_MINUTES} minutes), nor what a missing tap costs (here the dearest fare)"
            )
        found.append(
            Network(
                id=network_id,
                name=name,
                taps=taps,
                reference="The feed says nothing of taps",
                route_stops=ROUTE_STOPS_FILE if network_id in with_stops else None,
                journey_time=None if taps == "board" else JourneyTime(minutes=_JOURNEY_MINUTES),
            )
        )
    return tuple(found)


def _is_bus(route_type: int) -> bool:
    return route_type in (3, 11) or 700 <= route_type < 900


def _incomplete(networks: tuple[str, ...]) -> tuple[IncompleteLegRule, ...]:
    if not networks:
        return ()
    return (
        IncompleteLegRule(
            id="missing_tap",
            reference="The feed says nothing of missing taps",
            networks=networks,
            charge=DearestCharge(),
        ),
    )


def _remark_on_unused(feed: Feed, remarks: list[str]) -> None:
    used = {rule.fare_product_id for rule in feed.fare_leg_rules}
    used |= {rule.fare_product_id for rule in feed.fare_transfer_rules}
    for product in feed.fare_products:
        if product.fare_product_id not in used:
            remarks.append(
                f"fare_products.txt:{product.row}: No leg needs '{product.fare_product_id}'; "
                "left out"
            )


def _stops_table(places: Places) -> str:
    rows = []
    for stop, name in places.names.items():
        areas = sorted(area for area in places.areas_of[stop] if not _has_blank(area))
        rows.append((stop, name, places.zones_of.get(stop, ""), " ".join(areas)))
    return table(("stop_id", "stop_name", "zones", "areas"), rows)


def _route_stops_table(route_stops: list[RouteStop]) -> str:
    rows = [
        (at.route_id, at.stop_id, at.sequence, "" if at.distance_m is None else at.distance_m)
        for at in route_stops
    ]
    return table(("route_id", "stop_id", "stop_sequence", "distance_m"), rows)
