"""Reads a GTFS feed, a zip or a folder, and finds everything that is wrong with what it says."""

import csv
import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, TextIO, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec.structs import FieldInfo

from fare_rules.currency import currency_digits, is_currency
from fare_rules.gtfs.files import Feed, Row

# Larger than any city's stop_times, and small enough to be held.
FILE_BYTES_MAX = 2_000_000_000
# As long as a name in a tariff may be.
ID_LENGTH_MAX = 80
_TABLES: dict[str, type[Row]] = {
    field.name: get_args(field.type)[0]
    for field in msgspec.structs.fields(Feed)
    if field.name not in ("notes", "has_priorities")
}
# What zipfile raises of bytes that are no zip, or one it cannot read.
_UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)
_Open = Callable[[], IO[bytes]]
_NEEDED = ("agency", "fare_products", "fare_leg_rules")
_KEYS = {
    "stops": ("stop_id",),
    "routes": ("route_id",),
    "trips": ("trip_id",),
    "calendar": ("service_id",),
    "calendar_dates": ("service_id", "date"),
    "areas": ("area_id",),
    "stop_areas": ("area_id", "stop_id"),
    "networks": ("network_id",),
    "route_networks": ("route_id",),
    "rider_categories": ("rider_category_id",),
    "fare_media": ("fare_media_id",),
    "fare_products": ("fare_product_id", "rider_category_id", "fare_media_id"),
}


class UnusableFeed(Exception):
    """A feed that must not be imported, or a folder that has such files already.

    Each fault is `file:row: what is wrong`.
    """

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


def read_feed(path: Path) -> Feed:
    """Read a feed.

    Raises: UnusableFeed, with every fault of its rows; or else every fault between them.
    """
    faults: list[str] = []
    notes: list[str] = []
    tables: dict[str, tuple[Row, ...]] = {}
    columns: dict[str, list[str]] = {}
    try:
        with _files_of(path) as opened:
            for name, open_file in opened:
                kind = _TABLES.get(name.removesuffix(".txt")) if name.endswith(".txt") else None
                if kind is None:
                    notes.append(_unread(name))
                    continue
                table = name.removesuffix(".txt")
                with io.TextIOWrapper(open_file(), "utf-8-sig", newline="") as text:
                    columns[table], tables[table] = _read_table(name, kind, text, faults)
    except _UNREADABLE as error:
        raise UnusableFeed([f"{path.name}:1: No zip file or folder of files: {error}"]) from None
    missing = [f"{name}.txt:1: The feed has no such file" for name in _NEEDED if name not in tables]
    if faults or missing:
        raise UnusableFeed(faults + missing)
    for table, header in sorted(columns.items()):
        known = {field.name for field in msgspec.structs.fields(_TABLES[table])}
        if unread := [column for column in header if column not in known]:
            notes.append(f"{table}.txt:1: Columns that are not read: {', '.join(unread)}")
    has_priorities = "rule_priority" in columns["fare_leg_rules"]
    # The keys of `tables` are fields of Feed, each with the rows of its own kind.
    feed = Feed(**tables, notes=tuple(notes), has_priorities=has_priorities)  # type: ignore[arg-type]
    if faults := list(_faults_between(feed)):
        raise UnusableFeed(faults)
    return feed


def _unread(name: str) -> str:
    if name in ("fare_attributes.txt", "fare_rules.txt"):
        return f"{name}:1: Fares v1 are not read, since the feed has Fares v2"
    return f"{name}:1: Not read; it decides no fare"


@contextmanager
def _files_of(path: Path) -> Iterator[list[tuple[str, _Open]]]:
    if path.is_dir():
        found = sorted(each for each in path.iterdir() if each.is_file())
        yield [(each.name, _opener(each)) for each in found]
        return
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if "/" not in name)
        if not names and any(name.endswith("/agency.txt") for name in archive.namelist()):
            raise UnusableFeed([f"{path.name}:1: The files must not be in a folder of the zip"])
        for name in names:
            if archive.getinfo(name).file_size > FILE_BYTES_MAX:
                raise UnusableFeed([f"{name}:1: Larger than {FILE_BYTES_MAX} bytes"])
        yield [(name, partial(archive.open, name)) for name in names]


def _opener(path: Path) -> _Open:
    return lambda: path.open("rb")


def _read_table(
    name: str, kind: type[Row], text: TextIO, faults: list[str]
) -> tuple[list[str], tuple[Row, ...]]:
    fields = {f.name: f for f in msgspec.structs.fields(kind) if f.name != "row"}
    reader = csv.reader(text, strict=True)
    rows: list[Row] = []
    at = 1
    try:
        header = [column.strip() for column in next(reader, [])]
        for column, times in Counter(header).items():
            if times > 1:
                faults.append(f"{name}:1: Column {column} is there {times} times")
        absent = [f.name for f in fields.values() if f.required and f.name not in header]
        faults += [f"{name}:1: There is no column {column}" for column in absent]
        at = reader.line_num + 1
        for cells in reader:
            if any(cells) and not absent:
                rows += _read_row(f"{name}:{at}", at, cells, header, kind, fields, faults)
            at = reader.line_num + 1
    except UnicodeDecodeError:
        faults.append(f"{name}:{at}: Not UTF-8, here or soon after")
        return [], ()
    except csv.Error as error:
        faults.append(f"{name}:{at}: Not CSV: {error}")
        return [], ()
    return header, tuple(rows)


