"""The CSV files beside a tariff: stops, links, distances, routes, fares of pairs."""

import csv
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

from msgspec import Struct

from fare_rules.faults import FaultCode, TariffFault
from fare_rules.language.places import Stop
from fare_rules.language.products import Matrix
from fare_rules.language.scalars import ZoneId
from fare_rules.language.tariff import Tariff
from fare_rules.links import Links, read_links
from fare_rules.source import Document, UnusableFile, read_text

Pairs = dict[tuple[str, str], int]
RouteStops = dict[str, dict[str, tuple[int, int | None]]]


class Tables(Struct, frozen=True):
    """What the CSV files say, by their names."""

    stops: tuple[Stop, ...] = ()
    links: dict[str, Links] = {}
    distances: dict[str, Pairs] = {}
    route_stops: dict[str, RouteStops] = {}
    # Fares in minor units, by column and pair, as the rows have them.
    matrices: dict[str, dict[str, Pairs]] = {}


def read_tables(tariff: Tariff, document: Document, digits: int) -> Tables:
    """Read every CSV that a tariff names; faults go to its document."""
    folder = document.path.parent

    def rows(name: str, needed: list[str]) -> list[tuple[int, dict[str, str]]]:
        found, faults = _read_rows(folder / name, needed)
        document.faults += faults
        return found

    links = {}
    for name in sorted({network.links for network in tariff.networks if network.links}):
        links[name], faults = read_links(folder / name)
        document.faults += faults
    stops = tariff.stops
    if isinstance(stops, str):
        stops = tuple(_stop(row) for _, row in rows(stops, ["stop_id"]))
    distances = {
        name: _distances(rows(name, ["from_stop", "to_stop", "distance_m"]))
        for name in sorted({n.distances for n in tariff.networks if n.distances})
    }
    route_stops = {
        name: _route_stops(rows(name, ["route_id", "stop_id", "stop_sequence"]))
        for name in sorted({n.route_stops for n in tariff.networks if n.route_stops})
    }
    matrices: dict[str, dict[str, Pairs]] = {}
    for product in tariff.fare_products:
        if isinstance(pricing := product.pricing, Matrix):
            pairs = {
                (row["from"], row["to"]): int(Decimal(row[pricing.column]).scaleb(digits))
                for _, row in rows(pricing.table, ["from", "to", pricing.column])
                if row[pricing.column]
            }
            matrices.setdefault(pricing.table, {})[pricing.column] = pairs
    return Tables(stops, links, distances, route_stops, matrices)


def _read_rows(
    path: Path, needed: list[str]
) -> tuple[list[tuple[int, dict[str, str]]], list[TariffFault]]:
    try:
        reader = csv.DictReader(read_text(path).splitlines())
        missing = [column for column in needed if column not in (reader.fieldnames or ())]
        if missing:
            message, remedy = f"The columns lack {', '.join(missing)}", "Add them to the first line"
            return [], [TariffFault(str(path), 1, 1, FaultCode.BAD_LINKS, message, remedy)]
        return [(reader.line_num, row) for row in reader], []
    except UnusableFile as unusable:
        return [], [unusable.fault]


def _stop(row: dict[str, str]) -> Stop:
    return Stop(
        id=row["stop_id"],
        name=row.get("stop_name") or "",
        zones=tuple(map(ZoneId, (row.get("zones") or "").split())),
        areas=tuple((row.get("areas") or "").split()),
    )


def _distances(rows: list[tuple[int, dict[str, str]]]) -> Pairs:
    said = {(row["from_stop"], row["to_stop"]): int(row["distance_m"]) for _, row in rows}
    return {(other, one): metres for (one, other), metres in said.items()} | said


def _route_stops(rows: list[tuple[int, dict[str, str]]]) -> RouteStops:
    found: RouteStops = {}
    for _, row in rows:
        metres = row.get("distance_m") or None
        place = (int(row["stop_sequence"]), None if metres is None else int(metres))
        found.setdefault(row["route_id"], {})[row["stop_id"]] = place
    return found


__all__ = ["Callable", "Iterator", "Tables", "re", "read_tables"]
