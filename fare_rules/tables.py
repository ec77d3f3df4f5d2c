"""The CSV files beside a tariff: stops, links, distances, routes, fares of pairs.

Every row that is wrong is told of; the rows that are right are kept.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from fare_rules.faults import FaultCode, TariffFault
from fare_rules.language.places import Stop
from fare_rules.language.products import Matrix
from fare_rules.language.scalars import ZoneId
from fare_rules.language.tariff import Tariff
from fare_rules.links import Links, read_links
from fare_rules.source import TABLE_BYTES_MAX, Document, UnusableFile, read_text

Key = TypeVar("Key")
Value = TypeVar("Value")
Pairs = dict[tuple[str, str], int]
RouteStops = dict[str, dict[str, tuple[int, int | None]]]
Row = dict[str, str]
# Where each rule stands, by its section and id: 2018-08-01.yaml:41.
RulePlaces = Mapping[tuple[str, str], str]

_WHOLE = re.compile(r"0|[1-9][0-9]{0,6}")
_ZONE = re.compile(r"[^-\s]{1,20}")
_AMOUNT = r"(0|[1-9][0-9]{0,8})"


class Tables(Struct, frozen=True):
    """What the CSV files say, by their names."""

    stops: tuple[Stop, ...] = ()
    links: dict[str, Links] = {}
    # Metres, each way of a pair.
    distances: dict[str, Pairs] = {}
    # By route and stop: the place in the sequence, and metres from the start.
    route_stops: dict[str, RouteStops] = {}
    # Fares in minor units, by column and pair, as the rows have them.
    matrices: dict[str, dict[str, Pairs]] = {}


class BadRow(Exception):
    """Why a row cannot be used, and what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        self.message, self.remedy = message, remedy
        super().__init__(message)


def read_tables(tariff: Tariff, document: Document, digits: int) -> Tables:
    """Read every CSV that a tariff names; faults go to its document.

    Units:  digits are the decimals of the currency.
    """
    folder, faults = document.path.parent, document.faults
    links = {}
    for name in sorted({network.links for network in tariff.networks if network.links}):
        links[name], wrong = read_links(folder / name)
        faults += wrong
    distances = {
        name: _read_distances(_Csv(folder / name, faults))
        for name in sorted({n.distances for n in tariff.networks if n.distances})
    }
    route_stops = {
        name: _read_route_stops(_Csv(folder / name, faults))
        for name in sorted({n.route_stops for n in tariff.networks if n.route_stops})
    }
    stops = tariff.stops
    if isinstance(stops, str):
        stops = _read_stops(_Csv(folder / stops, faults))
    return Tables(
        stops, links, distances, route_stops, _read_matrices(tariff, folder, faults, digits)
    )


class _Csv:
    """One file, read row by row, with the faults of its rows."""

    def __init__(self, path: Path, faults: list[TariffFault]) -> None:
        self._path = path
        self._faults = faults

    def each(
        self, columns: list[str], read: Callable[[Row], None], *, also: Iterable[str] = ()
    ) -> None:
        """Read each row; columns are those that it needs, and also those that may be empty."""
        for line, row in self._rows([*columns, *also]):
            try:
                if None in row or None in row.values():
                    raise BadRow("There are more or fewer values than columns", "Write one of each")
                for column in columns:
                    if not row[column].strip():
                        raise BadRow(f"'{column}' is left empty", "Write it, or take the row out")
                read(row)
            except BadRow as wrong:
                self._refuse(line, wrong.message, wrong.remedy)

    def _rows(self, columns: list[str]) -> Iterator[tuple[int, Row]]:
        try:
            reader = csv.DictReader(read_text(self._path, TABLE_BYTES_MAX).splitlines())
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            if missing:
                message = f"The columns lack {', '.join(missing)}"
                self._refuse(1, message, "Name each column in the first line")
                return
            for row in reader:
                yield reader.line_num, row
        except UnusableFile as unusable:
            self._faults.append(unusable.fault)
        except csv.Error as error:
            self._refuse(reader.line_num, f"This is not CSV ({error})", "Write short plain values")

    def _refuse(self, line: int, message: str, remedy: str) -> None:
        fault = TariffFault(str(self._path), line, 1, FaultCode.BAD_TABLE, message, remedy)
        self._faults.append(fault)