def _read_row(
    place: str,
    at: int,
    cells: list[str],
    header: list[str],
    kind: type[Row],
    fields: dict[str, FieldInfo],
    faults: list[str],
) -> list[Row]:
    if len(cells) > len(header):
        faults.append(f"{place}: {len(cells)} values for {len(header)} columns")
        return []
    known = len(faults)
    values: dict[str, Any] = {"row": at}
    for column, cell in zip(header, cells, strict=False):
        field, said = fields.get(column), cell.strip()
        if field is None or not said:
            continue
        if column.endswith("_id") and len(said) > ID_LENGTH_MAX:
            faults.append(f"{place}: {column} is longer than {ID_LENGTH_MAX} letters")
        try:
            values[column] = msgspec.convert(said, field.type, strict=False)
        except msgspec.ValidationError:
            faults.append(f"{place}: {column} cannot be '{said}'")
    for field in fields.values():
        if field.required and field.name not in values and field.name in header:
            index = header.index(field.name)
            if index >= len(cells) or not cells[index].strip():
                faults.append(f"{place}: {field.name} is empty")
    return [kind(**values)] if len(faults) == known else []


def _faults_between(feed: Feed) -> Iterator[str]:
    for table, key in _KEYS.items():
        seen: dict[tuple[Any, ...], int] = {}
        for row in getattr(feed, table):
            value = tuple(getattr(row, column) for column in key)
            if value in seen:
                said = ", ".join(filter(None, map(str, value)))
                yield f"{table}.txt:{row.row}: '{said}' is already on row {seen[value]}"
            seen.setdefault(value, row.row)
    yield from _unknown_names(feed)
    yield from _time_zones(feed)
    yield from _bad_products(feed)
    yield from _bad_hours(feed)
    yield from _bad_transfers(feed)
    defaults = [each for each in feed.rider_categories if each.is_default_fare_category]
    for category in defaults[1:]:
        yield f"rider_categories.txt:{category.row}: A second default category"
    for join in feed.fare_leg_join_rules:
        if bool(join.from_stop_id) != bool(join.to_stop_id):
            yield f"fare_leg_join_rules.txt:{join.row}: One of the two stops is missing"


def networks_of(feed: Feed) -> dict[str, str]:
    """Name the networks: those of networks.txt, or else those that routes are in."""
    named = {each.network_id: each.network_name for each in feed.networks}
    for route in feed.routes:
        if route.network_id:
            named.setdefault(route.network_id, "")
    if not feed.networks and not feed.routes:
        # Fare files alone, to be laid beside a feed: then the rules are where networks are named.
        for rule in feed.fare_leg_rules:
            if rule.network_id:
                named.setdefault(rule.network_id, "")
    return named


def _unknown_names(feed: Feed) -> Iterator[str]:
    stops = {each.stop_id for each in feed.stops}
    networks = set(networks_of(feed))
    services = {each.service_id for each in feed.calendar}
    services |= {each.service_id for each in feed.calendar_dates}
    groups = {each.leg_group_id for each in feed.fare_leg_rules} - {""}
    products = {each.fare_product_id for each in feed.fare_products}
    areas = {each.area_id for each in feed.areas}
    frames = {each.timeframe_group_id for each in feed.timeframes}
    routes = {each.route_id for each in feed.routes}
    trips = {each.trip_id for each in feed.trips}
    categories = {each.rider_category_id for each in feed.rider_categories}
    media = {each.fare_media_id for each in feed.fare_media}
    wanted: tuple[tuple[str, str, set[str], str], ...] = (
        ("stops", "parent_station", stops, "stops.txt"),
        ("trips", "route_id", routes, "routes.txt"),
        ("stop_times", "trip_id", trips, "trips.txt"),
        ("stop_times", "stop_id", stops, "stops.txt"),
        ("stop_areas", "area_id", areas, "areas.txt"),
        ("stop_areas", "stop_id", stops, "stops.txt"),
        ("route_networks", "network_id", networks, "networks.txt"),
        ("route_networks", "route_id", routes, "routes.txt"),
        ("timeframes", "service_id", services, "calendar.txt or calendar_dates.txt"),
        ("fare_products", "rider_category_id", categories, "rider_categories.txt"),
        ("fare_products", "fare_media_id", media, "fare_media.txt"),
        ("fare_leg_rules", "network_id", networks, "networks.txt or routes.txt"),
        ("fare_leg_rules", "from_area_id", areas, "areas.txt"),
        ("fare_leg_rules", "to_area_id", areas, "areas.txt"),
        ("fare_leg_rules", "from_timeframe_group_id", frames, "timeframes.txt"),
        ("fare_leg_rules", "to_timeframe_group_id", frames, "timeframes.txt"),
        ("fare_leg_rules", "fare_product_id", products, "fare_products.txt"),
        ("fare_leg_join_rules", "from_network_id", networks, "networks.txt or routes.txt"),
        ("fare_leg_join_rules", "to_network_id", networks, "networks.txt or routes.txt"),
        ("fare_leg_join_rules", "from_stop_id", stops, "stops.txt"),
        ("fare_leg_join_rules", "to_stop_id", stops, "stops.txt"),
        ("fare_transfer_rules", "from_leg_group_id", groups, "fare_leg_rules.txt"),
        ("fare_transfer_rules", "to_leg_group_id", groups, "fare_leg_rules.txt"),
        ("fare_transfer_rules", "fare_product_id", products, "fare_products.txt"),
    )
    for table, column, known, where in wanted:
        # Fare files may come alone, for a feed that has its stops and routes already.
        if (where == "stops.txt" and not stops) or (where == "routes.txt" and not routes):
            continue
        for row in getattr(feed, table):
            said = getattr(row, column)
            if said and said not in known:
                yield f"{table}.txt:{row.row}: {column} '{said}' is not in {where}"