def _read_stops(table: _Csv) -> tuple[Stop, ...]:
    stops: dict[str, Stop] = {}

    def read(row: Row) -> None:
        zones = (row.get("zones") or "").split()
        for zone in zones:
            if not _ZONE.fullmatch(zone):
                raise BadRow(f"'{zone}' is not the name of a zone", "Write it without a hyphen")
        stop_id = row["stop_id"]
        stop = Stop(
            id=stop_id,
            name=row.get("stop_name") or "",
            zones=tuple(map(ZoneId, zones)),
            areas=tuple((row.get("areas") or "").split()),
        )
        _put(stops, stop_id, stop, f"'{stop_id}'")

    table.each(["stop_id"], read)
    return tuple(stops.values())


def _read_distances(table: _Csv) -> Pairs:
    said: Pairs = {}

    def read(row: Row) -> None:
        one, other = row["from_stop"], row["to_stop"]
        _put(said, (one, other), _whole(row["distance_m"]), f"From '{one}' to '{other}'")

    table.each(["from_stop", "to_stop", "distance_m"], read)
    return {(other, one): metres for (one, other), metres in said.items()} | said


def _read_route_stops(table: _Csv) -> RouteStops:
    routes: RouteStops = {}

    def read(row: Row) -> None:
        route, stop = row["route_id"], row["stop_id"]
        metres = row.get("distance_m")
        place = (_whole(row["stop_sequence"]), _whole(metres) if metres else None)
        _put(routes.setdefault(route, {}), stop, place, f"'{stop}' on '{route}'")

    table.each(["route_id", "stop_id", "stop_sequence"], read)
    return routes


def _read_matrices(
    tariff: Tariff, folder: Path, faults: list[TariffFault], digits: int
) -> dict[str, dict[str, Pairs]]:
    columns: dict[str, set[str]] = {}
    for product in tariff.fare_products:
        if isinstance(product.pricing, Matrix):
            columns.setdefault(product.pricing.table, set()).add(product.pricing.column)
    matrices: dict[str, dict[str, Pairs]] = {}
    for name in sorted(columns):
        fares: dict[str, Pairs] = {column: {} for column in sorted(columns[name])}
        _read_matrix(_Csv(folder / name, faults), fares, digits)
        matrices[name] = fares
    return matrices


def _read_matrix(table: _Csv, fares: dict[str, Pairs], digits: int) -> None:
    amount = re.compile(_AMOUNT + (rf"(\.[0-9]{{1,{digits}}})?" if digits else ""))

    def read(row: Row) -> None:
        pair = row["from"], row["to"]
        for column, pairs in fares.items():
            said = row[column]
            # A pair may be for sale in one column, and not in another.
            if not said:
                continue
            if not amount.fullmatch(said):
                remedy = f"Write an amount with {digits or 'no'} decimals"
                raise BadRow(f"'{said}' is not an amount", remedy)
            fare = int(Decimal(said).scaleb(digits))
            _put(pairs, pair, fare, f"From '{pair[0]}' to '{pair[1]}'")

    table.each(["from", "to"], read, also=list(fares))


def _put(found: dict[Key, Value], key: Key, value: Value, name: str) -> None:
    if key in found:
        raise BadRow(f"{name} is said twice", "Keep one of the two rows")
    found[key] = value


def _whole(said: str) -> int:
    if not _WHOLE.fullmatch(said):
        raise BadRow(f"'{said}' is not a whole number", "Write it without decimals or unit")
    return int(said)