def _time_zones(feed: Feed) -> Iterator[str]:
    if not feed.agency:
        yield "agency.txt:1: There is no agency"
    for agency in feed.agency:
        try:
            ZoneInfo(agency.agency_timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            yield f"agency.txt:{agency.row}: '{agency.agency_timezone}' is no time zone"
        if agency.agency_timezone != feed.agency[0].agency_timezone:
            yield f"agency.txt:{agency.row}: Its time zone is not that of row {feed.agency[0].row}"


def _bad_products(feed: Feed) -> Iterator[str]:
    if not feed.fare_products:
        yield "fare_products.txt:1: There is no product"
    if not feed.fare_leg_rules:
        yield "fare_leg_rules.txt:1: There is no rule"
    digits = currency_digits(feed.fare_products[0].currency) if feed.fare_products else 0
    for product in feed.fare_products:
        place = f"fare_products.txt:{product.row}"
        first = feed.fare_products[0]
        if not is_currency(product.currency):
            yield f"{place}: '{product.currency}' is no currency"
        elif product.currency != first.currency:
            yield f"{place}: {product.currency}, but row {first.row} is in {first.currency}"
        if not product.amount.is_finite() or abs(product.amount) > 1_000_000:
            yield f"{place}: '{product.amount}' is no amount"
        elif product.amount.scaleb(digits) % 1:
            yield f"{place}: {product.amount} has more decimals than {product.currency}"
    negative = {each.fare_product_id for each in feed.fare_products if each.amount < 0}
    for rule in feed.fare_leg_rules:
        if rule.fare_product_id in negative:
            place = f"fare_leg_rules.txt:{rule.row}"
            yield f"{place}: '{rule.fare_product_id}' costs less than nothing"


def _bad_hours(feed: Feed) -> Iterator[str]:
    days = [
        ("calendar", each.row, day)
        for each in feed.calendar
        for day in (each.start_date, each.end_date)
    ]
    days += [("calendar_dates", each.row, each.date) for each in feed.calendar_dates]
    for table, row, day in days:
        try:
            day_of(day)
        except ValueError:
            yield f"{table}.txt:{row}: '{day}' is no day"
    taken: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    for frame in feed.timeframes:
        place = f"timeframes.txt:{frame.row}"
        if (frame.start_time is None) != (frame.end_time is None):
            yield f"{place}: One of the two times is missing"
            continue
        start, end = seconds(frame.start_time or "0:00:00"), seconds(frame.end_time or "24:00:00")
        if end > 86_400 or start >= end:
            yield f"{place}: From {frame.start_time} until {frame.end_time} is no part of a day"
        others = taken.setdefault((frame.timeframe_group_id, frame.service_id), [])
        for other_start, other_end, row in others:
            if start < other_end and other_start < end:
                yield f"{place}: It overlaps row {row}"
        others.append((start, end, frame.row))


def _bad_transfers(feed: Feed) -> Iterator[str]:
    for rule in feed.fare_transfer_rules:
        place = f"fare_transfer_rules.txt:{rule.row}"
        same = rule.from_leg_group_id == rule.to_leg_group_id
        if rule.transfer_count is None and same and rule.from_leg_group_id:
            yield f"{place}: transfer_count is missing, which a change within one group needs"
        if rule.transfer_count is not None and not same:
            yield f"{place}: transfer_count is for changes within one group only"
        if rule.transfer_count is not None and not (
            rule.transfer_count == -1 or rule.transfer_count >= 1
        ):
            yield f"{place}: transfer_count cannot be {rule.transfer_count}"
        if (rule.duration_limit is None) != (rule.duration_limit_type is None):
            yield f"{place}: duration_limit and duration_limit_type come together or not at all"


def day_of(text: str) -> date:
    """Read a day such as 20260131. Raises: ValueError for what is none."""
    return datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007


def seconds(time: str) -> int:
    """Read a time such as 9:30:00 as seconds of its day."""
    hours, minutes, rest = time.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(rest)
